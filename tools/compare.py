"""The paper's comparison made anew: detectors that propose segments against masks, on the same features and labels.

    python tools/compare.py --data config/anet.yaml [--labels 0.1 0.6] [--seeds 0 1 2] [--steps 1600] [key=value ...]
    python tools/compare.py --data config/anet.yaml --oracle          with the error-propagation experiment

All rows have the same features, labels, augmentation, batches, class source and evaluation; --steps gives all the same
number of steps, without a pretext stage, and without it they take what the settings files say. A row differs in what
`ROWS` says. Finished rows of OUT/compare.csv are not run again. Beside mAP: AR@100 of the proposals, time and peak
memory of training and inference, each in a process of its own, and with --oracle the mAP of the same model where it is
given the true segments and asked for classes only. Each `--data` is a YAML, perhaps with settings behind it.
"""

import contextlib
import io
import json
import multiprocessing
import resource
import shutil
import sys
import time
from pathlib import Path

import matplotlib

sys.path.insert(0, str(Path(__file__).resolve().parent))
matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from ablation import append, finished, labels_of, names_of_sets, paired_p, share
from tqdm import tqdm

from spot import command_line
from spot.checkpoint import load_model
from spot.config import load_config
from spot.config_values import data_values, decoding_values, grid_values, plain
from spot.data_files import open_data, videos_of_subset, with_features
from spot.datasets import GridSettings
from spot.evaluation import evaluate_detections, parse_thresholds, threshold_key
from spot.files import SpotError, atomic_path, write_text
from spot.inference import detect, to_results
from spot.oracle import classify_recording, entries_of_given
from spot.recall import average_recall
from spot.recordings import centers_of_rows, times_of
from spot_train import main as train

# The base module of BMN as its encoder; the learning rate was chosen on a development split, see docs/comparison.md.
BMN = ["model.detector=bmn", "model.encoder=conv", "training.learning_rate=3e-3"]
# Encoder, head, activation, losses, pseudo labels and decoding as published; optimizer, schedule, augmentation and the
# statistics of the features are those of all rows.
PUBLISHED = ["model.detector=spot", "model.encoder=attention", "model.mask_head=fixed",
             "model.class_activation=softmax", "loss.class=0.5", "loss.instance=0", "loss.boundary=1",
             "semi.method=self", "semi.targets=hard", "semi.class_threshold=0", "semi.mask_threshold=0.7",
             "testing.mask_thresh=[0,0.2,0.4,0.6,0.8]", "testing.top_k=10", "testing.max_detections=100"]
ROWS = {
    "sliding window": ["model.detector=sliding", "semi.method=none", "training.pretrain_epoch=0"],
    "BMN, labels only": [*BMN, "semi.method=none"],
    "BMN, Mean Teacher": [*BMN, "semi.method=mean_teacher"],
    "BMN, FixMatch": [*BMN, "semi.method=fixmatch"],
    "BMN, SSTAP": [*BMN, "semi.method=sstap"],
    "BMN, shipped encoder": ["model.detector=bmn", "training.learning_rate=1e-3", "semi.method=none"],
    "SPOT, published, labels only": [*PUBLISHED, "semi.method=none"],
    "SPOT, published": PUBLISHED,
    "SPOT, labels only": ["model.detector=spot", "semi.method=none"],
    "SPOT, shipped": ["model.detector=spot"],
}
BASELINE = "whole-video baseline"
# Which the paired tests of every row are against: column p, and p_published for what the paper claims.
REFERENCES = {"p": "SPOT, shipped", "p_published": "SPOT, published"}
EPOCHS = 8
NUMBERS = ["average_mAP", "oracle_mAP", "AR_100", "train_sec", "infer_sec", "memory_MB"]


def main(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", action="append", required=True, metavar='"YAML key=value"')
    parser.add_argument("--names", nargs="+", help="of the data sets in table and picture (default: of the YAML)")
    parser.add_argument("--labels", type=share, nargs="+", default=["0.1", "0.6"], help="shares of labeled videos")
    parser.add_argument("--seeds", type=command_line.whole_number(0, 2**31 - 1), nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--steps", type=command_line.whole_number(EPOCHS, 10**7),
                        help="of every training, half of them on labels alone where unlabeled videos are used")
    parser.add_argument("--oracle", action="store_true", help="also classify the true segments")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    arguments = command_line.parse(parser, argv)
    sets = [text.split() for text in arguments.data]
    names = names_of_sets(parser, arguments.names, arguments.data)
    for yaml, *own in sets:  # a file that is missing is told now, not after the runs of the others
        config = load_config(yaml, [*own, *arguments.overrides])
        if config.testing.class_scores != "none":
            raise SpotError(f"testing.class_scores is {config.testing.class_scores}, and the rows are compared by "
                            "their own classes; give testing.class_scores=none")
        open_data(**data_values(config))
    for job in {(job["name"], job["row"]): job for job in make_jobs(arguments, sets, names)}.values():
        load_config(job["data"], settings_of(job))  # and so are settings that do not go with a row
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = arguments.out / "compare.csv"
    jobs = [job for job in make_jobs(arguments, sets, names) if job["key"] not in finished(table)]
    context = multiprocessing.get_context("spawn")
    for job in tqdm(jobs, desc="comparison", unit="run", disable=None):
        with context.Pool(1, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)) as pool:
            append(table, [pool.apply(run, (job,))])  # a process each, so that its peak memory is its own
    if table.exists():
        means = summary(table)
        print(means.to_string())
        write_table(means, arguments.out / "compare.md")
        draw(means, arguments.out / "compare.png")


def make_jobs(arguments, sets, names):
    """One dict per training; cheap seeds come first."""
    length = []
    if arguments.steps:
        length = [f"training.max_epoch={EPOCHS}", f"training.steps_per_epoch={arguments.steps // EPOCHS}",
                  "semi.burn_in=0.5", "training.pretrain_epoch=0"]
    for seed in arguments.seeds:
        for (yaml, *own), name in zip(sets, names, strict=True):
            for labels in arguments.labels:
                for row in arguments.rows:
                    key = f"{name}/{labels}/{row}/{seed}/{arguments.steps or 'shipped'}"
                    yield {"key": key, "data": yaml, "name": name, "share": labels, "row": row, "seed": seed,
                           "steps": arguments.steps, "overrides": [*own, *arguments.overrides], "length": length,
                           "oracle": arguments.oracle, "folder": str(arguments.out / key.replace(" ", "_"))}


def settings_of(job):
    """The overrides of one training. What makes the row comes last: a setting of the user's must not undo it."""
    return [*job["overrides"], *job["length"], *labels_of(job), f"dataset.split_seed={job['seed']}",
            f"training.random_seed={job['seed']}", *ROWS[job["row"]]]


def run(job):
    """Train, detect, evaluate, and with `oracle` classify the true segments; returns a row of compare.csv."""
    shutil.rmtree(job["folder"], ignore_errors=True)
    settings = ["--config", job["data"], *settings_of(job), f"output_path={job['folder']}"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        train_sec, _ = clocked(lambda: train(settings))
        found = measure(job)
    return {"key": job["key"], "data": job["name"], "labels": job["share"], "row": job["row"], "seed": job["seed"],
            "steps": pd.read_json(Path(job["folder"]) / "log.jsonl", lines=True)["step"].max(), **found,
            "train_sec": train_sec, "memory_MB": peak_memory()}


def clocked(work):
    """(seconds, what `work()` returns); on a CPU the processor's time, which other programs do not lengthen."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    begin = clock()
    result = work()
    return round(clock() - begin, 3), result


def peak_memory():
    """The most memory in MB that this process had; on a GPU, of the GPU."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e6)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(job):
    """What the trained model of a job gets on the evaluation subset, as numbers in 0..1 and seconds."""
    config = load_config(Path(job["folder"]) / "config.yaml")
    model = load_model(job["folder"], "cuda" if torch.cuda.is_available() else "cpu")
    videos, class_names, source = open_data(**data_values(config))
    subset = config.dataset.eval_subset
    wanted = videos_of_subset(videos, "dataset.eval_subset", subset, config.dataset.video_anno_path)
    present, _ = with_features(wanted, source, subset)
    times = [times_of(video, config.dataset.fps) for video in present]
    features = [source.read(video.name) for video in present]
    thresholds = parse_thresholds(plain(config.testing.tiou))
    settings = {key: value for key, value in (grid_values(config) | decoding_values(config)).items() if key != "fps"}

    def found(**more):
        return detect(model, features, [one.duration_sec for one in times],
                      feature_duration_sec=[one.feature_duration_sec for one in times], fps=[one.fps for one in times],
                      centers_sec=centers_of_rows(times, features), **settings, **more)

    def evaluated(entries):
        results = {video.name: rows for video, rows in zip(present, entries, strict=True)}
        return evaluate_detections(wanted, {"results": results}, subset, thresholds)

    infer_sec, rows = clocked(found)
    result = evaluated([to_results(one, class_names) for one in rows])
    # As if there were one class: Soft-NMS is then among all proposals, as where published recall is measured.
    alone = np.eye(1, len(class_names))[0]
    proposals = found(external=[alone] * len(present))
    recall = average_recall(evaluated([to_results(one, class_names) for one in proposals]).scene)
    numbers = {"average_mAP": result.average_mAP, "whole_video": result.whole_video_average_mAP,
               "AR_100": float(recall.average[-1]), "infer_sec": infer_sec,
               "mAP": json.dumps({threshold_key(tiou): round(float(value), 4)
                                  for tiou, value in zip(thresholds, result.mAP, strict=True)})}
    if job["oracle"]:
        grid = GridSettings(**grid_values(config))
        given = [video.segments_sec for video in present]
        told = [classify_recording(model, grid, *one) for one in zip(features, times, given, strict=True)]
        numbers["oracle_mAP"] = evaluated([entries_of_given(*one, class_names)
                                           for one in zip(told, given, strict=True)]).average_mAP
    return numbers


def summary(table):
    """Per data set, steps, share of labels and row: means over the seeds (mAP and recall in %), deviation, p.

    p, p_published: of a paired t-test against the row that REFERENCES names, over the seeds that both have, NaN for
    fewer than two; fall: oracle - average mAP. The
    whole-video baseline is a row too, with the classes of the shipped SPOT, or of the last SPOT of ROWS that was run.
    """
    results = pd.read_csv(table, dtype={"labels": str})
    if "oracle_mAP" not in results:
        results["oracle_mAP"] = np.nan
    place = ["data", "steps", "labels"]
    source = results[results["row"].str.startswith("SPOT")].sort_values("row", key=lambda row: row.map([*ROWS].index))
    source = source.drop_duplicates([*place, "seed"], keep="last")
    baseline = source.assign(row=BASELINE, average_mAP=source["whole_video"], oracle_mAP=np.nan, AR_100=np.nan,
                             train_sec=np.nan, infer_sec=np.nan, memory_MB=np.nan)
    results = pd.concat([baseline.dropna(subset="average_mAP"), results])
    results[["average_mAP", "oracle_mAP", "AR_100"]] *= 100
    groups = results.groupby([*place, "row"])
    means = groups[NUMBERS].mean()
    means.insert(1, "deviation", groups["average_mAP"].std())
    means.insert(2, "seeds", groups.size())
    order = [BASELINE, *ROWS]
    means = means.sort_index(key=lambda level: level.map(order.index) if level.name == "row" else level)
    values = results.set_index([*place, "row", "seed"])["average_mAP"].sort_index()
    for column, reference in REFERENCES.items():
        means[column] = [paired_p(values[key], values[(*key[:3], reference)])
                         if (*key[:3], reference) in means.index and key[3] != reference else np.nan
                         for key in means.index]
    means["fall"] = means["oracle_mAP"] - means["average_mAP"]
    return means.round({name: 3 if name in REFERENCES else 1 for name in means})


def write_table(means, path):
    """The table of `summary` for people: Markdown, a row each, mean and deviation of average mAP in one cell."""
    head = ["data", "labels", "row", "seeds", "average mAP", "p", "p, published", "given true segments", "fall",
            "AR@100", "training s", "inference s", "memory MB"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (name, _, labels, row), one in means.iterrows():
        spread = "" if np.isnan(one["deviation"]) else f" ± {one['deviation']:.1f}"
        cells = [name, f"{float(labels):.0%}", row, f"{one['seeds']:.0f}", f"{one['average_mAP']:.1f}{spread}",
                 *(f"{one[column]:.3f}".replace("0.000", "< 0.001") for column in REFERENCES),
                 *(f"{one[column]:.1f}" for column in ("oracle_mAP", "fall", "AR_100")),
                 f"{one['train_sec']:.0f}", f"{one['infer_sec']:.1f}", f"{one['memory_MB']:.0f}"]
        lines.append(f"| {' | '.join('' if cell == 'nan' else cell for cell in cells)} |")
    write_text(path, "\n".join(lines) + "\n")


def draw(means, path):
    """One panel per data set: a bar per row and share of labels; where it was measured, a mark for true segments."""
    names = list(means.index.get_level_values("data").unique())
    counts = [len(means.loc[name]) for name in names]
    figure, axes = plt.subplots(len(names), 1, figsize=(8, 1 + 0.5 * len(names) + 0.27 * sum(counts)), squeeze=False,
                                height_ratios=[count + 1 for count in counts], sharex=True, layout="constrained")
    for axis, name in zip(axes[:, 0], names, strict=True):
        part = means.loc[name].iloc[::-1]
        titles = [f"{row}, {float(labels):.0%} labels, {steps:,} steps" for steps, labels, row in part.index]
        colors = ["#0072b2" if row.startswith("SPOT") else "#d55e00" if row.startswith("BMN") else "#999999"
                  for _, _, row in part.index]
        spread = part["deviation"].fillna(0)
        axis.barh(titles, part["average_mAP"], xerr=spread, color=colors, ecolor="black")
        marks = axis.plot(part["oracle_mAP"], titles, "D", color="black", markersize=4)
        for row, value in enumerate(part["average_mAP"]):  # a column beside the panel, where no bar or mark is
            axis.text(1.01, row, f"{value:.1f}", va="center", transform=axis.get_yaxis_transform())
        axis.set(title=name, xlim=(0, 105))
    axes[-1, 0].set_xlabel("average mAP, %: mean and deviation over seeds")
    if means["oracle_mAP"].notna().any():
        figure.legend(marks, ["the same model, given the true segments and asked for classes"],
                      loc="outside lower center", frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)


if __name__ == "__main__":
    command_line.run(main)
