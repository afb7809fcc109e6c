"""The ablation's runs: each trains with the labels and the settings of its row, whatever else is replaced."""

import argparse
import math
from pathlib import Path

import pandas as pd
import pytest
from test_scripts import ROOT, data, settings

from spot.files import SpotError
from tools import ablation

__all__ = ["data"]  # a fixture
PUBLISHED = str(ROOT / "config" / "anet.yaml")


def jobs(yaml, *overrides, labels=("0.1", "0.6", "1.0"), rows=tuple(ablation.TRAININGS)):
    return list(ablation.make_jobs(argparse.Namespace(
        data=[yaml], seeds=[0, 1], labels=list(labels), rows=list(rows), out=Path("out"), overrides=list(overrides))))


def last_of(job, key):
    """The value that holds where a key is given more than once."""
    return [text.partition("=")[2] for text in ablation.settings_of(job) if text.startswith(f"{key}=")][-1]


def test_every_row_at_few_labels_and_two_of_them_at_more():
    found = jobs(PUBLISHED)
    assert len(found) == 2 * (len(ablation.TRAININGS) + 2 * len(ablation.MORE_LABELS))
    assert len({job["key"] for job in found}) == len({job["folder"] for job in found}) == len(found)
    assert [job["key"] for job in found if job["scores"]] == ["anet/0.1/shipped defaults/0",
                                                              "anet/0.1/shipped defaults/1"]


def test_a_path_of_the_user_does_not_undo_the_share_of_labels():
    found = jobs(PUBLISHED, "dataset.video_info_path=elsewhere/info_0.9.csv", rows=["labels only"])
    assert [(job["share"], last_of(job, "dataset.video_info_path")) for job in found[:3]] == [
        ("0.1", "elsewhere/info_0.9.csv"), ("0.6", "elsewhere/info_0.4.csv"), ("1.0", "elsewhere/info.csv")]


def test_a_share_that_nobody_published_is_refused():
    with pytest.raises(SpotError, match=r"--labels 0\.3"):
        ablation.settings_of(jobs(PUBLISHED, labels=["0.3"])[0])


def test_the_paired_test_by_hand():
    """Differences 1, 2, 3: mean 2, deviation 1, t = 2 sqrt(3) = 3.464; with two degrees of freedom
    p = 1 - t / sqrt(t^2 + 2) = 1 - 3.464 / 3.742 = 0.0742.
    """
    one, other = pd.Series({0: 51.0, 1: 62.0, 2: 73.0, 9: 1.0}), pd.Series({0: 50.0, 1: 60.0, 2: 70.0})
    assert ablation.paired_p(one, other) == pytest.approx(0.0742, abs=1e-4)
    assert ablation.paired_p(other, one) == pytest.approx(0.0742, abs=1e-4)
    assert ablation.paired_p(one, one) == 1 and math.isnan(ablation.paired_p(one[:1], other))


def test_the_summary_has_p_and_the_share_of_the_gap(tmp_path):
    """Labels only 40 and 42, shipped 50 and 53, all labels 60 and 62: the gap is 41 to 61, and 51.5 is 52.5 % of it."""
    rows = [("0.1", "labels only", 0.40, 0.42), ("0.1", "shipped defaults", 0.50, 0.53),
            ("1.0", "labels only", 0.60, 0.62)]
    pd.DataFrame([{"key": f"x/{labels}/{row}/{seed}", "data": "x", "labels": labels, "row": row, "seed": seed,
                   "average_mAP": value} for labels, row, *values in rows for seed, value in enumerate(values)]
                 ).to_csv(tmp_path / "results.csv", index=False)
    found = ablation.summary(tmp_path / "results.csv")
    shipped = found.loc[("x", "0.1", "shipped defaults")]
    assert shipped["gap"] == 52 and shipped["count"] == 2 and 0 < shipped["p"] < 0.1
    assert math.isnan(found.loc[("x", "0.1", "labels only"), "p"]) and math.isnan(found["p"].iloc[-1])


def test_a_run_is_a_row_and_is_not_made_again(data, tmp_path, monkeypatch):
    """Trains for real, on the demo data; the second call finds its rows in the table."""
    out, yaml = tmp_path / "out", str(ROOT / "config" / "demo.yaml")
    overrides = settings(data, tmp_path / "unused", "training.steps_per_epoch=1")[2:]
    arguments = ["--data", yaml, "--labels", "0.5", "--rows", "shipped defaults", "--seeds", "3", "--out", str(out)]
    ablation.main([*arguments, *overrides])
    table = ablation.pd.read_csv(out / "results.csv")
    assert list(table["row"]) == ["shipped defaults", *ablation.SCORES] and set(table["seed"]) == {3}
    assert table["average_mAP"].between(0, 1).all()
    assert (out / "ablation.png").stat().st_size > 10_000

    monkeypatch.setattr(ablation, "append", None)  # would be called for a new run
    ablation.main([*arguments, *overrides])
