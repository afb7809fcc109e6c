"""Pseudo labels of a recording seldom show a class again, where labeled recordings seldom do."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import dataset, trainer, video

from spot import self_training
from spot.class_repeats import MOST_MOVED, ClassRepeats, instance_spans, repeats_of_labels, seldom_repeated, tell_apart
from spot.class_shares import ClassShares
from spot.losses import class_probabilities
from spot.pseudo_labels import align_recordings
from spot.run_report import habit_rows

# Recordings of 12 s, each of which shows two of the three exercises, once: ten classes shown, none again.
PAIRS = [("jump", "run"), ("run", "throw"), ("throw", "jump"), ("jump", "throw"), ("run", "jump")]
ONCE = [video(f"v{i}", (1, 5, first), (7, 11, second), duration=12.0) for i, (first, second) in enumerate(PAIRS)]
GAP = (4, [-6.0, -6.0, 6.0])


def logits_of(*runs):
    """Class logits (T, K+1) of runs (snippets, logits of the classes and the background)."""
    return torch.cat([torch.tensor([row]).repeat(count, 1) for count, row in runs]).float()


# Both look like class 0, the second a little less.
TWICE = logits_of((6, [3.0, -3.0, -6.0]), GAP, (6, [1.0, 0.0, -6.0]))


def classes(logits):
    return logits[:, :-1].argmax(1).tolist()


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("order", [1, -1])
def test_the_less_sure_of_two_instances_takes_its_next_class(activation, order):
    """Whichever of them comes first. Snippets outside of the instances stay as they are."""
    logits = torch.cat(TWICE.split([6, 4, 6])[::order])
    apart = tell_apart(logits, 0.05, 6.0, activation)
    assert [classes(logits)[i] for i in (0, 15)] == [0, 0]
    assert [set(classes(apart[part])) for part in (slice(0, 6), slice(10, 16))] == [{0}, {1}][::order]
    assert torch.equal(apart[6:10], logits[6:10])


def test_an_instance_that_is_short_has_less_to_say():
    """The sure one takes 6 of 60 snippets of a typical one: what it says, log(.95 / .05) = 3, counts a tenth."""
    long = logits_of((60, [1.0, 0.0, -6.0]), GAP, (6, [3.0, -3.0, -6.0]))
    apart = tell_apart(long, 0.02, 60.0, "sigmoid")
    assert set(classes(apart[:60])) == {0} and set(classes(apart[64:])) == {1}


def test_where_classes_come_again_nothing_changes_hands():
    """Even odds of a repeat: a class that was shown is as probable as before."""
    assert torch.allclose(tell_apart(TWICE, 0.5, 6.0, "sigmoid"), TWICE, atol=1e-2)


def test_seldom_repeated_by_hand():
    """Two instances, the first surely of class 0. The second gives it .6; odds of a repeat 1 to 9 leave .6 / 9.

    (.6 / 9) / (.6 / 9 + .4) = 1 / 7. The first hears that class 1 is taken with 6 / 7, and stays what it is.
    """
    evidence = torch.tensor([[0.0, -30.0], [math.log(0.6), math.log(0.4)]])
    assert seldom_repeated(evidence, 0.1)[1].tolist() == pytest.approx([1 / 7, 6 / 7], abs=1e-4)
    assert seldom_repeated(evidence, 0.1)[0].tolist() == pytest.approx([1, 0], abs=1e-4)


@pytest.mark.parametrize("probability", [0.05, 0.02, 0.01, 0.002])
def test_the_surer_instance_keeps_its_class(probability):
    """.90 and .83 of class 0: both are asked, and only one makes room."""
    found = seldom_repeated(torch.tensor([[0.0, -1.6], [0.0, -2.2]]), probability)
    assert found.argmax(1).tolist() == [1, 0]


def test_it_is_nearly_always_the_best_of_all_choices():
    """Against every choice of classes for three instances, by the sum of evidence and cost of repeats."""
    generator, agreed = torch.Generator().manual_seed(0), 0
    for _ in range(100):
        evidence = (2 * torch.randn(3, 4, generator=generator)).log_softmax(1)
        cost = math.log(0.05 / 0.95)
        best = max(itertools.product(range(4), repeat=3), key=lambda pick: (
            sum(evidence[i, k].item() for i, k in enumerate(pick)) + cost * (3 - len(set(pick)))))
        agreed += tuple(seldom_repeated(evidence, 0.05).argmax(1).tolist()) == best
    assert agreed >= 85


def test_more_instances_than_classes_are_no_trouble():
    found = seldom_repeated(torch.zeros(5, 2), 0.05)
    assert torch.allclose(found.sum(1), torch.ones(5))


def test_a_single_snippet_begins_no_instance():
    """Whatever it says: to go to another class and back costs 8, a snippet brings log(1000) = 6.9 at most."""
    first, second, outside = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
    probability = torch.tensor([first] * 6 + [second] + [first] * 5 + [outside] * 4)
    assert instance_spans(probability) == [(0, 12)]
    probability[3:9] = torch.tensor(second)
    assert instance_spans(probability) == [(0, 3), (3, 9), (9, 12)]


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@given(st.integers(0, 1000), st.integers(1, 5), st.floats(0.01, 0.1))
def test_background_stays_and_all_is_finite(activation, seed, number, probability):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(40, number + 1, generator=generator)
    apart = tell_apart(logits, probability, 5.0, activation)
    before, after = (class_probabilities(x.T[None], activation)[0, -1] for x in (logits, apart))
    assert apart.isfinite().all() and apart.shape == logits.shape
    # A class probability is below 1, which a sure instance may ask for where each class has its own.
    assert torch.allclose(before, after, atol=2e-2 if activation == "softmax" else 1e-6)


def test_no_class_moves_without_bound():
    """In a sure pair the second class rises by MOST_MOVED at most, however sure the first one is."""
    logits = logits_of((6, [9.0, -9.0, -9.0]), GAP, (6, [9.0, -9.0, -9.0]))
    odds = [(part[0, 1] - part[0, 0]).item() for part in (logits, tell_apart(logits, 1e-9, 6.0, "softmax"))]
    assert odds[1] - odds[0] < 2 * math.log(MOST_MOVED) + 12  # of shares that are 1e-3 at least


def test_labels_that_never_show_a_class_again_are_followed():
    """Ten classes shown, none again: 1 / 12. Each instance takes four snippets, the longest recording 12 s."""
    found = repeats_of_labels(dataset(ONCE))
    assert found.probability == pytest.approx(1 / 12) and found.typical == 4 and found.longest_sec == 12
    assert found.evidence.startswith("of 10 classes") and "0 came again" in found.evidence


def test_labels_that_show_a_class_again_are_not_followed():
    again = video("w", (0, 2, "jump"), (4, 6, "jump"), (8, 10, "run"), duration=12.0)
    assert repeats_of_labels(dataset([*ONCE, again])) is None  # (1 + 1) / (12 + 2)


def test_few_labels_and_single_instances_say_nothing():
    """Three recordings of two classes: 1 / 8, not sure enough; four: 1 / 10, which is.

    A single recording says nothing of others, whatever it shows; a video with one instance, as in ActivityNet, nothing
    either, even where the instance has two classes, as a CliffDiving of THUMOS14 that is a Diving too.
    """
    assert repeats_of_labels(dataset(ONCE[:3])) is None and repeats_of_labels(dataset(ONCE[:4])).probability == 0.1
    assert repeats_of_labels(dataset(ONCE[:1])) is None
    single = [video(f"s{i}", (1, 5, "jump"), duration=12.0) for i in range(30)]
    double = [video(f"d{i}", (1, 5, "jump"), (1, 5, "run"), duration=12.0) for i in range(30)]
    assert repeats_of_labels(dataset(single)) is None and repeats_of_labels(dataset(double)) is None


@pytest.mark.parametrize("grid", ["window", "resize"])
def test_a_very_long_recording_stays_as_it_is(grid):
    """It may hold several recordings. On the resize grid too, where it has as many snippets as the others."""
    unlabeled = dataset([video("long", duration=25.0), video("other", duration=16.0)], grid=grid)
    table = torch.cat([TWICE.repeat(2, 1)[:length] for length in unlabeled.bank.lengths])
    split, before = int(unlabeled.bank.offsets[1]), table.clone()
    align_recordings(table, unlabeled, ClassRepeats(0.05, 2.0, 12.0, ""), "sigmoid")
    assert torch.equal(table[:split], before[:split])
    assert grid == "resize" or not torch.equal(table[split:], before[split:])


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_table_of_halves_is_moved_in_place(activation):
    table = TWICE.half()
    align_recordings(table, dataset([video("u", duration=16.0)]), ClassRepeats(0.05, 6.0, 12.0, ""), activation)
    assert table.dtype == torch.float16 and classes(table)[-1] == 1 and table.isfinite().all()


def test_training_follows_the_labels_unless_it_is_told_not_to(monkeypatch):
    """The teacher finds `jump` twice in each unlabeled recording; the table of the round has `run` behind it."""
    teacher = logits_of((5, [3.0, -3.0, -5.0, -6.0]), (2, [-6.0, -6.0, -6.0, 6.0]), (5, [1.0, 0.0, -5.0, -6.0]))
    monkeypatch.setattr(self_training, "classify_recordings", lambda *_: teacher.repeat(3, 1).half())
    others = [video(f"u{i}", (1, 5, "jump"), duration=12.0) for i in range(3)]
    for setting, last in (("free", 0), ("auto", 1)):
        run = trainer(f"semi.class_repeats={setting}", labeled=ONCE, unlabeled=others)
        run.train_epoch(0)
        found = run.method.round_logits[:, :3].argmax(1).reshape(3, 12)
        assert (found[:, :5] == 0).all() and (found[:, 7:] == last).all()
        assert [row for row, _ in habit_rows(run)] == ["classes"] * last


def test_class_shares_go_before_repeats():
    """Recordings that all show every class equally long show each of them once, too."""
    alike = [video(f"v{i}", (0, 2, "jump"), (3, 5, "run"), (6, 8, "throw"), duration=8.0) for i in range(4)]
    kinds = [type(trainer(*given, labeled=alike).method.habit) for given in ((), ("semi.class_shares=free",))]
    assert kinds == [ClassShares, ClassRepeats]
    assert np.allclose(trainer(labeled=alike).method.habit.shares, 1 / 3)
