"""Recordings that nobody has annotated: where they lie in time, and whether they are like those of the training."""

import math
from dataclasses import dataclass

import numpy as np

from spot.dataset_formats import read_video_info
from spot.errors import SpotError
from spot.limits import listed_rates
from spot.names import match_name

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
# Frame rates that differ by less are one: 29.97 and 30.
RATE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Times:
    """What places the snippets of one video in time, as `proposals.detect` takes it; None = not known."""

    duration_sec: float | None
    feature_duration_sec: float | None
    fps: float | None
    centers_sec: np.ndarray | None = None


def times_of(video, fps=None):
    """The Times of an annotated video; fps: of all videos, None: its own."""
    return Times(video.duration_sec, video.feature_duration_sec, fps or video.fps, video.centers_sec)


def centers_of_rows(times, features):
    """The centers of the rows of each (C, T') array, None where they are not known; joined streams have fewer rows.

    times: a Times for each
    """
    return [None if one.centers_sec is None else one.centers_sec[: x.shape[1]]
            for one, x in zip(times, features, strict=True)]


def own_facts(duration, names):
    """`duration=` -> {video: its facts, such as duration and fps}; a number holds for every video.

    SpotError for a number that is no duration, and a table without one of the videos.
    """
    if duration is None:
        return {name: {} for name in names}
    try:
        seconds = float(duration)
    except ValueError:
        rows = read_video_info(duration)
        keys = {name: match_name(name, rows) for name in names}
        absent = [name for name, key in keys.items() if key is None]
        if absent:
            raise SpotError(f"duration={duration}: has no row for {len(absent)} of {len(names)} videos, first "
                            f"{absent[0]}") from None
        return {name: rows[key] for name, key in keys.items()}
    if not 0 < seconds < math.inf:
        raise SpotError(f"duration={duration} must be a positive number of seconds or a CSV file")
    return {name: {"duration": seconds} for name in names}


def own_times(facts, grid, fps, run_fps, training_fps, seconds_of):
    """The Times of recordings, in their order; and sentences about the frame rate, to be printed.

    facts: {video: {"duration", "fps", "centers_sec"}, each where it is known}
    grid: resize or window; fps: of all of them, or None
    run_fps: the rate of the run where it had one, else None; training_fps: all rates of its videos, for messages
    seconds_of: (video, fps or None) -> the seconds that its native features cover, None where nobody knows
    SpotError where the grid needs a rate or a duration that is not known.
    """
    times, taken, other = [], 0, {}
    for name, known in facts.items():
        rate, duration = fps or known.get("fps"), known.get("duration")
        if rate and training_fps and not any(abs(rate / one - 1) <= RATE_TOLERANCE for one in training_fps):
            other.setdefault(rate, name)
        if not rate and run_fps and known.get("centers_sec") is None:
            rate, taken = run_fps, taken + 1
        centers_sec = known.get("centers_sec")
        if grid == "window" and not rate and centers_sec is None:
            seen = f" (the training videos had {listed_rates(training_fps)})" if training_fps else ""
            raise SpotError(f"video {name}: the frame rate is not known, which the checkpoint's grid needs; give fps=, "
                            f"the frames per second of the recordings{seen}, or duration=FILE.csv with columns video, "
                            "duration and fps")
        if grid == "resize" and not duration:
            duration = seconds_of(name, rate)
        if grid == "resize" and not duration:
            raise SpotError(f"video {name}: its duration is not known, which the checkpoint's grid needs; give "
                            "duration=, the seconds of every recording, duration=FILE.csv with columns video and "
                            "duration, or fps= and stride= of features that are not resized")
        times.append(Times(duration, duration, rate, centers_sec))
    sentences = []
    if taken and grid == "window":
        sentences.append(f"note: {taken} recordings come without a frame rate and are taken to have that of the run, "
                         f"{run_fps:g} frames per second; fps= gives another")
    sentences += [f"warning: {name} has {rate:g} frames per second, the training videos had "
                  f"{listed_rates(training_fps)}: its times, and the tempo that the model sees, are right only if that "
                  "is its rate"
                  for rate, name in other.items()]
    return times, sentences


def far_from_training(mean, deviation, training_mean, training_deviation):
    """Half a sentence where the features of a recording are far from those of the training; None where they are not.

    mean, deviation: (C,) of the recording, per channel; training_mean, training_deviation: (C,) of the training
    Channels that did not vary in the training tell nothing. Root mean squares are compared channel by channel, so that
    one odd channel is no reason to warn: another unit or another extractor changes many.
    """
    mean, deviation, center, spread = (np.asarray(values, np.float64)
                                       for values in (mean, deviation, training_mean, training_deviation))
    told = spread > 1e-5 * np.maximum(np.abs(center), 1e-3)
    if not told.any():
        return None
    mean, deviation, center, spread = mean[told], deviation[told], center[told], spread[told]
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
