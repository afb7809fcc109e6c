"""Ids of videos, spelled by every tool in its own way: which are one, which are two, and which is the nearest."""

import pytest

from spot.names import NameIndex, match_name, nearest_name, pair_names


@pytest.mark.parametrize("video_id", ["abc", "v_abc", "abc.mp4", "clips/abc.avi", "c:\\clips\\abc.MKV", "ABC",
                                      "v_Abc.mp4", "abc.npy", "abc.mp4.npy", " abc", "abc\u200b"])
def test_one_video_spelled_in_many_ways(video_id):
    assert match_name(video_id, ["xyz", "abc"]) == "abc"
    assert match_name("abc", ["xyz", "abcd", "ab", video_id]) == video_id


def test_a_name_that_ends_like_a_file_is_no_other():
    """Only suffixes of videos and of features are taken off: in `a.1` and `a.2` they are not."""
    assert match_name("a.1", ["a.2", "a"]) is None and match_name("a", ["a.1"]) is None


def test_the_strictest_reading_counts():
    names = NameIndex(["abc", "ABC", "abc.mp4", "v_x", "x.mp4"])
    assert [names.find(name) for name in ("abc", "ABC", "abc.mp4", "x", "v_x.mp4")] == ["abc", "ABC", "abc.mp4", "v_x",
                                                                                       "x.mp4"]
    assert names.find("Abc") is None, "two names fit it equally well"
    assert match_name("v_v_UmAH", ["v_UmAH"]) == match_name("UmAH", ["v_UmAH"]) == "v_UmAH"


def test_no_two_ids_are_paired_with_one_name():
    """ABC.npy is missing: its video must not get the features of abc. Two folders of a camera are two videos."""
    assert pair_names(["abc", "ABC"], ["abc", "xyz"]) == {"abc": "abc", "ABC": None}
    assert pair_names(["ABC"], ["abc", "xyz"]) == {"ABC": "abc"}
    assert pair_names(["1/cam", "2/cam"], ["cam"]) == {"1/cam": None, "2/cam": None}
    assert pair_names(["a", "v_a"], ["a"]) == {"a": "a", "v_a": "a"}, "as the field's files have it"


@pytest.mark.parametrize(("name", "known", "nearest"), [
    ("video_test_0000004", ["video_test_0000005", "rgb_video_test_0000004"], "rgb_video_test_0000004"),
    ("Abc_01", ["abc_02", "abc_01"], "abc_01"),
    ("run_12", ["run_13", "ran_12"], "ran_12"),
    ("P01_S01_cam", ["P01_S02_cam", "P01_S01"], "P01_S01"),
    ("run_12", ["run_13"], "run_13"),
    ("abc", ["xyz"], None),
    ("abc", [], None),
])
def test_the_nearest_name_is_the_right_video_where_it_exists(name, known, nearest):
    assert nearest_name(name, known) == nearest
