"""What `detect` returns, as arrays that print in a few lines. No torch."""

import numpy as np

COLUMNS = ("start_sec", "end_sec", "class_index", "score")
SHOWN = 5  # detections of a video, of the best ones


class Detections(np.ndarray):
    """(N, 4) detections of one video: start_sec, end_sec, class_index, score; an array in all but how it is printed."""

    def __repr__(self):
        if self.ndim != 2 or self.shape[1] != len(COLUMNS):
            return repr(np.asarray(self))
        lines = [f"{len(self)} detections" + (":" if len(self) else "")]
        if len(self):
            lines.append("  ".join(COLUMNS))
        for start, end, index, score in self[:SHOWN].tolist():
            lines.append(f"{start:>9.2f}  {end:>7.2f}  {int(index):>11d}  {score:>5.3f}")
        return "\n".join([*lines, *(["..."] if len(self) > SHOWN else [])])

    __str__ = __repr__

    def __array_wrap__(self, array, context=None, return_scalar=False):
        """What is computed from detections is a plain array, or a number."""
        return np.asarray(array)[()]


class DetectionsOfVideos(list):
    """One `Detections` per video; a list in all but how it is printed."""

    def __repr__(self):
        if len(self) == 1:
            return f"[{self[0]!r}]"
        counts = ", ".join(str(len(rows)) for rows in self[:SHOWN]) + (", ..." if len(self) > SHOWN else "")
        return f"detections in {len(self)} videos" + (f": {counts}" if self else "")


def as_detections(arrays):
    """(N, 4) arrays, one per video, as `DetectionsOfVideos`."""
    return DetectionsOfVideos(np.asarray(rows, float).view(Detections) for rows in arrays)
