"""What the sidecars of features say to those who load them: settings that need not be typed, and times of videos."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from spot.errors import SpotError
from spot.files import matching_files
from spot.limits import shown
from spot.names import NameIndex
from spot.segments import MAX_TIME_DIFFERENCE
from spot.sidecar import SIDECAR, Sidecar, difference, read_sidecar, same_rate
from spot.streams import MAX_LENGTH_DIFFERENCE

# Settings that a sidecar knows: the last part of a key -> the field of a Sidecar.
FIELDS = {"stride": "stride", "window": "window", "fps": "fps", "feat_dim": "channels"}


def sidecar_beside(path):
    """The sidecar of a file of many videos: sbhar.h5 -> sbhar.features.json."""
    return Path(path).with_name(f"{Path(path).stem}.{SIDECAR}")


@dataclass(frozen=True, eq=False)
class FeatureTimes:
    """The sidecar of the features of a data set, of one stream or several.

    where: its file or files, for messages; sidecar: of all videos; is_joined: streams are cut to the shortest
    """

    where: str
    sidecar: Sidecar
    is_joined: bool = False

    @cached_property
    def _index(self):
        return NameIndex(self.sidecar.videos)

    def video(self, name):
        """The ExtractedVideo of a video or of its features, however spelled; None where the sidecar lacks it."""
        return self.sidecar.videos.get(self._index.find(name))

    def rate_of(self, name):
        """Frames per second at which a video was extracted, or None."""
        return self.sidecar.rate_of(self._index.find(name))

    def centers_sec(self, name):
        """(T',) centers of the snippets of a video in seconds; None where the sidecar lacks it."""
        video = self.video(name)
        if video is None or video.centers_sec is not None:
            return video and video.centers_sec
        return ((np.arange(video.num_snippets) * self.sidecar.stride + self.sidecar.window / 2) / self.rate_of(name))

    def settings(self):
        """{last part of a key: value} of the settings that the sidecar knows: stride, window, fps, feat_dim."""
        return {key: getattr(self.sidecar, name) for key, name in FIELDS.items()
                if getattr(self.sidecar, name) is not None}

    def refuse_others(self, typed):
        """SpotError, with both values, where settings contradict the sidecar.

        typed: {key as the user writes it: value or None}, such as {"dataset.stride": 16}; an `offset` must be 0
        """
        for key, value in typed.items():
            name = key.rpartition(".")[2]
            known = {"offset": 0, **self.settings()}.get(name)
            if value is None or (known is None and name != "fps"):
                continue
            if name == "fps" and known is None:
                other = ((video, self.rate_of(video)) for video in self.sidecar.videos)
                known, of = next(((rate, f" of video {video}") for video, rate in other
                                  if rate and not same_rate(rate, value)), (value, ""))
            else:
                of = ""
            if not (same_rate(known, value) if name == "fps" else known == value):
                raise SpotError(f"{key} is {value:g}, and {self.where} says {known:g}{of}; leave {key} out, or extract "
                                "the features again")

    def refuse_other_length(self, name, num_rows, where):
        """SpotError where the features `where` of a video have another number of rows than the sidecar says."""
        video = self.video(name)
        if video is None or video.num_snippets == num_rows:
            return
        if self.is_joined and abs(video.num_snippets - num_rows) <= max(1, MAX_LENGTH_DIFFERENCE * video.num_snippets):
            return
        raise SpotError(f"{where}: has {num_rows} snippets, and {self.where} says {video.num_snippets}; extract the "
                        "features of this video again")

    def place(self, video):
        """An annotations.Video with the times of its features; its own duration stays, where it has one, and its frame
        rate where all features are of one rate, which the settings then have."""
        found = self.video(video.name)
        if found is None:
            return video
        return replace(video, duration_sec=video.duration_sec or found.duration_sec,
                       feature_duration_sec=video.feature_duration_sec or found.duration_sec,
                       fps=found.fps or video.fps or self.sidecar.fps, centers_sec=self.centers_sec(video.name))

    def facts(self, name, given):
        """What is known of a recording without annotation, {"duration", "fps", "centers_sec"}, beside the `given`.

        given: {"duration", "fps"}, each where it is typed; SpotError, with both values, for a contradiction
        """
        found = self.video(name)
        if found is None:
            return given
        duration, fps = given.get("duration"), given.get("fps")
        if duration and abs(duration - found.duration_sec) > MAX_TIME_DIFFERENCE * found.duration_sec:
            raise SpotError(f"video {name}: its duration is given as {duration:g} s, and {self.where} says "
                            f"{found.duration_sec:g} s; leave it out")
        rate = self.rate_of(name)
        if fps and rate and not same_rate(fps, rate):
            raise SpotError(f"video {name}: its frame rate is given as {fps:g}, and {self.where} says {rate:g}; leave "
                            "it out")
        known = {"duration": duration or found.duration_sec, "fps": fps or rate, "centers_sec": self.centers_sec(name)}
        return {**given, **{key: value for key, value in known.items() if value is not None}}


def refuse_other_backbone(trained, times):
    """SpotError where features are of another backbone, or of other weights, than those of the training.

    trained: the Sidecar of the run; times: the FeatureTimes of the features; None where either has none
    """
    if trained is None or times is None:
        return
    for key, words in (("backbone", "backbone"), ("weights_sha256", "weights of the backbone, by their checksum,")):
        one, other = getattr(trained, key), getattr(times.sidecar, key)
        if one != other:
            raise SpotError(f"the {words} of the run's features is {shown(one)}, and {times.where} says "
                            f"{shown(other)}; extract the features by what the run was trained on")


# --- finding them -----------------------------------------------------------------------------------------------------


def times_of_features(paths, resample=False):
    """The FeatureTimes of `dataset.feature_path`, as `features.FeatureSource` takes it; None where there is no sidecar.

    resample: streams of different rate are resampled to the longest, whose times then hold
    SpotError where the sidecars contradict each other.
    """
    streams = [paths] if isinstance(paths, str | Path) else list(paths)
    found = [one for one in map(_of_stream, streams) if one is not None]
    if not found:
        return None
    densest = max(found, key=lambda one: (one.sidecar.fps or 1) / one.sidecar.stride) if resample else found[0]
    for other in found:
        for key in ("stride", "window", "fps"):
            values = (getattr(one.sidecar, key) for one in (densest, other))
            _refuse_difference(densest, other, key, *values, is_fine=resample)
    if len(streams) == 1:
        return densest
    channels = sum(one.sidecar.channels for one in found) if len(found) == len(streams) else None
    backbone = " + ".join(dict.fromkeys(one.sidecar.backbone for one in found))
    weights = " + ".join(dict.fromkeys(one.sidecar.weights_sha256 for one in found))
    return FeatureTimes(densest.where, replace(densest.sidecar, channels=channels, backbone=backbone,
                                               weights_sha256=weights), is_joined=True)


def _of_stream(stream):
    """The FeatureTimes of one stream: a folder, a file, a pattern, or a list of them."""
    parts = [stream] if isinstance(stream, str | Path) else stream
    files = dict.fromkeys(file for part in parts for path in _existing(part) for file in _sidecars_of(path))
    found = [FeatureTimes(str(file), read_sidecar(file)) for file in files]
    if not found:
        return None
    for other in found[1:]:
        if different := difference(found[0].sidecar, other.sidecar):
            _refuse_difference(found[0], other, *different)
    videos = {name: video for one in found for name, video in one.sidecar.videos.items()}
    return FeatureTimes(found[0].where, replace(found[0].sidecar, videos=videos))


def _existing(part):
    try:
        return matching_files(part)
    except SpotError:  # a pattern without a match, which is told when the features are opened
        return []


def _sidecars_of(path):
    """The sidecars of a folder, of its subfolders where it has none itself, or of a file."""
    if path.is_dir():
        own = path / SIDECAR
        return [own] if own.is_file() else sorted(path.glob(f"*/{SIDECAR}"))
    beside = sidecar_beside(path)
    if beside.is_file():
        return [beside]
    folder = path.parent / SIDECAR
    return [folder] if folder.is_file() and NameIndex(read_sidecar(folder).videos).find(path.stem) is not None else []


def _refuse_difference(one, other, key, value, other_value, is_fine=False):
    if not (is_fine or value == other_value or (key == "fps" and same_rate(value, other_value))):
        raise SpotError(f"{one.where} and {other.where} say different things: {key} is {shown(value)} and "
                        f"{shown(other_value)}; extract one of them again"
                        + ("" if key not in ("stride", "fps") else ", or set dataset.resample_streams=true for streams "
                           "of different rates"))
