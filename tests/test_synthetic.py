"""The demo data set is real files, the same for the same seed, and nothing that one whole-video segment solves."""

import json

import numpy as np
import pytest

from spot.annotations import class_names, clean_segments, read_annotations
from spot.features import FeatureSource
from spot.synthetic import write_demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("demo"))


def test_the_annotations_are_in_activitynet_format(demo):
    database = json.loads(demo.read_text())["database"]
    first = database["demo_0000"]
    assert set(first) == {"duration", "fps", "subset", "annotations"}
    assert set(first["annotations"][0]) == {"segment", "label"}


def test_its_own_readers_read_it(demo):
    videos, source = read_annotations(demo), FeatureSource(demo.parent / "features", 64)
    assert [video.subset for video in videos] == ["training"] * 120 + ["validation"] * 60
    assert class_names(videos) == [f"Action {letter}" for letter in "ABCDEF"]
    assert source.names == {video.name for video in videos}
    for video in videos[::20]:
        assert source.read(video.name).shape == (64, video.duration_sec)  # one snippet per second


def test_every_video_has_several_clean_segments_that_lie_apart(demo):
    for video in read_annotations(demo):
        assert len(video.labels) >= 2 and len(set(video.labels)) <= 2
        assert clean_segments(video)[2] == {"clipped": 0, "dropped": 0}
        assert (video.segments_sec[1:, 0] - video.segments_sec[:-1, 1] > 1.9).all()


def test_the_whole_video_is_no_answer(demo):
    """No segment covers more than 26 % of its video, so a whole-video segment never reaches tIoU 0.5."""
    videos = read_annotations(demo)
    shares = [np.diff(video.segments_sec).max() / video.duration_sec for video in videos]
    assert max(shares) < 0.26
    lengths = np.concatenate([np.diff(video.segments_sec)[:, 0] for video in videos])
    assert lengths.min() > 2.9 and lengths.max() / lengths.min() > 8


def test_snippets_of_an_action_resemble_their_class(demo):
    """Class means of the training videos point at the classes of validation more often than chance, 1 in 6."""
    videos, source = read_annotations(demo), FeatureSource(demo.parent / "features", 64)
    names = class_names(videos)
    sums = np.zeros((len(names), 64))
    right = []
    for video in videos:
        features = source.read(video.name)
        means = [features[:, round(start) : round(end)].mean(axis=1) for start, end in video.segments_sec]
        means = np.array(means) - features.mean(axis=1)
        for mean, label in zip(means, video.labels, strict=True):
            if video.subset == "training":
                sums[names.index(label)] += mean
            else:
                right.append(names[(sums / np.linalg.norm(sums, axis=1, keepdims=True) @ mean).argmax()] == label)
    assert 0.4 < np.mean(right) < 0.95


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    def files(folder, seed):
        write_demo(tmp_path / folder, seed, training=3, validation=2)
        return {path.name: path.read_bytes() for path in sorted((tmp_path / folder).rglob("*")) if path.is_file()}

    first, again, other = files("1", 7), files("2", 7), files("3", 8)
    assert first == again and len(first) == 6
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("classes", [2, 5])
def test_other_sizes(tmp_path, classes):
    path = write_demo(tmp_path, training=20, validation=4, classes=classes, feat_dim=8, duration_sec=(60, 61))
    assert len(class_names(read_annotations(path))) == classes
    assert FeatureSource(tmp_path / "features", 8).read("demo_0000").shape[1] in (60, 61)
