"""The list of actions: its threshold, and precision, recall, F1 and segmental F1 against counts made by hand."""

import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from spot.annotations import Video
from spot.evaluation import evaluate_detections
from spot.operating_point import (
    SEGMENTAL_TIOU,
    Thresholds,
    actions_of,
    best_threshold,
    choose_thresholds,
    measure,
    middle_tiou,
    without_overlaps,
)


def scene_of(truth, found):
    """truth, found: {video: [(start, end, label[, score]), ...]}; the scene of one evaluation."""
    videos = [Video(name, 100.0, None, "test", np.array([entry[:2] for entry in entries], float).reshape(-1, 2),
                    tuple(entry[2] for entry in entries), 100.0, np.zeros((0, 2))) for name, entries in truth.items()]
    return evaluate_detections(videos, {"results": {name: entries_of(rows) for name, rows in found.items()}},
                               "test", [0.5]).scene


def entries_of(rows):
    return [{"segment": [start, end], "label": label, "score": score} for start, end, label, score in rows]


TRUTH = {"a": [(0, 10, "run"), (20, 30, "run"), (40, 50, "jump")], "b": [(0, 10, "jump")]}
FOUND = {"a": [(0, 10, "run", 0.9), (1, 10, "run", 0.8), (20, 26, "run", 0.7), (60, 70, "run", 0.6),
               (40, 44, "jump", 0.5)], "b": [(0, 9, "jump", 0.3), (50, 60, "jump", 0.4)]}


def test_best_threshold_by_hand():
    """Three segments; right, wrong, right, wrong: F1 is 2/4, 2/5, 4/6, 4/7, so between the third and the fourth score.
    Without a lower one it is the last score itself."""
    assert best_threshold(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0], bool), 3) == pytest.approx(0.65)
    assert best_threshold(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1], bool), 3) == pytest.approx(0.7)


def test_equal_scores_are_not_parted():
    """Right and wrong tie at .9: F1 2/4 before the wrong one is out of reach; .9 gives 2/4, .5 gives 4/5."""
    assert best_threshold(np.array([0.9, 0.9, 0.5]), np.array([1, 0, 1], bool), 2) == 0.5
    assert best_threshold(np.array([0.9, 0.9, 0.5]), np.array([1, 0, 0], bool), 2) == pytest.approx(0.7)


@pytest.mark.parametrize("right", [[], [False, False]])
def test_nothing_right_gives_no_threshold(right):
    assert best_threshold(np.arange(len(right), dtype=float), np.array(right, bool), 3) is None


def test_thresholds_of_a_scene_by_hand():
    """Actions: run .9 right, .7 right (tIoU .6), .6 wrong; jump .5 wrong (.4), .4 wrong, .3 right; (1, 10) overlaps.

    run: 2 segments, F1 is 2/3, 4/4, 4/5: .7. jump: 2 segments, F1 0, 0, 2/5: .3. Together, 4 segments: 2/5, 4/6, 4/7,
    4/8, 4/9, 6/10: .7. Thresholds lie in the middle of .7 and .6, and where no lower action is, at the action.
    """
    chosen = choose_thresholds(scene_of(TRUTH, FOUND), 0.5)
    assert chosen.overall == pytest.approx(0.65) and chosen.per_class == {"run": pytest.approx(0.65), "jump": 0.3}


def test_quality_by_hand():
    """From .7 on: two actions, both right, of four segments. Jump from .3 on: three actions of two segments, one right.

    tIoU with the nearest segment: (0, 10) 1, (20, 26) .6; of jump (40, 44) .4, (0, 9) .9, (50, 60) none.
    """
    overall, by_class = measure(scene_of(TRUTH, FOUND), Thresholds(0.7, {"run": 0.7, "jump": 0.3}), 0.5)
    assert (overall.num_segments, overall.num_actions, overall.num_right) == (4, 2, 2)
    assert (overall.precision, overall.recall, overall.f1) == (1.0, 0.5, pytest.approx(4 / 6))
    assert overall.segmental_f1 == pytest.approx((4 / 6, 4 / 6, 4 / 6))
    jump = by_class["jump"]
    assert (jump.precision, jump.recall) == pytest.approx((1 / 3, 1 / 2))
    assert jump.segmental_f1 == pytest.approx((4 / 5, 4 / 5, 2 / 5))
    assert jump.as_dict()["F1@25"] == pytest.approx(4 / 5) and jump.as_dict()["threshold"] == 0.3


def test_a_class_without_a_threshold_has_an_empty_list():
    overall, by_class = measure(scene_of(TRUTH, FOUND), Thresholds(None, {"run": 0.7}), 0.5)
    assert overall.num_actions == by_class["jump"].num_actions == 0 and by_class["run"].num_actions == 2
    assert overall.precision is None and overall.f1 == overall.recall == 0 and overall.segmental_f1 == (0, 0, 0)


def test_nothing_detected():
    scene = scene_of(TRUTH, {})
    assert choose_thresholds(scene, 0.5) == Thresholds(None, {"run": None, "jump": None})
    assert measure(scene, Thresholds(0.1, {}), 0.5)[0].num_actions == 0


def test_actions_of_a_video():
    """At .5: (1, 10) overlaps a better run and goes; jump may overlap run; run that touches stays. In order of time."""
    rows = [(10, 20, "run", 0.6), (0, 10, "run", 0.9), (1, 10, "run", 0.8), (5, 15, "jump", 0.5), (3, 4, "jump", 0.4)]
    found = [(*entry["segment"], entry["label"]) for entry in actions_of(entries_of(rows), 0.5)]
    assert found == [(0, 10, "run"), (5, 15, "jump"), (10, 20, "run")]
    assert actions_of(entries_of(rows), 0.95) == actions_of([], 0.0) == []


def test_the_list_is_the_one_that_was_measured():
    """`actions_of` and `measure` count the same actions at every threshold."""
    scene = scene_of(TRUTH, FOUND)
    for threshold in (0.0, 0.35, 0.6, 0.85):
        counted = measure(scene, Thresholds(threshold, {}), 0.5)[0].num_actions
        assert counted == sum(len(actions_of(entries_of(rows), threshold)) for rows in FOUND.values())


def test_the_middle_tiou():
    assert middle_tiou(np.linspace(0.5, 0.95, 10)) == pytest.approx(0.75)
    assert middle_tiou(np.linspace(0.3, 0.7, 5)) == pytest.approx(0.5) and middle_tiou([0.4]) == 0.4


moments = st.integers(0, 12)
rows = st.lists(st.tuples(moments, moments, st.sampled_from("ab"), st.integers(1, 4)), max_size=12).map(
    lambda found: [(min(s, e), max(s, e) + 1, label, score / 4) for s, e, label, score in found])


@given(rows)
@cases(100)
def test_kept_segments_do_not_overlap_and_left_out_ones_do(found):
    """Against the definition: what is kept shares no time within its class, what is not shares it with a better one."""
    segments, scores = np.array([row[:2] for row in found], float).reshape(-1, 2), np.array([row[3] for row in found])
    kept = without_overlaps(segments, scores, [row[2] for row in found])
    for index, (start, end, label, score) in enumerate(found):
        shares = [other for other in kept if other != index and found[other][2] == label
                  and found[other][0] < end and start < found[other][1]]
        assert not shares if index in kept else any(found[other][3] >= score for other in shares)


@given(st.lists(rows, min_size=1, max_size=3), st.lists(rows, min_size=1, max_size=3))
@cases(100)
def test_segmental_f1_agrees_with_the_plain_loop(truth, found):
    """Temporal segmentation's loop: in order of time, an action is right if its best segment is near and still free."""
    truth = {f"v{index}": entries for index, entries in enumerate([*truth, [(0, 1, "a", 1)]])}
    found = {f"v{index}": entries for index, entries in enumerate(found)}
    scene = scene_of(truth, found)
    expected = []
    for least in SEGMENTAL_TIOU:
        right = actions = 0
        for name, entries in found.items():
            of_video = sorted(truth.get(name, ()), key=lambda row: row[:2])
            free = dict.fromkeys(range(len(of_video)), True)
            for action in actions_of(entries_of([row for row in entries if row[2] in scene.classes]), 0.5):
                start, end = action["segment"]
                tiou = [max(0, min(end, e) - max(start, s)) / (max(end, e) - min(start, s)) * (label == action["label"])
                        for s, e, label, _ in of_video]
                actions += 1
                best = int(np.argmax(tiou)) if tiou else None
                if tiou and tiou[best] >= least and free[best]:
                    right, free[best] = right + 1, False
        expected.append(2 * right / (actions + sum(map(len, truth.values()))))
    assert measure(scene, Thresholds(0.5, {}), 0.5)[0].segmental_f1 == pytest.approx(expected)
