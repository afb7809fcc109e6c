"""What the weights of a run mean: what a resumed run, or inference, must have in common with the training."""

import hashlib
from dataclasses import dataclass, field

import torch

from spot.files import SpotError
from spot.idle_settings import idle_of_detector
from spot.limits import ARCHITECTURE, DECODING, GRID, shown

WINDOW_GRID = ("stride", "window", "offset", "every", "fps")  # say nothing where a video is resized as a whole
SHOWN = 4
# Feature statistics may move by this share of a deviation: another precision of the files, not other features.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Meaning:
    """What the weights of a run mean.

    architecture: the keyword arguments of `detectors.build_model`
    settings: `model.settings`: classes in order and grid
    labeled, held_out: names of the labeled videos that are learned from, and of those kept out to watch mAP
    choices: {key of the YAML: value} of what else the saved state depends on, such as the optimizer
    labels: {labeled video: digest of its annotation}
    statistics: mean and deviation (C,) of the training features, None before they are read
    """

    architecture: dict
    settings: dict
    labeled: list
    held_out: list = field(default_factory=list)
    choices: dict = field(default_factory=dict)
    labels: dict = field(default_factory=dict)
    statistics: tuple | None = None

    def stored(self):
        """As the content of a checkpoint, beside what `checkpoint.describe_model` puts there."""
        mean, deviation = map(torch.as_tensor, self.statistics) if self.statistics else (None, None)
        return {"labeled_names": self.labeled + self.held_out, "held_out": self.held_out, "choices": self.choices,
                "labels": self.labels, "feature_statistics": [mean, deviation] if self.statistics else None}

    def refuse_other(self, path, content):
        """SpotError where the checkpoint `path`, whose content is given, belongs to a run of another meaning.

        What an older checkpoint does not hold is not compared.
        """
        known, now = (named(one["settings"], one["architecture"]) | one.get("choices", {})
                      for one in (content, vars(self)))
        found = [f"{key} was {shown(old)} and is {shown(new)}" for key, (old, new) in differences(known, now).items()]
        found += other_names("class", content["settings"].get("class_names"), self.settings.get("class_names"), True)
        found += other_names("labeled video", content["labeled_names"], self.labeled + self.held_out)
        if "held_out" in content:
            found += other_names("video held out", content["held_out"], self.held_out)
        if self.statistics and content.get("feature_statistics"):
            found += other_statistics(content["feature_statistics"], self.statistics)
        if found:
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            raise SpotError(f"{path}: cannot be resumed, its weights mean something else: {'; '.join(found[:SHOWN])}"
                            f"{more}; give the run's own data and settings, or choose another output_path")

    def other_labels(self, content):
        """Names of the labeled videos whose annotations are not those that the run began with."""
        known = content.get("labels", {})
        return [name for name, digest in self.labels.items() if known.get(name, digest) != digest]


def meaning_of(architecture, settings, optimizer, videos):
    """What the weights of a training will mean.

    architecture: the YAML's `model` section and `chunks`, as plain values; settings: where snippets lie in time, as
    `config_values.grid_values`; videos: training_videos.TrainingVideos
    """
    waveforms = videos.waveforms
    architecture = {**architecture, "standardize": videos.standardization, "num_classes": len(videos.class_names),
                    "sensor_axes": waveforms.axes if waveforms else 0,
                    "sensor_order": waveforms.order if waveforms else "axis"}
    settings = {**settings, "class_names": videos.class_names}
    rates = {video.fps for video in videos.every}
    if settings["fps"] is None and len(rates) == 1:  # `spot.detect` then needs no fps
        settings["fps"] = rates.pop()
    return Meaning(architecture, settings, [video.name for video in videos.labeled],
                   [video.name for video in videos.held_out], {"training.optimizer": optimizer},
                   {video.name: digest(video) for video in videos.labeled + videos.held_out})


def check_fit(model, class_names, sizes):
    """SpotError, with both, for a model whose sizes or classes are not those of the data.

    class_names: K names of the data; sizes: {model.feat_dim, dataset.grid, model.temporal_scale: value of the settings}
    What the checkpoint does not hold is not compared.
    """
    trained = {"model.feat_dim": model.feat_dim, "number of classes": model.num_classes,
               "dataset.grid": model.settings.get("grid"), "model.temporal_scale": model.settings.get("temporal_scale")}
    wanted = {**sizes, "number of classes": len(class_names)}
    for name, value in trained.items():
        if value is not None and value != wanted[name]:
            raise SpotError(f"the checkpoint has {name} {value}, but the data and settings have {wanted[name]}; "
                            "give the checkpoint's own settings and data")
    own = model.settings.get("class_names")
    if own is not None and list(own) != list(class_names):
        raise SpotError("the checkpoint was trained with other classes or another order of them than the annotations "
                        f"have (first of the checkpoint: {own[0]!r}, of the data: {class_names[0]!r}); "
                        "set dataset.class_file to classes.txt of its run folder")


def named(settings, architecture):
    """Grid and architecture by the keys of the YAML.

    settings: may hold more, such as the decoding, which is left out
    """
    found = {f"dataset.{key}": value for key, value in settings.items() if key in GRID}
    found |= {f"model.{key}": value for key, value in architecture.items() if key in ARCHITECTURE}
    if "dataset.temporal_scale" in found:
        found["model.temporal_scale"] = found.pop("dataset.temporal_scale")
    if "model.chunks" in found:
        found["pretext.chunks"] = found.pop("model.chunks")
    if "model.sensor_axes" in found:  # what `auto` has decided
        found["dataset.sensor_channels"] = "spectral" if found.pop("model.sensor_axes") else "raw"
    idle = idle_of_detector(architecture.get("detector", "spot"))
    # The classes are compared by name; dropout is no meaning, and the order of samples follows from the features.
    for key in ("model.num_classes", "model.dropout", "model.sensor_order", *idle):
        found.pop(key, None)
    return found


def named_decoding(settings):
    """The decoding in the settings of a model by the keys of the YAML."""
    keys = {key: "testing.class_scores_fusion" if key == "fusion" else f"testing.{key}" for key in DECODING}
    return {keys[key]: value for key, value in settings.items() if key in keys}


def differences(known, now):
    """{key: (known, now)} of the values that differ, of the keys that both have.

    Where both grids are `resize`, what places windows in time is left out.
    """
    resized = known.get("dataset.grid") == now.get("dataset.grid") == "resize"
    idle = {f"dataset.{key}" for key in WINDOW_GRID if resized}
    return {key: (value, now[key]) for key, value in known.items()
            if key in now and key not in idle and now[key] != value}


def other_names(kind, known, now, ordered=False):
    """What two lists of names do not share, as sentences for a message: one, or none where they are the same.

    ordered: whether the place of a name counts
    """
    if known is None or now is None or list(known) == list(now) or (not ordered and sorted(known) == sorted(now)):
        return []
    gone, new = ([name for name in one if name not in set(other)] for one, other in ((known, now), (now, known)))
    counts = f"{len(known)} and {len(now)}"
    if gone or new:
        parts = [f"{shown(names[0])}{f' and {len(names) - 1} more' if len(names) > 1 else ''} {state}"
                 for names, state in ((gone, "only then"), (new, "only now")) if names]
        return [f"{kind} names differ ({counts}): {', '.join(parts)}"]
    place = next(i for i, (old, name) in enumerate(zip(known, now, strict=True)) if old != name)
    return [f"{kind} {place} was {shown(known[place])} and is {shown(now[place])}"]


def other_statistics(known, now):
    """A sentence where the features are not those of the run, by their mean and deviation (C,) per channel."""
    (old_mean, old_deviation), (mean, deviation) = (map(torch.as_tensor, one) for one in (known, now))
    moved = torch.maximum((mean - old_mean).abs(), (deviation - old_deviation).abs()) / old_deviation
    worst = int(moved.argmax())
    if not moved[worst] > TOLERANCE:
        return []
    return [f"the features of dataset.feature_path are others: channel {worst} had mean {old_mean[worst]:.4g} and "
            f"deviation {old_deviation[worst]:.4g} and has {mean[worst]:.4g} and {deviation[worst]:.4g}"]


def digest(video):
    """What a labeled video teaches, as a short text: its segments, labels and times."""
    facts = (video.segments_sec.tolist(), video.labels, video.duration_sec, video.fps)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
