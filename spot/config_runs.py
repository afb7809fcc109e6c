"""Settings beside those of another run, or of another script: which keys differ, which hold, which have no effect."""

import sys

from omegaconf import OmegaConf

from spot.command_line import keys_of
from spot.config import schema, with_values
from spot.config_text import read_yaml
from spot.config_values import plain
from spot.files import SpotError

# Keys of `spot_inference.py` that say nothing to training.
OWN_VIDEO_KEYS = ("features", "videos", "weights", "fps", "stride", "every", "window", "duration")
# Sections that say how a run learns and detects, not what its weights mean.
LEARNING = ("training", "augment", "pretext", "semi", "loss", "testing")

# Settings that came after runs that may still go on, as those runs have them.
BEFORE = {"semi.class_shares": "free", "semi.class_repeats": "free"}


def earlier_values(path):
    """`key=value` for each setting of BEFORE that the config.yaml of a run does not know."""
    known = OmegaConf.create(read_yaml(path))
    return [f"{key}={value}" for key, value in BEFORE.items() if OmegaConf.select(known, key) is None]


def with_own(config, own, overrides):
    """The settings of a run that is resumed: `config`, in which all but data, model and paths is the run's `own`.

    overrides: the `key=value` of the command line, which win; all three are settings of one run
    Returns the settings, and {key: (value that holds, the other)} of what was taken from `own` and of what was typed.
    """
    typed = keys_of(overrides) | {"training.resume"}
    learning = {key for key in schema() if key.partition(".")[0] in LEARNING} | {"model.dropout"}
    taken = {key: (old, given) for key, (given, old) in changed_keys(config, own, learning - typed).items()}
    changed = changed_keys(config, own, learning & typed - {"training.resume"})
    return with_values(config, {key: old for key, (old, _) in taken.items()}), taken, changed


def changed_keys(config, other, keys):
    """{key: (value, other value)} of the `keys` whose values differ between two settings."""
    pairs = {key: tuple(plain(OmegaConf.select(one, key)) for one in (config, other)) for key in sorted(keys)}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def warn_of_unread(config, own, overrides, read, flag):
    """Print which `key=value` of a command line say nothing about detections that are there, and differ from the run's.

    config: with `overrides`; own: of the run, without; read: keys that have an effect
    flag: what gives the score from which on a detection is an action, in place of `testing.action_threshold`
    """
    for key in changed_keys(config, own, keys_of(overrides) - set(read)):
        advice = "give it to spot_inference.py" if key.startswith("testing.") else "leave it out"
        advice = f"give {flag}" if key == "testing.action_threshold" else advice
        print(f"warning: {key} has no effect on detections that are there; {advice}", file=sys.stderr)


def refuse_own_video_keys(config, reason, keys=OWN_VIDEO_KEYS):
    """SpotError where one of the keys of inference on own videos is given: it would have no effect."""
    given = [key for key in keys if config[key] is not None]
    if given:
        of_dataset = {"features": "feature_path", "duration": "video_info_path"}.get(given[0], given[0])
        advice = {"videos": "extract their features by tools/extract_features.py, for dataset.feature_path",
                  "weights": "leave it out"}.get(given[0], f"the key of the data set is dataset.{of_dataset}")
        raise SpotError(f"{given[0]}= {reason}; {advice}")
