"""Annotation files of the field -> one list of `Video`; the labeled / unlabeled split. No torch."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Video:
    """One video of an annotation file, as the file states it: segments may be dirty (see `clean_segments`).

    name:                  id without a leading `v_`
    duration_sec:          length in seconds, None where the file does not tell
    fps:                   frames per second, None where the file does not tell
    subset:                lower case; "" where the file does not tell
    segments_sec:          (N, 2) float64 start and end in seconds, in file order
    labels:                N class names
    feature_duration_sec:  the seconds that the features cover (BMN's feature_frame / duration_frame * duration_second),
                           else duration_sec
    ambiguous_sec:         (M, 2) THUMOS14 segments marked Ambiguous: never a class; the thumos14 protocol ignores them
    """

    name: str
    duration_sec: float | None
    fps: float | None
    subset: str
    segments_sec: np.ndarray
    labels: tuple[str, ...]
    feature_duration_sec: float | None
    ambiguous_sec: np.ndarray
