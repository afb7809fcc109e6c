"""The videos of a data set: their classes, which are left out, and the labeled / unlabeled split. No torch."""

import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np

from spot.annotation_entries import AMBIGUOUS, strictly
from spot.annotation_tools import unannotated
from spot.cleaning import Video, clean_segments
from spot.dataset_formats import read_annotations
from spot.errors import SpotError
from spot.files import matching_files, read_json
from spot.names import NameIndex, check_video_id, match_name, pair_names
from spot.shipped import shipped
from spot.text import clean, listing, read_lines, read_table, whole_number
from spot.thumos14 import THUMOS14_CLASSES
from spot.video_info import read_video_info

__all__ = ["AMBIGUOUS", "THUMOS14_CLASSES", "Video", "check_video_id", "class_names", "clean_segments", "labeled_split",
           "match_name", "matching_files", "read_annotations", "read_class_file", "read_video_ids", "read_video_info",
           "strictly", "with_unannotated", "without_blocked"]


# --- classes ----------------------------------------------------------------------------------------------------------


def class_names(videos, class_file=None):
    """The class list; position in it is the class index of the model.

    From `class_file` (see `read_class_file`), else in the order of the annotations' `label_id` where every label has
    one id of its own (gaps are closed), else sorted. Raises SpotError where `class_file` lacks a label, and where
    there is none at all.
    """
    labels = sorted({label for video in videos for label in video.labels})
    if class_file is not None:
        names = read_class_file(class_file, labels)
        unknown = sorted(set(labels) - set(names))
        if unknown:
            raise SpotError(f"{class_file}: {listing(unknown)} in the annotations but not in this list; add them")
        return names
    if not labels:
        raise SpotError("the annotations hold no segment, so there is no class to learn; check dataset.video_anno_path")
    if any(video.label_ids is None for video in videos):
        return labels
    pairs = {pair for video in videos for pair in zip(video.label_ids, video.labels, strict=True)}
    one_to_one = len(pairs) == len({label_id for label_id, _ in pairs}) == len(labels)
    return [label for _, label in sorted(pairs)] if one_to_one else labels


def read_class_file(path, labels=()):
    """A class list: csv with columns id,label (SPOT's published_class_ids.csv), or text with one name per line.

    The text may lead with an id (`7 BaseballPitch`, the THUMOS14 list); names are then in the order of their ids.
    labels: class names that are known; where every line leads with a number, they distinguish an id from a name (`1 leg
            stand`)
    `Ambiguous`, which OpenTAD's category_idx.txt may list, is left out: it is never a class.
    Raises SpotError where the list is empty, names a class twice, or an id is no whole number.
    """
    return list(read_class_ids(path, labels).values())


def read_class_ids(path, labels=()):
    """The list of `read_class_file` as {id: name}, by id; without ids in the file, they count from 0.

    Arguments and SpotError as there.
    """
    path = shipped(path)
    if path.suffix.lower() == ".csv":
        columns, rows = read_table(path)
        if not {"id", "label"} <= set(columns):
            raise SpotError(f"{path}: has columns {', '.join(columns)}; a class list needs id and label")
        rows = [(row["id"], row["label"]) for row in rows]
    else:
        lines = read_lines(path)
        rows = [re.fullmatch(r"(?:(\d+)\s+)?(.*)", line).groups() for line in lines]
        known = set(labels)
        if not all(class_id for class_id, _ in rows) or len(known & set(lines)) > len(known & {row[1] for row in rows}):
            rows = list(enumerate(lines))  # a name may begin with a number: then these are no ids
    try:
        rows = sorted((whole_number(class_id, "id"), name) for class_id, name in rows if name != AMBIGUOUS)
    except SpotError as error:
        raise SpotError(f"{path}: a class id is not a whole number ({error}); number the classes") from error
    for (class_id, name), (next_id, next_name) in itertools.pairwise(rows):
        if class_id == next_id:
            raise SpotError(f"{path}: {name!r} and {next_name!r} have one id, {class_id}; give each its own")
    names = [name for _, name in rows]
    twice = [name for name, count in Counter(names).items() if count > 1 or not name]
    if twice or not names:
        found = f"the class {twice[0]!r} is empty or listed twice" if twice else "lists no class"
        raise SpotError(f"{path}: {found}; give every class one line")
    return dict(rows)


# --- videos to leave out ----------------------------------------------------------------------------------------------


def read_video_ids(path):
    """Video ids as they stand in a list of them: a JSON list (OpenTAD's blocked.json), the keys of a JSON dict
    {id: reason}, or text with one id per line (missing_files.txt). The list may be empty. SpotError for another."""
    if Path(path).suffix.lower() != ".json":
        return read_lines(path)
    content = read_json(path)
    ids = list(content) if isinstance(content, list | dict) else [None]
    if not all(isinstance(video_id, str) for video_id in ids):
        raise SpotError(f"{path}: is no list of video ids; expected [id, ...], {{id: reason, ...}}, or one id per line")
    return [clean(video_id) for video_id in ids]


def without_blocked(videos, path):
    """The videos that the list `path` (see `read_video_ids`; None = no list) does not name, and how many it does.

    Ids that no annotation has are no fault: BMN's annotations lack the videos that OpenTAD's blocked.json lists.
    """
    index = NameIndex(video.name for video in videos)
    blocked = {index.find(video_id) for video_id in read_video_ids(path)} if path else set()
    kept = [video for video in videos if video.name not in blocked]
    return kept, len(videos) - len(kept)


# --- recordings that no annotation tool knows -------------------------------------------------------------------------


def with_unannotated(videos, names, info_path=None):
    """The videos and, where they come from an annotation tool, those of the `names` that none of its files is about:
    unlabeled videos of training, of which only the video info file `info_path` may state more than the name."""
    if not videos or any(video.annotated is None for video in videos):
        return videos
    known = set(pair_names([video.name for video in videos], names).values())
    others = sorted(set(names) - known)
    info = read_video_info(info_path) if info_path else {}
    rows = pair_names(others, info)
    return [*videos, *(unannotated(name.removeprefix("v_"), info.get(rows[name])) for name in others)]


# --- labeled and unlabeled --------------------------------------------------------------------------------------------


def labeled_split(training_videos, labeled, split_seed, info_path=None):
    """The names of the training videos whose labels may be used, in file order.

    labeled: a fraction in (0, 1] (float or its text): max(1, round(fraction * n)) of the n videos that are not known to
             lack annotation, covering the classes, chosen by `split_seed`; `annotated`: every video that is annotated;
             a file with one video id per line, with or without `v_`; or `info`: the rows of `info_path` that are not
             `training_unlabel` (the published splits).
    Raises SpotError for unknown ids, a fraction outside (0, 1], or an empty choice.
    """
    names = [video.name for video in training_videos]
    if not names:
        raise SpotError("dataset.train_subset: there is no training video to choose labeled ones from")
    fraction = _as_fraction(labeled)
    if fraction is not None:
        if not 0 < fraction <= 1:
            raise SpotError(f"dataset.labeled={labeled} is not in (0, 1]; 0.1 takes 10 % of the training videos")
        able = [video for video in training_videos if video.annotated is not False]
        _refuse_none_annotated(able, names)
        chosen = _covering_choice(able, max(1, round(fraction * len(able))), split_seed)
    elif labeled == "annotated":
        chosen = {video.name for video in training_videos if is_annotated(video)}
        _refuse_none_annotated(chosen, names)
    elif labeled == "info":
        chosen = _labeled_by_info(names, info_path)
    else:
        chosen = _labeled_by_file(names, labeled)
    return [name for name in names if name in chosen]


def is_annotated(video):
    """Is a video marked as annotated or, where its format has no such mark, does it have a segment?"""
    return bool(len(video.labels)) if video.annotated is None else video.annotated


def _refuse_none_annotated(chosen, names):
    if not chosen:
        raise SpotError(f"none of the {len(names):,} training videos is annotated; annotate some, or check "
                        "dataset.video_anno_path and dataset.complete_label")


def _as_fraction(labeled):
    try:
        return float(labeled)
    except (TypeError, ValueError):
        return None


def _labeled_by_info(names, info_path):
    if info_path is None:
        raise SpotError("dataset.labeled=info needs dataset.video_info_path, the csv with the published label split")
    info = read_video_info(info_path)
    rows = ((name, info.get(row)) for name, row in pair_names(names, info).items())
    chosen = {name for name, facts in rows if facts is not None and not facts.get("unlabeled", False)}
    if not chosen:
        raise SpotError(f"{info_path}: every training video is `training_unlabel` or missing; label at least one")
    return chosen


def _labeled_by_file(names, path):
    index = NameIndex(names)
    matched = {video_id: index.find(video_id) for video_id in read_lines(path)}
    unknown = [video_id for video_id, name in matched.items() if name is None]
    if unknown:
        raise SpotError(f"{path}: {listing(unknown)} not in the training subset; remove or mend them")
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
