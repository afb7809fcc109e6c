"""The pretext stage's tasks: they need no labels, so they use all training videos. Pure functions of a batch."""

import torch
from torch.nn import functional as F

from spot.devices import drawn_on, to_device
from spot.losses import mask_loss, weighted_mean


def random_segments(batch, length, generator, most=3):
    """Random foreground: one to `most` segments per sequence, of several sizes, that do not overlap.

    batch: B; length: T snippets; generator: a CPU torch.Generator
    Returns (B, N, 2) positions in 0..T and (B, N) labels, 0 = a segment, -1 = none; N = `most`.
    """
    count = torch.randint(1, most + 1, (batch, 1), generator=generator)
    # Each segment lies in its own part of the sequence, so that none overlap.
    part = torch.arange(most) * length / count
    size = length / count * (0.1 + 0.8 * torch.rand(batch, most, generator=generator))
    start = part + (length / count - size) * torch.rand(batch, most, generator=generator)
    labels = torch.where(torch.arange(most) < count, 0, -1)
    return torch.stack([start, start + size], -1).clamp(max=length), labels


def keep_foreground(features, coverage):
    """Suppress everything outside the random foreground. features: (B, C, T) standardized; coverage: (B, T) in 0..1."""
    return features * coverage[:, None]


def random_foreground_loss(mask_logits, mask_targets, valid):
    """Mask loss of the random foreground, on the input that was cropped to it.

    mask_logits: (B, T, T) on that input; mask_targets: (B, T, T) in 0..1; valid: (B, T) 0 or 1
    """
    inside = (mask_targets.amax(-1) > 0).float() * valid
    rows = inside + 0.3 * (1 - inside) * valid
    return mask_loss(mask_logits, mask_targets, rows, valid.float())


def shuffle_chunks(features, chunks, generator):
    """Cut each sequence into `chunks` equal parts and shuffle them.

    features: (B, C, T) -> shuffled (B, C, T'), T' = T rounded down to a multiple of `chunks`, and order (B, chunks):
    the original place of the chunk that is now at each place.
    """
    batch, channels, length = features.shape
    size = length // chunks
    order = to_device(torch.rand(batch, chunks, generator=generator).argsort(1), features.device)
    parts = features[..., : chunks * size].reshape(batch, channels, chunks, size)
    index = order[:, None, :, None].expand_as(parts)
    return parts.gather(2, index).reshape(batch, channels, chunks * size), order


def order_loss(position_logits, order, valid):
    """Cross entropy of each chunk's original place.

    position_logits: (B, chunks, chunks), chunk x place; order: (B, chunks); valid: (B,) bool, sequences without padding
    """
    entropy = F.cross_entropy(position_logits.transpose(1, 2), order, reduction="none")
    return weighted_mean(entropy, valid[:, None].expand_as(entropy).float())


def drop_features(features, share, generator):
    """Set a random share of the single feature values to 0. features: (B, C, T)."""
    keep = torch.rand(features.shape, **drawn_on(features.device, generator)) >= share
    return features * keep


def reconstruction_loss(reconstructed, features, valid):
    """Mean squared error of the features given back. Both (B, C, T); valid: (B, T) bool."""
    return weighted_mean((reconstructed - features).square().mean(1), valid.float())
