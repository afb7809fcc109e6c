"""Where features are found: files of many videos in every format, nested folders, files without a suffix, patterns."""

import collections
import gzip
import pickle

import h5py
import numpy as np
import pytest
import torch
from feature_samples import SNIPPETS, C, save, write_h5

from spot.errors import SpotError
from spot.feature_files import read_feature
from spot.features import FeatureSource

MANY = {f"v{i}": SNIPPETS + i for i in range(3)}  # three videos, the first value of each is its number


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def dump(path, content):
    path.write_bytes(pickle.dumps(content))


def h5_groups(path, content):
    with h5py.File(path, "w") as file:
        for subset, videos in content.items():
            for name, array in videos.items():
                file[f"{subset}/{name}"] = array


def test_a_list_of_the_videos_beside_their_features_is_no_feature_file(tmp_path):
    """index.csv, in a folder with a folder per subset or with the features themselves; alone it is told as one."""
    table = "video,subset,path\nv0,train,train/v0.npy\n"
    for place in ("nested", "flat"):
        folder = tmp_path / place
        for index, (name, array) in enumerate(MANY.items()):
            inner = folder if place == "flat" else folder / ("train" if index else "test")
            inner.mkdir(parents=True, exist_ok=True)
            np.save(inner / f"{name}.npy", array)
        (folder / "index.csv").write_text(table)
        assert FeatureSource(folder, C).names == set(MANY)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "index.csv").write_text(table)
    source = FeatureSource(tmp_path / "alone", C)
    with pytest.raises(SpotError, match=r"index\.csv"):
        source.read("index")


# --- files of many videos ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "write"), [
    ("a.npy", lambda path: np.save(path, MANY, allow_pickle=True)),
    ("a.npz", lambda path: np.savez(path, **MANY)),
    ("a.pkl", lambda path: dump(path, MANY)),
    ("a.pickle", lambda path: dump(path, collections.OrderedDict(MANY))),
    ("a.pt", lambda path: torch.save(tensors(MANY), path)),
    ("b.pt", lambda path: torch.save(MANY, path)),
    ("a.pth.tar", lambda path: torch.save(tensors(MANY), path)),
    ("a", lambda path: torch.save(tensors(MANY), path, _use_new_zipfile_serialization=False)),
    ("a.h5", lambda path: write_h5(path, **MANY)),
    ("facts.pkl", lambda path: dump(path, {**MANY, "fps": 25, "names": ["v0"]})),
    ("under.pkl", lambda path: dump(path, {"features": MANY, "version": "1"})),
    ("dicts.pkl", lambda path: dump(path, {name: {"feats": array, "fps": 25} for name, array in MANY.items()}))])
@pytest.mark.parametrize("is_folder", [False, True])
def test_one_file_of_all_videos(tmp_path, name, write, is_folder):
    """Given itself, or the folder that holds it."""
    write(tmp_path / name)
    source = FeatureSource(tmp_path if is_folder else tmp_path / name, C)
    assert source.names == set(MANY) and source.path_of("v1").startswith(f"{tmp_path}/{name}[")
    for index, video in enumerate(sorted(MANY)):
        np.testing.assert_array_equal(source.read(video), SNIPPETS.T + index)


@pytest.mark.parametrize(("name", "write"), [("a.pkl", dump), ("a.h5", h5_groups)])
def test_a_mapping_per_subset(tmp_path, name, write):
    """One of them with a single video."""
    write(tmp_path / name, {"train": MANY, "val": {"z": SNIPPETS + 9}})
    source = FeatureSource(tmp_path / name, C)
    assert source.names == {*MANY, "z"} and source.path_of("z").endswith("[val/z]")
    np.testing.assert_array_equal(source.read("z"), SNIPPETS.T + 9)


def test_a_file_per_subset(tmp_path):
    dump(tmp_path / "train.pkl", MANY)
    dump(tmp_path / "val.pkl", {"x": SNIPPETS, "y": SNIPPETS})
    assert FeatureSource(tmp_path, C).names == {*MANY, "x", "y"}


@pytest.mark.parametrize("content", [{"rgb": SNIPPETS, "flow": SNIPPETS},
                                     {"v": {"rgb": SNIPPETS, "Flow": SNIPPETS}, "w": SNIPPETS}])
def test_streams_in_one_file_are_told(tmp_path, content):
    dump(tmp_path / "x.pkl", content)
    with pytest.raises(SpotError, match=r"x\.pkl: it holds [Ff]low, rgb, streams of one video"):
        FeatureSource(tmp_path / "x.pkl", C)


def test_a_file_of_many_among_files_of_one_says_what_to_do(tmp_path):
    dump(tmp_path / "x.pkl", MANY)
    with pytest.raises(SpotError, match=r"it holds v0, v1, v2; .*give the file itself as dataset\.feature_path"):
        read_feature(tmp_path / "x.pkl", C)


def test_an_hdf5_file_of_one_video_is_called_like_the_file(tmp_path):
    assert FeatureSource(write_h5(tmp_path / "mine.h5", features=SNIPPETS), C).names == {"mine"}
    assert FeatureSource(write_h5(tmp_path / "all.h5", mine=SNIPPETS), C).names == {"mine"}


def test_an_array_that_no_reader_of_the_file_expects_is_refused_when_read(tmp_path):
    dump(tmp_path / "x.pkl", {"a": SNIPPETS, "b": np.array(["text"])})
    source = FeatureSource(tmp_path / "x.pkl", C)
    assert source.read("a").shape == (3, 5)
    with pytest.raises(SpotError, match=r"x\.pkl\[b\]: its array has the type 'U4', not numbers"):
        source.read("b")


# --- one file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "write"), [
    ("objects.npy", lambda path: np.save(path, SNIPPETS.astype(object), allow_pickle=True)),
    ("rows.npy", lambda path: np.save(path, np.array([*SNIPPETS, None], object)[:-1], allow_pickle=True)),
    ("dict.npy", lambda path: np.save(path, {"feats": SNIPPETS, "fps": 25}, allow_pickle=True)),
    ("objects.npz", lambda path: np.savez(path, feats=SNIPPETS.astype(object))),
    ("tensor.pkl", lambda path: torch.save(torch.from_numpy(SNIPPETS), path)),
    ("pickle.pt", lambda path: dump(path, SNIPPETS)),
    ("x.th", lambda path: torch.save(torch.from_numpy(SNIPPETS), path)),
    ("beside.pkl", lambda path: dump(path, {"anything": SNIPPETS, "fps": np.float64(25), "path": "x"}))])
def test_arrays_as_users_have_saved_them(tmp_path, name, write):
    write(tmp_path / name)
    np.testing.assert_array_equal(read_feature(tmp_path / name, C), SNIPPETS.T)


@pytest.mark.parametrize(("name", "content", "words"), [
    ("x.npy", pickle.dumps(SNIPPETS), "a pickle under the name of an .npy file; rename it"),
    ("x.csv", b"\x89HDF\r\n\x1a\n and more", "an HDF5 file under the name of a .csv file; rename it"),
    ("x.npy.gz", gzip.compress(b"1", mtime=0), "is a gzip file: unpack it"),
    ("x.csv", gzip.compress(b"1", mtime=0), "is a gzip file: unpack it"),
    ("x.mat", b"MATLAB 5.0 MAT-file", "is a MATLAB file: save its features as .npy"),
    ("x.bin", b"\x00\x01\x02", "the suffix is none of .csv")])
def test_files_of_another_format_are_told_what_they_are(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpotError, match=f"{name}: .*{words}"):
        read_feature(tmp_path / name, C)


# --- folders ----------------------------------------------------------------------------------------------------------


def files(folder, *names):
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save(folder / name, SNIPPETS + index)


@pytest.mark.parametrize(("names", "videos"), [
    (["a/features.npy", "b/features.npy"], "ab"), (["a/feats.npy"], "a"), (["v_a/i3d.npy", "v_b/i3d.npy"], "ab"),
    (["train/a.npy", "train/b.npy", "val/c.npy"], "abc"), (["train/a.npy", "val/b.npy"], "ab"), (["train/a.npy"], "a"),
    (["train/jump/a.npy", "train/run/b.npy", "val/jump/c.npy"], "abc"), (["a.npy", "old/a.npy"], "a"),
    (["train/a/feats.npy", "val/b/feats.npy"], "ab")])
def test_folders_in_the_folder(tmp_path, names, videos):
    """A folder per video, per subset, per class; files in the folder itself come first."""
    files(tmp_path, *names)
    source = FeatureSource(tmp_path, C)
    assert source.names == set(videos)
    for name in videos:
        index = next(i for i, file in enumerate(names) if f"/{name}." in f"/{file}" or f"{name}/f" in file
                     or f"v_{name}/" in file)
        np.testing.assert_array_equal(source.read(name), SNIPPETS.T + index)


def test_folders_that_could_be_videos_or_streams_are_told_apart_by_the_user(tmp_path):
    files(tmp_path, "rgb/a.npy", "rgb/b.npy", "flow/a.npy", "flow/b.npy")
    with pytest.raises(SpotError, match=rf"flow and rgb hold files of the same names, such as a\.npy; .*"
                                        rf"feature_pattern='{{video}}/a\.npy'.*\[{tmp_path}/flow,{tmp_path}/rgb\]"):
        FeatureSource(tmp_path, C)
    assert FeatureSource([tmp_path / "rgb", tmp_path / "flow"], 2 * C).names == {"a", "b"}
    assert FeatureSource(tmp_path, C, "{video}/a.npy").names == {"rgb", "flow"}


def test_one_video_in_two_subsets_is_refused(tmp_path):
    files(tmp_path, "train/a.npy", "train/b.npy", "val/b.npy")
    with pytest.raises(SpotError, match=r"train/b\.npy and .*val/b\.npy are both features of video 'b'"):
        FeatureSource(tmp_path, C)


def test_patterns_with_folders(tmp_path):
    files(tmp_path, "v_a/rgb.npy", "v_a/flow.npy", "v_b/rgb.npy", "train/x_rgb.npy", "val/y_rgb.npy")
    both = FeatureSource([tmp_path, tmp_path], 2 * C, ["{video}/rgb.npy", "{video}/flow.npy"])
    assert both.names == {"a"} and both.read("a").shape == (2 * C, 5)
    assert FeatureSource(tmp_path, C, "*/{video}_rgb.npy").names == {"x", "y"}


@pytest.mark.parametrize("pattern", ["../{video}.npy", "/{video}.npy", "{video}/../x.npy", "{video}//x.npy", "x/y.npy",
                                     "{video}/{video}.npy"])
def test_a_pattern_stays_in_the_folder_and_names_the_video_once(tmp_path, pattern):
    files(tmp_path, "a/a.npy")
    with pytest.raises(SpotError, match="pattern"):
        FeatureSource(tmp_path, C, pattern)


def test_files_without_a_suffix_and_of_torch(tmp_path):
    """`v_a`, `b.pth.tar` and `c.1` are features by how they begin; README and a list of names are not."""
    for name in ("v_a", "b.pth.tar", "c.1"):
        torch.save(torch.from_numpy(SNIPPETS), tmp_path / name)
    (tmp_path / "README").write_text("features of ...")
    (tmp_path / "names.txt").write_text("a\nb\n")
    assert FeatureSource(tmp_path, C).names == {"v_a", "b", "c.1"}


@pytest.mark.parametrize(("names", "words"), [((), "holds 0 files"),
                                              (("x.txt",), "holds 1 files, none of them a feature"),
                                              (("a/x.txt",), "holds 1 files, none of them a feature")])
def test_a_folder_without_features_is_one_sentence(tmp_path, names, words):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no features")
    with pytest.raises(SpotError, match=f"{words}.*dataset.feature_path|{words}"):
        FeatureSource(tmp_path, C)
