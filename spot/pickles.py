"""The arrays in a pickle, read without running it: nothing that it names is imported or called. No torch.

A pickle is a program that calls what it names. Here a name is only noted, with what it would have been called with, and
names that arrays do not need are refused; the arrays are then built from the noted numbers and bytes.
"""

import pickle
import re

import numpy as np

from spot.files import SpotError

# `numpy.core` became `numpy._core` in numpy 2; bytes are text and `encode` below pickle protocol 3.
NEEDED_BY_ARRAYS = {
    "numpy.ndarray", "numpy.dtype", "_codecs.encode", "__builtin__.bytes",
    *(f"numpy.{core}.{name}" for core in ("core", "_core")
      for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")),
}


class Noted:
    """A name in a pickle, or what a call of it would have made: arguments and state as they stand in the file."""

    def __init__(self, name, arguments=()):
        self.name, self.arguments, self.state = name, arguments, None

    def __call__(self, *arguments):
        return Noted(self.name, arguments)

    def __setstate__(self, state):
        self.state = state

    def is_scalar(self):
        """Is it a single number of numpy?"""
        return self.name.endswith(".scalar")


class NotingUnpickler(pickle._Unpickler):
    """Python's reader written in Python: the one in C takes memory for whatever a few damaged bytes claim.

    So does its opcode for byte arrays, which are read as bytes.
    """

    dispatch = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: pickle._Unpickler.load_binbytes8}  # noqa: RUF012
    advice = "save the features with numpy.save as .npy"

    def load_newobj(self):
        """Note an object that would be made from its class, instead of making it."""
        arguments = self.stack.pop()
        self.append(self.stack.pop()(*arguments))

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def is_known(self, name):
        """May this name stand in the file?"""
        return name in NEEDED_BY_ARRAYS

    def find_class(self, module, name):
        """What a name in the file is noted as; SpotError for one that may not stand there."""
        wanted = f"{module}.{name}"
        if wanted == "collections.OrderedDict":
            return dict
        if not self.is_known(wanted):
            shown = " ".join(wanted.split())[:80]
            raise SpotError(f"it holds {shown}, which is no array, and opening that can run code; {self.advice}")
        return Noted(wanted)


def load(file):
    """The content of a pickle (an open binary file): plain values, and a `Noted` for each array in it.

    Pickles of every protocol, Python 2 and numpy 1 are read. SpotError where it holds anything else than plain values
    and numpy arrays.
    """
    return NotingUnpickler(file, encoding="latin1").load()  # how Python 2 stored the bytes of an array


def unwrapped(content):
    """What numpy stored as an object array of one element, such as `numpy.save("x.npy", a_dict)`; all else as it is."""
    objects = _objects_of(content)
    return content if objects is None or len(objects[0]) != 1 else objects[0][0]


def _objects_of(content):
    """(the elements, the shape) of an object array, None for anything else."""
    if not (isinstance(content, Noted) and content.name.endswith("._reconstruct") and content.state):
        return None
    shape, dtype, _, elements = content.state[-4:]
    return (elements, shape) if dtype.arguments[0] == "O8" and isinstance(elements, list) else None


def _array_of_objects(elements, shape):
    """Numbers, or one array of numbers per snippet, that numpy stored as objects -> the array of numbers."""
    if elements and all(isinstance(element, int | float) for element in elements):
        return np.array(elements, float).reshape(shape)
    rows = [array_of(element) for element in elements if isinstance(element, Noted)]
    if len(rows) < len(elements) or len({row.shape for row in rows}) != 1 or rows[0].ndim != 1:
        found = ", ".join(sorted({_kind_of(element) for element in elements})) or "nothing"
        raise SpotError(f"its array holds objects ({found}), not numbers; save the features as floats")
    return np.stack(rows)


def _kind_of(content):
    return "arrays" if isinstance(content, Noted) else type(content).__name__


def array_of(content):
    """A numpy array from the `Noted` that `load` has for it; SpotError for what is no array of numbers."""
    objects = _objects_of(content)
    if objects is not None:
        return _array_of_objects(*objects)
    kind = content.name.rpartition(".")[2] if isinstance(content, Noted) else None
    if kind == "_reconstruct":
        shape, dtype, is_fortran, data = content.state[-4:]
        order = "F" if is_fortran else "C"
    elif kind == "_frombuffer":  # pickle protocol 5
        data, dtype, shape, order = content.arguments[:4]
    else:
        raise SpotError(f"it holds a {kind or type(content).__name__}; expected an array, or a dict with one that is "
                        "called feats or features")
    return np.frombuffer(_bytes_of(data), _dtype_of(dtype)).reshape(shape, order=order)


def _dtype_of(noted):
    code, byte_order = noted.arguments[0], noted.state[1]
    # Numbers only: with other types numpy would follow what the file says of memory.
    if not re.fullmatch(r"[fiub]\d{1,2}", code) or byte_order not in tuple("<>=|"):
        raise SpotError(f"its array has the type {str(code)[:20]!r}, not numbers; save the features as floats")
    return np.dtype(code).newbyteorder(byte_order)


def _bytes_of(data):
    if isinstance(data, Noted):
        data = data.arguments[0] if data.arguments else ""
    return data.encode("latin1") if isinstance(data, str) else data
