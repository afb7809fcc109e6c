"""Every YAML in config/ loads, and says how it is run."""

from pathlib import Path

import pytest

from spot.config import load_config
from spot.config_values import decoding_values, grid_values, plain
from spot.datasets import GridSettings
from spot.detectors import build_model
from spot.evaluation import parse_thresholds
from spot.proposals import Decoding

FILES = sorted((Path(__file__).resolve().parents[1] / "config").glob("*.yaml"))


def test_there_are_settings_files():
    names = {path.stem for path in FILES}
    assert len(FILES) >= 3 and {"anet", "demo", "sbhar"} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_yaml_in_config_loads(path):
    """It loads, it opens with a comment that holds its command, and its values fit what they are passed to."""
    config = load_config(path)
    opening = path.read_text().partition("\noutput_path:")[0].splitlines()
    assert all(line.startswith("#") for line in opening)
    assert any("python spot_train.py" in line for line in opening)
    assert GridSettings(**grid_values(config)).grid == config.dataset.grid
    assert Decoding(**decoding_values(config)).top_k == config.testing.top_k
    assert len(parse_thresholds(config.testing.tiou)) > 0


def test_no_two_settings_files_write_into_one_folder():
    folders = [load_config(path).output_path for path in FILES]
    assert len(folders) == len(set(folders))


def test_the_published_settings_build_the_published_network():
    """PUBLISHED.md: T = 100, C = 400, 4 heads as wide as the features, softmax, Adam at 4e-4."""
    config = load_config(next(path for path in FILES if path.stem == "anet_published"))
    model = build_model(**plain(config.model), num_classes=200)
    assert model.encoder.w_qs.weight.shape == (1600, 400) and model.class_activation == "softmax"
    assert model.mask_head.convs[-1].weight.shape == (100, 256, 1) and model.mask_head.convs[-1].bias is None
    assert config.training.optimizer == "adam" and config.training.learning_rate == 4e-4
    assert config.training.weight_decay == 5e-3 and config.semi.method == "self" and config.loss.boundary > 0
