"""Accuracy against the length of a training: the curves that the rule of spot/schedule.py comes from.

    python tools/length_curve.py --data config/sbhar.yaml [--steps 384 800 1600 3200] [--seeds 0 1] [key=value ...]

A part of the training videos is held out and evaluated, so that the length is not chosen on the evaluation subset. Each
`--data` is a YAML, perhaps with settings of its own behind it: `--data "config/anet.yaml dataset.feature_path=F"`. Rows
of OUT/curve.csv are not made again; OUT/curve.png shows all rows.
"""

import contextlib
import io
import shutil
import sys
from pathlib import Path

import matplotlib
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from ablation import append, finished, names_of_sets
from tqdm import tqdm

import eval as evaluation_script
from spot import command_line
from spot.annotations import labeled_split
from spot.config import load_config
from spot.config_values import data_values
from spot.data_files import open_data, videos_of_subset
from spot.files import atomic_path, read_json, write_text
from spot.schedule import EPOCHS
from spot_inference import main as infer
from spot_train import main as train

HELD_OUT = 0.3  # of the training videos that show no labels
METHODS = {"labels only": ["semi.method=none"], "with unlabeled videos": []}


def main(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", action="append", required=True, metavar='"YAML key=value"')
    parser.add_argument("--names", nargs="+", help="of the data sets in table and picture (default: of the YAML)")
    parser.add_argument("--steps", type=int, nargs="+", default=[384, 800, 1600, 3200])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/length_curve"))
    arguments = command_line.parse(parser, argv)
    names = names_of_sets(parser, arguments.names, arguments.data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = arguments.out / "curve.csv"
    done = finished(table)
    jobs = [{"key": f"{name}/{method}/{steps}/{seed}", "name": name, "data": data.split(), "method": method,
             "steps": steps, "seed": seed, "folder": arguments.out / f"{name}_{seed}", "overrides": arguments.overrides}
            for name, data in zip(names, arguments.data, strict=True)
            for seed in arguments.seeds for steps in arguments.steps for method in arguments.methods]
    for job in tqdm([job for job in jobs if job["key"] not in done], desc="length curve", unit="run", disable=None):
        append(table, [run(job)])
    if table.exists():
        draw(pd.read_csv(table), arguments.out / "curve.png")


def run(job):
    """Train on a part of the training videos, evaluate on the others; a row of curve.csv."""
    yaml, *own = job["data"]
    base = [*own, *job["overrides"], f"dataset.split_seed={job['seed']}", f"training.random_seed={job['seed']}"]
    config = load_config(yaml, base)
    learned, held_out, labeled = parts(config, job["seed"])
    folder = job["folder"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lists = {kind: folder / f"{kind}.txt" for kind in ("learned", "held_out", "labeled")}
    for kind, videos in (("learned", learned), ("held_out", held_out), ("labeled", labeled)):
        write_text(lists[kind], "\n".join(videos) + "\n")
    settings = [*base, f"training.steps_per_epoch={max(job['steps'] // EPOCHS, 1)}", f"output_path={folder / 'run'}"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        train(["--config", yaml, *settings, f"dataset.blocked={lists['held_out']}",
               f"dataset.labeled={lists['labeled']}", *METHODS[job["method"]]])
        infer([f"checkpoint={folder / 'run'}", f"dataset.blocked={lists['learned']}",
               f"dataset.eval_subset={config.dataset.train_subset}"])
        evaluation_script.main([f"output_path={folder / 'run'}", f"dataset.blocked={lists['learned']}",
                                f"dataset.eval_subset={config.dataset.train_subset}"])
    metrics = read_json(folder / "run" / "metrics.json")
    log = pd.read_json(folder / "run" / "log.jsonl", lines=True)
    return {"key": job["key"], "data": job["name"], "method": job["method"], "steps": job["steps"], "seed": job["seed"],
            "labeled": len(labeled), "unlabeled": len(learned) - len(labeled), "held_out": len(held_out),
            "average_mAP": metrics["average_mAP"], "seconds": round(log["seconds"].sum())}


def parts(config, seed):
    """Ids of the training videos that are learned from, of those held out, and of the labeled ones among the former."""
    videos, _, _ = open_data(**data_values(config))
    training = videos_of_subset(videos, "dataset.train_subset", config.dataset.train_subset,
                                config.dataset.video_anno_path)
    labeled = set(labeled_split(training, config.dataset.labeled, seed, config.dataset.video_info_path))
    others = [video.name for video in training if video.name not in labeled]
    held_out = set(np.random.default_rng(seed).permutation(others)[: round(HELD_OUT * len(others))].tolist())
    return [video.name for video in training if video.name not in held_out], sorted(held_out), sorted(labeled)


def draw(rows, path):
    """One panel per data set: accuracy against steps, a line per method, a point per seed."""
    names = list(dict.fromkeys(rows["data"]))
    figure, axes = plt.subplots(1, len(names), figsize=(4.5 * len(names), 3.6), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        part = rows[rows["data"] == name]
        for method, color in zip(METHODS, ("#d55e00", "#0072b2"), strict=True):
            own = part[part["method"] == method]
            mean = own.groupby("steps")["average_mAP"].mean() * 100
            axis.plot(mean.index, mean, color=color, label=method)
            axis.scatter(own["steps"], own["average_mAP"] * 100, color=color, s=15)
            for steps, value in mean.items():
                axis.annotate(f"{value:.1f}", (steps, value), textcoords="offset points", xytext=(0, 5), ha="center")
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted(part["steps"].unique()), [f"{steps:,}" for steps in sorted(part["steps"].unique())])
        first = part.iloc[0]
        axis.set(title=f"{name}\n{first['labeled']:,} labeled, {first['unlabeled']:,} unlabeled", xlabel="steps")
        axis.margins(0.08, 0.15)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("average mAP on held-out\ntraining videos, %")
    axes[0][0].legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)


if __name__ == "__main__":
    command_line.run(main)
