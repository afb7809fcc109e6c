"""How long to train, and the learning rate of each step."""

import math
from dataclasses import dataclass

WARMUP_STEPS = 30
# The length that `auto` gives is cut into as many epochs; fewer or more `training.max_epoch` shorten or lengthen it.
EPOCHS = 32
# How often each sequence is seen: the labeled ones on labels alone, the unlabeled ones once pseudo labels have begun;
# and between how many steps each of the two parts stays. docs/length_curve.csv has the curves that were run.
LABELED_PASSES, UNLABELED_PASSES = 56, 12
FEWEST_ALONE, MOST_ALONE = 1600, 6400
FEWEST_WITH_UNLABELED, MOST_WITH_UNLABELED = 800, 6400


@dataclass(frozen=True)
class Plan:
    """steps: of the whole training, a multiple of EPOCHS; burn_in: 0..1, the share of them on labels alone."""

    steps: int
    burn_in: float


def plan_training(labeled, unlabeled, batch_size, unlabeled_batch):
    """How long to train, from how much there is to see. Returns a Plan.

    labeled, unlabeled: numbers of sequences; batch_size, unlabeled_batch: those of a step, of all processes together
    A teacher that has not converged teaches its faults, so even a few labeled recordings get FEWEST_ALONE steps; labels
    alone are learned soon, while many unlabeled videos need many steps to be seen at all. A training on labels alone
    (`semi.method=none`) takes as many steps, so that the two can be compared.
    """
    alone = min(max(LABELED_PASSES * labeled / batch_size, FEWEST_ALONE), MOST_ALONE)
    beyond = UNLABELED_PASSES * unlabeled / unlabeled_batch if unlabeled and unlabeled_batch else 0
    beyond = min(max(beyond, FEWEST_WITH_UNLABELED), MOST_WITH_UNLABELED)
    return Plan(EPOCHS * math.ceil((alone + beyond) / EPOCHS), alone / (alone + beyond))


def learning_rate_share(schedule, step, total_steps, steps_per_epoch, restart=0):
    """The share of the base learning rate at a step: `cosine` with a short warm-up, or `step` (x 0.2 per 10 epochs).

    restart: the step where the cosine begins anew, so that what comes before has converged by then
    """
    if schedule == "step":
        return 0.2 ** (step // steps_per_epoch // 10)
    if step < restart:
        total_steps = restart
    else:
        step, total_steps = step - restart, total_steps - restart
    warm = min(1.0, (step + 1) / min(WARMUP_STEPS, max(total_steps // 10, 1)))
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step / total_steps, 1))))
