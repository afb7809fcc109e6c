"""Weak and strong temporal views. Every view moves features, segments, targets and masks alike.

A view is an affine map of the time axis: position p of the view shows position `start + scale * p` of the input.
"""

from dataclasses import dataclass, field

import torch

from spot.devices import drawn_on


@dataclass(frozen=True)
class Augmentation:
    """How strong the student's view is; the YAML's `augment` section says what each value means.

    change_speed: whether a view may be faster or slower. Where a video of any length has T snippets, speed means
    nothing; elsewhere an action has its own.
    """

    zoom: float
    montage: float
    noise: float
    offset: float
    channel_dropout: float
    snippet_masking: float
    change_speed: bool


@dataclass(frozen=True)
class View:
    """One affine time map per video. start: (B,) snippets; scale: (B,) input snippets per view snippet."""

    start: torch.Tensor
    scale: torch.Tensor
    _neighbors: dict = field(default_factory=dict, repr=False, compare=False)

    def source(self, length):
        """Input positions of the centers of `length` view snippets, (B, T)."""
        center = torch.arange(length, device=self.start.device) + 0.5
        return self.start[:, None] + self.scale[:, None] * center

    def neighbors(self, length):
        """The two input snippets beside the center of each view snippet, and the share of the right one, (B, T) each.

        Computed once: features, masks and pseudo labels go through the same view.
        """
        if length not in self._neighbors:
            position = (self.source(length) - 0.5).clamp(0, length - 1)
            left = position.floor().long().clamp(max=max(length - 2, 0))
            self._neighbors[length] = left, (left + 1).clamp(max=length - 1), position - left
        return self._neighbors[length]


def random_view(counts, max_zoom, generator):
    """Random crop-and-resize: each video shows a part 1 - max_zoom .. 1 of its length, stretched accordingly.

    counts: (B,) valid snippets; max_zoom: 0..1, 0 = the identity; generator: a CPU torch.Generator
    """
    scale = 1 - max_zoom * torch.rand(len(counts), generator=generator)
    start = (1 - scale) * counts * torch.rand(len(counts), generator=generator)
    return View(start, scale)


def resample(x, view, dim=-1):
    """Show `x` through the view along one axis by linear interpolation; ends are repeated.

    x: (B, ..., T, ...), dim: the axis of T
    """
    x = x.movedim(dim, -1)
    length = x.shape[-1]
    left, right, share = view.neighbors(length)
    shape = [x.shape[0]] + [1] * (x.dim() - 2) + [length]
    left, right = (index.view(shape).expand_as(x) for index in (left, right))
    moved = torch.lerp(x.gather(-1, left), x.gather(-1, right), share.to(x.dtype).view(shape))
    return moved.movedim(-1, dim)


def resample_masks(masks, view):
    """Show (B, T, T) masks through the view: rows and columns are both snippets."""
    return resample(resample(masks, view, 1), view, 2)


def move_segments(segments, labels, view, low, high):
    """Segments as the view shows them, cut to low..high (numbers or (B, 1)); labels become -1 where nothing is left.

    segments: (B, N, 2) positions; labels: (B, N), -1 = none
    """
    moved = (segments - view.start[:, None, None]) / view.scale[:, None, None]
    cut = moved.clamp(*(x[..., None] if isinstance(x, torch.Tensor) else x for x in (low, high)))
    # A sliver of a segment at the edge holds no snippet center: it is dropped, not rounded up to a snippet. Exactly
    # half a snippet holds the center where it begins there, not where it ends there, see `targets.segment_coverage`.
    left_over = cut[..., 1] - cut[..., 0]
    is_sliver = (left_over < 0.5) | ((cut[..., 0] - 0.5).ceil() + 0.5 >= cut[..., 1])
    gone = is_sliver & (left_over < 0.99 * (moved[..., 1] - moved[..., 0]))
    return cut, labels.masked_fill(gone, -1)


@dataclass(frozen=True)
class Montage:
    """Each sequence through a view, and from `split` on its partner's through another: short and many instances.

    first, second: View of the sequence and of its partner; partner: (B,) numbers; split: (B,) snippets, T = no partner
    """

    first: View
    second: View
    partner: torch.Tensor
    split: torch.Tensor

    def as_tensor(self):
        """All its numbers as one tensor (6, B), which goes to a GPU in one copy; see `montage_of`."""
        parts = (self.first.start, self.first.scale, self.second.start, self.second.scale, self.split, self.partner)
        return torch.stack([x.float() for x in parts])

    def before(self, length):
        """(B, T) bool: the snippets that show the sequence itself."""
        return torch.arange(length, device=self.split.device) < self.split[:, None]

    def show(self, x, dim=-1):
        """(B, ..., T, ...) as the montage shows it."""
        own = resample(x, self.first, dim)
        other = resample(x[self.partner], self.second, dim)
        shape = [len(x)] + [1] * (x.dim() - 1)
        shape[dim] = x.shape[dim]
        return torch.where(self.before(x.shape[dim]).view(shape), own, other)

    def show_masks(self, masks):
        """(B, T, T) masks: rows and columns are both snippets, and no instance goes across the split."""
        own, other = resample_masks(masks, self.first), resample_masks(masks[self.partner], self.second)
        before = self.before(masks.shape[-1])
        both = before[:, :, None] & before[:, None]
        neither = ~before[:, :, None] & ~before[:, None]
        return own * both + other * neither

    def show_segments(self, segments, labels, length):
        """Segments (B, N, 2) and labels (B, N) -> (B, 2N, 2) and (B, 2N), those of the partner behind the own."""
        split = self.split.to(segments.dtype)[:, None]
        own = move_segments(segments, labels, self.first, torch.zeros_like(split), split)
        other = move_segments(segments[self.partner], labels[self.partner], self.second, split, length + 0 * split)
        return torch.cat([own[0], other[0]], 1), torch.cat([own[1], other[1]], 1)


def montage_of(numbers):
    """The Montage that `as_tensor` gave, (6, B), on its device."""
    start, scale, start_2, scale_2, split, partner = numbers
    return Montage(View(start, scale), View(start_2, scale_2), partner.long(), split)


def random_montage(counts, length, zoom, share, generator, squeeze=True):
    """A random view of each sequence; a `share` of them end in a part of a partner.

    counts: (B,) valid snippets; length: T; zoom: as in `random_view`
    squeeze: where there is a partner, both parts show anything from a crop to the whole sequence squeezed into their
    place; without it always a crop at the native speed
    """
    batch = len(counts)
    own = random_view(counts, zoom, generator)
    partner = torch.randperm(batch, generator=generator)
    paired = torch.rand(batch, generator=generator) < share
    split = torch.where(paired, (length * (0.3 + 0.4 * torch.rand(batch, generator=generator))).round(), length)

    def fit(counts, place):
        """A view whose visible part, `place` snippets, lies within the first `counts` of the input."""
        scale = (counts / place).clamp(min=1) ** (squeeze * torch.rand(batch, generator=generator))
        return scale, (counts - scale * place).clamp(min=0) * torch.rand(batch, generator=generator)

    scale, start = fit(counts, split)
    first = View(torch.where(paired, start, own.start), torch.where(paired, scale, own.scale))
    scale, start = fit(counts[partner], (length - split).clamp(min=1))
    return Montage(first, View(start - split * scale, scale), partner, split)


def perturb(features, noise, offset, channel_dropout, snippet_masking, generator):
    """The strong part of a view: Gaussian noise, whole channels and short runs of snippets set to 0.

    features: (B, C, T), standardized per channel: strengths are in standard deviations
    noise: of each snippet anew; offset: one for the whole sequence, as another camera, person or scene would add, of
    any strength up to this; channel_dropout, snippet_masking: shares in 0..1; generator: draws on a CPU, see `drawn_on`
    """
    return perturbed(features, draw_perturbation(features.shape, features.device, noise, offset, channel_dropout,
                                                 snippet_masking, generator))


def draw_perturbation(shape, device, noise, offset, channel_dropout, snippet_masking, generator):
    """What `perturb` draws for features of this shape (B, C, T): tensors for `perturbed`, none for what is off."""
    batch, channels, length = shape
    where = drawn_on(device, generator)
    drawn = {}
    if noise > 0:
        drawn["noise"] = noise * torch.randn(shape, **where)
    if offset > 0:
        strength = offset * torch.rand(batch, 1, 1, **where)
        drawn["offset"] = strength * torch.randn(batch, channels, 1, **where)
    if channel_dropout > 0:
        kept = torch.rand(batch, channels, 1, **where) >= channel_dropout
        drawn["channels"], drawn["channel_share"] = kept, torch.full((), 1 - channel_dropout, device=device)
    if snippet_masking > 0:
        # Runs of about four snippets: single ones could be filled in from their neighbors.
        run = max(length // 25, 1)
        coarse = torch.rand(batch, 1, -(-length // run), **where) >= snippet_masking
        drawn["snippets"] = coarse.repeat_interleave(run, -1)[..., :length]
    return drawn


def perturbed(features, drawn):
    """Features (B, C, T) under what `draw_perturbation` has drawn."""
    x = features
    for name in ("noise", "offset"):
        if name in drawn:
            x = x + drawn[name]
    if "channels" in drawn:
        x = x * drawn["channels"] / drawn["channel_share"]
    if "snippets" in drawn:
        x = x * drawn["snippets"]
    return x
