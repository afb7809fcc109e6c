"""The losses of BMN, as its paper has them, and which proposals its classifier learns from. Pure functions."""

import torch
from torch.nn import functional as F

from spot.bmn_decoding import overlap_of
from spot.distributed import average
from spot.losses import weighted_mean

# tIoU with the best segment: what fits well, what fits badly, and what is right (paper, section 3.4).
GOOD_OVERLAP, BAD_OVERLAP, RIGHT_OVERLAP = 0.7, 0.3, 0.9
# The classifier takes a proposal for the class of a segment from this tIoU on, and for background below the second.
CLASS_OVERLAP, BACKGROUND_OVERLAP = 0.5, 0.3
JITTER = 0.2  # of the duration of a segment: what is classified at inference does not fit exactly either


def weighted_logistic(logits, positive, seen):
    """Weighted binary logistic loss: positives and negatives weigh half of it each, however many there are.

    logits, positive (0 or 1), seen (0 or 1, what counts): one shape
    """
    entropy = F.binary_cross_entropy_with_logits(logits, positive, reduction="none")
    return 0.5 * (weighted_mean(entropy, positive * seen) + weighted_mean(entropy, (1 - positive) * seen))


def overlap_loss(overlap, targets, exists):
    """Regression of the tIoU, on as many proposals that fit badly or so-so as there are that fit well.

    overlap: (B, D, T) in 0..1; targets: (B, D, T) in 0..1; exists: (B, D, T) 0 or 1
    """
    good = (targets > GOOD_OVERLAP) * exists
    bad = (targets <= BAD_OVERLAP) * exists
    fair = exists - good - bad
    wanted = average(good.sum())
    weights = good
    for kind in (fair, bad):
        share = wanted / average(kind.sum()).clamp(min=1)
        weights = weights + kind * (torch.rand_like(overlap) < share)
    return 0.5 * weighted_mean((overlap - targets).square(), weights)


def class_candidates(segments, labels, counts, most=16, background=8):
    """Segments for the classifier to learn from: (B, M, 2) positions, M = `most` + `background`.

    segments: (B, N, 2); labels: (B, N), -1 = none; counts: (B,) valid snippets
    `most` are segments of the sequence, in any order and more than once, moved by up to JITTER at both ends;
    `background` are anywhere, and of any duration.
    """
    exists = (labels >= 0).to(segments.dtype)
    chosen = torch.multinomial(exists + 1e-6, most, replacement=True)  # (B, most); any, where there is none
    near = segments.gather(1, chosen[..., None].expand(-1, -1, 2))
    moves = (2 * torch.rand_like(near) - 1) * JITTER
    near = near + moves * (near[..., 1:] - near[..., :1])
    counts = counts.to(segments.dtype)[:, None]
    size = counts ** torch.rand(len(segments), background, device=segments.device)
    start = (counts - size) * torch.rand_like(size)
    both = torch.cat([near, torch.stack([start, start + size], -1)], 1)
    return torch.minimum(both.clamp(min=0), counts[..., None])


def candidate_targets(candidates, segments, labels, num_classes):
    """What the classifier shall say of candidates (B, M, 2): targets (B, K+1, M) in 0..1 and weights (B, M) 0 or 1.

    Classes of all segments that a candidate overlaps by CLASS_OVERLAP; nothing in between; background at index K.
    """
    overlap = overlap_of(candidates, segments) * (labels >= 0)[:, None]  # (B, M, N)
    fits = (overlap >= CLASS_OVERLAP).to(candidates.dtype)
    targets = candidates.new_zeros(len(candidates), num_classes + 1, candidates.shape[1])
    index = labels.clamp(min=0)[:, :, None].expand(-1, -1, candidates.shape[1])
    targets.scatter_reduce_(1, index, fits.transpose(1, 2), "amax")
    best = overlap.amax(-1)
    targets[:, num_classes] = (best < BACKGROUND_OVERLAP).to(candidates.dtype)
    is_clear = (best >= CLASS_OVERLAP) | (best < BACKGROUND_OVERLAP)
    exists = candidates[..., 1] - candidates[..., 0] > 0
    return targets, (is_clear & exists).to(candidates.dtype)
