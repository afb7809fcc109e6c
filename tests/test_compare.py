"""The comparison of detectors: what its rows set, that a finished row is not run again, and its table by hand."""

import sys
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest
from test_scripts import ROOT, data, settings

from spot.config import load_config
from spot.files import SpotError

sys.path.insert(0, str(ROOT / "tools"))  # the tools import each other as scripts do

import compare

__all__ = ["data"]  # a fixture
DEMO = str(ROOT / "config" / "demo.yaml")


def test_every_row_is_a_valid_training_and_wins_over_the_user():
    """All with the same number of steps; a detector that the user types does not undo a row."""
    arguments = Namespace(seeds=[3], labels=["0.1"], rows=list(compare.ROWS), steps=800, oracle=False, out=Path("out"),
                          overrides=["model.detector=bmn"])
    found = {job["row"]: load_config(DEMO, compare.settings_of(job))
             for job in compare.make_jobs(arguments, [[DEMO, "model.embed_dim=32"]], ["demo"])}
    assert list(found) == list(compare.ROWS)
    for row, config in found.items():
        wanted = "bmn" if row.startswith("BMN") else "sliding" if row == "sliding window" else "spot"
        assert config.model.detector == wanted
        assert config.training.max_epoch * config.training.steps_per_epoch == 800
        assert (config.training.random_seed, config.dataset.split_seed, config.model.embed_dim) == (3, 3, 32)
    assert {config.semi.method for config in found.values()} == {"none", "mean_teacher", "fixmatch", "sstap", "self",
                                                                "ema"}


def test_a_run_is_a_row_and_is_not_made_again(data, tmp_path, monkeypatch):
    """Trains for real, on the demo data; the second call finds its row in the table and draws it anew."""
    overrides = settings(data, tmp_path / "unused", "training.pretrain_epoch=0")[2:]
    arguments = ["--data", DEMO, "--labels", "0.5", "--rows", "sliding window", "--seeds", "3", "--steps", "8",
                 "--oracle", "--out", str(tmp_path / "out")]
    compare.main([*arguments, *overrides])
    [row] = pd.read_csv(tmp_path / "out" / "compare.csv").to_dict("records")
    assert (row["row"], row["steps"], row["seed"]) == ("sliding window", 8, 3)
    assert all(0 <= row[key] <= 1 for key in ("average_mAP", "oracle_mAP", "AR_100"))
    assert row["train_sec"] > 0 and row["infer_sec"] > 0 and row["memory_MB"] > 50
    assert (tmp_path / "out" / "compare.png").stat().st_size > 5_000
    monkeypatch.setattr(compare, "run", None)  # would be called for a new run
    compare.main([*arguments, *overrides])


@pytest.mark.parametrize(("setting", "words"), [
    ("testing.class_scores=scores.json", "compared by their own classes; give testing.class_scores=none"),
    ("loss.boundary=1", "model.detector=bmn has no such loss")])
def test_what_a_row_cannot_take_is_told_before_the_first_run(data, tmp_path, monkeypatch, setting, words):
    monkeypatch.setattr(compare, "run", None)  # would be called for a run
    with pytest.raises(SpotError, match=words):
        compare.main(["--data", DEMO, "--rows", "SPOT, shipped", "BMN, labels only", "--out", str(tmp_path / "out"),
                      setting, *settings(data, tmp_path / "unused", "training.pretrain_epoch=0")[2:]])
    assert not (tmp_path / "out").exists()


def test_the_table_by_hand(tmp_path):
    """BMN 20 and 24 against SPOT 30 and 36: mean 22, deviation 2.8, differences 10 and 12: t = 11, so with one degree
    of freedom p = 1 - 2 atan(11) / pi = 0.058. Given the true segments it gets 62: a fall of 40. The whole-video
    baseline is that of SPOT's classes, 25 and 27."""
    rows = [("BMN, labels only", 0, 0.20, 0.60, 0.2), ("BMN, labels only", 1, 0.24, 0.64, 0.2),
            ("SPOT, shipped", 0, 0.30, 0.70, 0.25), ("SPOT, shipped", 1, 0.36, 0.70, 0.27)]
    pd.DataFrame([{"key": f"{row}{seed}", "data": "x", "labels": "0.1", "row": row, "seed": seed, "steps": 8,
                   "average_mAP": value, "oracle_mAP": oracle, "whole_video": whole, "AR_100": 0.5, "train_sec": 10,
                   "infer_sec": 1, "memory_MB": 100} for row, seed, value, oracle, whole in rows]
                 ).to_csv(tmp_path / "compare.csv", index=False)
    found = compare.summary(tmp_path / "compare.csv")
    bmn = found.loc[("x", 8, "0.1", "BMN, labels only")]
    assert (bmn["average_mAP"], bmn["deviation"], bmn["seeds"], bmn["fall"]) == (22, 2.8, 2, 40)
    assert bmn["p"] == pytest.approx(0.058, abs=0.001)
    assert found.loc[("x", 8, "0.1", compare.BASELINE), "average_mAP"] == 26
    assert found["p_published"].isna().all()  # nobody ran the published SPOT
    compare.write_table(found, tmp_path / "compare.md")
    table = (tmp_path / "compare.md").read_text().splitlines()
    cells = [cell.strip() for cell in table[3].split("|")]
    assert cells[1:7] == ["x", "10%", "BMN, labels only", "2", "22.0 ± 2.8", "0.058"]
    assert cells[7:14] == ["", "62.0", "40.0", "50.0", "10", "1.0", "100"]
    compare.draw(found, tmp_path / "compare.png")
