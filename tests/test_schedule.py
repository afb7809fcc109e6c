"""How long a training is, from the numbers of sequences."""

import pytest

from spot.schedule import EPOCHS, FEWEST_STEPS, MOST_STEPS, training_steps


def test_unlabeled_sequences_decide_by_hand():
    """8,098 unlabeled ones 10 times, 24 a step in half of the steps: 80,980 / 24 / .5 = 6,748.3 -> 6,752 = 32 x 211."""
    assert training_steps(902, 8098, 16, 24, 0.5) == 6752


def test_labeled_sequences_decide_where_there_are_no_others():
    """9,000 labeled ones 12 times, 16 a step: 6,750 -> 6,752."""
    assert training_steps(9000, 0, 16, 0, 0.5) == 6752


@pytest.mark.parametrize(("labeled", "unlabeled"), [(1, 0), (5, 20), (139, 1249), (902, 8098), (10**6, 10**7)])
def test_any_size_stays_within_the_bounds_and_makes_whole_epochs(labeled, unlabeled):
    steps = training_steps(labeled, unlabeled, 16, 24, 0.5)
    assert FEWEST_STEPS <= steps <= MOST_STEPS and steps % EPOCHS == 0


def test_more_processes_take_fewer_steps():
    assert training_steps(902, 8098, 32, 48, 0.5) < training_steps(902, 8098, 16, 24, 0.5)


def test_unlabeled_sequences_that_no_step_takes_do_not_count():
    assert training_steps(20, 100_000, 16, 0, 0.5) == training_steps(20, 0, 16, 0, 0.5)
