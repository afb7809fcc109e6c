"""What a teacher says, as targets."""

import pytest
import torch
from tiny import dataset, video

from spot.augment import Montage, View
from spot.pseudo_labels import PseudoLabels, agreement, classify_recordings, make_pseudo_labels

T, K = 8, 3
VALID = torch.ones(1, T, dtype=torch.bool)


def says(start, end, label, class_logit=6.0, mask=0.9):
    """A teacher that sees one instance of class `label` in snippets start .. end, and background elsewhere."""
    logits = torch.full((1, K + 1, T), -6.0)
    logits[0, K] = 6
    logits[0, :, start:end] = -6
    logits[0, label, start:end] = class_logit
    masks = torch.full((1, T, T), 1 - mask)
    masks[0, start:end, start:end] = mask
    return {"class_logits": logits.requires_grad_(), "masks": masks.requires_grad_()}


def labels_of(outputs, valid=VALID, start=0.0, scale=1.0, activation="sigmoid", class_threshold=0.6, mask_threshold=0.5,
              soft=True):
    """Pseudo labels for a student that sees one affine view and no partner."""
    view = View(torch.tensor([start]), torch.tensor([scale]))
    montage = Montage(view, view, torch.tensor([0]), torch.tensor([float(T)]))
    return make_pseudo_labels(outputs, outputs["class_logits"], valid, montage, activation, class_threshold,
                              mask_threshold, soft)


both_kinds = pytest.mark.parametrize("soft", [True, False])


@both_kinds
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_sure_teacher_gives_the_targets_of_its_segment(activation, soft):
    """Class 1 in snippets 2..4: its class targets are about 1 there, background elsewhere; its rows show 2..4."""
    pseudo = labels_of(says(2, 5, 1), activation=activation, soft=soft)
    assert (pseudo.class_targets[0, 1] > 0.5).nonzero().flatten().tolist() == [2, 3, 4]
    assert (pseudo.class_targets[0, K] > 0.5).nonzero().flatten().tolist() == [0, 1, 5, 6, 7]
    assert pseudo.class_targets[0, [0, 2]].max() < 0.3
    assert pseudo.mask_targets[0, 3].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    assert pseudo.mask_targets[0, [0, 1, 5, 6, 7]].sum() == 0
    assert (pseudo.class_weights == 1).all() and (pseudo.row_weights == 1).all() and pseudo.kept_share == 1


def test_pseudo_labels_are_data():
    """They carry no gradient to the teacher."""
    pseudo = labels_of(says(2, 5, 1))
    assert not any(getattr(pseudo, name).requires_grad for name in ("class_targets", "mask_targets", "class_weights"))


def test_an_unsure_class_is_not_used():
    """Class logit 0 is probability 0.5 or less, below the threshold: snippets 2..4 do not count, background does."""
    pseudo = labels_of(says(2, 5, 1, class_logit=0.0))
    assert pseudo.class_weights[0].tolist() == [1, 1, 0, 0, 0, 1, 1, 1] and pseudo.kept_share == 0
    assert labels_of(says(2, 5, 1, class_logit=0.0), class_threshold=0.1).kept_share == 1


@pytest.mark.parametrize(("threshold", "seen"), [(0.5, 3), (0.85, 3), (0.95, 0)])
def test_masks_are_cut_at_their_threshold(threshold, seen):
    """The teacher's mask is at 0.9."""
    assert labels_of(says(2, 5, 1), mask_threshold=threshold).mask_targets[0, 3].sum() == seen


def test_targets_move_to_the_view_of_the_student():
    """The view shows snippets 2 .. 6 stretched to 8: the segment [3, 5] becomes [2, 6]."""
    pseudo = labels_of(says(3, 5, 1), start=2.0, scale=0.5)
    assert (pseudo.class_targets[0, 1] > 0.5).nonzero().flatten().tolist() == [2, 3, 4, 5]
    assert pseudo.mask_targets[0, 3].nonzero().flatten().tolist() == [2, 3, 4, 5]


def test_padding_is_neither_foreground_nor_used():
    valid = torch.arange(T)[None] < 4
    pseudo = labels_of(says(2, 8, 1), valid=valid)
    assert pseudo.class_weights[0].tolist() == pseudo.row_weights[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert pseudo.mask_targets[0, :, 4:].sum() == 0 and pseudo.class_targets[0, :K, 4:].max() < 0.01


def test_a_teacher_that_sees_nothing_teaches_background():
    pseudo = labels_of(says(0, 0, 0))
    assert (pseudo.class_targets[0, K] > 0.9).all() and pseudo.mask_targets.sum() == 0
    assert (pseudo.class_weights == 1).all() and torch.isfinite(pseudo.kept_share)


def test_soft_labels_keep_both_classes_of_a_snippet():
    """CliffDiving and Diving, both at logit 6: both are targets; the published kind keeps one."""
    outputs = says(2, 5, 0)
    with torch.no_grad():
        outputs["class_logits"][0, 2, 2:5] = 6
    assert (labels_of(outputs, mask_threshold=0.5).class_targets[0, [0, 2], 3] > 0.5).tolist() == [True, True]
    assert labels_of(outputs, soft=False).class_targets[0, :K, 3].sum() == 1


def test_soft_labels_leave_out_what_is_neither_foreground_nor_background():
    """Foreground 0.4 in snippet 6: between sure background and sure foreground, it says nothing."""
    outputs = says(2, 5, 1)
    with torch.no_grad():
        outputs["class_logits"][0, K, 6] = torch.logit(torch.tensor(0.6))
    assert labels_of(outputs).class_weights[0].tolist() == [1, 1, 1, 1, 1, 1, 0, 1]
    assert labels_of(outputs, soft=False).class_weights[0].tolist() == [1] * 8


def test_agreement_counts_what_is_kept_and_what_is_right():
    """Eight snippets, true class 0 on the first four. Said: class 0 on two of them (kept), class 1 on one (kept), class
    0 on one (not kept) and on one true background snippet (kept): 2 of 4 kept are right, 2 of 4 true are found."""
    true, said = torch.zeros(1, 3, 8), torch.zeros(1, 3, 8)
    true[0, 0, :4], true[0, 2, 4:] = 1, 1
    said[0, 0, [0, 1, 3, 4]], said[0, 1, 2], said[0, 2, 5:] = 1, 1, 1
    weights = torch.tensor([[1, 1, 1, 0, 1, 1, 1, 1.0]])
    pseudo = PseudoLabels(said, torch.zeros(1, 8, 8), weights, weights, torch.tensor(0.0))
    found = agreement(pseudo, true)
    assert found["pseudo_precision"] == 0.5 and found["pseudo_recall"] == 0.5


def test_agreement_leaves_out_what_is_half_background():
    """Snippet 0 is said to be as much background as class 0, snippet 1 is truly so: neither is foreground."""
    true, said = torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)
    true[0, 0, [0, 2]], true[0, [0, 2], 1], true[0, 2, 3] = 1, 0.5, 1
    said[0, [0, 2], 0], said[0, 0, [1, 2]], said[0, 2, 3] = 0.5, 1, 1
    weights = torch.ones(1, 4)
    found = agreement(PseudoLabels(said, torch.zeros(1, 4, 4), weights, weights, torch.tensor(0.0)), true)
    assert found["pseudo_precision"] == 0.5  # of snippets 1 and 2, the second
    assert found["pseudo_recall"] == 0.5  # of snippets 0 and 2, the second


def test_windows_that_overlap_give_a_recording_one_class_logit_per_snippet():
    """12 snippets, windows of 8 at 0 and 4; the first window's logits are 1 everywhere, those of the second 2.

    Weights within a window: 1 2 3 4 4 3 2 1. Snippet 4: (4 x 1 + 1 x 2) / 5 = 1.2; snippet 5: (3 + 2 x 2) / 5 = 1.4;
    snippet 6: (2 + 3 x 2) / 5 = 1.6; snippet 7: (1 + 4 x 2) / 5 = 1.8.
    """
    one = [video("long", duration=12.0), video("short", duration=5.0)]
    data = dataset(one)
    assert data.sequence_start.tolist() == [0, 4, 0]
    answers = iter([1.0, 2.0, 3.0])

    def classify(features, valid):
        return torch.stack([torch.full((4, 8), next(answers)) for _ in features])

    for batch_size in (1, 3):
        answers = iter([1.0, 2.0, 3.0])
        table = classify_recordings(data, classify, 3, batch_size)
        assert table.shape == (17, 4)
        expected = [1, 1, 1, 1, 1.2, 1.4, 1.6, 1.8, 2, 2, 2, 2, 3, 3, 3, 3, 3]
        assert table[:, 0].tolist() == pytest.approx(expected, abs=1e-2)
