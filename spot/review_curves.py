"""Curves of a recording for the review page, small: class probabilities and feature channels.

Snippets become columns of equal time, at most so many; a value becomes one of LEVELS steps; along time the differences
are kept, which zlib packs well. The page's script unpacks them.
"""

import base64
import zlib

import numpy as np

from spot.waveforms import Waveforms

LEVELS = 64
# Curves of all recordings together, before they are packed: 500 recordings of an hour make a page of some megabytes.
PROBABILITY_BYTES, CHANNEL_BYTES = 24_000_000, 6_000_000
LEAST_COLUMNS, MOST_COLUMNS = 200, 4000
MOST_CLASSES, LEAST_PROBABILITY = 20, 0.1  # of one recording
MOST_CHANNELS = 6


def columns_for(num_recordings, num_curves, budget_bytes):
    """How many columns each curve may have, where every recording has so many curves."""
    room = budget_bytes // max(num_recordings * num_curves, 1)
    return int(min(max(room, LEAST_COLUMNS), MOST_COLUMNS))


def in_columns(values, grid, duration_sec, most, pool=np.maximum):
    """Values of snippets (M, T') as columns of equal time over 0..duration_sec: (M, N), N = T' or `most`.

    grid: a `segments.Grid` of T' snippets; pool: ufunc that joins the snippets of a column, `np.add` for their mean
    """
    length = values.shape[1]
    count = min(length, most)
    centers_sec = (np.arange(count) + 0.5) * duration_sec / count
    nearest = grid.to_snippet(centers_sec).astype(int).clip(0, length - 1)
    joined = values[:, nearest].astype(float)  # of columns in which no snippet has its center
    place = (grid.to_sec(np.arange(length) + 0.5) / duration_sec * count).astype(int).clip(0, count - 1)
    columns, first, number = np.unique(place, return_index=True, return_counts=True)
    joined[:, columns] = pool.reduceat(values, first, axis=1)
    if pool is np.add:
        joined[:, columns] /= number
    return joined


def unsureness(probabilities):
    """How unsure class probabilities (K, T') are, 0..1: mean over snippets of the class that is least decided.

    A class counts 0 where it is surely there or surely not, and 1 at a probability of 0.5.
    """
    if not probabilities.size:
        return 0.0
    return float((1 - np.abs(2 * probabilities - 1)).max(axis=0).mean())


def shown_classes(probabilities, found=()):
    """Indices of the classes whose curves are shown, most probable first: at most MOST_CLASSES.

    probabilities: (K, T'); found: class indices of the detections, whose curves come first
    """
    best = probabilities.max(axis=1, initial=0)
    wanted = set(found)
    order = sorted(range(len(best)), key=lambda index: (index not in wanted, -best[index]))
    return [index for index in order if index in wanted or best[index] >= LEAST_PROBABILITY][:MOST_CLASSES]


def shown_channels(num_channels, sidecar=None, waveforms=None):
    """(index, name) of the feature channels that are drawn: of signals of sensors one per axis, else evenly spaced.

    sidecar: `sidecar.Sidecar` of the features, or None; waveforms: `waveforms.Waveforms` of those that are raw samples
    """
    if waveforms is None and sidecar is not None and sidecar.backbone == "raw":
        waveforms = Waveforms(max(num_channels // int(sidecar.window), 1))
    if waveforms is not None:  # the sample in the middle of each window
        windows = waveforms.windows(np.arange(num_channels))
        indices = windows[:MOST_CHANNELS, windows.shape[1] // 2].tolist()
        return [(index, f"axis {axis + 1}") for axis, index in enumerate(indices)]
    if sidecar is not None and sidecar.backbone == "spectral":  # the mean, first of the channels of an axis
        width = Waveforms(1).channels(int(sidecar.window))
        return [(first, f"axis {axis + 1}") for axis, first in enumerate(range(0, num_channels, width)[:MOST_CHANNELS])]
    count = min(MOST_CHANNELS, num_channels)
    indices = [int((place + 0.5) * num_channels / count) for place in range(count)]
    return [(index, f"channel {index + 1}") for index in indices]


def standardized(channels):
    """Channels (M, N) -> 0..1 each: its middle 98 % fill the range, and a channel that never changes is 0.5."""
    low, high = np.percentile(channels, (1, 99), axis=1, keepdims=True)
    spread = high - low
    moved = np.divide(channels - low, spread, out=np.full(channels.shape, 0.5), where=spread > 0)
    return moved.clip(0, 1)


def packed(values):
    """(M, N) values in 0..1 as text: steps of LEVELS, differences along time, zlib, base64."""
    steps = np.round(np.asarray(values) * (LEVELS - 1)).astype(np.uint8)
    differences = np.diff(steps, axis=1, prepend=np.uint8(0))  # modulo 256
    return base64.b64encode(zlib.compress(differences.tobytes(), 9)).decode()


def unpacked(text, count):
    """What `packed` made of (M, N) values, count = M: to LEVELS - 1 / 2 of a step as they were."""
    differences = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(count, -1)
    return differences.cumsum(axis=1, dtype=np.uint8) / (LEVELS - 1)
