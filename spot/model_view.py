"""What the model sees in one video: detections, class probabilities, mined snippets and mask rows. No torch."""

import numpy as np
from matplotlib.figure import Figure

from spot.files import atomic_path
from spot.look import BLUE, GREEN, ORANGE, RED, WIDTH, as_png, shortened, tidy
from spot.segments import middle_windows
from spot.timelines import class_colors, draw_timeline, plan_timeline

MINED_COLORS = {"easy foreground": GREEN, "hard foreground": RED, "hard background": ORANGE, "easy background": BLUE}
MAX_CLASS_LINES = 7
LEAST_SHOWN = 0.2
MASK_PIXELS = 700  # rows and columns of a mask picture; a longer video is sampled


def save_video_picture(path, class_names, edges_sec, first_snippets, probabilities, masks, mined, **video):
    """A PNG of one video on one time axis: detections, class probabilities, mined snippets, and mask rows.

    class_names: K names; edges_sec: (T' + 1,) where its snippets begin and end
    first_snippets: (W,) of its windows; probabilities: (W, K+1, T), background last; masks: (W, T, T) in 0..1
    mined: {kind: (W, T) bool}, the easy and hard snippets of boundary refinement
    video: title, segments_sec, labels, scores, perhaps ground_truth, as `plan_timeline` takes them; scores far below
    the best are left out
    """
    scores = np.asarray(video["scores"], float)
    kept = np.flatnonzero(scores >= LEAST_SHOWN * scores.max(initial=0))
    video = {**video, "title": f"{video['title']}, scores over {LEAST_SHOWN:.0%} of the best",
             "segments_sec": np.asarray(video["segments_sec"], float).reshape(-1, 2)[kept],
             "labels": [video["labels"][index] for index in kept], "scores": scores[kept]}
    window, place = middle_windows(len(edges_sec) - 1, np.asarray(first_snippets), masks.shape[-1])
    probabilities = probabilities[window, :, place].T  # (W, K+1, T) -> (K+1, T')
    best = probabilities[:-1].max(axis=1)
    drawn = [class_names[index] for index in np.argsort(-best, kind="stable")[:MAX_CLASS_LINES]]
    colors = class_colors(class_names)
    planned = plan_timeline(duration_sec=edges_sec[-1], colors=colors, **video)

    figure = Figure(figsize=(WIDTH, 9), dpi=100, layout="constrained")
    axes = figure.subplots(4, height_ratios=(0.5 + 0.25 * planned.height, 2, 1, 5))
    timeline, classes, snippets, picture = axes
    draw_timeline(timeline, planned)
    draw_probabilities(classes, edges_sec, probabilities, [(name, class_names.index(name)) for name in drawn], colors)
    draw_mined(snippets, edges_sec, {kind: member[window, place] for kind, member in mined.items()})
    draw_masks(picture, edges_sec, np.asarray(first_snippets), masks)
    for axis in axes:
        axis.set_xlim(0, edges_sec[-1])
    picture.set_xlabel("seconds")
    with atomic_path(path) as temporary:
        temporary.write_bytes(as_png(figure))


def draw_probabilities(axis, edges_sec, probabilities, drawn, colors):
    """Lines of class probabilities (K+1, T') over time; drawn: (name, index) pairs; the foreground as a gray area."""
    axis.stairs(1 - probabilities[-1], edges_sec, fill=True, color="#dddddd", label="any action")
    for name, index in drawn:
        axis.stairs(probabilities[index], edges_sec, baseline=None, color=colors[name], linewidth=1.4,
                    label=shortened(name, 22))
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
    bar = axis.inset_axes((1.02, 0, 0.03, 1))
    axis.figure.colorbar(image, cax=bar, label="same instance"
                         + ("" if inside.all() else " (gray: not in the window)"))
