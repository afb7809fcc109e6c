"""The review page in a real browser: a person corrects detections, and the file that is saved is trained on.

Not part of `make test`: `make test-browser` runs it in the installed Chromium, or skips it with a message.
SCREENSHOTS=FOLDER keeps what the browser shows.
"""

import json
import wave

import numpy as np
import pytest
from browsers import NEEDS_CHROMIUM, Watched, brightness, chromium
from test_review import EVIL, detection, video
from test_scripts import settings

import spot_inference
import spot_train
from spot.annotations import labeled_split, read_annotations
from spot.review import Origin, base_videos, page_data, recording_entry, write_review
from spot.segments import window_grid
from spot.synthetic import write_demo

pytestmark = NEEDS_CHROMIUM
CLASSES = ["run", "jump", *EVIL]
ACTION = {"threshold": 0.5, "per_class": {}, "chosen_on": "2 held-out videos"}
# What a person can read against what lies behind it: (text, color, background) of every element that holds text.
TEXTS = """() => {
    const context = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    const parse = color => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
    };
    const hasText = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    return [...document.querySelectorAll('body *')]
        .filter(element => element.checkVisibility() && !element.disabled && hasText(element)).map(element => {
            let behind = element;
            while (behind && parse(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
            return [element.textContent, parse(getComputedStyle(element).color),
                    parse(getComputedStyle(behind ?? document.body).backgroundColor)];
        });
}"""
CONTROLS = "button, input, select, video, [role=slider], [role=listbox], dialog"
NAMELESS = f"""() => [...document.querySelectorAll('{CONTROLS}')]
    .filter(element => element.checkVisibility() && !element.hidden && !(element.ariaLabel || element.labels?.length
        || element.getAttribute('aria-labelledby') || element.textContent.trim()))
    .map(element => element.outerHTML.slice(0, 120))"""


def seen(share):
    """A grid of 60 snippets of a second, and class probabilities: of the first class `share` all the time."""
    probabilities = np.zeros((len(CLASSES), 60))
    probabilities[0] = share
    return window_grid(60, 1, 1, 1.0, 60.0), probabilities, np.random.default_rng(0).random((2, 60)), ["x", "y"]


def make_page(folder, number=1):
    """A page of `a` (60 s, the least sure), a labeled one, and `number` others with names that look like markup; in the
    annotations, `e` is for evaluation."""
    found = [detection("run", 10, 20, 0.9), detection("run", 30, 35, 0.3), detection("jump", 40, 50, 0.6),
             detection("jump", 22, 26, 0.5), detection(EVIL[0], 5, 8, 0.2)]
    others = [f"{EVIL[index % 4]}{index}" for index in range(number)]
    entries = [recording_entry("a", found, CLASSES, 60.0, 25.0, seen=seen(0.5)),
               recording_entry("labeled", [detection("run", 1, 3, 0.9), detection(EVIL[1], 9, 12, 0.8)], CLASSES, 20.0,
                               seen=seen(0.1))]
    entries += [recording_entry(name, [detection(EVIL[1], 4, 9, 0.7)], CLASSES, 60.0, seen=seen(0.2))
                for name in others]
    facts = {"duration_sec": 60.0, "feature_duration_sec": 60.0}
    videos = [video("a", segments=((0, 1),), **facts), video("labeled"), video("e", "validation"),
              *(video(name, segments=(), labels=(), **facts) for name in others)]
    data = page_data(Origin("runs/x", "training", ACTION, ["python", "spot_train.py"]), CLASSES, entries,
                     base_videos(videos, ["labeled"], "training"))
    write_review(folder / "review.html", data)
    return folder / "review.html"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_page(tmp_path_factory.mktemp("review"))


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def context(browser):
    """A browser that has kept nothing yet."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def watched(context):
    """Nothing may be wrong on any page, and nothing asked of anybody but the file itself."""
    watched = Watched(context)
    yield watched
    assert watched.faults == [] and all(url.startswith(("file:", "blob:", "data:")) for url in watched.asked)


@pytest.fixture
def page(watched, path):
    page = watched.open(path)
    page.evaluate("document.fonts.ready")
    return page


def segments(page, label=""):
    """What is to be seen of the current recording, as a screen reader says it: [(label, start, end, how)]."""
    words = page.eval_on_selector_all(".segment .bar", "bars => bars.map(bar => bar.getAttribute('aria-label'))")
    found = [(name, *times, how) for name, times, how in map(split_words, words) if name.startswith(label)]
    return sorted(found, key=lambda one: one[1:])


def split_words(text):
    """`run, 0:10.0 to 0:20.0, score 0.9, accepted` -> name, (10.0, 20.0), accepted; a name may hold commas."""
    parts = text.split(", ")
    place = next(index for index, part in enumerate(parts) if " to " in part and part[0].isdigit())
    times = tuple(60 * int(minutes) + float(seconds) for minutes, seconds in
                  (one.split(":") for one in parts[place].split(" to ")))
    return ", ".join(parts[:place]), times, parts[-1]


def bar(page, label, start):
    return page.locator(f".bar[aria-label*='{label}, {start} to ']")


def drag(page, element, by_sec):
    """Drag the middle of an element to the right, by seconds of the whole recording of 60 s."""
    box, scale = element.bounding_box(), page.locator("#ruler").bounding_box()["width"] / 60
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by_sec * scale / 2, y, steps=3)
    page.mouse.move(x + by_sec * scale, y, steps=3)
    page.mouse.up()


def until(page, expression):
    """Wait until an expression is true; `wait_for_function` needs eval, which the page's policy forbids."""
    for _ in range(400):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def download(page, path):
    """Save the annotations as a person does; the file."""
    with page.expect_download() as waiting:
        page.click("#download")
    waiting.value.save_as(path)
    page.click("#saved-dialog button.primary")
    return path


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_the_least_sure_recording_is_open_and_nothing_else_runs(page, watched, path):
    """`a` is half sure of a class all the time; texts that look like markup are texts."""
    assert page.inner_text("#name") == "a" and "100 % unsure" in page.inner_text("#facts")
    assert page.inner_text("#progress-text") == "0 of 2 reviewed, 1 labeled before"
    names = page.eval_on_selector_all(".item .text", "items => items.map(item => item.textContent)")
    assert names == ["a", f"{EVIL[0]}0", "labeled"]
    assert page.evaluate("[document.images.length, document.scripts.length, window.broken ?? null]") == [0, 2, None]
    assert watched.asked == [path.as_uri()]
    watched.keep("review_light")


def test_the_threshold_begins_with_the_runs_own_and_says_what_is_to_be_seen(page):
    """0.9, 0.6 and 0.5 are at 0.5 or above; at 0.25 there are four, at 0.95 none."""
    assert page.input_value("#threshold-value") == "0.5"
    assert segments(page) == [("run", 10, 20, "found by the model"), ("jump", 22, 26, "found by the model"),
                              ("jump", 40, 50, "found by the model")]
    page.fill("#threshold-value", "0.25")
    page.keyboard.press("Enter")
    assert len(segments(page)) == 4 and "4 segments" in page.inner_text("#shown")
    page.evaluate("document.activeElement.blur()")
    press(page, "]", "]", "]", "]", "]")  # 5 x 0.9 / 50
    assert page.input_value("#threshold-value") == "0.34" and len(segments(page)) == 3
    page.click("#threshold-run")
    assert page.input_value("#threshold-value") == "0.5"
    page.locator("#threshold").fill("0.9")
    assert segments(page) == [("run", 10, 20, "found by the model")]


def test_a_labeled_recording_shows_its_annotation_and_what_is_new(page):
    """Of the two detections the one that its annotation agrees with is left out: [1, 3] is annotated."""
    page.click(".item >> text=labeled")
    assert segments(page) == [("run", 1, 3, "annotated before"), (EVIL[1], 9, 12, "found by the model")]
    press(page, "r")
    assert segments(page) == [] or page.inner_text("#name") != "labeled"
    page.click(".item >> nth=2")
    assert segments(page) == [("run", 1, 3, "annotated before")]


def test_class_probabilities_are_drawn(page):
    """At 0.5 all the time: the color of the class lies in the lower part of its row, and in no other row."""
    until(page, "recordings[0].unpacked !== null")
    page.wait_for_timeout(100)
    colored = page.evaluate("""() => {
        const canvas = byId('curves'), all = byId('lanes').getBoundingClientRect(), scale = canvas.height / all.height;
        const {data, width} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return [...document.querySelectorAll('.lane')].map(lane => {
            const box = lane.getBoundingClientRect();
            const rows = [box.top, box.bottom].map(y => Math.round((y - all.top) * scale));
            let count = 0;
            for (let y = rows[0]; y < rows[1]; y++)
                for (let x = 100; x < 150; x++) count += data[4 * (y * width + x) + 3] > 0;
            return count;
        });
    }""")
    # About half of 16 of 46 rows of pixels, 50 wide; half-transparent edges count too.
    assert 50 * 7 <= colored[0] <= 50 * 11 and max(colored[1:]) <= 50 * 2


def test_the_list_is_found_sorted_and_filtered(page):
    page.select_option("#sort", "sure")
    assert page.locator(".item .text").first.inner_text() == "labeled"
    page.select_option("#filter", "todo")
    assert page.locator(".item .text").all_inner_texts() == [f"{EVIL[0]}0", "a"]
    page.click("#reviewed")
    assert page.inner_text("#name") == f"{EVIL[0]}0" and page.locator(".item").count() == 1
    page.select_option("#filter", "all")
    press(page, "Escape")
    page.fill("#search", "ONERROR")
    assert page.locator(".item .text").all_inner_texts() == [f"{EVIL[0]}0"]


# --- correcting -------------------------------------------------------------------------------------------------------


def test_an_edge_is_dragged_with_the_mouse(page):
    """To the right by 4 s, and the start to the left by 3 s; the other edge stays. 0.3 s is about a pixel or two."""
    bar(page, "run", "0:10.0").click()
    drag(page, page.locator(".chosen .handle.end"), 4)
    (_, start, end, how), *_ = segments(page, "run")
    assert start == 10 and end == pytest.approx(24, abs=0.3) and how == "changed"
    drag(page, page.locator(".chosen .handle.start"), -3)
    (_, start, later, _), *_ = segments(page, "run")
    assert start == pytest.approx(7, abs=0.3) and later == end
    drag(page, page.locator(".chosen .handle.start"), 40)
    assert page.evaluate("chosenItem().end - chosenItem().start") == pytest.approx(0.05)  # never empty


def test_an_edge_is_moved_with_the_keyboard(page):
    """Steps of 0.1 s, with Shift of 1 s; fast after each other they are taken back as one."""
    press(page, "j", "e", "ArrowRight", "ArrowRight", "Shift+ArrowRight")
    assert segments(page, "run") == [("run", 10, 21.2, "changed")]
    press(page, "Escape", "s", "ArrowLeft")
    assert segments(page, "run") == [("run", 9.9, 21.2, "changed")]
    assert page.evaluate("document.activeElement.getAttribute('aria-valuetext')") == "0:09.90"
    press(page, "z")
    assert segments(page, "run") == [("run", 10, 21.2, "changed")]
    press(page, "z")
    assert segments(page, "run") == [("run", 10, 20, "found by the model")]


def test_a_segment_is_moved_whole(page):
    drag(page, bar(page, "run", "0:10.0"), 5)
    (_, start, end, _), *_ = segments(page, "run")
    assert start == pytest.approx(15, abs=0.3) and end - start == pytest.approx(10, abs=0.11)
    press(page, "Shift+ArrowLeft")
    assert segments(page, "run")[0][1] == pytest.approx(start - 0.1)
    drag(page, bar(page, "run", f"0:{start - 0.1:.1f}"), 59)
    assert segments(page, "run")[0][2] == 60  # not beyond the end


def test_times_are_typed(page):
    bar(page, "run", "0:10.0").click()
    page.fill("#start", "0:12.25")
    page.keyboard.press("Enter")
    assert segments(page, "run") == [("run", 12.2, 20, "changed")] or segments(page, "run")[0][1] in (12.2, 12.3)
    for wrong, words in (("soon", "written as"), ("1:30", "ends after it starts")):
        page.fill("#start", wrong)
        page.keyboard.press("Enter")
        assert page.get_attribute("#start", "aria-invalid") == "true" and words in page.inner_text("#toast")
    assert page.evaluate("chosenItem().start") == 12.25


def test_delete_undo_redo(page):
    press(page, "j", "Delete")
    assert len(segments(page)) == 2 and "Deleted run" in page.inner_text("#toast")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("jump, 0:22.0")
    press(page, "Control+z")
    assert len(segments(page)) == 3
    press(page, "Control+Shift+Z")
    assert len(segments(page)) == 2
    press(page, "z", "j")
    page.click("#delete")
    assert len(segments(page)) == 2
    page.click("#undo")
    assert len(segments(page)) == 3 and page.is_disabled("#undo")


def test_segments_are_added_with_mouse_and_keyboard(page):
    """Drawn in an empty place of the row of jump, and by I at the playhead, with a new class."""
    lane = page.locator(".lane .tracks").nth(1).bounding_box()
    scale = lane["width"] / 60
    page.mouse.move(lane["x"] + 53 * scale, lane["y"] + 12)
    page.mouse.down()
    page.mouse.move(lane["x"] + 57 * scale, lane["y"] + 12, steps=4)
    page.mouse.up()
    (name, start, end, how) = segments(page)[-1]
    assert (name, how) == ("jump", "added") and (start, end) == pytest.approx((53, 57), abs=0.3)
    page.evaluate("setPlayhead(28)")
    press(page, "i")
    page.keyboard.type("hop & <b>skip</b>")
    page.keyboard.press("Enter")
    added = [one for one in segments(page) if one[3] == "added"]
    assert added[0] == ("hop & <b>skip</b>", 28, 31, "added")  # a twentieth of what is to be seen
    assert page.locator(".lane .text").last.inner_text() == "hop & <b>skip</b>" and not page.locator("main b").count()


def test_the_class_is_changed(page):
    """By its name, and by the number of its row."""
    press(page, "j", "c")
    page.keyboard.type("JUM")
    page.keyboard.press("Enter")
    assert ("jump", 10, 20, "changed") in segments(page)
    assert page.evaluate("document.activeElement.className") == "bar"
    press(page, "1")
    assert ("run", 10, 20, "accepted") in segments(page)


def test_accepting_goes_on_to_the_next_open_one_and_reviewing_to_the_next_recording(page):
    """Two of three are accepted, the third is deleted; a second one that is hidden by its score stays out."""
    press(page, "j", "a", "Enter", "x")
    assert [one[3] for one in segments(page)] == ["accepted", "accepted"]
    press(page, "r")
    assert page.inner_text("#progress-text").startswith("1 of 2 reviewed") and page.inner_text("#name") == f"{EVIL[0]}0"
    press(page, "z")
    assert page.inner_text("#progress-text").startswith("0 of 2") and page.inner_text("#name") == "a"


def test_zoom_and_pan(page):
    press(page, "j", "f")
    view = page.evaluate("[view.from, view.to]")
    assert view == [0, 30]  # 10 s before and after 10 to 20
    press(page, "+")
    assert page.evaluate("view.to - view.from") == pytest.approx(30 / 1.6)
    press(page, "0")
    assert page.evaluate("[view.from, view.to]") == [0, 60]
    box = page.locator("#ruler").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    start, end = page.evaluate("[view.from, view.to]")
    assert end - start == pytest.approx(60 / np.e, rel=0.01) and (start + end) / 2 == pytest.approx(30, abs=0.5)


# --- the video --------------------------------------------------------------------------------------------------------


def test_a_click_on_a_detection_jumps_there_in_the_recording(page, tmp_path):
    """A sound of 60 s that is called like the recording; it plays the segment and stops at its end."""
    with wave.open(str(tmp_path / "A.wav"), "wb") as sound:
        sound.setparams((1, 1, 8000, 0, "NONE", ""))
        sound.writeframes(bytes([128]) * 8000 * 60)
    page.set_input_files("#files", [tmp_path / "A.wav"])
    until(page, "document.getElementById('video').readyState >= 1")
    assert page.inner_text("#player-text") == "A.wav"
    bar(page, "jump", "0:40.0").click()
    until(page, "Math.abs(document.getElementById('video').currentTime - 40) < 0.05")
    assert page.inner_text("#playhead-text") == "0:40.00"
    page.evaluate("document.getElementById('video').playbackRate = 16; byId('speed').value = '4'")
    press(page, "Shift+Space")
    until(page, "document.getElementById('video').paused === false")
    until(page, "document.getElementById('video').paused && playhead >= 50")
    assert page.evaluate("playhead") < 52
    page.click(".item >> nth=1")
    assert not page.is_visible("#video") and "None of the files" in page.inner_text("#player-text")


# --- what is kept -----------------------------------------------------------------------------------------------------


def corrected(page):
    """Some work: an edge, a deletion, an addition of a new class; `a` reviewed, `labeled` begun."""
    press(page, "j", "e", "Shift+ArrowRight", "Escape", "j", "x")
    page.evaluate("addSegment(classOf('hop'), 52, 55.5)")
    press(page, "r")
    page.click(".item >> text=labeled")
    press(page, "j", "x")
    return [("run", 10, 21, "changed"), ("jump", 40, 50, "accepted"), ("hop", 52, 55.5, "added")]


def test_work_outlives_the_page(page):
    """A new load has it all, and goes on with the same recording; a threshold that is changed too."""
    expected = corrected(page)
    page.locator("#threshold").fill("0.4")
    page.reload()
    assert page.inner_text("#name") == "labeled" and len(segments(page, "run")) == 0
    assert page.input_value("#threshold-value") == "0.4"
    page.click(".item >> nth=0")
    assert segments(page) == expected and page.inner_text("#progress-text").startswith("1 of 2 reviewed")
    page.click("#reset")
    page.reload()
    assert page.inner_text("#progress-text").startswith("0 of 2 reviewed")


def test_a_page_that_is_made_with_another_threshold_begins_with_it(page, path, tmp_path):
    """What was set on the page of before does not hide what the new one was made for; the work stays."""
    page.locator("#threshold").fill("0.4")
    press(page, "j", "x")
    text = path.read_text(encoding="utf-8")
    (tmp_path / "again.html").write_text(text.replace('"threshold":0.5,', '"threshold":0.6,'), encoding="utf-8")
    page.goto((tmp_path / "again.html").as_uri())
    assert page.input_value("#threshold-value") == "0.6" and [one[0] for one in segments(page)] == ["jump"]


@pytest.mark.parametrize(("script", "words"), [
    ("Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }})",
     "keeps nothing"),
    ("Storage.prototype.setItem = () => { throw new DOMException('no', 'QuotaExceededError'); }", "is full"),
    ("localStorage.setItem('spot-review:' + 'x', '1'); Storage.prototype.getItem = () => '{broken'", None),
    ("""Storage.prototype.getItem = () => JSON.stringify({
            k: 5, x: [null, 'push', 99], c: [7, [0, 'run', 3, 1]], n: [{}, [1]], sort: 'x', filter: 'toString'})""",
     None),
], ids=["no storage", "full", "broken", "foreign"])
def test_a_browser_that_keeps_nothing_says_so_and_the_work_can_be_saved(context, path, tmp_path, script, words):
    context.add_init_script(script)
    watched = Watched(context)
    page = watched.open(path)
    expected = corrected(page)
    notices = page.locator(".notice").all_inner_texts()
    assert len(notices) == (words is not None) and all(words in text for text in notices)
    read = {one.name: one for one in read_annotations(download(page, tmp_path / "saved.json"))}
    assert len(read["a"].labels) == len(expected) and not watched.faults


def test_what_is_downloaded_is_an_annotation_file(page, tmp_path):
    """Reviewed: labeled, with what was to be seen. The labeled one stays; begun but not reviewed is unlabeled; the
    evaluation recording is as it was. What nobody has labeled counts as such, though the run's file knows it."""
    expected = corrected(page)
    videos = {one.name: one for one in read_annotations(download(page, tmp_path / "annotations.json"))}
    assert list(videos) == ["a", "labeled", "e", f"{EVIL[0]}0"]
    assert [(label, *segment) for label, segment in zip(videos["a"].labels, videos["a"].segments_sec.tolist(),
                                                         strict=True)] == [one[:3] for one in expected]
    assert [videos[name].annotated for name in videos] == [True, True, None, False]
    assert videos["labeled"].labels == ("run",) and videos["e"].segments_sec.tolist() == [[1, 3]]
    training = [one for one in videos.values() if one.subset == "training"]
    assert labeled_split(training, "annotated", 0) == ["a", "labeled"]
    assert page.inner_text("#command") == "python spot_train.py"


def test_a_saved_file_is_gone_on_with_elsewhere(page, browser, path, tmp_path):
    """In another browser, begun work too; what is no such file is refused with a sentence, and changes nothing."""
    expected = corrected(page)
    saved = download(page, tmp_path / "saved.json")
    other = browser.new_context()
    fresh = Watched(other).open(path)
    fresh.set_input_files("#open-file", saved)
    until(fresh, "recordings[0].reviewed")
    assert segments(fresh) == expected
    fresh.click(".item >> text=labeled")
    assert segments(fresh, "run") == []
    press(fresh, "z")
    assert fresh.inner_text("#progress-text").startswith("0 of 2")
    for content in ("{", "[]", '{"database": {}}', '{"version": "SPOT review", "database": null}'):
        (tmp_path / "other.json").write_text(content)
        fresh.set_input_files("#open-file", tmp_path / "other.json")
        fresh.wait_for_selector(".notice")
        assert "other.json is not a file that" in fresh.inner_text(".notice")
        fresh.click(".notice button")
    assert fresh.inner_text("#progress-text").startswith("0 of 2")
    other.close()


def test_reviewed_annotations_come_along_to_a_page_of_other_detections(browser, page, path, tmp_path):
    """The same recordings, detected by a later run: what was reviewed is taken from its annotations."""
    expected = corrected(page)
    saved = download(page, tmp_path / "saved.json")
    text = path.read_text(encoding="utf-8")
    (tmp_path / "later.html").write_text(text.replace("[0,10,20,0.9]", "[0,11,19,0.8]").replace(
        f'"key":"{json.loads(saved.read_text())["review"]["key"]}"', '"key":"later"'), encoding="utf-8")
    other = browser.new_context()
    later = Watched(other).open(tmp_path / "later.html")
    later.set_input_files("#open-file", saved)
    until(later, "recordings[0].reviewed")
    assert [one[:3] for one in segments(later)] == [one[:3] for one in expected]
    other.close()


# --- for everybody ----------------------------------------------------------------------------------------------------


def contrast(one, other):
    """WCAG 2: ratio of the relative luminances of two colors."""
    light = [np.dot(np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4),
                    [0.2126, 0.7152, 0.0722]) for values in (np.array(color[:3]) / 255 for color in (one, other))]
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_and_controls_have_names(page, watched, scheme):
    """AA: 4.5 to 1 for every text, on segments that are open and kept too; dark is dark."""
    page.emulate_media(color_scheme=scheme)
    page.fill("#threshold-value", "0.1")
    page.keyboard.press("Enter")
    page.evaluate("document.activeElement.blur()")
    press(page, "j", "a", "a")
    page.wait_for_timeout(300)
    poor = [(text.strip()[:40], round(contrast(ink, paper), 2)) for text, ink, paper in page.evaluate(TEXTS)
            if contrast(ink, paper) < 4.5]
    assert poor == [] and page.evaluate(NAMELESS) == []
    paper = brightness(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert paper < 60 if scheme == "dark" else paper > 200
    watched.keep(f"review_used_{scheme}")
    press(page, "?")
    assert page.evaluate(NAMELESS) == [] and page.locator("#help-dialog dt").count() > 20
    watched.keep(f"review_help_{scheme}")


def test_everything_is_reached_by_tab_and_seen_to_be(page):
    """In the order of the page; each has an outline. From the list into the timeline, to a segment and its edges."""
    press(page, "j")
    page.locator(".skip").focus()
    reached = []
    while len(reached) < 60:
        name, is_seen = page.evaluate("""() => {
            const element = document.activeElement, style = getComputedStyle(element);
            const isSeen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
            return [element === document.body ? null : element.id || element.className, isSeen];
        }""")
        if name is None or (name, is_seen) in reached[:1]:
            break
        reached.append((name, is_seen))
        page.keyboard.press("Tab")
    names = [name for name, _ in reached]
    order = ["skip", "open", "download", "help", "search", "list", "reviewed", "choose", "threshold", "zoom-in", "add",
             "class", "start", "accept", "ruler", "bar", "handle start", "handle end"]
    assert [name for name in names if name in order] == order
    assert [name for name, is_seen in reached if not is_seen] == []


def test_single_keys_can_be_switched_off(page):
    """For those whose speech or hands press keys unasked; Ctrl and the arrows still work."""
    press(page, "?")
    page.uncheck("#keys-on")
    press(page, "Escape", "j", "x")
    assert len(segments(page)) == 3
    press(page, "ArrowRight", "Delete")
    assert len(segments(page)) == 2
    press(page, "Control+z")
    assert len(segments(page)) == 3


@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_is_wider_than_the_window(page, watched, width):
    page.set_viewport_size({"width": width, "height": 800})
    press(page, "j")
    page.wait_for_timeout(200)
    parts = "header *, nav *, .head *, .tools *, .inspector *, .lane"
    assert page.evaluate("""parts => [...document.querySelectorAll(parts)]
        .filter(element => element.checkVisibility() && element.getBoundingClientRect().right > innerWidth + 1)
        .map(element => element.outerHTML.slice(0, 100))""", parts) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    watched.keep(f"review_{width}")


def test_nothing_moves_by_itself_where_that_is_not_wanted(page):
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.getElementById('toast')).transitionDuration") in ("0s", "")


def test_many_recordings_are_a_short_list(browser, tmp_path):
    """500 of them: there are elements for those in sight alone, and a search or a key is answered at once."""
    path = make_page(tmp_path, 500)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context)
    page = watched.open(path)
    assert page.locator(".item").count() < 40 and "502 recordings" in page.inner_text("#count")
    page.locator("#list").focus()
    press(page, "End")
    assert page.inner_text("#name") == page.evaluate("listed.at(-1).name")
    assert page.locator(".item[aria-selected=true]").get_attribute("aria-posinset") == "502"
    took = page.evaluate("(() => { const t = performance.now(); setThreshold(0.3); return performance.now() - t; })()")
    assert took < 1000
    watched.keep("review_many")
    context.close()


# --- the whole way ----------------------------------------------------------------------------------------------------


def test_what_is_reviewed_is_trained_on(context, tmp_path, capsys):
    """Train on 3 of 8 recordings, detect in all, review two of the others, train on the five; with a new class."""
    write_demo(tmp_path / "data", training=8, validation=1, classes=3, feat_dim=6, duration_sec=(60, 70))
    run = tmp_path / "run"
    spot_train.main(settings(tmp_path / "data", run))
    labeled = set((run / "labeled.txt").read_text(encoding="utf-8").split())
    spot_inference.main([str(run), "dataset.eval_subset=training", "testing.action_threshold=0.01", "--review"])
    watched = Watched(context)
    page = watched.open(run / "review.html")
    assert page.inner_text("#progress-text") == f"0 of 5 reviewed, {len(labeled)} labeled before"
    names = [page.inner_text("#name")]
    page.evaluate("addSegment(classOf('new'), 2, 5)")
    press(page, "r")
    names.append(page.inner_text("#name"))
    press(page, "j", "e", "Shift+ArrowLeft", "r")
    saved = download(page, tmp_path / "corrected.json")
    reviewed = {one.name: one for one in read_annotations(saved) if one.name in names}
    assert "new" in reviewed[names[0]].labels and all(one.annotated for one in reviewed.values())
    capsys.readouterr()
    spot_train.main(settings(tmp_path / "data", tmp_path / "next", f"dataset.video_anno_path={saved}",
                             "dataset.labeled=annotated"))
    assert set((tmp_path / "next" / "labeled.txt").read_text(encoding="utf-8").split()) == {*labeled, *names}
    assert "new" in (tmp_path / "next" / "classes.txt").read_text(encoding="utf-8").split("\n")
    spot_inference.main([str(tmp_path / "next")])  # in the evaluation recording of the run, which came along
    assert not watched.faults and "1 videos" in capsys.readouterr().out
