"""EPIC-KITCHENS-100 action detection: its annotations and submissions as the challenge's own evaluator takes them.

Every segment has a verb, a noun and an action, the pair of both; each of these tasks is evaluated by itself, by the
ActivityNet protocol at tIoU .1:.1:.5. A class is called by its number, an action `verb,noun`. No torch.
"""

import re
from pathlib import Path

import numpy as np

from spot.cleaning import Video
from spot.errors import SpotError
from spot.files import opened
from spot.names import check_video_id
from spot.pickled_tables import read_pickled_table
from spot.text import number, read_table, short

TASKS = ("verb", "noun", "action")
TIOU = "0.1:0.5:5"
COLUMNS = ("video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")
SUBSETS = {"train": "training", "validation": "validation", "test": "test"}


def check_task(task, source):
    """The task, one of TASKS; SpotError where it is not named, source: words for what needs it."""
    if task not in TASKS:
        given = "name" if task is None else f"task {task!r} is unknown; name"
        raise SpotError(f"{source}: is of EPIC-KITCHENS, where verbs, nouns and actions are evaluated each by "
                        f"themselves; {given} one by --task verb, noun or action")
    return task


# --- annotations ------------------------------------------------------------------------------------------------------


def is_epic_file(path):
    """Is this an annotation table of EPIC-KITCHENS, by its name (`EPIC_100_validation.pkl`) or by its columns?"""
    path = Path(path)
    if not path.is_file():
        return False
    if re.search(r"\.pkl(\.gz)?$", path.name, re.IGNORECASE):
        return True  # no other annotations are pickles
    with opened(path) as file:
        head = file.read(2000).decode("utf-8", "replace").split("\n")[0]
    return set(COLUMNS) <= {cell.strip().strip('"') for cell in head.split(",")}


def read_epic(path, task):
    """The annotations of EPIC_100_{train,validation}.csv or .pkl as a list of `Video`, in file order.

    task: one of TASKS, which says what a label is. The subset is that of the file name; the files state no durations.
    Raises SpotError with the file, the row and the value.
    """
    check_task(task, path)
    columns = _columns_of(path)
    if missing := [name for name in COLUMNS if name not in columns]:
        raise SpotError(f"{path}: has no column {missing[0]}; annotations of EPIC-KITCHENS have {', '.join(COLUMNS)}")
    segments, labels = {}, {}
    for row, (video, start, stop, verb, noun) in enumerate(zip(*(columns[name] for name in COLUMNS), strict=True), 1):
        where = f"{path}, row {row}"
        if video not in segments:
            check_video_id(str(video), where)
        segments.setdefault(video, []).append((_seconds(start, where), _seconds(stop, where)))
        verb, noun = _class_number(verb, where), _class_number(noun, where)
        labels.setdefault(video, []).append({"verb": f"{verb}", "noun": f"{noun}", "action": f"{verb},{noun}"}[task])
    if not segments:
        raise SpotError(f"{path}: holds no segment; was it fully downloaded?")
    subset = next((name for word, name in SUBSETS.items() if word in Path(path).name.lower()), "")
    return [Video(str(video), None, None, subset, np.array(times, float), tuple(labels[video]), None, np.zeros((0, 2)))
            for video, times in segments.items()]


def _columns_of(path):
    """{column: list of values} of the table, CSV or pickled data frame."""
    if not re.search(r"\.pkl(\.gz)?$", Path(path).name, re.IGNORECASE):
        names, rows = read_table(path)
        return {name: [row[name] for row in rows] for name in names}
    return read_pickled_table(path)


def _seconds(timestamp, where):
    """'00:01:02.35' -> 62.35, in the evaluator's order of operations."""
    if not isinstance(timestamp, str) or not re.fullmatch(r"\d+:\d+:\d+(\.\d*)?", timestamp.strip()):
        raise SpotError(f"{where}: {short(timestamp)} is no time such as 00:01:02.35; mend it or take the row out")
    hours, minutes, seconds = map(float, timestamp.split(":"))
    return hours * 3600 + minutes * 60 + seconds


def _class_number(value, where):
    found = number(value, where)
    if found != int(found):
        raise SpotError(f"{where}: class {short(value)} is not a whole number; mend it or take the row out")
    return int(found)


# --- submissions ------------------------------------------------------------------------------------------------------


class BrokenEntry:
    """In the place of an entry that is not what the evaluator takes: `fault` says why."""

    def __init__(self, fault):
        self.fault = fault


def is_epic_entry(entry):
    """Is this an entry of a submission, {"verb", "noun", "action", "score", "segment"}?"""
    return isinstance(entry, dict) and "label" not in entry and any(task in entry for task in TASKS)


def plain_entry(entry, task):
    """An entry of a submission as {"label", "score", "segment"}; numbers may be text, as the evaluator reads them."""
    if not isinstance(entry, dict):
        return entry
    if missing := [key for key in (task, "score", "segment") if key not in entry]:
        return BrokenEntry(f"has no {missing[0]!r}")
    try:
        if task == "action":
            verb, noun = entry["action"].split(",")
            label = f"{int(verb)},{int(noun)}"
        else:
            label = f"{int(entry[task])}"
    except (AttributeError, TypeError, ValueError, OverflowError):
        wanted = "text such as '3,45'" if task == "action" else "the number of a class"
        return BrokenEntry(f"{task} {short(entry[task])} is not {wanted}")
    try:
        return {"label": label, "score": float(entry["score"]), "segment": [float(time) for time in entry["segment"]]}
    except (TypeError, ValueError, OverflowError):
        return {"label": label, "score": entry["score"], "segment": entry["segment"]}  # refused as in other files
