"""What detections save an annotator: corrections per recording, against annotating from nothing.

    python tools/effort.py RUN [RUN ...] [--threshold SCORE] [--csv FILE] [section.key=value ...]

A simulated annotator corrects the actions of each run (its detections from the operating point on, as in actions.csv)
on its evaluation subset into the ground truth. One correction each: a boundary moved that is more than 0.5 s off, a
class changed, an action deleted; an action added is three, two boundaries and a class.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd

from spot import command_line
from spot.annotations import is_annotated, without_blocked
from spot.config import load_config
from spot.config_runs import warn_of_unread
from spot.config_values import reading_options
from spot.data_files import videos_of_subset
from spot.effort import ADDING, TOLERANCE_SEC, corrections
from spot.evaluation import read_ground_truth
from spot.evaluation_inputs import RUN_KEYS
from spot.files import SpotError, atomic_path, expand_home, read_json
from spot.names import pair_names
from spot.operating_point import actions_of

COLUMNS = ("moved", "changed", "deleted", "added")


def main(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders with detections.json")
    parser.add_argument("--names", nargs="+", help="of the runs in the table (default: their folders)")
    parser.add_argument("--threshold", type=command_line.real_number(0, 1), metavar="SCORE",
                        help="from which score on a detection is an action (default: as detections.json says)")
    parser.add_argument("--tolerance", type=command_line.real_number(0, 3600), default=TOLERANCE_SEC, metavar="SECONDS",
                        help="by which a boundary may be off (default: %(default)s)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for every run and recording there")
    words = list(sys.argv[1:] if argv is None else argv)
    overrides = [word for word in words if command_line.OVERRIDE.match(word)]
    arguments = command_line.parse(parser, [word for word in words if word not in overrides], takes_overrides=False)
    names = arguments.names or [str(Path(run)) for run in arguments.runs]
    if len(names) != len(arguments.runs):
        raise SpotError(f"--names gives {len(names)} names for {len(arguments.runs)} runs; give each run one")
    rows = [row for run, name in zip(arguments.runs, names, strict=True)
            for row in rows_of(Path(expand_home(run)), name, arguments, overrides)]
    table = pd.DataFrame(rows)
    print(text_of(table, arguments.tolerance))
    if arguments.csv:
        with atomic_path(arguments.csv) as temporary:
            table.to_csv(temporary, index=False)
        print(f"of every recording: {arguments.csv}")


def rows_of(run, name, arguments, overrides):
    """A dict for every annotated recording of the evaluation subset of a run."""
    if not (run / "config.yaml").is_file():
        raise SpotError(f"{run}: holds no config.yaml, which tells the ground truth; give a run folder")
    config = load_config(run / "config.yaml", overrides)
    if overrides:
        warn_of_unread(config, load_config(run / "config.yaml"), overrides, RUN_KEYS, "--threshold")
    data = config.dataset
    videos = read_ground_truth(data.video_anno_path, data.video_info_path, None, reading_options(config))
    videos, _ = without_blocked(videos, data.blocked)
    videos = videos_of_subset(videos, "dataset.eval_subset", data.eval_subset, data.video_anno_path)
    videos = [video for video in videos if video.annotated is not False or is_annotated(video)]
    content = read_json(run / "detections.json")
    threshold = arguments.threshold if arguments.threshold is not None else stored_threshold(run, content)
    results = content["results"]
    pairs = pair_names([video.name for video in videos], results)
    if not set(results) & set(pairs.values()):
        raise SpotError(f"{run / 'detections.json'}: has no recording of subset {data.eval_subset}; detect there: "
                        f"python spot_inference.py {run} dataset.eval_subset={data.eval_subset}")
    for video in videos:
        actions = actions_of(results.get(pairs[video.name], []), threshold)
        found = corrections([entry["segment"] for entry in actions], [entry["label"] for entry in actions],
                            video.segments_sec, video.labels, arguments.tolerance)
        yield {"run": name, "video": video.name, "threshold": threshold, **vars(found), "corrections": found.total,
               "from_nothing": found.from_nothing}


def stored_threshold(run, content):
    """The operating point that a detections file names; SpotError where it names none."""
    action = content.get("action_threshold") if isinstance(content, dict) else None
    if not isinstance(action, dict) or action.get("threshold") is None:
        raise SpotError(f"{run / 'detections.json'}: does not tell from which score on a detection is an action; give "
                        "--threshold SCORE")
    return action["threshold"]


def text_of(table, tolerance_sec):
    """Means per recording of every run, and what is saved, as a table of Markdown."""
    lines = [f"per recording (a boundary may be {tolerance_sec:g} s off; an added action counts {ADDING}):", "",
             "| run | recordings | segments | right as they are | moved | changed | deleted | added | corrections "
             "| from nothing | saved |", "|" + "---|" * 11]
    for name, part in table.groupby("run", sort=False):
        mean = part.mean(numeric_only=True)
        saved = 1 - part["corrections"].sum() / max(part["from_nothing"].sum(), 1)
        numbers = [f"{mean[column]:.1f}" for column in ("segments", "untouched", *COLUMNS, "corrections",
                                                        "from_nothing")]
        lines.append(f"| {name} | {len(part)} | {' | '.join(numbers)} | {100 * saved:.0f} % |")
    return "\n".join(lines)


if __name__ == "__main__":
    command_line.run(main)
