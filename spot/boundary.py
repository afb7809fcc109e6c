"""Boundary refinement: easy and hard snippets, and the contrast between them (published, after CoLA, CVPR 2021)."""

import torch
from kornia.morphology import dilation, erosion
from torch.nn import functional as F

from spot.losses import weighted_mean


def easy_snippets(foreground, valid, count):
    """The most confident foreground and background snippets of the class head.

    foreground: (B, T) in 0..1; valid: (B, T) bool
    Returns two (B, T) bools with up to `count` snippets each, foreground above 0.5 and background below it.
    """
    count = min(count, foreground.shape[1])

    def top(confidence):
        best = confidence.topk(count, 1).indices
        return torch.zeros_like(valid).scatter(1, best, True) & (confidence > 0.5) & valid

    return top(foreground.masked_fill(~valid, 0)), top((1 - foreground).masked_fill(~valid, 0))


def hard_snippets(mask, valid, widths):
    """The snippets just inside and just outside the boundaries of a binary mask.

    mask: (B, T) bool; widths: (narrow, wide) in snippets, how deep the two erosions and dilations reach
    Inside: lost to the wide erosion but not to the narrow one; outside: won by the wide dilation only. With narrow = 0
    they touch the boundary. Returns two (B, T) bools.
    """
    def moved(operator, binary, width):
        if width == 0:
            return binary
        plane = binary.float()[:, None, None]  # (B, 1, 1, T): kornia's morphology works on images
        return operator(plane, torch.ones(1, 2 * width + 1, device=mask.device))[:, 0, 0] > 0.5

    narrow, wide = widths
    # Neither the sequence's own ends (kornia's borders) nor the padding behind a short one is a boundary.
    filled, bare = mask | ~valid, mask & valid
    inside = moved(erosion, filled, narrow) & ~moved(erosion, filled, wide)
    outside = moved(dilation, bare, wide) & ~moved(dilation, bare, narrow)
    return inside & valid, outside & valid


def contrast(embedding, query, positive, negative, temperature=0.07, keys=None):
    """InfoNCE: each query snippet is pulled to the mean positive and pushed from the negatives of its own video.

    embedding: (B, D, T), snippets are its columns; query, positive, negative: (B, T) bool
    keys: (B, D, T), where positives and negatives are columns of; None: of the embedding too
    Mean over the query snippets of the videos that have all three kinds; 0 where there are none.
    """
    snippets = F.normalize(embedding, dim=1)
    keys = snippets if keys is None else F.normalize(keys, dim=1)
    weight = positive.float() / positive.sum(1, keepdim=True).clamp(min=1)
    anchor = F.normalize((keys * weight[:, None]).sum(2), dim=1)  # (B, D)
    near = torch.einsum("bdt,bd->bt", snippets, anchor) / temperature
    far = snippets.transpose(1, 2) @ keys / temperature  # (B, T, T): query, negative
    far = far.masked_fill(~negative[:, None], float("-inf")).logsumexp(2)
    usable = query & positive.any(1, keepdim=True) & negative.any(1, keepdim=True)
    far = torch.where(usable, far, 0)
    return weighted_mean(F.softplus(far - near), usable.float())


def mine_snippets(foreground, masks, valid, easy_count=10, widths=(0, 4)):
    """The four kinds of snippets that the contrast is between.

    foreground: (B, T) of the class head; masks: (B, T, T) in 0..1; valid: (B, T) bool
    Returns {"easy foreground", "hard foreground", "hard background", "easy background"}, each (B, T) bool: the easy
    ones by the class head, the hard ones by the boundaries of each snippet's own mask value.
    """
    easy_foreground, easy_background = easy_snippets(foreground, valid, easy_count)
    mask = (masks.diagonal(dim1=1, dim2=2) > 0.5) & valid
    hard_foreground, hard_background = hard_snippets(mask, valid, widths)
    return {"easy foreground": easy_foreground, "hard foreground": hard_foreground,
            "hard background": hard_background, "easy background": easy_background}


def boundary_loss(embedding, foreground, masks, valid, easy_count=10, widths=(0, 4), temperature=0.07, keys=None):
    """Pull hard foreground to easy foreground and hard background to easy background, push across.

    embedding, keys: as `contrast` takes them, hard snippets of the one and easy ones of the other; the others as
    `mine_snippets` takes them
    """
    mined = mine_snippets(foreground.detach(), masks.detach(), valid, easy_count, widths)
    easy_foreground, easy_background = mined["easy foreground"], mined["easy background"]
    return (contrast(embedding, mined["hard foreground"], easy_foreground, easy_background, temperature, keys)
            + contrast(embedding, mined["hard background"], easy_background, easy_foreground, temperature, keys))
