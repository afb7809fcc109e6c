"""Pictures of the videos in which was detected: what the model sees, and a frame of each action."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from spot.boundary import mine_snippets
from spot.inference import prepare, run_windows, stack_windows
from spot.losses import class_probabilities, foreground
from spot.model_view import save_video_picture
from spot.operating_point import actions_of
from spot.segments import window_starts


def draw_videos(folder, detector, source, recordings, found):
    """Pictures of what the model sees in some videos, FOLDER/VIDEO.png, with their detections.

    detector: an `inference.Detector`; source: the FeatureSource; found: {name: entries of detections.json}
    """
    for recording in tqdm(recordings, desc="pictures", unit="video", disable=None):
        times, entries = recording.times, found[recording.name]
        fitted = prepare(detector.model, detector.grid, source.read(recording.name))
        grid = detector.grid.at(fitted.shape[1], times.duration_sec, times.feature_duration_sec, times.fps,
                                times.centers_sec)
        view = model_view(detector.model, fitted, detector.grid.temporal_scale, detector.batch_size)
        save_video_picture(
            Path(folder) / f"{recording.name}.png", detector.class_names, grid.to_sec(np.arange(grid.length + 1)),
            *view, title=recording.name, segments_sec=[entry["segment"] for entry in entries],
            ground_truth=recording.truth, labels=[entry["label"] for entry in entries],
            scores=[entry["score"] for entry in entries])
    print(f"pictures: {folder}")


def model_view(model, features, num_snippets, batch_size):
    """Outputs of the model over one prepared video (C, T'), in W windows.

    Returns first snippets (W,), class probabilities (W, K+1, T) with background last, masks (W, T, T), and the easy and
    hard snippets {kind: (W, T) bool}, as numpy.
    """
    first = np.array(window_starts(features.shape[1], num_snippets))
    windows, valid = (x.to(next(model.parameters()).device) for x in stack_windows([features], first, num_snippets))
    outputs = run_windows(model, windows, valid, batch_size)
    probabilities = class_probabilities(outputs["class_logits"], model.class_activation)
    mined = mine_snippets(foreground(probabilities), outputs["masks"], valid)
    return (first, probabilities.cpu().numpy(), outputs["masks"].cpu().numpy(),
            {kind: member.cpu().numpy() for kind, member in mined.items()})


def draw_thumbnails(folder, class_names, recordings, found, action):
    """A frame of each action, FOLDER/VIDEO.png, of the recordings whose video files are known.

    found: {name: entries of detections.json}
    action: see `spot.action_threshold`; None: of the best detections instead
    """
    recordings = [one for one in recordings if one.media is not None]
    if not recordings:
        return
    from spot.thumbnails import save_thumbnails  # PyAV

    for one in tqdm(recordings, desc="thumbnails", unit="video", disable=None):
        entries = actions_of(found[one.name], action["threshold"]) if action else found[one.name]
        save_thumbnails(Path(folder) / f"{one.name}.png", one.media, class_names, entries, one.times.duration_sec,
                        one.name)
    print(f"frames of the {'actions' if action else 'detections'}: {folder}")
