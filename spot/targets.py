"""Segments on the snippet grid -> class targets and mask targets, in batch and on the device; and back."""

import torch


def pad_segments(segments_snippet, labels, device="cpu"):
    """Lists of per-video segments -> padded tensors.

    segments_snippet: list of B arrays (N_b, 2), positions on the grid; labels: list of B int arrays (N_b,)
    Returns segments (B, N, 2) float32 and labels (B, N) int64 with -1 where there is no segment; N >= 1.
    """
    most = max([len(label) for label in labels] + [1])
    segments = torch.zeros(len(labels), most, 2)
    classes = torch.full((len(labels), most), -1, dtype=torch.long)
    for b, (segment, label) in enumerate(zip(segments_snippet, labels, strict=True)):
        segments[b, : len(label)] = torch.as_tensor(segment, dtype=torch.float32).reshape(-1, 2)
        classes[b, : len(label)] = torch.as_tensor(label, dtype=torch.long)
    return segments.to(device), classes.to(device)


def segment_coverage(segments, labels, num_snippets):
    """How much of each snippet each segment covers, and which snippets belong to it.

    segments: (B, N, 2) positions; labels: (B, N), -1 = no segment
    Returns coverage (B, N, T) in 0..1 and member (B, N, T) bool. A snippet belongs to a segment that holds its center;
    a segment that holds no center gets the nearest snippet, wholly.
    """
    edges = torch.arange(num_snippets + 1, device=segments.device, dtype=segments.dtype)
    start, end = segments[..., :1], segments[..., 1:]
    coverage = (torch.minimum(end, edges[1:]) - torch.maximum(start, edges[:-1])).clamp(0, 1)
    center = edges[:-1] + 0.5
    member = (start <= center) & (center < end)
    exists = labels[..., None] >= 0
    middle = ((start + end) / 2).clamp(0, num_snippets - 1e-3)
    nearest = middle.long() == edges[:-1].long()
    homeless = exists & ~member.any(-1, keepdim=True) & nearest
    return torch.where(homeless, 1.0, coverage) * exists, (member & exists) | homeless


def make_targets(segments, labels, num_classes, num_snippets):
    """Class and mask targets of a batch.

    segments: (B, N, 2) positions on the grid; labels: (B, N) class indices, -1 = no segment
    Returns class_targets (B, K+1, T) in 0..1, several classes at once where segments overlap, background at index K;
    mask_targets (B, T, T) in 0..1: row i is the shortest segment that holds snippet i, all 0 where none does.
    Snippets that a boundary cuts carry the covered share, so that boundaries finer than a snippet can be learned.
    """
    coverage, member = segment_coverage(segments, labels, num_snippets)
    batch, count, _ = coverage.shape
    # A snippet at the fringe of a segment that does not own its center is background for the class head.
    owned = coverage * member
    class_targets = owned.new_zeros(batch, num_classes + 1, num_snippets)
    index = labels.clamp(min=0)[..., None].expand(-1, -1, num_snippets)
    class_targets.scatter_reduce_(1, index, owned, "amax")
    class_targets[:, num_classes] = 1 - owned.amax(1)

    length = (segments[..., 1] - segments[..., 0])[..., None].expand(batch, count, num_snippets)
    owner = length.masked_fill(~member, float("inf")).argmin(1)  # (B, T)
    rows = coverage.gather(1, owner[..., None].expand(-1, -1, num_snippets))  # (B, T, T)
    return class_targets, rows * member.any(1)[..., None]
