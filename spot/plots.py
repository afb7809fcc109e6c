"""Pictures of an evaluation: curves of mAP, precision and recall, bars of classes, errors and buckets. No torch."""

import numpy as np
from matplotlib.figure import Figure

from spot.average_precision import hits_of
from spot.diagnosis import ERROR_TYPES
from spot.evaluation import threshold_key
from spot.look import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    LINE_STYLES,
    ORANGE,
    PURPLE,
    RED,
    WIDTH,
    YELLOW,
    beside,
    new_figure,
    shortened,
    tidy,
)

ERROR_COLORS = (GREEN, YELLOW, ORANGE, BLUE, PURPLE, GRAY)


def map_figure(result, average, at_tiou):
    """mAP at each tIoU, with the whole-video baseline where there is one.

    average: (low, high) of average mAP; at_tiou: (R, 2) the same of mAP at each tIoU, None: not drawn
    """
    figure, axis = new_figure(4)
    tiou = result.tiou_thresholds
    draw_curve(axis, result, at_tiou, BLUE, "o-", f"detections, average {100 * result.average_mAP:.2f} "
               f"(95 %: {100 * average[0]:.2f} to {100 * average[1]:.2f})")
    tops = 100 * (result.mAP if at_tiou is None else at_tiou[:, 1])
    for x, y, top in zip(tiou, 100 * result.mAP, tops, strict=True):
        axis.annotate(f"{y:.1f}", (x, top), (0, 4), textcoords="offset points", ha="center", fontsize=9, color=BLUE)
    if result.whole_video_mAP is not None:
        axis.plot(tiou, 100 * result.whole_video_mAP, "s--", color=RED,
                  label=f"one segment over the whole video, average {100 * result.whole_video_average_mAP:.2f}")
    finish_map_axis(axis, tiou, "mAP by tIoU")
    return figure


def draw_curve(axis, result, at_tiou, color, style, label):
    """mAP over tIoU with its intervals (R, 2), where they are known."""
    values = 100 * result.mAP
    bars = None if at_tiou is None else np.abs(100 * at_tiou.T - values)
    axis.errorbar(result.tiou_thresholds, values, bars, fmt=style, color=color, label=label, capsize=3,
                  elinewidth=1)


def finish_map_axis(axis, tiou, title):
    """Labels, ticks, scale and legend of an axis of mAP over tIoU."""
    axis.set(xlabel="tIoU", ylabel="mAP %", title=title)
    axis.set_xticks(tiou, [threshold_key(value) for value in tiou])
    axis.set_ylim(0, max(axis.get_ylim()[1] * 1.08, 1))
    axis.legend(frameon=False, fontsize=9)


def comparison_figure(comparison, names):
    """mAP over tIoU of two detectors, and below it B - A with its paired intervals.

    comparison: `comparison.Comparison`; names: of A and B
    """
    figure = Figure(figsize=(WIDTH, 6), dpi=100, layout="constrained")
    curves, gap = figure.subplots(2, height_ratios=(3, 2))
    for letter, result, name, color, style in zip("AB", comparison.results, names, (BLUE, RED), ("o-", "s--"),
                                                  strict=True):
        name = str(name) if len(str(name)) <= 50 else "…" + str(name)[-49:]  # paths differ at their ends
        draw_curve(tidy(curves), result, None, color, style,
                   f"{letter} = {name}, average {100 * result.average_mAP:.2f}")
    tiou = comparison.results[0].tiou_thresholds
    finish_map_axis(curves, tiou, "mAP by tIoU")
    values, (low, high) = 100 * comparison.at_tiou, 100 * np.array(comparison.average_interval)
    bars = np.abs(100 * comparison.at_tiou_interval.T - values)
    tidy(gap).axhline(0, color=BLACK, linewidth=1)
    gap.axhspan(low, high, color=GRAY, alpha=0.25, linewidth=0, label=f"average mAP: {low:+.2f} to {high:+.2f}")
    gap.errorbar(tiou, values, bars, fmt="D", color=BLACK, capsize=3, elinewidth=1)
    gap.set(xlabel="tIoU", ylabel="B - A, points", title=f"Difference with its 95 % interval: {comparison.verdict}")
    gap.set_xticks(tiou, [threshold_key(value) for value in tiou])
    bottom, top = gap.get_ylim()
    gap.set_ylim(min(bottom, -0.1), max(top, 0.1))
    gap.legend(frameon=False, fontsize=9)
    return figure


def class_figure(result, colors, unlabeled=(), bounds=None):
    """Bars of average AP per class, best on top.

    colors: {name: color}; unlabeled: classes without a labeled training video; bounds: (K, 2) intervals, or None
    """
    average = result.ap.mean(axis=1)
    order = np.argsort(average, kind="stable")
    figure, axis = new_figure(max(0.17 * len(order), 0.6) + 0.8)
    names = [result.classes[index] for index in order]
    bars = None if bounds is None else 100 * np.abs(bounds[order].T - average[order])
    axis.barh(range(len(order)), 100 * average[order], color=[colors[name] for name in names], height=0.75,
              xerr=bars, error_kw={"elinewidth": 1, "capsize": 2})
    ends = 100 * (average[order] if bounds is None else np.maximum(bounds[order, 1], average[order]))
    for row, (value, end) in enumerate(zip(100 * average[order], ends, strict=True)):
        axis.annotate(f"{value:.1f}", (end, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
    texts = [f"{shortened(name, 40)}{' *' if name in unlabeled else ''} ({result.scene.positives[index]:,})"
             for name, index in zip(names, order, strict=True)]
    axis.set_yticks(range(len(order)), texts, fontsize=8)
    axis.set_ylim(-0.7, len(order) - 0.3)
    axis.set_xlim(0, max(ends.max() * 1.12, 1))
    axis.set(xlabel="average AP %", title="AP by class (segments)")
    axis.grid(axis="y", visible=False)
    return figure


def near_half(tiou_thresholds):
    """The index of the tIoU threshold nearest to .5."""
    return int(np.abs(np.asarray(tiou_thresholds) - 0.5).argmin())


def precision_recall_figure(result, colors, classes=None):
    """Precision against recall of chosen classes at the tIoU nearest to .5; by default from the best to the worst."""
    row = near_half(result.tiou_thresholds)
    if classes is None:
        order = np.argsort(-result.ap[:, row], kind="stable")
        places = np.unique(np.linspace(0, len(order) - 1, 6).round().astype(int))
        classes = [result.classes[index] for index in order[places]]
    scene = result.scene
    parts = hits_of(result.matches[row:row + 1] >= 0, result.counted[row:row + 1], scene.label, scene.positives)
    rank, hit, precision = (part[0] for part in parts)
    figure, axis = new_figure(4)
    for place, name in enumerate(classes):
        index = result.classes.index(name)
        mine = scene.label[hit] == index
        recall = (rank[mine] + 1) / scene.positives[index]
        from_zero = [np.concatenate([values[:1] * factor, values]) for values, factor in
                     ((recall, 0), (precision[mine], 1))]
        axis.plot(*(100 * values for values in from_zero), color=colors[name], marker="." if mine.sum() < 60 else None,
                  linestyle=LINE_STYLES[place % len(LINE_STYLES)],
                  label=f"{shortened(name, 24)}: {100 * result.ap[index, row]:.1f}")
    axis.set(xlim=(0, 101), ylim=(0, 104), xlabel="recall %", ylabel="precision %",
             title=f"Precision and recall at tIoU {threshold_key(result.tiou_thresholds[row])}")
    beside(axis, title="class: AP %")
    return figure


def profile_figure(profile, counts, tiou):
    """Error types among the best G detections of each class, the next G, ...

    profile: (10, 6) shares; counts: (10,) detections; tiou: words for the title, at which tIoU
    """
    figure, axis = new_figure(4)
    bottom = np.zeros(len(profile))
    for name, shares, color in zip(ERROR_TYPES, 100 * profile.T, ERROR_COLORS, strict=True):
        axis.bar(range(len(bottom)), shares, bottom=bottom, color=color, edgecolor="white", linewidth=0.5, label=name)
        for place, (share, base) in enumerate(zip(shares, bottom, strict=True)):
            if share >= 6:
                axis.annotate(f"{share:.0f}", (place, base + share / 2), ha="center", va="center", fontsize=8,
                              color="white" if color in (BLUE, GREEN, RED) else "black")
        bottom += shares
    axis.set_xticks(range(len(bottom)), [f"{split + 1}G\n{count:,}" for split, count in enumerate(counts)], fontsize=8)
    axis.set(ylabel="% of the detections", ylim=(0, 100), title=f"Error types at {tiou}",
             xlabel="detections of a class by score, in steps of its number of segments G; how many they are")
    axis.grid(visible=False)
    beside(axis, reverse=True)
    return figure


def gains_figure(diagnosis):
    """What average mAP_N would gain without one error type."""
    figure, axis = new_figure(2.6)
    names, gains = list(diagnosis.removal_gains), 100 * np.array(list(diagnosis.removal_gains.values()))
    axis.barh(range(len(names)), gains, color=ERROR_COLORS[1:])
    for row, gain in enumerate(gains):
        axis.annotate(f"{gain:.2f}", (max(gain, 0), row), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlim(min(0, gains.min()), max(gains.max() * 1.12, 1))
    axis.set(xlabel=f"gain in average mAP_N, points (now {100 * diagnosis.mAP_N:.2f} %)",
             title="If one type of error were removed")
    axis.grid(axis="y", visible=False)
    return figure


def sensitivity_figure(diagnosis, missed_bounds, length_unit="seconds"):
    """Average mAP_N (top) and share of missed segments (bottom) by what the segments are like.

    missed_bounds: {characteristic: (buckets, 2)} intervals of the missed share
    """
    titles = {"coverage": "coverage (segment / video)", "length": f"length, {length_unit}",
              "instances": "instances in the video"}
    columns = diagnosis.characteristics
    widths = [len(found.buckets) for found in columns.values()]
    figure = Figure(figsize=(WIDTH, 5.2), dpi=100, layout="constrained")
    axes = figure.subplots(2, len(columns), squeeze=False, sharey="row", gridspec_kw={"width_ratios": widths})
    for column, (name, found) in enumerate(columns.items()):
        bounds = 100 * missed_bounds[name]
        draw_buckets(axes[0, column], found, found.mAP_N, BLUE)
        draw_buckets(axes[1, column], found, found.missed, RED, bounds)
        axes[0, column].axhline(100 * diagnosis.mAP_N, color="black", linestyle="--", linewidth=1)
        axes[0, column].set_title(titles[name], fontsize=9)
    for axis in axes[:, 0]:  # the others share its scale
        axis.set_ylim(0, max(axis.get_ylim()[1] * 1.1, 1))
    axes[0, 0].set_ylabel("average mAP_N %\n(dashed: all segments)", fontsize=9)
    axes[1, 0].set_ylabel("missed segments %", fontsize=9)
    return figure


def draw_buckets(axis, found, values, color, bounds=None):
    """Bars of one `Characteristic`; values: (buckets,) 0..1; bounds: (buckets, 2) % of their intervals, or None."""
    places = np.flatnonzero(found.counts)
    heights = 100 * values[places]
    bars = None if bounds is None else np.abs(bounds[places].T - heights)
    axis.bar(places, heights, color=color, yerr=bars, error_kw={"elinewidth": 1, "capsize": 2})
    for place in range(len(found.buckets)):
        text = f"{100 * values[place]:.1f}" if found.counts[place] else "none"
        top = 0 if not found.counts[place] else 100 * values[place] if bounds is None else bounds[place, 1]
        axis.annotate(text, (place, top), (0, 3), textcoords="offset points", ha="center", fontsize=8,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    axis.set_xticks(range(len(found.buckets)), [
        bucket.replace(" ", "\n") + f"\n{count:,}" for bucket, count in
        zip(found.buckets, found.counts, strict=True)], fontsize=8)
    axis.set_xlim(-0.6, len(found.buckets) - 0.4)
    tidy(axis)
    axis.grid(axis="x", visible=False)


def recall_figure(curve, thresholds):
    """Recall against the number of proposals per video, mean over tIoU and at three of them."""
    figure, axis = new_figure(3.8)
    axis.plot(curve.number, 100 * curve.average, color=BLACK, linewidth=2.2, label="mean over\ntIoU .5:.05:.95")
    for row, color in zip((0, len(thresholds) // 2, len(thresholds) - 1), (BLUE, GREEN, RED), strict=True):
        axis.plot(curve.number, 100 * curve.recall[row], color=color, linestyle="--",
                  label=f"tIoU {threshold_key(thresholds[row])}")
    axis.set(xlabel="average number of proposals per video (AN)", ylabel="recall %", ylim=(0, 102),
             xlim=(0, curve.number[-1]), title=f"Recall without classes (AR@AN), area {100 * curve.area:.2f} %")
    beside(axis)
    return figure
