"""Annotation files -> one list of `Video`: of published data sets here, of tools by `annotation_tools`. No torch."""

import difflib
import functools
import re
from pathlib import Path

import numpy as np

from spot.annotation_tools import annotation_files, read_json_recordings, read_text_recordings, unannotated, videos_of
from spot.cleaning import Video
from spot.errors import SpotError
from spot.files import matching_files, parse_json
from spot.names import check_video_id, pair_names
from spot.text import (
    alike,
    clean,
    frame_rate,
    has_value,
    label_of,
    listing,
    number,
    parse_table,
    read_table,
    read_text,
    short,
    whole_number,
)

# The 20 detection classes of THUMOS14 and their official class index (1..101, as in the UCF101 list and `type_idx`).
THUMOS14_CLASSES = {
    "BaseballPitch": 7,
    "BasketballDunk": 9,
    "Billiards": 12,
    "CleanAndJerk": 21,
    "CliffDiving": 22,
    "CricketBowling": 23,
    "CricketShot": 24,
    "Diving": 26,
    "FrisbeeCatch": 31,
    "GolfSwing": 33,
    "HammerThrow": 36,
    "HighJump": 40,
    "JavelinThrow": 45,
    "LongJump": 51,
    "PoleVault": 68,
    "Shotput": 79,
    "SoccerPenalty": 85,
    "TennisSwing": 92,
    "ThrowDiscus": 93,
    "VolleyballSpiking": 97,
}
AMBIGUOUS = "Ambiguous"

# What the files of the field call the same fact, in JSON entries and in columns; the first one present is taken.
# `rfps` comes before `fps`: BMN's `fps` is nominal (30), its `rfps` is frames / seconds.
FACTS = {
    "duration": ("duration", "duration_second", "duration_sec", "seconds", "video-duration"),
    "fps": ("rfps", "fps", "frame-rate"),
    "frames": ("duration_frame", "frame", "numFrame", "count", "video-frames"),
    "feature_frames": ("feature_frame", "featureFrame"),
}
FACT_KEYS = {fact: tuple(map(alike, names)) for fact, names in FACTS.items()}
SUBSETS = ("subset", "split")
TABLES = (".csv", ".tsv")
# What others call the keys that are needed here, for messages.
OTHER_WORDS = {
    "annotations": ("annotation", "annots", "anns", "segments", "segment", "labels", "events", "actions", "instances",
                    "gt", "ground_truth", "timestamps"),
    "segment": ("segments", "timestamp", "timestamps", "time", "times", "interval", "span", "start", "start_time",
                "t_start", "begin", "segment_sec", "segment(frames)", "frames"),
    "label": ("labels", "class", "class_name", "category", "name", "action", "activity", "type", "tag", "sentence"),
}


def strictly(function, *arguments):
    """Call the function. `spot.data_check` gives readers another `attempt`: it notes a SpotError and returns None."""
    return function(*arguments)


def read_annotations(source, info_path=None, attempt=strictly, options=None):
    """Read every annotation of `source` into a list of `Video`, in file order.

    source:    a path, a folder, a pattern such as `*_Annotation.csv` (the files are read one after the other), or
               parsed JSON. Files of annotation tools: see `spot.annotation_tools`; those of data sets:
               JSON: ActivityNet's `{"database": {id: {"subset", "duration", "annotations": [{"segment", "label"}]}}}`
               with the variants of OpenTAD (`frame`), ActionFormer (`fps`, `label_id`), AFSD / G-TAD (segments are
               text, no duration), or BMN / SSTAP / SPOT's flat `{id: {"duration_second", "annotations", ...}}`.
               CSV: the raw THUMOS14 tables (`{val,test}_Annotation.csv`, `thumos14_test_groundtruth.csv`).
    info_path: `*video_info*.csv` (a path or pattern) with the facts that the annotations leave out; its subset wins.

    attempt:   how each part that may be faulty is read, see `strictly`; a part that it gives up is left out
    options:   `tool_recordings.ReadingOptions`, what files of annotation tools leave open

    A leading `v_` is taken off where every id of the file has it: ActivityNet itself has ids such as `v_UmAH95xls`.
    Nothing is mended: segments stay as they are. Raises SpotError with the file, the video and the value.
    """
    given_up = False

    def watched(function, *arguments):
        nonlocal given_up
        found = attempt(function, *arguments)
        given_up |= found is None and function is not _refuse
        return found

    info = (watched(read_video_info, info_path, watched) if info_path else None) or {}
    if isinstance(source, dict):
        parts = {_title(source): _videos_of_json(source, "the annotations", info, watched)}
    else:
        parts = {path: watched(_videos_of_file, path, info, watched, options) for path in _files_of(source)}
    places = [(video, path) for path, part in parts.items() for video in part or ()]
    videos = _each_once(places, source, attempt)
    if info and not given_up:  # else it would miss the videos that could not be read
        names = {video.name for video in videos}
        if videos and all(video.annotated is not None for video in videos):  # a tool's file has no empty recordings
            rows = pair_names([row for row, facts in info.items() if facts.get("subset")], names)
            return videos + [unannotated(row, info[row]) for row, name in rows.items() if name is None]
        attempt(_refuse_rows_without_video, info, names, info_path, source)
    return videos


def _files_of(source):
    """The files that a path, folder or pattern means."""
    return annotation_files(source) if Path(source).is_dir() else matching_files(source)


def _each_once(places, source, attempt):
    """The videos of [(video, path)]; where two have one name, the last one, once `attempt` lets that pass."""
    # A file with only some ids prefixed holds `v_x` and `x` side by side: no feature file could be told apart.
    found, kept = {}, {}
    for video, path in places:
        found.setdefault(video.name, []).append(path)
        kept[video.name] = video
    for name, paths in found.items():
        if len(set(paths)) > 1:
            attempt(_refuse, f"{paths[0]} and {paths[1]} are both about the recording {name!r}; keep one of them")
        elif len(paths) > 1 or (name.startswith("v_") and name[2:] in found):
            attempt(_refuse, f"{_title(source)}: two videos are called {name!r} (v_ left aside); keep one of them")
    return list(kept.values())


def _refuse(sentence):
    raise SpotError(sentence)


def _title(source):
    return "the annotations" if isinstance(source, dict) else str(source)


# --- one file ---------------------------------------------------------------------------------------------------------


def _videos_of_file(path, info, attempt, options):
    """The videos of one file, whose format its content tells."""
    text = read_text(path, xml=True)
    suffix, first = path.suffix.lower(), text.lstrip()[:1]
    if first in ("{", "[") or (suffix not in (*TABLES, ".txt") and first != "<"):
        return _videos_of_json_text(text, path, info, attempt, options)
    recordings = read_text_recordings(path, text, options)
    if recordings is not None:
        return videos_of(recordings, info, options, attempt)
    return _videos_of_thumos_table(path, *parse_table(text, path), info, attempt)


def _videos_of_json_text(text, path, info, attempt, options):
    """JSON of a data set or of an annotation tool."""
    repeated = []
    data = parse_json(text, path, repeated)
    for key in repeated:
        attempt(_refuse, f"{path}: two entries are called {key!r}, and only the last one would be read; rename or "
                         "remove one of them")
    recordings = read_json_recordings(path, data, options)
    if recordings is not None:
        return videos_of(recordings, info, options, attempt)
    if not isinstance(data, dict):
        raise SpotError(f"{path}: holds a {type(data).__name__}, not an annotation dict")
    return _videos_of_json(data, path, info, attempt)


def _videos_of_json(data, where, info, attempt):
    """ActivityNet-like JSON, with or without the `database` level -> list of Video."""
    database = data.get("database", data)
    flat = "database" not in data
    if not isinstance(database, dict) or not all(isinstance(entry, dict) for entry in database.values()):
        raise SpotError(f'{where}: is not an annotation file; expected {{"database": {{id: {{...}}}}}} or {{id: ...}}')
    without = next((video_id for video_id, entry in database.items() if "annotations" not in keys_of(entry)), None)
    if flat and without is not None:
        hint = misnamed(database[without], "annotations") or "; is it an annotation file?"
        raise SpotError(f"{where}: has neither `database` nor `annotations` in every video, first not in {without!r}"
                        f"{hint}")
    if not database:
        raise SpotError(f"{where}: holds no video")
    return _build_videos(database, where, info, attempt)


def _videos_of_thumos_table(path, columns, rows, info, attempt):
    """A raw THUMOS14 table -> list of Video. One row is one segment; the subset is in the video's name."""
    rows = [row for _, row in rows]
    if {"video", "type", "type_idx", "start", "end"} <= set(columns):
        video, class_id, start, end = "video", "type_idx", "start", "end"
    elif {"video-name", "t-init", "t-end", "label-idx"} <= set(columns):
        video, class_id, start, end = "video-name", "label-idx", "t-init", "t-end"
        names = {str(i): name for i, name in enumerate(sorted(THUMOS14_CLASSES))} | {"-1": AMBIGUOUS}
        rows = [{**row, "type": names.get(row[class_id], "")} for row in rows]
    else:
        raise SpotError(
            f"{path}: has columns {', '.join(columns)}; annotations are tables of video, start, end, label, BORIS's "
            "aggregated events (Behavior, Behavior type, Start (s), Stop (s)), or THUMOS14's (video, type, type_idx, "
            "start, end or video-name, t-init, t-end, label-idx)"
        )
    if not rows:
        raise SpotError(f"{path}: holds no segment; was it fully downloaded?")
    entries = {}
    for row in rows:
        subset = re.match(r"video_(validation|test)_", row[video])
        entry = entries.setdefault(row[video], {**row, "subset": subset[1] if subset else "", "annotations": []})
        segment = [row[start], row[end]]
        entry["annotations"].append({"segment": segment, "label": row["type"], "label_id": row[class_id]})
    return _build_videos(entries, path, info, attempt)


# --- one video --------------------------------------------------------------------------------------------------------


def _build_videos(entries, where, info, attempt):
    """{id: entry} in the shape of ActivityNet's database -> list of Video."""
    names = {video_id: clean(video_id) for video_id in entries}
    if all(name.startswith("v_") and len(name) > 2 for name in names.values()):
        names = {video_id: name[2:] for video_id, name in names.items()}
    row_of = pair_names(names.values(), info)
    videos = (attempt(_build_video, names[video_id], entry, f"{where}, video {video_id!r}",
                      info.get(row_of[names[video_id]], {}), attempt) for video_id, entry in entries.items())
    return [video for video in videos if video is not None]


def _build_video(name, entry, where, extra, attempt):
    """One entry -> Video; extra: the facts of its row in the video info file."""
    check_video_id(name, where)
    # The annotations' own facts win, except the subset: in BMN's world only the csv has the published label split.
    own = _facts(entry, where)
    facts = {**extra, **own, **{key: extra[key] for key in ("subset",) if key in extra}}
    annotations = keys_of(entry).get("annotations")
    if annotations is None and (hint := misnamed(entry, "annotations")):
        attempt(_refuse, f"{where}: has no `annotations`{hint}")
    annotations = annotations or []
    if not isinstance(annotations, list):
        raise SpotError(f"{where}: `annotations` is a {type(annotations).__name__}, not a list of segments")
    annotated = keys_of(entry).get("annotated")  # the mark of a recording that somebody looked through
    if annotated is not None and not isinstance(annotated, bool):
        raise SpotError(f"{where}: `annotated` is {short(annotated)}, not true or false")
    rows = (attempt(_segment, annotation, where) for annotation in annotations)
    rows = [row for row in rows if row is not None]
    actions = [row for row in rows if row[1] != AMBIGUOUS]
    has_ids = all(label_id is not None for _, _, label_id in actions)
    duration, fps, feature_duration = _times(facts)
    return Video(
        name=name,
        duration_sec=duration,
        fps=fps,
        subset=facts.get("subset", ""),
        segments_sec=_as_segments(segment for segment, _, _ in actions),
        labels=tuple(label for _, label, _ in actions),
        feature_duration_sec=feature_duration,
        ambiguous_sec=_as_segments(segment for segment, label, _ in rows if label == AMBIGUOUS),
        label_ids=tuple(label_id for _, _, label_id in actions) if has_ids else None,
        annotated=annotated,
    )


def _times(facts):
    """(duration, fps, feature duration), each None where the facts do not tell; two of three tell the third."""
    duration, fps, frames = (facts.get(key) for key in ("duration", "fps", "frames"))
    if frames and fps:
        duration = duration or frames / fps
    if frames and duration:
        fps = fps or frames / duration
        return duration, fps, facts.get("feature_frames", frames) / frames * duration
    return duration, fps, duration


def _facts(row, where):
    """The facts that a JSON entry or a table row states, under our names; only those that are present."""
    row, facts = keys_of(row), {}
    for fact, keys in FACT_KEYS.items():
        for value in (row[key] for key in keys if key in row and has_value(row[key])):
            stated = (frame_rate if fact == "fps" else number)(value, f"{where}, {fact}")
            if stated is not None and stated < 0:
                raise SpotError(f"{where}: {fact} is {value!r}; it must be positive")
            if stated:  # programs write 0 for what they do not know
                facts[fact] = stated
                break
    subset = next((row[name] for name in SUBSETS if row.get(name) is not None and row[name] == row[name]), None)
    if subset is not None:
        if not isinstance(subset, str):
            raise SpotError(f"{where}: subset is {subset!r}, not a name")
        facts["subset"] = clean(subset).lower()
        facts["unlabeled"] = facts["subset"] == "training_unlabel"
        if facts["unlabeled"]:
            facts["subset"] = "training"
    return facts


def _segment(annotation, where):
    """One `{"segment", "label", "label_id"}` -> ((start, end) in seconds, label, id or None)."""
    segment, label = (annotation.get(key) if isinstance(annotation, dict) else None for key in ("segment", "label"))
    if not isinstance(segment, list | tuple) or len(segment) != 2:
        raise SpotError(f"{where}: {short(annotation)} has no `segment` of [start, end] in seconds"
                        f"{misnamed(annotation, 'segment')}")
    name = label_of(label)
    if name is None:
        raise SpotError(f"{where}: {short(annotation)} has no `label`, a class name{misnamed(annotation, 'label')}")
    label, label_id = name, annotation.get("label_id")
    label_id = whole_number(label_id, f"{where}, `label_id` of {label!r}") if has_value(label_id) else None
    start, end = (number(value, f"{where}, segment of {label!r}") for value in segment)
    return (start, end), label, label_id


@functools.cache
def _key(name):
    return alike(name) if isinstance(name, str) else name


def keys_of(entry):
    """An entry or a row whose keys are spelled without separators and case: `Frame_Rate` and `frame-rate` are one."""
    return {_key(name): value for name, value in reversed(entry.items())}


def misnamed(entry, key):
    """`, but ...`: what in an entry is probably meant by the `key` that it lacks; "" where nothing is like it."""
    if not isinstance(entry, dict):
        return ""
    words = {_key(word) for word in (key, *OTHER_WORDS[key])}
    found = [name for name in entry if isinstance(name, str) and name != key and entry[name] not in (None, "", [], {})
             and (_key(name) in words or difflib.get_close_matches(_key(name), [key], cutoff=0.8))]
    if key == "annotations":
        found = [name for name in found if isinstance(entry[name], list | dict)]
    return f", but {found[0]!r}; rename it to `{key}`" if found else ""


def _as_segments(segments):
    return np.array(list(segments), dtype=np.float64).reshape(-1, 2)


# --- video info files -------------------------------------------------------------------------------------------------


def read_video_info(info_path, attempt=strictly):
    """Read `*video_info*.csv` (BMN / SSTAP / SPOT, AFSD, THUMOS14's test table) -> {id as written: facts}.

    The facts of a row are `duration` in seconds, `fps`, `frames`, `feature_frames`, `subset` where the columns exist.
    info_path: a path or pattern; attempt: as in `read_annotations`. Raises SpotError with the file, the video and the
    value; for two rows of one video, too, that differ.
    """
    info = {}
    for path in matching_files(info_path):
        columns, rows = read_table(path)
        column = next((name for name in ("video", "video-name", "video_name") if name in columns), None)
        if column is None:
            raise SpotError(f"{path}: has columns {', '.join(columns)}; a video info file needs one named video")
        if not rows:
            raise SpotError(f"{path}: names no video; was it fully downloaded?")
        for row in rows:
            facts = attempt(_facts, row, f"{path}, video {row[column]!r}")
            if facts is not None and info.setdefault(row[column], facts) != facts:
                attempt(_refuse, f"{path}: video {row[column]!r} has two different rows; keep one of them")
    return info


def _refuse_rows_without_video(info, names, info_path, source):
    """A row that puts a video into a subset needs its annotation; AFSD's info files (no subset) may list more."""
    placed = [row for row, facts in info.items() if facts.get("subset")]
    missing = [row for row, name in pair_names(placed, names).items() if name is None]
    if missing:
        raise SpotError(
            f"{info_path}: {listing(missing)} not in {_title(source)}; remove the rows or give the annotations"
        )
