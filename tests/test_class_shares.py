"""Pseudo labels of a recording show the classes as long as the labels do, where labeled recordings agree on that."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import CLASSES, K, dataset, trainer, video

from spot.class_shares import (
    ClassShares,
    align_shares,
    between_recordings,
    class_shares,
    shares_of_labels,
)
from spot.losses import class_probabilities
from spot.pseudo_labels import align_recordings


def shown(logits, activation):
    """The class shares of the foreground that logits (T, K+1) say, as `align_shares` counts them."""
    probability = class_probabilities(logits.T[None], activation)[0]
    classes = probability[:-1, probability[-1] < 0.5]
    return (classes / classes.sum(0)).mean(1)


def test_class_shares_by_hand():
    """10 s: a covers 1..4 and 3..5, together 4 s; b covers 4..6, 2 s; 5 s of the 10 are in some segment."""
    one = video("v", (1, 4, "a"), (3, 5, "a"), (4, 6, "b"), duration=10.0)
    assert class_shares(one, ["a", "b"]) == pytest.approx([0.4, 0.2, 0.5])


def test_between_recordings_by_hand():
    """Shares 1, 0 and 0, 1: each class has mean .5, p (1 - p) = .25, variance of the shares .25: all lies between.

    Shares .6, .4 and .4, .6: variance .01 of .25, so 4 %. The same shares twice: nothing.
    """
    assert between_recordings(np.array([[1, 0], [0, 1.0]])) == 1
    assert between_recordings(np.array([[0.6, 0.4], [0.4, 0.6]])) == pytest.approx(0.04)
    assert between_recordings(np.array([[0.3, 0.7], [0.3, 0.7]])) == 0


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=2, max_size=6))
def test_the_share_between_recordings_is_a_share(rows):
    rows = np.array(rows) + 1e-6
    assert 0 <= between_recordings(rows / rows.sum(1, keepdims=True)) <= 1


def test_a_teacher_that_takes_one_class_for_another_is_found_out():
    """Six snippets that all look like class 0, three of them a little less: half of a recording should be class 1."""
    logits = torch.tensor([[2.0, -2.0, -3.0]] * 3 + [[2.0, 0.0, -3.0]] * 3)
    for activation in ("sigmoid", "softmax"):
        aligned = align_shares(logits, np.array([0.5, 0.5]), activation)
        assert logits[:, :2].argmax(1).tolist() == [0] * 6
        assert aligned[:, :2].argmax(1).tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@given(st.integers(0, 1000), st.integers(2, 5))
def test_the_shares_become_those_of_the_labels(activation, seed, classes):
    """Whatever the logits say; background and its share stay as they are."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(60, classes + 1, generator=generator)
    shares = np.random.default_rng(seed).dirichlet(np.full(classes, 5.0))
    aligned = align_shares(logits, shares, activation)
    before, after = (class_probabilities(x.T[None], activation)[0, -1] for x in (logits, aligned))
    # A class probability is below 1, which full shares may ask for where each class has its own.
    assert torch.allclose(before, after, atol=2e-2 if activation == "softmax" else 1e-6)
    assert shown(aligned, activation).numpy() == pytest.approx(shares, abs=0.05)


def test_recordings_that_agree_are_followed_and_others_are_not():
    same = [video(name, (0, 3, "jump"), (4, 6, "run"), (6, 7, "throw"), duration=8.0) for name in "xyz"]
    expected = shares_of_labels(dataset(same))
    assert expected.shares == pytest.approx([3 / 6, 2 / 6, 1 / 6]) and expected.shortest_sec == 8
    single = [video("x", (0, 3, "jump")), video("y", (0, 3, "run"))]
    assert shares_of_labels(dataset(single)) is None
    assert shares_of_labels(dataset(same[:1])) is None


@pytest.mark.parametrize("grid", ["window", "resize"])
def test_a_short_recording_stays_as_it_is(grid):
    """It may show a part of the classes only. On the resize grid too, where it has as many snippets as the others."""
    unlabeled = dataset([video("short", duration=3.0), video("other", duration=10.0)], grid=grid)
    logits = torch.tensor([[2.0, -2.0, -3.0]]).repeat(int(unlabeled.bank.offsets[-1]), 1).half()
    split, before = int(unlabeled.bank.offsets[1]), logits.clone()
    align_recordings(logits, unlabeled, ClassShares(np.array([0.5, 0.5]), 20.0, ""), "sigmoid")
    assert torch.equal(logits[:split], before[:split]) and not torch.equal(logits[split:], before[split:])


def test_training_follows_the_labels_unless_it_is_told_not_to():
    """Every recording shows all classes equally long; the table of a round then has these shares in each recording."""
    videos = [video(name, (0, 2, "jump"), (3, 5, "run"), (6, 8, "throw"), duration=8.0) for name in "abcd"]
    assert not trainer("semi.class_shares=free", labeled=videos[:2], unlabeled=videos[2:]).method.habit
    run = trainer(labeled=videos[:2], unlabeled=videos[2:])
    assert run.method.habit.shares == pytest.approx(np.full(K, 1 / len(CLASSES)))
    run.train_epoch(0)
    offsets = run.unlabeled.bank.offsets
    for first, last in itertools.pairwise(offsets):
        logits = run.method.round_logits[first:last].float()
        if (logits[:, -1] < 0).any():
            assert shown(logits, "sigmoid").numpy() == pytest.approx(np.full(K, 1 / 3), abs=0.06)
