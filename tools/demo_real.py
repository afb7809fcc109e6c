"""The whole pass on real recordings: exercises of ten people, measured by a smartwatch, of which two are labeled.

    python tools/demo_real.py WHEEL        (`make demo-real`, which fetches the file first)

WHEEL is the Python package seglearn, which holds the data; tools/convert_watch.py says what they are, whose, and what
is made of them. Trains three times (labels only, all labels, semi-supervised), detects in people of whom nothing was
seen in training, evaluates, prints average mAP beside the whole-video baseline, and says which pictures there are.
What it made before is made anew; a run or data set of yours in these folders is kept, and the demo refuses.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from spot import command_line
from spot.config import load_config
from spot.files import read_json
from tools import demo
from tools.convert_watch import VERSION, convert, read_watch

CONFIG = "config/demo_real.yaml"
RUNS = {"labels only": ("runs/demo_real_labels_only", ["semi.method=none"]),
        "all labels": ("runs/demo_real_all_labels", ["semi.method=none", "dataset.labeled=1.0"]),
        "semi-supervised": ("runs/demo_real", [])}


def main(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("wheel", metavar="WHEEL", help="seglearn-1.2.5-py3-none-any.whl, of `pip download --no-deps "
                        "seglearn==1.2.5`, or watch_dataset.npy from it")
    arguments = command_line.parse(parser, argv, takes_overrides=False)
    settings = load_config(CONFIG)
    data = Path(settings.dataset.video_anno_path).parent
    demo.refuse_others(data, RUNS, VERSION)
    print(convert(read_watch(arguments.wheel), data))
    metrics = demo.run_each(CONFIG, RUNS)
    demo.print_table(metrics, "tIoU .3:.7", "recordings of people never seen in training; "
                     f"{settings.dataset.labeled:.0%} labels, where nothing else is said")
    own = data / "features" / f"{first_of_subset(data, settings.dataset.eval_subset)}.npy"
    demo.print_what_to_look_at(RUNS["semi-supervised"][0], "detect in a recording without annotation: " +
                               command_line.command("spot_inference.py", RUNS["semi-supervised"][0], f"features={own}",
                                                    "--plot"))


def first_of_subset(data, subset):
    """The name of the first recording of a subset in DATA/annotations.json."""
    database = read_json(data / "annotations.json")["database"]
    return next(name for name, entry in database.items() if entry["subset"] == subset)


if __name__ == "__main__":
    command_line.run(main)
