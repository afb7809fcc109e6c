"""A detections file is read piece by piece: the same columns, the same errors, flat memory."""

import gc
import json
import os
import tracemalloc

import numpy as np
import pytest

from spot import detections, json_stream
from spot.detection_formats import read_predictions
from spot.files import SpotError, read_json
from spot.json_stream import streamed_json


def entry(start, label="run", score=0.5):
    return {"label": label, "score": score, "segment": [start, start + 1]}


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of 64 bytes and blocks of three detections: whatever can be cut is cut."""
    monkeypatch.setattr(json_stream, "CHUNK_BYTES", 64)
    monkeypatch.setattr(detections, "BLOCK", 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "d.json"


def walk(stream):
    """A whole JSON document out of members and elements."""
    if stream.peek() == "{":
        return {key: walk(stream) for key in stream.members()}
    if stream.peek() == "[":
        return [element for part in stream.elements(most=2) for element in part]
    return stream.value()


# --- the stream -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [
    {}, [], 12345678901234567890, -1.5e-300, "x" * 300, None, {"": ""}, {"a": {}, "b": [], "c": [[]]},
    {"long": list(range(200)), "then": {"nested": [{"x": "]},{" * 30}, 1]}}, {"é" * 100: ["𝄞" * 60, "\\\"\n"]},
])
@pytest.mark.parametrize("layout", [{}, {"indent": 1}, {"ensure_ascii": False, "separators": (",", ":")}])
def test_a_document_in_pieces_is_the_document(path, small_pieces, document, layout):
    path.write_text(f"\r\n\t {json.dumps(document, **layout)}{' ' * 200}\n", encoding="utf-8")
    sizes = []
    with streamed_json(path, sizes.append) as stream:
        assert walk(stream) == document
        stream.refuse_more()
    assert sum(sizes) == path.stat().st_size and len(sizes) > 3


@pytest.mark.parametrize(("before", "value"), [(before, value) for before in range(20, 70, 7) for value in
                                               ("true", "1.5e+3", "-0.25E-7", '"\\u00e9\\n"', "-Infinity")])
def test_a_value_that_the_end_of_a_piece_cuts_keeps_its_meaning(path, small_pieces, before, value):
    """The end of the first 64 bytes falls on every part of it."""
    path.write_text(" " * before + value + ",")
    with streamed_json(path) as stream:
        assert stream.value() == json.loads(value) and stream.peek() == ","


FAULTS = {
    "no comma": '{"a": 1\n "b": 2}',
    "no colon": '{"a" 1}',
    "no name": '{"a": 1, 2}',
    "no value": '{"a": }',
    "no element": '{"a": [1, 2, ]}',
    "no end": '{"a": [1, 2',
    "no end of text": '{"a": "xyz',
    "line in text": '{"a": "x\ny"}',
    "unknown escape": '{"a": "\\q"}',
    "more behind it": '{"a": 1}\n\n{}',
    "nothing": "",
    "a line of its own": '\n{"a": oops}',
    "no JSON": "results",
    "a mark within": '{"a": \ufeff1}',
}


@pytest.mark.parametrize("text", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("lines", [0, 40])
def test_a_fault_is_told_as_for_the_whole_file(path, small_pieces, text, lines):
    """Line, column and character, also where pieces before it are forgotten: 40 long lines, or one of 800 characters.

    A later Python calls a comma too many by its name and tells its place, not what stands behind it.
    """
    filling = "".join(f'"{number}": "{"." * 20}",' + "\n" * (lines > 0) for number in range(lines or 30))
    path.write_text(text.replace("{", "{" + filling, 1), encoding="utf-8")
    with pytest.raises(SpotError) as whole:
        read_json(path)
    with pytest.raises(SpotError) as piecewise, streamed_json(path) as stream:
        walk(stream)
        stream.refuse_more()
    if "trailing comma" not in str(whole.value):
        assert str(piecewise.value) == str(whole.value)


def test_a_fault_at_the_beginning_of_a_large_file_ends_the_reading(path, small_pieces):
    """What follows it is not read to tell it."""
    path.write_text('{"a": oops, ' + " " * 100_000 + "}")
    sizes = []
    with pytest.raises(SpotError, match=r"line 1 column 7 \(char 6\)"), streamed_json(path, sizes.append) as stream:
        walk(stream)
    assert sum(sizes) < 300


def test_nesting_beyond_all_measure_and_endless_numbers_are_refused(path):
    for text in ("[" * 100_000, '{"a": ' + "1" * 5000 + "}"):
        path.write_text(text)
        with pytest.raises(SpotError, match="not valid JSON"):
            read_json(path)
        with pytest.raises(SpotError, match="not valid JSON"), streamed_json(path) as stream:
            stream.value()


def test_what_is_no_text_is_refused(path, small_pieces):
    """A character cut in two by the end of a piece is none of it; one cut by the end of the file is."""
    path.write_bytes(b" " * 63 + '"é"'.encode())
    with streamed_json(path) as stream:
        assert stream.value() == "é"
    for content in (b'"' + b"a" * 100 + b'\xff"', b" " * 70 + '"é'.encode()[:-1]):
        path.write_bytes(content)
        with pytest.raises(SpotError, match="not UTF-8"), streamed_json(path) as stream:
            stream.value()


def test_the_mark_that_some_editors_put_before_a_text_is_no_fault(path):
    path.write_text(json.dumps({"results": RESULTS}), encoding="utf-8-sig")
    assert read_json(path) == {"results": RESULTS} and read_predictions(path).video_ids == list(RESULTS)


def test_a_missing_file_and_one_that_cannot_be_read_are_one_sentence(path, monkeypatch):
    for wrong in (path, path.parent):
        with pytest.raises(SpotError, match="cannot be read"):
            read_predictions(wrong)
    path.write_text("{}")

    class Broken:
        def read(self, size):
            raise OSError(5, "Input/output error")

    with streamed_json(path) as stream:
        stream._file = Broken()
        with pytest.raises(SpotError, match="cannot be read \\(Input/output error\\)"):
            stream.value()


# --- the detections ---------------------------------------------------------------------------------------------------

RESULTS = {"a": [entry(0), entry(1, "jump", 1)], "b": [], "v_c": [entry(number, "run") for number in range(20)],
           "d": [entry(2, "é")]}


@pytest.mark.parametrize("facts_first", [True, False])
def test_a_file_gives_the_columns_of_its_dict(path, small_pieces, facts_first):
    """The other values may stand before the results or behind them."""
    facts = {"version": "x" * 200, "external_data": {"class_scores": "cuhk.json"}, "missing_features": ["b"] * 30,
             "partial": True}
    content = {**facts, "results": RESULTS} if facts_first else {"results": RESULTS, **facts}
    path.write_text(json.dumps(content))
    one, other = read_predictions(path), read_predictions(content)
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, vars(other)[name])
    assert one.video_ids == ["a", "b", "v_c", "d"] and one.video.tolist() == [0, 0, *[2] * 20, 3]
    assert one.label_names == ["run", "jump", "é"] and one.label.tolist() == [0, 1, *[0] * 20, 2]
    assert one.segments_sec[:3].tolist() == [[0, 1], [1, 2], [0, 1]] and one.scores[:2].tolist() == [0.5, 1]
    assert (one.class_scores, one.missing_features, one.partial) == ("cuhk.json", ["b"] * 30, True)


@pytest.mark.parametrize("place", [0, 2, 3, 19])
def test_a_broken_entry_is_named_wherever_the_pieces_and_blocks_end(path, small_pieces, place):
    entries = [entry(number) for number in range(20)]
    entries[place] = entry(3, score="high")
    path.write_text(json.dumps({"results": {"a": [entry(0)], "b": entries}}))
    with pytest.raises(SpotError, match=rf"d\.json: video 'b', entry {place}: score 'high' is not a finite number"):
        read_predictions(path)
    lenient = read_predictions(path, lenient=True)
    assert lenient.num_dropped == 1 and lenient.video.tolist() == [0] + [1] * 19
    assert lenient.segments_sec[1:, 0].tolist() == [number for number in range(20) if number != place]


@pytest.mark.parametrize(("text", "words"), [
    ("[1]", "has no 'results'"), ("3", "has no 'results'"), ("{}", "has no 'results'"),
    ('{"results": [1]}', "has no 'results'"), ('{"results": {}, "results": {}}', "not once"),
    ('{"results": {"a": 3}}', "video 'a' holds int"), ('{"results": {"a": {"b": []}}}', "video 'a' holds dict"),
    ('{"results": {"a": [], "b": [], "a": []}}', "video 'a' stands there twice"),
    ('{"results": {"a": []}} []', "Extra data"), ('{"results": {"a": [}}', "not valid JSON"),
])
def test_another_layout_is_one_sentence(path, small_pieces, text, words):
    """A video that stands there twice would lose its first list to the second."""
    path.write_text(text)
    for lenient in (False, True):
        with pytest.raises(SpotError, match=rf"d\.json: .*{words}"):
            read_predictions(path, lenient)


BROKEN = {
    "ends before": {"label": "run", "score": 1, "segment": [2, 1]},
    "empty": {"label": "run", "score": 1, "segment": [2, 2]},
    "nan time": {"label": "run", "score": 1, "segment": [0, float("nan")]},
    "infinite time": {"label": "run", "score": 1, "segment": [0, float("inf")]},
    "text time": {"label": "run", "score": 1, "segment": ["0", "1"]},
    "three times": {"label": "run", "score": 1, "segment": [0, 1, 2]},
    "text segment": {"label": "run", "score": 1, "segment": "01"},
    "nan score": {"label": "run", "score": float("nan"), "segment": [0, 1]},
    "text score": {"label": "run", "score": "high", "segment": [0, 1]},
    "no score": {"label": "run", "segment": [0, 1]},
    "null score": {"label": "run", "score": None, "segment": [0, 1]},
    "true score": {"label": "run", "score": True, "segment": [0, 1]},
    "endless score": {"label": "run", "score": 10**400, "segment": [0, 1]},
    "number label": {"label": 3, "score": 1, "segment": [0, 1]},
    "list label": {"label": ["run"], "score": 1, "segment": [0, 1]},
    "not an object": [0, 1, "run"],
}


@pytest.mark.parametrize("entry", BROKEN.values(), ids=BROKEN)
def test_broken_entry_is_named_and_lenient_drops_it(entry):
    good = {"label": "run", "score": 0.5, "segment": [0, 1]}
    source = {"results": {"a": [good], "b": [good, entry]}}
    with pytest.raises(SpotError, match=r"video 'b', entry 1: .+"):
        read_predictions(source)
    lenient = read_predictions(source, lenient=True)
    assert lenient.num_dropped == 1 and lenient.video.tolist() == [0, 1] and lenient.scores.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("source", [[1], {}, {"results": [1]}, {"results": {"a": 3}}, {"results": {"a": {}}}])
def test_wrong_layout_is_one_sentence(source):
    with pytest.raises(SpotError, match="predictions: "):
        read_predictions(source)


def test_numpy_numbers_and_tuples_are_fine():
    source = {"results": {"a": [{"label": "run", "score": np.float32(0.5), "segment": (np.float64(0), np.int64(1))}]}}
    predictions = read_predictions(source)
    assert predictions.segments_sec.tolist() == [[0, 1]] and predictions.num_dropped == 0


def test_a_long_value_is_shown_by_its_beginning():
    with pytest.raises(SpotError) as refusal:
        read_predictions({"results": {"a": [{"label": "run", "score": "x" * 1000, "segment": [0, 1]}]}})
    assert "score 'xxxx" in str(refusal.value) and "xxx... is not a finite" in str(refusal.value)
    assert len(str(refusal.value)) < 200


def test_memory_holds_little_more_than_the_columns(path, monkeypatch):
    """15,000 detections, 1.5 MB: their columns take 0.5 MB, their objects at once would take 10 MB."""
    monkeypatch.setattr(json_stream, "CHUNK_BYTES", 1 << 16)
    monkeypatch.setattr(detections, "BLOCK", 500)
    for videos in (1, 300):  # one long list, and many short ones
        entries = [entry(number + 0.123456789, f"class {number % 7}") for number in range(15_000 // videos)]
        path.write_text(json.dumps({"results": {f"video {number}": entries for number in range(videos)}}))
        del entries
        tracemalloc.start()
        read = read_predictions(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        columns = read.video.nbytes + read.label.nbytes + read.segments_sec.nbytes + read.scores.nbytes
        assert len(read.scores) == 15_000 and columns == 480_000 and peak < 1.5 * columns + 2_000_000


def test_a_large_file_shows_its_progress_in_bytes(path, monkeypatch):
    """Small ones do not; what has no size, such as a pipe, neither."""
    path.write_text(json.dumps({"results": RESULTS}))
    assert detections._progress_of(path).disable
    monkeypatch.setattr(detections, "SHOW_PROGRESS_BYTES", 10)
    seen = []

    class Bar:
        def __init__(self, total, disable, unit, **_):
            seen.extend([total, disable, unit])

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, size):
            seen.append(size)

    monkeypatch.setattr(detections, "tqdm", Bar)
    read_predictions(path)
    size = path.stat().st_size
    assert seen[:3] == [size, None, "B"] and sum(seen[3:]) == size  # None: shown on a terminal
    os.mkfifo(path.parent / "pipe")
    detections._progress_of(path.parent / "pipe")
    assert seen[-3:] == [None, True, "B"]


def test_who_had_garbage_collection_off_finds_it_off():
    gc.disable()
    try:
        read_predictions({"results": RESULTS})
        assert not gc.isenabled()
    finally:
        gc.enable()
    read_predictions({"results": RESULTS})
    assert gc.isenabled()
