"""Recordings that nobody has annotated: their times, and features unlike those of the training."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from spot.errors import SpotError
from spot.recordings import Times, far_from_training, own_facts, own_times

SBHAR = Path(__file__).resolve().parents[2] / "shared" / "data" / "sbhar"


# --- times ------------------------------------------------------------------------------------------------------------


def times(facts, grid="window", fps=None, run_fps=None, training_fps=(), seconds=None):
    return own_times(facts, grid, fps, run_fps, list(training_fps), lambda name, rate: seconds)


def test_rates_given_in_a_table_and_of_the_run_in_this_order():
    facts = {"a": {"fps": 30.0, "duration": 9.0}, "b": {}}
    assert times(facts, fps=20.0)[0] == [Times(9.0, 9.0, 20.0), Times(None, None, 20.0)]
    found, sentences = times(facts, run_fps=25.0, training_fps=[25.0, 30.0])
    assert found == [Times(9.0, 9.0, 30.0), Times(None, None, 25.0)]
    assert len(sentences) == 1 and "1 recordings come without" in sentences[0] and "25 frames per" in sentences[0]


@pytest.mark.parametrize(("rate", "is_told"), [(30.0, False), (29.97, False), (27.0, True), (50.0, True)])
def test_a_rate_that_no_training_video_had_is_told(rate, is_told):
    """29.97 and 30 are one."""
    sentences = times({"a": {"fps": rate}}, training_fps=[25.0, 30.0])[1]
    assert any(f"a has {rate:g} frames per second, the training videos had 25, 30 frames" in one
               for one in sentences) is is_told


def test_what_is_not_known_is_asked_for_without_a_number_of_our_own():
    with pytest.raises(SpotError, match=r"video a: .* give fps=, the frames per second of the recordings, or"):
        times({"a": {}})
    with pytest.raises(SpotError, match=r"had 1, 2, 3, 4, 5 and 2 other frame rates\)"):
        times({"a": {}}, training_fps=[1, 2, 3, 4, 5, 6, 7])
    with pytest.raises(SpotError, match=r"give duration=, the seconds of every recording"):
        times({"a": {}}, grid="resize")
    assert times({"a": {}}, grid="resize", seconds=7.0)[0] == [Times(7.0, 7.0, None)]


def test_durations_come_from_a_number_or_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("video,duration\na,3\nv_b,4\n")
    assert own_facts(None, "ab") == {"a": {}, "b": {}} and own_facts("7.5", "a") == {"a": {"duration": 7.5}}
    table = own_facts(str(tmp_path / "t.csv"), "ab")
    assert {name: facts["duration"] for name, facts in table.items()} == {"a": 3, "b": 4}
    for wrong in ("0", "-1", "nan", "inf"):
        with pytest.raises(SpotError, match=f"duration={wrong} must be a positive number"):
            own_facts(wrong, "a")


# --- statistics -------------------------------------------------------------------------------------------------------


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
