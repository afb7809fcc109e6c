"""Mistakes in the files of annotation tools: each is one sentence that names the file, the place and what to do."""

import json

import pytest
from test_annotation_tools import write
from tool_files import (
    BORIS_OLD,
    ELAN,
    VIA,
    boris_observation,
    boris_project,
    label_studio_task,
    time_series_region,
    timeline_region,
)

from spot.annotation_tools import read_json_recordings, videos_of
from spot.annotations import labeled_split, read_annotations, strictly
from spot.check_report import noting
from spot.errors import SpotError
from spot.tool_recordings import ReadingOptions

JUNK = (None, 3, "", [3], {"x": 3}, True, 10**400)

TABLE = "video,start,end,label,duration\n"
OLD_ROWS = BORIS_OLD.splitlines()


def cells_changed(row, **changes):
    """A row of BORIS_OLD with other cells; the keys are behavior, type, start, stop, media."""
    columns = {"media": 2, "behavior": 7, "type": 10, "start": 11, "stop": 12}
    cells = row.split("\t")
    for key, value in changes.items():
        cells[columns[key]] = value
    return "\t".join(cells)


def old_boris(row):
    return "\n".join([*OLD_ROWS[:2], row]) + "\n"


WALK = OLD_ROWS[1]
FAULTS = {
    # BORIS
    "overlap.tsv": (old_boris(cells_changed(WALK, start="7.5", stop="12.0")),
                    r"line 3: 'walk' starts at 7\.5 s, while that of line 2 lasts from 1\.8 s to 8\.125 s"),
    "no_stop.tsv": (old_boris(cells_changed(WALK, start="9", stop="NA")), r"line 3: the state 'walk' .* never stops"),
    "backward.tsv": (old_boris(cells_changed(WALK, start="9", stop="8.5")), r"line 3: 'walk' ends at 8\.5 s, before"),
    "beyond.tsv": (old_boris(cells_changed(WALK, start="9", stop="190")),
                   r"line 3: 'walk'.*beyond the end .* 179\.96 s"),
    "point.tsv": (old_boris(cells_changed(WALK, type="POINT", start="9", stop="9")),
                  r"line 3: 'walk' at 9 s is a point.*dataset\.point_width=1"),
    "type.tsv": (old_boris(cells_changed(WALK, type="START")), r"line 3: the type of 'walk' is 'START'"),
    "word.tsv": (old_boris(cells_changed(WALK, start="soon")),
                 r"line 3, start of 'walk': 'soon' is not a finite number"),
    "two_media.tsv": (old_boris(cells_changed(WALK, media="cam9.mp4")), r"observation 'day 1': shows 2 media files"),
    "cut.tsv": (BORIS_OLD[:-30], r"line 5 has \d+ cells, the header 16"),
    "single.tsv": ("Observation id\tobservation #1\t\t\n\t\t\t\nMedia file(s)\t\t\t\n",
                   r"single events.*aggregated events"),
    "half.boris": (boris_project(day=boris_observation([1.0, "", "walk", ""], [2.0, "", "sit", ""],
                                                       [3.0, "", "walk", ""])),
                   r"observation 'day', event 2: the state 'sit' has one time, 2 s"),
    "code.boris": (boris_project(day=boris_observation([1.0, "", "fly", ""])), r"event 1: the code 'fly' is not in"),
    "row.boris": (boris_project(day=boris_observation()).replace('"events": []', '"events": [3]'),
                  r"event 1: is 3, not"),
    "length.boris": (boris_project(day=boris_observation(media=["a.mp4", "b.mp4"], length=0)),
                     r"length of 'a\.mp4' is not"),
    "twice.boris": (boris_project(one=boris_observation([1.0, "", "walk", ""], [2.0, "", "walk", ""]),
                                  two=boris_observation([3.0, "", "walk", ""], [4.0, "", "walk", ""])),
                    r"observation 'one' and .*observation 'two': two recordings are called 'cam1'"),
    "cut.boris": (boris_project()[:-5], "is not valid JSON"),
    # ELAN
    "cut.eaf": (ELAN[:-300], "is not valid XML .*fully downloaded"),
    "page.eaf": ("<?xml version='1.0'?><html><body/></html>", "XML of another kind .<html>."),
    "doctype.eaf": ("<?xml version='1.0'?>\n<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><x>&b;</x>",
                    r"line 2: declares a document type"),
    "outside.eaf": ("<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>",
                    "declares a document type"),
    "unaligned.eaf": (ELAN.replace(' TIME_VALUE="4120"', ""), "annotation a2 of tier 'gestures'.*ts4 has no time"),
    "empty.eaf": (ELAN.replace("wave", " "), r"a1 of tier 'gestures': has no value.*dataset\.classes_from=tiers"),
    "unit.eaf": (ELAN.replace('"milliseconds"', '"NTSC-frames"'), "times are in NTSC-frames"),
    # VIA
    "two.json": (json.dumps({"_via_settings": {}, "_via_img_metadata": {}}), "VIA 2"),
    "view.json": (json.dumps({**VIA, "view": {}}), "segment '1_aB3dE6gH': names no `vid`"),
    "file.json": (json.dumps({**VIA, "file": {}}), "view '1': shows no file"),
    "z.json": (json.dumps({**VIA, "metadata": {"k": {"vid": "1", "z": [1, "x"], "xy": [], "av": {"1": "0"}}}}),
               "segment 'k', `z`: 'x' is not a finite number"),
    "av.json": (json.dumps({**VIA, "metadata": {"k": {"vid": "1", "z": [1, 2], "xy": [], "av": {}}}}),
                r"segment 'k': no attribute of it is a class"),
    # Label Studio
    "frames.json": (json.dumps([label_studio_task(1, "cam1.mp4", timeline_region("walk", 1, 9))]),
                    r"task 1: its times are numbers of frames.*'cam1'.*dataset\.fps=25"),
    "dates.json": (json.dumps([label_studio_task(1, "a.csv", time_series_region("run", "2020-01-10 10:15", "2020"))]),
                   r"task 1, region 1: start is '2020-01-10 10:15', a date"),
    "epoch.json": (json.dumps([label_studio_task(1, "a.csv", time_series_region("run", 1592250751951.8, 15923e8))]),
                   r"task 1, region 1: start is 1592250751951\.8, a date"),
    "instant.json": (json.dumps([label_studio_task(1, "a.csv", time_series_region("run", 3, 3, True))]),
                     r"task 1, region 1: 'run' at 3 s is a point"),
    "both.json": (json.dumps([label_studio_task(1, "a.mp4") | {"annotations": [{"result": []}, {"result": []}]}]),
                  "task 1: has 2 annotations"),
    "label.json": (json.dumps([label_studio_task(1, "a.mp4", timeline_region("", 1, 2))]),
                   "task 1, region 1: has no label"),
    # tables and Audacity
    "point.csv": (TABLE + "a,3,,call,\n", r"line 2: 'call' at 3 s is a point.*point_width"),
    "end.csv": (TABLE + "a,1,2,walk,10\na,9,12.5,walk,10\n", r"line 3: 'walk' from 9 s to 12\.5 s lies beyond .* 10 s"),
    "begin.csv": (TABLE + "a,-2,2,walk,10\n", r"line 2: 'walk' is at -2 s, before the recording begins"),
    "label.csv": (TABLE + "a,1,2,,10\n", "line 2: has no label"),
    "time.csv": (TABLE + "a,1:xx,2,walk,10\n", "line 2, start: 'xx' is not a finite number"),
    "cut.txt": ("1.0\t2.0\twalk\n3.0\t4", "line 2: has no label"),
    "foreign.txt": ("1.0\t2.0\twalk\nwhatever\n", "line 2: is not `start TAB end TAB label`"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_mistake_is_one_sentence_with_file_and_place(tmp_path, name):
    content, words = FAULTS[name]
    path = write(tmp_path / name, content)
    with pytest.raises(SpotError, match=words) as error:
        read_annotations(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_little_beyond_the_end_is_no_mistake(tmp_path):
    """Tools round, and players overshoot; cleaning clips it."""
    (video,) = read_annotations(write(tmp_path / "x.csv", TABLE + "a,9,10.9,walk,10\n"))
    assert video.segments_sec.tolist() == [[9.0, 10.9]]


def test_two_files_about_one_recording_are_both_named(tmp_path):
    write(tmp_path / "one.eaf", ELAN)
    write(tmp_path / "two.eaf", ELAN)
    with pytest.raises(SpotError, match=r"one\.eaf and .*two\.eaf are both about the recording 'cam1'; keep one"):
        read_annotations(tmp_path)


def test_tiers_that_are_not_there_are_refused_with_those_that_are(tmp_path):
    options = ReadingOptions(tiers=("gesture",))
    with pytest.raises(SpotError, match=r"'gesture' is no tier .* gestures, speech, english; mend dataset\.tiers"):
        read_annotations(write(tmp_path / "x.eaf", ELAN), options=options)
    with pytest.raises(SpotError, match=r"'gesture' is no attribute .* activity, note; mend dataset\.tiers"):
        read_annotations(write(tmp_path / "x.json", VIA), options=options)


def test_a_folder_without_annotations_and_files_without_any_annotated_recording(tmp_path):
    with pytest.raises(SpotError, match=r"holds no file of annotations \(\.boris, \.eaf"):
        read_annotations(tmp_path)
    videos = read_annotations(write(tmp_path / "x.csv", "video,start,end,label\na,,,\nb,,,\n"))
    for labeled in ("annotated", 0.5):
        with pytest.raises(SpotError, match="none of the 2 training videos is annotated"):
            labeled_split(videos, labeled, 0)


def test_a_check_tells_the_faults_of_all_recordings(tmp_path):
    """Two of three recordings are at fault; the other one is read."""
    path = write(tmp_path / "x.csv", TABLE + "a,3,,call,\nb,1,2,walk,10\nc,9,2,walk,10\n")
    faults = []
    videos = read_annotations(path, attempt=noting(faults))
    assert [video.name for video in videos] == ["b"] and len(faults) == 2


def changed(data, junk):
    """Yield copies of parsed JSON, in each of which one value is the junk, and one in which the value is missing."""
    for key in list(data) if isinstance(data, dict) else range(len(data)):
        if junk is JUNK[0] and isinstance(data, dict):
            yield {other: data[other] for other in data if other != key}
        copy = dict(data) if isinstance(data, dict) else list(data)
        copy[key] = junk
        yield copy
        if isinstance(data[key], dict | list):
            for value in changed(data[key], junk):
                copy = dict(data) if isinstance(data, dict) else list(data)
                copy[key] = value
                yield copy


TOOL_JSON = {
    "x.boris": json.loads(boris_project(day=boris_observation([1.0, "", "walk", ""], [3.0, "", "walk", ""]))),
    "via.json": VIA,
    "timeline.json": [label_studio_task(1, "cam1.mp4", timeline_region("walk", 1, 9))],
    "series.json": [label_studio_task(1, "cam1.csv", time_series_region("walk", 1, 9))],
}


@pytest.mark.parametrize("name", TOOL_JSON)
def test_any_value_in_the_json_of_a_tool_is_read_or_refused_in_a_sentence(name):
    options = ReadingOptions(fps=10)
    for junk in JUNK:
        for data in changed(TOOL_JSON[name], junk):
            try:
                videos_of(read_json_recordings(name, data, options) or [], {}, options, strictly)
            except SpotError as error:
                assert name in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(("name", "text"), [("x.eaf", ELAN), ("x.tsv", BORIS_OLD), ("x.csv", TABLE + "a,1,2,walk,10\n"),
                                            ("x.txt", "1.0\t2.0\twalk\n3.0\t4.0\tsit\n")])
def test_any_part_of_a_text_is_read_or_refused_in_a_sentence(tmp_path, name, text):
    path = tmp_path / name
    for end in range(0, len(text), max(len(text) // 40, 1)):
        for part in (text[:end], text[end:], text[:end] + "\0<,\t\"" + text[end + 1 :]):
            path.write_text(part, encoding="utf-8")
            try:
                read_annotations(path)
            except SpotError as error:
                assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(("parent", "words"), [("a9", "refers to a9, which is not in the file"),
                                               ("a4", "refers to itself")])
def test_an_elan_reference_without_a_time_is_named(tmp_path, parent, words):
    text = ELAN.replace('ANNOTATION_REF="a3"', f'ANNOTATION_REF="{parent}"')
    with pytest.raises(SpotError, match=rf"x\.eaf: annotation a4 of tier 'english': {words}.*mend it in ELAN"):
        read_annotations(write(tmp_path / "x.eaf", text), options=ReadingOptions(tiers=("english",)))
