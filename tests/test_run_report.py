"""What a training run prints: its plan, the time that is left, and its end."""

import csv
import json
import sys

import pytest
import tiny
import torch
from test_scripts import data, run_folder, settings

import spot_train
from spot import run_report
from spot.checkpoint import RunFolder
from spot.run_report import Part, TimeLeft, duration, end_lines, parts_of, start_block, unused_unlabeled

__all__ = ["data", "run_folder"]  # fixtures
SIX_STEPS = ("training.max_epoch=3", "training.steps_per_epoch=2")


def test_a_plan_counts_the_steps_of_each_kind():
    """3 epochs of 2 steps, 0.5 of them on labels alone; 2 + 2 sequences. A step costs 3 * 2 on labels alone, 3 * 4 and
    2 for the teacher with pseudo labels, and 3 tasks * 3 * 2 in the pretext stage."""
    parts = parts_of(tiny.trainer(*SIX_STEPS, "semi.burn_in=0.5"), pretext=True)
    assert [(part.steps, part.cost) for part in parts] == [(2, 18), (3, 6), (3, 14)]
    parts = parts_of(tiny.trainer(*SIX_STEPS, "semi.burn_in=0", "pretext.temporal_order=0"), pretext=False)
    assert [(part.steps, part.cost) for part in parts] == [(0, 12), (0, 6), (6, 14)]


@pytest.mark.parametrize("given", [{"unlabeled": None}, {"overrides": ["semi.method=none"]}])
def test_a_plan_without_pseudo_labels_is_labels_alone(given):
    overrides = given.pop("overrides", [])
    assert [part.steps for part in parts_of(tiny.trainer(*SIX_STEPS, *overrides, **given), pretext=False)] == [0, 6, 0]


@pytest.mark.parametrize(("overrides", "reason"), [
    ("semi.burn_in=0.5", None), ("semi.method=none training.unlabeled_ratio=0", None), ("training.max_epoch=0", None),
    ("training.unlabeled_ratio=0.2", "training.batch_size=2 x training.unlabeled_ratio=0.2 are no sequence"),
    ("semi.burn_in=1", "semi.burn_in=1 leaves all steps to labels alone"),
    ("semi.weight=0", "the weights of their losses are 0"),
    ("semi.method=mean_teacher semi.consistency=0", "the weights of their losses are 0")])
def test_unlabeled_videos_of_which_nothing_is_learned_are_told(overrides, reason):
    """4 unlabeled videos; 2 * 0.2 sequences are 0.4, rounded 0."""
    run = tiny.trainer(*SIX_STEPS, *overrides.split())
    said = unused_unlabeled(run, parts_of(run, pretext=False))
    assert said is None if reason is None else said.endswith(f"nothing from the 4 unlabeled videos: {reason}")


def test_the_start_tells_what_will_happen():
    """6 steps with 2 of 3 labeled sequences: 4 passes; 3 of them with 2 of 4 unlabeled ones: 1.5. 9 videos of 8 x 6
    float32 numbers are 192 bytes each."""
    run = tiny.trainer(*SIX_STEPS, "semi.burn_in=0.5")
    lines = start_block(run, parts_of(run, pretext=False), "runs/my run/tensorboard")
    text = {line.split(":")[0]: line.partition(":")[2].strip() for line in lines}
    assert text["device"].startswith(f"CPU with {torch.get_num_threads()} thread")
    assert text["device"].endswith(", float32")
    assert text["sequences"] == "3 labeled, 4 unlabeled, of 8 snippets"
    assert text["steps"] == "6 in epochs of 2 (3 labels alone, 3 labels and pseudo labels); each with 2 + 2 sequences"
    assert text["passes"] == "4.0 over the labeled sequences, 1.5 over the unlabeled ones"
    assert text["curves"] == "tensorboard --logdir 'runs/my run/tensorboard'"
    count = sum(parameter.numel() for parameter in run.model.parameters())
    assert text["model"] == f"{count:,} parameters" and text["features"].startswith("labeled in memory (")


def test_the_time_left_knows_that_later_steps_cost_more():
    """A step takes 2 s and the later ones cost 4 times as much: after 3 of 5 and 10, 2 * 2 + 10 * 8 = 84 s are left.
    Once a later one took 5 s, it is 9 * 5 = 45 s."""
    now = iter([0, 2, 4, 9])
    left = TimeLeft([Part("early", 5, 10), Part("late", 10, 40)], clock=lambda: next(now))
    left.step("early")
    assert left.total() is None  # nothing to compare with yet
    left.step("early"), left.step("early")
    assert left.total() == 84
    left.skip("early", 2)
    left.step("late")
    assert left.total() == 45


def test_a_pause_is_not_a_step():
    """Between 1 s and 100 s an epoch was saved; the step after it has no beginning, the next one took 1 s again."""
    now = iter([0, 1, 100, 101])
    left = TimeLeft([Part("only", 10, 1)], clock=lambda: next(now))
    left.step("only"), left.step("only"), left.pause(), left.step("only"), left.step("only")
    assert left.total() == 6


def test_the_end_names_the_next_commands(tmp_path):
    lines = end_lines(tmp_path / "my run", 75, [{"seconds": 30.0}, {"seconds": 31.0}])
    assert lines[0] == "done in 1 min 15 s; the 2 epochs of the run took 1 min 1 s"
    assert f"python spot_inference.py '{tmp_path}/my run'" in lines[1]
    assert [duration(x) for x in (0.4, 59.6, 3600, 7500)] == ["0 s", "1 min 0 s", "1 h 0 min", "2 h 5 min"]


def test_a_run_prints_plain_lines_where_output_is_redirected(data, tmp_path, capsys, monkeypatch):
    """No bar and no control character; the expected time once, an epoch a line, and the log as a table too."""
    monkeypatch.setattr(run_report, "MEASURED_STEPS", 5)
    spot_train.main(settings(data, tmp_path / "run", "training.steps_per_epoch=3", "training.max_epoch=2"))
    captured = capsys.readouterr()
    assert not set("\r\x1b") & set(captured.out + captured.err) and "%|" not in captured.out + captured.err
    lines = captured.out.splitlines()
    assert sum(line.startswith("expected time: ") for line in lines) == 1
    assert sum(line.startswith("train ") for line in lines) == 2 and any(line.startswith("done in ") for line in lines)
    folder = RunFolder(tmp_path / "run")
    rows = list(csv.DictReader(folder.table.open()))
    records = [json.loads(line) for line in folder.log.read_text().splitlines()]
    assert len(rows) == len(records)
    assert [float(row["loss.class"]) for row in rows[-2:]] == [record["loss"]["class"] for record in records[-2:]]
    assert rows[0]["holdout_mAP"] == "" and "diagnostics" not in rows[0]


def test_a_terminal_has_one_bar_over_all_of_it(monkeypatch, capsys):
    """6 steps in 3 epochs, 2 done before: it stands at 33 % at first, at 100 % at last, and names the epoch."""
    run = tiny.trainer(*SIX_STEPS, "semi.burn_in=0.5")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = run_report.Progress(run, parts_of(run, pretext=False), {"pretext": 0, "train": 1})
    for epoch in (1, 2):
        run.train_epoch(epoch)
    progress.close()
    shown = capsys.readouterr().err.split("\r")
    assert " 33%|" in "".join(shown[:2]) and "train 3/3 100%|" in shown[-1] and "6/6 steps" in shown[-1]
    assert run.after_step is run_report.no_report
