"""The settings of a run: one dataclass per YAML section, one line per key. Load, override, refuse what does not fit.

Only the scripts and `tools/` read settings; everything else in `spot/` receives plain values.
"""

import dataclasses
import difflib
import io
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from spot.evaluation import parse_thresholds
from spot.feature_times import times_of_features
from spot.files import SpotError, expand_home, in_folder, write_text
from spot.limits import CHOICES, MOST_THRESHOLDS, RANGES, shown, sizes_fault
from spot.registry import LOSSES
from spot.setting_names import hint
from spot.shipped import shipped
from spot.text import read_text
from spot.tool_recordings import CLASSES_FROM, ReadingOptions


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

    video_anno_path: str = path(MISSING)  # annotation file, any format that spot/annotations.py reads
    video_info_path: str | None = path(None)  # video_info*.csv: subset of each video, for annotations that do not tell
    # What files of annotation tools leave open, see docs/formats.md.
    point_width: float | None = number(None, 0.001)  # seconds around an event without duration; null: it is refused
    classes_from: str = choice(*CLASSES_FROM)  # ELAN: the classes are the values of annotations, or the names of tiers
    tiers: Any = None  # list of the tiers (ELAN), attributes (VIA), controls (Label Studio) that are read; null: all
    complete_label: str | None = None  # an event of this label marks its recording as annotated; null: any event does
    blocked: str | None = path(None)  # video ids to leave out, in training and evaluation: OpenTAD's blocked.json
    # Folder or .h5; a list: channels are concatenated. Where features.json lies there, stride, window, fps and
    # model.feat_dim need not be given.
    feature_path: Any = field(default=MISSING, metadata=PATH)
    feature_pattern: Any = None  # such as "{video}_rgb.npy", or one per path; null: {video}.* or v_{video}.*
    resample_streams: bool = False  # streams of different rate: to the length of the longest; false: refuse them
    train_subset: str = "training"
    eval_subset: str = "validation"
    num_classes: int | None = None  # null: from the annotations; a number is checked against them
    class_file: str | None = path(None)  # one class per line, or a CSV of id,label; null: by label_id, or sorted
    labeled: Any = field(default=0.1, metadata=PATH)  # share in (0, 1], annotated, file of ids, or info
    split_seed: int = 0  # which videos a share takes
    grid: str = choice(*CHOICES["grid"])
    # Frames between two rows of the feature files (window grid); null: as their features.json says, else 16.
    stride: int | None = limited("stride", None)
    every: int = limited("every", 1)  # every n-th row is used: snippets are stride * every frames apart
    window: int | None = limited("window", None)  # frames that a snippet sees (window grid); null: as stride
    offset: int = limited("offset", 0)  # first frame of the first snippet (window grid)
    fps: float | None = limited("fps", None)  # frames per second; null: as features.json says, else each video's own
    # Windows of raw samples of sensors become spectral channels; auto: where they are found to be such windows.
    sensor_channels: str = choice("auto", "spectral", "raw")


@dataclass
class Model:
    """Encoder, heads and their sizes."""

    encoder: str = choice(*CHOICES["encoder"])
    mask_head: str = choice(*CHOICES["mask_head"])
    class_activation: str = choice(*CHOICES["class_activation"])
    feat_dim: int | None = limited("feat_dim", None)  # C; null: as features.json says, else as the files are wide
    temporal_scale: int = limited("temporal_scale", 100)  # T
    embedding_head: int = limited("embedding_head", 4)  # H
    embed_dim: int = limited("embed_dim", 128)  # D; the published encoder has D = C
    dropout: float = limited("dropout", 0.1)
    # Zero mean and unit deviation per channel: over all training videos, or over each recording; auto: by the labels.
    # true and false of older runs are training and none.
    standardize: str = choice("auto", "training", "recording", "none")


@dataclass
class Training:
    """Steps, schedule, device, and what a run begins from."""

    batch_size: int = number(16, 1)  # labeled videos per step, of each process
    unlabeled_ratio: float = number(1.5, 0)  # unlabeled videos per labeled one
    # auto: by the numbers of sequences, see spot/schedule.py; null: one pass over the labeled videos
    steps_per_epoch: Any = "auto"
    pretrain_epoch: int = number(0, 0)  # of the pretext stage
    max_epoch: int = number(32, 0)
    learning_rate: float = number(5e-4, 0)
    weight_decay: float = number(0.05, 0)
    optimizer: str = choice("adamw", "adam")
    schedule: str = choice("cosine", "step")  # step: x 0.2 every 10 epochs, as published
    random_seed: int = number(0, 0)
    holdout: float = number(0.0, 0, 0.9)  # share of labeled videos kept out to watch mAP; 0: fixed schedule
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    amp: str = choice("auto", "none", "bf16")  # precision of a step; auto: bf16 where device or processor has it
    graph: str = choice("auto", "none")  # auto: a step is one CUDA graph where one process trains on a GPU
    cache: str = choice("auto", "device", "memory", "disk")  # where features wait
    resume: str | None = None  # auto: continue from last.pt
    pretrained: str | None = path(None)  # a checkpoint that replaces the pretext stage


@dataclass
class Augment:
    """How strong the student's view is."""

    zoom: float = number(0.3, 0, 0.9)  # a view shows 1 - zoom .. 1 of a sequence
    montage: float = number(0.5, 0, 1)  # share of views that end in a part of another sequence
    noise: float = number(0.3, 0)  # Gaussian, in standard deviations of a channel
    offset: float = number(1.0, 0)  # the same, but one for the whole sequence, of any strength up to this
    channel_dropout: float = number(0.1, 0, 0.9)
    snippet_masking: float = number(0.1, 0, 0.9)


@dataclass
class Pretext:
    """Weights and sizes of the tasks of the pretext stage."""

    random_foreground: float = number(1.0, 0)  # weights of the three tasks
    temporal_order: float = number(0.5, 0)
    reconstruction: float = number(0.5, 0)
    chunks: int = limited("chunks", 5)  # shuffled by the order task
    dropped: float = number(0.3, 0, 0.9)  # share of features dropped and reconstructed


@dataclass
class Semi:
    """Where pseudo labels come from and how far they are trusted."""

    method: str = choice("ema", "self", "none")
    targets: str = choice("soft", "hard")  # class probabilities, or the most probable class alone
    class_threshold: float = number(0.3, 0, 1)
    mask_threshold: float = number(0.5, 0, 1)
    ema_decay: float = number(0.99, 0, 1)
    weight: float = number(0.5, 0)  # of the unlabeled losses
    rounds: int = number(2, 0)  # classes are told by the ema teacher as it was when its round began; 0: as it is now
    # Share of the steps on labels alone, until the teacher is worth hearing; auto: by the numbers of sequences.
    burn_in: Any = "auto"
    ramp: float = number(0.1, 0, 1)  # share of the steps until the unlabeled losses have their full weight


# What the sidecar of the features knows, and what holds where there is none and nothing is typed.
FROM_FEATURES = {"dataset.stride": 16, "dataset.window": 16, "dataset.fps": None, "model.feat_dim": 400}
# Keys that take a number or a word.
NUMBER_OR_WORD = ("dataset.labeled", "training.steps_per_epoch", "semi.burn_in")
# What older settings files and runs say, and what it is called now.
OLDER_VALUES = {"model.standardize": {"true": "training", "false": "none"}}
# Keys of `spot_inference.py` that say nothing to training.
OWN_VIDEO_KEYS = ("features", "videos", "weights", "fps", "stride", "every", "window", "duration")
# Sections that say how a run learns and detects, not what its weights mean.
LEARNING = ("training", "augment", "pretext", "semi", "loss", "testing")
# Names of the losses; `class` cannot be a dataclass field.
OF_STREAMS = ("dataset.feature_path", "dataset.feature_pattern", "features")  # text, or a list of one per stream
LOSS_WEIGHTS = {"class": 1.0, "mask": 1.0, "instance": 1.0, **dict.fromkeys(LOSSES, 0.0)}


@dataclass
class Testing:
    """How outputs become detections, and at which tIoU they are measured."""

    mask_thresh: list[float] = field(default_factory=lambda: [0.2, 0.35, 0.5, 0.65, 0.8])
    top_k: int = limited("top_k", 256)  # snippets per class and sequence, at most T
    class_power: float = limited("class_power", 1.0)  # exponents of the three factors of a score; 0 leaves one out
    mask_power: float = limited("mask_power", 0.5)
    video_power: float = limited("video_power", 0.0)
    nms_sigma: float = limited("nms_sigma", 0.4)
    min_score: float = limited("min_score", 0.001)
    max_detections: int = limited("max_detections", 200)  # per video
    class_scores: str = path("none")  # an external video classifier's file
    class_scores_fusion: str = choice(*CHOICES["fusion"])
    class_scores_top: int = number(2, 1)  # classes of the external classifier per video
    batch_size: int = number(32, 1)
    amp: str = choice("none", "auto", "bf16")  # precision of the model; auto: bf16 where device or processor has it
    action_threshold: float | None = number(None, 0)  # least score in actions.csv; null: as the training chose
    tiou: Any = "0.5:0.95:10"  # first:last:count of the tIoU thresholds, or a list of them


@dataclass
class Config:
    """All settings: a section per field, and the keys of the scripts themselves."""

    output_path: str = path("runs/spot")
    checkpoint: str | None = path(None)  # inference: a run folder or a file; null: output_path
    # Inference on videos without annotation; the settings that were trained with hold where these are null.
    features: Any = field(default=None, metadata=PATH)  # feature file or folder; a list: channels are concatenated
    videos: str | None = path(None)  # video file or folder: extracted by the backbone of the run, in place of features
    weights: str | None = path(None)  # of that backbone, where they are in a folder
    fps: float | None = limited("fps", None)  # frames per second
    stride: int | None = limited("stride", None)  # frames between two rows of the feature files
    every: int | None = limited("every", None)  # every n-th row is used
    window: int | None = limited("window", None)  # frames that a snippet sees
    duration: str | None = path(None)  # seconds of every video, or a CSV with columns video, duration and perhaps fps
    dataset: Dataset = field(default_factory=Dataset)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    augment: Augment = field(default_factory=Augment)
    pretext: Pretext = field(default_factory=Pretext)
    semi: Semi = field(default_factory=Semi)
    loss: dict[str, float] = field(default_factory=lambda: dict(LOSS_WEIGHTS))
    testing: Testing = field(default_factory=Testing)


def load_config(path, overrides=()):
    """Read a YAML file over the defaults, then apply `section.key=value` overrides.

    path: YAML file, None = defaults only; overrides: strings
    What is not given and a sidecar beside the features tells (`FROM_FEATURES`) comes from there; whether it contradicts
    what is given is asked by whoever opens the features.
    Returns a typed OmegaConf config. SpotError names the file or override, the key and the nearest valid key for an
    unknown key, a wrong type, a number out of range, an interpolation `${...}` or a number that is not finite.
    """
    schema = _schema()
    config = OmegaConf.structured(Config)
    if path is not None:
        path = shipped(expand_home(path))
        for key, value in _leaves(_read_yaml(path)):
            config = _set(config, schema, key, value, str(path))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise SpotError(f"override {override!r} is not key=value")
        if not text:
            raise SpotError(f"override {override!r} has no value; write it behind the = without a space, or null for "
                            "none")
        config = _set(config, schema, key, _parse(schema, key, text), f"override {override!r}")
    _check_whole(config, path)
    config = _filled(config)
    wrong = sizes_fault(**{**plain(config.model), "chunks": config.pretext.chunks}, prefix="model.")
    if wrong:
        raise SpotError(f"{'settings' if path is None else path}: {wrong}")
    return config


def _filled(config):
    """The settings in which no key of FROM_FEATURES is left open that a sidecar, the features or a default tell."""
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
    """{"feat_dim": channels} of the features, {} where they do not tell, or where the default fits as well."""
    from spot.features import channels_in  # HDF5 and tables, only where files are looked at

    try:
        found = channels_in(plain(dataset.feature_path), plain(dataset.feature_pattern))
    except (SpotError, ImportError):  # which is told when the features are opened; torch, which evaluation needs not
        return {}
    return {"feat_dim": found[0]} if found and FROM_FEATURES["model.feat_dim"] not in found else {}


def save_config(config, path):
    """Write the resolved settings as YAML."""
    write_text(path, OmegaConf.to_yaml(config))


def with_own(config, own, overrides):
    """The settings of a run that is resumed: `config`, in which all but data, model and paths is the run's `own`.

    overrides: the `key=value` of the command line, which win; all three are settings of one run
    Returns the settings, and {key: (value that holds, the other)} of what was taken from `own` and of what was typed.
    """
    typed = {override.partition("=")[0] for override in overrides} | {"training.resume"}
    learning = {key for key in _schema() if key.partition(".")[0] in LEARNING} | {"model.dropout"}
    taken = {key: (old, given) for key, (given, old) in changed_keys(config, own, learning - typed).items()}
    changed = changed_keys(config, own, learning & typed - {"training.resume"})
    return with_values(config, {key: old for key, (old, _) in taken.items()}), taken, changed


def changed_keys(config, other, keys):
    """{key: (value, other value)} of the `keys` whose values differ between two settings."""
    pairs = {key: tuple(plain(OmegaConf.select(one, key)) for one in (config, other)) for key in sorted(keys)}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def with_values(config, values, kept=()):
    """The settings with other `values` of some keys, but for the keys `kept`."""
    config = config.copy()
    for key, value in values.items():
        if key not in kept:
            OmegaConf.update(config, key, list(value) if isinstance(value, tuple) else value)
    return config


def plain(section):
    """A section, or a list in it, as plain Python values."""
    return OmegaConf.to_container(section) if isinstance(section, DictConfig | ListConfig) else section


def refuse_own_video_keys(config, reason, keys=OWN_VIDEO_KEYS):
    """SpotError where one of the keys of inference on own videos is given: it would have no effect."""
    given = [key for key in keys if config[key] is not None]
    if given:
        of_dataset = {"features": "feature_path", "duration": "video_info_path"}.get(given[0], given[0])
        advice = {"videos": "extract their features by tools/extract_features.py, for dataset.feature_path",
                  "weights": "leave it out"}.get(given[0], f"the key of the data set is dataset.{of_dataset}")
        raise SpotError(f"{given[0]}= {reason}; {advice}")


def data_values(config):
    """The arguments of `datasets.open_data`."""
    dataset = config.dataset
    return {"video_anno_path": dataset.video_anno_path, "video_info_path": dataset.video_info_path,
            "blocked": dataset.blocked, "feature_path": plain(dataset.feature_path),
            "feature_pattern": plain(dataset.feature_pattern), "resample_streams": dataset.resample_streams,
            "feat_dim": config.model.feat_dim,
            "place": {f"dataset.{key}": dataset[key] for key in ("stride", "window", "offset", "fps")}
            | {"model.feat_dim": config.model.feat_dim},
            "class_file": dataset.class_file, "num_classes": dataset.num_classes, "options": reading_options(config)}


def reading_options(config):
    """What the settings add to files of annotation tools."""
    dataset = config.dataset
    tiers = plain(dataset.tiers)
    if tiers is not None:
        tiers = tuple(map(str, tiers if isinstance(tiers, list) else [tiers]))
    # The rate at which features were extracted is not the one that annotated frames are counted at.
    is_of_features = dataset.fps is not None and (times := times_of_features(
        plain(dataset.feature_path), dataset.resample_streams)) and times.sidecar.fps == dataset.fps
    return ReadingOptions(dataset.point_width, dataset.classes_from, tiers, dataset.complete_label,
                          None if is_of_features else dataset.fps)


def grid_values(config):
    """Where snippets lie in time: the arguments of `datasets.GridSettings`, with `grid` for `kind`."""
    dataset = config.dataset
    return {"grid": dataset.grid, "temporal_scale": config.model.temporal_scale, "stride": dataset.stride,
            "every": dataset.every, "window": dataset.window, "offset": dataset.offset, "fps": dataset.fps}


def decoding_values(config):
    """How outputs become detections: the fields of `proposals.Decoding`."""
    testing = config.testing
    return {"mask_thresh": tuple(testing.mask_thresh), "top_k": testing.top_k, "nms_sigma": testing.nms_sigma,
            "min_score": testing.min_score, "max_detections": testing.max_detections,
            "class_power": testing.class_power, "mask_power": testing.mask_power, "video_power": testing.video_power,
            "fusion": testing.class_scores_fusion}


def scoring_values(config):
    """What the scores of detections depend on beside the model, as JSON can hold it: a threshold holds for these."""
    testing = config.testing
    values = {**decoding_values(config), "class_scores": testing.class_scores,
              "class_scores_top": testing.class_scores_top}
    limits = ("min_score", "max_detections")  # they only leave out the lowest scores
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
            if key not in limits}


def _schema():
    """Dotted key -> (type, metadata) of every leaf."""
    leaves = {f"loss.{name}": (float, {"range": (0, math.inf)}) for name in LOSS_WEIGHTS}
    for top in dataclasses.fields(Config):
        if dataclasses.is_dataclass(top.type):
            leaves |= {f"{top.name}.{leaf.name}": (leaf.type, leaf.metadata) for leaf in dataclasses.fields(top.type)}
        elif top.name != "loss":
            leaves[top.name] = (top.type, top.metadata)
    return leaves


def _read_yaml(path):
    try:
        if Path(path).is_dir():
            raise SpotError(f"{path}: is a folder, no settings file; give --config a file, or a run folder without "
                            "--config")
        if not Path(path).exists():
            raise SpotError(f"{path}: no such settings file{in_folder(path)}; give one with --config")
        text = read_text(path)
        _refuse_aliases(text, path)
        loaded = OmegaConf.load(io.StringIO(text))
    except OSError as error:
        raise SpotError(f"{path}: cannot be read ({error.strerror or error})") from error
    except SpotError:
        raise
    except Exception as error:  # the YAML reader has many error types; each one means a broken file
        raise SpotError(f"{path}: is not valid YAML ({' '.join(str(error).split())})" + _brace_hint(text)) from error
    if not isinstance(loaded, DictConfig):
        raise SpotError(f"{path}: expected sections with keys, got {type(loaded).__name__}")
    return OmegaConf.to_container(loaded, resolve=False)


def _brace_hint(text):
    """What to do about the usual mistake in a settings file: {video} without quotes."""
    found = re.search(r"^ *feature_pattern: *(\{video\}\S*)", text, re.M)
    return f"; write feature_pattern: '{found[1]}', with quotes" if found else ""


def _refuse_aliases(text, source):
    """SpotError for a YAML alias: a few lines of them unfold to more than any memory holds."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        raise SpotError(f"{source}: YAML aliases (*name) are not supported; write the value out")


def _leaves(tree, prefix=""):
    sections = {top.name for top in dataclasses.fields(Config) if dataclasses.is_dataclass(top.type)} | {"loss"}
    for key, value in tree.items():
        if not prefix and key in sections and value in (None, {}):  # all of its keys are commented out
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_text(kind):
    return kind in (str, str | None)


def _parse(schema, key, text):
    """The value of an override: text keys keep it to the letter, others read it as YAML does."""
    kind = schema.get(key, (None,))[0]
    if text == "null" and kind is not str:
        return None
    if _is_text(kind) or (key in OF_STREAMS and not text.lstrip().startswith("[")):
        quoted = key == "dataset.feature_pattern" and re.fullmatch(r"(['\"])(.*)\1", text)  # as in a settings file
        return quoted[2] if quoted else text
    if key in OF_STREAMS and "{video}" in text and not set(text) & {*"'\""}:
        return _list_of_patterns(text)
    try:
        _refuse_aliases(f"value: {text}", f"override {f'{key}={text}'!r}")
        parsed = OmegaConf.to_container(OmegaConf.create(f"value: {text}"), resolve=False)["value"]
    except SpotError:
        raise
    except Exception as error:  # see _read_yaml
        raise SpotError(f"override {f'{key}={text}'!r}: the value is not valid YAML") from error
    # Paths stay text to the letter, also `007`; only a list, or a number where one may stand, is read.
    keeps_number = key in NUMBER_OR_WORD and isinstance(parsed, float | int)
    return text if kind is Any and not (keeps_number or isinstance(parsed, list)) else parsed


def _list_of_patterns(text):
    """`[{video}_rgb.npy, {video}_flow.npy]`, as a shell leaves it: to YAML, a brace without quotes begins a mapping."""
    return [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",")]


def _set(config, schema, key, value, source):
    if key not in schema:
        raise SpotError(f"{source}: unknown key {key!r}" + (f"; {near}" if (near := hint(key, schema)) else ""))
    kind, metadata = schema[key]
    value = OLDER_VALUES.get(key, {}).get(str(value).lower(), value)
    if any("${" in text for text in _texts(value)):
        raise SpotError(f"{source}: {key}: interpolation ${{...}} is not supported; write the value out")
    if _is_text(kind) and value is not None and not isinstance(value, str):
        raise SpotError(f"{source}: {key}: expected text, got {value!r}; put it in quotes")
    if "path" in metadata:
        value = _as_path(value, f"{source}: {key}")
    try:
        OmegaConf.update(config, key, value)
    except OmegaConfBaseException as error:
        name = getattr(kind, "__name__", str(kind))
        raise SpotError(f"{source}: {key}: expected {name}, got {value!r} ({str(error).splitlines()[0]})") from error
    value = OmegaConf.select(config, key)
    if any(not math.isfinite(leaf) for leaf in _numbers(value)):
        raise SpotError(f"{source}: {key} must be a finite number, got {value}")
    if "choices" in metadata and value not in metadata["choices"]:
        near = difflib.get_close_matches(str(value), metadata["choices"], 1, 0.3)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise SpotError(f"{source}: {key} must be one of {', '.join(metadata['choices'])}, got {value!r}{meant}")
    if "range" in metadata and value is not None and not metadata["range"][0] <= value <= metadata["range"][1]:
        low, high = metadata["range"]
        raise SpotError(f"{source}: {key} must be " + (f"in {low}..{high}" if math.isfinite(high) else f">= {low}")
                        + f", got {value}")
    return config


def _as_path(value, source):
    """A path, or the paths of a list, with the home folder for `~`; anything else as it is.

    SpotError for an empty path, and for a variable of the shell, of which nothing but a folder `$HOME` would come.
    """
    if isinstance(value, list):
        return [_as_path(item, source) for item in value]
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise SpotError(f"{source}: an empty path; write it out, or null for none")
    if any(name in os.environ for name in re.findall(r"\$(\w+)", value)):
        raise SpotError(f"{source}: variables of the shell, as in {value!r}, are not replaced here; write the path "
                        "out, or begin it with ~ for the home folder")
    return expand_home(value)


def _texts(value):
    return [text for item in _items(value) for text in [item] if isinstance(text, str)]


def _numbers(value):
    return [item for item in _items(value) if isinstance(item, float)]


def _items(value):
    if isinstance(value, list | tuple | ListConfig):
        for item in value:
            yield from _items(item)
    else:
        yield value


def _check_whole(config, path):
    """What one key alone cannot tell."""
    source = "settings" if path is None else str(path)
    missing = sorted(OmegaConf.missing_keys(config)) if path is not None else []
    if missing:
        raise SpotError(f"{source}: the key {missing[0]} is missing; add it, or give {missing[0]}=...")
    labeled = config.dataset.labeled
    if not isinstance(labeled, str) and (isinstance(labeled, bool) or not isinstance(labeled, int | float)
                                         or not 0 < labeled <= 1):
        raise SpotError(f"{source}: dataset.labeled must be a share in (0, 1], annotated, a file, or info, got "
                        f"{labeled!r}")
    for key in ("feature_path", "feature_pattern"):
        if OmegaConf.is_missing(config.dataset, key):  # load_config(None): the defaults alone
            continue
        value = plain(config.dataset[key])
        optional = key == "feature_pattern" and value is None
        if not optional and not all(isinstance(item, str) for item in _items(value)):
            raise SpotError(f"{source}: dataset.{key} must be text or a list of texts, got {value!r}")
    if config.features is not None and not all(isinstance(item, str) for item in _items(config.features)):
        raise SpotError(f"{source}: features must be a path or a list of paths, got {plain(config.features)!r}")
    steps = config.training.steps_per_epoch
    if not (steps in ("auto", None) or (isinstance(steps, int) and not isinstance(steps, bool) and steps >= 1)):
        raise SpotError(f"{source}: training.steps_per_epoch must be auto, null or a whole number of at least 1, got "
                        f"{steps!r}")
    share = config.semi.burn_in
    if share != "auto" and not (isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share <= 1):
        raise SpotError(f"{source}: semi.burn_in must be auto or a share in 0..1, got {share!r}")
    if not sum(config.loss.values()):
        raise SpotError(f"{source}: all weights in loss are 0, so nothing would be learned; give one of them")
    if config.training.resume not in (None, "auto"):
        raise SpotError(f"{source}: training.resume must be auto or null, got {config.training.resume!r}; which run "
                        "goes on is said by output_path")
    device = config.training.device
    if not re.fullmatch(r"(?!gpu)[a-z]+(:\d+)?", device):
        number_of = re.sub(r"\D", "", device)
        raise SpotError(f"{source}: training.device must be auto, cpu, cuda or cuda:NUMBER, got {device!r}; did you "
                        f"mean {f'cuda:{number_of}' if number_of else 'cuda'!r}?")
    thresholds = list(config.testing.mask_thresh)
    if not 0 < len(thresholds) <= MOST_THRESHOLDS or not all(0 <= value < 1 for value in thresholds):
        raise SpotError(f"{source}: testing.mask_thresh must be a list of 1 to {MOST_THRESHOLDS} numbers in [0, 1), "
                        f"got {shown(thresholds)}")
    try:
        parse_thresholds(plain(config.testing.tiou))
    except SpotError as error:
        raise SpotError(f"{source}: testing.tiou: {error}") from error
