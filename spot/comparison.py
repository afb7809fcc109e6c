"""Two detectors on the same videos: what is the difference, and is it more than chance? Numpy only."""

from dataclasses import dataclass

import numpy as np

from spot.evaluation import Evaluation, threshold_key
from spot.intervals import bootstrap_mAP, interval


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

    def as_text(self):
        """mAP of both, B - A and its interval at each tIoU as a table in %, and the verdict."""
        (low, high), (result_a, result_b) = self.average_interval, self.results
        rows = [("mAP A %", result_a.mAP, result_a.average_mAP, ""),
                ("mAP B %", result_b.mAP, result_b.average_mAP, ""), ("B - A", self.at_tiou, self.average, "+"),
                ("from", self.at_tiou_interval[:, 0], low, "+"), ("to", self.at_tiou_interval[:, 1], high, "+")]
        lines = [f"{'tIoU':<8}" + "".join(f"{threshold_key(threshold):>8}" for threshold in result_a.tiou_thresholds)
                 + f"{'average':>10}"]
        lines += [f"{name:<8}" + "".join(f"{100 * value:{sign}8.2f}" for value in values)
                  + f"{100 * average:{sign}10.2f}" for name, values, average, sign in rows]
        lines += [f"average mAP, B - A: {100 * self.average:+.2f} points, 95 % interval {100 * low:+.2f} to "
                  f"{100 * high:+.2f} ({self.resamples:,} paired resamples of the videos): {self.verdict}"]
        return "\n".join(lines)

    def per_class_text(self):
        """The average AP of every class under A and B as a table in %, by the difference."""
        classes, positives = self.results[0].classes, self.results[0].scene.positives
        ap_a, ap_b = (100 * result.ap.mean(axis=1) for result in self.results)
        width = max(map(len, [*classes, "average AP %"]))
        lines = [f"{'average AP %':<{width}}  segments         A         B     B - A"]
        lines += [f"{classes[index]:<{width}}{positives[index]:10,}{ap_a[index]:10.2f}{ap_b[index]:10.2f}"
                  f"{ap_b[index] - ap_a[index]:+10.2f}" for index in np.argsort(ap_a - ap_b, kind="stable")]
        return "\n".join(lines)

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
