"""docs/onnx.md: its numpy code, with a session that asks the model itself, finds what `spot.detect` finds."""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from spot.files import SpotError
from spot.inference import detect
from spot.proposals import Decoding
from tools import export_onnx

PAGE = Path(__file__).resolve().parents[1] / "docs" / "onnx.md"


def page():
    """The functions of the page."""
    names = {}
    exec(re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)[1], names)
    return names


class Session:
    """What the page asks of onnxruntime, answered by the model."""

    def __init__(self, model):
        self.model = model.eval()

    def get_modelmeta(self):
        return SimpleNamespace(custom_metadata_map={"spot": json.dumps(export_onnx.facts_of(self.model))})

    def run(self, names, inputs):
        with torch.no_grad():
            outputs = self.model(*(torch.from_numpy(inputs[key]) for key in ("features", "valid")), prepared=True)
        return [outputs[name].numpy() for name in names]


def trained(grid="window", **changes):
    """A model whose masks have contrast, with the settings of a run."""
    net = tiny.model(**changes)
    with torch.no_grad():  # logits around 0 instead of far below, and masks that are not all alike
        net.class_head.bias.zero_()
        for parameter in net.mask_head.parameters():
            parameter.mul_(4)
    net.settings = {"grid": grid, "temporal_scale": tiny.T, "stride": 2, "every": 1, "window": 3, "offset": 0,
                    "fps": 4.0, "class_names": tiny.CLASSES, **asdict(Decoding(max_detections=40, video_power=0.5))}
    return net


@pytest.mark.parametrize(("rows", "grid", "changes"), [
    (8, "window", {}), (5, "window", {}), (30, "window", {}), (31, "window", {"standardize": "recording"}),
    (1, "window", {}), (13, "resize", {}), (13, "resize", {"mask_head": "fixed", "class_activation": "softmax"}),
    (19, "window", {"encoder": "attention", "class_activation": "softmax"})])
def test_the_page_finds_what_detect_finds(rows, grid, changes):
    """One window, a short one, several that are joined, both grids, both activations, the recording's own statistics.

    At 4 frames per second the rows are 0.5 s apart; segments may differ by the rounding of float32.
    """
    net = trained(grid, **changes)
    features = np.random.default_rng(rows).normal(size=(tiny.C, rows)).astype(np.float32)
    duration_sec = (rows - 1) * 0.5 + 0.75
    wanted, = detect(net, features, duration_sec)
    found = page()["detect"](Session(net), features, duration_sec)
    assert len(found) == len(wanted) > 0
    np.testing.assert_allclose([one[3] for one in found], wanted[:, 3], atol=1e-5)
    ours = sorted((tiny.CLASSES.index(name), round(score, 4), start, end) for start, end, name, score in found)
    theirs = sorted((int(k), round(score, 4), start, end) for start, end, k, score in wanted.tolist())
    clear = [i for i in range(len(ours)) if ours[i][:2] == theirs[i][:2]]  # not on two sides of a rounded score
    assert len(clear) > 0.9 * len(ours)
    np.testing.assert_allclose([ours[i][2:] for i in clear], [theirs[i][2:] for i in clear], atol=1e-3)


def test_an_odd_length_gets_a_snippet_that_changes_nothing():
    """What the exported graph does to an odd T: one more snippet, which does not exist."""
    net = tiny.model().eval()
    features, valid = torch.randn(2, tiny.C, 7), torch.ones(2, 7, dtype=torch.bool)
    with torch.no_grad():
        plain = net(features, valid)
        longer = net(torch.nn.functional.pad(features, (0, 1)), torch.nn.functional.pad(valid, (0, 1)))
    for name in ("class_logits", "masks"):
        cut = longer[name][:, : plain[name].shape[1], :7]
        assert torch.allclose(plain[name], cut, atol=1e-6)


def test_what_cannot_be_exported_is_refused(monkeypatch, tmp_path):
    with pytest.raises(SpotError, match="is a Linear; only the detector SPOT"):
        export_onnx.fixed_length(torch.nn.Linear(1, 1))
    assert export_onnx.fixed_length(tiny.model()) is None
    assert export_onnx.fixed_length(tiny.model(mask_head="fixed")) == tiny.T
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SpotError, match=r"onnx is not installed; pip install -r requirements-onnx\.txt"):
        export_onnx.export(tiny.model(), tmp_path / "x.onnx")


def test_relative_positions_of_an_export_are_those_of_training(monkeypatch):
    """For lengths within and beyond the reach of 2: distances -2..2 have a bias each, farther ones that of the end."""
    from spot import heads

    offset = torch.arange(10.0).reshape(2, 5)
    plain = {length: heads.relative_position(offset, length) for length in (1, 2, 3, 4, 9)}
    assert plain[4][0].tolist() == [[2, 3, 4, 4], [1, 2, 3, 4], [0, 1, 2, 3], [0, 0, 1, 2]]
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    for length, wanted in plain.items():
        assert torch.equal(heads.relative_position(offset, length), wanted)
