"""What the report, the exported tables and metrics.json hold of one evaluation. Numpy only, no pictures."""

import warnings
from dataclasses import dataclass

import numpy as np

from spot.diagnosis import BINS, TOP_SPLITS, Diagnosis, diagnose, found_segments, segment_properties, split_of
from spot.evaluation import Evaluation, threshold_key, video_scores
from spot.intervals import half_samples, interval_from_halves
from spot.operating_point import SEGMENTAL_TIOU, ListQuality
from spot.recall import AverageRecall, average_recall, recall_at_top

TOP_TIMES = (1, 5)
RECALL_AT = (1, 5, 10, 50, 100)


ACTION_HEAD = ("score from", "segments", "actions", "precision", "recall", "F1",
               *(f"F1@{100 * tiou:.0f}" for tiou in SEGMENTAL_TIOU))


def action_cells(quality):
    """The texts of one `ListQuality` under ACTION_HEAD, measures in %."""
    return ["none" if quality.threshold is None else f"{quality.threshold:.3g}", f"{quality.num_segments:,}",
            f"{quality.num_actions:,}", "-" if quality.precision is None else f"{100 * quality.precision:.1f}",
            *(f"{100 * value:.1f}" for value in (quality.recall, quality.f1, *quality.segmental_f1))]


@dataclass(frozen=True)
class OperatingPoint:
    """How good the lists of actions are: of all classes together, and {class: its own}.

    chosen_on: words for the videos on which the thresholds were chosen; tiou: at which an action is right
    """

    overall: ListQuality
    per_class: dict
    chosen_on: str
    tiou: float

    def as_metrics(self):
        """As `metrics.json` holds it."""
        return {"chosen_on": self.chosen_on, "tiou": self.tiou, "overall": self.overall.as_dict(),
                "per_class": {name: quality.as_dict() for name, quality in self.per_class.items()}}


@dataclass(frozen=True)
class Findings:
    """Measures of one evaluation beside its mAP; K classes, R tIoU thresholds.

    interval: 95 % bounds (low, high) of average mAP, see `spot.intervals`; at_tiou: (R, 2) the same of mAP at each
        tIoU; of_class: (K, 2) of the average AP of each class; number: of random halves of the videos
    top_recall: (2, R) recall at top-1x and top-5x; video_scores: (V,) AP of each video
    split_counts: (10,) detections in each split of the diagnosis' profile
    missed_bounds: {characteristic: (buckets, 2)} 95 % interval of the share of missed segments, over the videos
    operating_point: None where there is no threshold
    """

    result: Evaluation
    diagnosis: Diagnosis
    recall: AverageRecall
    top_recall: np.ndarray
    interval: tuple
    at_tiou: np.ndarray
    of_class: np.ndarray
    number: int
    video_scores: np.ndarray
    split_counts: np.ndarray
    missed_bounds: dict
    operating_point: OperatingPoint | None = None

    def as_metrics(self):
        """{key: value} for `metrics.json`; every measure is in 0..1."""
        actions = {} if self.operating_point is None else {"actions": self.operating_point.as_metrics()}
        return {**interval_metrics(self.result, self.interval, self.at_tiou),
                "recall": recall_metrics(self.recall, self.top_recall),
                "diagnosis": diagnosis_metrics(self.diagnosis), **actions}


def gather(result, number=1000, operating_point=None):
    """The `Findings` of an `Evaluation`; number: of random halves of the videos, and of resamples of them."""
    diagnosis, samples = diagnose(result), np.stack(list(half_samples(result, number)))  # samples: (number, R, K)
    with warnings.catch_warnings():  # a half may hold no segment at all
        warnings.simplefilter("ignore", RuntimeWarning)
        at_tiou, of_class = np.nanmean(samples, axis=2), samples.mean(axis=1)

    def bounds(halves, value):
        return interval_from_halves(halves, value, result.num_videos)

    return Findings(
        result=result, diagnosis=diagnosis, recall=average_recall(result.scene),
        top_recall=recall_at_top(result, TOP_TIMES), interval=bounds(at_tiou.mean(axis=1), result.average_mAP),
        at_tiou=np.array([bounds(*pair) for pair in zip(at_tiou.T, result.mAP, strict=True)]),
        of_class=np.array([bounds(*pair) for pair in zip(of_class.T, result.ap.mean(axis=1), strict=True)]),
        number=number, video_scores=video_scores(result), split_counts=split_counts(result),
        missed_bounds=missed_bounds(result, BINS[diagnosis.bins], number), operating_point=operating_point)


def split_counts(result):
    """(10,) the detections among the best G of each class, the next G, ... as the error profile counts them."""
    row = int(np.abs(result.tiou_thresholds - 0.5).argmin())  # THUMOS14 leaves out some detections at each tIoU
    return np.bincount(split_of(result.scene)[result.counted[row]], minlength=TOP_SPLITS)[:TOP_SPLITS]


def missed_bounds(result, bins, resamples, seed=0):
    """{characteristic: (buckets, 2)} 95 % interval of the share of missed segments over resampled videos; NaN if empty.

    bins: {characteristic: upper edges}, a value of `diagnosis.BINS`
    """
    scene = result.scene
    missed = 1 - found_segments(result).mean(axis=0)  # (N,) share of the tIoU thresholds at which it is missed
    drawn = np.random.default_rng(seed).multinomial(scene.num_videos, np.full(scene.num_videos, 1 / scene.num_videos),
                                                    size=resamples)
    bounds = {}
    for name, values in segment_properties(scene).items():
        num_buckets = len(bins[name]) + 1
        place = scene.gt_video * num_buckets + np.searchsorted(bins[name], values, "left")
        size = scene.num_videos * num_buckets
        counts, sums = (np.bincount(place, weights=weights, minlength=size).reshape(-1, num_buckets)
                        for weights in (None, missed))
        with np.errstate(invalid="ignore"):  # a resample may hold no segment of a bucket
            shares = (drawn @ sums) / (drawn @ counts)
        bounds[name] = np.array([np.nanquantile(column, [0.025, 0.975]) if np.isfinite(column).any() else [np.nan] * 2
                                 for column in shares.T])
    return bounds


def metrics_of(result, subset, unlabeled):
    """The content of metrics.json without what flags add; every measure is in 0..1.

    result: `Evaluation`; unlabeled: classes without a labeled training video, None where that is not known
    """
    keys = tiou_keys(result)
    return {
        "average_mAP": result.average_mAP,
        "mAP": dict(zip(keys, result.mAP.tolist(), strict=True)),
        "whole_video_average_mAP": result.whole_video_average_mAP,
        "num_videos": result.num_videos,
        "num_segments": result.num_segments,
        "num_predictions": result.num_predictions,
        "AP": {name: dict(zip(keys, row.tolist(), strict=True)) for name, row in
               zip(result.classes, result.ap, strict=True)},
        "subset": subset,
        "protocol": result.protocol,
        "class_scores": result.predictions.class_scores,
        "partial": result.predictions.partial,
        "num_missing_features": result.num_missing_features,
        "num_left_out_videos": result.num_left_out_videos,
        "num_unknown_videos": result.num_unknown_videos,
        "num_unknown_video_predictions": result.num_unknown_video_predictions,
        "unknown_labels": result.unknown_labels,
        "num_toggled_ids": result.num_toggled_ids,
        "num_swapped_segments": result.num_swapped,
        "num_dropped_predictions": result.predictions.num_dropped,
        "drop_duplicates": result.drop_duplicates,
        "num_dropped_duplicate_segments": result.num_duplicates_dropped,
        "num_dropped_short_segments": result.num_short_dropped,
        "num_tied_predictions": result.num_tied,
        "num_deciding_ties": result.num_deciding_ties,
        "classes_without_labels": unlabeled,
        "average_mAP_of_labeled_classes": average_of_labeled(result, unlabeled),
    }


def average_of_labeled(result, unlabeled):
    """Mean AP over the classes that have a labeled training video and over tIoU; None where there are none, or unknown.

    result: `Evaluation`; unlabeled: classes without a labeled training video, None where that is not known
    """
    if unlabeled is None:
        return None
    has_labels = [name not in unlabeled for name in result.classes]
    return float(result.ap[has_labels].mean()) if any(has_labels) else None


def interval_metrics(result, average, at_tiou):
    """The 95 % intervals of average mAP, (low, high), and of mAP at each tIoU, (R, 2), for `metrics.json`."""
    return {"average_mAP_interval": list(average),
            "mAP_interval": dict(zip(tiou_keys(result), at_tiou.tolist(), strict=True))}


def recall_metrics(curve, top):
    """Recall for `metrics.json`; curve: `AverageRecall`; top: (2, R) recall at top-1x and top-5x."""
    return {"AR@AN": {str(number): float(curve.average[number - 1]) for number in RECALL_AT}, "AUC": curve.area,
            **{f"top_{times}x": values.tolist() for times, values in zip(TOP_TIMES, top, strict=True)}}


def times_are_shares(scene):
    """Do all segments of the ground truth lie in 0..1, as times do that are shares of the video instead of seconds?"""
    return bool(scene.gt_sec.min() >= 0 and scene.gt_sec.max() <= 1)


SHARES_NOTE = ("all times of the ground truth lie in 0..1, so they look like shares of the video, not seconds: mAP is "
               "the same, but the lengths of the diagnosis mean nothing then")


def tiou_keys(result):
    """The names of the tIoU thresholds."""
    return [threshold_key(threshold) for threshold in result.tiou_thresholds]


def diagnosis_metrics(diagnosis):
    """Error types, gains and sensitivity for `metrics.json`; what an empty bucket lacks is null."""
    return {
        "profile": diagnosis.profile.tolist(), "profile_mean_over_tiou": diagnosis.profile_mean.tolist(),
        "deviations_from_DETAD": diagnosis.deviations, "removal_gains": diagnosis.removal_gains,
        "average_mAP_N": diagnosis.mAP_N, "bins": diagnosis.bins,
        "sensitivity": {name: [
            {"bucket": bucket, "segments": int(count), "average_mAP_N": _number(score), "missed": _number(missed)}
            for bucket, count, score, missed in
            zip(found.buckets, found.counts, found.mAP_N, found.missed, strict=True)]
            for name, found in diagnosis.characteristics.items()}}


def _number(value):
    return None if np.isnan(value) else float(value)
