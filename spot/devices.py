"""CPU or GPU: which one, in which precision, how numbers get there, and where they are drawn."""

import contextlib

import torch

from spot.distributed import own_device
from spot.files import SpotError


def choose_device(name):
    """`auto` = a CUDA GPU where there is one, else the CPU; SpotError for a device that is not there.

    Of several processes, each gets a GPU of its own. The GPU becomes the current one, which is what torch asks when it
    does not say which, and computes float32 in float32.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = own_device(torch.device(name))
        torch.empty(0, device=device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SpotError(f"training.device={name} cannot be used ({reason}); use auto, cpu or cuda") from error
    # Torch prefers cuDNN's attention on Hopper GPUs. Its gradient in bf16 with a mask can be NaN where T % 128 is 64
    # (torch 2.11 to 2.13, pytorch issue 196678), which no loss shows. Torch's own kernels are as fast at these sizes.
    torch.backends.cuda.enable_cudnn_sdp(False)
    # Convolutions would round float32 to 10 bits of mantissa (TF32), matrix products would not.
    torch.backends.cudnn.allow_tf32 = False
    return device


def choose_precision(name, device):
    """`auto` = bf16 where the GPU or the processor multiplies it at full speed, else none (float32). Others stay."""
    if name != "auto":
        return name
    if device.type == "cuda":
        with torch.cuda.device(device):  # torch answers for the current one
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        fast = known.get("avx512_bf16") or known.get("amx_bf16")
    return "bf16" if fast else "none"


@contextlib.contextmanager
def exact_convolutions():
    """Within it float32 convolutions on a GPU are computed in float32, whoever calls: see `choose_device`."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def to_device(x, device):
    """A CPU tensor on `device`. A copy to a GPU is queued behind what the GPU still has to do: nobody waits for it."""
    if device.type != "cuda":
        return x.to(device)
    # Only from pinned memory; torch hands it out again once the GPU has read it.
    return x.pin_memory().to(device, non_blocking=True)


def drawn_on(device, generator):
    """The arguments of `torch.rand` and `torch.randn` that say where numbers are drawn.

    A CPU draws from `generator`; a GPU from its own one, which `torch.manual_seed` seeds: the numbers of a whole batch
    need not be copied there.
    """
    return {"generator": generator} if device.type == "cpu" else {"device": device}
