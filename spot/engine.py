"""One epoch of each stage: the pretext stage, and training on labels and on unlabeled videos. The losses meet here.

What is the detector's is in its objective (`detectors`), what is the semi-supervised method's in a file of its name
(`semi`); loop, data, views, teacher and log are the same for all.
"""

import contextlib
import math
import time
from dataclasses import dataclass

import torch

from spot import augment, distributed, pretext
from spot.datasets import draw
from spot.detectors import objective_of
from spot.devices import to_device
from spot.files import SpotError
from spot.graphs import CudaRecorder, LossCheck, StepGraphs, note_fallback
from spot.run_report import no_report
from spot.schedule import EPOCHS, learning_rate_share, plan_training
from spot.semi import make_method
from spot.targets import make_targets
from spot.teacher import make_optimizer, make_teacher

GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Augmentation:
    """How strong the student's view is; the YAML's `augment` section says what each value means."""

    zoom: float
    montage: float
    noise: float
    offset: float
    channel_dropout: float
    snippet_masking: float


@dataclass(frozen=True)
class PretextTasks:
    """Weights of the three pretext tasks and their sizes; the YAML's `pretext` section says what each means."""

    random_foreground: float
    temporal_order: float
    reconstruction: float
    dropped: float


def refuse_non_finite(broken, names, when):
    """SpotError for losses that are not finite. broken: their names; names: the step's videos; when: stage and epoch"""
    raise SpotError(f"{when}: the loss {', '.join(broken)} is not finite for the videos {', '.join(names)}; check "
                    "their features or lower training.learning_rate")


class Trainer:
    """The state of a training run and its epochs.

    model: a model.TemporalDetector on its device; labeled, unlabeled: datasets.SnippetDataset (unlabeled may be None)
    weights: {loss name: weight}; the step, not the wall clock, decides what is drawn, so that a run can be repeated
    batch_size: of each process; together they take the step that one process would with the batches of all
    graph: record the step as a CUDA graph where one process trains on a GPU
    """

    def __init__(self, model, labeled, unlabeled, weights, augmentation, semi, tasks, *, batch_size, unlabeled_ratio,
                 steps_per_epoch, pretrain_epochs, epochs, learning_rate, weight_decay, optimizer="adamw",
                 schedule="cosine", seed=0, amp="none", change_speed=True, graph=False):
        self.model, self.labeled, self.unlabeled = model, labeled, unlabeled
        self.weights, self.augmentation, self.semi, self.tasks = weights, augmentation, semi, tasks
        self.batch_size = batch_size
        self.unlabeled_size = round(batch_size * unlabeled_ratio) if unlabeled else 0
        # Steps on labels alone have a learning rate schedule of their own: the first teacher has converged.
        processes = distributed.world_size()
        plan = plan_training(len(labeled), len(unlabeled) if unlabeled else 0, batch_size * processes,
                             self.unlabeled_size * processes)
        self.burn_in = plan.burn_in if semi.burn_in == "auto" else semi.burn_in
        if steps_per_epoch == "auto":
            self.steps_per_epoch = plan.steps // EPOCHS
        else:  # None: one pass over the labeled sequences
            self.steps_per_epoch = steps_per_epoch or math.ceil(len(labeled) / (batch_size * processes))
        self.pretrain_epochs, self.epochs = pretrain_epochs, epochs
        self.schedule, self.learning_rate, self.seed = schedule, learning_rate, seed
        self.device = next(model.parameters()).device
        self.amp = amp
        # Where a video of any length has T snippets, speed means nothing; elsewhere an action has its own.
        self.change_speed = change_speed
        self.teacher = make_teacher(model, semi.ema_decay)
        self.objective = objective_of(model, weights)
        self.method = make_method(semi.method, self)
        self.in_step = distributed.in_step(model)
        self.after_step, self.check = no_report, LossCheck()
        # Several processes exchange gradients within a step, and a CPU launches nothing.
        is_recorded = graph and self.device.type == "cuda" and distributed.world_size() == 1
        self.recorder, self.graphs = CudaRecorder() if is_recorded else None, {}
        self._new_optimizer = lambda: make_optimizer(model, optimizer, learning_rate, weight_decay)
        self.optimizer = self._new_optimizer()

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
        record = self._epoch("pretext", epoch, self.pretrain_epochs, self._pretext_inputs, self._pretext_losses)
        self.model.class_part.requires_grad_(True)
        return record

    def train_epoch(self, epoch):
        """One epoch on labels and, past the burn-in, pseudo labels. Returns a log record."""
        return self._epoch("train", epoch, self.epochs, self._train_inputs, self._train_losses)

    def _epoch(self, stage, epoch, epochs, draw_inputs, losses_of):
        self.model.train()
        total_steps = epochs * self.steps_per_epoch
        restart = self.burn_in_steps() if stage == "train" else 0
        begin = time.perf_counter()
        sums, statistics, counted = {}, {}, 0
        for number in range(self.steps_per_epoch):
            step = epoch * self.steps_per_epoch + number
            share = learning_rate_share(self.schedule, step, total_steps, self.steps_per_epoch, restart)
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * share
            # The step alone decides dropout and augmentation: a resumed run draws what an uninterrupted one would.
            # Only each of several processes, which have other sequences, draws for itself.
            stage_seed = self.seed * 2 + (stage == "train")
            step_seed = stage_seed * 1_000_003 + step + (distributed.rank() << 40)
            torch.manual_seed(step_seed)
            generator = torch.Generator().manual_seed(step_seed)
            inputs, names = draw_inputs(step, total_steps, generator)
            losses, seen = self._step(losses_of, inputs, lambda broken, names=names: refuse_non_finite(
                broken, names, f"{stage} epoch {epoch + 1}"))
            self.optimizer.step()
            self.teacher.update_parameters(self.model)
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

    def _step(self, losses_of, inputs, complain):
        """Losses and what is logged beside them; the gradients are in the parameters, clipped to GRADIENT_NORM.

        complain: called with the names of losses that are not finite, before the weights change; on a GPU a step later
        """
        if self.recorder is not None:
            try:
                return self._recorded_step(losses_of, inputs, complain)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                note_fallback(error)
                self.recorder = None
        losses, seen = self.in_step(losses_of, inputs)
        self.check.add(losses, complain)
        self._backward(losses)
        return losses, seen

    def _backward(self, losses):
        """The gradients of the sum of the losses, clipped, alone in the parameters."""
        total = sum(losses.values(), torch.zeros((), device=self.device))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)

    def _recorded_step(self, losses_of, inputs, complain):
        """As `_step`, by a graph of its own for each stage and each kind of inputs."""
        if losses_of not in self.graphs:
            self.graphs[losses_of] = StepGraphs(lambda inputs: self._with_gradients(losses_of, inputs), self.recorder)
        losses, seen, gradients = self.graphs[losses_of](inputs)
        self.check.add(losses, complain)
        for parameter, gradient in zip(self.model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return losses, seen

    def _with_gradients(self, losses_of, inputs):
        """(losses, what is logged, gradient of each parameter, None where it has none): what a graph records."""
        losses, seen = losses_of(inputs)
        self._backward(losses)
        gradients = [parameter.grad for parameter in self.model.parameters()]
        return {name: value.detach() for name, value in losses.items()}, seen, gradients

    def autocast(self):
        """The precision in which the network runs, as a context."""
        if self.amp == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def _forward(self, model, features, valid):
        """The model's outputs in float32, whatever precision it ran in; features are standardized already."""
        with self.autocast():
            outputs = model.from_standardized(features, valid)
        return {key: value.float() for key, value in outputs.items()}

    def _draw(self, dataset, count, step, generator, stream):
        """The next `count` sequences of a dataset: standardized features, the rest as `SnippetDataset.batch` gives.

        Each process takes its part of what one process would draw for all of them.
        """
        part = step * distributed.world_size() + distributed.rank()
        indices = draw(len(dataset), count, part * count, self.seed * 10 + stream)
        batch = dataset.batch(indices, torch.rand(count, generator=generator).numpy())
        batch["features"] = self.model.standardize(batch["features"], batch["valid"])
        batch["names"] = dataset.names_of(indices)
        return batch

    def _draw_strong(self, batch, generator):
        """What the student's view of a batch is made by, as tensors for `strong`."""
        strength, shape = self.augmentation, batch["features"].shape
        zoom = strength.zoom if self.change_speed else 0.0
        view = augment.random_montage(batch["counts"], shape[-1], zoom, strength.montage, generator, self.change_speed)
        return {"view": to_device(view.as_tensor(), self.device),
                "drawn": augment.draw_perturbation(shape, self.device, strength.noise, strength.offset,
                                                   strength.channel_dropout, strength.snippet_masking, generator)}

    def embedding(self, features, valid):
        """The student's embedding alone, (B, D, T) in float32; features are standardized already."""
        with self.autocast():
            return self.model.encoder(features, valid).float()

    def taught(self, teacher, features, valid):
        """What a teacher, which may be the student, says of a batch without dropout or gradient; see the objective."""
        teacher.eval()
        with torch.no_grad():
            found = self.objective.taught(teacher, self._forward(teacher, features, valid), valid)
        self.model.train()
        return found

    def strong(self, batch):
        """The student's view of a batch: (view, features, valid)."""
        view = augment.montage_of(batch["view"])
        moved = view.show(batch["features"])
        seen = view.show(batch["valid"].to(moved.dtype)) > 0.5
        return view, augment.perturbed(moved, batch["drawn"]) * seen[:, None], seen

    def _train_inputs(self, step, total_steps, generator):
        """All that is drawn for a step, as tensors on the device, and the names of the videos."""
        labeled = self._draw(self.labeled, self.batch_size, step, generator, stream=0)
        inputs = {"labeled": self._for_step(labeled, generator)}
        weight = self._unlabeled_weight(step, total_steps)
        if weight == 0:
            return inputs, labeled["names"]
        unlabeled = self._draw(self.unlabeled, self.unlabeled_size, step, generator, stream=1)
        inputs["unlabeled"] = self._for_step(unlabeled, generator)
        inputs["unlabeled"] |= self.method.draw(unlabeled, step, total_steps, generator)
        weights = torch.tensor([weight * one for one in self.method.loss_weights().values()])
        inputs["unlabeled_weights"] = to_device(weights, self.device)
        return inputs, labeled["names"] + unlabeled["names"]

    def _for_step(self, batch, generator):
        return {key: batch[key] for key in ("features", "valid", "segments", "labels")} | self._draw_strong(
            batch, generator)

    def _train_losses(self, inputs):
        """The weighted losses of a step and what is logged beside them; nothing but tensors decides what is computed.

        inputs: of `_train_inputs`
        """
        labeled, unlabeled, objective = inputs["labeled"], inputs.get("unlabeled"), self.objective
        view, features, valid = self.strong(labeled)
        parts = [objective.targets(*view.show_segments(labeled["segments"], labeled["labels"], features.shape[-1]),
                                   valid)]
        size, lesson = len(features), None
        if unlabeled is not None:
            lesson = self.method.lesson(unlabeled)
            parts += [lesson.targets] if lesson.targets else []
            features, valid = torch.cat([features, lesson.features]), torch.cat([valid, lesson.valid])
        outputs = self._forward(self.model, features, valid)

        losses = objective.losses({key: value[:size] for key, value in outputs.items()}, parts[0])
        told = len(features) if lesson is None or lesson.targets else size  # the sequences that have targets
        losses |= objective.label_free({key: value[:told] for key, value in outputs.items()}, features[:told],
                                       valid[:told].to(features.dtype), parts)
        losses = {name: self.weights[name] * value for name, value in losses.items() if self.weights[name] > 0}
        if lesson is None:
            return losses, {}
        found = lesson.losses({key: value[size:] for key, value in outputs.items()})
        for (name, base), weight in zip(self.method.loss_weights().items(), inputs["unlabeled_weights"], strict=True):
            if base > 0:
                losses[f"unlabeled_{name}"] = weight * found[name]
        return losses, lesson.statistics or {}

    def burn_in_steps(self):
        """Steps on labels alone, with a learning rate schedule of their own: the first teacher has converged."""
        if not self.unlabeled_size or self.semi.method == "none":
            return 0
        return round(self.burn_in * self.epochs * self.steps_per_epoch)

    def _unlabeled_weight(self, step, total_steps):
        """0 during the burn-in, then a linear ramp to the full weight."""
        since = step - self.burn_in_steps()
        if not self.unlabeled_size or self.semi.method == "none" or since < 0:
            return 0.0
        return self.semi.weight * min(1.0, (since + 1) / max(self.semi.ramp * total_steps, 1))

    def _pretext_inputs(self, step, total_steps, generator):
        """All that is drawn for a step of the pretext stage, as tensors on the device, and the names of the videos."""
        # Labeled and unlabeled videos as often as there are of each.
        pools = [pool for pool in (self.labeled, self.unlabeled) if pool is not None]
        size = self.batch_size
        share = [round(size * len(pool) / sum(map(len, pools))) for pool in pools]
        share[0] = max(size - sum(share[1:]), 1)
        batches = [self._draw(pool, count, step, generator, stream=2 + number)
                   for number, (pool, count) in enumerate(zip(pools, share, strict=True)) if count]
        features, valid = (torch.cat([batch[key] for batch in batches]) for key in ("features", "valid"))
        inputs = {"features": features, "valid": valid}
        batch, _, length = features.shape
        if self.tasks.random_foreground > 0:
            segments, labels = pretext.random_segments(batch, length, generator)
            inputs |= {"segments": to_device(segments, self.device), "labels": to_device(labels, self.device)}
            inputs["drawn"] = augment.draw_perturbation(features.shape, self.device, self.augmentation.noise, 0, 0, 0,
                                                        generator)
        if self.tasks.temporal_order > 0:
            inputs["order"] = to_device(pretext.draw_order(batch, self.model.order_head.chunks, generator), self.device)
        if self.tasks.reconstruction > 0:
            inputs["kept"] = pretext.draw_kept(features.shape, self.tasks.dropped, features.device, generator)
        return inputs, [name for batch in batches for name in batch["names"]]

    def _pretext_losses(self, inputs):
        """The weighted losses of a step of the pretext stage. inputs: of `_pretext_inputs`"""
        features, valid = inputs["features"], inputs["valid"]
        seen, losses = valid.to(features.dtype), {}
        if self.tasks.random_foreground > 0:
            targets, _ = make_targets(inputs["segments"], inputs["labels"], 1, features.shape[-1])
            kept = augment.perturbed(pretext.keep_foreground(features, targets[:, 0]), inputs["drawn"])
            outputs = self._forward(self.model, kept, valid)
            found = self.objective.random_foreground(
                outputs, self.objective.targets(inputs["segments"], inputs["labels"], valid), seen)
            losses["random_foreground"] = self.tasks.random_foreground * found
        if self.tasks.temporal_order > 0:
            shuffled = pretext.shuffle_chunks(features, inputs["order"])
            outputs = self._forward(self.model, shuffled, valid[:, : shuffled.shape[-1]])
            losses["temporal_order"] = self.tasks.temporal_order * pretext.order_loss(
                self.model.order_head(outputs["embedding"]), inputs["order"], valid.all(1))
        if self.tasks.reconstruction > 0:
            outputs = self._forward(self.model, features * inputs["kept"], valid)
            losses["reconstruction"] = self.tasks.reconstruction * pretext.reconstruction_loss(
                self.model.reconstruct(outputs["embedding"]), features, seen)
        return losses, {}
