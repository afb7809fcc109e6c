"""What a setting may be: of one key its type, choices and range, and of several keys whether they go together."""

import difflib
import math
import os
import re

from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from spot.config_text import is_text
from spot.config_values import plain
from spot.evaluation import parse_thresholds
from spot.files import SpotError, expand_home
from spot.limits import MOST_THRESHOLDS, shown
from spot.registry import DETECTORS, LOSSES, ON_LABELS_ALONE
from spot.setting_names import hint

# What older settings files and runs say, and what it is called now.
OLDER_VALUES = {"model.standardize": {"true": "training", "false": "none"}}


def with_key(config, keys, key, value, source):
    """The settings with another value of a key; SpotError where it cannot have it.

    keys: of `config.schema`; source: the file or override that says so, for messages
    """
    if key not in keys:
        raise SpotError(f"{source}: unknown key {key!r}" + (f"; {near}" if (near := hint(key, keys)) else ""))
    kind, metadata = keys[key]
    value = OLDER_VALUES.get(key, {}).get(str(value).lower(), value)
    if any("${" in text for text in _texts(value)):
        raise SpotError(f"{source}: {key}: interpolation ${{...}} is not supported; write the value out")
    if is_text(kind) and value is not None and not isinstance(value, str):
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


def check_whole(config, path):
    """SpotError for keys that their types alone do not check; path: of the settings file, None: the defaults alone."""
    source = "settings" if path is None else str(path)
    missing = sorted(OmegaConf.missing_keys(config)) if path is not None else []
    if missing:
        raise SpotError(f"{source}: the key {missing[0]} is missing; add it, or give {missing[0]}=...")
    fault = _data_fault(config) or _training_fault(config) or _testing_fault(config.testing)
    if fault:
        raise SpotError(f"{source}: {fault}")


def _data_fault(config):
    """What is wrong with the keys of the data that take a number or a word, text or a list; None where nothing is."""
    labeled = config.dataset.labeled
    if not isinstance(labeled, str) and not (_is_number(labeled) and 0 < labeled <= 1):
        return f"dataset.labeled must be a share in (0, 1], annotated, a file, or info, got {labeled!r}"
    for key in ("feature_path", "feature_pattern"):
        if OmegaConf.is_missing(config.dataset, key):  # load_config(None): the defaults alone
            continue
        value = plain(config.dataset[key])
        optional = key == "feature_pattern" and value is None
        if not optional and not all(isinstance(item, str) for item in _items(value)):
            return f"dataset.{key} must be text or a list of texts, got {value!r}"
    if config.features is not None and not all(isinstance(item, str) for item in _items(config.features)):
        return f"features must be a path or a list of paths, got {plain(config.features)!r}"
    return None


def _training_fault(config):
    """What is wrong with the keys of the learning; None where nothing is."""
    steps, share, device = config.training.steps_per_epoch, config.semi.burn_in, config.training.device
    if steps not in ("auto", None) and not (_is_number(steps) and isinstance(steps, int) and steps >= 1):
        return f"training.steps_per_epoch must be auto, null or a whole number of at least 1, got {steps!r}"
    if share != "auto" and not (_is_number(share) and 0 <= share <= 1):
        return f"semi.burn_in must be auto or a share in 0..1, got {share!r}"
    detector = config.model.detector
    if detector != "spot" and (given := [name for name in LOSSES if config.loss[name] > 0]):
        return (f"loss.{given[0]} is {config.loss[given[0]]}, and model.detector={detector} has no such loss; leave it "
                "out")
    if detector in ON_LABELS_ALONE and (config.semi.method != "none" or config.training.pretrain_epoch):
        return (f"model.detector={detector} learns from labels alone; give semi.method=none and "
                "training.pretrain_epoch=0")
    tasks = ("random_foreground", "temporal_order", "reconstruction")
    if config.training.pretrain_epoch and not any(config.pretext[task] for task in tasks):
        return (f"training.pretrain_epoch is {config.training.pretrain_epoch}, and the weights of all tasks in pretext "
                "are 0; give one of them, or training.pretrain_epoch=0")
    if not sum(config.loss[name] for name in (*DETECTORS[detector]["losses"], *LOSSES)):
        return "all weights in loss are 0, so nothing would be learned; give one of them"
    if config.training.resume not in (None, "auto"):
        return (f"training.resume must be auto or null, got {config.training.resume!r}; which run goes on is said by "
                "output_path")
    if not re.fullmatch(r"(?!gpu)[a-z]+(:\d+)?", device):
        index = re.sub(r"\D", "", device)
        return (f"training.device must be auto, cpu, cuda or cuda:NUMBER, got {device!r}; did you mean "
                f"{f'cuda:{index}' if index else 'cuda'!r}?")
    return None


def _testing_fault(testing):
    """What is wrong with the lists of thresholds; None where nothing is."""
    thresholds = list(testing.mask_thresh)
    if not 0 < len(thresholds) <= MOST_THRESHOLDS or not all(0 <= value < 1 for value in thresholds):
        return (f"testing.mask_thresh must be a list of 1 to {MOST_THRESHOLDS} numbers in [0, 1), got "
                f"{shown(thresholds)}")
    try:
        parse_thresholds(plain(testing.tiou))
    except SpotError as error:
        return f"testing.tiou: {error}"
    return None


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)
