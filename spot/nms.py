"""Gaussian Soft-NMS (Bodla et al., ICCV 2017) on real tIoU: one set of segments, or many videos at once. Pure numpy."""

import numpy as np

# A score below it counts as 0, whatever `min_score` says.
SMALLEST_SCORE = 1e-12


def soft_nms_batch(segments, scores, sigma, min_score, max_detections):
    """Gaussian Soft-NMS of many videos at once: take the best, multiply the rest of its class by exp(-tIoU^2 / sigma).

    Each step takes the best segment of all classes of a video, until there are `max_detections`. As scores only ever
    fall, these are the ones that Soft-NMS of every class to its end, and then a sort, would give.
    segments: (V, G, N, 2) start and end, any unit, or (V, 1, N, 2) where the G classes of a video share them;
    scores: (V, G, N) >= 0, 0 where there is no segment; numpy arrays
    sigma: > 0, width of the Gaussian; min_score: a segment is dropped once its score falls below it
    Returns kept segments (V, M, 2), their class (V, M) in 0..G and scores (V, M), M <= max_detections, descending
    scores; 0 = nothing.
    """
    videos, groups, count = scores.shape
    steps = min(max_detections, groups * count)
    kept, kept_group = np.zeros((videos, steps, 2), segments.dtype), np.zeros((videos, steps), int)
    kept_scores = np.zeros((videos, steps), scores.dtype)
    if not kept_scores.size:
        return kept, kept_group, kept_scores
    shared = segments.shape[1] == 1
    start, end = (np.ascontiguousarray(x).reshape(-1, count) for x in (segments[..., 0], segments[..., 1]))
    length = np.maximum(end - start, 0)
    best = scores.max(-1)  # (V, G)
    scores = scores.reshape(-1, count).copy()
    video = np.arange(videos)  # those that still have a segment; the work shrinks with them
    for step in range(steps):
        group = best.argmax(1)
        best_score = best[np.arange(len(video)), group]
        left = best_score >= max(min_score, SMALLEST_SCORE)
        if not left.all():
            video, best, group, best_score = (x[left] for x in (video, best, group, best_score))
            if not len(video):
                break
        row = video * groups + group
        where = video if shared else row
        class_scores = scores.take(row, 0)  # (V, N)
        place = class_scores.argmax(1)
        # take() without an axis counts through the flat array.
        best_start, best_end, best_length = (x.take(where * count + place) for x in (start, end, length))
        kept[video, step, 0], kept[video, step, 1] = best_start, best_end
        kept_group[video, step], kept_scores[video, step] = group, best_score
        # In place, because making an array of this size takes longer than filling it.
        overlap = np.minimum(end.take(where, 0), best_end[:, None])
        overlap -= np.maximum(start.take(where, 0), best_start[:, None])
        np.maximum(overlap, 0, out=overlap)
        union = length.take(where, 0)
        union += best_length[:, None]
        union -= overlap
        overlap /= np.maximum(union, 1e-12, out=union)
        overlap *= overlap
        overlap *= -1 / sigma
        class_scores *= np.exp(overlap, out=overlap)
        class_scores[np.arange(len(video)), place] = 0
        scores[row] = class_scores
        best[np.arange(len(video)), group] = class_scores.max(1)
    return kept, kept_group, kept_scores


def soft_nms(segments, scores, sigma, min_score, max_detections):
    """Gaussian Soft-NMS of one set of segments; scores only ever fall.

    segments: (N, 2); scores: (N,) in 0..1; arrays or tensors
    Returns segments (M, 2) and scores (M,), numpy float64, descending score, M <= max_detections.
    """
    segments = np.asarray(segments, float).reshape(1, 1, -1, 2)
    scores = np.asarray(scores, float).reshape(1, 1, -1)
    segments, _, scores = soft_nms_batch(segments, scores, sigma, min_score, max_detections)
    keep = scores[0] > 0
    return segments[0, keep], scores[0, keep]
