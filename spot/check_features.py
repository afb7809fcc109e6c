"""The data check of the features, each file read once: shapes, values, faults, and which are missing."""

from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from spot.check_report import SHOWN, quantiles, shortened
from spot.features import MISSING_LIST, unlisted
from spot.files import SpotError


@dataclass
class FeatureFacts:
    """What one pass over the features found.

    lengths: {video: snippets T'} of those that can be read; broken: {video: what is wrong with its file}
    still: videos whose snippets are all alike; low, high, total, square: (C,) of all snippets
    """

    feat_dim: int
    lengths: dict[str, int] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    still: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.low, self.high = np.full(self.feat_dim, np.inf), np.full(self.feat_dim, -np.inf)
        self.total, self.square = np.zeros(self.feat_dim), np.zeros(self.feat_dim)

    def add(self, name, features):
        """Take in the (C, T') features of one video."""
        self.lengths[name] = features.shape[1]
        low, high = features.min(1), features.max(1)
        if features.shape[1] > 1 and (low == high).all():
            self.still.append(name)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.total += features.sum(1, dtype=np.float64)
        self.square += np.square(features, dtype=np.float64).sum(1)

    def constant_channels(self):
        """Channels that have one value in all snippets of all videos."""
        return np.flatnonzero(self.high - self.low <= 1e-6 * np.maximum(np.abs(self.high), np.abs(self.low)))

    def lines(self):
        """Shapes and value ranges."""
        count = sum(self.lengths.values())
        if not count:
            return ["no feature file could be read"]
        mean = self.total / count
        deviation = np.sqrt(np.maximum(self.square / count - mean**2, 0))
        return [f"{len(self.lengths):,} videos read, {count:,} snippets of {self.feat_dim:,} channels; snippets per "
                f"video {quantiles(list(self.lengths.values()))}",
                f"values {self.low.min():.4g} to {self.high.max():.4g}; channel means {mean.min():.3g} to "
                f"{mean.max():.3g}, standard deviations {deviation.min():.3g} to {deviation.max():.3g}",
                f"constant channels: {len(self.constant_channels()):,}; files with NaN, Inf or another fault: "
                f"{len(self.broken):,}"]


def read_features(videos, source):
    """Read the features of every video that has some, once -> FeatureFacts. A broken file is noted, not raised."""
    facts = FeatureFacts(source.feat_dim)
    for video in tqdm(videos, desc="reading features", unit="video", disable=None):
        try:
            facts.add(video.name, source.read(video.name))
        except SpotError as error:
            facts.broken[video.name] = str(error)
    return facts


def missing_sentences(videos, source, subset):
    """Videos without features, each with the feature name that is most like it: a forgotten prefix shows there.

    Those that the features' own list names are only counted; so are listed ones that have features, and are used.
    """
    missing = [video.name for video in videos if video.name not in source]
    surprising = unlisted(missing, source.listed_missing)
    sentences = []
    for name in surprising[:SHOWN]:
        nearest = source.nearest(name)
        sentences.append(f"{subset} video {name} has no features; "
                         + (f"the nearest feature name is {nearest}" if nearest else "no feature name is like it"))
    sentences = shortened(sentences + surprising[SHOWN:], f"{subset} videos without features")
    if listed := len(missing) - len(surprising):
        sentences.append(f"{listed:,} {subset} videos have no features, as {MISSING_LIST} says")
    present = [video.name for video in videos if video.name in source]
    if used := len(present) - len(unlisted(present, source.listed_missing)):
        sentences.append(f"{used:,} {subset} videos are listed in {MISSING_LIST}, but have features, which are used")
    return sentences


def note_feature_faults(report, facts, present):
    """Broken files stop training where a training video has them; constant channels and still videos never do."""
    training = {video.name for video in next(iter(present.values()))}
    fatal = [sentence for name, sentence in facts.broken.items() if name in training]
    report.add_problems(fatal, "broken feature files")
    report.warnings += shortened([text for name, text in facts.broken.items() if name not in training],
                                 "broken feature files, which will stop inference")
    constant = facts.constant_channels() if facts.lengths else []
    if len(constant):
        report.warnings.append(f"{len(constant)} channels have one value in all videos, first {constant[0]}: they say "
                               "nothing; was a stream left out?")
    report.warnings += shortened([f"video {name}: all its snippets are alike; extract its features again"
                                  for name in facts.still], "such videos")
