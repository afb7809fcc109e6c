"""Files are whole or not there; a broken JSON is one sentence."""

import contextlib
import errno
import fcntl
import json
import os
import stat

import pytest

from spot.files import SpotError, atomic_path, locked, read_json, remove_unfinished, write_json, write_text


def test_a_written_file_is_complete_and_alone_in_its_folder(tmp_path):
    write_json(tmp_path / "new" / "metrics.json", {"average_mAP": 0.5})
    assert read_json(tmp_path / "new" / "metrics.json") == {"average_mAP": 0.5}
    assert os.listdir(tmp_path / "new") == ["metrics.json"]


def test_a_failed_write_leaves_the_last_good_file(tmp_path):
    path = tmp_path / "metrics.json"
    write_text(path, "good")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": float("nan")})
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "good" and os.listdir(tmp_path) == ["metrics.json"]


def test_a_full_disk_leaves_the_last_good_file(tmp_path):
    """/dev/full answers every write with `no space left on device`."""
    path = tmp_path / "metrics.json"
    write_text(path, "good")
    with pytest.raises(SpotError, match=r"metrics\.json: .*No space left"), atomic_path(path) as temporary:
        temporary.unlink()
        temporary.symlink_to("/dev/full")
        temporary.write_text("x" * 100_000)
    assert path.read_text() == "good" and os.listdir(tmp_path) == ["metrics.json"]


def test_until_it_is_complete_only_the_old_content_shows(tmp_path):
    path = tmp_path / "plot.png"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.suffix == ".png" and temporary.parent == tmp_path
    assert path.read_text() == "new"


def test_a_written_file_has_the_mode_that_the_user_chose(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1', "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_json_is_one_sentence(tmp_path, content, words):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpotError, match=rf"a\.json: .*{words}"):
        read_json(path)


def test_a_folder_in_place_of_a_json_is_one_sentence(tmp_path):
    with pytest.raises(SpotError, match="cannot be read"):
        read_json(tmp_path)


def test_text_keeps_its_characters(tmp_path):
    write_json(tmp_path / "a.json", {"label": "Fußball"}, indent=1)
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"label": "Fußball"}


def test_nothing_is_left_behind_where_there_is_no_folder(tmp_path):
    remove_unfinished(tmp_path / "none" / "a.txt")
    assert not list(tmp_path.iterdir())


def test_a_lock_that_its_last_holder_removes_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    """Between our opening and our locking of the file, another process ends and removes it."""
    path, calls = tmp_path / "run.lock", []

    def lock(file, how):
        calls.append(how)
        if len(calls) == 1:
            path.unlink()

    monkeypatch.setattr(fcntl, "flock", lock)
    with locked(path, "the folder"):
        assert len(calls) == 2 and path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_failed_write_says_what_is_left(tmp_path, monkeypatch):
    """The old file, where there is one."""
    def full(*_):
        raise OSError(28, "No space left on device")

    write_text(tmp_path / "old.txt", "good")
    monkeypatch.setattr(os, "fsync", full)
    for name, words in (("old.txt", "the last good one is kept"), ("new.txt", "nothing was left half-written")):
        with pytest.raises(SpotError, match=f"{name}: cannot be written .No space left on device.; {words}"):
            write_text(tmp_path / name, "text")


@pytest.mark.parametrize(("written", "shown"), [("17\n", "process 17"), ("", "process unknown")])
def test_a_taken_lock_names_its_process_where_it_is_known(tmp_path, monkeypatch, written, shown):
    def taken(*_):
        raise BlockingIOError

    path = tmp_path / "run.lock"
    path.write_text(written)
    monkeypatch.setattr(fcntl, "flock", taken)
    with pytest.raises(SpotError, match=f"the folder is in use by another run, {shown};"), locked(path, "the folder"):
        pass
    assert path.read_text() == written


@pytest.mark.parametrize(("answer", "is_refused"), [(errno.ENOLCK, False), (errno.ENOSYS, False), (errno.EACCES, True)])
def test_where_there_are_no_locks_work_goes_on(tmp_path, monkeypatch, answer, is_refused):
    """Any other answer of the system is a mistake to mend."""
    def refuse(*_):
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "flock", refuse)
    mistake = pytest.raises(SpotError, match="the folder: cannot be made or locked")
    with mistake if is_refused else contextlib.nullcontext(), locked(tmp_path / "run.lock", "the folder"):
        assert not is_refused
