"""A step as a graph of launches: what is recorded once does for any numbers what the step itself would do.

Without a GPU the operators are recorded that a step calls, with the memory that they read and write; a replay calls
them again on the same memory, as a CUDA graph launches its kernels again. A number that the step looked at, a branch or
a shape that depends on numbers would be frozen in both.
"""

import math

import pytest
import torch
from test_engine import trained
from tiny import LABELED, UNLABELED, dataset, features_of, model, same, trainer, weights_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from spot import proposal_map
from spot.engine import STAGES
from spot.files import SpotError
from spot.graphs import LossCheck, StepGraphs

EVERY_LOSS = ("loss.boundary=1", "loss.consistency=1", "loss.reconstruction=1")
STEPS = ("training.steps_per_epoch=2", "training.max_epoch=2", "training.learning_rate=5e-3")
PUBLISHED = {"encoder": "attention", "mask_head": "fixed", "class_activation": "softmax"}
aten = torch.ops.aten


class OperatorRecorder:
    """Stands for a `graphs.CudaRecorder` on the CPU."""

    def __init__(self):
        self.records = 0

    def record(self, work):
        self.records += 1
        state = torch.get_rng_state()
        with Tape() as tape:
            outputs = work()
        torch.set_rng_state(state)
        return outputs, tape.replay


class Tape(TorchDispatchMode):
    """The operators that were called while it was entered. All of their tensors live on, so no memory is used twice."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, out))
        return out

    @torch.no_grad()
    def replay(self):
        """Call them again; what they return goes where it went, if that is not the memory of an argument."""
        for func, args, kwargs, out in self.calls:
            read = {memory(x) for x in tensors(args, kwargs)}
            for place, value in zip(tensors(out), tensors(func(*args, **kwargs)), strict=True):
                if memory(place) not in read:
                    place.copy_(value)


def tensors(*tree):
    return [x for x in tree_flatten(tree)[0] if isinstance(x, torch.Tensor)]


def memory(x):
    return x.untyped_storage().data_ptr()


def learn(*settings, recorded, sizes=()):
    """Both stages of a tiny training from the same start: weights, records, and how many graphs were recorded."""
    net = model(**dict(sizes))
    run = trainer(*STEPS, *settings, net=net)
    run.recorder = OperatorRecorder() if recorded else None
    recorder = run.recorder
    records = [run.pretext_epoch(0)]
    run.start_stage()
    records += [run.train_epoch(epoch) for epoch in range(2)]
    for record in records:
        del record["seconds"]
    assert run.recorder is recorder  # it did not fall back
    return weights_of(net), weights_of(run.teacher), records, recorder and recorder.records


@pytest.mark.parametrize(("settings", "sizes"), [
    (("semi.burn_in=0.5", *EVERY_LOSS), {}),
    (("training.optimizer=adam", "semi.method=self", "semi.targets=hard", "loss.boundary=1"), PUBLISHED),
    (("training.amp=bf16", "semi.rounds=0", "semi.ramp=1"), {})])
def test_recorded_steps_learn_what_plain_steps_learn(settings, sizes):
    """Bit for bit, dropout included: the pretext stage, the burn-in and pseudo labels are one graph each."""
    plain = learn(*settings, recorded=False, sizes=sizes)
    found = learn(*settings, recorded=True, sizes=sizes)
    assert found[2] == plain[2]
    assert same(found[0], plain[0]) and same(found[1], plain[1])
    assert found[3] == (3 if "semi.burn_in=0.5" in settings else 2)


class Launches(TorchDispatchMode):
    """Refuses what a CUDA graph cannot hold: to tell the processor a number, or a shape that depends on numbers."""

    REFUSED = (aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default,
               aten._unique2.default, aten.repeat_interleave.Tensor, aten.bincount.default, aten.equal.default,
               aten.is_nonzero.default)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        by_mask = func in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default) and any(
            x is not None and x.dtype == torch.bool for x in args[1])
        assert func not in self.REFUSED and not by_mask, f"{func} makes the processor wait for the GPU"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("settings", [(), EVERY_LOSS, ("semi.targets=hard",), ("semi.method=self",)])
def test_losses_and_gradients_look_at_no_number(settings):
    """Of both stages; drawing, which comes before, may."""
    run = trainer(*settings)
    for stage, (draw, _) in STAGES.items():
        inputs, _ = draw(run, 0, 4, torch.Generator())
        with Launches():
            losses, _, gradients = run._with_gradients(stage, inputs)
        assert losses and any(gradient is not None for gradient in gradients)


@pytest.mark.parametrize("method", ["ema", "fixmatch", "mean_teacher", "sstap"])
def test_no_detector_or_method_looks_at_a_number(method, monkeypatch):
    monkeypatch.setattr(proposal_map, "STOPS_EARLY", ())  # as on a GPU
    for net in (model(detector="bmn"), model()):
        run = trainer(f"semi.method={method}", net=net)
        inputs, _ = STAGES["train"][0](run, 0, 4, torch.Generator().manual_seed(0))
        with Launches():
            losses, _, _ = run._with_gradients("train", inputs)
        assert any(name.startswith("unlabeled") for name in losses)


def test_the_watch_notices_a_number_that_is_looked_at():
    with pytest.raises(AssertionError, match="makes the processor wait"), Launches():
        torch.ones(2).sum().item()
    with pytest.raises(AssertionError, match="makes the processor wait"), Launches():
        torch.ones(2)[torch.tensor([True, False])]


def test_a_graph_gives_gradients_clipped_and_in_the_layout_of_their_parameters():
    """Norm 1, as a plain step; heads that rest have none. The optimizer reads weights and gradients side by side, so
    the gradient of a convolution must not lie otherwise in memory than its weight."""
    run = trainer("training.learning_rate=1e-3", "loss.mask=100")
    inputs, _ = STAGES["train"][0](run, 0, 4, torch.Generator().manual_seed(0))
    graphs = StepGraphs(lambda inputs: run._with_gradients("train", inputs), OperatorRecorder())
    _, _, gradients = graphs(inputs)
    known = [gradient for gradient in gradients if gradient is not None]
    assert torch.nn.utils.get_total_norm(known).item() == pytest.approx(1, abs=1e-4) and len(known) < len(gradients)
    for parameter, gradient in zip(run.model.parameters(), gradients, strict=True):
        assert gradient is None or gradient.stride() == parameter.stride()


def test_where_recording_fails_training_goes_on_with_a_note(capsys):
    class Broken:
        def record(self, work):
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    wanted, _ = trained()
    net = model()
    run = trainer(net=net)
    run.recorder = Broken()
    run.train_epoch(0)
    assert same(weights_of(net), wanted) and run.recorder is None
    note = capsys.readouterr().err
    assert "could not be recorded as a CUDA graph (operation not permitted when stream is capturing)" in note
    assert len(note.splitlines()) == 1


def test_memory_that_runs_out_is_no_reason_to_go_on_without_a_graph():
    class Full:
        def record(self, work):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    run = trainer()
    run.recorder = Full()
    with pytest.raises(torch.OutOfMemoryError):
        run.train_epoch(0)


def test_other_shapes_are_recorded_anew():
    recorder = OperatorRecorder()
    double = StepGraphs(lambda inputs: (2 * inputs["x"],), recorder)
    for x in (torch.ones(2), torch.full((2,), 3.0), torch.ones(3), torch.zeros(2)):
        assert torch.equal(double({"x": x})[0], 2 * x)
    assert recorder.records == 2


def test_the_cpu_does_not_record():
    assert trainer("training.graph=auto").recorder is None


# --- losses that are not finite ---------------------------------------------------------------------------------------


def test_a_loss_on_a_gpu_is_looked_at_one_step_later(monkeypatch):
    """On the CPU at once; on a GPU with the next step, or at the end of the epoch."""
    found = []
    check = LossCheck()
    with pytest.raises(SpotError):
        check.add({"class": torch.tensor(math.nan)}, refuse)
    monkeypatch.setattr("spot.graphs.is_read_at_once", lambda values: False)
    check = LossCheck()
    check.add({"class": torch.tensor(1.0), "mask": torch.tensor(math.inf)}, found.append)
    assert found == []
    check.add({"class": torch.tensor(-math.inf)}, found.append)
    assert found == [["mask"]]
    check.finish()
    assert found == [["mask"], ["class"]]
    check.finish()
    assert len(found) == 2


def refuse(broken):
    raise SpotError(str(broken))


def test_a_broken_recording_is_named_by_a_recorded_step_too():
    features = features_of(LABELED)
    for x in features.values():
        x[0, 3] = math.inf
    run = trainer("semi.method=none", labeled=dataset(LABELED, features), unlabeled=dataset(UNLABELED))
    run.recorder = OperatorRecorder()
    with pytest.raises(SpotError, match=r"train epoch 1: the loss .*\w+ is not finite for the videos [abc], [abc];"):
        run.train_epoch(0)
