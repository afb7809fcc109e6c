"""The mistake of a user as an error type, and files that are never left half-written. No torch, no config."""

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections import Counter
from pathlib import Path

TEMPORARY = ".unfinished-"  # how the names of files begin that are being written
# What file systems without locks answer, as some of clusters are: there, nobody can tell two runs apart.
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class SpotError(ValueError):
    """A mistake that the user can mend. The message is one sentence: which file or key, which value, what to do."""


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
    """Read a JSON file; a missing or broken one raises SpotError with the path and the place of the fault.

    repeated: a list that takes the keys that stand twice in one object, of which Python keeps the last without a word
    """

    def dict_of(pairs):
        entry = dict(pairs)
        if len(entry) < len(pairs):
            repeated.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return entry

    try:
        text = Path(path).read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=None if repeated is None else dict_of)
    except OSError as error:
        raise SpotError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except UnicodeDecodeError as error:
        raise SpotError(f"{path}: is not UTF-8 text, so it is not JSON") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise SpotError(f"{path}: is not valid JSON ({error}); was it fully downloaded?") from error
