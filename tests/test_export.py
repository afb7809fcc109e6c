"""Exported tables hold the numbers of the evaluation, LaTeX rows are safe to paste, figures come out twice the same."""

import csv
import json

import numpy as np
import pytest
from test_diagnosis import video

import eval as evaluation_script
from spot.evaluation import ACTIVITYNET_TIOU, evaluate_detections
from spot.export import as_latex, latex_cell
from spot.findings import gather
from spot.look import drawn
from spot.plots import recall_figure


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What eval.py leaves of two videos: metrics.json, a report and the exported files."""
    folder = tmp_path_factory.mktemp("results")
    write(folder, {"a": ("validation", [(0, 10, "run_50%"), (20, 30, "jump & fall")]),
                   "b": ("validation", [(0, 10, "run_50%")])},
          {"a": [(0, 9, "run_50%", 0.9), (20, 26, "jump & fall", 0.8)]},
          action_threshold={"threshold": 0.5, "per_class": {"run_50%": 0.5}, "chosen_on": "3 labeled videos"})
    evaluate(folder, "--tiou", "0.5:0.75:2", "--report", f"{folder}/report", "--export", f"{folder}/export",
             "--bootstrap", "20")
    return folder


def write(folder, truth, found, **facts):
    """truth: {video: (subset, [(start, end, label), ...])}; found: {video: [(start, end, label, score), ...]}"""
    database = {name: {"subset": subset, "duration": 50, "annotations": [
        {"segment": [start, end], "label": label} for start, end, label in segments]}
        for name, (subset, segments) in truth.items()}
    results = {name: [{"segment": [start, end], "label": label, "score": score} for start, end, label, score in rows]
               for name, rows in found.items()}
    (folder / "truth.json").write_text(json.dumps({"database": database}))
    (folder / "found.json").write_text(json.dumps({"results": results, **facts}))


def evaluate(folder, *arguments):
    """Run eval.py; returns its metrics."""
    evaluation_script.main(["--ground-truth", f"{folder}/truth.json", "--predictions", f"{folder}/found.json",
                            "--subset", "validation", "--output", f"{folder}/metrics.json", *arguments])
    return json.loads((folder / "metrics.json").read_text())


def rows_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_tables_hold_the_numbers_of_the_evaluation(folder):
    """run_50% has tIoU .9 with one of two segments: AP .5; jump & fall has .6: AP 1 at .5 and 0 at .75."""
    folder = folder / "export"
    mAP = {row["measure"]: row for row in rows_of(folder / "mAP.csv")}
    assert float(mAP["mAP"]["0.50"]) == 0.75 and float(mAP["mAP"]["0.75"]) == 0.25
    assert float(mAP["mAP"]["average"]) == 0.5
    by_class = {row["class"]: row for row in rows_of(folder / "AP_by_class.csv")}
    assert by_class["run_50%"]["segments"] == "2" and float(by_class["jump & fall"]["0.50"]) == 1
    actions = {row["class"]: row for row in rows_of(folder / "actions.csv")}
    assert actions["all classes"]["actions"] == "2" and float(actions["all classes"]["recall"]) == 1 / 3  # at .75
    assert actions["jump & fall"]["precision"] == "" and actions["jump & fall"]["score from"] == ""  # no threshold
    assert sum(float(row["background"]) for row in rows_of(folder / "error_profile.csv")) == 0


def test_there_is_a_latex_row_for_each_row_and_two_files_for_each_figure(folder):
    folder = folder / "export"
    for path in folder.glob("*.csv"):
        lines = path.with_suffix(".tex").read_text().splitlines()
        assert len(lines) == len(rows_of(path)) + 1 and all(line.endswith(r" \\") for line in lines[1:])
        assert len({line.count(" & ") for line in lines}) == 1 or "jump" in path.with_suffix(".tex").read_text()
    pdfs, svgs = ({path.stem for path in folder.glob(f"*.{kind}")} for kind in ("pdf", "svg"))
    assert pdfs == svgs >= {"map_by_tiou", "ap_by_class", "sensitivity", "timelines"}
    assert (folder / "map_by_tiou.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (folder / "map_by_tiou.svg").read_text()


def test_latex_rows_by_hand():
    rows = [["run_50%", 12, 0.12345, None], ["a\\b", 3, np.float64(1.0), 0.0]]
    assert as_latex(["class", "n", "AP", "x"], rows).splitlines() == [
        "% class & n & AP & x", r"run\_50\% & 12 & 12.3 & -- \\", r"a\textbackslash{}b & 3 & 100.0 & 0.0 \\"]
    assert latex_cell("XS ≤0.2 & {x}") == r"XS $\leq$0.2 \& \{x\}"


@pytest.fixture
def files(tmp_path):
    """Two segments of validation and one of training, in a file each."""
    truth = {"a": ("validation", [(0, 10, "run"), (20, 30, "run")]), "t": ("training", [(0, 10, "run")])}
    write(tmp_path, truth, {"t": [(0, 10, "run", 0.6), (30, 40, "run", 0.5)]})
    (tmp_path / "found.json").rename(tmp_path / "training.json")
    write(tmp_path, truth, {"a": [(0, 10, "run", 0.9), (20, 30, "run", 0.4)]})
    return tmp_path


def test_the_threshold_is_chosen_on_the_named_subset(files, capsys):
    """On training the best list ends at .6; half way to the next score, .55, one of two of validation is found."""
    actions = evaluate(files, "--operating-point", "training", "--operating-predictions", f"{files}/training.json")[
        "actions"]
    assert actions["overall"]["threshold"] == pytest.approx(0.55) and actions["overall"]["recall"] == 0.5
    assert actions["per_class"]["run"]["threshold"] == pytest.approx(0.55)
    assert "subset training" in capsys.readouterr().out
    actions = evaluate(files, "--operating-point", "validation")["actions"]
    assert actions["overall"]["threshold"] == 0.4 and actions["overall"]["recall"] == 1
    assert "the one that is measured" in capsys.readouterr().out
    assert "actions" not in evaluate(files)  # never silently


def test_the_threshold_given_or_stored_is_measured(files):
    assert evaluate(files, "--action-threshold", "0.3")["actions"]["overall"]["actions"] == 2
    found = json.loads((files / "found.json").read_text())
    (files / "found.json").write_text(json.dumps({
        **found, "action_threshold": {"threshold": 0.5, "per_class": {"run": 0.95}, "chosen_on": "3 videos"}}))
    actions = evaluate(files)["actions"]
    assert actions["chosen_on"] == "3 videos" and actions["overall"]["threshold"] == 0.5
    assert actions["per_class"]["run"]["actions"] == 0


@pytest.mark.parametrize(("arguments", "words"), [
    (["--operating-point", "testing"], "testing"),
    (["--operating-predictions", "x.json"], "--operating-point"),
    (["--operating-point", "training", "--action-threshold", "0.3"], "leave one of them out"),
    (["--action-threshold", "nan"], "is no score"),
])
def test_a_mistake_about_the_threshold_is_one_sentence(files, arguments, words):
    with pytest.raises(ValueError, match=words):
        evaluate(files, *arguments)


def test_recall_and_diagnosis_are_in_the_metrics(files):
    metrics = evaluate(files, "--recall", "--diagnose", "--bootstrap", "20")
    assert metrics["recall"]["AR@AN"]["100"] == 1 and metrics["diagnosis"]["profile"][0][0] == 1
    assert metrics["average_mAP_interval"][1] <= 1
    assert [bucket["segments"] for bucket in metrics["diagnosis"]["sensitivity"]["instances"]] == [0, 2, 0, 0]


def test_report_and_export_give_all_metrics(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"recall", "diagnosis", "average_mAP_interval", "mAP_interval", "actions"} <= set(metrics)
    page = (folder / "report" / "report.html").read_text()
    for words in ("--ground-truth", "commit", f"{folder}/truth.json, subset validation", "3 labeled videos"):
        assert words in page


def test_the_same_run_gives_the_same_pictures_to_the_last_byte():
    """No date and no random name in a PDF or SVG, so that a paper's folder changes only where results do."""
    findings = gather(evaluate_detections([video("a", (0, 10, "run"))], {"results": {}}, "validation", [0.5]), 2)
    for kind in ("pdf", "svg"):
        one, two = (drawn(recall_figure(findings.recall, ACTIVITYNET_TIOU), kind) for _ in range(2))
        assert one == two and b"Date" not in one
