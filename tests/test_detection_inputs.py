"""What `spot.detect` takes: arrays and numbers in every form, and one sentence for all else."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import C, K, T, model

from spot import detect
from spot.detection_inputs import external_of, numbers_of, recordings_of
from spot.errors import SpotError

X = np.random.default_rng(0).normal(size=(C, 20)).astype(np.float32)
ON_WINDOWS = {"grid": "window", "temporal_scale": T, "stride": 1, "window": 1, "fps": 1.0, "min_score": 0.0}


def found(features, durations, **changes):
    return detect(model(), features, durations, **{**ON_WINDOWS, **changes})


# --- accepted ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [
    X, X.astype(np.float64), np.asfortranarray(X), torch.from_numpy(X), [X], (X,), X[None],
    torch.from_numpy(X).requires_grad_()], ids=range(8))
def test_one_recording_in_every_form(features):
    rows, = found(features, 20.0)
    np.testing.assert_array_equal(rows, found(X, 20.0)[0])
    assert len(rows)


@pytest.mark.parametrize("durations", [
    [20.0, 18], (20, 18.0), np.array([20, 18]), np.array([20, 18], np.float32), torch.tensor([20.0, 18.0]),
    pd.Series([20.0, 18.0], index=[7, 9]), [np.float64(20), np.array(18)]], ids=range(7))
def test_durations_in_every_form(durations):
    wanted = [rows.tolist() for rows in found([X, X], [20.0, 18.0])]
    assert [rows.tolist() for rows in found([X, X], durations)] == wanted and wanted[0] != wanted[1]


def test_one_number_is_for_all_and_none_is_unknown():
    assert numbers_of(3, 2, "fps") == numbers_of(np.float32(3), 2, "fps") == numbers_of(np.array(3), 2, "fps") == [3, 3]
    assert numbers_of(None, 2, "fps") == [None, None] and numbers_of([None, 2], 2, "fps") == [None, 2]
    assert found([], []) == []


def test_frame_rates_one_for_each_recording():
    """At twice the rate every time is half as long."""
    rows = found([X, X], [20.0, 10.0], fps=np.array([1.0, 2.0]), window=1)
    np.testing.assert_allclose(rows[0][:, :2], 2 * rows[1][:, :2], atol=1e-4)


def test_external_scores_for_all_or_for_each():
    one, other = np.array([0.5, 0, 0]), np.array([0, 0.5, 0])
    assert [list(x) for x in external_of(one, 2, K)] == [[0.5, 0, 0]] * 2
    assert [list(x) for x in external_of([0.5, 0, 0], 1, K)] == [[0.5, 0, 0]]
    assert [list(x) for x in external_of(np.stack([one, other]), 2, K)] == [[0.5, 0, 0], [0, 0.5, 0]]
    assert external_of([None, None], 2, K) == external_of(None, 2, K) == [None, None]


def test_external_scores_of_a_model_that_does_not_tell_its_classes():
    """K is then that of the first recording; the others must have as many."""
    assert [list(x) for x in external_of(np.array([0, 0.9]), 2, None)] == [[0, 0.9]] * 2
    with pytest.raises(SpotError, match=r"recording 2 of 2 has shape \(3,\) of float64; expected 2 probabilities"):
        external_of([np.ones(2), np.ones(3)], 2, None)
    with pytest.raises(SpotError, match=r"has shape \(1, 2\) of float64; expected a probability for each class"):
        external_of([np.ones((1, 2))], 1, None)


def test_nothing_is_found_where_no_snippet_has_seen():
    """20 snippets of a second and a duration of 100 s: the last snippet ends at 20 s, not at 100."""
    rows, = found(X, 100.0)
    assert len(rows) and rows[:, 1].max() <= 20
    rows, = found(X, 21.5)  # two snippets more are within reach of the last one
    assert rows[:, 1].max() == pytest.approx(21.5)


# --- refused ----------------------------------------------------------------------------------------------------------


NAN = X.copy()
NAN[2, 3] = np.nan


@pytest.mark.parametrize(("features", "words"), [
    ([X, NAN, X], r"features of recording 2 of 3 have 1 values that are NaN or Inf, first in snippet 3, channel 2"),
    (NAN, "detect: features have 1 values that are NaN"), (X * np.inf, "120 values"),
    (X.astype(np.float64) * 1e300, "120 values"),
    (X.T, r"shape \(20, 6\); expected \(C, T'\) with C = 6; transpose it"),
    (X[:5], r"shape \(5, 20\); expected"), (X[:, :0], "no snippet"), (X[0], r"shape \(20,\)"), ("x.npy", "are text"),
    ([X, "x"], "of recording 2 of 2 are text"), (X.astype(str), "are text; expected numbers"), ({"a": X}, "are object"),
    (X.astype(complex), "complex128"), (None, "are object"), ([[1, 2], [3]], r"recording 1 of 2 have shape \(2,\)")])
def test_features_that_are_none(features, words):
    with pytest.raises(SpotError, match=words):
        found(features, 20.0)


@pytest.mark.parametrize(("durations", "words"), [
    ([20.0], "2 recordings and 1 values of duration_sec; give one for each"), (np.ones(3), "2 recordings and 3 values"),
    ("20", "duration_sec is '20'; it must be a number"), (["20", 18], "duration_sec of recording 1 of 2 is '20'"),
    ([20, -1], "of recording 2 of 2 is -1; it must be a positive number"), ([0, 1], "of recording 1 of 2 is 0"),
    ([np.nan, 1], "of recording 1 of 2 is nan"), ([True, 1], "is True"), (np.ones((2, 1)), r"shape \(2, 1\)"),
    ({"a": 20}, "duration_sec is {'a': 20}"), (np.array(["20", "18"]), "is (np.str_\\()?'20'"),
    ([20, [18]], r"of recording 2 of 2 is \[18\]")])
def test_durations_that_are_none(durations, words):
    with pytest.raises(SpotError, match=words):
        found([X, X], durations)


@pytest.mark.parametrize(("changes", "words"), [
    ({"nms_sigm": 1}, "nms_sigma"), ({"strides": 4}, "stride"), ({"batch_size": 0}, "batch_size is 0"),
    ({"amp": "fp16"}, "amp is 'fp16'; it must be none or bf16"), ({"fps": [1.0]}, "2 recordings and 1 values of fps"),
    ({"fps": "25"}, "fps is '25'"), ({"fps": None}, "the window grid needs fps, the frames per second of each"),
    ({"feature_duration_sec": [1]}, "1 values of feature_duration_sec"), ({"every": 0}, "every is 0"),
    ({"external": np.ones(2)}, r"external of recording 1 of 2 has shape \(2,\)"), ({"external": [np.ones(K)]}, "for 1"),
    ({"external": 0.5}, "external is 0.5"), ({"external": np.array(0.5)}, "external is"), ({"external": "x"}, "is 'x'"),
    ({"external": [np.ones(K), None]}, "some recordings only"), ({"external": ["a", "b"]}, "external of recording 1")])
def test_settings_that_cannot_be(changes, words):
    with pytest.raises(SpotError, match=words):
        found([X, X], 20.0, **changes)


def test_a_grid_asks_for_what_it_needs_with_the_rates_of_the_training():
    net = model()
    net.settings = {"training_fps": [25.0, 29.97], "class_names": ["a", "b", "c"]}
    with pytest.raises(SpotError, match=r"needs fps.*; the training videos had 25, 29\.97 frames per second"):
        detect(net, X, 20.0, grid="window", temporal_scale=T)
    with pytest.raises(SpotError, match="the resize grid needs duration_sec"):
        detect(net, X, None, grid="resize", temporal_scale=T)


def test_a_path_is_no_model():
    with pytest.raises(SpotError, match=r"the model is a str; give what spot\.load_model returns"):
        detect("runs/x", X, 20.0)


def test_recordings_are_contiguous_float32():
    array, = recordings_of(np.asfortranarray(X.astype(np.float64)), C)
    assert array.dtype == np.float32 and array.flags.c_contiguous
