"""Snippet encoders: features (B, C, T), valid (B, T) bool or None -> embedding (B, D, T)."""

import math

import torch
from torch import nn
from torch.nn import functional as F


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


def published_encoder(feat_dim, embed_dim, heads, dropout):
    """The published encoder, whose embedding is as wide as the features and whose dropout is the published one."""
    return AttentionEncoder(feat_dim, heads)
