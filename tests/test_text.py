"""Text as users have it: every encoding and every file that is none, one spelling of labels, numbers in all clothes."""

import gzip
import json
import pickle
import zlib

import h5py
import numpy as np
import pytest

from spot.errors import SpotError
from spot.files import read_json
from spot.json_stream import streamed_json
from spot.text import (
    alike,
    clean,
    codec_of,
    frame_rate,
    has_value,
    label_of,
    number,
    read_lines,
    read_table,
    read_text,
    whole_number,
)

TEXT = '{"Sprung über 一": [1, 2]}'
ENCODED = {
    "utf-8": TEXT.encode(), "mark": TEXT.encode("utf-8-sig"), "utf-16": TEXT.encode("utf-16"),
    "utf-16-be": b"\xfe\xff" + TEXT.encode("utf-16-be"), "no mark": TEXT.encode("utf-16-le"),
    "no mark, big": TEXT.encode("utf-16-be"), "utf-32": TEXT.encode("utf-32"), "gzip": gzip.compress(TEXT.encode()),
    "both": gzip.compress(TEXT.encode("utf-16")),
}


@pytest.mark.parametrize("content", ENCODED.values(), ids=ENCODED)
def test_a_text_is_the_same_in_every_encoding(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert read_text(path) == TEXT and read_json(path) == json.loads(TEXT)
    with streamed_json(path) as stream:
        assert stream.value() == json.loads(TEXT)


@pytest.mark.parametrize(("content", "words"), [
    (pickle.dumps({"a": 1}), "a pickle.*JSON"), (pickle.dumps({"a": 1}, protocol=0), "a pickle"),
    (b"PK\x03\x04rest", "zip archive"), (b"\x93NUMPY\x01\0", "a numpy array"), (b"BZh9", "bzip2.*unpack"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    (b"\n<!DOCTYPE html><html>", "web page"), (b"\0\0\0\x18ftypmp42", "a video"), (b"%PDF-1.4", "PDF"),
    (b'{"a": "caf\xe9"}', "not UTF-8 text .byte 0xe9.*save it as UTF-8"), (b"\x1f\x8bno", "damaged gzip"),
    # Without the time, which would call the test otherwise in each process.
    (gzip.compress(b"{}", mtime=0)[:-5], "damaged gzip"),
    (gzip.compress(zlib.compress(b"x" * 99), mtime=0), "not UTF-8 text"),
])
def test_what_is_no_text_is_called_by_its_name(tmp_path, content, words):
    """By every reader of text, in one sentence with the file."""
    path = tmp_path / "file"
    path.write_bytes(content)

    def stream():
        with streamed_json(path) as found:
            found.value()

    for read in (read_text, read_json, read_lines, read_table, lambda path: stream()):
        with pytest.raises(SpotError, match=f"file: .*{words}") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_an_hdf5_file_is_called_so(tmp_path):
    h5py.File(tmp_path / "a.json", "w").close()
    with pytest.raises(SpotError, match=r"a\.json: is an HDF5 file"):
        read_json(tmp_path / "a.json")


def test_a_gzip_file_that_claims_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("spot.text.MAX_UNPACKED", 1 << 20)
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(3 << 20)))
    with pytest.raises(SpotError, match="unpack it"):
        read_text(tmp_path / "a.gz")


def test_short_files_have_a_codec():
    assert codec_of(b"", "x") == codec_of(b"1", "x") == codec_of(b"12", "x") == "utf-8"


# --- one spelling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Beer pong", "Beer pong ", "\tBeer pong\r", "Beer\u00a0pong", "Beer  pong",
                                  "\ufeffBeer pong", "Beer pong\u200b", "Beer\u3000pong", "Beer\n pong"])
def test_what_nobody_sees_makes_no_other_class(text):
    assert clean(text) == "Beer pong"


def test_unicode_forms_are_one_and_meant_joiners_stay():
    """u + combining diaeresis is ü; the joiner of a family emoji is part of it; half a character becomes a mark."""
    assert clean("u\u0308ben") == "üben"
    assert clean("👩\u200d👧") == "👩\u200d👧" and clean("a\u200d") == "a"
    assert clean("a\ud800") == "a\ufffd"


def test_names_that_are_alike():
    assert alike("Beer pong") == alike("beer_pong") == alike("Ｂeer-Pong") != alike("Beer ping")


def test_labels_are_text_or_whole_numbers():
    assert [label_of(value) for value in (" run ", 3, 3.0, "3", 0)] == ["run", "3", "3", "3", "0"]
    assert [label_of(value) for value in ("", " \u200b", None, True, 3.5, float("nan"), ["run"])] == [None] * 7
    assert label_of("run\x1b[31m") == "run [31m"  # no code reaches a terminal


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_numbers_in_all_clothes():
    assert [number(value, "x") for value in (1, "1.5", " 2 ", "１２", 1e3)] == [1, 1.5, 2, 12, 1000]
    assert [whole_number(value, "x") for value in (3, 3.0, "3", "3.0", "-1")] == [3, 3, 3, 3, -1]
    for value in ("soon", True, None, [1], "1e999", float("nan"), 10**400):
        with pytest.raises(SpotError, match=r"x: .* is not a finite number"):
            number(value, "x")
    with pytest.raises(SpotError, match=r"x: 2\.5 is not a whole number"):
        whole_number(2.5, "x")


def test_frame_rates():
    """ffprobe writes fractions, OpenCV 0 or -1 for a rate that it does not know."""
    assert frame_rate("30000/1001", "x") == pytest.approx(29.97003) and frame_rate("25/1", "x") == 25
    assert frame_rate("29.97", "x") == 29.97
    assert frame_rate(0, "x") is frame_rate(-1, "x") is frame_rate("0/0", "x") is frame_rate("0/1", "x") is None
    for value in ("a/b", "fast", [25]):
        with pytest.raises(SpotError, match="x: "):
            frame_rate(value, "x")


def test_what_states_nothing():
    assert not any(has_value(value) for value in (None, "", " ", "nan", "NaN", float("nan"), "N/A", "0/0", "unknown"))
    assert all(has_value(value) for value in (0, "0", "a", False, [], np.float64(1)))


# --- lines and tables -------------------------------------------------------------------------------------------------


def test_lines_of_windows_with_a_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffa \r\n\r\n b\u00a0c\r\n".encode())
    assert read_lines(tmp_path / "a.txt") == ["a", "b c"]


@pytest.mark.parametrize("content", ["video,fps\r\na,25\r\n", "\ufeffvideo;fps\na;25\n", "video\tfps\na\t25\n",
                                     'video,fps\n" a ",25\u200b\n'])
def test_tables_of_every_office(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content.encode())
    assert read_table(tmp_path / "a.csv") == (["video", "fps"], [{"video": "a", "fps": "25"}])
