"""Signals of sensors -> features: spectral channels by hand, files as people have them, and what is refused."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from spot.feature_times import times_of_features
from spot.features import FeatureSource
from spot.files import SpotError
from spot.sensors import (
    channels_of,
    extract_signals,
    find_signals,
    raw_channels,
    read_signal,
    spectral_channels,
    windows_of,
)
from spot.sidecar import read_sidecar

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))  # the tools import each other as scripts do

import extract_features
import extract_sensors


def test_windows_begin_every_stride_samples():
    """10 samples in windows of 4 every 3: at 0, 3, 6; none holds less. 2 samples are one window, filled up."""
    windows = windows_of(np.arange(20).reshape(10, 2), 4, 3)
    assert windows.shape == (3, 2, 4) and windows[1].tolist() == [[6, 8, 10, 12], [7, 9, 11, 13]]
    assert windows_of(np.array([[1.0], [2.0]]), 4, 3).tolist() == [[[1, 2, 2, 2]]]


def test_spectral_channels_of_a_cosine_by_hand():
    """3 + 2 cos(2 pi n / 4) is 5, 3, 1, 3, ...: mean 3, deviation sqrt 2, 1 to 5, 2 from sample to sample, and all of
    its amplitude, 2, at 2 periods in 8 samples. The second axis stands still at 7."""
    wave = 3 + 2 * np.cos(2 * np.pi * np.arange(8) / 4)
    found = spectral_channels(np.stack([wave, np.full(8, 7.0)])[None])
    assert found.shape == (1, 2 * (5 + 4)) and found.dtype == np.float32
    assert found[0, :5] == pytest.approx([3, 2**0.5, 1, 5, 2])
    assert found[0, 5:9] == pytest.approx([0, 2**0.25, 0, 0], abs=1e-3)
    assert found[0, 9:].tolist() == [7, 0, 7, 7, 0, 0, 0, 0, 0]


def test_another_unit_scales_channels_and_moves_nothing():
    """1000 times the values: statistics times 1000, magnitudes times its fourth root. Standardized, they are one."""
    signal = np.random.default_rng(0).normal(size=(100, 3))
    one, other = (channels_of(signal * unit, "spectral", 10, 5).reshape(19, 3, 10) for unit in (1, 1000))
    assert other[..., :5] == pytest.approx(1000 * one[..., :5], rel=1e-3)
    assert other[..., 5:] == pytest.approx(1000**0.25 * one[..., 5:], rel=1e-3)


def test_raw_channels_are_the_samples_axis_by_axis():
    assert raw_channels(windows_of(np.arange(8).reshape(4, 2), 2, 2)).tolist() == [[0, 2, 1, 3], [4, 6, 5, 7]]


# --- files ------------------------------------------------------------------------------------------------------------


def written(path, text):
    path.write_text(text)
    return path


def test_a_time_column_tells_rate_and_start(tmp_path):
    """Samples at 0.5, 0.6, ... s; milliseconds by the column's name; without a header there is no time."""
    rows = "".join(f"{0.5 + n / 10:.1f},{n},{2 * n}\n" for n in range(20))
    signal, words = read_signal(written(tmp_path / "a.csv", "time,x,y\n" + rows))
    assert (signal.rate, signal.start_sec, signal.samples.shape) == (10, 0.5, (20, 2)) and not words
    assert signal.samples[:, 1] == pytest.approx(2 * np.arange(20)) and signal.duration_sec == pytest.approx(2.5)
    in_ms = "".join(f"{100 * n};{n}\n" for n in range(20))
    signal, _ = read_signal(written(tmp_path / "b.csv", "Timestamp (ms);acc x\n" + in_ms))
    assert signal.rate == 10 and signal.samples.shape == (20, 1)
    signal, _ = read_signal(written(tmp_path / "c.csv", "1,2\n3,4\n"), rate=50)
    assert signal.samples.tolist() == [[1, 2], [3, 4]] and signal.rate == 50


def test_uneven_samples_are_brought_to_one_rate(tmp_path):
    """A signal that rises by 10 a second keeps doing so: at 0, 0.25, 0.5, 0.75, 1 s it is 0, 2.5, 5, 7.5, 10."""
    path = written(tmp_path / "a.csv", "t,x\n0,0\n0.1,1\n0.4,4\n0.7,7\n1.0,10\n")
    assert read_signal(path, rate=4)[0].samples[:, 0] == pytest.approx([0, 2.5, 5, 7.5, 10])


def test_dates_and_gaps_are_told(tmp_path):
    """Seconds of a year 2023, and 5 s without a sample."""
    times = [1.7e9 + n / 10 for n in range(20)] + [1.7e9 + 7 + n / 10 for n in range(20)]
    signal, words = read_signal(written(tmp_path / "a.csv", "t,x\n" + "".join(f"{t:.1f},1\n" for t in times)))
    assert signal.start_sec == 0 and signal.duration_sec == pytest.approx(9.0)
    assert "counted from its first sample" in words[0] and "no sample from 1.9 to 7 s" in words[1]


def test_columns_are_chosen_by_name(tmp_path):
    path = written(tmp_path / "a.csv", "t,x,note,y\n0,1,walk,3\n0.1,2,run,4\n")
    assert read_signal(path, axes=["y", "x"])[0].samples.tolist() == [[3, 1], [4, 2]]
    with pytest.raises(SpotError, match=r"column 'note' holds 'walk' in row 1, which is no number; .*--axes"):
        read_signal(path)


@pytest.mark.parametrize(("text", "words"), [
    ("x,y\n1,2\n3,4\n", "its rate is not known; give --fps"), ("", "is empty"),
    ("t,x\n0,1\n0.1,\n", "1 values are missing, NaN or Inf, first in sample 1, axis 0"),
    ("t,x\n0,1\n0.2,2\n0.1,3\n", "time does not go on at sample 2"), ("t,x\n0,1\n", "time does not go on"),
    ("t,x\n0,1\n,2\n0.2,3\n", "the time of sample 1 is missing"), ("t\n0\n1\n", "no column 'of a sensor'"),
    ("t,x\n0,1,2\n1,2,3,4,5\n", "is no table")])
def test_a_table_that_is_no_signal_is_one_sentence(tmp_path, text, words):
    with pytest.raises(SpotError, match=rf"a\.csv: .*{words}"):
        read_signal(written(tmp_path / "a.csv", text))


@pytest.mark.parametrize(("array", "words"), [
    (np.ones((3, 100)), "more axes than samples"), (np.ones((2, 2, 2)), "a signal is"),
    (np.array(["x"]), "a signal is"),
    (np.ones((0, 3)), "a signal is"), (np.full((9, 1), np.nan), "9 values are missing")])
def test_an_array_that_is_no_signal_is_one_sentence(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(SpotError, match=rf"a\.npy: .*{words}"):
        read_signal(tmp_path / "a.npy", rate=50)
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY broken")
    with pytest.raises(SpotError, match="no array of numpy"):
        read_signal(tmp_path / "a.npy", rate=50)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_of_signals_becomes_features_that_load(tmp_path, capsys):
    """Windows of 4 samples every 2 at 10 Hz: `a` of 20 samples gives 9 snippets, centered at (2 i + 2) / 10 s; `b`
    begins at 1 s, and they lie a second later. A broken one stops no other."""
    signals, out = tmp_path / "signals", tmp_path / "out"
    signals.mkdir()
    written(signals / "a.csv", "t,x,y\n" + "".join(f"{n / 10},{n},1\n" for n in range(20)))
    written(signals / "b.csv", "t,x,y\n" + "".join(f"{1 + n / 10},{n},1\n" for n in range(20)))
    written(signals / "broken.csv", "t,x\nnever,1\n")
    failed = extract_signals(find_signals(signals), out, "spectral", 4, 2)
    assert list(failed) == ["broken"] and sorted(path.name for path in out.iterdir()) == [
        "a.npy", "b.npy", "features.json"]
    source = FeatureSource(str(out), 2 * 7)
    assert source.read("a").shape == (14, 9) and source.times.settings() == {"stride": 2, "window": 4, "feat_dim": 14}
    assert source.times.rate_of("a") == 10
    assert source.times.centers_sec("a") == pytest.approx((2 * np.arange(9) + 2) / 10)
    assert source.times.centers_sec("b") == pytest.approx(1 + (2 * np.arange(9) + 2) / 10)
    with pytest.raises(SpotError, match="holds features with backbone spectral, and now it is raw; choose another"):
        extract_signals(find_signals(signals / "a.csv"), out, "raw", 4, 2)


def test_a_given_rate_is_that_of_all(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((100, 3)))
    assert not extract_signals(find_signals(tmp_path), tmp_path / "out", "raw", 10, 5, rate=50.0)
    times = times_of_features(str(tmp_path / "out"))
    assert times.settings() == {"stride": 5, "window": 10, "fps": 50, "feat_dim": 30}
    assert times.video("a").duration_sec == 2 and times.video("a").num_snippets == 19


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(SpotError, match="no such file or folder"):
        find_signals(tmp_path / "nowhere")
    with pytest.raises(SpotError, match=re.escape("holds no signal; looked for .csv and .npy")):
        find_signals(tmp_path)
    np.save(tmp_path / "a.npy", np.ones((100, 3)))
    np.save(tmp_path / "b.npy", np.ones((100, 2)))
    with pytest.raises(SpotError, match=r"a\.npy has 3 axes and .*b\.npy 2"):
        extract_signals(find_signals(tmp_path), tmp_path / "out", "raw", 10, 5, rate=50)
    with pytest.raises(SpotError, match="a window of 1 sample has no spectrum"):
        extract_signals(find_signals(tmp_path), tmp_path / "out", "spectral", 1, 1, rate=50)
    written(tmp_path / "a.csv", "x\n1\n")
    with pytest.raises(SpotError, match=r"a\.csv and .*a\.npy have one name"):
        find_signals(tmp_path)


# --- the script -------------------------------------------------------------------------------------------------------


def test_the_script_extracts_and_tells_what_failed(tmp_path, capsys):
    """Windows of 10 samples every 5, as nobody says otherwise; 100 samples give 19."""
    np.save(tmp_path / "a.npy", np.ones((100, 3)))
    written(tmp_path / "b.csv", "x\nwalk\n")
    with pytest.raises(SpotError, match="1 of 2 signals could not be read"):
        extract_sensors.main([str(tmp_path), str(tmp_path / "out"), "--window", "10", "--fps", "50"])
    said = capsys.readouterr()
    assert "failed: b: " in said.err and "features of 1 of 2 signals" in said.out
    assert f"train on them by dataset.feature_path={tmp_path}" in said.out
    assert np.load(tmp_path / "out" / "a.npy").shape == (19, 30)
    with pytest.raises(SpotError, match="--fps: must be a number from"):
        extract_sensors.main([str(tmp_path), str(tmp_path / "out"), "--window", "10", "--fps", "often"])


def test_the_tool_for_videos_takes_signals_too(tmp_path, capsys):
    """100 samples of 2 axes at 50 per second, windows of 50 every 25: 3 snippets of 2 x (5 + 25) channels."""
    (tmp_path / "signals").mkdir()
    np.save(tmp_path / "signals" / "walk.npy", np.random.default_rng(0).normal(size=(100, 2)))
    arguments = [str(tmp_path / "signals"), str(tmp_path / "out"), "--backbone", "spectral", "--fps", "50"]
    with pytest.raises(SpotError, match="--window SAMPLES"):
        extract_features.main(arguments)
    extract_features.main([*arguments, "--window", "50", "--stride", "25"])
    assert np.load(tmp_path / "out" / "walk.npy").shape == (3, 60)
    assert read_sidecar(tmp_path / "out" / "features.json").fps == 50
