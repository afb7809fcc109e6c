"""Measure detections: mAP per tIoU, average mAP, the whole-video baseline, and why it is not higher.

python eval.py RUN [section.key=value ...]    a run folder's detections.json, by its own config.yaml -> its metrics.json
python eval.py --compare RUN_A RUN_B          two runs, or two detections files in their run folders
python eval.py --ground-truth G.json --predictions P.json --subset validation --tiou 0.5:0.95:10      any detector
python eval.py --ground-truth G.json --subset validation --compare A.json B.json                      two detectors
Add --report DIR for pictures and report.html, --export DIR for tables and figures of a paper. No torch needed.
"""

import argparse
import itertools
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spot.annotations import read_class_file, read_class_ids, read_video_ids
from spot.command_line import Parser, command, note_unread_config, parse, run, whole_number
from spot.config import load_config, plain, reading_options
from spot.epic_kitchens import TASKS, is_epic_file
from spot.epic_kitchens import TIOU as EPIC_TIOU
from spot.evaluation import evaluate_detections, parse_thresholds, read_ground_truth, threshold_key
from spot.files import SpotError, atomic_path, expand_home, in_folder, matching_files, write_json
from spot.findings import (
    ACTION_HEAD,
    SHARES_NOTE,
    TOP_TIMES,
    OperatingPoint,
    action_cells,
    diagnosis_metrics,
    gather,
    recall_metrics,
    times_are_shares,
)
from spot.names import pair_names
from spot.operating_point import Thresholds, choose_thresholds, measure, middle_tiou, of_ground_truth
from spot.protocols import DUPLICATE_RULES, PROTOCOLS, TIE_RULES
from spot.provenance import git_commit
from spot.scenes import THUMOS_VARIANTS
from spot.text import read_lines
from spot.tool_recordings import ReadingOptions

DEFAULT_CONFIG = "config/anet.yaml"
RUN_MEANS = "a run folder, or a detections file in one"
MOST_RESAMPLES = 1_000_000
MEMORY_ADVICE = "the annotations and detections need more than there is: leave out --report, --diagnose or --recall"
DEFAULT_TIOU = {"activitynet": "0.5:0.95:10", "thumos14": "0.3:0.7:5"}

PARTIAL = "PARTIAL, the detector was stopped before its last video; those it did not reach count as not found"


@dataclass(frozen=True)
class Job:
    """What to evaluate: paths, subset, tIoU thresholds; `output` is where metrics.json goes, None for nowhere."""

    ground_truth: str
    info_path: str | None
    blocked: str | None
    predictions: Path
    compared: list | None  # the two files of --compare
    subset: str
    tiou: str | float | list
    output: Path | None
    labeled_file: Path | None
    options: ReadingOptions | None = None  # what the settings add to files of annotation tools


def main(argv=None):
    """Read, evaluate, print, then write: a mistake in any input leaves nothing half-written."""
    arguments = parse(make_parser(), with_duplicate_rule(sys.argv[1:] if argv is None else argv), RUN_MEANS)
    job = job_from_files(arguments) if arguments.ground_truth else job_from_config(arguments)
    if arguments.task is None and is_epic_file(job.ground_truth):
        evaluate_all_tasks(job, arguments)
        return
    job, videos = with_ground_truth(job, arguments.task)
    if arguments.compare:
        compare_detectors(job, arguments, videos)
        return
    result = evaluate(job, arguments, videos, job.predictions)
    unlabeled = classes_without_labels(videos, result.classes, job.labeled_file)
    metrics = metrics_of(result, job.subset, unlabeled)
    notes = list(notes_of(result, job, arguments, unlabeled))
    print_result(result, job, arguments, notes)
    point = operating_point_of(job, arguments, videos, result)
    if point is not None:
        metrics["actions"] = point.as_metrics()
        print_actions(point, arguments.per_class or arguments.operating_point or arguments.action_threshold is not None)
    if arguments.per_class:
        print_per_class(result)
    if arguments.recall:
        metrics["recall"] = print_recall(result)
    if arguments.bootstrap:
        metrics |= print_interval(result, arguments.bootstrap)
    if arguments.diagnose:
        metrics["diagnosis"] = print_diagnosis(result)
    if arguments.report or arguments.export:
        findings = gather(result, arguments.bootstrap or 1000, point)
        metrics |= findings.as_metrics()
        classes = chosen_classes(arguments.pr_class, result.classes)
        write_pages(job, arguments, findings, notes, unlabeled, classes,
                    facts_of(job, arguments, result, sys.argv[1:] if argv is None else argv))
    if job.output:
        write_json(job.output, metrics, indent=1)
        print(f"metrics: {job.output}")


def make_parser():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", metavar="FILE",
                        help=f"settings of the run (default: its own config.yaml, else {DEFAULT_CONFIG})")
    parser.add_argument("--ground-truth", metavar="FILE", help="annotations; with it no config is read")
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


# --- what to evaluate -------------------------------------------------------------------------------------------------


def job_from_files(arguments):
    """The job of `--ground-truth ... --predictions ...`: no config, metrics.json only with `--output`."""
    if arguments.config or arguments.overrides:
        raise SpotError("--ground-truth reads no config, so --config and key=value have no effect; leave them out")
    compared = arguments.compare and [detections_of(path) for path in arguments.compare]
    predictions = compared[0] if compared else arguments.predictions or arguments.run
    if not predictions:
        raise SpotError("--ground-truth needs --predictions FILE, a run folder, or --compare A B")
    return Job(
        arguments.ground_truth, arguments.video_info, arguments.blocked, detections_of(predictions), compared,
        arguments.subset, arguments.tiou or default_tiou(arguments),
        Path(arguments.output) if arguments.output else None, labeled_file=None,
    )


def job_from_config(arguments):
    """The job of a run folder. Its own config.yaml wins over `--config`; flags win over both."""
    config = read_run_config(arguments)
    folder, data = Path(config.output_path), config.dataset
    compared = arguments.compare and [detections_of(path) for path in arguments.compare]
    if compared:
        refuse_other_data(arguments, config)
    named = arguments.predictions or arguments.run
    predictions = compared[0] if compared else detections_of(named) if named else folder / "detections.json"
    for path in compared or [predictions]:
        if not path.is_file():
            raise SpotError(f"{path}: is missing{in_folder(path)}; run {command('spot_inference.py', path.parent)} "
                            "first, or name another run, or another file by --predictions")
    for key in ("video_anno_path", "video_info_path", "blocked"):
        if data[key] is not None and not all(path.exists() for path in matching_files(data[key])):
            raise SpotError(f"dataset.{key}: {data[key]} is missing{in_folder(data[key])}; name the file by "
                            f"dataset.{key}=PATH")
    labeled_file = folder / "labeled.txt"
    return Job(
        data.video_anno_path, arguments.video_info or data.video_info_path, arguments.blocked or data.blocked,
        predictions, compared, arguments.subset or data.eval_subset, arguments.tiou or plain(config.testing.tiou),
        Path(arguments.output or folder / "metrics.json"), labeled_file if labeled_file.is_file() else None,
        reading_options(config),
    )


def default_tiou(arguments):
    """The tIoU thresholds that the field uses with the given ground truth and protocol."""
    return EPIC_TIOU if is_epic_file(arguments.ground_truth) else DEFAULT_TIOU[arguments.protocol]


def with_ground_truth(job, task):
    """The job with its subset, and the videos of its ground truth.

    The subset that is not named is validation, or the only one that there is.
    """
    videos = read_ground_truth(job.ground_truth, job.info_path, task, job.options)
    subsets = {video.subset for video in videos}
    only = subsets.pop() if len(subsets) == 1 else "validation"
    return (job if job.subset is not None else replace(job, subset=only)), videos


def evaluate_all_tasks(job, arguments):
    """Evaluate verbs, nouns and actions of EPIC-KITCHENS, as its evaluator does, and write all of their metrics."""
    for flag in ("report", "export", "compare", "diagnose", "recall", "per_class", "bootstrap", "pr_class",
                 "operating_point", "operating_predictions", "action_threshold"):
        if getattr(arguments, flag) not in (None, False, 0):
            flag = flag.replace("_", "-")
            raise SpotError(f"--{flag} is for one task of EPIC-KITCHENS; name it by --task verb, noun or action")
    metrics = {}
    for number, task in enumerate(TASKS):
        of_task = argparse.Namespace(**{**vars(arguments), "task": task})
        job_of_task, videos = with_ground_truth(job, task)
        result = evaluate(job_of_task, of_task, videos, job.predictions)
        print("\n" * (number > 0) + f"--- {task} ---")
        print_result(result, job_of_task, of_task, list(notes_of(result, job_of_task, of_task, None)))
        metrics[task] = metrics_of(result, job_of_task.subset, None)
    if job.output:
        write_json(job.output, metrics, indent=1)
        print(f"metrics: {job.output}")


def detections_of(path):
    """The detections file that `path` means: a file, or detections.json of a run folder."""
    return Path(path) / "detections.json" if Path(path).is_dir() else Path(path)


def folder_of(path):
    """The run folder that `path` means: a folder, or that of a file."""
    return Path(path) if Path(path).is_dir() else Path(path).parent


def read_run_config(arguments):
    """The settings of the run that the arguments name, from its own config.yaml where it has one.

    SpotError where detections are named, but nothing that tells the ground truth.
    """
    named = [text.partition("=")[2] for text in arguments.overrides if text.startswith("output_path=")][-1:]
    if named and arguments.run and Path(named[0]) != folder_of(arguments.run):
        raise SpotError(f"{arguments.run} and output_path={named[0]} are two runs; give one of them")
    files = [*filter(None, [arguments.run, arguments.predictions]), *(arguments.compare or [])]
    if absent := [path for path in files if not Path(path).exists()]:
        raise SpotError(f"{absent[0]}: does not exist{in_folder(absent[0])}; give a detections file or a run folder")
    folders = [expand_home(folder) for folder in named] + [folder_of(path) for path in files]
    if not folders:
        folders = [load_config(arguments.config or DEFAULT_CONFIG, arguments.overrides).output_path]
    folder = next((folder for folder in folders if (Path(folder) / "config.yaml").is_file()), None)
    if folder is None and files and not (arguments.config or named):
        raise SpotError(f"{files[0]}: no config.yaml beside it tells the ground truth; give --ground-truth FILE and "
                        "--subset NAME, or --config FILE")
    own = None if folder is None else Path(folder) / "config.yaml"
    note_unread_config(arguments.config, own)
    return load_config(own or arguments.config or DEFAULT_CONFIG,
                       [*arguments.overrides, f"output_path={folder or folders[0]}"])


def refuse_other_data(arguments, config):
    """SpotError where one of the compared runs was evaluated on another ground truth than `config` names."""
    for path in arguments.compare:
        own = folder_of(path) / "config.yaml"
        if not own.is_file():
            continue
        other = load_config(own, arguments.overrides).dataset
        for key in ("video_anno_path", "video_info_path", "eval_subset", "blocked"):
            if other[key] != config.dataset[key]:
                raise SpotError(f"{own}: dataset.{key} is {other[key]}, that of the other is {config.dataset[key]}; to "
                                f"compare on one of them, give dataset.{key}=...")


def evaluate(job, arguments, videos, predictions):
    return evaluate_detections(
        videos, predictions, job.subset, parse_thresholds(job.tiou), protocol=arguments.protocol,
        drop_duplicates=arguments.drop_duplicates, thumos_variant=arguments.thumos_variant, lenient=arguments.lenient,
        blocked=read_video_ids(job.blocked) if job.blocked else (), swap_reversed=arguments.swap_reversed,
        task=arguments.task, class_ids=read_class_ids(arguments.classes) if arguments.classes else None,
    )


def operating_point_of(job, arguments, videos, result):
    """The `OperatingPoint` of the thresholds that the flags or the detections file name; None where nothing does."""
    tiou, stored = middle_tiou(result.tiou_thresholds), result.predictions.action_threshold
    if arguments.operating_predictions and not arguments.operating_point:
        raise SpotError("--operating-predictions needs --operating-point SUBSET")
    if arguments.action_threshold is not None and not np.isfinite(arguments.action_threshold):
        raise SpotError(f"--action-threshold {arguments.action_threshold} is no score; give a finite number")
    if arguments.operating_point and arguments.action_threshold is not None:
        raise SpotError("--operating-point chooses the score that --action-threshold gives; leave one of them out")
    if arguments.operating_point:
        predictions = Path(arguments.operating_predictions or job.predictions)
        other = evaluate(replace(job, subset=arguments.operating_point), arguments, videos, predictions)
        if not len(of_ground_truth(other.scene).scores):
            raise SpotError(f"{predictions}: holds no detection in a video of subset {arguments.operating_point}; give "
                            "those by --operating-predictions FILE")
        thresholds = choose_thresholds(of_ground_truth(other.scene), tiou)
        source = f"subset {arguments.operating_point}"
        if arguments.operating_point.lower() == job.subset.lower():
            source += ", the one that is measured: no threshold gives a better F1"
    elif arguments.action_threshold is not None or stored:
        given = stored if arguments.action_threshold is None else {
            "threshold": arguments.action_threshold, "per_class": {}, "chosen_on": "--action-threshold"}
        same = dict.fromkeys(result.classes, given["threshold"])
        thresholds, source = Thresholds(given["threshold"], given["per_class"] or same), given["chosen_on"]
    else:
        return None
    return OperatingPoint(*measure(result.scene, thresholds, tiou), source, tiou)


def chosen_classes(names, classes):
    """The names of `--pr-class`, None without any; SpotError where one is no class."""
    for name in names or ():
        if name not in classes:
            raise SpotError(f"--pr-class {name!r} is no class of this subset; the classes are {shortened(classes)}")
    return names


def classes_without_labels(videos, classes, labeled_file):
    """Evaluated classes that no labeled training video holds; None where the labeled videos are not known."""
    if labeled_file is None:
        return None
    labeled = set(pair_names(read_lines(labeled_file), [video.name for video in videos]).values())
    seen = {label for video in videos if video.name in labeled for label in video.labels}
    return sorted(set(classes) - seen)


def facts_of(job, arguments, result, argv):
    """(name, value) pairs of the report: what was measured, and how."""
    left_out = f", by {left_out_by(job, arguments)}" if result.num_left_out_videos or job.blocked else ""
    return [
        ("ground truth", f"{job.ground_truth}, subset {job.subset}"), ("predictions", str(job.predictions)),
        ("command", shlex.join(["python", "eval.py", *argv])), ("version", f"SPOT, commit {git_commit()}"),
        ("protocol", result.protocol), ("ties of scores", TIE_RULES[result.protocol]),
        ("duplicate segments", f"dropped by the rule of {result.drop_duplicates}" if result.drop_duplicates
         else "all count"),
        ("THUMOS14 variant", str(arguments.thumos_variant or "none")),
        ("left-out videos", f"{result.num_left_out_videos:,}{left_out}"),
    ]


def write_pages(job, arguments, findings, notes, unlabeled, classes, facts):
    """What --report and --export ask for."""
    from spot.export import export  # matplotlib, only where pictures are wanted
    from spot.report import write_report
    from spot.report_pictures import pictures_of

    names = job.labeled_file and job.labeled_file.with_name("classes.txt")
    order = read_class_file(names) if names and names.is_file() else None
    pictures = pictures_of(findings, unlabeled or (), classes, order)
    if arguments.report:
        page = write_report(arguments.report, findings, pictures, f"{job.predictions}, subset {job.subset}", facts,
                            notes, unlabeled, sorted((job.predictions.parent / "timelines").glob("*.png")))
        print(f"report: {page}")
    if arguments.export:
        print(f"tables and figures: {export(arguments.export, findings, pictures)}")


# --- what is written and printed --------------------------------------------------------------------------------------


def metrics_of(result, subset, unlabeled):
    """The content of metrics.json; every measure is in 0..1."""
    keys = [threshold_key(threshold) for threshold in result.tiou_thresholds]
    return {
        "average_mAP": result.average_mAP,
        "mAP": dict(zip(keys, result.mAP.tolist(), strict=True)),
        "whole_video_average_mAP": result.whole_video_average_mAP,
        "num_videos": result.num_videos,
        "num_segments": result.num_segments,
        "num_predictions": result.num_predictions,
        "AP": {name: dict(zip(keys, row.tolist(), strict=True)) for name, row in
               zip(result.classes, result.ap, strict=True)},
        "subset": subset,
        "protocol": result.protocol,
        "class_scores": result.predictions.class_scores,
        "partial": result.predictions.partial,
        "num_missing_features": result.num_missing_features,
        "num_left_out_videos": result.num_left_out_videos,
        "num_unknown_videos": result.num_unknown_videos,
        "num_unknown_video_predictions": result.num_unknown_video_predictions,
        "unknown_labels": result.unknown_labels,
        "num_toggled_ids": result.num_toggled_ids,
        "num_swapped_segments": result.num_swapped,
        "num_dropped_predictions": result.predictions.num_dropped,
        "drop_duplicates": result.drop_duplicates,
        "num_dropped_duplicate_segments": result.num_duplicates_dropped,
        "num_dropped_short_segments": result.num_short_dropped,
        "num_tied_predictions": result.num_tied,
        "num_deciding_ties": result.num_deciding_ties,
        "classes_without_labels": unlabeled,
    }


def print_result(result, job, arguments, notes):
    """The table that everyone reads: mAP beside its baseline, and every count that belongs to it."""
    missing, class_scores = result.num_missing_features, result.predictions.class_scores
    print(f"{job.predictions}: subset {job.subset}, {result.protocol} protocol"
          + (f", THUMOS14 variant {arguments.thumos_variant}" if arguments.thumos_variant else ""))
    print(f"{result.num_videos:,} videos, {result.num_segments:,} segments, {len(result.classes):,} classes, "
          f"{result.num_predictions:,} detections")
    print(f"videos without features: {'not recorded' if missing is None else f'{missing:,}'}")
    print("classes and scores: "
          + (f"with an EXTERNAL video classifier, {class_scores}" if class_scores else "the detector's own"))
    for note in notes:
        print(note)
    print()
    print_row("tIoU", [threshold_key(threshold) for threshold in result.tiou_thresholds], "average")
    print_row("mAP %", [f"{100 * value:.2f}" for value in result.mAP], f"{100 * result.average_mAP:.2f}")
    baseline = result.whole_video_average_mAP
    print("whole-video baseline, average mAP %: "
          + ("not available (no durations)" if baseline is None else f"{100 * baseline:.2f}"))


def left_out_by(job, arguments):
    """What leaves videos out: a list, a variant of the test set, else that nobody annotated them."""
    return (" and ".join(filter(None, [job.blocked, arguments.thumos_variant and "the THUMOS14 variant"]))
            or "their lack of annotation")


def notes_of(result, job, arguments, unlabeled):
    """One sentence for each thing that is not as plain as it should be."""
    if result.predictions.partial:
        yield PARTIAL
    if result.num_left_out_videos or job.blocked:
        yield (f"{result.num_left_out_videos:,} videos of the subset and their detections are left out by "
               f"{left_out_by(job, arguments)}")
    if arguments.thumos_variant and result.num_videos != arguments.thumos_variant:
        yield f"note: the ground truth holds {result.num_videos} videos of this variant, not {arguments.thumos_variant}"
    if result.num_toggled_ids:
        yield (f"{result.num_toggled_ids:,} video ids matched only without or with a leading v_, a suffix, or in "
               "another case")
    if result.num_unknown_videos:
        yield (f"{result.num_unknown_videos:,} videos are not in the subset; "
               f"their {result.num_unknown_video_predictions:,} detections count as wrong")
    if result.unknown_labels:
        yield (f"{sum(result.unknown_labels.values()):,} detections of {len(result.unknown_labels):,} labels without a "
               f"segment in the subset are left out: {shortened(sorted(result.unknown_labels))}")
    if result.predictions.num_dropped:
        yield f"{result.predictions.num_dropped:,} broken detections dropped"
    if result.num_swapped:
        yield f"{result.num_swapped:,} segments end before their start; their ends are swapped"
    if result.drop_duplicates:
        yield (f"{result.num_duplicates_dropped:,} duplicate segments and {result.num_short_dropped:,} too short ones "
               f"dropped, by the rule of {result.drop_duplicates}")
    if times_are_shares(result.scene):
        yield SHARES_NOTE
    if result.num_deciding_ties:
        yield (f"{result.num_deciding_ties:,} detections have the score of others of their class, right and wrong, "
               f"{TIE_RULES[result.protocol]}")
    if unlabeled is not None:
        yield (f"classes without a labeled training video: {len(unlabeled):,}"
               + (f" ({shortened(unlabeled)})" if unlabeled else ""))


def shortened(names, most=5):
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def print_row(name, cells, last):
    print(f"{name:<8}" + "".join(f"{cell:>8}" for cell in cells) + f"{last:>10}")


def print_per_class(result):
    width = max(map(len, result.classes))
    print(f"\n{'AP % per class':<{width}}  segments   average" + "".join(
        f"{threshold_key(threshold):>8}" for threshold in result.tiou_thresholds))
    for index in np.argsort(-result.ap.mean(axis=1), kind="stable"):
        cells = [100 * result.ap[index].mean(), *(100 * result.ap[index])]
        print(f"{result.classes[index]:<{width}}{result.scene.positives[index]:10,}{cells[0]:10.2f}"
              + "".join(f"{cell:8.2f}" for cell in cells[1:]))


def print_recall(result):
    """Print and return the recall measures."""
    from spot.diagnosis import average_recall, recall_at_top

    curve, top = average_recall(result.scene), recall_at_top(result, TOP_TIMES)
    measures = recall_metrics(curve, top)
    print("\nAR@AN %: " + ", ".join(f"{number}: {100 * value:.2f}" for number, value in measures["AR@AN"].items())
          + f"; area under the curve %: {100 * curve.area:.2f}")
    for times, values in zip(TOP_TIMES, top, strict=True):
        print_row(f"top-{times}x %", [f"{100 * value:.2f}" for value in values], f"{100 * values.mean():.2f}")
    return measures


def print_actions(point, each_class):
    """How good the list of actions is; each_class: the rows of the classes, each with its own threshold, as well."""
    print(f"\nlist of actions, % at tIoU {threshold_key(point.tiou)}; thresholds from {point.chosen_on}")
    rows = {"all classes": point.overall, **(point.per_class if each_class else {})}
    width = max(map(len, rows))
    print(" " * width + "".join(f"{name:>11}" for name in ACTION_HEAD))
    for name, quality in rows.items():
        print(f"{name:<{width}}" + "".join(f"{cell:>11}" for cell in action_cells(quality)))


def print_interval(result, number):
    """Print and return the intervals of average mAP and of mAP at each tIoU."""
    from spot.intervals import mAP_intervals

    (low, high), at_tiou = mAP_intervals(result, number)
    print(f"\naverage mAP %: {100 * result.average_mAP:.2f}, 95 % interval {100 * low:.2f} to {100 * high:.2f} for all "
          f"videos of this kind ({number:,} random halves of the videos)")
    print_row("from %", [f"{100 * bounds[0]:.2f}" for bounds in at_tiou], f"{100 * low:.2f}")
    print_row("to %", [f"{100 * bounds[1]:.2f}" for bounds in at_tiou], f"{100 * high:.2f}")
    keys = map(threshold_key, result.tiou_thresholds)
    return {"average_mAP_interval": [low, high], "mAP_interval": dict(zip(keys, at_tiou.tolist(), strict=True))}


def print_diagnosis(result):
    from spot.diagnosis import diagnose

    diagnosis = diagnose(result)
    print("\n" + diagnosis.as_text())
    return diagnosis_metrics(diagnosis)


def compare_detectors(job, arguments, videos):
    """What --compare asks for, with the flags that go with it."""
    from spot.comparison import compare, refuse_other_videos

    for flag in ("pr_class", "predictions", "export", "operating_point", "operating_predictions", "action_threshold"):
        if getattr(arguments, flag) is not None:
            raise SpotError(f"--{flag.replace('_', '-')} goes with one detector, --compare with two; leave one of them "
                            "out")
    results = [evaluate(job, arguments, videos, path) for path in job.compared]
    for path, result in zip(job.compared, results, strict=True):
        refuse_other_videos(result, path, job.subset)
    found = compare(*results, arguments.bootstrap or 1000)
    print_comparison(found, job, arguments)
    if arguments.per_class:
        print(f"\n{found.per_class_text()}")
    for letter, result in zip("AB", results, strict=True):
        if arguments.recall or arguments.diagnose:
            print(f"\n--- {letter} ---")
        if arguments.recall:
            print_recall(result)
        if arguments.diagnose:
            print_diagnosis(result)
    if arguments.report:
        print(f"picture: {write_comparison(arguments.report, found, job.compared)}")
    if arguments.output:
        both = {letter: metrics_of(result, job.subset, None) for letter, result in zip("AB", results, strict=True)}
        write_json(arguments.output, {**both, "difference": found.as_metrics()}, indent=1)
        print(f"metrics: {arguments.output}")


def print_comparison(found, job, arguments):
    """Both detectors with everything that is not as plain as it should be, and B - A with its paired intervals."""
    for letter, path, result in zip("AB", job.compared, found.results, strict=True):
        print(f"{letter} = {path}: {result.num_predictions:,} detections")
        job_of_one = replace(job, predictions=path)
        for note in notes_of(result, job_of_one, arguments, None):
            print(f"{letter}: {note}")
    print(f"\n{found.as_text()}")


def write_comparison(folder, found, names):
    """Write comparison.png, the curves of both, into the folder; returns its path."""
    from spot.plots import as_png, comparison_figure  # matplotlib, only where pictures are wanted

    path = Path(folder) / "comparison.png"
    with atomic_path(path) as temporary:
        temporary.write_bytes(as_png(comparison_figure(found, names)))
    return path


if __name__ == "__main__":
    run(main, memory_advice=MEMORY_ADVICE)
