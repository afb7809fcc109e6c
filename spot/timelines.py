"""Pictures of single videos: timelines of segments and detections. No torch.

Color is the class, the same one in every picture of a run. A video shows the colors of the classes that are
annotated in it, all others are gray.
"""

import colorsys
from dataclasses import dataclass

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spot.look import BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, SKY, WIDTH, YELLOW, shortened

CLASS_COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW)
MAX_LANES = {"truth": 6, "right": 4, "wrong": 4, "detected": 6, "other classes": 2}
MAX_SHOWN = 200  # more bars than that show no more
VIDEOS_PER_PICTURE = 10
LEGEND_CHARACTERS = 84  # that fit above a video, in capitals
GOLDEN = 0.618034  # share of the circle of hues from one class to the next: neighbors are far apart, none repeats


def class_colors(names):
    """{name: color} by the place of the name: seven that color-blind readers can distinguish, then ever new hues."""
    colors = {}
    for index, name in enumerate(names):
        if index < len(CLASS_COLORS):
            colors[name] = CLASS_COLORS[index]
        else:
            lightness = (0.33, 0.62, 0.46)[index % 3]
            colors[name] = colorsys.hls_to_rgb(index * GOLDEN % 1, lightness, 0.65)
    return colors


@dataclass(frozen=True)
class Strip:
    """Bars of one kind on a time axis: N segments with their colors, opacities in 0..1, and whether each is missed.

    lanes: (N,) from the top, None for those that found none free
    """

    name: str
    segments_sec: np.ndarray
    colors: list
    opacities: np.ndarray
    missed: np.ndarray
    lanes: list

    @property
    def height(self):
        """Lanes that are taken."""
        return 1 + max((lane for lane in self.lanes if lane is not None), default=-1)


@dataclass(frozen=True)
class Timeline:
    """One video, ready to be drawn: its strips from top to bottom, how long it is, a title, {class: color} to name."""

    strips: list
    end_sec: float
    title: str
    named: dict

    @property
    def height(self):
        """Lanes of all strips."""
        return sum(strip.height for strip in self.strips)


def plan_timeline(segments_sec, labels, scores, colors, duration_sec=None, ground_truth=None, right=None, found=None,
                  title=""):
    """The `Timeline` of one video.

    segments_sec: (P, 2); labels: P names; scores: (P,); colors: {name: color} of all classes
    ground_truth: None or (segments_sec (N, 2), N names)
    right: (P,) bool, whether each detection is right, and found: (N,) bool, whether each segment is taken by one; None
        where nobody matched them
    Opacity is the score relative to the best of the video. The best detections take their lane first; those that find
    none free, or come after the first MAX_SHOWN, are left out, and the title says so.
    """
    segments_sec, scores = np.asarray(segments_sec, float).reshape(-1, 2), np.asarray(scores, float)
    true_sec, true_labels = ground_truth or (np.zeros((0, 2)), ())
    true_sec = np.asarray(true_sec, float).reshape(-1, 2)
    named = list(dict.fromkeys(true_labels)) or list(dict.fromkeys(labels))
    order = np.argsort(-scores, kind="stable")[:MAX_SHOWN]
    mine = np.array([label in named for label in labels], bool)
    low, high = min(scores.min(initial=0), 0), max(scores.max(initial=0), 0)
    opacities = 0.25 + 0.75 * (scores - low) / max(high - low, 1e-12)

    kinds = {"detected": mine} if right is None else {"right": right, "wrong": mine & ~np.asarray(right, bool)}
    strips = [make_strip("truth", true_sec, [colors.get(name, GRAY) for name in true_labels], np.ones(len(true_sec)),
                         np.zeros(len(true_sec), bool) if found is None else ~np.asarray(found, bool))]
    for name, members in {**kinds, "other classes": ~mine}.items():
        chosen = order[np.asarray(members, bool)[order]]
        strips.append(make_strip(name, segments_sec[chosen], [colors.get(labels[index], GRAY) if mine[index] else GRAY
                                                              for index in chosen],
                                 opacities[chosen], np.zeros(len(chosen), bool)))
    shown = sum(lane is not None for strip in strips[1:] for lane in strip.lanes)
    end_sec = max([*segments_sec[order, 1], *true_sec[:, 1], duration_sec or 0]) or 1
    left_out = f", {shown:,} of them drawn" if shown < len(scores) else ""
    return Timeline([strip for strip in strips if strip.height], end_sec,
                    f"{title}   {len(scores):,} detections{left_out}", {name: colors.get(name, GRAY) for name in named})


def make_strip(name, segments_sec, colors, opacities, missed):
    """A `Strip` whose bars have their lanes."""
    return Strip(name, segments_sec, colors, opacities, missed, pack_lanes(segments_sec, MAX_LANES[name]))


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


def draw_timeline(axis, timeline):
    """One `Timeline` on an axis."""
    top, ticks = 0.0, {}
    for strip in timeline.strips:
        draw_strip(axis, strip, top, 0.004 * timeline.end_sec)
        ticks[strip.name] = top + strip.height / 2
        top += strip.height
        axis.axhline(top, color="black" if strip.name == "truth" else "#dddddd", linewidth=0.6)
    first = min([0, *(strip.segments_sec[:, 0].min() for strip in timeline.strips)])
    axis.set_xlim(first, timeline.end_sec)
    axis.set_ylim(max(top, 1), 0)
    axis.set_yticks(list(ticks.values()), list(ticks), fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.tick_params(axis="y", length=0)
    draw_class_legend(axis, timeline.named)
    axis.set_title(timeline.title, fontsize=9, loc="left", pad=17 if timeline.named else 4)


def draw_strip(axis, strip, top, least_sec):
    """The bars of a `Strip` below `top`. None is narrower than `least_sec`: real files hold segments of no length."""
    shown = [index for index, lane in enumerate(strip.lanes) if lane is not None]
    starts, ends = strip.segments_sec[shown].T
    ends, tops = np.maximum(ends, starts + least_sec), top + 0.1 + np.array([strip.lanes[index] for index in shown])
    corners = np.stack([starts, tops, starts, tops + 0.8, ends, tops + 0.8, ends, tops], axis=1).reshape(-1, 4, 2)
    missed, colors = strip.missed[shown], [strip.colors[index] for index in shown]
    faces = ["white" if is_missed else to_rgba(color, opacity) for is_missed, color, opacity in
             zip(missed, colors, strip.opacities[shown], strict=True)]
    framed = strip.name in ("truth", "right")
    axis.add_collection(PolyCollection(
        corners, facecolors=faces, linewidths=np.where(missed, 1.2, 0.7) if framed else 0,
        edgecolors=[color if is_missed else "black" for color, is_missed in zip(colors, missed, strict=True)]
        if framed else "none", linestyles=[(0, (2, 1)) if is_missed else "-" for is_missed in missed]), autolim=False)


def draw_class_legend(axis, named):
    """The classes of one video in a line above it: as many as fit, and how many more there are."""
    handles, length = [], 0
    for name, color in named.items():
        text = shortened(name, 22)
        length += len(text) + 6
        is_last = len(handles) == len(named) - 1
        if handles and length + (0 if is_last else len("and 100 more")) > LEGEND_CHARACTERS:
            handles.append(Patch(color="none", label=f"and {len(named) - len(handles)} more"))
            break
        handles.append(Patch(color=color, label=text))
    if handles:
        axis.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.005, 0.97), fontsize=8, frameon=False,
                    handlelength=1.2, handleheight=0.8, columnspacing=1.2, borderaxespad=0.2, ncols=len(handles))


def timeline_figure(timelines, unit="seconds"):
    """`Timeline`s below each other; unit: of their times."""
    lane, between, margin = 0.13, 0.68, 0.45  # inches
    heights = [max(timeline.height, 1) * lane for timeline in timelines]
    total = sum(heights) + between * len(heights) + margin
    figure = Figure(figsize=(WIDTH, total), dpi=100)
    y = total
    for timeline, height in zip(timelines, heights, strict=True):
        y -= between + height
        axis = figure.add_axes((0.95 / WIDTH, y / total, 1 - 1.1 / WIDTH, height / total))
        draw_timeline(axis, timeline)
    figure.axes[-1].set_xlabel(unit, fontsize=8)
    return figure


def timelines_of(result, scores, videos, colors, row):
    """The `Timeline`s of some ground-truth videos of an evaluation.

    scores: (V,) AP of each video; videos: indices; colors: {name: color}; row: index of the tIoU of what is right
    """
    scene, planned = result.scene, []
    taken = np.zeros(len(scene.gt_sec), bool)
    taken[result.matches[row][result.matches[row] >= 0]] = True
    for video in videos:
        of_video, truth = np.flatnonzero(scene.video == video), np.flatnonzero(scene.gt_video == video)
        right, found = result.matches[row, of_video] >= 0, taken[truth]
        duration = scene.durations_sec[video]
        planned.append(plan_timeline(
            scene.segments_sec[of_video], [scene.classes[label] for label in scene.label[of_video]],
            scene.scores[of_video], colors, None if np.isnan(duration) else duration,
            (scene.gt_sec[truth], [scene.classes[label] for label in scene.gt_class[truth]]), right, found,
            f"{shortened(scene.videos[video], 40)}   AP {100 * scores[video]:.1f} %, {found.sum():,} of "
            f"{len(truth):,} segments found"))
    return planned


def groups_of_videos(scores, most=VIDEOS_PER_PICTURE):
    """{name: video indices} of the videos to show, each in descending score and in one group only.

    All of them where one picture holds them; else two or three of "best", "median" and "worst". Videos without a score
    are left out.
    """
    order = np.argsort(-scores, kind="stable")[: np.isfinite(scores).sum()]
    if len(order) <= most:
        return {"all": order} if len(order) else {}
    if len(order) <= 2 * most:
        return dict(zip(("best", "worst"), np.array_split(order, 2), strict=True))
    middle = (len(order) - most) // 2
    if len(order) < 3 * most:
        return dict(zip(("best", "median", "worst"), np.array_split(order, 3), strict=True))
    return {"best": order[:most], "median": order[middle:middle + most], "worst": order[-most:]}
