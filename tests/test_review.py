"""The review page's data: what of a run it holds, how small it is, and what its annotations start from."""

import base64
import hashlib
import json
import re
import shlex
from types import SimpleNamespace

import numpy as np
import pytest

from spot import review_curves as curves
from spot.annotation_json import database_of
from spot.annotations import is_annotated, labeled_split, read_annotations
from spot.cleaning import Video
from spot.config import load_config
from spot.config_values import plain
from spot.errors import SpotError
from spot.review import (
    Origin,
    base_videos,
    class_ids,
    page_data,
    page_of,
    recording_entry,
    rounded,
    with_own,
    write_review,
)
from spot.review_run import draws_channels, training_command
from spot.segments import center_grid, window_grid
from spot.sidecar import Sidecar
from spot.waveforms import Waveforms

CLASSES = ["run", "jump", "throw"]


def video(name, subset="training", segments=((1, 3),), labels=("run",), **facts):
    values = {"duration_sec": 20.0, "fps": 25.0, "feature_duration_sec": 20.0, "ambiguous_sec": np.zeros((0, 2)),
              **facts}
    return Video(name=name, subset=subset, segments_sec=np.array(segments, float).reshape(-1, 2), labels=tuple(labels),
                 **values)


def detection(label, start, end, score):
    return {"label": label, "score": score, "segment": [start, end]}


def data_of(page):
    """The data of a page as its script gets them."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


# --- curves -----------------------------------------------------------------------------------------------------------


def test_columns_join_the_snippets_whose_centers_they_hold():
    """8 snippets of 1 s in 4 columns of 2 s: each column holds 2; the greatest, or their mean."""
    grid = window_grid(8, 1, 1, 1.0, 8.0)
    values = np.array([[1, 2, 3, 4, 8, 7, 6, 5]], float)
    assert curves.in_columns(values, grid, 8.0, 4).tolist() == [[2, 4, 8, 6]]
    assert curves.in_columns(values, grid, 8.0, 4, np.add).tolist() == [[1.5, 3.5, 7.5, 5.5]]
    assert curves.in_columns(values, grid, 8.0, 100).tolist() == values.tolist()


def test_columns_are_even_in_time_where_snippets_are_not():
    """Centers at 1, 2, 3 and 14 s of 16: columns of 4 s hold the first three, none, none, the last. A column without a
    center takes the snippet that its middle, 6 or 10 s, lies in: the third reaches to 8.5 s."""
    grid = center_grid(4, np.array([1.0, 2.0, 3.0, 14.0]), 16.0)
    assert curves.in_columns(np.array([[1.0, 5.0, 2.0, 3.0]]), grid, 16.0, 4).tolist() == [[5, 2, 3, 3]]


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (12, 4000)])
def test_packed_curves_come_back_to_half_a_step(shape):
    values = np.random.default_rng(0).random(shape)
    back = curves.unpacked(curves.packed(values), len(values))
    assert back.shape == shape and np.abs(back - values).max() <= 0.5 / (curves.LEVELS - 1) + 1e-9


def test_a_model_is_unsure_where_a_class_is_neither_there_nor_not():
    """Snippets: sure of one (0), of two (0), half of one (1), 0.25 of one (0.5): mean 1.5 / 4."""
    probabilities = np.array([[1, 1, 0.5, 0.25], [0, 1, 0, 0]])
    assert curves.unsureness(probabilities) == pytest.approx(0.375)
    assert curves.unsureness(np.zeros((0, 5))) == 0


def test_classes_with_detections_are_shown_first_and_hopeless_ones_not_at_all():
    probabilities = np.array([[0.05], [0.9], [0.3], [0.01]])
    assert curves.shown_classes(probabilities, [3]) == [3, 1, 2]
    many = np.linspace(0.5, 0.9, 30)[:, None]
    assert curves.shown_classes(many) == list(range(29, 29 - curves.MOST_CLASSES, -1))


def test_channels_of_sensors_are_one_per_axis_others_are_spread():
    """Raw: 6 axes of 50 samples, the one in the middle, also where all axes of a time stand together; spectral, window
    10: 5 + 5 channels per axis, the mean first."""
    raw = Sidecar("raw", "", "", 25, 50, 50.0, 300)
    spectral = Sidecar("spectral", "", "", 5, 10, 50.0, 30)
    middles = [25, 75, 125, 175, 225, 275]
    assert [index for index, _ in curves.shown_channels(300, raw)] == middles
    assert [index for index, _ in curves.shown_channels(300, None, Waveforms(6))] == middles
    assert curves.shown_channels(300, None, Waveforms(6, "time"))[:2] == [(150, "axis 1"), (151, "axis 2")]
    assert [index for index, _ in curves.shown_channels(30, spectral)] == [0, 10, 20]
    assert curves.shown_channels(300)[0] == (25, "channel 26") and len(curves.shown_channels(300)) == 6
    assert [index for index, _ in curves.shown_channels(2)] == [0, 1]


def test_a_channel_fills_its_range_and_a_constant_one_lies_in_the_middle():
    """101 values 0 .. 100: the 1st and 99th percentile, 1 and 99, become 0 and 1."""
    found = curves.standardized(np.stack([np.arange(101.0), np.full(101, 7.0)]))
    assert found[0, [0, 1, 50, 99, 100]].tolist() == [0, 0, 0.5, 1, 1] and (found[1] == 0.5).all()


def test_more_recordings_get_fewer_columns_within_bounds():
    """24 MB for 500 recordings of 12 curves: 4,000 columns each; never below 200, however many there are."""
    assert curves.columns_for(500, 12, curves.PROBABILITY_BYTES) == 4000
    assert curves.columns_for(2000, 12, curves.PROBABILITY_BYTES) == 1000
    assert curves.columns_for(10**6, 12, curves.PROBABILITY_BYTES) == 200


# --- annotations that corrections go into -----------------------------------------------------------------------------


def test_labels_of_the_run_count_as_labeled_and_evaluation_stays_as_it_is():
    videos = [video("a"), video("b"), video("c", segments=(), labels=()), video("e", "validation"),
              video("f", "validation", annotated=False)]
    based = base_videos(videos, ["v_a", "c"], "Training")
    assert [one.annotated for one in based] == [True, False, True, None, False]
    assert based[1].labels == ("run",) and videos[0].annotated is None


def test_recordings_without_annotation_are_unlabeled_ones_of_training():
    known = [video("abc", annotated=True)]
    videos, names = with_own(known, [("v_abc", 20.0, 25.0), ("new", 7.5, None)], "training")
    assert names == ["abc", "new"] and [one.name for one in videos] == ["abc", "new"]
    assert (videos[1].duration_sec, videos[1].subset, videos[1].annotated) == (7.5, "training", False)


def test_two_features_of_one_recording_are_refused():
    with pytest.raises(SpotError, match=r"'v_abc' and 'abc\.mp4' are both the recording 'abc'"):
        with_own([video("abc")], [("v_abc", 20.0, 25.0), ("abc.mp4", 20.0, 25.0)], "training")


def test_the_training_command_is_one_that_the_settings_take():
    """Own features lie beside those of the run, stream by stream; the same ones are not named twice."""
    command = training_command("runs/a b", ["rgb", ["flow1", "flow2"]], ["own/rgb", "own/flow"])
    assert shlex.split(shlex.join(command)) == command
    config = load_config(None, [word for word in command if word.startswith("dataset.")])
    assert plain(config.dataset.feature_path) == [["rgb", "own/rgb"], ["flow1", "flow2", "own/flow"]]
    assert config.dataset.labeled == "annotated"
    assert training_command("x", "features", "features") == training_command("x", "features")


def test_ids_of_classes_are_kept_where_they_are_one_to_one():
    one, two = video("a", label_ids=(4,)), video("b", labels=("jump",), label_ids=(7,))
    assert class_ids([one, two, video("c", segments=(), labels=())]) == {"run": 4, "jump": 7}
    assert class_ids([one, video("b")]) is None and class_ids([]) is None
    assert class_ids([one, video("b", labels=("jump",), label_ids=(4,))]) is None


def test_annotations_are_read_back_as_they_were(tmp_path):
    """Facts, marks, ids, Ambiguous segments, and features that cover another time than the video lasts."""
    videos = [
        video("10", segments=((0.125, 3.5), (4, 21)), labels=("run", "jump"), label_ids=(1, 2), annotated=True),
        video("a", "validation", feature_duration_sec=19.5, ambiguous_sec=np.array([[5.0, 6.0]])),
        video("b", segments=(), labels=(), annotated=False, fps=None),
        video("c", "", duration_sec=None, feature_duration_sec=None, fps=None),
    ]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"database": database_of(videos)}), encoding="utf-8")
    for read, one in zip(read_annotations(path), videos, strict=True):
        assert (read.name, read.subset, read.labels, read.annotated, read.duration_sec, read.fps) == (
            one.name, one.subset, one.labels, one.annotated, one.duration_sec, one.fps)
        assert np.array_equal(read.segments_sec, one.segments_sec)
        assert read.label_ids == (one.label_ids if one.labels else ())
        assert np.array_equal(read.ambiguous_sec, one.ambiguous_sec)
        assert read.feature_duration_sec == pytest.approx(one.feature_duration_sec)


def test_what_is_not_reviewed_is_not_labeled():
    """`dataset.labeled=annotated` takes the labels of the run alone, though the file knows the others too."""
    content = {"database": database_of(base_videos([video("a"), video("b"), video("e", "validation")], ["a"],
                                                   "training"))}
    videos = read_annotations(content)
    assert labeled_split([one for one in videos if one.subset == "training"], "annotated", 0) == ["a"]
    assert is_annotated(videos[2])


# --- one recording ----------------------------------------------------------------------------------------------------


def test_of_overlapping_detections_of_a_class_the_best_is_kept():
    entries = [detection("run", 1, 4, 0.9), detection("run", 2, 5, 0.8), detection("jump", 2, 5, 0.1)]
    entry = recording_entry("a", entries, CLASSES, 20.0, 25.0, "/videos/a.mp4")
    assert entry["found"] == [[0, 1, 4, 0.9], [1, 2, 5, 0.1]]
    assert (entry["unsure"], entry["curves"], entry["channels"], entry["media"]) == (None, None, None, "a.mp4")


def test_rounding_keeps_what_is_at_the_threshold():
    """A score and the threshold that was chosen from it are rounded alike, whatever follows the sixth digit."""
    random = np.random.default_rng(1)
    scores = random.random(200) * 10.0 ** random.integers(-6, 1, 200)
    for threshold in scores:
        assert all(rounded(score) >= rounded(threshold) for score in scores[scores >= threshold])


def test_what_the_model_sees_comes_with_the_recording():
    grid, probabilities = window_grid(8, 1, 1, 1.0, 8.0), np.zeros((3, 8))
    probabilities[1, 2:5] = 0.5
    seen = (grid, probabilities, np.arange(16.0).reshape(2, 8), ["x", "y"])
    entry = recording_entry("a", [], CLASSES, 8.0, seen=seen)
    assert entry["unsure"] == 0.375 and entry["curves"]["classes"] == [1] and entry["channels"]["names"] == ["x", "y"]
    back = curves.unpacked(entry["curves"]["data"], 1)[0]
    assert back == pytest.approx([0, 0, 0.5, 0.5, 0.5, 0, 0, 0], abs=0.01)


# --- the page ---------------------------------------------------------------------------------------------------------

EVIL = ['<img src=x onerror="window.broken=1">', "</script><script>window.broken=1</script>", "<!--", "<!--<script>"]


def page(names=("a",), class_names=CLASSES, action=None):
    videos = [video(name, labels=(class_names[0],), annotated=False) for name in names]
    recordings = [recording_entry(name, [detection(class_names[0], 1, 2, 0.5)], class_names, 20.0) for name in names]
    return page_data(Origin("runs/x", "training", action, ["python", "a b.py"]), class_names, recordings, videos)


def test_no_text_of_the_data_is_markup():
    """Between the two tags of the data there is no `<` at all, and what is there is what went in."""
    data = page(EVIL, EVIL)
    text = page_of(data)
    assert data_of(text) == json.loads(json.dumps(data))
    before, after = text.split('id="data">')
    assert "<" not in after.split("</script>")[0] and text.count("</script>") == 2
    assert not any(name in before for name in EVIL)


def test_the_script_makes_no_markup_and_asks_no_network():
    text = page_of(page())
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "XMLHttpRequest",
                "WebSocket", "import(", "://", "url("):
        assert way not in text, way


def test_the_policy_lets_only_the_pages_own_script_and_style_run():
    text = page_of(page())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_a_page_knows_its_threshold_and_how_to_train():
    found = page(action={"threshold": 0.123456789, "per_class": {}, "chosen_on": "4 held-out videos"})
    assert (found["threshold"], found["chosenOn"], found["train"]) == (0.123457, "4 held-out videos", "python 'a b.py'")
    assert page(action={"threshold": None, "per_class": {}, "chosen_on": "x"})["threshold"] is None


def test_work_is_kept_by_what_was_detected():
    """The key is that of the recordings and detections, not of the threshold, so that work outlives a new call."""
    known = {"threshold": 0.5, "per_class": {}, "chosen_on": "x"}
    assert page()["key"] == page(action=known)["key"] != page(("b",))["key"]


def test_a_page_without_recordings_is_refused(tmp_path):
    with pytest.raises(SpotError, match="no recording to review"):
        write_review(tmp_path / "review.html", page(()))
    assert not list(tmp_path.iterdir())


def test_colors_are_those_of_the_pictures():
    from spot.timelines import class_colors

    colors = [one["color"] for one in page(class_names=[f"c{index}" for index in range(12)])["classes"]]
    assert colors[0] == class_colors(["c0"])["c0"].lower() and len(set(colors)) == 12


def test_the_features_of_a_video_backbone_are_not_drawn():
    recordings, backbone = [SimpleNamespace(media=None)], Sidecar("videomae-base", "", "", 8, 16, 15.0, 768)
    assert draws_channels(SimpleNamespace(times=None), recordings)
    assert not draws_channels(SimpleNamespace(times=None), [SimpleNamespace(media="a.mp4")])
    assert not draws_channels(SimpleNamespace(times=SimpleNamespace(sidecar=backbone)), recordings)
