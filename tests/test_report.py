"""Pictures and the HTML report: complete, self-contained, readable, and there for odd inputs too."""

import re
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.image import imread

from spot.annotations import Video
from spot.evaluation import evaluate_detections
from spot.files import SpotError
from spot.plots import class_figure
from spot.report import write_report
from spot.timelines import best_median_worst, class_styles, pack_lanes, save_timeline

PICTURES = {"map_by_tiou", "error_profile", "removal_gains", "sensitivity", "recall", "precision_recall", "ap_by_class",
            "timelines_best", "timelines_median", "timelines_worst"}


def evaluate(num_videos=12, found=True, num_classes=3, duration=50.0):
    """Videos with one segment [10, 20] each; every other one found if `found`."""
    labels = [f"class <{index % num_classes}> & a name that goes on and on" for index in range(num_videos)]
    videos = [Video(f"v{index}", duration, None, "test", np.array([[10.0, 20]]), (label,), duration, np.zeros((0, 2)))
              for index, label in enumerate(labels)]
    results = {f"v{index}": [{"label": label, "score": 0.9 - index / 100, "segment": [10, 20 + index % 2 * 20]}]
               for index, label in enumerate(labels)} if found else {}
    return evaluate_detections(videos, {"results": results}, "test")


def test_report_is_complete_and_needs_no_network(tmp_path):
    page = write_report(tmp_path / "report", evaluate(), "a <title>", ["class <1>"], resamples=5)
    assert {path.stem for path in page.parent.glob("*.png")} == PICTURES
    assert {path.name for path in page.parent.iterdir()} == {f"{name}.png" for name in PICTURES} | {"report.html"}
    text = page.read_text()
    assert text.count("data:image/png;base64,") == len(PICTURES)
    assert not re.search(r"(src|href)=\"(?!data:)|https?://|@import|url\(", text)
    assert "a &lt;title&gt;" in text and "<title>a <title>" not in text and "class &lt;0&gt; &amp; a name" in text
    assert "average mAP" in text and "whole-video baseline" in text


@pytest.mark.parametrize("options", [
    {"found": False, "num_videos": 1, "num_classes": 1}, {"duration": None, "num_videos": 2}])
def test_report_of_odd_inputs(tmp_path, options):
    """Nothing found in the only video; no durations and fewer classes than lines: still all pictures."""
    page = write_report(tmp_path, evaluate(**options), "odd", resamples=3)
    assert {path.stem for path in tmp_path.glob("*.png")} == PICTURES
    assert "nan" not in page.read_text().split("data:")[0]


def test_two_hundred_class_names_do_not_overlap_and_are_not_cut():
    """Rows of 0.17 inch at 100 dpi are 17 pixels apart, a name of 8 points is 11 high; all names start inside."""
    figure = class_figure(evaluate(num_videos=200, num_classes=200), unlabeled=())
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) == 200 and min(box.x0 for box in boxes) >= 0
    assert all(above.y0 >= below.y1 for below, above in pairwise(boxes))


def test_lanes_hold_what_does_not_overlap():
    """[0, 4] and [4, 6] share the first lane, [1, 5] needs a second, [2, 3] finds both taken."""
    assert pack_lanes([(0, 4), (1, 5), (2, 3), (4, 6)], 2) == [0, 1, None, 0]
    assert pack_lanes([(0, 4), (1, 5), (2, 3)], None) == [0, 1, 2]


def test_classes_beyond_the_styles_are_gray():
    """Seven colors, plain and hatched, make fourteen styles."""
    styles = class_styles("abcdefghijklmnop")
    assert len(set(styles.values())) == 15 and styles["o"] == styles["p"] == ("#999999", None)
    assert styles["a"][0] == styles["h"][0] and styles["a"] != styles["h"]


def test_best_median_and_worst_videos_are_in_order():
    """Scores 0 .. 29 shuffled over videos, and one video without a score."""
    scores = np.append(np.random.default_rng(0).permutation(30).astype(float), np.nan)
    chosen = {name: scores[videos].tolist() for name, videos in best_median_worst(scores).items()}
    assert chosen["best"] == list(range(29, 19, -1)) and chosen["worst"] == list(range(9, -1, -1))
    assert chosen["median"] == list(range(19, 9, -1))


def test_timeline_without_ground_truth(tmp_path):
    """As inference uses it: no truth, no duration, scores below 0 as well."""
    save_timeline(tmp_path / "one.png", segments_sec=[(0, 4), (1, 5)], labels=["run", "jump"], scores=[-1.0, 0.5],
                  title="one")
    save_timeline(tmp_path / "none.png", segments_sec=[], labels=[], scores=[], duration_sec=10)
    pixels = [imread(tmp_path / f"{name}.png") for name in ("one", "none")]
    colored = [(np.ptp(picture[..., :3], axis=-1) > 0.2).sum() for picture in pixels]
    assert colored[0] > 1000 and colored[1] == 0


def test_failed_report_leaves_nothing(tmp_path, monkeypatch):
    """Everything is drawn before the first file is written."""
    monkeypatch.setattr("spot.report.timeline_figure", lambda videos: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(tmp_path / "report", evaluate(), "title", resamples=2)
    assert not (tmp_path / "report").exists()


def test_unknown_picture_class_is_refused():
    from eval import chosen_classes

    assert chosen_classes(None, ["run"]) is None and chosen_classes(["run"], ["run"]) == ["run"]
    with pytest.raises(SpotError, match="'swim'"):
        chosen_classes(["swim"], ["run"])
