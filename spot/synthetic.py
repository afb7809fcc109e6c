"""The demo data set: drawn at random, written in the file formats of real users, learned in seconds. No torch."""

from pathlib import Path

import numpy as np

from spot.files import write_json

FPS = 25.0  # one snippet per second: stride = window = 25 frames
SHORTEST_SEC, LONGEST_SHARE = 3.0, 0.25  # instances: at least 3 s, at most 25 % of their video
MIN_GAP_SEC = 2.0


DEMO_VERSION = "SPOT demo"  # how the version in its annotations begins


def write_demo(
    folder,
    seed=0,
    training=120,  # videos
    validation=60,
    classes=6,
    feat_dim=64,
    duration_sec=(60, 150),  # a video lasts a whole number of seconds in this range; from 60 on, two instances fit
    instances=6,  # at most, per video
    strength=(0.6, 1.0),  # how far an instance stands out; the lower, the harder to find at all
    style=1.0,  # how much a video's instances differ from their class; the higher, the more labels are needed
    likeness=0.6,  # 0..1, what the classes of a group of two share; the higher, the more they are confused
    context=0.6,  # what a whole video has in common, actions or not
    noise=1.3,  # temporally correlated, so that smoothing does not remove it
    distractors=3,  # at most, per video: short, weak, like a class of the group, but no action
):
    """Write a synthetic data set that `config/demo.yaml` reads; the same arguments write the same bytes.

    folder/features/v_<video>.npy  (T', feat_dim) float32, one snippet per second
    folder/annotations.json        ActivityNet format: duration, fps, subsets `training` and `validation`; every video
                                   has two or more instances, of 3 s to 25 % of its length, of one or two classes

    What makes it worth learning from unlabeled videos: each video shows its classes in a style of its own, so a few
    labeled ones teach little about the next. Returns the path of annotations.json, which is written last.
    """
    folder = Path(folder)
    (folder / "features").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    prototypes = _draw_prototypes(random, classes, feat_dim, likeness)
    database = {}
    for i in range(training + validation):
        duration = int(random.integers(duration_sec[0], duration_sec[1] + 1))
        segments_sec, class_ids = _draw_instances(random, duration, classes, instances)
        features = context * random.normal(size=feat_dim) + noise * _correlated_noise(random, duration, feat_dim)
        features += _draw_actions(random, segments_sec, class_ids, prototypes, duration, strength, style)
        features += _draw_distractors(
            random, segments_sec, class_ids, prototypes, duration, strength, style, distractors
        )
        name = f"demo_{i:04d}"
        np.save(folder / "features" / f"v_{name}.npy", features.astype(np.float32))
        database[name] = {
            "duration": float(duration),
            "fps": FPS,
            "subset": "training" if i < training else "validation",
            "annotations": [
                {"segment": segment, "label": f"Action {chr(ord('A') + k)}"}
                for segment, k in zip(segments_sec.tolist(), class_ids.tolist(), strict=True)
            ],
        }
    write_json(
        folder / "annotations.json", {"version": f"{DEMO_VERSION}, seed {seed}", "taxonomy": [], "database": database}
    )
    return folder / "annotations.json"


def _group_mate(k, classes):
    """Classes come in groups of two: 0 and 1, 2 and 3, ... An odd one out is its own mate."""
    return min(k ^ 1, classes - 1)


def _draw_prototypes(random, classes, feat_dim, likeness):
    """(classes, feat_dim) directions of about unit variance per channel; mates share `likeness` of theirs."""
    groups = random.normal(size=((classes + 1) // 2, feat_dim)).repeat(2, axis=0)[:classes]
    own = random.normal(size=(classes, feat_dim))
    return np.sqrt(likeness) * groups + np.sqrt(1 - likeness) * own


def _draw_instances(random, duration, classes, most):
    """(N, 2) segments in seconds, in order, apart from each other; (N,) classes, one or two different ones."""
    longest = LONGEST_SHARE * duration
    lengths = np.exp(random.uniform(np.log(SHORTEST_SEC), np.log(longest), size=random.integers(2, most + 1)))
    # As many as leave the gaps and a third of the video without action.
    lengths = lengths[lengths.cumsum() + MIN_GAP_SEC * (len(lengths) + 1) < 0.67 * duration]
    free = duration - lengths.sum() - MIN_GAP_SEC * (len(lengths) + 1)
    gaps = MIN_GAP_SEC + free * random.dirichlet(np.ones(len(lengths) + 1))
    starts = (gaps[:-1] + np.concatenate([[0], lengths[:-1]])).cumsum()
    segments_sec = np.stack([starts, starts + lengths], axis=1).round(2)
    pair = random.choice(classes, size=2, replace=False)
    return segments_sec, random.choice(pair[: random.integers(1, 3)], size=len(lengths))


def _correlated_noise(random, length, feat_dim):
    """(length, feat_dim) of unit variance; neighbouring snippets are alike."""
    noise = random.normal(size=(length + 4, feat_dim))
    for _ in range(2):
        noise = 0.25 * noise[:-2] + 0.5 * noise[1:-1] + 0.25 * noise[2:]
    return noise / noise.std()


def _draw_actions(random, segments_sec, class_ids, prototypes, duration, strength, style):
    """(duration, feat_dim): every instance shows its class in the style of the video, with soft boundaries."""
    centers_sec = np.arange(duration) + 0.5
    video_style = style * random.normal(size=prototypes.shape[1])
    features = np.zeros((duration, prototypes.shape[1]))
    for (start, end), k in zip(segments_sec, class_ids, strict=True):
        softness_sec = random.uniform(0.1, 0.5)
        inside = _step((centers_sec - start) / softness_sec) * _step((end - centers_sec) / softness_sec)
        features += random.uniform(*strength) * inside[:, None] * (prototypes[k] + video_style)
    return features


def _step(x):
    """The logistic function: 0 far below 0, 1 far above."""
    return 0.5 * (1 + np.tanh(x / 2))


def _draw_distractors(random, segments_sec, class_ids, prototypes, duration, strength, style, most):
    """(duration, feat_dim): outside the actions, weak look-alikes of the video's classes or their mates."""
    centers_sec = np.arange(duration) + 0.5
    outside = ((centers_sec[:, None] < segments_sec[:, 0]) | (centers_sec[:, None] > segments_sec[:, 1])).all(axis=1)
    features = np.zeros((duration, prototypes.shape[1]))
    for _ in range(random.integers(0, most + 1)):
        start, length = random.uniform(0, 0.95 * duration), random.uniform(3, 10)
        there = outside & (centers_sec > start) & (centers_sec < start + length)
        k = int(random.choice(class_ids))
        look = prototypes[random.choice([k, _group_mate(k, len(prototypes))])]
        own_style = style * random.normal(size=prototypes.shape[1])
        features += 0.7 * strength[0] * there[:, None] * (look + own_style)
    return features
