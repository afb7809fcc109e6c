"""A run that can be trusted overnight: killed and resumed, a full disk, two runs at once, Ctrl-C, broken numbers."""

import errno
import itertools
import json
import math
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_scripts import ROOT, data, ends, log_of, refused, run_folder, settings
from tiny import CLASSES, LABELED, UNLABELED, C, Source, T, dataset, features_of, model, trainer, video

import eval as evaluation_script
import spot_inference
import spot_train
from spot import checkpoint, detect, inference
from spot.checkpoint import RunFolder
from spot.config import load_config, save_config
from spot.files import TEMPORARY, SpotError, read_json, streamed_results, write_json, write_text
from spot.losses import class_probabilities
from spot.packing import pack

__all__ = ["data", "run_folder"]  # fixtures
LONGER = ["training.pretrain_epoch=3", "training.max_epoch=12", "training.steps_per_epoch=1"]


def equal(one, other):
    """Are two nested values equal, tensors bit for bit?"""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(itertools.starmap(equal, zip(one, other, strict=True)))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def state_of(folder):
    """All of last.pt but the wall-clock times."""
    content = checkpoint.read(folder / "last.pt")
    for record in content["records"]:
        del record["seconds"]
    return content


def curves_of(folder):
    """What TensorBoard shows: {name: [(step, value)]}."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def written(folder):
    """Lines of the log that stand in the folder of a run, which may be at work."""
    return len(log_of(folder)) if (folder / "log.jsonl").exists() else 0


def unfinished(folder):
    return [path.name for path in folder.rglob(f"{TEMPORARY}*")]


# --- killed and resumed -----------------------------------------------------------------------------------------------


def train_until(moment, arguments):
    """Train, and die as by `kill -9` before the `moment`-th step of writing: bytes of a checkpoint, flush, name."""
    steps = itertools.count(1)

    def deadly(call):
        def counted(*values, **keys):
            if next(steps) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*values, **keys)

        return counted

    os.fsync, os.replace, torch.save = deadly(os.fsync), deadly(os.replace), deadly(torch.save)
    spot_train.main(arguments)


def test_a_run_killed_while_it_writes_equals_an_uninterrupted_one(data, tmp_path):
    """11 epochs of one step, in which best.pt, log and last.pt take 11 steps of writing; before them, config, classes,
    labeled videos and commit take 12. Killed six times somewhere in the first 36 steps and resumed: weights, optimizer,
    log and curves are those of a run that nobody disturbed."""
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    changes = [*LONGER, "training.max_epoch=8"]
    spot_train.main(settings(data, whole, *changes))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["spot_train"])
    arguments = settings(data, folder, *changes, "training.resume=auto")
    for moment in [*np.random.default_rng(0).integers(1, 37, 6).tolist(), None]:
        before = written(folder)
        child = processes.Process(target=train_until, args=(moment, arguments))
        child.start()
        child.join()
        assert child.exitcode == (-signal.SIGKILL if moment else 0) and written(folder) >= before
        if (folder / "last.pt").exists():
            checkpoint.read(folder / "last.pt")
    assert log_of(folder) == log_of(whole) and len(log_of(folder)) == 11
    assert equal(state_of(folder), state_of(whole))
    assert equal(checkpoint.read(folder / "best.pt"), checkpoint.read(whole / "best.pt"))
    assert curves_of(folder) == curves_of(whole)
    assert not unfinished(folder) and not (folder / "run.lock").exists()


def test_resuming_with_another_number_of_processes_is_said(run_folder, data, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    content = checkpoint.read(folder / "last.pt")
    content["records"][-1]["processes"] = 8
    checkpoint.save(folder / "last.pt", content)
    spot_train.main(settings(data, folder, "training.resume=auto"))
    assert "had 8 processes until now and has 1" in capsys.readouterr().err
    content["records"][-1]["processes"] = 1
    checkpoint.save(folder / "last.pt", content)
    spot_train.main(settings(data, folder, "training.resume=auto"))
    assert "processes" not in capsys.readouterr().err


def test_what_a_killed_run_left_half_written_goes(run_folder, data, tmp_path):
    """Its own names only: the detections may be another process's."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("last-x1.pt", "log-x2.jsonl", "detections-x3.json"):
        (folder / f"{TEMPORARY}{name}").write_text("half")
    spot_train.main(settings(data, folder, "training.max_epoch=0"))
    assert unfinished(folder) == [f"{TEMPORARY}detections-x3.json"]


# --- two runs at once -------------------------------------------------------------------------------------------------


def hold(path, ready):
    """Hold the lock of a run folder until killed."""
    with RunFolder(path).locked():
        ready.set()
        time.sleep(600)


@pytest.mark.parametrize("resume", ["training.resume=auto", "training.resume=null"])
def test_two_runs_in_one_folder_are_refused(data, tmp_path, capsys, resume):
    """The message names the other process; the folder stays as it is."""
    folder = tmp_path / "run"
    with RunFolder(folder).locked():
        message = refused(capsys, spot_train.main, *settings(data, folder, resume))
        assert str(folder) in message and f"process {os.getpid()}" in message
        assert [path.name for path in folder.iterdir()] == ["run.lock"]


def test_the_lock_of_a_dead_process_stands_in_nobodys_way(data, tmp_path):
    processes = multiprocessing.get_context("forkserver")
    ready = processes.Event()
    child = processes.Process(target=hold, args=(tmp_path / "run", ready))
    child.start()
    assert ready.wait(60)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert (tmp_path / "run" / "run.lock").exists()
    spot_train.main(settings(data, tmp_path / "run", "training.max_epoch=0"))
    assert not (tmp_path / "run" / "run.lock").exists()


def test_a_run_that_ended_while_ours_read_its_data_is_not_overwritten(data, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    build = spot_train.build_model

    def meanwhile(**sizes):
        folder.mkdir()
        (folder / "last.pt").write_bytes(b"another run")
        return build(**sizes)

    monkeypatch.setattr(spot_train, "build_model", meanwhile)
    assert "already holds a run" in refused(capsys, spot_train.main, *settings(data, folder))
    assert (folder / "last.pt").read_bytes() == b"another run"


def test_two_inferences_into_one_folder_are_refused(run_folder, capsys):
    from spot.files import locked

    with locked(run_folder / "inference.lock", "the folder"):
        assert "in use by another run" in refused(capsys, spot_inference.main, f"checkpoint={run_folder}")


def test_two_packings_into_one_file_are_refused(tmp_path):
    """The second one would throw the first one's unfinished file away."""
    from spot.files import locked

    with locked(tmp_path / ".a.h5.lock", "the file"), pytest.raises(SpotError, match=r"a\.h5 is in use by another run"):
        pack(packable(), ["a"], tmp_path / "a.h5")


# --- a full disk ------------------------------------------------------------------------------------------------------

LIMITED = "import resource, runpy, sys; n = int(sys.argv.pop(1)); resource.setrlimit(resource.RLIMIT_FSIZE, (n, n)); \
sys.path.insert(0, '.'); sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"


def test_a_disk_that_fills_up_during_training_leaves_the_last_good_checkpoint(data, tmp_path):
    """No file may grow to the size of last.pt: best.pt still fits, last.pt does not."""
    folder = tmp_path / "run"
    spot_train.main(settings(data, folder, "training.max_epoch=1"))
    before = (folder / "last.pt").read_bytes()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", LIMITED, str(len(before) - 5000), "spot_train.py",
                           *settings(data, folder, "training.resume=auto")],
                          cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{folder}/last.pt: cannot be written" in done.stderr.splitlines()[-1]
    assert (folder / "last.pt").read_bytes() == before and not unfinished(folder)


def stream(path, content):
    with streamed_results(path, {}) as add:
        add("a", content)


WRITERS = {"a.txt": write_text, "a.json": write_json, "detections.json": stream, "a.pt": checkpoint.save,
           "a.yaml": lambda path, _: save_config(load_config(None), path),
           "a.h5": lambda path, _: pack(packable(), ["a"], path)}


def packable():
    source = Source({"a": np.ones((C, T), np.float32)})
    source.paths, source.feat_dim = "memory", C
    return source


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_whatever_is_written_to_a_full_disk_stays_as_it_was(tmp_path, monkeypatch, name, call):
    """Space may run out as late as when the system brings the file to the disk."""
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / name
    path.write_text("good")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(SpotError, match=rf"{name}: .*No space left on device"):
        WRITERS[name](path, "text")
    assert path.read_text() == "good" and not unfinished(tmp_path)


# --- inference over many videos, and Ctrl-C ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """320 videos of 8 snippets in one HDF5 file."""
    path = tmp_path_factory.mktemp("many") / "features.h5"
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number in range(320):
            file[f"x{number:03d}"] = random.normal(size=(8, 6)).astype(np.float32)
    return path


def own(run_folder, many, output):
    return [f"checkpoint={run_folder}", f"features={many}", "fps=25", f"output_path={output}"]


def test_detections_are_written_as_they_are_found(run_folder, many, tmp_path, monkeypatch):
    """When the last of ten batches is asked for, most of the file is on the disk; so nothing is gathered in memory."""
    sizes, detect_batch = [], inference.detect

    def watched(*arguments, **settings):
        sizes.append(sum(path.stat().st_size for path in (tmp_path / "own").glob(f"{TEMPORARY}*.json")))
        return detect_batch(*arguments, **settings)

    monkeypatch.setattr("spot.inference.detect", watched)
    spot_inference.main(own(run_folder, many, tmp_path))
    path = tmp_path / "own" / "detections.json"
    assert len(sizes) == 10 and sizes == sorted(sizes) and sizes[-1] > 0.8 * path.stat().st_size
    content = read_json(path)
    assert len(content["results"]) == 320 and "partial" not in content
    rows = (tmp_path / "own" / "detections.csv").read_text().splitlines()
    assert len(rows) - 1 == sum(map(len, content["results"].values()))


def test_ctrl_c_leaves_a_valid_file_that_says_it_is_partial(run_folder, many, tmp_path, monkeypatch, capsys):
    """Stopped in the third of ten batches of 32 videos: 64 are there; an older table is gone, as it no longer fits."""
    batches, detect_batch = itertools.count(), inference.detect

    def stopped(*arguments, **settings):
        if next(batches) == 2:
            raise KeyboardInterrupt
        return detect_batch(*arguments, **settings)

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "detections.csv").write_text("old")
    monkeypatch.setattr("spot.inference.detect", stopped)
    assert ends(spot_inference.main, *own(run_folder, many, tmp_path)) == 130
    assert "partial: it holds 64 of 320 videos" in capsys.readouterr().err
    content = read_json(tmp_path / "own" / "detections.json")
    assert content["partial"] is True and len(content["results"]) == 64 and content["version"] == "SPOT"
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["detections.json"]


def test_evaluation_says_that_detections_are_partial(run_folder, tmp_path, monkeypatch, capsys):
    """In the printed table, in metrics.json, and when two files are compared."""
    detect_batch = inference.detect
    batches = itertools.count()

    def stopped(*arguments, **settings):
        if next(batches):
            raise KeyboardInterrupt
        return detect_batch(*arguments, **settings)

    monkeypatch.setattr("spot.inference.detect", stopped)
    assert ends(spot_inference.main, f"checkpoint={run_folder}", f"output_path={tmp_path}",
                "testing.batch_size=1") == 130
    partial = tmp_path / "detections.json"
    assert len(read_json(partial)["results"]) == 2  # one, and the one without features
    evaluation_script.main([f"output_path={run_folder}", "--predictions", str(partial), "--output",
                            f"{tmp_path}/metrics.json"])
    assert "PARTIAL" in capsys.readouterr().out and read_json(tmp_path / "metrics.json")["partial"] is True
    evaluation_script.main([f"output_path={run_folder}", "--bootstrap", "2", "--compare",
                            f"{run_folder}/detections.json", str(partial)])
    told = [line for line in capsys.readouterr().out.splitlines() if "PARTIAL" in line]
    assert len(told) == 1 and told[0].startswith("B")


def test_a_mistake_on_the_way_leaves_the_old_detections(tmp_path):
    write_json(tmp_path / "d.json", {"results": {}})
    with pytest.raises(SpotError), streamed_results(tmp_path / "d.json", {}) as add:
        add("a", [])
        raise SpotError("a broken feature file")
    assert read_json(tmp_path / "d.json") == {"results": {}} and not unfinished(tmp_path)


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_a_diverging_run_stops_and_keeps_the_good_checkpoint(data, tmp_path, capsys):
    """A learning rate of 1e30 from the second training epoch on."""
    folder = tmp_path / "run"
    spot_train.main(settings(data, folder, "training.max_epoch=1"))
    before = {name: (folder / name).read_bytes() for name in ("last.pt", "best.pt", "log.jsonl")}
    message = refused(capsys, spot_train.main, *settings(data, folder, "training.resume=auto", "training.max_epoch=9",
                                                         "training.learning_rate=1e38"))
    assert "train epoch 2: " in message and "not finite" in message and "training.learning_rate" in message
    assert before == {name: (folder / name).read_bytes() for name in before}


def test_weights_that_the_last_step_broke_are_not_saved():
    net = model()
    checkpoint.refuse_non_finite(net.state_dict(), "train epoch 1")
    with torch.no_grad():
        net.class_head.bias[1] = math.nan
    with pytest.raises(SpotError, match=r"train epoch 1: 1 weights are not finite, such as class_head\.bias"):
        checkpoint.refuse_non_finite(net.state_dict(), "train epoch 1")


@pytest.mark.parametrize("grid", ["resize", "window"])
@pytest.mark.parametrize("length", [1, 3, 50])
def test_any_number_of_snippets_trains_and_detects(grid, length):
    """T = 8: one snippet, fewer, many more."""
    one = [video("a", (0.2 * length, 0.7 * length, "run"), duration=float(length))]
    found = features_of(one, length=length)
    net = model()
    record = trainer("loss.boundary=1", "loss.consistency=1", "loss.reconstruction=1", net=net,
                     labeled=dataset(one, found, grid=grid)).train_epoch(0)
    assert all(map(math.isfinite, record["loss"].values()))
    rows = detect(net, found["a"], float(length), grid=grid, temporal_scale=T, stride=1, window=1, fps=1.0,
                  min_score=0.0)[0]
    assert len(rows) and np.isfinite(rows).all() and (rows[:, 1] <= length).all() and (rows[:, 0] >= 0).all()


def test_a_class_without_a_labeled_video_stays_finite():
    """`throw` is in the class list alone."""
    labeled = [one for one in LABELED if "throw" not in one.labels]
    record = trainer(labeled=labeled).train_epoch(0)
    assert len(labeled) == 2 and "throw" in CLASSES and all(map(math.isfinite, record["loss"].values()))


def test_constant_channels_and_still_videos_stay_finite_from_statistics_to_detections():
    """Channel 2 is 1e6 everywhere, one video never changes."""
    found = features_of(LABELED + UNLABELED)
    found["a"][:] = 3
    for x in found.values():
        x[2] = 1e6
    net = model()
    data_sets = [dataset(videos, found) for videos in (LABELED, UNLABELED)]
    net.set_statistics(*spot_train.feature_statistics(*data_sets))
    run = trainer(net=net, labeled=data_sets[0], unlabeled=data_sets[1])
    records = [run.pretext_epoch(0), run.train_epoch(0)]
    assert all(math.isfinite(value) for record in records for value in record["loss"].values())
    rows = detect(net, list(found.values()), [8.0] * 7, grid="resize", temporal_scale=T, min_score=0.0)
    assert all(np.isfinite(one).all() for one in rows)


def test_a_batch_without_any_foreground_stays_finite():
    """No segment in any labeled video, and a teacher whose pseudo labels keep nothing."""
    record = trainer("semi.class_threshold=1", "loss.boundary=1", "loss.consistency=1",
                     labeled=[video("a"), video("b")]).train_epoch(0)
    assert all(map(math.isfinite, record["loss"].values()))


def test_bf16_outputs_are_near_float32():
    """bfloat16 keeps 8 bits: probabilities of classes and masks within 0.02."""
    net, features = model().eval(), torch.randn(4, C, T)
    with torch.no_grad():
        full = net(features)
        with torch.autocast("cpu", torch.bfloat16):
            half = net(features)
    assert half["class_logits"].dtype == torch.bfloat16
    assert (half["masks"].float() - full["masks"]).abs().max() < 0.02
    one, other = (class_probabilities(x["class_logits"].float(), "sigmoid") for x in (full, half))
    assert (one - other).abs().max() < 0.02


def test_the_log_is_plain_json(run_folder):
    """NaN is not JSON; every reader of the log can rely on it."""
    for line in (run_folder / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
