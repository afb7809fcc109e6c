"""Videos by the backbone of a run: what is refused, and what is extracted once only."""

import dataclasses

import numpy as np
import pytest
import torch
import transformers
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil
from video_files import gray, write_video

from spot.backbones import open_backbone
from spot.errors import SpotError
from spot.own_videos import features_of_videos
from spot.sidecar import Sidecar, read_sidecar

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A tiny model of random weights, in a folder."""
    folder = tmp_path_factory.mktemp("weights")
    config = transformers.VideoMAEConfig(image_size=32, patch_size=16, num_frames=2, hidden_size=16,
                                         num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    transformers.VideoMAEModel(config).save_pretrained(folder)
    VideoMAEImageProcessorPil(size={"shortest_edge": 32},
                              crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(weights):
    """What a run says of the features that it was trained on."""
    backbone = open_backbone(str(weights))
    return Sidecar(backbone.name, backbone.version, backbone.weights_sha256, 2, 4, 10.0, backbone.channels)


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        write_video(tmp_path / "videos" / f"{name}.mp4", np.arange(10) / 10, gray(*range(10, 210, 20)))
    return tmp_path / "videos"


def test_features_are_extracted_as_those_of_the_run_and_only_once(tmp_path, weights, trained, videos, capsys):
    found = features_of_videos(videos, trained, str(weights), tmp_path / "out", CPU)
    assert {name: file.name for name, file in found.items()} == {"a": "a.mp4", "b": "b.mp4"}
    made = read_sidecar(tmp_path / "out")
    assert [getattr(made, key) for key in ("backbone", "stride", "window", "fps")] == [trained.backbone, 2, 4, 10]
    # Without the weights: they are not opened again.
    assert features_of_videos(videos / "a.mp4", trained, None, tmp_path / "out", CPU) == {"a": videos / "a.mp4"}
    assert "1 videos are there already" in capsys.readouterr().out


def test_other_weights_and_another_backbone_are_refused_with_both(tmp_path, weights, trained, videos):
    other = dataclasses.replace(trained, weights_sha256="0" * 64)
    with pytest.raises(SpotError, match=f"'000000000000', and .* have '{trained.weights_sha256[:12]}'"):
        features_of_videos(videos, other, str(weights), tmp_path / "out", CPU)
    with pytest.raises(SpotError, match=r"features of backbone 'my_model'.*give weights=FOLDER"):
        features_of_videos(videos, dataclasses.replace(trained, backbone="my_model"), None, tmp_path / "out", CPU)
    assert not (tmp_path / "out").exists()


def test_a_run_that_does_not_tell_its_backbone_asks_for_features(tmp_path, videos):
    with pytest.raises(SpotError, match=r"without a features\.json; .* give features="):
        features_of_videos(videos, None, None, tmp_path / "out", CPU)


def test_videos_that_cannot_be_read_are_left_out(tmp_path, weights, trained, videos, capsys):
    (videos / "b.mp4").write_bytes(b"no video")
    assert list(features_of_videos(videos, trained, str(weights), tmp_path / "out", CPU)) == ["a"]
    assert "warning: b is left out" in capsys.readouterr().err
    with pytest.raises(SpotError, match="none of 1 videos can be read"):
        features_of_videos(videos / "b.mp4", trained, str(weights), tmp_path / "out", CPU)
