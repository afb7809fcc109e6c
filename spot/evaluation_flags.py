"""The flags of eval.py, and which of them go together. No torch."""

import argparse
import itertools
import math
from pathlib import Path

from spot.command_line import Parser, whole_number
from spot.epic_kitchens import TASKS
from spot.errors import SpotError
from spot.protocols import DUPLICATE_RULES, PROTOCOLS
from spot.scenes import THUMOS_VARIANTS

DEFAULT_CONFIG = "config/anet.yaml"  # where nothing names another
MOST_RESAMPLES = 1_000_000
FOR_ONE_TASK = ("report", "export", "compare", "diagnose", "recall", "per_class", "bootstrap", "pr_class",
                "operating_point", "operating_predictions", "action_threshold")
FOR_ONE_DETECTOR = ("pr_class", "predictions", "export", "operating_point", "operating_predictions",
                    "action_threshold")


def make_parser(description=None):
    """The parser of eval.py."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", metavar="FILE",
                        help=f"settings of the run (default: its own config.yaml, else {DEFAULT_CONFIG})")
    parser.add_argument("--ground-truth", metavar="FILE", help="annotations; with it no config is read, but of files "
                        "of annotation tools dataset.point_width=, .fps=, .tiers=, ... say how they are read")
    parser.add_argument("--video-info", metavar="CSV", help="their video_info table (flat BMN / SPOT annotations)")
    parser.add_argument("--blocked", metavar="FILE", help="leave out the videos of this list, such as OpenTAD's "
                        "blocked.json, with their detections (default: dataset.blocked, or none)")
    parser.add_argument("--predictions", metavar="FILE", help="detections (default: OUTPUT_PATH/detections.json)")
    parser.add_argument("--subset", help="subset of the ground truth (default: dataset.eval_subset, or validation)")
    parser.add_argument("--tiou", metavar="FIRST:LAST:COUNT",
                        help="tIoU thresholds, such as 0.5:0.95:10, or 0.3,0.5,0.7")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="activitynet", help="default: activitynet")
    parser.add_argument("--thumos-variant", type=int, choices=sorted(THUMOS_VARIANTS),
                        help="THUMOS14 test without the videos that AFSD / G-TAD (210), OpenTAD (211) or "
                             "ActionFormer (212) leave out")
    parser.add_argument("--drop-duplicates", nargs="?", const="opentad", choices=DUPLICATE_RULES, metavar="RULE",
                        help="count a repeated segment once; RULE: opentad (also drops empty segments; the default), "
                             "actionformer (also drops those under 1e-3 s), repeats (drops nothing else)")
    parser.add_argument("--swap-reversed", action="store_true", help="swap the ends of segments that end before their "
                        "start, as the THUMOS14 toolkit does (default: they are refused)")
    parser.add_argument("--classes", metavar="FILE", help="a line `number name` each, for detections that number their "
                        "classes (default: label_id of the ground truth, or THUMOS14's official numbers)")
    parser.add_argument("--task", choices=TASKS, help="of EPIC-KITCHENS (default: all three, one by one)")
    parser.add_argument("--lenient", action="store_true", help="drop and count broken detections")
    parser.add_argument("--per-class", action="store_true", help="print the AP of every class")
    parser.add_argument("--recall", action="store_true", help="print AR@AN, its AUC, and recall at top-1x and top-5x")
    parser.add_argument("--bootstrap", type=whole_number(0, MOST_RESAMPLES), default=0, metavar="N",
                        help="print the 95 %% interval of mAP from N resamples of the videos, such as 1000")
    parser.add_argument("--diagnose", action="store_true", help="print error types, sensitivity, false negatives")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"),
                        help="print the difference of two detections files, or run folders, with its paired interval")
    parser.add_argument("--operating-point", metavar="SUBSET", help="choose the score from which on detections are "
                        "actions on this subset, for the best F1 at the middle tIoU, and measure the list of actions "
                        "(default: as the detections file says)")
    parser.add_argument("--operating-predictions", metavar="FILE",
                        help="the detections of that subset, where they are in another file")
    parser.add_argument("--action-threshold", type=float, metavar="SCORE", help="this score instead")
    parser.add_argument("--report", metavar="DIR", help="write pictures and report.html there; with --compare "
                        "a picture of both")
    parser.add_argument("--export", metavar="DIR", help="write every result there as CSV and as LaTeX rows, and every "
                        "figure as PDF and SVG")
    parser.add_argument("--pr-class", action="append", metavar="NAME",
                        help="a class of the report's precision-recall picture; repeat it for more")
    parser.add_argument("--output", metavar="FILE", help="write metrics.json there")
    return parser


def with_duplicate_rule(argv):
    """The arguments with the default rule written out behind a bare --drop-duplicates that a run folder or key=value
    follows, which argparse would take for the rule."""
    following = dict(itertools.pairwise(argv)).get("--drop-duplicates", "")
    if following.isalnum() and not Path(following).exists():
        return argv
    return ["--drop-duplicates=opentad" if word == "--drop-duplicates" else word for word in argv]


def refuse_for_all_tasks(flags):
    """SpotError for a flag that needs one task of EPIC-KITCHENS where all three are evaluated."""
    for flag in FOR_ONE_TASK:
        if getattr(flags, flag) not in (None, False, 0):
            raise SpotError(f"--{flag.replace('_', '-')} is for one task of EPIC-KITCHENS; name it by --task verb, "
                            "noun or action")


def refuse_for_two(flags):
    """SpotError for a flag of one detector beside --compare."""
    for flag in FOR_ONE_DETECTOR:
        if getattr(flags, flag) is not None:
            raise SpotError(f"--{flag.replace('_', '-')} goes with one detector, --compare with two; leave one of them "
                            "out")


def check_flags_of_one(flags):
    """SpotError where flags of one detector have no effect or contradict each other."""
    if flags.pr_class and not (flags.report or flags.export):
        raise SpotError("--pr-class chooses classes of a picture; give --report DIR or --export DIR with it")
    if flags.operating_predictions and not flags.operating_point:
        raise SpotError("--operating-predictions needs --operating-point SUBSET")
    if flags.action_threshold is not None and not math.isfinite(flags.action_threshold):
        raise SpotError(f"--action-threshold {flags.action_threshold} is no score; give a finite number")
    if flags.operating_point and flags.action_threshold is not None:
        raise SpotError("--operating-point chooses the score that --action-threshold gives; leave one of them out")
