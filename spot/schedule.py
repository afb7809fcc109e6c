"""How long to train, and the learning rate of each step."""

import math

WARMUP_STEPS = 30
# The length that `auto` gives is cut into as many epochs; fewer or more `training.max_epoch` shorten or lengthen it.
EPOCHS = 32
# How often a training sees each labeled and each unlabeled sequence, and between how many steps it stays.
# docs/schedule.png shows the curves these come from.
LABELED_PASSES, UNLABELED_PASSES = 12, 10
FEWEST_STEPS, MOST_STEPS = 1600, 12_800


def training_steps(labeled, unlabeled, batch_size, unlabeled_batch, burn_in):
    """Steps of a whole training, so that every sequence is seen often enough, a multiple of EPOCHS.

    labeled, unlabeled: numbers of sequences; batch_size, unlabeled_batch: those of a step, of all processes together
    burn_in: 0..1, the share of the steps that see labels alone; unlabeled_batch = 0: no unlabeled ones are used
    """
    wanted = LABELED_PASSES * labeled / batch_size
    if unlabeled and unlabeled_batch:
        wanted = max(wanted, UNLABELED_PASSES * unlabeled / unlabeled_batch / max(1 - burn_in, 0.05))
    return EPOCHS * math.ceil(min(max(wanted, FEWEST_STEPS), MOST_STEPS) / EPOCHS)


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
