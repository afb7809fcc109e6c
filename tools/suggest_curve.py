"""Does it matter which recordings are labeled next?  Simulated rounds of labeling: mAP against labeled recordings.

    python tools/suggest_curve.py --data config/sbhar.yaml [--seeds 0 1 2] [--steps 400] [key=value ...]

Every round trains on the recordings labeled so far, is evaluated once on the evaluation subset, and chooses more of
the training recordings: in random order, the least sure first (`uncertainty`), or as `--suggest` does (`suggest`). The
first round is the same for all orders: the smallest choice of `dataset.labeled` that shows every class. Labels of a
recording are looked at once it is chosen. Each `--data` is a YAML, perhaps with settings behind it. Trainings are
shorter than the shipped ones and on labels alone. Rounds that are rows of OUT/curve.csv are not run again;
OUT/curve.png shows all rows.
"""

import contextlib
import io
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from ablation import append, finished, names_of_sets, share
from tqdm import tqdm

import eval as evaluation_script
from spot import command_line
from spot.annotations import labeled_split
from spot.checkpoint import load_model
from spot.config import load_config
from spot.config_values import data_values, grid_values
from spot.data_files import open_data, videos_of_subset, with_features
from spot.datasets import GridSettings
from spot.files import SpotError, atomic_path, read_json, write_text
from spot.suggest import WEIGHTS, by_uncertainty
from spot.suggest_views import STRENGTH, suggest_among, views_of
from spot.text import read_lines
from spot_inference import main as infer
from spot_train import main as train

STYLES = {"random": ("#999999", "o-", "random"), "uncertainty": ("#d55e00", "s--", "least sure first"),
          "suggest": ("#0072b2", "D-", "--suggest")}


def main(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", action="append", required=True, metavar='"YAML key=value"')
    parser.add_argument("--names", nargs="+", help="of the data sets in table and picture (default: of the YAML)")
    parser.add_argument("--orders", nargs="+", default=list(STYLES), choices=list(STYLES))
    parser.add_argument("--shares", type=share, nargs="+", default=["0.04", "0.08", "0.12", "0.16", "0.2"],
                        help="of the training recordings that are labeled in the rounds after the first")
    parser.add_argument("--seeds", type=command_line.whole_number(0, 2**31 - 1), nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=command_line.whole_number(1, 10**6), default=400, help="of each training")
    parser.add_argument("--weights", type=float, nargs=len(WEIGHTS), metavar="W", default=list(WEIGHTS.values()),
                        help=f"of --suggest: {', '.join(WEIGHTS)} (default: the shipped ones)")
    parser.add_argument("--out", type=Path, default=Path("runs/suggest_curve"))
    arguments = command_line.parse(parser, argv)
    names = names_of_sets(parser, arguments.names, arguments.data)
    for yaml, *own in (data.split() for data in arguments.data):
        detector = load_config(yaml, [*own, *arguments.overrides]).model.detector
        if detector != "spot" and (others := [order for order in arguments.orders if order != "random"]):
            raise SpotError(f"--orders {others[0]} needs the classes of snippets, which model.detector={detector} does "
                            "not have; give --orders random")
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = arguments.out / "curve.csv"
    jobs = [(name, data, seed, order) for name, data in zip(names, arguments.data, strict=True)
            for seed in arguments.seeds for order in arguments.orders]
    for name, data, seed, order in tqdm(jobs, desc="suggest curve", unit="curve"):
        simulation = Simulation(name, data, seed, arguments)
        simulation.run(order, table)
        draw(pd.read_csv(table), arguments.out / "curve.png")
    print(summary(pd.read_csv(table)).to_string())


class Simulation:
    """Rounds of labeling of one data set and seed."""

    def __init__(self, name, data, seed, arguments):
        self.yaml, *own = data.split()
        self.base = [*own, *arguments.overrides, f"training.random_seed={seed}"]
        self.config = load_config(self.yaml, self.base)
        self.name, self.seed, self.steps, self.out = name, seed, arguments.steps, arguments.out
        self.weights = dict(zip(WEIGHTS, arguments.weights, strict=True))
        videos, self.class_names, self.source = open_data(**data_values(self.config))
        training = videos_of_subset(videos, "dataset.train_subset", self.config.dataset.train_subset,
                                    self.config.dataset.video_anno_path)
        self.training, _ = with_features(training, self.source, "training")
        self.shares = [float(text) for text in arguments.shares]

    def run(self, order, table):
        """All rounds of one order that are not rows of the table yet."""
        labeled = smallest_covering(self.training, self.seed)
        sizes = [len(labeled), *(size for size in (round(share * len(self.training)) for share in self.shares)
                                 if size > len(labeled))]
        before = None
        for size in sizes:
            kind = order if before else "start"
            place = f"{self.name}/{kind}/{self.seed}/{size}"
            folder = self.out / place
            if before:
                labeled = self.grown(order, before, labeled, size)
            if place not in finished(table):
                append(table, [{"key": place, "data": self.name, "order": kind, "seed": self.seed, "labeled": size,
                                "share": size / len(self.training), "steps": self.steps,
                                "average_mAP": self.train(folder, labeled)}])
            before = folder

    def grown(self, order, before, labeled, size):
        """The labeled recordings of the next round, `size` of them; before: the run folder of the last one."""
        path = self.out / self.name / order / f"{self.seed}" / f"{size}.txt"
        if not path.exists():
            more = self.choose(order, before, labeled, size - len(labeled))
            write_text(path, "".join(f"{video}\n" for video in [*labeled, *more]))
        return read_lines(path)

    def train(self, folder, labeled):
        """Train on the labeled recordings, evaluate; returns average mAP."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        names = folder / "chosen.txt"
        write_text(names, "".join(f"{video}\n" for video in labeled))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            train(["--config", self.yaml, "semi.method=none", "training.max_epoch=1",
                   f"training.steps_per_epoch={self.steps}", *self.base, f"dataset.labeled={names}",
                   f"output_path={folder}"])
            infer([f"checkpoint={folder}"])
            evaluation_script.main([f"output_path={folder}"])
        (folder / "last.pt").unlink()
        return read_json(folder / "metrics.json")["average_mAP"]

    def choose(self, order, before, labeled, number):
        """The ids of `number` recordings that are labeled next; their labels are not known yet."""
        known = set(labeled)
        left = [without_labels(video) for video in self.training if video.name not in known]
        if order == "random":
            drawn = np.random.default_rng([self.seed, len(labeled)]).permutation(len(left))[:number]
            return [left[index].name for index in drawn]
        if not (before / "best.pt").exists():
            self.train(before, labeled)
        model, grid = load_model(before, "cpu"), GridSettings(**grid_values(self.config))
        strength = {key: self.config.augment[key] for key in STRENGTH}
        if order == "uncertainty":
            return by_uncertainty(views_of(model, left, self.source, grid, strength), number)
        shown = [video for video in self.training if video.name in known]
        chosen = suggest_among(model, shown, left, self.source, grid, strength, self.class_names, number,
                               weights=self.weights)
        return [one.view.name for one in chosen]


def without_labels(video):
    """The video as it is before somebody annotates it."""
    return replace(video, segments_sec=np.zeros((0, 2)), labels=(), label_ids=None)


def smallest_covering(training, seed):
    """The fewest recordings that `dataset.labeled` chooses so that every class is shown."""
    wanted = {label for video in training for label in video.labels}
    by_name = {video.name: video for video in training}
    for count in range(1, len(training) + 1):
        chosen = labeled_split(training, count / len(training), seed)
        if {label for name in chosen for label in by_name[name].labels} == wanted:
            return chosen
    return list(by_name)


def curves_of(rows):
    """The rows with those of the first round once for each order."""
    orders = [order for order in STYLES if order in set(rows["order"])]
    starts = rows[rows["order"] == "start"]
    return pd.concat([rows[rows["order"] != "start"], *(starts.assign(order=order) for order in orders)])


def summary(rows):
    """Mean and deviation of average mAP in %, per data set, number of labeled recordings and order."""
    rows = curves_of(rows).assign(average_mAP=lambda part: 100 * part["average_mAP"])
    grouped = rows.groupby(["data", "labeled", "order"])["average_mAP"].agg(["mean", "std", "count"])
    return grouped.round(1).unstack("order")


def draw(rows, path):
    """One panel per data set: mean over the seeds and their range, a line for each order."""
    rows = curves_of(rows)
    names = list(dict.fromkeys(rows["data"]))
    figure, axes = plt.subplots(1, len(names), figsize=(5.2 * len(names), 4), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        part = rows[rows["data"] == name]
        for order, (color, style, label) in STYLES.items():
            own = part[part["order"] == order].assign(value=lambda some: 100 * some["average_mAP"])
            if not len(own):
                continue
            values = own.groupby("labeled")["value"].agg(["mean", "min", "max"])
            axis.plot(values.index, values["mean"], style, color=color, label=label, markersize=5)
            axis.fill_between(values.index, values["min"], values["max"], color=color, alpha=0.12, linewidth=0)
        shares = part.groupby("labeled")["share"].first()
        axis.set_xticks(shares.index, [f"{count}\n{100 * value:.0f} %" for count, value in shares.items()])
        seeds = part["seed"].nunique()
        axis.set(title=f"{name}, {seeds} seed{'s' if seeds > 1 else ''}", xlabel="labeled recordings")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("average mAP, %")
    axes[0][0].legend(frameon=False, loc="lower right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)


if __name__ == "__main__":
    command_line.run(main)
