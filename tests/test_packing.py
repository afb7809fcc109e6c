"""Packing the features of many videos into one file: killed, damaged, on a full disk."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_samples import SNIPPETS, C, save, write_h5

from spot.features import FeatureSource
from spot.files import SpotError
from spot.packing import pack


@pytest.fixture
def folder(tmp_path):
    """Videos a to d, each one more than the one before."""
    folder = tmp_path / "features"
    folder.mkdir()
    for i, name in enumerate("abcd"):
        save(folder / f"v_{name}.npy", SNIPPETS + i)
    return folder


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_packed_file_reads_like_its_folder(tmp_path, folder, dtype):
    source = FeatureSource(folder, C)
    path = tmp_path / "packed.h5"
    assert pack(source, source.names, path, dtype, {"grid": "window", "stride": 4, "fps": None}) == 4
    packed = FeatureSource(path, C)
    assert packed.names == source.names
    for name in source.names:
        np.testing.assert_array_equal(packed.read(name), source.read(name))
    with h5py.File(path) as file:
        assert file["a"].dtype == dtype and file["a"].chunks == SNIPPETS.shape
        attributes = dict(file.attrs)
    assert (attributes["grid"], attributes["stride"], attributes["fps"]) == ("window", 4, "null")
    assert str(folder) in attributes["source"] and attributes["checksum"] > 0
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []


def test_packing_again_gives_the_same_checksum(tmp_path, folder):
    source = FeatureSource(folder, C)
    checksums = []
    for name in ("1.h5", "2.h5"):
        pack(source, source.names, tmp_path / name)
        with h5py.File(tmp_path / name) as file:
            checksums.append(int(file.attrs["checksum"]))
    assert checksums[0] == checksums[1]


def test_a_stopped_pack_continues_where_it_was(tmp_path, folder, monkeypatch):
    source, path = FeatureSource(folder, C), tmp_path / "packed.h5"
    good = (folder / "v_c.npy").read_bytes()
    (folder / "v_c.npy").write_bytes(good[:-4])
    with pytest.raises(SpotError, match=r"v_c\.npy"):
        pack(source, source.names, path)
    assert not path.exists()
    (folder / "v_c.npy").write_bytes(good)
    with h5py.File(tmp_path / ".packed.h5.partial", "r+") as file:
        file["c"] = SNIPPETS * 0  # as if killed between the data and its checksum
    read = []
    monkeypatch.setattr(source, "read", lambda name: read.append(name) or FeatureSource.read(source, name))
    pack(source, source.names, path)
    assert read == ["c", "d"]
    packed = FeatureSource(path, C)
    assert packed.names == set("abcd")
    np.testing.assert_array_equal(packed.read("c"), SNIPPETS.T + 2)


def test_a_partial_file_of_other_settings_is_not_continued(tmp_path, folder):
    source, path = FeatureSource(folder, C), tmp_path / "packed.h5"
    with h5py.File(tmp_path / ".packed.h5.partial", "w") as file:
        file.create_dataset("a", data=np.zeros((9, C), "f2")).attrs["crc32"] = 1
        file.attrs["dtype"] = "float32"
    pack(source, source.names, path)
    np.testing.assert_array_equal(FeatureSource(path, C).read("a"), SNIPPETS.T)


def test_a_damaged_partial_file_is_begun_anew(tmp_path, folder):
    (tmp_path / ".packed.h5.partial").write_bytes(b"\x89HDF\r\n\x1a\n damaged")
    assert pack(FeatureSource(folder, C), "ab", tmp_path / "packed.h5") == 2


def test_a_dataset_that_reads_back_differently_is_refused(tmp_path, folder, monkeypatch):
    source = FeatureSource(folder, C)
    monkeypatch.setattr("spot.packing.zlib.crc32", lambda *_: next(counter))
    counter = iter(range(100))
    with pytest.raises(SpotError, match="not stored as written"):
        pack(source, source.names, tmp_path / "packed.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["features"]


def test_values_beyond_float16_ask_for_float32(tmp_path, folder):
    save(folder / "v_big.npy", SNIPPETS * 1e4)
    source = FeatureSource(folder, C)
    with pytest.raises(SpotError, match=r"v_big.npy: 420000 does not fit float16.*float32"):
        pack(source, source.names, tmp_path / "packed.h5")
    assert pack(source, source.names, tmp_path / "packed.h5", "float32") == 5
    with pytest.raises(SpotError, match="float64"):
        pack(source, source.names, tmp_path / "packed.h5", "float64")


def test_a_full_disk_leaves_the_last_good_file(tmp_path, folder):
    """A limit on the size of written files stands for the full disk."""
    source, path = FeatureSource(folder, C), tmp_path / "packed.h5"
    pack(source, ["a"], path)
    before = path.read_bytes()
    code = (
        "import resource, sys; from spot.features import FeatureSource; from spot.files import SpotError\n"
        "from spot.packing import pack\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "source = FeatureSource(sys.argv[1], 3)\n"
        "try: pack(source, source.names, sys.argv[2])\n"
        "except SpotError as error: sys.exit('refused: ' + str(error))\n"
    )
    arguments = [sys.executable, "-c", code, str(folder), str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert "refused: " in done.stderr and "packing stopped" in done.stderr
    assert path.read_bytes() == before


def test_a_killed_pack_continues(tmp_path):
    """kill -9 in the middle; the next run ends with every video right."""
    folder, path = tmp_path / "features", tmp_path / "packed.h5"
    folder.mkdir()
    for i in range(300):
        save(folder / f"{i}.npy", SNIPPETS + i)
    source = FeatureSource(folder, C)
    code = (
        "import sys, time; from spot.features import FeatureSource; from spot.packing import pack\n"
        "class Slow(FeatureSource):\n"
        "    def read(self, name): time.sleep(.01); return super().read(name)\n"
        "source = Slow(sys.argv[1], 3); pack(source, source.names, sys.argv[2])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(path)], stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[1]
    )
    partial = tmp_path / ".packed.h5.partial"
    while not (partial.exists() and partial.stat().st_size > 20_000):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    assert pack(source, source.names, path) == 300
    packed = FeatureSource(path, C)
    for i in range(300):
        np.testing.assert_array_equal(packed.read(str(i)), (SNIPPETS + i).T)


def test_packing_goes_on_with_the_videos_that_are_wanted_now(tmp_path):
    """A killed one had written a video that is no longer wanted: it is not in the file."""
    source = FeatureSource(write_h5(tmp_path / "f.h5", a=SNIPPETS, b=SNIPPETS), C)
    path = tmp_path / "packed.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spot.packing._verify", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pack(source, ["a", "b"], path)
    assert pack(source, ["b"], path) == 1
    with h5py.File(path) as file:
        assert list(file) == ["b"]


@pytest.mark.parametrize(("mean", "deviation", "is_refused"), [
    (20000, 3, True), (0, 1e-9, True), (2000, 1, True), (0, 1, False), (100, 1.5, False), (0, 1e-5, False),
    (5, 0, False), (1, 1e-8, False)])
def test_a_channel_that_float16_would_flatten_asks_for_float32(tmp_path, mean, deviation, is_refused):
    """float16 has steps of 16 at 20000, of 1 at 2000, of 1 / 16 at 100, and of 6e-8 at 0; a step changes values by
    0.29 of it. The channel is one of three; the others are as they should be, and a constant one may stay."""
    folder = tmp_path / "f"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        array = random.normal(size=(200, C))
        array[:, 1] = mean + deviation * array[:, 1]
        save(folder / f"{name}.npy", array.astype(np.float32))
    source = FeatureSource(folder, C)
    if is_refused:
        with pytest.raises(SpotError, match=r"f/[ab]\.npy: channel 1 varies by .* float16 would .*--dtype float32"):
            pack(source, source.names, tmp_path / "x.h5")
        assert [path.name for path in tmp_path.iterdir()] == ["f"]
    else:
        assert pack(source, source.names, tmp_path / "x.h5") == 2
    assert pack(source, source.names, tmp_path / "y.h5", "float32") == 2


def test_a_channel_still_in_one_video_is_no_reason_to_refuse(tmp_path):
    """1 + 1e-5 times noise in one video, deviation 1 over both: its rounding, 3e-4, is nothing beside that."""
    folder = tmp_path / "f"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, scale in (("a", 1e-5), ("b", 1.0)):
        save(folder / f"{name}.npy", (1 + scale * random.normal(size=(200, C))).astype(np.float32))
    source = FeatureSource(folder, C)
    assert pack(source, source.names, tmp_path / "x.h5") == 2
