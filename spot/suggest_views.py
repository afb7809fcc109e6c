"""What a trained model sees in a recording, for `spot.suggest`: classes, doubt, two views that differ, embeddings."""

import zlib

import numpy as np
import torch

from spot.augment import perturb
from spot.devices import exact_convolutions, to_device
from spot.losses import class_probabilities
from spot.proposals import prepare, stack_windows
from spot.segments import window_starts
from spot.suggest import View

NUM_STRONG = 2  # strong views that are compared with the plain one
# Snippets that stand for a recording: one in so many of a long one, and at least so many of a short one.
MOST_SNIPPETS, EVERY = 48, 4


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
    window, place = in_the_middle(first, features.shape[1], length)
    plain = torch.cat(plain).float().cpu().numpy()[window, :, place]  # (T', K+1)
    disturbed = torch.cat(disturbed, 1).float().cpu().numpy()[:, window, :, place]  # (T', views, K+1)
    snippets = torch.cat(embedding).float().cpu().numpy()[window, :, place]  # (T', D)
    return View(name, float(duration_sec), plain[:, :-1].sum(0) * duration_sec / len(plain),
                entropy_bits(plain).mean().item(), np.abs(disturbed - plain[:, None]).max(-1).mean().item(),
                evenly_spaced(snippets))


def in_the_middle(first, count, length):
    """For each snippet of a recording the window in which it lies most centrally, and its place there, (T',) each.

    first: first snippets of the windows; count: T'; length: of a window
    """
    place = np.arange(count)[None] - np.array(first)[:, None]  # (W, T')
    inside = (place >= 0) & (place < length)
    depth = np.where(inside, np.minimum(place, length - 1 - place), -1)
    window = depth.argmax(0)
    return window, place[window, np.arange(count)]


def entropy_bits(probabilities):
    """(T,) entropy of each snippet's classes, (T, K+1) probabilities, each class for itself, in bits."""
    p = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum(1)


def evenly_spaced(snippets):
    """Every EVERY-th of the snippets (T', D), at most MOST_SNIPPETS of a recording."""
    number = min(max(len(snippets) // EVERY, 1), MOST_SNIPPETS)
    return snippets[np.linspace(0, len(snippets) - 1, number).round().astype(int)]


def views_of(model, videos, source, grid, strength, batch_size=32, progress=None):
    """The `View` of each annotated or unlabeled `Video`, in their order.

    source: features.FeatureSource; grid: GridSettings; progress: wraps the list of videos, such as tqdm
    """
    model.eval()
    found = []
    for video in progress(videos) if progress else videos:
        features = prepare(model, grid, source.read(video.name))
        duration_sec = grid.of(video, features.shape[1]).duration_sec
        found.append(view_of(model, video.name, features, duration_sec, strength, batch_size))
    return found
