"""The boundary-matching map of BMN: one cell for every proposal, by its start and its duration. Pure functions.

Cell (d, t) of a map (D, T) is the proposal of the snippets t .. t + d, from position t to position t + d + 1. Those
that end behind the sequence do not exist.
"""

from functools import lru_cache

import torch
from torch.nn import functional as F

# A GPU would wait for the answer whether a segment is left, so it computes the empty ones too.
STOPS_EARLY = ("cpu",)


def proposal_edges(durations, length, device="cpu"):
    """Start and end positions of all proposals, (D, T) each. durations: D; length: T."""
    duration = torch.arange(1, durations + 1, device=device)[:, None]
    start = torch.arange(length, device=device)[None].expand(durations, length)
    return start.float(), (start + duration).float()


def existing_proposals(valid, durations):
    """Which proposals begin and end within the sequence: (B, T) bool -> (B, D, T) bool."""
    ends = F.pad(valid, (0, durations - 1)).unfold(1, durations, 1)  # (B, T, D): snippet t + d
    return ends.transpose(1, 2) & valid[:, None]


def flip_map(x):
    """A map (..., D, T) of a sequence, as it is for the sequence turned around in time; what does not exist is 0."""
    durations, length = x.shape[-2:]
    place = length - 1 - torch.arange(durations, device=x.device)[:, None] - torch.arange(length, device=x.device)
    exists = place >= 0
    return x.gather(-1, place.clamp(min=0).expand(x.shape)) * exists


@lru_cache(maxsize=8)
def sampling(durations, length, samples, stride, device):
    """The sampling matrix, computed once: where each cell reads the sequence, as sparse rows.

    durations, length: D, T of the full map; samples: N points, evenly spaced over the proposal and a quarter of its
    duration before and behind it; stride: a cell stands for stride x stride proposals, and samples the middle one
    Returns index (D' * T', 2N) into N * T numbers, sample by sample, and weight (D' * T', 2N): linear interpolation
    between the centers of snippets; beyond the ends of the sequence the weight is 0.
    """
    cell_duration = torch.arange(-(-durations // stride)) * stride + (stride + 1) / 2
    cell_start = torch.arange(-(-length // stride)) * stride + (stride - 1) / 2
    duration, start = torch.meshgrid(cell_duration, cell_start, indexing="ij")
    share = torch.linspace(-0.25, 1.25, samples)
    position = start.reshape(-1, 1) + duration.reshape(-1, 1) * share  # (cells, N)
    inside = (position >= 0) & (position <= length)
    center = (position - 0.5).clamp(0, length - 1)
    left = center.floor().clamp(max=max(length - 2, 0))
    right_share = center - left
    right = (left + 1).clamp(max=length - 1)
    offset = torch.arange(samples) * length
    index = torch.stack([left, right], -1).long() + offset[:, None]  # (cells, N, 2)
    weight = torch.stack([1 - right_share, right_share], -1) * inside[..., None]
    return index.flatten(1).to(device), weight.flatten(1).to(device)


def sample_map(x, durations, samples, stride):
    """Read N * T numbers of each channel at the samples of each cell, and add them up.

    x: (B, O, N, T): what each sample point would add to a cell, wherever it lies -> (B, O, D', T')
    Sampling and a convolution over the samples are both linear, so the convolution has come first, snippet by snippet:
    the same numbers as sampling (B, channels, N, D, T) before it, for a fraction of the memory and time.
    """
    batch, channels, _, length = x.shape
    index, weight = sampling(durations, length, samples, stride, str(x.device))
    # Without a copy it would be a view whose rows do not lie side by side, for which torch has no fast kernel.
    table = x.permute(2, 3, 0, 1).reshape(samples * length, batch * channels).contiguous()
    cells = F.embedding_bag(index, table, per_sample_weights=weight.to(table.dtype), mode="sum")
    rows = -(-durations // stride)
    return cells.view(rows, -1, batch, channels).permute(2, 3, 0, 1)


def overlap_map(segments, labels, durations, length):
    """The best tIoU of each proposal with a segment: (B, D, T) in 0..1.

    segments: (B, N, 2) positions; labels: (B, N), -1 = no segment
    """
    start, end = proposal_edges(durations, length, segments.device)
    best = segments.new_zeros(len(segments), durations, length)
    exists = labels >= 0
    order = (~exists).to(torch.uint8).argsort(dim=1, stable=True)  # those that exist first
    segments, exists = segments.gather(1, order[..., None].expand(-1, -1, 2)), exists.gather(1, order)
    for number in range(segments.shape[1]):  # one by one: N maps at once would not fit into a cache
        if segments.device.type in STOPS_EARLY and not exists[:, number].any():
            break
        first, last = (segments[:, number, side, None, None] for side in (0, 1))
        inside = (torch.minimum(end, last) - torch.maximum(start, first)).clamp(min=0)
        together = torch.maximum(end, last) - torch.minimum(start, first)
        best = torch.maximum(best, inside / together * exists[:, number, None, None])
    return best


def boundary_targets(segments, labels, length):
    """Where actions start and end, as BMN's temporal evaluation learns it: (B, T) 0 or 1 each.

    The region of a boundary reaches a tenth of the segment's duration to both sides, at least half a snippet. The start
    of snippet t is position t, its end is t + 1; it is positive where at least half of the snippet around that position
    lies in a region, so both neighbors are for a boundary halfway between them.
    """
    exists = (labels >= 0)[..., None]
    reach = ((segments[..., 1] - segments[..., 0]) / 10).clamp(min=0.5)[..., None]
    found = []
    for side in (0, 1):
        place = torch.arange(length, device=segments.device) + side
        boundary = segments[..., side, None]  # (B, N, 1)
        low, high = torch.maximum(boundary - reach, place - 0.5), torch.minimum(boundary + reach, place + 0.5)
        found.append((((high - low) >= 0.5) & exists).any(1).float())
    return found
