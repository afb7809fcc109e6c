"""The feature arrays of one video, one per stream -> (C, T'). Pure numpy."""

import itertools

import numpy as np

from spot.errors import SpotError

# Two streams of one video may end apart (optical flow has one frame less): up to this share of the longer is cut off.
MAX_LENGTH_DIFFERENCE = 0.05


def join_streams(arrays, feat_dim, where, resample=False, orientation_of_set=None):
    """Arrays (T', C_i) or (C_i, T') of one video, channels adding up to `feat_dim` -> (C, T') float32.

    where:    words for messages
    resample: streams of different length are resampled to the longest (linear), instead of cut to the shortest
    orientation_of_set: a function without arguments, called for arrays that fit both ways; its tuple holds, for each
        stream, whether rows are snippets: (T', C_i). None: they are.
    SpotError, `where: reason`, for what `feature_files.read_feature` refuses, and for streams of different lengths.
    """
    arrays = [np.asarray(array) for array in arrays]
    for array in arrays:
        _refuse_no_features(array, where)
    fitting = orientations(arrays, feat_dim, resample)
    if not fitting:
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise SpotError(f"{where}: found shape {shapes}, expected {feat_dim} channels; set model.feat_dim or the path")
    wanted = orientation_of_set() if len(fitting) > 1 and orientation_of_set else fitting[0]
    chosen = wanted if wanted in fitting else fitting[0]
    streams = [array.T if rows else array for array, rows in zip(arrays, chosen, strict=True)]  # (C_i, T') each
    joined = np.concatenate(_of_one_length(streams, where, resample))
    _refuse_not_finite(joined, where)
    return np.ascontiguousarray(joined)


def orientations(arrays, feat_dim, resample=False):
    """The ways to read the streams of one video that give `feat_dim` channels: tuples, True = rows are snippets.

    Where some make the streams equally long, only these; snippets in all rows come first.
    """
    ways = [way for way in itertools.product((True, False), repeat=len(arrays))
            if sum(array.shape[rows] for array, rows in zip(arrays, way, strict=True)) == feat_dim]
    agreeing = [way for way in ways
                if _lengths_agree([array.shape[not rows] for array, rows in zip(arrays, way, strict=True)], resample)]
    return agreeing or ways


def _of_one_length(streams, where, resample):
    """Streams (C_i, T'_i) as float32 of one length: cut to the shortest, or resampled to the longest."""
    lengths = [stream.shape[1] for stream in streams]
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes Inf, and is refused as such
        streams = [stream.astype(np.float32) for stream in streams]
    if _lengths_agree(lengths, resample):
        return [stream[:, : min(lengths)] for stream in streams]
    if resample:
        return [resampled(stream, max(lengths)) for stream in streams]
    shapes = " and ".join(str(stream.T.shape) for stream in streams)
    raise SpotError(f"{where}: streams of shape {shapes} differ by more than 5 % in length; where they "
                    "have different rates, dataset.resample_streams=true resamples them to the longest; else extract "
                    "them again")


def _lengths_agree(lengths, resample):
    # On request, only the frame that optical flow lacks is no difference of rate.
    return max(lengths) - min(lengths) <= (1 if resample else max(1, MAX_LENGTH_DIFFERENCE * max(lengths)))


def resampled(stream, length):
    """A stream (C_i, T') at `length` times that cover the same time evenly, linear between the centers of snippets."""
    place = (np.arange(length) + 0.5) * stream.shape[1] / length - 0.5
    place = place.clip(0, stream.shape[1] - 1)
    before = np.floor(place).astype(int)
    share = (place - before).astype(np.float32)
    after = np.minimum(before + 1, stream.shape[1] - 1)
    return stream[:, before] * (1 - share) + stream[:, after] * share


def _refuse_no_features(array, where):
    if array.ndim != 2 or array.dtype.kind != "f":
        raise SpotError(f"{where}: shape {array.shape} of {array.dtype}; features are floats, snippets x channels: "
                        "convert them")
    if 0 in array.shape:
        raise SpotError(f"{where}: shape {array.shape}; there is no snippet in it, extract the features again")


def _refuse_not_finite(joined, where):
    finite = np.isfinite(joined)
    if not finite.all():
        channel, snippet = np.argwhere(~finite)[0]
        found = f"{finite.size - finite.sum()} values are NaN or Inf, first in snippet {snippet}, channel {channel}"
        raise SpotError(f"{where}: {found}; extract the features again")
