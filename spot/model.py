"""The network: snippet encoder, class head and mask head in parallel, order head for the pretext stage.

Tensors in, a dict of tensors out. B videos, C feature channels, D embedding channels, T snippets, K classes.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from spot import registry
from spot.standardize import by_sequence
from spot.waveforms import Waveforms


def dropout(x, share, training):
    """Dropout; on a CPU the coins are random bytes, because torch tosses one at a time there: 7 % of a training step.

    x: any shape; share: 0..1, in steps of 1/256 on a CPU
    """
    if not training or share == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, share, True)
    dropped = min(max(round(share * 256), 1), 255)
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
    return x * (kept * (256 / (256 - dropped))).to(x.dtype)


# Channels of each of the two branches that boundary refinement contrasts.
BRANCH_WIDTH = 64


class DilatedConv(nn.Module):
    """Residual dilated convolution over time, (B, T, D) -> (B, T, D), as one matrix product over three snippets."""

    def __init__(self, dim, dilation, dropout):
        super().__init__()
        self.dilation, self.dropout = dilation, dropout
        self.norm = nn.LayerNorm(dim)
        self.conv = nn.Linear(3 * dim, dim)
        self.mix = nn.Linear(dim, dim)

    def forward(self, x, keep):
        """x (B, T, D), keep (B, T, 1): 0 where a short sequence was padded."""
        length = x.shape[1]
        # Behind the end of a padded sequence the convolution sees zeros, as behind the end of a full one.
        padded = F.pad(self.norm(x) * keep, (0, 0, self.dilation, self.dilation))
        around = torch.cat([padded[:, step * self.dilation :][:, :length] for step in range(3)], 2)  # (B, T, 3D)
        changed = self.mix(F.gelu(self.conv(around)))
        return (x + dropout(changed, self.dropout, self.training)) * keep


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and feed-forward, (B, T, D) -> (B, T, D)."""

    def __init__(self, dim, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm, self.feed_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.project = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.widen, self.narrow = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x, valid=None):
        """x (B, T, D), valid (B, T) bool or None = all -> (B, T, D)."""
        batch, length, dim = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D / H)
        mixed = attention(query, key, value, None if valid is None else valid[:, None, None, :])
        mixed = self.project(mixed.transpose(1, 2).reshape(batch, length, dim))
        x = x + dropout(mixed, self.dropout, self.training)
        hidden = dropout(F.gelu(self.widen(self.feed_norm(x))), self.dropout, self.training)
        return x + dropout(self.narrow(hidden), self.dropout, self.training)


def attention(query, key, value, seen, dropped=0.0):
    """Scaled dot-product attention, (B, H, T, d) each; seen: bool, broadcast to (B, H, T, T), or None.

    dropped: share of the attention weights that are dropped
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropped)
    # On a CPU the backward pass of the fused kernel is three times slower than this in bf16. A mask that is added, not
    # filled in, and a softmax that stays in bf16 (its sums are float32) halve the time once more.
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(2, 3)
    if seen is not None:
        scores = scores + torch.zeros_like(seen, dtype=scores.dtype).masked_fill(~seen, torch.finfo(scores.dtype).min)
    return dropout(scores.softmax(-1), dropped, True) @ value


class ConvTransformerEncoder(nn.Module):
    """1x1 projection to D, residual dilated convolutions, pre-norm transformer layers."""

    def __init__(self, feat_dim, embed_dim, heads, dropout, dilations=(1, 2, 4), layers=2):
        super().__init__()
        self.dropout = dropout
        self.project = nn.Linear(feat_dim, embed_dim)
        self.convs = nn.ModuleList(DilatedConv(embed_dim, dilation, dropout) for dilation in dilations)
        self.layers = nn.ModuleList(TransformerLayer(embed_dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, features, valid=None):
        """features (B, C, T), valid (B, T) bool or None -> embedding (B, D, T)."""
        x = self.project(features.transpose(1, 2))  # (B, T, D)
        keep = torch.ones_like(x[..., :1]) if valid is None else valid[..., None].to(x.dtype)
        x = dropout(x, self.dropout, self.training) * keep
        for conv in self.convs:
            x = conv(x, keep)
        for layer in self.layers:
            x = layer(x, valid)
        return (self.norm(x) * keep).transpose(1, 2)


class AttentionEncoder(nn.Module):
    """The published encoder: one post-norm self-attention block, each head as wide as the features; D = C."""

    def __init__(self, feat_dim, heads, dropout=0.1, out_dropout=0.3):
        super().__init__()
        self.heads, self.dropout, self.out_dropout = heads, dropout, out_dropout
        self.w_qs, self.w_ks, self.w_vs = (nn.Linear(feat_dim, heads * feat_dim, bias=False) for _ in range(3))
        self.fc = nn.Linear(heads * feat_dim, feat_dim)
        self.layer_norm = nn.LayerNorm(feat_dim)

    def forward(self, features, valid=None):
        """features (B, C, T), valid (B, T) bool or None -> embedding (B, C, T)."""
        x = features.transpose(1, 2)
        batch, length, dim = x.shape
        query, key, value = (w(x).view(batch, length, self.heads, dim).transpose(1, 2)
                             for w in (self.w_qs, self.w_ks, self.w_vs))  # each (B, H, T, C)
        seen = None if valid is None else valid[:, None, None, :]
        mixed = attention(query, key, value, seen, self.dropout if self.training else 0.0)
        mixed = mixed.transpose(1, 2).reshape(batch, length, self.heads * dim)
        return self.layer_norm(dropout(self.fc(mixed), self.out_dropout, self.training) + x).transpose(1, 2)


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
        self.layer = TransformerLayer(embed_dim, heads, dropout=0.1)
        self.classifier = nn.Linear(embed_dim, chunks)

    def forward(self, embedding):
        """embedding (B, D, T), T a multiple of the chunks -> logits (B, chunks, chunks): chunk x original place."""
        batch, dim, _ = embedding.shape
        mean = embedding.reshape(batch, dim, self.chunks, -1).mean(3).transpose(1, 2)  # (B, chunks, D)
        return self.classifier(self.layer(mean + self.position))


class TemporalDetector(nn.Module):
    """What all detectors have in common: the statistics of the features, what the run knows, and the forward pass.

    A detector brings an `encoder` and `from_standardized`: features (B, C, T), valid (B, T) or None -> dict of tensors.
    """

    def __init__(self, feat_dim, num_classes, class_activation):
        super().__init__()
        self.num_classes, self.class_activation = num_classes, class_activation
        # With `recording` the features of each recording take their own statistics before those of the training set.
        self.standardization = "training"
        self.waveforms = None  # waveforms.Waveforms of features that are raw samples: they become spectral channels
        self.samples = None  # their channels C
        # What `detect` and the scripts need to know of the run: plain values, filled in by training and by loading.
        self.settings = {}
        self.architecture = {}  # the arguments of `detectors.build_model`, of a checkpoint of ours
        self.register_buffer("feature_mean", torch.zeros(feat_dim, 1))
        self.register_buffer("feature_std", torch.ones(feat_dim, 1))

    @property
    def feat_dim(self):
        """Feature channels C that the model takes, before raw samples become spectral channels."""
        return self.samples or len(self.feature_mean)

    def set_statistics(self, mean, deviation):
        """Standardize the features from now on. mean, deviation: (C,) of the training features."""
        self.feature_mean.copy_(torch.as_tensor(mean)[:, None])
        self.feature_std.copy_(torch.as_tensor(deviation)[:, None])

    def standardize(self, features, valid=None):
        """Features (B, C, T) to zero mean and unit deviation per channel, as a new tensor; padded snippets to 0."""
        x = (features - self.feature_mean) / self.feature_std
        return x if valid is None else x * valid[:, None]

    def forward(self, features, valid=None, prepared=False):
        """features (B, C, T); valid (B, T) bool, False where a short sequence was padded, None = all valid.

        Raw samples become spectral channels, see `spot.waveforms`. Where recordings are standardized by their own
        statistics, a sequence counts as a recording. Both is left out where the features are `prepared`: cut out of
        recordings for which it was done as a whole.
        Returns what `from_standardized` of the detector says.
        """
        if self.waveforms and not prepared:
            features = self.waveforms.spectral_batch(features)
        if self.standardization == "recording" and not prepared:
            features = by_sequence(features, valid)
        return self.from_standardized(self.standardize(features, valid), valid)


class Spot(TemporalDetector):
    """Single-stage temporal action detector: every snippet gives its class and its instance's mask.

    encoder: (B, C, T) -> (B, D, T); mask_head: (B, D, T) -> (B, T, T); class_activation: sigmoid or softmax
    order_head, reconstruct, branches: for training alone, None in a published checkpoint; branches are the two
    convolutions of the embedding, of masks and of classes, whose columns boundary refinement contrasts
    """

    detector = "spot"

    def __init__(self, encoder, class_head, mask_head, feat_dim, class_activation, order_head=None, reconstruct=None,
                 branches=None):
        super().__init__(feat_dim, class_head.out_channels - 1, class_activation)
        self.encoder, self.class_head, self.mask_head = encoder, class_head, mask_head
        self.order_head, self.reconstruct, self.branches = order_head, reconstruct, branches

    @property
    def class_part(self):
        """The class head, which the pretext stage leaves alone."""
        return self.class_head

    @property
    def fixed_length(self):
        """T where the sizes of the network say it (the published mask head has T rows), else None."""
        return getattr(self.mask_head, "temporal_scale", None)

    def classify(self, features, valid=None):
        """Class logits (B, K+1, T) alone, for features that `standardize` has made."""
        return self.class_head(self.encoder(features, valid))

    def from_standardized(self, features, valid=None):
        """As `forward`, for features that `standardize` has made.

        Returns class_logits (B, K+1, T) with background at index K; masks (B, T, T) in 0..1, row i is the foreground
        over the whole sequence as snippet i sees it; mask_logits (B, T, T), the same before the sigmoid;
        embedding (B, D, T).
        """
        embedding = self.encoder(features, valid)
        mask_logits = self.mask_head(embedding, features, valid)
        return {"class_logits": self.class_head(embedding), "masks": mask_logits.sigmoid(),
                "mask_logits": mask_logits, "embedding": embedding}


def published_encoder(feat_dim, embed_dim, heads, dropout):
    """The published encoder, whose embedding is as wide as the features and whose dropout is the published one."""
    return AttentionEncoder(feat_dim, heads)


def pairwise_mask_head(embed_dim, temporal_scale):
    """The default mask head, for any T."""
    return PairwiseMaskHead(embed_dim)


def of_samples(feat_dim, sensor_axes, sensor_order):
    """(waveforms.Waveforms or None, channels that the network sees) of features with `feat_dim` channels."""
    waveforms = Waveforms(sensor_axes, sensor_order) if sensor_axes else None
    return waveforms, waveforms.channels(feat_dim) if waveforms else feat_dim


def build_model(*, encoder, mask_head, class_activation, feat_dim, temporal_scale, embedding_head, embed_dim,
                num_classes, dropout=0.1, chunks=5, standardize="training", sensor_axes=0, sensor_order="axis", **_):
    """A Spot with fresh weights, from the YAML's `model` section as plain values; what it has no use for is left out.

    feat_dim: C; temporal_scale: T; embedding_head: heads H; embed_dim: D (the published encoder has D = C)
    standardize: training (statistics come from `set_statistics`), recording (each recording's own) or none
    sensor_axes: A where the features are raw samples of as many axes, which become spectral channels; sensor_order: how
    they lie, see `spot.waveforms.Waveforms`
    ValueError for an unknown name.
    """
    sizes = {"feat_dim": feat_dim, "temporal_scale": temporal_scale, "embedding_head": embedding_head,
             "embed_dim": embed_dim, "num_classes": num_classes}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}; it must be at least 1")
    samples = feat_dim if sensor_axes else None
    waveforms, feat_dim = of_samples(feat_dim, sensor_axes, sensor_order)
    if encoder == "attention":
        embed_dim = feat_dim
    new_encoder = registry.find(registry.ENCODERS, encoder)
    new_mask_head = registry.find(registry.MASK_HEADS, mask_head)
    class_head = nn.Conv1d(embed_dim, num_classes + 1, 1)
    if class_activation == "sigmoid":  # actions are rare: start where they are improbable (Lin et al., focal loss)
        nn.init.constant_(class_head.bias[:num_classes], -math.log(99))
    model = Spot(new_encoder(feat_dim, embed_dim, embedding_head, dropout), class_head,
                 new_mask_head(embed_dim, temporal_scale), feat_dim, class_activation,
                 OrderHead(embed_dim, chunks, embedding_head), nn.Conv1d(embed_dim, feat_dim, 1),
                 nn.Conv1d(embed_dim, 2 * BRANCH_WIDTH, 3, padding=1))
    model.standardization, model.waveforms, model.samples = standardize, waveforms, samples
    return model
