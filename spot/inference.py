"""Detections in many videos by a trained model: a batch at a time, shared out among the processes."""

import collections
import gc
import sys
import warnings
from dataclasses import asdict, dataclass

from torch import nn
from tqdm import tqdm

from spot import distributed
from spot.class_scores import ClassScores
from spot.datasets import GridSettings
from spot.plausibility import oddities, warn_of_oddities
from spot.proposals import Decoding, OtherSettings, detect, to_results
from spot.recordings import centers_of_rows


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
        """The settings that `proposals.detect` takes; each video has a frame rate of its own."""
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
