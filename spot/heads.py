"""Mask heads and the order head: what is read from the embedding (B, D, T)."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from spot.encoders import TransformerLayer


class FixedMaskHead(nn.Module):
    """The published mask head: output channel i is row i, so T is fixed and row i sees the neighborhood of t.

    hidden: widths of the convolutions before the last; SPOT has (256,), TAGS (1024, 512, 256) with the ReLUs after the
    first and the last of them.
    """

    def __init__(self, embed_dim, temporal_scale, hidden=(256,)):
        super().__init__()
        self.temporal_scale = temporal_scale
        widths = [embed_dim, *hidden]
        layers = []
        for number, (before, after) in enumerate(zip(widths, hidden, strict=False)):
            layers.append(nn.Conv1d(before, after, 3, padding=1))
            if number in (0, len(hidden) - 1):
                layers.append(nn.ReLU())
        self.convs = nn.Sequential(*layers, nn.Conv1d(widths[-1], temporal_scale, 1, bias=False))

    def forward(self, embedding, features=None, valid=None):
        """embedding (B, D, T) -> mask logits (B, T, T); the other arguments are those of `PairwiseMaskHead`."""
        return self.convs(embedding)


class PairwiseMaskHead(nn.Module):
    """Does snippet j belong to the instance that snippet i is in?  For any T.

    Similarity maps (several q_i . k_j with a relative-position bias, and one of the features) and the foreground of i
    and j alone are refined by small convolutions over the (i, j) plane, where instances are blocks and boundaries their
    edges. The plane has a cell for every 2 x 2 pairs of snippets, a quarter of the work: a cell sees both snippets of
    its row and its column and gives the logits of all four pairs; a product at full resolution sharpens them.
    """

    def __init__(self, embed_dim, maps=8, width=16, reach=32, fine=16):
        super().__init__()
        while embed_dim % maps:
            maps //= 2
        self.maps, self.reach, self.fine = maps, reach, fine
        self.query_key = nn.Linear(2 * embed_dim, 2 * embed_dim)
        self.offset = nn.Parameter(torch.zeros(maps, 2 * reach + 1))
        self.alone = nn.Linear(2 * embed_dim, 2 * width)
        self.spread = nn.Conv2d(maps + 1, width, 3, padding=1)
        self.refine = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 4, 1)
        self.fine_query_key = nn.Linear(embed_dim, 2 * fine)

    def forward(self, embedding, features, valid=None):
        """embedding (B, D, T), standardized features (B, C, T), valid (B, T) bool or None -> mask logits (B, T, T)."""
        batch, dim, length = embedding.shape
        snippets = embedding.transpose(1, 2)  # (B, T, D)
        pairs = F.pad(snippets, (0, 0, 0, length % 2)).reshape(batch, -1, 2 * dim)  # (B, T / 2, 2D)
        cells = pairs.shape[1]
        query, key = self.query_key(pairs).view(batch, cells, 2, self.maps, -1).permute(2, 0, 3, 1, 4)
        similarity = (query / math.sqrt(query.shape[-1])) @ key.transpose(2, 3)  # (B, maps, T / 2, T / 2)
        # What bf16 has made stays in bf16: the convolution takes it so.
        similarity = similarity + relative_position(self.offset.to(similarity.dtype), cells)
        own = self_similarity(features, valid)
        own = F.avg_pool2d(F.pad(own, (0, length % 2, 0, length % 2))[:, None], 2).to(similarity.dtype)
        row, column = self.alone(pairs).transpose(1, 2).chunk(2, 1)  # each (B, width, T / 2)
        # channels_last: the same numbers, about twice as fast with this few channels.
        plane = self.spread(torch.cat([similarity, own], 1).contiguous(memory_format=torch.channels_last))
        plane = F.gelu(plane + row[..., None] + column[:, :, None])
        plane = plane + F.gelu(self.refine(plane))
        coarse = F.pixel_shuffle(self.out(plane), 2)[:, 0, :length, :length]  # (B, T, T)
        query, key = self.fine_query_key(snippets).chunk(2, 2)  # each (B, T, fine)
        return coarse + query @ key.transpose(1, 2) / math.sqrt(self.fine)


def relative_position(offset, length):
    """A bias for each distance j - i, beyond the reach that of the farthest.

    offset: (maps, 2 reach + 1); length: T -> (maps, T, T).
    The rows are views of one line of biases, which is cheaper than looking each up, in the backward pass above all.
    """
    reach = offset.shape[1] // 2
    if torch.compiler.is_exporting():  # for a T that is not known yet
        place = torch.arange(length, device=offset.device)
        return offset[:, (place - place[:, None]).clamp(-reach, reach) + reach]
    beyond = length - 1 - reach
    if beyond > 0:
        line = torch.cat([offset[:, :1].expand(-1, beyond), offset, offset[:, -1:].expand(-1, beyond)], 1)
    else:
        line = offset[:, -beyond : 2 * reach + 1 + beyond]
    return line.unfold(1, length, 1).flip(1)


def self_similarity(features, valid=None):
    """Product over the channels of each pair of snippets, after the mean snippet of the sequence is taken off.

    features: (B, C, T), standardized; valid: (B, T) bool or None -> (B, T, T), / sqrt(C): independent noise is near 1
    """
    keep = torch.ones_like(features[:, :1]) if valid is None else valid[:, None].to(features.dtype)
    mean = (features * keep).sum(2, keepdim=True) / keep.sum(2, keepdim=True).clamp(min=1)
    centered = (features - mean) * keep
    return centered.transpose(1, 2) @ centered / math.sqrt(features.shape[1])


class OrderHead(nn.Module):
    """Temporal order pretext task: where was each chunk of a shuffled sequence?  Not used after pre-training."""

    def __init__(self, embed_dim, chunks, heads):
        super().__init__()
        self.chunks = chunks
        self.position = nn.Parameter(0.02 * torch.randn(chunks, embed_dim))
        # Where raw samples become spectral channels, an embedding as wide as these need not be a multiple of the heads.
        self.layer = TransformerLayer(embed_dim, math.gcd(embed_dim, heads), dropout=0.1)
        self.classifier = nn.Linear(embed_dim, chunks)

    def forward(self, embedding):
        """embedding (B, D, T), T a multiple of the chunks -> logits (B, chunks, chunks): chunk x original place."""
        batch, dim, _ = embedding.shape
        mean = embedding.reshape(batch, dim, self.chunks, -1).mean(3).transpose(1, 2)  # (B, chunks, D)
        return self.classifier(self.layer(mean + self.position))


def pairwise_mask_head(embed_dim, temporal_scale):
    """The default mask head, for any T."""
    return PairwiseMaskHead(embed_dim)
