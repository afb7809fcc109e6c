"""Raw samples of sensors: found by their overlap, made spectral, the same in training and detection."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_scripts import ROOT, TINY
from test_standardize import SIZES

import spot_inference
import spot_train
from spot.checkpoint import load_model
from spot.datasets import GridSettings
from spot.detectors import build_model
from spot.errors import SpotError
from spot.inference import detect
from spot.sensors import windows_of
from spot.waveforms import Waveforms, choose_waveforms, find_waveforms, spectral_channels

ORDERS = ("axis", "time")


def features_of(samples, window, stride, order, dtype=np.float16):
    """Samples (S, A) -> features (A * window, T') as a file would have them."""
    windows = windows_of(samples, window, stride)  # (T', A, W)
    if order == "time":
        windows = windows.swapaxes(1, 2)
    return windows.reshape(len(windows), -1).T.astype(dtype).astype(np.float32)


@pytest.mark.parametrize("order", ORDERS)
@given(st.integers(1, 4), st.integers(2, 12), st.integers(1, 11), st.integers(0, 1000))
def test_samples_are_found_whatever_their_sizes(order, axes, window, stride, seed):
    if stride >= window:
        stride = window - 1
    samples = np.random.default_rng(seed).normal(size=(200, axes)) * 9.81
    found = find_waveforms([features_of(samples, window, stride, order)] * 2, window, stride)
    assert found.axes == axes
    # One axis, or windows that hold the same both ways, lie in either order.
    assert found.order == order or axes == 1


def test_other_features_are_left_alone():
    random = np.random.default_rng(0)
    samples = features_of(random.normal(size=(200, 3)), 10, 5, "axis")
    smooth = random.normal(size=(30, 40)).cumsum(1)
    assert find_waveforms([samples], 10, 5) == Waveforms(3)
    assert find_waveforms([samples, smooth], 10, 5) is None  # one recording that is not
    assert find_waveforms([smooth], 10, 5) is None
    assert find_waveforms([np.zeros((30, 40))], 10, 5) is None  # nothing to see
    assert find_waveforms([samples[:, :1]], 10, 5) is None  # one snippet overlaps with nothing
    assert find_waveforms([samples[:29]], 10, 5) is None  # no windows of 10
    assert find_waveforms([samples], 10, 10) is None
    assert find_waveforms([], 10, 5) is None
    sparse = np.zeros((30, 4000))
    sparse[3, 1000] = 1  # nearly all values agree, what varies does not
    assert find_waveforms([sparse], 10, 5) is None


def test_both_orders_become_the_same_channels():
    samples = np.random.default_rng(1).normal(size=(100, 3))
    by_axis, by_time = (Waveforms(3, order).spectral(features_of(samples, 8, 4, order)) for order in ORDERS)
    assert np.array_equal(by_axis, by_time)
    # Axis 0 takes 5 + 8 // 2 channels, the first of them its mean.
    assert len(by_axis) == Waveforms(3).channels(24) == 27
    assert by_axis[0, 0] == pytest.approx(samples[:8, 0].mean(), abs=1e-3)
    assert np.array_equal(by_axis.T, spectral_channels(features_of(samples, 8, 4, "axis").T.reshape(-1, 3, 8)))


class Source:
    """Features by name."""

    def __init__(self, features):
        self.features, self.feat_dim = features, len(features["a"])

    def read(self, name):
        if name not in self.features:
            raise SpotError(f"{name} is broken")
        return self.features[name]


def test_the_choice_says_why():
    raw = Source({"a": features_of(np.random.default_rng(0).normal(size=(60, 2)), 10, 5, "axis")})
    other = Source({"a": np.random.default_rng(0).normal(size=(20, 30))})
    grid, resized = GridSettings("window", 8, stride=5, window=10), GridSettings("resize", 8)
    assert choose_waveforms("auto", raw, ["a", "gone"], grid) == (
        Waveforms(2), "samples of 2 axes: the last 5 of a window are the first of the next one")
    assert choose_waveforms("raw", raw, ["a"], grid)[0] is None
    assert choose_waveforms("auto", other, ["a"], grid)[0] is None
    assert choose_waveforms("auto", raw, ["a"], resized)[0] is None
    assert choose_waveforms("spectral", other, ["a"], grid)[0] == Waveforms(2)
    for source, place, words in ((raw, resized, "dataset.grid=window"),
                                 (other, GridSettings("window", 8, stride=5, window=7), "20 channels are no")):
        with pytest.raises(SpotError, match=words):
            choose_waveforms("spectral", source, ["a"], place)


@pytest.mark.parametrize("standardize", ["training", "recording"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_model_of_samples_detects_what_one_of_their_spectra_does(order, standardize):
    """The same weights, given samples, and given the channels that they become."""
    samples = np.random.default_rng(2).normal(size=(60, 2)).cumsum(0)
    raw = features_of(samples, 6, 3, order)
    spectra = Waveforms(2, order).spectral(raw)
    torch.manual_seed(0)
    of_samples = build_model(**{**SIZES, "feat_dim": 12}, sensor_axes=2, sensor_order=order, standardize=standardize)
    of_spectra = build_model(**{**SIZES, "feat_dim": len(spectra)}, standardize=standardize)
    of_spectra.load_state_dict(of_samples.state_dict())
    assert of_samples.feat_dim == 12
    settings = {"grid": "window", "stride": 3, "window": 6, "fps": 1.0, "min_score": 0.0}
    found = [detect(model, x, None, **settings)[0] for model, x in ((of_samples, raw), (of_spectra, spectra))]
    assert len(found[0]) and np.allclose(*found, atol=1e-4)
    batch = torch.from_numpy(raw[None, :, :8])
    with torch.no_grad():
        logits = [model.eval()(x)["class_logits"]
                  for model, x in ((of_samples, batch), (of_spectra, torch.from_numpy(spectra[None, :, :8])))]
    assert torch.allclose(*logits, atol=1e-4)


@pytest.mark.parametrize("detector", ["spot", "bmn"])
def test_the_order_of_chunks_is_predicted_from_spectra_of_any_width(detector):
    """52 samples of 3 axes are 3 * (5 + 26) = 93 channels, no multiple of the 4 heads that 156 are one of."""
    sizes = {**SIZES, "encoder": "attention", "feat_dim": 156, "embedding_head": 4}
    net = build_model(**sizes, detector=detector, sensor_axes=3)
    chunks = net.order_head.chunks
    assert net.order_head(torch.randn(2, 93, 2 * chunks)).shape == (2, chunks, chunks)


def test_a_run_on_samples_knows_it(tmp_path, capsys):
    """Found in training, stored in the checkpoint, used by inference on other recordings, kept when it goes on."""
    random, folder = np.random.default_rng(0), tmp_path / "features"
    folder.mkdir()
    annotations = {}
    for index in range(4):
        samples = random.normal(size=(90, 2))
        samples[30:60] += 3 * np.sin(np.arange(30))[:, None]
        np.save(folder / f"r{index}.npy", features_of(samples, 6, 3, "axis").T)
        annotations[f"r{index}"] = {"duration_second": 9.0, "fps": 10, "subset": "training",
                                    "annotations": [{"segment": [3.0, 6.0], "label": "shake"}]}
    (tmp_path / "annotations.json").write_text(json.dumps({"database": annotations}))
    run = tmp_path / "run"
    settings = ["--config", str(ROOT / "config" / "sbhar.yaml"), f"output_path={run}", *TINY,
                f"dataset.video_anno_path={tmp_path / 'annotations.json'}", f"dataset.feature_path={folder}",
                "dataset.stride=3", "dataset.window=6", "dataset.labeled=0.5", "model.feat_dim=null"]
    spot_train.main([*settings, "--check", "semi.consistency=3"])
    said = capsys.readouterr()
    assert "  features are made spectral (samples of 2 axes" in said.out
    assert "warning: semi.consistency has no effect with semi.method=ema" in said.err
    spot_train.main(settings)
    assert "made spectral (samples of 2 axes" in capsys.readouterr().out
    model = load_model(run)
    assert (model.feat_dim, model.waveforms) == (12, Waveforms(2))
    spot_inference.main([f"checkpoint={run}", f"features={folder}", f"output_path={tmp_path}"])
    found = json.loads((tmp_path / "own" / "detections.json").read_text())["results"]
    assert sorted(found) == ["r0", "r1", "r2", "r3"]
    with pytest.raises(SpotError, match="sensor_channels=raw has no effect at inference"):
        spot_inference.main([str(run), f"features={folder}", f"output_path={tmp_path}", "dataset.sensor_channels=raw"])
    with pytest.raises(SpotError, match=r"dataset\.sensor_channels was 'spectral' and is 'raw'"):
        spot_train.main([*settings, "training.resume=auto", "dataset.sensor_channels=raw", "training.max_epoch=9"])
