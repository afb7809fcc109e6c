"""Feature files in every format, sources of one and several streams, packing; broken and hostile files."""

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import reads_or_refuses

from spot.features import READERS, FeatureSource, pack, read_feature
from spot.files import SpotError

C, LENGTH = 3, 5
# Snippet t, channel c holds 10 t + c, so a transposed array shows.
SNIPPETS = np.array([[10 * t + c for c in range(C)] for t in range(LENGTH)], dtype=np.float32)  # (T', C)


def write_h5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file[name] = array
    return path


def write_csv(path, array, header):
    lines = [",".join(map(str, row)) for row in array.tolist()]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    return path


def save(path, array):
    """Write `array` in the format of the suffix."""
    if path.suffix == ".csv":
        write_csv(path, array, ",".join(f"f{c}" for c in range(array.shape[1])))
    elif path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, feats=array)
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(array), path)
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({"feats": array}))
    else:
        write_h5(path, feats=array)
    return path


# --- one file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz", ".pt", ".pkl", ".h5"])
@pytest.mark.parametrize("transposed", [False, True])
def test_every_format_reads_as_channels_by_snippets(tmp_path, suffix, transposed):
    path = save(tmp_path / f"x{suffix}", SNIPPETS.T.copy() if transposed else SNIPPETS)
    features = read_feature(path, C)
    np.testing.assert_array_equal(features, SNIPPETS.T)
    assert features.dtype == np.float32 and features.flags.c_contiguous and features.flags.writeable


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_every_float_width_reads_as_float32(tmp_path, dtype):
    features = read_feature(save(tmp_path / "x.npy", SNIPPETS.astype(dtype)), C)
    np.testing.assert_array_equal(features, SNIPPETS.T)
    assert features.dtype == np.float32


def test_bfloat16_and_gradient_carrying_tensors_read(tmp_path):
    torch.save({"features": torch.from_numpy(SNIPPETS).bfloat16().requires_grad_()}, tmp_path / "x.pt")
    np.testing.assert_array_equal(read_feature(tmp_path / "x.pt", C), SNIPPETS.T)


def test_arrays_that_torch_saved_read(tmp_path):
    """torch's own safe reader knows tensors only; many features are `torch.save(array)`."""
    for content in (SNIPPETS, {"feats": SNIPPETS.astype(np.float64), "fps": 25}):
        torch.save(content, tmp_path / "x.pt")
        np.testing.assert_array_equal(read_feature(tmp_path / "x.pt", C), SNIPPETS.T)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.zeros(LENGTH, C)], "a list; expected a tensor"),
        ({"feats": "x"}, "a str; expected a tensor"),
        ({"feats": torch.zeros(LENGTH, C), "x": Path("x")}, "which is no array, and opening that can run code"),
        ({"a": torch.zeros(1), "b": torch.zeros(1)}, "a, b; name the features"),
    ],
)
def test_what_torch_saved_of_something_else_is_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(SpotError, match=rf"x\.pt: it holds .*{words}"):
        read_feature(tmp_path / "x.pt", C)


@pytest.mark.parametrize("header", [None, "f0,f1,f2", '"a","b","c"', "0,1,2"])
def test_csv_header_is_recognized(tmp_path, header):
    np.testing.assert_array_equal(read_feature(write_csv(tmp_path / "x.csv", SNIPPETS, header), C), SNIPPETS.T)


@pytest.mark.parametrize("names", [("feats", "other"), ("other", "features"), ("anything",)])
def test_the_array_of_an_archive_is_found_by_name_or_alone(tmp_path, names):
    arrays = {name: SNIPPETS if name != "other" else np.zeros((1, 1)) for name in names}
    np.savez(tmp_path / "x.npz", **arrays)
    np.testing.assert_array_equal(read_feature(tmp_path / "x.npz", C), SNIPPETS.T)
    np.testing.assert_array_equal(read_feature(write_h5(tmp_path / "x.h5", **arrays), C), SNIPPETS.T)


def test_a_square_array_is_taken_as_snippets_by_channels(tmp_path):
    np.testing.assert_array_equal(read_feature(save(tmp_path / "x.npy", SNIPPETS[:C]), C), SNIPPETS[:C].T)


NAN = SNIPPETS.copy()
NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (SNIPPETS[:, :2], r"found shape \(5, 2\), expected 3 channels.*model\.feat_dim"),
        (SNIPPETS[:0], r"\(0, 3\).*no snippet"),
        (NAN, "1 values are NaN or Inf, first in snippet 2, channel 1"),
        (SNIPPETS.astype(np.float64) * 1e40, "14 values are NaN or Inf"),
        (SNIPPETS.astype(int), "int64; features are floats"),
        (SNIPPETS.astype(complex), "complex128; features are floats"),
        (SNIPPETS.astype(str), "features are floats"),
        (SNIPPETS[0], r"shape \(3,\)"),
        (SNIPPETS[None], r"shape \(1, 5, 3\)"),
        (np.float32(1), r"shape \(\)"),
    ],
)
def test_an_array_that_is_no_feature_is_refused(tmp_path, array, words):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(SpotError, match=rf"x\.npy: .*{words}"):
        read_feature(tmp_path / "x.npy", C)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", "", "empty"),
        ("x.csv", "f0,f1,f2\n", "no snippet in it, only a header"),
        ("x.csv", "f0,f1,f2\n1,2,3\n4,5\n", "1 values are NaN"),  # cut off in the middle of a row
        ("x.csv", "1,2,3\n4,nan,6\n", "1 values are NaN"),
        ("x.csv", "f0,f1,f2\n0,1,2,3\n", r"found shape \(1, 4\)"),
        ("x.csv", "f0,f1,f2\n1,2,3\n1,2,3,4\n", "Expected 3 fields in line 3, saw 4"),
        ("x.csv", "1,2,3\n4,five,6\n", "five"),
        ("x.csv", b"\xff\xfe1,2", "cannot be read"),
        ("x.npy", "not numpy", "cannot be read"),
        ("x.npy", "", "the file is empty"),
        ("x.pt", "", "the file is empty"),
        ("x.npz", "not a zip", "cannot be read"),
        ("x.pt", "not torch", "cannot be read"),
        ("x.h5", "not hdf5", "cannot be read"),
        ("x.pkl", "anything", "cannot be read"),
        ("x.mat", "anything", "suffix is none of .csv"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpotError, match=rf"{name}: .*{words}"):
        read_feature(tmp_path / name, C)


def test_missing_files_and_ambiguous_or_misnamed_archives_are_refused(tmp_path):
    with pytest.raises(SpotError, match="no such file"):
        read_feature(tmp_path / "x.npy", C)
    np.savez(tmp_path / "x.npz", rgb=SNIPPETS, flow=SNIPPETS)
    with pytest.raises(SpotError, match=r"x\.npz: it holds rgb, flow"):
        read_feature(tmp_path / "x.npz", C)
    with pytest.raises(SpotError, match="it holds nothing"):
        read_feature(write_h5(tmp_path / "x.h5"), C)
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    with pytest.raises(SpotError, match="rename it"):
        read_feature(tmp_path / "x.npy", C)


def test_a_header_that_claims_terabytes_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, C)})
    (tmp_path / "x.npy").write_bytes(header.getvalue() + bytes(64))
    with pytest.raises(SpotError, match=r"x\.npy: "):
        read_feature(tmp_path / "x.npy", C)


class Bomb:
    """Unpickling this creates a file: proof that code ran."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pt", "x.pkl", "raw_pickle.npy", "raw_pickle.pt"])
def test_a_malicious_pickle_never_runs(tmp_path, name):
    path, proof = tmp_path / name, tmp_path / "code_ran"
    bomb = np.array([Bomb(proof)], dtype=object)
    if name == "x.npy":
        np.save(path, bomb, allow_pickle=True)
    elif name == "x.npz":
        np.savez(path, feats=bomb)
    elif name == "x.pt":
        torch.save(Bomb(proof), path)
    else:
        path.write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(SpotError, match=name):
        read_feature(path, C)
    assert not proof.exists()


@pytest.fixture(scope="module")
def good_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return {
        suffix: save(folder / f"x{suffix}", SNIPPETS).read_bytes() for suffix in (".csv", ".npy", ".npz", ".pt", ".h5")
    }


@settings(max_examples=300, deadline=None)
@given(suffix=st.sampled_from([".csv", ".npy", ".npz", ".pt", ".h5"]), data=st.data())
def test_damaged_files_read_or_are_refused(good_files, tmp_path_factory, suffix, data):
    """Cut anywhere, one stretch of bytes overwritten: a feature of the right shape or a SpotError, nothing else."""
    content = good_files[suffix]
    if data.draw(st.booleans(), "cut"):
        content = content[: data.draw(st.integers(0, len(content)), "length")]
    else:
        at, noise = data.draw(st.integers(0, len(content)), "at"), data.draw(st.binary(max_size=8), "noise")
        content = content[:at] + noise + content[at + len(noise) :]
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(content)
    reads_or_refuses(path, C)


# --- sources -----------------------------------------------------------------------------------------------------


def test_a_folder_is_read_by_name_with_or_without_prefix(tmp_path):
    save(tmp_path / "v_a.npy", SNIPPETS)
    save(tmp_path / "v_b.csv", SNIPPETS * 2)
    (tmp_path / "README.txt").write_text("not a feature")
    (tmp_path / ".a-unfinished.npy").write_text("not a feature")
    source = FeatureSource(tmp_path, C)
    assert source.names == {"a", "b"} and "a" in source and "v_a" in source and "c" not in source
    np.testing.assert_array_equal(source.read("b"), SNIPPETS.T * 2)
    assert source.path_of("a") == str(tmp_path / "v_a.npy")


def test_a_name_that_itself_begins_with_v_is_found(tmp_path):
    for file in ("v_v_UmAH.npy", "v_sJSy.npy"):
        save(tmp_path / file, SNIPPETS)
    assert FeatureSource(tmp_path, C).names == {"v_UmAH", "sJSy"}


def test_a_pattern_chooses_the_files(tmp_path):
    save(tmp_path / "v_a_rgb.npy", SNIPPETS)
    save(tmp_path / "v_a_flow.npy", SNIPPETS + 1)
    assert FeatureSource(tmp_path, C, "v_{video}_rgb.npy").names == {"a"}
    both = FeatureSource([tmp_path, tmp_path], 2 * C, ["{video}_rgb.npy", "{video}_flow.npy"])
    np.testing.assert_array_equal(both.read("a"), np.concatenate([SNIPPETS.T, SNIPPETS.T + 1]))


@pytest.mark.parametrize("pattern", ["x.npy", "../{video}.npy", "{video}{video}.npy"])
def test_a_pattern_is_a_file_name_with_the_video_once(tmp_path, pattern):
    save(tmp_path / "x.npy", SNIPPETS)
    with pytest.raises(SpotError, match="pattern"):
        FeatureSource(tmp_path, C, pattern)


def test_a_single_file_is_a_source_of_one_video(tmp_path):
    assert FeatureSource(save(tmp_path / "mine.csv", SNIPPETS), C).names == {"mine"}


def test_hdf5_holds_one_dataset_or_group_per_video(tmp_path):
    path = write_h5(tmp_path / "all.h5", **{"v_a": SNIPPETS, "v_b/features": SNIPPETS.T})
    source = FeatureSource(path, C)
    assert source.names == {"a", "b"} and source.path_of("a") == f"{path}[v_a]"
    for name in "ab":
        np.testing.assert_array_equal(source.read(name), SNIPPETS.T)


def test_two_streams_spread_over_four_files_are_joined(tmp_path):
    """The four TSN files of G-TAD; flow is one snippet shorter in one video."""
    for subset, name in (("train", "a"), ("test", "b")):
        write_h5(tmp_path / f"rgb_{subset}.h5", **{name: SNIPPETS})
        write_h5(tmp_path / f"flow_{subset}.h5", **{name: SNIPPETS[: LENGTH - (name == "b"), :2] + 100})
    flow = [tmp_path / "flow_train.h5", tmp_path / "flow_test.h5"]
    source = FeatureSource([str(tmp_path / "rgb_*.h5"), flow], C + 2)
    assert source.names == {"a", "b"}
    assert source.read("a").shape == (C + 2, LENGTH)
    np.testing.assert_array_equal(source.read("b"), np.concatenate([SNIPPETS[:4].T, SNIPPETS[:4, :2].T + 100]))


def test_streams_that_differ_by_more_than_5_percent_are_refused(tmp_path):
    for folder, length in (("rgb", 100), ("flow", 95), ("short", 94)):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "a.npy", np.zeros((length, 2), np.float32))
    assert FeatureSource([tmp_path / "rgb", tmp_path / "flow"], 4).read("a").shape == (4, 95)
    with pytest.raises(SpotError, match=r"\(100, 2\) and \(94, 2\) differ"):
        FeatureSource([tmp_path / "rgb", tmp_path / "short"], 4).read("a")


def test_a_video_must_be_in_every_stream(tmp_path):
    for folder, names in (("rgb", "ab"), ("flow", "a")):
        (tmp_path / folder).mkdir()
        for name in names:
            save(tmp_path / folder / f"{name}.npy", SNIPPETS)
    source = FeatureSource([tmp_path / "rgb", tmp_path / "flow"], 2 * C)
    assert source.names == {"a"} and "b" not in source
    with pytest.raises(SpotError, match="flow: no features of video 'b'"):
        source.read("b")


def test_an_unknown_video_names_the_nearest_one(tmp_path):
    save(tmp_path / "video_test_0000004.npy", SNIPPETS)
    source = FeatureSource(tmp_path, C)
    assert source.nearest("vid_test_0000004") == "video_test_0000004" and source.nearest("zzz") is None
    with pytest.raises(SpotError, match="nearest name there is 'video_test_0000004'"):
        source.read("vid_test_0000004")
    with pytest.raises(SpotError, match="no name there is like it"):
        source.path_of("../../etc/passwd")


def test_the_nearest_name_is_also_one_that_holds_the_name(tmp_path):
    save(tmp_path / "i3d_rgb_features_of_abc_25fps.npy", SNIPPETS)
    assert FeatureSource(tmp_path, C).nearest("abc") == "i3d_rgb_features_of_abc_25fps"


def test_a_folder_may_list_the_videos_that_have_no_features(tmp_path):
    """OpenTAD's missing_files.txt, which is no feature file; of two streams each may have one."""
    for folder, listed in (("rgb", "b\nc"), ("flow", "c\nd\n"), ("none", None)):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "a.npy", SNIPPETS)
        if listed:
            (tmp_path / folder / "missing_files.txt").write_text(listed)
    source = FeatureSource([tmp_path / "rgb", [tmp_path / "flow"]], 2 * C)
    assert source.names == {"a"} and source.listed_missing == {"b", "c", "d"}
    assert FeatureSource(tmp_path / "none", C).listed_missing == set()
    assert FeatureSource(write_h5(tmp_path / "x.h5", a=SNIPPETS), C).listed_missing == set()


def test_two_files_for_one_video_are_refused(tmp_path):
    save(tmp_path / "a.npy", SNIPPETS)
    save(tmp_path / "a.csv", SNIPPETS)
    with pytest.raises(SpotError, match=r"a.csv and .*a.npy are both features of video 'a'"):
        FeatureSource(tmp_path, C)
    (tmp_path / "a.csv").rename(tmp_path / "v_a.csv")
    with pytest.raises(SpotError, match="both features of video"):
        FeatureSource(tmp_path, C)
    write_h5(tmp_path / "1.h5", a=SNIPPETS)
    write_h5(tmp_path / "2.h5", a=SNIPPETS)
    with pytest.raises(SpotError, match=r"1.h5 and .*2.h5"):
        FeatureSource([str(tmp_path / "?.h5")], C)


def test_folders_that_cannot_be_a_source_are_refused(tmp_path):
    with pytest.raises(SpotError, match="nowhere: No such file"):
        FeatureSource(tmp_path / "nowhere", C)
    with pytest.raises(SpotError, match="holds 0 files"):
        FeatureSource(tmp_path, C)
    with pytest.raises(SpotError, match="no file matches"):
        FeatureSource(str(tmp_path / "*.h5"), C)
    with pytest.raises(SpotError, match="no dataset"):
        FeatureSource(write_h5(tmp_path / "empty.h5"), C)
    with pytest.raises(SpotError, match="one pattern per path"):
        FeatureSource([tmp_path], C, ["{video}.npy", "{video}.csv"])


def test_hdf5_links_out_of_the_file_are_refused(tmp_path):
    write_h5(tmp_path / "secret.h5", x=SNIPPETS)
    (tmp_path / "secret.bin").write_bytes(SNIPPETS.tobytes())
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["external"] = h5py.ExternalLink("secret.h5", "/x")
        file["soft"] = h5py.SoftLink("/external")
        file.create_dataset("raw", SNIPPETS.shape, "f4", external=[(str(tmp_path / "secret.bin"), 0, SNIPPETS.nbytes)])
        layout = h5py.VirtualLayout(SNIPPETS.shape, "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "x", SNIPPETS.shape)
        file.create_virtual_dataset("virtual", layout)
        assert file["external"].shape == SNIPPETS.shape, "the link does lead there"
    source = FeatureSource(tmp_path / "all.h5", C)
    for name in ("external", "soft", "raw", "virtual"):
        with pytest.raises(SpotError, match="another file"):
            source.read(name)


def test_hdf5_is_opened_anew_after_fork_and_after_pickling(tmp_path):
    source = FeatureSource(write_h5(tmp_path / "all.h5", a=SNIPPETS, b=SNIPPETS + 1), C)
    source.read("a")
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.read("b"), SNIPPETS.T + 1)
    parent_handle = source._files[tmp_path / "all.h5"]
    child = os.fork()
    if child == 0:
        good = (
            np.array_equal(source.read("b"), SNIPPETS.T + 1) and source._files[tmp_path / "all.h5"] is not parent_handle
        )
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(source.read("a"), SNIPPETS.T)


# --- packing -----------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr("spot.features.zlib.crc32", lambda *_: next(counter))
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
        "import resource, sys; from spot.features import FeatureSource, pack; from spot.files import SpotError\n"
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
        "import sys, time; from spot.features import FeatureSource, pack\n"
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


def test_every_suffix_that_reads_is_in_the_message_of_one_that_does_not():
    with pytest.raises(SpotError, match=", ".join(READERS)):
        read_feature("x.mat", C)


def test_an_npy_file_under_the_name_of_an_npz_archive_is_told(tmp_path):
    np.save(tmp_path / "x.npy", SNIPPETS)
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(SpotError, match=r"x\.npz: is an \.npy file"):
        read_feature(tmp_path / "x.npz", C)


def test_a_forked_process_opens_the_file_anew(tmp_path):
    """A handle that is shared with the parent process reads garbage."""
    source = FeatureSource(write_h5(tmp_path / "f.h5", a=SNIPPETS, b=SNIPPETS), C)
    source.read("a")
    handle = source._files[tmp_path / "f.h5"]
    source._process -= 1  # as the child of the process that opened it sees itself
    assert (source.read("b") == SNIPPETS.T).all()
    assert source._files[tmp_path / "f.h5"] is not handle and source._process == os.getpid()


def test_packing_goes_on_with_the_videos_that_are_wanted_now(tmp_path):
    """A killed one had written a video that is no longer wanted: it is not in the file."""
    source = FeatureSource(write_h5(tmp_path / "f.h5", a=SNIPPETS, b=SNIPPETS), C)
    path = tmp_path / "packed.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spot.features._verify", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pack(source, ["a", "b"], path)
    assert pack(source, ["b"], path) == 1
    with h5py.File(path) as file:
        assert list(file) == ["b"]
