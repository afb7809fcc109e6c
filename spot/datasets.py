"""One dataset for labeled and unlabeled videos on both grids: sequences of T snippets, and which a step takes."""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from spot.annotations import clean_segments
from spot.augment import View, move_segments
from spot.devices import to_device
from spot.feature_bank import FeatureBank
from spot.files import SpotError
from spot.segments import (
    Grid,
    center_grid,
    centers_end_sec,
    centers_mismatch,
    duration_mismatch,
    features_end_sec,
    resize_grid,
    window_grid,
    window_starts,
)
from spot.standardize import by_recording, divisible
from spot.targets import pad_segments


@dataclass(frozen=True)
class GridSettings:
    """How features lie in time: `resize` or `window`; stride, window, offset in frames; fps None = each video's own.

    stride is that of the rows of the files, of which every n-th is used, from the first on: snippets are
    stride * every frames apart, and each sees `window` frames as before.
    """

    grid: str
    temporal_scale: int
    stride: int = 16
    window: int = 16
    offset: int = 0
    fps: float | None = None
    every: int = 1

    def of(self, video, num_snippets):
        """The SnippetGrid of an annotated video of `num_snippets` used rows; SpotError as in `at`."""
        try:
            return self.at(num_snippets, video.duration_sec, video.feature_duration_sec, self.fps or video.fps,
                           video.centers_sec)
        except SpotError as error:
            raise SpotError(f"video {video.name}: {error}") from error

    def at(self, num_snippets, duration_sec, feature_duration_sec=None, fps=None, centers_sec=None):
        """The grid of `num_snippets` rows that `fit` returned; SpotError where a value it needs is not known.

        centers_sec: (T',) of the rows before `fit`, where they are known; nothing else then places the snippets
        """
        if centers_sec is not None:
            return center_grid(num_snippets, self._used(centers_sec, num_snippets), duration_sec)
        if self.grid == "resize":
            if not duration_sec:
                raise SpotError("its duration is not known, which dataset.grid=resize needs; "
                                "give dataset.video_info_path")
            return resize_grid(self.temporal_scale, duration_sec, feature_duration_sec)
        if not (fps or self.fps):
            raise SpotError("its frame rate is not known, which dataset.grid=window needs; set dataset.fps")
        return window_grid(num_snippets, self.stride * self.every, self.window, fps or self.fps, duration_sec,
                           self.offset)

    def _used(self, centers_sec, num_snippets):
        """The centers of the rows that `fit` uses; SpotError where there are fewer than rows."""
        used = centers_sec[:: self.every]
        if self.grid == "resize":
            return used
        if len(used) < num_snippets:
            raise SpotError(f"it has {num_snippets} snippets and the times of {len(used)}; extract its features again")
        return used[:num_snippets]  # joined streams are cut to the shortest

    def mismatch(self, video, num_snippets):
        """Half a sentence where the rows of a video end far from its duration, see `segments.duration_mismatch`."""
        if video.centers_sec is not None:
            return centers_mismatch(video.centers_sec, video.duration_sec)
        fps = self.fps or video.fps
        if self.grid == "resize" or not fps:
            return None
        return duration_mismatch(num_snippets, self.stride, self.window, fps, video.duration_sec, self.offset,
                                 self.every)

    def covered_sec(self, num_rows, duration_sec, fps, centers_sec=None):
        """Window grid: the duration of a video, or where its features end, where that is far before.

        num_rows: T' of the file, before `fit`; duration_sec: None where it is not known, and then returned
        """
        if centers_sec is not None:
            end_sec, is_far = centers_end_sec(centers_sec), centers_mismatch(centers_sec, duration_sec)
            return end_sec if is_far and end_sec < duration_sec else duration_sec
        end_sec = features_end_sec(num_rows, self.stride, self.window, fps, self.offset)
        is_far = duration_mismatch(num_rows, self.stride, self.window, fps, duration_sec, self.offset)
        return end_sec if is_far and end_sec < duration_sec else duration_sec

    def fit(self, features):
        """(C, T') numpy features as the grid wants them: every n-th row, and resampled to T (`resize`)."""
        if self.every > 1:  # a copy, so that the other rows need no memory
            features = np.ascontiguousarray(features[:, :: self.every])
        if self.grid == "window" or features.shape[1] == self.temporal_scale:
            return features
        resized = F.interpolate(torch.from_numpy(features)[None], self.temporal_scale, mode="linear",
                                align_corners=False)
        return resized[0].numpy()


def duration_faults(videos, lengths, grid):
    """Sentences about videos whose features end far from their duration, as a GridSettings places them.

    lengths: {name: rows of the video's features, as `GridSettings.fit` returns them}; videos without one are left out
    """
    found = ((video.name, grid.mismatch(video, lengths[video.name])) for video in videos if video.name in lengths)
    return [f"video {name}: {words}; check dataset.stride, dataset.window and the frame rate"
            for name, words in found if words]


def warn_of_durations(videos, lengths, grid):
    """Print how many videos `duration_faults` names, and the first; arguments as there."""
    faults = duration_faults(videos, lengths, grid)
    if faults:
        print(f"warning: the features of {len(faults):,} of {len(videos):,} videos do not fit their duration: "
              f"{faults[0]}", file=sys.stderr)


class SnippetDataset:
    """Videos with features on a snippet grid, cut into sequences of T snippets.

    videos: list of annotations.Video that have features; source: features.FeatureSource
    grid: GridSettings; class_names: list of K names
    own_statistics: standardize each recording by its own mean and deviation, see `spot.standardize`
    waveforms: waveforms.Waveforms of features that are raw samples: they become spectral channels; None: others
    A `resize` video is one sequence; a `window` video gives windows that overlap by half.
    """

    def __init__(self, videos, source, grid, class_names, feat_dim, cache="memory", device="cpu", progress="features",
                 own_statistics=False, waveforms=None):
        if not videos:
            raise SpotError(f"no video with features for {progress}; check dataset.feature_path and the subset names")
        self.videos, self.source, self.grid_settings = videos, source, grid
        self.feat_dim, self.num_snippets, self.device = feat_dim, grid.temporal_scale, torch.device(device)
        self.class_index = {name: index for index, name in enumerate(class_names)}
        self.num_classes, self.own_statistics, self.waveforms = len(class_names), own_statistics, waveforms
        self.dirty = {"clipped": 0, "dropped": 0}
        self.bank = FeatureBank(self._read, cache, device, len(videos))
        self._load(progress)
        self._cut()

    def _read(self, index):
        return self._prepare(self.source.read(self.videos[index].name))

    def _prepare(self, as_filed):
        """Features (C, T') as the model takes them: spectral, on the grid, standardized by recording where that is
        chosen."""
        features = self.waveforms.spectral(as_filed) if self.waveforms else as_filed
        features = self.grid_settings.fit(features)
        return by_recording(features) if self.own_statistics else features

    def _load(self, progress):
        """Read every video once: its grid, its segments, the feature statistics, and the table where it is kept."""
        self.grids: list[Grid] = []
        segments, labels = [], []
        sums, file_sums, count = 0, 0, 0
        is_changed = self.own_statistics or self.waveforms is not None
        for video in tqdm(self.videos, desc=progress, unit="video", disable=None):
            as_filed = self.source.read(video.name)
            features = self._prepare(as_filed)
            self.bank.add(features)
            sums += _sums(features)
            file_sums += _sums(self.grid_settings.fit(as_filed)) if is_changed else 0
            count += features.shape[1]
            grid = self.grid_settings.of(video, features.shape[1])
            kept_sec, kept_labels, counts = clean_segments(video, grid.duration_sec)
            for key in self.dirty:
                self.dirty[key] += counts[key]
            segments.append(grid.to_snippet(kept_sec))
            labels.append([self._class_of(label, video) for label in kept_labels])
            self.grids.append(grid)
        self.bank.finish()
        self.segments, self.labels = pad_segments(segments, labels, self.device)
        # Are the labels of all of them known? Asked here, because a step would wait for a GPU to answer.
        self.is_annotated = any(map(len, labels)) and all(video.annotated is not False for video in self.videos)
        self.sums = (*sums, count)
        self.file_sums = (*file_sums, count) if is_changed else self.sums

    def _class_of(self, label, video):
        if label not in self.class_index:
            raise SpotError(f"video {video.name}: label {label!r} is not one of the {self.num_classes} classes; "
                            "check dataset.class_file")
        return self.class_index[label]

    def _cut(self):
        """Number the sequences: which video, which first snippet."""
        starts = [window_starts(length, self.num_snippets) for length in self.bank.lengths]
        self.sequence_video = np.repeat(np.arange(len(starts)), [len(start) for start in starts])
        self.sequence_start = np.concatenate([np.asarray(start, np.int64) for start in starts])

    def __len__(self):
        return len(self.sequence_video)

    def batch(self, indices, jitter=None):
        """Sequences by number.

        indices: (B,) ints in 0..len; jitter: (B,) in 0..1 or None, moves the start of a window within its
        neighborhood, so that training sees more than the fixed windows
        Returns features (B, C, T), valid (B, T) bool, first_row (B,), where each begins in a table of the snippets of
        all videos, segments (B, N, 2) positions in the sequence and labels (B, N),
        -1 = none; and counts (B,), the valid snippets of each, which stay on the CPU.
        """
        indices = np.asarray(indices)
        videos, starts = self.sequence_video[indices], self.sequence_start[indices]
        if jitter is not None:
            last = np.maximum(self.bank.lengths[videos] - self.num_snippets, 0)
            shift = np.round((np.asarray(jitter) - 0.5) * self.num_snippets)
            starts = np.clip(starts + shift, 0, last).astype(np.int64)
        features, valid = self.bank.rows(videos, starts, self.num_snippets)
        index, start, first_row = to_device(
            torch.from_numpy(np.stack([videos, starts, self.bank.offsets[videos] + starts])), self.device)
        view = View(start.float(), torch.ones(len(starts), device=self.device))
        segments, labels = move_segments(self.segments[index], self.labels[index], view, 0, self.num_snippets)
        counts = torch.from_numpy(np.minimum(self.bank.lengths[videos] - starts, self.num_snippets))
        return {"features": features, "valid": valid, "counts": counts, "first_row": first_row, "segments": segments,
                "labels": labels}

    def __getitem__(self, index):
        """One sequence, as `batch` gives it without its first axis, and the name of its video.

        Sequences are of one shape, so torch's DataLoader makes batches with the same keys of them. The features are on
        the grid and, where that was chosen, standardized by recording; statistics of the training set are the model's.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        index = index % len(self)
        return {**{key: value[0] for key, value in self.batch([index]).items()}, "name": self.names_of([index])[0]}

    def __repr__(self):
        return (f"SnippetDataset({len(self.videos)} videos, {len(self)} sequences of {self.num_snippets} snippets, "
                f"{self.num_classes} classes)")

    def names_of(self, indices):
        """Video names of sequences, for messages."""
        return [self.videos[video].name for video in self.sequence_video[np.asarray(indices)]]


def _sums(features):
    """Sum and sum of squares of each channel, (2, C); features (C, T')."""
    return np.stack([features.sum(1, dtype=np.float64), np.square(features, dtype=np.float64).sum(1)])


def feature_statistics(*datasets, of_files=False):
    """Mean and standard deviation per channel over all snippets of the datasets, each (C,) float32.

    of_files: of the features as their files have them, also where they are spectral or standardized by recording
    A channel that never changes gets deviation 1: it is centered to 0, not divided by 0.
    """
    total, square, count = (sum(parts) for parts in zip(
        *(dataset.file_sums if of_files else dataset.sums for dataset in datasets), strict=True))
    mean = total / count
    return divisible(mean, np.sqrt(np.maximum(square / count - mean**2, 0)))


def draw(length, count, position, seed):
    """Numbers `position` .. `position + count` of an endless series of shuffles of 0..length.

    A function of its arguments alone, so a resumed run and every process of a distributed one draw the same.
    """
    numbers = np.arange(position, position + count)
    rounds = numbers // length
    shuffles = {r: np.random.default_rng([seed, int(r)]).permutation(length) for r in np.unique(rounds)}
    return np.array([shuffles[r][n % length] for r, n in zip(rounds, numbers, strict=True)], dtype=np.int64)
