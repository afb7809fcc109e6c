"""The review page of a run: what its model sees in the recordings, and the annotations that corrections go into."""

import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from spot.errors import SpotError
from spot.inference import prepare, run_windows, stack_windows, waveforms_of
from spot.losses import class_probabilities
from spot.review import CORRECTED, Origin, base_videos, page_data, recording_entry, with_own, write_review
from spot.review_curves import shown_channels
from spot.segments import middle_windows, window_starts
from spot.text import read_lines

__all__ = ["Origin", "annotations_if_readable", "base_annotations", "make_review", "training_command"]


def make_review(path, detector, source, recordings, found, videos, train_subset, origin):
    """Write the review page of some recordings to `path`.

    detector: an `inference.Detector`; source: the FeatureSource; recordings: `recordings.Recording`s
    found: {name: entries of detections.json}; videos: `base_annotations` of the run; origin: a `review.Origin`
    """
    note_evaluation(videos, origin.subset, train_subset)
    drawn = draws_channels(source, recordings)
    entries = []
    for one in tqdm(recordings, desc="review", unit="video", disable=None):
        view = seen(detector, source, one, drawn) if one.name in source else None
        duration_sec = one.times.duration_sec or (view and view[0].duration_sec) or last_end_sec(found[one.name])
        entries.append(recording_entry(one.name, found[one.name], detector.class_names, duration_sec, one.times.fps,
                                       one.media, view, len(recordings)))
    videos, names = with_own(videos, [(entry["name"], entry["duration"], entry.get("fps")) for entry in entries],
                             train_subset)
    entries = [{**entry, "name": name} for entry, name in zip(entries, names, strict=True)]
    write_review(path, page_data(origin, detector.class_names, entries, videos))
    size = Path(path).stat().st_size / 1e6
    print(f"review page: {path} ({size:.1f} MB, {len(entries)} recordings); open it in a browser")


def note_evaluation(videos, subset, train_subset):
    """A note where the recordings are annotated ones of evaluation: what is reviewed of them is not trained on."""
    if subset and subset.lower() != train_subset.lower() and any(len(one.labels) for one in videos
                                                                 if one.subset == subset.lower()):
        print(f"note: the page shows the recordings of {subset}, which are annotated for evaluation and stay in that "
              f"subset; those to train on are reviewed with dataset.eval_subset={train_subset}", file=sys.stderr)


def annotations_if_readable(read):
    """What `read()` returns; nothing, with a note, where it raises SpotError: recordings of one's own need none."""
    try:
        return read()
    except SpotError as error:
        print("note: the annotations of the run cannot be read, so what is reviewed will be of these recordings alone: "
              f"{error}", file=sys.stderr)
        return []


def base_annotations(videos, labeled_list, train_subset):
    """`review.base_videos` of a run; labeled_list: its file of the names of labeled videos, which may be missing."""
    return base_videos(videos, read_lines(labeled_list) if labeled_list.is_file() else [], train_subset)


def training_command(run, feature_path, own=None):
    """Words of the command that trains like a run on the annotations that the page saves.

    run: its folder; feature_path: `dataset.feature_path` of the run; own: features beside these, as `features=`
    """
    command = ["python", "spot_train.py", "--config", f"{run}/config.yaml", f"dataset.video_anno_path={CORRECTED}",
               "dataset.labeled=annotated", f"output_path={run}_reviewed"]
    if own is not None and own != feature_path:
        streams, others = ([paths] if isinstance(paths, str) else paths for paths in (feature_path, own))
        places = [[*as_list(stream), *as_list(other)] for stream, other in zip(streams, others, strict=False)]
        command.append(f"dataset.feature_path={json.dumps(places)}")
    return command


def as_list(paths):
    """One path or a list of them, as a list."""
    return [paths] if isinstance(paths, str) else list(paths)


def draws_channels(source, recordings):
    """Do single channels of the features say something to a person? Those of sensors do, where nothing else is known
    perhaps; those that were extracted from videos do not."""
    sidecar = source.times.sidecar if source.times is not None else None
    if sidecar is not None:
        return sidecar.backbone in ("raw", "spectral")
    return all(one.media is None for one in recordings)


def seen(detector, source, recording, with_channels=True):
    """What the model sees in a recording: (grid, class probabilities (K, T'), channels (M, T'), M names of them)."""
    model, times = detector.model, recording.times
    features = source.read(recording.name)
    fitted = prepare(model, detector.grid, features)
    grid = detector.grid.at(fitted.shape[1], times.duration_sec, times.feature_duration_sec, times.fps,
                            times.centers_sec)
    sidecar = source.times.sidecar if source.times is not None else None
    shown = shown_channels(len(features), sidecar, waveforms_of(model)) if with_channels else []
    channels = detector.grid.fit(features[[index for index, _ in shown]]) if shown else features[:0]
    return (grid, whole_probabilities(model, fitted, detector.grid.temporal_scale, detector.batch_size, detector.amp),
            channels, [name for _, name in shown])


def whole_probabilities(model, fitted, num_snippets, batch_size, amp="none"):
    """Class probabilities (K, T') of a whole recording, each snippet as the window sees it in whose middle it is.

    fitted: (C, T') features, as `proposals.prepare` returns them
    """
    length, first = fitted.shape[1], window_starts(fitted.shape[1], num_snippets)
    device = next(model.parameters()).device
    windows, valid = (x.to(device) for x in stack_windows([fitted], first, num_snippets))
    outputs = run_windows(model, windows, valid, batch_size, amp)
    probabilities = class_probabilities(outputs["class_logits"], model.class_activation).cpu().numpy()
    window, place = middle_windows(length, np.array(first), num_snippets)
    return probabilities[window, :-1, place].T  # (T', K) -> (K, T')


def last_end_sec(entries):
    """Where the last of some detections ends; 1 where there is none, so that there is a time axis."""
    return max([1.0, *(entry["segment"][1] for entry in entries)])
