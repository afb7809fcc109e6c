"""The pretext stage's tasks: they need no labels, so they use all training videos. Pure functions of a batch."""

import torch
from torch.nn import functional as F

from spot.devices import drawn_on
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


def draw_order(batch, chunks, generator):
    """A random order of the chunks of each sequence, (batch, chunks). generator: a CPU torch.Generator"""
    return torch.rand(batch, chunks, generator=generator).argsort(1)


def shuffle_chunks(features, order):
    """Cut each sequence into equal parts and put them into this order.

    features: (B, C, T); order: (B, chunks), the original place of the chunk that is then at each place
    Returns (B, C, T'), T' = T rounded down to a multiple of the chunks.
    """
    batch, channels, length = features.shape
    chunks = order.shape[1]
    size = length // chunks
    parts = features[..., : chunks * size].reshape(batch, channels, chunks, size)
    index = order[:, None, :, None].expand_as(parts)
    return parts.gather(2, index).reshape(batch, channels, chunks * size)


def order_loss(position_logits, order, valid):
    """Cross entropy of each chunk's original place.

    position_logits: (B, chunks, chunks), chunk x place; order: (B, chunks); valid: (B,) bool, sequences without padding
    """
    entropy = F.cross_entropy(position_logits.transpose(1, 2), order, reduction="none")
    return weighted_mean(entropy, valid[:, None].expand_as(entropy).float())


def draw_kept(shape, share, device, generator):
    """Which single feature values stay where a random share of them is set to 0: bool of this shape (B, C, T)."""
    return torch.rand(shape, **drawn_on(device, generator)) >= share


def reconstruction_loss(reconstructed, features, valid):
    """Mean squared error of the features given back. Both (B, C, T); valid: (B, T) bool."""
    return weighted_mean((reconstructed - features).square().mean(1), valid.float())
