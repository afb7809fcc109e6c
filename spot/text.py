"""Text as users have it: bytes -> characters, lines and tables; one spelling of labels and ids; numbers. No torch.

Every reader of the project decodes its files here, and spells what it finds by `clean`, so that a byte order mark, a
space at the end or another Unicode form is never another class or another video.
"""

import csv
import gzip
import io
import math
import re
import unicodedata
import zlib
from fractions import Fraction

from spot.errors import SpotError

HEAD_BYTES = 512  # of a file, which show what it is
MAX_UNPACKED = 2 << 30  # a gzip file of a few megabytes can claim any size
UNREADABLE = (OSError, EOFError, zlib.error)  # what reading a file raises; the last two where a gzip file is damaged

GZIP = b"\x1f\x8b"
MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"),
         (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
UNPACK, CONVERT = "unpack it", "is it the right file?"
# What is given for a text file by mistake: how it begins, what it is, what to do.
KINDS = (
    (rb"PK\x03\x04", "a zip archive (as .npz, .pt and .xlsx files are)", CONVERT),
    (rb"\x93NUMPY", "a numpy array", CONVERT),
    (rb"\x89HDF\r\n", "an HDF5 file", CONVERT),
    (rb"\x80[\x02-\x05]|\(dp\d|\(lp\d|cnumpy", "a pickle", "write it as JSON: a pickle can run code"),
    (rb"BZh\d", "a bzip2 file", UNPACK),
    (rb"\xfd7zXZ\0", "an xz file", UNPACK),
    (rb"\x28\xb5\x2f\xfd", "a zstd file", UNPACK),
    (rb"7z\xbc\xaf|Rar!", "an archive", UNPACK),
    (rb".{257}ustar", "a tar archive", UNPACK),
    (rb"%PDF|\x89PNG|\xff\xd8\xff|GIF8", "a picture or a PDF", CONVERT),
    (rb"....ftyp|RIFF|\x1aE\xdf\xa3", "a video or a sound", CONVERT),
    (rb"MATLAB 5", "a MATLAB file", CONVERT),
    (rb"PAR1|SQLite format 3", "a data base", CONVERT),
    (rb"version https://git-lfs", "only the note that Git LFS keeps instead of the file", "fetch it with git lfs pull"),
    (rb"\s*<(!doctype|!--|html|\?xml)", "a web page, or XML", "was the page of a download saved instead of its file?"),
)
KINDS = tuple((re.compile(start, re.DOTALL | re.IGNORECASE), kind, advice) for start, kind, advice in KINDS)

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f"  # no width: nobody sees that they are there
NEVER_MEANT = re.compile("[\u200b\u2060\ufeff\u00ad]")  # joiners and marks of direction can be part of a word
HALF_CHARACTERS = re.compile("[\ud800-\udfff]")  # JSON can hold them, no file can
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NO_VALUE = ("", "nan", "none", "null", "n/a", "na", "unknown", "?", "-", "0/0")


# --- bytes ------------------------------------------------------------------------------------------------------------


def unpacked(file):
    """A file open for reading bytes, or what is packed in it where it is a gzip file. Raises UNREADABLE."""
    return gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == GZIP else file


def codec_of(head, path, xml=False):
    """The codec of a text by its first bytes: UTF-8 with or without byte order mark, UTF-16, UTF-32.

    xml: may it be XML? SpotError that says what the file `path` is, where it is no text.
    """
    for mark, codec in MARKS:
        if head.startswith(mark):
            return codec
    for start, kind, advice in KINDS:
        if start.match(head) and not (xml and head.lstrip().startswith(b"<?xml")):
            raise SpotError(f"{path}: is {kind}, not text; {advice}")
    if len(head) > 3 and not head[1] and not head[3] and head[0] and head[2]:
        return "utf-16-le"
    if len(head) > 3 and not head[0] and not head[2] and head[1] and head[3]:
        return "utf-16-be"
    return "utf-8"


def read_text(path, xml=False):
    """The text of a file in UTF-8, UTF-16 or UTF-32, or of a gzip file of it; SpotError where it is missing or another.

    Line ends stay as they are. xml: may it be XML?
    """
    try:
        with open(path, "rb") as packed, unpacked(packed) as file:
            codec = codec_of(file.peek(HEAD_BYTES)[:HEAD_BYTES], path, xml)
            if file is packed:
                return file.read().decode(codec)
            pieces = []
            while sum(map(len, pieces)) <= MAX_UNPACKED and (piece := file.read(1 << 24)):
                pieces.append(piece)
            if sum(map(len, pieces)) > MAX_UNPACKED:
                raise SpotError(f"{path}: holds more than {MAX_UNPACKED >> 30} GB; unpack it and name the file in it")
            return b"".join(pieces).decode(codec)
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise no_text(path, error) from error


def unreadable(path, error):
    """The SpotError of one of UNREADABLE."""
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return SpotError(f"{path}: is a damaged gzip file ({error}); was it fully downloaded?")
    return SpotError(f"{path}: cannot be read ({error.strerror or error}); check the path")


def no_text(path, error):
    """The SpotError of a UnicodeDecodeError."""
    found = error.object[error.start : error.start + 1].hex()
    return SpotError(f"{path}: is not UTF-8 text (byte 0x{found}, {error.reason}); save it as UTF-8")


def read_lines(path):
    """The non-empty lines of a text file, each as `clean` spells it; SpotError where it is missing or no text."""
    return [line for line in map(clean, read_text(path).splitlines()) if line]


def read_table(path):
    """Read a CSV with a header: its columns, and its rows as dicts; ids such as 0001447 or NA keep their spelling.

    A row that is shorter or longer than the header is a SpotError: the last one of a file that was cut off is.
    """
    columns, rows = parse_table(read_text(path), path)
    return columns, [row for _, row in rows]


def parse_table(text, path):
    """The columns of a table in a text, and its rows as (line, dict); path: its file. SpotError as in `read_table`."""
    delimiter = "\t" if str(path).lower().endswith(".tsv") else delimiter_of(text)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        rows = [(reader.line_num, [clean(cell) for cell in row]) for row in reader if any(map(clean, row))]
    except csv.Error as error:
        raise SpotError(f"{path}: is not a CSV table ({error}); was it fully downloaded?") from error
    if not rows:
        raise SpotError(f"{path}: is not a CSV table (it is empty); was it fully downloaded?")
    (_, columns), *rows = rows
    for line, row in rows:
        if len(row) != len(columns):
            raise SpotError(f"{path}: is not a CSV table (line {line} has {len(row)} cells, the header "
                            f"{len(columns)}); was it fully downloaded?")
    return columns, [(line, dict(zip(columns, row, strict=True))) for line, row in rows]


def delimiter_of(text):
    """What separates the cells of a table: a comma; where its first line has none, the semicolons or tabs of it."""
    first_line = text.lstrip().partition("\n")[0]
    return "," if "," in first_line else max(",;\t", key=first_line.count)


# --- one spelling -----------------------------------------------------------------------------------------------------


def clean(text):
    """One spelling of a label, an id or a cell: Unicode form NFC, no space or invisible character at its ends, and one
    plain space for every run of white space within, such as a tab or a space that does not break."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    text = NEVER_MEANT.sub("", unicodedata.normalize("NFC", HALF_CHARACTERS.sub("\ufffd", text)))
    return " ".join(text.split()).strip(INVISIBLE + " ")


def alike(text):
    """What is left of a name where spaces, separators, case and Unicode form do not count: two names with the same are
    one name, spelled in two ways."""
    return re.sub(r"[\s_\-.]+", "", unicodedata.normalize("NFKC", text).casefold())


def label_of(value):
    """A class name from text or a whole number, as `clean` spells it; None where the value is neither, or empty."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return clean(CONTROL.sub(" ", str(value))) or None


# --- numbers ----------------------------------------------------------------------------------------------------------


def number(value, where):
    """A finite float from a number or its text (AFSD and G-TAD write segments as text); SpotError for another value."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise SpotError(f"{where}: {short(value)} is not a finite number; mend it or take it out")
    return found


def whole_number(value, where):
    """An int from 3, 3.0, "3" or "3.0"; SpotError for another value."""
    found = number(value, where)
    if not found.is_integer():
        raise SpotError(f"{where}: {short(value)} is not a whole number")
    return int(value) if isinstance(value, int) else int(found)


def has_value(value):
    """Does a cell or a JSON value state anything? None, NaN, empty text and the words for nothing do not."""
    if isinstance(value, str):
        return clean(value).lower() not in NO_VALUE
    return value is not None and value == value


def frame_rate(value, where):
    """Frames per second from a number, its text, or a fraction of two (`30000/1001`, as ffprobe writes it).

    None where it is 0 or less, which programs write for an unknown rate. SpotError for what is no number.
    """
    try:
        rate = float(Fraction(clean(value))) if isinstance(value, str) and "/" in value else number(value, where)
    except ZeroDivisionError:
        return None
    except (ValueError, OverflowError) as error:
        raise SpotError(f"{where}: {short(value)} is no frame rate; give frames per second as a number or a fraction"
                        ) from error
    return rate if rate > 0 else None


# --- words for messages -----------------------------------------------------------------------------------------------


def short(value):
    """The repr of a value, cut where it is long."""
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "..."


def listing(names):
    """`'a', 'b' and 3 more are`: at most five names for a message."""
    shown = ", ".join(repr(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{shown}{more} {'is' if len(names) == 1 else 'are'}"
