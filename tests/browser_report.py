"""The report in a real browser: nothing is wider than the window, nothing is asked of the network, dark mode is dark.

Not part of `make test`: `make test-browser` runs it in the installed Chromium, or skips it with a message.
SCREENSHOTS=FOLDER keeps what the browser shows.
"""

import numpy as np
import pytest
from browsers import NEEDS_CHROMIUM, Watched, brightness, chromium

from spot.annotations import Video
from spot.evaluation import evaluate_detections
from spot.findings import SHARES_NOTE, OperatingPoint, gather
from spot.operating_point import choose_thresholds, measure
from spot.report import write_report
from spot.report_pictures import pictures_of

pytestmark = NEEDS_CHROMIUM
# Elements whose right edge is outside of the window, but for what lies in a box that scrolls by itself.
TOO_WIDE = """() => [...document.querySelectorAll('body *')].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && (box.right > innerWidth + 1 || box.left < -1) && !element.closest('.wide table');
}).map(element => element.outerHTML.slice(0, 100))"""


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """200 classes with long names, a long command, every section of the page."""
    random = np.random.default_rng(0)
    names = [f"a_class_with_a_long_name_and_no_space_{index:03d}" for index in range(200)]
    videos, results = [], {}
    for index in range(200):
        starts = np.sort(random.uniform(0, 90, 3))
        labels = tuple(names[(index + place) % 200] for place in range(3))
        videos.append(Video(f"video_{index}", 100.0, None, "test", np.stack([starts, starts + 8], 1), labels, 100.0,
                            np.zeros((0, 2))))
        results[f"video_{index}"] = [
            {"label": label, "score": float(random.random()), "segment": [start + shift, start + 8]}
            for label, start in zip(labels, starts, strict=True) for shift in (0.5, 3.0)]
    result = evaluate_detections(videos, {"results": results}, "test")
    point = OperatingPoint(*measure(result.scene, choose_thresholds(result.scene, 0.75), 0.75), "subset test", 0.75)
    findings = gather(result, 20, point)
    folder = tmp_path_factory.mktemp("report")
    pictures = pictures_of(findings)
    first = write_report(folder / "first", findings, pictures[:1], "first")
    view = first.parent / "map_by_tiou.png"
    return write_report(folder / "page", findings, pictures, "runs/" + "long_folder_name_" * 12 + "detections.json",
                        [("command", "python eval.py --ground-truth " + "/a/folder" * 30)], [SHARES_NOTE],
                        names[:50], [view])


@pytest.fixture(scope="module")
def context():
    with chromium() as browser:
        yield browser.new_context()


@pytest.fixture
def opened(context, report):
    """A function that opens the report in a window: its page, and the addresses that it asked for."""
    pages = []

    def open_page(width, scheme="light"):
        watched = Watched(context)
        pages.append(watched.page)
        watched.page.set_viewport_size({"width": width, "height": 900})
        watched.page.emulate_media(color_scheme=scheme)
        page = watched.open(report)
        assert not watched.faults
        watched.keep(f"report_{width}_{scheme}", full_page=True)
        return page, watched.asked

    yield open_page
    for page in pages:
        page.close()


@pytest.mark.parametrize("width", [1280, 500])
@pytest.mark.parametrize("unfolded", [False, True])
def test_nothing_is_wider_than_the_window(opened, width, unfolded):
    page, _ = opened(width)
    if unfolded:
        page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_WIDE) == []


@pytest.mark.parametrize("width", [1280, 500])
def test_no_request_leaves_the_page(opened, report, width):
    """Beside the file itself there are only the pictures within it, and all of them are shown."""
    page, asked = opened(width)
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("document.images.length") == len(list(report.parent.glob("*.png"))) + 1


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_dark_mode_is_dark(opened, scheme, is_dark):
    """Brightness of page and text, mean of red, green and blue."""
    page, _ = opened(1280, scheme)
    style = "getComputedStyle(document.body)"
    paper, ink = (brightness(page.evaluate(f"{style}.{name}")) for name in ("backgroundColor", "color"))
    assert (paper < 60 and ink > 200) if is_dark else (paper > 200 and ink < 60)


@pytest.mark.parametrize("width", [1280, 500])
def test_the_facts_can_be_read(opened, width):
    """No cell is squeezed to a few letters: both columns have room for a word."""
    page, _ = opened(width)
    widths = page.evaluate("[...document.querySelectorAll('.facts th, .facts td')].map(cell => cell.clientWidth)")
    assert len(widths) > 10 and min(widths) > 120


def test_links_lead_to_their_sections(opened):
    page, _ = opened(500)
    targets = page.evaluate("[...document.querySelectorAll('nav a')].map(link => link.getAttribute('href'))")
    assert len(targets) == 8 and all(page.query_selector(target) for target in targets)
