"""Which detection meets which segment: tIoU of pairs, and who takes whom. Numpy only."""

import numpy as np

PAIRS_AT_ONCE = 4_000_000  # bounds the memory of one step of `overlapping_pairs` to some 300 MB


def tiou_by_lengths(segments_sec, gt_sec):
    """tIoU (M,) of segments (M, 2) and (M, 2), one by one, over the sum of their lengths less what they share.

    In the order of operations of the ActivityNet kit and its followers; 0 where both are empty.
    """
    intersection = _intersection(segments_sec, gt_sec)
    union = (segments_sec[:, 1] - segments_sec[:, 0]) + (gt_sec[:, 1] - gt_sec[:, 0]) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def tiou_by_span(segments_sec, gt_sec):
    """The same over last end less first start, as the THUMOS14 toolkit has it: equal but for the last digit."""
    intersection = _intersection(segments_sec, gt_sec)
    span = np.maximum(segments_sec[:, 1], gt_sec[:, 1]) - np.minimum(segments_sec[:, 0], gt_sec[:, 0])
    return np.divide(intersection, span, out=np.zeros_like(intersection), where=span > 0)


def _intersection(segments_sec, gt_sec):
    ends_sec, starts_sec = np.minimum(segments_sec[:, 1], gt_sec[:, 1]), np.maximum(segments_sec[:, 0], gt_sec[:, 0])
    return (ends_sec - starts_sec).clip(min=0)


def class_pairs(scene, min_tiou, tiou=tiou_by_lengths):
    """`overlapping_pairs` of detections and segments of the same video and class."""
    num_classes = len(scene.classes)
    return overlapping_pairs(scene.video * num_classes + scene.label, scene.segments_sec,
                             scene.gt_video * num_classes + scene.gt_class, scene.gt_sec, min_tiou, tiou)


def overlapping_pairs(group, segments_sec, gt_group, gt_sec, min_tiou, tiou=tiou_by_lengths):
    """Every pair of a detection and a segment of one group that overlap by at least `min_tiou` > 0.

    group: (P,), gt_group: (N,) integers; segments_sec: (P, 2), gt_sec: (N, 2); tiou: how it is rounded
    Returns detection, segment, tIoU: arrays of one length, by detection, then by segment.
    """
    gt_order = np.argsort(gt_group, kind="stable")
    first = np.searchsorted(gt_group, group, "left", gt_order)
    count = np.searchsorted(gt_group, group, "right", gt_order) - first
    candidates = np.flatnonzero(count)
    pieces = []
    for part in np.split(candidates, np.flatnonzero(np.diff(np.cumsum(count[candidates]) // PAIRS_AT_ONCE)) + 1):
        detection = np.repeat(part, count[part])
        start_of_run = np.cumsum(count[part]) - count[part]
        within_run = np.arange(len(detection)) - np.repeat(start_of_run, count[part])
        segment = gt_order[np.repeat(first[part], count[part]) + within_run]
        overlap = tiou(segments_sec[detection], gt_sec[segment])
        near = overlap >= min_tiou
        pieces.append((detection[near], segment[near], overlap[near]))
    return tuple(np.concatenate(column) for column in zip(*pieces, strict=True))


def match(chooser, target, tiou, thresholds, num_choosers, num_targets, target_rank=None):
    """Choosers, in the order of their index, take the free target of highest tIoU >= threshold each.

    chooser, target, tiou: (M,) the pairs that may match
    thresholds: (R,); num_choosers, num_targets: how many there are, also without a pair
    target_rank: (num_targets,) a tie of tIoU goes to the lower one, None: to the lower target
    Returns (R, num_choosers) the target taken at each threshold, -1 none.

    All groups run at once. Every target prefers the chooser that comes first, so taking turns gives the one stable
    matching, and that can be found by proposals (Gale and Shapley 1962): everyone asks for the best target left on
    their list, a target keeps the first in order, the others go on to their next.
    """
    by_preference = np.lexsort((target if target_rank is None else target_rank[target], -tiou, chooser))
    chooser, target, tiou = chooser[by_preference], target[by_preference], tiou[by_preference]
    matches = np.empty((len(thresholds), num_choosers), np.int32)  # the largest array of an evaluation
    for row, threshold in enumerate(thresholds):
        near = tiou >= threshold
        matches[row] = _match(chooser[near], target[near], num_choosers, num_targets)
    return matches


def _match(chooser, target, num_choosers, num_targets):
    """`match` at one threshold: (M,) pairs by chooser, then by preference -> (num_choosers,)."""
    end = np.cumsum(np.bincount(chooser, minlength=num_choosers))
    position = np.concatenate([[0], end[:-1]]) if num_choosers else end
    nobody = num_choosers
    holder = np.full(num_targets, nobody)
    asking = np.flatnonzero(position < end)
    while len(asking):
        wanted = target[position[asking]]
        before = holder[wanted]
        np.minimum.at(holder, wanted, asking)
        won = holder[wanted] == asking
        displaced = before[won & (before != nobody)]
        refused = np.concatenate([asking[~won], displaced])
        position[refused] += 1
        asking = refused[position[refused] < end[refused]]
    return inverse(np.where(holder == nobody, -1, holder), num_choosers)


def inverse(taken_by, size):
    """(N,) index or -1 -> (size,): at each index, who has it, -1 nobody."""
    inverse = np.full(size, -1)
    has = np.flatnonzero(taken_by >= 0)
    inverse[taken_by[has]] = has
    return inverse
