"""What a training run prints: a block at its start, one bar over all of it, a line for each epoch, and its end.

Bars are drawn on a terminal only; the rest are plain lines, so that redirected output stays readable.
"""

import shlex
import statistics
import sys
import time
from collections import defaultdict, deque
from dataclasses import dataclass

import torch
from tqdm import tqdm

from spot import command_line, distributed
from spot.cleaning import label_warnings, losses_of, unusable
from spot.datasets import warn_of_durations
from spot.errors import SpotError
from spot.files import unwritable

# The expected time is printed after so many steps; the first ones, which take longer, are left out.
MEASURED_STEPS, COLD_STEPS = 10, 3
# Forward and backward pass cost three times the forward pass alone.
LEARNING = 3


@dataclass(frozen=True)
class Part:
    """A part of a training whose steps are alike. cost: sequences that go through the network forward in one step."""

    name: str
    steps: int
    cost: float


def parts_of(trainer, pretext):
    """The parts of a training in their order, those without a step too.

    trainer: engine.Trainer; pretext: does it begin with the pretext stage?
    """
    tasks = trainer.tasks
    tasks = sum(weight > 0 for weight in (tasks.random_foreground, tasks.temporal_order, tasks.reconstruction))
    steps = trainer.epochs * trainer.steps_per_epoch
    is_alone = not trainer.unlabeled_size or trainer.semi.method == "none"
    alone = steps if is_alone else min(trainer.burn_in_steps(), steps)
    both = LEARNING * (trainer.batch_size + trainer.unlabeled_size) + trainer.unlabeled_size  # the teacher's part
    return [Part("pretext", pretext * trainer.pretrain_epochs * trainer.steps_per_epoch,
                 LEARNING * tasks * trainer.batch_size),
            Part("labels alone", alone, LEARNING * trainer.batch_size),
            Part("labels and pseudo labels", steps - alone, both)]


# --- the start --------------------------------------------------------------------------------------------------------


def report_data(labeled, unlabeled, held_out, class_names):
    """What training will see, and what it will not. SpotError where no segment of the labeled videos can be used."""
    dirty = {key: sum(data.dirty[key] for data in (labeled, unlabeled) if data) for key in ("clipped", "dropped")}
    if distributed.world_size() > 1:
        print(f"{distributed.world_size()} processes, each with training.batch_size labeled videos per step")
    print(f"{len(labeled.videos)} labeled videos, {len(unlabeled.videos) if unlabeled else 0} unlabeled, "
          f"{len(held_out)} held out; {len(class_names)} classes; dirty segments: "
          f"{dirty['clipped']} clipped to their video, {dirty['dropped']} dropped as empty")
    ends_sec, fps = [grid.duration_sec for grid in labeled.grids], labeled.grid_settings.fps
    if fault := unusable(losses_of(labeled.videos, ends_sec, fps), "the labeled videos"):
        raise SpotError(fault)
    for sentence in label_warnings(labeled.videos, class_names, ends_sec, fps):
        print(f"warning: {sentence}", file=sys.stderr)
    for data in filter(None, (labeled, unlabeled)):
        lengths = zip(data.videos, data.bank.lengths, strict=True)
        warn_of_durations(data.videos, {video.name: int(length) for video, length in lengths}, data.grid_settings)
    shown = {class_names[index] for index in labeled.labels[labeled.labels >= 0].tolist()}
    absent = [name for name in class_names if name not in shown]
    if absent:
        print(f"warning: {len(absent)} classes have no labeled video and cannot be learned: {', '.join(absent[:5])}"
              + (" ..." if len(absent) > 5 else ""))


def start_block(trainer, parts, events):
    """What a training is about to do, as lines to print.

    trainer: engine.Trainer; parts: of `parts_of`; events: folder of the TensorBoard events
    """
    pools = [("labeled", trainer.labeled)] + ([("unlabeled", trainer.unlabeled)] if trainer.unlabeled else [])
    sequences = ", ".join(f"{len(data):,} {name}" for name, data in pools)
    places = ", ".join(f"{name} {'on the disk' if data.bank.cache == 'disk' else f'in {memory_name(data.bank)}'}"
                       for name, data in pools)
    count = sum(parameter.numel() for parameter in trainer.model.parameters())
    graph = ", each step one CUDA graph" if trainer.recorder is not None else ""
    rows = [("device", f"{device_name(trainer.device)}, {'bf16' if trainer.amp == 'bf16' else 'float32'}{graph}"),
            ("model", f"{count:,} parameters"),
            ("sequences", f"{sequences}, of {trainer.labeled.num_snippets} snippets"),
            ("features", places),
            ("steps", steps_text(trainer, parts)),
            ("passes", passes_text(trainer, parts)),
            *habit_rows(trainer),
            ("time", f"shown after the first {MEASURED_STEPS} steps"),
            ("curves", shlex.join(["tensorboard", "--logdir", str(events)]))]
    return [f"{name + ':':<11}{text}" for name, text in rows]


def habit_rows(trainer):
    """What labeled recordings have in common, and so pseudo labels, as rows of `start_block`."""
    habit = getattr(trainer.method, "habit", None)
    return [("classes", f"{habit.rule} ({habit.evidence})")] if habit else []


def memory_name(bank):
    """Where the features of a FeatureBank wait, and how much they are."""
    return f"{'GPU ' if bank.cache == 'device' else ''}memory ({bank.size_bytes / 1e6:,.0f} MB)"


def device_name(device):
    """The device in words, such as `NVIDIA H100 (cuda:0)` or `CPU with 2 threads`."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    return f"CPU with {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"


def steps_text(trainer, parts):
    """How many steps, in which epochs, and of which kinds."""
    total = sum(part.steps for part in parts)
    kinds = ", ".join(f"{part.steps:,} {part.name}" for part in parts if part.steps)
    processes = distributed.world_size()
    batch = f"{trainer.batch_size * processes} + {trainer.unlabeled_size * processes}"
    return f"{total:,} in epochs of {trainer.steps_per_epoch:,} ({kinds}); each with {batch} sequences"


def passes_text(trainer, parts):
    """How often the training stage sees each labeled and unlabeled sequence."""
    steps = {part.name: part.steps * distributed.world_size() for part in parts if part.name != "pretext"}
    labeled = trainer.batch_size * sum(steps.values()) / len(trainer.labeled)
    if not trainer.unlabeled:
        return f"{labeled:.1f} over the labeled sequences"
    unlabeled = trainer.unlabeled_size * steps["labels and pseudo labels"] / len(trainer.unlabeled)
    return f"{labeled:.1f} over the labeled sequences, {unlabeled:.1f} over the unlabeled ones"


def unused_unlabeled(trainer, parts):
    """Why no step learns from the unlabeled videos that are there, as a sentence; None where some do, or none shall.

    trainer: engine.Trainer; parts: of `parts_of`
    """
    semi, optimization = trainer.semi, trainer.optimization
    if trainer.unlabeled is None or semi.method == "none" or not trainer.epochs:
        return None
    if not trainer.unlabeled_size:
        reason = (f"training.batch_size={optimization.batch_size} x training.unlabeled_ratio="
                  f"{optimization.unlabeled_ratio:g} are no sequence")
    elif not any(part.steps for part in parts if part.name == "labels and pseudo labels"):
        reason = f"semi.burn_in={trainer.burn_in:g} leaves all steps to labels alone"
    elif not semi.weight or not any(trainer.method.loss_weights().values()):
        reason = "the weights of their losses are 0"
    else:
        return None
    count = len(trainer.unlabeled.videos)
    return f"semi.method={semi.method} learns nothing from the {count:,} unlabeled videos: {reason}"


# --- while it runs ----------------------------------------------------------------------------------------------------


class TimeLeft:
    """How long the rest of a training takes, from the steps so far.

    parts: of `parts_of`. A part that has not begun is expected to take as much longer as its steps cost more; the
    median of the last steps counts, so that a pause of the machine does not.
    """

    def __init__(self, parts, clock=time.perf_counter):
        self.parts = {part.name: part for part in parts}
        self.clock, self.before = clock, None
        self.left = {part.name: part.steps for part in parts}
        self.seconds = defaultdict(lambda: deque(maxlen=200))
        self.last = None

    def skip(self, name, steps):
        """Steps that an earlier session has taken."""
        self.left[name] = max(self.left[name] - steps, 0)

    def pause(self):
        """What follows until the next step is not a step: an epoch is saved."""
        self.before = None

    def step(self, name):
        """A step of this part is done."""
        now = self.clock()
        if self.before is not None:
            self.seconds[name].append(now - self.before)
        self.before, self.last = now, name
        self.left[name] -= 1

    def per_step(self, name):
        """Seconds of a step of this part; None before any was measured."""
        if self.seconds[name]:
            return statistics.median(self.seconds[name])
        if not self.seconds.get(self.last):
            return None
        return statistics.median(self.seconds[self.last]) * self.parts[name].cost / self.parts[self.last].cost

    def total(self):
        """Seconds that are left, None before any step was measured."""
        if self.last is None or self.per_step(self.last) is None:
            return None
        return sum(count * self.per_step(name) for name, count in self.left.items() if count)


class Progress:
    """One bar over the whole training, on a terminal; and the line of the expected time.

    parts: of `parts_of`; done: {stage: epochs that an earlier session has finished}
    """

    def __init__(self, trainer, parts, done):
        self.trainer, self.time_left = trainer, TimeLeft(parts)
        self.begin, self.steps = time.perf_counter(), 0
        for stage, epochs in done.items():
            for step in range(epochs * trainer.steps_per_epoch):
                self.time_left.skip(self._part_of(stage, step), 1)
        total = sum(part.steps for part in parts)
        self.bar = tqdm(total=total, initial=total - sum(self.time_left.left.values()), unit="step", disable=None,
                        bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {elapsed}{postfix}")
        trainer.after_step = self.step

    def _part_of(self, stage, step):
        if stage == "pretext":
            return "pretext"
        alone = self.time_left.parts["labels alone"].steps
        return "labels alone" if step < alone else "labels and pseudo labels"

    def step(self, stage, step):
        """Called after each step; stage: pretext or train; step: its number within the stage."""
        self.steps += 1
        if self.steps > COLD_STEPS:
            self.time_left.step(self._part_of(stage, step))
        else:
            self.time_left.left[self._part_of(stage, step)] -= 1
            self.time_left.before = self.time_left.clock()
        left = self.time_left.total()
        epochs = self.trainer.pretrain_epochs if stage == "pretext" else self.trainer.epochs
        self.bar.set_description_str(f"{stage} {step // self.trainer.steps_per_epoch + 1}/{epochs}", refresh=False)
        self.bar.set_postfix_str("" if left is None else f"{duration(left)} left", refresh=False)
        self.bar.update()
        if self.steps == MEASURED_STEPS and left is not None:
            each = self.time_left.per_step(self.time_left.last)
            self.say(f"expected time: {duration(left)} from here, at {each:.3g} s per step now")

    def end_epoch(self, text):
        """Print the line of an epoch that is saved."""
        self.time_left.pause()
        self.say(text)

    def say(self, text):
        """Print a line above the bar."""
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()

    def close(self):
        """Leave the bar as it is; returns the seconds since the start."""
        self.bar.close()
        self.trainer.after_step = no_report
        return time.perf_counter() - self.begin


def no_report(stage, step):
    """What a trainer calls after each step where nobody wants to know."""


def epoch_line(record):
    """One log record as a line to read."""
    losses = "  ".join(f"{name} {value:.3f}" for name, value in record["loss"].items())
    kept = "" if record["kept_share"] is None else f"  kept {record['kept_share']:.0%}"
    if record["diagnostics"]:
        kept += " (true: precision {pseudo_precision:.0%}, recall {pseudo_recall:.0%})".format(**record["diagnostics"])
    watched = "" if record["holdout_mAP"] is None else f"  holdout mAP {100 * record['holdout_mAP']:.1f}"
    return f"{record['stage']} {record['epoch']}: {losses}{kept}{watched}  ({record['seconds']:.0f} s)"


def duration(seconds):
    """Seconds as text: 45 s, 3 min 20 s, 2 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def write_curves(writer, record, step):
    """The values of one epoch for TensorBoard."""
    values = {**record["loss"], **record["diagnostics"],
              **{key: record[key] for key in ("lr", "kept_share", "holdout_mAP")}}
    try:
        for name, value in values.items():
            if value is not None:
                writer.add_scalar(f"{record['stage']}/{name}", value, step)
        writer.flush()
    except OSError as error:
        raise unwritable(writer.log_dir, error.strerror or error) from error


# --- the end ----------------------------------------------------------------------------------------------------------


def end_lines(folder, seconds, records):
    """Total time and the next commands, as lines to print.

    seconds: of this session, reading features included; records: of all epochs, those of earlier sessions too
    """
    steps = sum(record["seconds"] for record in records)
    return [f"done in {duration(seconds)}; the {len(records)} epochs of the run took {duration(steps)}",
            f"the run is in {folder}: {command_line.command('spot_inference.py', folder)}",
            f"and then its accuracy: {command_line.command('eval.py', folder)}"]
