"""The length curve's runs: what is held out is never learned from, and a run is a row of the table."""

import sys

import pandas as pd
import pytest
from test_scripts import ROOT, data, settings

from spot.config import load_config
from spot.files import SpotError

sys.path.insert(0, str(ROOT / "tools"))  # the tools import each other as scripts do

import length_curve

__all__ = ["data"]  # a fixture


def test_held_out_videos_show_no_labels_and_are_not_learned_from(data, tmp_path):
    config = load_config(ROOT / "config" / "demo.yaml", settings(data, tmp_path / "unused")[2:])
    learned, held_out, labeled = length_curve.parts(config, 0)
    assert held_out and set(labeled) <= set(learned) and not set(held_out) & set(learned)
    assert length_curve.parts(config, 0) == (learned, held_out, labeled)


def test_a_run_is_a_row_and_is_not_made_again(data, tmp_path, monkeypatch):
    """Trains for real on the demo data; the second call finds its row and draws it anew."""
    overrides = settings(data, tmp_path / "unused", "training.max_epoch=1")[2:]
    arguments = ["--data", str(ROOT / "config" / "demo.yaml"), "--steps", "32", "--methods", "labels only", "--out",
                 str(tmp_path / "out")]
    length_curve.main([*arguments, *overrides])
    table = pd.read_csv(tmp_path / "out" / "curve.csv")
    assert table["method"].tolist() == ["labels only"] and table["average_mAP"].between(0, 1).all()
    assert (table["labeled"] + table["unlabeled"] + table["held_out"]).tolist() == [8]
    assert (tmp_path / "out" / "curve.png").stat().st_size > 10_000
    monkeypatch.setattr(length_curve, "run", None)  # would be called for a new run
    length_curve.main([*arguments, *overrides])


def test_each_data_set_needs_a_name_of_its_own(tmp_path):
    """Two sets of one settings file would be one panel; fewer names than sets have no meaning."""
    demo = ["--data", str(ROOT / "config" / "demo.yaml")] * 2
    for names in ([], ["--names", "a"]):
        with pytest.raises(SpotError, match="2 data sets need as many different names"):
            length_curve.main([*demo, *names, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
