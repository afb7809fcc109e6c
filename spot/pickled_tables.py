"""Tables in a pickle, read without running it: a pandas data frame, or a dict of columns. No torch, no pandas."""

import re

import numpy as np

from spot.errors import SpotError
from spot.files import opened
from spot.pickles import Noted, NotingUnpickler, array_of

# Only noted, so that it does no harm to let all names of pandas pass.
NAMES_IN_FRAMES = re.compile(r"pandas\.|(builtins|__builtin__)\.slice$|copyreg\._reconstructor$|builtins\.object$")


class _FrameUnpickler(NotingUnpickler):
    """The reader of `spot.pickles` that notes the names of pandas, too."""

    advice = "save the table as CSV"

    def is_known(self, name):
        """May this name stand in the file?"""
        return super().is_known(name) or NAMES_IN_FRAMES.match(name) is not None


def read_pickled_table(path):
    """{column: list of values} of a pickled data frame, or of a pickled dict of lists and arrays of one length.

    path: of the file, perhaps packed with gzip. SpotError for what is neither, and for a broken file.
    """
    try:
        with opened(path) as file:
            try:
                columns = _columns_of(_FrameUnpickler(file, encoding="latin1").load())
            except EOFError as error:
                raise SpotError("it ends too early") from error
    except SpotError as error:
        raise error if str(error).startswith(str(path)) else SpotError(f"{path}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise SpotError(f"{path}: is broken as a pickle; was it fully downloaded?") from error
    except Exception as error:  # what the reader raises for damaged bytes is not documented
        raise SpotError(f"{path}: is broken as a pickle ({type(error).__name__}); was it fully downloaded?") from error
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise SpotError(f"{path}: its columns have different lengths: "
                        + ", ".join(f"{name} {length}" for name, length in lengths.items()))
    return columns


def _columns_of(content):
    if isinstance(content, dict):
        return {str(name): _values_of(values) for name, values in content.items()}
    manager = next((found for found in _walk(content) if found.name.endswith("BlockManager")), None)
    if manager is None:
        raise SpotError("it holds no table; expected a pandas data frame or a dict of columns")
    axes, blocks = _axes_and_blocks(manager)
    names = [str(name) for name in _rows_of(_index_data(axes[0]))[0]]
    columns = [None] * len(names)
    for values, places in blocks:
        rows = _rows_of(values)
        for place, row in zip(_places_of(places), rows, strict=True):
            columns[place] = row
    return dict(zip(names, columns, strict=True))


def _axes_and_blocks(manager):
    """The axes and the (values, places) of the blocks of a pandas block manager, of version 1.3 on or before."""
    if len(manager.arguments) >= 2:
        blocks, axes = manager.arguments[:2]
        return axes, [block.arguments[:2] for block in blocks]
    store = manager.state[-1]["0.14.1"]
    return store["axes"], [(block["values"], block["mgr_locs"]) for block in store["blocks"]]


def _index_data(index):
    return index.arguments[1]["data"]


def _places_of(places):
    if isinstance(places, Noted) and places.name.endswith("slice"):
        return range(*places.arguments)
    return array_of(places).tolist()


def _rows_of(values):
    """The columns that a block holds, each a list; a block of text may be wrapped into an array type of pandas."""
    array = next((found for found in _walk(values) if _is_array(found)), None)
    if array is None:
        raise SpotError("it holds a column that is no numpy array; save the table as CSV")
    rows = _array_values(array)
    return rows.tolist() if rows.ndim == 2 else [rows.tolist()]


def _values_of(values):
    """A list of values from a list, or from the `Noted` of an array."""
    if isinstance(values, Noted):
        return _array_values(values).ravel().tolist()
    if isinstance(values, list | tuple):
        return [_scalar(value) for value in values]
    raise SpotError(f"it holds a {type(values).__name__} where a column is expected")


def _scalar(value):
    if not (isinstance(value, Noted) and value.is_scalar()):
        return value
    dtype, data = value.arguments
    code = str(dtype.arguments[0])
    if not re.fullmatch(r"[fiubU]\d{1,5}", code):
        raise SpotError(f"it holds a value of the type {code[:20]!r}; save the table as CSV")
    data = data.arguments[0] if isinstance(data, Noted) else data
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, code)[0].item()


def _array_values(noted):
    """An array of numbers, text or any plain values from its `Noted`."""
    if noted.name.endswith("._reconstruct") and noted.state is not None:
        shape, dtype, is_fortran, elements = noted.state[-4:]
        code = str(dtype.arguments[0])
        if code.startswith("O") and isinstance(elements, list):
            array = np.empty(len(elements), object)
            array[:] = [_scalar(element) for element in elements]
            return array.reshape(shape, order="F" if is_fortran else "C")
        if re.fullmatch(r"U\d{1,5}", code):
            data = elements.arguments[0].encode("latin1") if isinstance(elements, Noted) else elements
            return np.frombuffer(data, dtype.state[1].replace("|", "=") + code).reshape(shape)
    return array_of(noted)


def _is_array(noted):
    return noted.name.endswith(("._reconstruct", "._frombuffer"))


def _walk(content):
    """Every `Noted` in a pickle's content, outer ones first."""
    waiting = [content]
    seen = set()
    while waiting:
        content = waiting.pop(0)
        if id(content) in seen:
            continue
        seen.add(id(content))
        if isinstance(content, Noted):
            yield content
            waiting += [content.arguments, content.state]
        elif isinstance(content, dict):
            waiting += content.values()
        elif isinstance(content, list | tuple):
            waiting += [part for part in content if isinstance(part, Noted | dict | list | tuple)]
