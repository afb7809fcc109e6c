"""What is written for annotation tools: every format, as the tool reads it, and read back where we read it."""

import json
from xml.etree import ElementTree as ET

import pytest

from spot.annotations import read_annotations
from spot.detection_writers import WRITERS, Recording
from spot.errors import SpotError
from spot.tool_recordings import ReadingOptions

CLASSES = ["sit & <stand>", "walk"]
ACTIONS = [{"label": "walk", "score": 0.9, "segment": [1.0, 2.5]},
           {"label": "sit & <stand>", "score": 0.25, "segment": [2.0, 3.2]},
           {"label": "walk", "score": 0.5, "segment": [2.5, 3.0]}]
# Two recordings: three actions of two classes that overlap each other and touch within their class, and none.
RECORDINGS = [Recording("cam1", ACTIONS, 60.0, 25.0, "C:\\my videos\\cam1.mp4"),
              Recording("cam2", [], 30.0, 50.0, "/data/cam2.mp4")]
SEGMENTS = [(1.0, 2.5, "walk"), (2.0, 3.2, "sit & <stand>"), (2.5, 3.0, "walk")]


def segments_of(video):
    return sorted((round(start, 6), round(end, 6), label)
                  for (start, end), label in zip(video.segments_sec, video.labels, strict=True))


@pytest.mark.parametrize("name", ["boris", "eaf", "via", "csv"])
def test_what_is_written_is_read_back(tmp_path, name):
    """Times are whole milliseconds and, at 25 frames per second, whole frames, so nothing is rounded; a recording
    without an action is there and not annotated."""
    WRITERS[name](tmp_path, RECORDINGS, CLASSES)
    first, second = read_annotations(tmp_path)
    assert (first.name, second.name) == ("cam1", "cam2")
    assert segments_of(first) == SEGMENTS and segments_of(second) == []
    assert (first.annotated, second.annotated) == (True, False)
    if name in ("boris", "eaf"):
        assert first.media in ("C:\\my videos\\cam1.mp4", "C:/my videos/cam1.mp4")
        assert second.media == "/data/cam2.mp4"


def test_label_studio_gets_predictions_with_scores(tmp_path):
    """Frames are counted from 1 and both ends are in: 1.0 s to 2.5 s at 25 fps are frames 26 to 62.5, so 62."""
    WRITERS["labelstudio"](tmp_path, RECORDINGS, CLASSES)
    path = tmp_path / "label_studio.json"
    first, second = json.loads(path.read_text(encoding="utf-8"))
    (prediction,) = first["predictions"]
    walk = prediction["result"][0]
    assert walk["value"] == {"ranges": [{"start": 26, "end": 62}], "timelinelabels": ["walk"]}
    assert [walk[key] for key in ("type", "from_name", "to_name", "score")] == [
        "timelinelabels", "timeline", "video", 0.9]
    assert prediction["score"] == pytest.approx((0.9 + 0.25 + 0.5) / 3, abs=1e-6)
    assert "annotations" not in first and second["predictions"][0]["result"] == []
    root = ET.fromstring((tmp_path / "label_studio.xml").read_text(encoding="utf-8"))
    control = root.find("TimelineLabels")
    assert (control.get("name"), control.get("toName")) == ("timeline", "video")
    assert [label.get("value") for label in control] == CLASSES
    # Predictions are nobody's annotation; accepted as they are, they are annotations to the frame.
    assert [video.annotated for video in read_annotations(path)] == [False, False]
    accepted = {**first, "id": 1, "annotations": [{"result": prediction["result"], "was_cancelled": False}]}
    path.write_text(json.dumps([accepted]), encoding="utf-8")
    (video,) = read_annotations(path, options=ReadingOptions(fps=25))
    for (start, end, label), (truth_start, truth_end, truth) in zip(segments_of(video), SEGMENTS, strict=True):
        assert label == truth and abs(start - truth_start) <= 0.0201 and abs(end - truth_end) <= 0.0201  # half a frame


def test_label_studio_time_series_are_in_seconds(tmp_path):
    WRITERS["labelstudio-timeseries"](tmp_path, [Recording("imu", ACTIONS)], CLASSES)
    (task,) = json.loads((tmp_path / "label_studio.json").read_text(encoding="utf-8"))
    assert task["data"] == {"csv": "imu.csv"}
    assert task["predictions"][0]["result"][0]["value"] == {
        "start": 1.0, "end": 2.5, "instant": False, "timeserieslabels": ["walk"]}


def test_label_studio_asks_for_the_frame_rate(tmp_path):
    with pytest.raises(SpotError, match=r"'imu' is not known.*fps=25.*labelstudio-timeseries"):
        WRITERS["labelstudio"](tmp_path, [Recording("imu", ACTIONS)], CLASSES)


def test_elan_gets_a_tier_for_every_class_and_a_menu_of_classes(tmp_path):
    WRITERS["eaf"](tmp_path, RECORDINGS, CLASSES)
    root = ET.parse(tmp_path / "cam1.eaf").getroot()
    assert [child.tag for child in root if child.tag != "TIER"] == [
        "HEADER", "TIME_ORDER", "LINGUISTIC_TYPE", "LANGUAGE", *4 * ["CONSTRAINT"], "CONTROLLED_VOCABULARY"]
    assert {tier.get("TIER_ID"): len(tier) for tier in root.iter("TIER")} == {"sit & <stand>": 1, "walk": 2}
    assert [value.text for value in root.iter("CVE_VALUE")] == CLASSES
    times = [int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")]
    assert times == sorted(times) == [1000, 2000, 2500, 3000, 3200]
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    assert media.attrib == {"MEDIA_URL": "file:///C:/my%20videos/cam1.mp4", "MIME_TYPE": "video/mp4",
                            "RELATIVE_MEDIA_URL": "./cam1.mp4"}


def test_boris_gets_two_rows_for_every_action(tmp_path):
    WRITERS["boris"](tmp_path, RECORDINGS, CLASSES)
    project = json.loads((tmp_path / "detections.boris").read_text(encoding="utf-8"))
    events = project["observations"]["cam1"]["events"]
    assert events[0] == [1.0, "", "walk", "", "score 0.9", 25] and len(events) == 6
    assert [row[0] for row in events] == sorted(row[0] for row in events)
    assert {entry["type"] for entry in project["behaviors_conf"].values()} == {"State event"}
    media = "C:\\my videos\\cam1.mp4"
    assert project["observations"]["cam1"]["file"]["1"] == [media]
    assert project["observations"]["cam1"]["media_info"]["length"] == {media: 60.0}


def test_via_has_the_score_as_an_attribute(tmp_path):
    WRITERS["via"](tmp_path, RECORDINGS, CLASSES)
    project = json.loads((tmp_path / "via.json").read_text(encoding="utf-8"))
    first = project["metadata"]["1_00000001"]
    assert first == {"vid": "1", "flg": 0, "z": [1.0, 2.5], "xy": [], "av": {"1": "1", "2": "0.9"}}
    assert project["attribute"]["1"]["options"] == {"0": "sit & <stand>", "1": "walk"}
    assert project["file"]["1"] == {"fid": "1", "fname": "cam1.mp4", "type": 4, "loc": 1, "src": ""}
