"""Features that are raw samples of sensors: recognized by their overlap, and turned into spectral channels.

A window of 50 samples of 6 axes is often stored as it is, as 300 channels. A network has to learn from them what a
spectrum says at once: which periods a movement has, whatever its phase. So windows that are found to be samples become
spectral channels, in training and wherever its model detects.
"""

import contextlib
from dataclasses import dataclass

import numpy as np
import torch

from spot.errors import SpotError

STATISTICS = 5  # of a window and axis, before the magnitudes
# Magnitudes span orders of magnitude: a person who walks has 10,000 times the energy of one who sits. Their fourth root
# is as good as a logarithm (see docs/features.md) and, unlike one, has no smallest value that depends on the unit.
ROOT = 0.25
# Samples that two windows share differ by the precision of the files only: by less than this share of the deviation.
SAME_SAMPLES = 0.01
ASKED = 8  # recordings that are looked at


@dataclass(frozen=True)
class Waveforms:
    """How the samples lie in a channel vector. axes: A of the sensor; order: axis (all samples of the first axis, then
    of the next one) or time (all axes at the first time, then at the next one)."""

    axes: int
    order: str = "axis"

    def windows(self, features):
        """Features (..., C) as samples (..., A, W)."""
        if self.order == "time":
            return features.reshape(*features.shape[:-1], -1, self.axes).swapaxes(-1, -2)
        return features.reshape(*features.shape[:-1], self.axes, -1)

    def channels(self, feat_dim):
        """How many spectral channels features of `feat_dim` channels become."""
        return self.axes * (STATISTICS + feat_dim // self.axes // 2)

    def spectral(self, features):
        """Features (C, T') of a recording, numpy -> (C', T') float32."""
        return spectral_channels(self.windows(features.T)).T

    def spectral_batch(self, features):
        """Features (B, C, T), torch -> (B, C', T)."""
        return _spectral(self.windows(features.transpose(1, 2).double())).transpose(1, 2).to(features.dtype)


def spectral_channels(windows):
    """What a window of each axis looks like: (T', A, W), W >= 2 -> (T', A * (5 + W // 2)) float32, numpy.

    Of one axis after another: mean, standard deviation, minimum, maximum, mean absolute difference of neighbors, and
    the magnitudes of the discrete Fourier transform at 1 .. W // 2 periods per window, as amplitudes in the unit of the
    axis, to the power of 1/4.
    """
    return _spectral(torch.from_numpy(np.array(windows, np.float64))).float().numpy()


def _spectral(windows):
    """As `spectral_channels`, of torch windows (..., A, W) in float64, in their own precision."""
    mean = windows.mean(-1, keepdim=True)
    low, high = windows.aminmax(dim=-1, keepdim=True)
    statistics = [mean, windows.std(-1, correction=0, keepdim=True), low, high,
                  windows.diff(dim=-1).abs().mean(-1, keepdim=True)]
    magnitudes = torch.fft.rfft(windows - mean).abs()[..., 1:] * 2 / windows.shape[-1]
    return torch.cat([*statistics, magnitudes**ROOT], -1).flatten(-2)


def choose_waveforms(kind, source, names, grid):
    """Whether features are made spectral. Returns (Waveforms or None, why, in words).

    kind: auto (where the features are found to be samples), spectral (they are; each axis after the other, where
    nothing shows it) or raw (leave them as they are)
    source: features.FeatureSource; names: of videos; grid: datasets.GridSettings
    SpotError where `spectral` is asked for and the channels cannot be windows of `dataset.window` samples.
    """
    if kind == "raw":
        return None, "as dataset.sensor_channels says"
    if grid.grid == "resize":  # resized rows are no windows of samples
        if kind == "spectral":
            raise SpotError("dataset.sensor_channels=spectral needs dataset.grid=window: a resized recording has no "
                            "windows of samples; give raw or auto")
        return None, "they are resized"
    found = find_waveforms(_read_some(source, names), grid.window, grid.stride)
    if found:
        return found, (f"samples of {found.axes} axes: the last {grid.window - grid.stride} of a window are the first "
                       "of the next one")
    if kind == "auto":
        return None, "they are no samples that overlap"
    if grid.window < 2 or source.feat_dim % grid.window:
        raise SpotError(f"dataset.sensor_channels=spectral: {source.feat_dim} channels are no windows of "
                        f"dataset.window={grid.window} samples; set the window in samples, or give raw")
    return Waveforms(source.feat_dim // grid.window), "as dataset.sensor_channels says"


def _read_some(source, names):
    """The features (C, T') of a few of the videos, evenly spaced; a broken file is refused when it is read itself."""
    for name in names[:: -(-len(names) // ASKED) or 1]:
        with contextlib.suppress(SpotError):
            yield source.read(name)


def find_waveforms(recordings, window, stride):
    """The Waveforms of features that are windows of raw samples, None where they are not.

    recordings: (C, T') arrays; window, stride: of the snippets, in samples
    Windows that overlap show the samples between them twice. Every recording with two snippets has to.
    """
    if window < 2 or not 0 < stride < window:
        return None
    ways, asked = None, 0
    for features in recordings:
        channels, count = features.shape
        if channels % window:
            return None
        if count < 2 or not np.std(features) > 0:
            continue
        asked += 1
        axes = channels // window
        fitting = {one for one in {Waveforms(axes), Waveforms(axes, "time")} if _overlaps(one, features, stride)}
        ways = fitting if ways is None else ways & fitting
        if not ways:
            return None
    return min(ways, key=lambda one: one.order) if asked else None


def _overlaps(waveforms, features, stride):
    windows = waveforms.windows(features.T.astype(np.float64))  # (T', A, W)
    apart = windows[1:, :, :-stride] - windows[:-1, :, stride:]
    return np.sqrt(np.mean(apart**2)) < SAME_SAMPLES * np.std(windows)  # squares: sparse features are not alike
