"""One training per random seed: which seeds, and the mean and deviation of what they get. No torch."""

import re

import numpy as np

from spot.errors import SpotError

MOST_SEEDS = 1000


def seeds_in(text):
    """The seeds of `0,1,2` or `0-4`, in this order. SpotError for other text, a seed given twice, and too many."""
    seeds = []
    for part in str(text).split(","):
        found = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if last < first or last - first >= MOST_SEEDS:
            raise SpotError(f"--seeds {text}: {part.strip()!r} is no seed; write whole numbers such as 0,1,2 or 0-4")
        seeds += range(first, last + 1)
    if repeated := [seed for seed in seeds if seeds.count(seed) > 1]:
        raise SpotError(f"--seeds {text}: names {repeated[0]} twice; give each seed once")
    return seeds


def summary(metrics):
    """What runs of several seeds have in common, as JSON can hold it. metrics: {seed: content of metrics.json}

    Of average mAP, and of mAP at each tIoU: mean, deviation (of a sample, null for one run), and the values by seed.
    """
    runs = list(metrics.values())
    measures = {"average_mAP": [run["average_mAP"] for run in runs],
                **{f"mAP@{tiou}": [run["mAP"][tiou] for run in runs] for tiou in runs[0]["mAP"]}}
    return {"seeds": list(metrics), **{name: {"mean": float(np.mean(values)), "deviation": _deviation(values),
                                              "values": values} for name, values in measures.items()}}


def _deviation(values):
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def summary_text(found):
    """The lines that are printed of a `summary`: one per measure, in %."""
    lines = [f"{len(found['seeds'])} runs, seeds {', '.join(map(str, found['seeds']))}; mean and deviation, %"]
    for name, measure in found.items():
        if name != "seeds":
            deviation = "" if measure["deviation"] is None else f" ± {100 * measure['deviation']:.1f}"
            values = ", ".join(f"{100 * value:.1f}" for value in measure["values"])
            title = "average mAP" if name == "average_mAP" else name.replace("@", " at tIoU ")
            lines.append(f"  {title:<17}{100 * measure['mean']:5.1f}{deviation}   ({values})")
    return "\n".join(lines)
