"""`spot_inference.py RUN --suggest N`, and a tiny round of tools/suggest_curve.py, on a tiny demo data set."""

import csv
import sys

import pandas as pd
import pytest
from test_scripts import ROOT, data, refused, settings

import spot_inference
import spot_train
from spot.files import SpotError

sys.path.insert(0, str(ROOT / "tools"))  # the tools import each other as scripts do

import suggest_curve

__all__ = ["data"]  # a fixture
QUICK = ["training.max_epoch=1", "training.pretrain_epoch=0", "semi.method=none"]


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run on 3 of the 8 training videos."""
    folder = tmp_path_factory.mktemp("run")
    spot_train.main(settings(data, folder, *QUICK))
    return folder


def test_unlabeled_recordings_are_suggested_with_reasons(run, capsys):
    spot_inference.main([str(run), "--suggest", "4"])
    said = capsys.readouterr().out
    assert "3 recordings are labeled, 5 are not; to annotate next:\n  1. demo_" in said
    with (run / "suggest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labeled = (run / "labeled.txt").read_text().split()
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"] and all(row["reasons"] for row in rows)
    assert len({row["video"] for row in rows}) == 4 and not {row["video"] for row in rows} & set(labeled)
    assert (run / "suggest.png").stat().st_size > 10_000
    assert not (run / "detections.json").exists()
    assert said.endswith(f"python spot_inference.py {run} dataset.eval_subset=training --review\n")
    first = (run / "suggest.csv").read_bytes()
    spot_inference.main([str(run), "--suggest", "4"])
    assert (run / "suggest.csv").read_bytes() == first  # the same views, the same ranking


def test_more_than_there_are_is_all_of_them(run, capsys):
    spot_inference.main([str(run), "--suggest", "99"])
    assert "\n  5. demo_" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "message"), [
    (["--suggest", "0"], "must be a whole number from 1"),
    (["--suggest", "3", "--plot"], "--suggest detects nothing, so --plot has no effect"),
    (["--suggest", "3", "features=x"], "so features= has no effect; put features of new recordings into dataset."),
])
def test_what_has_no_effect_beside_suggest_is_refused(run, capsys, words, message):
    assert message in refused(capsys, spot_inference.main, str(run), *words)


def test_nothing_is_left_where_all_are_labeled(run, data, tmp_path, capsys):
    (run / "labeled.txt").rename(tmp_path / "labeled.txt")
    try:
        assert "labeled.txt: is missing" in refused(capsys, spot_inference.main, str(run), "--suggest", "1")
        (run / "labeled.txt").write_text("".join(f"demo_{number:04}\n" for number in range(8)))
        assert "every training recording is labeled" in refused(capsys, spot_inference.main, str(run), "--suggest", "1")
    finally:
        (tmp_path / "labeled.txt").replace(run / "labeled.txt")


# --- simulated rounds -------------------------------------------------------------------------------------------------


def test_rounds_of_all_orders_grow_from_one_start(data, tmp_path, monkeypatch):
    """8 training videos of 3 classes: a start that shows all classes, then 5 of them, by each order."""
    overrides = settings(data, tmp_path / "unused", *QUICK)[2:]
    arguments = ["--data", str(ROOT / "config" / "demo.yaml"), "--seeds", "1", "--steps", "2",
                 "--shares", "0.625", "--out", str(tmp_path / "out")]
    suggest_curve.main([*arguments, *overrides])
    table = pd.read_csv(tmp_path / "out" / "curve.csv")
    start = table["labeled"].iloc[0]
    assert table["order"].tolist() == ["start", "random", "uncertainty", "suggest"]
    assert table["labeled"].tolist() == [start, 5, 5, 5] and start < 5
    assert table["average_mAP"].between(0, 1).all()
    folder = tmp_path / "out" / "demo"
    first = (folder / "start" / "1" / str(start) / "chosen.txt").read_text().split()
    for order in ("random", "uncertainty", "suggest"):
        five = (folder / order / "1" / "5.txt").read_text().split()
        assert five[:start] == first and len(set(five)) == 5
    assert (tmp_path / "out" / "curve.png").stat().st_size > 10_000
    monkeypatch.setattr(suggest_curve.Simulation, "train", None)  # would be called for a new round
    suggest_curve.main([*arguments, *overrides])


def test_labels_of_recordings_that_are_not_chosen_are_not_there():
    from tiny import LABELED

    bare = suggest_curve.without_labels(LABELED[0])
    assert not len(bare.segments_sec) and bare.labels == () and bare.duration_sec == LABELED[0].duration_sec


@pytest.mark.parametrize(("words", "message"), [
    (["model.detector=bmn"], "--orders uncertainty needs the classes of snippets, which model.detector=bmn"),
    (["--names", "a", "b"], "--names: 1 data sets need as many different names")])
def test_what_the_curve_cannot_do_is_told_before_the_first_training(data, tmp_path, monkeypatch, words, message):
    monkeypatch.setattr(suggest_curve, "Simulation", None)  # would be called for a round
    with pytest.raises(SpotError, match=message):
        suggest_curve.main(["--data", str(ROOT / "config" / "demo.yaml"), "--out", str(tmp_path / "out"), *words,
                            *settings(data, tmp_path / "unused")[2:]])
    assert not (tmp_path / "out").exists()
