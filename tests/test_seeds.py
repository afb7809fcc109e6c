"""A run per seed: which seeds a text names, their mean and deviation, and the loop of spot_train.py."""

import pytest
from test_scripts import data, ends, settings

import spot_train
from spot.checkpoint import RunFolder
from spot.config import load_config
from spot.files import SpotError, read_json
from spot.seeds import seeds_in, summary, summary_text

__all__ = ["data"]  # a fixture


@pytest.mark.parametrize(("text", "seeds"), [("0", [0]), ("0,1,2", [0, 1, 2]), ("3, 1", [3, 1]),
                                             ("0-3,7", [0, 1, 2, 3, 7])])
def test_seeds_are_written_as_a_list_or_a_range(text, seeds):
    assert seeds_in(text) == seeds


@pytest.mark.parametrize(("text", "words"), [("", "'' is no seed"), ("0,", "'' is no seed"), ("a", "'a' is no seed"),
                                             ("-1", "no seed"), ("0.5", "no seed"), ("3-1", "no seed"),
                                             ("0-2,1", "names 1 twice"), ("0-5000", "no seed")])
def test_other_text_is_refused(text, words):
    with pytest.raises(SpotError, match=words):
        seeds_in(text)


def test_mean_and_deviation_by_hand():
    """50, 54 and 58 %: mean 54, deviation of the sample sqrt((16 + 0 + 16) / 2) = 4."""
    found = summary({seed: {"average_mAP": value, "mAP": {"0.50": 2 * value - 0.5}}
                     for seed, value in {4: 0.5, 5: 0.54, 6: 0.58}.items()})
    assert found["seeds"] == [4, 5, 6] and found["average_mAP"]["mean"] == pytest.approx(0.54)
    assert found["average_mAP"]["deviation"] == pytest.approx(0.04)
    assert found["average_mAP"]["values"] == [0.5, 0.54, 0.58]
    assert summary_text(found).splitlines()[1:] == ["  average mAP       54.0 ± 4.0   (50.0, 54.0, 58.0)",
                                                    "  mAP at tIoU 0.50  58.0 ± 8.0   (50.0, 58.0, 66.0)"]
    alone = summary({0: {"average_mAP": 0.5, "mAP": {}}})
    assert alone["average_mAP"]["deviation"] is None
    assert summary_text(alone).splitlines()[1] == "  average mAP       50.0   (50.0)"


def test_the_script_trains_detects_and_evaluates_each_seed(data, tmp_path, capsys):
    words = settings(data, tmp_path / "runs", "training.pretrain_epoch=0", "semi.method=none")
    spot_train.main([*words, "--seeds", "3,4"])
    written = read_json(tmp_path / "runs" / "seeds.json")
    for seed, value in zip((3, 4), written["average_mAP"]["values"], strict=True):
        folder = RunFolder(tmp_path / "runs" / f"seed{seed}")
        assert load_config(folder.config).training.random_seed == seed
        assert read_json(folder.path / "metrics.json")["average_mAP"] == value
    assert written["seeds"] == [3, 4]
    assert "2 runs, seeds 3, 4; mean and deviation, %" in capsys.readouterr().out
    assert ends(spot_train.main, *words, "--seeds", "3,4") == 2  # the runs exist
    capsys.readouterr()
    spot_train.main([*words, "--seeds", "3,4", "training.resume=auto"])
    assert read_json(tmp_path / "runs" / "seeds.json") == written


@pytest.mark.parametrize("words", [["training.random_seed=1"], ["{run}"]])
def test_what_contradicts_the_seeds_is_refused(tmp_path, words):
    with pytest.raises(SpotError, match=r"--seeds begins runs|holds no run"):
        spot_train.main(["--seeds", "0", *(word.format(run=tmp_path) for word in words)])
