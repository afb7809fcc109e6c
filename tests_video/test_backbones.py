"""Backbones of transformers, tiny and with random weights, against direct calls of the library on the same frames."""

import numpy as np
import pytest
import torch
import transformers
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from spot.backbones import open_backbone
from spot.errors import SpotError

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
         "patch_size": 16}
CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


def saved(folder, kind, config, processor):
    """A model of random weights in a folder, as it is fetched from a hub; returns the model."""
    torch.manual_seed(0)
    model = kind(config).eval()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


def images(count, height=40, width=60):
    return list(np.random.default_rng(0).integers(0, 255, (count, height, width, 3), dtype=np.uint8))


def features(folder, frames):
    """What the backbone makes of one clip, prepared in two parts as an extraction does it."""
    backbone = open_backbone(str(folder))
    prepared = torch.cat([backbone.prepare(frames[:3]), backbone.prepare(frames[3:])])
    return backbone.encode(prepared[None])[0].numpy(), backbone


@torch.inference_mode()
def test_videomae_gives_what_its_classifier_sees(tmp_path):
    """The mean over tokens, normalized by the layer that belongs to the classifier."""
    config = transformers.VideoMAEConfig(num_frames=4, use_mean_pooling=True, **SIZES)
    processor = VideoMAEImageProcessorPil(**CROP)
    model = saved(tmp_path, transformers.VideoMAEForVideoClassification, config, processor)
    found, backbone = features(tmp_path, images(4))
    pixels = processor(images(4), return_tensors="pt")["pixel_values"]
    expected = model.fc_norm(model.videomae(pixels).last_hidden_state.mean(1))[0]
    assert found == pytest.approx(expected.numpy(), abs=1e-5)
    assert (backbone.num_frames, backbone.channels, backbone.name) == (4, 16, tmp_path.name)


@torch.inference_mode()
def test_videomae_without_a_classifier_gives_the_mean_over_tokens(tmp_path):
    config, processor = transformers.VideoMAEConfig(num_frames=4, **SIZES), VideoMAEImageProcessorPil(**CROP)
    model = saved(tmp_path, transformers.VideoMAEModel, config, processor)
    found, _ = features(tmp_path, images(4))
    pixels = processor(images(4), return_tensors="pt")["pixel_values"]
    assert found == pytest.approx(model(pixels).last_hidden_state.mean(1)[0].numpy(), abs=1e-5)


@torch.inference_mode()
def test_timesformer_gives_its_class_token(tmp_path):
    config, processor = transformers.TimesformerConfig(num_frames=4, **SIZES), VideoMAEImageProcessorPil(**CROP)
    model = saved(tmp_path, transformers.TimesformerForVideoClassification, config, processor)
    found, _ = features(tmp_path, images(4))
    pixels = processor(images(4), return_tensors="pt")["pixel_values"]
    assert found == pytest.approx(model.timesformer(pixels).last_hidden_state[0, 0].numpy(), abs=1e-5)


@torch.inference_mode()
def test_of_an_image_model_it_is_the_mean_over_the_frames(tmp_path):
    sizes = {key: value for key, value in SIZES.items() if key != "intermediate_size"}
    processor = BitImageProcessorPil(**CROP)
    model = saved(tmp_path, transformers.Dinov2Model, transformers.Dinov2Config(**sizes), processor)
    found, backbone = features(tmp_path, images(5))
    pixels = processor(images(5), return_tensors="pt")["pixel_values"]
    assert found == pytest.approx(model(pixels).pooler_output.mean(0).numpy(), abs=1e-5)
    assert backbone.num_frames is None


@torch.inference_mode()
def test_of_a_model_that_reads_text_too_the_image_features_are_taken(tmp_path):
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
            "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
    config = transformers.CLIPConfig(vision_config=SIZES, text_config=text, projection_dim=8)
    processor = CLIPImageProcessorPil(**CROP)
    model = saved(tmp_path, transformers.CLIPModel, config, processor)
    found, _ = features(tmp_path, images(5))
    pixels = processor(images(5), return_tensors="pt")["pixel_values"]
    expected = model.visual_projection(model.vision_model(pixels).pooler_output).mean(0)
    assert found == pytest.approx(expected.numpy(), abs=1e-5)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    """With a second layer in config.json, its weights are missing; with other widths, they have another shape."""
    config = transformers.VideoMAEConfig(num_frames=4, **SIZES)
    saved(tmp_path, transformers.VideoMAEModel, config, VideoMAEImageProcessorPil(**CROP))
    for changes, words in ({"num_hidden_layers": 2}, "is missing"), ({"intermediate_size": 48}, "has another shape"):
        other = transformers.VideoMAEConfig(num_frames=4, architectures=["VideoMAEModel"], **{**SIZES, **changes})
        other.save_pretrained(tmp_path)
        with pytest.raises(SpotError, match=f"do not fit its config.json .*{words}"):
            open_backbone(str(tmp_path))


def test_the_checksum_follows_the_weights(tmp_path):
    config, processor = transformers.VideoMAEConfig(num_frames=4, **SIZES), VideoMAEImageProcessorPil(**CROP)
    model = saved(tmp_path, transformers.VideoMAEModel, config, processor)
    first, again = (open_backbone("owner/name", weights=str(tmp_path)) for _ in range(2))
    assert first.weights_sha256 == again.weights_sha256 and first.name == "owner/name"
    with torch.no_grad():
        next(model.parameters()).flatten()[0] += 1e-3
    model.save_pretrained(tmp_path)
    assert open_backbone(str(tmp_path)).weights_sha256 != first.weights_sha256


def test_code_that_comes_with_weights_is_not_run(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", '
                                          '"AutoModel": "mine.Model"}}')
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(SpotError, match="cannot be loaded"):
        open_backbone(str(tmp_path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("name", "words"), [
    ("tsn", "not offered: two-stream"), ("I3D_rgb", "not offered: two-stream"), ("videomae", "there is no backbone"),
    ("OpenGVLab/VideoMAEv2-Base", "code of their own"), ("{folder}", "holds no config.json")])
def test_names_that_are_none_say_what_there_is(tmp_path, name, words):
    with pytest.raises(SpotError, match=words):
        open_backbone(name.format(folder=tmp_path))


def test_torchvision_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)  # an import of it fails
    with pytest.raises(SpotError, match=r"torchvision, which cannot be imported .*0\.28\.0 for torch 2\.13\.0"):
        open_backbone("r2plus1d_18")
