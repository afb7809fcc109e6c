"""What the benchmark measures on: random videos and model outputs, and the trainer of `spot_train.py` on them."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from bench_measure import quiet

from spot.annotations import Video
from spot.config import load_config
from spot.config_values import decoding_values, grid_values, plain
from spot.datasets import GridSettings, SnippetDataset, feature_statistics
from spot.detectors import build_model
from spot.files import streamed_results
from spot.inference import detect_all
from spot.nms import soft_nms
from spot.proposals import class_evidence, mask_runs
from spot.recordings import Recording, Times
from spot_inference import detector_of
from spot_train import make_trainer

ROOT = Path(__file__).resolve().parent.parent
CLASSES = 200
PUBLISHED = "config/anet_published.yaml"
# Every step has its unlabeled videos from the first one on.
NO_BURN_IN = ["semi.burn_in=0", "semi.ramp=0", "dataset.feature_path=random"]


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
