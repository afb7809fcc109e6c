"""Every tensor is where CUDA wants it and no step waits: both stages and detection on a GPU that is pretended."""

import re

import numpy as np
import pytest
import tiny
import torch
from pretend_gpu import GpuTensor, PretendGpu, read_back

import spot.datasets
import spot.devices
from spot import checkpoint, engine, feature_bank, inference, pretext
from spot.datasets import GridSettings, SnippetDataset
from spot.devices import choose_device
from spot.engine import STAGES
from spot.files import SpotError

# What a GPU draws by itself, and would draw otherwise than a CPU.
STILL = ("augment.noise=0", "augment.offset=0", "augment.channel_dropout=0", "augment.snippet_masking=0",
         "pretext.dropped=0", "training.graph=none")
EVERY_LOSS = ("loss.boundary=1", "loss.consistency=1", "loss.reconstruction=1")
PUBLISHED = {"encoder": "attention", "mask_head": "fixed", "class_activation": "softmax"}


def data_on(device, cache):
    return [SnippetDataset(videos, tiny.Source(tiny.features_of(videos)), GridSettings("window", tiny.T, 1, 1),
                           tiny.CLASSES, tiny.C, cache, device) for videos in (tiny.LABELED, tiny.UNLABELED)]


def trainer_on(device, cache, *settings, **sizes):
    """A trainer whose dropout, which a GPU tosses by itself, is off."""
    labeled, unlabeled = data_on(device, cache)
    net = tiny.model(dropout=0.0, **sizes).to(device)
    net.order_head.layer.dropout = net.encoder.dropout = net.encoder.out_dropout = 0.0
    return tiny.trainer(*settings, "training.max_epoch=2", "training.learning_rate=5e-3", net=net, labeled=labeled,
                        unlabeled=unlabeled)


def learn(device, folder, cache, settings=(), sizes=()):
    """The pretext stage, an epoch, saved and resumed, another epoch, detection: everything that comes out of it."""
    run = trainer_on(device, cache, *settings, **dict(sizes))
    records = [run.pretext_epoch(0)]
    run.start_stage()
    records.append(run.train_epoch(0))
    checkpoint.save(folder / "last.pt", run.state())
    run.load_state(checkpoint.read(folder / "last.pt"))
    records.append(run.train_epoch(1))
    checkpoint.refuse_non_finite(run.model.state_dict(), "now")
    assert all(isinstance(x, GpuTensor) == (device == "cuda") for x in run.model.state_dict().values())
    features = [*tiny.features_of(tiny.LABELED).values(), np.ones((tiny.C, 21), np.float32)]  # 21: several windows
    grid = {"grid": "window", "temporal_scale": tiny.T, "stride": 1, "window": 1, "fps": 1.0, "batch_size": 4}
    found = [inference.detect(run.teacher.module, features, [8.0, 8.0, 8.0, 21.0], external=external, **grid)
             for external in (None, [np.array([0.1, 0.7, 0.2])] * 4)]
    for record in records:
        del record["seconds"]
    return records, read_back(run.model.state_dict()), [rows for one in found for rows in one]


@pytest.mark.parametrize(("cache", "settings", "sizes"), [
    ("device", EVERY_LOSS, {}),
    ("memory", ("semi.targets=hard", "semi.rounds=0"), {}),
    ("disk", ("semi.method=self",), {}),
    ("auto", ("training.optimizer=adam", "training.schedule=step", "semi.method=self", "semi.targets=hard",
              "loss.boundary=1"), PUBLISHED)])
def test_a_gpu_learns_what_the_cpu_learns(tmp_path, cache, settings, sizes):
    """Bit for bit: losses, weights and detections of both stages, saved and resumed in between."""
    wanted = learn("cpu", tmp_path, cache, (*STILL, *settings), sizes)
    with PretendGpu():
        found = learn("cuda", tmp_path, cache, (*STILL, *settings), sizes)
    assert found[0] == wanted[0] and tiny.same(found[1], wanted[1])
    assert all(np.array_equal(one, other) for one, other in zip(found[2], wanted[2], strict=True))


def test_noise_and_dropped_channels_are_drawn_on_the_gpu(tmp_path):
    with PretendGpu():
        records, *_ = learn("cuda", tmp_path, "device", ("training.graph=none", "training.amp=bf16", *EVERY_LOSS))
    assert all(np.isfinite(value) for record in records for value in record["loss"].values())


@pytest.mark.parametrize("stage", ["train", "pretext"])
def test_a_step_waits_once(stage):
    """For the loss of the step before. Two more steps of an epoch add two waits and no other.

    Seven small tensors a step go to the GPU, and nobody waits for them: of the labeled and of the unlabeled sequences
    their rows in the table and their videos, that is 4; in training the numbers of both views and the weights of the
    unlabeled losses, in the pretext stage the segments, their labels and the order of the chunks.
    """
    found = []
    for steps in (2, 4):
        with PretendGpu() as gpu:
            run = trainer_on("cuda", "device", f"training.steps_per_epoch={steps}", "training.graph=none")
            epoch = run.train_epoch if stage == "train" else run.pretext_epoch
            epoch(0)
            gpu.waits.clear(), gpu.sent.clear()
            epoch(1)
        found.append((sum(gpu.waits.values()), sum(gpu.sent.values())))
    waits, sent = ((more - few) / 2 for few, more in zip(*found, strict=True))
    assert waits == 1, gpu.waits
    assert sent == 7, gpu.sent


def test_what_a_graph_records_copies_nothing():
    """Neither to the GPU nor from it: a graph would hold the numbers of the step that was recorded."""
    with PretendGpu() as gpu:
        run = trainer_on("cuda", "device", *EVERY_LOSS, "training.graph=none")
        for stage, (draw, _) in STAGES.items():
            inputs, _ = draw(run, 0, 4, torch.Generator())
            gpu.waits.clear(), gpu.sent.clear()
            run._with_gradients(stage, inputs)
            assert not gpu.waits and not gpu.sent


def test_a_broken_recording_stops_a_training_on_a_gpu_too():
    """One step later at most, and before anything of the epoch is saved."""
    features = tiny.features_of(tiny.LABELED)
    for x in features.values():
        x[0, 3] = np.inf
    with PretendGpu():
        labeled = SnippetDataset(tiny.LABELED, tiny.Source(features), GridSettings("window", tiny.T, 1, 1),
                                 tiny.CLASSES, tiny.C, "device", "cuda")
        run = tiny.trainer("semi.method=none", "training.steps_per_epoch=1", "training.graph=none",
                           net=tiny.model().to("cuda"), labeled=labeled, unlabeled=None)
        with pytest.raises(SpotError, match=r"train epoch 1: the loss .* is not finite for the videos"):
            run.train_epoch(0)


@pytest.mark.parametrize(("owner", "name"), [(engine, "to_device"), (pretext, "to_device"),
                                             (spot.datasets, "to_device"), (feature_bank, "to_device"),
                                             (inference, "to_device")])
def test_what_is_not_moved_is_noticed(tmp_path, monkeypatch, owner, name):
    """Each room in which a copy to the GPU is left out ends in a refusal, as it would on a GPU."""
    monkeypatch.setattr(owner, name, lambda x, device: x)
    with PretendGpu(), pytest.raises((RuntimeError, SpotError), match="on the CPU"):
        learn("cuda", tmp_path, "memory", ("training.graph=none",))


def test_numbers_drawn_on_the_wrong_side_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("spot.augment.drawn_on", lambda device, generator: {"generator": generator})
    with PretendGpu(), pytest.raises(RuntimeError, match="on the CPU"):
        learn("cuda", tmp_path, "device", ("training.graph=none",))
    monkeypatch.setattr("spot.augment.drawn_on", lambda device, generator: {"generator": generator, "device": device})
    with PretendGpu(), pytest.raises(RuntimeError, match="generator of the CPU"):
        learn("cuda", tmp_path, "device", ("training.graph=none",))


def test_a_gpu_computes_float32_and_leaves_cudnns_attention_alone(monkeypatch):
    """Chosen by name it also becomes the current one, which torch asks for what it can."""
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.enable_cudnn_sdp(True)
    with PretendGpu():
        assert choose_device("cuda:0") == torch.device("cuda:0") and choose_device("auto").type == "cuda"
    assert current == [torch.device("cuda:0")]
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cudnn.allow_tf32 = True
    with spot.devices.exact_convolutions():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_the_pretended_gpu_refuses_and_counts():
    """What it would let pass or wait for, an operator at a time."""
    with PretendGpu() as gpu:
        x = torch.arange(3.0).to("cuda")
        assert x.device.type == "cuda" and x.cpu().tolist() == [0, 1, 2]
        assert (x + torch.tensor(1.0)).cpu().tolist() == [1, 2, 3]  # CUDA takes a CPU tensor without dimensions
        assert sum(gpu.waits.values()) == 3
        gpu.waits.clear()
        torch.ones(3).pin_memory().to("cuda", non_blocking=True)
        assert not gpu.waits and sum(gpu.sent.values()) == 1
        x[x > 1], x.sum().item(), torch.ones(3).to("cuda", non_blocking=True)  # not pinned: it waits
        assert len(gpu.waits) >= 3 or sum(gpu.waits.values()) >= 3
        with pytest.raises(RuntimeError, match=re.escape("cuda:0 and on the CPU")):
            x + torch.ones(3)
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()
        with pytest.raises(RuntimeError, match="indexed tensor is on the CPU"):
            torch.ones(3)[x.long()]
