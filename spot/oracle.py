"""Error propagation: a detector is given the true segments and asked for classes only. What is then lost is the class;
what its own detections lose beside that, its localization."""

import numpy as np
import torch

from spot.detectors import classifier_of
from spot.inference import prepare, run_windows, stack_windows
from spot.recordings import centers_of_rows
from spot.segments import window_starts


@torch.no_grad()
def classify_recording(model, grid, features, times, segments_sec, batch_size=32, amp="none"):
    """Class probabilities (N, K) of given segments (N, 2), in seconds, of one recording.

    grid: datasets.GridSettings of the training; features: (C, T'); times: recordings.Times
    A segment across windows has the mean of what they say, weighted by how much of it each shows.
    """
    fitted = prepare(model, grid, features)
    [centers_sec] = centers_of_rows([times], [features])
    place = grid.at(fitted.shape[1], times.duration_sec, times.feature_duration_sec, times.fps, centers_sec)
    positions = torch.as_tensor(place.to_snippet(segments_sec), dtype=torch.float32)  # (N, 2)
    first = window_starts(fitted.shape[1], grid.temporal_scale)
    device = next(model.parameters()).device
    windows, valid = (x.to(device) for x in stack_windows([fitted], first, grid.temporal_scale))
    outputs = run_windows(model, windows, valid, batch_size, amp)
    counts = valid.sum(1).cpu()[:, None, None]
    moved = torch.minimum((positions - torch.as_tensor(first)[:, None, None]).clamp(min=0), counts)  # (W, N, 2)
    probability = classifier_of(model)(model, outputs, moved.to(device))[:, :-1].cpu()  # (W, K, N)
    shown = (moved[..., 1] - moved[..., 0])[:, None]  # (W, 1, N)
    # A segment that no window shows, behind the end of the features, lies nearest to the last one.
    shown[-1] += 1e-6
    return ((probability * shown).sum(0) / shown.sum(0)).T.numpy()


def entries_of_given(probability, segments_sec, class_names, min_score=0.001):
    """Entries of detections.json: each segment with each class of at least `min_score`, best first."""
    rows = [{"label": class_names[k], "score": float(probability[n, k]), "segment": [float(x) for x in segments_sec[n]]}
            for n, k in np.argwhere(probability >= min_score)]
    return sorted(rows, key=lambda row: -row["score"])
