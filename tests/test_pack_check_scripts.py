"""`--pack`, `--check` and detection in one's own videos, as scripts on the tiny demo data set."""

import csv
import json
import shutil

import h5py
import numpy as np
import pytest
import test_scripts
import torch
from matplotlib.image import imread
from test_scripts import refused, settings

import spot_inference
import spot_train
from spot.checkpoint import load_model
from spot.config import load_config
from spot.config_values import data_values, grid_values
from spot.data_files import open_data, with_features
from spot.datasets import GridSettings, SnippetDataset
from spot.files import SpotError, read_json
from spot.inference import detect
from spot.segments import middle_windows

# The tiny data set and its finished run, as fixtures of this file too.
data, run_folder = test_scripts.data, test_scripts.run_folder


# --- packing ----------------------------------------------------------------------------------------------------------


def first_batch(arguments):
    """Sequence 0 and 3 of the training videos, as training draws them."""
    config = load_config(arguments[1], arguments[2:])
    videos, names, source = open_data(**data_values(config))
    videos, _ = with_features(videos, source, "all")
    return SnippetDataset(videos, source, GridSettings(**grid_values(config)), names, 6).batch([0, 3])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 2e-3)])
def test_packed_features_give_the_same_batches(data, tmp_path, capsys, dtype, tolerance):
    """One of the 11 videos has no features. float16 keeps 11 bits of each value."""
    packed, arguments = tmp_path / "all.h5", settings(data, tmp_path / "run")
    spot_train.main([*arguments, "--pack", str(packed), "--dtype", dtype])
    assert f"10 videos are in {packed}: train with dataset.feature_path={packed}" in capsys.readouterr().out
    loose, dense = first_batch(arguments), first_batch([*arguments, f"dataset.feature_path={packed}"])
    for key in loose:
        np.testing.assert_allclose(dense[key], loose[key], rtol=tolerance, atol=tolerance)
    assert not (tmp_path / "run").exists()


def test_a_packed_file_says_what_it_holds(data, tmp_path):
    packed = tmp_path / "all.h5"
    spot_train.main([*settings(data, tmp_path / "run"), "--pack", str(packed), "--dtype", "float32"])
    with h5py.File(packed) as file:
        assert file["demo_0000"].dtype == np.float32 and file["demo_0000"].shape[1] == 6
        attributes = dict(file.attrs)
    assert attributes["grid"] == "window" and attributes["stride"] == 25 and attributes["window"] == 25
    assert attributes["fps"] == "null" and str(data) in attributes["source"] and attributes["checksum"] > 0


def test_a_packed_file_needs_a_name_that_readers_know(data, tmp_path, capsys):
    assert ".h5" in refused(capsys, spot_train.main, *settings(data, tmp_path), "--pack", f"{tmp_path}/all.npy")


# --- the check --------------------------------------------------------------------------------------------------------


def test_the_check_of_sound_data_trains_nothing_and_is_content(data, tmp_path, capsys):
    spot_train.main([*settings(data, tmp_path / "run"), "--check"])
    output = capsys.readouterr().out
    assert "Problems that would stop training\n  none" in output
    assert output.endswith("nothing here stops a training: the same command without --check begins it\n")
    assert "validation video demo_0010 has no features" in output and not (tmp_path / "run").exists()


def test_the_check_of_broken_data_lists_all_and_ends_with_2(data, tmp_path, capsys):
    broken = shutil.copytree(data, tmp_path / "data")
    np.save(broken / "features" / "v_demo_0002.npy", np.full((60, 6), np.nan, np.float32))
    (broken / "features" / "v_demo_0003.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(SpotError, match="2 problems"):
        spot_train.main([*settings(broken, tmp_path / "run"), "--check"])
    output = capsys.readouterr().out
    assert "nothing here stops" not in output
    assert "v_demo_0002.npy: 360 values are NaN" in output and "v_demo_0003.npy: cannot be read" in output


# --- own videos -------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(data, tmp_path):
    """A folder with two videos that no annotation knows, 70 and 20 snippets of one second."""
    folder = tmp_path / "own_videos"
    folder.mkdir()
    x = np.load(data / "features" / "v_demo_0008.npy")
    np.save(folder / "kitchen.npy", np.concatenate([x, x])[:70])
    np.save(folder / "garden.npy", x[:20])
    return folder


def test_own_videos_need_no_annotation(run_folder, own, tmp_path, capsys):
    """The run folder's annotations are gone, its classes are in the checkpoint. JSON, CSV and report agree."""
    run = shutil.copytree(run_folder, tmp_path / "run")
    evaluated = (run / "detections.json").read_bytes()
    spot_inference.main([f"checkpoint={run}", f"features={own}", "fps=25", "dataset.video_anno_path=gone.json"])
    results = read_json(run / "own" / "detections.json")["results"]
    assert sorted(results) == ["garden", "kitchen"] and (run / "detections.json").read_bytes() == evaluated
    with open(run / "own" / "detections.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["video", "start_sec", "end_sec", "label", "score"]
    assert len(rows) == sum(map(len, results.values())) > 0 and rows[0]["video"] == "garden"
    first = results["garden"][0]
    assert [float(rows[0][key]) for key in ("start_sec", "end_sec")] == pytest.approx(first["segment"], abs=1e-3)
    assert rows[0]["label"] == first["label"] and max(float(row["end_sec"]) for row in rows) <= 70


def test_fps_stride_and_window_place_own_videos_in_time(run_folder, own, tmp_path):
    """Twice the stride and window at the same rate: every time doubles."""
    ends = []
    for index, keys in enumerate((["fps=25"], ["fps=25", "stride=50", "window=50"])):
        output = tmp_path / str(index)
        spot_inference.main([f"checkpoint={run_folder}", f"features={own}/kitchen.npy", f"output_path={output}", *keys])
        entries = read_json(output / "own" / "detections.json")["results"]["kitchen"]
        ends.append(np.array([entry["segment"] for entry in entries]))
    assert np.allclose(2 * ends[0], ends[1])


def test_a_table_gives_each_video_its_duration_and_frame_rate(run_folder, own, tmp_path):
    """At 50 frames per second 70 snippets of 25 frames are 35 s; the other video stays at 25 and 20 s."""
    (tmp_path / "times.csv").write_text("video,duration,fps\nkitchen,35,50\ngarden,20,25\n")
    spot_inference.main([f"checkpoint={run_folder}", f"features={own}", f"output_path={tmp_path}",
                         f"duration={tmp_path}/times.csv"])
    results = read_json(tmp_path / "own" / "detections.json")["results"]
    ends = {name: max(entry["segment"][1] for entry in entries) for name, entries in results.items()}
    assert ends["kitchen"] <= 35 and ends["garden"] <= 20


def test_the_resize_grid_takes_a_duration_or_what_tells_it(run_folder, own, tmp_path):
    """70 snippets of 25 frames at 25 frames per second are 70 s, told or computed."""
    run = resized(run_folder, tmp_path)
    found = []
    for keys in (["duration=70"], ["fps=25", "stride=25"]):
        spot_inference.main([f"checkpoint={run}", f"features={own}/kitchen.npy", *keys])
        found.append(read_json(run / "own" / "detections.json")["results"])
    assert found[0] == found[1] and max(entry["segment"][1] for entry in found[0]["kitchen"]) <= 70


def test_a_checkpoint_without_class_names_takes_the_class_file(run_folder, own, tmp_path, capsys):
    """As a published one."""
    run = changed(run_folder, tmp_path, class_names=None)
    arguments = [f"checkpoint={run}", f"features={own}", "fps=25"]
    assert "dataset.class_file" in refused(capsys, spot_inference.main, *arguments)
    (tmp_path / "names.txt").write_text("sit\nstand\nwalk\n")
    spot_inference.main([*arguments, f"dataset.class_file={tmp_path}/names.txt"])
    results = read_json(run / "own" / "detections.json")["results"]
    assert {entry["label"] for entry in results["kitchen"]} <= {"sit", "stand", "walk"} and results["kitchen"]


def test_a_checkpoint_of_another_grid_than_the_settings_is_refused(run_folder, own, tmp_path, capsys):
    """A checkpoint that was moved away from its config.yaml would else be read on the wrong grid."""
    message = refused(capsys, spot_inference.main, f"checkpoint={changed(run_folder, tmp_path, grid='resize')}",
                      f"features={own}", "duration=70")
    assert "dataset.grid resize" in message and "window" in message


def changed(run_folder, tmp_path, **changes):
    """A copy of the run whose checkpoint has other settings."""
    run = shutil.copytree(run_folder, tmp_path / "changed")
    content = torch.load(run / "best.pt", weights_only=True)
    content["settings"].update(changes)
    torch.save(content, run / "best.pt")
    return run


def resized(run_folder, tmp_path):
    """The run as one of the resize grid."""
    run = changed(run_folder, tmp_path, grid="resize")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("grid: window", "grid: resize"))
    return run


@pytest.mark.parametrize(("arguments", "words"), [
    (["features=nowhere", "fps=25"], ["features=nowhere", "No such file"]),
    (["features=OWN", "duration=times.csv"], ["times.csv"]),
    (["features=OWN", "fps=25", "duration=-3"], ["duration=-3", "positive"]),
    (["fps=25"], ["features=", "dataset.fps"]),
])
def test_a_mistake_with_own_videos_is_one_sentence(run_folder, own, tmp_path, capsys, arguments, words):
    arguments = [f"output_path={tmp_path}/out", *(argument.replace("OWN", str(own)) for argument in arguments)]
    message = refused(capsys, spot_inference.main, f"checkpoint={run_folder}", *arguments)
    assert all(word in message for word in words) and not (tmp_path / "out").exists()


def test_the_resize_grid_without_a_duration_is_one_sentence(run_folder, own, tmp_path, capsys):
    message = refused(capsys, spot_inference.main, f"checkpoint={resized(run_folder, tmp_path)}", f"features={own}")
    assert "garden" in message and "duration=, the seconds" in message
    assert not any(character.isdigit() for character in message.partition("give ")[2])  # no number that is nobody's


def test_the_rate_of_the_run_is_taken_where_it_had_one(run_folder, own, tmp_path, capsys):
    """All demo videos have 25 frames per second; with another rate a warning names both."""
    for index, keys in enumerate(([], ["fps=25"], ["fps=50"])):
        spot_inference.main([f"checkpoint={run_folder}", f"features={own}", f"output_path={tmp_path}/{index}", *keys])
        error = capsys.readouterr().err
        assert ("2 recordings come without a frame rate and are taken to have that of the run, 25 frames" in error) == (
            index == 0)
        assert ("has 50 frames per second, the training videos had 25 frames per second" in error) == (index == 2)
    assert (tmp_path / "0" / "own" / "detections.json").read_text() == (
        tmp_path / "1" / "own" / "detections.json").read_text()


def test_a_run_of_several_rates_lists_them_and_proposes_none(run_folder, own, tmp_path, capsys):
    run = changed(run_folder, tmp_path, fps=None, training_fps=[24.0, 29.97])
    message = refused(capsys, spot_inference.main, f"checkpoint={run}", f"features={own}")
    assert "garden" in message and "(the training videos had 24, 29.97 frames per second)" in message
    run = changed(run_folder, tmp_path / "old", fps=None, training_fps=None)
    message = refused(capsys, spot_inference.main, f"checkpoint={run}", f"features={own}")
    assert "give fps=, the frames per second of the recordings, or" in message


def test_recordings_of_another_unit_or_length_are_warned_of(run_folder, own, tmp_path, capsys):
    """Features times 1000, and 70 snippets of a second for a duration of 700: nothing is found behind 70 s."""
    for file in own.glob("*.npy"):
        np.save(file, 1000 * np.load(file))
    spot_inference.main([f"checkpoint={run_folder}", f"features={own}/kitchen.npy", f"output_path={tmp_path}",
                         "duration=700", "testing.min_score=0"])
    error = capsys.readouterr().err
    assert "warning: the features of 1 of 1 videos, such as kitchen: 100% of the channels are more than 2.5" in error
    assert "such as kitchen: its features reach to 70.0 s of 700.0 s" in error and "in another unit" in error
    entries = read_json(tmp_path / "own" / "detections.json")["results"]["kitchen"]
    assert max((entry["segment"][1] for entry in entries), default=0) <= 70


def test_recordings_like_those_of_the_training_are_not_warned_of(run_folder, own, tmp_path, capsys):
    spot_inference.main([f"checkpoint={run_folder}", f"features={own}/kitchen.npy", f"output_path={tmp_path}", "fps=25",
                         "duration=70"])
    assert "warning" not in capsys.readouterr().err


def test_every_second_row_of_own_recordings(run_folder, own, tmp_path):
    """Every row of a file is a second; of one with each row twice, every second row at half the stride is the same."""
    np.save(own / "twice.npy", np.repeat(np.load(own / "kitchen.npy"), 2, 0))
    found = []
    for name, keys in (("kitchen", ["stride=26", "window=26"]), ("twice", ["stride=13", "every=2", "window=26"])):
        spot_inference.main([f"checkpoint={run_folder}", f"features={own}/{name}.npy", f"output_path={tmp_path}/{name}",
                             "fps=25", *keys])
        found.append(read_json(tmp_path / name / "own" / "detections.json")["results"][name])
    assert found[0] == found[1] and found[0]


def test_every_is_the_runs_in_training_pack_and_python(data, tmp_path, capsys):
    """Trained on every second row, of loose and of packed features: the same weights; `detect` takes whole files."""
    arguments = settings(data, tmp_path / "run", "dataset.every=2", "training.max_epoch=1")
    spot_train.main([*arguments, "--pack", f"{tmp_path}/all.h5", "--dtype", "float32"])
    with h5py.File(tmp_path / "all.h5") as file:
        assert file["demo_0008"].shape[0] == len(np.load(data / "features" / "v_demo_0008.npy"))
        assert file.attrs["stride"] == 25 and "every" not in file.attrs
    spot_train.main(arguments)
    spot_train.main([*settings(data, tmp_path / "packed", "dataset.every=2", "training.max_epoch=1"),
                     f"dataset.feature_path={tmp_path}/all.h5"])
    one, other = (load_model(tmp_path / name) for name in ("run", "packed"))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    assert one.settings["every"] == 2 and one.settings["training_fps"] == [25]
    spot_inference.main([f"checkpoint={tmp_path}/run"])
    results = read_json(tmp_path / "run" / "detections.json")["results"]
    array = np.load(data / "features" / "v_demo_0008.npy")  # a row for each second
    rows, = detect(one, array.T, float(len(array)))
    assert rows[:, :2].tolist() == [entry["segment"] for entry in results["demo_0008"]]
    capsys.readouterr()
    spot_train.main([*arguments, "--check"])
    assert "warning" not in capsys.readouterr().out.partition("Warnings")[2].partition("reach to")[2]


def test_a_table_without_a_video_is_one_sentence(run_folder, own, tmp_path, capsys):
    (tmp_path / "times.csv").write_text("video,duration\nkitchen,70\n")
    message = refused(capsys, spot_inference.main, f"checkpoint={run_folder}", f"features={own}", "fps=25",
                      f"duration={tmp_path}/times.csv")
    assert "1 of 2 videos" in message and "garden" in message


def test_training_refuses_the_keys_of_inference(data, tmp_path, capsys):
    """`stride=4` would be read, and change nothing."""
    message = refused(capsys, spot_train.main, *settings(data, tmp_path / "run"), "stride=4")
    assert "dataset.stride" in message


def test_a_picture_of_every_video_is_drawn(run_folder, own, tmp_path):
    """Several windows (70 snippets) and one that is not full (10 of 16)."""
    np.save(own / "garden.npy", np.load(own / "garden.npy")[:10])
    spot_inference.main([f"checkpoint={run_folder}", f"features={own}", "fps=25", f"output_path={tmp_path}", "--plot"])
    for name in ("kitchen", "garden"):
        picture = imread(tmp_path / "own" / "timelines" / f"{name}.png")
        assert picture.shape[1] > 800 and len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 50


def test_a_snippet_is_drawn_by_the_window_in_whose_middle_it_lies():
    """Windows 0-8 and 4-12: their middles are 3.5 and 7.5, so 5 belongs to the first and 6 to the second."""
    window, place = middle_windows(12, np.array([0, 4]), 8)
    assert window.tolist() == [0] * 6 + [1] * 6 and place.tolist() == [0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 6, 7]


def test_own_videos_take_an_external_classifier_too(run_folder, own, tmp_path):
    scores = tmp_path / "scores.npz"
    np.savez(scores, videos=np.array(["kitchen"]), classes=np.array(["Action A", "Action B", "Action C"]),
             scores=np.array([[0, 1.0, 0]]))
    spot_inference.main([f"checkpoint={run_folder}", f"features={own}", "fps=25", f"output_path={tmp_path}",
                         f"testing.class_scores={scores}"])
    content = json.loads((tmp_path / "own" / "detections.json").read_text())
    assert content["external_data"]["class_scores"] == str(scores) and content["results"]["garden"] == []
    assert {entry["label"] for entry in content["results"]["kitchen"]} == {"Action B"}
