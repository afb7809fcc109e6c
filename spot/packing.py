"""The features of many videos in one HDF5 file, which loads faster and is checked when it is written."""

import contextlib
import json
import zlib
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from spot.files import SpotError, flush, locked

# A killed `pack` loses at most this many videos of work.
FLUSH_EVERY = 64
# Root mean square of what rounding changes, as a share of the deviation of a channel over all videos: more is refused.
# 100 +- 1 in float16 is 0.018, 20000 +- 3 is 1.5.
MOST_ROUNDING = 0.02


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
                rounding = _Rounding(source.feat_dim)
                for count, name in enumerate(tqdm(names, desc=f"packing {path.name}", unit="video", disable=None)):
                    if name not in file:
                        array = source.read(name).T
                        rounding.add(name, array, _write_dataset(file, name, array, dtype, source))
                    else:  # of a killed run
                        rounding.add(name, file[name][()], None)
                    if count % FLUSH_EVERY == FLUSH_EVERY - 1:
                        file.flush()
                        _refuse_coarse(rounding, partial, dtype, source)
                _refuse_coarse(rounding, partial, dtype, source)
                for name in set(file) - set(names):
                    del file[name]
            _verify(partial, names, path.name)
            flush(partial)
            partial.replace(path)
            flush(path.parent)
    except (OSError, RuntimeError) as error:  # h5py raises either one on a full disk
        raise SpotError(f"{path}: packing stopped ({error}); mend the cause and run it again to continue") from error
    return len(names)


class _Rounding:
    """What rounding does to each channel, beside how much the channel varies, over all videos so far."""

    def __init__(self, feat_dim):
        self.count, self.written, self.example = 0, 0, np.full(feat_dim, None, object)
        self.total, self.square, self.error, self.worst = (np.zeros(feat_dim) for _ in range(4))

    def add(self, name, array, stored):
        """Take in a video (T', C) and what was stored of it; None where it was stored by an earlier run."""
        array = array.astype(np.float64)
        self.count += len(array)
        self.total += array.sum(0)
        self.square += np.square(array).sum(0)
        if stored is not None:
            error = np.square(array - stored).sum(0)
            self.written += len(array)
            self.error += error
            more = error / len(array) > self.worst
            self.worst[more], self.example[more] = error[more] / len(array), name

    def worst_channel(self):
        """(channel, a video, its mean, deviation and rounding) where rounding is too coarse, None where it is not."""
        mean = self.total / max(self.count, 1)
        deviation = np.sqrt(np.maximum(self.square / max(self.count, 1) - mean**2, 0))
        rounding = np.sqrt(self.error / max(self.written, 1))
        # What varies by the last digits of float32 alone is constant: it may be rounded away.
        share = np.divide(rounding, deviation, out=np.zeros_like(mean), where=deviation > 1e-6 * np.abs(mean))
        channel = int(share.argmax())
        if share[channel] <= MOST_ROUNDING:
            return None
        return channel, self.example[channel], mean[channel], deviation[channel], rounding[channel]


def _refuse_coarse(rounding, partial, dtype, source):
    """SpotError where a channel would be flattened; the unfinished file goes, as it cannot be continued."""
    found = rounding.worst_channel()
    if found:
        channel, name, mean, deviation, error = found
        partial.unlink()
        raise SpotError(f"{source.path_of(name)}: channel {channel} varies by {deviation:.3g} about {mean:.6g}, and "
                        f"{dtype} would change its values by {error:.3g}; pack with --dtype float32")


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
    return stored


def _verify(partial, names, title):
    """Read every dataset back and compare with its CRC; then sign the file with the checksum over all of them."""
    checksum = 0
    with h5py.File(partial, "r+") as file:
        for name in tqdm(names, desc=f"verifying {title}", unit="video", disable=None):
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
