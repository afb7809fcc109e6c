"""What a video of an annotation file is, and which of its segments can be trained on."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Video:
    """One video of an annotation file, as the file states it: segments may be dirty (see `clean_segments`).

    name:                  id without ActivityNet's leading `v_`
    duration_sec:          length in seconds, None where the file does not tell
    fps:                   frames per second, None where the file does not tell
    subset:                lower case; "" where the file does not tell; `training_unlabel` is "training"
    segments_sec:          (N, 2) float64 start and end in seconds, in file order
    labels:                N class names
    feature_duration_sec:  the seconds that the features cover (BMN's feature_frame / duration_frame * duration_second),
                           else duration_sec
    ambiguous_sec:         (M, 2) THUMOS14 segments marked Ambiguous: never a class; the thumos14 protocol ignores them
    label_ids:             N class ids as in the file; None where not every segment has one
    """

    name: str
    duration_sec: float | None
    fps: float | None
    subset: str
    segments_sec: np.ndarray
    labels: tuple[str, ...]
    feature_duration_sec: float | None
    ambiguous_sec: np.ndarray
    label_ids: tuple[int, ...] | None = None


def clean_segments(video, feature_end_sec=math.inf):
    """The segments of a video that can be trained on: clipped to [0, duration], empty ones dropped.

    feature_end_sec: where the features end, which counts where the annotations tell no duration
    Evaluation keeps ground truth as it is. Returns segments_sec (M, 2), M labels, and
    {"clipped": kept after clipping, "dropped": empty}.
    """
    end_sec = feature_end_sec if video.duration_sec is None else video.duration_sec
    clipped_sec = video.segments_sec.clip(0, end_sec)
    keep = clipped_sec[:, 1] > clipped_sec[:, 0]
    changed = (clipped_sec != video.segments_sec).any(axis=1)
    labels = tuple(label for label, kept in zip(video.labels, keep, strict=True) if kept)
    return clipped_sec[keep], labels, {"clipped": int((changed & keep).sum()), "dropped": int((~keep).sum())}
