"""The page on which detections are reviewed: one self-contained HTML file, opened from the disk. No torch.

`review.html`, `review.css` and `review.js` beside this file are put into one file together with the data, as JSON. The
script shows texts of the data as text alone, and the page's policy lets nothing run but that script and asks nothing of
any network. What is reviewed becomes an annotation file in our JSON: the annotations of the run, in which the reviewed
recordings are replaced and marked as annotated.
"""

import base64
import hashlib
import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex

from spot import review_curves as curves
from spot.annotation_json import database_of
from spot.annotations import is_annotated
from spot.cleaning import Video
from spot.errors import SpotError
from spot.files import write_text
from spot.names import NameIndex
from spot.operating_point import actions_of
from spot.timelines import class_colors

PAGE = "review.html"
CORRECTED = "annotations_reviewed.json"  # how the browser calls what it saves
PARTS = {"/*STYLE*/": "review.css", "/*SCRIPT*/": "review.js"}
DIGITS = 6  # of scores, of the threshold too, so that the same detections are above it
POLICY = ("default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; media-src blob:; "
          "style-src '{style}'; script-src '{script}'")


@dataclass(frozen=True)
class Origin:
    """What a review starts from and leads to.

    run: the run folder, as it is shown; subset: of the recordings, "" where they come without annotations
    action: {"threshold", "per_class", "chosen_on"} of the run, None where it has no threshold
    train: words of the command that trains on the corrected annotations, None where it is not known
    """

    run: str
    subset: str = ""
    action: dict | None = None
    train: list | None = None


# --- annotations ------------------------------------------------------------------------------------------------------


def base_videos(videos, labeled, train_subset):
    """The annotations that the corrected file starts from: which of the `Video`s of a run count as labeled.

    labeled: names of the videos whose labels the run was trained on. Other videos of training are marked as not
    annotated, whatever the file holds of them; those of other subsets, such as that of evaluation, stay as they are.
    """
    index = NameIndex(video.name for video in videos)
    chosen = {index.find(name) for name in labeled}
    return [replace(video, annotated=video.name in chosen) if video.subset == train_subset.lower() else video
            for video in videos]


def with_own(videos, recordings, train_subset):
    """The videos, and as unlabeled ones of training those recordings that are not among them; the names of all
    recordings as the videos have them.

    recordings: (name, duration_sec, fps or None) of each
    SpotError where two of the recordings are one of the videos
    """
    index = NameIndex(video.name for video in videos)
    names = [index.find(name) for name, *_ in recordings]
    meant = {}
    for known, (name, *_) in zip(names, recordings, strict=True):
        if known is not None and meant.setdefault(known, name) != name:
            raise SpotError(f"--review: {meant[known]!r} and {name!r} are both the recording {known!r} of the "
                            "annotations; keep one of them")
    added = [Video(name, duration_sec, fps, train_subset.lower(), np.zeros((0, 2)), (), duration_sec,
                   np.zeros((0, 2)), annotated=False)
             for known, (name, duration_sec, fps) in zip(names, recordings, strict=True) if known is None]
    return [*videos, *added], [known or name for known, (name, *_) in zip(names, recordings, strict=True)]


def class_ids(videos):
    """{class: id} where every segment of the videos has an id, and every class one of its own; else None."""
    if any(video.label_ids is None and video.labels for video in videos):
        return None
    pairs = {pair for video in videos for pair in zip(video.labels, video.label_ids or (), strict=True)}
    ids = dict(pairs)
    return ids if ids and len(pairs) == len(ids) == len(set(ids.values())) else None


# --- one recording ----------------------------------------------------------------------------------------------------


def recording_entry(name, entries, class_names, duration_sec, fps=None, media=None, seen=None, number=1):
    """One recording as the page holds it.

    name: as in the annotations; entries: of detections.json; of those that overlap in one class the best is kept
    seen: None where there are no features, else (grid, class probabilities (K, T'), channels (M, T'), M names of them)
    number: of recordings on the page, which share its size
    """
    place = {label: index for index, label in enumerate(class_names)}
    found = [[place[entry["label"]], *(round(time, 3) for time in entry["segment"]), rounded(entry["score"])]
             for entry in actions_of(entries, -np.inf)]
    entry = {"name": name, "duration": round(duration_sec, 3), "found": found, "unsure": None, "curves": None,
             "channels": None}
    entry |= {key: value for key, value in (("fps", fps), ("media", media and Path(media).name)) if value}
    if seen is None:
        return entry
    grid, probabilities, channels, names = seen
    shown = curves.shown_classes(probabilities, [row[0] for row in found])
    entry["unsure"] = round(curves.unsureness(probabilities), 4)
    if shown:
        most = curves.columns_for(number, len(shown), curves.PROBABILITY_BYTES)
        pooled = curves.in_columns(probabilities[shown], grid, duration_sec, most)
        entry["curves"] = {"classes": shown, "data": curves.packed(pooled)}
    if len(channels):
        most = curves.columns_for(number, len(channels), curves.CHANNEL_BYTES)
        pooled = curves.standardized(curves.in_columns(channels, grid, duration_sec, most, np.add))
        entry["channels"] = {"names": list(names), "data": curves.packed(pooled)}
    return entry


def rounded(score):
    """A score to DIGITS digits. Rounding keeps the order: what is at or above a threshold stays so."""
    return float(f"{score:.{DIGITS}g}")


# --- the page ---------------------------------------------------------------------------------------------------------


def page_data(origin, class_names, recordings, videos):
    """Everything that the page holds, as JSON takes it.

    recordings: of `recording_entry`, each of a name that one of the videos has; videos: `base_videos`, `with_own`
    """
    colors = class_colors(class_names)
    action = origin.action if origin.action and origin.action["threshold"] is not None else None
    given = {video.name for video in videos if is_annotated(video)}
    identity = json.dumps([list(class_names), [[one["name"], one["duration"], one["found"]] for one in recordings]])
    return {
        "format": "SPOT review", "version": 1, "key": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "run": origin.run, "subset": origin.subset, "corrected": CORRECTED,
        "train": origin.train and shlex.join(origin.train),
        "threshold": action and rounded(action["threshold"]), "chosenOn": action and action["chosen_on"],
        "levels": curves.LEVELS, "classes": [{"name": name, "color": to_hex(colors[name])} for name in class_names],
        "classIds": class_ids(videos),
        "recordings": [{**one, "given": one["name"] in given} for one in recordings],
        "database": list(database_of(videos).items())}  # pairs: a script puts names that are numbers first


def write_review(path, data):
    """Write the page of `page_data` to `path`, all at once. SpotError where there is no recording."""
    if not data["recordings"]:
        raise SpotError("--review: there is no recording to review; check dataset.eval_subset or features=")
    write_text(path, page_of(data))


def page_of(data):
    """The page as text."""
    folder = Path(__file__).parent
    page = (folder / PAGE).read_text(encoding="utf-8")
    texts = {mark: (folder / name).read_text(encoding="utf-8") for mark, name in PARTS.items()}
    style, script = (f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
                     for text in texts.values())
    for mark, text in {"/*POLICY*/": POLICY.format(style=style, script=script), **texts}.items():
        page = page.replace(mark, text)
    # `<` within JSON can only stand in a text; escaped, no text ends the element that holds the data.
    before, after = page.split("/*DATA*/")
    return before + json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c") + after
