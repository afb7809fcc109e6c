"""The loop of a training: one epoch of each stage, with optimizer, teacher and log.

What a step computes is in the file of its stage: `pretext`, and `semi` for labels and pseudo labels. What is the
detector's is in its objective (`detectors`), what is the semi-supervised method's in a file of its name.
"""

import contextlib
import functools
import math
import time
from dataclasses import dataclass

import torch

from spot import augment, distributed
from spot.datasets import draw
from spot.detectors import objective_of
from spot.devices import to_device
from spot.files import SpotError
from spot.graphs import CudaRecorder, LossCheck, StepGraphs, note_fallback
from spot.optimization import Optimization, make_optimizer
from spot.pretext import PretextTasks, pretext_inputs, pretext_losses
from spot.run_report import no_report
from spot.schedule import EPOCHS, learning_rate_share, plan_training
from spot.semi import SemiSupervision, make_method, semi_supervised_inputs, semi_supervised_losses
from spot.teacher import make_teacher

GRADIENT_NORM = 1.0
# stage -> what is drawn for a step, and its losses
STAGES = {"pretext": (pretext_inputs, pretext_losses), "train": (semi_supervised_inputs, semi_supervised_losses)}


@dataclass(frozen=True)
class Learning:
    """How a model learns: a part for each section of the YAML. weights: {loss name: weight}"""

    optimization: Optimization
    augmentation: augment.Augmentation
    tasks: PretextTasks
    semi: SemiSupervision
    weights: dict


def refuse_non_finite(broken, names, when):
    """SpotError for losses that are not finite. broken: their names; names: the step's videos; when: stage and epoch"""
    raise SpotError(f"{when}: the loss {', '.join(broken)} is not finite for the videos {', '.join(names)}; check "
                    "their features or lower training.learning_rate")


class Trainer:
    """The state of a training run and its epochs.

    model: a model.TemporalDetector on its device; labeled, unlabeled: datasets.SnippetDataset (unlabeled may be None)
    learning: Learning. Its batch size is that of each process: together they take the step that one process would with
    the batches of all. The step, not the wall clock, decides what is drawn, so that a run can be repeated.
    """

    def __init__(self, model, labeled, unlabeled, learning):
        self.model, self.labeled, self.unlabeled, self.optimization = model, labeled, unlabeled, learning.optimization
        self.weights, self.augmentation, self.semi, self.tasks = (
            learning.weights, learning.augmentation, learning.semi, learning.tasks)
        self.device, self.amp = next(model.parameters()).device, self.optimization.amp
        self._plan()
        self.teacher = make_teacher(model, self.semi.ema_decay)
        self.objective = objective_of(model, self.weights)
        self.method = make_method(self.semi.method, self)
        self.in_step = distributed.in_step(model)
        self.after_step, self.check = no_report, LossCheck()
        # Several processes exchange gradients within a step, and a CPU launches nothing.
        is_recorded = self.optimization.graph and self.device.type == "cuda" and distributed.world_size() == 1
        self.recorder, self.graphs = CudaRecorder() if is_recorded else None, {}
        self.optimizer = self._new_optimizer()

    def _plan(self):
        """How many sequences a step takes, and how many steps there are."""
        settings, processes = self.optimization, distributed.world_size()
        self.batch_size = settings.batch_size
        self.unlabeled_size = round(settings.batch_size * settings.unlabeled_ratio) if self.unlabeled else 0
        plan = plan_training(len(self.labeled), len(self.unlabeled) if self.unlabeled else 0,
                             self.batch_size * processes, self.unlabeled_size * processes)
        self.burn_in = plan.burn_in if self.semi.burn_in == "auto" else self.semi.burn_in
        if settings.steps_per_epoch == "auto":
            self.steps_per_epoch = plan.steps // EPOCHS
        else:  # None: one pass over the labeled sequences
            self.steps_per_epoch = settings.steps_per_epoch or math.ceil(
                len(self.labeled) / (self.batch_size * processes))
        self.pretrain_epochs, self.epochs = settings.pretrain_epoch, settings.max_epoch

    def _new_optimizer(self):
        settings = self.optimization
        return make_optimizer(self.model, settings.optimizer, settings.learning_rate, settings.weight_decay)

    def start_stage(self):
        """A fresh optimizer and a teacher that starts from the model."""
        self.optimizer = self._new_optimizer()
        self.teacher = make_teacher(self.model, self.semi.ema_decay)
        self.graphs.clear()  # they use the teacher that was

    def state(self):
        """Everything that a resumed run needs, as plain values and tensors; see `load_state`."""
        return {"model": self.model.state_dict(), "teacher": self.teacher.state_dict(),
                **(self.method.state() if self.method else {}), "optimizer": self.optimizer.state_dict()}

    def load_state(self, content):
        """Go on from `state()`."""
        self.model.load_state_dict(content["model"])
        self.teacher.load_state_dict(content["teacher"])
        if self.method:
            self.method.load_state(content)
        self.optimizer.load_state_dict(content["optimizer"])

    def pretext_epoch(self, epoch):
        """One epoch of the pretext stage, on all training videos; the class head is frozen. Returns a log record."""
        self.model.class_part.requires_grad_(False)
        record = self._epoch("pretext", epoch, self.pretrain_epochs)
        self.model.class_part.requires_grad_(True)
        return record

    def train_epoch(self, epoch):
        """One epoch on labels and, past the burn-in, pseudo labels. Returns a log record."""
        return self._epoch("train", epoch, self.epochs)

    def burn_in_steps(self):
        """Steps on labels alone, with a learning rate schedule of their own: the first teacher has converged."""
        if not self.unlabeled_size or self.semi.method == "none":
            return 0
        return round(self.burn_in * self.epochs * self.steps_per_epoch)

    def _epoch(self, stage, epoch, epochs):
        self.model.train()
        begin = time.perf_counter()
        sums, statistics, counted = {}, {}, 0
        for step in range(epoch * self.steps_per_epoch, (epoch + 1) * self.steps_per_epoch):
            losses, seen = self._take_step(stage, step, epochs * self.steps_per_epoch, epoch)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach()
            for name, value in seen.items():
                statistics[name] = statistics.get(name, 0) + value
            counted += bool(seen)
            self.after_step(stage, step)
        self.check.finish()
        statistics = distributed.mean_of({name: float(value) / counted for name, value in statistics.items()})
        sums = distributed.mean_of({name: float(value) for name, value in sums.items()})
        return {"stage": stage, "epoch": epoch + 1, "step": (epoch + 1) * self.steps_per_epoch,
                "processes": distributed.world_size(),
                "lr": self.optimizer.param_groups[0]["lr"], "seconds": round(time.perf_counter() - begin, 3),
                "loss": {name: value / self.steps_per_epoch for name, value in sums.items()},
                "kept_share": statistics.pop("kept_share", None), "holdout_mAP": None,
                # Against labels that training never sees, where the annotation file has them.
                "diagnostics": statistics}

    def _take_step(self, stage, step, total_steps, epoch):
        """Draw, compute the losses, and move student and teacher; returns losses and what is logged beside them."""
        settings = self.optimization
        restart = self.burn_in_steps() if stage == "train" else 0
        share = learning_rate_share(settings.schedule, step, total_steps, self.steps_per_epoch, restart)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * share
        # The step alone decides dropout and augmentation: a resumed run draws what an uninterrupted one would.
        # Only each of several processes, which have other sequences, draws for itself.
        stage_seed = settings.random_seed * 2 + (stage == "train")
        step_seed = stage_seed * 1_000_003 + step + (distributed.rank() << 40)
        torch.manual_seed(step_seed)
        inputs, names = STAGES[stage][0](self, step, total_steps, torch.Generator().manual_seed(step_seed))
        losses, seen = self._losses(stage, inputs, lambda broken: refuse_non_finite(
            broken, names, f"{stage} epoch {epoch + 1}"))
        self.optimizer.step()
        self.teacher.update_parameters(self.model)
        return losses, seen

    def _losses(self, stage, inputs, complain):
        """Losses and what is logged beside them; the gradients are in the parameters, clipped to GRADIENT_NORM.

        complain: called with the names of losses that are not finite, before the weights change; on a GPU a step later
        """
        if self.recorder is not None:
            try:
                return self._recorded_losses(stage, inputs, complain)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                note_fallback(error)
                self.recorder = None
        losses, seen = self.in_step(functools.partial(STAGES[stage][1], self), inputs)
        self.check.add(losses, complain)
        self._backward(losses)
        return losses, seen

    def _backward(self, losses):
        """The gradients of the sum of the losses, clipped, alone in the parameters."""
        total = sum(losses.values(), torch.zeros((), device=self.device))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)

    def _recorded_losses(self, stage, inputs, complain):
        """As `_losses`, by a graph of its own for each stage and each kind of inputs."""
        if stage not in self.graphs:
            self.graphs[stage] = StepGraphs(functools.partial(self._with_gradients, stage), self.recorder)
        losses, seen, gradients = self.graphs[stage](inputs)
        self.check.add(losses, complain)
        for parameter, gradient in zip(self.model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return losses, seen

    def _with_gradients(self, stage, inputs):
        """(losses, what is logged, gradient of each parameter, None where it has none): what a graph records."""
        losses, seen = STAGES[stage][1](self, inputs)
        self._backward(losses)
        gradients = [parameter.grad for parameter in self.model.parameters()]
        return {name: value.detach() for name, value in losses.items()}, seen, gradients

    # --- what the stages use ------------------------------------------------------------------------------------------

    def draw_batch(self, dataset, count, step, generator, stream):
        """The next `count` sequences of a dataset: standardized features, the rest as `SnippetDataset.batch` gives.

        Each process takes its part of what one process would draw for all of them.
        """
        part = step * distributed.world_size() + distributed.rank()
        indices = draw(len(dataset), count, part * count, self.optimization.random_seed * 10 + stream)
        batch = dataset.batch(indices, torch.rand(count, generator=generator).numpy())
        batch["features"] = self.model.standardize(batch["features"], batch["valid"])
        batch["names"] = dataset.names_of(indices)
        return batch

    def draw_view(self, batch, generator):
        """What the student's view of a batch is made by, as tensors for `strong`."""
        strength, shape = self.augmentation, batch["features"].shape
        zoom = strength.zoom if strength.change_speed else 0.0
        view = augment.random_montage(batch["counts"], shape[-1], zoom, strength.montage, generator,
                                      strength.change_speed)
        return {"view": to_device(view.as_tensor(), self.device),
                "drawn": augment.draw_perturbation(shape, self.device, strength.noise, strength.offset,
                                                   strength.channel_dropout, strength.snippet_masking, generator)}

    def strong(self, batch):
        """The student's view of a batch: (view, features (B, C, T), valid (B, T) bool)."""
        view = augment.montage_of(batch["view"])
        moved = view.show(batch["features"])
        seen = view.show(batch["valid"].to(moved.dtype)) > 0.5
        return view, augment.perturbed(moved, batch["drawn"]) * seen[:, None], seen

    def autocast(self):
        """The precision in which the network runs, as a context."""
        if self.amp == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def forward(self, model, features, valid):
        """The model's outputs in float32, whatever precision it ran in; features are standardized already."""
        with self.autocast():
            outputs = model.from_standardized(features, valid)
        return {key: value.float() for key, value in outputs.items()}

    def embedding(self, features, valid):
        """The student's embedding alone, (B, D, T) in float32; features are standardized already."""
        with self.autocast():
            return self.model.encoder(features, valid).float()

    def taught(self, teacher, features, valid):
        """What a teacher, perhaps the student itself, predicts without dropout or gradient; see the objective."""
        teacher.eval()
        with torch.no_grad():
            found = self.objective.taught(teacher, self.forward(teacher, features, valid), valid)
        self.model.train()
        return found
