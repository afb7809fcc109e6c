"""Which unlabeled recordings to annotate next, and why, from what a trained model sees in them. Numpy only.

Four things speak for a recording:

- classes: it probably shows classes of which few actions are labeled
- views: the model disagrees with itself about two views of it
- coverage: its snippets are like many of the unlabeled ones and unlike all labeled ones
- richness: many actions are expected in it

Each counts as a share of the best recording that is left, so what all recordings have alike decides nothing. One
recording is chosen after the other, and each counts as labeled for the next: classes that it probably shows are rarer
no longer, what is like it is covered, and its main reason weighs less. So the choice is diverse. What the model sees
comes from `spot.suggest_views`; nothing here knows a label of a recording that is not labeled.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

# How much each kind weighs; chosen on development splits, see tools/suggest_curve.py.
WEIGHTS = {"classes": 1.0, "views": 1.0, "coverage": 1.0, "richness": 1.0}
NUM_TARGETS = 2000  # unlabeled snippets that stand for all of them where coverage is measured
TOLD = 0.7  # a reason is told where a recording goes before this share of the others by it
TINY = 1e-12  # instead of a best of 0
NO_SINGLE_REASON = "no single reason: on average it goes before the others that are left"
MOST_REASONS, MOST_CLASSES = 2, 3  # in the words of one recording
LEAST_EXPECTED = 0.5  # actions of a class, from which on it is named


@dataclass(frozen=True)
class View:
    """What a model sees in one recording.

    duration_sec: of the part that its features cover
    class_sec: (K,) expected seconds of each class
    uncertainty: mean entropy of the classes of a snippet, in bits; disagreement: mean difference of the class
    probabilities of two views, 0..1
    snippets: (S, D) embeddings, evenly spaced in the recording
    """

    name: str
    duration_sec: float
    class_sec: np.ndarray
    uncertainty: float
    disagreement: float
    snippets: np.ndarray


@dataclass(frozen=True)
class Labels:
    """What is labeled so far: `count` (K,) actions of each class and `mean_sec` (K,), how long one lasts."""

    count: np.ndarray
    mean_sec: np.ndarray


@dataclass(frozen=True)
class Suggestion:
    """One recording to annotate.

    score: 0..1, the weighted mean of `parts`; parts: {kind: what was measured, as a share of the best that was left}
    weights: {kind: share of the score}; actions: expected number of actions
    kind: the one that speaks most for it; reasons: words
    """

    view: View
    score: float
    parts: dict
    weights: dict
    actions: float
    kind: str
    reasons: tuple


def labels_of(segments_sec, labels, class_names):
    """The `Labels` of all labeled segments (N, 2) and their N class names; a class without one gets the mean length of
    all."""
    lengths = np.asarray(segments_sec, float).reshape(-1, 2) @ [-1.0, 1.0]
    index = {name: place for place, name in enumerate(class_names)}
    places = np.array([index[label] for label in labels], int)
    count = np.bincount(places, minlength=len(class_names))
    total = np.bincount(places, lengths, len(class_names))
    typical = lengths.mean() if len(lengths) else 1.0
    return Labels(count, np.where(count > 0, total / np.maximum(count, 1), typical))


def suggest(candidates, labeled, labels, class_names, number, weights=None):
    """The `number` recordings to annotate next, the best first, as a list of `Suggestion`; fewer where there are fewer.

    candidates, labeled: lists of `View` of the unlabeled and of the labeled recordings; labels: `Labels`
    weights: {kind: number}, None: WEIGHTS
    """
    weights = WEIGHTS if weights is None else weights
    if not candidates:
        return []
    expected = np.stack([view.class_sec for view in candidates]) / labels.mean_sec  # (R, K) actions
    distance = distances_to_recordings(candidates)  # (targets, R)
    gap = _gaps(candidates, labeled)
    count, left, chosen = labels.count.astype(float), np.arange(len(candidates)), []
    typical, main = typical_values(candidates, expected), Counter()
    for _ in range(min(number, len(candidates))):
        values = _values(candidates, expected, distance, gap, count, left)
        parts = {kind: value / max(float(value.max()), TINY) for kind, value in values.items()}
        # What was the main reason before counts less, so that not all are of one kind.
        now = {kind: weights.get(kind, 0) / (1 + main[kind]) for kind in parts}
        score = sum(now[kind] * part for kind, part in parts.items()) / sum(now.values())
        best = int(score.argmax())  # of several the first one
        index = left[best]
        # A reason is what sets it apart: how far it is beyond the middle of those that are left.
        beyond = {kind: now[kind] * float(part[best] - np.median(part)) for kind, part in parts.items()}
        order = sorted(beyond, key=lambda kind: -beyond[kind])
        told = [kind for kind in order if beyond[kind] > 0 and ranks_of(values[kind])[best] >= TOLD][:MOST_REASONS]
        closer = float((distance[:, index] < gap).mean())
        shown = shown_classes(expected[index], count, labels.count, class_names)
        words = [_words(kind, candidates[index], shown, expected[index].sum(), closer, typical) for kind in told]
        chosen.append(Suggestion(candidates[index], float(score[best]),
                                 {kind: float(part[best]) for kind, part in parts.items()},
                                 {kind: weight / sum(now.values()) for kind, weight in now.items()},
                                 float(expected[index].sum()), order[0], tuple(words) or (NO_SINGLE_REASON,)))
        main[order[0]] += 1
        count = count + expected[index]
        gap = np.minimum(gap, distance[:, index])
        left = np.delete(left, best)
    return chosen


def by_uncertainty(candidates, number):
    """Names of the recordings whose snippets are the least sure, the plain order of active learning."""
    return [view.name for view in sorted(candidates, key=lambda view: (-view.uncertainty, view.name))[:number]]


def ranks_of(values):
    """The share of the other values that each one exceeds, those that are equal by half; (R,) -> (R,) in 0..1."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return np.ones(len(values))
    order = np.sort(values)
    below = np.searchsorted(order, values, "left")
    not_above = np.searchsorted(order, values, "right")
    return (below + (not_above - below - 1) / 2) / (len(values) - 1)


def typical_values(candidates, expected):
    """What is usual among the candidates: {"views": middle disagreement, "richness": middle number of actions}."""
    return {"views": float(np.median([view.disagreement for view in candidates])),
            "richness": float(np.median(expected.sum(1)))}


def _values(candidates, expected, distance, gap, count, left):
    """{kind: (R,)} of the candidates `left`, given what is labeled or chosen by now.

    classes: the sum over the classes of the probability that it shows one, a Poisson variable of as many actions as are
    expected, by how rare the class is: 1 / (1 + its labeled actions)
    coverage: how much nearer the unlabeled snippets come to the nearest labeled one, as a share of the way
    """
    own = expected[left]
    way = max(float(gap.mean()), 1e-12)
    return {
        "classes": rarity_of(own, count).sum(1),
        "views": np.array([candidates[index].disagreement for index in left]),
        "coverage": np.maximum(gap[:, None] - distance[:, left], 0).mean(0) / way,
        "richness": own.sum(1),
    }


def rarity_of(expected, count):
    """(..., K) what each class adds to a recording: the probability that it is there, by how rare it is.

    expected: (..., K) actions; count: (K,) labeled ones
    """
    return (1 - np.exp(-expected)) / (1 + count)


def _targets(candidates):
    """(targets, D) snippets that stand for those of all candidates, evenly spaced among them."""
    snippets = np.concatenate([view.snippets for view in candidates])
    return snippets[np.unique(np.linspace(0, len(snippets) - 1, NUM_TARGETS).round().astype(int))]


def distances_to_recordings(candidates):
    """(targets, R) distance of each target to the nearest snippet of each candidate."""
    targets = _targets(candidates)
    return np.stack([_nearest(targets, view.snippets) for view in candidates], 1)


def _gaps(candidates, labeled):
    """(targets,) distance of each target to the nearest labeled snippet; where nothing is labeled, to their middle."""
    targets = _targets(candidates)
    known = [view.snippets for view in labeled] or [targets.mean(0, keepdims=True)]
    return np.min([_nearest(targets, snippets) for snippets in known], 0)


def _nearest(targets, snippets):
    """(targets,) distance to the nearest of the snippets (S, D)."""
    squares = (targets**2).sum(1)[:, None] + (snippets**2).sum(1) - 2 * targets @ snippets.T
    return np.sqrt(np.maximum(squares.min(1), 0))


# --- in words ---------------------------------------------------------------------------------------------------------


def _words(kind, view, shown, actions, closer, typical):
    """Why one kind speaks for a recording, with the numbers behind it."""
    if kind == "classes":
        return f"may show {shown}"
    if kind == "views":
        return (f"two views of it disagree: their class probabilities differ by {view.disagreement:.2f} on average, "
                f"{typical['views']:.2f} is usual")
    if kind == "coverage":
        return f"unlike all labeled recordings: it would bring labels nearer to {closer:.0%} of the unlabeled snippets"
    return (f"long and rich: about {actions:.0f} actions in {_minutes(view.duration_sec)}, "
            f"{typical['richness']:.0f} are usual")


def shown_classes(expected, count, labeled, class_names):
    """The classes of which a recording adds most, as words: `throw (none labeled) and jump (4 labeled)`.

    expected: (K,) actions in it; count: (K,) labeled ones and those expected in what is suggested before
    labeled: (K,) labeled ones alone
    """
    gains = rarity_of(expected, count)
    best = np.argsort(-gains, kind="stable")[:MOST_CLASSES]
    best = [place for place in best if expected[place] >= LEAST_EXPECTED] or [int(gains.argmax())]
    return listing_with([f"{class_names[place]} ({labeled[place] or 'none'} labeled)" for place in best])


def listing_with(words):
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _minutes(seconds):
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
