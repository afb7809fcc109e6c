"""Pseudo labels: a teacher's predictions as targets, without gradient, with the snippets that they cover."""

import itertools
from dataclasses import dataclass

import torch

from spot.losses import class_probabilities, foreground, pooled_class_logits

# Between these foreground probabilities a soft pseudo label covers nothing.
SURE_BACKGROUND, SURE_FOREGROUND = 0.25, 0.6


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
def make_pseudo_labels(outputs, class_logits, valid, montage, activation, class_threshold, mask_threshold, soft=True):
    """Pseudo labels from a teacher's outputs on the weak view, moved to the student's view.

    outputs: the model's dict, which gives the masks; class_logits: (B, K+1, T), which give the classes
    valid: (B, T) bool; montage: augment.Montage that the student sees
    The classes of a snippet are those of its instance: logits pooled under its mask row. It counts where the best of
    them reaches `class_threshold`; its mask row is cut at `mask_threshold`.
    soft: the probabilities are the targets, and snippets that are neither SURE foreground nor background are left out;
    else (published) a snippet is foreground or not, and has its most probable class alone.
    """
    masks = outputs["masks"] * valid[:, None]
    probability = class_probabilities(outputs["class_logits"], activation)
    inside_share = montage.show(foreground(probability) * valid)
    pooled = class_probabilities(pooled_class_logits(class_logits, masks), activation)
    pooled = montage.show(pooled[:, :-1])  # (B, K, T)
    confidence, best = pooled.max(1, keepdim=True)
    inside = inside_share > 0.5
    seen = montage.show(valid.to(masks.dtype)) > 0.5
    confident = confidence[:, 0] >= class_threshold
    if soft:
        class_targets = torch.cat([pooled * inside_share[:, None], 1 - inside_share[:, None]], 1)
        seen = seen & ((inside_share <= SURE_BACKGROUND) | (inside_share >= SURE_FOREGROUND))
    else:
        labels = torch.zeros_like(pooled).scatter(1, best, 1)
        class_targets = torch.cat([labels * inside[:, None], ~inside[:, None]], 1)
    mask_targets = (montage.show_masks(masks) >= mask_threshold) * inside[..., None]
    kept = (confident | ~inside) & seen
    kept_share = (kept & inside).sum() / inside.sum().clamp(min=1)
    return PseudoLabels(class_targets, mask_targets.to(masks.dtype), kept.to(masks.dtype), seen.to(masks.dtype),
                        kept_share)


@torch.no_grad()
def classify_recordings(dataset, classify, num_classes, batch_size):
    """Class logits of every snippet of every recording, (rows, K+1) float16; a row for each snippet, video by video.

    dataset: datasets.SnippetDataset; classify: features (B, C, T), valid (B, T) -> class logits (B, K+1, T)
    Where windows overlap, their logits are averaged; a snippet in the middle of a window, which sees both of its sides,
    weighs most.
    """
    length, count = dataset.num_snippets, int(dataset.bank.offsets[-1])
    place = torch.arange(length, device=dataset.device)
    middle = torch.minimum(place + 1, length - place).float()[:, None]  # (T, 1)
    table = torch.zeros(count, num_classes + 1, dtype=torch.float16, device=dataset.device)
    total = torch.zeros(count, 1, device=dataset.device)
    for indices in torch.arange(len(dataset)).split(batch_size):
        batch = dataset.batch(indices.numpy())
        weight = middle * batch["valid"][..., None]  # (B, T, 1)
        rows = table_rows(batch["first_row"], length, count)
        logits = classify(batch["features"], batch["valid"]).transpose(1, 2)  # (B, T, K+1)
        # As a running mean, float16 keeps its range whatever the number of windows.
        for row, new, add in zip(rows, logits, weight, strict=True):
            before = total[row]
            mixed = (table[row] * before + new * add) / (before + add).clamp(min=1)
            seen = add[:, 0] > 0
            table[row[seen]], total[row[seen]] = mixed[seen].half(), (before + add)[seen]
    return table


def align_recordings(table, dataset, habit, activation):
    """Move the class logits of each recording, in place, so that it follows what labeled recordings have in common.

    table: of `classify_recordings` for `dataset`; habit: class_shares.ClassShares or class_repeats.ClassRepeats
    activation: sigmoid or softmax. Recordings of a length for which the habit does not hold stay as they are.
    """
    for grid, (first, last) in zip(dataset.grids, itertools.pairwise(dataset.bank.offsets), strict=True):
        if habit.holds_for(grid.duration_sec):
            part = table[first:last]
            part.copy_(habit.moved(part.float().cpu(), activation))


def table_rows(first_row, length, count):
    """Rows (B, T) of sequences in a table of `count` snippets; behind its end the last one, which is not valid."""
    return (first_row[:, None] + torch.arange(length, device=first_row.device)).clamp(max=count - 1)


@torch.no_grad()
def agreement(pseudo, class_targets):
    """Diagnostics where the labels of the unlabeled videos are known after all; training never sees them.

    pseudo: PseudoLabels; class_targets: (B, K+1, T) true targets in the same view
    Returns the share of kept foreground snippets whose class is right (precision), and the share of true foreground
    snippets that are kept with a right class (recall); 0 where there are none.
    """
    label = pseudo.class_targets[:, :-1].argmax(1, keepdim=True)
    true = class_targets[:, :-1].gather(1, label)[:, 0] > 0.5
    kept = (pseudo.class_targets[:, -1] < 0.5) & (pseudo.class_weights > 0)
    right = (kept & true).sum()
    inside = class_targets[:, -1] < 0.5
    return {"pseudo_precision": right / kept.sum().clamp(min=1), "pseudo_recall": right / inside.sum().clamp(min=1)}
