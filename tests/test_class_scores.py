"""External classifiers: the four formats as they are on users' disks, fusion, and files that must be refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from spot.annotations import THUMOS14_CLASSES, read_annotations
from spot.class_scores import fuse, read_class_scores, top_classes
from spot.files import SpotError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the real score files of ../shared/data are not here")


def write_json(path, content):
    path.write_text(json.dumps(content))
    return path


def test_spot_best_score_has_one_class_per_video(tmp_path):
    content = {"v_a": {"class": "Run", "score": 0.9}, "v_b": {"class": "Fly", "score": 0.8}}
    scores = read_class_scores(write_json(tmp_path / "spot_best_score.json", content), ["Jump", "Run"])
    np.testing.assert_array_equal(scores.scores("a"), [0, 0.9])
    np.testing.assert_array_equal(scores.scores("b"), [0, 0])  # Fly is none of the model's classes
    assert scores.scores("c") is None
    assert scores.names == ["v_a", "v_b"] and scores.path.endswith("spot_best_score.json")


def test_cuhk_scores_are_put_into_the_order_of_the_model(tmp_path):
    content = {"results": {"a": [0.1, 0.2, 0.7]}, "class": ["Fly", "Run", "Jump"]}
    scores = read_class_scores(write_json(tmp_path / "cuhk.json", content), ["Jump", "Run"])
    np.testing.assert_array_equal(scores.scores("a"), [0.7, 0.2])
    np.testing.assert_array_equal(scores.scores("v_a"), [0.7, 0.2])


def test_untrimmednet_columns_are_official_class_indices(tmp_path):
    """Test video 4 is row 3. Diving has official index 26, so column 25; each row is divided by its sum, here 2."""
    table = np.zeros((1574, 101), np.float32)
    table[:, 0] = 2
    table[3, [0, 25, 6]] = 0.5, 1.0, 0.5
    np.save(tmp_path / "uNet_test.npy", table)
    scores = read_class_scores(tmp_path / "uNet_test.npy", ["Diving", "BaseballPitch"])
    np.testing.assert_array_equal(scores.scores("video_test_0000004"), [0.5, 0.25])
    assert scores.scores("video_validation_0000004") is None
    assert list(THUMOS14_CLASSES) == sorted(THUMOS14_CLASSES) and len(THUMOS14_CLASSES) == 20


def test_npz_scores(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, videos=np.array(["a", "b"]), classes=np.array(["Run", "Jump"]), scores=np.eye(2, dtype=np.float16))
    np.testing.assert_array_equal(read_class_scores(path, ["Jump"]).scores("b"), [1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "list"),
        ('{"a": {"class": "Run", "score": 1}, "a": {"class": "Run", "score": 0}}', "'a' stands in it twice"),
        ({"results": {"a": [0.1, 0.2]}, "class": ["Run", "Run"]}, "'Run' stands in it twice"),
        ({}, "none of the model's classes"),
        ({"a": {"class": "Fly", "score": 1}}, "none of the model's classes"),
        ({"a": {"class": "Run"}}, "'a'.*expected"),
        ({"a": {"class": "Run", "score": "high"}}, "cannot be read"),
        ({"a": {"class": ["Run"], "score": 1}}, "'a': the class .* is no name"),
        ({"a": {"class": "Run", "score": float("nan")}}, "'a' is NaN"),
        ({"b": {"class": "Run", "score": 1}, "a": {"class": "Run", "score": float("nan")}}, "'a' is NaN"),
        ({"a": {"class": "Run", "score": -1}}, "'a' is NaN, infinite or negative"),
        ({"results": {"a": [0.1]}, "class": ["Run", "Jump"]}, r"table of \(1, 1\)"),
        ({"results": {"a": [0.1], "b": []}, "class": ["Run"]}, "cannot be read"),
        ({"results": {"a": [0.1]}, "class": ["Jump"]}, "no scores for 1 of 1 classes, first 'Run'"),
        ({"results": {}, "class": ["Run"]}, "0 videos"),
        ({"results": [1], "class": 3}, "cannot be read"),
    ],
)
def test_a_broken_json_is_one_sentence(tmp_path, content, words):
    path = write_json(tmp_path / "scores.json", content)
    if isinstance(content, str):
        path.write_text(content)
    with pytest.raises(SpotError, match=rf"scores\.json: .*{words}"):
        read_class_scores(path, ["Run"])


def test_broken_arrays_and_unknown_suffixes_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 101), np.float32))
    with pytest.raises(SpotError, match=r"x\.npy: has shape \(3, 101\)"):
        read_class_scores(tmp_path / "x.npy", ["Diving"])
    np.savez(tmp_path / "x.npz", scores=np.zeros((1, 1)))
    with pytest.raises(SpotError, match=r"x\.npz: lacks videos, classes"):
        read_class_scores(tmp_path / "x.npz", ["Diving"])
    for name, words in (("x.pkl", "class scores are"), ("no.npy", "there is no such"), ("no.json", "cannot be read")):
        with pytest.raises(SpotError, match=rf"[^:]*{name}: {words}"):
            read_class_scores(tmp_path / name, ["Diving"])


class Bomb:
    """Unpickling this creates a file: proof that code ran."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_a_malicious_pickle_never_runs(tmp_path, name):
    bomb, proof = np.array([Bomb(tmp_path / "code_ran")], dtype=object), tmp_path / "code_ran"
    if name == "x.npy":
        np.save(tmp_path / name, bomb, allow_pickle=True)
    else:
        np.savez(tmp_path / name, videos=bomb, classes=bomb, scores=bomb)
    with pytest.raises(SpotError, match=r"allow_pickle=False|Python objects"):
        read_class_scores(tmp_path / name, ["Diving"])
    assert not proof.exists()


def test_fusion_by_product_and_by_geometric_mean():
    """.5 * .08 = .04, whose square root is .2."""
    np.testing.assert_allclose(fuse(np.array([0.5, 1.0]), np.array([0.08, 0.5])), [0.04, 0.5])
    np.testing.assert_allclose(fuse(np.array([0.5]), np.array([0.08]), "sqrt"), [0.2])
    with pytest.raises(SpotError, match=r"'sum'.*product, sqrt"):
        fuse([0.5], [0.5], "sum")


def test_top_classes_leaves_out_what_has_no_score():
    np.testing.assert_array_equal(top_classes(np.array([0.1, 0.5, 0.0, 0.5]), 2), [1, 3])
    np.testing.assert_array_equal(top_classes(np.array([0.1, 0.5, 0.0, 0.5]), 9), [1, 3, 0])


@needs_shared
def test_real_untrimmednet_scores_are_right_for_nine_of_ten_videos():
    videos = [video for video in read_annotations(SHARED / "thumos14" / "thumos14.json") if video.subset == "test"]
    scores = read_class_scores(SHARED / "thumos14" / "uNet_test.npy", list(THUMOS14_CLASSES))
    best = [list(THUMOS14_CLASSES)[top_classes(scores.scores(video.name), 1)[0]] for video in videos]
    assert sum(label in video.labels for label, video in zip(best, videos, strict=True)) == 195  # of 212


@needs_shared
def test_real_spot_scores_are_right_as_often_as_documented():
    folder = SHARED / "anet"
    videos = read_annotations(folder / "anet_anno_action.json", folder / "video_info_new.csv")
    classes = sorted({label for video in videos for label in video.labels})
    scores = read_class_scores(folder / "spot_best_score.json", classes)
    assert len(scores.names) == 4926
    scored = [(video, scores.scores(video.name)) for video in videos if video.subset == "validation"]
    right = [classes[row.argmax()] in video.labels for video, row in scored if row is not None]
    assert sum(right) / len(right) == pytest.approx(0.886, abs=0.0005)
