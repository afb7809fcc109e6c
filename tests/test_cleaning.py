"""What is lost of the segments, in which unit they probably are, and that check and training count the same."""

import json

import numpy as np
import pytest
import tiny
from tiny import video

from spot.cleaning import (
    label_warnings,
    likely_unit,
    loss_warning,
    losses_of,
    shares_warning,
    similar_labels,
    unusable,
)
from spot.data_check import check_data
from spot.data_files import open_data
from spot.datasets import GridSettings, SnippetDataset
from spot.files import SpotError
from spot.run_report import report_data


def scaled(factor, fps=25.0):
    """Four videos of 60 s; segments from 6 to 9 s and 40 to 57 s, times the factor."""
    return [video(name, (6 * factor, 9 * factor, "run"), (40 * factor, 57 * factor, "jump"), duration=60.0, fps=fps)
            for name in "abcd"]


@pytest.mark.parametrize(("factor", "words"), [(25, "frames"), (1000, "milliseconds"), (2, "")])
def test_the_unit_is_named_where_a_factor_makes_the_segments_fit(factor, words):
    """In frames (25 per second) they begin after 150 s of 60 s. 2 is no unit: as frames, all end within 5 s."""
    losses = losses_of(scaled(factor))
    assert (losses.total, losses.usable) == (8, 4 if factor == 2 else 0)
    assert words in losses.unit and bool(losses.unit) == bool(words)
    assert (unusable(losses, "the videos") is None) == (factor == 2)
    assert words in (unusable(losses, "the videos") or "")


def test_frames_are_named_by_the_rate_of_the_settings_and_not_without_any():
    assert "frames" in losses_of(scaled(30, fps=None), fps=30).unit
    assert losses_of(scaled(30, fps=None)).unit == "", "as milliseconds they would all lie within the first 2 s"


def test_seconds_have_no_other_unit():
    losses = losses_of(scaled(1))
    assert (losses.usable, losses.unit, unusable(losses, "x"), loss_warning(losses, "x")) == (8, "", None, None)


def test_a_duration_of_the_action_is_told():
    videos = [video(name, (40, 47, "run"), duration=7.0) for name in "ab"]
    assert "the whole video" in likely_unit(videos, [np.inf] * 2)
    assert "one ends at 47 s of 7 s" in unusable(losses_of(videos), "x")


def test_a_duration_of_one_of_several_actions_is_told():
    """4 s of 10 to 14 s: divided by 25 the ends, 14 and 37 s, would lie within 4 s, but they are no frames."""
    videos = [video(name, (10, 14, "run"), (30, 37, "jump"), duration=4.0, fps=25) for name in "ab"]
    assert "the whole video" in losses_of(videos).unit


def test_losses_are_counted_by_reason():
    """In 10 s: a point, one backward, one outside, [6, 30] keeps 4 of 24 s, [8, 11] keeps 2 of 3 s, two are sound."""
    spans = [(3, 3), (5, 4), (11, 12), (6, 30), (8, 11), (1, 2), (2, 3)]
    losses = losses_of([video("a", *((*span, "run") for span in spans), duration=10.0)])
    assert (losses.total, losses.dropped, losses.clipped, losses.cut) == (7, 3, 2, 1)
    assert (losses.points, losses.backward, losses.usable) == (1, 1, 4)
    assert losses.reasons().startswith("1 end where they start, 1 end before they start, 1 lie outside of their video, "
                                       "1 lose more than half at the end of their video (one ends at 30 s of 10 s)")
    assert loss_warning(losses, "x").startswith("4 of 7 segments of x are lost or cut")


@pytest.mark.parametrize(("bad", "warned"), [(1, False), (2, True)])
def test_more_than_one_in_twenty_is_a_warning(bad, warned):
    """1 of 20 segments is 5 %, 2 of 21 are more."""
    spans = [(1, 2)] * 19 + [(5, 5)] * bad
    losses = losses_of([video("a", *((*span, "run") for span in spans))])
    assert (loss_warning(losses, "x") is not None) == warned


def test_shares_of_the_video_are_told():
    assert shares_warning([video(name, (0.1, 0.9, "run"), duration=60.0) for name in "ab"])
    assert shares_warning([video(name, (0.1, 0.9, "run"), duration=2.0) for name in "ab"]) is None
    assert shares_warning(scaled(1)) is None


@pytest.mark.parametrize(("one", "other", "similar"), [
    ("Beer pong", "beer_pong", True), ("Beer pong", "Beerpong", True), ("Ｒun", "Run", True),
    ("High jump", "High jumps", True), ("Shot put", "Shot pul", False), ("Swimming", "Swiming", True),
    ("Action A", "Action B", False), ("class 1", "class 2", False), ("take01", "take02", False), ("run", "ran", False),
    ("sit to stand", "stand to sit", False), ("Long jump", "High jump", False), ("Curling", "Hurling", False),
    ("run", "runn", True), ("jump", "junp", True),
])
def test_class_names_that_are_probably_one(one, other, similar):
    assert similar_labels([one, other]) == ([tuple(sorted((one, other)))] if similar else [])


def test_labeled_videos_without_a_usable_segment_are_warned_of():
    videos = [video("a", (1, 4, "run")), video("b"), video("c", (5, 5, "run"))]
    (sentence,) = [text for text in label_warnings(videos, ["run"]) if "background" in text]
    assert sentence.startswith("2 of 3 labeled videos, such as b,")


# --- check and training -----------------------------------------------------------------------------------------------


def dirty_files(folder):
    """Training videos: a clean; b with a point, a backward, an outside and a clipped segment, spelled in two ways; c
    without a segment; d without features; e without a duration, whose features end after 16 s."""
    rows = {
        "a": [([1, 4], "run"), ([5, 9], "jump ")],
        "b.mp4": [([3, 3], "run"), ([7, 5], "run"), ([17, 19], "jump"), ([12, 20], "jump"), ([2, 6], "ru\u200bn")],
        "c": [], "d": [([1, 5], "run")], "e": [([4, 8], "run"), ([14, 18], "run"), ([20, 22], "jump")],
        "f": [([1, 3], "run")],
    }
    entries = {name: {"subset": "validation" if name == "f" else "training", "fps": 1, "duration": 16.0,
                      "annotations": [{"segment": span, "label": label} for span, label in found]}
               for name, found in rows.items()}
    del entries["e"]["duration"]
    (folder / "features").mkdir()
    (folder / "a.json").write_text(json.dumps({"database": entries}))
    random = np.random.default_rng(0)
    for name in "ABCEFX":  # spelled in another case; X is of no video
        np.save(folder / "features" / f"{name}.npy", random.normal(size=(16, 6)).astype(np.float32))
    return {"video_anno_path": str(folder / "a.json"), "video_info_path": None, "blocked": None, "feat_dim": 6,
            "feature_path": str(folder / "features"), "feature_pattern": None, "class_file": None, "num_classes": None}


@pytest.fixture
def dirty(tmp_path):
    return dirty_files(tmp_path)


GRID = {"grid": "window", "temporal_scale": 8, "stride": 1, "window": 1}


def checked(data):
    return check_data(data, GRID, {}, "training", "validation", 1.0, 0, "sigmoid", "0.5")


def test_the_check_counts_what_training_uses(dirty):
    """By hand: run 1 in a, 1 in b, 2 in e; jump 1 in a, 1 in b; [12, 20] and [14, 18] are clipped; four are dropped."""
    videos, names, source = open_data(**dirty)
    training = [one for one in videos if one.subset == "training" and one.name in source]
    data = SnippetDataset(training, source, GridSettings(**GRID), names, 6)
    counts = [int((data.labels == index).sum()) for index in range(len(names))]
    assert names == ["jump", "run"] and counts == [2, 4] and data.dirty == {"clipped": 2, "dropped": 4}
    report = checked(dirty)
    table = next(lines for title, lines in report.sections if title.startswith("Classes"))
    assert [line.split() for line in table] == [["jump", "2", "2", "2", "0"], ["run", "3", "4", "4", "1"]]
    segments = next(lines for title, lines in report.sections if title.startswith("Segments"))
    assert any("training clips 2 and drops 4" in line for line in segments)


def test_what_training_is_warned_of_the_check_says_too(dirty, capsys):
    videos, names, source = open_data(**dirty)
    training = [one for one in videos if one.subset == "training" and one.name in source]
    report_data(SnippetDataset(training, source, GridSettings(**GRID), names, 6), None, [], names)
    said = [line.removeprefix("warning: ") for line in capsys.readouterr().err.splitlines() if "warning" in line]
    warnings = checked(dirty).warnings
    assert len(said) == 2 and all(line in warnings for line in said)
    assert said[0].startswith("4 of 10 segments of the labeled videos are lost or cut: 1 end where they start, 1 end")
    assert said[1].startswith("1 of 4 labeled videos, such as c, have no segment")


def test_features_that_no_annotation_names_are_told_with_their_use(dirty):
    (sentence,) = [line for line in checked(dirty).warnings if "feature files" in line]
    assert sentence.startswith("1 feature files, such as X,") and '"X": {"subset": "training"' in sentence


def test_no_usable_segment_is_a_problem_of_the_check_and_the_end_of_training(tmp_path):
    """All times in milliseconds."""
    data = dirty_files(tmp_path)
    rows = [{"segment": [2000.0, 6000.0], "label": "run"}, {"segment": [7000, 15000], "label": "run"}]
    entries = {name: {"subset": subset, "fps": 1, "duration": 16.0, "annotations": rows}
               for name, subset in (("a", "training"), ("b", "training"), ("f", "validation"))}
    (tmp_path / "a.json").write_text(json.dumps(entries))
    (problem,) = checked(data).problems
    assert "none of the 4 segments of the labeled videos" in problem and "milliseconds: divide them by 1000" in problem
    videos, names, source = open_data(**data)
    labeled = SnippetDataset(videos[:2], source, GridSettings(**GRID), names, 6)
    with pytest.raises(SpotError, match=r"none of the 4 segments.*milliseconds"):
        report_data(labeled, None, [], names)


def test_features_that_do_not_fit_the_duration_are_told_when_training_begins(capsys):
    """16 snippets of 1 s in a video of 60 s."""
    clip = video("a", (1, 4, "run"), duration=60.0)
    features = {"a": np.random.default_rng(0).normal(size=(6, 16)).astype(np.float32)}
    report_data(tiny.dataset([clip], features), None, [], tiny.CLASSES)
    assert "1 of 1 videos do not fit their duration: video a: its features reach to 16.0 s of 60.0 s" \
        in capsys.readouterr().err


def test_all_problems_are_counted(dirty, tmp_path):
    """28 broken files are 28 problems, of which ten are told."""
    entries = {f"n{i}": {"subset": "training", "fps": 1, "duration": 16.0,
                         "annotations": [{"segment": [1, 4], "label": "run"}]} for i in range(29)}
    (tmp_path / "a.json").write_text(json.dumps(entries))
    for i in range(29):
        np.save(tmp_path / "features" / f"n{i}.npy", np.full((16, 6), np.nan if i else 1, np.float32))
    report = checked(dirty)
    assert report.num_problems == 28 and len(report.problems) == 11
