"""A step on labels and on unlabeled sequences, and what a method to learn from the latter is asked.

A method is a class in a file of its own; this one has what they have in common.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from spot.devices import to_device
from spot.registry import METHODS, find


@dataclass(frozen=True)
class SemiSupervision:
    """Where pseudo labels come from and how far they are trusted; the YAML's `semi` section says what each means."""

    method: str
    targets: str
    class_threshold: float
    mask_threshold: float
    ema_decay: float
    weight: float
    rounds: int
    burn_in: float | str
    ramp: float
    confidence: float
    consistency: float
    class_shares: str
    class_repeats: str


@dataclass(frozen=True)
class Lesson:
    """What the student learns from a batch of unlabeled sequences.

    features (B, C, T), valid (B, T) bool: what it sees of them
    losses: its outputs for them -> {name: loss}, of the names in `Method.loss_weights`
    targets: pseudo targets of the detector, None for a method without; statistics: {name: number} for the log
    """

    features: torch.Tensor
    valid: torch.Tensor
    losses: Callable
    targets: dict | None = None
    statistics: dict | None = None


class Method:
    """A way to learn from unlabeled sequences. run: the engine.Trainer, whose model, teacher and objective it uses."""

    def __init__(self, run):
        self.run = run

    def loss_weights(self):
        """{loss name: weight} of what `Lesson.losses` gives, beside the weight of all unlabeled losses."""
        raise NotImplementedError

    def draw(self, unlabeled, step, total_steps, generator):
        """What it draws or looks up for a batch of `Trainer.draw_batch`, {name: tensor}, which becomes part of it."""
        return {}

    def lesson(self, unlabeled):
        """The Lesson of a batch; nothing but its tensors decides what is computed."""
        raise NotImplementedError

    def state(self):
        """What a resumed run needs beside model, teacher and optimizer, as plain values and tensors."""
        return {}

    def load_state(self, content):
        """Go on from `state()`."""


def make_method(name, run):
    """The Method of this name for a Trainer, None for `none`. ValueError for an unknown name."""
    return None if name == "none" else find(METHODS, name)(run)


def pseudo_lesson(run, taught, unlabeled, threshold, settings):
    """The Lesson of pseudo labels: made from `taught`, of the weak view, and learned in the student's strong view.

    taught: what `Trainer.taught` returned; threshold: least class probability of a pseudo label
    settings: SemiSupervision
    """
    view, features, valid = run.strong(unlabeled)
    truth = (unlabeled["segments"], unlabeled["labels"]) if run.unlabeled.is_annotated else None
    targets, statistics = run.objective.pseudo_targets(taught, unlabeled, view, valid, threshold, settings, truth)
    return Lesson(features, valid, lambda outputs: run.objective.losses(outputs, targets), targets, statistics)


# --- a step -----------------------------------------------------------------------------------------------------------


def semi_supervised_inputs(run, step, total_steps, generator):
    """All that is drawn for a step, as tensors on the device, and the names of the videos. run: engine.Trainer"""
    labeled = run.draw_batch(run.labeled, run.batch_size, step, generator, stream=0)
    inputs = {"labeled": _for_step(run, labeled, generator)}
    weight = unlabeled_weight(run, step, total_steps)
    if weight == 0:
        return inputs, labeled["names"]
    unlabeled = run.draw_batch(run.unlabeled, run.unlabeled_size, step, generator, stream=1)
    inputs["unlabeled"] = _for_step(run, unlabeled, generator)
    inputs["unlabeled"] |= run.method.draw(unlabeled, step, total_steps, generator)
    weights = torch.tensor([weight * one for one in run.method.loss_weights().values()])
    inputs["unlabeled_weights"] = to_device(weights, run.device)
    return inputs, labeled["names"] + unlabeled["names"]


def _for_step(run, batch, generator):
    return {key: batch[key] for key in ("features", "valid", "segments", "labels")} | run.draw_view(batch, generator)


def unlabeled_weight(run, step, total_steps):
    """Weight of the unlabeled losses at a step: 0 during the burn-in, then a linear ramp to the full weight."""
    since = step - run.burn_in_steps()
    if not run.unlabeled_size or run.semi.method == "none" or since < 0:
        return 0.0
    return run.semi.weight * min(1.0, (since + 1) / max(run.semi.ramp * total_steps, 1))


def semi_supervised_losses(run, inputs):
    """The losses of a step, {name: weighted loss}, and what is logged beside them.

    run: engine.Trainer; inputs: of `semi_supervised_inputs`: nothing but its tensors decides what is computed
    """
    labeled, unlabeled, objective = inputs["labeled"], inputs.get("unlabeled"), run.objective

    # The student's view of the labeled sequences, with its segments.
    view, features, valid = run.strong(labeled)  # (B, C, T), (B, T)
    segments, labels = view.show_segments(labeled["segments"], labeled["labels"], features.shape[-1])
    targets = [objective.targets(segments, labels, valid)]
    size, lesson = len(features), None

    # The student's view of the unlabeled sequences, with what the method has it learn there.
    if unlabeled is not None:
        lesson = run.method.lesson(unlabeled)
        targets += [lesson.targets] if lesson.targets else []
        features = torch.cat([features, lesson.features])  # (B + U, C, T)
        valid = torch.cat([valid, lesson.valid])  # (B + U, T)
    outputs = run.forward(run.model, features, valid)

    # Labels; then what needs none, on all sequences that have targets; then pseudo labels, with a weight that grows.
    losses = objective.losses({key: value[:size] for key, value in outputs.items()}, targets[0])
    covered = len(features) if lesson is None or lesson.targets else size
    losses |= objective.label_free({key: value[:covered] for key, value in outputs.items()}, features[:covered],
                                   valid[:covered].to(features.dtype), targets)
    losses = {name: run.weights[name] * value for name, value in losses.items() if run.weights[name] > 0}
    if lesson is None:
        return losses, {}
    found = lesson.losses({key: value[size:] for key, value in outputs.items()})
    for (name, base), weight in zip(run.method.loss_weights().items(), inputs["unlabeled_weights"], strict=True):
        if base > 0:
            losses[f"unlabeled_{name}"] = weight * found[name]
    return losses, lesson.statistics or {}
