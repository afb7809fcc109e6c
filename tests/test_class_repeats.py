"""Pseudo labels of a recording show no class twice, where no labeled recording does."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import dataset, trainer, video

from spot import self_training
from spot.class_repeats import (
    ClassRepeats,
    instance_spans,
    repeats_of_labels,
    seldom_repeated,
    tell_apart,
)
from spot.losses import class_probabilities

# Recordings of 12 s, each of which shows two of the three exercises, once: eight classes shown, none again.
PAIRS = [("jump", "run"), ("run", "throw"), ("throw", "jump"), ("jump", "throw"), ("run", "jump")]
ONCE = [video(f"v{i}", (1, 5, first), (7, 11, second), duration=12.0) for i, (first, second) in enumerate(PAIRS)]


def logits_of(*runs):
    """Class logits (T, K+1) of runs (snippets, logits of the classes and the background)."""
    return torch.cat([torch.tensor([row]).repeat(count, 1) for count, row in runs]).float()


GAP = (4, [-6.0, -6.0, 6.0])
# Both look like class 0, the second a little less; which classes snippets have after it: 0 and 1.
TWICE = logits_of((6, [3.0, -3.0, -6.0]), GAP, (6, [1.0, 0.0, -6.0]))


def test_the_less_sure_of_two_instances_takes_its_next_class():
    for activation in ("sigmoid", "softmax"):
        apart = tell_apart(TWICE, 0.05, 6.0, activation)
        assert TWICE[:, :2].argmax(1)[[0, 15]].tolist() == [0, 0]
        assert apart[:6, :2].argmax(1).tolist() == [0] * 6 and apart[10:, :2].argmax(1).tolist() == [1] * 6


def test_where_classes_come_again_nothing_changes_hands():
    """At even odds a class that was shown is as probable as before: only the tails that no snippet excludes move."""
    assert torch.allclose(tell_apart(TWICE, 0.5, 6.0, "sigmoid"), TWICE, atol=1e-2)


def test_seldom_repeated_by_hand():
    """Two instances, the first surely of class 0. The second gives it .6; odds of a repeat 1 to 9 leave .6 / 9.

    (.6 / 9) / (.6 / 9 + .4) = 1 / 7. The first hears that class 1 is taken with 6 / 7, and stays what it is.
    """
    evidence = torch.tensor([[0.0, -30.0], [math.log(0.6), math.log(0.4)]])
    assert seldom_repeated(evidence, 0.1)[1].tolist() == pytest.approx([1 / 7, 6 / 7], abs=1e-4)
    assert seldom_repeated(evidence, 0.1)[0].tolist() == pytest.approx([1, 0], abs=1e-4)


def test_a_short_flicker_begins_no_instance():
    """One snippet of another class within twelve: to go there and back costs 8, it brings log(.9 / .1) = 2.2."""
    first, second, outside = [0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]
    probability = torch.tensor([first] * 6 + [second] + [first] * 5 + [outside] * 4)
    assert instance_spans(probability) == [(0, 12)]
    probability[3:9] = torch.tensor([0.0, 1.0, 0.0])
    assert instance_spans(probability) == [(0, 3), (3, 9), (9, 12)]


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@given(st.integers(0, 1000), st.integers(1, 5), st.floats(0.01, 0.1))
def test_background_stays_and_all_is_finite(activation, seed, classes, probability):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(40, classes + 1, generator=generator)
    apart = tell_apart(logits, probability, 5.0, activation)
    before, after = (class_probabilities(x.T[None], activation)[0, -1] for x in (logits, apart))
    assert apart.isfinite().all() and apart.shape == logits.shape
    # A class probability is below 1, which a sure instance may ask for where each class has its own.
    assert torch.allclose(before, after, atol=2e-2 if activation == "softmax" else 1e-6)


def test_labels_that_never_show_a_class_again_are_followed():
    """Ten classes shown, none again: 1 / 12. Each instance takes four snippets, the longest recording twelve."""
    found = repeats_of_labels(dataset(ONCE))
    assert found.probability == pytest.approx(1 / 12) and found.typical == 4 and found.longest == 12
    assert found.evidence.startswith("0 of the 10 classes")


def test_labels_that_show_a_class_again_are_not_followed():
    again = video("w", (0, 2, "jump"), (4, 6, "jump"), (8, 10, "run"), duration=12.0)
    assert repeats_of_labels(dataset([*ONCE, again])) is None  # (1 + 1) / (12 + 2)


def test_few_labels_and_single_instances_say_nothing():
    """Three recordings of two classes: 1 / 8, not sure enough. An ActivityNet video with one instance shows nothing."""
    assert repeats_of_labels(dataset(ONCE[:3])) is None
    single = [video(f"s{i}", (1, 5, "jump"), duration=12.0) for i in range(30)]
    assert repeats_of_labels(dataset(single)) is None


def test_a_very_long_recording_stays_as_it_is():
    """It may be of several sessions."""
    habit = ClassRepeats(0.05, 6.0, 7, "")
    table, offsets = torch.cat([TWICE, TWICE[:14]]), np.array([0, 16, 30])
    before = table.clone()
    habit.align(table, offsets, "sigmoid")
    assert torch.equal(table[:16], before[:16]) and not torch.equal(table[16:], before[16:])


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
