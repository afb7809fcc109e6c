"""BMN, a detector that first proposes segments and then classifies them (Lin et al., ICCV 2019, arXiv 1907.09702).

Three modules share the embedding of a snippet encoder (the paper's base module is the encoder `conv`): temporal
evaluation says where actions start and end, proposal evaluation how well each of D x T proposals fits an action, and a
classifier of pooled snippets, which the paper takes from elsewhere, what a proposal shows.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from spot import registry
from spot.encoders import dropout
from spot.heads import OrderHead
from spot.model import TemporalDetector
from spot.proposal_map import sample_map
from spot.targets import segment_coverage

PARTS = 3  # a proposal is pooled in its beginning, middle and end: what begins as sitting may end as standing


def keep_scale(module):
    """Draw the weights of convolutions before ReLUs so that what goes through them keeps its scale (He et al., 2015):
    torch's own weights shrink it to a third by each layer, which costs a short training dearly."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


class ConvEncoder(nn.Module):
    """The base module of BMN: two temporal convolutions over three snippets each, (B, C, T) -> (B, D, T)."""

    def __init__(self, feat_dim, embed_dim, dropout):
        super().__init__()
        self.dropout = dropout
        self.first = nn.Conv1d(feat_dim, 2 * embed_dim, 3, padding=1)
        self.second = nn.Conv1d(2 * embed_dim, embed_dim, 3, padding=1)
        keep_scale(self)

    def forward(self, features, valid=None):
        """features (B, C, T), valid (B, T) bool or None -> embedding (B, D, T)."""
        keep = 1 if valid is None else valid[:, None].to(features.dtype)
        x = dropout(F.relu(self.first(features)) * keep, self.dropout, self.training)
        return F.relu(self.second(x)) * keep


def conv_encoder(feat_dim, embed_dim, heads, dropout):
    """The base module of BMN, which has no heads."""
    return ConvEncoder(feat_dim, embed_dim, dropout)


class BoundaryHead(nn.Module):
    """Temporal evaluation, (B, D, T) -> start and end logits (B, T) each."""

    def __init__(self, embed_dim):
        super().__init__()
        self.start, self.end = (nn.Sequential(nn.Conv1d(embed_dim, embed_dim, 3, padding=1), nn.ReLU(),
                                              nn.Conv1d(embed_dim, 1, 1)) for _ in range(2))
        for branch in (self.start, self.end):
            keep_scale(branch[0])

    def forward(self, embedding):
        """embedding (B, D, T) -> start logits (B, T), end logits (B, T)."""
        return self.start(embedding)[:, 0], self.end(embedding)[:, 0]


class ProposalHead(nn.Module):
    """Proposal evaluation: the boundary-matching confidence maps, (B, D, T) -> logits (B, 2, durations, T).

    width: channels of the map; samples: points that each proposal reads
    stride: a cell of the map stands for stride x stride proposals and gives the logits of each of them; 1 = the paper's
    """

    def __init__(self, embed_dim, durations, samples, stride, width):
        super().__init__()
        self.durations, self.samples, self.stride, self.read = durations, samples, stride, 2 * width
        self.narrow = nn.Conv1d(embed_dim, width, 3, padding=1)
        self.of_samples = nn.Conv1d(width, 2 * width * samples, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(2 * width, 1, 1))
        self.mix = nn.Conv2d(2 * width, width, 1)
        self.refine = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
                                    nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.out = nn.Conv2d(width, 2 * stride * stride, 1)
        for part in (self.narrow, self.mix, self.refine):
            keep_scale(part)
        # As of a convolution over all samples, which it is a part of.
        nn.init.normal_(self.of_samples.weight, std=math.sqrt(2 / (width * samples)))

    def forward(self, embedding):
        """embedding (B, D, T) -> logits (B, 2, durations, T)."""
        batch, _, length = embedding.shape
        x = self.of_samples(F.relu(self.narrow(embedding)))
        x = x.view(batch, self.read, self.samples, length)
        with torch.autocast(x.device.type, enabled=False):  # sums over samples stay in float32
            x = sample_map(x.float(), self.durations, self.samples, self.stride) + self.bias
        # channels_last: the same numbers, faster with few channels
        x = F.relu(x).contiguous(memory_format=torch.channels_last)
        x = self.refine(F.relu(self.mix(x)))
        return F.pixel_shuffle(self.out(x), self.stride)[:, :, : self.durations, :length]


class SegmentClassifier(nn.Module):
    """What a proposal shows, by the snippets in it, pooled in its beginning, middle and end."""

    def __init__(self, feat_dim, width, num_classes, share):
        super().__init__()
        self.dropout = share
        self.project = nn.Conv1d(feat_dim, width, 3, padding=1)
        self.hidden = nn.Linear(PARTS * width, 2 * width)
        self.out = nn.Linear(2 * width, num_classes + 1)

    def snippets(self, features):
        """features (B, C, T) -> what is pooled (B, W, T)."""
        return F.gelu(self.project(dropout(features, self.dropout, self.training)))

    def forward(self, snippets, segments):
        """snippets (B, W, T), segments (B, M, 2) positions -> class logits (B, K+1, M), background at index K."""
        batch, count, _ = segments.shape
        share = torch.linspace(0, 1, PARTS + 1, device=segments.device)
        edges = segments[..., :1] + (segments[..., 1:] - segments[..., :1]) * share  # (B, M, 4)
        parts = torch.stack([edges[..., :-1], edges[..., 1:]], -1).flatten(1, 2)  # (B, 3M, 2)
        labels = torch.zeros(parts.shape[:2], dtype=torch.long, device=parts.device)
        coverage, _ = segment_coverage(parts, labels, snippets.shape[-1])  # (B, 3M, T)
        # A part without a snippet's center may cover little of two snippets: a mean of these all the same.
        coverage = coverage / coverage.sum(-1, keepdim=True).clamp(min=1e-6)
        pooled = (coverage @ snippets.transpose(1, 2)).view(batch, count, self.hidden.in_features)
        hidden = dropout(F.gelu(self.hidden(pooled)), self.dropout, self.training)
        return self.out(hidden).transpose(1, 2)


class Bmn(TemporalDetector):
    """Proposes segments, then classifies them.

    encoder: (B, C, T) -> (B, D, T); boundary_head, proposal_head, classifier: see there
    order_head, reconstruct: for semi-supervised training alone
    """

    detector = "bmn"

    def __init__(self, encoder, boundary_head, proposal_head, classifier, feat_dim, num_classes, class_activation,
                 temporal_scale, order_head, reconstruct):
        super().__init__(feat_dim, num_classes, class_activation)
        self.encoder, self.boundary_head, self.proposal_head = encoder, boundary_head, proposal_head
        self.classifier, self.order_head, self.reconstruct = classifier, order_head, reconstruct
        self.fixed_length = temporal_scale

    @property
    def class_part(self):
        """The classifier, which the pretext stage leaves alone."""
        return self.classifier

    @property
    def durations(self):
        """D: proposals last 1 to D snippets."""
        return self.proposal_head.durations

    def from_standardized(self, features, valid=None):
        """As `forward`, for features that `standardize` has made.

        Returns start_logits and end_logits (B, T); map_logits (B, 2, D, T), whether a proposal is an action (trained as
        a decision) and its tIoU with one (as a number), see `proposal_map`; embedding (B, D, T); snippets (B, W, T),
        which the classifier pools.
        """
        embedding = self.encoder(features, valid)
        start, end = self.boundary_head(embedding)
        return {"start_logits": start, "end_logits": end, "map_logits": self.proposal_head(embedding),
                "embedding": embedding, "snippets": self.classifier.snippets(features)}


def longest_proposal(map_durations, temporal_scale):
    """Snippets of the longest proposal of a map: as the setting says, None = T, but never more than T."""
    return min(map_durations or temporal_scale, temporal_scale)


def build_bmn(*, encoder, class_activation, feat_dim, temporal_scale, embedding_head, embed_dim, num_classes,
              dropout=0.1, chunks=5, map_channels=32, map_samples=16, map_stride=2, map_durations=None, **_):
    """A Bmn with fresh weights, from the YAML's `model` section as plain values; what it has no use for is left out.

    map_channels, map_samples, map_stride: of `ProposalHead`; map_durations: longest proposal in snippets, None = T
    """
    if encoder == "attention":
        embed_dim = feat_dim
    new_encoder = registry.find(registry.ENCODERS, encoder)
    durations = longest_proposal(map_durations, temporal_scale)
    model = Bmn(new_encoder(feat_dim, embed_dim, embedding_head, dropout), BoundaryHead(embed_dim),
                ProposalHead(embed_dim, durations, map_samples, map_stride, map_channels),
                SegmentClassifier(feat_dim, embed_dim, num_classes, dropout), feat_dim, num_classes, class_activation,
                temporal_scale, OrderHead(embed_dim, chunks, embedding_head), nn.Conv1d(embed_dim, feat_dim, 1))
    if class_activation == "sigmoid":  # actions are rare: start where they are improbable (Lin et al., focal loss)
        nn.init.constant_(model.classifier.out.bias[:num_classes], -math.log(99))
    return model
