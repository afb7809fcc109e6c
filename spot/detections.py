"""A detections file as columns, read piece by piece: memory holds little more than the columns. No torch."""

import contextlib
import gc
import itertools
import math
import numbers
import os
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from spot.epic_kitchens import BrokenEntry, check_task, is_epic_entry, plain_entry
from spot.errors import SpotError
from spot.json_stream import streamed_json
from spot.text import GZIP

BLOCK = 50_000  # detections that become columns at once: enough for numpy, few enough for memory
COLUMNS = {"video": np.int32, "label": np.int32, "segments_sec": np.float64, "scores": np.float64}
SHOW_PROGRESS_BYTES = 100_000_000  # files from this size on take seconds to read
GZIP_GAIN = 3  # about how much longer detections are when they are unpacked


@dataclass(frozen=True)
class Predictions:
    """A detections file as columns, in file order: P detections in U videos, of L labels.

    video_ids: U ids as written; video: (P,) int32 index into them; label_names: L names; label: (P,) int32 index into
    them; segments_sec: (P, 2) float64 start and end, end > start; scores: (P,) float64, all finite
    class_scores: the external video classifier that the file names, or None
    missing_features: ids of videos without a feature file, None where the file does not list them
    num_dropped: entries that `lenient` dropped; num_swapped: segments whose ends `swap_reversed` swapped
    numbered: None: the label names are names; label_id or thumos14: they are numbers (`detection_formats.with_names`)
    partial: the detector was stopped, so videos are missing that it would have gone through
    action_threshold: {"threshold", "per_class", "chosen_on"} where the file states from which score on detections are
    actions, else None
    """

    video_ids: list
    video: np.ndarray
    label_names: list
    label: np.ndarray
    segments_sec: np.ndarray
    scores: np.ndarray
    class_scores: str | None
    missing_features: list | None
    num_dropped: int
    partial: bool = False
    num_swapped: int = 0
    numbered: str | None = None
    action_threshold: dict | None = None


def read_json_predictions(source, lenient=False, task=None, swap_reversed=False):
    """Detections as `Predictions`.

    source:  the path of a JSON file {"results": {video: [{"label", "score", "segment": [start_sec, end_sec]}]}}, or
             what it holds, a dict. A file is read piece by piece, with a progress bar where that takes seconds. It may
             be packed with gzip, or be a submission to EPIC-KITCHENS, whose entries have verb, noun and action.
    lenient: drop and count broken entries; else the first one raises SpotError with its video and its place there
    task, swap_reversed: see `detection_formats.read_predictions`
    Raises SpotError, too, for a file that is missing, no JSON, of another layout, or lists a video twice.
    """
    is_path = isinstance(source, str | os.PathLike)
    columns = Columns(str(source) if is_path else "predictions", lenient, task, swap_reversed)
    with without_garbage_collection():
        facts = _gather_file(source, columns) if is_path else _gather_dict(source, columns)
        columns.make_block()
    return columns.predictions(facts)


def read_action_threshold(value):
    """The action threshold as `spot_inference.py` writes it; None for anything else that stands there."""
    if not (isinstance(value, dict) and {"threshold", "per_class", "chosen_on"} <= value.keys()):
        return None
    thresholds = [value["threshold"], *(value["per_class"].values() if isinstance(value["per_class"], dict) else [""])]
    is_sound = all(_is_finite_number(one) for one in thresholds if one is not None)
    return value if is_sound and isinstance(value["chosen_on"], str) else None


def _gather_dict(data, columns):
    """Add the detections of a dict to `columns`; returns the dict."""
    results = data.get("results") if isinstance(data, dict) else None
    if not isinstance(results, dict):
        raise columns.no_results()
    for video, entries in results.items():
        columns.begin(video)
        if not isinstance(entries, list):
            raise columns.no_list(entries)
        columns.add(entries)
    return data


def _gather_file(path, columns):
    """Add the detections of a file to `columns`; returns its other values."""
    facts, found = {}, False
    with _progress_of(path) as bar, streamed_json(path, bar.update) as stream:
        if stream.peek() != "{":
            stream.value()  # broken JSON is refused as such
            raise columns.no_results()
        for key in stream.members():
            if key != "results":
                facts[key] = stream.value()
                continue
            if stream.peek() != "{" or found:
                raise columns.no_results()
            found = True
            for video in stream.members():
                columns.begin(video)
                if stream.peek() != "[":
                    raise columns.no_list(stream.value())
                for entries in stream.elements():
                    columns.add(entries)
        stream.refuse_more()
    if not found:
        raise columns.no_results()
    return facts


def _progress_of(path):
    """A progress bar over the bytes of a file, shown for a large one, on a terminal."""
    size = os.path.getsize(path) if os.path.isfile(path) else None
    is_large = size is not None and size >= SHOW_PROGRESS_BYTES
    if is_large:
        with open(path, "rb") as file:
            size *= GZIP_GAIN if file.read(2) == GZIP else 1
    return tqdm(total=size, desc="reading", unit="B", unit_scale=True, leave=False, disable=None if is_large else True)


@contextlib.contextmanager
def without_garbage_collection():
    """Reading makes millions of objects and no cycle among them, so looking for cycles would only cost time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Numbered(dict):
    """Names -> 0, 1, 2, ... in the order in which they are first asked for."""

    def __missing__(self, name):
        self[name] = len(self)
        return self[name]


class Columns:
    """The columns of `Predictions` as they grow; source: the words that name the file in messages."""

    def __init__(self, source, lenient, task=None, swap_reversed=False):
        self.source, self.lenient, self.task, self.swap_reversed = source, lenient, task, swap_reversed
        self.num_dropped = self.num_swapped = 0
        self.video_ids, self.label_ids = _Numbered(), _Numbered()
        self.waiting, self.num_waiting = [], 0  # (video, its number, place of its first entry, entries)
        # Bytes grow in place, so that a column is never in memory twice.
        self.bytes_of = {name: bytearray() for name in COLUMNS}

    def no_results(self):
        """The SpotError of a file of another layout."""
        return SpotError(f"{self.source}: has no 'results', or not once; expected "
                         '{"results": {video: [{label, score, segment}]}}')

    def no_list(self, value):
        """The SpotError of a video that holds `value` instead of a list."""
        return SpotError(f"{self.source}: video {self.current!r} holds {type(value).__name__}, "
                         "expected a list of detections")

    def begin(self, video):
        """What is added from here on is of this video; SpotError where it stands there twice."""
        if video in self.video_ids:
            raise SpotError(f"{self.source}: video {video!r} stands there twice; keep one of them, or join their lists")
        self.current, self.number, self.place = video, self.video_ids[video], 0

    def add(self, entries):
        """Add detections of the current video, as they stand in the file."""
        if entries and is_epic_entry(entries[0]):
            entries = [plain_entry(entry, check_task(self.task, self.source)) for entry in entries]
        self.waiting.append((self.current, self.number, self.place, entries))
        self.place += len(entries)
        self.num_waiting += len(entries)
        if self.num_waiting >= BLOCK:
            self.make_block()

    def make_block(self):
        """Turn what waits into columns."""
        if (columns := _fast_columns(self._waiting_entries(), self.swap_reversed)) is None:
            self.waiting = [(*where, self._sound(*where, entries)) for *where, entries in self.waiting]
            columns = _columns(self._waiting_entries())
        videos = np.repeat(np.array([number for _, number, _, _ in self.waiting], np.int32),
                           [len(entries) for *_, entries in self.waiting])
        self.extend(videos, *columns)
        self.waiting, self.num_waiting = [], 0

    def extend(self, videos, labels, segments_sec, scores):
        """Add columns of detections that are sound, but for ends that `swap_reversed` swaps.

        videos: (P,) numbers, from `video_ids`; labels: P names; segments_sec: (P, 2); scores: (P,)
        """
        is_reversed = segments_sec[:, 1] < segments_sec[:, 0]
        self.num_swapped += int(is_reversed.sum())
        segments_sec = np.where(is_reversed[:, None], segments_sec[:, ::-1], segments_sec)
        label = np.fromiter(map(self.label_ids.__getitem__, labels), np.int32, len(labels))
        for name, block in zip(COLUMNS, (videos, label, segments_sec, scores), strict=True):
            self.bytes_of[name] += np.ascontiguousarray(block, COLUMNS[name]).tobytes()

    def _waiting_entries(self):
        return list(itertools.chain.from_iterable(entries for *_, entries in self.waiting))

    def _sound(self, video, _, first, entries):
        """The entries without the broken ones, which are counted; not `lenient`: SpotError at the first one."""
        faults = [fault_of(entry, self.swap_reversed) for entry in entries]
        for place, fault in enumerate(faults, first):
            if fault and not self.lenient:
                raise SpotError(f"{self.source}: video {video!r}, entry {place}: {fault_and_lenient(fault)}")
        sound = [entry for entry, fault in zip(entries, faults, strict=True) if not fault]
        self.num_dropped += len(entries) - len(sound)
        return sound

    def predictions(self, facts, numbered=None):
        """The `Predictions`; facts: the other values of the file, beside its detections."""
        arrays = {name: np.frombuffer(self.bytes_of[name], dtype) for name, dtype in COLUMNS.items()}
        external, missing = facts.get("external_data"), facts.get("missing_features")
        class_scores = external.get("class_scores") if isinstance(external, dict) else None
        return Predictions(
            video_ids=list(self.video_ids), video=arrays["video"], label_names=list(self.label_ids),
            label=arrays["label"], segments_sec=arrays["segments_sec"].reshape(-1, 2), scores=arrays["scores"],
            # Only shown: whatever another program put there is a name.
            class_scores=None if class_scores in (None, "", "none") else str(class_scores),
            missing_features=missing if isinstance(missing, list) else None, num_dropped=self.num_dropped,
            partial=facts.get("partial", False) is not False, num_swapped=self.num_swapped, numbered=numbered,
            action_threshold=read_action_threshold(facts.get("action_threshold")))


def _columns(entries):
    """Labels (P names), segments (P, 2) and scores (P,) of entries that are known to be sound."""
    segments = np.array([entry["segment"] for entry in entries], float).reshape(-1, 2)
    return [entry["label"] for entry in entries], segments, np.array([entry["score"] for entry in entries], float)


def _fast_columns(entries, swap_reversed):
    """`_columns`, or None where any entry is not plainly sound; a whole column at a time, so that it costs little."""
    try:
        labels, raw_scores = [entry["label"] for entry in entries], [entry["score"] for entry in entries]
        raw_segments = [entry["segment"] for entry in entries]
        times = list(itertools.chain.from_iterable(raw_segments))
        is_plain = {*map(type, times), *map(type, raw_scores)} <= {int, float} and {*map(type, labels)} <= {str}
        if not is_plain or {*map(len, raw_segments)} - {2}:
            return None
        segments, scores = np.array(times, float).reshape(-1, 2), np.array(raw_scores, float)
    except (KeyError, TypeError, OverflowError):
        return None
    follows = segments[:, 1] != segments[:, 0] if swap_reversed else segments[:, 1] > segments[:, 0]
    sound = np.isfinite(segments).all() and np.isfinite(scores).all() and follows.all()
    return (labels, segments, scores) if sound else None


def fault_of(entry, swap_reversed=False):
    """What is wrong with one detection, or None; with `swap_reversed` an end before its start is not."""
    if isinstance(entry, BrokenEntry):
        return entry.fault
    if not isinstance(entry, dict):
        return f"{_short(entry)} is not an object with label, score and segment"
    if missing := [key for key in ("label", "score", "segment") if key not in entry]:
        return f"has no {missing[0]!r}"
    label, score, segment = entry["label"], entry["score"], entry["segment"]
    if not isinstance(label, str):
        return f"label {_short(label)} is not text"
    if not _is_finite_number(score):
        return f"score {_short(score)} is not a finite number"
    if not isinstance(segment, list | tuple | np.ndarray) or len(segment) != 2:
        return f"segment {_short(segment)} is not [start, end]"
    if not all(_is_finite_number(time) for time in segment):
        return f"segment {_short(segment)} holds something that is not a finite number"
    start, end = map(float, segment)
    if end == start or (end < start and not swap_reversed):
        offer = "" if end == start else "; --swap-reversed swaps such ends, as the THUMOS14 toolkit does, and"
        return f"segment {_short(segment)} ends at or before its start{offer}"
    return None


def fault_and_lenient(fault):
    """A fault with what drops it, as the end of a sentence."""
    return f"{fault} --lenient drops them" if fault.endswith("and") else f"{fault}; --lenient drops such entries"


def _is_finite_number(value):
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer too long for a float
        return False


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
