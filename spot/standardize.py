"""Which statistics take the mean and deviation off the features: those of the training set, or the recording's own.

What differs between recordings for reasons of their own (a person's build, where a sensor sits, light) is taken off by
the recording's own statistics. They also take off what distinguishes classes, where a recording shows only a few of
them. So the labels decide: how much of their variance lies between recordings.
"""

from dataclasses import dataclass

import numpy as np

from spot.class_shares import FEWEST_RECORDINGS, compare_recordings


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


def choose_standardization(kind, labeled, class_names):
    """`auto` -> training or recording, by the labels; the others as they are. Returns a Standardization.

    kind: auto, training, recording or none; labeled: list of annotations.Video that show their labels
    """
    if kind != "auto":
        return Standardization(kind, "as model.standardize says")
    shares, are_alike, evidence = compare_recordings(labeled, class_names)
    if len(shares) >= FEWEST_RECORDINGS:
        evidence += f", which show {(shares[:, :-1] > 0).mean():.0%} of the classes on average"
    return Standardization("recording" if are_alike else "training", evidence)


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
