"""How long a training is, from the numbers of sequences."""

import pytest

from spot.schedule import (
    EPOCHS,
    FEWEST_ALONE,
    FEWEST_WITH_UNLABELED,
    MOST_ALONE,
    MOST_WITH_UNLABELED,
    plan_training,
)


def test_many_unlabeled_sequences_by_hand():
    """902 labeled ones 56 times, 16 a step, are 3,157 steps. 8,098 unlabeled ones 12 times, 24 a step, are 4,049 steps.
    Together 7,206 -> 7,232 = 32 x 226, of which 3157 / 7206 = 43.8 % are on labels alone.
    """
    plan = plan_training(902, 8098, 16, 24)
    assert plan.steps == 7232 and plan.burn_in == pytest.approx(0.4381, abs=1e-4)


def test_few_sequences_by_hand():
    """139 labeled ones 56 times are 486.5 steps, so 1,600; 1,249 unlabeled ones 12 times are 624.5, so 800: 2,400."""
    plan = plan_training(139, 1249, 16, 24)
    assert plan.steps == 2400 and plan.burn_in == pytest.approx(2 / 3)


def test_many_labeled_sequences_by_hand():
    """9,000 labeled ones 56 times would be 31,500 steps: the most, 6,400, and the 800 that are always there."""
    assert plan_training(9000, 0, 16, 24).steps == 7200


@pytest.mark.parametrize(("labeled", "unlabeled"), [(1, 0), (5, 20), (139, 1249), (902, 8098), (10**6, 10**7)])
def test_any_size_stays_within_the_bounds_and_makes_whole_epochs(labeled, unlabeled):
    plan = plan_training(labeled, unlabeled, 16, 24)
    assert FEWEST_ALONE + FEWEST_WITH_UNLABELED <= plan.steps <= MOST_ALONE + MOST_WITH_UNLABELED
    assert plan.steps % EPOCHS == 0 and 0 < plan.burn_in < 1


def test_more_processes_take_fewer_steps():
    assert plan_training(902, 8098, 32, 48).steps < plan_training(902, 8098, 16, 24).steps


def test_unlabeled_sequences_that_no_step_takes_do_not_count():
    assert plan_training(20, 100_000, 16, 0) == plan_training(20, 0, 16, 0)
