"""Files that are never left half-written, and JSON. No torch, no config."""

import contextlib
import errno
import fcntl
import glob
import json
import os
import tempfile
from collections import Counter
from pathlib import Path

from spot.errors import SpotError
from spot.text import UNREADABLE, read_text, unpacked, unreadable

TEMPORARY = ".unfinished-"  # how the names of files begin that are being written
# What file systems without locks answer, as some of clusters are: there, two runs cannot be kept apart.
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


def expand_home(path):
    """`~/x` and `~name/x` with the home folder, as the shell writes it out; any other text stays as it is."""
    return os.path.expanduser(path)


def in_folder(path):
    """Words that say where a relative path was looked for; none for an absolute one, which says it itself."""
    return "" if Path(path).is_absolute() else f" in {Path.cwd()}"


@contextlib.contextmanager
def atomic_path(path):
    """Yield a temporary name beside `path`; on success it replaces `path`, on any error `path` stays as it was.

    The temporary name keeps the suffix of `path`, because numpy and matplotlib choose the format by it.
    SpotError where the disk is full or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f"{TEMPORARY}{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(temporary)
        try:
            yield temporary
            flush(temporary)
            # mkstemp makes the file private to its owner; give it the mode that open() would have given.
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            temporary.replace(path)
            flush(path.parent)  # a name is kept in its folder, which a power cut can lose as well
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error.strerror or error) from error


def unwritable(path, reason):
    """The SpotError of a file that could not be written, `reason` why."""
    kept = "the last good one is kept" if Path(path).exists() else "nothing was left half-written"
    return SpotError(f"{path}: cannot be written ({reason}); {kept}; make room or choose another place")


def flush(path):
    """Have the system bring a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_unfinished(path):
    """Remove what a killed process left of its attempts to write `path`; only for who holds the lock of its folder."""
    path = Path(path)
    if path.parent.is_dir():
        for entry in sorted(path.parent.iterdir()):
            if entry.name.startswith(f"{TEMPORARY}{path.stem}-") and entry.suffix == path.suffix:
                entry.unlink()


@contextlib.contextmanager
def locked(path, what):
    """Hold the lock file `path` for the block; SpotError where another living process holds it.

    what: the words that name what is locked in the message
    The system frees the lock of a process that dies, however it dies, so a killed run stands in nobody's way.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _open_lock(path)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    except BlockingIOError as error:
        process = path.read_text(encoding="utf-8").strip() if path.exists() else ""
        raise SpotError(f"{what} is in use by another run, process {process or 'unknown'}; wait for its end, "
                        "or choose another") from error
    except OSError as error:
        raise SpotError(f"{what}: cannot be made or locked ({error.strerror}); choose another") from error
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _open_lock(path):
    """The lock file, open and locked; BlockingIOError where it is taken."""
    while True:
        file = path.open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except OSError as error:
            if error.errno in NO_LOCKS:
                return file
            file.close()
            raise
        file.close()  # its last holder removed it between our two steps: take the new one


def matching_files(path):
    """The files that a path or pattern names, sorted; a path that exists is never taken for a pattern.

    Raises SpotError where nothing matches a pattern; a plain path comes back as it is, whether it is there or not.
    """
    if Path(path).exists() or not glob.has_magic(str(path)):
        return [Path(path)]
    found = sorted(Path(name) for name in glob.glob(str(path)))
    if not found:
        raise SpotError(f"{path}: no file matches this pattern; check the path")
    return found


def write_text(path, text):
    """Write `text` to `path` all at once."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, data, indent=None):
    """Write `data` as JSON all at once; NaN and infinity, which are not JSON, raise ValueError."""
    write_text(path, json.dumps(data, indent=indent, allow_nan=False) + "\n")


@contextlib.contextmanager
def streamed_results(path, facts):
    """Yield `add(video, entries)`, which writes one video into the detections file `path` at once: memory stays flat.

    facts: the other values of the file, beside `results`; the file has one line per video
    Where Ctrl-C stops the block, the file holds what was added and `"partial": true`, and KeyboardInterrupt goes on;
    on any other error the file stays as it was.
    """
    stopped = None
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        separator = ""

        def add(video, entries):
            nonlocal separator
            file.write(f"{separator}\n{json.dumps(video)}: {json.dumps(entries, allow_nan=False)}")
            separator = ","

        file.write('{"results": {')
        try:
            yield add
        except KeyboardInterrupt as error:
            stopped, facts = error, {**facts, "partial": True}
        file.write("\n}" + "".join(f",\n{json.dumps(key)}: {json.dumps(facts[key])}" for key in facts) + "}\n")
    if stopped:
        raise stopped


def read_json(path, repeated=None):
    """Read a JSON file whole; a missing or broken one raises SpotError with the path and the place of the fault.

    repeated: a list that takes the keys that stand twice in one object, of which Python keeps the last without a word
    """
    return parse_json(read_text(path), path, repeated)


def parse_json(text, path, repeated=None):
    """The value of a JSON text; path: of its file; repeated and SpotError as in `read_json`."""

    def dict_of(pairs):
        entry = dict(pairs)
        if len(entry) < len(pairs):
            repeated.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return entry

    try:
        return json.loads(text, object_pairs_hook=None if repeated is None else dict_of)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of more digits than Python converts
        raise no_json(path, error) from error


def no_json(path, reason):
    """The SpotError of a file that is no JSON, `reason` why."""
    return SpotError(f"{path}: is not valid JSON ({reason}); was it fully downloaded?")


@contextlib.contextmanager
def opened(path):
    """Yield a file for reading bytes, those that are packed in it where it is a gzip file, whatever it is called.

    SpotError where it cannot be opened or, at any point of the block, read or unpacked.
    """
    try:
        with open(path, "rb") as packed, unpacked(packed) as file:
            yield file
    except UNREADABLE as error:
        raise unreadable(path, error) from error
