"""A saved state is more than its shape: a run is resumed with what its weights mean, and keeps its own schedule."""

import json
import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from test_checkpoint import ARCHITECTURE, SETTINGS
from test_safety import everything_below
from test_scripts import TINY, data, ends, log_of, refused, run_folder, settings
from tiny import C, video

import spot_train
from spot import checkpoint
from spot.checkpoint import RunFolder
from spot.files import SpotError, read_json, write_json
from spot.meaning import Meaning, differences, digest, other_names, other_statistics

__all__ = ["data", "run_folder"]  # fixtures
RESUME = "training.resume=auto"


def renamed(folder, old, new):
    """A class with another name in the annotations of a data set."""
    path = folder / "annotations.json"
    path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))


# --- the same meaning or none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "words"), [
    (["dataset.stride=50"], ["dataset.stride was 25 and is 50"]),
    (["dataset.grid=resize"], ["dataset.grid was 'window' and is 'resize'"]),
    (["dataset.window=50", "dataset.offset=3"], ["dataset.window was 25 and is 50", "dataset.offset was 0 and is 3"]),
    (["dataset.fps=50"], ["dataset.fps was 25.0 and is 50.0"]),
    (["dataset.labeled=0.6"], ["labeled video names differ (3 and 5)", "only now"]),
    (["dataset.split_seed=3"], ["labeled video names differ (3 and 3)", "only then", "only now"]),
    (["training.holdout=0.34"], ["video held out names differ (0 and 1)"]),
    (["model.embed_dim=16"], ["model.embed_dim was 8 and is 16"]),
    (["model.embedding_head=1"], ["model.embedding_head was 2 and is 1"]),  # the shapes are the same
    (["model.temporal_scale=8"], ["model.temporal_scale was 16 and is 8"]),
    (["model.class_activation=softmax"], ["model.class_activation was 'sigmoid' and is 'softmax'"]),
    (["pretext.chunks=4"], ["pretext.chunks was 5 and is 4"]),
    (["training.optimizer=adam"], ["training.optimizer was 'adamw' and is 'adam'"]),
], ids=lambda value: value[0])
def test_resuming_with_another_meaning_names_both_values_and_writes_nothing(run_folder, data, tmp_path, capsys, changes,
                                                                            words):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    before = everything_below(folder)
    message = refused(capsys, spot_train.main, *settings(data, folder, RESUME, *changes))
    assert "last.pt: cannot be resumed" in message and all(word in message for word in words)
    assert everything_below(folder) == before


def test_resuming_with_a_renamed_class_names_both(run_folder, data, tmp_path, capsys):
    folder, other = shutil.copytree(run_folder, tmp_path / "run"), shutil.copytree(data, tmp_path / "data")
    renamed(other, "Action B", "Action Bee")
    before = everything_below(folder)
    message = refused(capsys, spot_train.main, *settings(other, folder, RESUME))
    assert "class names differ (3 and 3): 'Action B' only then, 'Action Bee' only now" in message
    assert everything_below(folder) == before


def test_resuming_with_the_classes_in_another_order_is_refused(run_folder, data, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "classes.txt").write_text("Action A\nAction C\nAction B\n")
    message = refused(capsys, spot_train.main, *settings(data, folder, RESUME,
                                                         f"dataset.class_file={tmp_path}/classes.txt"))
    assert "class 1 was 'Action B' and is 'Action C'" in message
    assert (folder / "classes.txt").read_text() == "Action A\nAction B\nAction C\n"


def test_resuming_with_features_of_another_extractor_is_refused(run_folder, data, tmp_path, capsys):
    """The same names and channels, but doubled numbers in one channel."""
    folder, other = shutil.copytree(run_folder, tmp_path / "run"), shutil.copytree(data, tmp_path / "data")
    for path in (other / "features").glob("*.npy"):
        x = np.load(path)
        x[:, 4] *= 2
        np.save(path, x)
    message = refused(capsys, spot_train.main, *settings(other, folder, RESUME))
    assert "the features of dataset.feature_path are others: channel 4 had mean" in message


def test_resuming_where_another_runs_last_checkpoint_lies_is_refused(run_folder, data, tmp_path, capsys):
    """Of the same shapes, but other videos showed their labels."""
    folder = shutil.copytree(run_folder, tmp_path / "run")
    content = checkpoint.read(folder / "last.pt")
    moved = [f"{name}x" for name in content["labeled_names"]]
    checkpoint.save(folder / "last.pt", {**content, "labeled_names": moved})
    assert "labeled video names differ (3 and 3)" in refused(capsys, spot_train.main, *settings(data, folder, RESUME))


def test_corrected_labels_are_warned_of(run_folder, data, tmp_path, capsys):
    folder, other = shutil.copytree(run_folder, tmp_path / "run"), shutil.copytree(data, tmp_path / "data")
    first = (folder / "labeled.txt").read_text().split()[0]
    annotations = read_json(other / "annotations.json")
    entries = next(value for key, value in annotations["database"].items() if key.endswith(first))["annotations"]
    entries[0]["segment"][0] += 0.25
    write_json(other / "annotations.json", annotations)
    spot_train.main(settings(other, folder, RESUME))
    assert f"warning: 1 labeled videos, such as {first}, are annotated otherwise" in capsys.readouterr().err


def test_a_checkpoint_of_an_earlier_version_resumes(run_folder, data, tmp_path):
    """It holds architecture, settings and labeled videos alone."""
    folder = shutil.copytree(run_folder, tmp_path / "run")
    content = checkpoint.read(folder / "last.pt")
    for key in ("held_out", "choices", "labels", "feature_statistics"):
        del content[key]
    checkpoint.save(folder / "last.pt", content)
    spot_train.main(settings(data, folder, RESUME))


@pytest.mark.parametrize("words", [lambda data, folder: [str(folder)],
                                   lambda data, folder: settings(data, folder, RESUME)])
def test_a_run_that_is_older_than_a_setting_goes_on_without_it(run_folder, data, tmp_path, words):
    """Rules for pseudo labels that it did not have would change its teacher in the middle."""
    folder = shutil.copytree(run_folder, tmp_path / "run")
    config = OmegaConf.load(folder / "config.yaml")
    del config.semi["class_repeats"]
    OmegaConf.save(config, folder / "config.yaml")
    spot_train.main(words(data, folder))
    kept = OmegaConf.load(folder / "config.yaml").semi
    assert kept.class_repeats == "free" and kept.class_shares == "auto"


# --- the run's own schedule -------------------------------------------------------------------------------------------


def without(arguments, key):
    return [argument for argument in arguments if not argument.startswith(f"{key}=")]


def test_a_resumed_run_keeps_its_schedule_and_says_so(run_folder, data, tmp_path, capsys):
    """The command lacks the `training.max_epoch=2` and `training.learning_rate` that the run began with."""
    folder = tmp_path / "run"
    spot_train.main(settings(data, folder, "training.learning_rate=0.002", "training.max_epoch=1"))
    OmegaConf.update(config := OmegaConf.load(folder / "config.yaml"), "training.max_epoch", 2)
    OmegaConf.save(config, folder / "config.yaml")
    capsys.readouterr()
    spot_train.main(without(settings(data, folder, RESUME), "training.max_epoch"))
    note = capsys.readouterr().err
    assert "the run goes on with its own" in note and "training.max_epoch=2" in note
    assert "training.learning_rate=0.002" in note
    saved = OmegaConf.load(folder / "config.yaml").training
    assert (saved.max_epoch, saved.learning_rate) == (2, 0.002) and len(log_of(folder)) == 3


def test_what_is_typed_replaces_the_runs_own(run_folder, data, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    spot_train.main(settings(data, folder, RESUME, "training.max_epoch=3"))
    assert "from here on the run has training.max_epoch=3 (not 2)" in capsys.readouterr().err
    assert len(log_of(folder)) == 4 and OmegaConf.load(folder / "config.yaml").training.max_epoch == 3


def test_without_config_a_run_is_resumed_with_all_of_its_own(run_folder, tmp_path, capsys):
    """Not with the default settings file, which is another data set's."""
    folder = shutil.copytree(run_folder, tmp_path / "run")
    spot_train.main([f"output_path={folder}", RESUME, "training.max_epoch=3"])
    assert len(log_of(folder)) == 4
    message = refused(capsys, spot_train.main, f"output_path={folder}", RESUME, "dataset.stride=5")
    assert "dataset.stride was 25 and is 5" in message


def test_an_edited_config_does_not_change_what_the_weights_mean(run_folder, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    config = OmegaConf.load(folder / "config.yaml")
    config.dataset.stride = 5
    OmegaConf.save(config, folder / "config.yaml")
    assert "dataset.stride was 25 and is 5" in refused(capsys, spot_train.main, f"output_path={folder}", RESUME)


def test_fewer_epochs_than_the_run_has_are_refused(run_folder, data, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    before = everything_below(folder)
    message = refused(capsys, spot_train.main, *settings(data, folder, RESUME, "training.max_epoch=1"))
    assert "training.max_epoch=1: the run in" in message and "has 2 epochs already" in message
    assert everything_below(folder) == before


def test_the_pretext_stage_does_not_come_after_training(run_folder, data, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    spot_train.main(settings(data, folder, RESUME, "training.pretrain_epoch=3"))
    assert "training.pretrain_epoch=3 comes too late" in capsys.readouterr().err and len(log_of(folder)) == 3


def test_a_folder_with_the_best_checkpoint_alone_is_not_overwritten(run_folder, data, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    (folder / "last.pt").unlink()
    before = everything_below(folder)
    for more in ([], [RESUME]):
        assert "holds the best.pt of a run" in refused(capsys, spot_train.main, *settings(data, folder, *more))
    assert everything_below(folder) == before
    (folder / "log.jsonl").unlink()
    RunFolder(folder).refuse_another_run(resume=True)  # killed in its first epoch


# --- pre-trained weights ----------------------------------------------------------------------------------------------


def test_pre_trained_weights_of_other_heads_are_refused_though_the_shapes_agree(run_folder, data, tmp_path, capsys):
    message = refused(capsys, spot_train.main, *settings(data, tmp_path / "run", f"training.pretrained={run_folder}",
                                                         "model.embedding_head=1"))
    assert "model.embedding_head was 2 and is 1" in message and not (tmp_path / "run" / "last.pt").exists()


def test_pre_trained_weights_of_another_grid_are_warned_of(run_folder, data, tmp_path, capsys):
    spot_train.main(settings(data, tmp_path / "run", f"training.pretrained={run_folder}", "dataset.stride=24",
                             "training.max_epoch=1", "training.steps_per_epoch=1"))
    assert "has learned from other data: dataset.stride was 25 and is 24" in capsys.readouterr().err


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
def test_ctrl_c_prints_the_command_that_goes_on(data, tmp_path, monkeypatch, capsys, begun):
    """Quoted for a shell; with the settings that were given, and `training.resume=auto` in place of another."""
    def interrupted(_):
        raise KeyboardInterrupt

    folder = tmp_path / "a run"
    arguments = settings(data, folder, "training.resume=null")
    if begun:
        folder.mkdir()
        (folder / "last.pt").write_bytes(b"x")
    monkeypatch.setattr(spot_train, "train", interrupted)
    monkeypatch.setattr("sys.orig_argv", ["python", "spot_train.py", *arguments])
    monkeypatch.setattr("sys.argv", ["spot_train.py", *arguments])
    assert ends(lambda _: spot_train.main(), "") == 130
    line = capsys.readouterr().err.splitlines()[-2]
    assert line.startswith(f"this command {'goes on' if begun else 'begins again'}: python spot_train.py --config ")
    assert f"'output_path={folder}'" in line and "resume=null" not in line and line.endswith(" training.resume=auto")
    assert all(override in line for override in TINY)


# --- the comparison itself --------------------------------------------------------------------------------------------


def test_what_places_windows_means_nothing_on_the_other_grid():
    """stride 16 or 4: nothing on `resize`, another place of every snippet on `window`."""
    one, other = ({"dataset.grid": "resize", "dataset.stride": stride} for stride in (16, 4))
    assert differences(one, other) == {}
    assert differences({**one, "dataset.grid": "window"}, {**other, "dataset.grid": "window"}) == {
        "dataset.stride": (16, 4)}


def test_names_are_compared_with_or_without_their_order():
    assert other_names("x", ["a", "b"], ["b", "a"]) == [] == other_names("x", None, ["a"])
    assert other_names("x", ["a", "b"], ["b", "a"], ordered=True) == ["x 0 was 'a' and is 'b'"]
    assert other_names("x", ["a", "b", "c"], ["a"]) == ["x names differ (3 and 1): 'b' and 1 more only then"]


def test_statistics_of_another_precision_are_the_same_features():
    """A mean that moves by 1 % of the deviation is rounding, one that moves by 5 % is not."""
    mean, deviation = np.zeros(C, np.float32), np.ones(C, np.float32)
    stored = Meaning(ARCHITECTURE, SETTINGS, [], statistics=(mean, deviation)).stored()["feature_statistics"]
    assert other_statistics(stored, (mean + 0.01, deviation)) == []
    assert len(other_statistics(stored, (mean + 0.05, deviation))) == 1
    assert "channel 2 had mean 0 and deviation 1 and has 0 and 2" in other_statistics(
        stored, (mean, np.where(np.arange(C) == 2, 2, deviation)))[0]


def test_a_digest_sees_segments_labels_and_times():
    one = video("a", (1, 4, "run"))
    others = [video("a", (1, 5, "run")), video("a", (1, 4, "jump")), video("a", (1, 4, "run"), fps=2.0)]
    assert digest(one) == digest(video("b", (1, 4, "run"))) and digest(one) not in map(digest, others)


def test_what_a_checkpoint_stores_of_its_meaning_is_plain(tmp_path):
    """It is read back without running code, and equal to itself."""
    meaning = Meaning(ARCHITECTURE, SETTINGS, ["a", "b"], ["c"], {"training.optimizer": "adamw"}, {"a": "12"},
                      (torch.zeros(C), torch.ones(C)))
    content = {"architecture": ARCHITECTURE, "settings": SETTINGS, **meaning.stored()}
    checkpoint.save(tmp_path / "x.pt", content)
    meaning.refuse_other("x.pt", checkpoint.read(tmp_path / "x.pt"))
    with pytest.raises(SpotError, match=r"x\.pt: cannot be resumed, .*: labeled video names differ \(3 and 2\)"):
        Meaning(ARCHITECTURE, SETTINGS, ["a", "b"]).refuse_other("x.pt", content)
    assert json.dumps({key: content[key] for key in ("labeled_names", "held_out", "choices", "labels")})
