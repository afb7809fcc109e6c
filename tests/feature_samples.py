"""A small array of features, and how to write it in every format."""

import pickle

import h5py
import numpy as np
import torch

C, LENGTH = 3, 5
# Snippet t, channel c holds 10 t + c, so a transposed array shows.
SNIPPETS = np.array([[10 * t + c for c in range(C)] for t in range(LENGTH)], dtype=np.float32)  # (T', C)


def write_h5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file[name] = array
    return path


def write_csv(path, array, header):
    lines = [",".join(map(str, row)) for row in array.tolist()]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    return path


def save(path, array):
    """Write `array` in the format of the suffix."""
    if path.suffix == ".csv":
        write_csv(path, array, ",".join(f"f{c}" for c in range(array.shape[1])))
    elif path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, feats=array)
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(array), path)
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({"feats": array}))
    else:
        write_h5(path, feats=array)
    return path
