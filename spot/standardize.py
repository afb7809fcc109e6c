"""Which statistics take the mean and deviation off the features: those of the training set, or the recording's own.

What differs between recordings for reasons of their own (a person's build, where a sensor sits, light) is taken off by
the recording's own statistics. They also take off what tells classes apart, where a recording shows only a few of them.
So the labels decide: how much of their variance lies between recordings.
"""

from dataclasses import dataclass

import numpy as np

from spot.annotations import clean_segments

# Share of the variance of the labels that may lie between recordings. Where every recording shows all classes it is
# 0.001 to 0.003 (sensor recordings of a protocol); where each shows a few of them, 0.12 and more (four of twelve
# activities, sports videos, one class a video). Nothing that was measured lies in between.
MOST_BETWEEN = 0.03
# Fewer labeled recordings say nothing of how recordings differ.
FEWEST_RECORDINGS = 2


@dataclass(frozen=True)
class Standardization:
    """kind: training, recording or none; evidence: why, in words."""

    kind: str
    evidence: str


def recording_statistics(features):
    """Mean and deviation of each channel over one recording, (C, 1) each; 1 where a channel never changes.

    features: (C, T') numpy
    """
    mean = features.mean(1, keepdims=True, dtype=np.float64)
    deviation = features.std(1, keepdims=True, dtype=np.float64)
    return divisible(mean, deviation)


def divisible(mean, deviation):
    """Mean and deviation of channels as float32, where a channel that never changes has deviation 1: it becomes 0.

    mean, deviation: float64 numpy of one shape
    """
    constant = deviation <= 1e-5 * np.maximum(np.abs(mean), 1e-3)
    return mean.astype(np.float32), np.where(constant, 1, deviation).astype(np.float32)


def by_recording(features):
    """Features (C, T') of one recording with mean 0 and deviation 1 in each channel, as a new array."""
    mean, deviation = recording_statistics(features)
    return (features - mean) / deviation


def class_shares(video, class_names):
    """Share of a recording's time that each class and the background take: (K + 1,), background last.

    video: annotations.Video. Classes that overlap count each for itself. Without a duration, the last segment ends it.
    """
    duration_sec = video.duration_sec or float(np.max(video.segments_sec, initial=0.0))
    segments_sec, labels, _ = clean_segments(video, duration_sec)
    if not len(segments_sec):
        return np.append(np.zeros(len(class_names)), 1.0)
    labels = np.asarray(labels)
    covered = [_covered_sec(segments_sec[labels == name]) for name in class_names]
    return np.append(covered, duration_sec - _covered_sec(segments_sec)) / duration_sec


def _covered_sec(segments_sec):
    """Seconds that segments (N, 2) cover; where they overlap, once."""
    covered, end = 0.0, -np.inf
    for first, last in segments_sec[np.argsort(segments_sec[:, 0])] if len(segments_sec) else ():
        covered += max(last - max(first, end), 0.0)
        end = max(end, last)
    return covered


def between_recordings(shares):
    """Share of the labels' variance that lies between recordings, 0..1: 0 = all show the classes equally long.

    shares: (V, K + 1) of `class_shares`. The variance of a class indicator is p (1 - p) in all; between recordings, the
    variance of their own shares (the correlation ratio of analysis of variance, summed over the classes).
    """
    mean = shares.mean(0)
    total = (mean * (1 - mean)).sum()
    return float(((shares - mean) ** 2).mean(0).sum() / total) if total > 0 else 1.0


def choose_standardization(kind, labeled, class_names):
    """`auto` -> training or recording, by the labels; the others as they are. Returns a Standardization.

    kind: auto, training, recording or none; labeled: list of annotations.Video that show their labels
    """
    if kind != "auto":
        return Standardization(kind, "as model.standardize says")
    shares = np.array([class_shares(video, class_names) for video in labeled])
    if len(shares) < FEWEST_RECORDINGS:
        return Standardization("training", f"{len(shares)} labeled recording does not show how recordings differ")
    between, shown = between_recordings(shares), (shares[:, :-1] > 0).mean()
    evidence = (f"{between:.1%} of the variance of the labels lies between recordings, which show {shown:.0%} of the "
                "classes on average")
    return Standardization("recording" if between <= MOST_BETWEEN else "training", evidence)


def by_sequence(features, valid=None):
    """As `by_recording`, for a batch of sequences that count as recordings.

    features: torch (B, C, T); valid: (B, T) bool, False where a short sequence was padded, or None -> (B, C, T)
    """
    keep = features.new_ones(features[:, :1].shape) if valid is None else valid[:, None].to(features.dtype)
    count = keep.sum(2, keepdim=True).clamp(min=1)
    mean = (features * keep).sum(2, keepdim=True) / count
    deviation = (((features - mean) * keep).square().sum(2, keepdim=True) / count).sqrt()
    constant = deviation <= 1e-5 * mean.abs().clamp(min=1e-3)
    return (features - mean) / deviation.masked_fill(constant, 1) * keep
