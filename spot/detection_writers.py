"""Actions for other programs, `--write FORMAT,FORMAT`: which formats there are, and the files of each. No torch.

A writer is a function of (folder, recordings, class names), which writes the files of one format into a folder of its
own: annotation tools open them as annotations to correct, players show them over the video.
"""

import contextlib
import difflib
from dataclasses import dataclass
from pathlib import Path

from spot import tool_recordings
from spot.boris import write_boris
from spot.elan import write_eaf
from spot.errors import SpotError
from spot.files import write_text
from spot.label_studio import write_label_studio, write_label_studio_timeseries
from spot.label_tables import write_csv
from spot.names import check_video_id
from spot.operating_point import actions_of
from spot.subtitles import srt_text, vtt_text
from spot.via import write_via


@dataclass(frozen=True)
class Recording:
    """The actions of one video.

    actions: a list of {"label", "score", "segment": [start_sec, end_sec]} in order of time
    duration_sec, fps, media: None = not known; media: the file of the video
    """

    name: str
    actions: list
    duration_sec: float | None = None
    fps: float | None = None
    media: str | None = None


def per_video(suffix, text_of):
    """A writer of one text file per video, FOLDER/VIDEO + suffix; text_of: actions -> text."""

    def write(folder, recordings, class_names):
        for recording in recordings:
            check_video_id(recording.name, "--write")
            write_text(Path(folder) / f"{recording.name}{suffix}", text_of(recording.actions))

    return write


def for_tool(write_tool):
    """A writer of the files of an annotation tool; write_tool: the function that takes `tool_recordings.Recording`."""

    def write(folder, recordings, class_names):
        for recording in recordings:
            check_video_id(recording.name, "--write")
        write_tool(Path(folder), [_for_tools(recording) for recording in recordings], list(class_names))

    return write


def _for_tools(recording):
    """The `tool_recordings.Recording` of the actions of a video."""
    events = [tool_recordings.Event(action["label"], *action["segment"], score=action["score"])
              for action in recording.actions]
    return tool_recordings.Recording(recording.name, "", events, media=recording.media,
                                     duration_sec=recording.duration_sec, fps=recording.fps)


WRITERS = {"boris": for_tool(write_boris), "eaf": for_tool(write_eaf), "via": for_tool(write_via),
           "labelstudio": for_tool(write_label_studio),
           "labelstudio-timeseries": for_tool(write_label_studio_timeseries), "csv": for_tool(write_csv),
           "vtt": per_video(".vtt", vtt_text), "srt": per_video(".srt", srt_text)}


def formats_in(text):
    """`vtt,srt` -> the list of formats, each once; SpotError for one that is not there."""
    names = list(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    if not names:
        raise SpotError(f"--write {text!r} names no format; choose from {', '.join(WRITERS)}")
    for name in names:
        if name not in WRITERS:
            near = difflib.get_close_matches(name, WRITERS, 1, 0.5)
            raise SpotError(f"--write: there is no format {name!r}; " + (f"did you mean {near[0]!r}? " if near else "")
                            + f"there are {', '.join(WRITERS)}")
    return names


@contextlib.contextmanager
def written_actions(formats, folder, action, facts, class_names=()):
    """Yield `add(video, entries)`; after the block the actions among the entries lie in FOLDER/FORMAT.

    formats: as of `formats_in`; none: nothing is kept and nothing written
    action: {"threshold": ...}, see `operating_point`, or None where there is none: SpotError
    facts: {video: (duration_sec, fps, media)}, the last ones may be left out
    class_names: all classes that there are, which tools offer for corrections
    A stopped run writes nothing.
    """
    if not formats:
        yield lambda video, entries: None
        return
    if action is None:
        raise SpotError("--write needs to know from which score on a detection is an action; give it by "
                        "testing.action_threshold=SCORE")
    recordings = []

    def add(video, entries):
        recordings.append(Recording(video, actions_of(entries, action["threshold"]), *facts.get(video, ())))

    yield add
    for name in formats:
        WRITERS[name](Path(folder) / name, recordings, class_names)
        print(f"actions as {name}: {Path(folder) / name}")
