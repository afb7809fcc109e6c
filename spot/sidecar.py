"""The sidecar of extracted features: features.json, which says how they were made and where their snippets lie in time.

    {"format": "SPOT features", "format_version": 1,
     "backbone": "videomae-base", "version": "transformers 4.57", "weights_sha256": "9f...", "details": {},
     "stride": 8, "window": 16, "fps": 15.0, "channels": 768,
     "videos": {"a": {"duration_sec": 63.5, "num_snippets": 118},
                "phone": {"duration_sec": 9.1, "num_snippets": 3, "centers_sec": [0.53, 1.1, 1.59]}}}

Snippet i of a video is centered at (i * stride + window / 2) / fps seconds, or where its `centers_sec` say. `fps` is
the rate that all were extracted at, null where each video was at its own, which its entry then has. `backbone` says
what made the features, `version` of what, and `weights_sha256` with which weights ("": it has none).
"""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from spot.errors import SpotError
from spot.files import read_json, write_json
from spot.limits import fault, shown

SIDECAR = "features.json"
FORMAT, FORMAT_VERSION = "SPOT features", 1
# Centers that differ less from those of stride, window and fps are no centers of their own: times of frames are stored
# as whole ticks of a clock, of at least 1 ms in nearly all video files.
TICK_SEC = 2e-3
# Two numbers for one frame rate, such as 29.97 and 30000 / 1001.
SAME_RATE = 1e-4
HEAD = ("backbone", "version", "weights_sha256", "stride", "window", "fps", "channels")


@dataclass(frozen=True, eq=False)
class ExtractedVideo:
    """What a sidecar says of one video.

    duration_sec: of the video; num_snippets: rows T' of its features
    fps:          frames per second at which it was extracted, where the sidecar has none for all videos
    centers_sec:  (T',) increasing centers of its snippets where stride, window and fps do not give them, else None
    """

    duration_sec: float
    num_snippets: int
    fps: float | None = None
    centers_sec: np.ndarray | None = None

    def stored(self):
        """As an entry of features.json."""
        entry = {"duration_sec": self.duration_sec, "num_snippets": self.num_snippets}
        if self.fps is not None:
            entry["fps"] = self.fps
        if self.centers_sec is not None:
            entry["centers_sec"] = np.asarray(self.centers_sec, float).round(6).tolist()
        return entry


@dataclass(frozen=True, eq=False)
class Sidecar:
    """How the features of a folder were made; the fields are the keys of features.json.

    stride, window: frames at the rate `fps` (None: each video's own); channels: C; videos: {name: ExtractedVideo}
    details: what else the extractor wants to know of itself, plain values that JSON can hold
    """

    backbone: str
    version: str
    weights_sha256: str
    stride: int
    window: int
    fps: float | None
    channels: int
    videos: Mapping[str, ExtractedVideo] = field(default_factory=dict)
    details: Mapping = field(default_factory=dict)

    def with_video(self, name, video):
        """A copy that says of the video `name` what the ExtractedVideo `video` does."""
        return replace(self, videos={**self.videos, name: video})

    def without_videos(self):
        """What holds for all videos."""
        return replace(self, videos={})

    def rate_of(self, name):
        """Frames per second at which a video was extracted; None where the sidecar does not know the video."""
        video = self.videos.get(name)
        return self.fps or (video and video.fps)


def irregular_centers(centers_sec, stride, window, fps):
    """The (T',) centers where they are not those of the grid, to the tick of a video file's clock; else None."""
    centers_sec = np.asarray(centers_sec, float)
    regular = (np.arange(len(centers_sec)) * stride + window / 2) / fps
    return None if np.abs(centers_sec - regular).max(initial=0) <= TICK_SEC else centers_sec


def difference(one, other):
    """What two sidecars have apart from each other beside their videos: (key, value, other value), or None."""
    for key in (*HEAD, "details"):
        values = getattr(one, key), getattr(other, key)
        if key == "fps" and same_rate(*values):
            continue
        if values[0] != values[1]:
            return key, *values
    return None


def same_rate(one, other):
    """Are two frame rates, each a number or None, the same?"""
    return one == other or (None not in (one, other) and math.isclose(one, other, rel_tol=SAME_RATE))


# --- the file ---------------------------------------------------------------------------------------------------------


def write_sidecar(path, sidecar):
    """Write a Sidecar to the file `path`, or into the folder `path`, all at once. SpotError where it would not be read
    again."""
    path = _file(path)
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, **{key: getattr(sidecar, key) for key in HEAD},
               "details": dict(sidecar.details),
               "videos": {name: video.stored() for name, video in sidecar.videos.items()}}
    _sidecar_of(content, path)
    write_json(path, content, indent=1)


def read_sidecar(path):
    """The Sidecar of the file `path`, or of the folder `path`; SpotError names what is wrong with it."""
    path = _file(path)
    return _sidecar_of(read_json(path), path)


def _file(path):
    path = Path(path)
    return path / SIDECAR if path.is_dir() or path.suffix.lower() != ".json" else path


def _sidecar_of(content, path):
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SpotError(f"{path}: is no sidecar of features (its \"format\" is not {FORMAT!r}); remove or rename it")
    if content.get("format_version") != FORMAT_VERSION:
        raise SpotError(f"{path}: is of format version {shown(content.get('format_version'))}, and this program reads "
                        f"{FORMAT_VERSION}; update it, or extract the features again")
    missing = [key for key in (*HEAD, "videos") if key not in content]
    if missing:
        raise SpotError(f"{path}: the key {missing[0]!r} is missing; extract the features again")
    for key in ("backbone", "version", "weights_sha256"):
        if not isinstance(content[key], str):
            raise SpotError(f"{path}: {key} is {shown(content[key])}; it must be text")
    numbers = {"stride": content["stride"], "window": content["window"], "fps": content["fps"],
               "feat_dim": content["channels"]}
    if wrong := fault(numbers, tuple(numbers)):
        raise SpotError(f"{path}: {wrong.replace('feat_dim', 'channels')}; extract the features again")
    for key in ("videos", "details"):
        if not isinstance(content.get(key, {}), dict):
            raise SpotError(f"{path}: {key} is {shown(content[key])}; it must be an object")
    videos = {name: _video_of(entry, content["fps"], f"{path}: video {name}")
              for name, entry in content["videos"].items()}
    return Sidecar(**{key: content[key] for key in HEAD}, videos=videos, details=content.get("details", {}))


def _video_of(entry, fps, where):
    if not isinstance(entry, dict):
        raise SpotError(f"{where}: is {shown(entry)}; it must be an object with duration_sec and num_snippets")
    duration_sec, count, own_fps, centers = (entry.get(key) for key in ("duration_sec", "num_snippets", "fps",
                                                                        "centers_sec"))
    if not _is_number(duration_sec) or not duration_sec > 0:
        raise SpotError(f"{where}: duration_sec is {shown(duration_sec)}; it must be a positive number of seconds")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise SpotError(f"{where}: num_snippets is {shown(count)}; it must be a whole number of at least 1")
    if wrong := fault({"fps": own_fps}, ("fps",)):
        raise SpotError(f"{where}: {wrong}")
    if fps is None and own_fps is None and centers is None:
        raise SpotError(f"{where}: has neither fps nor centers_sec, and no fps holds for all videos; extract it again")
    if fps is not None and own_fps is not None and not same_rate(fps, own_fps):
        raise SpotError(f"{where}: its fps is {own_fps:g}, and {fps:g} is that of all videos; extract it again")
    if centers is not None:
        centers = _centers_of(centers, count, where)
    return ExtractedVideo(float(duration_sec), count, own_fps, centers)


def _centers_of(centers, count, where):
    if not isinstance(centers, list) or len(centers) != count or not all(map(_is_number, centers)):
        found = f"{len(centers)} values" if isinstance(centers, list) else shown(centers)
        raise SpotError(f"{where}: centers_sec is {found}; it must be a list of {count} numbers, one per snippet")
    centers = np.array(centers, float)
    back = np.flatnonzero(np.diff(centers) <= 0)
    if len(back) or centers[0] < 0:
        place = int(back[0]) + 1 if len(back) else 0
        raise SpotError(f"{where}: centers_sec must increase from 0 on, and value {place} is {centers[place]:g} s"
                        + (f" after {centers[place - 1]:g} s" if place else "") + "; extract it again")
    return centers


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def place_and_use(folder):
    """Where extracted features lie, and how a training takes them, for the end of an extraction."""
    setting = shlex.quote(f"dataset.feature_path={folder}")
    return f"{folder}; train on them by {setting}, without dataset.stride, window and fps, which {SIDECAR} there says"
