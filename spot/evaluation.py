"""Mean average precision of detections, exactly as the field's kits compute it. Numpy only.

Protocols
- `activitynet` (default), the official kit of the ActivityNet challenge: the detections of a class, pooled over all
  videos, are taken in descending score; each takes the still free segment of its video and class with the highest
  tIoU, and is right if that is >= the threshold. AP is interpolated (VOC 2011: precision at a recall is the best
  precision at that recall or beyond, summed over every step of recall). Duplicate annotations stay and count.
- The same with `drop_duplicates=True`, the rule of OpenTAD and ActionFormer: of segments with one label whose starts
  and whose ends lie within 1e-3 s of each other in a video, the first stays.
- `thumos14`, the toolkit of the THUMOS14 challenge (TH14evaldet, its later release): it goes through the segments, in
  file order, and each takes the still free detection of highest tIoU, which must be > the threshold. A detection that
  took nothing and overlaps a segment marked Ambiguous, however little, is left out. AP is the sum of the precisions at
  each right detection over the number of segments, not interpolated. (Its first release read the precision at eleven
  recalls.)

Where the kits leave something open or differ, here
- ties, of scores and of tIoU, go to what stands first in the file. The kits sort by an unstable sort.
- every video of the subset counts. A detection in a video that is not among them is wrong, as in the official kit
  (OpenTAD and ActionFormer only ever feed videos that are). Where the official kit blocks videos, it drops their
  detections too: so do `blocked` and `thumos_variant`.
- a label without a segment in the subset has no AP; its detections are counted and left out. OpenTAD and
  ActionFormer do the same, the official kit ends with an error.
- a class without a detection has AP 0, as in the official kit.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from spot.annotations import Video, match_name, read_annotations
from spot.average_precision import average_precision
from spot.detections import Predictions, read_predictions
from spot.files import SpotError
from spot.matching import class_pairs, inverse, match, overlapping_pairs

ACTIVITYNET_TIOU = np.linspace(0.5, 0.95, 10)
THUMOS14_TIOU = np.linspace(0.3, 0.7, 5)
PROTOCOLS = ("activitynet", "thumos14")
MOST_THRESHOLDS = 1_000
# THUMOS14 test has 213 videos. 0001292 holds Ambiguous segments only; in 0000270 most segments end after the video;
# the features of 0001496 are missing from a widespread download.
THUMOS_VARIANTS = {
    210: ("0000270", "0001292", "0001496"),  # AFSD, G-TAD
    211: ("0000270", "0001292"),  # OpenTAD
    212: ("0001292",),  # ActionFormer
}


@dataclass(frozen=True)
class Scene:
    """Ground truth and detections of one subset as arrays: V videos, K classes, N segments, P detections.

    videos: V names, then those of predicted videos that are not in the ground truth; durations_sec: (V,), NaN unknown
    gt_video, gt_class: (N,); gt_sec: (N, 2), in file order; ambiguous_video: (M,); ambiguous_sec: (M, 2)
    video, label: (P,); segments_sec: (P, 2); scores: (P,); entry: (P,) place in the file
    Detections stand by class, then by descending score, ties in file order: within a class the lower index goes first.
    """

    videos: list
    durations_sec: np.ndarray
    classes: list
    gt_video: np.ndarray
    gt_class: np.ndarray
    gt_sec: np.ndarray
    ambiguous_video: np.ndarray
    ambiguous_sec: np.ndarray
    video: np.ndarray
    label: np.ndarray
    segments_sec: np.ndarray
    scores: np.ndarray
    entry: np.ndarray

    @property
    def num_videos(self):
        """V, the videos of the ground truth."""
        return len(self.durations_sec)

    @property
    def positives(self):
        """(K,) segments per class."""
        return np.bincount(self.gt_class, minlength=len(self.classes))


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_detections` found; `result["mAP"]` works like `result.mAP`. Every measure is in 0..1.

    ap: (K, R) average precision of each class at each of the R tIoU thresholds; mAP: (R,); average_mAP: float
    whole_video_mAP (R,), whole_video_average_mAP: the baseline of `whole_video`, None where durations are missing
    num_predictions: detections in the file; num_unknown_videos, num_unknown_video_predictions: of videos that are not
    in the subset (they count as wrong); unknown_labels: {label: detections} (left out)
    num_left_out_videos: videos of the subset that `blocked` or `thumos_variant` leaves out, with their detections
    num_toggled_ids: video ids that matched only after a leading `v_` was removed or added
    matches: (R, P) the segment that each detection took, -1 none; counted: (R, P) False where a detection is left out
    """

    classes: list
    tiou_thresholds: np.ndarray
    ap: np.ndarray
    whole_video_mAP: np.ndarray | None
    num_videos: int
    num_segments: int
    num_predictions: int
    num_left_out_videos: int
    num_unknown_videos: int
    num_unknown_video_predictions: int
    unknown_labels: dict
    num_toggled_ids: int
    num_duplicates_dropped: int
    protocol: str
    predictions: Predictions
    scene: Scene
    matches: np.ndarray
    counted: np.ndarray

    @property
    def mAP(self):
        """(R,) mean of `ap` over the classes."""
        return self.ap.mean(axis=0)

    @property
    def average_mAP(self):
        """Mean of `ap` over classes and thresholds."""
        return float(self.ap.mean())

    @property
    def whole_video_average_mAP(self):
        """Mean of `whole_video_mAP`, None where that is."""
        return None if self.whole_video_mAP is None else float(self.whole_video_mAP.mean())

    @property
    def num_missing_features(self):
        """Videos of the subset without a feature file at inference; None where the detections file does not tell."""
        if self.predictions.missing_features is None:
            return None
        missing = {str(name).removeprefix("v_") for name in self.predictions.missing_features}
        return len(missing.intersection(self.scene.videos[: self.num_videos]))

    def __getitem__(self, name):
        return getattr(self, name)


def evaluate_detections(ground_truth, predictions, subset, tiou_thresholds=ACTIVITYNET_TIOU, *, protocol="activitynet",
                        drop_duplicates=False, thumos_variant=None, lenient=False, info_path=None, blocked=()):
    """Mean average precision of the detections on every video of `subset`.

    ground_truth:    a path or dict of any format that `spot.annotations` reads (info_path: its video_info csv), or
                     a list of `Video`
    predictions:     a path or dict {"results": {video: [{"label", "score", "segment": [start_sec, end_sec]}]}}, or
                     `Predictions`; ids match with or without a leading `v_`
    subset:          compared in lower case
    tiou_thresholds: (R,) in (0, 1]
    protocol, drop_duplicates: see the module
    thumos_variant:  210, 211 or 212 videos of the THUMOS14 test set, None: all
    lenient:         drop and count broken detections instead of raising SpotError
    blocked:         ids of videos that are left out, with their detections
    Returns an `Evaluation`. Raises SpotError for a broken file or detection, and where there is nothing to measure.
    """
    thresholds = check_thresholds(tiou_thresholds)
    if protocol not in PROTOCOLS:
        raise SpotError(f"protocol {protocol!r} is unknown; choose one of {', '.join(PROTOCOLS)}")
    if not isinstance(predictions, Predictions):
        predictions = read_predictions(predictions, lenient)
    if not (isinstance(ground_truth, list) and all(isinstance(video, Video) for video in ground_truth)):
        ground_truth = read_annotations(ground_truth, info_path=info_path)
    videos, blocked = choose_videos(ground_truth, subset, thumos_variant, blocked)
    num_left_out = sum(video.subset == subset.lower() for video in ground_truth) - len(videos)
    scene, counts = build_scene(videos, predictions, blocked, drop_duplicates)
    ap, matches, counted = score_scene(scene, thresholds, protocol)
    baseline = whole_video(scene)
    baseline_mAP = None if baseline is None else score_scene(baseline, thresholds, protocol)[0].mean(axis=0)
    return Evaluation(
        classes=scene.classes, tiou_thresholds=thresholds, ap=ap, whole_video_mAP=baseline_mAP,
        num_videos=scene.num_videos, num_segments=len(scene.gt_sec), num_predictions=len(predictions.scores),
        num_left_out_videos=num_left_out, protocol=protocol, predictions=predictions, scene=scene, matches=matches,
        counted=counted, **counts,
    )


def parse_thresholds(value):
    """tIoU thresholds as a user writes them -> (R,); SpotError for anything else.

    value: '0.5:0.95:10' for ten from 0.5 to 0.95, '0.3,0.5' or '[0.3, 0.5]', a number, or a list of numbers
    """
    try:
        if isinstance(value, str) and ":" in value:
            first, last, count = value.split(":")
            if not 1 <= int(count) <= MOST_THRESHOLDS:
                raise SpotError(f"tIoU {value!r}: COUNT must be a whole number from 1 to {MOST_THRESHOLDS:,}, "
                                f"got {count}")
            return _each_once(check_thresholds(np.linspace(float(first), float(last), int(count))))
        if isinstance(value, str):
            value = value.strip().removeprefix("[").removesuffix("]").split(",")
        items = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(item, bool) for item in items):
            raise ValueError("a truth value is no threshold")
        return _each_once(check_thresholds([float(item) for item in items]))
    except SpotError:
        raise
    except (TypeError, ValueError, OverflowError):
        raise SpotError(f"tIoU {value!r} is not FIRST:LAST:COUNT, such as 0.5:0.95:10, nor a list such as "
                        "[0.3, 0.5, 0.7]") from None


def _each_once(thresholds):
    """The thresholds; SpotError where two have one name, under which a result could hold one of them only."""
    names = [threshold_key(threshold) for threshold in thresholds]
    if len(set(names)) < len(names):
        raise SpotError(f"tIoU thresholds {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}: one stands there "
                        "twice; give each once")
    return thresholds


def check_thresholds(tiou_thresholds):
    """The thresholds as a float array (R,); SpotError where one is not in (0, 1]."""
    thresholds = np.asarray(tiou_thresholds, float).reshape(-1)
    if not len(thresholds) or not ((thresholds > 0) & (thresholds <= 1)).all():
        raise SpotError(f"tIoU thresholds {thresholds.tolist()} must be numbers above 0, at most 1")
    return thresholds


# --- what is measured -------------------------------------------------------------------------------------------------


def choose_videos(videos, subset, thumos_variant=None, blocked=()):
    """The videos of `subset` that count, and the ids that `blocked` and `thumos_variant` leave out.

    The latter are with and without `v_`, as predictions may have them. SpotError where the subset has no video.
    """
    chosen = [video for video in videos if video.subset == subset.lower()]
    if not chosen:
        names = ", ".join(sorted({video.subset or "(none)" for video in videos})) or "no video at all"
        raise SpotError(f"the ground truth has no video of subset {subset!r}; it holds {names}")
    if thumos_variant not in (None, *THUMOS_VARIANTS):
        raise SpotError(f"THUMOS14 variant {thumos_variant} is unknown; choose 210, 211 or 212")
    known = {video.name for video in chosen}
    left_out = {match_name(video_id, known) or video_id for video_id in blocked}
    left_out |= {f"video_test_{number}" for number in THUMOS_VARIANTS.get(thumos_variant, ())}
    kept = [video for video in chosen if video.name not in left_out]
    left_out |= {f"v_{name}" for name in left_out} | {name.removeprefix("v_") for name in left_out}
    return kept, left_out


def build_scene(videos, predictions, blocked=frozenset(), drop_duplicates=False):
    """Arrays of the ground truth `videos` and their detections.

    predictions: `Predictions`; blocked: names of videos whose detections are dropped too
    drop_duplicates: the rule of OpenTAD and ActionFormer, see the module
    Returns the `Scene` and the counts of an `Evaluation`. SpotError where the videos have no segment.
    """
    num_segments = sum(len(video.labels) for video in videos)
    if drop_duplicates:
        videos = [_without_duplicates(video) for video in videos]
    if not (gt_labels := [label for video in videos for label in video.labels]):
        raise SpotError("the ground truth of this subset has no segment, so there is nothing to measure")
    classes = sorted(set(gt_labels))
    class_index = {label: index for index, label in enumerate(classes)}
    names, video_index, num_toggled_ids = _match_ids([video.name for video in videos], predictions.video_ids)

    video = video_index[predictions.video]
    label = np.array([class_index.get(name, -1) for name in predictions.label_names], int)[predictions.label]
    is_blocked = np.array([name in blocked for name in names], bool)[video]
    unknown = np.bincount(predictions.label[(label < 0) & ~is_blocked], minlength=len(predictions.label_names))
    keep = np.flatnonzero((label >= 0) & ~is_blocked)
    order = keep[np.lexsort((-predictions.scores[keep], label[keep]))]  # stable, so ties stay in file order

    scene = Scene(
        videos=names, classes=classes,
        durations_sec=np.array([video.duration_sec if video.duration_sec else np.nan for video in videos], float),
        gt_video=np.repeat(np.arange(len(videos)), [len(video.labels) for video in videos]),
        gt_class=np.array([class_index[label] for label in gt_labels]),
        gt_sec=np.concatenate([_segments(video.segments_sec) for video in videos]),
        ambiguous_video=np.repeat(np.arange(len(videos)), [len(_segments(video.ambiguous_sec)) for video in videos]),
        ambiguous_sec=np.concatenate([_segments(video.ambiguous_sec) for video in videos]),
        video=video[order], label=label[order], segments_sec=predictions.segments_sec[order],
        scores=predictions.scores[order], entry=order,
    )
    is_unknown = (video >= len(videos)) & ~is_blocked
    return scene, {
        "num_unknown_videos": sum(name not in blocked for name in names[len(videos):]),
        "num_unknown_video_predictions": int(is_unknown.sum()),
        "unknown_labels": {name: count for name, count in zip(predictions.label_names, unknown.tolist(), strict=True)
                           if count},
        "num_toggled_ids": num_toggled_ids,
        "num_duplicates_dropped": num_segments - len(gt_labels),
    }


def _segments(segments_sec):
    return np.asarray(segments_sec, float).reshape(-1, 2)


def _without_duplicates(video, tolerance_sec=1e-3):
    """The video without segments that repeat an earlier kept one of the same label (OpenTAD, ActionFormer)."""
    kept = []
    for index, (segment, label) in enumerate(zip(video.segments_sec, video.labels, strict=True)):
        repeats = (label == video.labels[other] and np.abs(segment - video.segments_sec[other]).max() <= tolerance_sec
                   for other in kept)
        if not any(repeats):
            kept.append(index)
    return replace(video, segments_sec=video.segments_sec[kept], labels=tuple(video.labels[index] for index in kept))


def _match_ids(gt_names, predicted_ids):
    """Predicted ids -> index into the ground truth, with or without `v_`; those of no video come after it.

    Returns all names, the index of each predicted id, and how many ids matched only without or with `v_`.
    """
    index_of = {name: index for index, name in enumerate(gt_names)}
    names, indices, num_toggled = list(gt_names), [], 0
    for video_id in predicted_ids:
        toggled = video_id.removeprefix("v_") if video_id.startswith("v_") else "v_" + video_id
        if video_id not in index_of and toggled in index_of:
            num_toggled += 1
            video_id = toggled
        if video_id not in index_of:
            index_of[video_id] = len(names)
            names.append(video_id)
        indices.append(index_of[video_id])
    return names, np.array(indices, int), num_toggled


# --- matching and average precision -----------------------------------------------------------------------------------


def score_scene(scene, thresholds, protocol="activitynet"):
    """AP (K, R), matches (R, P) and counted (R, P) of a scene; see `Evaluation`.

    thresholds: (R,) tIoU array; protocol: one of PROTOCOLS
    """
    num_detections, num_segments = len(scene.scores), len(scene.gt_sec)
    counted = np.ones((len(thresholds), num_detections), bool)
    detection, segment, tiou = class_pairs(scene, thresholds.min())
    if protocol == "thumos14":
        strictly_above = np.nextafter(thresholds, 2)
        taken = match(segment, detection, tiou, strictly_above, num_segments, num_detections)
        matches = np.stack([inverse(row, num_detections) for row in taken]).astype(np.int32)
        counted[:, _overlaps_ambiguous(scene)] = False
        counted |= matches >= 0
    else:
        matches = match(detection, segment, tiou, thresholds, num_detections, num_segments)
    ap = average_precision(matches >= 0, counted, scene.label, scene.positives, interpolated=protocol != "thumos14")
    return ap, matches, counted


def _overlaps_ambiguous(scene):
    """Detections (indices) that share any time with an Ambiguous segment of their video."""
    smallest = np.nextafter(0, 1)
    return np.unique(overlapping_pairs(scene.video, scene.segments_sec, scene.ambiguous_video, scene.ambiguous_sec,
                                       smallest)[0])


def whole_video(scene):
    """The baseline: per video and predicted class one segment [0, duration] at that class's best score.

    Returns the scene with these detections, None where the duration of a predicted video is unknown. Videos that are
    not in the ground truth are left out: their duration is not known.
    """
    inside = np.flatnonzero(scene.video < scene.num_videos)
    _, first = np.unique(scene.video[inside] * len(scene.classes) + scene.label[inside], return_index=True)
    best = np.sort(inside[first])
    ends_sec = scene.durations_sec[scene.video[best]]
    if np.isnan(ends_sec).any() or np.isnan(scene.durations_sec).all():
        return None
    return replace(scene, video=scene.video[best], label=scene.label[best], scores=scene.scores[best],
                   entry=scene.entry[best], segments_sec=np.stack([np.zeros_like(ends_sec), ends_sec], axis=1))


def threshold_key(threshold):
    """The name of a tIoU threshold in `metrics.json`: two decimals, more only where it has them."""
    return f"{threshold:.2f}" if math.isclose(threshold, round(threshold, 2)) else f"{threshold:.6g}"
