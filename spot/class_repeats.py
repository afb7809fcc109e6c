"""Does a recording show a class again, in another instance? Where labeled ones hardly do, pseudo labels hardly do.

Where people do each of a few exercises once, a teacher that finds one of them twice is wrong once. Where, and what is
shown there instead, follows from what it finds in both places: the less probable instance takes its next best class,
unless that one is taken too. Every instance hears from all others, as in a mean-field approximation (Jordan et al.,
An introduction to variational methods for graphical models, 1999).
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from spot.class_shares import FEWEST_RECORDINGS, share_out
from spot.losses import class_probabilities

# Highest probability that a class comes again with which repeats are unusual. By the rule of succession (see
# `repeats_of_labels`) it takes eight classes that were shown, none of them twice.
MOST_REPEATED = 0.1
# A recording that lasts longer than this times the longest labeled one may well show a class again.
LONG = 2.0
# Of a class in a snippet; of a change of class. A single snippet begins no instance: what it brings, at most
# - log(LEAST_PROBABILITY), is less than to go to another class and back costs.
LEAST_PROBABILITY, CHANGE_COST = 1e-3, 4.0
SWEEPS = 20  # over the instances of a recording, until none changes
MOST_MOVED = 1e3  # factor of the probability of a class


@dataclass(frozen=True)
class ClassRepeats:
    """How seldom a recording shows a class again, by the labels.

    probability: 0..1 that it does; typical: snippets of an instance, the median
    longest_sec: of the longest labeled recording; evidence: in words
    """

    probability: float
    typical: float
    longest_sec: float
    evidence: str

    rule = "pseudo labels of a recording seldom show one again, as the labeled ones"

    def holds_for(self, duration_sec):
        """Whether a recording of this length may be expected to show no class again."""
        return duration_sec <= LONG * self.longest_sec

    def moved(self, logits, activation):
        """Class logits (T, K+1) of one recording in whose instances a class seldom comes again."""
        return tell_apart(logits, self.probability, self.typical, activation)


def repeats_of_labels(labeled):
    """The ClassRepeats of labeled recordings, None where these show classes again, or too few to tell.

    labeled: datasets.SnippetDataset. Recordings with a single instance say nothing. Of n classes that the others show,
    r of them again, the next one comes again with probability (r + 1) / (n + 2) (rule of succession, Laplace 1774).
    """
    shown = again = recordings = 0
    for segments, labels in zip(labeled.segments.cpu().numpy(), labeled.labels.cpu().numpy(), strict=True):
        if len(np.unique(segments[labels >= 0], axis=0)) > 1:  # two classes of one segment are one instance
            counts = np.unique(labels[labels >= 0], return_counts=True)[1]
            shown, again, recordings = shown + len(counts), again + int((counts > 1).sum()), recordings + 1
    probability = (again + 1) / (shown + 2)
    if probability > MOST_REPEATED or recordings < FEWEST_RECORDINGS:
        return None
    lengths = (labeled.segments[..., 1] - labeled.segments[..., 0])[labeled.labels >= 0]
    evidence = f"of {shown} classes in labeled recordings with several instances, {again} came again in the same one"
    longest_sec = max(grid.duration_sec for grid in labeled.grids)
    return ClassRepeats(probability, float(lengths.median()), float(longest_sec), evidence)


def tell_apart(logits, repeat_probability, typical, activation):
    """Class logits (T, K+1) of one recording in whose instances a class seldom comes again.

    repeat_probability: that a class which is shown comes again; typical: snippets of an instance; shorter ones have
    less to say. Foreground and background stay as they are, and so do snippets outside of the instances.
    """
    probability = class_probabilities(logits.T[None], activation)[0].T  # (T, K+1)
    classes, outside = probability[:, :-1], probability[:, -1:]
    shares = (classes / classes.sum(1, keepdim=True).clamp(min=1e-6)).clamp(min=LEAST_PROBABILITY)
    spans = instance_spans(torch.cat([shares * (1 - outside), outside], 1))
    if len(spans) < 2:
        return logits
    evidence = torch.stack([shares[first:last].log().mean(0) * min(1, (last - first) / typical)
                            for first, last in spans])  # (N, K)
    factors = (seldom_repeated(evidence, repeat_probability) / evidence.softmax(1)).clamp(1 / MOST_MOVED, MOST_MOVED)
    apart = logits.clone()
    for (first, last), factor in zip(spans, factors, strict=True):
        apart[first:last] = share_out(logits[first:last], shares[first:last] * factor, activation)
    return apart


def instance_spans(probability):
    """The instances that class probabilities (T, K+1), background last, show: a list of (first, behind the last).

    They are what the most probable sequence of classes has where each change costs CHANGE_COST (Viterbi, 1967).
    """
    scores = probability.clamp(min=LEAST_PROBABILITY).log().numpy()
    best, came_from = scores[0].copy(), np.zeros(scores.shape, np.int64)
    for place in range(1, len(scores)):
        leader = best.argmax()
        stays = best >= best[leader] - CHANGE_COST
        came_from[place] = np.where(stays, np.arange(len(best)), leader)
        best = np.where(stays, best, best[leader] - CHANGE_COST) + scores[place]
    path = [int(best.argmax())]
    for place in range(len(scores) - 1, 0, -1):
        path.append(int(came_from[place, path[-1]]))
    path = np.array(path[::-1])
    bounds = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    return [(first, last) for first, last in itertools.pairwise(bounds) if path[first] < scores.shape[1] - 1]


def seldom_repeated(evidence, repeat_probability):
    """Class probabilities (N, K) of instances of one recording where a class seldom comes again.

    evidence: (N, K) logarithms of what each instance alone says. The odds of a class fall by those of a repeat, times
    the probability that another instance has it. Instances are asked in turn, the surest first, and are heard once they
    have been asked: otherwise two that look alike would both make room.
    """
    cost = math.log(repeat_probability / (1 - repeat_probability))
    order = evidence.softmax(1).amax(1).argsort(descending=True).tolist()
    found = torch.zeros_like(evidence)
    for _ in range(SWEEPS):
        before = found.clone()
        for instance in order:
            absent = (1 - found).clamp(min=1e-6).log()
            taken = 1 - (absent.sum(0) - absent[instance]).exp()
            found[instance] = (evidence[instance] + cost * taken).softmax(0)
        if (found - before).abs().max() < 1e-3:
            break
    return found
