"""What an evaluation says in words and tables: its result, what is not plain in it, and how it was measured. No torch.

Every function takes what was found and returns text; a measure in 0..1 is shown in %.
"""

import numpy as np

from spot import __version__
from spot.command_line import command
from spot.evaluation import threshold_key
from spot.findings import ACTION_HEAD, SHARES_NOTE, TOP_TIMES, action_cells, average_of_labeled, times_are_shares
from spot.protocols import TIE_RULES
from spot.provenance import git_commit

NO_SUBSET = "(none: all videos)"
PARTIAL = "PARTIAL, the detector was stopped before its last video; those it did not reach count as not found"


# --- the result -------------------------------------------------------------------------------------------------------


def result_text(result, path, subset, variant, notes):
    """The table that everyone reads: mAP beside its baseline, and every count that belongs to it.

    result: `Evaluation` of the detections file `path`; variant: of the THUMOS14 test set, None: all
    notes: sentences, see `notes_of`
    """
    missing, class_scores = result.num_missing_features, result.predictions.class_scores
    baseline = result.whole_video_average_mAP
    return "\n".join([
        f"{path}: subset {subset or NO_SUBSET}, {result.protocol} protocol"
        + (f", THUMOS14 variant {variant}" if variant else ""),
        f"{result.num_videos:,} videos, {result.num_segments:,} segments, {len(result.classes):,} classes, "
        f"{result.num_predictions:,} detections",
        f"videos without features: {'not recorded' if missing is None else f'{missing:,}'}",
        "classes and scores: "
        + (f"with an EXTERNAL video classifier, {class_scores}" if class_scores else "the detector's own"),
        *notes,
        "",
        _row("tIoU", map(threshold_key, result.tiou_thresholds), "average"),
        _row("mAP %", _percent(result.mAP), f"{100 * result.average_mAP:.2f}"),
        "whole-video baseline, average mAP %: "
        + ("not available (no durations)" if baseline is None else f"{100 * baseline:.2f}"),
    ])


def notes_of(result, blocked, variant, unlabeled):
    """One sentence for each thing that is not as plain as it should be.

    result: `Evaluation`; blocked: the file of videos that are left out, or None; variant: of the THUMOS14 test set
    unlabeled: classes without a labeled training video, None where that is not known
    """
    if result.predictions.partial:
        yield PARTIAL
    if result.num_left_out_videos or blocked:
        yield (f"{result.num_left_out_videos:,} videos of the subset and their detections are left out by "
               f"{_left_out_by(blocked, variant)}")
    if variant and result.num_videos != variant:
        yield f"note: the ground truth holds {result.num_videos} videos of this variant, not {variant}"
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
        if unlabeled and (average := average_of_labeled(result, unlabeled)) is not None:
            count = len(result.classes) - len(unlabeled)
            yield f"average mAP % of classes with one ({count:,}): {100 * average:.2f}"


def facts_of(result, ground_truth, subset, path, blocked, variant, argv):
    """(name, value) pairs of the report: what was measured, and how.

    ground_truth, path: the files of annotations and detections; argv: the words of the command; others as in `notes_of`
    """
    left_out = f", by {_left_out_by(blocked, variant)}" if result.num_left_out_videos or blocked else ""
    return [
        ("ground truth", f"{ground_truth}, subset {subset or NO_SUBSET}"), ("predictions", str(path)),
        ("command", command("eval.py", *argv)), ("version", f"SPOT {__version__}, commit {git_commit()}"),
        ("protocol", result.protocol), ("ties of scores", TIE_RULES[result.protocol]),
        ("duplicate segments", f"dropped by the rule of {result.drop_duplicates}" if result.drop_duplicates
         else "all count"),
        ("THUMOS14 variant", str(variant or "none")),
        ("left-out videos", f"{result.num_left_out_videos:,}{left_out}"),
    ]


def comparison_text(found, paths, blocked, variant):
    """Both detectors with everything that is not as plain as it should be, and B - A with its paired intervals.

    found: `comparison.Comparison`; paths: their two files; others as in `notes_of`
    """
    lines = []
    for letter, path, result in zip("AB", paths, found.results, strict=True):
        lines.append(f"{letter} = {path}: {result.num_predictions:,} detections")
        lines += [f"{letter}: {note}" for note in notes_of(result, blocked, variant, None)]
    return "\n".join([*lines, "", found.as_text()])


def shortened(names, most=5):
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# --- what flags add ---------------------------------------------------------------------------------------------------


def per_class_text(result):
    """The AP of every class, the best first."""
    width = max(map(len, result.classes))
    keys = "".join(f"{threshold_key(threshold):>8}" for threshold in result.tiou_thresholds)
    lines = [f"{'AP % per class':<{width}}  segments   average{keys}"]
    for index in np.argsort(-result.ap.mean(axis=1), kind="stable"):
        cells = "".join(f"{100 * value:8.2f}" for value in result.ap[index])
        lines.append(f"{result.classes[index]:<{width}}{result.scene.positives[index]:10,}"
                     f"{100 * result.ap[index].mean():10.2f}{cells}")
    return "\n".join(lines)


def recall_text(measures):
    """Recall; measures: as `findings.recall_metrics` gives them."""
    lines = ["AR@AN %: " + ", ".join(f"{number}: {100 * value:.2f}" for number, value in measures["AR@AN"].items())
             + f"; area under the curve %: {100 * measures['AUC']:.2f}"]
    for times in TOP_TIMES:
        values = np.array(measures[f"top_{times}x"])
        lines.append(_row(f"top-{times}x %", _percent(values), f"{100 * values.mean():.2f}"))
    return "\n".join(lines)


def interval_text(average_mAP, average, at_tiou, number):
    """The intervals of average mAP, (low, high), and of mAP at each tIoU, (R, 2), from `number` halves."""
    low, high = average
    return "\n".join([
        f"average mAP %: {100 * average_mAP:.2f}, 95 % interval {100 * low:.2f} to {100 * high:.2f} for all videos of "
        f"this kind ({number:,} random halves of the videos)",
        _row("from %", _percent(at_tiou[:, 0]), f"{100 * low:.2f}"),
        _row("to %", _percent(at_tiou[:, 1]), f"{100 * high:.2f}"),
    ])


def actions_text(point, each_class):
    """How good the list of actions is; each_class: the rows of the classes, each with its own threshold, as well.

    point: `findings.OperatingPoint`
    """
    rows = {"all classes": point.overall, **(point.per_class if each_class else {})}
    width = max(map(len, rows))
    lines = [f"list of actions, % at tIoU {threshold_key(point.tiou)}; thresholds from {point.chosen_on}",
             " " * width + "".join(f"{name:>11}" for name in ACTION_HEAD)]
    lines += [f"{name:<{width}}" + "".join(f"{cell:>11}" for cell in action_cells(quality))
              for name, quality in rows.items()]
    return "\n".join(lines)


def _row(name, cells, last):
    return f"{name:<8}" + "".join(f"{cell:>8}" for cell in cells) + f"{last:>10}"


def _percent(values):
    return [f"{100 * value:.2f}" for value in values]


def _left_out_by(blocked, variant):
    """What leaves videos out: a list, a variant of the test set, else that nobody annotated them."""
    return " and ".join(filter(None, [blocked, variant and "the THUMOS14 variant"])) or "their lack of annotation"
