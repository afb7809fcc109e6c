"""What a GPU makes of it all, in one command of at most eight minutes: `make gpu`.

    python tools/gpu_check.py [--quick] [--device cpu] [--out runs/gpu_check]

Tests that need a GPU; the rate at which it multiplies matrices; steps, with and without a CUDA graph, and inference
beside that rate; a whole training at the size of ActivityNet. A table is printed, and written as FOLDER/gpu_check.csv
and .json. Parts that no time is left for are named. Beside a time stands what was expected before any was measured:
4 ms are the 3 to 4 ms for which a GPU is busy with the default step, plus copies. Nothing is downloaded.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(1, str(ROOT / "tools"))

try:
    import bench as bench_tool
    import pandas
    import torch

    from spot import command_line
    from spot.devices import choose_device
except ModuleNotFoundError as error:
    sys.exit(f"gpu_check.py: {error.name} is not installed here; where there is a network: `pip install -r "
             "requirements.txt`, else where there is one, with the same Python version: `pip download -r "
             "requirements.txt -d wheels`, bring the folder and `pip install --no-index --find-links wheels -r "
             "requirements.txt`")

TESTS = ("tests/test_cuda.py", "tests/test_gpu.py", "tests/test_graphs.py")
# Milliseconds of a step on an H100, written down before one was at hand: host 17 ms launched piece by piece, 2 ms with
# a graph; the GPU is busy 3 to 4 ms, and 33 MB more of features and noise are moved at C = 2048.
STEPS = [("C = 400, bf16, graph", 4.0, ()),
         ("C = 400, bf16, piece by piece", 17.0, ("training.graph=none",)),
         ("C = 2048, bf16, graph", 5.0, ("model.feat_dim=2048",)),
         ("C = 400, float32, graph", 6.0, ("training.amp=none",)),
         ("C = 400, bf16, graph, 64 + 96 videos", 14.0, ("training.batch_size=64",))]
SMALL = ["model.temporal_scale=10", "model.feat_dim=6", "model.embed_dim=8", "training.batch_size=2",
         "training.amp=none"]


def main(argv=None):
    parser = command_line.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes and no tests: does this program work?")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1; cpu with --quick (default: cuda)")
    parser.add_argument("--seconds", type=float, default=480, help="begin no part after so many (default: 480)")
    parser.add_argument("--out", default="runs/gpu_check", help="folder of the table (default: runs/gpu_check)")
    arguments = command_line.parse(parser, argv)
    device = choose_device(arguments.device)
    bench = bench_tool.Bench(device, torch.get_num_threads(), 1 if arguments.quick else 3,
                             SMALL if arguments.quick else arguments.overrides)
    print(f"{bench.device_name}, torch {torch.__version__}, CUDA {torch.version.cuda}", flush=True)
    rows, begin = [], time.monotonic()
    for name, part in PARTS.items():
        if time.monotonic() - begin > arguments.seconds:
            add(rows, {"what": name, "note": "NOT DONE: no time was left"})
            continue
        try:
            for row in part(bench, arguments.quick):
                add(rows, row)
        except Exception as error:  # whatever a GPU does not like: the other parts are still worth knowing
            reason = (str(error).strip().splitlines() or ["no message"])[0][:150]
            add(rows, {"what": name, "note": f"WRONG: {type(error).__name__}: {reason}"})
    write(rows, bench, Path(arguments.out))
    wrong = sum(row.get("note", "").startswith(("WRONG", "NOT DONE")) for row in rows)
    print(f"{wrong} of {len(rows)} lines say WRONG or NOT DONE; {time.monotonic() - begin:.0f} s")
    return 1 if wrong else 0


def add(rows, row):
    rows.append(row)
    values = "  ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                       for name, value in row.items() if name not in ("what", "note"))
    print(f"{row['what']:<58} {values}  {row.get('note', '')}".rstrip(), flush=True)


def write(rows, bench, folder):
    """The table as CSV and JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pandas.DataFrame(rows)
    table.insert(0, "device", bench.device_name)
    table.to_csv(folder / "gpu_check.csv", index=False)
    table.to_json(folder / "gpu_check.json", orient="records", indent=1)
    print(f"the table is in {folder / 'gpu_check.csv'} and {folder / 'gpu_check.json'}")


# --- parts ------------------------------------------------------------------------------------------------------------


def tests(bench, quick):
    """The tests of a GPU, in a process of their own."""
    if quick:
        return
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", *TESTS], cwd=ROOT, capture_output=True, text=True)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    for line in failed:
        yield {"what": line.split(" - ")[0], "note": f"WRONG: {line.partition(' - ')[2][:150]}"}
    yield {"what": f"tests: {' '.join(TESTS)}", "seconds": time.perf_counter() - begin,
           "note": f"WRONG: pytest ended with {done.returncode}" if done.returncode else "passed"}


def matrices(bench, quick):
    """The rate of matrix products: what the rest is measured by."""
    for row in bench_tool.machine(bench):
        yield {"what": f"matrix product, {row['precision']}", "GFLOP/s": row["rate"]}


def steps(bench, quick):
    """Steps of the default model, 16 + 24 videos, with pseudo labels."""
    count = 2 if quick else 50
    for name, expected_ms, settings in STEPS[: 1 if quick else None]:
        config = bench_tool.settings_of(bench, False, f"training.steps_per_epoch={count}", *settings)
        size = config.training.batch_size
        trainer = bench_tool.random_trainer(bench, config, 4 * size, 4 * round(size * config.training.unlabeled_ratio))
        gflop = bench_tool.gflop_of(lambda trainer=trainer: plain_epoch(trainer)) / count
        trainer.train_epoch(1)  # records
        if bench.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        rate, seconds = [], []
        for _ in range(bench.repeats):
            product, spent, _ = bench.product(trainer.amp)
            rate.append(product / spent)
            seconds.append(bench.clock(lambda trainer=trainer: trainer.train_epoch(1))[0] / count)
        best = sorted(seconds)[len(seconds) // 2]
        row = {"what": f"step, {name}", "ms": 1e3 * best, "expected ms": expected_ms, "GFLOP": gflop,
               "share of the matrix rate": gflop / best / sorted(rate)[len(rate) // 2],
               "videos/s": (size + trainer.unlabeled_size) / best, "peak MB": bench_tool.peak_memory_mb(bench)}
        if bench.on_gpu:
            row |= busy(trainer, count, best)
        fell_back = bench.on_gpu and config.training.graph == "auto" and trainer.recorder is None
        yield {**row, **({"note": "WRONG: the step could not be recorded"} if fell_back else {})}


def plain_epoch(trainer):
    """An epoch that no graph hides from a counter."""
    recorder, trainer.recorder = trainer.recorder, None
    trainer.train_epoch(1)
    trainer.recorder = recorder


def busy(trainer, count, seconds):
    """Kernels of a step, and the share of its time for which the GPU is busy with them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        trainer.train_epoch(1)
        torch.cuda.synchronize()
    events = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    time_busy = sum(event.self_device_time_total for event in events) / 1e6 / count
    return {"kernels": len(events) / count, "GPU busy": time_busy / seconds}


def inference(bench, quick):
    """The model alone, and from features to detections.json; the goal on a GPU is 5,000 videos/s."""
    if quick:
        config = bench_tool.settings_of(bench, False)
        source = bench_tool.RandomSource(config.model.feat_dim, config.model.temporal_scale)
        model = bench_tool.random_model(bench, config, 3)
        seconds, _ = bench.clock(lambda: bench_tool.to_file(model, config, source, 4))
        yield {"what": "features to detections.json", "videos/s": 4 / seconds}
        return
    for row in bench_tool.inference(bench):
        yield {"what": f"{row['what']}, {row['precision']}", "videos/s": row["videos/s"],
               **({"share of the matrix rate": row["share"]} if "share" in row else {})}


def full_size(bench, quick):
    """A whole training of the size of ActivityNet: 25 passes over 10,024 videos, C = 2048; the goal is 120 s."""
    begin = time.perf_counter()
    for row in bench_tool.full(bench, *((6, 4, 1) if quick else (10_024, 4_926, 25))):
        yield {key: value for key, value in row.items() if key in ("what", "seconds", "videos/s", "peak MB", "note")}
    yield {"what": "full size, all of it", "seconds": time.perf_counter() - begin, "expected s": 90.0}


PARTS = {"matrix products": matrices, "steps": steps, "inference": inference, "full size": full_size, "tests": tests}

if __name__ == "__main__":
    command_line.run(main)
