"""Gaussian Soft-NMS by hand, and the batch version against a plain loop."""

import math

import numpy as np
import pytest
from cases import cases
from hypothesis import given
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


def distinct(group, offset=0.0):
    """Scores that no two segments share, also after they were lowered: the order of ties is open."""
    return np.array([(min(a, b), max(a, b), (s + 0.37 * i / (1 + i) + offset) / 1001)
                     for i, (a, b, s) in enumerate(group)]).reshape(-1, 3)


@cases(100)
@given(st.lists(groups, min_size=1, max_size=3), st.sampled_from([0.1, 0.4, 0.9]), st.sampled_from([0.001, 0.2]),
       st.integers(1, 15))
def test_the_batch_matches_the_plain_loop(videos, sigma, min_score, max_detections):
    """Several videos of several classes at once, padded with score 0, give what a plain loop gives for every class
    alone, sorted, the best `max_detections` of each video."""
    videos = [[distinct(group, 0.011 * g) for g, group in enumerate(video)] for video in videos]
    most, longest = max(map(len, videos)), max(1, *(len(group) for video in videos for group in video))
    padded = np.zeros((len(videos), most, longest, 3))
    for v, video in enumerate(videos):
        for g, group in enumerate(video):
            padded[v, g, : len(group)] = group
    segments, labels, scores = soft_nms_batch(padded[..., :2], padded[..., 2], sigma, min_score, max_detections)
    for v, video in enumerate(videos):
        alone = [plain_soft_nms(group[:, :2], group[:, 2], sigma, min_score, max_detections) for group in video]
        wanted = np.concatenate([np.insert(rows, 3, g, 1) for g, rows in enumerate(alone)])
        wanted = wanted[np.argsort(-wanted[:, 2], kind="stable")][:max_detections]
        keep = scores[v] > 0
        assert scores[v, keep] == pytest.approx(wanted[:, 2], rel=1e-9)
        assert segments[v, keep] == pytest.approx(wanted[:, :2]) and (labels[v, keep] == wanted[:, 3]).all()
        assert keep.tolist() == sorted(keep.tolist(), reverse=True)  # what is kept stands first


def test_classes_that_share_their_segments():
    """One row of segments for both classes is the same as a copy for each."""
    segments = np.array([[[[0, 8], [20, 30], [0, 10]]]], float)
    scores = np.array([[[0.8, 0.7, 0.9], [0.6, 0.1, 0.2]]])
    shared = soft_nms_batch(segments, scores, 0.5, 0.01, 5)
    copied = soft_nms_batch(segments.repeat(2, 1), scores, 0.5, 0.01, 5)
    assert all((one == other).all() for one, other in zip(shared, copied, strict=True))
    assert shared[1].tolist() == [[0, 0, 1, 0, 1]]  # .9, .7, .6, .8 * exp(-1.28) = .22, .1


def test_a_class_does_not_lower_another():
    """The same segment in two classes: both keep their scores; the twin in the first class falls by exp(-2)."""
    segments = np.array([[[[0, 5], [0, 5]]]], float)
    kept, labels, scores = soft_nms_batch(segments, np.array([[[0.9, 0.8], [0.7, 0.0]]]), 0.5, 0.01, 9)
    assert labels[0, :3].tolist() == [0, 1, 0] and (kept[0, :3] == [0, 5]).all()
    assert scores[0] == pytest.approx([0.9, 0.7, 0.8 * math.exp(-2), 0])


def test_no_class_and_no_segment_are_fine():
    for classes, count in ((0, 3), (2, 0)):
        kept, labels, scores = soft_nms_batch(np.zeros((1, classes, count, 2)), np.zeros((1, classes, count)), 1, 0, 5)
        assert kept.shape == (1, 0, 2) and labels.shape == scores.shape == (1, 0)


@cases(50)
@given(groups)
def test_scores_only_ever_fall(found):
    """The published divisor raised the scores of weakly overlapping segments; here none exceeds where it started."""
    for group in found:
        group = distinct(group)
        _segments, scores = soft_nms(group[:, :2], group[:, 2], 0.4, 1e-6, 100)
        assert (np.diff(scores) <= 0).all() and (len(group) == 0 or scores[0] == group[:, 2].max())
        assert (np.sort(group[:, 2])[::-1][: len(scores)] >= scores - 1e-12).all()


def test_inputs_stay_as_they_were():
    segments, scores = np.array([[[[0.0, 5], [1, 5]]]]), np.array([[[0.5, 0.9]]])
    before = segments.copy(), scores.copy()
    soft_nms_batch(segments, scores, 0.5, 0.01, 5)
    assert (segments == before[0]).all() and (scores == before[1]).all()
