"""What mAP alone does not show: which errors cost most, and on which segments. Numpy only.

Error types, sensitivity and false negatives are those of DETAD (Alwassel, Caba Heilbron, Escorcia, Ghanem, "Diagnosing
Error in Temporal Action Detectors", ECCV 2018; thresholds and bins as in the authors' code). They use the normalized
precision of Hoiem et al. (ECCV 2012), R N / (R N + FP), with R the recall and N the average number of segments per
class, so that classes and buckets of unequal size compare; the mean over classes and tIoU of the AP that follows is
called average mAP_N.
"""

from dataclasses import dataclass

import numpy as np

from spot.average_precision import average_precision, hits_of
from spot.detad import deviations
from spot.evaluation import threshold_key
from spot.matching import overlapping_pairs
from spot.protocols import score_scene

ERROR_TYPES = ("true positive", "double detection", "wrong label", "localization", "confusion", "background")
BACKGROUND_TIOU = 0.1  # below it a detection touches no action
TOP_SPLITS = 10  # detections beyond the best 10 G of a class are not looked at
MIN_PRECISION = 0.05  # a segment that is only found below this normalized precision counts as missed
SIZES = ("XS", "S", "M", "L", "XL")
# Upper edges of all bins but the last; a segment on an edge belongs to the smaller bin.
BINS = {
    "activitynet": {"coverage": (0.2, 0.4, 0.6, 0.8), "length": (30, 60, 120, 180), "instances": (1, 4, 8)},
    "thumos14": {"coverage": (0.02, 0.04, 0.06, 0.08), "length": (3, 6, 12, 18), "instances": (1, 40, 80)},
}


# --- which errors cost most -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Characteristic:
    """Segments sorted into buckets by one property: names, how many, and what happens to them (NaN: bucket is empty).

    mAP_N: (buckets,) average mAP_N on the segments of the bucket alone; missed: (buckets,) their false-negative rate
    """

    buckets: list
    counts: np.ndarray
    mAP_N: np.ndarray
    missed: np.ndarray


@dataclass(frozen=True)
class Diagnosis:
    """What DETAD finds.

    profile, profile_mean: (10, 6) share of each error type among the detections of each split, at tIoU 0.5, and the
        mean over the tIoU thresholds of the evaluation, which DETAD's own figure shows
    removal_gains: {type: gain}; mAP_N: average mAP_N of all detections; characteristics: {name: Characteristic}
    bins: name in BINS; deviations: sentences, how this differs from DETAD's released code; thresholds: (R,) tIoU
    """

    profile: np.ndarray
    profile_mean: np.ndarray
    removal_gains: dict
    mAP_N: float
    characteristics: dict
    bins: str
    deviations: list
    thresholds: np.ndarray

    def as_text(self):
        """The diagnosis as a table in %."""
        lines = []
        low, high = threshold_key(self.thresholds[0]), threshold_key(self.thresholds[-1])
        for title, profile in (("at tIoU 0.50", self.profile),
                               (f"mean over tIoU {low} to {high}, as in DETAD's figure", self.profile_mean)):
            lines += [f"error types {title}, % of the detections of each split (G: segments of the class)"]
            lines += ["      " + "".join(f"{name:>18}" for name in ERROR_TYPES)]
            lines += [f"{split + 1:>4}G " + "".join(f"{100 * share:18.1f}" for share in shares)
                      for split, shares in enumerate(profile)]
            lines += [""]
        lines += ["gain in average mAP_N, points, if one type were removed: "
                  + ", ".join(f"{name} {100 * gain:.2f}" for name, gain in self.removal_gains.items())]
        lines += [f"average mAP_N % {100 * self.mAP_N:.2f}; by bucket (bins of {self.bins}):"]
        for name, found in self.characteristics.items():
            rows = zip(found.buckets, found.counts, found.mAP_N, found.missed, strict=True)
            for bucket, count, score, missed in rows:
                lines.append(f"  {name:<10}{bucket:<12}{count:>8,} segments"
                             + (f"  mAP_N {100 * score:6.2f}  missed {100 * missed:6.2f}" if count else ""))
        lines += ["", "differences from DETAD's released code:", *(f"- {sentence}" for sentence in self.deviations)]
        return "\n".join(lines)


def diagnose(result):
    """All of DETAD that needs no extra annotation, as a `Diagnosis`."""
    scene, bins = result.scene, choose_bins(result.scene)
    _, matches, counted = score_scene(scene, np.array([0.5]), result.protocol)
    return Diagnosis(
        profile=false_positive_profile(scene, matches, counted, [0.5]),
        profile_mean=false_positive_profile(scene, result.matches, result.counted, result.tiou_thresholds),
        removal_gains=removal_gains(result),
        mAP_N=float(normalized_precision(result, result.matches >= 0, result.counted, scene.positives).mean()),
        characteristics=characteristics(result, BINS[bins]), bins=bins, deviations=deviations(scene),
        thresholds=result.tiou_thresholds,
    )


def error_types(scene, matches, threshold, nearest=None):
    """(P,) index into ERROR_TYPES of every detection at one tIoU threshold; matches: (P,) of that threshold.

    A detection that took a segment is a true positive. Else its nearest segment decides, the one of highest tIoU among
    all classes of its video:   tIoU >= threshold: double detection if the label agrees, wrong label if not;
    0.1 <= tIoU < threshold: localization if the label agrees, confusion if not;   less: background.
    Where two segments are equally near, one whose label agrees decides (in THUMOS14 every CliffDiving is a Diving too).
    """
    best_tiou, agrees = nearest or nearest_segment(scene)
    types = np.select(
        [matches >= 0, (best_tiou >= threshold) & agrees, best_tiou >= threshold,
         (best_tiou >= BACKGROUND_TIOU) & agrees, best_tiou >= BACKGROUND_TIOU],
        [ERROR_TYPES.index(name) for name in ERROR_TYPES[:-1]], ERROR_TYPES.index("background"))
    return types


def nearest_segment(scene):
    """Of the segment of highest tIoU in each detection's video: that tIoU (P,), and whether the label agrees (P,)."""
    detection, segment, tiou = overlapping_pairs(scene.video, scene.segments_sec, scene.gt_video, scene.gt_sec,
                                                 BACKGROUND_TIOU)
    agrees = scene.label[detection] == scene.gt_class[segment]
    order = np.lexsort((agrees, tiou, detection))  # the last of each detection is its nearest
    best_tiou, best_agrees = np.zeros(len(scene.scores)), np.zeros(len(scene.scores), bool)
    best_tiou[detection[order]] = tiou[order]
    best_agrees[detection[order]] = agrees[order]
    return best_tiou, best_agrees


def split_of(scene):
    """(P,) which G detections of its class each belongs to, from 0: 0 for the best G, 1 for the next G, ..."""
    class_start = np.searchsorted(scene.label, np.arange(len(scene.classes)))
    rank = np.arange(len(scene.label)) - class_start[scene.label]
    return rank // scene.positives[scene.label]


def false_positive_profile(scene, matches, counted, thresholds):
    """Share of each error type (10, 6) among the best G detections of each class, the next G, ... up to 10 G.

    matches, counted: (R, P) at the tIoU thresholds (R,), over which the shares are the mean
    """
    split, nearest = split_of(scene), nearest_segment(scene)
    size = TOP_SPLITS * len(ERROR_TYPES)
    counts = np.zeros((TOP_SPLITS, len(ERROR_TYPES)))
    for of_threshold, counts_there, threshold in zip(matches, counted, thresholds, strict=True):
        types = error_types(scene, of_threshold, threshold, nearest)
        seen = (split < TOP_SPLITS) & counts_there
        counts += np.bincount(split[seen] * len(ERROR_TYPES) + types[seen], minlength=size).reshape(counts.shape)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def removal_gains(result):
    """{error type: gain in average mAP_N} if its detections were not there, among the best 10 G of each class."""
    scene, right = result.scene, result.matches >= 0
    seen = result.counted & (split_of(scene) < TOP_SPLITS)
    nearest = nearest_segment(scene)
    types = np.stack([error_types(scene, matches, threshold, nearest)
                      for matches, threshold in zip(result.matches, result.tiou_thresholds, strict=True)])
    base = normalized_precision(result, right, seen, scene.positives).mean()
    return {name: float(normalized_precision(result, right, seen & (types != index), scene.positives).mean() - base)
            for index, name in enumerate(ERROR_TYPES) if index}


def normalized_precision(result, right, counted, positives):
    """AP_N (K, R) of an Evaluation, interpolated; NaN for a class without positives.

    right, counted: (R, P) bool and positives: (K,), as `evaluation.average_precision` takes them
    """
    normalizer = len(result.scene.gt_sec) / len(result.scene.classes)
    return average_precision(right, counted, result.scene.label, positives, normalizer=normalizer)


def characteristics(result, bins):
    """{name: Characteristic} by coverage (segment / video), length and instances of the class in the video.

    result: Evaluation; bins: {name: upper edges}, a value of BINS
    On a bucket's segments alone: detections that took a segment of another bucket are left out, all wrong ones stay.
    (In the authors' code, detections left out at one tIoU stay out at all later ones; here each tIoU stands alone.)
    A segment is missed where no detection takes it, or only one at a normalized precision of 0.05 or less.
    """
    scene, right = result.scene, result.matches >= 0
    found = found_segments(result)
    table = {}
    for name, values in segment_properties(scene).items():
        bucket_of = np.searchsorted(bins[name], values, "left")
        buckets = bucket_names(bins[name])
        counts = np.bincount(bucket_of, minlength=len(buckets))
        scores, missed = np.full(len(buckets), np.nan), np.full(len(buckets), np.nan)
        for bucket in np.flatnonzero(counts):
            inside = bucket_of == bucket
            in_bucket = inside[result.matches]  # of no meaning where matches is -1
            positives = np.bincount(scene.gt_class[inside], minlength=len(scene.classes))
            ap = normalized_precision(result, right & in_bucket, result.counted & (in_bucket | ~right), positives)
            scores[bucket] = np.nanmean(ap)
            missed[bucket] = 1 - found[:, inside].mean()
        table[name] = Characteristic(buckets, counts, scores, missed)
    return table


def segment_properties(scene):
    """{name: (N,)}: coverage (where durations are known), length in seconds, instances of its class in its video."""
    length = scene.gt_sec[:, 1] - scene.gt_sec[:, 0]
    group = scene.gt_video * len(scene.classes) + scene.gt_class
    properties = {"length": length, "instances": np.bincount(group)[group]}
    coverage = length / scene.durations_sec[scene.gt_video]
    return properties if np.isnan(coverage).any() else {"coverage": coverage, **properties}


def found_segments(result):
    """(R, N) bool, the segments that some detection takes at a normalized precision above 0.05."""
    normalizer = len(result.scene.gt_sec) / len(result.scene.classes)
    found = np.zeros((len(result.tiou_thresholds), len(result.scene.gt_sec)), bool)
    parts = hits_of(result.matches >= 0, result.counted, result.scene.label, result.scene.positives, normalizer)
    for row, (_, hit, precision) in enumerate(zip(*parts, strict=True)):
        found[row, result.matches[row, hit[precision > MIN_PRECISION]]] = True
    return found


def choose_bins(scene):
    """DETAD's bins for THUMOS14 where half of the segments cover less than a tenth of their video, else ActivityNet's.

    Without durations: where half of the segments are shorter than 15 s.
    """
    properties = segment_properties(scene)
    is_short = (np.median(properties["coverage"]) < 0.1 if "coverage" in properties
                else np.median(properties["length"]) < 15)
    return "thumos14" if is_short else "activitynet"


def bucket_names(edges):
    """Upper edges -> 'XS ≤0.2', ..., 'XL >0.8'."""
    upper = [f"{size} ≤{edge:g}" for size, edge in zip(SIZES, edges, strict=False)]
    return [*upper, f"{SIZES[len(edges)]} >{edges[-1]:g}"]
