"""Recordings in which actions are to be detected: their features, and where their snippets lie in time."""

import math
import sys
from dataclasses import dataclass

import numpy as np

from spot.annotations import read_class_file
from spot.distributed import is_first
from spot.errors import SpotError
from spot.features import FeatureSource, channels_in
from spot.limits import listed_rates
from spot.names import NameIndex, check_video_id, match_name
from spot.segments import features_end_sec
from spot.video_info import read_video_info

# Frame rates that differ by less are one: 29.97 and 30.
RATE_TOLERANCE = 0.02
# Share by which the time between two rows may differ from that of the training before it is another tempo.
TEMPO_TOLERANCE = 0.02


@dataclass(frozen=True)
class Times:
    """What places the snippets of one video in time, as `proposals.detect` takes it; None = not known."""

    duration_sec: float | None
    feature_duration_sec: float | None
    fps: float | None
    centers_sec: np.ndarray | None = None


@dataclass(frozen=True)
class Recording:
    """A video in which actions are to be detected.

    media: its file; truth: its true (segments_sec (N, 2), N labels); None = not known
    """

    name: str
    times: Times
    media: str | None = None
    truth: tuple | None = None


def annotated_recording(video, fps=None):
    """The Recording of an annotated video; fps: of all videos, None: its own."""
    return Recording(video.name, times_of(video, fps), video.media, (video.segments_sec, video.labels))


def times_of(video, fps=None):
    """The Times of an annotated video; fps: of all videos, None: its own."""
    return Times(video.duration_sec, video.feature_duration_sec, fps or video.fps, video.centers_sec)


def centers_of_rows(times, features):
    """The centers of the rows of each (C, T') array, None where they are not known; joined streams have fewer rows.

    times: a Times for each
    """
    return [None if one.centers_sec is None else one.centers_sec[: x.shape[1]]
            for one, x in zip(times, features, strict=True)]


# --- videos without annotation ----------------------------------------------------------------------------------------


def open_own(features, feat_dim, pattern, resample_streams, videos=None):
    """The features of videos without annotation: their FeatureSource, and {name: video file or None}, by name.

    features: path, or a list of one per stream; videos: {name: video file}, which of them; None: all that are there
    SpotError names `features=`.
    """
    try:
        source = FeatureSource(features, feat_dim, pattern, resample=resample_streams)
        found = channels_in(features, pattern)
    except SpotError as error:
        raise SpotError(f"features={features}: {error}") from error
    if found and feat_dim not in found:
        raise SpotError(f"features={features}: they have {found[0]} channels, and the checkpoint takes {feat_dim}; "
                        "extract them as those of its training were")
    index = NameIndex(source.names)
    files = dict.fromkeys(source.names) if videos is None else {
        index.find(video): str(file) for video, file in videos.items()}
    for name in sorted(files):
        check_video_id(name, f"features={features}")  # its picture is called so
    if not files:
        raise SpotError(f"features={features}: no video is in all of them")
    return source, dict(sorted(files.items()))


def own_class_names(model, class_file):
    """The classes of a checkpoint; a published one holds none, so `dataset.class_file` names them, else SpotError."""
    if model.settings.get("class_names"):
        return list(model.settings["class_names"])
    if class_file is None:
        raise SpotError("the checkpoint holds no class names; name them by dataset.class_file=FILE, one per line")
    return read_class_file(class_file)


def own_grid(typed, times, trained, trained_fps):
    """{key: value} of the grid of features without annotation: what is typed, and what their sidecar knows.

    typed: {stride, every, window, fps, duration: value or None}; times: their FeatureTimes or None
    trained, trained_fps: datasets.GridSettings of the training, and its rate where all of its videos had one
    SpotError, with both values, where the sidecar contradicts what is typed. Warns where snippets are farther apart, or
    nearer, than in the training.
    """
    found = {key: typed[key] for key in ("stride", "every", "window") if typed[key] is not None}
    fps, is_told = typed["fps"] or trained_fps, "stride" in found or "every" in found
    if times is not None:
        times.refuse_others({key: typed[key] for key in ("stride", "window", "fps")})
        found = {key: value for key, value in times.settings().items() if key in ("stride", "window")} | found
        fps, is_told = times.sidecar.fps, is_told or bool(times.sidecar.fps and trained_fps)
    own = found.get("stride", trained.stride) * found.get("every", trained.every)
    before, unit = trained.stride * trained.every, "frames"
    if fps and trained_fps:
        own, before, unit = own / fps, before / trained_fps, "s"
    if trained.grid == "window" and is_told and abs(own / before - 1) > TEMPO_TOLERANCE and is_first():
        print(f"warning: the snippets of the features are {own:.3g} {unit} apart, and those of the training were "
              f"{before:.3g} {unit}: the model sees another tempo; check stride= and every=", file=sys.stderr)
    return found


def own_recordings(source, files, typed, grid, run_fps, training_fps):
    """The Recordings of videos without annotation; prints what it assumes of their frame rates.

    source, files: as of `open_own`; typed: {duration, fps, stride, window: value or None}; grid: resize or window
    run_fps: the rate of the run where it had one; training_fps: all rates of its videos, for messages
    SpotError where the grid needs a rate or a duration that is not known.
    """
    stride, window = typed["stride"], typed["window"] or typed["stride"]

    def seconds_of(name, fps):
        return features_end_sec(source.read(name).shape[1], stride, window, fps) if fps and stride else None

    facts = own_facts(typed["duration"], files)
    if source.times is not None:
        facts = {name: source.times.facts(name, known) for name, known in facts.items()}
    times, sentences = own_times(facts, grid, typed["fps"], run_fps, training_fps, seconds_of)
    for sentence in sentences if is_first() else ():
        print(sentence, file=sys.stderr)
    return [Recording(name, one, file) for (name, file), one in zip(files.items(), times, strict=True)]


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
    seconds_of: (video, fps or None) -> the seconds that its native features cover, None where that is not known
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
