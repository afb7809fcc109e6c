"""The detectors there are (`registry.DETECTORS`). Each brings a model, an objective and a decoding; the rest is one.

model: builds a `model.TemporalDetector` from the YAML's `model` section as plain values; it has `encoder`,
    `class_part`, `fixed_length`, `detector` (its name) and `from_standardized`, for semi-supervised training also
    `order_head` and `reconstruct`
objective: targets and losses; made of the model and {loss name: weight}. `SpotObjective` says what each of its methods
    is for; `names` are the losses of labels and pseudo labels, `differences` those of `difference`
decode: (model, outputs, first_snippets, decoding, external) -> detections, as `proposals.decode_masks`; its `needs` are
    the names of the outputs that it reads
classify: (model, outputs, segments (B, M, 2)) -> class probabilities (B, K+1, M) of given segments, for `oracle`
"""

from spot.errors import SpotError
from spot.registry import DETECTORS, find
from spot.waveforms import Waveforms


def build_model(*, detector="spot", feat_dim, standardize="training", sensor_axes=0, sensor_order="axis",
                **architecture):
    """A model with fresh weights, and what is done to its features before they reach the network.

    detector: its name; feat_dim: C of the files; architecture: the rest of the YAML's `model` section as plain values
    standardize: training (statistics come from `set_statistics`), recording (each recording's own) or none
    sensor_axes: A where the features are raw samples of as many axes, which become spectral channels; sensor_order: how
    they lie, see `spot.waveforms.Waveforms`
    """
    waveforms = Waveforms(sensor_axes, sensor_order) if sensor_axes else None
    seen = waveforms.channels(feat_dim) if waveforms else feat_dim
    model = find(DETECTORS[detector], "model")(feat_dim=seen, **architecture)
    model.standardization, model.waveforms = standardize, waveforms
    model.samples = feat_dim if waveforms else None
    return model


def objective_of(model, weights):
    """The objective of a model. weights: {loss name: weight}"""
    return find(DETECTORS[model.detector], "objective")(model, weights)


def detector_name(model):
    """The name of a model's detector; one that does not say its detector is a SPOT."""
    return getattr(model, "detector", "spot")


def decoding_of(model):
    """The decoding of a model."""
    return find(DETECTORS[detector_name(model)], "decode")


def classifier_of(model):
    """The function of a model that classifies given segments."""
    return find(DETECTORS[detector_name(model)], "classify")


def require_masks(model, what):
    """SpotError where a model has no classes and masks of snippets; what: that needs them, such as `--plot`."""
    if detector_name(model) != "spot":
        raise SpotError(f"{what} needs the classes and masks of snippets, which a run of "
                        f"model.detector={model.detector} does not have")
