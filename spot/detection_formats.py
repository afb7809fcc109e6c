"""Detections of any detector: which format a file has, and the formats that are tables. No torch.

| format | what it is |
|---|---|
| JSON | ActivityNet's {"results": ...}, and EPIC-KITCHENS submissions (`spot.detections`) |
| CSV | our detections.csv and actions.csv: a header with video, start_sec, end_sec, label, score |
| text | THUMOS14's `video start end class score`, a line each; the class is a name or its official number |
| pickle | ActionFormer's eval_results.pkl: a dict of video-id, t-start, t-end, label, score; read without running it |

Any of them may be packed with gzip.
"""

import contextlib
import csv
import io
import itertools
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from spot.detections import (
    BLOCK,
    Columns,
    fault_and_lenient,
    fault_of,
    read_json_predictions,
    without_garbage_collection,
)
from spot.errors import SpotError
from spot.files import opened
from spot.pickled_tables import read_pickled_table
from spot.text import HEAD_BYTES, clean, codec_of, delimiter_of, listing, no_text
from spot.thumos14 import THUMOS14_CLASSES

# What tables call the same column; the first one present is taken.
NAMES = {
    "video": ("video", "video-id", "video_id"),
    "label": ("label", "class"),
    "start": ("start_sec", "t-start", "start"),
    "end": ("end_sec", "t-end", "end"),
    "score": ("score", "scores"),
}


def read_predictions(source, lenient=False, *, task=None, swap_reversed=False):
    """Detections as `Predictions`, from a file of any format above, or from a dict as the JSON holds.

    lenient: drop and count broken detections; else the first one raises SpotError with its place
    task: verb, noun or action, for submissions to EPIC-KITCHENS
    swap_reversed: swap and count the ends of segments that end before their start, as the THUMOS14 toolkit does
    Raises SpotError, too, for a file that is missing or of another layout.
    """
    kind = format_of(source) if isinstance(source, str | os.PathLike) else "json"
    if kind == "json":
        return read_json_predictions(source, lenient, task, swap_reversed)
    columns = Columns(str(source), lenient, swap_reversed=swap_reversed)
    with without_garbage_collection():
        rows = {"pickle": _rows_of_pickle, "csv": _rows_of_csv, "text": _rows_of_text}[kind](source)
        while block := list(itertools.islice(rows, BLOCK)):
            _add_rows(columns, block)
    by_number = columns.label_ids and all(re.fullmatch(r"\d{1,18}", label) for label in columns.label_ids)
    return columns.predictions({}, {"text": "thumos14", "pickle": "label_id"}.get(kind) if by_number else None)


def format_of(path):
    """json, csv, text or pickle: by the name of the file, else by how it begins. SpotError where it is missing."""
    name = Path(path).name.lower().removesuffix(".gz")
    for kind, suffixes in (("json", (".json",)), ("csv", (".csv",)), ("pickle", (".pkl", ".pickle"))):
        if name.endswith(suffixes):
            return kind
    if Path(path).exists() and not Path(path).is_file():
        return "json"  # a folder is refused there; a pipe can only be read once
    with opened(path) as file:
        head = file.read(4096)
    if head[:1] == b"\x80":
        return "pickle"
    text = head.decode(codec_of(head[:HEAD_BYTES], path), "replace").lstrip("\ufeff \t\r\n")
    if not text or text[0] in "{[":
        return "json"
    first = text.partition("\n")[0]
    return "csv" if "," in first or re.match(r"video([-_]id)?\s*[;\t]", first) else "text"


# --- rows of (place, video, label, start, end, score) -----------------------------------------------------------------


def _rows_of_csv(path):
    """The rows of a CSV with a header; place: `line 7`."""
    with _text_of(path) as file:
        first_line = file.readline()
        delimiter = delimiter_of(first_line)
        reader = csv.reader(itertools.chain([first_line], file), delimiter=delimiter, skipinitialspace=True)
        try:
            header = [clean(cell) for cell in next(reader, [])]
            chosen = [_column_of(header, names, path) for names in NAMES.values()]
            for row in reader:
                if len(row) == len(header):
                    yield (f"line {reader.line_num}", *(row[index].strip() for index in chosen))
                elif any(map(str.strip, row)):
                    yield (f"line {reader.line_num}", f"has {len(row)} cells, the header {len(header)}")
        except csv.Error as error:
            raise SpotError(f"{path}: is not a CSV table ({error}); was it fully downloaded?") from error


def _column_of(header, names, path):
    """The index of the one column that is called by one of the names."""
    found = next((name for name in names if name in header), None)
    if found is None or header.count(found) > 1:
        trouble = f"no column {names[0]}" if found is None else f"two columns {found}"
        raise SpotError(f"{path}: has {trouble} (its first line: {', '.join(header)[:200]}); a table of detections has "
                        "video, start_sec, end_sec, label and score")
    return header.index(found)


def _rows_of_text(path):
    """The lines `video start end class score`; a class name may have spaces. The toolkit takes off `.mp4`."""
    with _text_of(path) as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if len(words) >= 5:
                video, start, end, *label, score = words
                yield f"line {number}", video.replace(".mp4", ""), " ".join(label), start, end, score
            elif words:
                yield f"line {number}", f"has {len(words)} words, not `video start end class score`"


def _rows_of_pickle(path):
    """The rows of ActionFormer's results; place: `row 7`."""
    columns = read_pickled_table(path)
    for name, names in NAMES.items():
        if not set(names) & set(columns):
            raise SpotError(f"{path}: has no {names[min(1, len(names) - 1)] if name != 'label' else name} (it holds "
                            f"{', '.join(columns)[:200] or 'nothing'}); ActionFormer's results have video-id, t-start, "
                            "t-end, label and score")
    chosen = [next(columns[name] for name in names if name in columns) for names in NAMES.values()]
    for row, values in enumerate(zip(*chosen, strict=True), 1):
        yield (f"row {row}", *values)


@contextlib.contextmanager
def _text_of(path):
    """Open a file, perhaps packed, as text; SpotError where a part of it is no text."""
    try:
        with opened(path) as file:
            yield io.TextIOWrapper(file, encoding=codec_of(file.peek(HEAD_BYTES)[:HEAD_BYTES], path), newline="")
    except UnicodeDecodeError as error:
        raise no_text(path, error) from error


# --- rows -> columns --------------------------------------------------------------------------------------------------


def _add_rows(columns, rows):
    """Add rows to the `Columns`."""
    if (parts := _fast_parts(rows, columns.swap_reversed)) is None:
        parts = _slow_parts(rows, columns)
    videos, labels, segments_sec, scores = parts
    numbers = np.fromiter(map(columns.video_ids.__getitem__, videos), np.int32, len(videos))
    columns.extend(numbers, labels, segments_sec, scores)


def _fast_parts(rows, swap_reversed):
    """videos, labels, segments (P, 2), scores of rows; None where any of them is not plainly sound."""
    try:
        _, videos, labels, starts, ends, scores = zip(*rows, strict=True)
        segments = np.stack([_floats(starts), _floats(ends)], axis=1)
        scores = _floats(scores)
    except (TypeError, ValueError, OverflowError):
        return None
    follows = segments[:, 1] != segments[:, 0] if swap_reversed else segments[:, 1] > segments[:, 0]
    if not (follows.all() and np.isfinite(segments).all() and np.isfinite(scores).all()):
        return None
    labels = [label if isinstance(label, str) else _label_of(label) for label in labels]
    if not all(videos) or not all(labels) or not all(isinstance(video, str) for video in set(videos)):
        return None
    return videos, labels, segments, scores


def _floats(values):
    return np.fromiter(map(float, values), float, len(values))


def _label_of(value):
    """The text of a label that is a whole number, "" for another value."""
    whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return str(int(value)) if whole and value == int(value) else ""


def _slow_parts(rows, columns):
    """`_fast_parts` of the sound rows; broken ones are dropped and counted, or the first one raises SpotError."""
    kept = []
    for place, *values in rows:
        entry, fault = _entry_of(values)
        fault = fault or fault_of(entry, columns.swap_reversed)
        if fault is None:
            kept.append((place, values[0], entry["label"], *entry["segment"], entry["score"]))
        elif columns.lenient:
            columns.num_dropped += 1
        else:
            raise SpotError(f"{columns.source}: {place}: {fault_and_lenient(fault)}")
    if not kept:
        return [], [], np.zeros((0, 2)), np.zeros(0)
    _, videos, labels, starts, ends, scores = zip(*kept, strict=True)
    return videos, labels, np.stack([_floats(starts), _floats(ends)], axis=1), _floats(scores)


def _entry_of(values):
    """The values of a row as an entry of the JSON, with None or what is wrong with them."""
    if len(values) == 1:
        return None, values[0]
    video, label, *times_and_score = values
    if not isinstance(video, str) or not video:
        return None, f"video {video!r} is not an id"
    label = label if isinstance(label, str) else _label_of(label) or label
    if label == "":
        return None, "has no label"
    start, end, score = map(_number_or_text, times_and_score)
    return {"label": label, "score": score, "segment": [start, end]}, None


def _number_or_text(value):
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


# --- numbers of classes -> names --------------------------------------------------------------------------------------


def with_names(predictions, videos, class_ids=None):
    """The predictions with names of classes where a file numbers them (ActionFormer, THUMOS14's text).

    videos: the ground truth, whose `label_ids` say what a number means unless `class_ids`, {number: name}, does. In the
    text of THUMOS14 it is the official number; those of other classes than the twenty are left as they are.
    Raises SpotError where a number has no name.
    """
    if predictions.numbered is None:
        return predictions
    where = "the class list"
    if class_ids is None:
        class_ids, where = _ids_of(videos), "the ground truth (label_id)"
        official = {class_id: name for name, class_id in THUMOS14_CLASSES.items()}
        if predictions.numbered == "thumos14" and set(class_ids.values()) <= set(THUMOS14_CLASSES):
            class_ids = {**{int(name): name for name in predictions.label_names}, **official}
    if missing := sorted({int(name) for name in predictions.label_names} - set(class_ids)):
        raise SpotError(f"the detections number their classes, and {listing(missing)} no class of {where}; name a list "
                        "of classes by --classes FILE, a line `number name` each")
    names = [class_ids[int(name)] for name in predictions.label_names]
    return replace(predictions, numbered=None, label_names=names)


def _ids_of(videos):
    """{label_id: label} of the annotations; SpotError where two labels have one."""
    pairs = {pair for video in videos for pair in zip(video.label_ids or (), video.labels, strict=False)}
    ids = dict(sorted(pairs))
    if len(ids) < len(pairs):
        raise SpotError("the ground truth has two labels of one label_id, so the numbers of classes in the detections "
                        "say nothing; name the list of classes by --classes FILE, a line `number name` each")
    return ids
