"""The evaluation report: PNGs and one self-contained HTML page. No torch."""

import base64
import html
from pathlib import Path

from tqdm import tqdm

from spot.evaluation import threshold_key
from spot.files import atomic_path, write_text
from spot.findings import ACTION_HEAD, TOP_TIMES, action_cells, tiou_keys
from spot.look import as_png
from spot.report_pictures import SECTIONS

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --quiet: #555; --line: #ddd; --page: #fff; --warn: #fff3d6 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --quiet: #aaa; --line: #444; --page: #16181b; --warn: #4a3a10 }
  figure.chart img { filter: invert(0.91) hue-rotate(180deg) }
}
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 50rem; color: var(--ink);
       background: var(--page); overflow-wrap: break-word }
h1 { font-size: 1.5rem; line-height: 1.25 } h2 { margin-top: 2.5rem; border-bottom: 2px solid var(--line) }
nav a { margin-right: 1em; color: inherit } figure { margin: 1.5rem 0 }
img { display: block; max-width: 100%; height: auto } figcaption, .quiet { color: var(--quiet); font-size: .9rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: 2px 1em 2px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
.numbers td, .numbers thead th { text-align: right } .numbers th:first-child { text-align: left }
.numbers { white-space: nowrap; font-size: .9rem } tbody th { font-weight: normal } thead th { font-weight: 600 }
.big { font-size: 2rem; margin: .5rem 0 0 } .notes { background: var(--warn); padding: .5rem 1rem .5rem 2rem }
.facts { table-layout: fixed; width: 100% } .facts th { width: 34% } summary { cursor: pointer; margin: 1rem 0 }
"""
VIEW_CAPTION = ("What the model sees in one video. Easy snippets: the ten most confident foreground and background "
                "snippets of the class head in each window; hard snippets: the four next to a boundary of the mask, "
                "just inside and just outside of it. Boundary refinement pulls hard ones to the easy ones of their "
                "kind.")


def write_report(folder, findings, pictures, title, facts=(), notes=(), unlabeled_classes=None, timelines=()):
    """PNGs and `report.html` into `folder`; everything is drawn before anything is written.

    findings: `findings.Findings`; pictures: `report_pictures.pictures_of` them
    facts: (name, value) pairs, how it was measured; notes: sentences, what to beware of
    unlabeled_classes: classes without a labeled training video, None: not known
    timelines: paths of pictures of single videos, by `model_view.save_video_picture`, for the page
    Returns the path of the page.
    """
    drawn = [(picture, as_png(picture.figure)) for picture in tqdm(pictures, "pictures", disable=None, leave=False)]
    figures = {section: [figure_html(png, picture.alt, picture.caption) for picture, png in drawn
                         if picture.section == section] for section in SECTIONS}
    for path in map(Path, timelines):
        figures["views"].append(figure_html(path.read_bytes(), f"Detections, class probabilities, mined snippets and "
                                            f"mask rows of video {path.stem}.", VIEW_CAPTION, "view"))
    tables = {"result": result_table(findings), "recall": recall_table(findings),
              "classes": class_table(findings.result), "actions": action_tables(findings),
              "how": facts_table([*facts, *counts_of(findings, unlabeled_classes)])
              + deviations_list(findings.diagnosis)}
    page = report_page(title, headline(findings), notes, figures, tables)
    folder = Path(folder)
    for picture, png in drawn:
        with atomic_path(folder / f"{picture.name}.png") as temporary:
            temporary.write_bytes(png)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def report_page(title, headline, notes, figures, tables):
    """The page as one HTML text.

    headline: HTML; notes: sentences; figures: {section: HTML of its figures}; tables: {section: HTML}
    """
    shown = [name for name in SECTIONS if figures[name] or tables.get(name)]
    links = " ".join(f'<a href="#{name}">{SECTIONS[name]}</a>' for name in shown)
    sections = "".join(
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{SECTIONS[name]}</h2>'
        f"{''.join(figures[name])}{tables.get(name, '')}</section>" for name in shown)
    warnings = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{STYLE}</style></head>
<body><header><h1>{html.escape(title)}</h1>{headline}<nav aria-label="Sections">{links}</nav></header>
<main>{f'<ul class="notes">{warnings}</ul>' if warnings else ''}{sections}</main></body></html>
"""


def figure_html(png, alt, caption, kind="chart"):
    """A picture with its words; PNGs are drawn with two dots per dot of the page."""
    width, height = (int.from_bytes(png[place:place + 4], "big") for place in (16, 20))  # of the header of a PNG
    data = base64.b64encode(png).decode()
    return (f'<figure class="{kind}"><img alt="{html.escape(alt)}" width="{width // 2}" height="{height // 2}" '
            f'src="data:image/png;base64,{data}"><figcaption>{html.escape(caption)}</figcaption></figure>')


def headline(findings):
    """The result in one line, and what it is beside."""
    result, (low, high) = findings.result, findings.interval
    baseline = result.whole_video_average_mAP
    return (f'<p class="big">{100 * result.average_mAP:.2f} % average mAP</p>'
            f'<p class="quiet">95 % interval {100 * low:.2f} to {100 * high:.2f}; whole-video baseline '
            + ("not available (no durations)" if baseline is None else f"{100 * baseline:.2f} %") + "</p>")


def result_table(findings):
    """mAP at each tIoU with its interval, beside the whole-video baseline where there is one."""
    result = findings.result
    names = [*tiou_keys(result), "average"]
    bounds = [*findings.at_tiou, findings.interval]
    rows = [[name, f"{100 * value:.2f}", f"{100 * low:.2f} to {100 * high:.2f}"] for name, value, (low, high) in
            zip(names, [*result.mAP, result.average_mAP], bounds, strict=True)]
    if result.whole_video_mAP is None:
        return numbers_table(["tIoU", "mAP %", "95 % interval"], rows)
    baseline = [*result.whole_video_mAP, result.whole_video_average_mAP]
    return numbers_table(["tIoU", "mAP %", "95 % interval", "whole video %"],
                         [[*row, f"{100 * value:.2f}"] for row, value in zip(rows, baseline, strict=True)])


def recall_table(findings):
    """AR@AN and recall at the top of each class."""
    curve, top = findings.recall, findings.top_recall
    rows = [[f"AR@{number}", f"{100 * curve.average[number - 1]:.2f}"] for number in (1, 10, 100)]
    rows += [["area under AR@AN", f"{100 * curve.area:.2f}"]]
    rows += [[f"recall at top-{times}x", f"{100 * values.mean():.2f}"]
             for times, values in zip(TOP_TIMES, top, strict=True)]
    return numbers_table(["measure", "%"], rows)


def class_table(result):
    """AP of every class at every tIoU, folded away."""
    head = ["class", "segments", "average", *(threshold_key(threshold) for threshold in result.tiou_thresholds)]
    rows = [[name, f"{positives:,}", f"{100 * row.mean():.2f}", *(f"{100 * value:.2f}" for value in row)]
            for name, row, positives in zip(result.classes, result.ap, result.scene.positives, strict=True)]
    return f"<details><summary>AP % of every class</summary>{numbers_table(head, rows)}</details>"


def action_tables(findings):
    """How good the list of actions is, of all classes together and of each; nothing without a threshold."""
    point = findings.operating_point
    if point is None:
        return ""
    head = ["%", *ACTION_HEAD]
    by_class = [[name, *action_cells(quality)] for name, quality in point.per_class.items()]
    words = (f"A list of actions holds the detections from a score on, without overlaps of one class. The thresholds "
             f"were chosen on {point.chosen_on}, for the best F1. An action is right where it takes a segment at tIoU "
             f"{threshold_key(point.tiou)}; F1@k is the segmental F1 of temporal segmentation.")
    overall = numbers_table(head, [["all classes", *action_cells(point.overall)]])
    return (f"<p>{html.escape(words)}</p>{overall}<details><summary>Every class with its own threshold</summary>"
            f"{numbers_table(head, by_class)}</details>")


def counts_of(findings, unlabeled_classes):
    """(name, value) pairs: what was counted and what was left out."""
    result = findings.result
    missing, classifier = result.num_missing_features, result.predictions.class_scores
    rows = [("videos, segments, classes, detections", f"{result.num_videos:,}, {result.num_segments:,}, "
             f"{len(result.classes):,}, {result.num_predictions:,}"),
            ("videos without features", "not recorded" if missing is None else f"{missing:,}"),
            ("classes and scores", f"with an external video classifier: {classifier}" if classifier
             else "the detector's own"),
            ("detections in unknown videos (wrong), of unknown labels (left out), broken (dropped)",
             f"{result.num_unknown_video_predictions:,}, {sum(result.unknown_labels.values()):,}, "
             f"{result.predictions.num_dropped:,}"),
            ("sensitivity", f"bins of {findings.diagnosis.bins}"),
            ("intervals", f"95 %, from {findings.number:,} random halves of the videos")]
    if unlabeled_classes is not None:
        rows.append(("classes without a labeled training video", ", ".join(unlabeled_classes) or "none"))
    return rows


def deviations_list(diagnosis):
    """How the diagnosis differs from DETAD's released code, folded away."""
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in diagnosis.deviations)
    return f"<details><summary>How the diagnosis differs from DETAD's released code</summary><ul>{items}</ul></details>"


def facts_table(rows):
    """(name, value) pairs as a table."""
    body = "".join(f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
                   for name, value in rows)
    return f'<table class="facts">{body}</table>'


def numbers_table(head, rows):
    """Texts as a table with a head, the first column naming each row; it scrolls where it is wider than the page."""
    titles = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in head)
    body = "".join(f'<tr><th scope="row">{html.escape(row[0])}</th>'
                   + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:]) + "</tr>" for row in rows)
    return (f'<div class="wide" tabindex="0"><table class="numbers"><thead><tr>{titles}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>")
