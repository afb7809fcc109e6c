"""The three pretext tasks: random foreground, temporal order, reconstruction."""

import math

import pytest
import torch

from spot.losses import mask_loss
from spot.pretext import (
    draw_kept,
    draw_order,
    keep_foreground,
    order_loss,
    random_foreground_loss,
    random_segments,
    reconstruction_loss,
    shuffle_chunks,
)
from spot.targets import make_targets


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_random_segments_differ_lie_inside_and_do_not_overlap():
    segments, labels = random_segments(200, 40, seeded())
    assert (labels[:, 0] == 0).all() and set(labels.flatten().tolist()) == {0, -1}
    sizes = []
    for video, exists in zip(segments, labels == 0, strict=True):
        own = video[exists]
        assert (own >= 0).all() and (own <= 40).all() and (own[:, 1] > own[:, 0]).all()
        assert (own[1:, 0] >= own[:-1, 1]).all()
        sizes += (own[:, 1] - own[:, 0]).tolist()
    assert set((labels == 0).sum(1).tolist()) == {1, 2, 3}
    assert min(sizes) < 4 and max(sizes) > 30  # several sizes


def test_random_segments_repeat_with_their_seed():
    first, again = (random_segments(5, 8, seeded(3)) for _ in range(2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


def test_a_single_random_segment_covers_a_tenth_to_nine_tenths():
    segments, labels = random_segments(500, 10, seeded(), most=1)
    sizes = segments[:, 0, 1] - segments[:, 0, 0]
    assert labels.tolist() == [[0]] * 500 and sizes.min() >= 1 - 1e-5 and sizes.max() <= 9 + 1e-5
    assert sizes.min() < 1.2 and sizes.max() > 8.8 and segments.min() < 0.2 and segments.max() > 9.8


def test_background_rows_of_the_random_foreground_weigh_less():
    """Foreground 1..2 of four: rows 0 and 3 weigh 0.3, the padded one nothing; a snippet that is touched is inside."""
    targets = torch.zeros(1, 5, 5)
    targets[0, 1:3, 1:3] = torch.tensor([[0.2, 0.2], [1, 1]])
    logits, valid = torch.randn(1, 5, 5, generator=seeded()), torch.tensor([[1.0, 1, 1, 1, 0]])
    rows = torch.tensor([[0.3, 1, 1, 0.3, 0]])
    assert random_foreground_loss(logits, targets, valid) == mask_loss(logits, targets, rows, valid)


def test_outside_the_random_foreground_nothing_is_left():
    """Snippets 2..4 stay, the others become 0, the mean of standardized features."""
    features = torch.randn(1, 6, 8)
    coverage = torch.tensor([[0.0, 0, 1, 1, 1, 0, 0, 0]])
    kept = keep_foreground(features, coverage)
    assert torch.equal(kept[..., 2:5], features[..., 2:5])
    assert (kept[..., :2] == 0).all() and (kept[..., 5:] == 0).all()


def test_random_foreground_loss_wants_the_masks_of_the_kept_segments():
    """Near 0 for perfect masks, above ln 2 * 0.4 for the opposite; padded snippets change nothing."""
    segments, labels = random_segments(4, 8, seeded())
    _, targets = make_targets(segments.round(), labels, 1, 8)
    valid = (torch.arange(8) < 6).float().expand(4, 8)
    perfect = 40 * targets - 20
    assert random_foreground_loss(perfect, targets, valid) < 1e-3 < random_foreground_loss(-perfect, targets, valid)
    changed = perfect.clone()
    changed[:, 6:], changed[..., 6:] = 5, 5
    assert random_foreground_loss(changed, targets, valid).item() == pytest.approx(
        random_foreground_loss(perfect, targets, valid).item(), abs=1e-2)


def test_shuffled_chunks_go_back_in_their_order():
    """11 snippets in 5 chunks of 2: the last snippet is left out; `order` tells where each chunk was."""
    features = torch.randn(3, 6, 11)
    order = draw_order(3, 5, seeded())
    shuffled = shuffle_chunks(features, order)
    assert shuffled.shape == (3, 6, 10) and order.sort(1).values.tolist() == [[0, 1, 2, 3, 4]] * 3
    for b in range(3):
        for place, origin in enumerate(order[b].tolist()):
            assert torch.equal(shuffled[b, :, 2 * place : 2 * place + 2], features[b, :, 2 * origin : 2 * origin + 2])
    assert len({tuple(row) for row in draw_order(50, 5, seeded()).tolist()}) > 20


def test_order_loss_by_hand():
    """Certain and right: 0. All places alike: ln 3. A padded sequence does not count."""
    order = torch.tensor([[2, 0, 1], [0, 1, 2]])
    right = 50 * torch.nn.functional.one_hot(order, 3).float()
    both = torch.tensor([True, True])
    assert order_loss(right, order, both) < 1e-6
    assert order_loss(torch.zeros(2, 3, 3), order, both).item() == pytest.approx(math.log(3))
    half_wrong = torch.stack([right[0], -right[1]])
    assert order_loss(half_wrong, order, torch.tensor([True, False])) < 1e-6 < order_loss(half_wrong, order, both)


def test_dropped_features_are_single_values():
    """A third is dropped, not whole snippets or channels; a share of 0 drops none."""
    kept = draw_kept((10, 20, 30), 0.3, torch.device("cpu"), seeded())
    assert kept.dtype == torch.bool and kept.float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert not (kept == kept[..., :1]).all() and not (kept == kept[:, :1]).all()
    assert draw_kept((10, 20, 30), 0, torch.device("cpu"), seeded()).all()


def test_reconstruction_loss_by_hand():
    """Errors 2 in snippet 0, 4 in snippet 1, padding in snippet 2: (4 + 16) / 2 = 10."""
    given = torch.tensor([[[2.0, 4, 100]] * 6])
    assert reconstruction_loss(given, torch.zeros(1, 6, 3), torch.tensor([[1.0, 1, 0]])).item() == pytest.approx(10)
