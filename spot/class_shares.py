"""How long a recording shows each class: do all labeled recordings show the same, and then the pseudo labels too.

Where recordings follow a protocol, each shows every class about equally long. Then a teacher that takes the sitting of
a person for standing is found out: the recording would show standing twice as long as any labeled one, and sitting not
at all. Distribution alignment (ReMixMatch, Berthelot et al., ICLR 2020) does this for a whole data set; here it is done
for each recording, because such mistakes hold for a recording and cancel out over many.
"""

from dataclasses import dataclass

import numpy as np
import torch

from spot.cleaning import clean_segments
from spot.losses import class_probabilities, foreground

# Share of the variance of the labels that may lie between recordings. Where every recording shows all classes it is
# 0.001 to 0.003 (sensor recordings of a protocol); where each shows a few of them, 0.12 and more (four of twelve
# activities, sports videos, one class a video). Nothing that was measured lies in between.
MOST_BETWEEN = 0.03
# Fewer labeled recordings say nothing of how recordings differ.
FEWEST_RECORDINGS = 2
# A recording that lasts less than this share of the shortest labeled one may show a part of the classes only.
SHORT = 0.5
STEPS = 50  # of the search for the weights of the classes
LEAST = 1e-3  # share of a class that no labeled recording shows


@dataclass(frozen=True)
class ClassShares:
    """What a recording shows by the labels.

    shares: (K,) of the time that has an action; shortest_sec: of the shortest labeled recording
    evidence: why this holds for every recording, in words
    """

    shares: np.ndarray
    shortest_sec: float
    evidence: str

    rule = "pseudo labels of a recording show each as long as the labeled ones"

    def holds_for(self, duration_sec):
        """Whether a recording of this length may be expected to show all classes."""
        return duration_sec >= SHORT * self.shortest_sec

    def moved(self, logits, activation):
        """Class logits (T, K+1) of one recording that shows the classes as long as the labeled ones do."""
        return align_shares(logits, self.shares, activation)


def class_shares(video, class_names):
    """Share of a recording's time that each class and the background take: (K + 1,), background last.

    video: annotations.Video. Classes that overlap count each for itself. Without a duration, the last segment ends it.
    """
    duration_sec = video.duration_sec or float(np.max(video.segments_sec, initial=0.0))
    segments_sec, labels, _ = clean_segments(video, duration_sec)
    if not len(segments_sec):
        return np.append(np.zeros(len(class_names)), 1.0)
    labels = np.asarray(labels)
    covered = [_covered_sec(segments_sec[labels == name]) for name in class_names]
    return np.append(covered, duration_sec - _covered_sec(segments_sec)) / duration_sec


def _covered_sec(segments_sec):
    """Seconds that segments (N, 2) cover; where they overlap, once."""
    covered, end = 0.0, -np.inf
    for first, last in segments_sec[np.argsort(segments_sec[:, 0])] if len(segments_sec) else ():
        covered += max(last - max(first, end), 0.0)
        end = max(end, last)
    return covered


def between_recordings(shares):
    """Share of the labels' variance that lies between recordings, 0..1: 0 = all show the classes equally long.

    shares: (V, K + 1) of `class_shares`. The variance of a class indicator is p (1 - p) in all; between recordings, the
    variance of their own shares (the correlation ratio of analysis of variance, summed over the classes).
    """
    mean = shares.mean(0)
    total = (mean * (1 - mean)).sum()
    return float(((shares - mean) ** 2).mean(0).sum() / total) if total > 0 else 1.0


def compare_recordings(videos, class_names):
    """What each recording shows, `class_shares` as (V, K + 1); whether all show the same; and the evidence, in words.

    videos: list of annotations.Video that show their labels
    """
    shares = np.array([class_shares(video, class_names) for video in videos])
    if len(shares) < FEWEST_RECORDINGS:
        return shares, False, f"{len(shares)} labeled recording does not show how recordings differ"
    between = between_recordings(shares)
    return shares, between <= MOST_BETWEEN, f"{between:.1%} of the variance of the labels lies between recordings"


def shares_of_labels(labeled):
    """The ClassShares of labeled recordings, None where these show different things.

    labeled: datasets.SnippetDataset
    """
    shares, are_alike, evidence = compare_recordings(labeled.videos, list(labeled.class_index))
    if not are_alike or not shares[:, :-1].any():
        return None
    mean = shares[:, :-1].mean(0)
    return ClassShares(mean / mean.sum(), float(min(grid.duration_sec for grid in labeled.grids)), evidence)


def align_shares(logits, shares, activation):
    """Class logits (T, K+1) of one recording whose foreground shows the classes in `shares` (K,).

    The odds of each class are multiplied by a weight, the same for all snippets, found by iterative proportional
    fitting (Deming and Stephan, 1940). Foreground and background stay as they are.
    """
    probability = class_probabilities(logits.T[None], activation)
    inside = foreground(probability)[0] > 0.5  # (T,)
    classes = probability[0, :-1]  # (K, T)
    if not inside.any():
        return logits
    wanted = torch.as_tensor(shares, dtype=classes.dtype, device=classes.device).clamp(min=LEAST)
    wanted, odds = wanted / wanted.sum(), classes / classes.sum(0).clamp(min=1e-6)
    weights = torch.ones_like(wanted)
    for _ in range(STEPS):
        shown = (odds * weights[:, None])[:, inside]
        shown = (shown / shown.sum(0).clamp(min=1e-6)).mean(1)
        weights = weights * (wanted / shown.clamp(min=1e-6)).sqrt()
    return share_out(logits, (odds * weights[:, None]).T, activation)


def share_out(logits, odds, activation):
    """Class logits (T, K+1) in which the classes have what they had together, in proportion to odds (T, K).

    Foreground and background stay as they are.
    """
    probability = class_probabilities(logits.T[None], activation)[0]  # (K+1, T)
    odds = odds.T  # (T, K) -> (K, T)
    shared = odds / odds.sum(0).clamp(min=1e-6) * probability[:-1].sum(0)
    shared = shared.clamp(1e-4, 1 - 1e-4)
    classes = shared.logit() if activation == "sigmoid" else shared.log()
    background = logits[:, -1:] if activation == "sigmoid" else probability[-1:].T.clamp(min=1e-6).log()
    return torch.cat([classes.T, background], 1)
