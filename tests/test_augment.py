"""Views of a sequence: features, segments and masks move alike."""

import pytest
import torch

from spot.augment import View, move_segments, perturb, random_view, resample, resample_masks
from spot.targets import make_targets, pad_segments


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def view(start, scale):
    return View(torch.tensor([float(start)]), torch.tensor([float(scale)]))


IDENTITY = view(0, 1)


def test_the_identity_changes_nothing():
    features, masks = torch.randn(1, 6, 8), torch.rand(1, 8, 8)
    assert torch.equal(resample(features, IDENTITY), features)
    assert torch.equal(resample_masks(masks, IDENTITY), masks)
    still = random_view(3, 8, 0, seeded())
    assert still.start.tolist() == [0] * 3 and still.scale.tolist() == [1] * 3


def test_resample_by_hand():
    """Positions 2 .. 6 of 8 stretched to the whole: snippet i shows position 2 + (i + 0.5) / 2. A feature that tells its
    own position reads just that."""
    place = (torch.arange(8) + 0.5)[None, None]
    assert resample(place, view(2, 0.5))[0, 0].tolist() == [2 + (i + 0.5) / 2 for i in range(8)]


def test_beyond_the_ends_the_last_snippet_is_repeated():
    place = torch.arange(4.0)[None, None]
    assert resample(place, view(2, 1))[0, 0].tolist() == [2, 3, 3, 3]
    assert resample(place, view(-2, 1))[0, 0].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("length", [1, 2])
def test_very_short_sequences_can_be_resampled(length):
    assert torch.isfinite(resample(torch.randn(1, 6, length), view(0.1, 0.8))).all()


def test_any_axis_can_be_resampled():
    x = torch.randn(2, 8, 3)
    both = View(torch.tensor([1.0, 2]), torch.tensor([0.5, 0.75]))
    assert torch.equal(resample(x, both, 1), resample(x.transpose(1, 2), both).transpose(1, 2))


def test_segments_by_hand():
    """[3, 5] seen through 2 .. 6 stretched to 8: (3 - 2) / 0.5 = 2 to (5 - 2) / 0.5 = 6."""
    moved, labels = move_segments(*pad_segments([[[3, 5]]], [[1]]), view(2, 0.5), 8)
    assert moved.tolist() == [[[2, 6]]] and labels.tolist() == [[1]]


@pytest.mark.parametrize("seed", range(5))
def test_features_and_segments_move_alike(seed):
    """A feature that tells the position of the input reads the old boundary where the new boundary is."""
    batch = 20
    random = random_view(batch, 40, 0.6, seeded(seed))
    segments = torch.tensor([[[15.0, 25.0]]]).expand(batch, 1, 2)
    moved, labels = move_segments(segments, torch.zeros(batch, 1, dtype=torch.long), random, 40)
    place = resample((torch.arange(40) + 0.5).expand(batch, 1, 40), random)[:, 0]
    for b in range(batch):
        for end in range(2):
            position = moved[b, 0, end].item()
            if labels[b, 0] < 0 or not 0.5 < position < 39.5:
                continue  # cut by the view
            left = int(position - 0.5)
            share = position - 0.5 - left
            read = (1 - share) * place[b, left] + share * place[b, left + 1]
            assert read.item() == pytest.approx(segments[b, 0, end].item(), abs=1e-3)


def test_masks_move_on_both_axes():
    """The mask of [3, 5] seen through 2 .. 6 is the mask of the moved segment [2, 6], but for the soft boundary."""
    segments, labels = pad_segments([[[3, 5]]], [[1]])
    _, masks = make_targets(segments, labels, 3, 8)
    _, wanted = make_targets(*move_segments(segments, labels, view(2, 0.5), 8), 3, 8)
    assert ((resample_masks(masks, view(2, 0.5)) > 0.5) == (wanted > 0.5)).all()


def test_the_edges_of_a_cut_sequence_cut_its_segments():
    """Shown from 2 on: [0, 4] becomes [0, 2], [7, 8] becomes [5, 6]; nothing is left of [0, 2]."""
    padded = pad_segments([[[0, 4], [7, 8], [0, 2]]], [[0, 1, 2]])
    moved, labels = move_segments(*padded, view(2, 1), 8)
    assert moved[0, :2].tolist() == [[0, 2], [5, 6]] and labels.tolist() == [[0, 1, -1]]


def test_slivers_are_dropped_and_short_segments_are_not():
    """Shown from 2.8 on: 0.2 of [0, 3] is left over, less than half a snippet: dropped. [4, 4.3] is whole: kept."""
    moved, labels = move_segments(*pad_segments([[[0, 3], [4, 4.3]]], [[0, 1]]), view(2.8, 1), 8)
    assert labels.tolist() == [[-1, 1]] and moved[0, 1].tolist() == pytest.approx([1.2, 1.5])


def test_a_missing_segment_stays_missing():
    _, labels = move_segments(*pad_segments([[[1, 4]], [[1, 2], [3, 4]]], [[0], [0, 1]]), random_view(2, 8, 0, seeded()), 8)
    assert labels.tolist() == [[0, -1], [0, 1]]


def test_random_views_stay_inside_and_repeat_with_their_seed():
    first, again = (random_view(200, 8, 0.5, seeded(3)) for _ in range(2))
    assert torch.equal(first.start, again.start) and torch.equal(first.scale, again.scale)
    assert first.scale.min() >= 0.5 and first.scale.max() <= 1 and first.scale.std() > 0.1
    assert first.start.min() >= 0 and (first.start + 8 * first.scale).max() <= 8 + 1e-5


# --- the strong part --------------------------------------------------------------------------------------------------


def strong(features, seed=0, **settings):
    """`perturb` with only the named parts."""
    off = {"noise": 0, "offset": 0, "channel_dropout": 0, "snippet_masking": 0}
    return perturb(features, **{**off, **settings}, generator=seeded(seed))


def test_nothing_asked_changes_nothing():
    features = torch.randn(2, 6, 8)
    assert torch.equal(strong(features), features)


def test_perturbing_leaves_its_input_alone_and_repeats_with_its_seed():
    features = torch.randn(2, 6, 8)
    before = features.clone()
    first, again = (strong(features, seed=3, noise=0.3, offset=0.2, channel_dropout=0.3, snippet_masking=0.3) for _ in range(2))
    assert torch.equal(features, before) and torch.equal(first, again) and not torch.equal(first, before)


def test_noise_is_in_standard_deviations():
    noise = strong(torch.zeros(4, 50, 50), noise=0.3)
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)
    offset = strong(torch.zeros(4, 500, 50), offset=0.2)
    assert (offset == offset[..., :1]).all() and offset[..., 0].std().item() == pytest.approx(0.2, rel=0.1)


def test_channel_dropout_takes_whole_channels_and_keeps_the_mean():
    """A quarter of the channels becomes 0 everywhere, the others 1 / 0.75: the mean over many stays 1."""
    dropped = strong(torch.ones(10, 200, 5), channel_dropout=0.25)
    assert (dropped == dropped[..., :1]).all()
    assert sorted({round(value, 4) for value in dropped.flatten().tolist()}) == [0, 1.3333]
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)


def test_snippet_masking_takes_whole_snippets():
    masked = strong(torch.ones(50, 6, 8), snippet_masking=0.25)
    assert (masked == masked[:, :1]).all() and (1 - masked.mean()).item() == pytest.approx(0.25, abs=0.06)
