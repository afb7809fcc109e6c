"""Which axis is time, and streams of different length."""

import numpy as np
import pytest
import torch
from feature_samples import save
from torch.nn import functional as F

from spot.errors import SpotError
from spot.features import FeatureSource
from spot.streams import join_streams, orientations, resampled


def counting(rows, columns):
    return np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)


def folder_of(path, **shapes):
    """A folder with one array per name, and the arrays."""
    path.mkdir(exist_ok=True)
    arrays = {name: counting(*shape) for name, shape in shapes.items()}
    for name, array in arrays.items():
        save(path / f"{name}.npy", array)
    return arrays


# --- orientation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("other", "is_transposed"), [((3, 5), False), ((5, 3), True)])
def test_a_square_array_is_read_like_the_others_of_its_set(tmp_path, other, is_transposed):
    """C = 3. Beside a (C, T') = (3, 5) array the (3, 3) one is (C, T') as well; beside (5, 3) it is (T', C)."""
    arrays = folder_of(tmp_path / "f", square=(3, 3), other=other)
    found = FeatureSource(tmp_path / "f", 3).read("square")
    np.testing.assert_array_equal(found, arrays["square"].T if is_transposed else arrays["square"])


def test_the_orientation_does_not_depend_on_what_was_read_before(tmp_path, capsys):
    """A hundred square arrays around one that is not; the one among 64 evenly spaced names decides: of 101 names
    every second one is looked at, so 32 is."""
    shapes = {f"v{i:03d}": (3, 3) for i in range(101)} | {"v032": (3, 7)}
    arrays = folder_of(tmp_path / "f", **shapes)
    source = FeatureSource(tmp_path / "f", 3)
    for name in ("v100", "v000"):
        np.testing.assert_array_equal(source.read(name), arrays[name])
    assert capsys.readouterr().err == ""


def test_where_all_are_square_rows_are_snippets_and_a_warning_says_so_once(tmp_path, capsys):
    arrays = folder_of(tmp_path / "f", a=(3, 3), b=(3, 3))
    source = FeatureSource(tmp_path / "f", 3)
    for name, array in arrays.items():
        np.testing.assert_array_equal(source.read(name), array.T)
    error = capsys.readouterr().err
    assert error.count("warning") == 1 and f"{tmp_path}/f: the arrays have as many snippets as channels" in error


def test_a_set_that_lies_both_ways_cannot_tell_how_a_square_one_does(tmp_path):
    arrays = folder_of(tmp_path / "f", a=(3, 5), b=(6, 3), square=(3, 3))
    source = FeatureSource(tmp_path / "f", 3)
    np.testing.assert_array_equal(source.read("b"), arrays["b"].T)  # nothing to choose
    with pytest.raises(SpotError, match=r"a\.npy and .*b\.npy lie in different ways"):
        source.read("square")


def test_each_stream_has_its_own_orientation(tmp_path):
    """C = 2 + 4: in video x the second stream, (4, 4), fits both ways; in y it is (C, T')."""
    rgb = folder_of(tmp_path / "rgb", x=(4, 2), y=(7, 2))
    flow = folder_of(tmp_path / "flow", x=(4, 4), y=(4, 7))
    found = FeatureSource([tmp_path / "rgb", tmp_path / "flow"], 6).read("x")
    np.testing.assert_array_equal(found, np.concatenate([rgb["x"].T, flow["x"]]))


def test_a_broken_file_does_not_hide_the_orientation(tmp_path):
    arrays = folder_of(tmp_path / "f", a=(3, 5), b=(3, 3), c=(3, 5))
    (tmp_path / "f" / "a.npy").write_bytes(b"broken")
    np.testing.assert_array_equal(FeatureSource(tmp_path / "f", 3).read("b"), arrays["b"])


def test_orientations_by_hand():
    """(5, 3) has 3 channels as (T', C) only; (3, 3) both ways; of (4, 2) and (2, 4) the lengths agree one way: 4 and 4
    of 2 + 2 channels, or 2 and 2 of 4 + 4."""
    assert orientations([counting(5, 3)], 3) == [(True,)] and orientations([counting(3, 5)], 3) == [(False,)]
    assert orientations([counting(3, 3)], 3) == [(True,), (False,)] and orientations([counting(5, 4)], 3) == []
    assert orientations([counting(4, 2), counting(2, 4)], 4) == [(True, False)]
    assert orientations([counting(4, 2), counting(2, 4)], 8) == [(False, True)]


# --- streams of different length --------------------------------------------------------------------------------------


def test_streams_of_different_rate_are_refused_with_the_key_and_resampled_on_request(tmp_path):
    """8 snippets of 2 channels and 4 of 3: each of the 4 lasts twice as long. Halfway between its centers lie the
    quarters: values v0, v0 + d/4, v0 + 3d/4, ... with d = 3 between rows."""
    rgb, flow = counting(8, 2), counting(4, 3)
    with pytest.raises(SpotError, match=r"x: streams of shape \(8, 2\) and \(4, 3\) differ.*dataset\.resample_streams"):
        join_streams([rgb, flow], 5, "x")
    joined = join_streams([rgb, flow], 5, "x", resample=True)
    np.testing.assert_array_equal(joined[:2], rgb.T)
    np.testing.assert_allclose(joined[2], [0, 0.75, 2.25, 3.75, 5.25, 6.75, 8.25, 9], atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(4, 8), (5, 8), (1, 3), (100, 101), (7, 7)])
def test_resampling_is_that_of_torch(before, after):
    stream = np.random.default_rng(0).normal(size=(3, before)).astype(np.float32)
    wanted = F.interpolate(torch.from_numpy(stream)[None], after, mode="linear", align_corners=False)[0].numpy()
    np.testing.assert_allclose(resampled(stream, after), wanted, atol=1e-4)


@pytest.mark.parametrize(("length", "resample", "wanted"), [(99, False, 99), (95, False, 95), (99, True, 99),
                                                            (95, True, 100), (50, True, 100)])
def test_one_frame_is_cut_off_also_where_streams_are_resampled(length, resample, wanted):
    """Optical flow lacks a frame; on request, whatever else is missing is another rate."""
    joined = join_streams([counting(100, 2), counting(length, 4)], 6, "x", resample=resample)
    assert joined.shape == (6, wanted)


def test_a_source_resamples_on_request(tmp_path):
    folder_of(tmp_path / "rgb", x=(10, 2))
    folder_of(tmp_path / "flow", x=(30, 4))
    source = FeatureSource([tmp_path / "rgb", tmp_path / "flow"], 6, resample=True)
    assert source.read("x").shape == (6, 30)
