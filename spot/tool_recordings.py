"""What the files of annotation tools say of recordings, and how that becomes a `Video`; what is written for the tools.

Every reader of a tool's file returns a list of `Recording`, every writer takes one.
"""

from dataclasses import dataclass, field

import numpy as np

from spot.cleaning import Video
from spot.errors import SpotError
from spot.names import LEVELS, check_video_id
from spot.text import label_of, number

BEYOND_SEC = 1.0  # so far behind the end of a recording an event may end: tools round, and players overshoot
CLASSES_FROM = ("values", "tiers")


@dataclass(frozen=True)
class ReadingOptions:
    """What a tool's file leaves open.

    point_width_sec: events without duration become segments of this width around their time; None: they are refused
    classes_from: of ELAN, whether the `values` of annotations are the classes, or the `tiers` that they are on
    tiers: only these tiers (ELAN), attributes (VIA) or controls (Label Studio) are read; None: all
    complete_label: an event of this label, at any time, marks its recording as annotated completely; with it, the
        other recordings are unlabeled
    fps: frames per second of every recording, for files that count frames
    """

    point_width_sec: float | None = None
    classes_from: str = "values"
    tiers: tuple[str, ...] | None = None
    complete_label: str | None = None
    fps: float | None = None


@dataclass(frozen=True)
class Event:
    """One annotation or detection; end_sec None: a point; where: its place, such as `line 7`; score: 0..1."""

    label: str
    start_sec: float
    end_sec: float | None
    where: str = ""
    score: float | None = None


@dataclass(frozen=True)
class Recording:
    """One recording as a tool's file describes it.

    name: id of the video; media: its file as the tool names it, None where the file does not say
    where: file and perhaps place in it, for messages
    annotated: True where the file marks it as annotated, False where it does not; None: by whether it has an event
    counts_frames: the times of the events are numbers of frames, the first frame is 1 and the last one is included
    """

    name: str
    where: str
    events: list[Event] = field(default_factory=list)
    media: str | None = None
    duration_sec: float | None = None
    fps: float | None = None
    subset: str = ""
    annotated: bool | None = None
    counts_frames: bool = False


def name_of(media):
    """The id of the video in a media file: its name without folder and suffix."""
    return LEVELS[2](media)


def time_of(value, where):
    """Seconds from a number, its text, or `1:02:03.5`; SpotError for another value."""
    parts = value.split(":") if isinstance(value, str) else [value]
    if not 1 < len(parts) <= 3:
        return number(value, where)
    numbers = [number(part, where) for part in parts]
    return sum(part * 60**power for power, part in enumerate(reversed(numbers)))


def label_at(value, where):
    """A class name; SpotError where there is none."""
    label = label_of(value)
    if label is None:
        raise SpotError(f"{where}: has no label; give it one, or remove it")
    return label


def video_of(recording, facts, options):
    """The `Video` of a recording.

    facts: duration, fps and subset of its row in the video info file, which fill in what the tool's file leaves out;
        its subset wins. Without any subset it is one of training.
    SpotError for an event outside of the recording, one that ends before it starts, a point without a width, and times
    in frames without a frame rate.
    """
    check_video_id(recording.name, recording.where)
    duration = recording.duration_sec or facts.get("duration")
    fps = recording.fps or facts.get("fps")
    events = _in_seconds(recording, options.fps or fps) if recording.counts_frames else recording.events
    marks = [event for event in events if event.label == options.complete_label]
    events = [_checked(event, recording.where, duration, options) for event in events if event not in marks]
    annotated = bool(recording.events) if recording.annotated is None else recording.annotated
    return Video(
        name=recording.name, duration_sec=duration, fps=fps,
        subset=facts.get("subset") or recording.subset or "training",
        segments_sec=np.array([(event.start_sec, event.end_sec) for event in events], float).reshape(-1, 2),
        labels=tuple(event.label for event in events), feature_duration_sec=duration, ambiguous_sec=np.zeros((0, 2)),
        annotated=bool(marks) if options.complete_label else annotated, media=recording.media)


def annotated_one(one, other):
    """Of two `Video`s of one name the one that counts, where another is unlabeled; None where both would count.

    What nobody has annotated says nothing beside an annotation: a task of Label Studio with predictions alone, or an
    observation without the mark of `ReadingOptions.complete_label`.
    """
    if other.annotated is False:
        return one
    return other if one.annotated is False else None


def _in_seconds(recording, fps):
    """The events of a recording that counts frames; a single frame is a point in its middle."""
    if recording.events and not fps:
        raise SpotError(f"{recording.where}: its times are numbers of frames, and nothing tells the frame rate of "
                        f"{recording.name!r}; give dataset.fps=25, say, or dataset.video_info_path=FILE.csv with "
                        "columns video and fps")
    return [Event(event.label, (event.start_sec - 1) / fps, event.end_sec / fps, event.where)
            if event.end_sec is not None else Event(event.label, (event.start_sec - 0.5) / fps, None, event.where)
            for event in recording.events]


def _checked(event, where, duration, options):
    """The event as a segment; SpotError where it is none."""
    place = f"{where}, {event.where}"
    start, end = event.start_sec, event.end_sec
    if end is None or end == start:
        if options.point_width_sec is None:
            raise SpotError(f"{place}: {event.label!r} at {start:g} s is a point, and actions have a duration; give "
                            "dataset.point_width=1 to make every point a segment of 1 s around it, or remove it")
        start, end = start - options.point_width_sec / 2, start + options.point_width_sec / 2
        start, end = max(start, 0.0), end if duration is None else max(min(end, duration), start)
    if end < start:
        raise SpotError(f"{place}: {event.label!r} ends at {end:g} s, before it starts at {start:g} s; mend it")
    if event.start_sec < 0:
        raise SpotError(f"{place}: {event.label!r} is at {event.start_sec:g} s, before the recording begins; mend it")
    if duration and (event.start_sec >= duration or end > duration + BEYOND_SEC):
        raise SpotError(f"{place}: {event.label!r} from {event.start_sec:g} s to {end:g} s lies beyond the end of the "
                        f"recording at {duration:g} s; is the file about another recording, or in another unit?")
    return Event(event.label, start, end, event.where, event.score)
