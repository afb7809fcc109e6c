"""Clips and folders of features, with a backbone whose feature is the mean gray level of a clip."""

import numpy as np
import pytest
import torch
from video_files import gray, write_video

from spot.errors import SpotError
from spot.extraction import BackboneFault, Sampling, clip_centers, extract, extract_all, frames_of_clip, num_clips
from spot.sidecar import read_sidecar


class Gray:
    """The mean level of the frames of a clip, and how many there were."""

    name, version, weights_sha256, channels, details, num_frames = "gray", "1", "", 2, {}, None

    def __init__(self, most=100, num_frames=None):
        self.most, self.num_frames, self.batches = most, num_frames, []

    def prepare(self, images):
        return torch.tensor([float(image.mean().round(-1)) for image in images])

    def encode(self, clips):
        self.batches.append(len(clips))
        if len(clips) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.stack([clips.mean(1), torch.full((len(clips),), float(clips.shape[1]))], 1)


LEVELS = range(10, 250, 20)  # 12 frames, 25 a second


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "a.mp4", np.arange(12) / 25, gray(*LEVELS))


def test_clips_cover_a_video_and_the_last_one_is_filled_up(video):
    """12 frames, window 4, stride 3: clips begin at 0, 3, 6 and 9; the last has frames 9, 10, 11 and 11 again."""
    features, known, faults = extract(video, Gray(), Sampling(3, 4), batch_size=2)
    level = list(LEVELS)
    expected = [np.mean(level[first : first + 4]) for first in (0, 3, 6)] + [(level[9] + level[10] + 2 * level[11]) / 4]
    assert features[:, 0].tolist() == expected and (features[:, 1] == 4).all() and faults == []
    assert known.fps == 25 and known.centers_sec is None and known.num_snippets == 4
    assert known.duration_sec == pytest.approx(12 / 25)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
@pytest.mark.parametrize(("stride", "window"), [(1, 1), (1, 5), (4, 2), (5, 5), (3, 20)])
def test_batches_change_nothing(video, stride, window, batch_size):
    level = np.array(LEVELS)
    features, _, _ = extract(video, Gray(), Sampling(stride, window), batch_size)
    firsts = np.arange(num_clips(12, stride, window)) * stride
    expected = [level[np.minimum(first + np.arange(window), 11)].mean() for first in firsts]
    assert features[:, 0] == pytest.approx(expected)


@pytest.mark.parametrize(("num_frames", "stride", "window", "count"), [
    (1, 4, 16, 1), (16, 4, 16, 1), (17, 4, 16, 2), (20, 4, 16, 2), (21, 4, 16, 3), (10, 7, 2, 2), (15, 7, 2, 3)])
def test_number_of_clips(num_frames, stride, window, count):
    """10 frames in clips of 2, every 7: at 0 and 7; one at 14 would hold nothing."""
    assert num_clips(num_frames, stride, window) == count


def test_a_backbone_of_fewer_frames_sees_some_evenly_spaced(video):
    """Of 8 frames, 4: each second quarter of them, 1, 3, 5, 7."""
    assert frames_of_clip(8, 4).tolist() == [1, 3, 5, 7]
    assert frames_of_clip(16, 16).tolist() == list(range(16))
    features, _, _ = extract(video, Gray(num_frames=4), Sampling(4, 8), batch_size=8)
    assert features[0].tolist() == [np.mean([30, 70, 110, 150]), 4]


def test_centers_of_a_variable_rate_are_where_the_frames_are(tmp_path):
    """Frames at 0, .1, 1, 2 and 4 s, and an end; clips of 2: 0 to 1, .1 to 2, 1 to 4, 2 to the end."""
    path = write_video(tmp_path / "a.mp4", [0, 0.1, 1, 2, 4], gray(*LEVELS[:5]))
    _, known, _ = extract(path, Gray(), Sampling(1, 2), 8)
    assert known.centers_sec == pytest.approx([0.5, 1.05, 2.5, (2 + known.duration_sec) / 2], abs=2e-3)
    _, even, _ = extract(path, Gray(), Sampling(2, 4, fps=10), 8)  # then stride, window and fps tell the centers
    assert even.centers_sec is None and even.fps is None
    assert even.num_snippets == num_clips(np.ceil(10 * known.duration_sec - 0.01), 2, 4)


def test_no_center_lies_behind_the_end():
    """10 frames, one a second, clips of 8 every 8: the second would be centered at 12 s, and the video ends at 10 s."""
    assert clip_centers(np.arange(10), 10, Sampling(8, 8)).tolist() == [4, 10]
    assert clip_centers([0.0], 0.04, Sampling(4, 16)).tolist() == [0.04]


def test_a_full_gpu_halves_the_batch_and_goes_on(video, capsys):
    backbone = Gray(most=3)
    features, _, _ = extract(video, backbone, Sampling(1, 1), batch_size=8)
    assert features[:, 0].tolist() == list(LEVELS) and backbone.batches[:3] == [8, 4, 2]
    assert "2 clips at a time" in capsys.readouterr().err
    with pytest.raises(BackboneFault, match="not enough memory for one clip"):
        extract(video, Gray(most=0), Sampling(1, 1), batch_size=2)


def test_a_folder_goes_on_where_it_was_and_a_broken_video_stops_no_other(tmp_path, video, capsys):
    broken, out = tmp_path / "b.mp4", tmp_path / "out"
    broken.write_bytes(b"no video")
    other = write_video(tmp_path / "c.mp4", np.arange(3) / 25, gray(50, 60, 70))
    videos = {"a": video, "b": broken, "c": other}
    failed = extract_all(videos, out, Gray(), Sampling(1, 2), 4)
    assert list(failed) == ["b"] and sorted(path.name for path in out.glob("*.npy")) == ["a.npy", "c.npy"]
    assert not list(out.glob(".unfinished*")) and not (out / "extract.lock").exists()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.npy")}

    write_video(other, np.arange(4) / 25, gray(50, 60, 70, 80))  # another video of the same name
    backbone = Gray()
    extract_all(videos, out, backbone, Sampling(1, 2), 4)
    assert "1 of 3 videos are there already" in capsys.readouterr().out and sum(backbone.batches) == 3
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.npy")}
    assert after["a.npy"] == before["a.npy"] and after["c.npy"] > before["c.npy"]
    assert {name: one.num_snippets for name, one in read_sidecar(out).videos.items()} == {"a": 11, "c": 3}


def test_a_stopped_extraction_keeps_what_is_done(tmp_path, video):
    class Stopped(Gray):
        def encode(self, clips):
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return super().encode(clips)

    other = write_video(tmp_path / "c.mp4", np.arange(12) / 25, gray(*LEVELS))
    with pytest.raises(KeyboardInterrupt):  # a has 3 batches of 4
        extract_all({"a": video, "c": other}, tmp_path / "out", Stopped(), Sampling(1, 1), 4)
    assert list(read_sidecar(tmp_path / "out").videos) == ["a"]
    assert [path.name for path in (tmp_path / "out").glob("*.npy")] == ["a.npy"]


def test_a_folder_of_other_features_is_refused_with_both_values(tmp_path, video):
    extract_all({"a": video}, tmp_path / "out", Gray(), Sampling(1, 2), 4)
    with pytest.raises(SpotError, match="stride 1, and now it is 3"):
        extract_all({"a": video}, tmp_path / "out", Gray(), Sampling(3, 2), 4)
    (tmp_path / "unknown").mkdir()
    np.save(tmp_path / "unknown" / "x.npy", np.zeros((3, 2)))
    with pytest.raises(SpotError, match="of unknown origin"):
        extract_all({"a": video}, tmp_path / "unknown", Gray(), Sampling(1, 2), 4)


def test_a_fault_of_the_backbone_stops_all(tmp_path, video):
    class Broken(Gray):
        def encode(self, clips):
            return super().encode(clips) * float("nan")

    with pytest.raises(BackboneFault, match="NaN or Inf"):
        extract_all({"a": video}, tmp_path / "out", Broken(), Sampling(1, 2), 4)
    assert not list((tmp_path / "out").glob("*"))
