"""The features of many videos: a folder, HDF5 files, or several streams as one source."""

import difflib
import itertools
import os
import re
from pathlib import Path

import h5py

from spot.annotations import match_name, matching_files, read_video_ids, strictly
from spot.feature_files import (
    H5_SUFFIXES,
    READERS,
    join_streams,
    load_array,
    only_array,
    own_member,
    refusing_broken,
)
from spot.files import SpotError

MISSING_LIST = "missing_files.txt"  # beside the features in OpenTAD's downloads: ids of videos that have none


class FeatureSource:
    """The features of many videos, by name: one stream, or several whose channels are concatenated.

    paths:    one stream or a list of streams (`[rgb_folder, flow_folder]`). A stream is a folder with one file per
              video, an .h5 / .hdf5 file with one dataset per video, the file of a single video, a pattern (`rgb_*.h5`),
              or a list of these where its videos are spread over several, as G-TAD's TSN features are:
              `[["rgb_train.h5", "rgb_test.h5"], "flow_*.h5"]`.
    feat_dim: channels C of all streams together
    pattern:  the files' names in the folders, such as `v_{video}.npy` or `{video}_rgb.npy`; None: `{video}.<suffix>` or
              `v_{video}.<suffix>` for every suffix that `read_feature` knows. A list gives one per stream.
    attempt:  how what may be faulty is indexed, see `annotations.strictly`

    Folders are listed once, here; only files found in them are ever opened, so no video id can lead elsewhere.
    HDF5 files are opened when first read and again in every forked or spawned worker.
    names: of the videos that every stream has; listed_missing: ids in the `missing_files.txt` of a folder, for messages
    """

    def __init__(self, paths, feat_dim, pattern=None, attempt=strictly):
        streams = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        patterns = [pattern] * len(streams) if pattern is None or isinstance(pattern, str) else list(pattern)
        if not streams or len(patterns) != len(streams):
            raise SpotError(f"{len(streams)} feature paths and {len(patterns)} patterns; give one pattern per path")
        self.paths, self.feat_dim = streams, feat_dim
        self._streams = [_index_stream(*stream, attempt) for stream in zip(streams, patterns, strict=True)]
        self.listed_missing = {video_id for stream in streams for path in _paths_of(stream)
                               for video_id in _listed_missing(path)}
        self._files, self._process = {}, os.getpid()
        self.names = set.intersection(*(set(index) for index in self._streams))

    def __contains__(self, name):
        return all(match_name(name, index) is not None for index in self._streams)

    def read(self, name):
        """The features of one video, (C, T') float32.

        Streams are cut to the shortest; one snippet or 5 % of difference is normal, more is a SpotError, as is
        everything that `read_feature` refuses.
        """
        locations = self._locations(name)
        arrays = [load_array(path) if key is None else self._load_dataset(path, key) for path, key in locations]
        return join_streams(arrays, self.feat_dim, self.path_of(name))

    def path_of(self, name):
        """Where the features of a video are, for messages: `folder/v_x.npy`, `rgb.h5[x] + flow.h5[x]`."""
        places = (str(path) if key is None else f"{path}[{key}]" for path, key in self._locations(name))
        return " + ".join(places)

    def nearest(self, name):
        """The known name most like `name`, or that holds it, None where none is close: the hint in messages about
        missing features, where a forgotten prefix shows."""
        longer = (known for known in sorted(self.names) if name in known)
        return next(itertools.chain(difflib.get_close_matches(name, self.names, n=1), longer), None)

    def _locations(self, name):
        """[(file, None or dataset name)] of a video, one per stream."""
        keys = [match_name(name, index) for index in self._streams]
        if None in keys:
            stream, nearest = self.paths[keys.index(None)], self.nearest(name)
            hint = f"the nearest name there is {nearest!r}" if nearest else "no name there is like it"
            raise SpotError(f"{stream}: no features of video {name!r}; {hint}, see dataset.feature_path")
        return [index[key] for index, key in zip(self._streams, keys, strict=True)]

    def _load_dataset(self, path, key):
        if self._process != os.getpid():  # a handle that is shared with the parent process reads garbage
            self._files, self._process = {}, os.getpid()
        with refusing_broken(f"{path}[{key}]"):
            if path not in self._files:
                self._files[path] = h5py.File(path, "r")
            return only_array(own_member(self._files[path], key))

    def __getstate__(self):
        return {**self.__dict__, "_files": {}}


# --- where the files are -----------------------------------------------------------------------------------------


def _paths_of(stream):
    """The folders and files of one stream."""
    parts = [stream] if isinstance(stream, str | os.PathLike) else stream
    return [path for part in parts for path in matching_files(part)]


def unlisted(names, listed_missing):
    """The names that no `missing_files.txt` lists; listed_missing: a `FeatureSource`'s, with or without `v_`."""
    return [name for name in names if match_name(name, listed_missing) is None]


def _listed_missing(path):
    """The video ids in the `missing_files.txt` of a folder of features; none where there is no such list."""
    path = path / MISSING_LIST
    return read_video_ids(path) if path.is_file() else []


def _index_stream(stream, pattern, attempt):
    """One stream -> {video name: (file, None) or (HDF5 file, dataset name)}."""
    index = {}
    for path in _paths_of(stream):
        for name, place in _without_prefix(_index_path(path, pattern, attempt)).items():
            attempt(_add, index, name, place)
    return index


def _index_path(path, pattern, attempt):
    if path.is_dir() or not path.exists():
        return _index_folder(path, pattern, attempt)
    return _index_h5(path) if path.suffix.lower() in H5_SUFFIXES else {path.stem: (path, None)}


def _index_folder(folder, pattern, attempt):
    try:
        with os.scandir(folder) as entries:
            files = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise SpotError(f"{folder}: {error.strerror}; dataset.feature_path is a folder or an .h5 file") from error
    names = _name_reader(pattern)
    index = {}
    for file in files:
        name = names(file)
        if name:
            attempt(_add, index, name, (Path(folder) / file, None))
    if not index:
        wanted = pattern or f"a feature file ({', '.join(READERS)})"
        raise SpotError(f"{folder}: holds {len(files)} files, none of them {wanted}; check dataset.feature_path")
    return index


def _name_reader(pattern):
    """A function from a file's name to the video's name, None for other files."""
    if pattern is None:
        return lambda file: Path(file).stem if Path(file).suffix.lower() in READERS else None
    before, found, after = pattern.partition("{video}")
    if not found or "{video}" in after or "/" in pattern:
        raise SpotError(f"the feature pattern {pattern!r} is not a file name with {{video}} once, like v_{{video}}.npy")
    form = re.compile(f"{re.escape(before)}(.+){re.escape(after)}")
    return lambda file: match[1] if (match := form.fullmatch(file)) else None


def _index_h5(path):
    with refusing_broken(path), h5py.File(path, "r") as file:
        index = {name: (path, name) for name in file}
    if not index:
        raise SpotError(f"{path}: holds no dataset; expected one per video")
    return index


def _without_prefix(index):
    """Take ActivityNet's `v_` off where every name has it, as `read_annotations` does."""
    if all(name.startswith("v_") and len(name) > 2 for name in index):
        return {name[2:]: place for name, place in index.items()}
    return index


def _add(index, name, place):
    """Add a video to the index; two files for one video (also `x` and `v_x`) are refused."""
    twin = next((known for known in (name, f"v_{name}", name.removeprefix("v_")) if known in index), None)
    if twin is not None:
        raise SpotError(f"{index[twin][0]} and {place[0]} are both features of video {name!r}; remove one of them")
    index[name] = place
