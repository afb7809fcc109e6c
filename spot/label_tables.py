"""Plain tables: `video,start,end,label` (our own detections.csv and actions.csv too), and Audacity's label tracks."""

import csv
import io
import re

from spot.errors import SpotError
from spot.files import write_text
from spot.text import alike, clean, frame_rate, has_value, number
from spot.tool_recordings import Event, Recording, label_at, name_of, time_of

# What tables call the same column, as `alike` spells it; the first one present is taken.
NAMES = {
    "video": ("video", "videoid", "videoname", "recording", "file", "filename", "media", "mediafile"),
    "start": ("start", "startsec", "starts", "start(s)", "tstart", "starttime", "begin", "onset"),
    "end": ("end", "endsec", "ends", "end(s)", "tend", "endtime", "stop", "stop(s)", "offset"),
    "label": ("label", "class", "action", "behavior", "behaviour", "event", "annotation"),
    "duration": ("duration", "durationsec", "videoduration"),
    "fps": ("fps", "framerate"),
    "subset": ("subset", "split"),
}
NEEDED = ("start", "end", "label")
AUDACITY = re.compile(r"\s*-?\d+([.,]\d+)?\t-?\d+([.,]\d+)?(\t.*)?")


def is_label_table(columns):
    """Do the columns of a table hold what annotations need?"""
    return None not in [_column(columns, key) for key in NEEDED]


def _column(columns, key):
    """The column that is called by one of the NAMES of `key`; None where none is."""
    spelled = {alike(column): column for column in reversed(columns)}
    return next((spelled[name] for name in NAMES[key] if name in spelled), None)


def read_label_table(path, columns, rows, options):
    """The recordings of a table with a header; without a column for the video, the one that the file is named after.

    rows: (line, {column: cell}); a row with a video alone says that it is there, without annotation
    options: as of all readers, not needed here. SpotError with file and line for a row that holds no annotation.
    """
    chosen = {key: _column(columns, key) for key in NAMES}
    events, facts = {}, {}
    for line, row in rows:
        cells = {key: row[column] if column else "" for key, column in chosen.items()}
        name = name_of(cells["video"]) if chosen["video"] else name_of(path.stem)
        if not name:
            raise SpotError(f"{path}: line {line}: names no video; give it one, or remove the line")
        own = events.setdefault(name, [])
        facts.setdefault(name, _facts(cells, f"{path}: line {line}"))
        if any(has_value(cells[key]) for key in NEEDED):
            own.append(_event(cells, f"{path}: line {line}", line))
    return [Recording(name, str(path), own, **facts[name]) for name, own in events.items()]


def _event(cells, where, line):
    start = time_of(cells["start"], f"{where}, start")
    end = time_of(cells["end"], f"{where}, end") if has_value(cells["end"]) else None
    return Event(label_at(cells["label"], where), start, end, f"line {line}")


def _facts(cells, where):
    return {"duration_sec": number(cells["duration"], f"{where}, duration") if has_value(cells["duration"]) else None,
            "fps": frame_rate(cells["fps"], f"{where}, fps") if has_value(cells["fps"]) else None,
            "subset": clean(cells["subset"]).lower()}


def write_csv(folder, recordings, class_names):
    """FOLDER/annotations.csv, a row for every event, and one with the video alone where there is none."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["video", "start", "end", "label", "score"])
    for recording in recordings:
        for event in recording.events:
            score = "" if event.score is None else f"{event.score:.6g}"
            table.writerow([recording.name, f"{event.start_sec:.3f}", f"{event.end_sec:.3f}", event.label, score])
        if not recording.events:
            table.writerow([recording.name, "", "", "", ""])
    write_text(folder / "annotations.csv", text.getvalue())


def is_audacity(text):
    """Is the first line of a text `start TAB end TAB label`, as Audacity exports label tracks?"""
    return bool(AUDACITY.fullmatch(text.lstrip("\n\r").partition("\n")[0].rstrip("\r")))


def read_audacity(path, text, options):
    """The recording of a label track that Audacity exported, which the file is named after. options: not needed.

    Lines that begin with a backslash are the frequencies of a spectral selection. SpotError with file and line.
    """
    events = []
    for line, content in enumerate(text.splitlines(), 1):
        if not content.strip() or content.startswith("\\"):
            continue
        where = f"{path}: line {line}"
        if not AUDACITY.fullmatch(content):
            raise SpotError(f"{where}: is not `start TAB end TAB label`; was the label track fully exported?")
        start, end, label = [*content.split("\t", 2), ""][:3]
        start, end = (number(cell.replace(",", "."), where) for cell in (start, end))
        events.append(Event(label_at(label, where), start, None if end == start else end, f"line {line}"))
    return [Recording(name_of(path.stem), str(path), events)]
