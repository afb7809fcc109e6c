"""Several processes that train and detect as one: gloo on the CPU, the tiny model, a few steps."""

import itertools
import json
import multiprocessing
import os
import socket
import sys

import numpy as np
import pytest
import torch
from test_overnight import many, own, unfinished
from test_scripts import data, log_of, run_folder, settings
from tiny import LABELED, dataset, features_of, model, same, trainer, weights_of

import spot_inference
import spot_train
from spot import distributed
from spot.datasets import choose_device, room_bytes
from spot.files import SpotError, read_json

__all__ = ["data", "many", "run_folder"]  # fixtures
# Without what is drawn for each sequence, which one process with 4 sequences does not draw as two with 2 each.
STILL = ("augment.zoom=0", "augment.montage=0", "augment.noise=0", "augment.offset=0", "augment.channel_dropout=0",
         "augment.snippet_masking=0", "model.dropout=0", "pretext.random_foreground=0", "pretext.temporal_order=0",
         "pretext.dropped=0")
EVERY_LOSS = ("loss.boundary=0.5", "loss.consistency=0.5", "loss.reconstruction=0.5")


def together(body, folder, *arguments, count=2):
    """Run `body(folder, *arguments)` in processes as torchrun would start them.

    Returns their exit codes, and what all of them wrote to stdout and to stderr.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["spot_train"])
    workers = [processes.Process(target=work, args=(number, count, port, folder, body, arguments))
               for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        worker.kill()
    return [worker.exitcode for worker in workers], *((folder / name).read_text() for name in ("stdout", "stderr"))


def work(number, count, port, folder, body, arguments):
    """One of the processes."""
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count), "MASTER_PORT": str(port),
                   "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    sys.argv = ["spot_train.py"]
    for stream in ("stdout", "stderr"):
        os.dup2(os.open(folder / stream, os.O_CREAT | os.O_WRONLY | os.O_APPEND), getattr(sys, stream).fileno())
    distributed.run(lambda: body(folder, *arguments))


# --- the same as one process ------------------------------------------------------------------------------------------


def learn(folder, *overrides):
    """A pretext epoch and three training epochs of 3 steps; what came out is saved under the process' number."""
    net = model(dropout=0.0)
    run = trainer("training.steps_per_epoch=3", "training.max_epoch=3", "training.learning_rate=5e-3",
                  "semi.burn_in=0.34", *overrides, net=net)
    records = [run.pretext_epoch(0)]
    run.start_stage()
    records += [run.train_epoch(epoch) for epoch in range(3)]
    for record in records:
        del record["seconds"], record["processes"]
    torch.save({"records": records, "model": weights_of(net), "teacher": weights_of(run.teacher),
                "labeler": weights_of(run.round_teacher)}, folder / f"{distributed.rank()}.pt")


def test_two_processes_learn_as_one_with_the_doubled_batch(tmp_path):
    """2 x 2 labeled and 2 x 2 unlabeled sequences, or 4 and 4: every loss of every epoch within 1e-4.

    The sequences have 2 to 6 snippets of foreground, so that a mean of means would be another number.
    """
    still = (*STILL, *EVERY_LOSS)
    codes, _, errors = together(learn, tmp_path, *still, "training.batch_size=2")
    assert (codes, errors) == ([0, 0], "")
    two = torch.load(tmp_path / "0.pt")
    learn(tmp_path, *still, "training.batch_size=4")
    one = torch.load(tmp_path / "0.pt")
    for mine, wanted in zip(two["records"], one["records"], strict=True):
        print({k: (abs(mine["loss"][k]-wanted["loss"][k]), wanted["loss"][k]) for k in wanted["loss"]})
        assert mine["loss"] == pytest.approx(wanted["loss"], abs=1e-4)
        assert {key: mine[key] for key in ("stage", "epoch", "step", "lr")} == {
            key: wanted[key] for key in ("stage", "epoch", "step", "lr")}
    assert len(wanted["loss"]) == 9 and all(value > 0 for value in wanted["loss"].values())
