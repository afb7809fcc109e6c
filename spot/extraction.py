"""Videos -> snippet features: clips of frames through a backbone, one video at a time in memory.

A snippet is a clip of `window` frames; the next one begins `stride` frames later. The last clip is filled up by
repeating its last frame, so that the whole video is covered.
"""

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from spot.backbones import BackboneFault
from spot.errors import SpotError
from spot.files import atomic_path, locked, read_json, remove_unfinished, write_text
from spot.sidecar import SIDECAR, ExtractedVideo, Sidecar, difference, irregular_centers, read_sidecar, write_sidecar
from spot.videos import VideoFile

SOURCES = "sources.json"  # which files the features are of: {video: [path, bytes, time of change]}
CHUNK_FRAMES = 8  # frames that are prepared together
SAVE_EVERY_SEC = 5.0  # the sidecar of thousands of videos takes a moment to write


@dataclass(frozen=True)
class Sampling:
    """How clips are cut, in frames: `window` long, every `stride`; fps: frames per second, None = the video's own."""

    stride: int
    window: int
    fps: float | None = None


def num_clips(num_frames, stride, window):
    """Clips that cover `num_frames` >= 1 frames: the last one reaches the last frame, and none begins behind it."""
    return min(math.ceil(max(num_frames - window, 0) / stride) + 1, math.ceil(num_frames / stride))


def frames_of_clip(window, count):
    """Which of the `window` frames of a clip a backbone of `count` frames sees: evenly spaced, (count,) int."""
    return np.floor((np.arange(count) + 0.5) * window / count).astype(int)


def clip_centers(times_sec, end_sec, sampling):
    """(T',) middles of the clips of a video in seconds.

    times_sec: (N,) of its frames; end_sec: where the last one ends
    A clip lasts from its first frame to the one that follows its last one; where it is filled up, as if the video went
    on, but no middle lies behind the end.
    """
    times_sec, stride, window = np.asarray(times_sec, float), sampling.stride, sampling.window
    step = 1 / sampling.fps if sampling.fps else (end_sec - times_sec[0]) / len(times_sec)
    next_sec = times_sec[-1] + step if sampling.fps else end_sec
    count = num_clips(len(times_sec), stride, window)
    first = np.arange(count) * stride
    beyond = next_sec + step * np.arange(first[-1] + window + 1 - len(times_sec)).clip(0)
    edges = np.concatenate([times_sec, beyond])
    return np.minimum((edges[first] + edges[first + window]) / 2, end_sec)


def extract(path, backbone, sampling, batch_size):
    """One video -> (features (T', C) float32, ExtractedVideo, half sentences about what is wrong with the file).

    backbone: see `spot.backbones`; batch_size: clips that go through it together
    SpotError where the file has no frame that can be decoded.
    """
    encoder = ClipEncoder(backbone, sampling, batch_size)
    times, waiting = [], []
    with VideoFile(path) as video:
        for time_sec, image in video.frames() if sampling.fps is None else video.sampled(sampling.fps):
            times.append(time_sec)
            waiting.append(image)
            if len(waiting) == CHUNK_FRAMES:
                encoder.add(backbone.prepare(waiting))
                waiting = []
        if waiting:
            encoder.add(backbone.prepare(waiting))
        features = encoder.finish()
        rate, faults, end_sec = sampling.fps or video.rate, video.faults(), video.end_sec
    centers = clip_centers(times, end_sec, sampling)
    own_centers = irregular_centers(centers, sampling.stride, sampling.window, rate)
    return features, ExtractedVideo(end_sec, len(features), None if sampling.fps else rate, own_centers), faults


class ClipEncoder:
    """Prepared frames in the order of time -> features of clips; it keeps the frames that coming clips need.

    After a GPU was out of memory, `batch_size` is half of what it was.
    """

    def __init__(self, backbone, sampling, batch_size):
        self.backbone, self.sampling, self.batch_size = backbone, sampling, batch_size
        self.seen = frames_of_clip(sampling.window, backbone.num_frames or sampling.window)
        self.kept, self.first = [], 0  # frames from number `first` on
        self.total, self.done, self.features = 0, 0, []

    def add(self, frames):
        """frames: a tensor (n, ...) of the next n frames."""
        self.kept.extend(frames)
        self.total += len(frames)
        stride, window = self.sampling.stride, self.sampling.window
        while self.done * stride + window + (self.batch_size - 1) * stride <= self.total:
            self._encode(self.batch_size)

    def finish(self):
        """The features of all clips, (T', C) float32, once all frames are there."""
        left = num_clips(self.total, self.sampling.stride, self.sampling.window) - self.done
        while left > 0:
            left -= self._encode(min(left, self.batch_size))
        return torch.cat(self.features).numpy()

    def _encode(self, count):
        """Encode the next `count` clips, or fewer where memory is short; returns how many."""
        stride = self.sampling.stride
        starts = (self.done + np.arange(count)) * stride
        places = np.minimum(starts[:, None] + self.seen, self.total - 1) - self.first
        try:
            clips = torch.stack([torch.stack([self.kept[place] for place in row]) for row in places])
            features = self.backbone.encode(clips)
        except torch.OutOfMemoryError:
            if count == 1:
                raise BackboneFault("the GPU has not enough memory for one clip; give a smaller backbone, or "
                                    "compute on the CPU") from None
            torch.cuda.empty_cache()
            self.batch_size = count // 2
            print(f"note: the GPU is out of memory; on with {self.batch_size} clips at a time", file=sys.stderr)
            return self._encode(self.batch_size)
        except RuntimeError as error:  # what torch says of a clip that is too short for the network
            reason = " ".join(str(error).split())[:150]
            raise BackboneFault(f"backbone {self.backbone.name} cannot work on clips of {len(self.seen)} frames "
                                f"({reason}); give a larger --window") from error
        if not torch.isfinite(features).all():
            raise BackboneFault(f"backbone {self.backbone.name} makes NaN or Inf; are its weights broken?")
        self.features.append(features.float().cpu())
        self.done += count
        gone = min(self.done * stride, self.total - 1) - self.first  # the last frame stays: it fills up the last clip
        self.kept, self.first = self.kept[gone:], self.first + gone
        return count


# --- a folder of features ---------------------------------------------------------------------------------------------


def extract_all(videos, out, backbone, sampling, batch_size):
    """Write OUT/VIDEO.npy, (T', C) float16, for every video, and OUT/features.json; videos that are there stay.

    videos: {name: file}; returns {name: SpotError} of those that could not be read, which leave nothing behind.
    SpotError where OUT holds features of another backbone or sampling. A stopped run goes on where it was.
    """
    out = Path(out)
    with locked(out / "extract.lock", f"the folder {out}"):
        folder = FeatureFolder(out, backbone, sampling)
        remaining = {name: path for name, path in videos.items() if not folder.has(name, path)}
        if len(remaining) < len(videos):
            print(f"{len(videos) - len(remaining)} of {len(videos)} videos are there already: {out}")
        failed = {}
        try:
            for name, path in tqdm(remaining.items(), desc="features", unit="video", disable=None):
                try:
                    features, known, faults = extract(path, backbone, sampling, batch_size)
                except BackboneFault:
                    raise  # the next video would meet it too
                except SpotError as error:
                    failed[name] = error
                    continue
                folder.add(name, path, features, known)
                for fault in faults:
                    print(f"warning: {path}: {fault}", file=sys.stderr)
        finally:
            folder.save()
    return failed


class FeatureFolder:
    """The features in a folder, its sidecar, and which files they are of.

    SpotError where they were made in another way, with both values.
    """

    def __init__(self, path, backbone, sampling):
        self.path, self.saved_at = Path(path), time.monotonic()
        self.head = Sidecar(backbone.name, backbone.version, backbone.weights_sha256, sampling.stride,
                            sampling.window, sampling.fps, backbone.channels, details=backbone.details)
        self.videos, self.sources = {}, {}
        for file in (SIDECAR, SOURCES):
            remove_unfinished(self.path / file)
        if (self.path / SIDECAR).is_file():
            known = read_sidecar(self.path)
            if apart := difference(known, self.head):
                key, there, now = apart
                raise SpotError(f"{self.path}: holds features with {key} {there}, and now it is {now}; choose another "
                                "folder, or remove this one")
            self.videos = dict(known.videos)
            self.sources = read_json(self.path / SOURCES) if (self.path / SOURCES).is_file() else {}
        elif found := sorted(self.path.glob("*.npy")):
            raise SpotError(f"{self.path}: holds features of unknown origin, such as {found[0].name}, without a "
                            f"{SIDECAR}; choose another folder")

    def has(self, name, file):
        """Are there features of just this file?"""
        return (name in self.videos and self.sources.get(name) == stamp_of(file)
                and (self.path / f"{name}.npy").is_file())

    def add(self, name, file, features, known):
        """Write the (T', C) features of a video that an ExtractedVideo describes."""
        remove_unfinished(self.path / f"{name}.npy")
        self.videos.pop(name, None)
        with atomic_path(self.path / f"{name}.npy") as temporary:
            np.save(temporary, features.astype(stored_type(features)))
        self.videos[name], self.sources[name] = known, stamp_of(file)
        if time.monotonic() - self.saved_at > SAVE_EVERY_SEC:
            self.save()

    def save(self):
        """Write the sidecar and the list of files; none where there is no video."""
        if not self.videos:
            return
        sidecar = Sidecar(**{**vars(self.head), "videos": dict(sorted(self.videos.items()))})
        write_sidecar(self.path, sidecar)
        write_text(self.path / SOURCES, json.dumps(dict(sorted(self.sources.items())), indent=0) + "\n")
        self.saved_at = time.monotonic()


def stamp_of(file):
    """Marks by which a file is the one that was read: [path, bytes, time of change in nanoseconds]."""
    state = Path(file).stat()
    return [str(Path(file).resolve()), state.st_size, state.st_mtime_ns]


def stored_type(features):
    """float16, or float32 where a value does not fit into it."""
    return np.float16 if np.abs(features).max(initial=0) < np.finfo(np.float16).max else np.float32
