"""Losses and gradients of a step as one CUDA graph: one launch instead of about 1,500, for which the GPU would wait.

What is drawn for a step is drawn before, as tensors; the optimizer and the teacher, a few launches, come after, while
the GPU is still busy.
"""

import sys

import torch
from torch.utils._pytree import tree_flatten, tree_map

# A step runs so often before it is recorded: libraries choose their kernels and allocate what they keep.
WARM_UPS = 3


class CudaRecorder:
    """Records what a function launches on the current GPU."""

    def record(self, work):
        """Returns (what `work()` returned, a function that does the same launches again, into the same tensors).

        The random numbers of the GPU stand afterwards where they stood before; a replay draws from there.
        """
        state = torch.cuda.get_rng_state()
        try:
            return self._record(work)
        finally:
            torch.cuda.set_rng_state(state)

    @staticmethod
    def _record(work):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = work()
        return outputs, graph.replay


class StepGraphs:
    """A function of tensors that is recorded once for each kind of inputs, and replayed with the numbers of others.

    compute: a function of nested dicts of tensors to nested tensors, which launches the same whatever their numbers are
    recorder: a CudaRecorder, or what stands for one
    """

    def __init__(self, compute, recorder):
        self.compute, self.recorder, self.recorded = compute, recorder, {}

    def __call__(self, inputs):
        """What `compute(inputs)` returns; the tensors hold it until the next call."""
        values, kind = tree_flatten(inputs)
        key = kind, tuple((value.shape, value.dtype) for value in values)
        if key not in self.recorded:
            own = tree_map(torch.clone, inputs)  # the place where the graph reads
            self.recorded[key] = tree_flatten(own)[0], *self.recorder.record(lambda: self.compute(own))
        places, outputs, replay = self.recorded[key]
        with torch.no_grad():
            for place, value in zip(places, values, strict=True):
                place.copy_(value)
        replay()
        return outputs


def note_fallback(error):
    """Say that steps are not recorded, and why; training goes on without."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:150]
    print(f"note: a step could not be recorded as a CUDA graph ({reason}); it is launched piece by piece, which is "
          "slower; training.graph=none does not try", file=sys.stderr)


class LossCheck:
    """Is every loss finite? On a CPU at once; on a GPU one step later, so that nobody waits for the step itself."""

    def __init__(self):
        self.waiting = None

    def add(self, losses, complain):
        """Look at {name: loss} of a step, now or later. complain: called with the names of those that are not finite"""
        values = torch.stack([value.detach() for value in losses.values()])
        before, self.waiting = self.waiting, (list(losses), values.to("cpu", non_blocking=True), mark(values), complain)
        if is_read_at_once(values):
            self.finish()
        else:
            self._look(before)

    def finish(self):
        """Look at what waits: the last step of an epoch."""
        self._look(self.waiting)
        self.waiting = None

    @staticmethod
    def _look(step):
        if step is None:
            return
        names, values, is_there, complain = step
        is_there()
        broken = [name for name, value in zip(names, values.tolist(), strict=True) if value - value != 0]
        if broken:
            complain(broken)


def is_read_at_once(x):
    """Does nobody wait for what `x` holds?"""
    return x.device.type != "cuda"


def mark(x):
    """A function that waits until the GPU has done what it was given so far; nothing to wait for on a CPU."""
    if x.device.type != "cuda":
        return lambda: None
    event = torch.cuda.Event()
    event.record()
    return event.synchronize
