"""The settings of a run: one dataclass per YAML section, one line per key; loading and saving them.

The comment behind a key, or above it where there is none behind it, is its sentence in docs/settings.md (`make docs`),
with its unit in brackets at the beginning.

Only the scripts and `tools/` read settings; everything else in `spot/`, but for the modules `config_*`, receives plain
values.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, OmegaConf

from spot.config_check import check_whole, with_key
from spot.config_text import leaves, parsed, read_yaml
from spot.config_values import plain
from spot.feature_times import times_of_features
from spot.files import SpotError, expand_home, write_text
from spot.limits import CHOICES, RANGES, sizes_fault
from spot.registry import LOSSES, METHODS
from spot.shipped import shipped
from spot.tool_recordings import CLASSES_FROM


def choice(default, *others):
    """A text key that takes one of a few words."""
    return field(default=default, metadata={"choices": (default, *others)})


def number(default, low, high=math.inf):
    """A number key with its smallest and largest value."""
    return field(default=default, metadata={"range": (low, high)})


def limited(key, default):
    """A number key that a checkpoint stores too: its smallest and largest value are those of `limits`."""
    return number(default, *RANGES[key])


# Of a key that is or may be a path, or a list of them: `~` at the beginning is the home folder, as in the shell.
PATH = {"path": True}


def path(default):
    """A text key that is or may be a path."""
    return field(default=default, metadata=PATH)


@dataclass
class Dataset:
    """The files of a data set, which of its videos show labels, and where snippets lie in time."""

    video_anno_path: str = path(MISSING)  # annotation file, folder or pattern; formats: docs/formats.md
    video_info_path: str | None = path(None)  # video_info*.csv: subset of each video, for annotations without subsets
    # What files of annotation tools leave open, see docs/formats.md.
    point_width: float | None = number(None, 0.001)  # [s] around an event without duration; null: it is refused
    classes_from: str = choice(*CLASSES_FROM)  # ELAN: the classes are the values of annotations, or the names of tiers
    tiers: Any = None  # list of the tiers (ELAN), attributes (VIA), controls (Label Studio) that are read; null: all
    complete_label: str | None = None  # an event of this label marks its recording as annotated; null: any event does
    blocked: str | None = path(None)  # video ids to leave out, in training and evaluation: OpenTAD's blocked.json
    # Folder or .h5; a list: channels are concatenated. Where features.json lies there, stride, window, fps and
    # model.feat_dim need not be given.
    feature_path: Any = field(default=MISSING, metadata=PATH)
    feature_pattern: Any = None  # such as "{video}_rgb.npy", or one per path; null: {video}.* or v_{video}.*
    resample_streams: bool = False  # streams of different rate: to the length of the longest; false: refuse them
    train_subset: str = "training"  # subset that is trained on, in any case of letters
    eval_subset: str = "validation"  # subset that is detected in and evaluated on
    num_classes: int | None = None  # null: from the annotations; a number is checked against them
    class_file: str | None = path(None)  # one class per line, or a CSV of id,label; null: by label_id, or sorted
    # Which training videos show their labels: a share of them in (0, 1]; `annotated`: those that have some; a file with
    # one id per line; or `info`, the rows of video_info_path that are not `training_unlabel`.
    labeled: Any = field(default=0.1, metadata=PATH)
    split_seed: int = 0  # which videos a share takes
    # resize: a whole video as temporal_scale snippets; window: windows of so many snippets, where each has its own time
    grid: str = choice(*CHOICES["grid"])
    # [frames] between two rows of the feature files (window grid); null: as their features.json says, else 16
    stride: int | None = limited("stride", None)
    every: int = limited("every", 1)  # every n-th row is used: snippets are stride * every frames apart
    window: int | None = limited("window", None)  # [frames] that a snippet sees (window grid); null: as stride
    offset: int = limited("offset", 0)  # [frames] before the first snippet (window grid)
    fps: float | None = limited("fps", None)  # [frames/s] null: as features.json says, else each video's own
    # Windows of raw samples of sensors become spectral channels; auto: where they are found to be such windows.
    sensor_channels: str = choice("auto", "spectral", "raw")


@dataclass
class Model:
    """Encoder, heads and their sizes."""

    # bmn: proposes segments, then classifies them; sliding: merged windows, on labels alone; docs/extend.md
    detector: str = choice(*CHOICES["detector"])
    encoder: str = choice(*CHOICES["encoder"])  # what every snippet sees of the sequence; attention: as published
    mask_head: str = choice(*CHOICES["mask_head"])  # pairwise: asks of each pair of snippets; fixed: as published
    class_activation: str = choice(*CHOICES["class_activation"])  # a probability per class, or one distribution
    # [channels] C, of the features; null: as features.json says, else as the files are wide
    feat_dim: int | None = limited("feat_dim", None)
    temporal_scale: int = limited("temporal_scale", 100)  # [snippets] T, that the model sees at once
    embedding_head: int = limited("embedding_head", 4)  # H, heads of the attention
    embed_dim: int = limited("embed_dim", 128)  # [channels] D, of the embedding; the published encoder has D = C
    dropout: float = limited("dropout", 0.1)  # [share] of the encoder's values that a step leaves out
    # Of detector bmn; the paper has 128, 32 and 1, for many times the time and memory of a step.
    map_channels: int = limited("map_channels", 32)  # [channels] bmn: of the map of proposals
    map_samples: int = limited("map_samples", 16)  # bmn: points that each proposal reads
    map_stride: int = limited("map_stride", 2)  # bmn: a cell of the map stands for so many starts and durations
    map_durations: int | None = limited("map_durations", None)  # [snippets] bmn: longest proposal; null: T
    # Zero mean and unit deviation per channel: over all training videos, or over each recording; auto: by the labels.
    # true and false of older runs are training and none.
    standardize: str = choice("auto", "training", "recording", "none")


@dataclass
class Training:
    """Steps, schedule, device, and what a run begins from."""

    batch_size: int = number(16, 1)  # labeled sequences per step, of each process
    unlabeled_ratio: float = number(1.5, 0)  # unlabeled sequences per labeled one
    # [steps] auto: by the numbers of sequences (spot/schedule.py); null: one pass over the labeled sequences
    steps_per_epoch: Any = "auto"
    pretrain_epoch: int = number(0, 0)  # [epochs] of the pretext stage
    max_epoch: int = number(32, 0)  # [epochs] of the training on labels and pseudo labels
    learning_rate: float = number(5e-4, 0)  # at its highest
    weight_decay: float = number(0.05, 0)  # of weights; with adamw not of biases and norms
    optimizer: str = choice("adamw", "adam")  # adam: as published
    schedule: str = choice("cosine", "step")  # of the learning rate; step: x 0.2 every 10 epochs, as published
    random_seed: int = number(0, 0)  # of the weights, of what a step draws, and of dropout
    holdout: float = number(0.0, 0, 0.9)  # [share] of the labeled videos kept out to watch mAP; 0: fixed schedule
    device: str = "auto"  # auto: a GPU where there is one; cpu, cuda, cuda:1
    amp: str = choice("auto", "none", "bf16")  # precision of a step; auto: bf16 where device or processor has it
    graph: str = choice("auto", "none")  # auto: a step is one CUDA graph where one process trains on a GPU
    cache: str = choice("auto", "device", "memory", "disk")  # where features wait; auto: where they fit
    resume: str | None = None  # auto: go on from last.pt where there is one; null: refuse a folder that holds a run
    pretrained: str | None = path(None)  # a checkpoint that replaces the pretext stage


@dataclass
class Augment:
    """How strong the student's view is."""

    zoom: float = number(0.3, 0, 0.9)  # [share] a view shows 1 - zoom .. 1 of a sequence
    montage: float = number(0.5, 0, 1)  # [share] of views that end in a part of another sequence
    noise: float = number(0.3, 0)  # [deviations] Gaussian, for each value; in deviations of a channel
    offset: float = number(1.0, 0)  # [deviations] the same, but one for the whole sequence, of any strength up to this
    channel_dropout: float = number(0.1, 0, 0.9)  # [share] of channels that are 0 in a whole sequence
    snippet_masking: float = number(0.1, 0, 0.9)  # [share] of snippets that are 0, in short runs


@dataclass
class Pretext:
    """Weights and sizes of the tasks of the pretext stage."""

    random_foreground: float = number(1.0, 0)  # weight of the task that finds segments which alone were kept
    temporal_order: float = number(0.5, 0)  # weight of the task that predicts the order of shuffled chunks
    reconstruction: float = number(0.5, 0)  # weight of the task that gives dropped features back
    chunks: int = limited("chunks", 5)  # that the order task shuffles
    dropped: float = number(0.3, 0, 0.9)  # [share] of the features that are dropped and given back


@dataclass
class Semi:
    """Where pseudo labels come from and how far they are trusted."""

    method: str = choice(*METHODS, "none")  # how unlabeled videos teach; none: they do not; self: as published
    targets: str = choice("soft", "hard")  # class probabilities, or the most probable class alone
    class_threshold: float = number(0.3, 0, 1)  # least class probability of a pseudo label that is used
    mask_threshold: float = number(0.5, 0, 1)  # of a teacher's mask: from here on a snippet is inside
    confidence: float = number(0.5, 0, 1)  # fixmatch: least class probability of a pseudo label
    consistency: float = number(10.0, 0)  # mean_teacher, sstap: weight of the difference between student and teacher
    ema_decay: float = number(0.99, 0, 1)  # [share] of the teacher that stays at a step
    weight: float = number(0.5, 0)  # of the unlabeled losses
    rounds: int = number(2, 0)  # classes come from the ema teacher as it was when its round began; 0: as it is now
    # [share] of the steps on labels alone, until the teacher is worth hearing; auto: by the numbers of sequences
    burn_in: Any = "auto"
    ramp: float = number(0.1, 0, 1)  # [share] of the steps until the unlabeled losses have their full weight
    # ema: how long a recording shows each class; auto: as the labeled ones do, where these agree; free: as is said
    class_shares: str = choice("auto", "free")
    # ema: does a recording show a class again; auto: seldom, where labeled ones seldom do and do not show all classes
    # equally long; free: as is said
    class_repeats: str = choice("auto", "free")


@dataclass
class Testing:
    """How outputs become detections, and at which tIoU they are measured."""

    # Each proposes the run of snippets above it, numbers in [0, 1).
    mask_thresh: list[float] = field(default_factory=lambda: [0.2, 0.35, 0.5, 0.65, 0.8])
    top_k: int = limited("top_k", 256)  # [snippets] of a sequence that propose, per class; at most T
    class_power: float = limited("class_power", 1.0)  # exponent of the instance's class in a score; 0: left out
    mask_power: float = limited("mask_power", 0.5)  # exponent of the mask's quality in a score; 0: left out
    video_power: float = limited("video_power", 0.0)  # exponent of the class's best score in the video; 0: left out
    nms_sigma: float = limited("nms_sigma", 0.4)  # of Gaussian Soft-NMS: scores x exp(-tIoU^2 / sigma)
    min_score: float = limited("min_score", 0.001)  # detections below it are dropped
    max_detections: int = limited("max_detections", 200)  # per video
    class_scores: str = path("none")  # file of an external video classifier that says what; none: the model does
    class_scores_fusion: str = choice(*CHOICES["fusion"])  # of foreground and classifier: product, or its root
    class_scores_top: int = number(2, 1)  # classes of the external classifier per video
    batch_size: int = number(32, 1)  # sequences that the model sees at once
    amp: str = choice("none", "auto", "bf16")  # precision of the model; auto: bf16 where device or processor has it
    action_threshold: float | None = number(None, 0)  # least score in actions.csv; null: as the training chose
    tiou: Any = "0.5:0.95:10"  # first:last:count of the tIoU thresholds, or a list of them


# Weights of the losses; `class` cannot be a dataclass field.
LOSS_WEIGHTS = {"class": 1.0, "mask": 1.0, "instance": 1.0, **dict.fromkeys(LOSSES, 0.0),
                "start_end": 1.0, "confidence": 1.0, "overlap": 10.0}  # the last three are those of bmn, as published


@dataclass
class Config:
    """All settings: a section per field, and the keys of the scripts themselves."""

    output_path: str = path("runs/spot")  # the run folder; detections and metrics land there too
    checkpoint: str | None = path(None)  # inference: a run folder or a file; null: output_path
    # Inference on videos without annotation; the settings that were trained with hold where these are null.
    features: Any = field(default=None, metadata=PATH)  # feature file or folder; a list: channels are concatenated
    videos: str | None = path(None)  # video file or folder: extracted by the backbone of the run, in place of features
    weights: str | None = path(None)  # of that backbone, where they are in a folder
    fps: float | None = limited("fps", None)  # [frames/s] of features=
    stride: int | None = limited("stride", None)  # [frames] between two rows of the files of features=
    every: int | None = limited("every", None)  # every n-th row of features= is used
    window: int | None = limited("window", None)  # [frames] that a snippet of features= sees
    # [s] of every video of features=, or a CSV with columns video, duration and perhaps fps
    duration: str | None = path(None)
    dataset: Dataset = field(default_factory=Dataset)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    augment: Augment = field(default_factory=Augment)
    pretext: Pretext = field(default_factory=Pretext)
    semi: Semi = field(default_factory=Semi)
    loss: dict[str, float] = field(default_factory=lambda: dict(LOSS_WEIGHTS))
    testing: Testing = field(default_factory=Testing)


# What the sidecar of the features knows, and what holds where there is none and nothing is typed.
FROM_FEATURES = {"dataset.stride": 16, "dataset.window": 16, "dataset.fps": None, "model.feat_dim": 400}


def load_config(path, overrides=()):
    """Read a YAML file over the defaults, then apply `section.key=value` overrides.

    path: YAML file, None = defaults only; overrides: strings
    What is not given and stands in a sidecar beside the features (`FROM_FEATURES`) comes from there; whether it
    contradicts what is given is checked where the features are opened.
    Returns a typed OmegaConf config. SpotError names the file or override, the key and the nearest valid key for an
    unknown key, a wrong type, a number out of range, an interpolation `${...}` or a number that is not finite.
    """
    keys = schema()
    config = OmegaConf.structured(Config)
    if path is not None:
        path = shipped(expand_home(path))
        for key, value in leaves(read_yaml(path), {key.partition(".")[0] for key in keys if "." in key}):
            config = with_key(config, keys, key, value, str(path))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise SpotError(f"override {override!r} is not key=value")
        if not text:
            raise SpotError(f"override {override!r} has no value; write it behind the = without a space, or null for "
                            "none")
        config = with_key(config, keys, key, parsed(keys, key, text), f"override {override!r}")
    check_whole(config, path)
    config = _filled(config)
    wrong = sizes_fault(**{**plain(config.model), "chunks": config.pretext.chunks}, prefix="model.")
    if wrong:
        raise SpotError(f"{'settings' if path is None else path}: {wrong}")
    return config


def _filled(config):
    """The settings with the keys of FROM_FEATURES that are open filled in: by a sidecar, the features, or a default."""
    known = {}
    if not OmegaConf.is_missing(config.dataset, "feature_path"):
        times = times_of_features(plain(config.dataset.feature_path), config.dataset.resample_streams)
        known = times.settings() if times else {}
        if config.model.feat_dim is None and "feat_dim" not in known:
            known |= _channels_of_files(config.dataset)
    values = {key: known.get(key.rpartition(".")[2], default) for key, default in FROM_FEATURES.items()
              if OmegaConf.select(config, key) is None}
    return with_values(config, values)


def _channels_of_files(dataset):
    """{"feat_dim": channels} of the features, {} where they do not show it, or where the default fits as well."""
    from spot.features import channels_in  # HDF5 and tables, only where files are looked at

    try:
        found = channels_in(plain(dataset.feature_path), plain(dataset.feature_pattern))
    except (SpotError, ImportError):  # reported when the features are opened; torch, which evaluation needs not
        return {}
    return {"feat_dim": found[0]} if found and FROM_FEATURES["model.feat_dim"] not in found else {}


def save_config(config, path):
    """Write the resolved settings as YAML."""
    write_text(path, OmegaConf.to_yaml(config))


def with_values(config, values, kept=()):
    """The settings with other `values` of some keys, but for the keys `kept`."""
    config = config.copy()
    for key, value in values.items():
        if key not in kept:
            OmegaConf.update(config, key, list(value) if isinstance(value, tuple) else value)
    return config


def schema():
    """Dotted key -> (type, metadata) of every leaf."""
    leaves = {f"loss.{name}": (float, {"range": (0, math.inf)}) for name in LOSS_WEIGHTS}
    for top in dataclasses.fields(Config):
        if dataclasses.is_dataclass(top.type):
            leaves |= {f"{top.name}.{leaf.name}": (leaf.type, leaf.metadata) for leaf in dataclasses.fields(top.type)}
        elif top.name != "loss":
            leaves[top.name] = (top.type, top.metadata)
    return leaves
