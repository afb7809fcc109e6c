"""Pictures of an evaluation, and the look that all pictures share. No torch.

Every picture is drawn at 100 dots per inch and shown at its own size, so text stays as large as it was drawn. Colors
are those of Okabe and Ito, which color-blind readers can tell apart.
"""

import io

import numpy as np
from matplotlib.figure import Figure

from spot import fonts
from spot.average_precision import hits_of
from spot.diagnosis import ERROR_TYPES
from spot.evaluation import threshold_key

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
GRAY = "#999999"
LINES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK)
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


# --- the look ---------------------------------------------------------------------------------------------------------


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
    with fonts.showing(figure):
        figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()
