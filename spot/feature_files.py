"""One feature file of the field -> its array, and the streams of one video -> (C, T').

Torch is needed, and imported, for `.pt` files only. No file can run code: of a pickle, only its arrays are read.
"""

import contextlib
import csv
import itertools
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from spot import pickles
from spot.files import SpotError

H5_SUFFIXES = (".h5", ".hdf5")
# Two streams of one video may end apart (optical flow has one frame less): up to this share of the longer is cut off.
MAX_LENGTH_DIFFERENCE = 0.05
# No compression makes more of a byte than deflate's 1032; a dataset that claims more was never written.
MAX_COMPRESSION = 1032


def read_feature(path, feat_dim):
    """Read the features of one video from a .csv, .npy, .npz, .pt, .pkl or .h5 file.

    The file holds (T', C) or (C, T') floats, told apart by `feat_dim` = C; a square one is taken as (T', C). CSV may
    have a header. In .npz, .pt, .pkl and .h5 the array is the one called `feats` or `features`, or the only one.
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
        return only_array(archive)


def _read_pt(path):
    import torch  # only here: annotation, packing and evaluation tools run without it

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch reads tensors only; `torch.save` of an array is common too
        return _read_pt_of_arrays(path)
    tensor = only_array(content) if isinstance(content, dict) else content
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
    return pickles.array_of(only_array(content) if isinstance(content, dict) else content)


def _read_h5(path):
    with h5py.File(path, "r") as file:
        return only_array(file)


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


def only_array(content):
    """The array called `feats` or `features`, or the only one, of an archive, a dict, or an HDF5 group.

    SpotError where there are several, or none.
    """
    if isinstance(content, h5py.Dataset):
        _refuse_claim(content.nbytes, MAX_COMPRESSION * content.id.get_storage_size())
        return content[()]
    keys = list(content)
    key = next((key for key in ("feats", "features") if key in keys), keys[0] if len(keys) == 1 else None)
    if key is None:
        named = ", ".join(" ".join(str(key).split())[:40] for key in keys[:5])
        raise SpotError(f"it holds {named or 'nothing'}; name the features feats or features")
    return only_array(own_member(content, key)) if isinstance(content, h5py.Group) else content[key]


def own_member(group, key):
    """A member of an HDF5 group; SpotError where it lies in another file: links may point anywhere."""
    member = group[key] if isinstance(group.get(key, getlink=True), h5py.HardLink) else None
    if member is None or (isinstance(member, h5py.Dataset) and (member.external or member.is_virtual)):
        raise SpotError(f"the HDF5 dataset {key!r} lies in another file; store the features themselves")
    return member


def join_streams(arrays, feat_dim, where):
    """Arrays (T', C_i) or (C_i, T') of one video, channels adding up to `feat_dim` -> (C, T') float32.

    SpotError, `where: reason`, for what `read_feature` refuses, and for streams of different lengths.
    """
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
