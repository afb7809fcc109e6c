"""On a real GPU, and only there: both stages with every loss, resumed; inference; gradients; several GPUs.

What can be known without one is in test_gpu.py and test_graphs.py.
"""

import math

import numpy as np
import pytest
import tiny
import torch
from test_distributed import together
from test_gpu import EVERY_LOSS, PUBLISHED, STILL, data_on, trainer_on

import spot
from spot import checkpoint, distributed
from spot.datasets import GridSettings, SnippetDataset
from spot.devices import choose_device
from spot.encoders import attention
from spot.files import SpotError

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU: nothing is tried on CUDA")
CASES = [("device", EVERY_LOSS, {}), ("memory", ("semi.targets=hard", "semi.rounds=0"), {}),
         ("disk", ("semi.method=self", *EVERY_LOSS), {}),
         ("auto", ("training.optimizer=adam", "training.schedule=step", "semi.method=self", "semi.targets=hard",
                   "loss.boundary=1"), PUBLISHED)]


@pytest.fixture(autouse=True)
def gpu():
    return choose_device("cuda")


@pytest.mark.parametrize(("cache", "settings", "sizes"), CASES)
def test_a_gpu_learns_what_the_cpu_learns(tmp_path, cache, settings, sizes):
    """In float32, without what each draws for itself, resumed in between: losses within 2 % and weights within 0.02.

    A pseudo label at its threshold may fall on the other side.
    """
    found, weights, rows = run_both_stages(tmp_path, "cuda", cache, settings, sizes)
    wanted, wanted_weights, wanted_rows = run_both_stages(tmp_path, "cpu", cache, settings, sizes)
    for one, other in zip(found, wanted, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.02, abs=1e-3)
    for name, value in wanted_weights.items():
        assert torch.allclose(weights[name], value, atol=0.02), name
    assert len(rows) == len(wanted_rows) and all(np.isfinite(x).all() for x in rows)


def run_both_stages(folder, device, cache, settings, sizes):
    run = trainer_on(device, cache, *STILL, *settings, **sizes)
    records = [run.pretext_epoch(0)]
    run.start_stage()
    records.append(run.train_epoch(0))
    checkpoint.save(folder / f"{device}.pt", run.state())
    run.load_state(checkpoint.read(folder / f"{device}.pt"))
    records.append(run.train_epoch(1))
    rows = spot.detect(run.teacher.module, [np.ones((tiny.C, 21), np.float32)], [21.0], grid="window",
                       temporal_scale=tiny.T, stride=1, window=1, fps=1.0)
    return records, {name: value.cpu() for name, value in run.model.state_dict().items()}, rows


@pytest.mark.parametrize("amp", ["none", "bf16"])
@pytest.mark.parametrize(("cache", "settings", "sizes"), CASES)
def test_a_graph_learns_what_plain_steps_learn(cache, settings, sizes, amp, capsys):
    """With all that is drawn, dropout too: losses of two epochs within 2 %; recording did not fail."""
    losses = []
    for graph in ("none", "auto"):
        labeled, unlabeled = data_on("cuda", cache)
        run = tiny.trainer(*settings, f"training.amp={amp}", f"training.graph={graph}", "training.max_epoch=2",
                           net=tiny.model(**sizes).to("cuda"), labeled=labeled, unlabeled=unlabeled)
        records = [run.pretext_epoch(0)]
        run.start_stage()
        records += [run.train_epoch(epoch) for epoch in range(2)]
        losses.append([record["loss"] for record in records])
        assert (run.recorder is not None) == (graph == "auto")
    for plain, recorded in zip(*losses, strict=True):
        assert all(map(math.isfinite, plain.values()))
        assert recorded == pytest.approx(plain, rel=0.02, abs=2e-3)
    assert "could not be recorded" not in capsys.readouterr().err


def test_resumed_steps_draw_what_uninterrupted_ones_draw(tmp_path):
    """Two epochs at once, or saved and loaded between them: the same losses but for rounding. Graphs are made anew."""
    def steps(run, epochs):
        return [run.train_epoch(epoch)["loss"] for epoch in epochs]

    whole = steps(trainer_on("cuda", "device"), (0, 1))
    first = trainer_on("cuda", "device")
    before = steps(first, (0,))
    checkpoint.save(tmp_path / "last.pt", first.state())
    second = trainer_on("cuda", "device")
    second.load_state(checkpoint.read(tmp_path / "last.pt"))
    for one, other in zip(before + steps(second, (1,)), whole, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("length", [64, 100, 192, 256])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_gradients_of_attention_with_a_mask_are_finite_and_right(length, kind):
    """Also where T % 128 = 64 and every score is near -120, which cuDNN's kernel on Hopper GPUs turns into NaN.

    Against float64 on the CPU: within 2 % of the norm in bf16 (8 bits), 0.1 % in float32.
    """
    torch.manual_seed(0)
    values = [0.1 * torch.randn(3, 2, length, 64, dtype=torch.float64) for _ in range(3)]
    values[0][..., 0], values[1][..., 0] = 1, -120 * 8  # / sqrt(64)
    seen = (torch.arange(length) < torch.tensor([[length], [length // 2], [1]]))[:, None, None]
    results = []
    for where, dtype in (("cpu", torch.float64), ("cuda", kind)):
        inputs = [x.to(where, kind).to(dtype).requires_grad_() for x in values]
        out = attention(*inputs, seen.to(where))
        results.append([x.double().cpu() for x in (out, *torch.autograd.grad(out.square().sum(), inputs))])
    for _wanted, found in zip(*results, strict=True):
        assert found.isfinite().all()
    assert (results[1][0] - results[0][0]).norm() <= (0.02 if kind == torch.bfloat16 else 1e-3) * results[0][0].norm()


def test_a_training_in_bf16_with_padded_sequences_of_64_snippets_stays_finite():
    """demo.yaml has T = 64; the sequences are 5 to 64 snippets long."""
    net = tiny.model(temporal_scale=64, embed_dim=64).to("cuda")
    features = torch.randn(4, tiny.C, 64, device="cuda")
    valid = torch.arange(64, device="cuda") < torch.tensor([[64], [40], [5], [63]], device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        outputs = net(features, valid)
    sum(outputs[key].float().square().mean() for key in ("class_logits", "masks", "embedding")).backward()
    known = {name: x.grad for name, x in net.named_parameters() if x.grad is not None}
    assert len(known) > 20 and all(value.isfinite().all() for value in known.values())


def test_a_loss_that_is_not_finite_stops_a_run_on_a_gpu():
    features = tiny.features_of(tiny.LABELED)
    for x in features.values():
        x[0, 3] = np.inf
    run = tiny.trainer("semi.method=none", net=tiny.model().to("cuda"), unlabeled=None,
                       labeled=SnippetDataset(tiny.LABELED, tiny.Source(features), GridSettings("window", tiny.T, 1, 1),
                                              tiny.CLASSES, tiny.C, "device", "cuda"))
    with pytest.raises(SpotError, match="is not finite for the videos"):
        run.train_epoch(0)


def test_detections_are_those_of_the_cpu():
    """float32 on both: the same segments and classes, scores within 1e-3; convolutions are not rounded to TF32."""
    net = tiny.model()
    features = list(tiny.features_of(tiny.LABELED).values())
    grid = {"grid": "window", "temporal_scale": tiny.T, "stride": 1, "window": 1, "fps": 1.0}
    torch.backends.cudnn.allow_tf32 = True
    wanted, found = (spot.detect(net.to(device), features, [8.0] * 3, **grid) for device in ("cpu", "cuda"))
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape and np.allclose(np.sort(one[:, 3]), np.sort(other[:, 3]), atol=1e-3)


def learn_on_own_gpu(folder):
    device = choose_device("cuda")
    run = tiny.trainer(net=tiny.model().to(device), labeled=data_on(device, "device")[0],
                       unlabeled=data_on(device, "device")[1])
    distributed.copy_from_first(run.model)
    run.train_epoch(0)
    torch.save({name: value.cpu() for name, value in run.model.state_dict().items()},
               folder / f"{distributed.rank()}.pt")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs: nccl is not tried")
def test_two_processes_have_the_same_weights(tmp_path):
    codes, _, errors = together(learn_on_own_gpu, tmp_path)
    assert codes == [0, 0], errors
    assert tiny.same(*(torch.load(tmp_path / f"{number}.pt") for number in range(2)))


@pytest.mark.skipif(torch.cuda.device_count() != 1, reason="there is not exactly one GPU")
def test_two_processes_on_one_gpu_are_refused(tmp_path):
    codes, _, errors = together(learn_on_own_gpu, tmp_path)
    assert codes == [2, 2] and "--nproc_per_node=1" in errors
