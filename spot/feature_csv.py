"""A CSV of features, with or without a header and numbers of its rows -> its array."""

import csv
import io
import itertools

import numpy as np
import pandas as pd

from spot.errors import SpotError
from spot.text import delimiter_of, read_text

# Titles of a column that only numbers the rows of a CSV.
ROW_TITLES = ("", "unnamed: 0", "index", "snippet", "frame", "row", "id")


def is_text_table(path):
    """Is a CSV a table of words, such as a list of videos, where features would have numbers?"""
    try:
        text = read_text(path).lstrip()
    except SpotError:
        return False
    rows = list(itertools.islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text)), 2))
    return len(rows) == 2 and any(_number_in(cell) is None for cell in rows[1])


def read_csv(path):
    """(rows, columns) float32 of a CSV; SpotError for one without a row of features."""
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
