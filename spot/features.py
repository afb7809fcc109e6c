"""Feature files of the field -> (C, T') arrays; a folder, HDF5 files, or several streams as one source; packing.

Torch is needed, and imported, for `.pt` files only. No file can run code: of a pickle, only its arrays are read.
"""

import contextlib
import csv
import difflib
import itertools
import json
import os
import pickle
import re
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from tqdm import tqdm

from spot import pickles
from spot.annotations import match_name, matching_files, read_video_ids, strictly
from spot.files import SpotError, flush, locked

H5_SUFFIXES = (".h5", ".hdf5")
MISSING_LIST = "missing_files.txt"  # beside the features in OpenTAD's downloads: ids of videos that have none
# Two streams of one video may end apart (optical flow has one frame less): up to this share of the longer is cut off.
MAX_LENGTH_DIFFERENCE = 0.05
# No compression makes more of a byte than deflate's 1032; a dataset that claims more was never written.
MAX_COMPRESSION = 1032
# A killed `pack` loses at most this many videos of work.
FLUSH_EVERY = 64


def read_feature(path, feat_dim):
    """Read the features of one video from a .csv, .npy, .npz, .pt, .pkl or .h5 file.

    The file holds (T', C) or (C, T') floats, told apart by `feat_dim` = C; a square one is taken as (T', C). CSV may
    have a header. In .npz, .pt, .pkl and .h5 the array is the one called `feats` or `features`, or the only one.
    Returns (C, T') float32, C-contiguous. Raises SpotError with the file and the values for whatever is not that:
    another shape, no rows, NaN or Inf, whole numbers or text, a cut-off file, a pickle that holds more than arrays.
    """
    path = Path(path)
    return _join_streams([_load(path)], feat_dim, path)


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
        arrays = [_load(path) if key is None else self._load_dataset(path, key) for path, key in locations]
        return _join_streams(arrays, self.feat_dim, self.path_of(name))

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
            return _only_array(_own_member(self._files[path], key))

    def __getstate__(self):
        return {**self.__dict__, "_files": {}}


def pack(source, names, path, dtype="float16", attributes=None):
    """Write the features of `names` into one HDF5 file that `FeatureSource` reads directly.

    One dataset (T', C) per video, one chunk each, with its CRC-32 as attribute `crc32`; the file carries `attributes`
    (the grid, for instance) and `source`, `feat_dim`, `dtype`, `checksum` (over all names and CRCs).
    One video at a time is in memory. A killed run continues where it was: the unfinished file, `.<name>.partial`, is
    renamed only after every dataset was read back and compared. Returns the number of videos.
    Raises SpotError where a value does not fit float16, a feature file is broken, or the disk is full.
    """
    path = Path(path)
    if dtype not in ("float16", "float32"):
        raise SpotError(f"packing: dtype {dtype!r} is neither float16 nor float32")
    names = sorted(set(names))
    partial = path.with_name(f".{path.name}.partial")
    header = {"source": source.paths, "feat_dim": source.feat_dim, "dtype": dtype, **(attributes or {})}
    # HDF5 attributes hold text and numbers; lists and nothing become their JSON.
    header = {
        key: value if isinstance(value, str | int | float) else json.dumps(value, default=str)
        for key, value in header.items()
    }
    try:
        with locked(path.with_name(f".{path.name}.lock"), path):
            with _open_partial(partial, header) as file:
                for count, name in enumerate(tqdm(names, desc=f"packing {path.name}", unit="video")):
                    if name not in file:
                        _write_dataset(file, name, source.read(name).T, dtype, source)
                    if count % FLUSH_EVERY == 0:
                        file.flush()
                for name in set(file) - set(names):
                    del file[name]
            _verify(partial, names, path.name)
            flush(partial)
            partial.replace(path)
            flush(path.parent)
    except (OSError, RuntimeError) as error:  # h5py raises either one on a full disk
        raise SpotError(f"{path}: packing stopped ({error}); mend the cause and run it again to continue") from error
    return len(names)


# --- one file ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def refusing_broken(where):
    """Turn whatever a broken file makes numpy, zipfile, h5py or torch raise into one SpotError, `where: reason`.

    These libraries promise no exception type for damaged bytes; so here, and only here, every kind is expected.
    What a reader itself refuses, a SpotError without the file's name, gets the name here.
    """
    try:
        yield
    except SpotError as error:
        named = str(error).startswith(f"{where}: ")
        raise SpotError(str(error) if named else f"{where}: {error}") from error
    except FileNotFoundError as error:
        raise SpotError(f"{where}: there is no such file; check the path") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise SpotError(f"{where}: cannot be read ({reason}); it is not complete, or not what its suffix says: copy or "
                        "make it again") from error


def _load(path):
    """The one array of a feature file, as it is stored."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SpotError(f"{path}: the suffix is none of {', '.join(READERS)}; convert the features to one of them")
    with refusing_broken(path):
        if not path.stat().st_size:
            raise SpotError("the file is empty; copy or make it again")
        return reader(path)


def _read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        first_row = next(csv.reader(file), [])
    try:
        # Without a header to pandas, a row longer than the first is an error, and no cell of it is taken for an index.
        return pd.read_csv(path, header=None, skiprows=int(_is_header(first_row)), dtype=np.float32).to_numpy()
    except pd.errors.EmptyDataError as error:
        raise SpotError("there is no snippet in it, only a header; extract the features again") from error


def _is_header(row):
    """Names, or the column numbers 0, 1, 2, ... that pandas writes where columns have no names."""
    if len(row) > 1 and row == [str(i) for i in range(len(row))]:
        return True
    try:
        [float(cell or "nan") for cell in row]
    except ValueError:
        return True
    return False


def _read_npy(path):
    # Mapped first: a header that claims more than the file holds is refused before memory is taken for it.
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise SpotError("is an .npz archive under the name of an .npy file; rename it")
    return np.array(array)


def _read_npz(path):
    archive = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(archive, np.ndarray):
        raise SpotError("is an .npy file under the name of an .npz archive; rename it")
    with archive:
        return _only_array(archive)


def _read_pt(path):
    import torch  # only here: annotation, packing and evaluation tools run without it

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch reads tensors only; `torch.save` of an array is common too
        return _read_pt_of_arrays(path)
    tensor = _only_array(content) if isinstance(content, dict) else content
    if not isinstance(tensor, torch.Tensor):
        raise SpotError(f"it holds a {type(tensor).__name__}; expected a tensor")
    _refuse_claim(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
    # numpy has no bfloat16
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()


def _read_pt_of_arrays(path):
    if not zipfile.is_zipfile(path):
        raise ValueError("not what torch.save writes of a tensor or array")
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(name) as file:
            return _only_pickled_array(file)


def _read_pickle(path):
    with path.open("rb") as file:
        return _only_pickled_array(file)


def _only_pickled_array(file):
    content = pickles.load(file)
    return pickles.array_of(_only_array(content) if isinstance(content, dict) else content)


def _read_h5(path):
    with h5py.File(path, "r") as file:
        return _only_array(file)


READERS = {
    ".csv": _read_csv,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".pth": _read_pt,
    **dict.fromkeys(H5_SUFFIXES, _read_h5),
    **dict.fromkeys((".pkl", ".pickle"), _read_pickle),
}


def _refuse_claim(claimed, held):
    """SpotError before memory is taken for more bytes than a file can hold; a few are given to every file."""
    if claimed > max(held, 1 << 20):
        raise SpotError(f"it claims {claimed:,} bytes of numbers, which it does not hold; copy or make it again")


def _only_array(content):
    """The array called `feats` or `features`, or the only one, of an archive, a dict, or an HDF5 group."""
    if isinstance(content, h5py.Dataset):
        _refuse_claim(content.nbytes, MAX_COMPRESSION * content.id.get_storage_size())
        return content[()]
    keys = list(content)
    key = next((key for key in ("feats", "features") if key in keys), keys[0] if len(keys) == 1 else None)
    if key is None:
        named = ", ".join(" ".join(str(key).split())[:40] for key in keys[:5])
        raise SpotError(f"it holds {named or 'nothing'}; name the features feats or features")
    return _only_array(_own_member(content, key)) if isinstance(content, h5py.Group) else content[key]


def _own_member(group, key):
    """A member of an HDF5 group that lies in this very file: links and external storage may point anywhere."""
    member = group[key] if isinstance(group.get(key, getlink=True), h5py.HardLink) else None
    if member is None or (isinstance(member, h5py.Dataset) and (member.external or member.is_virtual)):
        raise SpotError(f"the HDF5 dataset {key!r} lies in another file; store the features themselves")
    return member


def _join_streams(arrays, feat_dim, where):
    """Arrays (T', C_i) or (C_i, T') of one video, channels adding up to `feat_dim` -> (C, T') float32."""
    arrays = [np.asarray(array) for array in arrays]
    shapes = " and ".join(str(array.shape) for array in arrays)
    for array in arrays:
        if array.ndim != 2 or array.dtype.kind != "f":
            raise SpotError(f"{where}: shape {array.shape} of {array.dtype}; features are floats, snippets x channels: "
                            "convert them")
        if 0 in array.shape:
            raise SpotError(f"{where}: shape {array.shape}; there is no snippet in it, extract the features again")
    # (T', C) comes first in every pair, so it wins where both readings fit.
    readings = itertools.product(*((array.T, array) for array in arrays))
    fitting = [reading for reading in readings if sum(len(array) for array in reading) == feat_dim]
    if not fitting:
        raise SpotError(f"{where}: found shape {shapes}, expected {feat_dim} channels; set model.feat_dim or the path")
    streams = next((reading for reading in fitting if _lengths_agree(reading)), None)
    if streams is None:
        raise SpotError(f"{where}: streams of shape {shapes} differ by more than 5 % in length; extract them again")
    shortest = min(array.shape[1] for array in streams)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes Inf, and is refused as such
        joined = np.concatenate([array[:, :shortest].astype(np.float32) for array in streams])
    finite = np.isfinite(joined)
    if not finite.all():
        channel, snippet = np.argwhere(~finite)[0]
        found = f"{finite.size - finite.sum()} values are NaN or Inf, first in snippet {snippet}, channel {channel}"
        raise SpotError(f"{where}: {found}; extract the features again")
    return np.ascontiguousarray(joined)


def _lengths_agree(streams):
    lengths = [array.shape[1] for array in streams]
    return max(lengths) - min(lengths) <= max(1, MAX_LENGTH_DIFFERENCE * max(lengths))


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


# --- packing -----------------------------------------------------------------------------------------------------


def _open_partial(partial, header):
    """The unfinished file of an earlier run where it can be continued, else a new one."""
    with contextlib.suppress(OSError, RuntimeError, KeyError):  # absent, or damaged by the kill: begin anew
        file = h5py.File(partial, "r+")
        if {key: file.attrs.get(key) for key in header} == header:
            for name in [name for name in file if "crc32" not in file[name].attrs]:  # killed while writing it
                del file[name]
            return file
        file.close()
    partial.unlink(missing_ok=True)
    file = h5py.File(partial, "w")
    file.attrs.update(header)
    return file


def _write_dataset(file, name, array, dtype, source):
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(array, dtype=dtype)
    if not np.isfinite(stored).all():
        raise SpotError(f"{source.path_of(name)}: {abs(array).max():g} does not fit {dtype}; pack it as float32")
    dataset = file.create_dataset(name, data=stored, chunks=stored.shape)
    dataset.attrs["crc32"] = zlib.crc32(stored.tobytes())


def _verify(partial, names, title):
    """Read every dataset back and compare with its CRC; then sign the file with the checksum over all of them."""
    checksum = 0
    with h5py.File(partial, "r+") as file:
        for name in tqdm(names, desc=f"verifying {title}", unit="video"):
            crc = _stored_crc(file, name)
            if crc is None:
                partial.unlink()  # else the next run would find the damage again
                raise SpotError(f"{title}: video {name!r} was not stored as written; check the disk and pack again")
            checksum = zlib.crc32(f"{name} {crc}\n".encode(), checksum)
        file.attrs["checksum"] = checksum


def _stored_crc(file, name):
    """The CRC of a dataset as it reads back; None where it does not, or differs from the one it was written with."""
    with contextlib.suppress(OSError, RuntimeError, KeyError):
        crc = zlib.crc32(file[name][()].tobytes())
        return crc if crc == file[name].attrs["crc32"] else None
