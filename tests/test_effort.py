"""Corrections of an annotator, counted by hand, and the table over runs."""

import json
import sys

import pandas as pd
import pytest
from test_scripts import ROOT

from spot.effort import Corrections, corrections
from spot.files import SpotError

sys.path.insert(0, str(ROOT / "tools"))  # the tools import each other as scripts do

import effort


def test_corrections_of_a_recording_by_hand():
    """Segments: walk 0-10, sit 10-20, walk 30-40, run 50-60.

    walk 0.4-10.5 is right, both boundaries are within 0.5 s; walk 11-19.9 is a sit whose start is 1 s off: a boundary
    and a class; walk 20-29 shares no time with a segment: deleted; the other walk and the run are added, 3 each.
    """
    found = corrections([[0.4, 10.5], [11, 19.9], [20, 29]], ["walk", "walk", "walk"],
                        [[0, 10], [10, 20], [30, 40], [50, 60]], ["walk", "sit", "walk", "run"])
    assert found == Corrections(segments=4, actions=3, untouched=1, moved=1, changed=1, deleted=1, added=2)
    assert found.total == 1 + 1 + 1 + 2 * 3 and found.from_nothing == 12


def test_the_pair_with_the_fewest_corrections_goes_first():
    """Both actions share time with the one segment; the second needs one correction, the first three: it is deleted."""
    found = corrections([[0, 9], [1, 10]], ["run", "walk"], [[2, 10.4]], ["walk"])
    assert (found.moved, found.changed, found.deleted, found.added) == (1, 0, 1, 0)


@pytest.mark.parametrize(("actions", "segments", "total"), [([], [[0, 1], [2, 3]], 6), ([[0, 1], [2, 3]], [], 2),
                                                            ([], [], 0)])
def test_nothing_found_is_all_to_add_and_nothing_true_is_all_to_delete(actions, segments, total):
    found = corrections(actions, ["walk"] * len(actions), segments, ["walk"] * len(segments))
    assert found.total == total and found.from_nothing == 3 * len(segments)


def test_one_long_action_over_two_segments_is_one_of_them():
    """0-20 over 0-10 and 10-20: its end moves (or its start), and the other segment is added."""
    found = corrections([[0, 20]], ["walk"], [[0, 10], [10, 20]], ["walk", "walk"])
    assert (found.moved, found.added, found.total) == (1, 1, 4)


def test_sums_add_up():
    one = corrections([], [], [[0, 1]], ["walk"])
    assert sum([one, one], Corrections()) == Corrections(segments=2, added=2)


@pytest.fixture
def run(tmp_path):
    """A run folder with detections of `a`, above and below its threshold of 0.5; `b` has none; `c` is of training."""
    segments = {"a": [("walk", 0, 10), ("sit", 10, 20)], "b": [("walk", 5, 9)], "c": [("walk", 1, 2)]}
    database = {name: {"subset": "training" if name == "c" else "validation", "duration": 60, "annotations": [
        {"label": label, "segment": [start, end]} for label, start, end in own]} for name, own in segments.items()}
    (tmp_path / "annotations.json").write_text(json.dumps({"database": database}))
    (tmp_path / "config.yaml").write_text(
        f"output_path: {tmp_path}\ndataset:\n  video_anno_path: {tmp_path}/annotations.json\n"
        "  feature_path: nowhere\n  train_subset: training\n  eval_subset: validation\n")
    found = [("walk", 0.0, 10.0, 0.9), ("walk", 11.0, 20.0, 0.6), ("sit", 30.0, 40.0, 0.2)]
    results = {"a": [{"label": label, "segment": [start, end], "score": score} for label, start, end, score in found]}
    threshold = {"threshold": 0.5, "per_class": {}, "chosen_on": "4 videos"}
    (tmp_path / "detections.json").write_text(json.dumps({"results": results, "action_threshold": threshold}))
    return tmp_path


def test_the_tool_counts_what_lies_above_the_operating_point(run, capsys):
    """a: one right, one moved and changed = 2 of 6; b: one added = 3 of 3; from 0.1 on the sit of a is deleted too."""
    effort.main([str(run), "--csv", str(run / "effort.csv"), "--names", "ours"])
    assert "| ours | 2 | 1.5 | 0.5 | 0.5 | 0.5 | 0.0 | 0.5 | 2.5 | 4.5 | 44 % |" in capsys.readouterr().out
    table = pd.read_csv(run / "effort.csv")
    assert table["video"].tolist() == ["a", "b"] and table["corrections"].tolist() == [2, 3]
    effort.main([str(run), "--threshold", "0.1"])
    assert "| 2 | 1.5 | 0.5 | 0.5 | 0.5 | 0.5 | 0.5 | 3.0 | 4.5 | 33 % |" in capsys.readouterr().out


def test_what_the_settings_leave_out_is_not_counted_and_what_they_do_not_change_is_told(run, capsys):
    """b is blocked, so nobody would annotate it: a alone, 2 of 6. The threshold of this tool is a flag."""
    (run / "blocked.json").write_text('["b"]')
    effort.main([str(run), f"dataset.blocked={run}/blocked.json", "testing.action_threshold=0.1", "testing.top_k=5"])
    said = capsys.readouterr()
    assert "| 1 | 2.0 | 1.0 | 1.0 | 1.0 | 0.0 | 0.0 | 2.0 | 6.0 | 67 % |" in said.out
    assert said.err.splitlines() == [
        "warning: testing.action_threshold has no effect on detections that are there; give --threshold",
        "warning: testing.top_k has no effect on detections that are there; give it to spot_inference.py"]


def test_a_run_without_an_operating_point_asks_for_a_threshold(run):
    (run / "detections.json").write_text(json.dumps({"results": {}}))
    with pytest.raises(SpotError, match="give --threshold SCORE"):
        effort.main([str(run)])
    with pytest.raises(SpotError, match=r"holds no config\.yaml"):
        effort.main([str(run / "elsewhere")])


def test_detections_of_other_recordings_are_refused(run):
    """c is of training: that a and b were all to add would be no number of theirs."""
    content = json.loads((run / "detections.json").read_text())
    (run / "detections.json").write_text(json.dumps({**content, "results": {"c": []}}))
    with pytest.raises(SpotError, match="has no recording of subset validation"):
        effort.main([str(run)])
