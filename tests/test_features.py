"""Sources of features of many videos, of one and several streams."""

import os
import pickle

import h5py
import numpy as np
import pytest
from feature_samples import LENGTH, SNIPPETS, C, save, write_h5

from spot.features import FeatureSource
from spot.files import SpotError


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
    parent_handle = source._contents[tmp_path / "all.h5"]
    child = os.fork()
    if child == 0:
        good = np.array_equal(source.read("b"), SNIPPETS.T + 1)
        os._exit(0 if good and source._contents[tmp_path / "all.h5"] is not parent_handle else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(source.read("a"), SNIPPETS.T)


def test_a_forked_process_opens_the_file_anew(tmp_path):
    """A handle that is shared with the parent process reads garbage."""
    source = FeatureSource(write_h5(tmp_path / "f.h5", a=SNIPPETS, b=SNIPPETS), C)
    source.read("a")
    handle = source._contents[tmp_path / "f.h5"]
    source._process -= 1  # as the child of the process that opened it sees itself
    assert (source.read("b") == SNIPPETS.T).all()
    assert source._contents[tmp_path / "f.h5"] is not handle and source._process == os.getpid()
