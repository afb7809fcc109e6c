"""The sidecar of extracted features: written, read, and refused where it says nothing that can be used."""

import json

import numpy as np
import pytest

from spot.files import SpotError
from spot.sidecar import (
    ExtractedVideo,
    Sidecar,
    difference,
    irregular_centers,
    read_sidecar,
    same_rate,
    write_sidecar,
)


def sidecar(**changes):
    """A regular video `a` of 3 snippets, and `phone`, whose frames come when they come."""
    videos = {"a": ExtractedVideo(2.0, 3), "phone": ExtractedVideo(9.1, 3, None, np.array([0.5, 1.25, 3]))}
    values = {"backbone": "videomae-base", "version": "1", "weights_sha256": "ab", "stride": 8, "window": 16,
              "fps": 15.0, "channels": 6, "videos": videos, "details": {"frames": [1, 2]}}
    return Sidecar(**{**values, **changes})


def test_a_sidecar_reads_back_as_written(tmp_path):
    write_sidecar(tmp_path, sidecar())
    found = read_sidecar(tmp_path)
    assert difference(found, sidecar()) is None and found.details == {"frames": [1, 2]}
    assert (tmp_path / "features.json").is_file() and list(found.videos) == ["a", "phone"]
    assert (found.videos["a"].duration_sec, found.videos["a"].num_snippets) == (2.0, 3)
    assert found.videos["a"].centers_sec is None
    np.testing.assert_array_equal(found.videos["phone"].centers_sec, [0.5, 1.25, 3])
    write_sidecar(tmp_path, found.with_video("b", ExtractedVideo(1.0, 1)))  # as a resumed extraction goes on
    assert list(read_sidecar(tmp_path / "features.json").videos) == ["a", "phone", "b"]
    assert not found.without_videos().videos


def test_native_rates_are_each_videos_own(tmp_path):
    videos = {"a": ExtractedVideo(2.0, 3, 25.0), "b": ExtractedVideo(2.0, 3, 29.97)}
    write_sidecar(tmp_path, sidecar(fps=None, videos=videos))
    found = read_sidecar(tmp_path)
    assert [found.rate_of(name) for name in ("a", "b", "c")] == [25.0, 29.97, None]
    assert sidecar().rate_of("c") == 15.0


def test_centers_on_the_grid_are_not_stored():
    """stride 5, window 10, 10 fps: centers at 0.5, 1.0, 1.5 s. A clock of ms moves each by less than that."""
    assert irregular_centers([0.5, 1.001, 1.4995], 5, 10, 10) is None
    np.testing.assert_array_equal(irregular_centers([0.5, 1.1, 1.5], 5, 10, 10), [0.5, 1.1, 1.5])


def test_differences_name_the_key_and_both_values():
    assert difference(sidecar(), sidecar(backbone="clip")) == ("backbone", "videomae-base", "clip")
    assert difference(sidecar(fps=29.97), sidecar(fps=30000 / 1001)) is None
    assert difference(sidecar(), sidecar(fps=None)) == ("fps", 15.0, None)
    assert same_rate(None, None) and not same_rate(30, 29.97) and not same_rate(None, 30)


@pytest.mark.parametrize(("changes", "words"), [
    ({"format": "other"}, "is no sidecar of features"),
    ({"format_version": 2}, "format version 2, and this program reads 1"),
    ({"stride": 0}, "stride is 0; it must be a whole number"),
    ({"window": 2.5}, "window is 2.5"),
    ({"channels": "768"}, "channels is '768'"),
    ({"fps": -1}, "fps is -1"),
    ({"backbone": None}, "backbone is None; it must be text"),
    ({"videos": []}, r"videos is \[\]"),
    ({"videos": {"a": 3}}, "video a: is 3"),
    ({"videos": {"a": {"num_snippets": 3}}}, "video a: duration_sec is None"),
    ({"videos": {"a": {"duration_sec": float("1e999"), "num_snippets": 3}}}, "duration_sec is inf"),
    ({"videos": {"a": {"duration_sec": 2, "num_snippets": 0}}}, "num_snippets is 0"),
    ({"videos": {"a": {"duration_sec": 2, "num_snippets": 3, "fps": 30}}}, "its fps is 30, and 15 is that of all"),
    ({"fps": None, "videos": {"a": {"duration_sec": 2, "num_snippets": 3}}}, "video a: has neither fps nor centers"),
    ({"videos": {"a": {"duration_sec": 2, "num_snippets": 3, "centers_sec": [1, 2]}}}, "is 2 values; .* 3 numbers"),
    ({"videos": {"a": {"duration_sec": 2, "num_snippets": 2, "centers_sec": [1, "2"]}}}, "2 numbers, one per"),
    ({"videos": {"a": {"duration_sec": 2, "num_snippets": 2, "centers_sec": [1, 1]}}}, "value 1 is 1 s after 1 s"),
    ({"videos": {"a": {"duration_sec": 2, "num_snippets": 1, "centers_sec": [-1]}}}, "value 0 is -1 s"),
])
def test_a_damaged_sidecar_is_one_sentence(tmp_path, changes, words):
    write_sidecar(tmp_path, sidecar())
    path = tmp_path / "features.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(SpotError, match=rf"features\.json: .*{words}"):
        read_sidecar(tmp_path)


def test_a_key_that_is_missing_is_named(tmp_path):
    (tmp_path / "features.json").write_text('{"format": "SPOT features", "format_version": 1, "backbone": "x"}')
    with pytest.raises(SpotError, match="the key 'version' is missing"):
        read_sidecar(tmp_path)


def test_what_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(SpotError, match="video a: duration_sec is 0"):
        write_sidecar(tmp_path, sidecar(videos={"a": ExtractedVideo(0, 3)}))
    assert not list(tmp_path.iterdir())
