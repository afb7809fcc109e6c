"""The features of many videos: one stream, or several whose channels are concatenated."""

import contextlib
import os
import sys

import numpy as np

from spot.annotations import read_video_ids, strictly
from spot.errors import SpotError
from spot.feature_content import array_in, member_at
from spot.feature_files import load_array, open_content, refusing_broken
from spot.feature_index import index_stream, paths_of
from spot.feature_times import times_of_features
from spot.names import NameIndex, nearest_name, pair_names
from spot.streams import join_streams, orientations

MISSING_LIST = "missing_files.txt"  # beside the features in OpenTAD's downloads: ids of videos that have none
# How many videos are looked at, to learn whether rows are snippets, and how many of clear shape are enough.
ORIENTATION_TRIES, ORIENTATION_ENOUGH = 64, 8


class FeatureSource:
    """The features of many videos, by name: one stream, or several whose channels are concatenated.

    paths:    one stream or a list of streams (`[rgb_folder, flow_folder]`). A stream is whatever
              `feature_index.index_stream` finds videos in: a folder, a file, a pattern (`rgb_*.h5`), or a list of these
              where its videos are spread over several, as G-TAD's TSN features are:
              `[["rgb_train.h5", "rgb_test.h5"], "flow_*.h5"]`.
    feat_dim: channels C of all streams together
    pattern:  the files' names in the folders, such as `v_{video}.npy` or `{video}/rgb.npy`; None: `{video}.<suffix>` or
              `v_{video}.<suffix>` for every suffix that `read_feature` knows. A list gives one per stream.
    attempt:  how what may be faulty is indexed, see `annotations.strictly`
    resample: streams of different rates are resampled to the longest, see `streams.join_streams`

    Folders are listed once, here; only files found in them are ever opened, so no video id can lead elsewhere.
    Files of many videos are opened when first read and again in every forked or spawned worker.
    An array of as many snippets as channels is read like the others of the set, see `orientation`.
    names: of the videos that every stream has; listed_missing: ids in the `missing_files.txt` of a folder, for messages
    times: what the sidecar of the features says, a `feature_times.FeatureTimes`; None where there is none
    """

    def __init__(self, paths, feat_dim, pattern=None, attempt=strictly, resample=False):
        streams = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        patterns = [pattern] * len(streams) if pattern is None or isinstance(pattern, str) else list(pattern)
        if not streams or len(patterns) != len(streams):
            raise SpotError(f"{len(streams)} feature paths and {len(patterns)} patterns; give one pattern per path")
        self.paths, self.feat_dim, self.resample = streams, feat_dim, resample
        self._streams = [index_stream(*stream, attempt) for stream in zip(streams, patterns, strict=True)]
        self.listed_missing = {video_id for stream in streams for path in paths_of(stream)
                               for video_id in _listed_missing(path)}
        self._contents, self._process, self._orientation = {}, os.getpid(), None
        self.names = set.intersection(*(set(index) for index in self._streams))
        self.times = times_of_features(streams, resample)
        self._lookups, self._bound = [NameIndex(index) for index in self._streams], {}

    def __contains__(self, name):
        return None not in self._keys(name)

    def bind(self, names):
        """Say which videos will be asked for, so that no two of them get the features of one: `abc` and `ABC` are two
        videos where both are there. Returns {video: feature name} where these differ by more than a leading `v_`."""
        names = list(names)
        pairs = [pair_names(names, index) for index in self._streams]
        self._bound = {name: [pair[name] for pair in pairs] for name in names}
        return {name: keys[0] for name, keys in self._bound.items()
                if None not in keys and self._lookups[0].find(name, levels=1) is None}

    def _keys(self, name):
        """What each stream calls a video, None where it has none."""
        return self._bound.get(name) or [lookup.find(name) for lookup in self._lookups]

    def read(self, name):
        """The features of one video, (C, T') float32.

        Streams are cut to the shortest; one snippet or 5 % of difference is normal, more is a SpotError (unless
        `resample`), as is everything that `read_feature` refuses.
        """
        where = self.path_of(name)
        joined = join_streams(self._arrays(name), self.feat_dim, where, self.resample, self.orientation)
        if self.times is not None:
            self.times.refuse_other_length(name, joined.shape[1], where)
        return joined

    def orientation(self):
        """How the arrays of the set lie: for each stream, whether its rows are snippets, (T', C_i).

        Decided once, by the arrays that fit one way only among up to 64 videos evenly spaced in the order of their
        names; the first 8 of them are enough. Where no array tells, rows are snippets, with a warning. SpotError where
        they contradict each other.
        """
        if self._orientation is None:
            self._orientation = self._find_orientation()
        return self._orientation

    def _find_orientation(self):
        names = sorted(self.names)
        known = {}  # orientation -> a video that has it
        for name in names[:: len(names) // ORIENTATION_TRIES + 1]:
            with contextlib.suppress(SpotError):  # a broken file is refused when it is read itself
                ways = orientations([np.asarray(array) for array in self._arrays(name)], self.feat_dim, self.resample)
                if len(ways) == 1:
                    known.setdefault(ways[0], []).append(name)
            if sum(map(len, known.values())) == ORIENTATION_ENOUGH:
                break
        if len(known) > 1:
            one, other = (self.path_of(videos[0]) for videos in list(known.values())[:2])
            raise SpotError(f"{one} and {other} lie in different ways, (T', C) and (C, T'), so arrays that fit both "
                            "ways cannot be told apart; transpose some, so that all are (T', C)")
        if not known:
            print(f"warning: {self.paths[0]}: the arrays have as many snippets as channels, so nothing tells (T', C) "
                  "from (C, T'); they are taken as (T', C)", file=sys.stderr)
        return next(iter(known), (True,) * len(self._streams))

    def _arrays(self, name):
        """The arrays of a video as they are stored, one per stream."""
        return [load_array(path) if keys is None else self._load_member(path, keys)
                for path, keys in self._locations(name)]

    def path_of(self, name):
        """Where the features of a video are, for messages: `folder/v_x.npy`, `rgb.h5[x] + flow.h5[x]`."""
        return " + ".join(_title(*place) for place in self._locations(name))

    def nearest(self, name):
        """The name most like `name` in the first stream that lacks it, see `names.nearest_name`: the hint in messages
        about missing features, where a forgotten prefix shows."""
        keys = self._keys(name)
        return nearest_name(name, self._streams[keys.index(None) if None in keys else 0])

    def _locations(self, name):
        """[(file, None or the keys in it)] of a video, one per stream."""
        keys = self._keys(name)
        if None in keys:
            stream, nearest = self.paths[keys.index(None)], self.nearest(name)
            hint = f"the nearest name there is {nearest!r}" if nearest else "no name there is like it"
            raise SpotError(f"{stream}: no features of video {name!r}; {hint}, see dataset.feature_path")
        return [index[key] for index, key in zip(self._streams, keys, strict=True)]

    def _load_member(self, path, keys):
        if self._process != os.getpid():  # a handle that is shared with the parent process reads garbage
            self._contents, self._process = {}, os.getpid()
        with refusing_broken(_title(path, keys)):
            if path not in self._contents:
                self._contents[path] = open_content(path)
            return array_in(member_at(self._contents[path], keys))

    def __getstate__(self):
        return {**self.__dict__, "_contents": {}}


def channels_in(paths, pattern=None):
    """How many channels features may have: a list, the most likely first; [] where no file shows it.

    paths, pattern: as of `FeatureSource`. Up to 8 videos are looked at: all have as many channels, and mostly another
    number of snippets each. SpotError where they cannot be opened.
    """
    source = FeatureSource(paths, 0, pattern)
    names = sorted(source.names)
    shapes = []
    for name in names[:: -(-len(names) // ORIENTATION_ENOUGH)]:
        with contextlib.suppress(SpotError):  # a broken file is refused when it is read itself
            shapes.append([np.shape(array) for array in source._arrays(name)])
    found = [0] if shapes else []
    for stream in zip(*shapes, strict=True):
        are_tables = all(len(shape) == 2 for shape in stream)
        same = [stream[0][axis] for axis in (1, 0) if are_tables and len({shape[axis] for shape in stream}) == 1]
        found = [one + other for one in found for other in same]
    return found


def _title(path, keys):
    return str(path) if keys is None else f"{path}[{'/'.join(map(str, keys))}]"


def unlisted(names, listed_missing):
    """The names that no `missing_files.txt` lists; listed_missing: a `FeatureSource`'s, with or without `v_`."""
    index = NameIndex(listed_missing)
    return [name for name in names if index.find(name) is None]


def _listed_missing(path):
    """The video ids in the `missing_files.txt` of a folder of features; none where there is no such list."""
    path = path / MISSING_LIST
    return read_video_ids(path) if path.is_file() else []
