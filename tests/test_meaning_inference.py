"""Inference says which settings are not those of the training, and keeps the results of two settings apart."""

import shutil

import numpy as np
import pytest
from omegaconf import OmegaConf
from test_safety import everything_below
from test_scripts import data, ends, refused, run_folder
from tiny import C, T, model

import spot
import spot_inference
from spot import load_model
from spot.files import SpotError, read_json

__all__ = ["data", "run_folder"]  # fixtures


def settings_at(run, capsys, *overrides):
    """What inference says on stderr."""
    capsys.readouterr()
    spot_inference.main([f"checkpoint={run}", *overrides])
    return capsys.readouterr().err


@pytest.mark.parametrize(("override", "words"), [
    ("dataset.stride=5", "dataset.stride is 5, and the run was trained with 25"),
    ("dataset.window=5", "dataset.window is 5, and the run was trained with 25"),
    ("dataset.offset=8", "dataset.offset is 8, and the run was trained with 0"),
    ("dataset.fps=50", "dataset.fps is 50.0, and the run was trained with 25.0"),
])
def test_another_grid_is_warned_of_and_kept_out_of_the_run_folder(run_folder, tmp_path, capsys, override, words):
    before = everything_below(run_folder)
    message = refused(capsys, spot_inference.main, f"checkpoint={run_folder}", override)
    assert words in message and "output_path=FOLDER" in message and everything_below(run_folder) == before
    assert words in settings_at(run_folder, capsys, override, f"output_path={tmp_path}/other")
    assert everything_below(run_folder) == before and (tmp_path / "other" / "detections.json").exists()


def test_an_edited_config_is_no_training_setting(run_folder, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    config = OmegaConf.load(folder / "config.yaml")
    config.dataset.stride = 5
    OmegaConf.save(config, folder / "config.yaml")
    message = refused(capsys, spot_inference.main, f"checkpoint={folder}")
    assert "dataset.stride is 5, and the run was trained with 25" in message


@pytest.mark.parametrize(("override", "trained"), [
    ("model.embed_dim=64", "8"), ("model.embedding_head=1", "2"), ("model.dropout=0.5", "0.1"),
    ("model.mask_head=fixed", "pairwise"), ("model.standardize=none", "")])
def test_a_model_key_without_effect_is_refused(run_folder, tmp_path, capsys, override, trained):
    message = refused(capsys, spot_inference.main, f"checkpoint={run_folder}", f"output_path={tmp_path}", override)
    assert f"{override} has no effect at inference" in message and trained in message
    assert not (tmp_path / "detections.json").exists()


def test_keys_of_the_data_and_of_the_learning_are_told_from_each_other(run_folder, tmp_path, capsys):
    said = settings_at(run_folder, capsys, f"output_path={tmp_path}", "dataset.eval_subset=training",
                       "training.max_epoch=9", "dataset.labeled=0.9", "semi.method=none", "testing.min_score=0.1",
                       "model.embed_dim=8", "training.device=cpu")
    assert "note: dataset.eval_subset is training, and of the run validation" in said
    for key in ("training.max_epoch", "dataset.labeled", "semi.method"):
        assert f"warning: {key} has no effect at inference" in said
    assert said.count("\n") == 4


def test_what_only_the_training_reads_moves_no_detection(run_folder, tmp_path, capsys):
    """A key of the pretext stage, and one of a classifier that is not there: told, and the threshold still holds."""
    capsys.readouterr()
    spot_inference.main([f"checkpoint={run_folder}", f"output_path={tmp_path}", "pretext.chunks=4",
                         "testing.class_scores_fusion=sqrt"])
    said = capsys.readouterr()
    assert "warning: pretext.chunks has no effect at inference" in said.err
    assert "warning: testing.class_scores_fusion has no effect with testing.class_scores=none" in said.err
    assert "chosen with another" not in said.out


def test_inference_as_trained_says_nothing(run_folder, tmp_path, capsys):
    said = settings_at(run_folder, capsys, f"output_path={tmp_path}")
    assert said.startswith("warning: 1 of 3 validation videos have no features") and said.count("\n") == 1


def test_repeated_inference_leaves_nothing_of_the_first(run_folder, tmp_path):
    """Another threshold: other detections, so neither metrics nor pictures of the old ones stay."""
    folder = shutil.copytree(run_folder, tmp_path / "run")
    (folder / "timelines").mkdir(exist_ok=True)
    (folder / "timelines" / "old.png").write_bytes(b"old")
    assert (folder / "metrics.json").exists()
    spot_inference.main([f"checkpoint={folder}", "testing.max_detections=1"])
    assert not (folder / "metrics.json").exists() and not list((folder / "timelines").iterdir())
    assert max(map(len, read_json(folder / "detections.json")["results"].values())) == 1


def test_own_videos_keep_no_pictures_of_earlier_inputs(run_folder, data, tmp_path):
    for name in ("kitchen", "garden"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / f"{name}.npy", np.load(data / "features" / "v_demo_0008.npy")[:20])
        spot_inference.main([f"checkpoint={run_folder}", f"features={tmp_path}/{name}", "fps=25", "--plot",
                             f"output_path={tmp_path}/out"])
        assert [path.name for path in (tmp_path / "out" / "own" / "timelines").iterdir()] == [f"{name}.png"]


def test_a_checkpoint_alone_detects_by_what_it_says_of_itself(run_folder, data, tmp_path):
    """best.pt without its config.yaml, and no --config: grid, model and decoding come from the file."""
    (tmp_path / "alone").mkdir()
    shutil.copy(run_folder / "best.pt", tmp_path / "alone" / "best.pt")
    video = data / "features" / "v_demo_0008.npy"
    found = []
    for source in (tmp_path / "alone" / "best.pt", run_folder):
        spot_inference.main([f"checkpoint={source}", f"features={video}", "fps=25", f"output_path={tmp_path}/out"])
        found.append(read_json(tmp_path / "out" / "own" / "detections.json")["results"])
    assert found[0] == found[1] and all(found[0].values())


def test_ctrl_c_in_inference_prints_the_command(run_folder, tmp_path, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("spot.inference.detect", stopped)
    arguments = [f"checkpoint={run_folder}", f"output_path={tmp_path}/a folder"]
    monkeypatch.setattr("sys.orig_argv", ["python", "spot_inference.py", *arguments])
    monkeypatch.setattr("sys.argv", ["spot_inference.py", *arguments])
    assert ends(lambda _: spot_inference.main(), "") == 130
    line = capsys.readouterr().err.splitlines()[-2]
    assert line == (f"this command begins again: python spot_inference.py checkpoint={run_folder} "
                    f"'output_path={tmp_path}/a folder'")


def test_an_error_in_inference_leaves_earlier_detections_with_their_settings(run_folder, tmp_path, monkeypatch, capsys):
    """Ctrl-C does not: what was found until then is there, by the new settings."""
    elsewhere = [f"checkpoint={run_folder}", f"output_path={tmp_path}/out"]
    spot_inference.main([*elsewhere, "testing.top_k=20"])
    before = everything_below(tmp_path / "out")
    for error in (SpotError("x.npy: is broken"), KeyboardInterrupt):
        def stopped(*_, error=error, **__):
            raise error

        monkeypatch.setattr("spot.inference.detect", stopped)
        ends(spot_inference.main, *elsewhere, "testing.top_k=30")
        after = everything_below(tmp_path / "out")
        assert (after == before) is isinstance(error, SpotError)
    assert "top_k: 30" in after[tmp_path / "out" / "config.yaml"].decode()
    assert read_json(tmp_path / "out" / "detections.json")["partial"]


def test_in_python_other_settings_than_those_of_the_training_are_warned_of(run_folder):
    net = load_model(run_folder)
    x = np.ones((6, 20), np.float32)
    with pytest.warns(UserWarning, match="detect: stride is 5, and the model was trained with 25"):
        spot.detect(net, x, 20.0, fps=25, stride=5)
    net = model()
    net.settings = {"grid": "window", "temporal_scale": T, "stride": 1, "window": 1, "fps": 1.0}
    with pytest.warns(UserWarning, match="detect: grid is 'resize', and the model was trained with 'window'"):
        spot.detect(net, np.ones((C, 20), np.float32), 20.0, grid="resize")
