"""How many segments detections find: AR@AN of the ActivityNet proposal task, and recall at top-kx. Numpy only."""

from dataclasses import dataclass

import numpy as np

from spot.evaluation import ACTIVITYNET_TIOU
from spot.matching import class_pairs, overlapping_pairs


@dataclass(frozen=True)
class AverageRecall:
    """AR@AN: recall (R, 100) and its mean over tIoU, average (100,), at `number` (100,) proposals per video on average.

    area: the area under `average`, over the last number (so 0.99 at the very best, as in the official kit).
    """

    number: np.ndarray
    recall: np.ndarray
    average: np.ndarray
    area: float


def average_recall(scene, thresholds=ACTIVITYNET_TIOU, most=100):
    """AR@AN of the ActivityNet proposal task, class-agnostic, AN from 1 to `most`, as an `AverageRecall`.

    scene: evaluation.Scene; thresholds: (R,) tIoU
    As in the official kit, AN is an average over videos: each video gives the same share of its own proposals, rounded
    down. Videos without a segment, and proposals elsewhere, are left out (the kit lets the latter change the share).
    """
    annotated = np.bincount(scene.gt_video, minlength=len(scene.videos)) > 0
    available = np.bincount(scene.video, minlength=len(scene.videos)) * annotated  # proposals per video
    num_videos = annotated.sum()
    number = np.arange(1, most + 1).astype(float)
    if not available.any():
        return AverageRecall(number, np.zeros((len(thresholds), most)), np.zeros(most), 0.0)
    share = most * num_videos / available.sum()
    used = np.minimum((available * share).astype(int), available)
    part = number / most * (most * num_videos / used.sum())
    allowed = np.minimum((used[:, None] * part).astype(int), used[:, None])  # (videos, most)

    rank = rank_in_group(scene.video, scene.scores, scene.segments_sec)
    detection, segment, tiou = overlapping_pairs(scene.video, scene.segments_sec, scene.gt_video, scene.gt_sec,
                                                 min(thresholds))
    recall = np.empty((len(thresholds), most))
    for row, threshold in enumerate(thresholds):
        near = tiou >= threshold
        first_rank = np.full(len(scene.gt_sec), len(scene.scores))
        np.minimum.at(first_rank, segment[near], rank[detection[near]])
        recall[row] = (first_rank[:, None] < allowed[scene.gt_video]).mean(axis=0)
    average = recall.mean(axis=0)
    area = ((average[1:] + average[:-1]) / 2 * np.diff(number)).sum() / number[-1]
    return AverageRecall(number, recall, average, float(area))


def recall_at_top(result, times=(1, 5)):
    """Recall at top-kx (OpenTAD, ActionFormer), (len(times), R), mean over classes.

    Of a class with G segments in a video, the best k G detections there may find them, each as many as it likes.
    """
    scene = result.scene
    group = scene.video * len(scene.classes) + scene.label
    gt_group = scene.gt_video * len(scene.classes) + scene.gt_class
    rank = rank_in_group(group, scene.scores)
    detection, segment, tiou = class_pairs(scene, result.tiou_thresholds.min())
    segments_in_group = np.bincount(gt_group)[gt_group[segment]]
    recall = np.empty((len(times), len(result.tiou_thresholds)))
    for row, k in enumerate(times):
        for column, threshold in enumerate(result.tiou_thresholds):
            finds = (tiou >= threshold) & (rank[detection] < k * segments_in_group)
            found = np.zeros(len(scene.gt_sec), bool)
            found[segment[finds]] = True
            recall[row, column] = (np.bincount(scene.gt_class, weights=found) / scene.positives).mean()
    return recall


def rank_in_group(group, scores, segments_sec=None):
    """(P,) place of each detection in its group by descending score, from 0; ties in the order of their index.

    group: (P,) ints; scores: (P,); segments_sec: (P, 2), for ties across classes, which go by start and end before that
    """
    times_sec = () if segments_sec is None else (segments_sec[:, 1], segments_sec[:, 0])
    order = np.lexsort((*times_sec, -scores, group))
    in_order = group[order]
    rank = np.empty(len(group), int)
    rank[order] = np.arange(len(group)) - np.searchsorted(in_order, in_order)
    return rank
