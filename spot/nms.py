"""Gaussian Soft-NMS (Bodla et al., ICCV 2017) on real tIoU, one segment set or many at once."""

import numpy as np
import torch


def soft_nms_batch(segments, scores, sigma, min_score, max_detections):
    """Gaussian Soft-NMS of many independent groups at once: take the best, multiply the rest by exp(-tIoU^2 / sigma).

    segments: (G, N, 2) start and end, any unit; scores: (G, N) >= 0, 0 where there is no segment; torch tensors
    sigma: > 0, width of the Gaussian; min_score: a segment is dropped once its score falls below it
    Returns kept segments (G, M, 2) and scores (G, M), M <= max_detections, each group in descending score; 0 = nothing.
    """
    groups, count = scores.shape
    steps = min(max_detections, count)
    kept_segments = segments.new_zeros(groups, steps, 2)
    kept_scores = scores.new_zeros(groups, steps)
    scores = torch.where(scores >= max(min_score, 1e-12), scores, 0)
    start, end = segments.unbind(-1)
    length = (end - start).clamp(min=0)
    alive = torch.arange(groups, device=scores.device)  # groups that still hold a segment; the work shrinks with them
    for step in range(steps):
        best_score, best = scores.max(1)
        if not step % 4 or step == steps - 1:
            live = (best_score > 0).nonzero(as_tuple=True)[0]
            if live.numel() == 0:
                break
            if live.numel() < len(alive):
                alive, scores, start, end, length = (x[live] for x in (alive, scores, start, end, length))
                best_score, best = best_score[live], best[live]
        row = best[:, None]
        best_start, best_end = start.gather(1, row), end.gather(1, row)
        kept_segments[alive, step] = torch.cat([best_start, best_end], 1)
        kept_scores[alive, step] = best_score
        intersection = (torch.minimum(end, best_end) - torch.maximum(start, best_start)).clamp(min=0)
        union = length + length.gather(1, row) - intersection
        overlap = intersection / union.clamp(min=1e-12)
        scores = scores * torch.exp(-(overlap**2) / sigma)
        scores = torch.where(scores >= max(min_score, 1e-12), scores, 0).scatter(1, row, 0)
    return kept_segments, kept_scores


def soft_nms(segments, scores, sigma, min_score, max_detections):
    """Gaussian Soft-NMS of one set of segments; scores only ever fall.

    segments: (N, 2); scores: (N,) in 0..1; arrays or tensors
    Returns segments (M, 2) and scores (M,), numpy float64, descending score, M <= max_detections.
    """
    segments = torch.as_tensor(np.asarray(segments, float)).reshape(1, -1, 2)
    scores = torch.as_tensor(np.asarray(scores, float)).reshape(1, -1)
    if scores.shape[1] == 0:
        return np.zeros((0, 2)), np.zeros(0)
    segments, scores = soft_nms_batch(segments, scores, sigma, min_score, max_detections)
    keep = scores[0] > 0
    return segments[0, keep].numpy(), scores[0, keep].numpy()
