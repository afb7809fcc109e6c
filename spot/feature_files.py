"""One feature file of the field -> its array, or its arrays by video.

Torch is needed, and imported, for the files of torch only. No file can run code: of a pickle, only its arrays are read.
"""

import contextlib
import csv
import io
import itertools
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from spot import pickles
from spot.errors import SpotError
from spot.streams import join_streams
from spot.text import delimiter_of, read_text

H5_SUFFIXES = (".h5", ".hdf5")
FEATURE_KEYS = ("feats", "features")  # what the array of a file with several entries is called
STREAM_NAMES = {"rgb", "flow", "optical_flow", "audio", "spatial", "temporal"}  # parts of one video, not videos
# Titles of a column that only numbers the rows of a CSV.
ROW_TITLES = ("", "unnamed: 0", "index", "snippet", "frame", "row", "id")
# No compression makes more of a byte than deflate's 1032; a dataset that claims more was never written.
MAX_COMPRESSION = 1032
TORCH_LEGACY = bytes.fromhex("8a0a6cfc9c46f9206aa85019")  # the number that torch.save wrote first before it wrote zips
# How files begin that no reader here knows: what they are, and what to do.
FOREIGN = {b"\x1f\x8b": "a gzip file: unpack it", b"BZh": "a bzip2 file: unpack it",
           b"\xfd7zXZ": "an xz file: unpack it", b"7z\xbc\xaf": "a 7-Zip archive: unpack it",
           b"MATLAB": "a MATLAB file: save its features as .npy", b"PAR1": "a Parquet table: save its features as .npy"}


def read_feature(path, feat_dim):
    """Read the features of one video from a .csv, .npy, .npz, .pt, .pth, .pkl, .h5 or suffix-less file.

    The file holds (T', C) or (C, T') floats, told apart by `feat_dim` = C; a square one is taken as (T', C). CSV may
    have a header. Of several entries (.npz, .h5, a dict in .npy, .pt or .pkl) the array is the one called `feats` or
    `features`, or the only one.
    Returns (C, T') float32, C-contiguous. Raises SpotError with the file and the values for whatever is not that:
    another shape, no rows, NaN or Inf, whole numbers or text, a cut-off file, a pickle that holds more than arrays.
    """
    path = Path(path)
    return join_streams([load_array(path)], feat_dim, path)


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


def load_array(path):
    """The one array of a feature file, as it is stored; SpotError for a file that has none, or is broken."""
    with refusing_broken(path), opened(path) as content:
        return array_in(content)


@contextlib.contextmanager
def opened(path):
    """Yield what a feature file holds: an array in some form, or a mapping of names to such; see `array_in`.

    SpotError for a file of no format that is read here.
    """
    content = open_content(path)
    with contextlib.closing(content) if hasattr(content, "close") else contextlib.nullcontext():
        yield content


def open_content(path):
    """As `opened`; an .h5 or .npz file stays open, and has a `close`. SpotError for a file of no format known here."""
    with refusing_broken(path):
        if not path.stat().st_size:
            raise SpotError("the file is empty; copy or make it again")
        found, suffix = format_of(path), path.suffix.lower()
        if found is not None and found not in READERS:
            raise SpotError(f"is {found}")
        # Whether torch.save or pickle.dump wrote a file, its suffix often does not tell.
        is_either = {suffix, found} <= {*TORCH_SUFFIXES, *PICKLE_SUFFIXES}
        wanted = READERS.get(suffix if found is None or (suffix in READERS and not is_either) else found)
        if wanted is None:
            raise SpotError(f"the suffix is none of {', '.join(READERS)}; convert the features to one of them")
        if found is not None and READERS[found] is not wanted:
            raise SpotError(f"is {TITLES[found]} under the name of {TITLES.get(suffix, f'a {suffix} file')}; rename it")
        return wanted(path)


def is_feature_file(path):
    """Is a file one of features, by its suffix or, where that is unknown, by how it begins?"""
    return path.suffix.lower() in READERS or (path.is_file() and format_of(path) in READERS)


def is_text_table(path):
    """Is a CSV a table of words, such as a list of videos, where features would have numbers?"""
    try:
        text = read_text(path).lstrip()
    except SpotError:
        return False
    rows = list(itertools.islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text)), 2))
    return len(rows) == 2 and any(_number_in(cell) is None for cell in rows[1])


def format_of(path):
    """By how a file begins: the suffix in READERS that it should have, words for what it is else, None for no idea."""
    with open(path, "rb") as file:
        head = file.read(64)
    if head.startswith(b"\x93NUMPY"):
        return ".npy"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return ".h5"
    if head.startswith(b"PK\x03\x04"):
        return _format_of_zip(path)
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return ".pt" if TORCH_LEGACY in head else ".pkl"
    return next((words for magic, words in FOREIGN.items() if head.startswith(magic)), None)


def _format_of_zip(path):
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            return ".pt"
        return ".npz" if any(name.endswith(".npy") for name in names) else "a zip archive: unpack it"
    return None


# --- the formats ------------------------------------------------------------------------------------------------------


def _read_csv(path):
    text = _with_commas(read_text(path).lstrip())
    separator = delimiter_of(text)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    is_header = _is_header(next(rows, []), next(rows, []))
    try:
        # Without a header to pandas, a row longer than the first is an error, and no cell of it is taken for an index.
        table = pd.read_csv(io.StringIO(text), header=None, skiprows=int(is_header), dtype=np.float32, sep=separator)
    except pd.errors.EmptyDataError as error:
        raise SpotError("there is no snippet in it, only a header; extract the features again") from error
    table = table.to_numpy()
    return table[:, 1:] if is_header and _numbers_rows(text, separator, table) else table


def _with_commas(text):
    """A table whose cells are separated by spaces alone, as numpy.savetxt writes it, with commas instead."""
    first_line = text.partition("\n")[0].strip()
    if " " not in first_line or any(sign in first_line for sign in ',;\t"'):
        return text
    return "\n".join(",".join(line.split()) for line in text.splitlines())


def _number_in(cell):
    """The number in a cell of a CSV; NaN for an empty one, None for other text."""
    try:
        return float(cell.strip() or "nan")
    except ValueError:
        return None


def _is_header(first, second):
    """Is the first row of a CSV its header? It is one of names, or one of column numbers, 0, 1, 2, ... or 1, 2, 3, ...,
    that pandas writes where columns have no names; a column of row numbers before them is empty or a name there.

    first, second: their cells. Up to three columns can hold such numbers as features, so there it takes a second row
    that is not of whole numbers, or is written with points where the first has none.
    """
    is_written_alike = ("." in "".join(first)) == ("." in "".join(second))
    first, second = ([_number_in(cell) for cell in row] for row in (first, second))
    if first and all(value is None or value != value for value in first) and any(value is None for value in first):
        return True
    numbers = first[1:] if first and (first[0] is None or first[0] != first[0]) else first
    if len(numbers) < 2 or numbers not in ([float(i + k) for i in range(len(numbers))] for k in (0, 1)):
        return False
    is_alike = is_written_alike and all(value is not None and value.is_integer() for value in second)
    return bool(second) and (len(numbers) > 3 or not is_alike)


def _numbers_rows(text, separator, table):
    """Is the first column of a table with a header the numbers of its rows, as pandas writes them?"""
    title = text.partition(separator)[0].strip().strip('"').lower()
    rows = np.arange(len(table))
    is_count = table.shape[1] > 1 and any((table[:, 0] == rows + k).all() for k in (0, 1))
    return is_count and title in ROW_TITLES


def _read_npy(path):
    with path.open("rb") as file:
        if _holds_objects(file):
            return pickles.load(file)
    # Mapped: a header that claims more than the file holds is refused before memory is taken for it.
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _holds_objects(file):
    """Read the header of an open .npy file: does a pickle follow instead of numbers?"""
    if file.read(8)[6:7] not in (b"\x01", b"\x02"):
        return False  # of version 3, or none at all: numpy tells
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read_header(file)[2].hasobject


class _Archive(Mapping):
    """The arrays of an .npz file by name, each read when it is asked for."""

    def __init__(self, path):
        self._zip = zipfile.ZipFile(path)
        self._names = {name.removesuffix(".npy"): name for name in self._zip.namelist() if name.endswith(".npy")}

    def __getitem__(self, key):
        with self._zip.open(self._names[key]) as file:
            if _holds_objects(file):
                return pickles.load(file)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)

    def __iter__(self):
        return iter(self._names)

    def __len__(self):
        return len(self._names)

    def close(self):
        self._zip.close()


def _read_pt(path):
    import torch  # only here: annotation, packing and evaluation tools run without it

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch reads tensors only; `torch.save` of an array is common too
        if not zipfile.is_zipfile(path):
            raise
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(name) as file:
            return pickles.load(file)


def _read_pickle(path):
    return pickles.load(io.BytesIO(path.read_bytes()))


def _read_h5(path):
    return h5py.File(path, "r")


TORCH_SUFFIXES, PICKLE_SUFFIXES = (".pt", ".pth"), (".pkl", ".pickle")
READERS = {
    ".csv": _read_csv,
    ".npy": _read_npy,
    ".npz": _Archive,
    **dict.fromkeys(TORCH_SUFFIXES, _read_pt),
    **dict.fromkeys(H5_SUFFIXES, _read_h5),
    **dict.fromkeys(PICKLE_SUFFIXES, _read_pickle),
}
TITLES = {".npy": "an .npy file", ".npz": "an .npz archive", ".pt": "a file of torch", ".h5": "an HDF5 file",
          ".hdf5": "an .hdf5 file", ".pkl": "a pickle"}


# --- what a file holds ------------------------------------------------------------------------------------------------


def array_in(content):
    """The array of one video in what a file holds: itself, the one called `feats` or `features`, or the only one.

    content: an array, a tensor, an HDF5 dataset, the `Noted` of a pickle, or a mapping of names to such
    SpotError where there are several arrays, or none.
    """
    content = pickles.unwrapped(content)
    keys = _keys_in(content)
    if keys is not None:
        key = next((key for key in FEATURE_KEYS if key in keys), keys[0] if len(keys) == 1 else None)
        if key is None:
            named = ", ".join(_shown(key) for key in keys[:5])
            raise SpotError(f"it holds {named or 'nothing'}; name the features feats or features, or, where these are "
                            "videos, give the file itself as dataset.feature_path")
        return array_in(_member(content, key))
    if isinstance(content, h5py.Dataset):
        _refuse_claim(content.nbytes, MAX_COMPRESSION * content.id.get_storage_size())
        return content[()]
    if hasattr(content, "untyped_storage"):
        return _array_of_tensor(content)
    return np.array(content) if isinstance(content, np.ndarray) else pickles.array_of(content)


def videos_in(content):
    """{video: the keys that lead to its array} of what a file with many videos holds; None for a file of one video.

    A file of many is a mapping with several arrays, perhaps one mapping per subset, perhaps all under `features`; an
    HDF5 file is one as well where it holds a single dataset of another name. SpotError for streams of one video.
    """
    content = pickles.unwrapped(content)
    keys = _keys_in(content)
    if isinstance(content, h5py.File) and not keys:
        raise SpotError("holds no dataset; expected one per video")
    if not keys:
        return None
    named = next((key for key in FEATURE_KEYS if key in keys), None)
    if named is not None or (len(keys) == 1 and not isinstance(content, h5py.File)):
        only = keys[0] if named is None else named
        inner = videos_in(_member(content, only))
        return None if inner is None else {video: (only, *path) for video, path in inner.items()}
    if {str(key).lower() for key in keys} <= STREAM_NAMES:
        raise SpotError(f"it holds {', '.join(sorted(map(_shown, keys)))}, streams of one video; save each one in a "
                        "file of its own and give both paths")
    # Of thousands of HDF5 datasets none is opened here: the first one tells whether they lie in groups.
    if isinstance(content, h5py.Group) and not _is_group(content, keys[0]):
        return {key: (key,) for key in keys}
    inner = {key: videos_in(_member(content, key)) for key in keys}
    if any(videos is not None for videos in inner.values()):  # a mapping per subset, of which one may hold one video
        inner = {key: videos or _only_video(_member(content, key)) for key, videos in inner.items()}
    found = {}
    for key, videos in inner.items():
        found |= {str(key): (key,)} if not videos else {video: (key, *path) for video, path in videos.items()}
    return found


def _only_video(content):
    """As `videos_in`, of a subset with one video; None where it is an array, or a video's with facts beside it."""
    keys = _keys_in(pickles.unwrapped(content))
    return None if not keys or set(keys) & {*FEATURE_KEYS} else {str(keys[0]): (keys[0],)}


def member_at(content, keys):
    """The member of a mapping to which a series of keys leads."""
    for key in keys:
        content = _member(pickles.unwrapped(content), key)
    return content


def _keys_in(content):
    """The keys of a mapping under which there may be arrays, None for what is no mapping."""
    if not isinstance(content, Mapping):
        return None
    if not isinstance(content, dict):
        return list(content)
    # Facts beside the arrays, such as the frame rate, are no features.
    return [key for key, value in content.items() if key in FEATURE_KEYS or isinstance(value, Mapping)
            or (isinstance(value, pickles.Noted) and not value.is_scalar()) or hasattr(value, "shape")]


def _is_group(content, key):
    return (isinstance(content.get(key, getlink=True), h5py.HardLink)
            and content.get(key, getclass=True) is h5py.Group)


def _shown(key):
    return " ".join(str(key).split())[:40]


def _array_of_tensor(tensor):
    import torch

    _refuse_claim(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
    # numpy has no bfloat16
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()


def _refuse_claim(claimed, held):
    """SpotError before memory is taken for more bytes than a file can hold; a few are given to every file."""
    if claimed > max(held, 1 << 20):
        raise SpotError(f"it claims {claimed:,} bytes of numbers, which it does not hold; copy or make it again")


def _member(content, key):
    """A member of a mapping; of an HDF5 group, SpotError where it lies in another file: links may point anywhere."""
    if not isinstance(content, h5py.Group):
        return content[key]
    member = content[key] if isinstance(content.get(key, getlink=True), h5py.HardLink) else None
    if member is None or (isinstance(member, h5py.Dataset) and (member.external or member.is_virtual)):
        raise SpotError(f"the HDF5 dataset {key!r} lies in another file; store the features themselves")
    return member
