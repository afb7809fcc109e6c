"""Detection by a trained model: in arrays of features (`detect`), and in many videos (`detect_all`).

Many videos go through the model a batch at a time, shared out among the processes.
"""

import collections
import gc
import sys
import warnings
from dataclasses import asdict, dataclass
from numbers import Integral

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from spot import distributed
from spot.class_scores import ClassScores
from spot.datasets import GridSettings
from spot.detection_inputs import centers_of, external_of, numbers_of, recordings_of
from spot.detectors import decoding_of, detector_name
from spot.devices import exact_convolutions, to_device
from spot.files import SpotError
from spot.idle_settings import idle_of_detector
from spot.limits import DECODING, GRID, fault, listed_rates, shown
from spot.plausibility import oddities, warn_of_oddities
from spot.proposals import Decoding
from spot.recordings import centers_of_rows
from spot.results import as_detections
from spot.segments import window_starts
from spot.standardize import by_recording


def takes_own_statistics(model):
    """Whether the features of each recording are standardized by its own mean and deviation. model: any detector."""
    return getattr(model, "standardization", "training") == "recording"


def waveforms_of(model):
    """The waveforms.Waveforms of a model that takes raw samples of sensors; None of others. model: any detector."""
    return getattr(model, "waveforms", None)


def prepare(model, grid, features):
    """The features (C, T') of a recording as `run_windows` takes them: spectral, on the GridSettings `grid`, and
    standardized by their own statistics, where the model was trained so."""
    waveforms = waveforms_of(model)
    fitted = grid.fit(waveforms.spectral(features) if waveforms else features)
    return by_recording(fitted) if takes_own_statistics(model) else fitted


@torch.no_grad()
def run_windows(model, features, valid, batch_size, amp="none"):
    """The model in batches of `batch_size` over (N, C, T) sequences of recordings that `prepare` has prepared.

    Returns one dict of float32 outputs, and "valid" (N, T).
    amp: none, or bf16: the precision of the model alone
    SpotError where an output is not finite.
    """
    prepared = {"prepared": True} if takes_own_statistics(model) or waveforms_of(model) else {}
    with exact_convolutions(), torch.autocast(features.device.type, torch.bfloat16, enabled=amp == "bf16"):
        parts = [model(*part, **prepared)
                 for part in zip(features.split(batch_size), valid.split(batch_size), strict=True)]
    merged = {key: torch.cat([part[key] for part in parts]).float() for key in decoding_of(model).needs}
    if not all(value.sum().isfinite() for value in merged.values()):  # else nothing would be found, without a word
        raise SpotError("the model's outputs are not finite; its weights were changed, or the features are in another "
                        "unit than those of its training")
    return {**merged, "valid": valid}


class OtherSettings(UserWarning):
    """Snippets that lie otherwise in time than those that the model was trained with, or a setting without effect."""


def detect(model, features, duration_sec, *, feature_duration_sec=None, centers_sec=None, external=None, batch_size=32,
           amp="none", **settings):
    """Detect actions in one video or many.

    features: (C, T') array or tensor, or a list of them, with finite values
    duration_sec: seconds, one number for all, or a list or array of them (None = as long as the features reach,
    `window` grid only); feature_duration_sec: seconds that the features cover, None = the duration
    centers_sec: (T',) increasing centers of the rows of the features in seconds, or a list of them or None, where they
    are known one by one, as for a variable frame rate: stride, window, offset and fps then say nothing
    external: (K,) video-level class probabilities of another classifier, one for each video, or None
    batch_size: sequences at once; amp: precision of the model, none (float32) or bf16
    settings: `grid`, `temporal_scale`, `stride` (of the features), `every`, `window`, `offset`, `fps` (a number, or one
    per video) and the fields of `Decoding`; what is not given comes from the run that the model was loaded from
    Returns a list with one (N, 4) float array per video: start_sec, end_sec, class_index, score, descending score.
    Raises SpotError where features are not of C channels, or a time that the grid needs is not known; warns where the
    grid is not that of the training.
    """
    if not hasattr(model, "settings"):
        raise SpotError(f"detect: the model is a {type(model).__name__}; give what spot.load_model returns")
    features = recordings_of(features, model.feat_dim)
    given, settings = settings, {**model.settings, **settings}
    known_rates = settings.pop("training_fps", None) or []
    rates = numbers_of(settings.pop("fps", None), len(features), "fps")
    durations = numbers_of(duration_sec, len(features), "duration_sec")
    feature_durations = numbers_of(feature_duration_sec, len(features), "feature_duration_sec")
    centers = centers_of(centers_sec, features)
    external = external_of(external, len(features), getattr(model, "num_classes", None))
    for key in ("class_names", "feature_statistics"):
        settings.pop(key, None)
    _refuse_settings(model, settings, rates, batch_size, amp)
    _warn_of_settings(model, given)
    in_frames = {key: settings.pop(key) for key in ("stride", "every", "window", "offset") if key in settings}
    grid = GridSettings(settings.pop("grid", "resize"), settings.pop("temporal_scale", 100), **in_frames)
    decoding = Decoding(**settings)
    _refuse_unknown_times(grid, durations, rates, centers, known_rates)
    prepared = [prepare(model, grid, x) for x in features]
    if grid.grid == "window":  # in time that no snippet has seen, nothing is found
        durations = [grid.covered_sec(x.shape[1], *times)
                     for x, *times in zip(features, durations, rates, centers, strict=True)]
    grids = [grid.at(x.shape[1], *times)
             for x, *times in zip(prepared, durations, feature_durations, rates, centers, strict=True)]
    model.eval()
    return as_detections(_detect_prepared(model, prepared, grids, grid.temporal_scale, decoding, external, batch_size,
                                          amp))


def _detect_prepared(model, prepared, grids, num_snippets, decoding, external, batch_size, amp):
    """Detections of recordings that `prepare` has prepared, one (N, 4) array each; arguments as of `detect`.

    grids: the SnippetGrid of each; num_snippets: T
    """
    device, decode = next(model.parameters()).device, decoding_of(model)
    detections = [np.zeros((0, 4))] * len(prepared)
    # Videos with the same windows go through model and decoding together.
    groups = {}
    for index, x in enumerate(prepared):
        groups.setdefault((*window_starts(x.shape[1], num_snippets),), []).append(index)
    for first_snippets, members in groups.items():
        # Masks take T * T numbers a window: as many videos at once as the model takes windows, so that memory is flat.
        size = max(batch_size // len(first_snippets), 1)
        for chunk in (members[i : i + size] for i in range(0, len(members), size)):
            windows, valid = stack_windows([prepared[i] for i in chunk], first_snippets, num_snippets)
            outputs = run_windows(model, to_device(windows, device), to_device(valid, device), batch_size, amp)
            scores = None
            if external[chunk[0]] is not None:
                scores = torch.as_tensor(np.stack([external[i] for i in chunk]), dtype=torch.float32, device=device)
            found = decode(model, outputs, first_snippets, decoding, scores)
            for index, rows in zip(chunk, found, strict=True):
                rows[:, :2] = grids[index].to_sec(rows[:, :2])
                detections[index] = rows[rows[:, 1] > rows[:, 0]]
    return detections


def _warn_of_settings(model, given):
    """Warn where a setting of the grid is not that of the training, and where one of the decoding says nothing.

    given: what the caller of `detect` gave
    """
    for key in GRID:
        if key in given and key != "fps" and model.settings.get(key, given[key]) != given[key]:
            warnings.warn(f"detect: {key} is {given[key]!r}, and the model was trained with {model.settings[key]!r}",
                          OtherSettings, stacklevel=3)
    detector = detector_name(model)
    for key in (key for key in DECODING if f"testing.{key}" in idle_of_detector(detector)):
        if key in given and model.settings.get(key, given[key]) != given[key]:
            warnings.warn(f"detect: {key} has no effect with model.detector={detector}", OtherSettings, stacklevel=3)


def _refuse_settings(model, settings, rates, batch_size, amp):
    """SpotError for a setting of `detect` that is unknown or out of range, or that this model cannot work with.

    rates: frames per second of each video, or None
    """
    if not (isinstance(batch_size, Integral) and batch_size >= 1 and not isinstance(batch_size, bool)):
        raise SpotError(f"detect: batch_size is {shown(batch_size)}; it must be a whole number of at least 1")
    if amp not in ("none", "bf16"):
        raise SpotError(f"detect: amp is {shown(amp)}; it must be none or bf16")
    wrong = next(filter(None, (fault(given, (*GRID, *DECODING)) for given in (settings, *({"fps": x} for x in rates)))),
                 None)
    fixed = getattr(model, "fixed_length", None)
    if not wrong and fixed is not None and settings.get("temporal_scale", fixed) != fixed:
        wrong = f"temporal_scale is {settings['temporal_scale']}; the model was made for {fixed}"
    if wrong:
        raise SpotError(f"detect: {wrong}")


def _refuse_unknown_times(grid, durations, rates, centers, known_rates):
    """SpotError where the grid needs a duration or a frame rate that is not given; known_rates: of the training."""
    if grid.grid == "resize" and None in durations:
        raise SpotError("detect: the resize grid needs duration_sec, the seconds of each recording")
    if grid.grid == "window" and any(rate is None and own is None for rate, own in zip(rates, centers, strict=True)):
        seen = f"; the training videos had {listed_rates(known_rates)}" if known_rates else ""
        raise SpotError(f"detect: the window grid needs fps, the frames per second of each recording{seen}")


def to_results(rows, class_names):
    """One video's (N, 4) detections as the entries of detections.json; class_names: K names."""
    return [{"label": class_names[int(label)], "score": score, "segment": [start, end]}
            for start, end, label, score in rows.tolist()]


def stack_windows(sequences, first_snippets, length):
    """(C, T') arrays with the same windows -> features (V * W, C, T) padded with 0 and valid (V * W, T)."""
    features = np.zeros((len(sequences) * len(first_snippets), sequences[0].shape[0], length), np.float32)
    valid = np.zeros((len(features), length), bool)
    slots = ((x, start) for x in sequences for start in first_snippets)
    for slot, (x, start) in enumerate(slots):
        part = x[:, start : start + length]
        features[slot, :, : part.shape[1]] = part
        valid[slot, : part.shape[1]] = True
    return torch.from_numpy(features), torch.from_numpy(valid)


# --- many videos ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detector:
    """A trained model, with how it detects.

    class_names: its K classes; batch_size: videos, and windows of them, that go through the model together
    amp: precision of the model, none or bf16
    classifier: an external video classifier that says what, its best `classes_per_video` classes; None: the model does
    """

    model: nn.Module
    class_names: list
    grid: GridSettings
    decoding: Decoding
    batch_size: int
    amp: str = "none"
    classifier: ClassScores | None = None
    classes_per_video: int = 2

    def settings(self):
        """The settings that `detect` takes; each video has a frame rate of its own."""
        return {key: value for key, value in {**asdict(self.grid), **asdict(self.decoding)}.items() if key != "fps"}

    def detect(self, source, recordings):
        """Detections of a batch: (name, entries of detections.json, `oddities` of its features) for each recording."""
        features, times = [source.read(one.name) for one in recordings], [one.times for one in recordings]
        classes = None
        if self.classifier:
            classes = [self.classifier.best(one.name, self.classes_per_video) for one in recordings]
        statistics = self.model.settings.get("feature_statistics")
        odd = [oddities(*pair, self.grid, statistics) for pair in zip(features, times, strict=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OtherSettings)  # the script has warned of it, once
            found = detect(self.model, features, [one.duration_sec for one in times],
                           feature_duration_sec=[one.feature_duration_sec for one in times],
                           fps=[one.fps for one in times], centers_sec=centers_of_rows(times, features),
                           batch_size=self.batch_size, external=classes, amp=self.amp, **self.settings())
        return [(one.name, to_results(rows, self.class_names), strange)
                for one, rows, strange in zip(recordings, found, odd, strict=True)]


def detect_all(detector, source, recordings):
    """Detect in all recordings, each process in its share of the batches; yields (name, entries of detections.json).

    source: the FeatureSource that has their features. Prints which recordings are unlike those of the training.
    """
    names = [one.name for one in recordings]
    classifier = detector.classifier
    if classifier and (unknown := [name for name in names if classifier.scores(name) is None]):
        print(f"warning: {len(unknown)} videos, such as {unknown[0]}, are not in {classifier.path}: nothing is "
              "detected in them", file=sys.stderr)
    # Another machine may not have other videos, nor an older checkpoint of the same model.
    sizes = {name: tuple(x.shape) for name, x in detector.model.state_dict().items()}
    distributed.refuse_different({"videos": names, "settings": detector.settings(), "model sizes": sizes})
    distributed.copy_from_first(detector.model)

    # Whole batches are shared out: what is computed, to the last digit, does not depend on the number of processes.
    batches = [recordings[i : i + detector.batch_size] for i in range(0, len(recordings), detector.batch_size)]
    found, odd = distributed.shared_out(lambda batch: detector.detect(source, batch), batches), {}
    # Detections make the collector look through all objects again and again; what is there by now stays, so a sixth of
    # the time is saved by leaving it out.
    gc.freeze()
    try:
        for batch in tqdm(found, total=len(batches), desc="inference", unit="batch", disable=None):
            for name, entries, strange in batch:
                for kind, words in strange.items():
                    odd.setdefault(kind, []).append((name, words))
                yield name, entries
    finally:
        gc.unfreeze()
        if distributed.is_first():
            warn_of_oddities(odd, len(names))


def exhaust(found):
    """Do this process' share of `detect_all`; what is found, the first process writes."""
    collections.deque(found, 0)
