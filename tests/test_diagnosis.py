"""Recall, bootstrap, error types and sensitivity on tiny scenes whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from spot.annotations import Video
from spot.average_precision import average_precision
from spot.diagnosis import BINS, ERROR_TYPES, characteristics, choose_bins, diagnose, error_types, removal_gains
from spot.evaluation import ACTIVITYNET_TIOU, evaluate_detections, video_scores
from spot.intervals import bootstrap, interval, mAP_intervals
from spot.recall import average_recall, recall_at_top


def video(name, *segments, duration=100.0):
    times = np.array([segment[:2] for segment in segments], float).reshape(-1, 2)
    labels = tuple(segment[2] for segment in segments)
    return Video(name, duration, None, "validation", times, labels, duration, np.zeros((0, 2)))


def evaluate(videos, found, tiou=(0.5,), **options):
    """found: {video: [(start, end, label, score), ...]}"""
    results = {name: [{"segment": [start, end], "label": label, "score": score} for start, end, label, score in entries]
               for name, entries in found.items()}
    return evaluate_detections(videos, {"results": results}, "validation", tiou, **options)


# --- error types ------------------------------------------------------------------------------------------------------

SCENE = [video("a", (0, 10, "run"), (50, 60, "jump")), video("b")]
FOUND = [  # what it is, the detection
    ("true positive", ("a", (0, 10, "run", 0.9))),
    ("double detection", ("a", (0, 9, "run", 0.8))),  # tIoU .9 with a taken segment
    ("wrong label", ("a", (50, 60, "run", 0.7))),  # tIoU 1 with a jump
    ("localization", ("a", (5, 15, "run", 0.6))),  # 5 of 15 s: tIoU 1/3 with a run
    ("confusion", ("a", (55, 65, "run", 0.5))),  # 1/3 with a jump
    ("background", ("a", (9.5, 20, "run", 0.4))),  # 0.5 of 20 s: tIoU .025
    ("background", ("b", (0, 10, "run", 0.3))),  # nothing happens in this video
    ("background", ("nowhere", (0, 10, "run", 0.2))),
]


def found_of(entries):
    found = {}
    for name, detection in entries:
        found.setdefault(name, []).append(detection)
    return found


def test_each_error_has_its_type():
    result = evaluate(SCENE, found_of(detection for _, detection in FOUND))
    types = error_types(result.scene, result.matches[0], 0.5)
    assert [ERROR_TYPES[index] for index in types] == [name for name, _ in FOUND]  # one class, so they stand by score


def test_equally_near_segments_decide_for_the_own_label():
    """CliffDiving is annotated as Diving too: a second detection of it is a double one, not a wrong label."""
    truth = [video("a", (0, 10, "CliffDiving"), (0, 10, "Diving"))]
    for label in ("CliffDiving", "Diving"):
        result = evaluate(truth, {"a": [(0, 10, label, 0.9), (0, 10, label, 0.8)]})
        assert [ERROR_TYPES[index] for index in error_types(result.scene, result.matches[0], 0.5)] == [
            "true positive", "double detection"]


def test_the_nearest_segment_decides():
    """[4, 14] as run: tIoU 6/14 with the run [0, 10], 9/11 with the jump [5, 15]. As jump it would be right."""
    result = evaluate([video("a", (0, 10, "run"), (5, 15, "jump"))], {"a": [(4, 14, "run", 0.9)]})
    assert ERROR_TYPES[error_types(result.scene, result.matches[0], 0.5)[0]] == "wrong label"


def test_profile_counts_each_g_detections_of_a_class():
    """Two runs (G = 2): the best two are right, the next two are a double detection and background, then nothing."""
    truth = [video("a", (0, 10, "run"), (20, 30, "run"))]
    found = [(0, 10, "run", 0.9), (20, 30, "run", 0.8), (0, 10, "run", 0.7), (50, 60, "run", 0.6)]
    result = evaluate(truth, {"a": found})
    profile = diagnose(result).profile
    assert profile.shape == (10, 6)
    assert profile[0].tolist() == [1, 0, 0, 0, 0, 0] and profile[1].tolist() == [0, 0.5, 0, 0, 0, 0.5]
    assert not profile[2:].any()


def test_profile_of_detads_figure_is_the_mean_over_tiou():
    """[0, 8] of [0, 10] has tIoU .8: right at .5 and .75, a localization error at .9. The text names both profiles."""
    result = evaluate([video("a", (0, 10, "run"))], {"a": [(0, 8, "run", 0.9)]}, (0.5, 0.75, 0.9))
    found = diagnose(result)
    assert found.profile[0].tolist() == [1, 0, 0, 0, 0, 0]
    assert found.profile_mean[0].tolist() == pytest.approx([2 / 3, 0, 0, 1 / 3, 0, 0])
    for words in ("error types at tIoU 0.50", "mean over tIoU 0.50 to 0.90, as in DETAD's figure"):
        assert words in found.as_text()


def test_profile_at_one_half_is_there_whatever_the_thresholds():
    result = evaluate([video("a", (0, 10, "run"))], {"a": [(0, 6, "run", 0.9)]}, (0.7,))
    assert diagnose(result).profile[0, 0] == 1 and diagnose(result).profile_mean[0, 0] == 0


def test_deviations_from_detad_come_with_their_counts():
    """Three segments of two classes: N = 1.5, DETAD's is 1; one is empty, one longer than its video of 100 s. Two
    detections are in videos without a segment."""
    truth = [video("a", (0, 120, "run"), (5, 5, "run"), (0, 10, "jump")), video("b")]
    found = {"a": [(0, 10, "run", 0.9)], "b": [(0, 10, "run", 0.8)], "c": [(0, 10, "jump", 0.7)]}
    text = diagnose(evaluate(truth, found)).as_text()
    for words in ("empty (1) or longer than their video (1)", "1.50 here", "rounds it down to 1", "here (2 detections)",
                  "released file of THUMOS14"):
        assert words in text
    assert "(0)" in diagnose(evaluate([video("a", (0, 10, "run"), duration=None)], {})).as_text()


def test_removing_the_one_error_gains_what_it_cost():
    """Background .9 above the right one .8: AP 1/2; without background 1, and no other type has a detection to lose."""
    result = evaluate([video("a", (0, 10, "run"))], {"a": [(50, 60, "run", 0.9), (0, 10, "run", 0.8)]})
    gains = removal_gains(result)
    assert gains == {"double detection": 0, "wrong label": 0, "localization": 0, "confusion": 0, "background": 0.5}


def test_removal_depends_on_the_threshold():
    """[0, 8] of [0, 10] has tIoU .8: localization error at .9 only. Alone it has AP 1 and 0; nothing to gain but 0."""
    truth = [video("a", (0, 10, "run"))]
    result = evaluate(truth, {"a": [(0, 8, "run", 0.9), (0, 10, "run", 0.8)]}, (0.5, 0.9))
    assert result.mAP.tolist() == [1, 0.5]  # at .9 the first one is wrong
    assert removal_gains(result)["localization"] == pytest.approx(0.25)  # (0 + 1/2) / 2


def test_normalized_precision_by_hand():
    """Two classes of 1 and 3 segments, so N = 2. Class 0: wrong, then right: R = 1, R N / (R N + 1) = 2/3, not 1/2."""
    right, counted = np.array([[False, True]]), np.ones((1, 2), bool)
    ap = average_precision(right, counted, np.array([0, 0]), np.array([1, 3]), normalizer=2)
    assert ap.ravel().tolist() == [pytest.approx(2 / 3), 0]


# --- sensitivity and false negatives ----------------------------------------------------------------------------------


def test_buckets_are_measured_by_themselves():
    """Coverage .1 (XS) missed, .5 (M) and .9 (XL) found; one class, N = 3; the one wrong detection stays everywhere.

    M alone: the right detection comes before the wrong one, AP_N 1. XL alone: after it, R = 1, 3 / (3 + 1) = 3/4.
    """
    truth = [video("a", (0, 10, "run")), video("b", (0, 50, "run")), video("c", (0, 90, "run"))]
    found = {"b": [(0, 50, "run", 0.9), (60, 99, "run", 0.8)], "c": [(0, 90, "run", 0.7)]}
    coverage = characteristics(evaluate(truth, found), BINS["activitynet"])["coverage"]
    assert coverage.buckets == ["XS ≤0.2", "S ≤0.4", "M ≤0.6", "L ≤0.8", "XL >0.8"]
    assert coverage.counts.tolist() == [1, 0, 1, 0, 1]
    np.testing.assert_allclose(coverage.mAP_N, [0, np.nan, 1, np.nan, 0.75])
    np.testing.assert_allclose(coverage.missed, [1, np.nan, 0, np.nan, 0])


def test_segment_on_an_edge_belongs_to_the_smaller_bucket():
    truth = [video("a", (0, 30, "run")), video("b", (0, 31, "run")), video("c", (5, 3, "run"))]
    length = characteristics(evaluate(truth, {}), BINS["activitynet"])["length"]
    assert length.counts.tolist() == [2, 1, 0, 0, 0]  # the dirty one, of length -2, stands with the shortest


def test_instances_are_counted_per_class_and_video():
    truth = [video("a", *((10 * i, 10 * i + 5, "run") for i in range(5)), (0, 5, "jump")), video("b", (0, 5, "run"))]
    instances = characteristics(evaluate(truth, {}), BINS["activitynet"])["instances"]
    assert instances.counts.tolist() == [2, 0, 5, 0]


def test_segment_found_far_down_the_ranking_counts_as_missed():
    """N = 1: behind 19 wrong ones 1 / (1 + 19) = .05 is not above .05; behind 18 it is .0526."""
    wrong = [(50, 60, "run", 0.9)] * 19
    for detections, missed in ((wrong, 1), (wrong[:18], 0)):
        result = evaluate([video("a", (0, 10, "run"))], {"a": [*detections, (0, 10, "run", 0.1)]})
        assert characteristics(result, BINS["activitynet"])["length"].missed[0] == missed


def test_coverage_needs_durations():
    result = evaluate([video("a", (0, 10, "run"), duration=None)], {})
    assert list(characteristics(result, BINS["activitynet"])) == ["length", "instances"]


def test_bins_follow_the_length_of_the_segments():
    short, long = (evaluate([video("a", (0, end, "run"))], {}).scene for end in (5, 50))
    assert (choose_bins(short), choose_bins(long)) == ("thumos14", "activitynet")


def test_diagnosis_of_nothing_found_is_finite_where_there_are_segments():
    diagnosis = diagnose(evaluate([video("a", (0, 10, "run"))], {}))
    assert diagnosis.mAP_N == 0 and set(diagnosis.removal_gains.values()) == {0} and not diagnosis.profile.any()
    assert "background" in diagnosis.as_text() and "nan" not in diagnosis.as_text()


# --- recall -----------------------------------------------------------------------------------------------------------


def test_recall_at_top_kx_looks_at_k_times_g_detections():
    """The best run is wrong, the second right: top-1x 0, top-5x 1. The jump has no detection, so the mean is 1/2."""
    truth = [video("a", (0, 10, "run"), (0, 10, "jump"))]
    result = evaluate(truth, {"a": [(50, 60, "run", 0.9), (0, 10, "run", 0.8)]})
    assert recall_at_top(result).tolist() == [[0], [0.5]]


def test_recall_at_top_kx_grows_with_the_segments_of_the_video():
    """Two runs in a, so two detections may find them; in b one, which is wrong: 2 of 3 recalled."""
    truth = [video("a", (0, 10, "run"), (20, 30, "run")), video("b", (0, 10, "run"))]
    found = {"a": [(0, 10, "run", 0.9), (20, 30, "run", 0.8)], "b": [(50, 60, "run", 0.9), (0, 10, "run", 0.8)]}
    assert recall_at_top(evaluate(truth, found), (1,)).tolist() == [[pytest.approx(2 / 3)]]


def test_one_detection_may_recall_two_segments():
    """As in OpenTAD: [0, 10] has tIoU 1 and .9 with both segments, so both are recalled."""
    result = evaluate([video("a", (0, 10, "run"), (0, 9, "run"))], {"a": [(0, 10, "run", 0.9)]})
    assert recall_at_top(result, (1,)).tolist() == [[1]]


def test_average_recall_of_one_perfect_proposal_per_video():
    """Every AN finds it: recall 1 everywhere, area (100 - 1) / 100."""
    result = evaluate([video("a", (0, 10, "run")), video("b", (0, 9, "jump"))],
                      {"a": [(0, 10, "other", 0.9), (0, 10, "run", 0.1)], "b": [(0, 9, "run", 0.2)]})
    curve = average_recall(result.scene)
    assert curve.average.tolist() == [1] * 100 and curve.area == pytest.approx(0.99)
    assert curve.recall.shape == (10, 100)


def plain_average_recall(truth, found, most):
    """The official kit's recipe (eval_proposal of the ActivityNet challenge), loop by loop. {video: [...]} both.

    Its sort is unstable: here, ties go by start, then by end.
    """
    videos = [name for name, segments in truth.items() if segments]
    found = {name: sorted(found.get(name, []), key=lambda proposal: (-proposal[1], *proposal[0])) for name in videos}
    available = sum(map(len, found.values()))
    if not available:
        return np.zeros((10, most))
    ratio = most * float(len(videos)) / available
    kept = {name: found[name][: min(int(len(found[name]) * ratio), len(found[name]))] for name in videos}
    total = sum(map(len, kept.values()))
    recall = np.zeros((10, most))
    for row, threshold in enumerate(ACTIVITYNET_TIOU):
        for column in range(most):
            part = (column + 1) / most * (most * float(len(videos)) / total)
            matched = 0
            for name in videos:
                proposals = kept[name][: min(int(len(kept[name]) * part), len(kept[name]))]
                matched += sum(any(overlap(segment, other) >= threshold for other, _ in proposals)
                               for segment in truth[name])
            recall[row, column] = matched / sum(map(len, truth.values()))
    return recall


def overlap(a, b):
    shared = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / ((a[1] - a[0]) + (b[1] - b[0]) - shared)


spans = st.tuples(st.integers(0, 6), st.integers(1, 4)).map(lambda pair: (pair[0], pair[0] + pair[1]))
proposals = st.lists(st.tuples(spans, st.sampled_from([0.1, 0.5, 0.9])), max_size=9)


@cases(150)
@given(st.dictionaries(st.sampled_from("abc"), st.lists(spans, max_size=3), min_size=1),
       st.dictionaries(st.sampled_from("abcd"), proposals))
def test_average_recall_equals_the_official_recipe(truth, found):
    truth = {**truth, "e": [(0, 5)]}  # at least one segment
    videos = [video(name, *((*span, "run") for span in spans)) for name, spans in truth.items()]
    labeled = {name: [(*span, "run", score) for span, score in entries] for name, entries in found.items()}
    result = evaluate(videos, labeled)
    for most in (5, 100):
        np.testing.assert_allclose(average_recall(result.scene, most=most).recall,
                                   plain_average_recall(truth, found, most), atol=1e-12)


# --- chance -----------------------------------------------------------------------------------------------------------


def half_found(count=100):
    """`count` videos with one run each; the first half is found, nothing is wrong: AP = share of found videos."""
    videos = [video(f"v{index}", (0, 10, "run")) for index in range(count)]
    return evaluate(videos, {f"v{index}": [(0, 10, "run", 0.5)] for index in range(count // 2)})


def test_bootstrap_spread_by_hand():
    """A share of 1/2 in 100 videos drawn with replacement: mean 1/2, standard deviation sqrt(1/4 / 100) = .05."""
    samples = bootstrap(half_found(), 2000)
    assert samples.mean() == pytest.approx(0.5, abs=0.005) and samples.std() == pytest.approx(0.05, rel=0.1)
    low, high = interval(samples, 0.5)
    assert low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.01) and high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.01)


@pytest.mark.parametrize("protocol", ["activitynet", "thumos14"])
def test_a_resample_scores_as_if_its_videos_were_copied(protocol, monkeypatch):
    """The videos of the resample written out twice, three times, ... and evaluated from the start give the same mAP."""
    generator = np.random.default_rng(5)
    names = "abcdef"
    truth = {name: [(10 * i, 10 * i + 9, "run" if i % 2 else "jump") for i in range(3)] for name in names}
    found = {name: [(start + shift, start + shift + 9, label, score) for start, _, label in truth[name] * 2
                    for shift, score in [(generator.uniform(0, 9), generator.random())]] for name in names}
    result = evaluate([video(name, *truth[name]) for name in names], found, (0.3, 0.5), protocol=protocol)
    draws = np.array([0, 0, 0, 2, 2, 5])
    monkeypatch.setattr(np.random, "default_rng", lambda seed: FixedDraws(draws))
    sample = bootstrap(result, 1)[0]
    copies = [(f"{names[draw]}{copy}", names[draw]) for copy, draw in enumerate(draws)]
    again = evaluate([video(copy, *truth[name]) for copy, name in copies], {copy: found[name] for copy, name in copies},
                     (0.3, 0.5), protocol=protocol)
    # Not interpolated, the precision inside a tie of copies differs from the precision after it: close, not equal.
    assert sample == pytest.approx(again.average_mAP, abs=1e-12 if protocol == "activitynet" else 0.05)
    assert abs(sample - result.average_mAP) > 1e-3  # the draw changes the score, so the test can fail


class FixedDraws:
    """A generator that always draws the same videos."""

    def __init__(self, draws):
        self.draws = draws

    def integers(self, low, high, size):
        return self.draws


def simulated(num_videos, generator):
    """Videos of two runs or two jumps each, drawn from an endless supply, and a detector that is half right."""
    starts = np.sort(generator.uniform(0, 45, (num_videos, 2)), axis=1) * [1, 2]
    labels = generator.choice(["jump", "run"], num_videos)
    videos = [video(f"v{index}", *((start, start + 9, label) for start in row))
              for index, (row, label) in enumerate(zip(starts, labels, strict=True))]
    found = {}
    for index, (row, label) in enumerate(zip(starts, labels, strict=True)):
        right = [(start + shift, start + shift + 9, label, score) for start, shift, score in
                 zip(row, generator.normal(0, 1.5, 2), generator.normal(1, 1, 2), strict=True)]
        wrong = [(start, start + 9, generator.choice(["jump", "run"]), score) for start, score in
                 zip(generator.uniform(0, 90, 3), generator.normal(0, 1, 3), strict=True)]
        found[f"v{index}"] = right + wrong
    return evaluate(videos, found, (0.5, 0.7))


def test_the_interval_covers_what_the_detector_does_on_all_videos():
    """Sixty draws of 20 videos; 3,000 stand for all. Of 60 intervals at 95 %, 57 should hold that mAP; at least 52 do.
    The bootstrap interval around the estimate leaves out that 20 videos score too high, and covers it less often."""
    generator = np.random.default_rng(1)
    truth = simulated(3000, generator).mAP
    covered = np.zeros(2, int)
    for draw in range(60):
        result = simulated(20, generator)
        (low, high), at_tiou = mAP_intervals(result, 60, seed=draw)
        around = interval(bootstrap(result, 60, seed=draw), result.average_mAP)
        covered += [low <= truth.mean() <= high, around[0] <= truth.mean() <= around[1]]
        assert (at_tiou[:, 0] <= result.mAP).all() and (result.mAP <= at_tiou[:, 1]).all()
    assert covered[0] >= 52 and covered[0] > covered[1]


def test_half_samples_spread_as_all_videos_do():
    """A share of 1/2 in 100 videos: deviation .05; of a half of 50, drawn without replacement, sqrt(1/4 / 50 * 50/99)
    = .05 too. Halves are not higher than all of them, so nothing is corrected."""
    low, high = mAP_intervals(half_found(), 1000)[0]
    assert low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.015) and high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.015)


def test_intervals_of_one_or_two_videos_are_within_what_mAP_can_be():
    for count in (1, 2, 3):
        (low, high), at_tiou = mAP_intervals(half_found(count), 20)
        assert 0 <= low <= half_found(count).average_mAP <= high <= 1 and at_tiou.shape == (1, 2)


def test_class_that_most_halves_miss_is_left_out_of_them():
    """Nine videos of runs that are found, one of a jump that is not."""
    videos = [video(f"v{index}", (0, 10, "jump" if index == 9 else "run")) for index in range(10)]
    result = evaluate(videos, {f"v{index}": [(0, 10, "run", 0.5)] for index in range(9)})
    (low, high), _ = mAP_intervals(result, 50)
    assert result.average_mAP == 0.5 and 0 <= low < 0.5 <= high <= 1


def test_difference_of_a_detector_with_itself_is_nothing():
    """Paired: the same seed sees the same videos, so all differences are 0, though each alone varies."""
    samples_a, samples_b = bootstrap(half_found(), 50), bootstrap(half_found(), 50)
    assert samples_a.std() > 0.01 and interval(samples_b - samples_a, 0) == (0, 0)


def test_interval_is_centered_on_the_estimate_and_stays_where_map_can_be():
    """Samples .1, .2, .3 reach .1 to either side of their mean; a difference may be negative, an mAP may not."""
    assert interval(np.array([0.1, 0.2, 0.3]), 0.6, level=1) == pytest.approx((0.5, 0.7))
    assert interval(np.array([0.1, 0.2, 0.3]), 0.05, level=1) == pytest.approx((0, 0.15))
    assert interval(np.array([0.1, 0.2, 0.3]), 0.95, level=1) == pytest.approx((0.85, 1))
    assert interval(np.array([-0.1, 0, 0.1]), -0.2, level=1) == pytest.approx((-0.3, -0.1))


# --- videos -----------------------------------------------------------------------------------------------------------


def test_each_video_is_scored_by_itself():
    """a: both classes found, 1; b: wrong then right, 1/2; c: nothing found, 0; d: nothing to find, NaN."""
    truth = [video("a", (0, 10, "run"), (20, 30, "jump")), video("b", (0, 10, "run")), video("c", (0, 10, "run")),
             video("d")]
    result = evaluate(truth, {"a": [(0, 10, "run", 0.2), (20, 30, "jump", 0.1)],
                              "b": [(50, 60, "run", 0.9), (0, 10, "run", 0.8)], "d": [(0, 10, "run", 0.99)]})
    np.testing.assert_allclose(video_scores(result), [1, 0.5, 0, np.nan])


def test_bootstrap_leaves_out_what_touches_an_ambiguous_segment():
    """One video: every resample is the video itself, whose first detection is neither right nor wrong."""
    truth = [replace(video("a", (0, 10, "run")), ambiguous_sec=np.array([[50.0, 60.0]]))]
    result = evaluate(truth, {"a": [(50, 60, "run", 0.9), (0, 10, "run", 0.8)]}, protocol="thumos14")
    assert not result.counted.all() and bootstrap(result, 3).tolist() == [1, 1, 1]
