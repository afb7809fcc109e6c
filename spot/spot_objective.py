"""What the detector SPOT learns: its targets, its losses, pseudo labels from a teacher, and how two outputs differ."""

import torch

from spot import pretext
from spot.losses import class_loss, class_probabilities, mask_loss, pooled_class_logits, weighted_mean
from spot.pseudo_labels import agreement, make_pseudo_labels
from spot.registry import DETECTORS, LOSSES, find
from spot.targets import make_targets

# Background rows must be quiet, but there are more of them than foreground rows.
BACKGROUND_ROW_WEIGHT = 0.3


class SpotObjective:
    """The learning signal of a `model.Spot`; see `detectors` for what each method is asked.

    weights: {loss name: weight}
    """

    names = DETECTORS["spot"]["losses"]
    differences = ("class", "mask")
    has_snippet_classes = True

    def __init__(self, model, weights):
        self.model, self.weights = model, weights

    def targets(self, segments, labels, valid):
        """Targets of true segments (B, N, 2) with labels (B, N), of which -1 is none; valid: (B, T) bool."""
        class_targets, mask_targets = make_targets(segments, labels, self.model.num_classes, valid.shape[1])
        seen = valid.to(segments.dtype)
        return {"class": class_targets, "mask": mask_targets, "class_weights": seen, "row_weights": seen, "valid": seen}

    def losses(self, outputs, targets):
        """Class, instance and mask losses of one kind of targets."""
        class_targets, mask_targets, valid = targets["class"], targets["mask"], targets["valid"]
        activation, class_weights = self.model.class_activation, targets["class_weights"]
        inside = (class_targets[:, -1] < 0.5).to(valid.dtype)
        rows = targets["row_weights"] * (inside + BACKGROUND_ROW_WEIGHT * (1 - inside))
        pooled = pooled_class_logits(outputs["class_logits"], mask_targets * valid[:, None])
        return {"class": class_loss(outputs["class_logits"], class_targets, class_weights, activation),
                "instance": class_loss(pooled, class_targets, class_weights * inside, activation),
                "mask": mask_loss(outputs["mask_logits"], mask_targets, rows, valid)}

    def label_free(self, outputs, features, valid, parts):
        """The losses that need no classes (`registry.LOSSES`), on labeled and unlabeled sequences alike.

        valid: (B, T) 0 or 1; parts: the targets of those sequences, one dict after another: hard snippets are at the
        boundaries of their masks
        """
        masks = parts[0]["mask"] if len(parts) == 1 else torch.cat([part["mask"] for part in parts])
        return {name: find(LOSSES, name)(self.model, outputs, features, valid, masks)
                for name in LOSSES if self.weights[name] > 0}

    def taught(self, teacher, outputs, valid):
        """A teacher's predictions for a batch, from its outputs: for `pseudo_targets` and `difference`."""
        return outputs

    def pseudo_targets(self, taught, unlabeled, view, seen, threshold, settings, truth=None):
        """Targets from a teacher's outputs on the weak view, as the student's view shows them; and statistics.

        unlabeled: the batch, with `class_logits` where the classes are not the teacher's own; view: augment.Montage;
        seen: (B, T) bool, the snippets of the student's view; threshold: least class probability
        settings: semi.SemiSupervision; truth: true (segments, labels) of the weak view for diagnostics, None: not known
        """
        class_logits = unlabeled.get("class_logits", taught["class_logits"])
        pseudo = make_pseudo_labels(taught, class_logits, unlabeled["valid"], view, self.model.class_activation,
                                    threshold, settings.mask_threshold, settings.targets == "soft")
        statistics = {"kept_share": pseudo.kept_share}
        if truth is not None:
            moved = view.show_segments(*truth, seen.shape[1])
            statistics |= agreement(pseudo, make_targets(*moved, self.model.num_classes, seen.shape[1])[0])
        return {"class": pseudo.class_targets, "mask": pseudo.mask_targets, "class_weights": pseudo.class_weights,
                "row_weights": pseudo.row_weights, "valid": seen.to(pseudo.class_weights.dtype)}, statistics

    def difference(self, outputs, taught, valid):
        """Mean squared difference of the student's and the teacher's probabilities, for each kind of output."""
        valid = valid.to(outputs["masks"].dtype)
        activation = self.model.class_activation
        ours, theirs = (class_probabilities(one["class_logits"], activation) for one in (outputs, taught))
        masks = (outputs["masks"] - taught["masks"]).square()
        return {"class": weighted_mean((ours - theirs).square().sum(1), valid),
                "mask": weighted_mean(masks, valid[:, :, None] * valid[:, None])}

    def turned(self, outputs):
        """The outputs of a sequence that was turned around in time, as they are for the sequence itself."""
        return {**{key: outputs[key].flip(2) for key in ("class_logits", "embedding")},
                **{key: outputs[key].flip(1, 2) for key in ("masks", "mask_logits")}}

    def random_foreground(self, outputs, targets, valid):
        """Loss of the pretext task: the segments of which `targets` were made are found again; valid: (B, T) 0 or 1."""
        return pretext.random_foreground_loss(outputs["mask_logits"], targets["mask"], valid)
