"""How unlabeled sequences are learned from: one class for each method, and what a method is asked.

A method is a file of its own; this one says what they have in common, and which there are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

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
        """What it draws or looks up for a batch, as {name: tensor}, which becomes part of it; see `Trainer._draw`."""
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
