"""A picture of the actions in a video: their timeline, and a frame of each."""

import numpy as np
from matplotlib.figure import Figure

from spot.files import atomic_path
from spot.look import WIDTH, as_png, shortened
from spot.timelines import class_colors, draw_timeline, plan_timeline
from spot.videos import VideoFile

MOST, COLUMNS = 12, 4
PIXELS = 240  # of the longer side of a thumbnail


def save_thumbnails(path, video, class_names, entries, duration_sec, title):
    """A PNG of a timeline, and below it the frame in the middle of each detection, the best MOST in order of time.

    video: its file; entries: a list of {"label", "score", "segment": [start_sec, end_sec]}; duration_sec: of the video
    """
    chosen = sorted(sorted(entries, key=lambda entry: -entry["score"])[:MOST], key=lambda entry: entry["segment"])
    rows = -(-len(chosen) // COLUMNS)
    timeline = plan_timeline([entry["segment"] for entry in entries], [entry["label"] for entry in entries],
                             [entry["score"] for entry in entries], class_colors(class_names), duration_sec,
                             title=title)
    height = 0.5 + 0.25 * timeline.height
    figure = Figure(figsize=(WIDTH, height + 0.4 + 1.9 * rows), dpi=100, layout="constrained")
    grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=[height] + [1.9] * rows)
    axis = figure.add_subplot(grid[0, :])
    draw_timeline(axis, timeline)
    axis.set_xlabel("seconds")
    for index, (entry, image) in enumerate(zip(chosen, middle_frames(video, chosen), strict=True)):
        axis = figure.add_subplot(grid[1 + index // COLUMNS, index % COLUMNS])
        axis.imshow(image)
        axis.set_axis_off()
        start, end = entry["segment"]
        axis.set_title(f"{shortened(entry['label'], 28)}\n{start:.1f} to {end:.1f} s, score {entry['score']:.2f}",
                       fontsize=8)
    with atomic_path(path) as temporary:
        temporary.write_bytes(as_png(figure))


def middle_frames(video, entries):
    """The frames in the middle of detections, small: a list of (h, w, 3) uint8; the video is opened for each anew."""
    images = []
    for entry in entries:
        with VideoFile(video) as opened:
            image = opened.frame_at(sum(entry["segment"]) / 2)
        step = max(1, -(-max(image.shape[:2]) // PIXELS))
        images.append(np.ascontiguousarray(image[::step, ::step]))
    return images
