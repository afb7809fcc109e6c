"""Annotation files -> one list of `Video`: of published data sets here, of tools by `annotation_tools`. No torch."""

from pathlib import Path

from spot.annotation_entries import build_videos, keys_of, misnamed, refuse, strictly
from spot.annotation_tools import annotation_files, read_json_recordings, read_text_recordings, unannotated, videos_of
from spot.errors import SpotError
from spot.files import matching_files, parse_json
from spot.names import pair_names
from spot.text import (
    listing,
    parse_table,
    read_text,
)
from spot.thumos14 import videos_of_thumos_table
from spot.tool_recordings import annotated_one
from spot.video_info import read_video_info

TABLES = (".csv", ".tsv")


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
        given_up |= found is None and function is not refuse
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
    """The videos of [(video, path)]. Of two of one name the annotated one; where both are, a fault, the last one, once
    `attempt` lets that pass.
    """
    # A file with only some ids prefixed holds `v_x` and `x` side by side: no feature file could be assigned.
    found, kept = {}, {}
    for video, path in places:
        chosen = annotated_one(kept[video.name], video) if video.name in kept else None
        if chosen is None:
            found.setdefault(video.name, []).append(path)
        elif chosen is video:
            found[video.name] = [path]
        kept[video.name] = chosen or video
    for name, paths in found.items():
        if len(set(paths)) > 1:
            attempt(refuse, f"{paths[0]} and {paths[1]} are both about the recording {name!r}; keep one of them")
        elif len(paths) > 1 or (name.startswith("v_") and name[2:] in found):
            attempt(refuse, f"{_title(source)}: two videos are called {name!r} (v_ left aside); keep one of them")
    return list(kept.values())


def _title(source):
    return "the annotations" if isinstance(source, dict) else str(source)


# --- one file ---------------------------------------------------------------------------------------------------------


def _videos_of_file(path, info, attempt, options):
    """The videos of one file, whose format shows in its content."""
    text = read_text(path, xml=True)
    suffix, first = path.suffix.lower(), text.lstrip()[:1]
    if first in ("{", "[") or (suffix not in (*TABLES, ".txt") and first != "<"):
        return _videos_of_json_text(text, path, info, attempt, options)
    recordings = read_text_recordings(path, text, options)
    if recordings is not None:
        return videos_of(recordings, info, options, attempt)
    return videos_of_thumos_table(path, *parse_table(text, path), info, attempt)


def _videos_of_json_text(text, path, info, attempt, options):
    """JSON of a data set or of an annotation tool."""
    repeated = []
    data = parse_json(text, path, repeated)
    for key in repeated:
        attempt(refuse, f"{path}: two entries are called {key!r}, and only the last one would be read; rename or "
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
    return build_videos(database, where, info, attempt)


def _refuse_rows_without_video(info, names, info_path, source):
    """A row that puts a video into a subset needs its annotation; AFSD's info files (no subset) may list more."""
    placed = [row for row, facts in info.items() if facts.get("subset")]
    missing = [row for row, name in pair_names(placed, names).items() if name is None]
    if missing:
        raise SpotError(
            f"{info_path}: {listing(missing)} not in {_title(source)}; remove the rows or give the annotations"
        )
