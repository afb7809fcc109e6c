"""What a teacher says about unlabeled videos, as targets: data without gradient, with the snippets that they cover."""

from dataclasses import dataclass

import torch

from spot.augment import resample, resample_masks
from spot.losses import class_probabilities, pooled_class_logits


@dataclass(frozen=True)
class PseudoLabels:
    """Targets of B unlabeled sequences.

    class_targets: (B, K+1, T) in 0..1; mask_targets: (B, T, T) in 0..1; class_weights, row_weights: (B, T) 0 or 1, the
    snippets whose class and the rows whose mask are used; kept_share: share of foreground snippets with a class
    """

    class_targets: torch.Tensor
    mask_targets: torch.Tensor
    class_weights: torch.Tensor
    row_weights: torch.Tensor
    kept_share: torch.Tensor


@torch.no_grad()
def make_pseudo_labels(outputs, valid, view, activation, class_threshold, mask_threshold):
    """Pseudo labels from a teacher's outputs on the weak view, moved to the student's view.

    outputs: the model's dict; valid: (B, T) bool; view: augment.View that the student sees
    A snippet is foreground where the class head says so; its class is that of its instance (logits pooled under its
    mask row) and counts where its probability reaches `class_threshold`; its mask row is cut at `mask_threshold`.
    """
    masks = outputs["masks"] * valid[:, None]
    probability = class_probabilities(outputs["class_logits"], activation)
    foreground = resample((1 - probability[:, -1:]) * valid[:, None], view)[:, 0]
    pooled = class_probabilities(pooled_class_logits(outputs["class_logits"], masks), activation)[:, :-1]
    confidence, label = resample(pooled, view).max(1)  # (B, T)
    inside = foreground > 0.5
    sure = inside & (confidence >= class_threshold)

    batch, classes, length = pooled.shape
    class_targets = pooled.new_zeros(batch, classes + 1, length)
    share = foreground * inside
    class_targets.scatter_(1, label[:, None], share[:, None])
    class_targets[:, classes] = 1 - share
    mask_targets = (resample_masks(masks, view) >= mask_threshold) * inside[..., None]
    seen = resample(valid[:, None].to(masks.dtype), view)[:, 0] > 0.5
    kept_share = sure.sum() / inside.sum().clamp(min=1)
    return PseudoLabels(class_targets, mask_targets.to(masks.dtype), ((sure | ~inside) & seen).to(masks.dtype),
                        seen.to(masks.dtype), kept_share)
