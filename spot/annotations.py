"""Annotation files of the field -> one list of `Video`; the labeled / unlabeled split. No torch."""

import csv
import glob
import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from spot.files import SpotError, read_json

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
    "duration": ("duration", "duration_second", "seconds", "video-duration"),
    "fps": ("rfps", "fps", "frame-rate"),
    "frames": ("duration_frame", "frame", "numFrame", "count", "video-frames"),
    "feature_frames": ("feature_frame", "featureFrame"),
}


@dataclass(frozen=True)
class Video:
    """One video of an annotation file, as the file states it: segments may be dirty (see `clean_segments`).

    name:                  id without ActivityNet's leading `v_`
    duration_sec:          length in seconds, None where the file does not tell
    fps:                   frames per second, None where the file does not tell
    subset:                lower case; "" where the file does not tell; `training_unlabel` is "training"
    segments_sec:          (N, 2) float64 start and end in seconds, in file order
    labels:                N class names
    feature_duration_sec:  the seconds that the features cover (BMN's feature_frame / duration_frame * duration_second),
                           else duration_sec
    ambiguous_sec:         (M, 2) THUMOS14 segments marked Ambiguous: never a class; the thumos14 protocol ignores them
    label_ids:             N class ids as in the file; None where not every segment has one
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


def strictly(function, *arguments):
    """Call the function. `spot.data_check` gives readers another `attempt`: it notes a SpotError and returns None."""
    return function(*arguments)


def read_annotations(source, info_path=None, attempt=strictly):
    """Read every annotation of `source` into a list of `Video`, in file order.

    source:    a path, a pattern such as `*_Annotation.csv` (its files are read one after the other), or parsed JSON.
               JSON: ActivityNet's `{"database": {id: {"subset", "duration", "annotations": [{"segment", "label"}]}}}`
               with the variants of OpenTAD (`frame`), ActionFormer (`fps`, `label_id`), AFSD / G-TAD (segments are
               text, no duration), or BMN / SSTAP / SPOT's flat `{id: {"duration_second", "annotations", ...}}`.
               CSV: the raw THUMOS14 tables (`{val,test}_Annotation.csv`, `thumos14_test_groundtruth.csv`).
    info_path: `*video_info*.csv` (a path or pattern) with the facts that the annotations leave out; its subset wins.

    attempt:   how each part that may be faulty is read, see `strictly`; a part that it gives up is left out

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
        videos = _videos_of_json(source, "the annotations", info, watched)
    else:
        parts = [watched(_videos_of_file, path, info, watched) for path in matching_files(source)]
        videos = [video for part in parts if part is not None for video in part]
    # A file with only some ids prefixed holds `v_x` and `x` side by side: no feature file could be told apart.
    names = Counter(video.name for video in videos)
    twice = [name for name, count in names.items() if count > 1 or (name.startswith("v_") and name[2:] in names)]
    for name in twice:
        attempt(_refuse, f"{_title(source)}: two videos are called {name!r} (v_ left aside); keep one of them")
    if info and not given_up:  # else it would miss the videos that could not be read
        attempt(_refuse_rows_without_video, info, names, info_path, source)
    return list({video.name: video for video in videos}.values()) if twice else videos


def _refuse(sentence):
    raise SpotError(sentence)


# --- one file ---------------------------------------------------------------------------------------------------------


def _videos_of_file(path, info, attempt):
    if path.suffix.lower() == ".csv":
        return _videos_of_thumos_table(path, info, attempt)
    repeated = []
    data = read_json(path, repeated)
    if not isinstance(data, dict):
        raise SpotError(f"{path}: holds a {type(data).__name__}, not an annotation dict")
    for key in repeated:
        attempt(_refuse, f"{path}: two entries are called {key!r}, and only the last one would be read; rename or "
                         "remove one of them")
    return _videos_of_json(data, path, info, attempt)


def _videos_of_json(data, where, info, attempt):
    """ActivityNet-like JSON, with or without the `database` level -> list of Video."""
    database = data.get("database", data)
    flat = "database" not in data
    if not isinstance(database, dict) or not all(isinstance(entry, dict) for entry in database.values()):
        raise SpotError(f'{where}: is not an annotation file; expected {{"database": {{id: {{...}}}}}} or {{id: ...}}')
    if flat and not all("annotations" in entry for entry in database.values()):
        raise SpotError(f"{where}: has neither `database` nor `annotations` in every video; is it an annotation file?")
    if not database:
        raise SpotError(f"{where}: holds no video")
    return _build_videos(database, where, info, attempt)


def _videos_of_thumos_table(path, info, attempt):
    """A raw THUMOS14 table -> list of Video. One row is one segment; the subset is in the video's name."""
    columns, rows = read_table(path)
    if {"video", "type", "type_idx", "start", "end"} <= set(columns):
        video, class_id, start, end = "video", "type_idx", "start", "end"
    elif {"video-name", "t-init", "t-end", "label-idx"} <= set(columns):
        video, class_id, start, end = "video-name", "label-idx", "t-init", "t-end"
        names = {str(i): name for i, name in enumerate(sorted(THUMOS14_CLASSES))} | {"-1": AMBIGUOUS}
        rows = [{**row, "type": names.get(row[class_id], "")} for row in rows]
    else:
        raise SpotError(
            f"{path}: has columns {', '.join(columns)}; a THUMOS14 table has video, type, type_idx, start, end or "
            "video-name, t-init, t-end, label-idx"
        )
    if not rows:
        raise SpotError(f"{path}: holds no segment; was it fully downloaded?")
    entries = {}
    for row in rows:
        subset = re.match(r"video_(validation|test)_", row[video])
        entry = entries.setdefault(row[video], {**row, "subset": subset[1] if subset else "", "annotations": []})
        label_id = int(row[class_id]) if re.fullmatch(r"-?\d{1,9}", row[class_id]) else row[class_id]
        segment = [row[start], row[end]]
        entry["annotations"].append({"segment": segment, "label": row["type"], "label_id": label_id})
    return _build_videos(entries, path, info, attempt)


# --- one video --------------------------------------------------------------------------------------------------------


def _build_videos(entries, where, info, attempt):
    """{id: entry} in the shape of ActivityNet's database -> list of Video."""
    prefixed = all(video_id.startswith("v_") and len(video_id) > 2 for video_id in entries)
    videos = (
        attempt(
            _build_video, video_id[2:] if prefixed else video_id, entry, f"{where}, video {video_id!r}", info, attempt
        )
        for video_id, entry in entries.items()
    )
    return [video for video in videos if video is not None]


def _build_video(name, entry, where, info, attempt):
    check_video_id(name, where)
    # The annotations' own facts win, except the subset: in BMN's world only the csv has the published label split.
    own, extra = _facts(entry, where), info.get(match_name(name, info), {})
    facts = {**extra, **own, **{key: extra[key] for key in ("subset",) if key in extra}}
    annotations = entry.get("annotations") or []
    if not isinstance(annotations, list):
        raise SpotError(f"{where}: `annotations` is a {type(annotations).__name__}, not a list of segments")
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
    facts = {}
    for fact, names in FACTS.items():
        stated = [row[name] for name in names if row.get(name) not in (None, "")]
        if stated:
            facts[fact] = _number(stated[0], f"{where}, {fact}")
            if facts[fact] <= 0:
                raise SpotError(f"{where}: {fact} is {stated[0]!r}; it must be positive")
    if row.get("subset") is not None:
        if not isinstance(row["subset"], str):
            raise SpotError(f"{where}: subset is {row['subset']!r}, not a name")
        facts["subset"] = row["subset"].strip().lower()
        facts["unlabeled"] = facts["subset"] == "training_unlabel"
        if facts["unlabeled"]:
            facts["subset"] = "training"
    return facts


def _segment(annotation, where):
    """One `{"segment", "label", "label_id"}` -> ((start, end) in seconds, label, id or None)."""
    segment, label = (annotation.get(key) if isinstance(annotation, dict) else None for key in ("segment", "label"))
    if not isinstance(segment, list | tuple) or len(segment) != 2:
        raise SpotError(f"{where}: {_short(annotation)} has no `segment` of [start, end] in seconds")
    if not isinstance(label, str) or not label.strip():
        raise SpotError(f"{where}: {_short(annotation)} has no `label`, a class name")
    label_id = annotation.get("label_id")
    if label_id is not None and (isinstance(label_id, bool) or not isinstance(label_id, int)):
        raise SpotError(f"{where}: `label_id` of {label!r} is {label_id!r}, not a whole number")
    start, end = (_number(value, f"{where}, segment of {label!r}") for value in segment)
    return (start, end), label, label_id


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
    missing = [row for row, facts in info.items() if facts.get("subset") and match_name(row, names) is None]
    if missing:
        raise SpotError(
            f"{info_path}: {_listing(missing)} not in {_title(source)}; remove the rows or give the annotations"
        )


# --- segments and classes for training --------------------------------------------------------------------------------


def clean_segments(video, feature_end_sec=math.inf):
    """The segments of a video that can be trained on: clipped to [0, duration], empty ones dropped.

    feature_end_sec: where the features end, which counts where the annotations tell no duration
    Evaluation keeps ground truth as it is. Returns segments_sec (M, 2), M labels, and
    {"clipped": kept after clipping, "dropped": empty}.
    """
    end_sec = feature_end_sec if video.duration_sec is None else video.duration_sec
    clipped_sec = video.segments_sec.clip(0, end_sec)
    keep = clipped_sec[:, 1] > clipped_sec[:, 0]
    changed = (clipped_sec != video.segments_sec).any(axis=1)
    labels = tuple(label for label, kept in zip(video.labels, keep, strict=True) if kept)
    return clipped_sec[keep], labels, {"clipped": int((changed & keep).sum()), "dropped": int((~keep).sum())}


def class_names(videos, class_file=None):
    """The class list; position in it is the class index of the model.

    From `class_file` (see `read_class_file`), else in the order of the annotations' `label_id` where every label has
    one id of its own (gaps are closed), else sorted. Raises SpotError where `class_file` lacks a label.
    """
    labels = sorted({label for video in videos for label in video.labels})
    if class_file is not None:
        names = read_class_file(class_file)
        unknown = sorted(set(labels) - set(names))
        if unknown:
            raise SpotError(f"{class_file}: {_listing(unknown)} in the annotations but not in this list; add them")
        return names
    if any(video.label_ids is None for video in videos):
        return labels
    pairs = {pair for video in videos for pair in zip(video.label_ids, video.labels, strict=True)}
    one_to_one = len(pairs) == len({label_id for label_id, _ in pairs}) == len(labels)
    return [label for _, label in sorted(pairs)] if one_to_one else labels


def read_class_file(path):
    """A class list: csv with columns id,label (SPOT's published_class_ids.csv), or text with one name per line.

    The text may lead with an id (`7 BaseballPitch`, the THUMOS14 list); names are then in the order of their ids.
    `Ambiguous`, which OpenTAD's category_idx.txt may list, is left out: it is never a class.
    Raises SpotError where the list is empty, names a class twice, or an id is no whole number.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        columns, rows = read_table(path)
        if not {"id", "label"} <= set(columns):
            raise SpotError(f"{path}: has columns {', '.join(columns)}; a class list needs id and label")
        rows = [(row["id"], row["label"]) for row in rows]
    else:
        rows = [re.fullmatch(r"(?:(\d+)\s+)?(.*)", line).groups() for line in _read_lines(path)]
        if not all(class_id for class_id, _ in rows):  # a name may begin with a number: then these are no ids
            rows = list(enumerate(_read_lines(path)))
    try:
        rows = sorted((int(class_id), name) for class_id, name in rows if name != AMBIGUOUS)
    except ValueError as error:
        raise SpotError(f"{path}: a class id is not a whole number ({error}); number the classes") from error
    for (class_id, name), (next_id, next_name) in itertools.pairwise(rows):
        if class_id == next_id:
            raise SpotError(f"{path}: {name!r} and {next_name!r} have one id, {class_id}; give each its own")
    names = [name for _, name in rows]
    twice = [name for name, count in Counter(names).items() if count > 1 or not name]
    if twice or not names:
        found = f"the class {twice[0]!r} is empty or listed twice" if twice else "lists no class"
        raise SpotError(f"{path}: {found}; give every class one line")
    return names


# --- videos to leave out ----------------------------------------------------------------------------------------------


def read_video_ids(path):
    """Video ids as they stand in a list of them: a JSON list (OpenTAD's blocked.json), the keys of a JSON dict
    {id: reason}, or text with one id per line (missing_files.txt). The list may be empty. SpotError for another."""
    if Path(path).suffix.lower() != ".json":
        return _read_lines(path)
    content = read_json(path)
    ids = list(content) if isinstance(content, list | dict) else [None]
    if not all(isinstance(video_id, str) for video_id in ids):
        raise SpotError(f"{path}: is no list of video ids; expected [id, ...], {{id: reason, ...}}, or one id per line")
    return ids


def without_blocked(videos, path):
    """The videos that the list `path` (see `read_video_ids`; None = no list) does not name, and how many it does.

    Ids that no annotation has are no fault: BMN's annotations lack the videos that OpenTAD's blocked.json lists.
    """
    names = {video.name for video in videos}
    blocked = {match_name(video_id, names) for video_id in read_video_ids(path)} if path else set()
    kept = [video for video in videos if video.name not in blocked]
    return kept, len(videos) - len(kept)


# --- labeled and unlabeled --------------------------------------------------------------------------------------------


def labeled_split(training_videos, labeled, split_seed, info_path=None):
    """The names of the training videos whose labels may be used, in file order.

    labeled: a fraction in (0, 1] (float or its text): max(1, round(fraction * n)) videos, covering the classes, chosen
             by `split_seed`; or a file with one video id per line, with or without `v_`; or `info`: the rows of
             `info_path` that are not `training_unlabel` (the published splits).
    Raises SpotError for unknown ids, a fraction outside (0, 1], or an empty choice.
    """
    names = [video.name for video in training_videos]
    if not names:
        raise SpotError("dataset.train_subset: there is no training video to choose labeled ones from")
    fraction = _as_fraction(labeled)
    if fraction is not None:
        if not 0 < fraction <= 1:
            raise SpotError(f"dataset.labeled={labeled} is not in (0, 1]; 0.1 takes 10 % of the training videos")
        chosen = _covering_choice(training_videos, max(1, round(fraction * len(names))), split_seed)
    elif labeled == "info":
        chosen = _labeled_by_info(names, info_path)
    else:
        chosen = _labeled_by_file(names, labeled)
    return [name for name in names if name in chosen]


def _as_fraction(labeled):
    try:
        return float(labeled)
    except (TypeError, ValueError):
        return None


def _labeled_by_info(names, info_path):
    if info_path is None:
        raise SpotError("dataset.labeled=info needs dataset.video_info_path, the csv with the published label split")
    info = read_video_info(info_path)
    rows = ((name, info.get(match_name(name, info))) for name in names)
    chosen = {name for name, facts in rows if facts is not None and not facts.get("unlabeled", False)}
    if not chosen:
        raise SpotError(f"{info_path}: every training video is `training_unlabel` or missing; label at least one")
    return chosen


def _labeled_by_file(names, path):
    known = set(names)
    matched = {video_id: match_name(video_id, known) for video_id in _read_lines(path)}
    unknown = [video_id for video_id, name in matched.items() if name is None]
    if unknown:
        raise SpotError(f"{path}: {_listing(unknown)} not in the training subset; remove or mend them")
    if not matched:
        raise SpotError(f"{path}: names no video; give one id per line")
    return set(matched.values())


def _covering_choice(videos, count, seed):
    """Choose `count` videos at random, yet so that classes are covered evenly: the names, as a set.

    Again and again the class with the fewest labeled videos so far (the rarest in the whole set, where several have as
    few) gets the next of its videos in a random order. For one-class videos that is an even draw per class; where every
    recording holds nearly every class it is close to a plain random draw, so that seeds differ.
    """
    random = np.random.default_rng(seed)
    classes = {videos[i].name: sorted(set(clean_segments(videos[i])[1])) for i in random.permutation(len(videos))}
    waiting = {}  # class -> the names of its videos, the next one last
    for name, labels in classes.items():
        for label in labels:
            waiting.setdefault(label, []).append(name)
    size = {label: len(holders) for label, holders in waiting.items()}
    labeled, chosen = Counter(), set()
    while len(chosen) < count and waiting:
        label = min(waiting, key=lambda label: (labeled[label], size[label], label))
        name = waiting[label].pop()
        if not waiting[label]:
            del waiting[label]
        if name not in chosen:
            chosen.add(name)
            labeled.update(classes[name])
    without_class = [name for name in classes if name not in chosen]
    return chosen.union(without_class[: count - len(chosen)])


# --- ids, paths, cells ------------------------------------------------------------------------------------------------


def match_name(video_id, names):
    """The name in `names` that `video_id` means, with or without `v_`; None where there is none."""
    video_id = str(video_id)
    return next((name for name in (video_id, video_id.removeprefix("v_"), f"v_{video_id}") if name in names), None)


def check_video_id(video_id, where):
    """Refuse, with SpotError, an id that could name a file outside the feature folder; where: words for the message."""
    path = PurePosixPath(video_id.replace("\\", "/"))  # Windows separators lead outside just as well
    outside = path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", video_id)
    if not video_id.strip() or outside or not video_id.isprintable():
        raise SpotError(f"{where}: the video id {video_id!r} is not a plain name; an id must not lead out of a folder")


def matching_files(path):
    """The files that a path or pattern names, sorted; a path that exists is never taken for a pattern.

    Raises SpotError where nothing matches a pattern; a plain path comes back as it is, whether it is there or not.
    """
    if Path(path).exists() or not glob.has_magic(str(path)):
        return [Path(path)]
    found = sorted(Path(name) for name in glob.glob(str(path)))
    if not found:
        raise SpotError(f"{path}: no file matches this pattern; check the path")
    return found


def read_table(path):
    """Read a CSV with a header: its columns, and its rows as dicts; ids such as 0001447 or NA keep their spelling.

    A row that is shorter or longer than the header is a SpotError: the last one of a file that was cut off is.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except OSError as error:
        raise SpotError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpotError(f"{path}: is not a CSV table ({error}); was it fully downloaded?") from error
    if not rows:
        raise SpotError(f"{path}: is not a CSV table (it is empty); was it fully downloaded?")
    (_, columns), *rows = rows
    for line, row in rows:
        if len(row) != len(columns):
            raise SpotError(f"{path}: is not a CSV table (line {line} has {len(row)} cells, the header "
                            f"{len(columns)}); was it fully downloaded?")
    return columns, [dict(zip(columns, row, strict=True)) for _, row in rows]


def _read_lines(path):
    """The non-empty lines of a text file, stripped."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpotError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except UnicodeDecodeError as error:
        raise SpotError(f"{path}: is not UTF-8 text; expected one name per line") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _number(value, where):
    """A finite float from a number or its text (AFSD and G-TAD write segments as text)."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise SpotError(f"{where}: {_short(value)} is not a finite number; mend it or take it out")
    return number


def _short(value):
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "..."


def _title(source):
    return "the annotations" if isinstance(source, dict) else str(source)


def _listing(names):
    """`'a', 'b' and 3 more are`: at most five names for a message."""
    shown = ", ".join(repr(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{shown}{more} {'is' if len(names) == 1 else 'are'}"
