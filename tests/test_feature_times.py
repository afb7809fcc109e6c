"""What loaders take from the sidecar of features: settings that need not be typed, times of videos, contradictions."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import test_scripts
from test_scripts import refused, settings
from test_sidecar import sidecar
from tiny import C, dataset, video

import spot_inference
import spot_train
from spot.checkpoint import RunFolder, load_model
from spot.config import load_config
from spot.config_values import data_values
from spot.data_check import check_data
from spot.data_files import open_data
from spot.datasets import GridSettings
from spot.feature_times import refuse_other_backbone, sidecar_beside, times_of_features
from spot.features import FeatureSource, channels_in
from spot.files import SpotError, read_json
from spot.inference import detect
from spot.sidecar import SIDECAR, ExtractedVideo, Sidecar, read_sidecar, write_sidecar

data, run_folder = test_scripts.data, test_scripts.run_folder

CENTERS = np.array([0.5, 1.0, 3.0, 3.25])


@pytest.fixture
def folder(tmp_path):
    """Features of `a`, of 3 snippets at a fixed rate, and of `phone`, of 4 that come when they come."""
    folder = tmp_path / "features"
    folder.mkdir()
    for name, count in (("a", 3), ("phone", 4)):
        np.save(folder / f"{name}.npy", np.full((count, C), 1.0, np.float32))
    videos = {"a": ExtractedVideo(2.0, 3), "phone": ExtractedVideo(4.0, 4, centers_sec=CENTERS)}
    write_sidecar(folder, sidecar(videos=videos))
    (tmp_path / "anno.json").write_text(json.dumps({"database": {
        "a": {"subset": "training", "fps": 30, "annotations": [{"label": "run", "segment": [0.5, 1.5]}]},
        "phone": {"subset": "training", "duration": 4.0, "annotations": [{"label": "jump", "segment": [1, 3]}]}}}))
    return folder


def config_of(folder, *overrides):
    return load_config(None, [f"dataset.feature_path={folder}", f"dataset.video_anno_path={folder.parent}/anno.json",
                              "dataset.grid=window", *overrides])


def known(config):
    return config.dataset.stride, config.dataset.window, config.dataset.fps, config.model.feat_dim


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_that_nobody_typed_come_from_the_sidecar(folder):
    """stride 8, window 16, fps 15, 6 channels; without a sidecar the defaults stand, and the 6 columns that all files
    have; without files 400. What is typed always stands."""
    config = config_of(folder)
    assert known(config) == (8, 16, 15.0, C)
    assert config_of(folder, "dataset.stride=4").dataset.stride == 4
    (folder / SIDECAR).unlink()
    config = config_of(folder)
    assert known(config) == (16, 16, None, C)
    assert config_of(folder, "model.feat_dim=9").model.feat_dim == 9
    assert known(config_of(folder.parent / "nowhere")) == (16, 16, None, 400)


@pytest.mark.parametrize(("shapes", "wanted"), [
    ([(3, 6), (4, 6)], [6]), ([(6, 3), (6, 4)], [6]),
    ([(100, 6), (100, 6)], [6, 100]),  # resized: (T', C) is likelier
    ([(3, 6), (4, 5)], []), ([(7,)], [])])
def test_channels_are_what_the_files_have_in_common(tmp_path, shapes, wanted):
    for index, shape in enumerate(shapes):
        np.save(tmp_path / f"{index}.npy", np.zeros(shape, np.float32))
    assert channels_in(str(tmp_path)) == wanted


def test_channels_of_streams_add_up_and_the_default_stands_where_it_fits(tmp_path):
    for name, shapes in (("rgb", [(3, 6), (4, 6)]), ("flow", [(3, 2), (4, 2)]), ("tsn", [(400, 100), (400, 100)])):
        (tmp_path / name).mkdir()
        for index, shape in enumerate(shapes):
            np.save(tmp_path / name / f"{index}.npy", np.zeros(shape, np.float32))
    assert channels_in([str(tmp_path / "rgb"), str(tmp_path / "flow")]) == [8]
    assert config_of(tmp_path / "tsn").model.feat_dim == 400


@pytest.mark.parametrize(("override", "words"), [
    ("dataset.stride=16", "dataset.stride is 16, and .*features.json says 8"),
    ("dataset.window=8", "dataset.window is 8, and .* says 16"),
    ("dataset.fps=30", "dataset.fps is 30, and .* says 15"),
    ("dataset.offset=4", "dataset.offset is 4, and .* says 0"),
    ("model.feat_dim=400", "model.feat_dim is 400, and .* says 6"),
])
def test_a_contradiction_is_refused_with_both_values(folder, override, words):
    """By whoever opens the features, and by the check."""
    config = config_of(folder, override)
    with pytest.raises(SpotError, match=words):
        open_data(**data_values(config))
    values = {**data_values(config), "feat_dim": C}
    report = check_data(values, {"grid": "window", "temporal_scale": 8}, {}, "training", "training", 1.0, 0, "sigmoid",
                        "0.5:0.5:1")
    assert any(override.partition("=")[0] in problem and SIDECAR in problem for problem in report.problems)


def test_the_rate_of_features_is_not_that_of_annotated_frames(folder):
    assert data_values(config_of(folder))["options"].fps is None
    (folder / SIDECAR).unlink()
    assert data_values(config_of(folder, "dataset.fps=30"))["options"].fps == 30


def test_what_agrees_is_no_contradiction(folder):
    config = config_of(folder, "dataset.stride=8", "dataset.window=16", "dataset.fps=15.0001", "model.feat_dim=6")
    assert open_data(**data_values(config))[2].times is not None


def test_native_rates_are_compared_one_by_one(folder):
    videos = {"a": ExtractedVideo(2.0, 3, 25.0), "b": ExtractedVideo(2.0, 3, 29.97)}
    write_sidecar(folder, sidecar(fps=None, videos=videos))
    times = times_of_features(str(folder))
    assert times.settings() == {"stride": 8, "window": 16, "feat_dim": 6}
    with pytest.raises(SpotError, match=r"dataset.fps is 25, and .* says 29.97 of video b"):
        times.refuse_others({"dataset.fps": 25.0})
    assert [times.rate_of(name) for name in ("a", "v_b", "c")] == [25.0, 29.97, None]


# --- times of videos --------------------------------------------------------------------------------------------------


def test_videos_take_their_times_from_the_sidecar(folder):
    """`a` has no duration of its own and was extracted at 15, not at its 30 frames per second: its centers are at
    (8 i + 8) / 15 s."""
    config = config_of(folder)
    (first, second), _, _ = open_data(**data_values(config))
    assert (first.duration_sec, first.fps, second.fps, second.duration_sec) == (2.0, 30.0, 15.0, 4.0)
    assert first.centers_sec == pytest.approx((8 * np.arange(3) + 8) / 15)
    np.testing.assert_array_equal(second.centers_sec, CENTERS)


@pytest.mark.parametrize(("grid", "every", "wanted"), [
    ("window", 1, [1.5, 2.5]),  # centers of snippets 1 and 2
    ("window", 2, [0.7, 1.5]),  # rows 0 and 2, at 0.5 and 3.0 s: 1.0 is a fifth of the way from 0.5 to 1.5
    ("resize", 1, [3, 5])])  # 8 of 4 rows
def test_training_places_segments_by_the_centers(grid, every, wanted):
    """[1, 3] s, the centers of the second and the third row."""
    one = video("phone", (1, 3, "run"), duration=4.0)
    placed = type(one)(**{**vars(one), "centers_sec": CENTERS})
    data_set = dataset([placed], {"phone": np.ones((C, 4), np.float32)}, grid, every=every)
    assert data_set.segments[0, 0].tolist() == pytest.approx(wanted, abs=1e-5)


def test_detections_come_out_at_the_centers(run_folder):
    """The same features, once regular and once slower from the 30th second on: times before are the same, and later
    ones lie as much later as their snippets."""
    model = load_model(run_folder)
    x = np.random.default_rng(0).normal(size=(C, 60)).astype(np.float32)
    regular = np.arange(60) + 0.5
    late = np.where(regular > 30, 2 * regular - 30, regular)
    one, two = (detect(model, x, end, centers_sec=centers)[0] for end, centers in ((60.0, regular), (90.0, late)))
    assert len(one) and one[:, 2:].tolist() == two[:, 2:].tolist()
    assert np.interp(one[:, :2], [0, *regular, 60], [0, *late, 90]) == pytest.approx(two[:, :2], abs=1e-5)
    same = detect(model, x, 60.0, fps=25.0)[0]  # stride and window are 25 frames
    assert same == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize(("centers", "words"), [
    (np.arange(5.0), r"shape \(5,\) of float64; expected the seconds of 4 snippets"),
    (np.array([0.0, 2, 1, 3]), "does not increase"), (np.array([-1.0, 2, 3, 4]), "does not increase"),
    ([None, None], "1 recordings and centers_sec for 2")])
def test_centers_that_are_none_are_refused(run_folder, centers, words):
    with pytest.raises(SpotError, match=words):
        detect(load_model(run_folder), np.ones((C, 4), np.float32), 4.0, centers_sec=centers)


def test_features_of_another_length_are_refused(folder):
    np.save(folder / "a.npy", np.ones((5, C), np.float32))
    with pytest.raises(SpotError, match=r"a\.npy: has 5 snippets, and .*features\.json says 3"):
        FeatureSource(str(folder), C).read("a")


def test_a_grid_says_where_times_are_too_few():
    with pytest.raises(SpotError, match="6 snippets and the times of 4"):
        GridSettings("window", 8).at(6, 4.0, centers_sec=CENTERS)


# --- several sidecars -------------------------------------------------------------------------------------------------


def other(folder, **changes):
    """A second folder of the same videos."""
    copy = folder.with_name("other")
    shutil.copytree(folder, copy)
    write_sidecar(copy, sidecar(videos=read_sidecar(folder).videos, **changes))
    return copy


def test_streams_must_agree_in_time_and_their_channels_add_up(folder):
    both = [str(folder), str(other(folder, backbone="flow", channels=4))]
    times = times_of_features(both)
    assert times.settings()["feat_dim"] == 10 and times.sidecar.backbone == "videomae-base + flow"
    write_sidecar(both[1], sidecar(stride=4))
    with pytest.raises(SpotError, match=r"features/features.json and .*other/features.json .* stride is 8 and 4"):
        times_of_features(both)
    assert times_of_features(both, resample=True).settings()["stride"] == 4


def test_parts_of_one_stream_must_be_of_one_extractor(folder):
    copy = other(folder, backbone="clip")
    with pytest.raises(SpotError, match="backbone is 'videomae-base' and 'clip'"):
        times_of_features([[str(folder), str(copy)]])
    with pytest.raises(SpotError, match="backbone is"):
        times_of_features(str(folder.parent))  # subfolders train and test, say


def test_a_file_has_its_sidecar_beside_it_or_in_its_folder(folder):
    assert times_of_features(str(folder / "phone.npy")).centers_sec("phone") is not None
    assert times_of_features(str(folder.parent / "anno.json")) is None
    packed = folder.parent / "all.h5"
    packed.touch()
    write_sidecar(sidecar_beside(packed), sidecar(stride=2))
    assert times_of_features(str(packed)).settings()["stride"] == 2


def test_another_backbone_is_refused_with_both(folder):
    times = times_of_features(str(folder))
    refuse_other_backbone(None, times)
    refuse_other_backbone(sidecar(), times)
    with pytest.raises(SpotError, match=r"backbone of the run's features is 'clip', and .* says 'videomae-base'"):
        refuse_other_backbone(sidecar(backbone="clip"), times)
    with pytest.raises(SpotError, match=r"checksum, of the run's features is 'cd', and .* says 'ab'"):
        refuse_other_backbone(sidecar(weights_sha256="cd"), times)


# --- whole scripts ----------------------------------------------------------------------------------------------------


def describe(features, **changes):
    """Write the sidecar of a folder of the tiny demo features: a snippet per second, 25 frames per second."""
    lengths = {path.stem: len(np.load(path)) for path in sorted(features.glob("*.npy"))}
    videos = {name: ExtractedVideo(float(count), count) for name, count in lengths.items()}
    values = {"backbone": "tiny", "version": "1", "weights_sha256": "", "stride": 25, "window": 25, "fps": 25.0,
              "channels": 6, "videos": videos}
    write_sidecar(features, Sidecar(**{**values, **changes}))


@pytest.fixture
def described(data, tmp_path):
    """The tiny demo data set with a sidecar; returns what to type, without stride, window, fps and feat_dim."""
    features = tmp_path / "features"
    shutil.copytree(data / "features", features)
    describe(features)
    untyped = ("dataset.stride", "dataset.window", "dataset.fps", "model.feat_dim")
    words = [word for word in settings(data, tmp_path / "run") if not word.startswith(untyped)]
    lines = Path(words[1]).read_text().splitlines()
    kept = [line for line in lines if not line.strip().startswith(("stride:", "window:", "fps:", "feat_dim:"))]
    (tmp_path / "demo.yaml").write_text("\n".join(kept))
    return ["--config", str(tmp_path / "demo.yaml"), *words[2:], f"dataset.feature_path={features}"]


def test_a_run_needs_no_typed_times_and_keeps_its_backbone(described, data, tmp_path, capsys):
    """Trained, packed and detected with times from the sidecar; own recordings need no fps=; then contradictions."""
    features, run = tmp_path / "features", tmp_path / "run"
    spot_train.main([*described, "training.max_epoch=1", "training.pretrain_epoch=0"])
    config = load_config(run / "config.yaml")
    assert known(config) == (25, 25, 25.0, 6)
    assert read_sidecar(RunFolder(run).features).backbone == "tiny" and not read_sidecar(RunFolder(run).features).videos
    spot_inference.main([str(run), f"features={features}"])
    assert len(read_json(run / "own" / "detections.json")["results"]) == len(read_sidecar(features).videos)

    packed = tmp_path / "all.h5"
    spot_train.main([*described, "--pack", str(packed), "--dtype", "float32"])
    assert read_sidecar(sidecar_beside(packed)).stride == 25
    spot_inference.main([str(run), f"dataset.feature_path={packed}", f"output_path={tmp_path / 'packed'}"])
    capsys.readouterr()

    assert "stride is 5, and" in refused(capsys, spot_inference.main, str(run), f"features={features}", "stride=5")
    assert "frame rate is given as 30" in refused(capsys, spot_inference.main, str(run), f"features={features}",
                                                  f"duration={rates(tmp_path, features)}")
    describe(features, backbone="clip")
    message = refused(capsys, spot_inference.main, str(run))
    assert "'tiny'" in message and "'clip'" in message
    describe(features, stride=5)
    assert "dataset.stride is 25, and" in refused(capsys, spot_inference.main, str(run))


def rates(tmp_path, features):
    """A table of times in which every video has 30 frames per second."""
    path = tmp_path / "times.csv"
    path.write_text("video,fps\n" + "".join(f"{file.stem},30\n" for file in features.glob("*.npy")))
    return path
