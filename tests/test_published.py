"""The two published checkpoint layouts against a direct computation of their formulas, with random weights."""

import pickle

import pytest
import torch
from tiny import model as fresh_model
from torch.nn import functional as F

import spot
from spot.files import SpotError
from spot.meaning import check_fit


def weights(*shape, scale=0.3, generator=torch.Generator().manual_seed(0)):  # noqa: B008
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def attention_weights(name, channels, heads):
    return {f"{name}.w_qs.weight": weights(heads * channels, channels),
            f"{name}.w_ks.weight": weights(heads * channels, channels),
            f"{name}.w_vs.weight": weights(heads * channels, channels),
            f"{name}.fc.weight": weights(channels, heads * channels), f"{name}.fc.bias": weights(channels),
            f"{name}.layer_norm.weight": 1 + weights(channels), f"{name}.layer_norm.bias": weights(channels)}


def spot_state(channels=6, heads=3, classes=4, length=8):
    """The SPOT layout, with everything of the order task that its forward pass does not use."""
    return {**attention_weights("embedding", channels, heads), "embedding.pos_enc.pos_table": weights(1, 200, channels),
            **attention_weights("clip_trans", channels, heads),
            "clip_trans.pos_enc.pos_table": weights(1, 200, channels),
            "clip_order.0.weight": weights(1, channels, 3), "clip_order.0.bias": weights(1),
            "clip_order_linear.0.weight": weights(9, 100), "clip_order_linear.0.bias": weights(9),
            "classifier.0.weight": weights(classes + 1, channels, 1), "classifier.0.bias": weights(classes + 1),
            "global_mask.0.weight": weights(256, channels, 3), "global_mask.0.bias": weights(256),
            "global_mask.2.weight": weights(length, 256, 1, scale=0.05)}


def tags_state(channels=6, heads=2, classes=4, length=8):
    """The TAGS layout: four mask convolutions of 1024, 512, 256 and T channels."""
    return {**attention_weights("embedding", channels, heads),
            "classifier.0.weight": weights(classes + 1, channels, 1), "classifier.0.bias": weights(classes + 1),
            "global_mask.0.weight": weights(1024, channels, 3), "global_mask.0.bias": weights(1024),
            "global_mask.2.weight": weights(512, 1024, 3, scale=0.02), "global_mask.2.bias": weights(512),
            "global_mask.3.weight": weights(256, 512, 3, scale=0.03), "global_mask.3.bias": weights(256),
            "global_mask.5.weight": weights(length, 256, 1, scale=0.05)}


def direct(state, features):
    """The published formulas with plain tensor operations, head by head. features: (B, C, T) -> classes, masks."""
    x = features.transpose(1, 2)  # (B, T, C)
    channels = x.shape[2]
    heads = []
    for first in range(0, len(state["embedding.w_qs.weight"]), channels):
        query, key, value = (x @ state[f"embedding.w_{name}s.weight"][first : first + channels].T for name in "qkv")
        heads.append((query @ key.transpose(1, 2) / channels**0.5).softmax(2) @ value)
    x = torch.cat(heads, 2) @ state["embedding.fc.weight"].T + state["embedding.fc.bias"] + x
    x = (x - x.mean(2, keepdim=True)) / (x.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    x = (x * state["embedding.layer_norm.weight"] + state["embedding.layer_norm.bias"]).transpose(1, 2)
    classes = F.conv1d(x, state["classifier.0.weight"], state["classifier.0.bias"])

    def conv(x, layer):
        return F.conv1d(x, state[f"global_mask.{layer}.weight"], state[f"global_mask.{layer}.bias"], padding=1)

    x = conv(x, 0).relu()
    if "global_mask.3.weight" in state:
        return classes, F.conv1d(conv(conv(x, 2), 3).relu(), state["global_mask.5.weight"]).sigmoid()
    return classes, F.conv1d(x, state["global_mask.2.weight"]).sigmoid()


LAYOUTS = {"spot": spot_state, "tags": tags_state}


def write(path, state, wrapped=True):
    """As published: float32, each key with a `module.` prefix, in a dict beside the epoch."""
    state = {f"module.{key}": value.float() for key, value in state.items()}
    torch.save({"epoch": 25, "state_dict": state} if wrapped else state, path)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float64, 1e-5), (torch.float32, 1e-4)])
@torch.no_grad()
def test_a_published_checkpoint_computes_its_formulas(tmp_path, layout, kind, tolerance):
    state = {key: value.float().to(kind) for key, value in LAYOUTS[layout]().items()}
    model = spot.load_model(write(tmp_path / "published.pth.tar", state)).to(kind)
    features = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(1)).to(kind)
    classes, masks = direct(state, features)
    outputs = model(features)
    assert outputs["class_logits"].shape == (2, 5, 8) and outputs["masks"].shape == (2, 8, 8)
    assert (outputs["class_logits"] - classes).abs().max() < tolerance
    assert (outputs["masks"] - masks).abs().max() < tolerance and masks.std() > 0.05


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("heads", [1, 4])
def test_every_size_is_read_from_the_shapes(tmp_path, layout, heads):
    path = write(tmp_path / "a.pth", LAYOUTS[layout](channels=10, heads=heads, classes=7, length=12))
    model = spot.load_model(path)
    assert (model.feat_dim, model.num_classes, model.encoder.heads) == (10, 7, heads)
    assert model.settings["temporal_scale"] == 12 and model.class_activation == "softmax"
    assert not model.training and model(torch.randn(1, 10, 12))["masks"].shape == (1, 12, 12)


def test_a_bare_state_dict_loads_as_well(tmp_path):
    assert spot.load_model(write(tmp_path / "a.pth", spot_state(), wrapped=False)).num_classes == 4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_key_is_refused(tmp_path, layout):
    """Each of the used weights in turn; what the forward pass does not use may be missing."""
    state = LAYOUTS[layout]()
    for key in state:
        left = {name: value for name, value in state.items() if name != key}
        path = write(tmp_path / "a.pth", left)
        if key.startswith(("clip_", "embedding.pos_enc")):
            assert spot.load_model(path).num_classes == 4
            continue
        with pytest.raises(SpotError, match=r"a\.pth: .*\w"):
            spot.load_model(path)


@pytest.mark.parametrize("change", [
    {"surprise.weight": weights(3)}, {"global_mask.7.weight": weights(3, 3, 1)}, {"global_mask.x.weight": weights(1)},
    {"embedding.w_qs.weight": weights(19, 6)}, {"embedding.w_qs.weight": weights(18)},
    {"embedding.w_qs.weight": weights(6, 0)}, {"classifier.0.weight": weights(5, 7, 1)},
    {"global_mask.2.weight": weights(8, 255, 1)}, {"embedding.layer_norm.bias": weights(7)},
    {"global_mask.2.bias": weights(8)}, {"classifier.0.bias": weights(9)}, {"embedding.fc.weight": weights(1)},
], ids=lambda change: next(f"{key} {tuple(value.shape)}" for key, value in change.items()))
def test_misshapen_and_extra_weights_are_refused(tmp_path, change):
    with pytest.raises(SpotError, match=r"a\.pth: "):
        spot.load_model(write(tmp_path / "a.pth", {**spot_state(), **change}))


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"state_dict": 3}, {"state_dict": {"a": 1}}, [1, 2],
                                     {"format": "spot-1"}, {"format": "spot-1", "architecture": {}, "state_dict": {}},
                                     {3: 4}, {"state_dict": {"embedding.w_qs.weight": 1, "global_mask.0.weight": 2}}])
def test_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(SpotError, match=r"a\.pth"):
        spot.load_model(tmp_path / "a.pth")


class Attack:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("place", ["whole", "state_dict", "beside"])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, place):
    """Wherever the attack hides, also beside good weights; the file that it would make is not there afterwards."""
    attack = Attack(tmp_path / "owned")
    content = {"whole": attack, "state_dict": {"state_dict": attack},
               "beside": {"state_dict": spot_state(), "x": attack}}
    torch.save(content[place], tmp_path / "a.pth")
    with pytest.raises(SpotError, match="run code"):
        spot.load_model(tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(content[place]))
    with pytest.raises(SpotError, match="run code"):
        spot.load_model(tmp_path / "b.pth")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("data", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_broken_file_is_refused(tmp_path, data):
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(SpotError, match="broken"):
        spot.load_model(tmp_path / "a.pth")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SpotError, match="no such checkpoint"):
        spot.load_model(tmp_path / "a.pth")


SIZES = {"model.feat_dim": 6, "dataset.grid": "resize", "model.temporal_scale": 8}


@pytest.mark.parametrize(("changes", "trained", "wanted"), [
    ({"model.feat_dim": 400}, "6", "400"), ({"model.temporal_scale": 100}, "8", "100"), ({}, "4", "3")])
def test_sizes_that_do_not_fit_are_refused_with_both(tmp_path, changes, trained, wanted):
    """A checkpoint of 6 channels, 8 snippets, 4 classes; the last row has data of 3 classes."""
    model = spot.load_model(write(tmp_path / "a.pth", spot_state()))
    names = ["jump", "run", "throw"] + ["walk"] * bool(changes)
    with pytest.raises(SpotError, match=rf"\b{trained}\b.*\b{wanted}\b"):
        check_fit(model, names, {**SIZES, **changes})


def test_sizes_that_fit_pass(tmp_path):
    model = spot.load_model(write(tmp_path / "a.pth", spot_state()))
    check_fit(model, list("abcd"), SIZES)
    ours = fresh_model()
    ours.settings = {"class_names": ["jump", "run", "throw"], "temporal_scale": 8}
    check_fit(ours, ["jump", "run", "throw"], SIZES)
    with pytest.raises(SpotError, match="another order"):
        check_fit(ours, ["run", "jump", "throw"], SIZES)


def test_the_published_class_list_is_in_config():
    """Class 0 of the published checkpoints is the first line; 200 classes."""
    from pathlib import Path

    from spot.annotations import read_class_file

    names = read_class_file(Path(__file__).resolve().parents[1] / "config" / "published_class_ids.csv")
    assert len(names) == len(set(names)) == 200
