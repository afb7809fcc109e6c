"""Model outputs -> scored proposals -> detections. Vectorized over snippets, thresholds, classes and videos."""

from dataclasses import dataclass

import numpy as np
import torch

from spot.class_scores import fuse
from spot.losses import class_probabilities, pooled_class_logits
from spot.nms import soft_nms_batch
from spot.targets import segment_coverage


@dataclass(frozen=True)
class Decoding:
    """How outputs become detections; the YAML's `testing` section says what each value means."""

    mask_thresh: tuple[float, ...] = (0.2, 0.35, 0.5, 0.65, 0.8)
    top_k: int = 256
    nms_sigma: float = 0.4
    min_score: float = 0.001
    max_detections: int = 200
    class_power: float = 1.0
    mask_power: float = 0.5
    video_power: float = 0.0
    fusion: str = "product"


def mask_runs(masks, thresholds, counts=None):
    """The run of snippets above each threshold that contains snippet i, for every row i: it never bridges instances.

    masks: (B, T, T) in 0..1; thresholds: R numbers; counts: (B,) snippets of a sequence that is shorter than T, or None
    Returns starts and ends (B, T, R), positions where the mask crosses the threshold, interpolated between snippet
    centers; and quality (B, T, R) in 0..1: the tIoU that the run is expected to have if the mask row holds true
    probabilities, sum(inside) / (length + sum(outside)); 0 where snippet i itself is below the threshold.
    """
    length = masks.shape[-1]
    index = torch.arange(length, device=masks.device)
    last = torch.full((len(masks), 1), length, device=masks.device) if counts is None else counts[:, None]
    exists = (index < last).to(masks.dtype)[:, None]  # (B, 1, T)
    masks = masks * exists
    before, after = _neighbors_below(masks - (1 - exists), thresholds)  # -1 is below every threshold
    last = last[..., None]
    levels = masks.new_tensor(thresholds)  # once: a copy for which a GPU is waited
    starts = torch.where(before < 0, 0, _crossing(masks, before, before + 1, levels))
    ends = torch.where(after >= last, last, _crossing(masks, after, after - 1, levels))
    total = masks.cumsum(-1)
    inside = _at(total, after - 1) - _at(total, before) * (before >= 0)
    outside = total[..., -1:] - inside
    # A snippet that is below the threshold is both of its own neighbors.
    quality = inside / ((after - before - 1).clamp(min=1) + outside) * (before < after)
    return starts, ends, quality


def _neighbors_below(masks, thresholds):
    """The last snippet up to i and the first from i on that are below the threshold, (B, T, R): -1 and T for none."""
    length = masks.shape[-1]
    index = torch.arange(length, device=masks.device)
    # Numbers that grow towards snippet i: the largest is the nearest. On a CPU, products and maxima of floats take
    # a tenth of the time of torch.where, cummax or a comparison that returns bool.
    until = ((index + 1) * (index <= index[:, None])).to(masks.dtype)
    beyond = ((length - index) * (index >= index[:, None])).to(masks.dtype)
    below, numbers = torch.empty_like(masks), torch.empty_like(masks)
    before, after = [], []
    for threshold in thresholds:
        torch.lt(masks, threshold, out=below)
        before.append(torch.mul(below, until, out=numbers).amax(-1) - 1)
        after.append(length - torch.mul(below, beyond, out=numbers).amax(-1))
    return torch.stack(before, -1).long(), torch.stack(after, -1).long()


def _at(rows, index):
    """rows (B, T, M), index (B, T, R) -> (B, T, R)."""
    return rows.gather(-1, index.clamp(0, rows.shape[-1] - 1))


def _crossing(masks, outside, inside, levels):
    """Position between the centers of neighbors `outside` (below) and `inside` (above), (B, T, R) snippet numbers.

    levels: (R,) thresholds
    """
    low, high = _at(masks, outside), _at(masks, inside)
    share = ((levels - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return outside + 0.5 + share * (inside - outside)


def join_windows(starts, ends, first_snippets, num_snippets):
    """Proposals of overlapping windows, in positions of the video; one cut by an inner edge goes on in its neighbor.

    starts, ends: (W, T, R) positions in each window; first_snippets: W ints
    A run that reaches the edge between two windows takes the boundary that the neighbor sees from a snippet which lies
    in the run and in both windows, near the middle of their overlap, and so on from window to window: a segment may
    span any number of them. Windows without a common snippet (T = 1) do not show this, so their runs stay as they are.
    """
    first = torch.as_tensor(first_snippets, device=starts.device)
    starts, ends = starts + first[:, None, None], ends + first[:, None, None]
    # The middle of the overlap of window w and w + 1, as a snippet of the video.
    middle = (first[:-1] + num_snippets + first[1:]) // 2
    overlap = (first[1:] < first[:-1] + num_snippets).tolist()  # of window w and w + 1
    for w in (w for w in range(len(first) - 2, -1, -1) if overlap[w]):
        cut = ends[w] >= first[w] + num_snippets - 0.5
        place = torch.maximum((starts[w] - 0.5).ceil().long(), middle[w]).clamp(max=first[w] + num_snippets - 1)
        ends[w] = torch.where(cut, torch.maximum(ends[w], ends[w + 1].gather(0, place - first[w + 1])), ends[w])
    for w in (w for w in range(1, len(first)) if overlap[w - 1]):
        cut = starts[w] <= first[w] + 0.5
        place = torch.minimum((ends[w] - 0.5).ceil().long() - 1, middle[w - 1]).clamp(min=first[w])
        starts[w] = torch.where(cut, torch.minimum(starts[w], starts[w - 1].gather(0, place - first[w - 1])), starts[w])
    return starts, ends


def decode_masks(model, outputs, first_snippets, decoding, external=None):
    """The detections of a SPOT, see `detections_of`. model: says how class logits become probabilities"""
    return detections_of(outputs, first_snippets, model.class_activation, decoding, external)


decode_masks.needs = ("class_logits", "masks")


def classify_segments(model, outputs, segments):
    """Class probabilities (B, K+1, M) of given segments (B, M, 2) positions: logits pooled as under a mask row."""
    labels = torch.zeros(segments.shape[:2], dtype=torch.long, device=segments.device)
    coverage, _ = segment_coverage(segments, labels, outputs["class_logits"].shape[-1])
    return class_probabilities(pooled_class_logits(outputs["class_logits"], coverage), model.class_activation)


def class_evidence(outputs, activation):
    """Probability (B, K+1, T) of each class in the instance that a snippet is in: logits pooled under its mask row."""
    return class_probabilities(pooled_class_logits(outputs["class_logits"], outputs["masks"]), activation)


def video_evidence(evidence):
    """Video-level class probability (V, K): the strongest instance evidence. evidence: (V, K, M) over M snippets."""
    return evidence.amax(-1)


def detections_of(outputs, first_snippets, activation, decoding, external=None):
    """Detections of V videos that have W windows each.

    outputs: the model's dict for V * W sequences, the windows of a video side by side, with "valid" (V * W, T) bool
    first_snippets: W ints; activation: sigmoid or softmax
    external: None, or (V, K) class probabilities of a video classifier: it then says what, the foreground only where
    Returns a list of V arrays (N, 4): start, end (positions on the grid), class index, score; descending score.
    """
    valid = outputs["valid"]
    outputs = {**outputs, "masks": outputs["masks"] * valid[:, None]}
    sequences, length = valid.shape
    windows = len(first_snippets)
    videos, ranks = sequences // windows, len(decoding.mask_thresh)
    starts, ends, quality = mask_runs(outputs["masks"], decoding.mask_thresh, valid.sum(1))
    if windows > 1:
        joined = [join_windows(starts[first : first + windows], ends[first : first + windows], first_snippets, length)
                  for first in range(0, sequences, windows)]
        starts, ends = (torch.cat(parts) for parts in zip(*joined, strict=True))
    evidence = class_evidence(outputs, activation) * valid[:, None]
    evidence, background = evidence[:, :-1], evidence[:, -1:]
    if external is not None:
        evidence = fuse((1 - background) * valid[:, None], external.repeat_interleave(windows, 0)[..., None],
                        decoding.fusion)
    classes = evidence.shape[1]
    evidence = evidence.view(videos, windows, classes, length).transpose(1, 2).flatten(2)  # (V, K, W * T)
    video_score = video_evidence(evidence)[..., None]
    snippet_score = evidence**decoding.class_power * video_score**decoding.video_power
    quality = quality**decoding.mask_power * (quality > 0)
    # From here on there are few numbers and many small steps, for which a GPU is no use.
    snippet_score, starts, ends, quality = (x.cpu().numpy() for x in (snippet_score, starts, ends, quality))
    segments = np.stack([starts, ends], -1).reshape(videos, windows * length, ranks, 2)
    return _best(snippet_score, segments, quality.reshape(segments.shape[:3]), decoding, decoding.top_k * windows)


def _best(snippet_score, segments, quality, decoding, top):
    """The best detections of each video, as `detections_of` gives them. Pure numpy.

    snippet_score: (V, K, M) of M snippets; segments: (V, M, R, 2) and quality: (V, M, R) of the proposals that each
    snippet makes; top: snippets per class that may propose
    """
    # Classes that can reach min_score, best first; as many as the video with the most of them has: (V, G).
    reach = (snippet_score * quality.max(-1)[:, None]).max(-1)
    most = int((reach >= decoding.min_score).sum(1).max())
    labels = np.argsort(-reach, 1, kind="stable")[:, :most]
    scores = _rows_of(snippet_score, labels)
    if top < scores.shape[2]:
        place = np.argpartition(scores, -top)[..., -top:]
        scores = np.take_along_axis(scores, place, -1)  # (V, G, top)
        segments, quality = _rows_of(segments, place), _rows_of(quality, place)
    else:  # all classes share the segments
        segments, quality = segments[:, None], quality[:, None]
    scores = scores[..., None] * quality
    count = scores.shape[2] * scores.shape[3]
    kept, groups, scores = soft_nms_batch(
        segments.reshape(len(segments), segments.shape[1], count, 2), scores.reshape(*labels.shape, count),
        decoding.nms_sigma, decoding.min_score, decoding.max_detections)
    labels = np.take_along_axis(labels, groups, 1)
    rows = np.concatenate([kept, labels[..., None], scores[..., None]], 2, dtype=np.float64)
    return [row[:number] for row, number in zip(rows, (scores > 0).sum(1), strict=True)]


def _rows_of(x, index):
    """x (V, M, ...), index (V, ...) numbers of each video's M rows -> these rows, (V, ..., ...)."""
    first = (np.arange(len(x)) * x.shape[1]).reshape(-1, *[1] * (index.ndim - 1))
    return x.reshape(-1, *x.shape[2:]).take(first + index, 0)
