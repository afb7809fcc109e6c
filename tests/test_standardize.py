"""Whose statistics standardize the features: chosen by the labels, the same in training and detection."""

import numpy as np
import torch
from tiny import video

from spot.detectors import build_model
from spot.inference import detect
from spot.standardize import (
    by_recording,
    by_sequence,
    choose_standardization,
)

CLASSES = ["a", "b"]
SIZES = {"encoder": "conv_transformer", "mask_head": "pairwise", "class_activation": "sigmoid", "feat_dim": 3,
         "temporal_scale": 8, "embedding_head": 1, "embed_dim": 8, "num_classes": 2}


def test_recordings_that_all_show_the_same_take_their_own_statistics():
    every = [video(name, (0, 3, "a"), (4, 6, "b"), duration=10.0) for name in "xyz"]
    assert choose_standardization("auto", every, CLASSES).kind == "recording"
    single = [video("x", (0, 3, "a"), duration=10.0), video("y", (0, 3, "b"), duration=10.0)]
    assert choose_standardization("auto", single, CLASSES).kind == "training"


def test_one_labeled_recording_says_nothing_of_how_they_differ():
    one = [video("x", (0, 3, "a"), (4, 6, "b"), duration=10.0)]
    assert choose_standardization("auto", one, CLASSES).kind == "training"
    assert choose_standardization("recording", one, CLASSES).kind == "recording"
    assert choose_standardization("none", one, CLASSES).kind == "none"


def test_a_recording_by_hand():
    """Channel 0: 1, 3 has mean 2 and deviation 1; channel 1 never changes and becomes 0."""
    features = np.array([[1, 3], [5, 5]], np.float32)
    assert by_recording(features).tolist() == [[-1, 1], [0, 0]]
    assert features.tolist() == [[1, 3], [5, 5]]


def test_a_sequence_is_standardized_like_a_recording_whatever_is_behind_its_end():
    features = np.random.default_rng(0).normal(3, 2, (3, 6)).astype(np.float32)
    padded = torch.full((1, 3, 8), 99.0)
    padded[0, :, :6] = torch.from_numpy(features)
    valid = torch.arange(8)[None] < 6
    found = by_sequence(padded, valid)
    assert torch.allclose(found[0, :, :6], torch.from_numpy(by_recording(features)), atol=1e-5)
    assert not found[0, :, 6:].any()


def test_detection_does_not_change_with_the_gain_and_offset_of_a_recording():
    """With `recording` another sensor's offset and gain per channel are taken off; with `training` they are not."""
    torch.manual_seed(0)
    features = np.random.default_rng(0).normal(size=(3, 20)).astype(np.float32)
    other = features * np.array([[2], [0.5], [3]], np.float32) + np.array([[10], [-4], [0]], np.float32)
    settings = {"grid": "window", "stride": 1, "window": 1, "fps": 1.0, "min_score": 0.0}
    for kind, same in (("recording", True), ("training", False)):
        model = build_model(**SIZES, standardize=kind)
        found = [detect(model, x, None, **settings)[0] for x in (features, other)]
        assert (found[0].shape == found[1].shape and np.allclose(found[0], found[1], atol=1e-3)) == same
