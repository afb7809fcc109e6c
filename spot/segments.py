"""Segments in time: tIoU, and seconds <-> snippet grid for all grids. Pure numpy; the unit stands in each name.

A position on a grid is continuous: snippet i covers [i, i + 1) and its center is at i + 0.5.
"""

from dataclasses import dataclass

import numpy as np

# Features that end further than this share from the end of the video: stride, window or fps are probably wrong.
MAX_TIME_DIFFERENCE = 0.1


def tiou(segments_a, segments_b):
    """Temporal intersection over union of every pair.

    segments_a: (N, 2), segments_b: (M, 2), any common unit; a segment with end <= start has length 0
    Returns (N, M) in 0..1; 0 where both are empty.
    """
    a, b = np.asarray(segments_a, float).reshape(-1, 2), np.asarray(segments_b, float).reshape(-1, 2)
    intersection = np.minimum(a[:, None, 1], b[None, :, 1]) - np.maximum(a[:, None, 0], b[None, :, 0])
    intersection = intersection.clip(min=0)
    length_a, length_b = (a[:, 1] - a[:, 0]).clip(min=0), (b[:, 1] - b[:, 0]).clip(min=0)
    union = length_a[:, None] + length_b[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


class Grid:
    """Positions on a grid <-> seconds, linear between a subclass's `_knots`: (positions, seconds), both increasing.

    length: number of snippets; duration_sec: end of the video
    """

    def to_sec(self, positions_snippet):
        """Positions on the grid -> seconds in 0..duration_sec, same shape."""
        positions, seconds = self._knots()
        return np.interp(positions_snippet, positions, seconds).clip(0, self.duration_sec)

    def to_snippet(self, times_sec):
        """Seconds -> positions in 0..length, same shape."""
        positions, seconds = self._knots()
        return np.interp(times_sec, seconds, positions)


@dataclass(frozen=True)
class SnippetGrid(Grid):
    """Where the snippets of one video lie in time: linear between the first and the last center.

    length:           number of snippets
    first_center_sec: center of snippet 0
    snippet_sec:      distance between two centers
    duration_sec:     end of the video; the first and the last snippet reach to the ends
    """

    length: int
    first_center_sec: float
    snippet_sec: float
    duration_sec: float

    def _knots(self):
        last_center_sec = self.first_center_sec + (self.length - 1) * self.snippet_sec
        # An annotated duration shorter than the features must not fold the time axis.
        end_sec = max(self.duration_sec, last_center_sec + 1e-6 * self.snippet_sec)
        first_sec = max(self.first_center_sec, 1e-6 * self.snippet_sec)
        positions, seconds = [0, 0.5], [0, first_sec]
        if self.length > 1:
            positions, seconds = [*positions, self.length - 0.5], [*seconds, last_center_sec]
        return np.array([*positions, self.length]), np.array([*seconds, end_sec])


@dataclass(frozen=True, eq=False)
class CenterGrid(Grid):
    """Where snippets lie whose centers are known one by one, as those of a video of variable frame rate.

    length:       number of snippets, of all rows of the features, or of those that they were resampled to
    centers_sec:  (T',) increasing, of the rows of the features; row i has its center at (i + 0.5) * length / T'
    duration_sec: end of the video; the first and the last snippet reach to the ends
    """

    length: int
    centers_sec: np.ndarray
    duration_sec: float

    def _knots(self):
        count = len(self.centers_sec)
        inner = (np.arange(count) + 0.5) * self.length / count
        # Neither a first center at 0 nor a duration shorter than the features may fold the time axis.
        first_sec = max(self.centers_sec[0], 1e-9)
        end_sec = max(self.duration_sec, self.centers_sec[-1] + 1e-9)
        return (np.concatenate([[0], inner, [self.length]]),
                np.concatenate([[0, first_sec], self.centers_sec[1:], [end_sec]]))


def center_grid(num_snippets, centers_sec, duration_sec=None):
    """The grid of features whose rows have their centers at (T',) `centers_sec`: as they are, or resampled.

    num_snippets: T' of them, or as many as the rows were resampled to; duration_sec: None = as far behind the last
    center as it lies behind the one before
    """
    centers_sec = np.asarray(centers_sec, float)
    if duration_sec is None:
        duration_sec = centers_end_sec(centers_sec)
    return CenterGrid(num_snippets, centers_sec, float(duration_sec))


def centers_end_sec(centers_sec):
    """Where features with these centers end: half the distance of the last two behind the last one, in seconds."""
    before_sec = centers_sec[-2] if len(centers_sec) > 1 else -centers_sec[-1]
    return float(centers_sec[-1] + (centers_sec[-1] - before_sec) / 2)


def resize_grid(num_snippets, duration_sec, feature_duration_sec=None):
    """The whole video resampled to `num_snippets`: snippet i covers [i, i+1)/T of the time that the features cover.

    duration_sec: of the video; feature_duration_sec: of its part that the features cover, None = all of it
    """
    snippet_sec = (feature_duration_sec or duration_sec) / num_snippets
    return SnippetGrid(num_snippets, snippet_sec / 2, snippet_sec, duration_sec)


def window_grid(num_snippets, stride, window, fps, duration_sec=None, offset=0):
    """The native grid: snippet i is centered at (offset + i * stride + window / 2) / fps seconds.

    stride, window, offset: frames; fps: frames per second of this video
    duration_sec: None = to the end of the last snippet's window
    """
    first_center_sec, snippet_sec = (offset + window / 2) / fps, stride / fps
    if duration_sec is None:
        duration_sec = features_end_sec(num_snippets, stride, window, fps, offset)
    return SnippetGrid(num_snippets, first_center_sec, snippet_sec, duration_sec)


def features_end_sec(num_snippets, stride, window, fps, offset=0):
    """Where native features end: the end of the last snippet's window, in seconds; arguments as of `window_grid`."""
    return (offset + (num_snippets - 1) * stride + window) / fps


def _ends_agree(end_sec, duration_sec, least_sec):
    """Do features end where their video does, to 10 % of it or `least_sec`? Where no duration is known, they do."""
    return not duration_sec or abs(end_sec - duration_sec) <= max(MAX_TIME_DIFFERENCE * duration_sec, least_sec)


def centers_mismatch(centers_sec, duration_sec):
    """As `duration_mismatch`, for snippets whose (T',) centers are known."""
    end_sec = centers_end_sec(centers_sec)
    if _ends_agree(end_sec, duration_sec, 4 * end_sec / len(centers_sec)):
        return None
    return (f"its features reach to {end_sec:.1f} s of {duration_sec:.1f} s, by the times that they come with; are "
            "they of another video?")


def duration_mismatch(num_snippets, stride, window, fps, duration_sec, offset=0, every=1):
    """Half a sentence about native features that end far from the end of their video; None where both agree.

    Arguments as of `window_grid`; where only every n-th row of a file is used, `every` = n, and `stride` is from row to
    row of the file
    far: more than 10 % of the duration and more than two snippets. The words name the stride that would make them fit,
    in frames, from these very numbers.
    """
    step = stride * every
    end_sec = features_end_sec(num_snippets, step, window, fps, offset)
    if _ends_agree(end_sec, duration_sec, 2 * (step + window) / fps):
        return None
    fitting = (duration_sec * fps - offset) / (num_snippets * every)
    return (f"its features reach to {end_sec:.1f} s of {duration_sec:.1f} s; at {fps:g} frames per second a stride of "
            f"about {fitting:.3g} frames would fit them, {stride:g} is set")


def window_starts(length, num_snippets):
    """First snippets of windows of `num_snippets` that cover 0..length and overlap by at least half.

    A sequence that fits is one window. Returns a list of ints; the last window ends with the sequence.
    """
    if length <= num_snippets:
        return [0]
    last = length - num_snippets
    count = int(np.ceil(last / max(num_snippets // 2, 1))) + 1
    return np.linspace(0, last, count).round().astype(int).tolist()


def middle_windows(length, first_snippets, num_snippets):
    """For each of T' snippets, the window in whose middle it lies most, (T',), and its place there, (T',).

    first_snippets: (W,) of windows of `num_snippets`, as `window_starts` places them
    """
    snippet = np.arange(length)
    middles = first_snippets + (num_snippets - 1) / 2
    window = np.abs(snippet[:, None] - middles).argmin(axis=1)
    return window, snippet - first_snippets[window]
