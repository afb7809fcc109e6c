"""The results of an evaluation for a paper: tables as CSV and as LaTeX rows, figures as PDF and SVG. No torch.

A CSV holds every measure in 0..1, to the last digit; a LaTeX row the same in %, with one decimal, as `name & ... \\\\`.
"""

import csv
import io
from pathlib import Path

import numpy as np
from tqdm import tqdm

from spot.diagnosis import ERROR_TYPES
from spot.files import atomic_path, write_text
from spot.findings import ACTION_HEAD, TOP_TIMES, tiou_keys
from spot.look import drawn

LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
         "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
         "≤": r"$\leq$"}
FIGURE_KINDS = ("pdf", "svg")


def export(folder, findings, pictures):
    """Write every table and figure into `folder`; everything is made before anything is written. Returns the folder.

    findings: `findings.Findings`; pictures: `report_pictures.pictures_of` them
    """
    texts = {}
    for name, (head, rows) in tables_of(findings).items():
        texts[f"{name}.csv"], texts[f"{name}.tex"] = as_csv(head, rows), as_latex(head, rows)
    figures = {f"{picture.name}.{kind}": drawn(picture.figure, kind) for picture in
               tqdm(pictures, "figures", disable=None, leave=False) for kind in FIGURE_KINDS}
    folder = Path(folder)
    for name, text in texts.items():
        write_text(folder / name, text)
    for name, content in figures.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(content)
    return folder


def tables_of(findings):
    """{name: (head, rows)} of every result. A row begins with its name; shares are floats, counts ints, None: none."""
    result = findings.result
    tiou = tiou_keys(result)
    point = findings.operating_point
    return {
        "mAP": (["measure", *tiou, "average"], mAP_rows(findings)),
        "AP_by_class": (["class", "segments", *tiou, "average", "low", "high"], [
            [name, int(positives), *row.tolist(), float(row.mean()), *bounds] for name, positives, row, bounds in
            zip(result.classes, result.scene.positives, result.ap, findings.of_class.tolist(), strict=True)]),
        "recall_at_top": (["measure", *tiou, "average"], [
            [f"recall at top-{times}x", *values.tolist(), float(values.mean())]
            for times, values in zip(TOP_TIMES, findings.top_recall, strict=True)]),
        "average_recall": (["proposals per video", "recall"], [
            *([f"{number:g}", float(value)] for number, value in
              zip(findings.recall.number, findings.recall.average, strict=True)), ["area", findings.recall.area]]),
        "error_profile": profile_table(findings.split_counts, findings.diagnosis.profile),
        "error_profile_mean": profile_table(findings.split_counts, findings.diagnosis.profile_mean),
        "removal_gains": (["error type", "gain in average mAP_N"],
                          [list(pair) for pair in findings.diagnosis.removal_gains.items()]),
        "sensitivity": (["bucket", "segments", "average mAP_N", "missed", "missed low", "missed high"],
                        sensitivity_rows(findings)),
        **({} if point is None else {"actions": action_table(point)}),
    }


def mAP_rows(findings):
    """mAP at each tIoU and its average, their intervals, and the whole-video baseline where there is one."""
    result = findings.result
    rows = [["mAP", *result.mAP.tolist(), result.average_mAP],
            *([f"mAP, {end} end of the 95 % interval", *findings.at_tiou[:, column].tolist(), findings.interval[column]]
              for column, end in enumerate(("low", "high")))]
    if result.whole_video_mAP is not None:
        rows.append(["whole-video baseline", *result.whole_video_mAP.tolist(), result.whole_video_average_mAP])
    return rows


def profile_table(counts, profile):
    """Error types, (10, 6) shares, of the best G detections, the next G, ..., and how many these are."""
    return ["best detections", "detections", *ERROR_TYPES], [
        [f"{split + 1}G", int(count), *shares] for split, (count, shares) in
        enumerate(zip(counts, profile.tolist(), strict=True))]


def sensitivity_rows(findings):
    """A row per bucket of segments."""
    return [[f"{name} {bucket}", int(count), *(None if np.isnan(value) else float(value) for value in
                                               (found.mAP_N[place], found.missed[place], *bounds))]
            for name, found in findings.diagnosis.characteristics.items()
            for place, (bucket, count, bounds) in
            enumerate(zip(found.buckets, found.counts, findings.missed_bounds[name], strict=True))]


def action_table(point):
    """The list of actions: of all classes together, then of each; the threshold is a score, so it stays text."""
    return ["class", *ACTION_HEAD], [
        [name, "" if quality.threshold is None else f"{quality.threshold:.6g}", quality.num_segments,
         quality.num_actions, quality.precision, quality.recall, quality.f1, *quality.segmental_f1]
        for name, quality in {"all classes": point.overall, **point.per_class}.items()]


def as_csv(head, rows):
    """A table as CSV; None is empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([head, *rows])
    return text.getvalue()


def as_latex(head, rows):
    """A table as rows of LaTeX's tabular, the head as a comment above them."""
    lines = ["% " + " & ".join(head)]
    lines += [" & ".join(latex_cell(cell) for cell in row) + r" \\" for row in rows]
    return "\n".join(lines) + "\n"


def latex_cell(cell):
    """A share in %, a count, or text with what LaTeX takes for a command escaped."""
    if cell is None:
        return "--"
    if isinstance(cell, float):
        return f"{100 * cell:.1f}"
    return str(cell) if isinstance(cell, int) else "".join(LATEX.get(letter, letter) for letter in cell)
