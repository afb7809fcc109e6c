"""The pretext stage: random foreground, temporal order and reconstruction. No labels, so on all training videos."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from spot.augment import draw_perturbation, perturbed
from spot.devices import drawn_on, to_device
from spot.losses import mask_loss, weighted_mean
from spot.targets import make_targets


@dataclass(frozen=True)
class PretextTasks:
    """Weights of the three pretext tasks and their sizes; the YAML's `pretext` section says what each means."""

    random_foreground: float
    temporal_order: float
    reconstruction: float
    dropped: float


def pretext_inputs(run, step, total_steps, generator):
    """All that is drawn for a step of the pretext stage, as tensors on the device, and the names of the videos.

    run: engine.Trainer
    """
    tasks, model = run.tasks, run.model
    # Labeled and unlabeled videos as often as there are of each.
    pools = [pool for pool in (run.labeled, run.unlabeled) if pool is not None]
    share = [round(run.batch_size * len(pool) / sum(map(len, pools))) for pool in pools]
    share[0] = max(run.batch_size - sum(share[1:]), 1)
    batches = [run.draw_batch(pool, count, step, generator, stream=2 + number)
               for number, (pool, count) in enumerate(zip(pools, share, strict=True)) if count]
    features, valid = (torch.cat([batch[key] for batch in batches]) for key in ("features", "valid"))
    inputs = {"features": features, "valid": valid}
    batch, _, length = features.shape
    if tasks.random_foreground > 0:
        segments, labels = random_segments(batch, length, generator)
        inputs |= {"segments": to_device(segments, run.device), "labels": to_device(labels, run.device)}
        inputs["drawn"] = draw_perturbation(features.shape, run.device, run.augmentation.noise, 0, 0, 0, generator)
    if tasks.temporal_order > 0:
        inputs["order"] = to_device(draw_order(batch, model.order_head.chunks, generator), run.device)
    if tasks.reconstruction > 0:
        inputs["kept"] = draw_kept(features.shape, tasks.dropped, features.device, generator)
    return inputs, [name for batch in batches for name in batch["names"]]


def pretext_losses(run, inputs):
    """The losses of a step of the pretext stage, {name: weighted loss}, and nothing beside them to log.

    run: engine.Trainer; inputs: of `pretext_inputs`
    """
    model, objective, tasks, losses = run.model, run.objective, run.tasks, {}
    features, valid = inputs["features"], inputs["valid"]  # (B, C, T), (B, T)
    seen = valid.to(features.dtype)

    # Random foreground: everything else is suppressed, and the segments are found again.
    if tasks.random_foreground > 0:
        coverage = make_targets(inputs["segments"], inputs["labels"], 1, features.shape[-1])[0][:, 0]  # (B, T)
        outputs = run.forward(model, perturbed(keep_foreground(features, coverage), inputs["drawn"]), valid)
        targets = objective.targets(inputs["segments"], inputs["labels"], valid)
        losses["random_foreground"] = tasks.random_foreground * objective.random_foreground(outputs, targets, seen)

    # Temporal order: chunks are shuffled, and the original place of each is predicted.
    if tasks.temporal_order > 0:
        shuffled = shuffle_chunks(features, inputs["order"])  # (B, C, T'), T' a multiple of the chunks
        outputs = run.forward(model, shuffled, valid[:, : shuffled.shape[-1]])
        places = model.order_head(outputs["embedding"])  # (B, chunks, chunks)
        losses["temporal_order"] = tasks.temporal_order * order_loss(places, inputs["order"], valid.all(1))

    # Reconstruction: values are dropped, and given back.
    if tasks.reconstruction > 0:
        outputs = run.forward(model, features * inputs["kept"], valid)
        reconstructed = model.reconstruct(outputs["embedding"])  # (B, C, T)
        losses["reconstruction"] = tasks.reconstruction * reconstruction_loss(reconstructed, features, seen)
    return losses, {}


# --- the tasks, pure functions of a batch -----------------------------------------------------------------------------


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
