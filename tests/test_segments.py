"""tIoU by hand, and all snippet grids: where each snippet lies in time, and back."""

import itertools

import numpy as np
import pytest
import torch
from cases import cases
from hypothesis import assume, given
from hypothesis import strategies as st

from spot.proposals import mask_runs
from spot.segments import (
    center_grid,
    centers_mismatch,
    duration_mismatch,
    features_end_sec,
    resize_grid,
    tiou,
    window_grid,
    window_starts,
)
from spot.targets import make_targets, pad_segments


def test_tiou_by_hand():
    """[0, 4] and [2, 6] share 2 of 6; [0, 4] and [0, 4] all; [0, 4] and [4, 5] touch and share nothing."""
    assert tiou([[0, 4]], [[2, 6], [0, 4], [4, 5]]) == pytest.approx(np.array([[2 / 6, 1, 0]]))


def test_tiou_of_empty_and_reversed_segments_is_zero():
    """A segment without length overlaps nothing, itself included: 0 and not 0 / 0."""
    assert (tiou([[3, 3], [5, 2]], [[3, 3], [2, 5], [5, 2]]) == 0).all()
    assert tiou([], [[0, 1]]).shape == (0, 1)


def test_resize_snippet_covers_its_share_of_the_video():
    """80 s in 8 snippets: snippet i covers [10 i, 10 i + 10] s."""
    grid = resize_grid(8, 80)
    assert grid.to_sec(np.arange(9)) == pytest.approx(10 * np.arange(9), abs=1e-4)
    assert grid.to_snippet([25, 30]) == pytest.approx([2.5, 3])


def test_resize_uses_the_time_that_the_features_cover():
    """The features cover 72 of 80 s: snippet i is centered at 9 i + 4.5 s, and the last one reaches to 80 s."""
    grid = resize_grid(8, 80, 72)
    assert grid.to_sec(np.arange(8) + 0.5) == pytest.approx(9 * np.arange(8) + 4.5)
    assert grid.to_sec(8) == pytest.approx(80)


@pytest.mark.parametrize(("stride", "window", "fps"), [(4, 16, 25), (16, 16, 29.97), (25, 50, 50)])
def test_window_snippets_are_centered_exactly(stride, window, fps):
    """Snippet i is centered at (i * stride + window / 2) / fps seconds."""
    centers_sec = np.array([(i * stride + window / 2) / fps for i in range(8)])
    grid = window_grid(8, stride, window, fps, duration_sec=100)
    assert grid.to_sec(np.arange(8) + 0.5) == pytest.approx(centers_sec, abs=1e-9)
    assert grid.to_snippet(centers_sec) == pytest.approx(np.arange(8) + 0.5, abs=1e-9)


def test_window_offset_moves_every_center():
    """First frame 8, stride 4, window 16, 4 frames per second: centers at (8 + 4 i + 8) / 4 = 4 + i seconds."""
    assert window_grid(3, 4, 16, 4, 20, offset=8).to_sec([0.5, 1.5, 2.5]) == pytest.approx([4, 5, 6])


@pytest.mark.parametrize("grid", [resize_grid(8, 37), resize_grid(8, 37, 30), resize_grid(8, 37, 45),
                                  resize_grid(1, 37), window_grid(8, 4, 16, 1, 37), window_grid(1, 4, 16, 1, 37),
                                  window_grid(20, 4, 16, 1, 37)])
def test_the_first_and_last_snippet_reach_to_the_ends(grid):
    """Also where the features cover less or more than the 37 s, and with a single snippet."""
    assert grid.to_sec([0, grid.length]).tolist() == [0, 37]
    assert grid.to_sec([-5, grid.length + 5]).tolist() == [0, 37]
    assert grid.to_snippet([-1, 0]).tolist() == [0, 0] and grid.to_snippet([1e9]).tolist() == [grid.length]


def test_without_a_duration_a_window_video_ends_with_its_last_window():
    """3 snippets, stride 4, window 16, 2 fps: (2 * 4 + 16) / 2 = 12 s."""
    assert window_grid(3, 4, 16, 2).duration_sec == 12


durations = st.floats(2, 2000)


@st.composite
def grids(draw):
    """Both grids, also where the features end before or after the video."""
    if draw(st.booleans()):
        duration = draw(durations)
        covered = draw(st.none() | st.floats(0.8, 1.2).map(duration.__mul__))
        return resize_grid(draw(st.integers(1, 60)), duration, covered)
    length, stride, fps = draw(st.integers(1, 60)), draw(st.integers(1, 64)), draw(st.floats(5, 60))
    window = stride * draw(st.integers(1, 4))
    reach = ((length - 1) * stride + window) / fps
    return window_grid(length, stride, window, fps, draw(st.none() | st.floats(0.9, 1.3).map(reach.__mul__)))


@cases(200)
@given(grids(), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_seconds_to_positions_and_back(grid, shares):
    """Time and position tell the same, to a thousandth of a snippet, wherever the features reach."""
    last_center_sec = grid.first_center_sec + (grid.length - 1) * grid.snippet_sec
    times_sec = np.array(shares) * grid.duration_sec
    times_sec = times_sec[times_sec <= max(last_center_sec, grid.duration_sec)]
    assert grid.to_sec(grid.to_snippet(times_sec)) == pytest.approx(times_sec, abs=1e-3 * grid.snippet_sec)


def there_and_back(grid, start, end):
    """One segment in positions -> seconds -> positions -> targets -> runs of its mask rows -> (M, 2) seconds."""
    segment_sec = grid.to_sec(np.array([start, end]))
    segments, labels = pad_segments([grid.to_snippet(segment_sec)[None]], [[0]])
    class_targets, mask_targets = make_targets(segments, labels, 1, grid.length)
    starts, ends, quality = mask_runs(mask_targets, [0.5])
    found = (quality[0, :, 0] > 0) & (class_targets[0, 0] > 0)
    return segment_sec, grid.to_sec(torch.stack([starts, ends], -1)[0, found, 0].double().numpy())


@cases(200)
@given(grids(), st.floats(0, 1), st.floats(0, 1))
def test_round_trip_loses_at_most_half_a_snippet(grid, place, size):
    """Segments of at least one snippet, both grids: every snippet of the segment gives it back, both ends within half
    a snippet. A snippet is measured on the grid, because the first and the last one also hold the time before and after
    the features; between the first and the last center, half a snippet is half of `snippet_sec`."""
    length = 1 + size * (grid.length - 1)
    start = place * (grid.length - length)
    segment_sec, found_sec = there_and_back(grid, start, start + length)
    segment = grid.to_snippet(segment_sec)
    assume(segment[1] - segment[0] > 1 - 1e-3)  # a video that ends before its features cuts the last snippets
    assert len(found_sec) >= 1
    assert np.abs(grid.to_snippet(found_sec) - segment).max() <= 0.5 + 1e-3
    last_sec = min(grid.first_center_sec + (grid.length - 1) * grid.snippet_sec, grid.duration_sec)
    reach_sec = np.concatenate([found_sec.ravel(), segment_sec])
    if grid.first_center_sec <= reach_sec.min() and reach_sec.max() <= last_sec:
        assert np.abs(found_sec - segment_sec).max() <= 0.501 * grid.snippet_sec


@cases(100)
@given(grids(), st.floats(0, 1), st.floats(0.01, 0.99))
def test_a_shorter_segment_lands_on_its_nearest_snippet(grid, place, length):
    """A segment shorter than a snippet, also one that holds no snippet center: some snippet within one answers."""
    start = place * (grid.length - length)
    segment = grid.to_snippet(grid.to_sec(np.array([start, start + length])))
    assume(abs(segment - np.array([start, start + length])).max() < 1e-3)  # a video may end before its features
    _, found_sec = there_and_back(grid, start, start + length)
    if len(found_sec) == 0:  # its snippet is covered by less than half
        segments, labels = pad_segments([np.array([[start, start + length]])], [[0]])
        class_targets, _ = make_targets(segments, labels, 1, grid.length)
        assert class_targets[0, 0].max() > 0
        return
    middle = grid.to_snippet(found_sec).mean(1)
    assert np.abs(middle - (start + length / 2)).max() <= 1


@cases(100)
@given(st.integers(1, 3000), st.integers(2, 300))
def test_windows_cover_everything_and_overlap_by_half(length, num_snippets):
    starts = window_starts(length, num_snippets)
    assert starts[0] == 0 and (len(starts) == 1) == (length <= num_snippets)
    if len(starts) > 1:
        assert starts[-1] == length - num_snippets
        assert all(0 < after - before <= num_snippets // 2 for before, after in itertools.pairwise(starts))


def test_windows_by_hand():
    """20 snippets in windows of 8: the last starts at 12, and 12 / 4 = 3 steps of 4 lead there."""
    assert window_starts(20, 8) == [0, 4, 8, 12] and window_starts(8, 8) == [0] and window_starts(9, 8) == [0, 1]


def test_features_that_end_far_from_their_video_are_told_with_the_stride_that_fits():
    """762 rows every 25 frames, a window of 50, at 50 frames per second: 761 * 25 + 50 = 19,075 frames, 381.5 s of
    381.64 s. At 25 frames per second they reach to 763 s, and 381.64 * 25 / 762 = 12.5 frames would fit."""
    assert duration_mismatch(762, 25, 50, 50, 381.64) is None
    words = duration_mismatch(762, 25, 50, 25, 381.64)
    assert "763.0 s of 381.6 s" in words and "about 12.5 frames" in words and "25 is set" in words
    assert duration_mismatch(762, 25, 50, 25, None) is None


def test_the_stride_that_fits_is_that_of_the_file_where_rows_are_left_out():
    """Every 2nd of 200 rows, said to be 25 frames apart at 25 per second: 99 * 50 + 25 = 4975 frames, 199 s of 100 s.
    From row to row of the file 100 * 25 / 200 = 12.5 frames fit; with 13 they reach to 99 * 26 + 25 = 2599 frames."""
    words = duration_mismatch(100, 25, 25, 25, 100, every=2)
    assert "199.0 s of 100.0 s" in words and "about 12.5 frames" in words and "25 is set" in words
    assert duration_mismatch(100, 13, 25, 25, 100, every=2) is None


@pytest.mark.parametrize(("duration_sec", "is_far"), [(100, False), (112, True), (90, True), (91, False), (110, False)])
def test_a_tenth_of_the_duration_is_near(duration_sec, is_far):
    """100 rows of one second each: 100 s. 10 of 90 s are 11 %, 9 of 91 s 9.9 %."""
    assert (duration_mismatch(100, 25, 25, 25, duration_sec) is not None) is is_far


def test_two_snippets_are_never_far():
    """3 rows of one second of a video of 5 s: 2 s apart, which four snippets of tolerance allow; 8 s are too long."""
    assert duration_mismatch(3, 25, 25, 25, 5) is None and duration_mismatch(3, 25, 25, 25, 8) is not None


def test_features_end_with_the_window_of_the_last_snippet():
    """Offset 10, rows at 10, 14, 18, window 16: 34 frames at 2 per second."""
    assert features_end_sec(3, 4, 16, 2, 10) == 17 == window_grid(3, 4, 16, 2, offset=10).duration_sec


# --- centers that are known one by one --------------------------------------------------------------------------------


def test_every_snippet_of_a_variable_rate_lies_where_its_frames_are():
    """Frames that come late move their snippet alone; 2 s lie between the centers 1.0 and 3.0, so 2 s is half way."""
    grid = center_grid(4, [0.5, 1.0, 3.0, 3.25], duration_sec=4.0)
    assert grid.to_sec(np.arange(4) + 0.5).tolist() == [0.5, 1.0, 3.0, 3.25]
    assert grid.to_snippet([0.5, 1.0, 2.0, 3.0, 3.25]) == pytest.approx([0.5, 1.5, 2.0, 2.5, 3.5])
    assert grid.to_sec([0, 4]).tolist() == [0, 4] and grid.to_snippet([-1, 9]).tolist() == [0, 4]


def test_resampled_rows_take_their_times_along():
    """4 rows as 8 snippets: row i is centered at position 2 i + 1, and 2 is half way between rows 0 and 1."""
    grid = center_grid(8, [0.5, 1.0, 3.0, 3.25], duration_sec=4.0)
    assert grid.to_sec([1, 3, 5, 7, 2]).tolist() == [0.5, 1.0, 3.0, 3.25, 0.75]


@pytest.mark.parametrize("duration", [None, 9.0, 6.0])
def test_regular_centers_are_the_window_grid(duration):
    """Stride 4, window 16, 5 fps: centers at 0.8 i + 1.6 s. 6 s is before the last center, 7.2."""
    grid, same = window_grid(8, 4, 16, 5, duration), center_grid(8, 0.8 * np.arange(8) + 1.6, duration or 8.8)
    times_sec = np.linspace(0, 6, 50)
    assert same.to_snippet(times_sec) == pytest.approx(grid.to_snippet(times_sec), abs=1e-5)
    places = np.linspace(0.5, 7.5, 50)
    assert same.to_sec(places) == pytest.approx(grid.to_sec(places), abs=1e-5)


def test_centers_end_half_a_snippet_behind_the_last_one():
    """The last two are 0.25 s apart; a single one at 0.5 s stands for 1 s, half of it behind."""
    assert center_grid(4, [0.5, 1.0, 3.0, 3.25]).duration_sec == 3.375
    assert center_grid(1, [0.5]).duration_sec == 1.0


def test_centers_that_end_far_from_the_video_are_told():
    """10 snippets to 9.5 + 0.5 s: half of 20 s is far, 11 s is within a tenth and a little."""
    centers_sec = np.arange(10) + 0.5
    assert "reach to 10.0 s of 20.0 s" in centers_mismatch(centers_sec, 20.0)
    assert centers_mismatch(centers_sec, 11.0) is None and centers_mismatch(centers_sec, None) is None


@st.composite
def center_grids(draw):
    gaps = draw(st.lists(st.floats(0.02, 3), min_size=1, max_size=40))
    centers_sec = np.cumsum(gaps) - draw(st.sampled_from([0, gaps[0]]))
    return center_grid(len(gaps), centers_sec, centers_sec[-1] + draw(st.floats(0.01, 3)))


@cases(200)
@given(center_grids(), st.floats(0, 1), st.floats(0, 1))
def test_variable_rates_there_and_back(grid, place, size):
    """Times there and back are the same; a segment of a snippet or more comes back from its targets within half a
    snippet, as on the regular grids."""
    times_sec = np.linspace(0, grid.duration_sec, 7)
    assert grid.to_sec(grid.to_snippet(times_sec)) == pytest.approx(times_sec, abs=1e-6)
    length = 1 + size * (grid.length - 1)
    start = place * (grid.length - length)
    segment_sec, found_sec = there_and_back(grid, start, start + length)
    assert len(found_sec)
    drift = np.abs(grid.to_snippet(found_sec) - grid.to_snippet(segment_sec)).max(1)
    assert drift.min() <= 0.5 + 1e-3
