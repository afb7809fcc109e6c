"""A GPU that is only pretended: its tensors say that they are on `cuda:0`, and refuse what CUDA refuses.

    with PretendGpu() as gpu:
        net = model().to("cuda")
        ...
    gpu.waits     where the processor would wait for the GPU: Counter of "reason at file:line"
    gpu.sent      where something is copied to it, without waiting: Counter of "file:line"

The numbers are the CPU's own, so that whole trainings run and can be compared bit for bit. Refused are operands on two
devices (but for what CUDA takes: CPU tensors without dimensions, CPU indices), numpy's view of a GPU tensor, and a CPU
generator for numbers that are drawn on the GPU. A copy to the GPU waits unless it is queued from pinned memory.
"""

import collections
import contextlib
import sys
from pathlib import Path
from unittest import mock

import torch
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda", 0)
ROOT = Path(__file__).resolve().parents[1]
aten = torch.ops.aten
COPIES = (aten.copy_.default, aten._to_copy.default)
# What takes indices that are on the CPU.
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)
# What gives the processor a number, or a tensor whose size depends on numbers.
ANSWERS = (aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten._unique2.default,
           aten.equal.default, aten.is_nonzero.default, aten.bincount.default, aten.repeat_interleave.Tensor)


def here():
    """file:line in the project that calls, tests and this file left out."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and ".venv" not in path.parts and path.parent.name != "tests":
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "a test"


def tensors_in(*trees):
    return [x for x in tree_flatten(trees)[0] if isinstance(x, torch.Tensor)]


def numbers_of(x):
    """A pretended tensor as the CPU tensor that holds its numbers; anything else as it is."""
    return x.numbers if isinstance(x, GpuTensor) else x


class GpuTensor(torch.Tensor):
    """A tensor on the pretended GPU; `numbers` is the CPU tensor behind it."""

    @staticmethod
    def __new__(cls, numbers):
        return torch.Tensor._make_wrapper_subclass(cls, numbers.shape, strides=numbers.stride(), dtype=numbers.dtype,
                                                   storage_offset=numbers.storage_offset(), device="cpu")

    def __init__(self, numbers):
        self.numbers = numbers

    @property
    def device(self):
        return GPU

    @property
    def is_cuda(self):
        return True

    def __repr__(self):
        return f"GpuTensor({self.numbers})"

    def __deepcopy__(self, memo):
        copied = GpuTensor(self.numbers.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        found = tensors_in(args, kwargs)
        refuse_two_devices(func, found)
        if PretendGpu.active is not None:
            PretendGpu.active.watch(func, args, found)
        known = {id(x.numbers): x for x in found if isinstance(x, GpuTensor)}
        out = func(*tree_map(numbers_of, args), **tree_map(numbers_of, kwargs))
        if func is aten.copy_.default:
            return args[0]

        def shown(x):
            if not isinstance(x, torch.Tensor):
                return x
            return known[id(x)] if id(x) in known else GpuTensor(x)

        return tree_map(shown, out)


def refuse_two_devices(func, found):
    if func is aten.copy_.default:
        return
    if func in INDEXED:
        if isinstance(found[-1], GpuTensor) and not isinstance(found[0], GpuTensor):
            raise RuntimeError(f"indices are on cuda:0 and the indexed tensor is on the CPU ({here()})")
        found = [found[0], *(x for x in found[1:] if x.is_floating_point())]
    on_gpu = [isinstance(x, GpuTensor) for x in found if isinstance(x, GpuTensor) or x.dim()]
    if any(on_gpu) and not all(on_gpu):
        raise RuntimeError(f"operands of {func} are on cuda:0 and on the CPU ({here()})")


class Event:
    """A torch.cuda.Event: to wait for it is to wait for the GPU."""

    def record(self):
        pass

    def synchronize(self):
        PretendGpu.active.waits[f"event at {here()}"] += 1


class PretendGpu(TorchFunctionMode):
    """While it is entered, `cuda` is a device; see the head of the file."""

    active = None

    def __init__(self):
        super().__init__()
        self.waits, self.sent = collections.Counter(), collections.Counter()

    def __enter__(self):
        PretendGpu.active = self
        group, autocast, save = torch._C._group_tensors_by_device_and_dtype, torch.autocast, torch.save

        def grouped(lists, with_indices=False):  # torch looks at the device that C++ sees
            return {(GPU if isinstance(part[0][0][0], GpuTensor) else device, kind): part
                    for (device, kind), part in group(lists, with_indices).items()}

        self.changes = contextlib.ExitStack()
        for owner, name, value in (
                (torch._C, "_group_tensors_by_device_and_dtype", grouped),
                (torch, "autocast", lambda kind, *rest, **named: autocast("cpu", *rest, **named)),
                (torch, "save", lambda content, *rest, **named: save(read_back(content), *rest, **named)),
                (torch.cuda, "is_available", lambda: True),
                (torch.cuda, "mem_get_info", lambda device=None: (1 << 36, 1 << 36)),
                (torch.cuda, "Event", Event),
                (optimizer, "_foreach_supported_types", [*optimizer._foreach_supported_types, GpuTensor])):
            self.changes.enter_context(mock.patch.object(owner, name, value))
        # A module that is moved gets new parameters: those it has are of the CPU's type.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self.changes.callback(torch.__future__.set_overwrite_module_params_on_conversion, False)
        return super().__enter__()

    def __exit__(self, *error):
        PretendGpu.active = None
        self.changes.close()
        return super().__exit__(*error)

    def watch(self, func, args, found):
        """Count what an operator on the GPU makes the processor wait for."""
        by_mask = func in INDEXED and any(x.dtype == torch.bool for x in tensors_in(args[1]))
        if func in ANSWERS or by_mask:
            self.waits[f"{func} at {here()}"] += 1
        if func is aten.copy_.default and not all(isinstance(x, GpuTensor) for x in found):
            self.waits[f"copy at {here()}"] += 1
        if func in INDEXED and not all(isinstance(x, GpuTensor) for x in found):
            self.waits[f"index at {here()}"] += 1

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name, first = getattr(func, "__name__", ""), args[0] if args else None
        if name == "pin_memory":
            pinned = first.clone()
            pinned.is_pinned_here = True
            return pinned
        if isinstance(first, torch.Tensor) and name in ("to", "cpu", "cuda"):
            return self._move(func, name, first, args[1:], kwargs)
        if isinstance(first, GpuTensor):
            if name in ("numpy", "__array__"):
                raise TypeError(f"a cuda:0 tensor has no numpy array; .cpu() comes first ({here()})")
            if name in ("tolist", "new_tensor"):  # torch asks the C++ tensor for its device
                self.waits[f"{name} at {here()}"] += 1
                out = func(first.numbers, *args[1:], **kwargs)
                return GpuTensor(out) if name == "new_tensor" else out
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda":
            return self._make(func, name, args, kwargs)
        return func(*args, **kwargs)

    def _make(self, func, name, args, kwargs):
        """A factory such as torch.zeros(..., device="cuda")."""
        if kwargs.get("generator") is not None:
            raise RuntimeError(f"{name} on cuda:0 draws from a generator of the CPU ({here()})")
        out = func(*args, **{**kwargs, "device": "cpu"})
        if isinstance(out, GpuTensor):  # like another one
            return out
        if name in ("tensor", "as_tensor", "asarray"):
            self.waits[f"{name} at {here()}"] += 1
        return GpuTensor(out)

    def _move(self, func, name, x, rest, kwargs):
        """`x.to(...)`, `x.cpu()` or `x.cuda()`."""
        rest, device = list(rest), kwargs.pop("device", None)
        is_queued = kwargs.pop("non_blocking", False)
        if name != "to":
            device, rest = {"cpu": "cpu", "cuda": GPU}[name], []
        elif rest and isinstance(rest[0], torch.Tensor):
            device, rest = rest[0].device, [rest[0].dtype]
        elif rest and isinstance(rest[0], str | torch.device):
            device = rest.pop(0)
        rest = [value for value in rest if value is not None and not isinstance(value, bool)]
        if rest or any(value is not None for value in kwargs.values()):
            x = func(x, *rest, **kwargs)
        if device is None or torch.device(device).type == x.device.type:
            return x
        to_gpu = torch.device(device).type == "cuda"
        if is_queued and (not to_gpu or getattr(x, "is_pinned_here", False)):
            self.sent[here()] += to_gpu
        else:
            self.waits[f"copy at {here()}"] += 1
        return GpuTensor(x.detach().clone()) if to_gpu else x.detach().numbers.clone()


def read_back(content):
    """What torch.save can write: CUDA tensors as CPU tensors, which is how they are read again."""
    if isinstance(content, GpuTensor):
        return content.detach().numbers.clone()
    if isinstance(content, dict):
        return type(content)((key, read_back(value)) for key, value in content.items())
    return type(content)(map(read_back, content)) if isinstance(content, list | tuple) else content
