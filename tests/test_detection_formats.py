"""Detections and ground truth as other kits write them: one content in all formats, and files that are broken."""

import csv
import gzip
import io
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from eval import main as eval_main
from spot.annotations import Video
from spot.detection_formats import format_of, read_predictions, with_names
from spot.epic_kitchens import read_epic
from spot.errors import SpotError
from spot.evaluation import evaluate_detections

# video, start, end, label, score; not sorted by video, as files sorted by score are
ROWS = [("b", 1.5, 3.25, "Diving", 0.9), ("a", 0.5, 2.0, "GolfSwing", 0.75), ("b", 4.0, 5.5, "GolfSwing", 0.5),
        ("a", 7.0, 8.0, "Diving", 0.25)]
NUMBERS = {"Diving": 26, "GolfSwing": 33}  # official; in ActionFormer's file 1 and 2
LABEL_IDS = {"Diving": 1, "GolfSwing": 2}


def as_json(rows):
    results = {}
    for video, start, end, label, score in rows:
        results.setdefault(video, []).append({"segment": [start, end], "label": label, "score": score})
    return json.dumps({"results": results}).encode()


def as_csv(rows, header=("video", "start_sec", "end_sec", "label", "score")):
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return file.getvalue().encode()


def as_text(rows, class_of=lambda label: label):
    return "".join(f"{video}.mp4 {start} {end} {class_of(label)} {score}\n" for video, start, end, label, score
                   in rows).encode()


def as_pickle(rows, label_of=LABEL_IDS.get, protocol=4):
    videos, starts, ends, labels, scores = zip(*rows, strict=True)
    return pickle.dumps({"video-id": list(videos), "t-start": np.array(starts, np.float32),
                         "t-end": np.array(ends, np.float32), "label": np.array(list(map(label_of, labels))),
                         "score": np.array(scores, np.float32)}, protocol=protocol)


FORMATS = {
    "d.json": as_json(ROWS), "detections.csv": as_csv(ROWS), "names.txt": as_text(ROWS),
    "numbers.txt": as_text(ROWS, NUMBERS.get), "eval_results.pkl": as_pickle(ROWS),
    "old.pkl": as_pickle(ROWS, protocol=2), "without_suffix": as_pickle(ROWS), "without_suffix_too": as_csv(ROWS),
    "dos.csv": as_csv(ROWS).replace(b"\n", b"\r\n"), "mark.csv": b"\xef\xbb\xbf" + as_csv(ROWS),
    "other_names.csv": as_csv(ROWS, ("video-id", "t-start", "t-end", "label", "score")),
}


def truth(label_ids=True):
    segments = {"a": [(0.5, 2.0, "GolfSwing"), (6, 7.5, "Diving")], "b": [(1.5, 3, "Diving"), (4, 5.5, "GolfSwing")]}
    return [Video(name, 10.0, None, "test", np.array([row[:2] for row in rows], float), tuple(row[2] for row in rows),
                  10.0, np.zeros((0, 2)), tuple(LABEL_IDS[row[2]] for row in rows) if label_ids else None)
            for name, rows in segments.items()]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_evaluation(tmp_path, name, packed):
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(FORMATS[name]) if packed else FORMATS[name])
    plain = evaluate_detections(truth(), json.loads(as_json(ROWS)), "test", (0.5, 0.9))
    read = evaluate_detections(truth(), path, "test", (0.5, 0.9))
    assert np.array_equal(read.ap, plain.ap) and 0 < plain.average_mAP < 1 and read.num_predictions == 4


def test_gzip_is_known_by_its_bytes_not_by_its_name(tmp_path):
    (tmp_path / "d.json").write_bytes(gzip.compress(as_json(ROWS)))
    (tmp_path / "d.csv.gz").write_bytes(as_csv(ROWS))
    assert len(read_predictions(tmp_path / "d.json").scores) == len(read_predictions(tmp_path / "d.csv.gz").scores) == 4


@pytest.mark.parametrize(("start", "kind"), [
    (b" \n{}", "json"), (b"[1]", "json"), (b"", "json"), (b"video,label\n", "csv"), (b"v 1 2 x 3\n", "text"),
    (b"\x80\x04.", "pickle")])
def test_a_format_is_known_by_its_beginning(tmp_path, start, kind):
    (tmp_path / "file").write_bytes(start)
    assert format_of(tmp_path / "file") == kind


def test_class_names_of_text_may_have_spaces(tmp_path):
    (tmp_path / "d.txt").write_text("v1 0 1 Clean and jerk 0.5\n\nv2 0 1 Long jump .25\n")
    read = read_predictions(tmp_path / "d.txt")
    assert read.label_names == ["Clean and jerk", "Long jump"] and read.video_ids == ["v1", "v2"]


def test_numbers_of_classes_are_those_of_the_ground_truth_or_of_a_list(tmp_path):
    (tmp_path / "r.pkl").write_bytes(as_pickle(ROWS))
    read = read_predictions(tmp_path / "r.pkl")
    assert read.label_names == ["1", "2"] and with_names(read, truth()).label_names == ["Diving", "GolfSwing"]
    assert with_names(read, truth(False), {1: "x", 2: "y"}).label_names == ["x", "y"]
    for videos, ids in ((truth(False), None), (truth(), {1: "Diving"})):
        with pytest.raises(SpotError, match="--classes FILE"):
            with_names(read, videos, ids)


def test_text_of_another_class_than_the_twenty_is_left_out(tmp_path):
    """The toolkit warns of such numbers and goes on."""
    (tmp_path / "d.txt").write_bytes(as_text(ROWS, NUMBERS.get) + b"a 0 1 50 0.95\n")
    result = evaluate_detections(truth(), tmp_path / "d.txt", "test", (0.5,))
    assert result.unknown_labels == {"50": 1} and result.average_mAP > 0


@pytest.mark.parametrize("protocol", ["activitynet", "thumos14"])
def test_reversed_segments_are_swapped_where_it_is_asked(tmp_path, protocol):
    reversed_rows = [(video, end, start, label, score) for video, start, end, label, score in ROWS]
    plain = evaluate_detections(truth(), json.loads(as_json(ROWS)), "test", (0.5,), protocol=protocol)
    for name, content in (("d.json", as_json(reversed_rows)), ("d.csv", as_csv(reversed_rows)),
                          ("d.txt", as_text(reversed_rows)), ("d.pkl", as_pickle(reversed_rows))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SpotError, match=r"ends at or before its start; --swap-reversed swaps .*--lenient drops"):
            evaluate_detections(truth(), tmp_path / name, "test", (0.5,))
        swapped = evaluate_detections(truth(), tmp_path / name, "test", (0.5,), protocol=protocol, swap_reversed=True)
        assert np.array_equal(swapped.ap, plain.ap) and swapped.num_swapped == 4
        assert read_predictions(tmp_path / name, lenient=True).num_dropped == 4


def test_reversed_segments_of_the_ground_truth_are_swapped_too():
    video = Video("a", 10.0, None, "test", np.array([[4.0, 1]]), ("run",), 10.0, np.zeros((0, 2)))
    found = {"results": {"a": [{"segment": [1, 4], "label": "run", "score": 1}]}}
    assert evaluate_detections([video], found, "test", (0.5,)).average_mAP == 0
    result = evaluate_detections([video], found, "test", (0.5,), swap_reversed=True)
    assert result.average_mAP == 1 and result.num_swapped == 1 and video.segments_sec[0, 0] == 4


def test_a_damaged_pickle_is_read_or_refused_in_one_sentence(tmp_path):
    """Cut off at every seventh byte, and with every eleventh byte changed: no other error, whatever it now says."""
    whole = as_pickle(ROWS)
    damaged = [whole[:end] for end in range(0, len(whole), 7)]
    damaged += [whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1:]
                for place in range(0, len(whole), 11) for flip in (1, 0x80)]
    refused = 0
    for content in damaged:
        (tmp_path / "r.pkl").write_bytes(content)
        try:
            read_predictions(tmp_path / "r.pkl", lenient=True)
        except SpotError as error:
            refused += 1
            assert "r.pkl: " in str(error) and "\n" not in str(error)
    assert refused > len(damaged) / 2


def test_a_pickle_of_detections_never_runs(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'owned'}",)

    for content in (Attack(), {"video-id": ["a"], "t-start": Attack()}):
        (tmp_path / "r.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(SpotError, match="run code"):
            read_predictions(tmp_path / "r.pkl")
    assert not (tmp_path / "owned").exists()


# --- EPIC-KITCHENS ----------------------------------------------------------------------------------------------------

EPIC_ROWS = pd.DataFrame({
    "participant_id": "P01", "video_id": ["P01_01", "P01_01", "P02_07"],
    "narration_timestamp": ["00:00:00.560"] * 3, "start_timestamp": ["00:00:01.00", "00:01:02.50", "01:00:00.00"],
    "stop_timestamp": ["00:00:03.00", "00:01:04.50", "01:00:05.00"], "start_frame": [60, 3750, 216000],
    "narration": ["open door", "take, cup", "wash cup"], "verb": ["open", "take", "wash"], "verb_class": [3, 0, 2],
    "noun": ["door", "cup", "cup"], "noun_class": [8, 13, 13], "all_nouns": [["door"], ["cup"], ["cup", "tap"]]},
    index=pd.Index(["P01_01_0", "P01_01_1", "P02_07_0"], name="narration_id"))


def epic_detections(**changes):
    entries = {"P01_01": [(3, 8, [1, 3], 0.9), (0, 13, [62.5, 64.5], 0.8), (3, 13, [62, 64], 0.7)],
               "P02_07": [(2, 13, [3600, 3605], 0.6)]}
    return {"version": "0.2", "challenge": "action_detection", "sls_pt": 2, "sls_tl": 3, "sls_td": 3, "results": {
        video: [{"verb": verb, "noun": noun, "action": f"{verb},{noun}", "score": score, "segment": segment, **changes}
                for verb, noun, segment, score in found] for video, found in entries.items()}}


@pytest.fixture
def epic(tmp_path):
    EPIC_ROWS.to_csv(tmp_path / "EPIC_100_validation.csv")
    EPIC_ROWS.to_pickle(tmp_path / "EPIC_100_validation.pkl")
    (tmp_path / "p.json").write_text(json.dumps(epic_detections()))
    return tmp_path


@pytest.mark.parametrize("suffix", ["csv", "pkl"])
@pytest.mark.parametrize(("task", "classes", "aps"), [
    ("verb", ["0", "2", "3"], [1, 1, 1]), ("noun", ["13", "8"], [5 / 6, 1]),
    ("action", ["0,13", "2,13", "3,8"], [1, 1, 1])])
def test_each_task_of_epic_kitchens(epic, suffix, task, classes, aps):
    """All found; the third is wrong as verb and noun: after the only 3, AP 1; between the two 13, AP (1 + 2/3) / 2."""
    result = evaluate_detections(epic / f"EPIC_100_validation.{suffix}", epic / "p.json", "validation", (0.1, 0.5),
                                 task=task)
    assert result.classes == classes and result.ap.mean(axis=1).tolist() == pytest.approx(aps)
    assert result.num_segments == 3 and result.scene.gt_sec[2].tolist() == [3600, 3605]
    assert result.unknown_labels == ({"3,13": 1} if task == "action" else {})


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_data_frames_of_every_pickle_protocol(tmp_path, protocol):
    EPIC_ROWS.to_pickle(tmp_path / "EPIC_100_train.pkl", protocol=protocol)
    videos = read_epic(tmp_path / "EPIC_100_train.pkl", "action")
    assert [video.subset for video in videos] == ["training"] * 2 and videos[1].labels == ("2,13",)
    assert videos[0].segments_sec.tolist() == [[1, 3], [62.5, 64.5]]


def test_a_data_frame_of_an_old_pandas(tmp_path):
    """Its block manager keeps blocks and axes under the name of the version that began it, 0.14.1; numpy 1 wrote it."""
    fake = type("BlockManager", (), {"__module__": "pandas.core.internals.managers"})
    frame = type("DataFrame", (), {"__module__": "pandas.core.frame"})
    index = type("Index", (), {"__module__": "pandas.core.indexes.base",
                               "__reduce__": lambda self: (new_index, (index, {"data": self.data, "name": None}))})

    def new_index(kind, data):
        raise AssertionError("the pickle ran")

    new_index.__module__, new_index.__qualname__ = "pandas.core.indexes.base", "_new_Index"
    columns, rows = index(), index()
    names = ["video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class"]
    columns.data, rows.data = np.array(names, object), np.arange(1)
    blocks = [{"values": np.array([[3], [8]]), "mgr_locs": slice(3, 5, 1)},
              {"values": np.array([["v"], ["0:0:1"], ["0:0:2"]], object), "mgr_locs": np.array([0, 1, 2])}]
    manager, table = fake(), frame()
    manager.__dict__.update(state=0)
    fake.__getstate__ = lambda self: ([], [], [], {"0.14.1": {"axes": [columns, rows], "blocks": blocks}})
    table.__dict__["_data"] = manager
    content = pickle_by_name(table)
    (tmp_path / "EPIC_100_validation.pkl").write_bytes(content)
    video, = read_epic(tmp_path / "EPIC_100_validation.pkl", "action")
    assert (video.name, video.labels, video.segments_sec.tolist()) == ("v", ("3,8",), [[1, 2]])


def pickle_by_name(content):
    """The pickle of objects whose classes are only names: nothing is looked up when it is written."""

    class Pickler(pickle._Pickler):
        def save_global(self, obj, name=None):
            self.save(obj.__module__)
            self.save(getattr(obj, "__qualname__", obj.__name__).rpartition(".")[2])
            self.write(pickle.STACK_GLOBAL)
            self.memoize(obj)

        dispatch = {**pickle._Pickler.dispatch, type: save_global, type(as_json): save_global}  # noqa: RUF012

    file = io.BytesIO()
    Pickler(file, protocol=4).dump(content)
    return file.getvalue()


def test_numbers_of_submissions_may_be_text(epic):
    (epic / "p.json").write_text(json.dumps(epic_detections(verb="3", score="0.5", segment=["1", "3.0"])))
    assert len(read_predictions(epic / "p.json", task="verb").scores) == 4


def test_script_evaluates_all_tasks_of_epic_kitchens(epic, capsys):
    arguments = ["--ground-truth", str(epic / "EPIC_100_validation.pkl"), "--predictions", str(epic / "p.json")]
    eval_main([*arguments, "--output", str(epic / "m.json")])
    metrics = json.loads((epic / "m.json").read_text())
    assert {task: found["average_mAP"] for task, found in metrics.items()} == pytest.approx(
        {"verb": 1, "noun": 11 / 12, "action": 1})
    assert list(metrics["noun"]["mAP"]) == ["0.10", "0.20", "0.30", "0.40", "0.50"]
    assert "--- noun ---" in capsys.readouterr().out
    with pytest.raises(SpotError, match="--report is for one task"):
        eval_main([*arguments, "--report", str(epic / "report")])
    eval_main([*arguments, "--task", "action", "--output", str(epic / "m.json")])
    assert json.loads((epic / "m.json").read_text())["AP"]["0,13"]["0.10"] == 1


# --- broken files, flags and values -----------------------------------------------------------------------------------


def broken_row(**changes):
    """The rows with one value of the third replaced."""
    row = dict(zip(("video", "start", "end", "label", "score"), ROWS[2], strict=True)) | changes
    return [*ROWS[:2], tuple(row.values()), ROWS[3]]


BROKEN = {
    "csv: empty": ("d.csv", b"", "no column video"),
    "csv: no header": ("d.csv", as_csv(ROWS).split(b"\n", 1)[1], "no column video"),
    "csv: no score": ("d.csv", as_csv(ROWS).replace(b"score", b"confidence"), "no column score"),
    "csv: two scores": ("d.csv", as_csv(ROWS, ("video", "start_sec", "score", "label", "score")), "score|end_sec"),
    "csv: cut off": ("d.csv", as_csv(ROWS)[:-10], "line 5: has 4 cells, the header 5"),
    "csv: word for a score": ("d.csv", as_csv(broken_row(score="high")), "line 4: score 'high' is not a finite number"),
    "csv: nan time": ("d.csv", as_csv(broken_row(end="nan")), "line 4: segment .* not a finite number"),
    "csv: infinite time": ("d.csv", as_csv(broken_row(start="-inf")), "line 4: segment .* not a finite number"),
    "csv: no length": ("d.csv", as_csv(broken_row(end=4.0)), "line 4: segment .* ends at or before its start"),
    "csv: no label": ("d.csv", as_csv(broken_row(label="")), "line 4: has no label"),
    "csv: no video": ("d.csv", as_csv(broken_row(video="")), "line 4: video '' is not an id"),
    "csv: no time": ("d.csv", as_csv(broken_row(start="")), "line 4: segment"),
    "csv: no text": ("d.csv", as_csv(ROWS) + b"\xff\xfe\n", "not UTF-8"),
    "csv: null byte": ("d.csv", as_csv(broken_row(score="\0")), "d.csv: "),
    "text: four words": ("d.txt", as_text(ROWS) + b"a 0 1 x\n", "line 5: has 4 words"),
    "text: word for a time": ("d.txt", as_text(broken_row(start="zero")), "line 3: segment"),
    "text: no text": ("d.txt", b"a 0 1 x 1\n\xff", "not UTF-8"),
    "text: numbers without names": ("d.txt", as_text(ROWS, lambda label: 999).replace(b"999", b"7777"),
                                "none of its .* is of the labels"),
    "gzip: cut off": ("d.csv.gz", gzip.compress(as_csv(ROWS * 50))[:-20], "gzip"),
    "gzip: damaged": ("d.json.gz", gzip.compress(as_json(ROWS))[:12] + b"\xff" * 40, "gzip"),
    "gzip: of nothing": ("d.json.gz", gzip.compress(b""), "not valid JSON"),
    "pickle: empty": ("r.pkl", b"", "r.pkl: .*(broken|too early)"),
    "pickle: cut off": ("r.pkl", as_pickle(ROWS)[:-30], "r.pkl: .*(broken|too early)"),
    "pickle: no pickle": ("r.pkl", b"video,start\n", "r.pkl: .*broken"),
    "pickle: a list": ("r.pkl", pickle.dumps([1, 2]), "no table"),
    "pickle: a number": ("r.pkl", pickle.dumps(3), "no table"),
    "pickle: empty dict": ("r.pkl", pickle.dumps({}), "has no video-id"),
    "pickle: no labels": ("r.pkl", pickle.dumps({name: [1] for name in ("video-id", "t-start", "t-end", "score")}),
                          "no label"),
    "pickle: lengths": ("r.pkl", pickle.dumps({"video-id": ["a"], "t-start": [0, 1]}), "different lengths"),
    "pickle: text for columns": ("r.pkl", pickle.dumps({"video-id": "a"}), "a str where a column"),
    "pickle: half a label": ("r.pkl", as_pickle(ROWS, lambda label: 1.5), "row 1: label 1.5 is not text"),
    "pickle: numbered otherwise": ("r.pkl", as_pickle(ROWS, lambda label: 77), "77 is no class"),
    "pickle: nan score": ("r.pkl", as_pickle(broken_row(score=float("nan"))), "row 3: score nan"),
    "json: null": ("d.json", b"null", "has no 'results'"),
    "json: reversed": ("d.json", as_json(broken_row(end=1.0)), "--swap-reversed"),
    "json: infinite score": ("d.json", as_json(broken_row(score=float("inf"))), "finite"),
    "a folder": (".", None, "d.*cannot be read|is missing|detections.json"),
    "nothing": ("nope.csv", None, "nope.csv: cannot be read"),
}


@pytest.fixture
def ground_truth(tmp_path):
    database = {video.name: {"subset": "test", "duration": 10.0, "annotations": [
        {"segment": segment.tolist(), "label": label, "label_id": LABEL_IDS[label]}
        for segment, label in zip(video.segments_sec, video.labels, strict=True)]} for video in truth()}
    (tmp_path / "g.json").write_text(json.dumps({"database": database}))
    return tmp_path / "g.json"


@pytest.mark.parametrize(("name", "content", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_one_sentence(tmp_path, ground_truth, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    arguments = ["--ground-truth", str(ground_truth), "--predictions", str(tmp_path / name), "--subset", "test"]
    with pytest.raises(SpotError, match=words) as refusal:
        eval_main(arguments)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 500


EPIC_BROKEN = {
    "no task": (lambda folder: {}, "--task verb, noun or action"),
    "no action": (lambda folder: {"action": 3}, "action 3 is not text such as '3,45'"),
    "half an action": (lambda folder: {"action": "3"}, "action '3' is not text"),
    "word for a verb": (lambda folder: {"verb": "open"}, "verb 'open' is not the number"),
    "word for a score": (lambda folder: {"score": "high"}, "score 'high' is not a finite number"),
    "one time": (lambda folder: {"segment": [1]}, r"segment \[1.*\] is not \[start, end\]"),
}


@pytest.mark.parametrize(("change", "words"), EPIC_BROKEN.values(), ids=EPIC_BROKEN)
def test_a_broken_submission_is_one_sentence(epic, change, words):
    (epic / "p.json").write_text(json.dumps(epic_detections(**change(epic))))
    task = None if "--task" in words else words.split()[0] if words.split()[0] in ("verb", "action") else "noun"
    with pytest.raises(SpotError, match=words):
        read_predictions(epic / "p.json", task=task)


@pytest.mark.parametrize(("column", "value", "words"), [
    ("start_timestamp", "soon", "row 2: 'soon' is no time"), ("stop_timestamp", "1:2", "row 2: '1:2' is no time"),
    ("verb_class", "2.5", "row 2: class '2.5'"), ("noun_class", "cup", "row 2: 'cup' is not a finite number"),
    ("video_id", "../x", "row 2: the video id"), ("noun_class", None, "no column noun_class")])
def test_broken_annotations_of_epic_kitchens_are_one_sentence(tmp_path, column, value, words):
    table = EPIC_ROWS.astype({column: object})
    if value is None:
        table = table.drop(columns=column)
    else:
        table.loc["P01_01_1", column] = value
    table.to_csv(tmp_path / "EPIC_100_validation.csv")
    table.to_pickle(tmp_path / "EPIC_100_validation.pkl")
    for suffix in ("csv", "pkl"):
        with pytest.raises(SpotError, match=words):
            read_epic(tmp_path / f"EPIC_100_validation.{suffix}", "noun")


@pytest.mark.parametrize(("flags", "words"), [
    (["--task", "verb"], "is for annotations of EPIC-KITCHENS"), (["--task", "hand"], "hand"),
    (["--classes", "nope.txt"], "nope.txt"), (["--swap-reversed", "yes"], "yes"), (["--subset", "train"], "train")])
def test_a_flag_that_does_not_fit_is_one_sentence(tmp_path, ground_truth, flags, words):
    (tmp_path / "d.csv").write_bytes(as_csv(ROWS))
    with pytest.raises(SpotError, match=words):
        eval_main(["--ground-truth", str(ground_truth), "--predictions", str(tmp_path / "d.csv"), *flags])


def test_the_only_subset_need_not_be_named(tmp_path, ground_truth, capsys):
    (tmp_path / "d.csv").write_bytes(as_csv(ROWS))
    eval_main(["--ground-truth", str(ground_truth), "--predictions", str(tmp_path / "d.csv")])
    assert "subset test" in capsys.readouterr().out


def test_annotations_without_subsets_are_measured_whole_and_say_so(tmp_path, capsys):
    """A flat dict, as BMN's, holds the training videos too; the table of subsets leaves one of the two."""
    segments = {"annotations": [{"segment": [1.5, 3.25], "label": "Diving"}], "duration_second": 9.0}
    (tmp_path / "flat.json").write_text(json.dumps({"v_a": segments, "v_b": segments}))
    (tmp_path / "info.csv").write_text("video,subset\nv_a,training\nv_b,validation\n")
    (tmp_path / "d.csv").write_bytes(as_csv(ROWS[:1]))
    words = ["--ground-truth", str(tmp_path / "flat.json"), "--predictions", str(tmp_path / "d.csv")]
    eval_main(words)
    said = capsys.readouterr()
    assert "subset (none: all videos)" in said.out and "2 videos" in said.out
    assert "names no subsets, so all of its 2 videos count; --video-info CSV" in said.err
    eval_main([*words, "--video-info", str(tmp_path / "info.csv")])
    said = capsys.readouterr()
    assert "subset validation" in said.out and "1 videos" in said.out and not said.err


def test_a_broken_table_ends_with_code_two(tmp_path, ground_truth):
    (tmp_path / "d.csv").write_bytes(as_csv(broken_row(score="high")))
    done = subprocess.run([sys.executable, "eval.py", "--ground-truth", ground_truth, "--predictions",
                           tmp_path / "d.csv"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "line 4" in done.stderr
