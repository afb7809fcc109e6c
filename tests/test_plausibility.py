"""Features unlike those of the training are told, those of other people are not."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from spot.plausibility import far_from_training

SBHAR = Path(__file__).resolve().parents[2] / "shared" / "data" / "sbhar"
MEAN, DEVIATION = np.array([0.0, 1, -2, 5]), np.array([1.0, 2, 0.5, 1])


@pytest.mark.parametrize(("mean", "deviation", "words"), [
    (MEAN, DEVIATION, None), (MEAN + DEVIATION, DEVIATION, None), (MEAN, 2.4 * DEVIATION, None),
    (MEAN + 2 * DEVIATION, 1.4 * DEVIATION, None),  # sqrt(4 + 1.96) = 2.44
    (MEAN + 2 * DEVIATION, 1.6 * DEVIATION, "100% of the channels are more than 2.5 deviations"),  # sqrt(6.56) = 2.56
    (MEAN + np.array([99, 0, 0, 0]), DEVIATION, None),  # one odd channel of four
    (MEAN + np.array([99, 9, 0, 0]), DEVIATION, "50% of the channels"),
    (1000 * MEAN, 1000 * DEVIATION, "vary 1e\\+03 times as much as those, about a mean of 500 instead of 0.5"),
    (MEAN / 255, DEVIATION / 255, "vary 0.00392 times as much"),
    (MEAN / 9.81, DEVIATION / 9.81, "vary 0.102 times as much"),  # nearer to 0 as well
    (MEAN, DEVIATION / 9.81, None)])  # nobody moves
def test_features_far_from_the_training(mean, deviation, words):
    found = far_from_training(mean, deviation, MEAN, DEVIATION)
    assert found is None if words is None else re.search(words, found)


def test_channels_that_never_varied_in_training_tell_nothing():
    assert far_from_training(MEAN + np.array([0, 0, 0, 99]), DEVIATION, MEAN, DEVIATION * [1, 1, 1, 0]) is None
    assert far_from_training(MEAN + 99, DEVIATION, MEAN, DEVIATION * 0) is None


@pytest.mark.skipif(not SBHAR.is_dir(), reason="needs ../shared/data/sbhar")
def test_no_recording_of_sbhar_is_far_and_all_are_in_another_unit():
    """Other people than those of the training; g as m/s2, and noise of the right deviation, are told."""
    entries = json.loads((SBHAR / "annotations.json").read_text())["database"]
    arrays = {name: np.load(SBHAR / "features" / f"{name}.npy").astype(np.float32) for name in entries}
    training = np.concatenate([arrays[name] for name, entry in entries.items() if entry["subset"] == "training"])
    statistics = training.mean(0), training.std(0)
    random, told = np.random.default_rng(0), {"as it is": 0, "x 9.81": 0, "/ 9.81": 0, "x 1000": 0, "noise": 0}
    validation = [name for name, entry in entries.items() if entry["subset"] == "validation"]
    for name in validation:
        x = arrays[name]
        changed = {"as it is": x, "x 9.81": x * 9.81, "/ 9.81": x / 9.81, "x 1000": x * 1000,
                   "noise": random.normal(size=x.shape)}
        for kind, values in changed.items():
            told[kind] += far_from_training(values.mean(0), values.std(0), *statistics) is not None
    assert told == {"as it is": 0} | dict.fromkeys(("x 9.81", "/ 9.81", "x 1000", "noise"), len(validation))
