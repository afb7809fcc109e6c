"""tools/export_onnx.py with the real packages: the file computes what the model does. `make test-onnx`"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tiny
import torch
from test_onnx_page import page, trained

from spot.checkpoint import describe_model, save
from spot.inference import detect
from tools import export_onnx

ROOT = Path(__file__).resolve().parents[1]


def session_of(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(model, file) of the default network at its usual width, T = 100 in training."""
    path = tmp_path_factory.mktemp("onnx") / "x.onnx"
    net = tiny.model(feat_dim=400, embed_dim=128, embedding_head=4, temporal_scale=100, num_classes=20)
    net.set_statistics(torch.full((400,), 3.0), torch.full((400,), 2.0))
    assert export_onnx.export(net.eval(), path) <= 1e-4
    return net, session_of(path)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 100), (2, 67), (5, 128), (1, 301)])
def test_any_number_and_length_of_sequences(exported, batch, length):
    net, session = exported
    assert export_onnx.compare(net, session, [(batch, length)]) <= 1e-4


def test_the_published_network_has_one_length(tmp_path):
    net = tiny.model(encoder="attention", mask_head="fixed", class_activation="softmax", feat_dim=40,
                     temporal_scale=100)
    export_onnx.export(net.eval(), tmp_path / "x.onnx")
    assert export_onnx.compare(net, session_of(tmp_path / "x.onnx"), [(1, 100), (7, 100)]) <= 1e-4


def test_the_command_writes_a_file_from_which_the_page_detects(tmp_path):
    """A checkpoint, the command, and docs/onnx.md's numpy code against spot.detect, in four windows."""
    net = trained()
    architecture = {"encoder": "conv_transformer", "mask_head": "pairwise", "class_activation": "sigmoid",
                    "feat_dim": tiny.C, "temporal_scale": tiny.T, "embedding_head": 2, "embed_dim": 8,
                    "num_classes": tiny.K, "chunks": 2}
    save(tmp_path / "best.pt", describe_model(net, architecture))
    done = subprocess.run([sys.executable, "tools/export_onnx.py", str(tmp_path / "best.pt"), str(tmp_path / "x.onnx")],
                          cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0 and "differs from the model by" in done.stdout, done.stderr
    session = session_of(tmp_path / "x.onnx")
    facts = json.loads(session.get_modelmeta().custom_metadata_map["spot"])
    assert facts["class_names"] == tiny.CLASSES and facts["stride"] == 2
    features = np.random.default_rng(0).normal(size=(tiny.C, 20)).astype(np.float32)
    wanted, = detect(net, features, 10.0)
    found = page()["detect"](session, features, 10.0)
    assert len(found) == len(wanted) > 0
    np.testing.assert_allclose([one[3] for one in found], wanted[:, 3], atol=1e-4)
