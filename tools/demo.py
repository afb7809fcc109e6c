"""The whole pass on data that it makes itself: data set, three commands for two ways of training, one table.

    python tools/demo.py        (`make demo`)

Trains once on the labels alone and once semi-supervised, detects, evaluates, prints average mAP beside the whole-video
baseline, and says which pictures there are. About two minutes on two CPU cores. What it made before is made anew; a run
or data set of yours in these folders is kept, and the demo refuses.
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from eval import main as evaluate
from spot import command_line
from spot.config import load_config
from spot.files import SpotError, read_json, write_text
from spot.synthetic import DEMO_VERSION, write_demo
from spot_inference import main as infer
from spot_train import main as train

CONFIG = "config/demo.yaml"
# What the table calls a run -> its folder, and the settings that differ from CONFIG; pictures are drawn of the last.
RUNS = {"labels only": ("runs/demo_labels_only", ["semi.method=none"]), "semi-supervised": ("runs/demo", [])}
MARK = "made_by_demo.txt"  # in a run folder that may be made anew


def main(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    command_line.parse(parser, argv, takes_overrides=False)
    settings = load_config(CONFIG)
    data = Path(settings.dataset.video_anno_path).parent
    refuse_others(data, RUNS, DEMO_VERSION)
    print(f"writing the demo data set to {data}")
    write_demo(data)
    metrics = run_each(CONFIG, RUNS)
    print_table(metrics, "tIoU .5:.95", f"validation videos, {settings.dataset.labeled:.0%} labels")
    print_what_to_look_at(RUNS["semi-supervised"][0], "the same on real recordings: make demo-real")


def run_each(config, runs):
    """Train, detect and evaluate each of `runs` (see RUNS), the last one with pictures. Returns {title: metrics}."""
    metrics = {}
    for title, (folder, changes) in runs.items():
        is_last = title == list(runs)[-1]
        words = [f"output_path={folder}", *changes]
        print(f"\n{title}: {command_line.command('spot_train.py', '--config', config, *words)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        write_text(Path(folder) / MARK, "The demo makes this folder anew.\n")
        train(["--config", config, *words])
        infer([f"checkpoint={folder}", *(["--plot"] if is_last else [])])
        evaluate([f"output_path={folder}", *(["--report", f"{folder}/report"] if is_last else [])])
        metrics[title] = read_json(f"{folder}/metrics.json")
    return metrics


def print_table(metrics, thresholds, rest):
    """Average mAP of each run beside the whole-video baseline. metrics: of `run_each`; the others are words for it."""
    last = list(metrics.values())[-1]
    rows = {"whole-video baseline": last["whole_video_average_mAP"],
            **{title: values["average_mAP"] for title, values in metrics.items()}}
    print(f"\naverage mAP ({thresholds}), {last['num_videos']} {rest}")
    width = max(map(len, rows))
    for title, value in rows.items():
        print(f"  {title:<{width}}{100 * value:6.1f} %")


def print_what_to_look_at(folder, then):
    """Where the pictures of a run are, and what comes next. then: that, in words and a command"""
    print("\nlook at")
    looks = {f"{folder}/report/report.html": "accuracy, errors and timelines on one page",
             **{str(path): "truth, detections and what the model sees on one time axis"
                for path in sorted((Path(folder) / "timelines").glob("*.png"))[:1]}}
    width = max(map(len, looks))
    for path, what in looks.items():
        print(f"  {path:<{width}}  {what}")
    print(f"next\n  {then}\n  your own recordings: docs/own-data.md")


def refuse_others(data, runs, version):
    """SpotError where one of the folders holds what the demo did not make.

    data: the folder of the data set, whose annotations.json begins its version with `version`; runs: see RUNS
    """
    annotations = data / "annotations.json"
    found = str(read_json(annotations).get("version")) if annotations.is_file() else version
    if not found.startswith(version):
        raise SpotError(f"{annotations} is not the demo's, so it is kept; move {data} away")
    for run in (Path(folder) for folder, _ in runs.values()):
        if run.is_dir() and any(run.iterdir()) and not (run / MARK).is_file():
            raise SpotError(f"{run} holds a run that the demo did not make, so it is kept; move it away")


if __name__ == "__main__":
    command_line.run(main)
