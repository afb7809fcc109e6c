"""What a trained model sees in a recording, for `spot.suggest`: classes, doubt, two views that differ, embeddings."""

import zlib
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from spot.annotations import clean_segments
from spot.augment import perturb
from spot.detectors import require_masks
from spot.devices import exact_convolutions, to_device
from spot.files import SpotError
from spot.inference import prepare, stack_windows
from spot.losses import class_probabilities
from spot.names import pair_names
from spot.segments import middle_windows, window_starts
from spot.suggest import View, labels_of, suggest
from spot.text import read_lines

NUM_STRONG = 2  # strong views that are compared with the plain one
# Snippets that stand for a recording: one in so many of a long one, and at least so many of a short one.
MOST_SNIPPETS, EVERY = 48, 4
STRENGTH = ("noise", "offset", "channel_dropout")  # of `augment.perturb`: how strong views are disturbed


def suggest_among(model, labeled, unlabeled, source, grid, strength, class_names, number, batch_size=32, weights=None):
    """Which `number` of the `unlabeled` recordings to annotate next, as `suggest.suggest` returns them.

    labeled, unlabeled: lists of annotations.Video with features, nothing of the latter but name and duration is used
    source: features.FeatureSource; grid: GridSettings; strength: {key of STRENGTH: number}
    class_names: K names; weights: as of `suggest.suggest`
    """
    known, others = (views_of(model, videos, source, grid, strength, batch_size) for videos in (labeled, unlabeled))
    segments = [clean_segments(video) for video in labeled]
    labels = labels_of(np.concatenate([times for times, _, _ in segments]),
                       [label for _, own, _ in segments for label in own], class_names)
    return suggest(others, known, labels, class_names, number, weights)


def parted(training, labeled_file):
    """The training recordings whose labels a run has used, or that were annotated since, and the others.

    training: list of annotations.Video; labeled_file: labeled.txt of the run
    SpotError where the file is missing, and where nothing is left to annotate.
    """
    if not Path(labeled_file).is_file():
        raise SpotError(f"{labeled_file}: is missing, so nothing tells which recordings are labeled; give a run folder "
                        "that spot_train.py wrote")
    used = set(pair_names(read_lines(labeled_file), [video.name for video in training]).values())
    labeled = [video for video in training if video.name in used or video.annotated]
    unlabeled = [video for video in training if not (video.name in used or video.annotated)]
    if not labeled:
        raise SpotError(f"{labeled_file}: names no training recording; do the annotations belong to this run?")
    if not unlabeled:
        raise SpotError("every training recording is labeled, so there is none to suggest; put the features of others "
                        "into dataset.feature_path")
    return labeled, unlabeled


@torch.no_grad()
def view_of(model, name, features, duration_sec, strength, batch_size=32):
    """The `View` of one recording.

    model: a detector in evaluation mode; features: (C, T') numpy that `proposals.prepare` has made
    duration_sec: seconds that the features cover
    strength: {"noise", "offset", "channel_dropout"} of the strong views, as `augment.perturb` takes them; the same
    recording is always disturbed alike
    """
    length = model.settings.get("temporal_scale") or features.shape[1]
    first = window_starts(features.shape[1], length)
    device = next(model.parameters()).device
    windows, valid = (to_device(x, device) for x in stack_windows([features], first, length))
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    plain, disturbed, embedding = [], [], []
    with exact_convolutions():
        for part, seen in zip(windows.split(batch_size), valid.split(batch_size), strict=True):
            standardized = model.standardize(part, seen)
            embedding.append(model.encoder(standardized, seen))
            plain.append(class_probabilities(model.class_head(embedding[-1]), model.class_activation))
            disturbed.append(torch.stack([
                class_probabilities(model.classify(perturb(standardized, **strength, snippet_masking=0,
                                                           generator=generator) * seen[:, None], seen),
                                    model.class_activation)
                for _ in range(NUM_STRONG)]))
    window, place = middle_windows(features.shape[1], np.array(first), length)
    plain = torch.cat(plain).float().cpu().numpy()[window, :, place]  # (T', K+1)
    disturbed = torch.cat(disturbed, 1).float().cpu().numpy()[:, window, :, place]  # (T', views, K+1)
    snippets = torch.cat(embedding).float().cpu().numpy()[window, :, place]  # (T', D)
    return View(name, float(duration_sec), shares_of(plain)[:, :-1].sum(0) * duration_sec / len(plain),
                entropy_bits(plain).mean().item(), np.abs(disturbed - plain[:, None]).max(-1).mean().item(),
                evenly_spaced(snippets))


def shares_of(probabilities):
    """(T, K+1) probabilities, each class for itself -> how each snippet is shared out among classes and background.

    Squares, because a little probability of many classes all the time would else add up to many actions of each.
    """
    squares = probabilities.astype(np.float64) ** 2
    return squares / np.maximum(squares.sum(1, keepdims=True), 1e-12)


def entropy_bits(probabilities):
    """(T,) entropy of each snippet's classes, (T, K+1) probabilities, each class for itself, in bits."""
    p = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum(1)


def evenly_spaced(snippets):
    """Every EVERY-th of the snippets (T', D), at most MOST_SNIPPETS of a recording."""
    number = min(max(len(snippets) // EVERY, 1), MOST_SNIPPETS)
    return snippets[np.linspace(0, len(snippets) - 1, number).round().astype(int)]


def views_of(model, videos, source, grid, strength, batch_size=32):
    """The `View` of each annotated or unlabeled `Video`, in their order.

    source: features.FeatureSource; grid: GridSettings; strength: as of `view_of`
    """
    require_masks(model, "to suggest recordings")
    model.eval()
    found = []
    for video in tqdm(videos, desc="recordings", unit="recording", disable=None):
        features = prepare(model, grid, source.read(video.name))
        duration_sec = grid.of(video, features.shape[1]).duration_sec
        found.append(view_of(model, video.name, features, duration_sec, strength, batch_size))
    return found
