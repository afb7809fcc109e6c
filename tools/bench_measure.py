"""How the benchmark measures: time beside what the machine can do, memory, and the rows of its table."""

import contextlib
import io
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from spot.devices import choose_precision

NAMES = {"none": "fp32", "bf16": "bf16"}


class Bench:
    """Where and how things are measured. A row of the table is a dict with the keys of COLUMNS, and `what`."""

    def __init__(self, device, threads, repeats, settings):
        self.device, self.threads, self.repeats, self.settings = device, threads, repeats, settings
        self.on_gpu = device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(device) if self.on_gpu else "CPU"
        fast = choose_precision("auto", device) == "bf16"
        self.precisions = ("none", "bf16") if fast else ("none",)
        self._matrices = {}

    def clock(self, work):
        """How long `work()` takes, with what it left to the GPU: (seconds, seconds of all processor cores together)."""
        self.wait()
        begin, of_processor = time.perf_counter(), time.process_time()
        work()
        self.wait()
        return time.perf_counter() - begin, time.process_time() - of_processor

    def wait(self):
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def product(self, amp):
        """Multiply two large matrices: (GFLOP, seconds, seconds of all cores)."""
        size = 8192 if self.on_gpu else 1536
        if amp not in self._matrices:
            kind = torch.bfloat16 if amp == "bf16" else torch.float32
            self._matrices[amp] = torch.randn(size, size, device=self.device).to(kind)
            self._matrices[amp] @ self._matrices[amp]
        x = self._matrices[amp]
        return 2e-9 * size**3, *self.clock(lambda: x @ x)

    def measure(self, work, amp="none", gflop=None, videos=None):
        """A row of medians of `work()`, which has `videos` in it; shares are of the product measured just before it."""
        if gflop is None:  # else it has run once to be counted
            work()
        times, shares = [], []
        for _ in range(self.repeats):
            product, *floor = self.product(amp)
            times.append(self.clock(work))
            shares.append([(gflop or 0) / product * least / spent
                           for least, spent in zip(floor, times[-1], strict=True)])
        seconds, of_cores = (statistics.median(column) for column in zip(*times, strict=True))
        row = {"precision": NAMES[amp], "seconds": seconds, "core s": of_cores}
        if gflop is not None:
            row |= {"GFLOP": gflop}
            row |= {name: statistics.median(column)
                    for name, column in zip(("share", "core share"), zip(*shares, strict=True), strict=True)}
        if videos is not None:
            row |= {"videos/s": videos / seconds, "per core": videos / of_cores}
        if self.on_gpu:  # its cores say nothing
            row = {name: value for name, value in row.items() if "core" not in name}
        return row

    def child(self, name, **values):
        """What CHILDREN[name] returns in a process of its own, so that its peak memory is its own."""
        command = [sys.executable, str(Path(__file__).with_name("bench.py")), "--device", str(self.device),
                   "--threads", str(self.threads), "--repeats", str(self.repeats),
                   "--child", json.dumps([name, values]), *self.settings]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def gflop_of(work):
    """GFLOP of the matrix products in `work()`, attention and backward passes included."""
    with sdpa_kernel([SDPBackend.MATH]), FlopCounterMode(display=False) as counter:  # it does not see fused kernels
        work()
    return counter.get_total_flops() / 1e9


def peak_memory_mb(bench):
    """The most memory that this process has had: of the GPU if it runs there, else resident."""
    if bench.on_gpu:
        return torch.cuda.max_memory_allocated(bench.device) / 1e6
    with open("/proc/self/status") as file:  # getrusage would count what the parent process had
        return next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith("VmHWM"))


# Shares and rates stand twice: by the clock, and by the time of the processor cores, which hardly changes with what
# else the machine does, but does not see a core that waits for another.
COLUMNS = {"precision": (10, "s"), "seconds": (9, ".4g"), "core s": (9, ".4g"), "GFLOP": (8, ".1f"),
           "share": (7, ".0%"), "core share": (12, ".0%"), "data share": (12, ".0%"), "videos/s": (10, ".0f"),
           "per core": (10, ".0f"), "peak MB": (9, ".0f")}
HEADER = " " * 58 + "".join(f"{name:>{width}}" for name, (width, _) in COLUMNS.items())


def line_of(row):
    cells = "".join(f"{format(row[name], kind):>{width}}" if name in row else " " * width
                    for name, (width, kind) in COLUMNS.items())
    return f"{row['what']:<58}{cells}  {row.get('note', '')}".rstrip()


@contextlib.contextmanager
def quiet():
    """No progress bars: they are shown on terminals alone."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def utilization(bench):
    """A list that receives how busy the GPU is, in %, twice a second; it stays empty where nobody tells."""
    used, done = [], threading.Event()

    def watch():
        while bench.on_gpu and not done.wait(0.5):
            try:
                used.append(torch.cuda.utilization(bench.device))
            except Exception:  # torch asks NVML, whose own error types come with a package that may be missing
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield used
    finally:
        done.set()
        thread.join()


def resident_mb():
    """The memory that this process has now."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith("VmRSS"))
