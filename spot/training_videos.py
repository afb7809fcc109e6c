"""Which videos a training learns from, and how their features are taken."""

from collections import Counter
from dataclasses import dataclass

import torch

from spot.data_files import with_features
from spot.datasets import GridSettings, SnippetDataset
from spot.features import FeatureSource
from spot.files import SpotError
from spot.standardize import choose_standardization
from spot.waveforms import Waveforms, choose_waveforms


@dataclass(frozen=True)
class TrainingVideos:
    """The videos of a training that have features, and how these are taken.

    every: all of them; labeled: those that are learned from with their labels, held_out: kept out to watch mAP,
    unlabeled: the others; each a list of Video
    standardization: whose statistics standardize the features, training, recording or none
    waveforms: of features that are raw samples of sensors, None: of others
    """

    every: list
    labeled: list
    held_out: list
    unlabeled: list
    class_names: list
    source: FeatureSource
    grid: GridSettings
    standardization: str
    waveforms: Waveforms | None

    def datasets(self, feat_dim, cache, device):
        """The SnippetDatasets of labeled and of unlabeled videos, None where there are none of the latter."""
        shared = {"source": self.source, "grid": self.grid, "class_names": self.class_names, "feat_dim": feat_dim,
                  "cache": cache, "device": device, "own_statistics": self.standardization == "recording",
                  "waveforms": self.waveforms}
        labeled = SnippetDataset(self.labeled, progress="labeled videos", **shared)
        if not self.unlabeled:
            return labeled, None
        return labeled, SnippetDataset(self.unlabeled, progress="unlabeled videos", **shared)

    def frame_rates(self):
        """The frame rates of all videos, sorted; at most the 20 most frequent, where nearly each has its own."""
        fps = self.grid.fps
        counts = Counter(round(fps or video.fps, 3) for video in self.every if fps or video.fps)
        return sorted(rate for rate, _ in counts.most_common(20))


def choose_videos(videos, labeled_names, holdout, split_seed, class_names, source, grid, standardize, sensor_channels):
    """The TrainingVideos among the videos of the training subset; prints what is chosen by the data.

    labeled_names: names of the labeled ones; holdout, split_seed: see `parted`
    standardize, sensor_channels: as the YAML's keys, `auto` where the data choose
    """
    present, _ = with_features(videos, source, "training")
    labeled, held_out, unlabeled = parted(present, labeled_names, holdout, split_seed)
    standardization = choose_standardization(standardize, labeled, class_names)
    print(f"features are standardized by statistics of: {standardization.kind} ({standardization.evidence})")
    waveforms, reason = choose_waveforms(sensor_channels, source, [video.name for video in present], grid)
    print(f"features are {'made spectral' if waveforms else 'taken as they are'} ({reason})")
    return TrainingVideos(present, labeled, held_out, unlabeled, class_names, source, grid, standardization.kind,
                          waveforms)


def parted(videos, labeled_names, holdout, seed):
    """Videos -> labeled, held out (a share `holdout` of the labeled ones, drawn by `seed`), unlabeled.

    SpotError where that leaves none to learn from or, with a holdout, none to watch.
    """
    chosen = set(labeled_names)
    labeled = [video for video in videos if video.name in chosen]
    unlabeled = [video for video in videos if video.name not in chosen]
    if not labeled:
        raise SpotError("none of the labeled videos has features; check dataset.feature_path")
    count = round(holdout * len(labeled))
    if holdout and not 0 < count < len(labeled):
        raise SpotError(f"training.holdout={holdout} of {len(labeled)} labeled videos leaves none to "
                        "watch or none to learn from; use 0 or more labels")
    order = torch.randperm(len(labeled), generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = [labeled[i] for i in sorted(order[:count])]
    return [labeled[i] for i in sorted(order[count:])], held_out, unlabeled
