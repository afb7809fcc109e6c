"""Tiny videos, data sets, models and trainers for the tests: T = 8 snippets, C = 6 channels, K = 3 classes, CPU."""

import numpy as np
import torch

from spot.annotations import Video
from spot.config import load_config
from spot.datasets import GridSettings, SnippetDataset
from spot.detectors import build_model
from spot.feature_files import read_feature
from spot.files import SpotError
from spot_train import make_trainer

T, C, K = 8, 6, 3
CLASSES = ["jump", "run", "throw"]


class Source:
    """Features in a dict, with what a data set asks of a `FeatureSource`."""

    listed_missing = frozenset()

    def __init__(self, features):
        self.features = features

    def __contains__(self, name):
        return name in self.features

    def read(self, name):
        return self.features[name].copy()

    def nearest(self, name):
        return next((known for known in self.features if name in known), None)


def reads_or_refuses(path, channels=C):
    """A damaged feature file is read to finite features of the right shape, or refused in one line that names it."""
    try:
        features = read_feature(path, channels)
    except SpotError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert features.shape[0] == channels and np.isfinite(features).all()


def video(name, *segments, duration=8.0, fps=1.0, subset="training", feature_duration=None):
    """An annotated video of (start_sec, end_sec, label) triples."""
    times = np.array([segment[:2] for segment in segments], float).reshape(-1, 2)
    labels = tuple(segment[2] for segment in segments)
    return Video(name, duration, fps, subset, times, labels, feature_duration or duration, np.zeros((0, 2)))


def features_of(videos, seed=0, channels=C, length=None):
    """Random features, one snippet per second, in which class k lifts channel k by 3."""
    random = np.random.default_rng(seed)
    found = {}
    for one in videos:
        x = random.normal(size=(channels, length or int(one.duration_sec))).astype(np.float32)
        centers_sec = (np.arange(x.shape[1]) + 0.5) * one.duration_sec / x.shape[1]
        for (start, end), label in zip(one.segments_sec, one.labels, strict=True):
            x[CLASSES.index(label), (start <= centers_sec) & (centers_sec < end)] += 3
        found[one.name] = x
    return found


def dataset(videos, features=None, grid="window", cache="memory", **settings):
    """A data set of one snippet per second, window grid unless told otherwise."""
    grid = GridSettings(grid, T, **{"stride": 1, "window": 1, **settings})
    return SnippetDataset(videos, Source(features or features_of(videos)), grid, CLASSES, C, cache)


def model(seed=0, **changes):
    """A fresh model of the default architecture."""
    torch.manual_seed(seed)
    sizes = {"encoder": "conv_transformer", "mask_head": "pairwise", "class_activation": "sigmoid", "feat_dim": C,
             "temporal_scale": T, "embedding_head": 2, "embed_dim": 8, "num_classes": K, "chunks": 2}
    return build_model(**{**sizes, **changes})


LABELED = [video("a", (1, 4, "run")), video("b", (3, 7, "jump")), video("c", (0, 2, "throw"), (5, 8, "throw"))]
UNLABELED = [video("d", (2, 6, "run")), video("e", (4, 8, "jump")), video("f", (1, 5, "throw")), video("g")]


def trainer(*overrides, net=None, labeled=LABELED, unlabeled=UNLABELED):
    """A trainer as the script makes it; `semi.method=ema` from the first step on, unless the overrides tell otherwise.

    labeled, unlabeled: lists of videos, or data sets; unlabeled may be None
    """
    given = ("dataset.feature_path=nowhere", "training.batch_size=2", "training.unlabeled_ratio=1",
             "training.steps_per_epoch=2", "training.amp=none", "semi.burn_in=0", "semi.ramp=0",
             "semi.class_threshold=0", "pretext.chunks=2", "training.pretrain_epoch=1")
    config = load_config(None, [*given, *overrides])
    data = [dataset(videos) if isinstance(videos, list) else videos for videos in (labeled, unlabeled)]
    return make_trainer(config, net or model(), *data)


def weights_of(module):
    """A copy of all weights and buffers."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other):
    """Are two `weights_of` equal, bit for bit?"""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
