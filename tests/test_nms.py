"""Gaussian Soft-NMS by hand, and the batch version against a plain loop."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spot
from spot.nms import soft_nms, soft_nms_batch


def plain_soft_nms(segments, scores, sigma, min_score, max_detections):
    """The textbook loop: take the best, lower the rest by exp(-tIoU^2 / sigma), drop what falls below min_score."""
    left = [(score, list(segment)) for segment, score in zip(segments, scores, strict=True) if score >= min_score]
    kept = []
    while left and len(kept) < max_detections:
        best = max(range(len(left)), key=lambda i: left[i][0])
        score, (start, end) = left.pop(best)
        kept.append((start, end, score))
        lowered = []
        for other, (a, b) in left:
            intersection = max(0, min(b, end) - max(a, start))
            union = (b - a) + (end - start) - intersection
            overlap = intersection / union if union > 0 else 0
            lowered.append((other * math.exp(-(overlap**2) / sigma), [a, b]))
        left = [item for item in lowered if item[0] >= min_score]
    return np.array(kept).reshape(-1, 3)


def test_soft_nms_matches_three_segments_done_by_hand():
    """[0, 10] at 0.9 comes first. [0, 8] shares 8 of 10 with it: 0.8 * exp(-0.8^2 / 0.5) = 0.8 * exp(-1.28) = 0.2224.
    [20, 30] shares nothing and keeps 0.7, so it comes second."""
    segments, scores = soft_nms([[0, 8], [20, 30], [0, 10]], [0.8, 0.7, 0.9], 0.5, 0.01, 10)
    assert segments.tolist() == [[0, 10], [20, 30], [0, 8]]
    assert scores == pytest.approx([0.9, 0.7, 0.8 * math.exp(-1.28)])


def test_spot_exports_it():
    assert spot.soft_nms is soft_nms


def test_min_score_drops_what_falls_below_it():
    """0.2224 is below 0.3; a segment that starts below it is never kept either."""
    _, scores = soft_nms([[0, 8], [20, 30], [0, 10], [50, 60]], [0.8, 0.7, 0.9, 0.29], 0.5, 0.3, 10)
    assert scores.tolist() == [0.9, 0.7]


def test_max_detections_keeps_the_best():
    _, scores = soft_nms([[i, i + 1] for i in range(5)], [0.1, 0.5, 0.3, 0.4, 0.2], 0.5, 0.01, 3)
    assert scores.tolist() == [0.5, 0.4, 0.3]


def test_nothing_in_nothing_out():
    segments, scores = soft_nms(np.zeros((0, 2)), [], 0.5, 0.01, 5)
    assert segments.shape == (0, 2) and scores.shape == (0,)
    assert len(soft_nms([[0, 1]], [0.0], 0.5, 0, 5)[0]) == 0


def test_a_segment_without_length_neither_lowers_nor_is_lowered():
    _, scores = soft_nms([[3, 3], [3, 3], [2, 4]], [0.9, 0.8, 0.7], 0.5, 0.01, 5)
    assert scores.tolist() == [0.9, 0.8, 0.7]


def test_twins_fall_by_the_whole_gaussian():
    """tIoU 1, sigma 0.5: 0.9 * exp(-2)."""
    _, scores = soft_nms([[0, 5], [0, 5]], [0.9, 0.9], 0.5, 0.001, 5)
    assert scores == pytest.approx([0.9, 0.9 * math.exp(-2)])


groups = st.lists(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 1000)), max_size=12),
                  min_size=1, max_size=4)


def distinct(group):
    """Scores that no two segments share, also after they were lowered: the order of ties is open."""
    return np.array([(a, b, (s + 0.37 * i / (1 + i)) / 1001) for i, (a, b, s) in enumerate(group)]).reshape(-1, 3)


@settings(deadline=None, max_examples=150)
@given(groups, st.sampled_from([0.1, 0.4, 0.9]), st.sampled_from([0.001, 0.2]), st.integers(1, 15))
def test_the_batch_matches_the_plain_loop(found, sigma, min_score, max_detections):
    """Several groups at once, padded with score 0, give what each gives alone in a plain loop; float64."""
    found = [distinct([(min(a, b), max(a, b), s) for a, b, s in group]) for group in found]
    most = max(1, *(len(group) for group in found))
    padded = np.zeros((len(found), most, 3))
    for row, group in zip(padded, found, strict=True):
        row[: len(group)] = group
    batch = torch.from_numpy(padded)
    segments, scores = soft_nms_batch(batch[..., :2], batch[..., 2], sigma, min_score, max_detections)
    for g, group in enumerate(found):
        wanted = plain_soft_nms(group[:, :2], group[:, 2], sigma, min_score, max_detections)
        keep = scores[g] > 0
        assert scores[g, keep].numpy() == pytest.approx(wanted[:, 2], rel=1e-9)
        assert segments[g, keep].numpy() == pytest.approx(wanted[:, :2])
        assert keep.tolist() == sorted(keep.tolist(), reverse=True)  # what is kept stands first


@settings(deadline=None, max_examples=50)
@given(groups)
def test_scores_only_ever_fall(found):
    """The published divisor raised the scores of weakly overlapping segments; here none exceeds where it started."""
    for group in found:
        group = distinct([(min(a, b), max(a, b), s) for a, b, s in group])
        _segments, scores = soft_nms(group[:, :2], group[:, 2], 0.4, 1e-6, 100)
        assert (np.diff(scores) <= 0).all() and (len(group) == 0 or scores[0] == group[:, 2].max())
        assert (np.sort(group[:, 2])[::-1][: len(scores)] >= scores - 1e-12).all()


def test_inputs_stay_as_they_were():
    segments, scores = torch.tensor([[[0.0, 5], [1, 5]]]), torch.tensor([[0.5, 0.9]])
    before = segments.clone(), scores.clone()
    soft_nms_batch(segments, scores, 0.5, 0.01, 5)
    assert torch.equal(segments, before[0]) and torch.equal(scores, before[1])
