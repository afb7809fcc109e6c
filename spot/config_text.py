"""A settings file, and the `key=value` of a command line, as keys and values."""

import io
import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from spot.files import SpotError, in_folder
from spot.text import read_text

# Keys that take a number or a word.
NUMBER_OR_WORD = ("dataset.labeled", "training.steps_per_epoch", "semi.burn_in")
# Keys that take text, or a list of one per stream.
OF_STREAMS = ("dataset.feature_path", "dataset.feature_pattern", "features")


def read_yaml(path):
    """The nested dict of a settings file; SpotError for whatever is none."""
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


def leaves(tree, sections, prefix=""):
    """(dotted key, value) of every value in the nested dict of a settings file; sections: names of its sections."""
    for key, value in tree.items():
        if not prefix and key in sections and value in (None, {}):  # all of its keys are commented out
            continue
        if isinstance(value, dict) and value:
            yield from leaves(value, sections, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def is_text(kind):
    """Whether a key of this type takes text, to the letter."""
    return kind in (str, str | None)


def parsed(keys, key, text):
    """The value of an override: text keys keep it to the letter, others read it as YAML does.

    keys: of `config.schema`; SpotError where the value is no YAML
    """
    kind = keys.get(key, (None,))[0]
    if text == "null" and kind is not str:
        return None
    if is_text(kind) or (key in OF_STREAMS and not text.lstrip().startswith("[")):
        quoted = key == "dataset.feature_pattern" and re.fullmatch(r"(['\"])(.*)\1", text)  # as in a settings file
        return quoted[2] if quoted else text
    if key in OF_STREAMS and "{video}" in text and not set(text) & {*"'\""}:
        return _list_of_patterns(text)
    try:
        _refuse_aliases(f"value: {text}", f"override {f'{key}={text}'!r}")
        parsed = OmegaConf.to_container(OmegaConf.create(f"value: {text}"), resolve=False)["value"]
    except SpotError:
        raise
    except Exception as error:  # see read_yaml
        raise SpotError(f"override {f'{key}={text}'!r}: the value is not valid YAML") from error
    # Paths stay text to the letter, also `007`; only a list, or a number where one may stand, is read.
    keeps_number = key in NUMBER_OR_WORD and isinstance(parsed, float | int)
    return text if kind is Any and not (keeps_number or isinstance(parsed, list)) else parsed


def _list_of_patterns(text):
    """`[{video}_rgb.npy, {video}_flow.npy]`, as a shell leaves it: to YAML, a brace without quotes begins a mapping."""
    return [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",")]
