"""Two detectors on the same videos: what is the difference, and is it more than chance? Numpy only."""

from dataclasses import dataclass

import numpy as np

from spot.diagnosis import bootstrap_mAP, interval
from spot.errors import SpotError
from spot.evaluation import Evaluation, threshold_key


@dataclass(frozen=True)
class Comparison:
    """B - A on the same resamples of the videos; R tIoU thresholds, everything in -1..1.

    results: the `Evaluation` of A and that of B
    average, average_interval: the difference of average mAP and its 95 % bounds (low, high)
    at_tiou (R,), at_tiou_interval (R, 2): the same of mAP at each threshold
    """

    results: tuple[Evaluation, Evaluation]
    average: float
    average_interval: tuple[float, float]
    at_tiou: np.ndarray
    at_tiou_interval: np.ndarray
    resamples: int

    @property
    def verdict(self):
        """Which one is better, in words: by the interval of average mAP."""
        low, high = self.average_interval
        return "B is better" if low > 0 else "A is better" if high < 0 else "no difference beyond chance"

    def as_metrics(self):
        """The difference as it stands in metrics.json."""
        keys = [threshold_key(threshold) for threshold in self.results[0].tiou_thresholds]
        return {"average_mAP": self.average, "average_mAP_interval": list(self.average_interval),
                "mAP": dict(zip(keys, self.at_tiou.tolist(), strict=True)),
                "mAP_interval": dict(zip(keys, self.at_tiou_interval.tolist(), strict=True)),
                "resamples": self.resamples, "verdict": self.verdict}


def compare(result_a, result_b, resamples=1000):
    """The `Comparison` of two results on the same ground truth, tIoU thresholds and protocol.

    Both are measured on the same bootstrap resamples, so that what makes a video hard for both falls away.
    """
    samples = bootstrap_mAP(result_b, resamples) - bootstrap_mAP(result_a, resamples)
    at_tiou = result_b.mAP - result_a.mAP
    average = result_b.average_mAP - result_a.average_mAP
    return Comparison(
        (result_a, result_b), average, interval(samples.mean(axis=1), average), at_tiou,
        np.array([interval(*pair) for pair in zip(samples.T, at_tiou, strict=True)]), resamples)


def refuse_other_videos(result, path, subset):
    """SpotError where no detection is in a video or of a class of the ground truth: there is nothing to compare.

    result: the `Evaluation` of the detections file `path`
    """
    if not result.num_predictions or (result.scene.video < result.num_videos).any():
        return
    what = "labels" if result.num_unknown_video_predictions < result.num_predictions else "videos"
    raise SpotError(f"{path}: none of its {result.num_predictions:,} detections is of the {what} of subset {subset} of "
                    "the ground truth; is it of another data set?")


def comparison_figure(comparison, names):
    """The mAP of both over tIoU, and the difference with its intervals below; names: of A and B, for the legend."""
    from matplotlib.figure import Figure

    tiou = comparison.results[0].tiou_thresholds
    figure = Figure(figsize=(7.5, 6), dpi=100, layout="constrained")
    curves, gap = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    for letter, name, result, color, style in zip("AB", names, comparison.results, ("#0072B2", "#D55E00"),
                                                  ("o-", "s--"), strict=True):
        name = str(name) if len(str(name)) <= 60 else "..." + str(name)[-57:]
        curves.plot(tiou, 100 * result.mAP, style, color=color,
                    label=f"{letter} = {name}, average {100 * result.average_mAP:.2f}")
    curves.set(ylabel="mAP %", title="mAP by tIoU", ylim=(0, None))
    curves.legend(frameon=False, fontsize=9)
    low, high = 100 * comparison.at_tiou_interval.T
    middle = 100 * comparison.at_tiou
    gap.errorbar(tiou, middle, (np.maximum(middle - low, 0), np.maximum(high - middle, 0)), fmt="ko", capsize=4)
    gap.axhline(0, color="#999999", linewidth=1)
    gap.set(xlabel="tIoU", ylabel="B - A, points", title=f"Difference, 95 % interval; on average {comparison.verdict}")
    gap.set_xticks(tiou, [threshold_key(value) for value in tiou])
    for axis in (curves, gap):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#dddddd", linewidth=0.6)
    return figure
