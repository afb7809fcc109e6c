"""Are the features of a recording plausible: like those of the training, and as long as the recording?"""

import sys

import numpy as np

from spot.segments import centers_mismatch, duration_mismatch

# In standard deviations of the training: a channel is far where its values are this much away (root mean square; it is
# 1 in the training), and a recording is where so many channels are. The farthest quarter of a recording's channels
# begins at 1.6 at most in SBHAR (61 recordings), 1.4 in benchmarks of ActivityNet's and THUMOS14's shape; at 2.7 in
# noise.
FAR_DEVIATIONS, FAR_SHARE = 2.5, 0.25
# Of the training's deviation, in the middle channel: less is another unit. Recordings vary by 0.7 and more, half a
# minute in which nobody moves by 0.1.
LEAST_VARIATION = 0.05
# Features that vary so little and lie as much nearer to 0 are in another unit too; those of a still recording do not.
SHRUNK_VARIATION, SHRUNK_MEAN = 0.25, 0.35


def oddities(features, times, grid, statistics):
    """{kind: half a sentence} about features (C, T') that are unlike those of the training, or end far from the video.

    statistics: {"mean", "deviation"} of the training features, None where a run did not store them
    """
    found = {}
    if statistics:
        used = features[:, :: grid.every]
        found["unlike"] = far_from_training(used.mean(1), used.std(1), statistics["mean"], statistics["deviation"])
    if times.centers_sec is not None:
        found["length"] = centers_mismatch(times.centers_sec, times.duration_sec)
    elif grid.grid == "window" and times.duration_sec and times.fps:
        found["length"] = duration_mismatch(features.shape[1], grid.stride, grid.window, times.fps, times.duration_sec,
                                            grid.offset)
    return {kind: words for kind, words in found.items() if words}


def far_from_training(mean, deviation, training_mean, training_deviation):
    """Half a sentence where the features of a recording are far from those of the training; None where they are not.

    mean, deviation: (C,) of the recording, per channel; training_mean, training_deviation: (C,) of the training
    Channels that did not vary in the training are left out. Root mean squares are compared channel by channel, so that
    one odd channel is no reason to warn: another unit or another extractor changes many.
    """
    mean, deviation, center, spread = (np.asarray(values, np.float64)
                                       for values in (mean, deviation, training_mean, training_deviation))
    varied = spread > 1e-5 * np.maximum(np.abs(center), 1e-3)
    if not varied.any():
        return None
    mean, deviation, center, spread = mean[varied], deviation[varied], center[varied], spread[varied]
    distance = np.sqrt(((mean - center) / spread) ** 2 + (deviation / spread) ** 2)
    far = (distance > FAR_DEVIATIONS).mean()
    variation = float(np.median(deviation / spread))
    if far > FAR_SHARE:
        return (f"{far:.0%} of the channels are more than {FAR_DEVIATIONS:g} deviations from the training features; "
                f"they vary {variation:.3g} times as much as those, about a mean of {np.median(mean):.3g} instead of "
                f"{np.median(center):.3g}")
    offset, wanted = (np.sqrt(np.mean((values / spread) ** 2)) for values in (mean, center))
    is_shrunk = variation < SHRUNK_VARIATION and wanted > SHRUNK_MEAN and offset < SHRUNK_MEAN * wanted
    if variation < LEAST_VARIATION or is_shrunk:
        return (f"they vary {variation:.2g} times as much as the training features, about a mean of "
                f"{np.median(mean):.3g}")
    return None


def warn_of_oddities(odd, total):
    """One warning of each kind, with the first video; odd: {kind: [(video, half a sentence)]}."""
    advice = {"unlike": "are they in another unit, or of another extractor?",
              "length": "check the duration, the frame rate and the stride"}
    for kind, cases in odd.items():
        name, words = cases[0]
        print(f"warning: the features of {len(cases)} of {total} videos, such as {name}: {words}; {advice[kind]}",
              file=sys.stderr)
