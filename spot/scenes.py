"""Ground truth and detections of one subset as arrays, in the order in which they are judged. Numpy only."""

from dataclasses import dataclass, replace

import numpy as np

from spot.files import SpotError
from spot.matching import inverse
from spot.names import NameIndex, pair_names
from spot.protocols import check_duplicate_rule, judging_order, without_duplicates
from spot.text import label_of

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
    gt_video, gt_class: (N,); gt_sec: (N, 2), in file order; gt_rank: (N,) by start, then by end, for ties of tIoU
    ambiguous_video: (M,); ambiguous_sec: (M, 2)
    video, label: (P,); segments_sec: (P, 2); scores: (P,); tied: (P,) has another one of the class the same score?
    Detections stand by class, then by descending score, then by the tie rule of the protocol (`spot.protocols`): within
    a class the lower index goes first.
    """

    videos: list
    durations_sec: np.ndarray
    classes: list
    gt_video: np.ndarray
    gt_class: np.ndarray
    gt_sec: np.ndarray
    gt_rank: np.ndarray
    ambiguous_video: np.ndarray
    ambiguous_sec: np.ndarray
    video: np.ndarray
    label: np.ndarray
    segments_sec: np.ndarray
    scores: np.ndarray
    tied: np.ndarray

    @property
    def num_videos(self):
        """V, the videos of the ground truth."""
        return len(self.durations_sec)

    @property
    def positives(self):
        """(K,) segments per class."""
        return np.bincount(self.gt_class, minlength=len(self.classes))


def choose_videos(videos, subset, thumos_variant=None, blocked=()):
    """The videos of `subset` that count, and the ids that `blocked` and `thumos_variant` leave out, and those of an
    annotation tool that nobody has annotated: nothing is known of them.

    The latter are with and without `v_`, as predictions may have them. SpotError where the subset has no video.
    """
    chosen = [video for video in videos if video.subset == subset.lower()]
    if not chosen:
        names = ", ".join(sorted({video.subset or "(none)" for video in videos})) or "no video at all"
        raise SpotError(f"the ground truth has no video of subset {subset!r}; it holds {names}")
    if thumos_variant not in (None, *THUMOS_VARIANTS):
        raise SpotError(f"THUMOS14 variant {thumos_variant} is unknown; choose 210, 211 or 212")
    known = {video.name for video in chosen}
    index = NameIndex(known)
    left_out = {index.find(video_id) or video_id for video_id in blocked}
    left_out |= {f"video_test_{number}" for number in THUMOS_VARIANTS.get(thumos_variant, ())}
    left_out |= {video.name for video in chosen if video.annotated is False}
    kept = [video for video in chosen if video.name not in left_out]
    left_out |= {f"v_{name}" for name in left_out} | {name.removeprefix("v_") for name in left_out}
    return kept, left_out


def build_scene(videos, predictions, blocked=frozenset(), drop_duplicates=None, protocol="activitynet"):
    """Arrays of the ground truth `videos` and their detections.

    predictions: `Predictions`; blocked: names of videos whose detections are dropped too
    drop_duplicates: a name in protocols.DUPLICATE_RULES, None: every segment counts; protocol: says how ties go
    Returns the `Scene` and the counts of an `Evaluation`. SpotError where the videos have no segment.
    """
    videos, num_short, num_repeated = _deduplicated(videos, check_duplicate_rule(drop_duplicates))
    if not (labels := {label for video in videos for label in video.labels}):
        raise SpotError("the ground truth of this subset has no segment, so there is nothing to measure")
    classes = sorted(labels)
    class_index = {label: index for index, label in enumerate(classes)}
    names, video_index, num_toggled_ids = _match_ids([video.name for video in videos], predictions.video_ids)

    video = video_index[predictions.video]
    label = np.array([class_index.get(label_of(name), -1) for name in predictions.label_names], int)[predictions.label]
    is_blocked = np.array([name in blocked for name in names], bool)[video]
    unknown = np.bincount(predictions.label[(label < 0) & ~is_blocked], minlength=len(predictions.label_names))
    keep = np.flatnonzero((label >= 0) & ~is_blocked)
    order, tied = judging_order(
        label[keep], predictions.scores[keep], _ranks(names)[video[keep]], predictions.segments_sec[keep],
        _list_rank(predictions)[keep], protocol)
    order = keep[order]

    scene = Scene(
        videos=names, classes=classes,
        durations_sec=np.array([video.duration_sec if video.duration_sec else np.nan for video in videos], float),
        **_ground_truth(videos, class_index),
        video=video[order], label=label[order], segments_sec=predictions.segments_sec[order],
        scores=predictions.scores[order], tied=tied,
    )
    is_unknown = (video >= len(videos)) & ~is_blocked
    return scene, {
        "num_unknown_videos": sum(name not in blocked for name in names[len(videos):]),
        "num_unknown_video_predictions": int(is_unknown.sum()),
        "unknown_labels": {name: count for name, count in zip(predictions.label_names, unknown.tolist(), strict=True)
                           if count},
        "num_toggled_ids": num_toggled_ids,
        "num_short_dropped": num_short,
        "num_duplicates_dropped": num_repeated,
    }


def swapped(videos):
    """The videos with the ends of reversed segments swapped, as the THUMOS14 toolkit does, and how many these are."""
    count = sum(int((_segments(video.segments_sec)[:, 1] < _segments(video.segments_sec)[:, 0]).sum())
                for video in videos)
    return [replace(video, segments_sec=np.sort(_segments(video.segments_sec), axis=1),
                    ambiguous_sec=np.sort(_segments(video.ambiguous_sec), axis=1)) for video in videos], count


def _deduplicated(videos, rule):
    """The videos by a duplicate rule, None for none; how many segments were too short, how many repeat another."""
    if rule is None:
        return videos, 0, 0
    kept, short, repeated = zip(*(without_duplicates(video, rule) for video in videos), strict=True)
    return kept, sum(short), sum(repeated)


def _ground_truth(videos, class_index):
    """The ground-truth arrays of a `Scene`."""
    gt_sec = np.concatenate([_segments(video.segments_sec) for video in videos])
    ambiguous_sec = [_segments(video.ambiguous_sec) for video in videos]
    return {"gt_video": np.repeat(np.arange(len(videos)), [len(video.labels) for video in videos]),
            "gt_class": np.array([class_index[label] for video in videos for label in video.labels]),
            "gt_sec": gt_sec, "gt_rank": inverse(np.lexsort((gt_sec[:, 1], gt_sec[:, 0])), len(gt_sec)),
            "ambiguous_video": np.repeat(np.arange(len(videos)), [len(segments) for segments in ambiguous_sec]),
            "ambiguous_sec": np.concatenate(ambiguous_sec)}


def _ranks(names):
    """(V,) the place of each name in alphabetical order."""
    return inverse(np.array(sorted(range(len(names)), key=names.__getitem__), int), len(names))


def _list_rank(predictions):
    """(P,) ranks by the id of the video as written, then by the place in its list, whatever the order of the ids."""
    return inverse(np.argsort(_ranks(predictions.video_ids)[predictions.video], kind="stable"),
                   len(predictions.video))


def _segments(segments_sec):
    return np.asarray(segments_sec, float).reshape(-1, 2)


def _match_ids(gt_names, predicted_ids):
    """Predicted ids -> index into the ground truth, as `names.pair_names` finds it; those of no video come after it.

    Returns all names, the index of each predicted id, and how many ids are spelled in another way than their video.
    """
    paired = pair_names(predicted_ids, gt_names)
    index_of = {name: index for index, name in enumerate(gt_names)}
    names, indices, num_toggled = list(gt_names), [], 0
    for video_id in predicted_ids:
        name = paired[video_id]
        toggled = video_id.removeprefix("v_") if video_id.startswith("v_") else "v_" + video_id
        if name is None and video_id not in index_of and toggled in index_of:
            name = toggled
        if name not in (None, video_id):
            num_toggled += 1
            video_id = name
        if video_id not in index_of:
            index_of[video_id] = len(names)
            names.append(video_id)
        indices.append(index_of[video_id])
    return names, np.array(indices, int), num_toggled


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
                   tied=scene.tied[best], segments_sec=np.stack([np.zeros_like(ends_sec), ends_sec], axis=1))
