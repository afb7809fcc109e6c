"""What the detector BMN learns: its targets, its losses, pseudo labels from a teacher, and how two outputs differ."""

import torch

from spot.bmn_decoding import classes_of, distinct_proposals, overlap_of, proposal_scores
from spot.bmn_losses import RIGHT_OVERLAP, candidate_targets, class_candidates, overlap_loss, weighted_logistic
from spot.losses import class_loss, class_probabilities, weighted_mean
from spot.proposal_map import boundary_targets, existing_proposals, flip_map, overlap_map
from spot.registry import DETECTORS

# A teacher's best proposals: this many distinct ones, of so many that are looked at.
TAUGHT, LOOKED_AT = 8, 200


class BmnObjective:
    """The learning signal of a `bmn.Bmn`; see `detectors` for what each method is asked.

    weights: {loss name: weight}
    """

    names = DETECTORS["bmn"]["losses"]
    differences = ("start_end", "overlap", "class")
    has_snippet_classes = False

    def __init__(self, model, weights):
        self.model, self.weights = model, weights

    def targets(self, segments, labels, valid):
        """Targets of true segments (B, N, 2) with labels (B, N), of which -1 is none; valid: (B, T) bool, what counts.

        Which proposals the classifier learns from is drawn here.
        """
        length = valid.shape[1]
        start, end = boundary_targets(segments, labels, length)
        candidates = class_candidates(segments, labels, valid.sum(1))
        class_targets, class_weights = candidate_targets(candidates, segments, labels, self.model.num_classes)
        class_weights = class_weights * valid.gather(1, candidates.mean(-1).long().clamp(max=length - 1))
        return {"start": start, "end": end, "valid": valid.to(segments.dtype),
                "overlap": overlap_map(segments, labels, self.model.durations, length),
                "exists": existing_proposals(valid, self.model.durations).to(segments.dtype),
                "candidates": candidates, "class": class_targets, "class_weights": class_weights}

    def losses(self, outputs, targets):
        """The losses of temporal evaluation, of proposal evaluation, and of the classifier."""
        valid, exists = targets["valid"], targets["exists"]
        decision, overlap = outputs["map_logits"].unbind(1)
        logits = self.model.classifier(outputs["snippets"], targets["candidates"])
        return {"start_end": weighted_logistic(outputs["start_logits"], targets["start"], valid)
                + weighted_logistic(outputs["end_logits"], targets["end"], valid),
                "confidence": weighted_logistic(decision, (targets["overlap"] > RIGHT_OVERLAP).to(valid.dtype), exists),
                "overlap": overlap_loss(overlap.sigmoid(), targets["overlap"], exists),
                "class": class_loss(logits, targets["class"], targets["class_weights"], self.model.class_activation)}

    def label_free(self, outputs, features, valid, parts):
        """BMN has none."""
        return {}

    def taught(self, teacher, outputs, valid):
        """A teacher's predictions for a batch: outputs, its best distinct proposals and their class probabilities."""
        segments, scores = distinct_proposals(proposal_scores(outputs, valid), LOOKED_AT, TAUGHT)
        probability = classes_of(teacher, outputs, segments)
        return {**outputs, "segments": segments, "scores": scores, "probability": probability}

    def pseudo_targets(self, taught, unlabeled, view, seen, threshold, settings, truth=None):
        """Targets from a teacher's best proposals on the weak view, as the student's view shows them; and statistics.

        A proposal counts where its class is as probable as `threshold`; its segment and its most probable class are
        taken for true. Sequences in which the teacher is sure of nothing are left out. The arguments are those of
        `SpotObjective.pseudo_targets`.
        """
        confidence, labels = taught["probability"][:, :-1].max(1)  # (B, M)
        sure = (confidence >= threshold) & (taught["scores"] > 0)
        labels = labels.masked_fill(~sure, -1)
        known = sure.any(1, keepdim=True).expand_as(seen)
        known = (view.show(known.to(confidence.dtype)) > 0.5) & seen
        segments, moved = view.show_segments(taught["segments"], labels, seen.shape[1])
        statistics = {"kept_share": sure.any(1).to(confidence.dtype).mean()}
        if truth is not None:
            statistics |= agreement(taught["segments"], labels, *truth)
        return self.targets(segments, moved, known), statistics

    def difference(self, outputs, taught, valid):
        """Mean squared difference of the student's and the teacher's probabilities, for each kind of output."""
        seen = valid.to(outputs["start_logits"].dtype)
        exists = existing_proposals(valid, self.model.durations).to(seen.dtype)
        ours, theirs = ({key: one[key].sigmoid() for key in ("start_logits", "end_logits", "map_logits")}
                        for one in (outputs, taught))
        boundaries = sum((ours[key] - theirs[key]).square() for key in ("start_logits", "end_logits"))
        maps = (ours["map_logits"] - theirs["map_logits"]).square().sum(1)
        logits = self.model.classifier(outputs["snippets"], taught["segments"])
        classes = class_probabilities(logits, self.model.class_activation) - taught["probability"]
        return {"start_end": weighted_mean(boundaries, seen), "overlap": weighted_mean(maps, exists),
                "class": weighted_mean(classes.square().sum(1), (taught["scores"] > 0).to(seen.dtype))}

    def turned(self, outputs):
        """The outputs of a sequence that was turned around in time, as they are for the sequence itself."""
        return {"start_logits": outputs["end_logits"].flip(1), "end_logits": outputs["start_logits"].flip(1),
                "map_logits": flip_map(outputs["map_logits"]), "embedding": outputs["embedding"].flip(2),
                "snippets": outputs["snippets"].flip(2)}

    def random_foreground(self, outputs, targets, valid):
        """Loss of the pretext task: the segments of which `targets` were made are found again."""
        found = self.losses(outputs, targets)
        return sum(self.weights[name] * found[name] for name in ("start_end", "confidence", "overlap"))


@torch.no_grad()
def agreement(segments, labels, true_segments, true_labels):
    """Diagnostics where the labels of the unlabeled videos are known after all; training never sees them.

    segments, true_segments: (B, M, 2), (B, N, 2); labels, true_labels: (B, M), (B, N), -1 = none
    Returns the share of pseudo labels that overlap a segment of their class by half (precision), and the share of
    segments that are overlapped so (recall); 0 where there are none.
    """
    same = (labels[:, :, None] == true_labels[:, None]) & (labels >= 0)[:, :, None]
    right = same & (overlap_of(segments, true_segments) >= 0.5)
    return {"pseudo_precision": right.any(2).sum() / (labels >= 0).sum().clamp(min=1),
            "pseudo_recall": right.any(1).sum() / (true_labels >= 0).sum().clamp(min=1)}
