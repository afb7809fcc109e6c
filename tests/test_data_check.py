"""The data check: every count by hand on tiny videos, and perfect outputs that come back as their segments."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiny

from spot.annotations import class_names, clean_segments, read_annotations
from spot.check_annotations import unfinished
from spot.check_features import FeatureFacts
from spot.check_grid import hidden_segments, on_grid, overlaps, time_differences
from spot.data_check import check_data
from spot.datasets import GridSettings
from spot.evaluation import evaluate_detections
from spot.proposals import Decoding
from spot.segments import resize_grid, window_grid
from spot.upper_bound import bound

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
ROW = {"segment": [2.0, 6.0], "label": "run"}


def annotations(**changes):
    """Four training videos and two of validation, 16 s each at 1 frame per second, one segment of `run` in each."""
    names = {**dict.fromkeys("abcd", "training"), **dict.fromkeys("ef", "validation")}
    database = {f"video_{name}": {"subset": subset, "duration": 16.0, "fps": 1.0, "annotations": [ROW]}
                for name, subset in names.items()}
    for name, change in changes.items():
        database[name] = {**database[name], **change}
    return database


@pytest.fixture
def checked(tmp_path):
    """A function: (annotations, features that replace the random ones, settings) -> Report; window grid, T = 8."""

    def check(database, features=None, **settings):
        (tmp_path / "annotations.json").write_text(json.dumps({"database": database}))
        folder = tmp_path / "features"
        folder.mkdir(exist_ok=True)
        random = np.random.default_rng(0)
        own = {name: random.normal(size=(16, 6)).astype(np.float32) for name in annotations()} | (features or {})
        for name, array in own.items():
            if array is not None:
                np.save(folder / f"{name}.npy", array)
        data = {"video_anno_path": str(tmp_path / "annotations.json"), "video_info_path": None,
                "feature_path": str(folder), "feature_pattern": None, "feat_dim": 6, "class_file": None,
                "num_classes": None, "blocked": None}
        grid = {"grid": "window", "temporal_scale": 8, "stride": 1, "window": 1}
        rest = {"train_subset": "training", "eval_subset": "validation", "labeled": 0.5, "split_seed": 0,
                "activation": "sigmoid", "tiou": "0.3:0.7:5", "class_scores": "none", "detector": "spot",
                "longest": None}
        for part in (data, grid, rest):
            part.update({key: settings.pop(key) for key in list(settings) if key in part})
        return check_data(data, grid, settings, **rest)

    return check


def lines_of(report, title):
    return "\n".join(next(lines for name, lines in report.sections if name.startswith(title)))


# --- the report -------------------------------------------------------------------------------------------------------


def test_sound_data_has_no_problem_and_a_bound_of_100(checked):
    report = checked(annotations())
    assert report.problems == [] and report.warnings == []
    assert "training: 4 videos, 4 with features, 0 without a segment" in lines_of(report, "Videos")
    assert "2 labeled, 2 unlabeled" in lines_of(report, "Videos")
    assert lines_of(report, "Classes").split() == ["run", "2", "2", "4", "2"]
    bound_row = lines_of(report, "The best mAP").splitlines()[1]
    assert bound_row.split()[-6:] == ["100.00"] * 6
    assert "6 videos read, 96 snippets of 6 channels" in lines_of(report, "Features")


def test_all_problems_are_listed_at_once(checked):
    """A NaN, five channels, no frame rate, a wrong number of classes: four problems, each with its place."""
    nan = np.zeros((16, 6), np.float32)
    nan[3, 5] = np.nan
    report = checked(annotations(video_c={"fps": None}),
                     {"video_a": nan, "video_b": np.zeros((16, 5), np.float32)}, num_classes=3)
    assert len(report.problems) == 4
    for words in (["video_a.npy", "NaN", "snippet 3, channel 5"], ["video_b.npy", "(16, 5)", "6 channels"],
                  ["video_c", "frame rate"], ["num_classes is 3", "1 classes"]):
        assert sum(all(word in problem for word in words) for problem in report.problems) == 1, words
    assert "files with NaN, Inf or another fault: 2" in lines_of(report, "Features")
    assert all(problem in report.text() for problem in report.problems)


def test_all_faults_of_annotations_and_of_file_names_are_listed_at_once(checked, tmp_path):
    """Two broken segments in one video, one in another, and two videos with two feature files each."""
    broken = [{"segment": [1], "label": "run"}, ROW, {"segment": [1, 2]}]
    (tmp_path / "features").mkdir()
    for name in ("video_a", "v_video_b"):
        (tmp_path / "features" / f"{name}.csv").write_text("1,2,3,4,5,6\n")
    report = checked(annotations(video_c={"annotations": broken}, video_d={"annotations": [{"segment": [1, "x"],
                                                                                             "label": "run"}]}))
    assert len(report.problems) == 5
    assert sum("both features of video" in problem for problem in report.problems) == 2
    assert sum("video 'video_c'" in problem for problem in report.problems) == 2
    assert sum("video 'video_d'" in problem and "'x'" in problem for problem in report.problems) == 1
    assert "6 videos read" in lines_of(report, "Features"), "the sound rest was checked"


def test_many_faults_of_one_kind_are_counted(checked):
    report = checked(annotations(video_a={"annotations": [{"segment": [1], "label": "run"}] * 25}))
    assert len(report.problems) == 1, "the same sentence 25 times is one"
    rows = [{"segment": [1, f"{i} s"], "label": "run"} for i in range(25)]
    report = checked(annotations(video_a={"annotations": rows}))
    assert len(report.problems) == 11 and "15 more faults of the annotations" in report.problems[-1]


def test_an_external_classifier_is_read_as_well(checked, tmp_path):
    """One file lacks a video of the evaluation subset, another is cut off; training would run all the same."""
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps({"video_e": {"class": "run", "score": 1}}))
    report = checked(annotations(), class_scores=str(scores))
    assert report.problems == [] and len(report.warnings) == 1
    assert "testing.class_scores: 1 of 2 evaluation videos, such as video_f" in report.warnings[0]
    scores.write_text('{"video_e"')
    report = checked(annotations(), class_scores=str(scores))
    assert report.problems == [] and ["scores.json: is not valid JSON" in line for line in report.warnings] == [True]


def test_a_list_of_missing_features_silences_the_names(checked, tmp_path):
    """Of two videos without features one is listed; of those listed one has features after all, which are used."""
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "missing_files.txt").write_text("video_c\nvideo_a")
    report = checked(annotations(), {"video_c": None, "video_d": None})
    assert len(report.warnings) == 3 and any("video_d has no features" in line for line in report.warnings)
    assert any(line == "1 training videos have no features, as missing_files.txt says" for line in report.warnings)
    assert any("1 training videos are listed in missing_files.txt, but have features" in line
               for line in report.warnings)


def test_a_list_of_blocked_videos_of_another_data_set_is_a_warning(checked, tmp_path):
    (tmp_path / "b.txt").write_text("someone\n")
    report = checked(annotations(), blocked=str(tmp_path / "b.txt"))
    assert report.problems == [] and len(report.warnings) == 1 and "none of the videos is in" in report.warnings[0]


def test_a_broken_evaluation_file_is_a_warning_because_training_runs(checked):
    report = checked(annotations(), {"video_e": np.zeros((0, 6), np.float32)})
    assert report.problems == [] and any("video_e.npy" in warning for warning in report.warnings)


def test_a_forgotten_prefix_shows_in_the_nearest_name(checked):
    report = checked(annotations(), {**dict.fromkeys(annotations()), **{
        f"clip_{name}": np.ones((16, 6), np.float32) for name in annotations()}})
    assert any("video_a has no features; the nearest feature name is clip_video_a" in line for line in report.warnings)
    assert any("none of the 4 training videos has features" in line for line in report.problems)


def test_an_id_with_and_without_its_prefix_is_a_problem(checked):
    database = annotations()
    report = checked({**database, "v_video_a": database["video_a"]})
    assert any("two videos are called" in problem for problem in report.problems)


def test_an_empty_training_subset_names_those_that_exist(checked):
    report = checked(annotations(), train_subset="trainig")
    assert len(report.problems) == 1 and "'trainig'" in report.problems[0] and "'training' (4)" in report.problems[0]


def test_every_missing_file_is_a_problem_of_its_own(checked):
    report = checked(annotations(), video_anno_path="nowhere.json", video_info_path="no.csv",
                     feature_path=["no_folder", "nor_this"])
    assert len(report.problems) == 4
    for name in ("nowhere.json", "no_folder", "nor_this", "no.csv"):
        assert sum(name in problem for problem in report.problems) == 1


def test_dirty_segments_are_counted(checked):
    """One ends 4 s after its video and is clipped, one ends before its start, one lies beyond the video: dropped."""
    rows = [{"segment": segment, "label": "run"} for segment in ([12, 20], [5, 4], [17, 18.5])]
    dirt = lines_of(checked(annotations(video_b={"annotations": rows})), "Segments")
    assert "1 end at or before their start, 2 end after their video (by up to 4 s)" in dirt
    assert "clips 1 and drops 2" in dirt


def test_a_class_without_a_label_is_a_warning(checked):
    report = checked(annotations(video_e={"annotations": [{"segment": [1, 3], "label": "swim"}]}))
    assert any("1 of 2 classes have no labeled video" in line and "swim" in line for line in report.warnings)


def test_constant_channels_and_still_videos_are_warnings(checked):
    """Channel 2 is .5 everywhere; all snippets of video_d are alike."""
    random = np.random.default_rng(1)
    features = {name: random.normal(size=(16, 6)).astype(np.float32) for name in annotations()}
    features["video_d"][:] = features["video_d"][0]
    for array in features.values():
        array[:, 2] = 0.5
    report = checked(annotations(), features)
    assert any("1 channels have one value in all videos, first 2" in line for line in report.warnings)
    assert any(line.startswith("video video_d: all its snippets are alike") for line in report.warnings)


def test_a_wrong_stride_shows_in_the_time_that_features_cover():
    """16 snippets every 2 s reach to 15 * 2 + 1 = 31 s, the video ends after 16 s."""
    facts = FeatureFacts(6, lengths={"a": 16})
    clip = tiny.video("a", duration=16.0)
    assert not time_differences([clip], GridSettings("window", 8, stride=1, window=1), facts)
    assert "31.0 s of 16.0 s" in time_differences([clip], GridSettings("window", 8, stride=2, window=1), facts)[0]


# --- overlaps ---------------------------------------------------------------------------------------------------------


def test_overlaps_are_counted_by_kind():
    """0-4 of class 0; 2-6 of class 1 (cross); 2.2-6.1 of class 2 (twin of it, cross with the first); 3-5 of class 0."""
    segments = np.array([[0, 4], [2, 6], [2.2, 6.1], [3, 5], [7, 8.0]])
    counts = {"cross": 4, "twins": 1, "same": 1, "cross_whole": 4, "same_whole": 1}
    assert overlaps(segments, np.array([0, 1, 2, 0, 0])) == counts


def test_overlaps_of_a_snippet_or_more_are_counted_apart():
    """0-2 and 1.5-4 share half a snippet, 1.5-4 and 3-6 one, 3-6 and 6-7 touch."""
    segments = np.array([[0, 2], [1.5, 4], [3, 6], [6, 7]])
    nothing = dict.fromkeys(("cross", "twins", "same", "cross_whole", "same_whole"), 0)
    assert overlaps(segments, np.zeros(4, int)) == {**nothing, "same": 2, "same_whole": 1}
    assert overlaps(segments, np.arange(4)) == {**nothing, "cross": 2, "cross_whole": 1}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real annotation files of ../shared/data are not here")
def test_overlaps_of_the_real_annotations():
    """ActivityNet's training videos in 100 snippets; both halves of THUMOS14 at 4 frames per snippet."""
    def counted(videos, grid_of):
        counts = Counter()
        for video in videos:
            segments_sec, labels, _ = clean_segments(video)
            segments = grid_of(video).to_snippet(segments_sec)
            counts.update(overlaps(segments, np.array([names.index(label) for label in labels], int)))
        return counts

    anet = read_annotations(SHARED / "anet" / "anet_anno_action.json", SHARED / "anet" / "video_info_new_0.9.csv")
    anet = [video for video in anet if video.subset == "training"]
    names = class_names(anet)
    counts = counted(anet, lambda video: resize_grid(100, video.duration_sec, video.feature_duration_sec))
    assert (counts["same"], counts["same_whole"]) == (305, 281)
    thumos = read_annotations(SHARED / "thumos14" / "thumos14.json")
    names = class_names(thumos)
    counts = counted(thumos, lambda video: window_grid(int(video.duration_sec * video.fps / 4), 4, 16, video.fps,
                                                       video.duration_sec))
    assert (counts["cross"], counts["cross_whole"], counts["twins"]) == (168, 148, 361)


def test_a_segment_is_hidden_only_where_shorter_ones_hold_all_its_snippets():
    """0-4 under 0-2 and 2-4; with 0-2 alone it keeps snippets 2 and 3."""
    under = np.array([[0, 4], [0, 2], [2, 4.0]])
    assert hidden_segments(under, np.array([0, 1, 1]), 8).tolist() == [True, False, False]
    assert hidden_segments(under[:2], np.array([0, 1]), 8).tolist() == [False, False]
    assert hidden_segments(np.zeros((0, 2)), np.zeros(0, int), 8).tolist() == []


def test_a_twin_is_hidden_only_where_it_is_of_the_same_class():
    twins = np.array([[1, 5], [1, 5.0]])
    assert hidden_segments(twins, np.array([0, 1]), 8).tolist() == [False, False]
    assert hidden_segments(twins, np.array([0, 0]), 8).tolist() == [False, True]


# --- there and back ---------------------------------------------------------------------------------------------------


def there_and_back(videos, temporal_scale=8, lengths=None, grid="window", **decoding):
    """(mAP at .7 that the targets allow, mAP by the settings) of perfect outputs, one snippet per second."""
    facts = FeatureFacts(6, lengths=lengths or {video.name: int(video.duration_sec) for video in videos})
    data = on_grid(videos, facts, GridSettings(grid, temporal_scale, stride=1, window=1), tiny.CLASSES)
    return [evaluate_detections(videos, {"results": results}, "training", [0.7]).mAP[0]
            for results in bound(data, tiny.CLASSES, Decoding(**decoding), "sigmoid")]


def test_a_segment_of_two_classes_comes_out_as_both():
    """CliffDiving is also Diving: one time span, two names, beside an instance that has only one."""
    videos = [tiny.video("a", (1, 5, "run"), (1, 5, "jump"), (6, 8, "run"))]
    assert there_and_back(videos) == [1.0, 1.0]


def test_a_segment_over_many_windows_comes_back_whole():
    """30 s over windows of 8 snippets, and a neighbor that touches it."""
    videos = [tiny.video("a", (3, 33, "run"), (33, 36, "run"), duration=40.0)]
    assert there_and_back(videos) == [1.0, 1.0]


def test_half_a_snippet_of_a_segment_in_the_next_window_is_no_segment_of_its_own():
    """Windows of 16 snippets begin at 0, 8, 15 and 23; the third shows 15 to 15.5 of the first segment, which ends at
    the center of its snippet; the first shows 15.5 to 16 of the second, which begins there."""
    videos = [tiny.video("a", (7.5, 15.5, "run"), (15.5, 20, "jump"), duration=39.0)]
    assert there_and_back(videos, temporal_scale=16)[0] == 1


def test_the_resize_grid_brings_segments_back():
    """Snippets of 10 s: 1 to 4.1 and 6 to 7.5 come back to a fraction of a snippet."""
    videos = [tiny.video("a", (10, 41, "run"), (60, 75, "throw"), duration=80.0)]
    assert there_and_back(videos, lengths={"a": 8}, grid="resize")[0] == 1


def test_a_hidden_segment_lowers_the_bound():
    """`jump` 0-8 lies under `run` 0-4 and 4-8: no mask row shows it, so its AP is 0 and the mean of two classes .5."""
    videos = [tiny.video("a", (0, 8, "jump"), (0, 4, "run"), (4, 8, "run"))]
    assert there_and_back(videos)[0] == pytest.approx(0.5)


def test_too_few_snippets_per_class_lose_segments_even_with_perfect_outputs():
    """Three segments of equal score and top_k = 1: one is proposed. The targets hold all three."""
    videos = [tiny.video("a", (0, 2, "run"), (3, 5, "run"), (6, 8, "run"))]
    allowed, decoded = there_and_back(videos, top_k=1)
    assert allowed == 1 and decoded == pytest.approx(1 / 3)


def test_settings_that_lose_perfect_outputs_are_a_warning(checked):
    """One detection per video cannot hold two segments."""
    rows = [{"segment": [1, 4], "label": "run"}, {"segment": [9, 12], "label": "run"}]
    report = checked(annotations(video_e={"annotations": rows}), max_detections=1)
    assert any("testing.max_detections=1" in warning for warning in report.warnings)


@pytest.mark.parametrize(("detector", "longest"), [("sliding", None), ("bmn", 4)])
def test_another_detector_has_the_bound_of_its_own_segments(checked, detector, longest):
    """Of 1-9 a proposal of 4 snippets overlaps half, which counts at tIoU .3 and .5 alone; 10.4-13.4 is 10-13 as
    whole snippets, 2.6 of 3.4 s = .76."""
    rows = [{"segment": [1, 9], "label": "run"}, {"segment": [10.4, 13.4], "label": "jump"}]
    whole = checked(annotations(video_e={"annotations": rows}, video_f={"annotations": []}), detector=detector,
                    longest=longest, max_detections=1, tiou="0.3:0.7:3")
    _, number_row, _, *examples = lines_of(whole, "The best mAP that the grid allows").splitlines()
    run = 1.0 if longest is None else 0.0
    assert f"whole snippets ({detector})" in number_row
    assert [float(number) for number in number_row.split()[-4:-1]] == [100, 100, 50 + 50 * run]
    assert not any("max_detections" in warning for warning in whole.warnings)
    is_told = [warning for warning in whole.warnings if "are too long to be found at tIoU 0.7" in warning]
    assert len(is_told) == bool(longest)
    if longest:
        assert is_told[0].startswith("1 of 2 validation segments, of up to 8 snippets")
        assert "proposes at most 4 snippets; raise model.map_durations" in is_told[0]
        assert examples == ["lost: video_e, run, 1.00 to 9.00 s: longer than the longest proposal"]


def test_lost_segments_are_named_with_their_reason(checked):
    rows = [{"segment": segment, "label": label} for segment, label in (
        ([0, 8], "jump"), ([0, 4], "run"), ([4, 8], "run"), ([9, 9], "run"))]
    lines = lines_of(checked(annotations(video_e={"annotations": rows})), "The best mAP")
    assert "lost at tIoU 0.70: 2 of 5 segments" in lines
    assert "video_e, jump, 0.00 to 8.00 s: hidden by shorter segments over it" in lines
    assert "video_e, run, 9.00 to 9.00 s: empty or outside the video" in lines


@pytest.mark.parametrize(("end_sec", "is_told"), [(7.0, True), (6.0, False)])
def test_an_annotation_that_was_stopped_early_is_named(end_sec, is_told):
    """b ends at 9 of 40 s, which leaves 31 s. The longest pause is in a, from `end_sec` to 17 s: 10 s or 11 s.

    31 is more than 3 x 10 and less than 3 x 11. The segment within another one ends no pause, the rest of a is short,
    as that of d, and c shows no action at all. Where half of the annotations end early, they are meant so.
    """
    videos = [tiny.video("a", (2, end_sec, "run"), (17, 27, "run"), (18, 19, "run"), duration=30),
              tiny.video("b", (1, 9, "run"), duration=40), tiny.video("c", duration=99),
              tiny.video("d", (1, 9, "run"), duration=10)]
    found = unfinished(videos)
    assert unfinished(videos[:2]) == []
    words = "of b ends at 9 of 40 s, though elsewhere at most 10 s"
    assert len(found) == is_told and all(words in one for one in found)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_one_recording_of_sbhar_is_annotated_by_half():
    """And no video of THUMOS14, where an action may be all there is."""
    assert "exp12_user06 ends at 302 of 642 s" in unfinished(read_annotations(
        str(SHARED / "sbhar" / "annotations.json"), None))[0]
    assert unfinished(read_annotations(str(SHARED / "thumos14" / "thumos14.json"), None)) == []


def test_what_cannot_be_trained_on_is_said_in_one_sentence(checked, tmp_path):
    """The one labeled video has no features; or no class list can be read: the rest is checked all the same."""
    (tmp_path / "labeled.txt").write_text("video_a\n")
    report = checked(annotations(), {"video_a": None}, labeled=str(tmp_path / "labeled.txt"))
    assert report.problems == ["none of the labeled videos has features; check dataset.feature_path"]
    report = checked(annotations(), class_file=str(tmp_path / "none.txt"))
    assert len(report.problems) == 1 and "none.txt" in report.problems[0]
    assert "video" in lines_of(report, "Features")


def test_a_subset_without_a_segment_says_so_on_the_grid(checked):
    report = checked(annotations(video_e={"annotations": []}, video_f={"annotations": []}))
    assert report.problems == [] and lines_of(report, "On the snippet grid: validation") == "no segment"
