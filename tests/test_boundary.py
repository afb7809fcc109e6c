"""Boundary refinement: which snippets are easy and hard, and what the contrast pulls together."""

import math

import pytest
import torch

from spot.boundary import boundary_loss, contrast, easy_snippets, hard_snippets, mine_snippets


def which(flags):
    return flags[0].nonzero().flatten().tolist()


def bools(length, *places):
    return torch.tensor([[i in places for i in range(length)]])


def test_easy_snippets_are_the_most_confident():
    """Two foreground snippets above 0.5 (the best two of three), two background ones below (the lowest two)."""
    foreground = torch.tensor([[0.9, 0.6, 0.8, 0.4, 0.1, 0.2]])
    inside, outside = easy_snippets(foreground, torch.ones(1, 6, dtype=torch.bool), 2)
    assert which(inside) == [0, 2] and which(outside) == [4, 5]


def test_easy_snippets_are_on_their_side_of_one_half():
    """Only one snippet is foreground, however many are asked for; padding is neither."""
    foreground = torch.tensor([[0.9, 0.4, 0.3, 0.99, 0.01]])
    inside, outside = easy_snippets(foreground, bools(5, 0, 1, 2), 10)
    assert which(inside) == [0] and which(outside) == [1, 2]


def test_hard_snippets_touch_the_boundary():
    """Foreground 4..11, depth 2: just inside 4, 5 and 10, 11; just outside 2, 3 and 12, 13."""
    inside, outside = hard_snippets(bools(16, *range(4, 12)), torch.ones(1, 16, dtype=torch.bool), (0, 2))
    assert which(inside) == [4, 5, 10, 11] and which(outside) == [2, 3, 12, 13]


def test_hard_snippets_between_two_depths():
    """The published two widths, here 1 and 2: lost to the wide erosion but not to the narrow one."""
    inside, outside = hard_snippets(bools(16, *range(4, 12)), torch.ones(1, 16, dtype=torch.bool), (1, 2))
    assert which(inside) == [5, 10] and which(outside) == [2, 13]


def test_the_ends_of_the_sequence_are_no_boundaries():
    """Foreground 0..5 has one boundary, behind snippet 5; all or nothing has none."""
    inside, outside = hard_snippets(bools(10, *range(6)), torch.ones(1, 10, dtype=torch.bool), (0, 2))
    assert which(inside) == [4, 5] and which(outside) == [6, 7]
    for mask in (bools(10), bools(10, *range(10))):
        inside, outside = hard_snippets(mask, torch.ones(1, 10, dtype=torch.bool), (0, 2))
        assert not inside.any() and not outside.any()


def test_padding_is_never_hard():
    inside, outside = hard_snippets(bools(10, 2, 3, 4, 5), bools(10, *range(7)), (0, 3))
    assert max(which(inside) + which(outside)) <= 6


def test_a_short_instance_is_hard_as_a_whole():
    """It vanishes under a wide erosion, so every snippet of it is at a boundary."""
    inside, _ = hard_snippets(bools(16, 7, 8), torch.ones(1, 16, dtype=torch.bool), (0, 4))
    assert which(inside) == [7, 8]


def test_contrast_by_hand():
    """Query (1, 0), positive (1, 0), negative (0, 1), temperature 1: -ln(e^1 / (e^1 + e^0)) = ln(1 + 1 / e).
    The query at (0, 2), normalized (0, 1): ln(1 + e)."""
    embedding = torch.tensor([[[1.0, 3, 0, 0], [0, 0, 1, 2]]])
    arguments = bools(4, 1), bools(4, 2), 1.0
    assert contrast(embedding, bools(4, 0), *arguments).item() == pytest.approx(math.log(1 + 1 / math.e))
    assert contrast(embedding, bools(4, 3), *arguments).item() == pytest.approx(math.log(1 + math.e))
    assert contrast(embedding, bools(4, 0, 3), *arguments).item() == pytest.approx(
        (math.log(1 + 1 / math.e) + math.log(1 + math.e)) / 2)


def test_snippets_are_columns_of_the_embedding():
    """6 snippets, 4 channels: only the three chosen columns get a gradient, and the order of channels is nothing."""
    embedding = torch.randn(1, 4, 6, requires_grad=True)
    chosen = bools(6, 1), bools(6, 3), bools(6, 4)
    loss = contrast(embedding, *chosen)
    loss.backward()
    assert embedding.grad[0].abs().sum(0).nonzero().flatten().tolist() == [1, 3, 4]
    assert contrast(embedding[:, [2, 0, 3, 1]], *chosen).item() == pytest.approx(loss.item(), rel=1e-5)


def test_videos_contrast_with_themselves_only():
    embedding = torch.randn(2, 4, 6)
    chosen = [torch.cat([bools(6, place), bools(6)]) for place in (1, 3, 4)]
    changed = embedding.clone()
    changed[1] = 5
    assert contrast(embedding, *chosen) == contrast(changed, *chosen)


@pytest.mark.parametrize("kind", range(3))
def test_contrast_without_one_of_the_three_kinds_is_zero(kind):
    embedding = torch.randn(1, 4, 6, requires_grad=True)
    chosen = [bools(6, 1), bools(6, 3), bools(6, 4)]
    chosen[kind] = bools(6)
    loss = contrast(embedding, *chosen)
    loss.backward()
    assert loss == 0 and (embedding.grad == 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_foreground_or_without_background_it_is_finite(value):
    embedding = torch.zeros(2, 4, 8, requires_grad=True)  # also: snippets of length 0 cannot be normalized
    valid = torch.ones(2, 8, dtype=torch.bool)
    loss = boundary_loss(embedding, torch.full((2, 8), value), torch.full((2, 8, 8), value), valid)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(embedding.grad).all()


def test_steps_pull_hard_snippets_to_the_easy_ones_of_their_kind():
    """Foreground 4..11 of 16, easy at 6..9 and at the ends 0, 1, 14, 15: after 100 gradient steps on the embedding
    alone the snippets at the boundary are nearer to the easy ones of their kind."""
    foreground = torch.tensor([[0.05] * 2 + [0.2] * 2 + [0.6] * 2 + [0.9] * 4 + [0.6] * 2 + [0.2] * 2 + [0.05] * 2])
    masks = (foreground > 0.5).float()[:, None].expand(1, 16, 16)
    embedding = torch.randn(1, 4, 16, requires_grad=True)
    losses = []
    for _ in range(100):
        loss = boundary_loss(embedding, foreground, masks, torch.ones(1, 16, dtype=torch.bool), 4, (0, 2))
        losses.append(loss.item())
        embedding.data -= 0.5 * torch.autograd.grad(loss, embedding)[0]
    direction = torch.nn.functional.normalize(embedding.detach()[0], dim=0)
    to_foreground, to_background = (direction.T @ direction[:, easy].mean(1) for easy in ([6, 7, 8, 9], [0, 1, 14, 15]))
    assert losses[-1] < 0.2 * losses[0]
    assert all(to_foreground[hard] > to_background[hard] for hard in (4, 5, 10, 11))
    assert all(to_foreground[hard] < to_background[hard] for hard in (2, 3, 12, 13))


def test_mined_snippets_are_where_head_and_mask_say():
    """The class head is surest of snippets 2 and 7; the mask spans 4 .. 8, so 4 and 7 are the last inside, 3 and 8 the
    first outside."""
    foreground = torch.tensor([[0.2, 0.1, 0.95, 0.6, 0.6, 0.6, 0.6, 0.05, 0.2, 0.2]])
    masks = torch.zeros(1, 10, 10)
    masks[0, 4:8, 4:8] = 1
    mined = mine_snippets(foreground, masks, torch.ones(1, 10, dtype=torch.bool), easy_count=1, widths=(0, 1))
    places = {kind: member[0].nonzero()[:, 0].tolist() for kind, member in mined.items()}
    assert places == {"easy foreground": [2], "hard foreground": [4, 7], "hard background": [3, 8],
                      "easy background": [7]}


def test_the_shipped_widths_reach_four_snippets_to_both_sides():
    """Foreground 8..19 of 28: inside 8..11 and 16..19, outside 4..7 and 20..23; ten easy snippets of each kind."""
    foreground = torch.full((1, 28), 0.1)
    foreground[0, 8:20] = torch.linspace(0.9, 0.8, 12)
    masks = bools(28, *range(8, 20)).float()[:, None].expand(1, 28, 28)
    found = mine_snippets(foreground, masks, torch.ones(1, 28, dtype=torch.bool))
    assert which(found["hard foreground"]) == [8, 9, 10, 11, 16, 17, 18, 19]
    assert which(found["hard background"]) == [4, 5, 6, 7, 20, 21, 22, 23]
    assert which(found["easy foreground"]) == list(range(8, 18)) and len(which(found["easy background"])) == 10
