"""One feature file of the field -> its array, or its arrays by video.

Torch is needed, and imported, for the files of torch only. No file can run code: of a pickle, only its arrays are read.
"""

import contextlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from spot import pickles
from spot.errors import SpotError
from spot.feature_content import array_in
from spot.feature_csv import read_csv
from spot.streams import join_streams

H5_SUFFIXES = (".h5", ".hdf5")
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
        # Whether torch.save or pickle.dump wrote a file, its suffix often does not show.
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


def _read_npy(path):
    with path.open("rb") as file:
        if _holds_objects(file):
            return pickles.load(file)
    # Mapped: a header that claims more than the file holds is refused before memory is taken for it.
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _holds_objects(file):
    """Read the header of an open .npy file: does a pickle follow instead of numbers?"""
    if file.read(8)[6:7] not in (b"\x01", b"\x02"):
        return False  # of version 3, or none at all: numpy refuses it
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
    ".csv": read_csv,
    ".npy": _read_npy,
    ".npz": _Archive,
    **dict.fromkeys(TORCH_SUFFIXES, _read_pt),
    **dict.fromkeys(H5_SUFFIXES, _read_h5),
    **dict.fromkeys(PICKLE_SUFFIXES, _read_pickle),
}
TITLES = {".npy": "an .npy file", ".npz": "an .npz archive", ".pt": "a file of torch", ".h5": "an HDF5 file",
          ".hdf5": "an .hdf5 file", ".pkl": "a pickle"}
