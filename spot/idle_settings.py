"""Settings that say nothing beside others: to a detector, to a way of learning, or without a classifier. No torch."""

import sys

from spot.registry import DETECTORS, IDLE_OF_METHODS


def idle_of_detector(detector):
    """The keys of the YAML that say nothing to a detector, as a set; an empty one for an unknown detector."""
    known = DETECTORS.get(detector, {})
    losses = {name for one in DETECTORS.values() for name in one["losses"]} - set(known.get("losses", ()))
    return {*known.get("idle", ()), *(f"loss.{name}" for name in losses)} if known else set()


def idle_settings(detector, method, class_scores):
    """{key of the YAML: the setting beside which it says nothing, such as `model.detector=bmn`}.

    detector, method, class_scores: `model.detector`, `semi.method` and `testing.class_scores`
    """
    found = dict.fromkeys(idle_of_detector(detector), f"model.detector={detector}")
    found |= {f"semi.{key}": f"semi.method={method}" for key in IDLE_OF_METHODS.get(method, ())}
    if class_scores == "none":
        found |= dict.fromkeys(("testing.class_scores_fusion", "testing.class_scores_top"), "testing.class_scores=none")
    return found


def warn_of_idle(idle, typed):
    """Print which of the keys that somebody has `typed` say nothing; idle: of `idle_settings`."""
    for key in sorted(set(typed) & set(idle)):
        print(f"warning: {key} has no effect with {idle[key]}", file=sys.stderr)
