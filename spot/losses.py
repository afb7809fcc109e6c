"""The supervised losses: pure functions with names. Weights meet them in the engine."""

import torch
from torch.nn import functional as F

from spot.distributed import average, world_size


def foreground(class_probabilities):
    """(B, K+1, T) -> foreground probability (B, T): 1 - p(background)."""
    return 1 - class_probabilities[:, -1]


def class_probabilities(class_logits, activation):
    """class_logits (B, K+1, T) -> probabilities (B, K+1, T), per class (sigmoid) or over the classes (softmax)."""
    return class_logits.sigmoid() if activation == "sigmoid" else class_logits.softmax(1)


def weighted_mean(values, weights):
    """Mean of `values` under `weights` of the same shape; 0 where all weights are 0.

    The weights, which carry no gradient, are those of all processes, see `distributed.average`.
    """
    return (values * weights).sum() / average(weights.sum()).clamp(min=1e-6)


def class_loss(class_logits, targets, weights, activation="sigmoid", gamma=2.0):
    """Focal loss of the class head, soft targets allowed.

    class_logits: (B, K+1, T); targets: (B, K+1, T) in 0..1; weights: (B, T) >= 0, 0 = snippet not used
    sigmoid: binary cross entropy per class x |p - y|^gamma (quality focal loss, Li et al., NeurIPS 2020), summed over
    classes; softmax: focal cross entropy (Lin et al., ICCV 2017). Mean over snippets.
    """
    if activation == "sigmoid":
        entropy = F.binary_cross_entropy_with_logits(class_logits, targets, reduction="none")
        focus = (class_logits.sigmoid() - targets).abs().pow(gamma)
        return weighted_mean((entropy * focus).sum(1), weights)
    log_probability = class_logits.log_softmax(1)
    share = targets / targets.sum(1, keepdim=True).clamp(min=1e-6)
    focus = (1 - log_probability.exp()).pow(gamma)
    return weighted_mean(-(share * focus * log_probability).sum(1), weights)


def mask_loss(mask_logits, targets, row_weights, column_weights=None, dice_weight=0.6):
    """Mask head loss: balanced binary cross entropy plus Dice per row.

    mask_logits: (B, T, T); targets: (B, T, T) in 0..1; row_weights: (B, T) >= 0; column_weights: (B, T) or None
    Dice has squared denominators and smooth 1 (as published), only on rows that have a foreground.
    """
    seen = torch.ones_like(mask_logits) if column_weights is None else column_weights[:, None].expand_as(mask_logits)
    entropy = F.binary_cross_entropy_with_logits(mask_logits, targets, reduction="none")
    # Both kinds of snippets weigh the same over the batch; 10 keeps the ratio finite without foreground.
    row = row_weights[..., None] * seen
    few = 10 / world_size()
    positive, total = average((row * targets).sum()) + few, average(row.sum()) + 2 * few
    balance = targets * (total / positive) + (1 - targets) * (total / (total - positive))
    bce = (entropy * balance * row).sum() / (2 * total)
    masks = mask_logits.sigmoid() * seen
    overlap = 2 * (masks * targets).sum(-1) + 1
    dice = 1 - overlap / (masks.square().sum(-1) + (targets * seen).square().sum(-1) + 1)
    has_foreground = (targets.amax(-1) > 0.5) * row_weights
    return (1 - dice_weight) * bce + dice_weight * weighted_mean(dice, has_foreground)


def pooled_class_logits(class_logits, masks):
    """Class evidence of the instance that each snippet is in: class logits averaged under its mask row.

    class_logits: (B, K+1, T); masks: (B, T, T) -> (B, K+1, T)
    """
    share = masks / masks.sum(-1, keepdim=True).clamp(min=torch.finfo(masks.dtype).tiny)
    return class_logits @ share.transpose(1, 2)
