"""From a ranking to a list of actions: one score threshold, and how good the list above it is. Numpy only.

A list of actions holds the detections at or above a threshold, without overlaps of one class: of two that share time
the one of higher score stays. Whether a detection is in it depends on better ones alone, so a lower threshold only adds
to the list, and one pass down the ranking measures every threshold.

- An action is right where it takes a free segment of its video and class at the middle tIoU of the evaluation, the
  actions in descending score: the rule of `spot.evaluation`, without its difference between protocols. Precision,
  recall and F1 count actions and segments over all videos.
- Segmental F1@k as temporal segmentation reports it (Lea et al., "Temporal Convolutional Networks for Action
  Segmentation and Detection", CVPR 2017): an action belongs to the segment of its video and class with the highest
  tIoU, the earliest where several have it, and is right if that is >= k % and no other right action belongs to it.
- "All classes" counts the actions of all classes together, under one threshold: that is `testing.action_threshold`.
A threshold has to come from other videos than those on which it is measured: `choose_thresholds` on one `Scene`,
`measure` on another.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from spot.matching import class_pairs, match

SEGMENTAL_TIOU = (0.1, 0.25, 0.5)


@dataclass(frozen=True)
class ListQuality:
    """How good a list of actions is.

    threshold: its score threshold, None: no action is right at any, so the list is empty
    num_segments, num_actions, num_right: of the ground truth, of the list, and of those that are right
    segmental_f1: F1@10, F1@25, F1@50
    """

    threshold: float | None
    num_segments: int
    num_actions: int
    num_right: int
    segmental_f1: tuple

    @property
    def precision(self):
        """Share of the actions that are right; None without an action."""
        return self.num_right / self.num_actions if self.num_actions else None

    @property
    def recall(self):
        """Share of the segments that are found."""
        return self.num_right / self.num_segments

    @property
    def f1(self):
        """Harmonic mean of precision and recall, 0 without a right action."""
        return 2 * self.num_right / (self.num_actions + self.num_segments)

    def as_dict(self):
        """As `metrics.json` holds it."""
        names = [f"F1@{100 * tiou:.0f}" for tiou in SEGMENTAL_TIOU]
        return {"threshold": self.threshold, "precision": self.precision, "recall": self.recall, "F1": self.f1,
                **dict(zip(names, self.segmental_f1, strict=True)), "segments": self.num_segments,
                "actions": self.num_actions, "right": self.num_right}


@dataclass(frozen=True)
class Thresholds:
    """Score thresholds of best F1: of all classes together, and {class: its own}; None where no action is right."""

    overall: float | None
    per_class: dict


def middle_tiou(thresholds):
    """The tIoU in the middle of an evaluation's; of an even number the upper of the two: .75 of .5:.05:.95."""
    return float(thresholds[len(thresholds) // 2])


def actions_of(entries, threshold):
    """The actions among the detections of one video, in order of time.

    entries: a list of {"label", "score", "segment": [start_sec, end_sec]}; threshold: score from which on
    """
    likely = [entry for entry in entries if entry["score"] >= threshold]
    if not likely:
        return []
    kept = without_overlaps(np.array([entry["segment"] for entry in likely], float),
                            np.array([entry["score"] for entry in likely], float), [entry["label"] for entry in likely])
    return sorted((likely[index] for index in kept), key=lambda entry: (*entry["segment"], entry["label"]))


def without_overlaps(segments_sec, scores, groups):
    """Indices, ascending, of the segments that share no time with a kept one of their group that goes first.

    segments_sec: (P, 2); scores: (P,); groups: P hashable values, such as (video, class)
    The higher score goes first, then the earlier start, then the earlier end. Segments that only touch do not overlap.
    """
    taken = defaultdict(list)  # group -> its kept segments, in order of time
    kept = []
    for index in np.lexsort((segments_sec[:, 1], segments_sec[:, 0], -scores)).tolist():
        start, end = segments_sec[index].tolist()
        others = taken[groups[index]]
        place = bisect_left(others, (start, end))
        if (place and others[place - 1][1] > start) or (place < len(others) and others[place][0] < end):
            continue
        insort(others, (start, end))
        kept.append(index)
    return sorted(kept)


def actions_in(scene):
    """The scene (`evaluation.Scene`) with its detections reduced to those that no list of actions leaves out."""
    groups = (scene.video * len(scene.classes) + scene.label).tolist()
    kept = np.array(without_overlaps(scene.segments_sec, scene.scores, groups), int)
    return _only(scene, kept)


def of_ground_truth(scene):
    """The scene without detections in videos outside its ground truth, such as those of another subset in one file."""
    return _only(scene, scene.video < scene.num_videos)


def _only(scene, kept):
    """The scene with only the detections `kept`, indices or a mask."""
    return replace(scene, **{name: getattr(scene, name)[kept]
                             for name in ("video", "label", "segments_sec", "scores", "tied")})


def right_actions(scene, tiou):
    """(P,) bool, the detections of a scene that take a segment at `tiou`, the best first."""
    pairs = class_pairs(scene, tiou)
    return match(*pairs, np.array([tiou]), len(scene.scores), len(scene.gt_sec))[0] >= 0


def choose_thresholds(scene, tiou):
    """The score thresholds of best F1 at `tiou`, over the videos of a scene, as `Thresholds`."""
    scene = actions_in(scene)
    right = right_actions(scene, tiou)
    of_class = [scene.label == index for index in range(len(scene.classes))]
    return Thresholds(
        best_threshold(scene.scores, right, len(scene.gt_sec)),
        {name: best_threshold(scene.scores[mine], right[mine], positives) for name, mine, positives in
         zip(scene.classes, of_class, scene.positives.tolist(), strict=True)})


def best_threshold(scores, right, num_segments):
    """The score from which on F1 is best, the highest of several; None where nothing is right.

    scores: (P,); right: (P,) bool; num_segments: of the ground truth
    Any score between the last action of that list and the next lower one gives the same list here. The middle of this
    gap is taken, because elsewhere the scores of right actions are lower: a model that has learned from these videos
    is sure of every segment, and its least sure one would be too high a bar for others.
    """
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(right[order])
    if not len(found) or not found[-1]:
        return None
    f1 = 2 * found / (np.arange(len(found)) + 1 + num_segments)
    f1[:-1][scores[1:] == scores[:-1]] = -1  # no threshold parts equal scores
    best = int(f1.argmax())
    return float(scores[best : best + 2].mean())


def measure(scene, thresholds, tiou):
    """How good the lists of actions of a scene are under given `Thresholds`.

    Returns the `ListQuality` of all classes together, and {class: its own} under its own threshold. A class without
    one, or that the thresholds do not know, has an empty list.
    """
    scene = actions_in(scene)
    own = [thresholds.per_class.get(name) for name in scene.classes]
    together = [column.sum(axis=0) for column in _count(scene, scene.scores >= _limit(thresholds.overall), tiou)]
    limits = np.array([_limit(threshold) for threshold in own])
    counts = zip(*_count(scene, scene.scores >= limits[scene.label], tiou), strict=True)
    by_class = [_quality(threshold, *of_class) for threshold, of_class in zip(own, counts, strict=True)]
    return _quality(thresholds.overall, *together), dict(zip(scene.classes, by_class, strict=True))


def _limit(threshold):
    return np.inf if threshold is None else threshold


def _quality(threshold, segments, actions, right, segmental):
    """`ListQuality` from counts; segmental: (3,) actions that are right as F1@k counts them."""
    return ListQuality(threshold, int(segments), int(actions), int(right),
                       tuple((2 * segmental / (segments + actions)).tolist()))


def _count(scene, above, tiou):
    """Counts per class of the list of actions `above`, a mask: segments (K,), actions (K,), right ones (K,), (K, 3)."""
    scene, num_classes = _only(scene, above), len(scene.classes)
    right = np.bincount(scene.label[right_actions(scene, tiou)], minlength=num_classes)
    return scene.positives, np.bincount(scene.label, minlength=num_classes), right, _segmental_right(scene)


def _segmental_right(scene):
    """(K, 3) segments that an action belongs to with a tIoU of at least each of SEGMENTAL_TIOU: right actions."""
    action, segment, tiou = class_pairs(scene, min(SEGMENTAL_TIOU))
    # The last of each action is the segment that it belongs to: highest tIoU, then earliest.
    order = np.lexsort((-segment, -scene.gt_sec[segment, 1], -scene.gt_sec[segment, 0], tiou, action))
    last = order[np.flatnonzero(np.diff(action[order], append=-1))]
    return np.stack([np.bincount(scene.gt_class[np.unique(segment[last][tiou[last] >= least])],
                                 minlength=len(scene.classes)) for least in SEGMENTAL_TIOU], axis=1)
