"""What a setting may be: one table for the YAML, for what a checkpoint stores, and for the arguments of `detect`."""

import difflib
from numbers import Integral, Real

from spot.idle_settings import idle_of_detector
from spot.registry import DETECTORS, ENCODERS, MASK_HEADS, OF_MAP

# Smallest and largest value. Whole numbers where both are; the large ends keep times finite and sizes in memory.
RANGES = {
    # architecture
    "feat_dim": (1, 1_000_000), "embedding_head": (1, 1000), "embed_dim": (1, 100_000), "num_classes": (1, 1_000_000),
    "dropout": (0.0, 0.99), "chunks": (2, 1000), "sensor_axes": (0, 1_000_000),
    "map_channels": (1, 4096), "map_samples": (2, 1000), "map_stride": (1, 16), "map_durations": (1, 10_000),
    # grid; a mask has temporal_scale x temporal_scale numbers
    "temporal_scale": (1, 10_000), "stride": (1, 10**9), "window": (1, 10**9), "every": (1, 10**6),
    "offset": (-(10**9), 10**9), "fps": (1e-6, 1e9),
    # decoding
    "top_k": (1, 10**9), "nms_sigma": (1e-6, 1e6), "min_score": (0.0, 1.0), "max_detections": (1, 10**9),
    "class_power": (0.0, 100.0), "mask_power": (0.0, 100.0), "video_power": (0.0, 100.0),
}
# The first one is the default.
CHOICES = {"detector": tuple(DETECTORS), "encoder": ENCODERS, "mask_head": MASK_HEADS,
           "class_activation": ("sigmoid", "softmax"), "standardize": ("training", "recording", "none"),
           "sensor_order": ("axis", "time"),
           "grid": ("resize", "window"), "fusion": ("product", "sqrt")}
# None: each video's own; not known; as long as a sequence
OPTIONAL = ("fps", "class_names", "training_fps", "feature_statistics", "map_durations")
MOST_THRESHOLDS = 100
# What checkpoints may lack, those of earlier versions above all.
NOT_NEEDED = ("detector", "dropout", "chunks", "standardize", "sensor_axes", "sensor_order",
              *(key.removeprefix("model.") for key in OF_MAP))
ARCHITECTURE = ("encoder", "mask_head", "class_activation", "feat_dim", "temporal_scale", "embedding_head", "embed_dim",
                "num_classes", *NOT_NEEDED)
GRID = ("grid", "temporal_scale", "stride", "every", "window", "offset", "fps")
DECODING = ("mask_thresh", "top_k", "nms_sigma", "min_score", "max_detections", "class_power", "mask_power",
            "video_power", "fusion")
OF_TRAINING = ("class_names", "training_fps", "feature_statistics")  # what a run stores of its data


def fault(values, known):
    """Why some of the settings `values` cannot be used, as `stride is 0; it must be ...`; None where all can.

    values: {key: plain value}; known: the keys that may be there
    """
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.5)
            return f"there is no setting {shown(key)}" + (f"; did you mean {near[0]}?" if near else "")
        wanted = _wanted(key, value)
        if wanted:
            return f"{key} is {shown(value)}; it must be {wanted}"
    return None


def listed_rates(rates):
    """`25, 29.97, 30 and 4 other frame rates`, `50 frames per second`: for messages."""
    more = f" and {len(rates) - 5} other frame rates" if len(rates) > 5 else " frames per second"
    return ", ".join(f"{rate:.6g}" for rate in rates[:5]) + more


def shown(value):
    """A value for a message, in one line that is not too long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no number of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def sizes_fault(encoder, feat_dim, embed_dim, embedding_head, temporal_scale, chunks=2, prefix="", sensor_axes=0,
                detector="spot", **_):
    """Why these sizes of an architecture do not go together, or None; prefix: of the keys in the message."""
    idle = idle_of_detector(detector)
    if temporal_scale < chunks and "pretext.chunks" not in idle:
        return f"{prefix}temporal_scale ({temporal_scale}) must be at least pretext.chunks ({chunks})"
    if detector == "bmn" and embed_dim % embedding_head:
        return f"{prefix}embed_dim ({embed_dim}) must be a multiple of {prefix}embedding_head ({embedding_head})"
    if "model.encoder" in idle:
        encoder = None
    if encoder == "conv_transformer" and embed_dim % (2 * embedding_head):
        return (f"{prefix}embed_dim ({embed_dim}) must be a multiple of 2 * {prefix}embedding_head "
                f"({2 * embedding_head})")
    if sensor_axes and (feat_dim % sensor_axes or feat_dim < 2 * sensor_axes):
        return f"{prefix}feat_dim ({feat_dim}) is not a multiple of {sensor_axes} axes of at least 2 samples"
    if encoder == "attention" and not sensor_axes and feat_dim % embedding_head:
        return f"{prefix}feat_dim ({feat_dim}) must be a multiple of {prefix}embedding_head ({embedding_head})"
    return None


def _wanted(key, value):
    """What the setting `key` must be, where `value` is something else; "" where it can stand."""
    if value is None and key in OPTIONAL:
        return ""
    if key in CHOICES:
        return "" if isinstance(value, str) and value in CHOICES[key] else f"one of {', '.join(CHOICES[key])}"
    if key == "mask_thresh":
        fits = (isinstance(value, list | tuple) and 0 < len(value) <= MOST_THRESHOLDS
                and all(_is_number(one) and 0 <= one < 1 for one in value))
        return "" if fits else f"a list of 1 to {MOST_THRESHOLDS} numbers in [0, 1)"
    if key == "class_names":
        fits = isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value)
        return "" if fits and len(set(value)) == len(value) > 0 else "a list of different names"
    if key == "training_fps":
        fits = isinstance(value, list | tuple) and all(_is_number(one) and 1e-6 <= one <= 1e9 for one in value)
        return "" if fits else "a list of frame rates"
    if key == "feature_statistics":
        fits = isinstance(value, dict) and set(value) == {"mean", "deviation"} and all(
            isinstance(one, list | tuple) and all(_is_number(x) and abs(x) < float("inf") for x in one)
            for one in value.values()) and len(value["mean"]) == len(value["deviation"])
        return "" if fits else "mean and deviation of each channel"
    low, high = RANGES[key]
    whole = isinstance(low, int) and isinstance(high, int)
    fits = isinstance(value, Integral) and not isinstance(value, bool) if whole else _is_number(value)
    return "" if fits and low <= value <= high else f"a {'whole ' if whole else ''}number in {low}..{high}"


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)
