"""The supervised losses on numbers that can be checked by hand."""

import math

import pytest
import torch

from spot.losses import class_loss, class_probabilities, foreground, mask_loss, pooled_class_logits, weighted_mean

LN2 = math.log(2)


def one_hot_targets(*classes, count=4):
    """(1, count, T) with one class per snippet."""
    return torch.nn.functional.one_hot(torch.tensor(classes), count).float().T[None]


# --- class loss -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_perfect_classes_cost_nothing(activation):
    targets = one_hot_targets(0, 1, 2, 3)
    logits = 40 * targets - 20
    assert class_loss(logits, targets, torch.ones(1, 4), activation) < 1e-6
    assert class_loss(-logits, targets, torch.ones(1, 4), activation) > 10


def test_sigmoid_class_loss_by_hand():
    """Logit 0 is p = 1/2: binary cross entropy ln 2, focus (1/2)^2, two classes: 2 * ln 2 / 4 per snippet."""
    loss = class_loss(torch.zeros(1, 2, 3), one_hot_targets(0, 1, 1, count=2), torch.ones(1, 3))
    assert loss.item() == pytest.approx(LN2 / 2)


def test_softmax_class_loss_by_hand():
    """Two equal logits: p = 1/2 of the right class, (1 - 1/2)^2 * ln 2; without focus (gamma 0) ln 2."""
    arguments = torch.zeros(1, 2, 3), one_hot_targets(0, 1, 1, count=2), torch.ones(1, 3), "softmax"
    assert class_loss(*arguments).item() == pytest.approx(LN2 / 4)
    assert class_loss(*arguments, gamma=0).item() == pytest.approx(LN2)


def test_easy_background_does_not_drown_a_missed_action():
    """One missed action among 999 easy background snippets at p = 0.95: without focus they cost 999 * 0.051 / 1000,
    with focus 0.05^2 of that, while the missed action keeps its cost of about 3 / 1000."""
    targets = one_hot_targets(*[1] * 999, 0, count=2)
    logits = torch.tensor([-3.0, 3.0])[None, :, None].expand(1, 2, 1000)
    easy = torch.ones(1, 1000)
    easy[0, -1] = 0
    for activation in ("sigmoid", "softmax"):
        background = class_loss(logits, targets, easy, activation) * 999
        assert class_loss(logits, targets, 1 - easy, activation) > 3 * background


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_soft_target_is_best_met_exactly(activation):
    """Target 0.7 of class 0 and 0.3 background: p = 0.7 costs less than p = 0.5, 0.9 or certainty."""
    targets = torch.tensor([[[0.7], [0.3]]])

    def loss(p):
        logits = torch.tensor([[[math.log(p / (1 - p))], [math.log((1 - p) / p)]]])
        logits = logits / 2 if activation == "softmax" else logits
        return class_loss(logits, targets, torch.ones(1, 1), activation, gamma=0 if activation == "softmax" else 2)

    assert loss(0.7) < min(loss(0.5), loss(0.9), loss(0.999))


def test_two_classes_at_once_are_two_sigmoid_targets():
    targets = torch.tensor([[[1.0], [1.0], [0.0]]])
    assert class_loss(torch.tensor([[[20.0], [20.0], [-20.0]]]), targets, torch.ones(1, 1)) < 1e-6


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_snippets_of_weight_zero_change_nothing(activation):
    targets = one_hot_targets(0, 1, 2, 3)
    weights = torch.tensor([[1.0, 1, 0, 0]])
    logits = torch.randn(1, 4, 4)
    changed = logits.clone()
    changed[..., 2:] = 100
    assert class_loss(logits, targets, weights, activation) == class_loss(changed, targets, weights, activation)
    assert class_loss(changed, targets, torch.zeros(1, 4), activation) == 0


def test_probabilities_and_foreground():
    """softmax of (ln 2, 0, 0, 0): 2/5, 1/5, 1/5, 1/5, so the foreground is 4/5; sigmoid of the same: 2/3, 1/2 ..."""
    logits = torch.tensor([[[LN2], [0.0], [0.0], [0.0]]])
    assert class_probabilities(logits, "softmax")[0, :, 0].tolist() == pytest.approx([0.4, 0.2, 0.2, 0.2])
    assert foreground(class_probabilities(logits, "softmax")).tolist() == [pytest.approx([0.8])]
    assert class_probabilities(logits, "sigmoid")[0, :, 0].tolist() == pytest.approx([2 / 3, 0.5, 0.5, 0.5])


def test_weighted_mean_by_hand():
    """(1 * 1 + 5 * 3) / 4 = 4; no weight at all gives 0, not 0 / 0."""
    assert weighted_mean(torch.tensor([1.0, 5]), torch.tensor([1.0, 3])) == 4
    assert weighted_mean(torch.tensor([1.0, 5]), torch.zeros(2)) == 0


# --- mask loss --------------------------------------------------------------------------------------------------------


def test_perfect_masks_cost_nothing():
    targets = torch.zeros(1, 8, 8)
    targets[0, 2:5, 2:5] = 1
    assert mask_loss(40 * targets - 20, targets, torch.ones(1, 8)) < 1e-4
    assert mask_loss(20 - 40 * targets, targets, torch.ones(1, 8)) > 1


def test_mask_loss_by_hand():
    """T = 2, all logits 0, row 0 all foreground, row 1 all background.
    Entropy: every entry costs ln 2; positives 2 + 10, total 4 + 20, so each weighs 24 / 12 = 2: 4 * 2 * ln 2 / 48.
    Dice of row 0: 1 - (2 * (0.5 + 0.5) + 1) / (0.25 + 0.25 + 1 + 1 + 1) = 1 - 3 / 3.5; row 1 has no foreground.
    """
    targets = torch.tensor([[[1.0, 1], [0, 0]]])
    loss = mask_loss(torch.zeros(1, 2, 2), targets, torch.ones(1, 2))
    assert loss.item() == pytest.approx(0.4 * 8 * LN2 / 48 + 0.6 * (1 - 3 / 3.5))
    dice = mask_loss(torch.zeros(1, 2, 2), targets, torch.ones(1, 2), dice_weight=1)
    assert dice.item() == pytest.approx(1 - 3 / 3.5)


def test_foreground_and_background_weigh_the_same():
    """4 of 40 columns are foreground: calling all foreground costs about what calling all background costs, although
    nine times as many entries are wrong (entropy alone; the 10 in the ratio leaves a few percent)."""
    targets = torch.zeros(4, 40, 40)
    targets[:, :, 10:14] = 1
    up, down = (mask_loss(torch.full((4, 40, 40), value), targets, torch.ones(4, 40), dice_weight=0).item()
                for value in (5.0, -5.0))
    assert up == pytest.approx(down, rel=0.03)


def test_a_row_without_weight_changes_nothing():
    targets = torch.zeros(1, 4, 4)
    targets[0, :2, :2] = 1
    logits, rows = torch.randn(1, 4, 4), torch.tensor([[1.0, 1, 0, 0]])
    changed = logits.clone()
    changed[0, 2:] = 50
    assert mask_loss(logits, targets, rows) == mask_loss(changed, targets, rows)
    assert mask_loss(changed, targets, torch.zeros(1, 4)) == 0


def test_a_padded_column_changes_nothing():
    targets = torch.zeros(1, 4, 4)
    targets[0, :2, :2] = 1
    logits, columns = torch.randn(1, 4, 4), torch.tensor([[1.0, 1, 1, 0]])
    changed = logits.clone()
    changed[..., 3] = 50
    one, other = (mask_loss(x, targets, torch.ones(1, 4), columns) for x in (logits, changed))
    assert one == other


def test_a_batch_without_foreground_is_finite_and_wants_quiet_masks():
    logits = torch.zeros(2, 4, 4, requires_grad=True)
    loss = mask_loss(logits, torch.zeros(2, 4, 4), torch.ones(2, 4))
    loss.backward()
    assert torch.isfinite(loss) and (logits.grad > 0).all()


def test_a_soft_boundary_is_learned_as_it_is():
    """Row target (0, 0.25, 1, 1): the logit of 0.25 has no gradient from the entropy where it says 0.25."""
    targets = torch.tensor([[[0, 0.25, 1, 1]]])
    logits = torch.logit(targets.clamp(1e-6, 1 - 1e-6)).requires_grad_()
    mask_loss(logits, targets, torch.ones(1, 1), dice_weight=1).backward()
    assert logits.grad.abs().max() < 1e-5


# --- pooled class logits ----------------------------------------------------------------------------------------------


def test_class_logits_are_pooled_under_the_mask_row():
    """Logits 1, 2, 3, 4. Row 0 sees snippets 0 and 1 alike: 1.5; row 1 sees 0 fully and 3 at one third: (1 + 4 / 3) /
    (4 / 3) = 1.75; row 2 itself: 3; row 3 all: 2.5."""
    masks = torch.tensor([[[1, 1, 0, 0], [1, 0, 0, 1 / 3], [0, 0, 1, 0], [1, 1, 1, 1]]])
    logits = torch.tensor([[[1.0, 2, 3, 4], [0, 0, 0, 0]]])
    assert pooled_class_logits(logits, masks)[0, 0].tolist() == pytest.approx([1.5, 1.75, 3, 2.5])


def test_an_empty_row_pools_to_something_finite():
    assert torch.isfinite(pooled_class_logits(torch.randn(1, 4, 3), torch.zeros(1, 3, 3))).all()


@pytest.mark.parametrize(("row", "counts"), [((1.0, 0.0), True), ((0.6, 0.0), True), ((0.5, 0.0), False)])
def test_dice_is_of_rows_that_have_a_foreground_snippet(row, counts):
    """One snippet above one half is enough. For (1, 0) at logits 0: 1 - (2 * 0.5 + 1) / (0.25 + 0.25 + 1 + 1)."""
    loss = mask_loss(torch.zeros(1, 1, 2), torch.tensor([[row]]), torch.ones(1, 1), dice_weight=1).item()
    assert (loss > 0) == counts
    if row[0] == 1:
        assert loss == pytest.approx(1 - 2 / 2.5)
