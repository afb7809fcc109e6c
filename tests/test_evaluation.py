"""The evaluator against hand-made numbers, a slow reference, and published results."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from eval import main as eval_main
from eval import make_parser, with_duplicate_rule
from spot.annotations import Video, read_annotations
from spot.average_precision import best_from_here
from spot.evaluation import evaluate_detections, read_predictions, threshold_key
from spot.evaluation_text import notes_of
from spot.files import SpotError, read_json, write_json
from spot.findings import average_of_labeled
from spot.matching import match
from spot.protocols import score_scene
from spot.recall import average_recall, recall_at_top
from spot.scenes import build_scene

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


def video(name, *segments, duration=10.0, ambiguous=(), subset="validation"):
    """A `Video` of (start, end, label) triples."""
    times = np.array([segment[:2] for segment in segments], float).reshape(-1, 2)
    labels = tuple(segment[2] for segment in segments)
    return Video(name, duration, None, subset, times, labels, duration, np.array(ambiguous, float).reshape(-1, 2))


def detections(**videos):
    """A detections dict of (start, end, label, score) tuples per video."""
    return {"results": {name: [{"segment": [start, end], "label": label, "score": score}
                               for start, end, label, score in entries] for name, entries in videos.items()}}


def evaluate(videos, predictions, tiou=(0.5,), **options):
    return evaluate_detections(videos, predictions, "validation", tiou, **options)


# --- hand-made cases --------------------------------------------------------------------------------------------------


def test_perfect_detections_score_one_at_every_threshold():
    result = evaluate([video("a", (1, 3, "run"), (5, 6, "run")), video("b", (0, 9, "jump"))],
                      detections(a=[(1, 3, "run", 0.9), (5, 6, "run", 0.1)], b=[(0, 9, "jump", 0.5)]),
                      np.linspace(0.5, 1, 11))
    assert result.average_mAP == 1 and (result.ap == 1).all() and result.ap.shape == (2, 11)
    assert result["mAP"].tolist() == [1] * 11 and result["average_mAP"] == 1


def test_shifted_detection_is_right_up_to_its_tiou():
    """[0, 4] and [1, 5] share 3 of 5 seconds: tIoU 0.6 exactly, and a threshold is met by equality."""
    result = evaluate([video("a", (0, 4, "run"))], detections(a=[(1, 5, "run", 1)]), (0.5, 0.6, 0.61))
    assert result.mAP.tolist() == [1, 1, 0]


def test_average_precision_is_interpolated():
    """Scores .9 right, .8 wrong, .7 right of two segments: precision 1, 1/2, 2/3.

    Recall 1/2 comes at precision 1, recall 1 at 2/3: AP = (1 + 2/3) / 2 = 5/6. With the wrong one first the precisions
    are 0, 1/2, 2/3, and 1/2 is interpolated up to 2/3: AP = 2/3.
    """
    truth = [video("a", (0, 1, "run"), (2, 3, "run"))]
    wrong = (5, 6, "run")
    assert evaluate(truth, detections(a=[(0, 1, "run", 0.9), (*wrong, 0.8), (2, 3, "run", 0.7)])).average_mAP == \
        pytest.approx(5 / 6)
    assert evaluate(truth, detections(a=[(*wrong, 0.9), (0, 1, "run", 0.8), (2, 3, "run", 0.7)])).average_mAP == \
        pytest.approx(2 / 3)


def test_second_detection_of_a_segment_is_wrong():
    """Right, wrong (the segment is taken), right: AP = (1 + 2/3) / 2, as above."""
    truth = [video("a", (0, 1, "run"), (2, 3, "run"))]
    result = evaluate(truth, detections(a=[(0, 1, "run", 0.9), (0, 1, "run", 0.8), (2, 3, "run", 0.7)]))
    assert result.average_mAP == pytest.approx(5 / 6)
    assert result.matches.tolist() == [[0, -1, 1]]


def test_detection_falls_back_to_its_second_best_segment():
    """Both overlap [0, 4] best; the second one has tIoU 3/5 with [1, 5] as well, so it is right at .5, not at .7."""
    truth = [video("a", (0, 4, "run"), (1, 5, "run"))]
    result = evaluate(truth, detections(a=[(0, 4, "run", 0.9), (0, 4, "run", 0.8)]), (0.5, 0.7))
    assert result.matches.tolist() == [[0, 1], [0, -1]]


def test_equal_scores_go_by_video_then_start_then_end():
    """Wrong before right: 1/2, right before wrong: 1, in either order of the list.

    [0, 1] is right. [5, 6] and [0, 9] start or end after it, [-1, 0] starts before it.
    """
    truth = [video("b", (0, 1, "run"))]
    right = (0, 1, "run", 0.5)
    for wrong, expected in (((5, 6, "run", 0.5), 1), ((0, 9, "run", 0.5), 1), ((-1, 0, "run", 0.5), 0.5)):
        assert {evaluate(truth, detections(b=order)).average_mAP for order in ([wrong, right], [right, wrong])} == {
            expected}
    for other, expected in (("a", 0.5), ("c", 1)):
        for names in (("b", other), (other, "b")):
            assert evaluate(truth, detections(**{key: [right] for key in names})).average_mAP == expected


def test_thumos14_equal_scores_go_by_video_then_place_in_its_list():
    """As above, but within the video the list decides; the order of the videos in the file never does."""
    truth = [video("b", (0, 1, "run"))]
    right, wrong = (0, 1, "run", 0.5), (5, 6, "run", 0.5)
    assert evaluate(truth, detections(b=[wrong, right]), protocol="thumos14").average_mAP == 0.5
    assert evaluate(truth, detections(b=[right, wrong]), protocol="thumos14").average_mAP == 1
    for other, expected in (("a", 0.5), ("c", 1)):
        for names in (("b", other), (other, "b")):
            result = evaluate(truth, detections(**{key: [right] for key in names}), protocol="thumos14")
            assert result.average_mAP == expected
            assert (result.num_tied, result.num_deciding_ties) == (2, 2)


def test_ties_among_wrong_detections_decide_nothing():
    result = evaluate([video("a", (0, 1, "run"))],
                      detections(a=[(0, 1, "run", 0.9), (5, 6, "run", 0.5), (6, 7, "run", 0.5)]))
    assert (result.num_tied, result.num_deciding_ties) == (2, 0)


def test_equal_tiou_takes_the_earlier_segment():
    """[1, 3] has tIoU 1/3 with both; it takes the one that starts first, so [0, 2] finds nothing left: AP = 1/2."""
    for first, segments in enumerate((((0, 2, "run"), (2, 4, "run")), ((2, 4, "run"), (0, 2, "run")))):
        result = evaluate([video("a", *segments)], detections(a=[(1, 3, "run", 0.9), (0, 2, "run", 0.8)]), (0.3,))
        assert result.matches.tolist() == [[first, -1]] and result.average_mAP == 0.5


def test_duplicate_segments_count_unless_dropped():
    """Two annotations of one action, one detection: AP 1/2 as in the official kit, 1 with the duplicate dropped."""
    truth = [video("a", (0, 1, "run"), (0.0005, 1, "run"))]
    predictions = detections(a=[(0, 1, "run", 1)])
    assert evaluate(truth, predictions).average_mAP == 0.5
    for rule in (True, "opentad", "actionformer", "repeats"):
        dropped = evaluate(truth, predictions, drop_duplicates=rule)
        assert dropped.average_mAP == 1 and dropped.num_duplicates_dropped == 1 and dropped.num_segments == 1


@pytest.mark.parametrize(("rule", "short", "left"), [("opentad", 2, 4), ("actionformer", 3, 3), ("repeats", 0, 5)])
def test_each_kit_drops_its_short_segments(rule, short, left):
    """Of no length, of a negative one, of half a millisecond and of one millisecond (in floats a little more).

    `repeats` drops the half millisecond, which lies within a millisecond of the segment of no length.
    """
    truth = [video("a", (3, 3, "run"), (5, 4, "run"), (3, 3.0005, "run"), (0, 0.001, "run"), (6, 8, "run"),
                   (7, 9, "run"))]
    result = evaluate(truth, detections(), drop_duplicates=rule)
    assert (result.num_short_dropped, result.num_segments, result.drop_duplicates) == (short, left, rule)
    assert result.num_duplicates_dropped == 6 - short - left


def test_segments_two_milliseconds_apart_are_no_duplicates():
    truth = [video("a", (0, 1, "run"), (0.002, 1, "run"), (0, 1, "jump"))]
    assert evaluate(truth, detections(), drop_duplicates="repeats").num_duplicates_dropped == 0


def test_multi_label_segments_count_for_both_classes():
    """Every CliffDiving of THUMOS14 is a Diving too; finding it as Diving only gives AP 1 and 0."""
    truth = [video("a", (0, 4, "CliffDiving"), (0, 4, "Diving"))]
    assert evaluate(truth, detections(a=[(0, 4, "Diving", 1)])).ap.ravel().tolist() == [0, 1]


def test_videos_without_detections_count():
    """One of two videos found: recall 1/2 at precision 1. (The authors' code scores this 1.)"""
    truth = [video("a", (0, 1, "run")), video("b", (0, 1, "run"))]
    result = evaluate(truth, detections(a=[(0, 1, "run", 1)]))
    assert result.average_mAP == 0.5 and result.num_videos == 2


def test_class_without_detections_has_ap_zero():
    result = evaluate([video("a", (0, 1, "run"), (2, 3, "jump"))], detections(a=[(0, 1, "run", 1)]))
    assert result.classes == ["jump", "run"] and result.ap.ravel().tolist() == [0, 1]


def test_classes_with_labels_have_an_average_of_their_own():
    """`run` is found, `jump`, which no labeled video shows, cannot be: 1 over the one, .5 over both."""
    result = evaluate([video("a", (0, 4, "run"), (5, 9, "jump"))], detections(a=[(0, 4, "run", 0.9)]))
    assert result.average_mAP == 0.5 and average_of_labeled(result, ["jump"]) == 1
    assert average_of_labeled(result, None) is None and average_of_labeled(result, ["jump", "run"]) is None
    notes = list(notes_of(result, None, None, ["jump"]))
    assert notes[-1] == "average mAP % of classes with one (1): 100.00"


def test_empty_prediction_file_scores_zero():
    result = evaluate([video("a", (0, 1, "run"))], {"results": {}}, (0.5, 0.9))
    assert result.mAP.tolist() == [0, 0] and result.num_predictions == 0 and result.whole_video_average_mAP == 0


def test_detection_in_an_unknown_video_is_wrong_and_counted():
    """It outranks the right one: AP 1/2."""
    result = evaluate([video("a", (0, 1, "run"))], detections(zzz=[(0, 1, "run", 0.9)], a=[(0, 1, "run", 0.8)]))
    assert result.average_mAP == 0.5
    assert (result.num_unknown_videos, result.num_unknown_video_predictions) == (1, 1)


def test_detection_of_an_unknown_label_is_left_out_and_counted():
    result = evaluate([video("a", (0, 1, "run"))], detections(a=[(0, 1, "swim", 0.9), (0, 1, "run", 0.8)]))
    assert result.average_mAP == 1 and result.unknown_labels == {"swim": 1} and result.num_predictions == 2


def test_ids_match_with_or_without_v():
    truth = [video("a", (0, 1, "run")), video("b", (0, 1, "run"))]
    result = evaluate(truth, detections(v_a=[(0, 1, "run", 1)], b=[(0, 1, "run", 1)]))
    assert result.average_mAP == 1 and result.num_toggled_ids == 1 and result.num_unknown_videos == 0


def test_only_the_subset_counts_whatever_its_case():
    truth = [video("a", (0, 1, "run")), video("b", (0, 1, "jump"), subset="training")]
    result = evaluate_detections(truth, detections(a=[(0, 1, "run", 1)]), "Validation", (0.5,))
    assert result.average_mAP == 1 and result.classes == ["run"]


def test_empty_ground_truth_segment_can_only_be_missed():
    """Real files hold segments that end before their start: tIoU 0 with everything, yet they stay in the recall."""
    result = evaluate([video("a", (3, 3, "run"), (5, 4, "run"), (0, 1, "run"))],
                      detections(a=[(0, 1, "run", 0.9), (3, 5, "run", 0.8)]))
    assert result.average_mAP == pytest.approx(1 / 3)


def test_whole_video_baseline_uses_each_class_once_at_its_best_score():
    """Video a: run at .9 (not .3 as well). [0, 10] against [0, 6] is tIoU .6: right at .5, wrong at .7."""
    truth = [video("a", (0, 6, "run"))]
    result = evaluate(truth, detections(a=[(8, 9, "run", 0.3), (7, 9, "run", 0.9)]), (0.5, 0.7))
    assert result.mAP.tolist() == [0, 0] and result.whole_video_average_mAP == 0.5


def test_whole_video_baseline_is_not_available_without_durations():
    assert evaluate([video("a", (0, 1, "run"), duration=None)],
                    detections(a=[(0, 1, "run", 1)])).whole_video_average_mAP is None


def test_best_precision_from_here_on_stays_within_its_group():
    precision, group, row = np.array([0.5, 0.2, 0.4, 0.1]), np.array([0, 0, 0, 1]), np.array([0, 1, 2, 0])
    assert best_from_here(precision, group, row).tolist() == [0.5, 0.4, 0.4, 0.1]


def test_threshold_keys_are_distinct():
    assert [threshold_key(value) for value in (0.5, 0.55, 1 / 3, 1)] == ["0.50", "0.55", "0.333333", "1.00"]


# --- THUMOS14 ---------------------------------------------------------------------------------------------------------


def test_thumos14_average_precision_is_not_interpolated():
    """Wrong, right, right of two segments: (1/2 + 2/3) / 2 = 7/12, where interpolation gives 2/3."""
    truth = [video("a", (0, 1, "run"), (2, 3, "run"))]
    predictions = detections(a=[(5, 6, "run", 0.9), (0, 1, "run", 0.8), (2, 3, "run", 0.7)])
    assert evaluate(truth, predictions, protocol="thumos14").average_mAP == pytest.approx(7 / 12)


def test_thumos14_ambiguous_overlap_is_neither_right_nor_wrong():
    """The first detection touches an Ambiguous segment and is left out; the last one touches it too, but is right."""
    truth = [video("a", (0, 1, "run"), ambiguous=[(0.9, 6)])]
    predictions = detections(a=[(5, 7, "run", 0.9), (0, 1, "run", 0.8)])
    assert evaluate(truth, predictions, protocol="thumos14").average_mAP == 1
    assert evaluate(truth, predictions).average_mAP == 0.5


def test_thumos14_segments_choose_and_need_more_than_the_threshold():
    """tIoU .6 scored .9 and tIoU 1 scored .8: the toolkit gives the segment to the second, AP 1/2; at .6 alike."""
    truth = [video("a", (0, 4, "run"))]
    predictions = detections(a=[(1, 5, "run", 0.9), (0, 4, "run", 0.8)])
    assert evaluate(truth, predictions, protocol="thumos14").average_mAP == 0.5
    assert evaluate(truth, detections(a=[(1, 5, "run", 0.9)]), (0.6,), protocol="thumos14").average_mAP == 0
    assert evaluate(truth, detections(a=[(1, 5, "run", 0.9)]), (0.6,)).average_mAP == 1


@pytest.mark.parametrize(("variant", "left"), [
    (210, "0000001"), (211, "0000001 0001496"), (212, "0000001 0000270 0001496"),
    (None, "0000001 0000270 0001292 0001496"),
])
def test_thumos14_variants_leave_out_videos_and_their_detections(variant, left):
    numbers = ["0000001", "0000270", "0001292", "0001496"]
    truth = [video(f"video_test_{number}", (0, 1, "run"), subset="test") for number in numbers]
    predictions = {"results": {f"video_test_{number}": [{"segment": [0, 1], "label": "run", "score": 1}]
                               for number in numbers}}
    result = evaluate_detections(truth, predictions, "test", (0.5,), thumos_variant=variant)
    assert result.average_mAP == 1 and result.num_unknown_videos == 0
    assert result.scene.videos[: result.num_videos] == [f"video_test_{number}" for number in left.split()]


def test_blocked_videos_are_left_out_with_their_detections():
    """c is blocked by its bare id and d is in no annotation: their wrong detections do not count, that of e does."""
    truth = [video("a", (0, 1, "run")), video("c", (0, 1, "run"))]
    entry = {"segment": [5, 6], "label": "run", "score": 1}
    predictions = {"results": {"a": [{**entry, "segment": [0, 1], "score": 0.5}], "v_c": [entry], "v_d": [entry]}}
    result = evaluate_detections(truth, predictions, truth[0].subset, (0.5,), blocked=["v_c", "d"])
    assert (result.average_mAP, result.num_videos, result.num_left_out_videos) == (1, 1, 1)
    assert result.num_unknown_videos == 0
    everything = evaluate_detections(truth, predictions, truth[0].subset, (0.5,))
    assert everything.average_mAP < 1 and (everything.num_left_out_videos, everything.num_unknown_videos) == (0, 1)


# --- a plain reference ------------------------------------------------------------------------------------------------


def plain_tiou(a, b, by_span=False):
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = max(a[1], b[1]) - min(a[0], b[0]) if by_span else (a[1] - a[0]) + (b[1] - b[0]) - shared
    return shared / union if union > 0 else 0.0


def plain_average_precision(num_segments, rights, interpolated):
    """AP of one class from its detections in order, each right or not."""
    precisions = [sum(rights[:rank]) / rank for rank in range(1, len(rights) + 1)]
    total = 0.0
    for index, right in enumerate(rights):  # no sum(): from Python 3.12 on it rounds otherwise
        if right:
            total += max(precisions[index:]) if interpolated else precisions[index]
    return total / num_segments


def plain_activitynet(truth, found, threshold):
    """Best score first, each detection takes the free segment of highest tIoU; ties by name, start and end."""
    truth = sorted(truth)
    free, rights = set(range(len(truth))), []
    for name, segment, _, _ in sorted(found, key=lambda one: (-one[2], one[0], *one[1])):
        best, best_tiou = None, threshold
        for index, (other, other_segment) in enumerate(truth):
            tiou = plain_tiou(segment, other_segment)
            if index in free and other == name and (tiou > best_tiou or (best is None and tiou == threshold)):
                best, best_tiou = index, tiou
        free.discard(best)
        rights.append(best is not None)
    return plain_average_precision(len(truth), rights, interpolated=True)


def plain_thumos14(truth, found, ambiguous, threshold):
    """Every segment, in the order of its list, takes the free detection of highest tIoU; leftovers on Ambiguous are
    dropped. Ties by name and place in the list."""
    found = sorted(found, key=lambda one: (-one[2], one[0], one[3]))
    taken, rights = set(), []
    for name, segment in truth:
        best, best_tiou = None, threshold
        for index, (other, other_segment, _, _) in enumerate(found):
            tiou = plain_tiou(segment, other_segment, by_span=True)
            if index not in taken and other == name and tiou > best_tiou:
                best, best_tiou = index, tiou
        taken.add(best)
    for index, (name, segment, _, _) in enumerate(found):
        blurred = any(name == other and plain_tiou(segment, unclear, True) > 0 for other, unclear in ambiguous)
        if index in taken or not blurred:
            rights.append(index in taken)
    return plain_average_precision(len(truth), rights, interpolated=False)


SIZES = (3, 7, 4, 3, 3)  # videos, starts, lengths, labels, scores
codes = st.integers(0, np.prod(SIZES) - 1)  # one number per detection, so that thousands of scenes cost seconds


def decoded(code, second, names):
    """An integer -> (video, segment, label, score)."""
    name, start, length, label, score = (int(digit) for digit in np.unravel_index(code, SIZES))
    return names[name], (start * second, (start + 1 + length) * second), "xyz"[label], (0.1, 0.5, 0.9)[score]


THRESHOLDS = np.array([0.1, 1 / 3, 0.5, 1.0])


@cases(500)
@given(st.lists(codes, min_size=1, max_size=10), st.lists(codes, max_size=14), st.lists(codes, max_size=2),
       st.sampled_from([1, 0.1, 1 / 3, 7.77]), st.permutations("ab"), st.permutations("abc"))
def test_fast_equals_plain_reference_to_the_last_bit(truth_codes, found_codes, ambiguous_codes, second, truth_keys,
                                                     found_keys):
    """Whole seconds and few scores make ties, duplicates and overlaps equal to a threshold common.

    Ground truth is in videos a and b, detections in c too; the videos stand in the files in any order.
    """
    truth = [decoded(code, second, "aab")[:3] for code in truth_codes]
    found = [(*decoded(code, second, "abc"), place) for place, code in enumerate(found_codes)]
    ambiguous = [decoded(code, second, "aab")[:2] for code in ambiguous_codes]
    videos = [video(name, *((*segment, label) for other, segment, label in truth if other == name),
                    ambiguous=[segment for other, segment in ambiguous if other == name]) for name in truth_keys]
    predictions = {"results": {name: [{"segment": list(segment), "label": label, "score": score}
                                      for other, segment, label, score, _ in found if other == name]
                               for name in found_keys}}
    plain = {"activitynet": lambda t, f, threshold: plain_activitynet(t, f, threshold),
             "thumos14": lambda t, f, threshold: plain_thumos14(t, f, ambiguous, threshold)}
    for protocol, reference in plain.items():
        scene, _ = build_scene(videos, read_predictions(predictions), protocol=protocol)
        ap, _, _ = score_scene(scene, THRESHOLDS, protocol)
        for row, label in zip(ap, scene.classes, strict=True):
            of_class = [(name, segment) for name, segment, other in truth if other == label]
            found_class = [(name, segment, score, place) for name, segment, other, score, place in found
                           if other == label]
            assert row.tolist() == [reference(of_class, found_class, threshold) for threshold in THRESHOLDS]


@cases(50)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["activitynet", "thumos14"]))
def test_no_key_order_changes_any_number(seed, protocol):
    """Fifteen videos, three scores: most detections tie. activitynet does not ask for the order of the lists either."""
    generator = np.random.default_rng(seed)
    names = [f"v{number}" for number in range(15)]
    drawn = generator.integers(0, [15, 20, 6, 2, 3], (80, 5))
    segments = [(names[v], (s, s + 1 + n), "xy"[k], (0.2, 0.5, 0.8)[p]) for v, s, n, k, p in drawn.tolist()]
    truth, found = segments[:30], segments[30:]

    def evaluated(truth_keys, found_keys, found):
        videos = [video(name, *((*segment, label) for other, segment, label, _ in truth if other == name))
                  for name in truth_keys]
        lists = {name: [(*segment, label, score) for other, segment, label, score in found if other == name]
                 for name in found_keys}
        return evaluate(videos, detections(**lists), THRESHOLDS, protocol=protocol)

    first = evaluated(names, names, found)
    shuffled = found if protocol == "thumos14" else [found[index] for index in generator.permutation(len(found))]
    other = evaluated(generator.permutation(names).tolist(), generator.permutation(names).tolist(), shuffled)
    assert np.array_equal(first.ap, other.ap) and np.array_equal(first.whole_video_mAP, other.whole_video_mAP)
    assert (first.num_tied, first.num_deciding_ties) == (other.num_tied, other.num_deciding_ties)
    assert np.array_equal(average_recall(first.scene).recall, average_recall(other.scene).recall)
    assert np.array_equal(recall_at_top(first), recall_at_top(other))


def test_an_exact_threshold_rounds_as_in_each_kit():
    """On a grid of 0.1 s: 0.2 of 0.5 s. Over the sum of lengths less the overlap that is 0.4000000000000001, over the
    span 0.4, which is not more than 0.4; numpy.linspace(0.3, 0.7, 5) holds 0.39999999999999997 for that."""
    truth, found = [video("a", (0, 0.4, "run"))], detections(a=[(0.2, 0.5, "run", 1)])
    assert plain_tiou((0, 0.4), (0.2, 0.5)) > 0.4 == plain_tiou((0, 0.4), (0.2, 0.5), by_span=True)
    assert evaluate(truth, found, np.linspace(0.3, 0.7, 5), protocol="thumos14").mAP.tolist() == [1, 0, 0, 0, 0]
    assert evaluate(truth, found, np.linspace(0.3, 0.7, 5)).mAP.tolist() == [1, 1, 0, 0, 0]


@cases(300)
@given(st.integers(0, 2**32 - 1))
def test_matching_equals_taking_turns(seed):
    """Long preference lists, where a refusal goes on through many targets."""
    generator = np.random.default_rng(seed)
    table = generator.integers(0, 8, (20, 12)) / 8  # tIoU of every chooser with every target, many ties, 0 = no pair
    chooser, target = np.nonzero(table)
    shuffle = generator.permutation(len(chooser))
    chooser, target = chooser[shuffle], target[shuffle]
    fast = match(chooser, target, table[chooser, target], [0.3, 0.5], 20, 12)
    for row, threshold in zip(fast, (0.3, 0.5), strict=True):
        free, turns = np.ones(12, bool), []
        for tious in table:
            allowed = np.where(free & (tious >= threshold), tious, -1)
            best = int(allowed.argmax())
            turns.append(best if allowed[best] > 0 else -1)
            free[best] &= turns[-1] < 0
        assert row.tolist() == turns


def test_pairs_found_in_pieces_are_the_same(monkeypatch):
    generator = np.random.default_rng(0)
    videos = [video("a", *((start, start + 2, "run") for start in generator.uniform(0, 8, 9)))]
    drawn = generator.uniform(0, [8, 1], (40, 2))
    predictions = detections(a=[(start, start + 2, "run", score) for start, score in drawn])
    scene, _ = build_scene(videos, read_predictions(predictions))
    whole = score_scene(scene, np.array([0.3]))
    monkeypatch.setattr("spot.matching.PAIRS_AT_ONCE", 20)
    pieces = score_scene(scene, np.array([0.3]))
    assert all(np.array_equal(a, b) for a, b in zip(whole, pieces, strict=True)) and whole[0] > 0


# --- published numbers ------------------------------------------------------------------------------------------------


def shared(path):
    if not (SHARED / path).exists():
        pytest.skip(f"{SHARED / path} is not here: it is test data outside the repository")
    return SHARED / path


def test_autoloc_detections_score_as_published():
    """AutoLoc (Shou et al., ECCV 2018) on THUMOS14; three of its videos are not in the ground truth."""
    folder = shared("autoloc_thumos14")
    result = evaluate_detections(folder / "ground_truth.json", folder / "predictions.json", "validation",
                                 np.linspace(0.1, 0.9, 9))
    published = [0.467, 0.417, 0.358, 0.290, 0.212, 0.134, 0.058, 0.016, 0.002]
    assert result.mAP.round(3).tolist() == published
    assert result.num_unknown_videos == 3 and result.whole_video_average_mAP is None


@pytest.mark.parametrize("tiou", ["0.3", "0.5"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_scnn_detections_score_as_published(tiou, shuffled):
    """S-CNN (Shou et al., CVPR 2016) on THUMOS14, made with the toolkit; a quarter of its detections tie."""
    folder = shared("scnn_thumos14")
    published = json.loads((folder / "published.json").read_text())[tiou]
    results = json.loads((folder / f"predictions_{tiou}.json").read_text())["results"]
    if shuffled:
        keys = np.random.default_rng(0).permutation(list(results))
        results = {str(key): results[key] for key in keys}
    result = evaluate_detections(shared("thumos14/test_Annotation.csv"), {"results": results}, "test", (float(tiou),),
                                 protocol="thumos14")
    assert result.average_mAP == pytest.approx(published["mAP"], abs=1e-12) and result.num_deciding_ties > 100
    assert dict(zip(result.classes, result.ap[:, 0], strict=True)) == pytest.approx(published["AP"], abs=1e-12)


def test_whole_video_baseline_of_the_published_classifier():
    """Top-1 class of SPOT's external classifier, whole video: 19.9 average mAP on ActivityNet validation."""
    folder = shared("anet")
    classifier = json.loads((folder / "spot_best_score.json").read_text())
    predictions = {"results": {name: [{"label": top["class"], "score": top["score"], "segment": [0, 1]}]
                               for name, top in classifier.items()}}
    result = evaluate_detections(folder / "anet_anno_action.json", predictions, "validation",
                                 info_path=folder / "video_info_new.csv")
    assert round(100 * result.whole_video_average_mAP, 1) == 19.9 and result.num_videos == 4728


@pytest.mark.parametrize(("variant", "count"), [(210, 210), (211, 211), (212, 212), (None, 213)])
def test_thumos14_variants_count_the_real_videos(variant, count):
    truth = shared("thumos14/test_Annotation.csv")
    result = evaluate_detections(truth, {"results": {}}, "test", (0.5,), thumos_variant=variant, protocol="thumos14")
    assert result.num_videos == count


# --- bad input --------------------------------------------------------------------------------------------------------


def test_unknown_subset_lists_those_there_are():
    with pytest.raises(SpotError, match=r"'test'.*validation"):
        evaluate_detections([video("a", (0, 1, "run"))], detections(), "test", (0.5,))


def test_subset_without_segments_has_nothing_to_measure():
    with pytest.raises(SpotError, match="no segment"):
        evaluate([video("a")], detections())


@pytest.mark.parametrize("tiou", [(), (0,), (1.2,), (0.5, float("nan")), (-0.5,)])
def test_thresholds_lie_above_zero(tiou):
    with pytest.raises(SpotError, match="tIoU"):
        evaluate([video("a", (0, 1, "run"))], detections(), tiou)


def test_arguments_are_left_as_they_are():
    truth, predictions = [video("a", (0, 1, "run"), (0, 1, "run"))], detections(a=[(0, 1, "run", 0.5)])
    before = (truth[0].segments_sec.copy(), json.dumps(predictions))
    evaluate(truth, predictions, drop_duplicates=True)
    assert np.array_equal(before[0], truth[0].segments_sec) and before[1] == json.dumps(predictions)


# --- the script -------------------------------------------------------------------------------------------------------


NO_TORCH = "import sys; sys.modules['torch'] = None; sys.modules['cv2'] = None; sys.argv = sys.argv[1:]; "
RUN_EVAL = NO_TORCH + "import runpy; runpy.run_path('eval.py', run_name='__main__')"


def run_eval(*arguments):
    """eval.py in a process in which `import torch` fails."""
    return subprocess.run([sys.executable, "-c", RUN_EVAL, "eval.py", *map(str, arguments)], cwd=ROOT,
                          capture_output=True, text=True, check=False)


@pytest.fixture
def files(tmp_path):
    """A ground truth and a prediction file: two of three segments found."""
    truth = {"database": {
        "a": {"subset": "Validation", "duration": 10.0, "annotations": [
            {"label": "run", "segment": [0, 4]}, {"label": "run", "segment": [6, 8]}]},
        "b": {"subset": "validation", "duration": 10.0, "annotations": [{"label": "jump", "segment": [1, 9]}]}}}
    predictions = {**detections(v_a=[(0, 4, "run", 0.9)], b=[(1, 9, "jump", 0.8)]),
                   "external_data": {"class_scores": "cuhk.json"}, "missing_features": ["a", "zzz"]}
    (tmp_path / "g.json").write_text(json.dumps(truth))
    (tmp_path / "p.json").write_text(json.dumps(predictions))
    return tmp_path


def test_script_runs_without_torch_and_writes_metrics(files):
    """run: one of two segments, AP 1/2; jump: 1; mAP 3/4 at both thresholds."""
    done = run_eval("--ground-truth", files / "g.json", "--predictions", files / "p.json", "--subset", "VALIDATION",
                    "--tiou", "0.5:0.75:2", "--per-class", "--recall", "--bootstrap", "20", "--diagnose",
                    "--output", files / "m.json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((files / "m.json").read_text())
    assert metrics["average_mAP"] == 0.75 and metrics["mAP"] == {"0.50": 0.75, "0.75": 0.75}
    assert metrics["AP"]["run"] == {"0.50": 0.5, "0.75": 0.5}
    assert (metrics["num_videos"], metrics["num_segments"], metrics["num_predictions"]) == (2, 3, 2)
    assert metrics["whole_video_average_mAP"] == 0.5 * (0 + 0.5 * (1 + 1))  # jump [1, 9] of 10 s: tIoU .8; run: .4
    for words in ("75.00", "videos without features: 1", "EXTERNAL", "cuhk.json", "1 video ids matched"):
        assert words in done.stdout


@pytest.fixture
def run_folder(files):
    """A run folder with its own config.yaml, detections and one labeled training video, which holds a jump."""
    truth = json.loads((files / "g.json").read_text())
    jump = {"label": "jump", "segment": [0, 1]}
    truth["database"]["t"] = {"subset": "training", "duration": 5.0, "annotations": [jump]}
    (files / "g.json").write_text(json.dumps(truth))
    folder = files / "run"
    folder.mkdir()
    (files / "p.json").rename(folder / "detections.json")
    (folder / "labeled.txt").write_text("v_t\n")
    (folder / "config.yaml").write_text(
        f"dataset:\n  video_anno_path: {files / 'g.json'}\n  feature_path: nowhere\n  eval_subset: validation\n"
        "testing:\n  tiou: 0.5:0.75:2\n")
    return folder


def test_script_evaluates_a_run_folder(run_folder):
    """Its own config.yaml wins over --config; no labeled video holds a run."""
    done = run_eval(f"output_path={run_folder}", "--config", "config/thumos.yaml")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((run_folder / "metrics.json").read_text())
    assert metrics["mAP"] == {"0.50": 0.75, "0.75": 0.75} and metrics["classes_without_labels"] == ["run"]
    assert "classes without a labeled training video: 1 (run)" in done.stdout
    done = run_eval(f"output_path={run_folder}", "testing.tiou=0.3:0.3:1")
    assert list(json.loads((run_folder / "metrics.json").read_text())["mAP"]) == ["0.30"]


def test_script_names_the_missing_path(run_folder):
    done = run_eval(f"output_path={run_folder}", "dataset.video_anno_path=nope.json")
    assert done.returncode == 2 and "dataset.video_anno_path: nope.json is missing" in done.stderr
    (run_folder / "detections.json").unlink()
    done = run_eval(f"output_path={run_folder}")
    assert done.returncode == 2 and "spot_inference.py" in done.stderr


def test_script_compares_two_files(files):
    """B has no jump: 3/4 - 1/4; on every resample B loses what the jump is worth."""
    predictions = json.loads((files / "p.json").read_text())
    (files / "q.json").write_text(json.dumps({"results": {"v_a": predictions["results"]["v_a"]}}))
    done = run_eval("--ground-truth", files / "g.json", "--subset", "validation", "--bootstrap", "50",
                    "--compare", files / "p.json", files / "q.json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"B - A: -50\.00 points, 95 % interval -\d+\.\d\d to [+-]\d+\.\d\d \(50 paired", done.stdout)


def test_script_compares_two_runs_by_their_own_settings(run_folder, tmp_path):
    """Neither ground truth nor subset is given: config.yaml beside the files tells. B has no jump: 3/4 - 1/4."""
    other = tmp_path / "other"
    other.mkdir()
    predictions = json.loads((run_folder / "detections.json").read_text())
    (other / "detections.json").write_text(json.dumps({"results": {"v_a": predictions["results"]["v_a"]}}))
    done = run_eval("--bootstrap", "20", "--compare", run_folder / "detections.json", other)
    assert done.returncode == 0 and "B - A: -50.00 points" in done.stdout, done.stderr
    (other / "config.yaml").write_text(
        (run_folder / "config.yaml").read_text().replace("eval_subset: validation", "eval_subset: training"))
    done = run_eval("--compare", other, run_folder)
    assert done.returncode == 2 and "dataset.eval_subset is validation, that of the other is training" in done.stderr
    assert not (run_folder / "metrics.json").exists() and not (other / "metrics.json").exists()


@pytest.mark.parametrize("compared", [True, False])
@pytest.mark.parametrize(("video", "label", "expected"), [
    ("elsewhere", "jump", "none of its 1 detections is of the videos of subset validation of the ground truth; --"),
    ("v_a", "swim", "none of its 1 detections is of the labels of subset validation of the ground truth; is it of")])
def test_script_refuses_detections_that_the_ground_truth_does_not_know(files, video, label, expected, compared):
    """An average mAP of 0 would be no number of that detector."""
    entry = {"label": label, "segment": [0, 5], "score": 0.5}
    (files / "q.json").write_text(json.dumps({"results": {video: [entry]}}))
    ask = ["--compare", files / "p.json", files / "q.json"] if compared else ["--predictions", files / "q.json"]
    done = run_eval("--ground-truth", files / "g.json", "--subset", "validation", *ask)
    assert done.returncode == 2 and f"q.json: {expected}" in done.stderr, done.stderr


def test_script_says_what_to_give_where_nothing_tells_the_ground_truth(files):
    for arguments in (["--compare", files / "p.json", files / "p.json"], ["--predictions", files / "p.json"]):
        done = run_eval(*arguments)
        assert done.returncode == 2 and "p.json: no config.yaml beside it" in done.stderr
        assert "--ground-truth FILE" in done.stderr
    done = run_eval("--compare", files / "p.json", files / "typo.json")
    assert done.returncode == 2 and "typo.json: does not exist" in done.stderr
    done = run_eval(f"output_path={files}/none")
    assert done.returncode == 2 and f"{files}/none/detections.json: is missing" in done.stderr
    assert f"python spot_inference.py {files}/none first" in done.stderr


@pytest.mark.parametrize("ask", [lambda folder: [folder], lambda folder: [folder / "detections.json"],
                                 lambda folder: ["--predictions", folder / "detections.json"],
                                 lambda folder: ["testing.tiou=[0.5,0.75]", folder, "--per-class"]])
def test_script_takes_a_run_without_a_key(run_folder, ask):
    done = run_eval(*ask(run_folder))
    assert done.returncode == 0, done.stderr
    assert json.loads((run_folder / "metrics.json").read_text())["mAP"] == {"0.50": 0.75, "0.75": 0.75}


def test_script_refuses_two_runs(run_folder):
    for arguments in ([run_folder, f"output_path={run_folder.parent}"], [run_folder, run_folder.parent]):
        with pytest.raises(SpotError, match="two runs; give one"):
            eval_main(list(map(str, arguments)))


def test_comparison_goes_with_the_flags_of_one_evaluation(files, capsys):
    """By hand: A has AP 1/2 for run and 1 for jump, B 1/2 and 0, so B - A is 0 and - 100 points."""
    predictions = json.loads((files / "p.json").read_text())
    kept = {"v_a": predictions["results"]["v_a"], "elsewhere": [{"label": "run", "score": 0.1, "segment": [0, 1]}]}
    (files / "q.json").write_text(json.dumps({"results": kept}))
    arguments = ["--ground-truth", str(files / "g.json"), "--subset", "validation", "--tiou", "0.5:0.75:2", "--compare",
                 str(files / "p.json"), str(files / "q.json"), "--bootstrap", "20"]
    eval_main([*arguments, "--per-class", "--recall", "--diagnose", "--report", str(files / "report"), "--output",
               str(files / "c.json")])
    printed = capsys.readouterr().out
    for words in (r"B: 1 videos are not in the subset", r"A: 1 video ids matched", r"B - A +-50\.00 +-50\.00 +-50\.00",
                  r"jump +1 +100\.00 +0\.00 +-100\.00", r"run +2 +50\.00 +50\.00 +\+0\.00", "--- B ---", "background",
                  r"AR@AN"):
        assert re.search(words, printed), words
    metrics = json.loads((files / "c.json").read_text())
    assert metrics["A"]["average_mAP"] == 0.75 and metrics["B"]["average_mAP"] == 0.25
    assert metrics["difference"]["mAP"] == {"0.50": -0.5, "0.75": -0.5}
    assert all(low <= -0.5 <= high for low, high in metrics["difference"]["mAP_interval"].values())
    assert (files / "report" / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_detections_of_another_data_set_are_not_compared(files):
    """None of its videos, or of its labels, is in the ground truth: `A is better` would say nothing."""
    arguments = ["--ground-truth", str(files / "g.json"), "--subset", "validation", "--compare", str(files / "p.json"),
                 str(files / "q.json")]
    for video_id, label, word in (("zzz", "run", "videos"), ("b", "swim", "labels")):
        other = {"results": {video_id: [{"label": label, "score": 1, "segment": [1, 9]}]}}
        (files / "q.json").write_text(json.dumps(other))
        with pytest.raises(SpotError, match=rf"q\.json: none of its 1 detections is of the {word} of subset"):
            eval_main(arguments)
    (files / "q.json").write_text('{"results": {}}')
    eval_main(arguments)
    with pytest.raises(SpotError, match="--pr-class goes with one detector"):
        eval_main([*arguments, "--pr-class", "run"])


def test_script_without_output_writes_nothing(files):
    before = sorted(path.name for path in files.iterdir())
    done = run_eval("--ground-truth", files / "g.json", "--predictions", files / "p.json", "--subset", "validation")
    assert done.returncode == 0 and sorted(path.name for path in files.iterdir()) == before


@pytest.mark.parametrize(("given", "read"), [
    (["--drop-duplicates"], "opentad"), (["--drop-duplicates", "--report", "x"], "opentad"), ([], None),
    (["--drop-duplicates", "testing.tiou=0.5"], "opentad"), (["--drop-duplicates", "actionformer"], "actionformer"),
    (["--drop-duplicates=repeats", "a.b=1"], "repeats"), (["--drop-duplicates", "tests", "a.b=1"], "opentad"),
])
def test_a_bare_drop_duplicates_is_the_rule_of_opentad(given, read):
    """Whatever follows it: another flag, an override, a run folder."""
    assert make_parser().parse_known_args(with_duplicate_rule(given))[0].drop_duplicates == read


@pytest.mark.parametrize(("arguments", "words"), [
    (["--drop-duplicates", "opentat"], "opentat"),
    (["--tiou", "high"], "FIRST:LAST:COUNT"), (["--subset", "nope"], "nope"), (["--bogus"], "--bogus"),
    (["a.b=1"], "no effect"), (["--thumos-variant", "213"], "213"), (["--protocol", "coco"], "coco"),
    (["--bootstrap", "-5"], "--bootstrap: must be a whole number from 0 to"), (["--bootstrap", "many"], "got 'many'"),
    (["--tiou", "0.5:0.95:99999999999"], "COUNT must be a whole number from 1 to 1,000, got 99999999999"),
    (["--tiou", "0.5:0.95:-1"], "COUNT must be"), (["--tiou", "0:0.9:2"], "above 0"), (["--tiou", "nan"], "above 0"),
    (["--pr-class", "swim", "--report", "unwritten", "--subset", "validation"], "swim"),
    (["--pr-class", "run"], "give --report DIR or --export DIR with it"),
])
def test_script_names_the_mistake(files, arguments, words):
    with pytest.raises(SpotError, match=words):
        eval_main(["--ground-truth", str(files / "g.json"), "--predictions", str(files / "p.json"), *arguments])
    assert not Path("unwritten").exists()


def test_script_ends_with_one_sentence_and_code_two(files):
    done = run_eval("--ground-truth", files / "g.json", "--predictions", files / "p.json", "--subset", "nope")
    assert done.returncode == 2 and "nope" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_script_refuses_broken_entries_before_it_writes(files):
    broken = {"results": {"a": [{"label": "run", "score": 1, "segment": [4, 4]}]}}
    (files / "p.json").write_text(json.dumps(broken))
    arguments = ["--ground-truth", files / "g.json", "--predictions", files / "p.json", "--subset", "validation",
                 "--output", files / "m.json", "--report", files / "report"]
    done = run_eval(*arguments)
    assert done.returncode == 2 and "video 'a', entry 0" in done.stderr
    assert not (files / "m.json").exists() and not (files / "report").exists()
    done = run_eval(*arguments[:-2], "--lenient")
    assert done.returncode == 0 and "1 broken detections dropped" in done.stdout and (files / "m.json").exists()


def test_files_dicts_and_what_was_read_from_them_give_one_result(files):
    paths = (files / "g.json", files / "p.json")
    dicts = [json.loads(path.read_text()) for path in paths]
    results = [evaluate_detections(truth, found, "validation", (0.5,)) for truth, found in (
        paths, dicts, (str(paths[0]), read_predictions(paths[1])), (read_annotations(paths[0]), dicts[1]))]
    assert [result.average_mAP for result in results] == [0.75] * 4


def test_another_protocol_or_variant_is_refused():
    for options, words in (({"protocol": "coco"}, "protocol 'coco' is unknown"),
                           ({"thumos_variant": 213}, "THUMOS14 variant 213 is unknown")):
        with pytest.raises(SpotError, match=words):
            evaluate([video("a", (0, 1, "run"))], detections(), **options)


def test_whatever_names_the_external_classifier_is_shown_as_text(tmp_path):
    """Infinity is no JSON, so it must not reach metrics.json as a number."""
    write_json(tmp_path / "gt.json", {"database": {"v": {"subset": "validation", "duration": 9, "annotations": [
        {"label": "a", "segment": [1, 2]}]}}})
    (tmp_path / "d.json").write_text('{"results": {"v": [{"label": "a", "score": 1, "segment": [1, 2]}]}, '
                                     '"external_data": {"class_scores": Infinity}}')
    eval_main(["--ground-truth", f"{tmp_path}/gt.json", "--predictions", f"{tmp_path}/d.json", "--subset",
               "validation", "--output", f"{tmp_path}/m.json"])
    assert read_json(tmp_path / "m.json")["class_scores"] == "inf"
