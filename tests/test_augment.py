"""Views of a sequence: features, segments and masks move alike."""

import math

import pytest
import torch

from spot.augment import (
    Montage,
    View,
    move_segments,
    perturb,
    random_montage,
    random_view,
    resample,
    resample_masks,
)
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
    still = random_view(torch.tensor([8] * 3), 0, seeded())
    assert still.start.tolist() == [0] * 3 and still.scale.tolist() == [1] * 3


def test_resample_by_hand():
    """Positions 2 .. 6 of 8 stretched to the whole: snippet i shows position 2 + (i + 0.5) / 2. A feature that tells
    its own position reads just that."""
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
    moved, labels = move_segments(*pad_segments([[[3, 5]]], [[1]]), view(2, 0.5), 0, 8)
    assert moved.tolist() == [[[2, 6]]] and labels.tolist() == [[1]]


@pytest.mark.parametrize("seed", range(5))
def test_features_and_segments_move_alike(seed):
    """A feature that tells the position of the input reads the old boundary where the new boundary is."""
    batch = 20
    random = random_view(torch.tensor([40] * batch), 0.6, seeded(seed))
    segments = torch.tensor([[[15.0, 25.0]]]).expand(batch, 1, 2)
    moved, labels = move_segments(segments, torch.zeros(batch, 1, dtype=torch.long), random, 0, 40)
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
    _, wanted = make_targets(*move_segments(segments, labels, view(2, 0.5), 0, 8), 3, 8)
    assert ((resample_masks(masks, view(2, 0.5)) > 0.5) == (wanted > 0.5)).all()


def test_the_edges_of_a_cut_sequence_cut_its_segments():
    """Shown from 2 on: [0, 4] becomes [0, 2], [7, 8] becomes [5, 6]; nothing is left of [0, 2]."""
    padded = pad_segments([[[0, 4], [7, 8], [0, 2]]], [[0, 1, 2]])
    moved, labels = move_segments(*padded, view(2, 1), 0, 8)
    assert moved[0, :2].tolist() == [[0, 2], [5, 6]] and labels.tolist() == [[0, 1, -1]]


def test_slivers_are_dropped_and_short_segments_are_not():
    """Shown from 2.8 on: 0.2 of [0, 3] is left over, less than half a snippet: dropped. [4, 4.3] is whole: kept."""
    moved, labels = move_segments(*pad_segments([[[0, 3], [4, 4.3]]], [[0, 1]]), view(2.8, 1), 0, 8)
    assert labels.tolist() == [[-1, 1]] and moved[0, 1].tolist() == pytest.approx([1.2, 1.5])


def test_half_a_snippet_is_kept_where_it_holds_the_center():
    """From 4 on, 1 to 4.5 is the half of a snippet before its center: dropped. Up to 8, 7.5 to 9 is the half behind."""
    _, labels = move_segments(*pad_segments([[[1, 4.5], [7.5, 9]]], [[0, 1]]), view(4, 1), 0, 4)
    assert labels.tolist() == [[-1, 1]]
    for segments, held in (([[1, 4.5]], []), ([[7.5, 9]], [3])):
        targets, _ = make_targets(*move_segments(*pad_segments([segments], [[1]]), view(4, 1), 0, 4), 3, 4)
        assert targets[0, 1].nonzero().flatten().tolist() == held


def test_a_missing_segment_stays_missing():
    still = random_view(torch.tensor([8, 8]), 0, seeded())
    _, labels = move_segments(*pad_segments([[[1, 4]], [[1, 2], [3, 4]]], [[0], [0, 1]]), still, 0, 8)
    assert labels.tolist() == [[0, -1], [0, 1]]


def test_random_views_stay_inside_and_repeat_with_their_seed():
    """Also inside the valid part of a padded video: 5 of 8 snippets."""
    counts = torch.tensor([8, 5] * 100)
    first, again = (random_view(counts, 0.5, seeded(3)) for _ in range(2))
    assert torch.equal(first.start, again.start) and torch.equal(first.scale, again.scale)
    assert first.scale.min() >= 0.5 and first.scale.max() <= 1 and first.scale.std() > 0.1
    assert first.start.min() >= 0 and (first.start + counts * first.scale <= counts + 1e-5).all()


# --- montage ----------------------------------------------------------------------------------------------------------


def swap(split):
    """Two sequences as they are, from `split` on each shows its partner from the partner's snippet 0 on."""
    still = View(torch.zeros(2), torch.ones(2))
    return Montage(still, View(torch.full((2,), -float(split)), torch.ones(2)), torch.tensor([1, 0]),
                   torch.full((2,), float(split)))


def test_a_montage_by_hand():
    """Sequence 0 holds 0..7, sequence 1 holds 10..17; from snippet 5 on each continues as the other one begins."""
    features = torch.stack([torch.arange(8.0), 10 + torch.arange(8.0)])[:, None]
    assert swap(5).show(features)[:, 0].tolist() == [[0, 1, 2, 3, 4, 10, 11, 12], [10, 11, 12, 13, 14, 0, 1, 2]]


def test_a_montage_moves_the_segments_of_both():
    """Split at 5: [3, 7] of sequence 0 ends at the split; [1, 2] of sequence 1 stands at [6, 7] in sequence 0, behind
    the own ones; [4, 6] of sequence 1 and [3, 7] of sequence 0 lie behind what the partner shows."""
    padded = pad_segments([[[3, 7]], [[1, 2], [4, 6]]], [[0], [1, 2]])
    segments, labels = swap(5).show_segments(*padded, 8)
    assert labels.tolist() == [[0, -1, 1, -1], [1, 2, -1, -1]]
    assert segments[0, [0, 2]].tolist() == [[3, 5], [6, 7]] and segments[1, :2].tolist() == [[1, 2], [4, 5]]


def test_no_instance_goes_across_the_split():
    """Both sequences are one instance: the montage has two, 0..5 and 5..8."""
    masks = swap(5).show_masks(torch.ones(2, 8, 8))
    assert masks[0, 2].tolist() == [1] * 5 + [0] * 3 and masks[0, 6].tolist() == [0] * 5 + [1] * 3


def test_masks_of_a_montage_are_the_targets_of_its_segments():
    segments, labels = pad_segments([[[2, 4]], [[0, 2]]], [[0], [1]])
    classes, masks = make_targets(segments, labels, 3, 8)
    wanted_classes, wanted = make_targets(*swap(5).show_segments(segments, labels, 8), 3, 8)
    assert torch.equal(swap(5).show_masks(masks), wanted) and torch.equal(swap(5).show(classes), wanted_classes)


def test_without_a_share_there_is_no_montage():
    """Nobody has a partner, and at zoom 0 all stays as it is."""
    features, masks = torch.randn(4, 6, 8), torch.rand(4, 8, 8)
    plain = random_montage(torch.tensor([8, 8, 5, 1]), 8, 0, 0, seeded())
    assert torch.equal(plain.show(features), features) and torch.equal(plain.show_masks(masks), masks)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_montage_shows_only_valid_snippets_and_their_own_segments(seed):
    """Features tell video and position; a segment in the montage reads its video's boundaries, wherever it went."""
    counts = torch.tensor([40, 40, 30, 20] * 5)
    length, batch = 40, len(counts)
    montage = random_montage(counts, length, 0.3, 0.8, seeded(seed))
    assert (montage.split < length).sum() > batch / 2
    features = torch.stack([torch.arange(batch)[:, None].expand(batch, length),
                            (torch.arange(length) + 0.5).expand(batch, length)], 1).float()
    owner, place = montage.show(features).unbind(1)
    segments = torch.stack([counts * 0.25, counts * 0.75], 1)[:, None]
    moved, labels = montage.show_segments(segments, torch.zeros(batch, 1, dtype=torch.long), length)
    checked = 0
    for b in range(batch):
        seen = montage.show((torch.arange(length) < counts[:, None]).float())[b] > 0.5
        assert (place[b, seen] <= counts[owner[b, seen].round().long()] + 0.51).all()
        for n, source in enumerate([b, int(montage.partner[b])]):
            for end in range(2):
                left = math.floor(moved[b, n, end] - 0.5)
                inside = labels[b, n] >= 0 and 0 <= left < length - 1
                if not inside or not (owner[b, left : left + 2] == source).all():
                    continue
                share = moved[b, n, end] - 0.5 - left
                read = (1 - share) * place[b, left] + share * place[b, left + 1]
                if abs(left + 0.5 - montage.split[b]) > 2 and seen[left : left + 2].all():
                    checked += 1
                    assert read.item() == pytest.approx(segments[source, 0, end].item(), abs=1e-2)
    assert checked > batch / 2


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
    settings = {"noise": 0.3, "offset": 0.2, "channel_dropout": 0.3, "snippet_masking": 0.3}
    first, again = (strong(features, seed=3, **settings) for _ in range(2))
    assert torch.equal(features, before) and torch.equal(first, again) and not torch.equal(first, before)


def test_noise_is_in_standard_deviations():
    noise = strong(torch.zeros(4, 50, 50), noise=0.3)
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)
    # Of any strength up to 0.2, evenly: the variance over many sequences is 0.2^2 / 3.
    offset = strong(torch.zeros(500, 20, 4), offset=0.2)
    assert (offset == offset[..., :1]).all() and offset[..., 0].std().item() == pytest.approx(0.2 / 3**0.5, rel=0.1)


def test_channel_dropout_takes_whole_channels_and_keeps_the_mean():
    """A quarter of the channels becomes 0 everywhere, the others 1 / 0.75: the mean over many stays 1."""
    dropped = strong(torch.ones(10, 200, 5), channel_dropout=0.25)
    assert (dropped == dropped[..., :1]).all()
    assert sorted({round(value, 4) for value in dropped.flatten().tolist()}) == [0, 1.3333]
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)


def test_snippet_masking_takes_whole_snippets():
    masked = strong(torch.ones(50, 6, 8), snippet_masking=0.25)
    assert (masked == masked[:, :1]).all() and (1 - masked.mean()).item() == pytest.approx(0.25, abs=0.06)
