"""The network: snippet encoder, class head and mask head in parallel, order head for the pretext stage.

Tensors in, a dict of tensors out. B videos, C feature channels, D embedding channels, T snippets, K classes.
"""

import math

import torch
from torch import nn

from spot import registry
from spot.heads import OrderHead
from spot.standardize import by_sequence

# Channels of each of the two branches that boundary refinement contrasts.
BRANCH_WIDTH = 64


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


def build_model(*, encoder, mask_head, class_activation, feat_dim, temporal_scale, embedding_head, embed_dim,
                num_classes, dropout=0.1, chunks=5, **_):
    """A Spot with fresh weights, from the YAML's `model` section as plain values; what it has no use for is left out.

    feat_dim: C; temporal_scale: T; embedding_head: heads H; embed_dim: D (the published encoder has D = C)
    ValueError for an unknown name.
    """
    sizes = {"feat_dim": feat_dim, "temporal_scale": temporal_scale, "embedding_head": embedding_head,
             "embed_dim": embed_dim, "num_classes": num_classes}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}; it must be at least 1")
    if encoder == "attention":
        embed_dim = feat_dim
    new_encoder = registry.find(registry.ENCODERS, encoder)
    new_mask_head = registry.find(registry.MASK_HEADS, mask_head)
    class_head = nn.Conv1d(embed_dim, num_classes + 1, 1)
    if class_activation == "sigmoid":  # actions are rare: start where they are improbable (Lin et al., focal loss)
        nn.init.constant_(class_head.bias[:num_classes], -math.log(99))
    return Spot(new_encoder(feat_dim, embed_dim, embedding_head, dropout), class_head,
                new_mask_head(embed_dim, temporal_scale), feat_dim, class_activation,
                OrderHead(embed_dim, chunks, embedding_head), nn.Conv1d(embed_dim, feat_dim, 1),
                nn.Conv1d(embed_dim, 2 * BRANCH_WIDTH, 3, padding=1))
