"""How a model is optimized: batches, length, learning rate and precision of a training, and its optimizer."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Optimization:
    """The steps of a training; the YAML's `training` section says what each value means.

    steps_per_epoch: auto, None (one pass over the labeled sequences) or a number
    amp: none or bf16, see `devices.choose_precision`; graph: record a step as a CUDA graph where that is possible
    """

    batch_size: int
    unlabeled_ratio: float
    steps_per_epoch: str | int | None
    pretrain_epoch: int
    max_epoch: int
    learning_rate: float
    weight_decay: float
    optimizer: str
    schedule: str
    random_seed: int
    amp: str
    graph: bool


def make_optimizer(model, kind, learning_rate, weight_decay):
    """AdamW without decay on biases and norms, or the published Adam."""
    if kind == "adam":
        return torch.optim.Adam(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    free = [p for p in model.parameters() if p.dim() <= 1]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": weight_decay},
                              {"params": free, "weight_decay": 0.0}], lr=learning_rate, fused=True)
