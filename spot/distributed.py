"""Several processes that train or detect as one, as `torchrun` starts them. With one process nothing happens here.

Every process runs the whole script on its own share of each step; the first one alone prints and writes.
"""

import collections
import concurrent.futures
import contextlib
import hashlib
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from spot import command_line
from spot.files import SpotError

# How long one process waits for another: reading features takes some of them longer.
PATIENCE = timedelta(minutes=30)
LOOK_SECONDS, GRACE_SECONDS = 0.5, 10
# Results that a process may have ready before the first one has written them: who is fast need not wait for each other.
AHEAD = 2


def world_size():
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank():
    """The number of this process, 0 is the first."""
    return dist.get_rank() if world_size() > 1 else 0


def is_first():
    """Is this the process that prints and writes?"""
    return rank() == 0


def machine_share():
    """The share of its machine's memory that a process may take."""
    return 1 / int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if world_size() > 1 else 1


def own_device(device):
    """`device`, as this process may use it: with several processes, each has a GPU of its own.

    SpotError where one GPU is named for all, or this machine has too few.
    """
    if device.type != "cuda" or world_size() == 1:
        return device
    local, present = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if device.index is not None:
        raise SpotError(f"training.device={device} is one GPU for {world_size()} processes; use auto or cuda, by which "
                        "each has its own")
    if local >= present == 1 and os.environ.get("CUDA_VISIBLE_DEVICES"):
        local = 0  # as Slurm starts them: each process sees its own GPU alone
    if local >= present:
        raise SpotError(f"training.device: process {local + 1} of this machine has no GPU, there are {present}; give "
                        f"torchrun --nproc_per_node={present}, or training.device=cpu")
    torch.cuda.set_device(local)
    _refuse_shared_gpu(local)
    return torch.device("cuda", local)


def _refuse_shared_gpu(index):
    """SpotError where another process has the same GPU, which nccl does not allow."""
    name = str(torch.cuda.get_device_properties(index).uuid)
    every = [None] * world_size()
    dist.all_gather_object(every, name)
    if len(set(every)) < len(every):
        raise SpotError(f"training.device: {len(every)} processes see {len(set(every))} GPUs, and each needs its own; "
                        "let CUDA_VISIBLE_DEVICES name one for each process, or use training.device=cpu")


# --- one step of all --------------------------------------------------------------------------------------------------


def average(x):
    """Mean of a tensor over the processes, without gradient.

    A loss that is a mean over the batch divides by this average of its denominators: then the mean of the processes'
    losses, and of their gradients, is exactly that of the batch that they share.
    """
    if world_size() == 1:
        return x
    x = x.detach().clone()
    dist.all_reduce(x)
    return x / world_size()


class _Step(nn.Module):
    """A module whose forward pass is a whole step: `DistributedDataParallel` sees all that is used of the model."""

    def __init__(self, model):
        super().__init__()
        # Without the buffers, the statistics of the features: they never change, and would be sent in every step.
        self.weights = nn.ParameterList(model.parameters())

    def forward(self, losses_of, *arguments):
        return losses_of(*arguments)


def in_step(model):
    """A function `call(losses_of, *arguments)`; backward through what it returns gives gradients averaged over all.

    losses_of: a function that uses `model` as it likes, also only parts of it: order and reconstruction heads rest
    in training, the class head in the pretext stage
    """
    if world_size() == 1:
        return lambda losses_of, *arguments: losses_of(*arguments)
    # A 1x1 convolution whose gradient lies otherwise in memory than its weight: torch warns, and copies a few bytes.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(_Step(model), find_unused_parameters=True)


def mean_of(values):
    """Mean of {name: number} over the processes; a name that some of them lack over those that have it."""
    if world_size() == 1:
        return values
    every = [None] * world_size()
    dist.all_gather_object(every, values)
    found = collections.defaultdict(list)
    for name, value in (item for one in every for item in one.items()):
        found[name].append(value)
    return {name: sum(numbers) / len(numbers) for name, numbers in found.items()}


# --- the same for all -------------------------------------------------------------------------------------------------


def copy_from_first(module):
    """Give all weights and buffers of `module` the values that they have in the first process."""
    if world_size() > 1:
        for value in module.state_dict().values():
            dist.broadcast(value, 0)


def from_first(make):
    """What `make()` returns in the first process, the only one that calls it."""
    if world_size() == 1:
        return make()
    box = [make() if is_first() else None]
    dist.broadcast_object_list(box, 0)
    return box[0]


def refuse_different(facts):
    """SpotError where another process sees something else than the first one: together they would wait forever.

    facts: {words for the message: plain value}
    """
    if world_size() == 1:
        return
    digests = {name: hashlib.sha256(repr(value).encode()).hexdigest() for name, value in facts.items()}
    every = [None] * world_size()
    dist.all_gather_object(every, digests)
    for number, other in enumerate(every):
        if wrong := [name for name in digests if other[name] != every[0][name]]:
            raise SpotError(f"process {number} has other {', '.join(wrong)} than process 0; give every machine the "
                            "same files and the same command")


def shared_out(work, items):
    """As `map(work, items)`, each process doing every n-th item; the results, in order, are the first one's alone.

    The others get nothing, but have to exhaust it too. Few results are in memory at a time.
    """
    if world_size() == 1:
        yield from map(work, items)
        return
    # Sent in a thread: waiting for it, unlike for a message itself, can be stopped by Ctrl-C.
    courier = concurrent.futures.ThreadPoolExecutor(1)
    sent = collections.deque()
    for start in range(0, len(items), world_size()):
        mine = start + rank()
        sent.append(courier.submit(_gather, work(items[mine]) if mine < len(items) else None, len(items) - start))
        while sent and (len(sent) > AHEAD or sent[0].done()):
            yield from sent.popleft().result()
    while sent:
        yield from sent.popleft().result()
    courier.shutdown()


def _gather(result, count):
    """The first `count` processes' results at the first process; an empty list at the others."""
    every = [None] * world_size() if is_first() else None
    dist.gather_object(result, every)
    return every[:count] if is_first() else []


# --- beginning and end ------------------------------------------------------------------------------------------------


def run(main):
    """As `command_line.run`, for a script that torchrun may have started: all processes end together.

    Where one of them ends early, whatever the others wait for, all end with its exit code, and its sentence is the
    only one.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        command_line.run(main)
    ending = None

    def joined():
        nonlocal ending
        _join()
        ending = _Ending()
        with contextlib.nullcontext() if is_first() else _silence():
            return main()

    try:
        command_line.run(joined, lambda code: ending is None or ending.claim(code))
    except SystemExit as end:
        code = end.code
    except BaseException:  # a fault of ours: its traceback is shown, once, and the others end as well
        code = 1
        if ending is None or ending.claim(code):
            traceback.print_exc()
    if ending is not None:
        ending.leave(code)
    sys.exit(code)


def _join():
    """Find the other processes, by the environment that torchrun sets."""
    address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise SpotError(f"the {os.environ['WORLD_SIZE']} processes did not find each other at {address} ({reason}); "
                        "start them with torchrun, on each machine with the same --rdzv_endpoint") from error


@contextlib.contextmanager
def _silence():
    """Drop what is printed: the first process says it too."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


class _Ending:
    """How the processes end together: by a word in the store in which they found each other, which a thread watches.

    A message between processes would not do: who waits for one, waits inside of torch, for a process that is gone.
    """

    def __init__(self):
        # A connection of its own, because the other one may be in use by who waits.
        self.store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False,
                                   wait_for_workers=False)
        self.word = f"spot/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/"
        self.rank, self.size = rank(), world_size()
        self.code, self.over = None, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def claim(self, code):
        """Is this the first process that ends early?  All end with the code of that one."""
        said = f"{code} {self.rank}"
        with contextlib.suppress(RuntimeError):  # the store is gone, and with it the others
            said = self.store.compare_set(self.word, "", said).decode()
        self.code, printer = map(int, said.split())
        return printer == self.rank

    def leave(self, code):
        """End this process, as the others do where one of them ended early."""
        self.over.set()
        sys.stdout.flush()
        if self.code is None and code == 0:
            self._meet("done", GRACE_SECONDS if self.rank == 0 else 0)
            dist.destroy_process_group()
            return
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, as soon as one has ended
        self._end_early(code if self.code is None else self.code)

    def _watch(self):
        while not self.over.wait(LOOK_SECONDS):
            try:
                if not self.store.check([self.word]):
                    continue
                code, printer = map(int, self.store.get(self.word).split())
            except RuntimeError:  # the store is gone: the first process was killed
                code, printer = 1, None
            # The one that prints has yet to say why. After Ctrl-C, which reaches all, inference still closes its file.
            if printer != self.rank and not self.over.wait(0 if code == 2 else GRACE_SECONDS):
                self._end_early(code)

    def _end_early(self, code):
        """End at once: an orderly end would wait for messages that never come."""
        self._meet("ends", 4 * LOOK_SECONDS)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)

    def _meet(self, where, seconds):
        """Wait, `seconds` at most, until all processes are here; the first, which may hold the store, leaves last."""
        with contextlib.suppress(RuntimeError):
            self.store.set(f"{self.word}{where}{self.rank}", "")
            everybody = [f"{self.word}{where}{number}" for number in range(self.size)]
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not self.store.check(everybody):
                time.sleep(0.02)
        if self.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            time.sleep(LOOK_SECONDS)
