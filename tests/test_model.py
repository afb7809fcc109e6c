"""The network: shapes for any size, padding that changes nothing, no batch statistics."""

import pytest
import torch
from tiny import K, T, model
from torch import nn

from spot.encoders import attention, dropout

ARCHITECTURES = [(encoder, head) for encoder in ("conv_transformer", "attention") for head in ("pairwise", "fixed")]
either = pytest.mark.parametrize(("encoder", "mask_head"), ARCHITECTURES)


def shaken(net, seed=0):
    """Every weight off its initial value, as after training: biases and norms too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return net


@either
@torch.no_grad()
def test_forward_gives_the_documented_dict(encoder, mask_head):
    net = model(encoder=encoder, mask_head=mask_head).eval()
    outputs = net(torch.randn(2, 6, T))
    assert outputs["class_logits"].shape == (2, K + 1, T)
    assert outputs["masks"].shape == outputs["mask_logits"].shape == (2, T, T)
    assert outputs["embedding"].shape == (2, 8 if encoder == "conv_transformer" else 6, T)
    assert outputs["masks"].min() >= 0 and outputs["masks"].max() <= 1
    assert torch.allclose(outputs["masks"], outputs["mask_logits"].sigmoid())


@either
@torch.no_grad()
def test_forward_works_for_other_sizes(encoder, mask_head):
    """C = 2048, T = 256, K = 20, and 2 heads of attention (4 for the default encoder)."""
    net = model(encoder=encoder, mask_head=mask_head, feat_dim=2048, temporal_scale=256, num_classes=20,
                embed_dim=32, embedding_head=2 if encoder == "attention" else 4).eval()
    outputs = net(torch.randn(1, 2048, 256))
    assert outputs["class_logits"].shape == (1, 21, 256) and outputs["masks"].shape == (1, 256, 256)
    assert all(torch.isfinite(value).all() for value in outputs.values())


@pytest.mark.parametrize("length", [1, 3, 8, 50])
@torch.no_grad()
def test_the_pairwise_head_takes_any_length(length):
    assert model().eval()(torch.randn(2, 6, length))["masks"].shape == (2, length, length)


@pytest.mark.parametrize("heads", [1, 2, 4])
@torch.no_grad()
def test_any_number_of_heads(heads):
    """The published heads are as wide as the features each: H x C rows, also where H does not divide C."""
    net = model(encoder="attention", embedding_head=heads)
    assert net.encoder.w_qs.weight.shape == (6 * heads, 6)
    assert net(torch.randn(1, 6, T))["masks"].shape == (1, T, T)
    assert model(embedding_head=heads)(torch.randn(1, 6, T))["masks"].shape == (1, T, T)


def test_the_published_rows_of_the_mask_are_output_channels():
    """Only output channel 5 of the last convolution is not 0: only row 5 of the logits is not 0."""
    net = model(encoder="attention", mask_head="fixed").eval()
    with torch.no_grad():
        net.mask_head.convs[-1].weight.zero_()[5] = 1
        rows = net(torch.randn(1, 6, T))["mask_logits"][0].abs().sum(1)
    assert rows[5] > 0 and rows.sum() == rows[5]


@pytest.mark.parametrize("kind", ["encoder", "mask_head"])
def test_an_unknown_part_is_refused_by_name(kind):
    with pytest.raises(ValueError, match="transformer9"):
        model(**{kind: "transformer9"})


@either
def test_normalization_is_layer_or_group_only(encoder, mask_head):
    """Batch statistics would make teacher and student disagree; layers are found by what they keep and are called."""
    net = model(encoder=encoder, mask_head=mask_head)
    norms = [module for module in net.modules() if "norm" in type(module).__name__.lower()]
    assert norms and all(isinstance(norm, nn.LayerNorm | nn.GroupNorm) for norm in norms)
    assert not any("running" in name for name in net.state_dict())


@either
@torch.no_grad()
def test_videos_of_a_batch_do_not_meet(encoder, mask_head):
    net = shaken(model(encoder=encoder, mask_head=mask_head)).eval()
    batch = torch.randn(3, 6, T)
    together, alone = net(batch), net(batch[1:2])
    for name, value in together.items():
        assert torch.allclose(value[1:2], alone[name], atol=1e-5), name


@either
@torch.no_grad()
def test_what_stands_in_padded_snippets_does_not_matter(encoder, mask_head):
    net = shaken(model(encoder=encoder, mask_head=mask_head)).eval()
    valid = torch.arange(T)[None] < 5
    one = torch.randn(1, 6, T)
    other = torch.where(valid[:, None], one, 1000.0)
    one, other = net(one, valid), net(other, valid)
    assert torch.allclose(one["class_logits"][..., :5], other["class_logits"][..., :5], atol=1e-5)
    assert torch.allclose(one["masks"][:, :5, :5], other["masks"][:, :5, :5], atol=1e-5)


@either
@torch.no_grad()
def test_padding_does_not_change_the_classes_of_valid_snippets(encoder, mask_head):
    """8 snippets alone, and the same 8 padded to 12: one answer per snippet."""
    net = shaken(model(encoder=encoder, mask_head=mask_head, temporal_scale=12)).eval()
    features = torch.randn(1, 6, T)
    padded = torch.cat([features, torch.zeros(1, 6, 4)], -1)
    valid = torch.arange(12)[None] < T
    assert torch.allclose(net(padded, valid)["class_logits"][..., :T], net(features)["class_logits"], atol=1e-5)


@either
@torch.no_grad()
def test_all_valid_is_the_same_as_no_mask(encoder, mask_head):
    net = shaken(model(encoder=encoder, mask_head=mask_head)).eval()
    features = torch.randn(2, 6, T)
    masked, plain = net(features, torch.ones(2, T, dtype=torch.bool)), net(features)
    assert all(torch.allclose(masked[name], plain[name], atol=1e-5) for name in plain)


@either
def test_forward_does_not_write_into_its_input(encoder, mask_head):
    net = model(encoder=encoder, mask_head=mask_head)
    net.set_statistics(torch.ones(6), torch.full((6,), 2.0))
    features, valid = torch.randn(2, 6, T), torch.arange(T) < torch.tensor([[5], [8]])
    before = features.clone(), valid.clone()
    sum(value.sum() for value in net(features, valid).values()).backward()
    assert torch.equal(features, before[0]) and torch.equal(valid, before[1])


def test_standardize_by_hand():
    """(5 - 1) / 2 = 2 in every channel, and 0 where a snippet is padding."""
    net = model()
    net.set_statistics(torch.ones(6), torch.full((6,), 2.0))
    valid = torch.tensor([[True, False]])
    assert net.standardize(torch.full((1, 6, 2), 5.0), valid)[0, 3].tolist() == [2, 0]


@either
def test_constant_features_stay_finite(encoder, mask_head):
    """Also their gradients: a constant snippet has no variance for LayerNorm to divide by."""
    net = model(encoder=encoder, mask_head=mask_head)
    outputs = net(torch.full((2, 6, T), 7.0))
    sum(value.sum() for value in outputs.values()).backward()
    assert all(torch.isfinite(value).all() for value in outputs.values())
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@either
@torch.no_grad()
def test_a_sequence_without_any_valid_snippet_stays_finite(encoder, mask_head):
    outputs = model(encoder=encoder, mask_head=mask_head)(torch.zeros(2, 6, T), torch.zeros(2, T, dtype=torch.bool))
    assert all(torch.isfinite(value).all() for value in outputs.values())


def test_the_order_head_names_a_place_for_every_chunk():
    net = model(chunks=4)
    assert net.order_head(net(torch.randn(2, 6, T))["embedding"]).shape == (2, 4, 4)


def test_sigmoid_actions_start_out_improbable():
    """Bias -log(99): p = 1 / (1 + 99) = 0.01 for the actions; softmax has no such start."""
    bias = model().class_head.bias.detach()
    assert torch.allclose(bias[:K].sigmoid(), torch.full((K,), 0.01))
    assert model(class_activation="softmax").class_head.bias[:K].detach().sigmoid().min() > 0.1


def test_attention_in_bf16_on_a_cpu_is_attention():
    """The written-out form that bf16 takes on a CPU gives what the fused kernel gives in float32, also with padding."""
    query, key, value = torch.randn(3, 2, 2, 8, 4, generator=torch.Generator().manual_seed(0)).unbind(0)
    seen = (torch.arange(8) < torch.tensor([[8], [5]]))[:, None, None]
    full = attention(query, key, value, seen)
    half = attention(*(x.bfloat16() for x in (query, key, value)), seen)
    assert half.dtype == torch.bfloat16 and torch.allclose(half.float(), full, atol=0.03)


def test_dropout_keeps_the_mean_and_drops_its_share():
    """A quarter of 200,000 ones: 64 of 256 bytes drop, so kept ones become 4/3; three sigma are 0.003."""
    torch.manual_seed(0)
    x = dropout(torch.ones(400, 500), 0.25, True)
    assert set(x.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert (x == 0).float().mean() == pytest.approx(0.25, abs=0.003)
    assert dropout(x, 0.25, False) is x and dropout(x, 0.0, True) is x
