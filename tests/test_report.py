"""Pictures and the HTML report: complete, self-contained, readable, true, and there for odd inputs too."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from spot import report
from spot.annotations import Video
from spot.evaluation import evaluate_detections
from spot.files import SpotError
from spot.findings import OperatingPoint, gather, missed_bounds
from spot.operating_point import choose_thresholds, measure
from spot.plots import class_figure, profile_figure, sensitivity_figure
from spot.report import write_report
from spot.report_pictures import pictures_of
from spot.timelines import (
    class_colors,
    groups_of_videos,
    pack_lanes,
    plan_timeline,
    timeline_figure,
    timelines_of,
)

PICTURES = {"map_by_tiou", "error_profile", "error_profile_mean", "removal_gains", "sensitivity", "recall",
            "precision_recall", "ap_by_class"}


def evaluate(num_videos=12, found=True, num_classes=3, duration=50.0, scale=1.0):
    """Videos with one segment [10, 20] each; every other one found if `found`. scale: of all times."""
    labels = [f"class <{index % num_classes}> & a name that goes on and on" for index in range(num_videos)]
    videos = [Video(f"v{index}", duration, None, "test", scale * np.array([[10.0, 20]]), (label,), duration,
                    np.zeros((0, 2))) for index, label in enumerate(labels)]
    results = {f"v{index}": [{"label": label, "score": 0.9 - index / 1000,
                              "segment": [scale * 10, scale * (20 + index % 2 * 20)]}]
               for index, label in enumerate(labels)} if found else {}
    return evaluate_detections(videos, {"results": results}, "test")


def findings_of(result, actions=False):
    point = None
    if actions:
        thresholds = choose_thresholds(result.scene, 0.75)
        point = OperatingPoint(*measure(result.scene, thresholds, 0.75), "subset <training>", 0.75)
    return gather(result, 5, point)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    findings = findings_of(evaluate(), actions=True)
    return write_report(tmp_path_factory.mktemp("page") / "report", findings, pictures_of(findings), "a <title>",
                        [("command", "python eval.py <x>")], ["beware & look"], ["class <1>"])


def test_report_is_complete_and_needs_no_network(page):
    pictures = PICTURES | {"timelines_best", "timelines_worst"}
    assert {path.name for path in page.parent.iterdir()} == {f"{name}.png" for name in pictures} | {"report.html"}
    text = page.read_text()
    assert text.count("data:image/png;base64,") == len(pictures)
    assert not re.search(r"(src|href)=\"(?!data:|#)|https?://|@import|url\(", text)
    assert "a &lt;title&gt;" in text and "<title>a <title>" not in text and "class &lt;0&gt; &amp; a name" in text
    assert "N of the normalized precision" in text
    for words in ("python eval.py &lt;x&gt;", "beware &amp; look", "average mAP", "whole-video baseline", "F1@25",
                  "subset &lt;training&gt;", "prefers-color-scheme: dark", 'name="viewport"', '<html lang="en">'):
        assert words in text


class Reader(HTMLParser):
    """Headings, pictures and table heads of a page; open tags must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.images, self.heads, self.open, self.ids, self.links = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.headings += [tag] if re.fullmatch("h[1-6]", tag) else []
        self.images += [attrs] if tag == "img" else []
        self.heads += [attrs.get("scope")] if tag == "th" else []
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if tag == "a" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_can_be_read_aloud(page):
    """One h1, then h2; pictures say what is to be seen, and their size; every th has a scope; links end somewhere."""
    page = Reader(page.read_text())
    assert not page.open and page.headings[0] == "h1" and set(page.headings[1:]) == {"h2"}
    assert len(set(page.ids)) == len(page.ids) and {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert page.heads and set(page.heads) <= {"row", "col"}
    assert all(len(image["alt"].split()) > 5 and int(image["width"]) == 760 for image in page.images)


@pytest.mark.parametrize("options", [
    {"found": False, "num_videos": 1, "num_classes": 1}, {"duration": None, "num_videos": 2}])
def test_report_of_odd_inputs(tmp_path, options):
    """Nothing found in the only video; no durations and fewer classes than lines: still all pictures, one of videos."""
    findings = findings_of(evaluate(**options), actions=True)
    page = write_report(tmp_path, findings, pictures_of(findings), "odd")
    assert {path.stem for path in tmp_path.glob("*.png")} == PICTURES | {"timelines"}
    assert "nan" not in re.sub("data:[^\"]*", "", page.read_text())


def test_two_hundred_class_names_do_not_overlap_and_are_not_cut():
    """Rows of 0.17 inch at 100 dpi are 17 pixels apart, a name of 8 points is 11 high; all names start inside."""
    result = evaluate(num_videos=200, num_classes=200)
    figure = class_figure(result, class_colors(result.classes))
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) == 200 and min(box.x0 for box in boxes) >= 0
    assert all(above.y0 >= below.y1 for below, above in pairwise(boxes))


def test_two_hundred_class_names_stay_inside_the_timeline():
    """A video with 200 classes: the names that fit, and how many more there are; nothing reaches out of the picture."""
    names = [f"A CLASS WITH A LONG NAME {index}" for index in range(200)]
    timeline = plan_timeline([], [], [], class_colors(names), 400.0, ([(i, i + 1) for i in range(200)], names))
    figure = timeline_figure([timeline] * 2)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for axis in figure.axes:
        texts = [text.get_text() for text in axis.get_legend().get_texts()]
        box = axis.get_tightbbox()
        assert texts[-1] == f"and {200 - len(texts) + 1} more" and len(texts) > 2
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height


def test_captions_are_true_of_their_pictures():
    """The baseline is explained where it is drawn, "missed" with its rule; a timeline's words are of its strips."""
    by_name = {picture.name: picture for picture in pictures_of(findings_of(evaluate()))}
    assert "dashed line" in by_name["map_by_tiou"].caption and "0.05" in by_name["sensitivity"].caption
    assert len(by_name["map_by_tiou"].figure.axes[0].get_legend().get_texts()) == 2
    without = {picture.name: picture for picture in pictures_of(findings_of(evaluate(duration=None)))}
    assert "dashed" not in without["map_by_tiou"].caption
    assert len(without["map_by_tiou"].figure.axes[0].get_legend().get_texts()) == 1
    nothing = {picture.name: picture for picture in pictures_of(findings_of(evaluate(found=False)))}
    caption = nothing["timelines_best"].caption
    assert "Right" not in caption and "Wrong" not in caption and "Gray" not in caption and "dashed frame" in caption


def test_times_that_are_shares_are_called_so():
    by_name = {picture.name: picture for picture in pictures_of(findings_of(evaluate(scale=0.02, duration=None)))}
    assert by_name["timelines_best"].figure.axes[-1].get_xlabel() == "share of the video"
    assert "do not read those" in by_name["sensitivity"].caption


def test_nothing_missed_has_an_axis_from_zero():
    """Every segment found: bars of height 0 on an axis that starts at 0, not at -0.05."""
    labels = ("run",) * 4
    videos = [Video(f"v{index}", 50.0, None, "test", np.array([[10.0, 20]]), labels[:1], 50.0, np.zeros((0, 2)))
              for index in range(4)]
    results = {video.name: [{"label": "run", "score": 0.5, "segment": [10, 20]}] for video in videos}
    findings = findings_of(evaluate_detections(videos, {"results": results}, "test"))
    figure = sensitivity_figure(findings.diagnosis, findings.missed_bounds)
    assert all(axis.get_ylim()[0] == 0 and axis.get_ylim()[1] >= 1 for axis in figure.axes)


def test_the_bars_of_the_profile_carry_their_counts():
    """12 detections of 3 classes with 4 segments each: all in the first split."""
    findings = findings_of(evaluate())
    figure = profile_figure(findings.diagnosis.profile, findings.split_counts, "tIoU 0.50")
    texts = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert texts[0] == "1G\n12" and texts[1:] == [f"{split}G\n0" for split in range(2, 11)]


def test_missed_bounds_hold_the_share_and_are_empty_without_segments():
    """Half of 12 segments missed: the interval holds .5 and lies in 0..1; an empty bucket has none."""
    bounds = missed_bounds(evaluate(), {"coverage": (0.1, 0.3), "length": (5,), "instances": (1,)}, 200)
    assert np.isnan(bounds["coverage"][0]).all() and np.isnan(bounds["length"][0]).all()
    low, high = bounds["coverage"][1]
    assert 0 <= low < high <= 1


def test_lanes_hold_what_does_not_overlap():
    """[0, 4] and [4, 6] share the first lane, [1, 5] needs a second, [2, 3] finds both taken."""
    assert pack_lanes([(0, 4), (1, 5), (2, 3), (4, 6)], 2) == [0, 1, None, 0]
    assert pack_lanes([(0, 4), (1, 5), (2, 3)], 3) == [0, 1, 2]


def test_a_class_keeps_its_color():
    """Two hundred colors that differ, the same for a name in every picture of a run whatever else is in it."""
    names = [f"class {index}" for index in range(200)]
    colors = class_colors(names)
    assert len(set(colors.values())) == 200 and colors == class_colors(names)
    result = evaluate(num_videos=3)
    order = ["first", "second", *result.classes]
    bars = next(picture for picture in pictures_of(findings_of(result), class_order=order)
                if picture.name == "ap_by_class").figure.axes[0].patches
    expected = {class_colors(order)[name] for name in result.classes}
    assert len(bars) == 3 and expected == {"#009E73", "#CC79A7", "#56B4E9"}
    assert {tuple(np.round(bar.get_facecolor()[:3], 2)) for bar in bars} == {
        tuple(np.round([int(color[place:place + 2], 16) / 255 for place in (1, 3, 5)], 2)) for color in expected}


def test_a_timeline_marks_right_wrong_missed_and_other_classes():
    """Truth [0, 10] found and [20, 30] missed; the second detection of "run" is wrong, "jump" is not annotated."""
    timeline = plan_timeline([(0, 9), (12, 15), (3, 4)], ["run", "run", "jump"], [0.9, 0.8, 0.7],
                             {"run": "red", "jump": "blue"}, 40.0, ([(0, 10), (20, 30)], ["run", "run"]),
                             np.array([True, False, False]), np.array([True, False]))
    strips = {strip.name: strip for strip in timeline.strips}
    assert list(strips) == ["truth", "right", "wrong", "other classes"] and timeline.end_sec == 40
    assert strips["truth"].missed.tolist() == [False, True] and list(timeline.named) == ["run"]
    assert [len(strips[name].segments_sec) for name in ("right", "wrong", "other classes")] == [1, 1, 1]
    assert strips["wrong"].colors == ["red"] and strips["other classes"].colors == ["#999999"]
    assert strips["wrong"].opacities[0] == pytest.approx(0.25 + 0.75 * 8 / 9)


def test_the_timelines_of_an_evaluation_know_what_is_right():
    """Even videos are found exactly, odd ones at tIoU 1/3."""
    result = evaluate(num_videos=2)
    even, odd = timelines_of(result, np.array([1.0, 0.0]), [0, 1], class_colors(result.classes), 0)
    assert [strip.name for strip in even.strips] == ["truth", "right"]
    assert [strip.name for strip in odd.strips] == ["truth", "wrong"] and odd.strips[0].missed.all()


def test_no_strip_is_empty():
    """Without truth and with negative scores, as for own videos; and a video in which nothing is."""
    timeline = plan_timeline([(0, 4), (1, 5)], ["run", "jump"], [-1.0, 0.5], class_colors(["jump", "run"]))
    assert [strip.name for strip in timeline.strips] == ["detected"] and timeline.height == 2
    nothing = plan_timeline([], [], [], {}, 10.0)
    assert nothing.strips == [] and nothing.end_sec == 10
    timeline_figure([timeline, nothing]).draw_without_rendering()


@pytest.mark.parametrize("count", [0, 1, 10, 11, 20, 21, 29, 30, 57])
def test_videos_are_shown_once_and_in_order(count):
    """Up to ten: one picture. More: no video in two pictures, each in descending score; no score, not shown."""
    scores = np.append(np.random.default_rng(0).permutation(count).astype(float), np.nan)
    groups = groups_of_videos(scores)
    assert len(groups) == (0 if not count else 1 if count <= 10 else 2 if count <= 20 else 3)
    shown = np.concatenate([[], *groups.values()]).astype(int).tolist()
    assert len(set(shown)) == len(shown) == min(count, 30) and count not in shown
    assert all(np.all(np.diff(scores[videos]) < 0) and len(videos) <= 10 for videos in groups.values())
    if count:
        first, *_, last = groups.values() if len(groups) > 1 else (*groups.values(), *groups.values())
        assert scores[first[0]] == count - 1 and scores[last[-1]] == 0


def test_failed_report_leaves_nothing(tmp_path, monkeypatch):
    """Everything is drawn before the first file is written."""
    monkeypatch.setattr(report, "as_png", lambda figure: 1 / 0)
    findings = findings_of(evaluate())
    with pytest.raises(ZeroDivisionError):
        write_report(tmp_path / "report", findings, pictures_of(findings), "title")
    assert not (tmp_path / "report").exists()


def test_unknown_picture_class_is_refused():
    from eval import chosen_classes

    assert chosen_classes(None, ["run"]) is None and chosen_classes(["run"], ["run"]) == ["run"]
    with pytest.raises(SpotError, match="'swim'"):
        chosen_classes(["swim"], ["run"])
