"""The ablation's runs: each trains with the labels and the settings of its row, whatever else is replaced."""

import argparse
from pathlib import Path

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
