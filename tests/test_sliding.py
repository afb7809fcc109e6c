"""The sliding-window classifier, and the experiment in which detectors are given the true segments."""

import numpy as np
import pytest
import torch
from tiny import CLASSES, LABELED, T, features_of, model, trainer, video

from spot.config import load_config
from spot.datasets import GridSettings
from spot.files import SpotError
from spot.inference import detect
from spot.oracle import classify_recording, entries_of_given
from spot.proposals import Decoding
from spot.recordings import times_of
from spot.sliding import joined, merge_windows, runs_above, smoothed

QUIET = [f"augment.{name}=0" for name in ("zoom", "montage", "noise", "offset", "channel_dropout", "snippet_masking")]


def test_runs_are_merged_snippets_with_their_mean():
    """Class 0 is above 0.5 in snippets 0 to 2 (mean 0.8) and 4 (0.9), class 1 nowhere."""
    line = np.array([[0.7, 0.8, 0.9, 0.1, 0.9], [0.1, 0.2, 0.5, 0.5, 0.0]])
    assert runs_above(line, 0.5) == [(0, 3, 0, pytest.approx(0.8)), (4, 5, 0, 0.9)]


def test_smoothing_is_the_mean_of_what_is_there():
    """Width 3: at the ends the mean of two."""
    assert smoothed(np.array([[0.0, 3, 6, 0]]), 3)[0].tolist() == [1.5, 3, 3, 3]
    assert smoothed(np.array([[0.0, 3]]), 1)[0].tolist() == [0, 3]


def test_overlapping_windows_are_averaged():
    """Windows of 4 at 0 and 2, the second with 3 valid snippets: snippets 2 and 3 are the mean of both."""
    windows = np.stack([np.full((1, 4), 0.2), np.full((1, 4), 0.6)])
    valid = np.array([[True] * 4, [True] * 3 + [False]])
    assert joined(windows, valid, [0, 2])[0].tolist() == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.6])


def test_decoding_finds_the_planted_segment():
    logits = torch.full((1, 4, T), -8.0)
    logits[0, 2, 3:6] = 8
    outputs = {"class_logits": logits, "valid": torch.ones(1, T, dtype=torch.bool)}
    [rows] = merge_windows(model(detector="sliding"), outputs, [0], Decoding())
    assert rows[0].tolist() == pytest.approx([3, 6, 2, 1], abs=1e-3)
    [rows] = merge_windows(model(detector="sliding"), outputs, [0], Decoding(), external=torch.tensor([[0, 0.5, 0]]))
    assert rows[0, 2] == 1
    [rows] = merge_windows(model(detector="sliding"), {**outputs, "class_logits": logits * 0 - 9}, [0], Decoding())
    assert rows.shape == (0, 4)


def test_it_learns_from_labels_alone():
    run = trainer("semi.method=none", "training.steps_per_epoch=20", "training.max_epoch=2",
                  "training.learning_rate=0.1", *QUIET, net=model(detector="sliding", dropout=0.0))
    first, last = (run.train_epoch(epoch)["loss"] for epoch in range(2))
    assert list(first) == ["class"] and last["class"] < 0.7 * first["class"]
    run.model.settings = {"grid": "window", "stride": 1, "window": 1, "temporal_scale": T}
    for one in LABELED:
        [rows] = detect(run.model, [features_of(LABELED)[one.name]], [8.0], fps=1.0, mask_thresh=(0.05,))
        assert CLASSES[int(rows[0, 2])] == one.labels[0]
    settings = ["dataset.feature_path=nowhere", "model.detector=sliding"]
    with pytest.raises(SpotError, match="learns from labels alone"):
        load_config(None, settings)
    load_config(None, [*settings, "semi.method=none"])


@pytest.mark.parametrize("detector", ["spot", "bmn", "sliding"])
@pytest.mark.parametrize("grid", ["window", "resize"])
def test_true_segments_are_classified(detector, grid):
    """Of 12 snippets in windows of 8 at 0 and 4, or resized. The second segment lies in the second window alone, the
    third, one of no length at the end, in none; a model whose classes ignore its input says the same of all."""
    net = model(detector=detector).eval()
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.startswith(("class_head", "classifier.out")):
                value.zero_()
                if name.endswith("bias"):
                    value.copy_(torch.tensor([0.0, 4, -4, -4]))
    one = video("x", duration=12.0)
    features = features_of([one], length=12)["x"]
    segments = np.array([[1.0, 9.0], [10.0, 12.0], [12.0, 12.0]])
    found = classify_recording(net, GridSettings(grid, T, 1, 1), features, times_of(one, 1.0), segments)
    wanted = torch.tensor([0.0, 4, -4]).sigmoid().tolist()
    assert found.shape == (3, 3) and found == pytest.approx(np.array([wanted] * 3), abs=1e-4)
    entries = entries_of_given(found, segments, CLASSES, min_score=0.1)
    assert len(entries) == 6 and entries[0]["label"] == CLASSES[1] and entries[0]["score"] >= entries[-1]["score"]


@pytest.mark.parametrize("detector", ["spot", "bmn", "sliding"])
def test_a_recording_without_segments_is_classified_into_nothing(detector):
    net, times = model(detector=detector).eval(), times_of(video("a"), None)
    features = features_of(LABELED)["a"]
    found = classify_recording(net, GridSettings("window", T, stride=1, window=1), features, times, np.zeros((0, 2)))
    assert found.shape == (0, 3) and entries_of_given(found, np.zeros((0, 2)), CLASSES) == []
