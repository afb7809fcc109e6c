"""What each part adds: a table, measured over seeds on any number of data sets, at the shipped length of training.

    python tools/ablation.py --data config/sbhar.yaml --data config/anet.yaml [--seeds 0 1 2] [--jobs 2] [key=value ...]

Each `--data` is a YAML; key=value replaces settings in all of them. Finished runs are rows of OUT/results.csv and are
not made again. Nothing is chosen here: every run is trained with a fixed schedule and evaluated once.
"""

import argparse
import contextlib
import io
import math
import multiprocessing
import shutil
import sys
from pathlib import Path

import matplotlib

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from mpmath import betainc
from tqdm import tqdm

import eval as evaluation_script
from spot import command_line
from spot.config import load_config
from spot.config_values import data_values
from spot.data_files import open_data
from spot.files import SpotError, atomic_path, read_json
from spot_inference import main as infer
from spot_train import main as train

# Name -> settings of the training, and the row that it is compared with: the shipped defaults with one part changed.
TRAININGS = {
    "labels only": ["semi.method=none"],
    "shipped defaults": [],
    "+ pretext": ["training.pretrain_epoch=4"],
    "+ boundary refinement": ["loss.boundary=0.1"],
    "+ consistency": ["loss.consistency=0.1"],
    "everything": ["training.pretrain_epoch=4", "loss.boundary=0.1", "loss.consistency=0.1"],
    "self pseudo labels": ["semi.method=self"],
    "published encoder and head": ["model.encoder=attention", "model.mask_head=fixed",
                                   "model.class_activation=softmax"],
}
COMPARED_WITH = {"labels only": None, "shipped defaults": "labels only"}  # others: the shipped defaults
# Decodings of the shipped defaults' model with one factor of the score left out.
SCORES = {"without class score": ["testing.class_power=0"], "without mask quality": ["testing.mask_power=0"],
          "with video score": ["testing.video_power=1"]}
MORE_LABELS = ("labels only", "shipped defaults")


def main(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", action="append", required=True, metavar="YAML", help="a data set; may be given again")
    seed = command_line.whole_number(0, 2**31 - 1)
    parser.add_argument("--seeds", type=seed, nargs="+", default=[0, 1, 2])
    parser.add_argument("--labels", type=share, nargs="+", default=["0.1", "0.6", "1.0"],
                        help="shares of labeled videos")
    parser.add_argument("--rows", nargs="+", default=list(TRAININGS), choices=list(TRAININGS))
    parser.add_argument("--jobs", type=command_line.whole_number(1, 999), default=1, help="runs at a time")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    arguments = command_line.parse(parser, argv)
    for path in arguments.data:  # a file that is missing is told now, not after the runs of the others
        open_data(**data_values(load_config(path, arguments.overrides)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = arguments.out / "results.csv"
    done = finished(table)
    jobs = [job for job in make_jobs(arguments) if job["key"] not in done]
    context = multiprocessing.get_context("spawn")
    with context.Pool(arguments.jobs, initializer=torch.set_num_threads,
                      initargs=(max(1, torch.get_num_threads() // arguments.jobs),)) as pool:
        for rows in tqdm(pool.imap_unordered(run, jobs), total=len(jobs), desc="ablation", unit="run", disable=None):
            append(table, rows)
    means = summary(table)
    print(means.to_string())
    draw(means, arguments.out / "ablation.png")


def share(text):
    """The argparse type of a share in (0, 1], as it was written: rows of the table and run folders are called so."""
    try:
        fits = 0 < float(text) <= 1
    except ValueError:
        fits = False
    if not fits:
        raise argparse.ArgumentTypeError(f"must be a share of labeled videos, above 0, at most 1, got {text!r}")
    return text


def make_jobs(arguments):
    """One dict per training: where it goes, its settings, and the scores to take of it. Cheap seeds come first."""
    for seed in arguments.seeds:
        for data in arguments.data:
            for share in arguments.labels:
                for name in arguments.rows:
                    if share != arguments.labels[0] and name not in MORE_LABELS:
                        continue
                    key = f"{Path(data).stem}/{share}/{name}/{seed}"
                    yield {"key": key, "data": data, "share": share, "name": name, "seed": seed,
                           "folder": str(arguments.out / key.replace(" ", "_")), "overrides": arguments.overrides,
                           "scores": name == "shipped defaults" and share == arguments.labels[0]}


def run(job):
    """Train, detect, evaluate; returns rows of results.csv."""
    shutil.rmtree(job["folder"], ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        train(["--config", job["data"], *settings_of(job), f"output_path={job['folder']}"])
        rows = [measure(job, job["name"], [])]
        if job["scores"]:
            rows += [measure(job, name, overrides) for name, overrides in SCORES.items()]
    return rows


def settings_of(job):
    """The overrides of one training. What makes the row comes last: a path of the user's must not undo its labels."""
    return [*job["overrides"], *labels_of(job), f"dataset.split_seed={job['seed']}",
            f"training.random_seed={job['seed']}", *TRAININGS[job["name"]]]


def labels_of(job):
    """The override that labels a share of the videos: by a published split where the YAML has one, else at random."""
    config = load_config(job["data"], job["overrides"])
    if config.dataset.labeled != "info":
        return [f"dataset.labeled={job['share']}"]
    published = {"0.1": "_0.9", "0.6": "_0.4", "1.0": ""}  # the files are named by the share without labels
    if job["share"] not in published:
        raise SpotError(f"--labels {job['share']}: {job['data']} takes the published splits, 0.1, 0.6 and 1.0")
    path = config.dataset.video_info_path
    for suffix in ("_0.9", "_0.4"):
        path = path.removesuffix(f"{suffix}.csv") + ".csv" if path.endswith(f"{suffix}.csv") else path
    return [f"dataset.video_info_path={path.removesuffix('.csv')}{published[job['share']]}.csv"]


def measure(job, name, overrides):
    infer([f"checkpoint={job['folder']}", *overrides])
    evaluation_script.main([f"output_path={job['folder']}"])
    metrics = read_json(f"{job['folder']}/metrics.json")
    return {"key": job["key"], "data": Path(job["data"]).stem, "labels": job["share"], "row": name, "seed": job["seed"],
            "average_mAP": metrics["average_mAP"], "whole_video": metrics["whole_video_average_mAP"]}


def finished(table):
    return set(pd.read_csv(table)["key"]) if table.exists() else set()


def append(table, rows):
    old = [pd.read_csv(table)] if table.exists() else []
    with atomic_path(table) as temporary:
        pd.concat([*old, pd.DataFrame(rows)]).to_csv(temporary, index=False)


def summary(table):
    """Mean and deviation over the seeds in %, p and the share of the gap closed, per data set, share of labels and row.

    p: of a paired t-test over the seeds that both have, of shipped defaults against labels only, of other rows against
    shipped defaults; gap: (row - labels only) / (all labels - labels only), in %, where all three were run
    """
    results = pd.read_csv(table, dtype={"labels": str})
    results["average_mAP"] *= 100
    order = [*TRAININGS, *SCORES]
    grouped = results.groupby(["data", "labels", "row"])["average_mAP"].agg(["mean", "std", "count"])
    grouped = grouped.sort_index(key=lambda level: level.map(order.index) if level.name == "row" else level)
    values = results.set_index(["data", "labels", "row", "seed"])["average_mAP"].sort_index()
    compared = [(*key[:2], COMPARED_WITH.get(key[2], "shipped defaults")) for key in grouped.index]
    grouped["p"] = [paired_p(values[key], values[other]) if other in grouped.index else np.nan
                    for key, other in zip(grouped.index, compared, strict=True)]
    grouped["gap"] = [100 * gap_closed(grouped["mean"], *key) for key in grouped.index]
    return grouped.round({"mean": 1, "std": 1, "p": 3, "gap": 0})


def names_of_sets(parser, names, data):
    """A name for each data set of a tool: those of `--names`, else of the YAMLs. data: list of "YAML key=value" texts

    SpotError where they are not as many, or one is there twice.
    """
    names = names or [Path(text.split()[0]).stem for text in data]
    if len(names) != len(data) or len(set(names)) != len(names):
        parser.error(f"--names: {len(data)} data sets need as many different names; got {', '.join(names)}")
    return names


def paired_p(one, other):
    """Two-sided p of a paired t-test; NaN with fewer than two pairs. one, other: Series by seed."""
    difference = (one - other).dropna()
    n, deviation = len(difference), difference.std()
    if n < 2:
        return np.nan
    if deviation == 0:
        return 1.0 if difference.mean() == 0 else 0.0
    t = difference.mean() / deviation * math.sqrt(n)
    # The two tails of Student's t with n - 1 degrees of freedom (Abramowitz and Stegun, 26.7.1 and 26.5.27).
    return float(betainc((n - 1) / 2, 0.5, 0, (n - 1) / (n - 1 + t * t), regularized=True))


def gap_closed(means, data, labels, row):
    """How much of the way from labels only to all labels a row goes, as a share; NaN where it cannot be told."""
    low, high = means.get((data, labels, "labels only")), means.get((data, "1.0", "labels only"))
    if low is None or high is None or labels == "1.0" or row not in TRAININGS or high <= low:
        return np.nan
    return (means[data, labels, row] - low) / (high - low)


def draw(means, path):
    """One panel per data set: a bar per row and share of labels, with the spread over seeds."""
    names = means.index.get_level_values("data").unique()
    most = max(len(means.loc[name]) for name in names)
    figure, axes = plt.subplots(1, len(names), figsize=(7 * len(names), 2 + 0.3 * most), squeeze=False,
                                layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        part = means.loc[name].iloc[::-1]
        titles = [f"{row}, {float(labels):.0%} labels" for labels, row in part.index]
        spread = part["std"].fillna(0)
        axis.barh(titles, part["mean"], xerr=spread, color="#0072b2", ecolor="black")
        for place, (value, beyond) in enumerate(zip(part["mean"], spread, strict=True)):
            axis.text(value + beyond, place, f" {value:.1f}", va="center")
        axis.set(title=f"{name}: mean and deviation over seeds", xlabel="average mAP, %")
        axis.margins(x=0.12)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    command_line.run(main)
