"""The three scripts end to end on a tiny demo data set: what they write, and how they end."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from test_review import data_of

import eval as evaluation_script
import spot_inference
import spot_train
from spot import command_line, load_model
from spot.files import SpotError, read_json
from spot.synthetic import write_demo

ROOT = Path(__file__).resolve().parents[1]
TINY = ["model.feat_dim=6", "model.temporal_scale=16", "model.embed_dim=8", "model.embedding_head=2",
        "dataset.labeled=0.4", "training.steps_per_epoch=2", "training.batch_size=2", "training.pretrain_epoch=1",
        "training.max_epoch=2", "semi.burn_in=0", "semi.class_threshold=0",
        "training.device=cpu", "testing.min_score=0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """8 training and 3 validation videos of 60 to 70 s, 3 classes, 6 channels; one validation video has no features."""
    folder = tmp_path_factory.mktemp("data")
    write_demo(folder, training=8, validation=3, classes=3, feat_dim=6, duration_sec=(60, 70))
    (folder / "features" / "v_demo_0010.npy").unlink()
    return folder


def settings(data, output, *overrides):
    return ["--config", str(ROOT / "config" / "demo.yaml"), f"output_path={output}", *TINY,
            f"dataset.video_anno_path={data}/annotations.json", f"dataset.feature_path={data}/features", *overrides]


@pytest.fixture(scope="module")
def run_folder(data, tmp_path_factory):
    """A finished run with its detections and metrics."""
    folder = tmp_path_factory.mktemp("run")
    spot_train.main(settings(data, folder))
    spot_inference.main([f"checkpoint={folder}"])
    evaluation_script.main([f"output_path={folder}"])
    return folder


def ends(main, *arguments):
    """The exit code of a script, as `python script.py ...` would give it."""
    with pytest.raises(SystemExit) as stop:
        command_line.run(lambda: main(list(arguments)))
    return stop.value.code


def refused(capsys, main, *arguments):
    """The one sentence with which a script ends with exit code 2."""
    code = ends(main, *arguments)
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and "Traceback" not in message
    return message


# --- what a run leaves behind -----------------------------------------------------------------------------------------


def test_a_run_folder_explains_itself(run_folder):
    assert (run_folder / "classes.txt").read_text() == "Action A\nAction B\nAction C\n"
    labeled = (run_folder / "labeled.txt").read_text().split()
    assert len(labeled) == 3 and all(name.startswith("demo_000") for name in labeled)  # 0.4 of 8
    assert (run_folder / "commit.txt").read_text().strip()
    assert OmegaConf.load(run_folder / "config.yaml").training.batch_size == 2
    assert list((run_folder / "tensorboard").glob("events*"))
    assert not [path for path in run_folder.iterdir() if path.name.startswith(".")]  # no temporary file is left


def test_the_log_has_a_line_per_epoch(run_folder):
    records = [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]
    assert [(record["stage"], record["epoch"], record["step"]) for record in records] == [
        ("pretext", 1, 2), ("train", 1, 2), ("train", 2, 4)]
    for record in records:
        assert {"lr", "seconds", "loss", "kept_share", "holdout_mAP"} <= set(record) and record["holdout_mAP"] is None
    assert "random_foreground" in records[0]["loss"] and "unlabeled_class" in records[2]["loss"]


def test_best_and_last_both_detect_alike(run_folder):
    """Without holdout the schedule is fixed and the final teacher is the result."""
    best, last, folder = (load_model(run_folder / name) for name in ("best.pt", "last.pt", ""))
    assert best.settings["class_names"] == ["Action A", "Action B", "Action C"]
    for model in (last, folder):
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in best.state_dict().items())


def test_a_loaded_run_detects_with_its_own_settings(run_folder, data):
    import spot

    rows = spot.detect(load_model(run_folder), np.load(data / "features" / "v_demo_0008.npy").T, 60.0, fps=25.0)
    assert rows[0].shape[1] == 4 and (rows[0][:, 1] <= 60).all()


def test_detections_name_every_video_and_the_class_source(run_folder):
    content = read_json(run_folder / "detections.json")
    assert sorted(content["results"]) == ["demo_0008", "demo_0009", "demo_0010"]
    assert content["results"]["demo_0010"] == [] and content["missing_features"] == ["demo_0010"]
    assert content["external_data"]["class_scores"] in (None, "none") and "version" in content
    entries = content["results"]["demo_0008"]
    assert 0 < len(entries) <= 200
    for entry in entries:
        start, end = entry["segment"]
        assert 0 <= start < end <= 70 and 0 <= entry["score"] <= 1 and entry["label"].startswith("Action ")


def test_metrics_hold_what_was_promised(run_folder):
    metrics = read_json(run_folder / "metrics.json")
    assert set(metrics) >= {"average_mAP", "mAP", "whole_video_average_mAP", "num_videos", "num_segments",
                            "num_predictions", "AP"}
    assert metrics["num_videos"] == 3 and 0 <= metrics["average_mAP"] <= 1 and len(metrics["mAP"]) == 10
    assert metrics["num_predictions"] == sum(map(len, read_json(run_folder / "detections.json")["results"].values()))


def test_the_printed_summary_names_baseline_and_missing_features(run_folder, capsys):
    evaluation_script.main([f"output_path={run_folder}"])
    output = capsys.readouterr().out
    assert "whole-video baseline" in output and "without features: 1" in output and "0.50" in output


def test_the_detections_can_be_evaluated_without_a_config(run_folder, data, capsys):
    evaluation_script.main(["--ground-truth", f"{data}/annotations.json", "--predictions",
                            f"{run_folder}/detections.json", "--subset", "validation", "--tiou", "0.5:0.95:10"])
    assert "0.50" in capsys.readouterr().out


def test_inference_settings_can_be_overridden_and_written_elsewhere(run_folder, tmp_path):
    spot_inference.main([f"checkpoint={run_folder}/best.pt", f"output_path={tmp_path}", "testing.max_detections=1"])
    results = read_json(tmp_path / "detections.json")["results"]
    assert {len(entries) for entries in results.values()} == {0, 1}


def test_a_grid_that_does_not_fit_the_durations_is_told_at_inference(run_folder, tmp_path, capsys):
    """One row per second, read as one every four seconds, is told once; with the run's own stride nothing is said."""
    told = "of 2 videos, such as demo_0008: its features reach to"
    for stride, is_told in ((25, False), (100, True)):
        spot_inference.main([f"checkpoint={run_folder}/best.pt", f"output_path={tmp_path / str(stride)}",
                             f"dataset.stride={stride}"])
        assert capsys.readouterr().err.count(told) == is_told


def test_an_external_classifier_is_used_and_named(run_folder, tmp_path, data):
    """It says that demo_0008 shows Action B alone: only that class comes out, and the file says whose it is."""
    scores = tmp_path / "scores.npz"
    np.savez(scores, videos=np.array(["demo_0008", "demo_0009"]),
             classes=np.array(["Action A", "Action B", "Action C"]),
             scores=np.array([[0, 0.9, 0], [0.5, 0, 0]]))
    spot_inference.main([f"checkpoint={run_folder}", f"output_path={tmp_path}", f"testing.class_scores={scores}"])
    content = read_json(tmp_path / "detections.json")
    assert content["external_data"]["class_scores"] == str(scores)
    assert {entry["label"] for entry in content["results"]["demo_0008"]} == {"Action B"}
    assert {entry["label"] for entry in content["results"]["demo_0009"]} == {"Action A"}


# --- training variants ------------------------------------------------------------------------------------------------


def log_of(folder):
    """The log without its wall-clock times."""
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"}
            for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("amp, same", [("none", True), ("bf16", False)])
def test_detections_in_bf16_stay_near_those_in_float32(run_folder, tmp_path, amp, same):
    """The score of each video's best detection agrees within 5 %; the other rounding shows."""
    spot_inference.main([f"checkpoint={run_folder}", f"output_path={tmp_path}", f"testing.amp={amp}"])
    wanted = read_json(run_folder / "detections.json")["results"]
    found = read_json(tmp_path / "detections.json")["results"]
    assert (found == wanted) is same and found.keys() == wanted.keys()
    for name, entries in wanted.items():
        best, known = ([entry["score"] for entry in given[:1]] for given in (found[name], entries))
        assert best == pytest.approx(known, rel=0.05)


class Stop(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_an_interrupted_run_resumes_to_the_same_result(run_folder, data, tmp_path, monkeypatch, saves):
    """Killed after some write of a checkpoint, then resumed: weights and log equal the uninterrupted run's."""
    from spot import checkpoint

    folder, count, save = tmp_path / "run", 0, checkpoint.save

    def dying_save(path, content):
        nonlocal count
        count += 1
        save(path, content)
        if count == saves:
            raise Stop

    monkeypatch.setattr(checkpoint, "save", dying_save)
    with pytest.raises(Stop):
        spot_train.main(settings(data, folder))
    monkeypatch.undo()
    spot_train.main(settings(data, folder, "training.resume=auto"))
    assert log_of(folder) == log_of(run_folder)
    one, other = (load_model(path / "best.pt").state_dict() for path in (folder, run_folder))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_finished_run_is_not_overwritten(run_folder, data, capsys):
    before = (run_folder / "best.pt").read_bytes()
    message = refused(capsys, spot_train.main, *settings(data, run_folder))
    assert "already holds a run" in message and "training.resume=auto" in message
    assert (run_folder / "best.pt").read_bytes() == before


def test_resuming_a_finished_run_changes_nothing(run_folder, data, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    spot_train.main(settings(data, tmp_path / "run", "training.resume=auto"))
    assert log_of(tmp_path / "run") == log_of(run_folder)


def test_resuming_with_another_model_is_refused_and_keeps_the_settings(run_folder, data, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    message = refused(capsys, spot_train.main, *settings(data, folder, "training.resume=auto", "model.embed_dim=16"))
    assert "last.pt" in message and OmegaConf.load(folder / "config.yaml").model.embed_dim == 8


def test_a_broken_last_checkpoint_is_refused(run_folder, data, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    (folder / "last.pt").write_bytes((folder / "last.pt").read_bytes()[:1000])
    assert "last.pt" in refused(capsys, spot_train.main, *settings(data, folder, "training.resume=auto"))


def test_holdout_watches_labeled_videos_only(data, tmp_path):
    """0.34 of 3 labeled videos is one; its mAP is logged, and best.pt is the best of the epochs."""
    folder = tmp_path / "run"
    spot_train.main(settings(data, folder, "training.holdout=0.34"))
    watched = [record["holdout_mAP"] for record in log_of(folder)]
    assert all(0 <= value <= 1 for value in watched) and len((folder / "labeled.txt").read_text().split()) == 3


def test_a_pre_trained_checkpoint_replaces_the_pretext_stage(run_folder, data, tmp_path):
    spot_train.main(settings(data, tmp_path / "run", f"training.pretrained={run_folder}", "training.max_epoch=1"))
    assert [record["stage"] for record in log_of(tmp_path / "run")] == ["train"]


def test_everything_labeled_needs_no_unlabeled_video(data, tmp_path):
    spot_train.main(settings(data, tmp_path / "run", "dataset.labeled=1", "training.max_epoch=1"))
    assert log_of(tmp_path / "run")[-1]["kept_share"] is None


# --- mistakes of a user -----------------------------------------------------------------------------------------------


def test_without_arguments_and_data_training_ends_with_one_sentence(tmp_path):
    """As a fresh clone would: exit code 2, the key and the path that are missing, and `make demo`."""
    for name in ("config", "spot", "spot_train.py", "eval.py", "spot_inference.py"):
        os.symlink(ROOT / name, tmp_path / name)
    done = subprocess.run([sys.executable, "spot_train.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "dataset.video_anno_path" in done.stderr and "data/anet/anet_anno_action.json" in done.stderr
    assert "make demo" in done.stderr and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("override", "words"), [
    ("dataset.feature_path=nowhere", ["dataset.feature_path", "nowhere"]),
    ("dataset.video_anno_path=nowhere.json", ["dataset.video_anno_path", "nowhere.json"]),
    ("training.batchsize=3", ["training.batchsize", "training.batch_size"]),
    ("dataset.train_subset=trainig", ["trainig", "training"]),
    ("model.feat_dim=7", ["7", "6"]),
    ("dataset.num_classes=200", ["200", "3"]),
    ("dataset.labeled=info", ["dataset.video_info_path"]),
    ("training.device=cuda:99", ["training.device"]),
    ("training.pretrained=nowhere.pt", ["nowhere.pt"]),
    ("training.holdout=0.01", ["training.holdout"]),
])
def test_a_mistake_in_training_is_one_sentence(data, tmp_path, capsys, override, words):
    message = refused(capsys, spot_train.main, *settings(data, tmp_path / "run", override))
    assert all(word in message for word in words)
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize(("override", "words"), [
    ("dataset.eval_subset=val", ["val"]), ("model.feat_dim=7", ["6", "7"]), ("model.temporal_scale=32", ["16", "32"]),
    ("testing.class_scores=nowhere.npz", ["nowhere.npz"]), ("checkpoint=nowhere", ["nowhere"])])
def test_a_mistake_in_inference_is_one_sentence(run_folder, tmp_path, capsys, override, words):
    arguments = [f"checkpoint={run_folder}"] * (not override.startswith("checkpoint"))
    message = refused(capsys, spot_inference.main, *arguments, f"output_path={tmp_path}", override)
    assert all(word in message for word in words) and not (tmp_path / "detections.json").exists()


def test_other_classes_than_the_checkpoints_are_refused(run_folder, tmp_path, capsys):
    (tmp_path / "classes.txt").write_text("Action B\nAction A\nAction C\n")
    message = refused(capsys, spot_inference.main, f"checkpoint={run_folder}", f"output_path={tmp_path}",
                      f"dataset.class_file={tmp_path}/classes.txt")
    assert "Action A" in message and "Action B" in message


def test_evaluating_before_inference_is_one_sentence(tmp_path, capsys):
    message = refused(capsys, evaluation_script.main, "--config", str(ROOT / "config" / "demo.yaml"),
                      f"output_path={tmp_path}/none")
    assert "spot_inference.py" in message


@pytest.mark.parametrize("channel_count", [5, 7])
def test_a_broken_feature_file_is_named(data, tmp_path, capsys, channel_count):
    folder = shutil.copytree(data, tmp_path / "data")
    np.save(folder / "features" / "v_demo_0002.npy", np.zeros((60, channel_count), np.float32))
    message = refused(capsys, spot_train.main, *settings(folder, tmp_path / "run"))
    assert "v_demo_0002.npy" in message and str(channel_count) in message and "6" in message


def test_not_a_number_in_a_feature_file_is_named(data, tmp_path, capsys):
    folder = shutil.copytree(data, tmp_path / "data")
    np.save(folder / "features" / "v_demo_0002.npy", np.full((60, 6), np.nan, np.float32))
    assert "v_demo_0002.npy" in refused(capsys, spot_train.main, *settings(folder, tmp_path / "run"))


def test_debug_shows_the_traceback(data, tmp_path, capsys, monkeypatch):
    arguments = settings(data, tmp_path / "run", "dataset.feature_path=nowhere", "--debug")
    monkeypatch.setattr(sys, "argv", ["spot_train.py", *arguments])
    assert ends(lambda _: spot_train.main(), "") == 2
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_130(data, tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(spot_train, "train", interrupted)
    assert ends(spot_train.main, *settings(data, tmp_path / "run")) == 130


def test_the_functions_raise_what_the_scripts_print(data, tmp_path):
    with pytest.raises(SpotError, match=r"dataset\.feature_path"):
        spot_train.main(settings(data, tmp_path / "run", "dataset.feature_path=nowhere"))


def test_pictures_of_a_subset_are_drawn_and_shown_in_the_report(run_folder, data, tmp_path):
    """Two of three validation videos have features; the pictures lie in the run folder, where the report finds them."""
    shutil.copytree(run_folder, tmp_path / "run")
    spot_inference.main([f"checkpoint={tmp_path}/run", "--plot"])
    pictures = sorted((tmp_path / "run" / "timelines").glob("*.png"))
    assert len(pictures) == 2
    evaluation_script.main([f"output_path={tmp_path}/run", "--report", f"{tmp_path}/report"])
    page = (tmp_path / "report" / "report.html").read_text()
    assert all(base64.b64encode(picture.read_bytes()).decode() in page for picture in pictures)


def test_a_review_page_holds_the_subset_and_what_its_corrections_go_into(run_folder, data, tmp_path, capsys):
    """Training: 3 of 8 videos are labeled. Evaluation: one of 3 has no features, all are annotated, which is said."""
    arguments = [f"checkpoint={run_folder}", f"output_path={tmp_path}", "testing.action_threshold=0.5", "--review"]
    spot_inference.main([*arguments, "dataset.eval_subset=training"])
    found = data_of((tmp_path / "review.html").read_text(encoding="utf-8"))
    assert sum(one["given"] for one in found["recordings"]) == 3 and len(found["recordings"]) == 8
    assert found["threshold"] == 0.5 and len(found["database"]) == 11
    assert all(one["unsure"] > 0 and one["channels"] for one in found["recordings"])
    assert f"--config {run_folder}/config.yaml dataset.video_anno_path=annotations_reviewed.json" in found["train"]
    capsys.readouterr()
    spot_inference.main(arguments)
    found = data_of((tmp_path / "review.html").read_text(encoding="utf-8"))
    assert [one["unsure"] is None for one in found["recordings"]] == [False, False, True]
    assert all(one["given"] for one in found["recordings"])
    assert "dataset.eval_subset=training" in capsys.readouterr().err


def test_own_recordings_are_reviewed_beside_the_annotations_of_the_run(run_folder, data, tmp_path, capsys):
    """One that the annotations have, with its name there, and one that they do not have: unlabeled, of training."""
    (tmp_path / "own").mkdir()
    for source, name in (("v_demo_0001", "v_demo_0001"), ("v_demo_0002", "new")):
        shutil.copy(data / "features" / f"{source}.npy", tmp_path / "own" / f"{name}.npy")
    arguments = [f"checkpoint={run_folder}", f"features={tmp_path}/own", "fps=25", f"output_path={tmp_path}",
                 "--review"]
    spot_inference.main(arguments)
    found = data_of((tmp_path / "own" / "review.html").read_text(encoding="utf-8"))
    assert [one["name"] for one in found["recordings"]] == ["new", "demo_0001"]
    assert len(found["database"]) == 12 and dict(found["database"])["new"]["annotated"] is False
    assert f'["{data}/features", "{tmp_path}/own"]' in found["train"]
    spot_inference.main([*arguments, f"dataset.video_anno_path={tmp_path}/nowhere.json"])
    found = data_of((tmp_path / "own" / "review.html").read_text(encoding="utf-8"))
    assert [name for name, _ in found["database"]] == ["new", "v_demo_0001"]
    assert "the annotations of the run cannot be read" in capsys.readouterr().err
