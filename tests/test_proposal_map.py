"""The map of proposals: which there are, where each reads the sequence, and how well each fits true segments."""

import numpy as np
import pytest
import torch

from spot.proposal_map import (
    boundary_targets,
    existing_proposals,
    flip_map,
    overlap_map,
    proposal_edges,
    sample_map,
    sampling,
)


@pytest.mark.parametrize(("durations", "length", "samples", "stride"), [(6, 6, 5, 1), (4, 7, 3, 1), (5, 7, 4, 2)])
def test_sampling_is_interpolation_at_the_points_of_each_proposal(durations, length, samples, stride):
    """Against numpy: point n of a cell is at start + (n / (N - 1) * 1.5 - 0.25) * duration; snippet centers are at
    t + 0.5, beyond the outer centers the nearest counts, and beyond the ends of the sequence nothing."""
    values = np.random.default_rng(0).normal(size=(samples, length))
    index, weight = sampling(durations, length, samples, stride, "cpu")
    cell = 0
    for first in range(0, durations, stride):
        for start in range(0, length, stride):
            wanted = 0.0
            duration, begin = first + (stride + 1) / 2, start + (stride - 1) / 2
            for n in range(samples):
                point = begin + (n / (samples - 1) * 1.5 - 0.25) * duration
                if 0 <= point <= length:
                    wanted += np.interp(point, np.arange(length) + 0.5, values[n])
            found = (values.reshape(-1)[index[cell].numpy()] * weight[cell].numpy()).sum()
            assert found == pytest.approx(wanted, abs=1e-5), (first, start)
            cell += 1
    assert cell == len(index)


def test_a_convolution_over_the_samples_may_come_before_sampling():
    """As BMN does it: sample every channel (B, C, N, D, T), then convolve over C and N. Here: convolve snippet by
    snippet, then sample and add up. The same numbers, and the same gradient."""
    torch.manual_seed(0)
    features, weight = torch.randn(2, 3, 6, requires_grad=True), torch.randn(4, 3, 5)  # (B, C, T), (O, C, N)
    ours = sample_map(torch.einsum("bct,ocn->bont", features, weight), 6, 5, 1)
    index, share = sampling(6, 6, 5, 1, "cpu")
    points = (features[..., index % 6] * share).unflatten(-1, (5, 2)).sum(-1)  # (B, C, cells, N)
    direct = torch.einsum("bckn,ocn->bok", points, weight).view(2, 4, 6, 6)
    assert torch.allclose(ours, direct, atol=1e-5)
    (gradient,) = torch.autograd.grad(ours.square().sum(), features, retain_graph=True)
    (wanted,) = torch.autograd.grad(direct.square().sum(), features)
    assert torch.allclose(gradient, wanted, atol=1e-3)


def test_proposals_that_end_behind_the_sequence_do_not_exist():
    """T = 4, of which 3 are valid, D = 3: durations 1, 2 and 3 begin at 3, 2 and 1 places."""
    exists = existing_proposals(torch.tensor([[True, True, True, False]]), 3)[0]
    assert exists.tolist() == [[True, True, True, False], [True, True, False, False], [True, False, False, False]]
    start, end = proposal_edges(3, 4)
    assert (start[1, 2], end[1, 2]) == (2, 4)


def test_the_overlap_of_a_tiny_scene_by_hand():
    """A segment from 1 to 3 of T = 4. Cell (duration 2, start 1) is the segment; (1, 1) is its half; (2, 0), from 0 to
    2, shares 1 of 3 snippets; (4, 0) holds it, 2 of 4; a label of -1 is no segment."""
    segments = torch.tensor([[[0.0, 4.0], [1.0, 3.0]]])
    found = overlap_map(segments, torch.tensor([[-1, 2]]), 4, 4)[0]
    assert [found[1, 1], found[0, 1], found[1, 0], found[3, 0], found[0, 3]] == pytest.approx([1, 0.5, 1 / 3, 0.5, 0])


def test_boundary_targets_of_a_tiny_scene_by_hand():
    """T = 8. From 2 to 6: the regions reach half a snippet, so start 2 and the end of snippet 5 alone are positive.
    From 0.5 to 3: position 0.5 lies halfway between starts 0 and 1, which both are; its end is that of snippet 2.
    20 snippets in T = 30 reach 2 to both sides: starts 3 to 7."""
    start, end = boundary_targets(torch.tensor([[[2.0, 6.0]], [[0.5, 3.0]]]), torch.zeros(2, 1, dtype=torch.long), 8)
    assert [x.nonzero()[:, 0].tolist() for x in start] == [[2], [0, 1]]
    assert [x.nonzero()[:, 0].tolist() for x in end] == [[5], [2]]
    start, _ = boundary_targets(torch.tensor([[[5.0, 25.0]]]), torch.zeros(1, 1, dtype=torch.long), 30)
    assert start[0].nonzero()[:, 0].tolist() == [3, 4, 5, 6, 7]


def test_a_turned_map_is_the_map_of_the_turned_sequence():
    """Segment 1 to 3 of T = 5 becomes 2 to 4; turning twice gives the map back where proposals exist."""
    labels = torch.zeros(1, 1, dtype=torch.long)
    own, other = (overlap_map(torch.tensor([[segment]]), labels, 5, 5) for segment in ([1.0, 3.0], [2.0, 4.0]))
    exists = existing_proposals(torch.ones(1, 5, dtype=torch.bool), 5)
    assert torch.equal(flip_map(own) * exists, other * exists)
    assert torch.equal(flip_map(flip_map(own)) * exists, own * exists)
