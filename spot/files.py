"""The mistake of a user as an error type, and files that are never left half-written. No torch, no config."""

import contextlib
import json
import os
import tempfile
from pathlib import Path


class SpotError(ValueError):
    """A mistake that the user can mend. The message is one sentence: which file or key, which value, what to do."""


@contextlib.contextmanager
def atomic_path(path):
    """Yield a temporary name beside `path`; on success it replaces `path`, on any error `path` stays as it was.

    The temporary name keeps the suffix of `path`, because numpy and matplotlib choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(temporary)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes the file private to its owner; give it the mode that open() would have given.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Write `text` to `path` all at once."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, data, indent=None):
    """Write `data` as JSON all at once; NaN and infinity, which are not JSON, raise ValueError."""
    write_text(path, json.dumps(data, indent=indent, allow_nan=False) + "\n")


def read_json(path):
    """Read a JSON file; a missing or broken one raises SpotError with the path and the place of the fault."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpotError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except UnicodeDecodeError as error:
        raise SpotError(f"{path}: is not UTF-8 text, so it is not JSON") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise SpotError(f"{path}: is not valid JSON ({error}); was it fully downloaded?") from error
