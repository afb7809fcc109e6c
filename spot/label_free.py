"""The losses that need no classes, on labeled and unlabeled sequences alike; `registry.LOSSES` names them.

All take the model, its outputs, features (B, C, T), valid (B, T) 0 or 1, and the target masks (B, T, T) in 0..1.
"""

from spot import pretext
from spot.boundary import boundary_loss
from spot.losses import class_probabilities, foreground, weighted_mean


def boundary(model, outputs, features, valid, masks):
    """Boundary refinement: contrast of easy snippets and those at the boundaries of the target masks."""
    queries, keys = model.branches(outputs["embedding"]).chunk(2, 1)
    inside = foreground(class_probabilities(outputs["class_logits"], model.class_activation))
    return boundary_loss(queries, inside, masks, valid > 0, keys=keys)


def consistency(model, outputs, features, valid, masks):
    """The foreground of the class head and that of the masks, snippet t as snippet t sees it, agree."""
    inside = foreground(class_probabilities(outputs["class_logits"], model.class_activation))
    own = outputs["masks"].diagonal(dim1=1, dim2=2)
    return weighted_mean((inside - own).square(), valid)


def reconstruction(model, outputs, features, valid, masks):
    """The embedding of the student's view gives its features back."""
    return pretext.reconstruction_loss(model.reconstruct(outputs["embedding"]), features, valid)
