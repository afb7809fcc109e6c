"""Several processes that train and detect as one: gloo on the CPU, the tiny model, a few steps."""

import argparse
import itertools
import multiprocessing
import os
import sys
import time

import numpy as np
import pytest
import torch
from test_overnight import many, own, unfinished
from test_scripts import data, log_of, run_folder, settings
from tiny import LABELED, dataset, features_of, model, same, trainer, weights_of

import spot_inference
import spot_train
from spot import checkpoint, distributed, inference
from spot.datasets import draw
from spot.devices import choose_device
from spot.feature_bank import room_bytes
from spot.files import SpotError, read_json

__all__ = ["data", "many", "run_folder"]  # fixtures
# Without what is drawn for each sequence, which one process with 4 sequences does not draw as two with 2 each.
STILL = ("augment.zoom=0", "augment.montage=0", "augment.noise=0", "augment.offset=0", "augment.channel_dropout=0",
         "augment.snippet_masking=0", "model.dropout=0", "pretext.random_foreground=0", "pretext.temporal_order=0",
         "pretext.dropped=0")
EVERY_LOSS = ("semi.targets=hard", "loss.boundary=0.5", "loss.consistency=0.5", "loss.reconstruction=0.5")


def together(body, folder, *arguments, count=2):
    """Run `body(folder, *arguments)` in processes as torchrun would start them.

    Returns their exit codes, and what all of them wrote to stdout and to stderr.
    """
    # As torchrun does: the store belongs to who starts the processes, so its port is never free for others.
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = multiprocessing.get_context("forkserver")
    # What takes long to import, so that it is done once.
    processes.set_forkserver_preload(["spot_train", "spot_inference", "eval", "pytest", "torch._dynamo",
                                      "tensorboard.backend.event_processing.event_accumulator"])
    workers = [processes.Process(target=work, args=(number, count, store.port, folder, body, arguments))
               for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)  # none waits for another so long, but they may share their cores with others
        worker.kill()
    return [worker.exitcode for worker in workers], *((folder / name).read_text() for name in ("stdout", "stderr"))


def work(number, count, port, folder, body, arguments):
    """One of the processes."""
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count), "MASTER_PORT": str(port),
                   "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True",
                   "TORCHELASTIC_RESTART_COUNT": "0"}
    sys.argv = ["spot_train.py"]
    for stream in ("stdout", "stderr"):
        os.dup2(os.open(folder / stream, os.O_CREAT | os.O_WRONLY | os.O_APPEND), getattr(sys, stream).fileno())
    distributed.run(lambda: body(folder, *arguments))


# --- the same as one process ------------------------------------------------------------------------------------------


def learn(folder, *overrides):
    """A pretext epoch and three training epochs of 2 steps; what came out is saved under the process' number."""
    net = model(dropout=0.0)
    run = trainer("training.steps_per_epoch=2", "training.max_epoch=3", "training.learning_rate=5e-3",
                  "semi.burn_in=0.34", *overrides, net=net)
    records = [run.pretext_epoch(0)]
    run.start_stage()
    records += [run.train_epoch(epoch) for epoch in range(3)]
    for record in records:
        del record["seconds"], record["processes"]
    torch.save({"records": records, "model": weights_of(net), "teacher": weights_of(run.teacher),
                "labeler": weights_of(run.method.round_teacher)}, folder / f"{distributed.rank()}.pt")


def test_two_processes_learn_as_one_with_the_doubled_batch(tmp_path):
    """2 x 2 labeled and 2 x 2 unlabeled sequences, or 4 and 4: every loss of every epoch within 1e-4.

    The sequences have 2 to 6 snippets of foreground, so that a mean of the processes' means would be another number.
    """
    still = (*STILL, *EVERY_LOSS)
    codes, _, errors = together(learn, tmp_path, *still, "training.batch_size=2")
    assert (codes, errors) == ([0, 0], "")
    two = torch.load(tmp_path / "0.pt")
    learn(tmp_path, *still, "training.batch_size=4")
    one = torch.load(tmp_path / "0.pt")
    for mine, wanted in zip(two["records"], one["records"], strict=True):
        assert mine["loss"] == pytest.approx(wanted["loss"], abs=1e-4)
        assert {key: mine[key] for key in ("stage", "epoch", "step", "lr")} == {
            key: wanted[key] for key in ("stage", "epoch", "step", "lr")}
    assert len(wanted["loss"]) == 9
    assert all(any(record["loss"].get(name, 0) > 1e-3 for record in one["records"]) for name in wanted["loss"])


def test_all_processes_have_the_same_weights_teacher_and_log(tmp_path):
    """Each with views, dropout and pretext tasks of its own, and other sequences: bit for bit, after four epochs."""
    codes, _, errors = together(learn, tmp_path, "model.dropout=0.1", "training.batch_size=1")
    assert (codes, errors) == ([0, 0], "")
    one, other = (torch.load(tmp_path / f"{number}.pt") for number in range(2))
    assert all(same(one[name], other[name]) for name in ("model", "teacher", "labeler"))
    assert one["records"] == other["records"]
    assert 0 < one["records"][-1]["kept_share"] <= 1 and one["records"][-1]["diagnostics"]


def test_the_processes_share_what_one_would_draw():
    """Steps 0 and 1 of 3 processes with 2 sequences each are those of one process with 6, in order."""
    one = [draw(7, 6, step * 6, seed=1).tolist() for step in range(2)]
    parts = [[draw(7, 2, (step * 3 + number) * 2, seed=1).tolist() for number in range(3)] for step in range(2)]
    assert [list(itertools.chain(*part)) for part in parts] == one


# --- the scripts ------------------------------------------------------------------------------------------------------


def train_and_resume(folder, data):
    """Two epochs, then one more by `training.resume=auto`; each process saves its teacher."""
    made, make_trainer = [], spot_train.make_trainer
    spot_train.make_trainer = lambda *arguments: made.append(make_trainer(*arguments)) or made[-1]
    run = settings(data, folder / "run", "training.pretrain_epoch=1", "training.holdout=0.34")
    spot_train.main([*run, "training.max_epoch=1"])
    spot_train.main([*run, "training.max_epoch=2", "training.resume=auto"])
    torch.save(weights_of(made[-1].teacher.module), folder / f"{distributed.rank()}.pt")


def test_one_process_writes_the_run_and_all_resume_it(data, tmp_path):
    """One line per epoch, one events file per training, every sentence once; the teacher on disk is everybody's."""
    codes, output, errors = together(train_and_resume, tmp_path, data)
    assert codes == [0, 0] and "Traceback" not in errors
    run = tmp_path / "run"
    assert [(record["stage"], record["epoch"], record["processes"]) for record in log_of(run)] == [
        ("pretext", 1, 2), ("train", 1, 2), ("train", 2, 2)]
    assert len(list((run / "tensorboard").glob("events*"))) == 2 and not unfinished(run)
    assert not (run / "run.lock").exists()
    assert output.count("2 processes, each with") == 2 and output.count("train 2: ") == 1
    one, other = (torch.load(tmp_path / f"{number}.pt") for number in range(2))
    assert same(one, other) and same(one, checkpoint.read(run / "last.pt")["state_dict"])


def infer_both(folder, run_folder, many):
    spot_inference.main([f"checkpoint={run_folder}", f"output_path={folder}", "testing.batch_size=1"])
    spot_inference.main([*own(run_folder, many, folder), "testing.batch_size=64"])


def test_shared_inference_writes_the_same_files_as_one_process(run_folder, many, tmp_path, capsys):
    """2 videos in 2 batches, and 320 in 5, for 3 processes: byte for byte, each sentence once."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    shared.mkdir()
    codes, output, _ = together(infer_both, shared, run_folder, many, count=3)
    assert codes == [0, 0, 0]
    infer_both(alone, run_folder, many)
    for name in ("detections.json", "own/detections.json", "own/detections.csv"):
        assert (shared / name).read_bytes() == (alone / name).read_bytes()
    assert len(read_json(shared / "own" / "detections.json")["results"]) == 320
    assert output.replace(str(shared), "") == capsys.readouterr().out.replace(str(alone), "")


def stopped_inference(folder, run_folder, many):
    """Ctrl-C reaches all processes; here, in the third batch of each."""
    batches, detect_batch = itertools.count(), inference.detect

    def stopped(*arguments, **settings):
        if next(batches) == 2:
            time.sleep(1)  # until what was found before has arrived at the first process
            raise KeyboardInterrupt
        return detect_batch(*arguments, **settings)

    inference.detect = stopped
    spot_inference.main(own(run_folder, many, folder))


def test_ctrl_c_leaves_what_all_processes_found(run_folder, many, tmp_path):
    """At least the batches of the first round are there, in order; the file says that it is partial."""
    codes, _, errors = together(stopped_inference, tmp_path, run_folder, many)
    assert codes == [130, 130] and errors.count("stopped by Ctrl-C") == 1 and "Traceback" not in errors
    content = read_json(tmp_path / "own" / "detections.json")
    found = list(content["results"])
    assert content["partial"] is True and found == [f"x{number:03d}" for number in range(len(found))]
    assert not unfinished(tmp_path)


# --- all end together -------------------------------------------------------------------------------------------------


def learn_from_broken(folder, name):
    """One epoch; a feature of one video is infinite."""
    features = features_of(LABELED)
    features[name][0, 3] = np.inf
    trainer(*STILL, "training.batch_size=1", "semi.method=none", "training.steps_per_epoch=3",
            labeled=dataset(LABELED, features), unlabeled=None).train_epoch(0)


@pytest.mark.parametrize("name", ["c", "a"])
def test_a_loss_that_is_not_finite_in_one_process_stops_all(tmp_path, name):
    """The first step takes c in the first process and a in the second, so one waits for the other's gradient."""
    assert [LABELED[i].name for i in draw(3, 2, 0, seed=0)] == ["c", "a"]
    codes, _, errors = together(learn_from_broken, tmp_path, name)
    assert codes == [2, 2]
    assert errors.splitlines() == [errors.strip()] and f"is not finite for the videos {name};" in errors


def end(folder, how):
    """The ways in which one process, or all of them, may end early."""
    distributed.GRACE_SECONDS = 0.1
    second = distributed.rank() == 1
    if how == "the same mistake":
        spot_train.main(["--config", "/nowhere.yaml"])
    if how == "other files":
        distributed.refuse_different({"settings": "the same", "labeled videos": "b" if second else "a"})
    if how == "a broken file" and second:
        raise SpotError("x.npy: is broken")
    if how == "our fault" and second:
        raise ZeroDivisionError
    if how == "Ctrl-C" and second:
        raise KeyboardInterrupt
    distributed.mean_of({})  # which the first process waits for
    distributed.mean_of({})


@pytest.mark.parametrize(("how", "code", "sentence"), [
    ("the same mistake", 2, "spot_train.py: /nowhere.yaml: no such settings file; give one with --config"),
    ("other files", 2, "spot_train.py: process 1 has other labeled videos than process 0; give every machine the same "
                       "files and the same command"),
    ("a broken file", 2, "spot_train.py: x.npy: is broken"),
    ("our fault", 1, "ZeroDivisionError"),
    ("Ctrl-C", 130, "stopped by Ctrl-C")])
def test_whatever_ends_one_process_ends_all_with_one_sentence(tmp_path, how, code, sentence):
    codes, _, errors = together(end, tmp_path, how)
    assert codes == [code, code] and errors.splitlines()[-1] == sentence
    assert errors.count("Traceback") == (how == "our fault") and (code == 1 or len(errors.splitlines()) == 1)


# --- devices and memory -----------------------------------------------------------------------------------------------


@pytest.fixture
def third_of_eight(monkeypatch):
    """As if this were the third of eight processes on a machine with GPUs; a list of the GPUs that it took."""
    taken = []
    monkeypatch.setattr(distributed, "world_size", lambda: 8)
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: argparse.Namespace(uuid=f"GPU-{index}"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.distributed, "all_gather_object", seen_by(8, 8))
    return taken


def seen_by(processes, gpus):
    """A stand-in for `all_gather_object`, in which so many processes name so many different GPUs."""
    def gather(every, name):
        every[:] = [f"GPU-{number % gpus}" for number in range(processes)]
    return gather


def test_every_process_has_its_own_gpu(third_of_eight, monkeypatch):
    assert distributed.own_device(torch.device("cuda")) == torch.device("cuda:2") and third_of_eight == [2]
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(SpotError, match="cuda:1 is one GPU for 8 processes; use auto or cuda"):
        choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SpotError, match=r"process 3 of this machine has no GPU, there are 2; .*--nproc_per_node=2"):
        choose_device("cuda")
    assert third_of_eight == [2]


def test_a_process_that_sees_one_gpu_alone_takes_it(third_of_eight, monkeypatch):
    """As Slurm starts them: the third process of the machine, whose only GPU has number 0 in each."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SpotError, match="process 3 of this machine has no GPU, there are 1"):
        distributed.own_device(torch.device("cuda"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert distributed.own_device(torch.device("cuda")) == torch.device("cuda:0") and third_of_eight == [0]


def test_processes_that_see_the_same_gpu_are_refused(third_of_eight, monkeypatch):
    """CUDA_VISIBLE_DEVICES=0 for all of them: nccl would end in a fault of its own."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.distributed, "all_gather_object", seen_by(8, 1))
    with pytest.raises(SpotError, match="8 processes see 1 GPUs, and each needs its own; let CUDA_VISIBLE_DEVICES"):
        distributed.own_device(torch.device("cuda"))


def test_the_processes_of_a_machine_share_its_memory(third_of_eight, monkeypatch):
    """Features of 40 % of it stay in memory, of 5 % where eight do the same."""
    from spot import feature_bank

    monkeypatch.setattr(feature_bank, "_free_memory", lambda: 1000)
    assert room_bytes(torch.device("cpu")) == {"memory": pytest.approx(50)}
