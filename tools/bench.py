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
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from spot import command_line
from spot.annotations import Video
from spot.config import load_config
from spot.config_values import decoding_values, grid_values, plain
from spot.datasets import GridSettings, SnippetDataset, feature_statistics
from spot.detectors import build_model
from spot.devices import choose_device, choose_precision
from spot.features import FeatureSource
from spot.files import SpotError, streamed_results, write_json
from spot.inference import detect_all
from spot.nms import soft_nms
from spot.packing import pack
from spot.proposals import Decoding, class_evidence, detect, detections_of, mask_runs, to_results
from spot.recordings import Recording, Times
from spot_inference import detector_of
from spot_train import make_trainer

ROOT = Path(__file__).resolve().parent.parent
CLASSES = 200
PUBLISHED = "config/anet_published.yaml"
# Every step has its unlabeled videos from the first one on.
NO_BURN_IN = ["semi.burn_in=0", "semi.ramp=0", "dataset.feature_path=random"]
NAMES = {"none": "fp32", "bf16": "bf16"}


def main(argv=None):
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
    arguments = command_line.parse(parser, argv)
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


# --- measuring --------------------------------------------------------------------------------------------------------


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
        command = [sys.executable, __file__, "--device", str(self.device), "--threads", str(self.threads), "--repeats",
                   str(self.repeats), "--child", json.dumps([name, values]), *self.settings]
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


# --- what is measured -------------------------------------------------------------------------------------------------


class RandomSource:
    """Random features of any video, always the same ones, with what data sets and `pack` ask of a `FeatureSource`."""

    listed_missing = frozenset()
    paths = "random"

    def __init__(self, feat_dim, length):
        self.feat_dim, self.length = feat_dim, length

    def __contains__(self, name):
        return True

    def read(self, name):
        seed = int(name.rpartition(" ")[2])
        return np.random.default_rng(seed).standard_normal((self.feat_dim, self.length), np.float32)

    def path_of(self, name):
        return f"random[{name}]"


def class_names(count=CLASSES):
    return [f"class {number:03d}" for number in range(count)]


def random_videos(first, count, classes):
    """Annotated videos of 100 s with one to three segments of a class."""
    found = []
    for number in range(first, first + count):
        random = np.random.default_rng(number)
        times_sec = np.sort(random.uniform(0, 100, (random.integers(1, 4), 2)), axis=1)
        label = class_names(classes)[number % classes]
        found.append(Video(f"video {number}", 100.0, 25.0, "training", times_sec, (label,) * len(times_sec), 100.0,
                           np.zeros((0, 2))))
    return found


def settings_of(bench, published, *overrides):
    """The published settings, or the default ones with the key=value of the command line."""
    path = ROOT / PUBLISHED if published else None
    return load_config(path, [*NO_BURN_IN, *([] if published else bench.settings), *overrides])


def random_trainer(bench, config, labeled, unlabeled, classes=CLASSES, source=None):
    """The trainer that `spot_train.py` would make, on random videos; labeled, unlabeled: numbers of them."""
    source = source or RandomSource(config.model.feat_dim, config.model.temporal_scale)
    sets = [SnippetDataset(random_videos(first, count, classes), source, GridSettings(**grid_values(config)),
                           class_names(classes), config.model.feat_dim, config.training.cache, bench.device)
            for first, count in ((0, labeled), (labeled, unlabeled))]
    model = random_model(bench, config, classes)
    if config.model.standardize != "none":
        model.set_statistics(*feature_statistics(*sets))
    return make_trainer(config, model, *sets)


def random_model(bench, config, classes=CLASSES):
    torch.manual_seed(0)
    sizes = {**plain(config.model), "standardize": "training"}
    model = build_model(**sizes, num_classes=classes, chunks=config.pretext.chunks).to(bench.device)
    model.settings = {**grid_values(config), **decoding_values(config), "class_names": class_names(classes)}
    return model.eval()


def random_outputs(bench, videos, config, probable):
    """Model outputs of videos with one to three instances each: noise, and in an instance `probable` likely classes."""
    random = torch.Generator().manual_seed(0)
    length, classes = config.model.temporal_scale, CLASSES
    center = torch.arange(length) + 0.5
    logits = torch.randn(videos, classes + 1, length, generator=random)
    mask_logits = 0.7 * torch.randn(videos, length, length, generator=random) - 3
    for video in range(videos):
        likely = torch.randperm(classes, generator=random)[:probable]
        foreground = torch.zeros(length, dtype=torch.bool)
        for _ in range(int(torch.randint(1, 4, (1,), generator=random))):
            start, size = (torch.rand(2, generator=random) * torch.tensor([0.8, 0.5]) * length).tolist()
            end = start + 0.05 * length + size
            inside = (center >= start) & (center <= end)
            mask_logits[video, inside] += 6 * torch.minimum(center - start, end - center).sigmoid()
            logits[video, likely] += torch.linspace(6, 3, probable)[:, None] * inside
            foreground |= inside
        logits[video, -1] += 6 * ~foreground
    if config.model.class_activation == "sigmoid":  # rare until something speaks for them
        logits[:, :-1] -= 6
    outputs = {"class_logits": logits, "masks": mask_logits.sigmoid(), "valid": torch.ones(videos, length).bool()}
    return {key: value.to(bench.device) for key, value in outputs.items()}


def plain_detections(outputs, video, activation, decoding):
    """What `detections_of` gives for one video, class by class and snippet by snippet."""
    starts, ends, quality = (x[0] for x in mask_runs(outputs["masks"][video : video + 1].cpu(), decoding.mask_thresh))
    evidence = class_evidence({key: outputs[key][video : video + 1].cpu() for key in ("class_logits", "masks")},
                              activation)[0, :-1] ** decoding.class_power
    rows = []
    for label, scores in enumerate(evidence):
        segments, found = [], []
        for snippet in scores.argsort(descending=True)[: decoding.top_k].tolist():
            for start, end, weight in zip(starts[snippet].tolist(), ends[snippet].tolist(), quality[snippet].tolist(),
                                          strict=True):
                segments.append((start, end))
                found.append(float(scores[snippet]) * weight**decoding.mask_power * (weight > 0))
        kept, scores = soft_nms(segments, found, decoding.nms_sigma, decoding.min_score, decoding.max_detections)
        rows += [(start, end, label, score) for (start, end), score in zip(kept.tolist(), scores.tolist(), strict=True)]
    return sorted(rows, key=lambda row: -row[3])[: decoding.max_detections]


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

    places = [(trainer, "_draw"), (trainer, "_draw_strong"), (trainer, "strong"), (trainer.objective, "targets")]
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


class Answering(torch.nn.Module):
    """A model that takes no time: it always gives the same outputs."""

    def __init__(self, model, outputs):
        super().__init__()
        self.settings, self.class_activation, self.feat_dim = model.settings, model.class_activation, model.feat_dim
        self.outputs, self.here = outputs, torch.nn.Parameter(torch.zeros(1, device=outputs["masks"].device))

    def forward(self, features, valid=None):
        return {key: value[: len(features)] for key, value in self.outputs.items()}


def to_file(model, config, source, videos):
    """Detect in random videos and write the file, as `spot_inference.py` does; returns the number of detections."""
    detector = detector_of(model, config, model.settings["class_names"])
    recordings = [Recording(f"video {number}", Times(100.0, 100.0, 25.0)) for number in range(videos)]
    count = 0
    with quiet(), tempfile.TemporaryDirectory() as folder, streamed_results(f"{folder}/detections.json", {}) as add:
        for name, entries in detect_all(detector, source, recordings):
            add(name, entries)
            count += len(entries)
    return count


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


def resident_mb():
    """The memory that this process has now."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith("VmRSS"))


SECTIONS = {"machine": machine, "step": step, "mix": mix, "inference": inference, "costs": costs}
CHILDREN = {"train": train_once, "detect": detect_once, "disk": train_from_disk}

if __name__ == "__main__":
    command_line.run(main)
