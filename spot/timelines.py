"""Pictures of single videos: timelines of detections, and what the model sees in a video. No torch.

Color tells the class; hatching doubles the number of classes that can be told apart.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spot.files import atomic_path
from spot.plots import BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, SKY, YELLOW, as_png, tidy

CLASS_COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW)
CLASS_STYLES = [(color, hatch) for hatch in (None, "/////") for color in CLASS_COLORS]
MINED_COLORS = {"easy foreground": GREEN, "hard foreground": RED, "hard background": ORANGE, "easy background": BLUE}
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
