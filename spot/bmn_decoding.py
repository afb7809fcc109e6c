"""The maps of BMN -> scored proposals -> detections. Vectorized over proposals, classes and videos."""

import numpy as np
import torch

from spot.class_scores import fuse
from spot.losses import class_probabilities
from spot.nms import soft_nms_batch
from spot.proposal_map import existing_proposals, proposal_edges


def peaks(probability):
    """Where a boundary may be: local maxima, and whatever is above half of the maximum. (..., T) -> bool (..., T)."""
    padded = torch.nn.functional.pad(probability, (1, 1), value=-1)
    local = (probability >= padded[..., :-2]) & (probability >= padded[..., 2:])
    return local | (probability > 0.5 * probability.amax(-1, keepdim=True))


def proposal_scores(outputs, valid):
    """Score (B, D, T) in 0..1 of every proposal, start x end x decision x tIoU; 0 where it does not exist, or where no
    peak of the boundary probabilities is at its start or its end. The ends of a sequence may always be boundaries.

    outputs: the dict of `Bmn`; valid: (B, T) bool
    """
    maps = outputs["map_logits"].sigmoid().prod(1)
    durations = maps.shape[1]
    exists = existing_proposals(valid, durations)
    start, end = ((outputs[key].sigmoid() * valid) for key in ("start_logits", "end_logits"))
    pad = torch.nn.functional.pad
    is_first, is_last = valid & ~pad(valid, (1, 0))[:, :-1], valid & ~pad(valid, (0, 1))[:, 1:]
    may_start, may_end = (peaks(start) & valid) | is_first, (peaks(end) & valid) | is_last

    def at_end(x):
        """x (B, T) at the last snippet of each proposal, (B, D, T)."""
        return pad(x, (0, durations - 1)).unfold(1, durations, 1).transpose(1, 2)

    return start[:, None] * at_end(end) * maps * (exists & may_start[:, None] & at_end(may_end))


def best_proposals(scores, count):
    """The `count` best proposals of each sequence: segments (B, M, 2) positions and their scores (B, M), best first.

    scores: (B, D, T)
    """
    start, end = proposal_edges(*scores.shape[1:], scores.device)
    best, place = scores.flatten(1).topk(min(count, scores[0].numel()), dim=1)
    return torch.stack([start.flatten()[place], end.flatten()[place]], -1), best


def classes_of(model, outputs, segments):
    """Class probabilities (B, K+1, M) of segments (B, M, 2), background at index K."""
    return class_probabilities(model.classifier(outputs["snippets"], segments), model.class_activation)


@torch.no_grad()
def distinct_proposals(scores, candidates, count, most_overlap=0.5):
    """The best proposals that do not overlap by more than `most_overlap`: segments (B, M, 2) and scores (B, M).

    scores: (B, D, T); candidates: how many of the best are looked at; count: M. The scores of what is missing are 0.
    """
    segments, scores = best_proposals(scores, candidates)
    found, found_scores = [], []
    for _ in range(count):
        score, place = scores.max(1, keepdim=True)  # (B, 1)
        one = segments.gather(1, place[..., None].expand(-1, -1, 2))  # (B, 1, 2)
        found.append(one), found_scores.append(score)
        scores = scores * (overlap_of(segments, one)[..., 0] <= most_overlap)
    return torch.cat(found, 1), torch.cat(found_scores, 1)


def overlap_of(segments, others):
    """tIoU (B, M, N) of segments (B, M, 2) with others (B, N, 2)."""
    start, end = segments[..., None, 0], segments[..., None, 1]
    low, high = others[:, None, :, 0], others[:, None, :, 1]
    inside = (torch.minimum(end, high) - torch.maximum(start, low)).clamp(min=0)
    return inside / (end - start + high - low - inside).clamp(min=1e-6)


@torch.no_grad()
def decode_maps(model, outputs, first_snippets, decoding, external=None):
    """Detections of V videos that have W windows each; arguments and result as `proposals.decode_masks`.

    Of a sequence the `top_k` best proposals are classified; a score is proposal score ^ mask_power x class probability
    ^ class_power. A proposal at an inner edge of a window is cut off there: the neighbor, which overlaps by half, holds
    it whole if it is no longer than half a window, so it is left out here.
    """
    valid, windows = outputs["valid"], len(first_snippets)
    length = valid.shape[1]
    videos = len(valid) // windows
    segments, score = best_proposals(proposal_scores(outputs, valid), decoding.top_k)
    probability = classes_of(model, outputs, segments)  # (V * W, K+1, M)
    if external is None:
        evidence = probability[:, :-1]
    else:
        evidence = fuse(1 - probability[:, -1:], external.repeat_interleave(windows, 0)[..., None], decoding.fusion)
    first = torch.as_tensor(first_snippets, device=valid.device).repeat(videos)[:, None]
    start, end = segments.unbind(-1)
    is_cut = ((start < 0.5) & (first > 0)) | ((end > length - 0.5) & (first < first_snippets[-1]))
    score = score**decoding.mask_power * (score > 0) * ~(is_cut & (end - start <= length / 2))
    scores = evidence**decoding.class_power * score[:, None]
    segments = segments + first[..., None]

    def of_video(x):
        """(V * W, ..., M) -> (V, ..., W * M) numpy."""
        x = x.reshape(videos, windows, *x.shape[1:]).movedim(1, -2)
        return x.flatten(-2).cpu().numpy()

    segments = np.stack([of_video(segments[..., side]) for side in (0, 1)], -1)[:, None]  # (V, 1, W * M, 2)
    kept, labels, scores = soft_nms_batch(segments, of_video(scores), decoding.nms_sigma, decoding.min_score,
                                          decoding.max_detections)
    rows = np.concatenate([kept, labels[..., None], scores[..., None]], 2, dtype=np.float64)
    return [row[:number] for row, number in zip(rows, (scores > 0).sum(1), strict=True)]


decode_maps.needs = ("start_logits", "end_logits", "map_logits", "snippets")
