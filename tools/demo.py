"""The whole pass on data that it makes itself: data set, three commands for two ways of training, one table.

    python tools/demo.py        (`make demo`)

Trains once on the labels alone and once semi-supervised, detects, evaluates, and prints average mAP beside the
whole-video baseline. About two minutes on two CPU cores. What it made before is made anew; a run or data set of yours
in these folders is kept, and the demo refuses.
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
RUNS = {"labels only": ("runs/demo_labels_only", "none"), "semi-supervised": ("runs/demo", "ema")}
MARK = "made_by_demo.txt"  # in a run folder that may be made anew


def main(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    command_line.parse(parser, argv, takes_overrides=False)
    settings = load_config(CONFIG)
    data = Path(settings.dataset.video_anno_path).parent
    refuse_others(data, [Path(folder) for folder, _ in RUNS.values()])
    print(f"writing the demo data set to {data}")
    write_demo(data)
    for title, (folder, method) in RUNS.items():
        print(f"\n{title}: python spot_train.py --config {CONFIG} output_path={folder} semi.method={method}")
        shutil.rmtree(folder, ignore_errors=True)
        write_text(Path(folder) / MARK, "`make demo` makes this folder anew.\n")
        train(["--config", CONFIG, f"output_path={folder}", f"semi.method={method}"])
        infer([f"checkpoint={folder}"])
        evaluate([f"output_path={folder}"])
    metrics = {title: read_json(f"{folder}/metrics.json") for title, (folder, _) in RUNS.items()}
    share = f"{settings.dataset.labeled:.0%} labels"
    print(f"\naverage mAP (tIoU .5:.95), {metrics['semi-supervised']['num_videos']} validation videos, {share}")
    rows = {"whole-video baseline": metrics["semi-supervised"]["whole_video_average_mAP"],
            **{title: values["average_mAP"] for title, values in metrics.items()}}
    for title, value in rows.items():
        print(f"  {title:<22}{100 * value:6.1f} %")


def refuse_others(data, runs):
    """SpotError where one of the folders holds what the demo did not make."""
    annotations = data / "annotations.json"
    version = str(read_json(annotations).get("version")) if annotations.is_file() else DEMO_VERSION
    if not version.startswith(DEMO_VERSION):
        raise SpotError(f"{annotations} is not the demo's, so it is kept; move {data} away")
    for run in runs:
        if run.is_dir() and any(run.iterdir()) and not (run / MARK).is_file():
            raise SpotError(f"{run} holds a run that the demo did not make, so it is kept; move it away")


if __name__ == "__main__":
    command_line.run(main)
