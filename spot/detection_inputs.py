"""What a user gives `spot.detect`, in whatever form -> one array and one number per recording. No config."""

import math
from numbers import Real

import numpy as np

from spot.errors import SpotError
from spot.limits import shown


def recordings_of(features, feat_dim):
    """The arrays (C, T') of one recording or many, as float32; features: an array or tensor, or a list of them.

    A (B, C, T') array is B recordings. SpotError, with the number of the recording, for another shape, no snippet,
    text, or a value that is NaN or Inf.
    """
    many = isinstance(features, list | tuple) or getattr(features, "ndim", 2) == 3
    arrays = [_array_of(one) for one in (features if many else [features])]
    return [_checked(array, feat_dim, _which(index, len(arrays))) for index, array in enumerate(arrays)]


def _checked(array, feat_dim, which):
    if array.dtype.kind not in "fiu":
        kind = "text" if array.dtype.kind in "US" else array.dtype
        raise SpotError(f"detect: features{which} are {kind}; expected numbers, an array (C, T') with C = "
                        f"{feat_dim}")
    if array.ndim != 2 or len(array) != feat_dim:
        hint = "; transpose it" if array.ndim == 2 and array.shape[1] == feat_dim else ""
        raise SpotError(f"detect: features{which} have shape {array.shape}; expected (C, T') with C = {feat_dim}{hint}")
    if not array.shape[1]:
        raise SpotError(f"detect: features{which} have shape {array.shape}; there is no snippet in it")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, np.float32)
    finite = np.isfinite(array)
    if not finite.all():
        channel, snippet = np.argwhere(~finite)[0]
        raise SpotError(f"detect: features{which} have {finite.size - finite.sum()} values that are NaN or Inf, first "
                        f"in snippet {snippet}, channel {channel}; extract them again")
    return array


def numbers_of(value, count, name):
    """A positive number or None for each of `count` recordings, as a list.

    value: one for all, or a list, array, tensor or column of them; name: of the argument, for messages
    SpotError for another number of them, for text, and for what is not positive and finite.
    """
    if isinstance(value, str | bytes | dict | set):
        raise SpotError(f"detect: {name} is {shown(value)}; it must be a number, None, or a list with one for each "
                        "recording")
    if isinstance(value, list | tuple):
        items = list(value)
    else:
        array = _array_of(value)
        items = [array.item() if array.size == 1 else array] * count if array.ndim == 0 else list(array)
        if array.ndim > 1:
            raise SpotError(f"detect: {name} has shape {array.shape}; it must be one number for each recording")
    if len(items) != count:
        raise SpotError(f"detect: {count} recordings and {len(items)} values of {name}; give one for each recording")
    return [_number(item, name, _which(index, count)) for index, item in enumerate(items)]


def _number(value, name, which):
    value = value.item() if getattr(value, "shape", None) == () else value  # a scalar of numpy or torch
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if value is not None and not (is_number and math.isfinite(value) and value > 0):
        raise SpotError(f"detect: {name}{which} is {shown(value)}; it must be a positive number or None")
    return None if value is None else float(value)


def centers_of(value, features):
    """The (T',) centers of the snippets of each recording in seconds, or None where stride and fps give them: a list.

    value: None, an array (T',) of one recording, or a list with an array or None for each
    features: list of (C, T') arrays. SpotError for another number of them, and where they do not increase.
    """
    if value is None:
        return [None] * len(features)
    is_one = np.ndim(value[0]) == 0 and value[0] is not None if len(value) else True
    items = [value] if is_one else list(value)
    if len(items) != len(features):
        raise SpotError(f"detect: {len(features)} recordings and centers_sec for {len(items)}; give an array for each")
    arrays = [None if item is None else _array_of(item) for item in items]
    for index, (array, x) in enumerate(zip(arrays, features, strict=True)):
        which = _which(index, len(arrays))
        if array is None:
            continue
        if array.shape != x.shape[1:] or array.dtype.kind not in "fiu":
            raise SpotError(f"detect: centers_sec{which} has shape {array.shape} of {array.dtype}; expected the "
                            f"seconds of {x.shape[1]} snippets")
        if not np.isfinite(array).all() or array[0] < 0 or (np.diff(array) <= 0).any():
            raise SpotError(f"detect: centers_sec{which} does not increase from 0 s on; give the time of each snippet")
    return arrays


def external_of(external, count, num_classes):
    """Class probabilities of another classifier for each recording, a list of (K,) arrays or of None.

    external: None, (K,) for all, or a list or array with one for each. SpotError for other shapes, and where some of
    the recordings have none. num_classes: K, None where the model does not state it: then those of the first recording
    """
    if external is None:
        return [None] * count
    if isinstance(external, str | bytes | dict | set | Real) or getattr(external, "ndim", 1) == 0:
        raise SpotError(f"detect: external is {shown(external)}; it must be None, (K,), or a list with one for each "
                        "recording")
    is_one = not any(one is None for one in external) and np.ndim(external[0]) == 0 if len(external) else False
    items = [external] * count if is_one else list(external)
    if len(items) != count:
        raise SpotError(f"detect: {count} recordings and external scores for {len(items)}; give (K,) for each")
    if any(item is None for item in items):
        if all(item is None for item in items):
            return items
        raise SpotError("detect: external has scores for some recordings only; give zeros for those without")
    arrays = [_array_of(item) for item in items]
    if num_classes is None and arrays and arrays[0].ndim == 1:
        num_classes = len(arrays[0])
    wanted = "a probability" if num_classes is None else f"{num_classes} probabilities, one"
    for index, array in enumerate(arrays):
        if array.shape != (num_classes,) or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise SpotError(f"detect: external{_which(index, count)} has shape {array.shape} of {array.dtype}; "
                            f"expected {wanted} for each class")
    return arrays


def _array_of(value):
    """A numpy array of what may be an array, a tensor on any device, a column of a table, or a number."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value  # numpy has no bfloat16
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:80]
        raise SpotError(f"detect: a {type(value).__name__} is no array ({reason})") from error


def _which(index, count):
    return "" if count == 1 else f" of recording {index + 1} of {count}"
