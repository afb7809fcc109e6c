"""How fast training and inference are, and what limits them: `make bench`.

    python tools/bench.py [--step] [--mix] ... [key=value ...]   without a section: all but --full and --disk
    python tools/bench.py --full                                 a whole training at the size of ActivityNet, on a GPU
    python tools/bench.py --disk 2000                            training from an HDF5 file that stays on the disk

A machine that others use is never the same twice, so a time alone means little. Beside it stands the share of the rate
at which the same machine, in the same moments and with the same threads, multiplies large matrices: `GFLOP` counts the
matrix products of the work, and what they take at that rate is its floor. What has few of them is compared with a plain
loop. Data are random; steps are those of the real trainer. key=value replaces settings of the default model.
"""

import argparse
import contextlib
import functools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_data import (
    CLASSES,
    Answering,
    RandomSource,
    class_names,
    plain_detections,
    random_model,
    random_outputs,
    random_trainer,
    random_videos,
    settings_of,
    to_file,
)
from bench_measure import HEADER, NAMES, Bench, gflop_of, line_of, peak_memory_mb, quiet, resident_mb, utilization

from spot import command_line
from spot.config_values import decoding_values
from spot.devices import choose_device
from spot.features import FeatureSource
from spot.files import SpotError, write_json
from spot.inference import detect, to_results
from spot.packing import pack
from spot.proposals import Decoding, detections_of


def make_parser():
    parser = command_line.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, section in SECTIONS.items():
        parser.add_argument(f"--{name}", action="store_true", help=section.__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help=full.__doc__.split("\n")[0])
    count = command_line.whole_number(1, 10**7)
    parser.add_argument("--disk", type=count, metavar="VIDEOS", help=disk.__doc__.split("\n")[0])
    parser.add_argument("--passes", type=count, default=25,
                        help="--full: passes over all videos (default: %(default)s)")
    parser.add_argument("--videos", type=count, nargs=2, default=(10_024, 4_926), metavar=("TRAIN", "EVAL"),
                        help="--full: videos to train with and to detect in (default: 10024 4926)")
    parser.add_argument("--repeats", type=count, default=3, help="each figure is a median of so many (default: 3)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument("--threads", type=command_line.whole_number(1, 10_000), default=torch.get_num_threads(),
                        help="of torch (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="also write the rows here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


def main(argv=None):
    arguments = command_line.parse(make_parser(), argv)
    torch.set_num_threads(arguments.threads)
    bench = Bench(choose_device(arguments.device), arguments.threads, arguments.repeats, arguments.overrides)
    if arguments.child:
        name, values = json.loads(arguments.child)
        print(json.dumps(CHILDREN[name](bench, **values)))
        return
    chosen = [section for name, section in SECTIONS.items() if getattr(arguments, name)]
    if arguments.full:
        chosen.append(lambda bench: full(bench, *arguments.videos, arguments.passes))
    if arguments.disk is not None:
        chosen.append(lambda bench: disk(bench, arguments.disk))
    print(f"{bench.device_name}, {arguments.threads} threads, torch {torch.__version__}", HEADER, sep="\n")
    rows = []
    for section in chosen or SECTIONS.values():
        for row in section(bench):
            print(line_of(row), flush=True)
            rows.append(row)
    if arguments.json:
        write_json(arguments.json, {"device": bench.device_name, "threads": arguments.threads,
                                    "torch": torch.__version__, "rows": rows}, indent=1)


# --- sections ---------------------------------------------------------------------------------------------------------


def machine(bench):
    """The rate at which the machine multiplies large matrices: what everything else is measured by."""
    for amp in bench.precisions:
        products = [bench.product(amp) for _ in range(5 * bench.repeats)]
        rates = [gflop / seconds for gflop, seconds, _ in products]
        of_core = "" if bench.on_gpu else f", {statistics.median(p[0] / p[2] for p in products):.0f} a core"
        yield {"what": "matrix product", "precision": NAMES[amp], "seconds": statistics.median(p[1] for p in products),
               "GFLOP": products[0][0], "rate": statistics.median(rates),
               "note": f"{statistics.median(rates):.0f} GFLOP/s ({min(rates):.0f} to {max(rates):.0f} in this run)"
                       + of_core}


def step(bench):
    """A training step of the published and of the default model, labeled and unlabeled videos."""
    for published in (True, False):
        for amp in bench.precisions:
            config = settings_of(bench, published, f"training.amp={amp}", "training.steps_per_epoch=1")
            size = config.training.batch_size
            unlabeled = round(size * config.training.unlabeled_ratio)
            trainer = random_trainer(bench, config, size, max(unlabeled, 1))
            name = f"training step, {'published' if published else 'default'} model, {size} + {unlabeled} videos"
            yield {"what": name, **measure_step(bench, trainer, size + unlabeled)}


def measure_step(bench, trainer, videos):
    """Seconds, GFLOP and their share, and the share of time for drawing, views and targets of one step."""
    with quiet():
        def take():
            return trainer.train_epoch(1)  # one past the start, where a round of pseudo labels begins

        gflop = gflop_of(take)
        row = bench.measure(take, trainer.amp, gflop, videos)
        with time_on_data(bench, trainer) as spent:
            whole, _ = bench.clock(take)
    return {**row, "data share": sum(spent) / whole}


@contextlib.contextmanager
def time_on_data(bench, trainer):
    """A list that receives the seconds of each call that draws videos, makes the student's view or makes targets."""
    spent = []

    def timed(function):
        def call(*values, **named):
            results = []
            spent.append(bench.clock(lambda: results.append(function(*values, **named)))[0])
            return results[0]
        return call

    places = [(trainer, "draw_batch"), (trainer, "draw_view"), (trainer, "strong"), (trainer.objective, "targets")]
    originals = [getattr(owner, name) for owner, name in places]
    try:
        for (owner, name), original in zip(places, originals, strict=True):
            setattr(owner, name, timed(original))
        yield spent
    finally:
        for (owner, name), original in zip(places, originals, strict=True):
            setattr(owner, name, original)


def mix(bench):
    """The authors' mix: train on 104 videos, 24 of them unlabeled, and detect in 400; the published model."""
    for amp in bench.precisions:
        config = settings_of(bench, True, f"training.amp={amp}", "training.batch_size=80",
                             "training.unlabeled_ratio=0.3")
        trainer = random_trainer(bench, config, 80, 24)
        features = [trainer.labeled.source.read(f"video {number}") for number in range(400)]
        names = class_names()

        def epoch(trainer=trainer, features=features, names=names, amp=amp):
            trainer.train_epoch(1)
            found = detect(trainer.model, features, [100.0] * len(features), amp=amp)
            return [to_results(rows, names) for rows in found]

        with quiet():
            gflop = gflop_of(epoch)
            row = bench.measure(epoch, amp, gflop, 504)
        goal = {"none": 5, "bf16": 2.5}[amp]
        yield {"what": "the authors' mix: 104 training, 400 validation videos", **row,
               "note": f"goal on 2 cores {goal} s; the authors' code 10 s"}


def inference(bench):
    """The model alone, everything after it, and the whole of `detect`."""
    size = 32
    for published in (True, False):
        name = "published" if published else "default"
        config = settings_of(bench, published)
        model, decoding = random_model(bench, config), Decoding(**decoding_values(config))
        features = torch.randn(size, config.model.feat_dim, config.model.temporal_scale, device=bench.device)
        for amp in bench.precisions:
            def forward(model=model, features=features, amp=amp):
                with torch.no_grad(), torch.autocast(bench.device.type, torch.bfloat16, enabled=amp == "bf16"):
                    model(features)

            yield {"what": f"model alone, {name}, {size} videos",
                   **bench.measure(forward, amp, gflop_of(forward), size)}
        for probable, words in ((3, "3 likely classes a video"), (150, "150 likely classes a video"),
                                (0, "no class stands out")):
            outputs = random_outputs(bench, size, config, probable)
            yield {"what": f"after the model, {name}, {words}", **compare(bench, outputs, config, decoding)}
        videos = 16 * size  # with fewer, chance decides whether Python looks for garbage in between
        source = RandomSource(config.model.feat_dim, config.model.temporal_scale)
        source.read = functools.cache(source.read)
        stand_in = Answering(model, random_outputs(bench, size, config, 3))
        for answering, what in ((stand_in, "all but the model"), (model, "with the model")):
            def whole(model=answering, config=config, source=source, videos=videos):
                to_file(model, config, source, videos)

            yield {"what": f"features to detections.json, {name}, {what}", **bench.measure(whole, videos=videos)}


def compare(bench, outputs, config, decoding):
    """Videos per second of `detections_of`, beside the plain loop, whose detections must be the same."""
    activation, videos = config.model.class_activation, len(outputs["masks"])
    row = bench.measure(lambda: detections_of(outputs, [0], activation, decoding), videos=videos)
    rows = []
    _, slow = bench.clock(lambda: rows.extend(plain_detections(outputs, 0, activation, decoding)))
    best = detections_of(outputs, [0], activation, decoding)[0][:50]
    if not np.allclose(best[:, 3], [score for *_, score in rows[:50]], atol=1e-5):
        raise AssertionError("the detections are not those of the plain loop")
    return {**row, "note": f"a plain loop takes {slow / row.get('core s', row['seconds']) * videos:.0f} times as long"}


def costs(bench):
    """Time and peak memory of the default model against T, C, K, batch size and number of videos."""
    base = {"length": 100, "channels": 400, "classes": 200, "batch": 8}
    changes = [{}, {"length": 256}, {"length": 512}, {"length": 1024}, {"channels": 2048}, {"classes": 20},
               {"batch": 32}]
    for change in changes:
        size = {**base, **change}
        found = bench.child("train", **size)
        yield {"what": "training step, T {length}, C {channels}, K {classes}, {batch} + ".format(**size)
               + f"{found.pop('unlabeled')} videos", **found}
    for videos in (100, 1000):
        found = bench.child("detect", videos=videos)
        yield {"what": f"spot_inference.py, default model, {videos} videos", **found}


def train_once(bench, length, channels, classes, batch):
    """In a process of its own: a training step of the default model of these sizes."""
    config = settings_of(bench, False, f"model.temporal_scale={length}", f"model.feat_dim={channels}",
                         f"training.batch_size={batch}", "training.steps_per_epoch=1", "training.cache=memory")
    unlabeled = round(batch * config.training.unlabeled_ratio)
    trainer = random_trainer(bench, config, batch, unlabeled, classes)
    with quiet():
        row = bench.measure(lambda: trainer.train_epoch(1), trainer.amp, videos=batch + unlabeled)
    return {**row, "peak MB": peak_memory_mb(bench), "unlabeled": unlabeled}


def detect_once(bench, videos):
    """In a process of its own: detections of many videos."""
    config = settings_of(bench, False)
    model = random_model(bench, config)
    source = RandomSource(config.model.feat_dim, config.model.temporal_scale)
    to_file(model, config, source, config.testing.batch_size)
    seconds, of_cores = bench.clock(lambda: to_file(model, config, source, videos))
    return {"precision": NAMES["none"], "seconds": seconds, "core s": of_cores, "videos/s": videos / seconds,
            "per core": videos / of_cores, "peak MB": peak_memory_mb(bench)}


def full(bench, training, evaluation, passes):
    """A whole run of the default model on a GPU: pretext stage, training, detection; C = 2048, 200 classes."""
    if not bench.on_gpu and training > 1000:
        raise SpotError(f"--full with {training:,} videos takes days without a CUDA GPU; try --videos 100 50")
    config = settings_of(bench, False, "model.feat_dim=2048")
    labeled = round(0.1 * training)
    begin = time.perf_counter()
    trainer = random_trainer(bench, config, labeled, training - labeled)
    yield {"what": f"reading {training:,} videos", "seconds": time.perf_counter() - begin,
           "note": f"features in {trainer.labeled.bank.cache}, {trainer.unlabeled.bank.cache}"}
    for stage, count in (("pretext", max(passes // 5, 1)), ("train", passes)):
        per_step = trainer.batch_size + (trainer.unlabeled_size if stage == "train" else 0)
        trainer.steps_per_epoch = -(-training // per_step)
        trainer.pretrain_epochs = trainer.epochs = count
        take = trainer.pretext_epoch if stage == "pretext" else trainer.train_epoch
        trainer.start_stage()
        with quiet(), utilization(bench) as used:
            seconds, _ = bench.clock(lambda take=take, count=count: [take(number) for number in range(count)])
        yield {"what": f"{stage}: {count} passes over {training:,} videos", "precision": NAMES[trainer.amp],
               "seconds": seconds, "videos/s": count * training / seconds,
               "peak MB": peak_memory_mb(bench),
               "note": f"GPU busy {statistics.mean(used):.0f} %" if used else "GPU utilization not available"}
    seconds, _ = bench.clock(lambda: to_file(trainer.teacher.module, config, trainer.labeled.source, evaluation))
    yield {"what": f"detection in {evaluation:,} videos, file written", "precision": NAMES["none"], "seconds": seconds,
           "videos/s": evaluation / seconds, "peak MB": peak_memory_mb(bench)}


def disk(bench, videos):
    """Training with training.cache=disk from a packed float16 file of VIDEOS videos of 100 x 2048."""
    found = bench.child("disk", videos=videos)
    yield {"what": f"training step, training.cache=disk, {videos:,} videos", **found}


def train_from_disk(bench, videos):
    """In a process of its own: pack random features into a temporary file, train from it, and read all of it."""
    config = settings_of(bench, False, "model.feat_dim=2048", "training.cache=disk", "training.steps_per_epoch=1")
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = f"{folder}/features.h5"
        written = RandomSource(config.model.feat_dim, config.model.temporal_scale)
        pack(written, [video.name for video in random_videos(0, videos, CLASSES)], path)
        size_mb = Path(path).stat().st_size / 1e6
        labeled = max(videos // 10, 1)
        trainer = random_trainer(bench, config, labeled, videos - labeled,
                                 source=FeatureSource(path, config.model.feat_dim))
        row = measure_step(bench, trainer, trainer.batch_size + trainer.unlabeled_size)
        batches = np.array_split(np.arange(len(trainer.unlabeled)), -(-len(trainer.unlabeled) // 32))

        def read_all():
            for batch in batches:
                trainer.unlabeled.batch(batch)

        resident = [resident_mb()]
        for _ in range(2):
            reading, _ = bench.clock(read_all)
            resident.append(resident_mb())
    return {**row, "peak MB": peak_memory_mb(bench),
            "note": f"file {size_mb:.0f} MB; {len(trainer.unlabeled) / reading:.0f} videos/s read; resident before, "
                    f"after one and after two passes over it: {', '.join(f'{mb:.0f}' for mb in resident)} MB"}


SECTIONS = {"machine": machine, "step": step, "mix": mix, "inference": inference, "costs": costs}
CHILDREN = {"train": train_once, "detect": detect_once, "disk": train_from_disk}
if __name__ == "__main__":
    command_line.run(main)
