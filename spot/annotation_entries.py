"""Entries of a data set's annotations -> `Video`: the facts and segments of each, whatever its keys are called."""

import difflib
import functools

import numpy as np

from spot.cleaning import Video
from spot.errors import SpotError
from spot.names import check_video_id, pair_names
from spot.text import (
    alike,
    clean,
    frame_rate,
    has_value,
    label_of,
    number,
    short,
    whole_number,
)

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


def refuse(sentence):
    """Raise SpotError; a function, so that `attempt` can call it."""
    raise SpotError(sentence)


def build_videos(entries, where, info, attempt):
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
    own = facts_in(entry, where)
    facts = {**extra, **own, **{key: extra[key] for key in ("subset",) if key in extra}}
    annotations = keys_of(entry).get("annotations")
    if annotations is None and (hint := misnamed(entry, "annotations")):
        attempt(refuse, f"{where}: has no `annotations`{hint}")
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
    """(duration, fps, feature duration), each None where the facts lack it; two of three give the third."""
    duration, fps, frames = (facts.get(key) for key in ("duration", "fps", "frames"))
    if frames and fps:
        duration = duration or frames / fps
    if frames and duration:
        fps = fps or frames / duration
        return duration, fps, facts.get("feature_frames", frames) / frames * duration
    return duration, fps, duration


def facts_in(row, where):
    """The facts that a JSON entry or a table row states, under our names; only those that are present.

    SpotError for a value that cannot be one.
    """
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
