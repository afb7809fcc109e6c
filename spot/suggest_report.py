"""The ranking of `spot.suggest` for people: a table on the screen, a CSV, a picture."""

import csv
import io
import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spot import fonts, look
from spot.files import atomic_path, write_text

COLORS = {"classes": look.BLUE, "views": look.ORANGE, "coverage": look.GREEN, "richness": look.PURPLE}
TITLES = {"classes": "classes that few labels show", "views": "two views disagree",
          "coverage": "unlike all labeled recordings", "richness": "long and rich"}
MOST_DRAWN = 40  # of a longer list the first; the CSV has all
REASON_WIDTH = 110  # letters of a line of reasons in the picture


def table_text(suggestions):
    """The suggestions as lines: rank, recording, score, and why."""
    width = max((len(one.view.name) for one in suggestions), default=0)
    lines = []
    for rank, one in enumerate(suggestions, 1):
        lines.append(f"{rank:3}. {one.view.name:<{width}}  {one.score:.2f}  {'; '.join(one.reasons)}")
    return "\n".join(lines)


def write_table(path, suggestions):
    """A CSV with a row for every suggestion: what was measured, what speaks for it as a share of the best recording
    that was left, by kind, and why in words."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["rank", "video", "score", "kind", "duration_sec", "actions", "disagreement", "uncertainty_bits",
                    *TITLES, "reasons"])
    for rank, one in enumerate(suggestions, 1):
        view = one.view
        table.writerow([rank, view.name, f"{one.score:.4f}", one.kind, f"{view.duration_sec:.3f}", f"{one.actions:.2f}",
                        f"{view.disagreement:.4f}", f"{view.uncertainty:.4f}",
                        *(f"{one.parts[kind]:.4f}" for kind in TITLES), "; ".join(one.reasons)])
    write_text(path, text.getvalue())


def save_picture(path, suggestions, num_candidates):
    """The picture of `ranking_figure` as a PNG."""
    figure = ranking_figure(suggestions, num_candidates)
    with atomic_path(path) as temporary, fonts.showing(figure):
        figure.savefig(temporary, dpi=120, format="png")


def ranking_figure(suggestions, num_candidates):
    """A bar for every suggestion, made of what speaks for it, and beneath it the reasons in words.

    num_candidates: recordings that there were to choose from
    """
    shown = suggestions[:MOST_DRAWN]
    figure = Figure(figsize=(1.35 * look.WIDTH, 1.5 + 0.62 * len(shown)), dpi=100, layout="constrained")
    axis = look.tidy(figure.subplots())
    begin = np.zeros(len(shown))
    place = np.arange(len(shown)) - 0.16
    for kind, color in COLORS.items():
        part = np.array([one.parts[kind] * one.weights[kind] for one in shown])
        axis.barh(place, part, 0.4, begin, color=color)
        begin += part
    for row, one in enumerate(shown):
        axis.text(begin[row] + 0.005, row - 0.16, f"{one.score:.2f}", va="center", fontsize=9)
        words = textwrap.wrap("; ".join(one.reasons), REASON_WIDTH, max_lines=2, placeholder=" …")
        axis.text(0.004, row + 0.08, "\n".join(words), va="top", fontsize=8)
    axis.set_yticks(place, [f"{rank}. {one.view.name}" for rank, one in enumerate(shown, 1)])
    axis.set(xlim=(0, 1.05), ylim=(len(shown) - 0.35, -0.55),
             xlabel="what speaks for it, each as a share of the best recording that was left (mean)")
    axis.set_title(f"What to annotate next: {len(suggestions):,} of {num_candidates:,} unlabeled recordings"
                   + (f", the first {len(shown)}" if len(shown) < len(suggestions) else ""), loc="left")
    handles = [Patch(color=color, label=TITLES[kind]) for kind, color in COLORS.items()]
    figure.legend(handles=handles, loc="outside lower center", frameon=False, fontsize=9, ncols=len(handles))
    return figure
