"""Mean average precision of detections, exactly as the field's kits compute it. Numpy only.

The protocols, how ties go and what counts as a duplicate stand in `spot.protocols`.

Where the kits leave something open or differ, here
- a label that the ground truth numbers is a class under its own name. (The evaluators of EPIC-KITCHENS and ActionFormer
  renumber the labels of both files in place, so that a predicted id without a segment can end up under another class.)
- every video of the subset counts. A detection in a video that is not among them is wrong, as in the official kit
  (OpenTAD and ActionFormer only ever feed videos that are). Where the official kit blocks videos, it drops their
  detections too: so do `blocked` and `thumos_variant`.
- a label without a segment in the subset has no AP; its detections are counted and left out. OpenTAD and
  ActionFormer do the same, the official kit ends with an error.
- a class without a detection has AP 0, as in the official kit.
"""

import math
import os
from dataclasses import dataclass

import numpy as np

from spot.annotations import Video, read_annotations
from spot.average_precision import average_precision
from spot.detection_formats import read_predictions, with_names
from spot.detections import Predictions
from spot.epic_kitchens import is_epic_file, read_epic
from spot.files import SpotError
from spot.protocols import PROTOCOLS, check_duplicate_rule, deciding_ties, score_scene
from spot.scenes import Scene, build_scene, choose_videos, swapped, whole_video

ACTIVITYNET_TIOU = np.linspace(0.5, 0.95, 10)
THUMOS14_TIOU = np.linspace(0.3, 0.7, 5)
MOST_THRESHOLDS = 1_000


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_detections` found; `result["mAP"]` works like `result.mAP`. Every measure is in 0..1.

    ap: (K, R) average precision of each class at each of the R tIoU thresholds; mAP: (R,); average_mAP: float
    whole_video_mAP (R,), whole_video_average_mAP: the baseline of `whole_video`, None where durations are missing
    num_predictions: detections in the file; num_unknown_videos, num_unknown_video_predictions: of videos that are not
    in the subset (they count as wrong); unknown_labels: {label: detections} (left out)
    num_left_out_videos: videos of the subset that `blocked` or `thumos_variant` leaves out, and those of an annotation
        tool that nobody has annotated; their detections are left out too
    num_toggled_ids: video ids that matched only with or without a leading `v_`, a suffix, or in another case
    num_short_dropped, num_duplicates_dropped: segments of the ground truth that `drop_duplicates` drops
    num_tied: detections that have the score of another one of their class; num_deciding_ties: those among them that tie
    with right and with wrong ones, so that their order counts
    num_swapped: detections and segments of the ground truth whose ends `swap_reversed` swapped
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
    num_short_dropped: int
    num_duplicates_dropped: int
    num_tied: int
    num_deciding_ties: int
    num_swapped: int
    protocol: str
    drop_duplicates: str | None
    predictions: Predictions
    scene: Scene
    matches: np.ndarray
    counted: np.ndarray

    def __repr__(self):
        per_tiou = ", ".join(f"{threshold_key(tiou)}: {value:.4f}"
                             for tiou, value in zip(self.tiou_thresholds, self.mAP, strict=True))
        return (f"Evaluation(average_mAP {self.average_mAP:.4f}; mAP at tIoU {per_tiou}; {self.num_videos} videos, "
                f"{self.num_segments} segments, {len(self.classes)} classes, {self.num_predictions} predictions)")

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
        """Videos of the subset without features at inference; None where the detections file does not list them."""
        if self.predictions.missing_features is None:
            return None
        missing = {str(name).removeprefix("v_") for name in self.predictions.missing_features}
        return len(missing.intersection(self.scene.videos[: self.num_videos]))

    def __getitem__(self, name):
        return getattr(self, name)


def evaluate_detections(ground_truth, predictions, subset, tiou_thresholds=ACTIVITYNET_TIOU, *, protocol="activitynet",
                        drop_duplicates=None, thumos_variant=None, lenient=False, info_path=None, blocked=(),
                        swap_reversed=False, task=None, class_ids=None):
    """Mean average precision of the detections on every video of `subset`.

    ground_truth:    a path or dict of any format that `spot.annotations` reads (info_path: its video_info csv), or
                     a list of `Video`
    predictions:     a path of any format of `spot.detection_formats`, or a dict {"results": {video: [{"label", "score",
                     "segment": [start_sec, end_sec]}]}}, or `Predictions`; ids match with or without a leading `v_`
    subset:          compared in lower case
    tiou_thresholds: (R,) in (0, 1]
    protocol:        one of protocols.PROTOCOLS
    drop_duplicates: a name in protocols.DUPLICATE_RULES, None: every segment counts
    thumos_variant:  210, 211 or 212 videos of the THUMOS14 test set, None: all
    lenient:         drop and count broken detections instead of raising SpotError
    blocked:         ids of videos that are left out, with their detections
    swap_reversed:   swap and count the ends of segments that end before their start, as the THUMOS14 toolkit does
    task:            verb, noun or action, where the files are of EPIC-KITCHENS
    class_ids:       {number: name}, for detections that number their classes; None: the ground truth's `label_id`
    Returns an `Evaluation`. Raises SpotError for a broken file or detection, and where there is nothing to measure.
    """
    thresholds = check_thresholds(tiou_thresholds)
    if protocol == "thumos14":
        thresholds = as_typed(thresholds)
    if protocol not in PROTOCOLS:
        raise SpotError(f"protocol {protocol!r} is unknown; choose one of {', '.join(PROTOCOLS)}")
    if not isinstance(predictions, Predictions):
        predictions = read_predictions(predictions, lenient, task=task, swap_reversed=swap_reversed)
    if not (isinstance(ground_truth, list) and all(isinstance(video, Video) for video in ground_truth)):
        ground_truth = read_ground_truth(ground_truth, info_path, task)
    predictions = with_names(predictions, ground_truth, class_ids)
    videos, blocked = choose_videos(ground_truth, subset, thumos_variant, blocked)
    num_left_out = sum(video.subset == subset.lower() for video in ground_truth) - len(videos)
    videos, num_swapped_truth = swapped(videos) if swap_reversed else (videos, 0)
    scene, counts = build_scene(videos, predictions, blocked, drop_duplicates, protocol)
    ap, matches, counted = score_scene(scene, thresholds, protocol)
    baseline = whole_video(scene)
    baseline_mAP = None if baseline is None else score_scene(baseline, thresholds, protocol)[0].mean(axis=0)
    return Evaluation(
        classes=scene.classes, tiou_thresholds=thresholds, ap=ap, whole_video_mAP=baseline_mAP,
        num_videos=scene.num_videos, num_segments=len(scene.gt_sec), num_predictions=len(predictions.scores),
        num_left_out_videos=num_left_out, protocol=protocol, predictions=predictions, scene=scene, matches=matches,
        counted=counted, drop_duplicates=check_duplicate_rule(drop_duplicates), num_tied=int(scene.tied.sum()),
        num_deciding_ties=deciding_ties(scene, matches, counted),
        num_swapped=predictions.num_swapped + num_swapped_truth, **counts,
    )


def read_ground_truth(source, info_path=None, task=None, options=None):
    """A list of `Video` from annotations of any format that we know; task: for those of EPIC-KITCHENS; options: of
    `read_annotations`.

    SpotError for a broken file, and where task or info_path do not fit it.
    """
    if isinstance(source, str | os.PathLike) and is_epic_file(source):
        if info_path is not None:
            raise SpotError(f"{source}: is of EPIC-KITCHENS, which needs no video info; leave {info_path} out")
        return read_epic(source, task)
    if task is not None:
        raise SpotError(f"task {task} is for annotations of EPIC-KITCHENS, which the ground truth is not; leave it out")
    return read_annotations(source, info_path=info_path, options=options)


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


def as_typed(thresholds):
    """The thresholds as the decimals that a user of the THUMOS14 toolkit types: 0.4 for the 0.39999999999999997 of
    numpy.linspace(0.3, 0.7, 5), which the Python kits take as it is."""
    typed = thresholds.round(4)
    return np.where(np.abs(thresholds - typed) < 1e-12, typed, thresholds)


def threshold_key(threshold):
    """The name of a tIoU threshold in `metrics.json`: two decimals, more only where it has them."""
    return f"{threshold:.2f}" if math.isclose(threshold, round(threshold, 2)) else f"{threshold:.6g}"


def video_scores(result):
    """(V,) how well each video is done by itself: its own AP, mean over its classes and tIoU; NaN without a segment."""
    scene, num_classes = result.scene, len(result.classes)
    group = scene.video * num_classes + scene.label
    gt_group = scene.gt_video * num_classes + scene.gt_class
    present, gt_index = np.unique(gt_group, return_inverse=True)
    index = np.searchsorted(present, group)
    index[index == len(present)] = 0
    inside = np.flatnonzero(present[index] == group)
    order = inside[np.lexsort((-scene.scores[inside], index[inside]))]
    ap = average_precision(result.matches[:, order] >= 0, result.counted[:, order], index[order], np.bincount(gt_index),
                           interpolated=result.protocol != "thumos14").mean(axis=1)
    video = present // num_classes
    count = np.bincount(video, minlength=result.num_videos)
    total = np.bincount(video, weights=ap, minlength=result.num_videos)
    return np.divide(total, count, out=np.full(result.num_videos, np.nan), where=count > 0)
