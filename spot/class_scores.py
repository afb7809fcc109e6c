"""External video-level classifiers: a choice at inference (`testing.class_scores`), never a default. No torch.

The published ActivityNet and THUMOS14 tables of many detectors take their classes from such a file. Whoever uses one
says so: `ClassScores.path` belongs into the `external_data` of the detections.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from spot.annotations import THUMOS14_CLASSES
from spot.feature_files import refusing_broken
from spot.files import SpotError, read_json
from spot.names import NameIndex
from spot.text import clean, label_of

THUMOS14_TEST_VIDEOS, THUMOS14_OFFICIAL_CLASSES = 1574, 101
FUSIONS = {
    "product": lambda detection, video: detection * video,
    # the geometric mean keeps the ranking of `product` within a class and stays on the scale of its factors
    "sqrt": lambda detection, video: (detection * video) ** 0.5,
}


class ClassScores:
    """Scores of a video-level classifier, one (K,) row per video.

    path:  the file they come from
    names: the video ids as in the file
    """

    def __init__(self, path, names, rows):
        self.path = str(path)
        self.names = list(names)
        self._row_of = {name: row for row, name in enumerate(self.names)}
        self._index, self._rows = NameIndex(self.names), rows

    def scores(self, video_name):
        """(K,) float64 scores >= 0 in the order of the class list, None for a video the classifier does not know."""
        name = self._index.find(video_name)
        return None if name is None else self._rows[self._row_of[name]]

    def best(self, video_name, k):
        """(K,) scores of its best `k` classes, 0 for the others and for a video that the classifier does not know."""
        scores = self.scores(video_name)
        if scores is None:
            return np.zeros(self._rows.shape[1])
        return np.where(np.isin(np.arange(len(scores)), top_classes(scores, k)), scores, 0)


def read_class_scores(path, class_names):
    """Read a classifier's scores for the K classes of the model; the format is seen from the file.

    SPOT:         `spot_best_score.json`, {video: {"class": name, "score": number}}; other classes score 0. A class
                  that the model does not have leaves the video all 0: the classifier says it is something else.
    CUHK:         .json, {"results": {video: [score per class]}, "class": [name per class]}
    UntrimmedNet: `uNet_test.npy` (1574, 101), row = number of the THUMOS14 test video - 1, column = official class
                  index - 1. Its rows are the sum of two streams' probabilities and are divided by that sum.
    npz:          `videos` (N,) text, `classes` (M,) text, `scores` (N, M) floats. No pickles:
                  `numpy.savez(path, videos=np.array(ids), classes=np.array(names), scores=scores)`
    Ids are with or without `v_`. Raises SpotError with the file and what is wrong.
    """
    path = Path(path)
    reader = {".json": _read_json_scores, ".npy": _read_untrimmednet, ".npz": _read_npz}.get(path.suffix.lower())
    if reader is None:
        raise SpotError(f"{path}: class scores are a .json (SPOT, CUHK), .npy (UntrimmedNet) or .npz file")
    with refusing_broken(path):
        videos, classes, table = reader(path, class_names)
        videos, classes = [clean(str(video)) for video in videos], [label_of(name) for name in classes]
        if table.shape != (len(videos), len(classes)) or not videos:
            raise SpotError(f"holds a table of {table.shape} scores for {len(videos)} videos and {len(classes)} "
                            "classes; give one score per video and class")
        for names in (videos, classes):
            twice = next((name for name, count in Counter(names).items() if count > 1), None)
            if twice is not None:
                raise SpotError(f"{twice!r} stands in it twice; keep one of them")
        wrong = ~np.isfinite(table) | (table < 0)
        if wrong.any():
            video = videos[int(np.argwhere(wrong)[0, 0])]
            raise SpotError(f"a score of video {video!r} is NaN, infinite or negative; scores must be 0 or more")
        column = {name: i for i, name in enumerate(classes)}
        missing = [name for name in class_names if name not in column]
        if missing:
            raise SpotError(f"has no scores for {len(missing)} of {len(class_names)} classes, first {missing[0]!r}; is "
                            "it the classifier of this data set, with the same spelling?")
    return ClassScores(path, videos, table[:, [column[name] for name in class_names]])


def fuse(foreground, video_scores, how="product"):
    """Scores of detections whose class an external classifier gives: the model localizes, the classifier classifies.

    foreground, video_scores: arrays or tensors of shapes that broadcast; how: `product` or `sqrt` (of the product)
    Returns their fusion, of the broadcast shape. SpotError for another `how`.
    """
    if how not in FUSIONS:
        raise SpotError(f"testing.class_scores_fusion is {how!r}; it must be one of {', '.join(FUSIONS)}")
    return FUSIONS[how](foreground, video_scores)


def top_classes(video_scores, k):
    """The indices of the k highest of the scores (K,), best first, ties by index; classes at 0 are left out."""
    order = np.argsort(-video_scores, kind="stable")[:k]
    return order[video_scores[order] > 0]


def _read_json_scores(path, class_names):
    repeated = []
    content = read_json(path, repeated)
    if repeated:
        raise SpotError(f"{repeated[0]!r} stands in it twice; keep one of them")
    if not isinstance(content, dict):
        raise SpotError(f"holds a {type(content).__name__}; expected SPOT's or CUHK's dict")
    if "results" in content and "class" in content:
        return list(content["results"]), content["class"], np.array(list(content["results"].values()), np.float64)
    return _table_of_best(content, class_names)


def _table_of_best(content, class_names):
    """SPOT's one class and score per video -> (videos, classes, table)."""
    column = {name: i for i, name in enumerate(class_names)}
    table = np.zeros((len(content), len(class_names)))
    known = 0
    for row, (video, best) in enumerate(content.items()):
        if not isinstance(best, dict) or not {"class", "score"} <= set(best):
            raise SpotError(f'video {video!r} is {str(best)[:80]}; expected {{"class": name, "score": number}}')
        if (label := label_of(best["class"])) is None:
            raise SpotError(f"video {video!r}: the class {str(best['class'])[:80]!r} is no name")
        if label in column:
            known += 1
            table[row, column[label]] = best["score"]
    if not known:
        raise SpotError("names none of the model's classes; is it the classifier of this data set?")
    return list(content), list(class_names), table


def _read_untrimmednet(path, _):
    table = np.load(path, mmap_mode="r", allow_pickle=False)
    if table.shape != (THUMOS14_TEST_VIDEOS, THUMOS14_OFFICIAL_CLASSES):
        raise SpotError(f"has shape {table.shape}; UntrimmedNet's scores of THUMOS14 are (1574, 101)")
    table = table.astype(np.float64)
    videos = [f"video_test_{row + 1:07d}" for row in range(THUMOS14_TEST_VIDEOS)]
    columns = [index - 1 for index in THUMOS14_CLASSES.values()]
    with np.errstate(invalid="ignore"):  # a row of zeros becomes NaN, and is refused as such
        return videos, list(THUMOS14_CLASSES), table[:, columns] / table.sum(axis=1, keepdims=True)


def _read_npz(path, _):
    with np.load(path, allow_pickle=False) as archive:
        missing = [key for key in ("videos", "classes", "scores") if key not in archive]
        if missing:
            raise SpotError(f"lacks {', '.join(missing)}; expected videos (N,), classes (M,) and scores (N, M)")
        return archive["videos"].tolist(), archive["classes"].tolist(), archive["scores"].astype(np.float64)
