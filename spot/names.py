"""Ids of videos, which every file spells in its own way: found again, paired, and the nearest one for a message."""

import difflib
import re
from collections import Counter
from pathlib import PurePosixPath

from spot.errors import SpotError
from spot.text import clean

# What a list of files leaves on an id, and what feature files of several tools keep of the video's name.
SUFFIXES = re.compile(
    r"(\.(mp4|avi|mkv|webm|mov|wmv|flv|m4v|mpe?g|mts|3gp|ogv|wav|mp3|npy|npz|pth?|pkl|pickle|h5|hdf5|csv|txt|json))+",
    re.IGNORECASE)


def _without_suffix(video_id):
    stem = re.sub(SUFFIXES.pattern + "$", "", clean(video_id), flags=re.IGNORECASE)
    return stem or clean(video_id)


def _last_part(video_id):
    return re.split(r"[\\/]", _without_suffix(video_id))[-1] or clean(video_id)


# From the strictest to the loosest: as it stands, without the suffix of a video, without its folder, in any case.
LEVELS = (clean, _without_suffix, _last_part, lambda video_id: _last_part(video_id).casefold())


class NameIndex:
    """Names of videos, found by ids that may be spelled differently.

    A name is meant by an id with or without `v_`, then also with the suffix of a video or features file, in another
    folder, or in another case; the first of these that fits counts, and only where it fits one name alone.
    """

    def __init__(self, names):
        self.names = dict.fromkeys(names)
        self._tables = {}

    def find(self, video_id, levels=None):
        """The name that an id means, None where there is none; levels: how many of LEVELS may be tried, None: all."""
        video_id = str(video_id)
        if video_id in self.names:
            return video_id
        for level in range(levels or len(LEVELS)):
            table, spelled = self._table(level), LEVELS[level](video_id)
            for candidate in (spelled, spelled.removeprefix("v_"), f"v_{spelled}"):
                if candidate in table:
                    return table[candidate]
        return None

    def _table(self, level):
        """{name as this level spells it: name}, None for two names that it spells alike."""
        if level not in self._tables:
            table = {}
            for name in self.names:
                key = LEVELS[level](name)
                table[key] = None if key in table else name
            self._tables[level] = table
        return self._tables[level]


def match_name(video_id, names):
    """The name in `names` that `video_id` means, as `NameIndex` finds it; None where there is none.

    names: any collection of names; for many ids, make a NameIndex of them once
    """
    return (names if isinstance(names, NameIndex) else NameIndex(names)).find(video_id)


def pair_names(video_ids, names):
    """{id: the name that it means, or None}, where two ids never mean one name but by a leading `v_`.

    An id that is spelled as a name goes before one that is only like it: `abc` and `ABC` are two videos where both are
    there, and one spelled in two ways where not.
    """
    index = NameIndex(names)
    exact = {video_id: index.find(video_id, levels=1) for video_id in video_ids}
    taken = set(exact.values())
    loose = {video_id: index.find(video_id) for video_id, name in exact.items() if name is None}
    claims = Counter(loose.values())
    return exact | {video_id: name if name not in taken and claims[name] == 1 else None
                    for video_id, name in loose.items()}


def nearest_name(name, known):
    """The known name that is most like `name`, for messages; None where none is close.

    First what `NameIndex` takes for the same, then the shortest name that holds it or is held by it, as with a
    forgotten prefix; then one that differs in letters but has its digits; one with other digits is most often another
    video.
    """
    same = match_name(name, known)
    if same is not None:
        return same
    folded = clean(name).casefold()
    holds = [other for other in known if folded in (text := other.casefold()) or (len(text) > 3 and text in folded)]
    if holds:
        return min(holds, key=lambda other: (abs(len(other) - len(name)), other))
    close = difflib.get_close_matches(name, known, n=20)
    digits = _digits(name)
    return next((other for other in close if _digits(other) == digits), close[0] if close else None)


def _digits(text):
    return [int(part) for part in re.findall(r"\d+", text)]


def check_video_id(video_id, where):
    """Refuse, with SpotError, an id that could name a file outside the feature folder; where: words for the message."""
    path = PurePosixPath(video_id.replace("\\", "/"))  # Windows separators lead outside just as well
    outside = path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", video_id)
    if not video_id.strip() or outside or not video_id.isprintable():
        raise SpotError(f"{where}: the video id {video_id!r} is not a plain name; an id must not lead out of a folder")
