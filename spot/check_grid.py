"""The data check of the snippet grid: how segments fare on it, overlap and hide each other."""

from collections import Counter

import numpy as np
import torch

from spot.check_report import quantiles
from spot.datasets import SnippetDataset, duration_faults
from spot.files import SpotError
from spot.targets import segment_coverage


def with_grid(report, videos, grid, facts):
    """The videos whose duration and frame rate the grid has; the others become problems."""
    usable, sentences = [], []
    for video in videos:
        try:
            grid_of(video, grid, facts)
            usable.append(video)
        except SpotError as error:
            sentences.append(str(error))
    report.add_problems(sentences, "videos that have no place in time")
    return usable


def grid_of(video, grid, facts):
    """The SnippetGrid of a video by the length of its features; SpotError where it needs what is not known."""
    return grid.of(video, grid.temporal_scale if grid.grid == "resize" else -(-facts.lengths[video.name] // grid.every))


def time_differences(videos, grid, facts):
    """Window grid: sentences about features that end far from the end of their video."""
    used = {name: len(range(0, length, grid.every)) for name, length in facts.lengths.items()}
    return duration_faults(videos, used, grid)


class _LengthsOnly:
    """Stands for a FeatureSource where only the number of snippets matters."""

    def __init__(self, lengths):
        self.lengths = lengths

    def read(self, name):
        return np.zeros((1, self.lengths[name]), np.float32)


def on_grid(videos, facts, grid, names):
    """The videos as training cuts them, a SnippetDataset without features (C = 1)."""
    return SnippetDataset(videos, _LengthsOnly(facts.lengths), grid, names, 1, "memory", progress="snippet grid")


def grid_lines(data):
    """How the segments of a data set fare on its grid."""
    counts, centerless, lengths = Counter(), 0, []
    for index, snippet_grid in enumerate(data.grids):
        segments, labels = segments_of(data, index)
        lengths += (segments[:, 1] - segments[:, 0]).tolist()
        centerless += int((np.ceil(segments[:, 0] - 0.5) + 0.5 >= segments[:, 1]).sum())
        counts.update(overlaps(segments, labels))
        counts["hidden"] += int(hidden_segments(segments, labels, snippet_grid.length).sum())
    if not lengths:
        return ["no segment"]
    lengths = np.array(lengths)
    return [
        f"{len(data):,} sequences of {data.num_snippets:,} snippets; segment length in snippets {quantiles(lengths)}",
        f"{centerless:,} segments hold no snippet center and get the nearest snippet; {(lengths < 1).sum():,} are "
        f"shorter than a snippet, {(lengths > data.num_snippets).sum():,} are longer than a sequence",
        f"overlaps: {counts['cross']:,} pairs of two classes ({counts['cross_whole']:,} by a snippet or more), "
        f"{counts['same']:,} pairs of one class ({counts['same_whole']:,} by a snippet or more); "
        f"{counts['twins']:,} pairs of two classes are one time span with both names, which comes out as both",
        f"{counts['hidden']:,} segments have no mask row of their own, because shorter ones lie over them",
    ]


def segments_of(data, index):
    """Segments (N, 2) in grid positions and class indices (N,) of one video of a data set, as numpy."""
    labels = data.labels[index]
    return data.segments[index][labels >= 0].numpy().astype(float), labels[labels >= 0].numpy()


def overlaps(segments_snippet, labels):
    """Counter of overlapping pairs: `cross` and `twins` of two classes, `same` of one class, however short the overlap;
    `cross_whole` and `same_whole` are those of a snippet or more.

    segments_snippet: (N, 2) positions; labels: (N,). Twins agree to half a snippet at both ends: one mask shows both.
    """
    start, end = segments_snippet.T
    overlap = np.minimum(end[:, None], end) - np.maximum(start[:, None], start)
    first, second = np.nonzero(np.triu(overlap > 0, 1))
    whole = overlap[first, second] >= 1
    same = labels[first] == labels[second]
    twins = ~same & _twins(segments_snippet)[first, second]
    kinds = {"cross": ~same & ~twins, "twins": twins, "same": same}
    kinds |= {"cross_whole": kinds["cross"] & whole, "same_whole": same & whole}
    return Counter({kind: int(pairs.sum()) for kind, pairs in kinds.items()})


def _twins(segments_snippet):
    """(N, N) bool: pairs of segments that agree to half a snippet at both ends."""
    return (np.abs(segments_snippet[:, None] - segments_snippet) <= 0.5).all(-1)


def hidden_segments(segments_snippet, labels, length):
    """Segments that no mask row shows, (N,) bool: every snippet they hold belongs to a shorter segment.

    segments_snippet: (N, 2) positions; labels: (N,); length: snippets of the video
    The row of a twin of another class shows both, so that one is not hidden.
    """
    if not len(labels):
        return np.zeros(0, bool)
    member = segment_coverage(torch.from_numpy(segments_snippet)[None], torch.from_numpy(labels)[None], length)[1]
    member = member[0].numpy()  # (N, T')
    duration = np.where(member, (segments_snippet[:, 1] - segments_snippet[:, 0])[:, None], np.inf)
    shown = np.zeros(len(labels), bool)
    shown[duration.argmin(0)[member.any(0)]] = True
    other_class = labels[:, None] != labels
    return ~(shown | (_twins(segments_snippet) & other_class & shown).any(1))
