"""A sliding-window classifier whose windows are merged: the plainest detector, and the floor of every comparison.

The whole detector is this file: model, objective and decoding. It learns from labels alone.
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from spot.class_scores import fuse
from spot.encoders import dropout
from spot.losses import class_loss, class_probabilities
from spot.model import TemporalDetector
from spot.nms import soft_nms_batch
from spot.registry import DETECTORS
from spot.targets import make_targets

WINDOW = 5  # snippets that are classified together
# Snippets over which probabilities are averaged before neighbors are merged: noise would cut a long action into pieces.
SMOOTHED = (1, 9, 25)


class SlidingWindow(TemporalDetector):
    """Classifies each snippet by the mean of the window around it."""

    detector = "sliding"
    fixed_length = None

    def __init__(self, feat_dim, embed_dim, num_classes, class_activation, share):
        super().__init__(feat_dim, num_classes, class_activation)
        self.dropout = share
        self.project = nn.Conv1d(feat_dim, embed_dim, 1)
        self.class_head = nn.Conv1d(embed_dim, num_classes + 1, 1)
        if class_activation == "sigmoid":  # actions are rare: start where they are improbable (Lin et al., focal loss)
            nn.init.constant_(self.class_head.bias[:num_classes], -math.log(99))

    def from_standardized(self, features, valid=None):
        """As `forward`, for features that `standardize` has made. Returns class_logits (B, K+1, T), background last."""
        seen = torch.ones_like(features[:, :1]) if valid is None else valid[:, None].to(features.dtype)

        def mean(x):
            return F.avg_pool1d(x, WINDOW, 1, WINDOW // 2)

        pooled = mean(features * seen) / mean(seen).clamp(min=1 / WINDOW)
        hidden = F.gelu(self.project(dropout(pooled, self.dropout, self.training)))
        return {"class_logits": self.class_head(dropout(hidden, self.dropout, self.training))}


def build_sliding(*, feat_dim, embed_dim, num_classes, class_activation, dropout=0.1, **_):
    """A SlidingWindow with fresh weights, from the YAML's `model` section; what it has no use for is left out."""
    return SlidingWindow(feat_dim, embed_dim, num_classes, class_activation, dropout)


class SlidingObjective:
    """The learning signal: the class of each snippet."""

    names = DETECTORS["sliding"]["losses"]

    def __init__(self, model, weights):
        self.model = model

    def targets(self, segments, labels, valid):
        """Targets of segments (B, N, 2) with labels (B, N), of which -1 is none; valid: (B, T) bool."""
        targets, _ = make_targets(segments, labels, self.model.num_classes, valid.shape[1])
        return {"class": targets, "valid": valid.to(segments.dtype)}

    def losses(self, outputs, targets):
        """The focal loss of the class of each snippet. targets: of `targets`"""
        activation = self.model.class_activation
        return {"class": class_loss(outputs["class_logits"], targets["class"], targets["valid"], activation)}

    def label_free(self, outputs, features, valid, parts):
        """None: it has neither masks nor an embedding."""
        return {}


@torch.no_grad()
def merge_windows(model, outputs, first_snippets, decoding, external=None):
    """Detections of V videos that have W windows each; arguments and result as `proposals.decode_masks`.

    Neighboring snippets whose probability of a class, averaged over one of SMOOTHED, is above a threshold, one of
    `mask_thresh`, are one segment; its score is their mean probability.
    """
    probability = class_probabilities(outputs["class_logits"], model.class_activation)
    if external is not None:
        classes = external.repeat_interleave(len(first_snippets), 0)[..., None]
        probability = torch.cat([fuse(1 - probability[:, -1:], classes, decoding.fusion), probability[:, -1:]], 1)
    found = []
    valid = outputs["valid"].cpu().numpy().reshape(-1, len(first_snippets), outputs["valid"].shape[1])
    probability = probability[:, :-1].cpu().numpy().reshape(*valid.shape[:2], -1, valid.shape[2])
    for windows, seen in zip(probability, valid, strict=True):
        line = joined(windows, seen, first_snippets)  # (K, T')
        runs = [run for width in SMOOTHED for threshold in decoding.mask_thresh
                for run in runs_above(smoothed(line, width), threshold)]
        rows = np.array(runs, float).reshape(-1, 4)
        found.append(distinct(rows, line.shape[0], decoding))
    return found


merge_windows.needs = ("class_logits",)


def joined(windows, valid, first_snippets):
    """Probabilities of windows (W, K, T) as one line (K, T'), the mean where windows overlap; valid: (W, T) bool."""
    length = max(first + int(seen.sum()) for first, seen in zip(first_snippets, valid, strict=True))
    total, count = np.zeros((windows.shape[1], length)), np.zeros(length)
    for window, seen, first in zip(windows, valid, first_snippets, strict=True):
        number = int(seen.sum())
        total[:, first : first + number] += window[:, :number]
        count[first : first + number] += 1
    return total / np.maximum(count, 1)


def smoothed(line, width):
    """A line (K, T'), each value the mean of those up to width // 2 away."""
    reach = width // 2
    total = np.pad(np.cumsum(line, 1), ((0, 0), (1, 0)))
    index = np.arange(line.shape[1])
    first, last = (index - reach).clip(0), (index + reach + 1).clip(max=line.shape[1])
    return (total[:, last] - total[:, first]) / (last - first)


def runs_above(line, threshold):
    """Runs of a line (K, T') above a threshold: a list of (start, end, class, mean)."""
    above = np.pad(line > threshold, ((0, 0), (1, 1)))
    changes = np.argwhere(above[:, 1:] != above[:, :-1]).reshape(-1, 2, 2)  # (runs, start and end, (class, position))
    return [(start, end, label, line[label, start:end].mean()) for (label, start), (_, end) in changes.tolist()]


def distinct(rows, num_classes, decoding):
    """Rows (N, 4) of start, end, class, score after Soft-NMS of each class, best first."""
    if not len(rows):
        return rows
    is_class = np.arange(num_classes)[:, None] == rows[:, 2]  # (K, N)
    used = is_class.any(1)
    scores = (is_class[used] * rows[:, 3])[None]
    kept, groups, scores = soft_nms_batch(rows[None, None, :, :2], scores, decoding.nms_sigma, decoding.min_score,
                                          decoding.max_detections)
    labels = np.flatnonzero(used)[groups]
    found = np.concatenate([kept, labels[..., None], scores[..., None]], 2)[0]
    return found[scores[0] > 0]
