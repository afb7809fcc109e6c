"""Frames and their times, of tiny videos that are made here."""

import numpy as np
import pytest
from video_files import gray, turn_clockwise, write_sound, write_video

from spot.errors import SpotError
from spot.videos import SUFFIXES, VideoFile, find_videos

LEVELS = (10, 50, 90, 130, 170, 210)
UNEVEN_SEC = (0, 0.04, 0.08, 0.5, 0.54, 1.5)  # the last frame lasts 0.04 s


def read(path, fps=None):
    """(times, gray levels rounded to tens, the VideoFile)."""
    with VideoFile(path) as video:
        frames = list(video.frames() if fps is None else video.sampled(fps))
    return [time for time, _ in frames], [round(image.mean(), -1) for _, image in frames], video


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts"])
def test_frames_of_a_variable_rate_come_at_their_times(tmp_path, name):
    times, levels, video = read(write_video(tmp_path / name, UNEVEN_SEC, gray(*LEVELS)))
    assert times == pytest.approx(UNEVEN_SEC, abs=1e-3)
    assert levels == list(LEVELS) and video.faults() == []
    assert video.end_sec == pytest.approx(1.54, abs=1e-3)
    assert video.rate == pytest.approx(6 / 1.54, rel=0.01)


def test_sampling_takes_the_frame_that_is_shown(tmp_path):
    """Five times a second: at 0, .2 and .4 s (the third frame is shown from .08 to .5), .6 to 1.4 s, and no more."""
    times, levels, _ = read(write_video(tmp_path / "a.mp4", UNEVEN_SEC, gray(*LEVELS)), fps=5)
    assert times == pytest.approx(np.arange(8) / 5)
    assert levels == [10, 90, 90, 170, 170, 170, 170, 170]


def test_sampling_at_half_the_rate_takes_every_second_frame_despite_rounded_times(tmp_path):
    """30 frames per second in whole milliseconds: frame 2 is at 67 ms, when 15 a second want one at 66.7."""
    levels = range(10, 250, 20)
    _, found, _ = read(write_video(tmp_path / "a.mkv", np.arange(12) / 30, gray(*levels), rate=30), fps=15)
    assert found == list(levels)[::2]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_clock_that_starts_late_is_set_to_zero(tmp_path, name):
    times, _, video = read(write_video(tmp_path / name, np.add(UNEVEN_SEC, 5), gray(*LEVELS)))
    assert times == pytest.approx(UNEVEN_SEC, abs=1e-3) and video.faults() == []


def test_a_turned_video_is_shown_upright(tmp_path):
    """Bright left half, 64 wide and 48 high: turned clockwise it is 48 wide, 64 high, and the left edge is on top."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :32] = 200
    path = turn_clockwise(write_video(tmp_path / "a.mp4", [0, 0.04], [image, image]))
    with VideoFile(path) as video:
        (_, shown), *_ = video.frames()
    assert shown.shape == (64, 48, 3)
    assert shown[:28].mean() > 150 and shown[36:].mean() < 50


def test_odd_sizes_are_read(tmp_path):
    with VideoFile(write_video(tmp_path / "a.mp4", [0, 0.04], gray(80, 80, size=(33, 17)))) as video:
        assert [image.shape for _, image in video.frames()] == [(17, 33, 3)] * 2


def test_a_video_that_was_cut_off_is_read_to_there_and_told(tmp_path):
    """60 s, a frame a second, of which the last third of the bytes is lost; its index stands at its beginning."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.mp4", np.arange(60), list(noise), movflags="faststart")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    times, _, video = read(path)
    assert 20 < len(times) < 50 and times == pytest.approx(np.arange(len(times)))
    assert "its frames end at" in video.faults()[0] and "header" in video.faults()[0]


def test_broken_bytes_within_leave_the_other_frames_their_times(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.ts", np.arange(60) / 25, list(noise))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    times, _, _ = read(path)
    assert len(times) > 40 and np.diff(times).min() > 0 and times[-1] == pytest.approx(59 / 25, abs=1e-3)


def test_without_a_duration_in_the_header_the_frames_tell_it(tmp_path):
    path = tmp_path / "a.h264"  # a bare stream has no header, nor times
    write_video(path, np.arange(8) / 25, gray(*range(10, 250, 30)))
    times, _, video = read(path)
    assert video.header_sec is None and len(times) == 8
    assert np.diff(times) == pytest.approx(np.diff(times)[0]) and video.end_sec > times[-1]


def test_the_frame_at_a_time_is_found_by_seeking(tmp_path):
    with VideoFile(write_video(tmp_path / "a.mp4", UNEVEN_SEC, gray(*LEVELS))) as video:
        found = [round(video.frame_at(second).mean(), -1) for second in (1.51, 0, 0.3, 99, -1)]
    assert found == [210, 10, 90, 210, 10]


def test_what_is_no_video_is_refused(tmp_path):
    """Sound alone, no bytes, a text under the name of a video, and a playlist, which would make FFmpeg open others."""
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("hello\n" * 100)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n")
    for name, words in (("sound", "holds no video, only audio"), ("empty", "the file is empty"),
                        ("text", "cannot be opened as a video"), ("list", "cannot be opened as a video")):
        with pytest.raises(SpotError, match=words):
            VideoFile(tmp_path / f"{name}.mp4")


def test_videos_are_found_by_suffix_also_in_folders(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.MP4", "sub/a.mov", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).write_bytes(b"")
    assert list(find_videos(tmp_path)) == ["a", "b"]
    assert list(find_videos(tmp_path / "notes.txt")) == ["notes"]  # whoever names a file means it
    (tmp_path / "v_a.mkv").write_bytes(b"")
    with pytest.raises(SpotError, match=r"two videos of one name"):
        find_videos(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SpotError, match=r"looked for .*\.mp4") as error:
        find_videos(empty)
    assert all(suffix in str(error.value) for suffix in SUFFIXES)
    with pytest.raises(SpotError, match="no such video or folder"):
        find_videos(tmp_path / "nothing")
