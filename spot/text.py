"""Text of users: lines, tables, numbers and the ids of videos. No torch."""

import csv
import math
import re
from pathlib import Path, PurePosixPath

from spot.errors import SpotError


def match_name(video_id, names):
    """The name in `names` that `video_id` means, with or without `v_`; None where there is none."""
    video_id = str(video_id)
    return next((name for name in (video_id, video_id.removeprefix("v_"), f"v_{video_id}") if name in names), None)


def check_video_id(video_id, where):
    """Refuse, with SpotError, an id that could name a file outside the feature folder; where: words for the message."""
    path = PurePosixPath(video_id.replace("\\", "/"))  # Windows separators lead outside just as well
    outside = path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", video_id)
    if not video_id.strip() or outside or not video_id.isprintable():
        raise SpotError(f"{where}: the video id {video_id!r} is not a plain name; an id must not lead out of a folder")


def read_table(path):
    """Read a CSV with a header: its columns, and its rows as dicts; ids such as 0001447 or NA keep their spelling.

    A row that is shorter or longer than the header is a SpotError: the last one of a file that was cut off is.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except OSError as error:
        raise SpotError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpotError(f"{path}: is not a CSV table ({error}); was it fully downloaded?") from error
    if not rows:
        raise SpotError(f"{path}: is not a CSV table (it is empty); was it fully downloaded?")
    (_, columns), *rows = rows
    for line, row in rows:
        if len(row) != len(columns):
            raise SpotError(f"{path}: is not a CSV table (line {line} has {len(row)} cells, the header "
                            f"{len(columns)}); was it fully downloaded?")
    return columns, [dict(zip(columns, row, strict=True)) for _, row in rows]


def read_lines(path):
    """The non-empty lines of a text file, stripped; SpotError where it is missing or no text."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpotError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except UnicodeDecodeError as error:
        raise SpotError(f"{path}: is not UTF-8 text; expected one name per line") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def number(value, where):
    """A finite float from a number or its text (AFSD and G-TAD write segments as text); SpotError for another value."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise SpotError(f"{where}: {short(value)} is not a finite number; mend it or take it out")
    return number


def short(value):
    """The repr of a value, cut where it is long."""
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "..."


def listing(names):
    """`'a', 'b' and 3 more are`: at most five names for a message."""
    shown = ", ".join(repr(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{shown}{more} {'is' if len(names) == 1 else 'are'}"
