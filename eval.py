"""Measure detections: mAP per tIoU, average mAP, the whole-video baseline, and why it is not higher.

python eval.py RUN [section.key=value ...]    a run folder's detections.json, by its own config.yaml -> its metrics.json
python eval.py --compare RUN_A RUN_B          two runs, or two detections files in their run folders
python eval.py --ground-truth G.json --predictions P.json --subset validation --tiou 0.5:0.95:10      any detector
python eval.py --ground-truth G.json --subset validation --compare A.json B.json                      two detectors
Add --report DIR for pictures and report.html, --export DIR for tables and figures of a paper. No torch needed.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from spot.annotations import read_class_file, read_class_ids, read_video_ids
from spot.command_line import command, note_unread_config, parse, run
from spot.config import load_config
from spot.config_runs import warn_of_unread
from spot.config_values import plain, reading_options
from spot.epic_kitchens import TASKS, is_epic_file
from spot.evaluation import evaluate_detections, parse_thresholds
from spot.evaluation_flags import (
    DEFAULT_CONFIG,
    check_flags_of_one,
    make_parser,
    refuse_for_all_tasks,
    refuse_for_two,
    with_duplicate_rule,
)
from spot.evaluation_inputs import (
    RUN_KEYS,
    Job,
    classes_without_labels,
    detections_of,
    folder_of,
    job_from_files,
    refuse_other_videos,
    refuse_settings,
    with_ground_truth,
)
from spot.evaluation_text import (
    actions_text,
    comparison_text,
    facts_of,
    interval_text,
    notes_of,
    per_class_text,
    recall_text,
    result_text,
    shortened,
)
from spot.files import SpotError, expand_home, in_folder, matching_files, write_json
from spot.findings import (
    TOP_TIMES,
    OperatingPoint,
    diagnosis_metrics,
    gather,
    interval_metrics,
    metrics_of,
    recall_metrics,
)
from spot.operating_point import Thresholds, choose_thresholds, measure, middle_tiou, of_ground_truth

RUN_MEANS = "a run folder, or a detections file in one"
MEMORY_ADVICE = "the annotations and detections need more than there is: leave out --report, --diagnose or --recall"


def main(argv=None):
    """Read, evaluate, print, then write: a mistake in any input leaves nothing half-written."""
    argv = sys.argv[1:] if argv is None else argv
    flags = parse(make_parser(__doc__), with_duplicate_rule(argv), RUN_MEANS)
    job = job_from_files(flags, options_of(flags)) if flags.ground_truth else job_from_config(flags)
    if flags.task is None and is_epic_file(job.ground_truth):
        evaluate_all_tasks(job, flags)
        return
    job, videos = with_ground_truth(job, flags.task)
    if flags.compare:
        compare_detectors(job, flags, videos)
    else:
        evaluate_detector(job, flags, videos, argv)


def evaluate_detector(job, flags, videos, argv):
    """One detector: its result, then what each flag adds; argv: the words of the command, for the report."""
    check_flags_of_one(flags)
    result = evaluate(job, flags, videos, job.predictions)
    refuse_other_videos(result, job.predictions, job.subset)
    unlabeled = classes_without_labels(videos, result.classes, job.labeled_file)
    metrics = metrics_of(result, job.subset, unlabeled)
    notes = list(notes_of(result, job.blocked, flags.thumos_variant, unlabeled))
    print(result_text(result, job.predictions, job.subset, flags.thumos_variant, notes))
    point = operating_point_of(job, flags, videos, result)
    if point is not None:
        metrics["actions"] = point.as_metrics()
        each_class = flags.per_class or flags.operating_point or flags.action_threshold is not None
        print(f"\n{actions_text(point, each_class)}")
    if flags.per_class:
        print(f"\n{per_class_text(result)}")
    if flags.recall:
        metrics["recall"] = print_recall(result)
    if flags.bootstrap:
        metrics |= print_interval(result, flags.bootstrap)
    if flags.diagnose:
        metrics["diagnosis"] = print_diagnosis(result)
    if flags.report or flags.export:
        findings = gather(result, flags.bootstrap or 1000, point)
        metrics |= findings.as_metrics()
        facts = facts_of(result, job.ground_truth, job.subset, job.predictions, job.blocked, flags.thumos_variant, argv)
        write_pages(job, flags, findings, notes, unlabeled, facts)
    if job.output:
        write_json(job.output, metrics, indent=1)
        print(f"metrics: {job.output}")


def evaluate(job, flags, videos, predictions):
    """The `Evaluation` of a detections file on the videos, by the rules that the flags name."""
    return evaluate_detections(
        videos, predictions, job.subset, parse_thresholds(job.tiou), protocol=flags.protocol,
        drop_duplicates=flags.drop_duplicates, thumos_variant=flags.thumos_variant, lenient=flags.lenient,
        blocked=read_video_ids(job.blocked) if job.blocked else (), swap_reversed=flags.swap_reversed,
        task=flags.task, class_ids=read_class_ids(flags.classes) if flags.classes else None,
    )


def evaluate_all_tasks(job, flags):
    """Evaluate verbs, nouns and actions of EPIC-KITCHENS, as its evaluator does, and write all of their metrics."""
    refuse_for_all_tasks(flags)
    metrics = {}
    for number, task in enumerate(TASKS):
        of_task = argparse.Namespace(**{**vars(flags), "task": task})
        job_of_task, videos = with_ground_truth(job, task)
        result = evaluate(job_of_task, of_task, videos, job.predictions)
        refuse_other_videos(result, job.predictions, job_of_task.subset)
        print("\n" * (number > 0) + f"--- {task} ---")
        notes = notes_of(result, job.blocked, flags.thumos_variant, None)
        print(result_text(result, job.predictions, job_of_task.subset, flags.thumos_variant, notes))
        metrics[task] = metrics_of(result, job_of_task.subset, None)
    if job.output:
        write_json(job.output, metrics, indent=1)
        print(f"metrics: {job.output}")


def operating_point_of(job, flags, videos, result):
    """The `OperatingPoint` of the thresholds that the flags or the detections file name; None where nothing does."""
    tiou, stored = middle_tiou(result.tiou_thresholds), result.predictions.action_threshold
    if flags.operating_point:
        predictions = Path(flags.operating_predictions or job.predictions)
        other = evaluate(replace(job, subset=flags.operating_point), flags, videos, predictions)
        if not len(of_ground_truth(other.scene).scores):
            raise SpotError(f"{predictions}: holds no detection in a video of subset {flags.operating_point}; give "
                            "those by --operating-predictions FILE")
        thresholds = choose_thresholds(of_ground_truth(other.scene), tiou)
        source = f"subset {flags.operating_point}"
        if flags.operating_point.lower() == job.subset.lower():
            source += ", the one that is measured: no threshold gives a better F1"
    elif flags.action_threshold is not None or stored:
        given = stored if flags.action_threshold is None else {
            "threshold": flags.action_threshold, "per_class": {}, "chosen_on": "--action-threshold"}
        same = dict.fromkeys(result.classes, given["threshold"])
        thresholds, source = Thresholds(given["threshold"], given["per_class"] or same), given["chosen_on"]
    else:
        return None
    return OperatingPoint(*measure(result.scene, thresholds, tiou), source, tiou)


def write_pages(job, flags, findings, notes, unlabeled, facts):
    """What --report and --export ask for."""
    from spot.export import export  # matplotlib, only where pictures are wanted
    from spot.report import write_report
    from spot.report_pictures import pictures_of

    names = job.labeled_file and job.labeled_file.with_name("classes.txt")
    order = read_class_file(names) if names and names.is_file() else None
    pictures = pictures_of(findings, unlabeled or (), chosen_classes(flags.pr_class, findings.result.classes), order)
    if flags.report:
        page = write_report(flags.report, findings, pictures, f"{job.predictions}, subset {job.subset}", facts,
                            notes, unlabeled, sorted((job.predictions.parent / "timelines").glob("*.png")))
        print(f"report: {page}")
    if flags.export:
        print(f"tables and figures: {export(flags.export, findings, pictures)}")


def print_recall(result):
    """Print and return the recall measures."""
    from spot.recall import average_recall, recall_at_top

    measures = recall_metrics(average_recall(result.scene), recall_at_top(result, TOP_TIMES))
    print(f"\n{recall_text(measures)}")
    return measures


def print_interval(result, number):
    """Print and return the intervals of average mAP and of mAP at each tIoU."""
    from spot.intervals import mAP_intervals

    average, at_tiou = mAP_intervals(result, number)
    print(f"\n{interval_text(result.average_mAP, average, at_tiou, number)}")
    return interval_metrics(result, average, at_tiou)


def print_diagnosis(result):
    """Print and return error types, gains and sensitivity."""
    from spot.diagnosis import diagnose

    diagnosis = diagnose(result)
    print(f"\n{diagnosis.as_text()}")
    return diagnosis_metrics(diagnosis)


def compare_detectors(job, flags, videos):
    """What --compare asks for, with the flags that go with it."""
    from spot.comparison import compare

    refuse_for_two(flags)
    results = [evaluate(job, flags, videos, path) for path in job.compared]
    for path, result in zip(job.compared, results, strict=True):
        refuse_other_videos(result, path, job.subset)
    found = compare(*results, flags.bootstrap or 1000)
    print(comparison_text(found, job.compared, job.blocked, flags.thumos_variant))
    if flags.per_class:
        print(f"\n{found.per_class_text()}")
    for letter, result in zip("AB", results, strict=True):
        if flags.recall or flags.diagnose:
            print(f"\n--- {letter} ---")
        if flags.recall:
            print_recall(result)
        if flags.diagnose:
            print_diagnosis(result)
    if flags.report:
        from spot.report_pictures import write_comparison  # matplotlib, only where pictures are wanted

        print(f"picture: {write_comparison(flags.report, found, job.compared)}")
    if flags.output:
        both = {letter: metrics_of(result, job.subset, None) for letter, result in zip("AB", results, strict=True)}
        write_json(flags.output, {**both, "difference": found.as_metrics()}, indent=1)
        print(f"metrics: {flags.output}")


# --- what to evaluate -------------------------------------------------------------------------------------------------


def options_of(flags):
    """How the files of annotation tools that --ground-truth names are read."""
    refuse_settings(flags)
    return reading_options(load_config(None, [*flags.overrides, "dataset.feature_path=none"]))


def job_from_config(flags):
    """The job of a run folder. Its own config.yaml wins over `--config`; flags win over both."""
    config = read_run_config(flags)
    folder, data = Path(config.output_path), config.dataset
    compared = flags.compare and [detections_of(path) for path in flags.compare]
    if compared:
        refuse_other_data(flags, config)
    named = flags.predictions or flags.run
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
        data.video_anno_path, flags.video_info or data.video_info_path, flags.blocked or data.blocked,
        predictions, compared, flags.subset or data.eval_subset, flags.tiou or plain(config.testing.tiou),
        Path(flags.output or folder / "metrics.json"), labeled_file if labeled_file.is_file() else None,
        reading_options(config),
    )


def read_run_config(flags):
    """The settings of the run that the flags name, from its own config.yaml where it has one.

    SpotError where detections are named, but nothing that tells the ground truth.
    """
    named = [text.partition("=")[2] for text in flags.overrides if text.startswith("output_path=")][-1:]
    if named and flags.run and Path(named[0]) != folder_of(flags.run):
        raise SpotError(f"{flags.run} and output_path={named[0]} are two runs; give one of them")
    files = [*filter(None, [flags.run, flags.predictions]), *(flags.compare or [])]
    if absent := [path for path in files if not Path(path).exists()]:
        raise SpotError(f"{absent[0]}: does not exist{in_folder(absent[0])}; give a detections file or a run folder")
    folders = [expand_home(folder) for folder in named] + [folder_of(path) for path in files]
    if not folders:
        folders = [load_config(flags.config or DEFAULT_CONFIG, flags.overrides).output_path]
    folder = next((folder for folder in folders if (Path(folder) / "config.yaml").is_file()), None)
    if folder is None and files and not (flags.config or named):
        raise SpotError(f"{files[0]}: no config.yaml beside it tells the ground truth; give --ground-truth FILE and "
                        "--subset NAME, or --config FILE")
    own = None if folder is None else Path(folder) / "config.yaml"
    note_unread_config(flags.config, own)
    place = f"output_path={folder or folders[0]}"
    config = load_config(own or flags.config or DEFAULT_CONFIG, [*flags.overrides, place])
    if own and flags.overrides:
        warn_of_unread(config, load_config(own, [place]), flags.overrides, (*RUN_KEYS, "testing.tiou"),
                       "--action-threshold")
    return config


def refuse_other_data(flags, config):
    """SpotError where one of the compared runs was evaluated on another ground truth than `config` names."""
    for path in flags.compare:
        own = folder_of(path) / "config.yaml"
        if not own.is_file():
            continue
        other = load_config(own, flags.overrides).dataset
        for key in ("video_anno_path", "video_info_path", "eval_subset", "blocked"):
            if other[key] != config.dataset[key]:
                raise SpotError(f"{own}: dataset.{key} is {other[key]}, that of the other is {config.dataset[key]}; to "
                                f"compare on one of them, give dataset.{key}=...")


def chosen_classes(names, classes):
    """The names of `--pr-class`, None without any; SpotError where one is no class."""
    for name in names or ():
        if name not in classes:
            raise SpotError(f"--pr-class {name!r} is no class of this subset; the classes are {shortened(classes)}")
    return names


if __name__ == "__main__":
    run(main, memory_advice=MEMORY_ADVICE)
