"""Speed of the evaluation at the size of ActivityNet validation: `make bench-eval`.

472,822 detections on 4,728 videos, 200 classes, ten tIoU. Detections and, unless `--ground-truth` names real ones,
annotations are drawn at random with the shape of ActivityNet. A fresh process reads and evaluates them and prints
seconds, peak memory, and how many times as long as json.load of the detections file it takes; goals: 0.8 s after
reading, 0.43 GB.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from spot.annotations import read_annotations
from spot.command_line import Parser, parse, run
from spot.evaluation import choose_videos, evaluate_detections, read_predictions
from spot.files import SpotError

NUM_DETECTIONS, NUM_VIDEOS, NUM_SEGMENTS, NUM_CLASSES = 472_822, 4_728, 7_654, 200


def make_ground_truth(generator):
    """A random annotation dict in ActivityNet's format: one class and 1.6 segments per video, 35 % of it each."""
    database = {}
    extra = generator.multinomial(NUM_SEGMENTS - NUM_VIDEOS, np.full(NUM_VIDEOS, 1 / NUM_VIDEOS))
    for index, count in enumerate(1 + extra):
        duration = float(generator.uniform(10, 230))
        label = f"class {index % NUM_CLASSES:03d}"
        starts = np.sort(generator.uniform(0, 0.8, count))
        ends = np.minimum(starts + generator.uniform(0.02, 0.8, count), 1)
        segments = np.stack([starts, ends], axis=1) * duration
        database[f"video{index:06d}"] = {"subset": "validation", "duration": duration, "annotations": [
            {"label": label, "segment": segment.tolist()} for segment in segments]}
    return {"database": database}


def make_detections(videos, generator):
    """About 100 detections per video: half of them near a segment, 70 % of them with its class, the rest anywhere."""
    classes = sorted({label for video in videos for label in video.labels})
    counts = np.full(len(videos), NUM_DETECTIONS // len(videos))
    counts[: NUM_DETECTIONS - counts.sum()] += 1
    results = {}
    for video, count in zip(videos, counts, strict=True):
        duration = video.duration_sec or 100.0
        segments = sorted_segments(generator.uniform(0, duration, (count, 2)))
        scores = generator.beta(1, 6, count)
        labels = generator.choice(classes, 3)[generator.integers(0, 3, count)]
        if video.labels:
            source = generator.integers(0, len(video.labels), count)
            truth = np.sort(video.segments_sec[source], axis=1)
            jitter = (truth[:, 1:] - truth[:, :1] + 0.01) * generator.normal(0, 0.2, (count, 2))
            near = sorted_segments(truth + jitter)
            is_near = generator.random(count) < 0.5
            segments = np.where(is_near[:, None], near, segments)
            labels = np.where(generator.random(count) < 0.7, np.array(video.labels)[source], labels)
            scores = np.where(is_near, generator.beta(2, 4, count), scores)
        results[video.name] = [
            {"label": str(label), "score": float(score), "segment": segment.tolist()}
            for label, score, segment in zip(labels, scores, segments, strict=True)]
    return {"version": "bench", "results": results, "external_data": {}}


def sorted_segments(times_sec):
    """(N, 2) times in any order -> segments of at least 10 ms."""
    starts, ends = times_sec.min(axis=1), times_sec.max(axis=1)
    return np.stack([starts, ends + 0.01], axis=1)


def measure(ground_truth, info, predictions, subset):
    """Read, evaluate, print; run in a process of its own so that the peak memory is that of the evaluation."""
    wall, processor = time.perf_counter(), time.process_time()
    videos = read_annotations(ground_truth, info_path=info)
    detections = read_predictions(predictions)
    read, read_processor = time.perf_counter(), time.process_time()
    result = evaluate_detections(videos, detections, subset)
    done, done_processor = time.perf_counter(), time.process_time()
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{result.num_predictions:,} detections, {result.num_videos:,} videos, {result.num_segments:,} segments, "
          f"{len(result.classes)} classes, {len(result.tiou_thresholds)} tIoU: average mAP {result.average_mAP:.4f}")
    print(f"evaluation {done - read:.2f} s, with reading {done - wall:.2f} s, peak memory {peak_gb:.2f} GB; "
          f"processor time {done_processor - read_processor:.2f} s and {done_processor - processor:.2f} s")
    if (plain := seconds_of_json_load(predictions)) is not None:
        print(f"json.load of the detections alone: {plain:.2f} s of processor time; reading and evaluating them takes "
              f"{(done_processor - processor) / plain:.2f} times as long, evaluating alone "
              f"{(done_processor - read_processor) / plain:.2f} times")


def seconds_of_json_load(path):
    """Processor seconds that a fresh process takes for json.load of a file; None where it is no plain JSON."""
    code = ("import json, sys, time; start = time.process_time(); json.load(open(sys.argv[1])); "
            "print(time.process_time() - start)")
    done = subprocess.run([sys.executable, "-c", code, path], check=False, capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else None


def main(argv=None):
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--ground-truth", help="real annotations instead of random ones")
    parser.add_argument("--video-info", help="their video_info csv, for the flat format")
    parser.add_argument("--subset", default="validation")
    parser.add_argument("--predictions", help="measure this detections file; by default one is drawn")
    parser.add_argument("--keep", metavar="FILE", help="also write the drawn detections here")
    arguments = parse(parser, argv, takes_overrides=False)
    if arguments.predictions and not arguments.ground_truth:
        raise SpotError("--predictions needs --ground-truth FILE, which they are measured on")
    if arguments.predictions:
        measure(arguments.ground_truth, arguments.video_info, arguments.predictions, arguments.subset)
        return
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        ground_truth = arguments.ground_truth or f"{folder}/ground_truth.json"
        if not arguments.ground_truth:
            Path(ground_truth).write_text(json.dumps(make_ground_truth(generator)))
        videos, _ = choose_videos(read_annotations(ground_truth, info_path=arguments.video_info), arguments.subset)
        predictions = arguments.keep or f"{folder}/detections.json"
        Path(predictions).write_text(json.dumps(make_detections(videos, generator)))
        command = [sys.executable, __file__, "--ground-truth", ground_truth, "--predictions", predictions,
                   "--subset", arguments.subset]
        subprocess.run(command + (["--video-info", arguments.video_info] if arguments.video_info else []), check=True)


if __name__ == "__main__":
    run(main)
