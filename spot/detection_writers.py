"""Actions for other programs, `--write FORMAT,FORMAT`: which formats there are, and the files of each. No torch.

A writer is a function of (folder, recordings), which writes the files of one format into a folder of its own.
"""

import contextlib
import difflib
from dataclasses import dataclass
from pathlib import Path

from spot.errors import SpotError
from spot.files import write_text
from spot.names import check_video_id
from spot.operating_point import actions_of
from spot.subtitles import srt_text, vtt_text


@dataclass(frozen=True)
class Recording:
    """The actions of one video.

    actions: a list of {"label", "score", "segment": [start_sec, end_sec]} in order of time
    duration_sec, fps: None = not known
    """

    name: str
    actions: list
    duration_sec: float | None = None
    fps: float | None = None


def per_video(suffix, text_of):
    """A writer of one text file per video, FOLDER/VIDEO + suffix; text_of: actions -> text."""

    def write(folder, recordings):
        for recording in recordings:
            check_video_id(recording.name, "--write")
            write_text(Path(folder) / f"{recording.name}{suffix}", text_of(recording.actions))

    return write


WRITERS = {"vtt": per_video(".vtt", vtt_text), "srt": per_video(".srt", srt_text)}


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
def written_actions(formats, folder, action, facts):
    """Yield `add(video, entries)`; after the block the actions among the entries lie in FOLDER/FORMAT.

    formats: as of `formats_in`; none: nothing is kept and nothing written
    action: {"threshold": ...}, see `operating_point`, or None where nobody knows one: SpotError
    facts: {video: (duration_sec, fps)}
    A stopped run writes nothing.
    """
    if not formats:
        yield lambda video, entries: None
        return
    if action is None:
        raise SpotError("--write needs to know from which score on a detection is an action; give "
                        "testing.action_threshold=0.3, say")
    recordings = []

    def add(video, entries):
        recordings.append(Recording(video, actions_of(entries, action["threshold"]), *facts.get(video, (None, None))))

    yield add
    for name in formats:
        WRITERS[name](Path(folder) / name, recordings)
        print(f"actions as {name}: {Path(folder) / name}")
