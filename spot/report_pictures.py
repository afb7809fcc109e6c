"""The pictures of the evaluation report, each with its section, what it shows in words, and a caption true of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from spot import plots
from spot.diagnosis import ERROR_TYPES, MIN_PRECISION
from spot.evaluation import ACTIVITYNET_TIOU, threshold_key
from spot.files import atomic_path
from spot.findings import times_are_shares
from spot.look import as_png
from spot.timelines import class_colors, groups_of_videos, timeline_figure, timelines_of

SECTIONS = {"result": "Result", "errors": "Where it fails", "recall": "Recall", "classes": "Classes",
            "actions": "The list of actions", "videos": "Videos", "views": "What the model sees",
            "how": "How it was measured"}
ORDER_WORDS = {"all": "All videos that have a segment", "best": "The videos with the highest AP",
               "median": "Videos from the middle", "worst": "The videos with the lowest AP"}


@dataclass(frozen=True)
class Picture:
    """name: of its file; section: a key of SECTIONS; alt: what is to be seen; caption: how to read it."""

    name: str
    section: str
    figure: Figure
    alt: str
    caption: str


def pictures_of(findings, unlabeled=(), classes=None, class_order=None):
    """Every `Picture` of an evaluation.

    findings: `findings.Findings`; unlabeled: classes without a labeled training video; classes: names for the
    precision-recall picture, None: from the best to the worst
    class_order: the class names of the run, whose places give the colors; None: those that are evaluated
    """
    result = findings.result
    colors = class_colors(list(dict.fromkeys([*(class_order or ()), *result.classes])))
    thresholds = [threshold_key(result.tiou_thresholds[place]) for place in (0, -1)]
    mean = f"tIoU {' to '.join(dict.fromkeys(thresholds))}, mean"
    pictures = [map_picture(findings),
                profile_picture(findings, "error_profile", findings.diagnosis.profile, "tIoU 0.50"),
                profile_picture(findings, "error_profile_mean", findings.diagnosis.profile_mean, mean),
                gains_picture(findings), sensitivity_picture(findings), recall_picture(findings),
                class_picture(findings, colors, unlabeled), precision_recall_picture(result, colors, classes)]
    return [*pictures, *timeline_pictures(findings, colors)]


def map_picture(findings):
    """mAP by tIoU."""
    result = findings.result
    first, last = (threshold_key(result.tiou_thresholds[place]) for place in (0, -1))
    caption = (f"Error bars: 95 % interval for all videos of this kind, of which these {result.num_videos:,} are a "
               "sample.")
    if result.whole_video_mAP is not None:
        caption += (" The dashed line is the least that a detector must beat: per predicted class one segment from "
                    "start to end of the video, with the same classes and scores.")
    return Picture("map_by_tiou", "result", plots.map_figure(result, findings.interval, findings.at_tiou),
                   f"Line of mAP over tIoU: {percent(result.mAP[0])} at {first}"
                   + (f", {percent(result.mAP[-1])} at {last}" if len(result.mAP) > 1 else "")
                   + f"; average {percent(result.average_mAP)}.", caption)


def profile_picture(findings, name, profile, tiou):
    """Error types down the ranking; profile: (10, 6) shares at the thresholds that `tiou` names."""
    counts = findings.split_counts
    largest = ERROR_TYPES[1 + int(profile[0, 1:].argmax())]
    return Picture(
        name, "errors", plots.profile_figure(profile, counts, tiou),
        f"Stacked bars of error types, {tiou}. Of the best {counts[0]:,} detections {percent(profile[0, 0])} are "
        f"right; the most frequent error there is {largest}, {percent(profile[0, 1:].max())}." if counts[0] else
        "Stacked bars of error types, all empty: there is no detection.",
        "The first bar holds the best G detections of every class, G being its number of segments, the second bar the "
        "next G; below each, how many detections it holds. A perfect detector has one bar, all true positives."
        + (" The figure of DETAD shows this mean." if name == "error_profile_mean" else ""))


def gains_picture(findings):
    """What each type of error costs."""
    gains = findings.diagnosis.removal_gains
    most = max(gains, key=gains.get)
    return Picture(
        "removal_gains", "errors", plots.gains_figure(findings.diagnosis),
        f"Bars of what average mAP_N gains without one type of error: most without {most}, "
        f"{100 * gains[most]:.1f} points.",
        "Where work pays: one type of wrong detection taken away at a time, among the best 10 G detections of each "
        "class. mAP_N is mAP with a precision normalized for the number of segments.")


def sensitivity_picture(findings):
    """Which segments are found and missed."""
    diagnosis, shares = findings.diagnosis, times_are_shares(findings.result.scene)
    hardest = [f"{name} {found.buckets[int(np.nanargmax(found.missed))]} ({percent(np.nanmax(found.missed))})"
               for name, found in diagnosis.characteristics.items()]
    return Picture(
        "sensitivity", "errors",
        plots.sensitivity_figure(diagnosis, findings.missed_bounds, "share of the video" if shares else "seconds"),
        "Bars of average mAP_N and of missed segments by coverage, length and instances. Most missed: "
        + ", ".join(hardest) + ".",
        "Below each bar: how many segments. mAP_N is mAP with a precision normalized for the number of segments, so "
        "that bars compare. A segment is missed where no detection takes it, or only one that stands so far down the "
        f"ranking that the normalized precision there is {MIN_PRECISION:g} or less; mean over tIoU, with the 95 % "
        "interval over resampled videos."
        + (" The times are shares of the video, but the limits between the lengths are in seconds: do not read those."
           if shares else ""))


def recall_picture(findings):
    """AR@AN."""
    curve = findings.recall
    return Picture(
        "recall", "recall", plots.recall_figure(curve, ACTIVITYNET_TIOU),
        f"Lines of recall over the number of proposals: mean over tIoU {percent(curve.average[0])} with one, "
        f"{percent(curve.average[-1])} with {len(curve.average)} per video.",
        "What no later ranking can repair: segments that no detection covers well, whatever its class.")


def class_picture(findings, colors, unlabeled):
    """AP of every class."""
    result = findings.result
    average = result.ap.mean(axis=1)
    best, worst = result.classes[int(average.argmax())], result.classes[int(average.argmin())]
    marked = [name for name in result.classes if name in (unlabeled or ())]
    return Picture(
        "ap_by_class", "classes", plots.class_figure(result, colors, marked, findings.of_class),
        f"Bars of average AP of {len(average):,} classes, from {best} ({percent(average.max())}) to {worst} "
        f"({percent(average.min())}).",
        "Mean over tIoU, with its 95 % interval; in brackets: segments."
        + (" * no labeled training video." if marked else "")
        + " A class has the same color in all pictures of this page.")


def precision_recall_picture(result, colors, classes):
    """Precision and recall of some classes."""
    tiou = threshold_key(result.tiou_thresholds[plots.near_half(result.tiou_thresholds)])
    return Picture(
        "precision_recall", "classes", plots.precision_recall_figure(result, colors, classes),
        f"Lines of precision over recall at tIoU {tiou}, one per class.",
        "One line per class, from its first detection down its ranking"
        + ("." if classes else ", from the class with the highest AP to the one with the lowest."))


def timeline_pictures(findings, colors):
    """The videos of `groups_of_videos`, a picture per group."""
    result, scores = findings.result, findings.video_scores
    row = plots.near_half(result.tiou_thresholds)
    unit = "share of the video" if times_are_shares(result.scene) else "seconds"
    for group, videos in groups_of_videos(scores).items():
        timelines = timelines_of(result, scores, videos, colors, row)
        strips = {strip.name for timeline in timelines for strip in timeline.strips}
        name = "timelines" if group == "all" else f"timelines_{group}"
        yield Picture(
            name, "videos", timeline_figure(timelines, unit),
            f"Timelines of {len(videos)} videos, AP {percent(scores[videos[0]])} to {percent(scores[videos[-1]])}: "
            "segments and detections as bars.",
            f"{ORDER_WORDS[group]}, by AP of their own (mean over their classes and tIoU). "
            + timeline_caption(strips, timelines, threshold_key(result.tiou_thresholds[row])))


def timeline_caption(strips, timelines, tiou):
    """Sentences about what is drawn in the timelines, and nothing else."""
    missed = any(strip.missed.any() for timeline in timelines for strip in timeline.strips)
    text = "Color: the class." + (" Truth: filled where a detection takes the segment, a dashed frame where none does."
                                  if missed else "")
    if "right" in strips:
        text += f" Right: detections that take a segment at tIoU {tiou}."
    if "wrong" in strips:
        text += " Wrong: those of the same classes that take none."
    if "other classes" in strips:
        text += " Gray: detections of classes that are not annotated in the video."
    return text + (" The stronger a color, the higher the score within the video." if strips - {"truth"} else "")


def percent(share):
    """A share in 0..1 as text."""
    return f"{100 * share:.1f} %"


def write_comparison(folder, found, names):
    """Write comparison.png, the curves of both detectors of a `Comparison`, into the folder; returns its path."""
    path = Path(folder) / "comparison.png"
    with atomic_path(path) as temporary:
        temporary.write_bytes(as_png(plots.comparison_figure(found, names)))
    return path
