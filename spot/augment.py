"""Weak and strong temporal views. Every view moves features, segments, targets and masks alike.

A view is an affine map of the time axis: position p of the view shows position `start + scale * p` of the input.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class View:
    """One affine time map per video. start: (B,) snippets; scale: (B,) input snippets per view snippet."""

    start: torch.Tensor
    scale: torch.Tensor

    def source(self, length):
        """Input positions of the centers of `length` view snippets, (B, T)."""
        center = torch.arange(length, device=self.start.device) + 0.5
        return self.start[:, None] + self.scale[:, None] * center


def random_view(batch, length, max_zoom, generator):
    """Random crop-and-resize: each video shows a part 1 - max_zoom .. 1 of its length, stretched to the whole.

    max_zoom: 0..1, 0 = the identity; generator: a CPU torch.Generator
    """
    scale = 1 - max_zoom * torch.rand(batch, generator=generator)
    start = (1 - scale) * length * torch.rand(batch, generator=generator)
    return View(start, scale)


def resample(x, view, dim=-1):
    """Show `x` through the view along one axis by linear interpolation; ends are repeated.

    x: (B, ..., T, ...), dim: the axis of T
    """
    x = x.movedim(dim, -1)
    length = x.shape[-1]
    position = (view.source(length).to(x.device) - 0.5).clamp(0, length - 1)
    left = position.floor().long().clamp(max=max(length - 2, 0))
    right = (left + 1).clamp(max=length - 1)
    share = (position - left).to(x.dtype)
    shape = [x.shape[0]] + [1] * (x.dim() - 2) + [length]
    left, right = (index.view(shape).expand_as(x) for index in (left, right))
    moved = torch.lerp(x.gather(-1, left), x.gather(-1, right), share.view(shape))
    return moved.movedim(-1, dim)


def resample_masks(masks, view):
    """Show (B, T, T) masks through the view: rows and columns are both snippets."""
    return resample(resample(masks, view, 1), view, 2)


def move_segments(segments, labels, view, length):
    """Segments (B, N, 2) as the view shows them, cut to 0..length; labels become -1 where the center part is gone."""
    start, scale = (x.to(segments.device)[:, None, None] for x in (view.start, view.scale))
    moved = (segments - start) / scale
    cut = moved.clamp(0, length)
    # A sliver of a segment at the edge holds no snippet center: it is dropped, not rounded up to a snippet.
    left_over = cut[..., 1] - cut[..., 0]
    gone = (left_over < 0.5) & (left_over < 0.99 * (moved[..., 1] - moved[..., 0]))
    return cut, labels.masked_fill(gone, -1)


def perturb(features, noise, offset, channel_dropout, snippet_masking, generator):
    """The strong part of a view: Gaussian noise, whole channels and short runs of snippets set to 0.

    features: (B, C, T), standardized per channel, so `noise` (new in each snippet) and `offset` (one for the whole
    sequence, as another camera, person or scene would add) are in standard deviations; both shares in 0..1
    """
    batch, channels, length = features.shape
    device = features.device

    def draw(*shape):
        return torch.rand(*shape, generator=generator).to(device)

    x = features
    if noise > 0:
        x = x + noise * torch.randn(x.shape, generator=generator).to(device)
    if offset > 0:
        x = x + offset * torch.randn(batch, channels, 1, generator=generator).to(device)
    if channel_dropout > 0:
        x = x * (draw(batch, channels, 1) >= channel_dropout) / (1 - channel_dropout)
    if snippet_masking > 0:
        # Runs of about four snippets: single ones could be filled in from their neighbors.
        run = max(length // 25, 1)
        coarse = draw(batch, 1, -(-length // run)) >= snippet_masking
        x = x * coarse.repeat_interleave(run, -1)[..., :length]
    return x
