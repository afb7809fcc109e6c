"""The HAPT converter: a tiny download written by hand, and a real recording taken apart and put together again."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spot.annotations import class_names, read_annotations
from spot.features import FeatureSource
from spot.files import SpotError

ROOT = Path(__file__).resolve().parents[1]
SBHAR = ROOT.parent / "shared" / "data" / "sbhar"

specification = importlib.util.spec_from_file_location("convert_hapt", ROOT / "tools" / "convert_hapt.py")
convert_hapt = importlib.util.module_from_spec(specification)
specification.loader.exec_module(convert_hapt)


def write_signal(folder, name, signal):
    """signal: (samples, 6)"""
    np.savetxt(folder / "RawData" / f"acc_{name}.txt", signal[:, :3])
    np.savetxt(folder / "RawData" / f"gyro_{name}.txt", signal[:, 3:])


@pytest.fixture
def hapt(tmp_path):
    """Two recordings of 2 and 2.5 s. In the first, axis a of sample s holds 100 a + s."""
    folder = tmp_path / "HAPT"
    (folder / "RawData").mkdir(parents=True)
    (folder / "activity_labels.txt").write_text(" 1 WALKING           \n 2 WALKING_UPSTAIRS  \n")
    (folder / "RawData" / "labels.txt").write_text("1 1 2 1 50\n1 1 1 51 100\n3 2 1 26 100\n")
    write_signal(folder, "exp01_user01", np.arange(100)[:, None] + 100 * np.arange(6))
    write_signal(folder, "exp03_user02", np.zeros((125, 6)))
    return folder


def test_a_tiny_download_becomes_features_and_annotations(hapt, tmp_path):
    """Windows start at samples 0, 25, 50. Samples 1..50 last from 0 to 1 s, samples 26..100 from 0.5 to 2 s."""
    out = tmp_path / "sbhar"
    convert_hapt.convert(hapt, out, "raw")
    first, second = read_annotations(out / "annotations.json")
    assert (first.name, first.subset, first.fps, first.duration_sec) == ("exp01_user01", "training", 50, 2.0)
    assert (second.name, second.subset, second.duration_sec) == ("exp03_user02", "validation", 2.5)
    np.testing.assert_allclose(first.segments_sec, [[0, 1], [1, 2]])
    np.testing.assert_allclose(second.segments_sec, [[0.5, 2]])
    assert first.labels == ("WALKING_UPSTAIRS", "WALKING") and class_names([first]) == ["WALKING", "WALKING_UPSTAIRS"]

    stored = np.load(out / "features" / "exp01_user01.npy")
    assert stored.shape == (3, 300) and stored.dtype == np.float16
    np.testing.assert_array_equal(stored[1, :3], [25, 26, 27])  # acc x of the second window
    np.testing.assert_array_equal(stored[2, 250:252], [550, 551])  # gyro z of the third
    source = FeatureSource(out / "features", 300)
    assert source.read("exp03_user02").shape == (300, 4)
    assert source.times.settings() == {"stride": 25, "window": 50, "fps": 50, "feat_dim": 300}


def test_spectral_channels_replace_raw_ones(hapt, tmp_path):
    """30 channels of each axis. Axis 0 of the first recording rises by 1 a sample: the mean of samples 0 to 49 is 24.5,
    they differ by 1 on average; the second recording is still."""
    out = tmp_path / "sbhar"
    convert_hapt.convert(hapt, out, "raw")
    convert_hapt.convert(hapt, out)
    stored = np.load(out / "features" / "exp01_user01.npy")
    assert stored.shape == (3, 180) and stored.dtype == np.float32
    assert stored[0, :5] == pytest.approx([24.5, np.arange(50).std(), 0, 49, 1])
    assert (np.load(out / "features" / "exp03_user02.npy") == 0).all()
    assert FeatureSource(out / "features", 180).times.settings()["feat_dim"] == 180


def test_the_script_runs_and_explains_a_wrong_folder(hapt, tmp_path):
    def script(folder):
        command = [sys.executable, str(ROOT / "tools" / "convert_hapt.py"), str(folder), str(tmp_path / "out")]
        return subprocess.run(command, capture_output=True, text=True)

    done = script(hapt)
    assert done.returncode == 0 and "2 recordings, 3 segments, 2 activities" in done.stdout
    wrong = script(tmp_path)
    assert wrong.returncode == 2 and "activity_labels.txt" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("labels.txt", "1 1 7 1 50\n", "activity 7"),
        ("labels.txt", "1 1 7\n", "3 columns"),
        ("labels.txt", "1 1 two 1 50\n", "numbers in experiment"),
        ("labels.txt", "", "cannot be read"),
        ("acc_exp01_user01.txt", "1 2 3\n" * 99, "99 and 100 samples"),
        ("acc_exp01_user01.txt", "1 2 3\n1 2\n", "numbers in x, y, z"),
    ],
)
def test_a_broken_download_is_one_sentence(hapt, tmp_path, file, content, words):
    (hapt / "RawData" / file).write_text(content)
    with pytest.raises(SpotError, match=rf"(?s)RawData.*{words}"):
        convert_hapt.convert(hapt, tmp_path / "out")
    assert not (tmp_path / "out" / "annotations.json").exists()


@pytest.mark.skipif(not SBHAR.is_dir(), reason="../shared/data/sbhar is not here")
def test_a_real_recording_converts_to_the_very_file(tmp_path):
    """Windows overlap by half, so first halves put end to end are the raw signal; the tail beyond them is lost."""
    name = "exp01_user01"
    real = np.load(SBHAR / "features" / f"{name}.npy")
    entry = json.loads((SBHAR / "annotations.json").read_text())["database"][name]
    windows = real.reshape(len(real), 6, 50).transpose(0, 2, 1)
    signal = np.zeros((round(entry["duration"] * 50), 6))
    signal[: 25 * (len(real) + 1)] = np.concatenate([*windows[:, :25], windows[-1, 25:]])
    rows = [(1, 1, a["label_id"] + 1, a["segment"][0] * 50 + 1, a["segment"][1] * 50) for a in entry["annotations"]]
    names = {a["label_id"] + 1: a["label"] for a in entry["annotations"]}

    (tmp_path / "RawData").mkdir()
    write_signal(tmp_path, name, signal)
    np.savetxt(tmp_path / "RawData" / "labels.txt", rows, fmt="%.0f")
    (tmp_path / "activity_labels.txt").write_text("".join(f"{i} {label}\n" for i, label in names.items()))
    convert_hapt.convert(tmp_path, tmp_path / "out", "raw")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "features" / f"{name}.npy"), real)
    assert json.loads((tmp_path / "out" / "annotations.json").read_text())["database"][name] == entry
