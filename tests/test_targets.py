"""Segments -> class targets and mask targets, by hand."""

import pytest
import torch

from spot.targets import make_targets, pad_segments

T, K = 8, 3


def targets(*segments):
    """Targets of one video with (start, end, class) segments in positions."""
    padded = pad_segments([[segment[:2] for segment in segments]], [[segment[2] for segment in segments]])
    class_targets, mask_targets = make_targets(*padded, K, T)
    return class_targets[0], mask_targets[0]


def row(*ones):
    return [1.0 if i in ones else 0.0 for i in range(T)]


def test_one_segment():
    """[2, 5] holds snippets 2, 3, 4; each of their rows shows all three; background is class index 3."""
    classes, masks = targets((2, 5, 1))
    assert classes.tolist() == [row(), row(2, 3, 4), row(), row(0, 1, 5, 6, 7)]
    assert masks.tolist() == [row(2, 3, 4) if i in (2, 3, 4) else row() for i in range(T)]


def test_a_snippet_can_hold_two_classes():
    """CliffDiving is also Diving: both classes at once, background at neither."""
    classes, _ = targets((2, 5, 0), (2, 5, 2))
    assert classes[0].tolist() == classes[2].tolist() == row(2, 3, 4)
    assert classes[1].sum() == 0 and classes[3].tolist() == row(0, 1, 5, 6, 7)


def test_the_row_of_a_snippet_is_its_shortest_segment():
    """[0, 8] holds [3, 5]: rows 3 and 4 show the short one, the others the long one."""
    _, masks = targets((0, 8, 0), (3, 5, 1))
    assert masks.tolist() == [row(3, 4) if i in (3, 4) else row(*range(8)) for i in range(T)]


def test_boundaries_carry_the_covered_share():
    """[1.75, 4.5]: snippet 1 is covered by 0.25 and does not hold its center 1.5 in the segment, so its class is
    background; snippet 4 is covered by 0.5 up to its center, which the end excludes. The mask keeps both shares."""
    classes, masks = targets((1.75, 4.5, 0))
    assert classes[0].tolist() == row(2, 3)
    assert masks[2].tolist() == [0, 0.25, 1, 1, 0.5, 0, 0, 0]
    assert masks[1].sum() == masks[4].sum() == 0


def test_an_owned_boundary_snippet_is_partly_background():
    """[1.25, 4]: snippet 1 holds its center, covered by 0.75."""
    classes, masks = targets((1.25, 4, 0))
    assert classes[0, 1] == 0.75 and classes[K, 1] == 0.25
    assert masks[1].tolist() == [0, 0.75, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(("start", "end", "nearest"), [(2.6, 2.9, 2), (0, 0.2, 0), (7.8, 8, 7), (2.8, 3.1, 2),
                                                       (5, 5, 5)])
def test_a_segment_without_a_center_gets_the_nearest_snippet(start, end, nearest):
    """Its middle decides: [2.8, 3.1] has its middle 2.95 in snippet 2; the mask keeps the 0.1 of snippet 3 as well."""
    classes, masks = targets((start, end, 2))
    assert classes[2].tolist() == row(nearest) and (masks[nearest] >= 0.5).float().tolist() == row(nearest)


def test_every_segment_of_a_video_counts():
    classes, masks = targets((0, 2, 0), (3, 4, 0), (6, 8, 1))
    assert classes[0].tolist() == row(0, 1, 3) and classes[1].tolist() == row(6, 7)
    assert masks[0].tolist() == row(0, 1) and masks[3].tolist() == row(3) and masks[7].tolist() == row(6, 7)


def test_segments_that_reach_beyond_the_sequence_are_cut():
    classes, masks = targets((-3, 2, 0), (7, 12, 1))
    assert classes[0].tolist() == row(0, 1) and masks[7].tolist() == row(7)


def test_no_segment_is_all_background():
    classes, masks = targets()
    assert classes[K].tolist() == [1] * T and classes[:K].sum() == 0 and masks.sum() == 0


def test_padded_segments_do_not_leak_into_other_videos():
    """Video 0 has one segment, video 1 has three: the padding of video 0 adds nothing, not even to class 0."""
    segments, labels = pad_segments([[[2, 4]], [[0, 1], [2, 3], [5, 8]]], [[1], [0, 0, 2]])
    assert segments.shape == (2, 3, 2) and labels.tolist() == [[1, -1, -1], [0, 0, 2]]
    batch_classes, batch_masks = make_targets(segments, labels, K, T)
    for b, alone in enumerate([targets((2, 4, 1)), targets((0, 1, 0), (2, 3, 0), (5, 8, 2))]):
        assert torch.equal(batch_classes[b], alone[0]) and torch.equal(batch_masks[b], alone[1])


def test_targets_leave_their_input_alone():
    segments, labels = pad_segments([[[2, 4]]], [[1]])
    before = segments.clone(), labels.clone()
    make_targets(segments, labels, K, T)
    assert torch.equal(segments, before[0]) and torch.equal(labels, before[1])
