"""The evaluation report: PNGs and one self-contained HTML page. No torch."""

import base64
import html
from pathlib import Path

from tqdm import tqdm

from spot.diagnosis import average_recall, diagnose, recall_at_top, video_scores
from spot.evaluation import ACTIVITYNET_TIOU, threshold_key
from spot.files import atomic_path, write_text
from spot.intervals import mAP_intervals
from spot.plots import (
    as_png,
    class_figure,
    gains_figure,
    map_figure,
    precision_recall_figure,
    profile_figure,
    recall_figure,
    sensitivity_figure,
)
from spot.timelines import best_median_worst, timeline_figure, timeline_of

CAPTIONS = {
    "map_by_tiou": "The dashed line is the least that a detector must beat: per predicted class one segment from start "
                   "to end of the video, with the same classes and scores.",
    "error_profile": "The first bar holds the best G detections of every class, G being its number of segments, the "
                     "second bar the next G. A perfect detector has one bar, all true positives.",
    "removal_gains": "Where work pays: one type of wrong detection taken away at a time, among the best 10 G "
                     "detections of each class.",
    "sensitivity": "In brackets: segments. mAP_N is mAP with a precision normalized for the number of segments, so "
                   "that bars compare. A segment is missed when no detection takes it.",
    "recall": "What no later ranking can repair: segments that no detection covers well, whatever its class.",
    "precision_recall": "One line per class, from its first detection down its ranking.",
    "ap_by_class": "Average over tIoU; in brackets: segments.",
    "timelines_best": "The videos with the highest AP of their own (mean over their classes and tIoU). Color: class; "
                      "opacity: score, relative to the best of the video.",
    "timelines_median": "Videos from the middle of the same order.",
    "timelines_worst": "Videos from the end of the same order.",
}
VIEW_CAPTION = ("What the model sees in one video. Easy snippets: the ten most confident foreground and background "
                "snippets of the class head in each window; hard snippets: the four next to a boundary of the mask, "
                "just inside and just outside of it. Boundary refinement pulls hard ones to the easy ones of their "
                "kind.")


def write_report(folder, result, title, unlabeled_classes=None, classes=None, resamples=1000, timelines=()):
    """PNGs and `report.html` into `folder`; everything is drawn before anything is written.

    classes: names for the precision-recall picture, None: from the best to the worst
    unlabeled_classes: classes without a labeled training video, None: not known
    timelines: paths of pictures of single videos, by `save_video_picture`, for the page
    Returns the path of the page.
    """
    diagnosis, curve = diagnose(result), average_recall(result.scene)
    low_high, _ = mAP_intervals(result, resamples)
    scores = video_scores(result)
    figures = {
        "map_by_tiou": map_figure(result, low_high),
        "error_profile": profile_figure(diagnosis),
        "removal_gains": gains_figure(diagnosis),
        "sensitivity": sensitivity_figure(diagnosis),
        "recall": recall_figure(curve, ACTIVITYNET_TIOU),
        "precision_recall": precision_recall_figure(result, classes),
        "ap_by_class": class_figure(result, unlabeled_classes or ()),
    }
    for name, videos in best_median_worst(scores).items():
        figures[f"timelines_{name}"] = timeline_figure([timeline_of(result, video, scores[video]) for video in videos])
    pictures = {name: as_png(figure) for name, figure in tqdm(figures.items(), "pictures", disable=None, leave=False)}
    views = [Path(picture).read_bytes() for picture in timelines]
    page = report_page(title, summary_rows(result, low_high, curve, unlabeled_classes), pictures, views, result)
    folder = Path(folder)
    for name, png in pictures.items():
        with atomic_path(folder / f"{name}.png") as temporary:
            temporary.write_bytes(png)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def summary_rows(result, low_high, curve, unlabeled_classes):
    """(name, value) pairs: every number of the printed table."""
    top = recall_at_top(result)
    baseline, missing = result.whole_video_average_mAP, result.num_missing_features
    rows = [
        ("average mAP", f"{100 * result.average_mAP:.2f} % (95 % interval {100 * low_high[0]:.2f} to "
                        f"{100 * low_high[1]:.2f})"),
        *((f"mAP at tIoU {threshold_key(threshold)}", f"{100 * value:.2f} %")
          for threshold, value in zip(result.tiou_thresholds, result.mAP, strict=True)),
        ("whole-video baseline, average mAP", "not available (no durations)" if baseline is None
         else f"{100 * baseline:.2f} %"),
        ("recall at top-1x, top-5x", f"{100 * top[0].mean():.2f} %, {100 * top[1].mean():.2f} %"),
        ("AR@1, AR@10, AR@100, area", ", ".join(f"{100 * curve.average[number - 1]:.2f} %" for number in (1, 10, 100))
         + f", {100 * curve.area:.2f} %"),
        ("protocol", result.protocol),
        ("videos, segments, classes, detections", f"{result.num_videos:,}, {result.num_segments:,}, "
         f"{len(result.classes):,}, {result.num_predictions:,}"),
        ("videos without features", "not recorded" if missing is None else f"{missing:,}"),
        ("classes and scores", f"with an external video classifier: {result.predictions.class_scores}"
         if result.predictions.class_scores else "the detector's own"),
        ("detections in unknown videos (wrong), of unknown labels (left out), broken (dropped)",
         f"{result.num_unknown_video_predictions:,}, {sum(result.unknown_labels.values()):,}, "
         f"{result.predictions.num_dropped:,}"),
    ]
    if unlabeled_classes is not None:
        rows.append(("classes without a labeled training video", ", ".join(unlabeled_classes) or "none"))
    return rows


def report_page(title, rows, pictures, views, result):
    """The report as one HTML text; rows: (name, value) pairs, pictures: {name: PNG bytes}, views: PNGs of videos."""
    numbers = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    shown = [(name, CAPTIONS[name], png) for name, png in pictures.items()]
    shown += [("what the model sees in a video", VIEW_CAPTION, png) for png in views]
    images = "".join(
        f'<figure><img alt="{name}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>" for name, caption, png in shown)
    head = "".join(f"<th>{threshold_key(threshold)}</th>" for threshold in result.tiou_thresholds)
    by_class = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{positives:,}</td><td>{100 * row.mean():.2f}</td>"
        + "".join(f"<td>{100 * value:.2f}</td>" for value in row) + "</tr>"
        for name, row, positives in zip(result.classes, result.ap, result.scene.positives, strict=True))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title><style>
body {{ font: 15px/1.5 sans-serif; margin: 2em; max-width: 1300px; color: #111; background: #fff }}
table {{ border-collapse: collapse }} th, td {{ padding: 2px 12px 2px 0; border-bottom: 1px solid #ddd }}
th {{ text-align: left; font-weight: normal }} figure {{ margin: 2em 0; overflow-x: auto }}
figcaption {{ color: #444; max-width: 60em }} .classes td {{ text-align: right }}
</style></head><body><h1>{html.escape(title)}</h1><table>{numbers}</table>{images}
<details><summary>AP % of every class</summary><table class="classes">
<tr><th>class</th><th>segments</th><th>average</th>{head}</tr>{by_class}</table></details></body></html>
"""
