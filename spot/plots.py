"""Pictures: timelines of videos, and the evaluation report as PNGs and one self-contained HTML page. No torch.

Every picture is drawn at 100 dots per inch and shown at its own size, so text stays as large as it was drawn. Colors
are those of Okabe and Ito, which color-blind readers can tell apart; hatching doubles their number.
"""

import base64
import html
import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from tqdm import tqdm

from spot.average_precision import hits_of
from spot.diagnosis import (
    ERROR_TYPES,
    average_recall,
    bootstrap,
    diagnose,
    interval,
    recall_at_top,
    video_scores,
)
from spot.evaluation import ACTIVITYNET_TIOU, threshold_key
from spot.files import atomic_path, write_text

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
LINES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK)
CLASS_COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW)
CLASS_STYLES = [(color, hatch) for hatch in (None, "/////") for color in CLASS_COLORS]
MINED_COLORS = {"easy foreground": GREEN, "hard foreground": RED, "hard background": ORANGE, "easy background": BLUE}
GRAY = "#999999"
OTHER_STYLE = (GRAY, None)
MAX_LANES = 8  # of detections that overlap in time
MAX_SHOWN = 200  # more bars than that do not tell more
VIDEOS_PER_PICTURE = 10


# --- timelines --------------------------------------------------------------------------------------------------------


def draw_timeline(axis, segments_sec, labels, scores, duration_sec=None, ground_truth=None, title="", styles=None):
    """One video on a time axis: its detections, and above them the ground truth where there is one.

    segments_sec: (P, 2); labels: P names; scores: (P,); ground_truth: None or (segments_sec (N, 2), N names)
    styles: {name: (color, hatch)}, None: chosen for this video
    Color tells the class, opacity the score relative to the best of the video. Detections take the highest lane that is
    free at their time, the best first; those that find none of `MAX_LANES` free are left out, and the title says so.
    """
    segments_sec, scores = np.asarray(segments_sec, float).reshape(-1, 2), np.asarray(scores, float)
    order = np.argsort(-scores, kind="stable")[:MAX_SHOWN]
    lanes = pack_lanes(segments_sec[order], MAX_LANES)
    true_segments, true_labels = ground_truth or (np.zeros((0, 2)), ())
    true_segments = np.asarray(true_segments, float).reshape(-1, 2)
    true_lanes = pack_lanes(true_segments, None)
    num_true_lanes = max(true_lanes, default=-1) + 1
    shown = [(index, lane) for index, lane in zip(order, lanes, strict=True) if lane is not None]
    present = list(dict.fromkeys([*true_labels, *(labels[index] for index, _ in shown)]))
    styles = styles or class_styles(present)

    right_end = max([*segments_sec[[index for index, _ in shown], 1], *true_segments[:, 1], duration_sec or 0]) or 1
    for (start, end), label, lane in zip(true_segments, true_labels, true_lanes, strict=True):
        width = max(end - start, 0.004 * right_end)  # real files hold segments of no length, which should be seen too
        draw_bar(axis, start, width, lane - num_true_lanes - 0.3, styles[label])
        axis.broken_barh([(start, width)], (lane - num_true_lanes - 0.3, 0.8), facecolor="none", edgecolor="black",
                         linewidth=0.8)
    lowest, highest = min(scores.min(initial=0), 0), max(scores.max(initial=0), 0)
    for index, lane in shown:
        start, end = segments_sec[index]
        opacity = 0.12 + 0.88 * (scores[index] - lowest) / max(highest - lowest, 1e-12)
        draw_bar(axis, start, end - start, lane + 0.1, styles[labels[index]], opacity)

    num_lanes = max((lane for _, lane in shown), default=0) + 1
    axis.set_xlim(min(0, true_segments.min(initial=0)), right_end)
    axis.set_ylim(num_lanes, -num_true_lanes - 0.4)
    axis.set_yticks([-num_true_lanes / 2, num_lanes / 2] if num_true_lanes else [num_lanes / 2],
                    ["truth", "detected"] if num_true_lanes else ["detected"])
    axis.tick_params(axis="y", length=0)
    axis.axhline(-0.1, color="black", linewidth=0.6)
    left_out = f", {len(shown):,} shown" if len(shown) < len(scores) else ""
    axis.set_title(f"{title}   {len(scores):,} detections{left_out}, best score {highest:.3g}",
                   fontsize=9, loc="left", pad=3)
    draw_class_legend(axis, present, styles)


def draw_bar(axis, start, width, top, style, opacity=1.0):
    """One segment, from `start` for `width` seconds, with its upper edge at `top`; style: (color, hatch)."""
    color, hatch = style
    axis.broken_barh([(start, width)], (top, 0.8), facecolor=color, hatch=hatch, edgecolor="white", linewidth=0,
                     alpha=opacity)


def draw_class_legend(axis, names, styles):
    """The classes of one video, to the right of it; in more columns where they would reach into the next video."""
    named = [name for name in names if styles[name] != OTHER_STYLE]
    handles = [Patch(facecolor=styles[name][0], hatch=styles[name][1], edgecolor="white", linewidth=0, label=name)
               for name in named]
    if len(named) < len(names):
        handles.append(Patch(color=GRAY, label=f"{len(names) - len(named)} other classes"))
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.005, 1.05), fontsize=8, frameon=False,
                handlelength=1.5, borderaxespad=0, labelspacing=0.25, ncols=max(1, -(-len(handles) // 7)))


def pack_lanes(segments_sec, most):
    """Lowest free lane of each segment, in order; None where all of `most` lanes are taken at that time."""
    lanes, places = [], []
    for start, end in segments_sec:
        free = (lane for lane, taken in enumerate(lanes) if all(end <= s or e <= start for s, e in taken))
        lane = next(free, len(lanes))
        if lane == most:
            places.append(None)
            continue
        if lane == len(lanes):
            lanes.append([])
        lanes[lane].append((start, end))
        places.append(lane)
    return places


def class_styles(names):
    """{name: (color, hatch)} in the order of the names; gray for those beyond the styles that can be told apart."""
    return {name: CLASS_STYLES[index] if index < len(CLASS_STYLES) else OTHER_STYLE for index, name in enumerate(names)}


def timeline_figure(videos):
    """Timelines below each other; videos: keyword arguments of `draw_timeline`, one dict each."""
    figure = Figure(figsize=(8.5, 1.45 * len(videos)))
    axes = figure.subplots(len(videos), squeeze=False, gridspec_kw={"hspace": 0.7})[:, 0]
    for axis, video in zip(axes, videos, strict=True):
        draw_timeline(axis, **video)
    axes[-1].set_xlabel("seconds")
    return figure


def save_timeline(path, **video):
    """One video's timeline as a PNG; keywords of `draw_timeline`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(as_png(timeline_figure([video])))


def timeline_of(result, video, score):
    """Keyword arguments of `draw_timeline` for one ground-truth video (index) of an evaluation."""
    scene = result.scene
    of_video = np.flatnonzero(scene.video == video)
    truth = scene.gt_video == video
    duration = scene.durations_sec[video]
    return {
        "segments_sec": scene.segments_sec[of_video], "scores": scene.scores[of_video],
        "labels": [scene.classes[label] for label in scene.label[of_video]],
        "duration_sec": None if np.isnan(duration) else duration,
        "ground_truth": (scene.gt_sec[truth], [scene.classes[label] for label in scene.gt_class[truth]]),
        "title": f"{scene.videos[video]}   AP {100 * score:.1f} %",
        # Few classes keep one style in all videos; of many, each video shows its own.
        "styles": class_styles(scene.classes) if len(scene.classes) <= len(CLASS_STYLES) else None,
    }


def best_median_worst(scores, count=VIDEOS_PER_PICTURE):
    """{"best" | "median" | "worst": video indices}, each in descending score; videos without a score are left out."""
    order = np.argsort(-scores, kind="stable")[: np.isfinite(scores).sum()]
    middle = max(0, (len(order) - count) // 2)
    return {"best": order[:count], "median": order[middle:middle + count], "worst": order[-count:]}


# --- one video as the model sees it -----------------------------------------------------------------------------------

MAX_CLASS_LINES = len(CLASS_COLORS)
LEAST_SHOWN = 0.2
MASK_PIXELS = 700  # rows and columns of a mask picture; a longer video is sampled


def save_video_picture(path, class_names, edges_sec, first_snippets, probabilities, masks, mined, **video):
    """A PNG of one video on one time axis: detections, class probabilities, mined snippets, and mask rows.

    class_names: K names; edges_sec: (T' + 1,) where its snippets begin and end
    first_snippets: (W,) of its windows; probabilities: (W, K+1, T), background last; masks: (W, T, T) in 0..1
    mined: {kind: (W, T) bool}, the easy and hard snippets of boundary refinement
    video: title, segments_sec, labels, scores, perhaps ground_truth, as `draw_timeline` takes them; scores far below
    the best are left out
    """
    scores = np.asarray(video["scores"], float)
    kept = np.flatnonzero(scores >= LEAST_SHOWN * scores.max(initial=0))
    video = {**video, "title": f"{video['title']}   scores over {LEAST_SHOWN:.0%} of the best:",
             "segments_sec": np.asarray(video["segments_sec"], float).reshape(-1, 2)[kept],
             "labels": [video["labels"][index] for index in kept], "scores": scores[kept]}
    window, place = middle_windows(len(edges_sec) - 1, np.asarray(first_snippets), masks.shape[-1])
    probabilities = probabilities[window, :, place].T  # (W, K+1, T) -> (K+1, T')
    best = probabilities[:-1].max(axis=1)
    drawn = [class_names[index] for index in np.argsort(-best, kind="stable")[:MAX_CLASS_LINES]]
    _, true_labels = video.get("ground_truth") or ((), ())
    names = list(dict.fromkeys([*drawn, *video["labels"], *true_labels]))
    styles = class_styles(names)

    figure = Figure(figsize=(9, 9), dpi=100)
    axes = figure.subplots(4, gridspec_kw={"hspace": 0.28, "height_ratios": (2, 2, 1, 5)})
    timeline, classes, snippets, picture = axes
    draw_timeline(timeline, duration_sec=edges_sec[-1], styles=styles, **video)
    draw_probabilities(classes, edges_sec, probabilities, [(name, class_names.index(name)) for name in drawn], styles)
    draw_mined(snippets, edges_sec, {kind: member[window, place] for kind, member in mined.items()})
    draw_masks(picture, edges_sec, np.asarray(first_snippets), masks)
    for axis in axes:
        axis.set_xlim(0, edges_sec[-1])
    picture.set_xlabel("seconds")
    with atomic_path(path) as temporary:
        temporary.write_bytes(as_png(figure))


def middle_windows(length, first_snippets, num_snippets):
    """For each of T' snippets, the window in whose middle it lies most, (T',), and its place there, (T',)."""
    snippet = np.arange(length)
    middles = first_snippets + (num_snippets - 1) / 2
    window = np.abs(snippet[:, None] - middles).argmin(axis=1)
    return window, snippet - first_snippets[window]


def draw_probabilities(axis, edges_sec, probabilities, drawn, styles):
    """Lines of class probabilities (K+1, T') over time; drawn: (name, index) pairs; the foreground as a gray area."""
    axis.stairs(1 - probabilities[-1], edges_sec, fill=True, color="#dddddd", label="any action (1 - background)")
    for name, index in drawn:
        axis.stairs(probabilities[index], edges_sec, baseline=None, color=styles[name][0], linewidth=1.4, label=name)
    axis.set(ylim=(0, 1.03), ylabel="class probability")
    tidy(axis)
    axis.legend(loc="upper left", bbox_to_anchor=(1.005, 1.05), fontsize=8, frameon=False, handlelength=1.5,
                borderaxespad=0, labelspacing=0.25)


def draw_mined(axis, edges_sec, mined):
    """A row of marks per kind of snippet that boundary refinement contrasts; mined: {kind: (T',) bool}."""
    for row, (kind, member) in enumerate(mined.items()):
        ranges = [(edges_sec[i], edges_sec[i + 1] - edges_sec[i]) for i in np.flatnonzero(member)]
        axis.broken_barh(ranges, (row - 0.4, 0.8), color=MINED_COLORS[kind], linewidth=0)
    axis.set(ylim=(len(mined) - 0.5, -0.5), yticks=range(len(mined)), yticklabels=list(mined))
    axis.tick_params(axis="y", labelsize=8, length=0)
    tidy(axis)


def draw_masks(axis, edges_sec, first_snippets, masks):
    """Mask rows of a whole video as a picture: row = the snippet that looks, column = what it takes for its instance.

    masks: (W, T, T). A row shows its middle window; what lies outside of that window stays gray.
    """
    length, num_snippets = len(edges_sec) - 1, masks.shape[-1]
    window, _ = middle_windows(length, first_snippets, num_snippets)
    # Pixels are even in time, snippets need not be: the first and the last reach to the ends of the video.
    times_sec = (np.arange(min(length, MASK_PIXELS)) + 0.5) / min(length, MASK_PIXELS) * edges_sec[-1]
    snippet = np.clip(np.searchsorted(edges_sec, times_sec, side="right") - 1, 0, length - 1)
    first = first_snippets[window[snippet]][:, None]
    column = snippet[None] - first
    inside = (column >= 0) & (column < num_snippets)
    pixels = masks[window[snippet][:, None], snippet[:, None] - first, column.clip(0, num_snippets - 1)]
    axis.set_facecolor("#eeeeee")
    image = axis.imshow(np.ma.array(pixels, mask=~inside), cmap="viridis", vmin=0, vmax=1, aspect="auto",
                        interpolation="nearest", extent=(0, edges_sec[-1], edges_sec[-1], 0))
    axis.set_ylabel("mask row: seen from second")
    bar = axis.inset_axes((1.02, 0, 0.02, 1))
    axis.figure.colorbar(image, cax=bar, label="same instance"
                         + ("" if inside.all() else " (gray: not in the window)"))



# --- figures of an evaluation -----------------------------------------------------------------------------------------

ERROR_COLORS = (GREEN, YELLOW, ORANGE, BLUE, PURPLE, GRAY)


def map_figure(result, low_high):
    """mAP at each tIoU, with the whole-video baseline where there is one."""
    figure, axis = new_figure(7.5, 4)
    tiou = result.tiou_thresholds
    axis.plot(tiou, 100 * result.mAP, "o-", color=BLUE, label=f"detections, average {100 * result.average_mAP:.2f} "
              f"(95 %: {100 * low_high[0]:.2f} to {100 * low_high[1]:.2f})")
    baseline = np.zeros(len(tiou)) if result.whole_video_mAP is None else result.whole_video_mAP
    for x, y, other in zip(tiou, 100 * result.mAP, 100 * baseline, strict=True):
        axis.annotate(f"{y:.1f}", (x, max(y, other)), (0, 6), textcoords="offset points", ha="center", fontsize=9,
                      color=BLUE)
    if result.whole_video_mAP is not None:
        axis.plot(tiou, 100 * result.whole_video_mAP, "s--", color=RED,
                  label=f"one segment over the whole video, average {100 * result.whole_video_average_mAP:.2f}")
    axis.set(xlabel="tIoU", ylabel="mAP %", title="mAP by tIoU")
    axis.set_xticks(tiou, [threshold_key(value) for value in tiou])
    axis.set_ylim(0, axis.get_ylim()[1] * 1.08)
    axis.legend(frameon=False)
    return figure


def class_figure(result, unlabeled):
    """Average AP of every class, sorted; a row is as high as its name, so 200 classes make a tall picture."""
    average = result.ap.mean(axis=1)
    order = np.argsort(average, kind="stable")
    figure, axis = new_figure(8, 1 + 0.17 * len(order))
    names = [result.classes[index] for index in order]
    axis.barh(range(len(order)), 100 * average[order], color=[RED if name in unlabeled else BLUE for name in names])
    for row, index in enumerate(order):
        axis.annotate(f"{100 * average[index]:.1f}", (100 * average[index], row), (3, 0), textcoords="offset points",
                      va="center", fontsize=8)
    axis.set_yticks(range(len(order)), [f"{name} ({result.scene.positives[index]})" for name, index in
                                        zip(names, order, strict=True)], fontsize=8)
    axis.set_ylim(-0.7, len(order) - 0.3)
    axis.set_xlim(0, max(100 * average.max() * 1.1, 1))
    axis.set(xlabel="average AP %", title="AP by class (segments)" + (
        "; red: no labeled training video" if unlabeled else ""))
    axis.grid(axis="y", visible=False)
    return figure


def precision_recall_figure(result, classes=None):
    """Precision against recall of chosen classes at the tIoU nearest to .5; by default from the best to the worst."""
    row = int(np.abs(result.tiou_thresholds - 0.5).argmin())
    if classes is None:
        order = np.argsort(-result.ap[:, row], kind="stable")
        places = np.unique(np.linspace(0, len(order) - 1, 6).round().astype(int))
        classes = [result.classes[index] for index in order[places]]
    scene = result.scene
    parts = hits_of(result.matches[row:row + 1] >= 0, result.counted[row:row + 1], scene.label, scene.positives)
    rank, hit, precision = (part[0] for part in parts)
    figure, axis = new_figure(8.5, 4.5)
    for name, color in zip(classes, LINES, strict=False):
        index = result.classes.index(name)
        mine = scene.label[hit] == index
        recall = (rank[mine] + 1) / scene.positives[index]
        from_zero = [np.concatenate([values[:1] * factor, values]) for values, factor in
                     ((recall, 0), (precision[mine], 1))]
        axis.plot(*(100 * values for values in from_zero), ".-" if mine.sum() < 60 else "-", color=color,
                  label=f"{name}: AP {100 * result.ap[index, row]:.1f}")
    axis.set(xlim=(0, 101), ylim=(0, 104), xlabel="recall %", ylabel="precision %",
             title=f"Precision and recall at tIoU {threshold_key(result.tiou_thresholds[row])}")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def profile_figure(diagnosis):
    """Error types among the best G detections of each class, the next G, ..."""
    figure, axis = new_figure(8.5, 4)
    bottom = np.zeros(len(diagnosis.profile))
    for name, shares, color in zip(ERROR_TYPES, 100 * diagnosis.profile.T, ERROR_COLORS, strict=True):
        axis.bar(range(len(bottom)), shares, bottom=bottom, color=color, edgecolor="white", linewidth=0.5, label=name)
        for place, (share, base) in enumerate(zip(shares, bottom, strict=True)):
            if share >= 6:
                axis.annotate(f"{share:.0f}", (place, base + share / 2), ha="center", va="center", fontsize=8,
                              color="white" if color in (BLUE, GREEN, RED) else "black")
        bottom += shares
    axis.set_xticks(range(len(bottom)), [f"{split + 1}G" for split in range(len(bottom))])
    axis.set(ylabel="% of the detections", ylim=(0, 100), title="Error types at tIoU 0.50",
             xlabel="detections of a class by score, in steps of its number of segments G")
    axis.grid(visible=False)
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles[::-1], labels[::-1], frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def gains_figure(diagnosis):
    """What average mAP_N would gain without one error type."""
    figure, axis = new_figure(7.5, 2.8)
    names, gains = list(diagnosis.removal_gains), 100 * np.array(list(diagnosis.removal_gains.values()))
    axis.barh(range(len(names)), gains, color=ERROR_COLORS[1:])
    for row, gain in enumerate(gains):
        axis.annotate(f"{gain:.2f}", (max(gain, 0), row), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlim(min(0, gains.min()), max(gains.max() * 1.12, 0.1))
    axis.set(xlabel=f"gain in average mAP_N, points (now {100 * diagnosis.mAP_N:.2f} %)",
             title="If one type of error were removed")
    axis.grid(axis="y", visible=False)
    return figure


def sensitivity_figure(diagnosis):
    """Average mAP_N (top) and share of missed segments (bottom) by what the segments are like."""
    titles = {"coverage": "coverage (segment / video)", "length": "length, seconds",
              "instances": "instances in the video"}
    columns = diagnosis.characteristics
    widths = [len(found.buckets) for found in columns.values()]
    figure = Figure(figsize=(1 + 0.78 * sum(widths), 5.2), dpi=100, layout="constrained")
    axes = figure.subplots(2, len(columns), squeeze=False, sharey="row", gridspec_kw={"width_ratios": widths})
    for column, (name, found) in enumerate(columns.items()):
        for axis, values, color in zip(axes[:, column], (found.mAP_N, found.missed), (BLUE, RED), strict=True):
            places = np.flatnonzero(found.counts)
            axis.bar(places, 100 * values[places], color=color)
            for place in range(len(found.buckets)):
                text = f"{100 * values[place]:.1f}" if found.counts[place] else "none"
                axis.annotate(text, (place, np.nan_to_num(100 * values[place])), (0, 4), textcoords="offset points",
                              ha="center", fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
            axis.set_xticks(range(len(found.buckets)), [
                bucket.replace(" ", "\n") + f"\n({count:,})" for bucket, count in
                zip(found.buckets, found.counts, strict=True)], fontsize=8)
            axis.set_xlim(-0.6, len(found.buckets) - 0.4)
            axis.margins(y=0.16)
            tidy(axis)
            axis.grid(axis="x", visible=False)
        axes[0, column].axhline(100 * diagnosis.mAP_N, color="black", linestyle="--", linewidth=1)
        axes[0, column].set_title(titles[name], fontsize=10)
    axes[0, 0].set_ylabel("average mAP_N %\n(dashed: all segments)")
    axes[1, 0].set_ylabel("missed segments %")
    return figure


def recall_figure(curve, thresholds):
    """Recall against the number of proposals per video, mean over tIoU and at three of them."""
    figure, axis = new_figure(9.5, 4)
    axis.plot(curve.number, 100 * curve.average, color=BLACK, linewidth=2.2,
              label=f"mean over tIoU .5:.05:.95, area {100 * curve.area:.2f} %")
    for row, color in zip((0, len(thresholds) // 2, len(thresholds) - 1), (BLUE, GREEN, RED), strict=True):
        axis.plot(curve.number, 100 * curve.recall[row], color=color, linestyle="--",
                  label=f"tIoU {threshold_key(thresholds[row])}")
    axis.set(xlabel="average number of proposals per video (AN)", ylabel="recall %", ylim=(0, 102),
             xlim=(0, curve.number[-1]), title="Recall without classes (AR@AN)")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def new_figure(width, height):
    """A figure of width x height inches with one axis: (figure, axis)."""
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, tidy(figure.subplots())


def tidy(axis):
    """The look that all axes share; returns the axis."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    return axis


def as_png(figure):
    """The bytes of a figure as PNG; the edge moves outward until no text is cut."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


# --- the report -------------------------------------------------------------------------------------------------------


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
    low_high = interval(bootstrap(result, resamples), result.average_mAP)
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
