"""The rules by which the field's kits judge detections: who is right, which ties come first, what a duplicate is.

Protocols
- `activitynet`, the official kit of the ActivityNet challenge, which OpenTAD, ActionFormer and the EPIC-KITCHENS
  evaluator follow: the detections of a class, pooled over all videos, are taken in descending score; each takes the
  still free segment of its video and class with the highest tIoU, and is right if that is >= the threshold. tIoU
  divides by the sum of both lengths less what they share. AP is interpolated (VOC 2011: precision at a recall is the
  best precision at that recall or beyond, summed over every step of recall).
- `thumos14`, the toolkit of the THUMOS14 challenge (TH14evalDet_Updated): it goes through the segments of a video, in
  the order of its list, and each takes the still free detection of highest tIoU, which must be > the threshold. tIoU
  divides by last end less first start, which rounds differently at exact thresholds. A detection that took nothing and
  overlaps a segment marked Ambiguous, however little, is left out. AP is the sum of the precisions at each right
  detection over the number of segments, not interpolated. (Its first release, TH14evaldet, read the precision at eleven
  recalls and put all right detections of a score before the wrong ones.)

Ties. No protocol depends on the order of the keys in a file.
- `thumos14`: equal scores go by the name of the video, then by the place in the list of that video, as the toolkit's
  stable sorts over videos in alphabetical order have it. Of equal tIoU the detection that comes first in that order is
  taken.
- `activitynet`: equal scores go by the name of the video, then by start, then by end; equal tIoU goes to the segment
  that starts first, then to the one that ends first. The official kit, OpenTAD, ActionFormer and the EPIC-KITCHENS
  evaluator leave this open: they sort by numpy's default sort, which is unstable, and read the result backwards.

Duplicates. Annotations that stand twice stay and count, as in the official kit, unless a rule is named:
- `opentad`: a segment with end <= start goes; of segments of one label whose starts and whose ends lie within 1e-3 s of
  each other in a video, the first in its list stays.
- `actionformer`: the same, but every segment shorter than 1e-3 s goes.
- `repeats`: only the repeated ones go, as in ActionFormer's first release.
"""

from dataclasses import replace

import numpy as np

from spot.average_precision import average_precision
from spot.files import SpotError
from spot.matching import class_pairs, inverse, match, overlapping_pairs, tiou_by_lengths, tiou_by_span

PROTOCOLS = ("activitynet", "thumos14")
TIE_RULES = {
    "activitynet": "ordered by the name of the video, then by start and end; the kits leave it open",
    "thumos14": "ordered by the name of the video, then by the place in its list, as in the toolkit",
}
TOLERANCE_SEC = 1e-3  # OpenTAD and ActionFormer
DUPLICATE_RULES = {
    "opentad": lambda length_sec: length_sec > 0,
    "actionformer": lambda length_sec: length_sec >= TOLERANCE_SEC,
    "repeats": lambda length_sec: np.ones(len(length_sec), bool),
}


# --- order ------------------------------------------------------------------------------------------------------------


def judging_order(label, scores, video_rank, segments_sec, list_rank, protocol):
    """Detections by class, then by descending score, ties by the rule of the protocol; and which of them tie.

    label, scores, video_rank: (P,), the last by name of the video; segments_sec: (P, 2)
    list_rank: (P,) by place in the list of the video (by its id as written, should a video have two)
    Returns order (P,) indices and tied (P,) bool in that order: has another detection of the class the same score?
    """
    order = np.lexsort((-scores, label))
    repeats = (np.diff(label[order]) == 0) & (np.diff(scores[order]) == 0)
    tied = np.concatenate([[False], repeats]) | np.concatenate([repeats, [False]]) if len(order) else repeats
    some = order[tied]
    keys = ([list_rank[some]] if protocol == "thumos14" else
            [list_rank[some], segments_sec[some, 1], segments_sec[some, 0]])
    order[tied] = some[np.lexsort((*keys, video_rank[some], -scores[some], label[some]))]
    return order, tied


def deciding_ties(scene, matches, counted):
    """How many detections tie where it matters: with others of their class, right and wrong ones at some tIoU.

    matches, counted: (R, P) as in `Evaluation`
    """
    tied = np.flatnonzero(scene.tied)
    if not len(tied):
        return 0
    is_new = (np.diff(scene.label[tied], prepend=-1) != 0) | (np.diff(scene.scores[tied], prepend=np.nan) != 0)
    group = np.cumsum(is_new) - 1
    decides = np.zeros(group[-1] + 1, bool)
    for of_threshold, counts in zip(matches[:, tied], counted[:, tied], strict=True):
        right = np.bincount(group, weights=of_threshold >= 0)
        wrong = np.bincount(group, weights=(of_threshold < 0) & counts)
        decides |= (right > 0) & (wrong > 0)
    return int(decides[group].sum())


# --- duplicates -------------------------------------------------------------------------------------------------------


def check_duplicate_rule(rule):
    """The name of a duplicate rule, None for none; True, of older calls, is OpenTAD's. SpotError for another."""
    if rule is None or rule is False:
        return None
    rule = "opentad" if rule is True else rule
    if rule not in DUPLICATE_RULES:
        raise SpotError(f"duplicate rule {rule!r} is unknown; choose one of {', '.join(DUPLICATE_RULES)}")
    return rule


def without_duplicates(video, rule):
    """The video without the segments that a duplicate rule drops; how many were too short, how many repeat another.

    rule: name in DUPLICATE_RULES
    """
    segments_sec = np.asarray(video.segments_sec, float).reshape(-1, 2)
    long_enough = np.flatnonzero(DUPLICATE_RULES[rule](segments_sec[:, 1] - segments_sec[:, 0]))
    kept = []
    for index in long_enough:
        segment, label = segments_sec[index], video.labels[index]
        repeats = (label == video.labels[other] and np.abs(segment - segments_sec[other]).max() <= TOLERANCE_SEC
                   for other in kept)
        if not any(repeats):
            kept.append(int(index))
    video = replace(video, segments_sec=segments_sec[kept], labels=tuple(video.labels[index] for index in kept))
    return video, len(segments_sec) - len(long_enough), len(long_enough) - len(kept)


# --- judgment ---------------------------------------------------------------------------------------------------------


def score_scene(scene, thresholds, protocol="activitynet"):
    """AP (K, R), matches (R, P) and counted (R, P) of a scene; see `Evaluation`.

    thresholds: (R,) tIoU array; protocol: one of PROTOCOLS
    """
    num_detections, num_segments = len(scene.scores), len(scene.gt_sec)
    counted = np.ones((len(thresholds), num_detections), bool)
    if protocol == "thumos14":
        detection, segment, tiou = class_pairs(scene, thresholds.min(), tiou_by_span)
        strictly_above = np.nextafter(thresholds, 2)
        taken = match(segment, detection, tiou, strictly_above, num_segments, num_detections)
        matches = np.stack([inverse(row, num_detections) for row in taken]).astype(np.int32)
        counted[:, _overlaps_ambiguous(scene)] = False
        counted |= matches >= 0
    else:
        detection, segment, tiou = class_pairs(scene, thresholds.min(), tiou_by_lengths)
        matches = match(detection, segment, tiou, thresholds, num_detections, num_segments, scene.gt_rank)
    ap = average_precision(matches >= 0, counted, scene.label, scene.positives, interpolated=protocol != "thumos14")
    return ap, matches, counted


def _overlaps_ambiguous(scene):
    """Detections (indices) that share any time with an Ambiguous segment of their video."""
    smallest = np.nextafter(0, 1)
    return np.unique(overlapping_pairs(scene.video, scene.segments_sec, scene.ambiguous_video, scene.ambiguous_sec,
                                       smallest, tiou_by_span)[0])
