"""Where the features of each video are: folders, nested folders and files of many videos -> an index by name."""

import os
import re
from pathlib import Path

from spot.annotations import matching_files
from spot.errors import SpotError
from spot.feature_content import FEATURE_KEYS, videos_in
from spot.feature_csv import is_text_table
from spot.feature_files import READERS, is_feature_file, opened, refusing_broken
from spot.sidecar import SIDECAR
from spot.text import clean

# Formats of which one file may hold many videos.
OF_MANY = (".npy", ".npz", ".pt", ".pth", ".pkl", ".pickle", ".h5", ".hdf5")
# What the only file in the folder of a video is called.
GENERIC_NAMES = {*FEATURE_KEYS, "feature", "feat", "embedding", "embeddings"}
MAX_OF_MANY = 4  # files in a folder
MAX_DEPTH = 2  # of the folders in which feature files are looked for


def paths_of(stream):
    """The folders and files of one stream: a path, a pattern, or a list of them."""
    parts = [stream] if isinstance(stream, str | os.PathLike) else stream
    return [path for part in parts for path in matching_files(part)]


def index_stream(stream, pattern, attempt):
    """One stream -> {video name: (file, None) or (file of many videos, the keys that lead to the video in it)}.

    A folder has one file per video, in itself, in a folder per video (`{video}/features.npy`) or in one per subset
    (`train/{video}.npy`); a file holds one video or many. ActivityNet's `v_` is taken off where every name has it.
    stream: as of `paths_of`; pattern, attempt: as of `features.FeatureSource`
    SpotError where nothing is found, where two files are of one video, or where names do not tell which file is whose.
    """
    index = {}
    for path in paths_of(stream):
        for name, place in _without_prefix(_index_path(path, pattern, attempt)).items():
            attempt(_add, index, name, place)
    return index


def _index_path(path, pattern, attempt):
    return _index_folder(path, pattern, attempt) if path.is_dir() or not path.exists() else _index_file(path)


def _index_file(path):
    """A file of one video, called by the file's name, or of many."""
    if path.suffix.lower() in OF_MANY or path.suffix.lower() not in READERS:
        with refusing_broken(path), opened(path) as content:
            videos = videos_in(content)
        if videos is not None:
            return {name: (path, keys) for name, keys in videos.items()}
    return {_stem(path): (path, None)}


def _index_folder(folder, pattern, attempt):
    found = _nested(folder) if pattern is None else _by_pattern(folder, _parts_of(pattern))
    index = {}
    for name, place in found:
        attempt(_add, index, name, place)
    if not index:
        wanted = pattern or f"a feature file ({', '.join(READERS)})"
        raise SpotError(f"{folder}: holds {len(_entries(folder))} files, none of them {wanted}; check "
                        "dataset.feature_path")
    return index


def _entries(folder):
    """The files and folders in a folder, by name, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            return [Path(folder) / name for name in sorted(entry.name for entry in entries)
                    if not name.startswith(".")]
    except OSError as error:
        raise SpotError(f"{folder}: {error.strerror}; features are in a folder or a file") from None


def _stem(file):
    """The name of a file without its suffixes: `x` of x.npy and of x.pth.tar, `x.1` of a torch file x.1."""
    if file.suffix.lower() in READERS:
        return file.stem
    return re.sub(r"(\.[A-Za-z]{1,5})+$", "", file.name) or file.name


# --- folders without a pattern ----------------------------------------------------------------------------------------


def _nested(folder):
    """[(video, place)] of the feature files in a folder, or else in the folders in it."""
    files = _without_tables([file for file in _entries(folder) if is_feature_file(file)])
    if files:
        # A folder of a handful of files may hold one per subset, with all of its videos.
        return [one for file in files for one in (_videos_of(file) if len(files) <= MAX_OF_MANY else _alone(file))]
    by_folder = _files_below(folder, MAX_DEPTH)
    if not by_folder:  # a table may be all that there is, and is refused when it is read
        return [one for file in _entries(folder) if is_feature_file(file) for one in _alone(file)]
    names = {tuple(file.name for file in files) for files in by_folder.values()}
    stems = {_stem(file) for files in by_folder.values() for file in files}
    if (len(by_folder) > 1 and len(names) == 1) or (by_folder and stems <= GENERIC_NAMES):
        _refuse_several(folder, by_folder)
        return [(path.name, (files[0], None)) for path, files in by_folder.items()]
    return [one for files in by_folder.values() for file in files for one in _alone(file)]


def _without_tables(files):
    """The files without lists of the videos, such as index.csv, which often lie beside features."""
    tables = [file for file in files if file.suffix.lower() == ".csv"]
    if len(tables) > MAX_OF_MANY:  # one file per video
        return files
    return [file for file in files if file not in tables or not is_text_table(file)]


def _alone(file):
    return [(_stem(file), (file, None))]


def _videos_of(file):
    try:
        return list(_index_file(file).items())
    except SpotError:  # which is told when it is read
        return _alone(file)


def _files_below(folder, depth):
    """{folder: its feature files} of the folders below one, where they have some."""
    found = {}
    for path in filter(Path.is_dir, _entries(folder)):
        files = [file for file in _entries(path) if is_feature_file(file)]
        if files:
            found[path] = files
        elif depth > 1:
            found |= _files_below(path, depth - 1)
    return found


def _refuse_several(folder, by_folder):
    """SpotError for folders that hold several files of the same names: is a folder a video or a stream?"""
    first, second = [*by_folder, *by_folder][:2]
    if len(by_folder[first]) > 1:
        name = by_folder[first][0].name
        raise SpotError(
            f"{folder}: {first.name} and {second.name} hold files of the same names, such as {name}; where each is a "
            f"video, give dataset.feature_pattern='{{video}}/{name}', and where each is a stream, "
            f"dataset.feature_path=[{first},{second}]")


# --- folders with a pattern -------------------------------------------------------------------------------------------


def _parts_of(pattern):
    """`{video}/rgb_*.npy` -> a regular expression per level; SpotError for what is no such pattern."""
    parts = pattern.split("/")
    if pattern.count("{video}") != 1 or any(part in ("", ".", "..") for part in parts):
        raise SpotError(f"the feature pattern {pattern!r} is not a file name with {{video}} once, like v_{{video}}.npy "
                        "or {video}/rgb.npy")
    forms = {"{video}": "(?P<video>.+)", "*": ".*"}
    return [re.compile("".join(forms.get(piece) or re.escape(piece) for piece in re.split(r"(\{video\}|\*)", part)))
            for part in parts]


def _by_pattern(folder, parts, video=None):
    """Yield (video, place) of every file that fits the levels of a pattern."""
    form, *deeper = parts
    for path in _entries(folder):
        fits = form.fullmatch(path.name)
        if not fits or path.name == SIDECAR:
            continue
        name = fits.groupdict().get("video", video)
        if not deeper:
            yield name, (path, None)
        elif path.is_dir():
            yield from _by_pattern(path, deeper, name)


# --- names ------------------------------------------------------------------------------------------------------------


def _without_prefix(index):
    """Take ActivityNet's `v_` off where every name has it, as `read_annotations` does."""
    if all(name.startswith("v_") and len(name) > 2 for name in index):
        return {name[2:]: place for name, place in index.items()}
    return index


def _add(index, name, place):
    """Add a video to the index; two files for one video (also `x` and `v_x`) are refused."""
    name = clean(name)
    twin = next((known for known in (name, f"v_{name}", name.removeprefix("v_")) if known in index), None)
    if twin is not None:
        raise SpotError(f"{index[twin][0]} and {place[0]} are both features of video {name!r}; remove one of them")
    index[name] = place
