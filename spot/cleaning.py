"""What a video of an annotation file is, and which of its segments can be trained on."""

import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from spot.text import alike


@dataclass(frozen=True)
class Video:
    """One video of an annotation file, as the file states it: segments may be dirty (see `clean_segments`).

    name:                  id without ActivityNet's leading `v_`
    duration_sec:          length in seconds, None where the file does not state it
    fps:                   frames per second, None where the file does not state them
    subset:                lower case; "" where the file names none; `training_unlabel` is "training"
    segments_sec:          (N, 2) float64 start and end in seconds, in file order
    labels:                N class names
    feature_duration_sec:  the seconds that the features cover (BMN's feature_frame / duration_frame * duration_second),
                           else duration_sec
    ambiguous_sec:         (M, 2) THUMOS14 segments marked Ambiguous: never a class; the thumos14 protocol ignores them
    label_ids:             N class ids as in the file; None where not every segment has one
    annotated:             whether somebody annotated it, as an annotation tool's file states; None in formats that do
                           not state it: a video of a published data set without a segment shows no action
    media:                 its file, as an annotation tool names it
    centers_sec:           (T',) centers of the rows of its features, where a sidecar has them; else None
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
    annotated: bool | None = None
    media: str | None = None
    centers_sec: np.ndarray | None = None

    def __repr__(self):
        duration = "duration not known" if self.duration_sec is None else f"{self.duration_sec:g} s"
        return f"Video({self.name!r}, {self.subset or 'no subset'}, {duration}, {len(self.labels)} segments)"


def clean_segments(video, feature_end_sec=math.inf):
    """The segments of a video that can be trained on: clipped to [0, duration], empty ones dropped.

    feature_end_sec: where the features end, which counts where the annotations state no duration
    Evaluation keeps ground truth as it is. Returns segments_sec (M, 2), M labels, and
    {"clipped": kept after clipping, "dropped": empty}.
    """
    end_sec = feature_end_sec if video.duration_sec is None else video.duration_sec
    clipped_sec = video.segments_sec.clip(0, end_sec)
    keep = clipped_sec[:, 1] > clipped_sec[:, 0]
    changed = (clipped_sec != video.segments_sec).any(axis=1)
    labels = tuple(label for label, kept in zip(video.labels, keep, strict=True) if kept)
    return clipped_sec[keep], labels, {"clipped": int((changed & keep).sum()), "dropped": int((~keep).sum())}


# --- what is lost, and why --------------------------------------------------------------------------------------------

MAX_LOST = 0.05  # share of the segments; more is no dirt but another unit
NEARLY_ALL = 0.95  # of the segments fit the video in the unit that is named
LEAST_REACH = 0.1  # the segments of a video reach at least so far into it, else the factor is too small
MIN_WORD = 4  # letters of a word in which one other letter is a slip: `class A` and `class B` are two


@dataclass(frozen=True)
class Losses:
    """What `clean_segments` does to the segments of some videos.

    total, clipped, dropped: segments; cut: those among the clipped that lose more than half of their length
    points, backward: dropped because they end where they start, or before; the other dropped ones lie outside
    latest: (end of a segment, end of its video) in seconds, where the first is furthest outside
    unit: what the times probably are, "" where no unit would make them fit
    """

    total: int
    clipped: int
    dropped: int
    cut: int
    points: int
    backward: int
    latest: tuple[float, float]
    unit: str

    @property
    def usable(self):
        """Segments that are trained on."""
        return self.total - self.dropped

    def reasons(self):
        """Why segments are lost, as a part of a sentence."""
        outside = self.dropped - self.points - self.backward
        told = [(self.points, "end where they start"), (self.backward, "end before they start"),
                (outside, "lie outside of their video"), (self.cut, "lose more than half at the end of their video")]
        text = ", ".join(f"{count:,} {words}" for count, words in told if count)
        if outside or self.cut:
            text += f" (one ends at {self.latest[0]:,.6g} s of {self.latest[1]:,.6g} s)"
        return text + (f"; {self.unit}" if self.unit else "; times are in seconds")


def losses_of(videos, ends_sec=None, fps=None):
    """The Losses of videos; ends_sec: where each one's features end, which counts where no duration is known; fps: of
    all of them, None: each video's own."""
    ends_sec = [math.inf] * len(videos) if ends_sec is None else ends_sec
    counts, latest = Counter(), (0.0, math.inf)
    for video, end_sec in zip(videos, ends_sec, strict=True):
        _, _, found = clean_segments(video, end_sec)
        start, end = video.segments_sec.T
        last = video.duration_sec or end_sec
        inside = end.clip(0, last) - start.clip(0, last)
        counts.update(found, total=len(start), points=int((end == start).sum()), backward=int((end < start).sum()),
                      cut=int(((inside > 0) & (inside < (end - start) / 2)).sum()))
        if len(end) and end.max() - last > latest[0] - latest[1]:
            latest = (float(end.max()), float(last))
    lost = counts["dropped"] + counts["cut"]
    unit = likely_unit(videos, ends_sec, fps) if lost > MAX_LOST * counts["total"] else ""
    names = ("total", "clipped", "dropped", "cut", "points", "backward")
    return Losses(**{name: counts[name] for name in names}, latest=latest, unit=unit)


def likely_unit(videos, ends_sec, fps=None):
    """What the times of segments probably are, by the factor that makes them fit their videos; "" where none does.

    Arguments as of `losses_of`. Frames (1 / fps) come before milliseconds (1 / 1000), which fit wherever frames do.
    """
    known = [(video.segments_sec, video.duration_sec or end_sec, fps or video.fps)
             for video, end_sec in zip(videos, ends_sec, strict=True) if len(video.segments_sec)]
    known = [(segments, end, rate) for segments, end, rate in known if math.isfinite(end)]
    # Before the factors: with several actions, times fit a duration that is too short in many units.
    lengths = [(segments[:, 1] - segments[:, 0], end) for segments, end, _ in known]
    if known and np.mean([bool((np.abs(length - end) <= 0.01 * end).any()) for length, end in lengths]) >= NEARLY_ALL:
        return "the duration is that of an action, where it must be that of the whole video"
    factors = (("frames: divide them by the frames per second", [rate and 1 / rate for *_, rate in known]),
               ("milliseconds: divide them by 1000", [1e-3] * len(known)))
    for words, scales in factors:
        if known and None not in scales and _fit(known, scales):
            return f"they fit as {words}"
    return ""


def _fit(known, scales):
    """Do nearly all segments lie within their videos once they are scaled, and reach far enough into them?"""
    inside, reach = [], []
    for (segments, end, _), scale in zip(known, scales, strict=True):
        start, stop = segments.T * scale
        inside += ((start >= 0) & (stop > start) & (stop <= 1.02 * end)).tolist()
        reach.append(stop.max() / end)
    return np.mean(inside) >= NEARLY_ALL and np.median(reach) >= LEAST_REACH


def unusable(losses, what):
    """A sentence where none of the segments can be trained on, else None; what: whose they are, `labeled videos`."""
    if losses.usable:
        return None
    if not losses.total:
        return f"{what} have no segment at all; annotate some, or choose others by dataset.labeled"
    return f"none of the {losses.total:,} segments of {what} can be trained on: {losses.reasons()}"


def loss_warning(losses, what):
    """A sentence where more than 5 % of the segments are lost, else None; what: as of `unusable`."""
    lost = losses.dropped + losses.cut
    if not losses.usable or lost <= MAX_LOST * losses.total:
        return None
    return f"{lost:,} of {losses.total:,} segments of {what} are lost or cut: {losses.reasons()}"


def shares_warning(videos):
    """A sentence where all segments lie between 0 and 1, as shares of their videos do, else None."""
    ends = [video.segments_sec.max() for video in videos if len(video.segments_sec)]
    durations = [video.duration_sec for video in videos if len(video.segments_sec) and video.duration_sec]
    if len(ends) < 2 or max(ends) > 1 or not durations or np.median(durations) < 20:
        return None
    return ("all segments end within the first second of their videos; are they shares of the video? Times are in "
            "seconds")


def similar_labels(names):
    """Pairs of class names that are probably one: they differ only by spaces, separators, case or Unicode form, or by
    one letter within a longer word (digits distinguish classes)."""
    by_form = {}
    for name in names:
        for form in _forms(alike(name)):
            by_form.setdefault(form, []).append(name)
    pairs = {tuple(sorted(pair)) for group in by_form.values() for pair in itertools.combinations(group, 2)}
    return sorted(pair for pair in pairs if _is_slip(*pair))


def _forms(text):
    """The text, and what is left when one letter is taken out: of two texts that differ by one letter, one is alike."""
    return {text, *(text[:i] + text[i + 1 :] for i in range(len(text)))}


def _is_slip(one, other):
    if alike(one) == alike(other):
        return True
    words = [re.split(r"[\s_\-.]+", name.casefold()) for name in (one, other)]
    if len(words[0]) != len(words[1]):
        return False
    differing = [pair for pair in zip(*words, strict=True) if pair[0] != pair[1]]
    if len(differing) != 1:
        return False
    a, b = sorted(differing[0], key=len)
    first = next((i for i in range(len(a)) if a[i] != b[i]), len(a))
    is_one_letter = a[first + (len(a) == len(b)) :] == b[first + 1 :]
    changed = {a[first : first + 1], b[first : first + 1]}
    # At the beginning another letter is most often another word: curling and hurling are two of ActivityNet's classes.
    return is_one_letter and first > 0 and len(b) >= MIN_WORD and not any(letter.isdigit() for letter in changed)


def label_warnings(videos, names, ends_sec=None, fps=None):
    """Sentences about what training would learn from the labels of some labeled videos without a word.

    names: the class list; ends_sec, fps: as of `losses_of`
    """
    ends = [math.inf] * len(videos) if ends_sec is None else ends_sec
    empty = [video.name for video, end in zip(videos, ends, strict=True) if not clean_segments(video, end)[1]]
    found = [loss_warning(losses_of(videos, ends_sec, fps), "the labeled videos"), shares_warning(videos)]
    if empty:
        found.append(f"{len(empty):,} of {len(videos):,} labeled videos, such as {empty[0]}, have no segment that can "
                     "be used and are learned as background; where they are not annotated, take them out of "
                     "dataset.labeled")
    for one, other in similar_labels(names)[:5]:
        found.append(f"the classes {one!r} and {other!r} differ by little; if they are one, give them one spelling")
    return [sentence for sentence in found if sentence]
