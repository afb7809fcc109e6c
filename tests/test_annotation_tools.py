"""Files of annotation tools -> videos: BORIS, ELAN, VIA 3, Label Studio, plain tables, Audacity; folders of them."""

import json

import pytest
from tool_files import (
    BORIS_NEW,
    BORIS_OLD,
    ELAN,
    VIA,
    boris_observation,
    boris_project,
    label_studio_task,
    time_series_region,
    timeline_region,
)

from spot.annotations import labeled_split, read_annotations
from spot.errors import SpotError
from spot.tool_recordings import ReadingOptions


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def segments_of(video):
    return [(round(start, 6), round(end, 6), label)
            for (start, end), label in zip(video.segments_sec, video.labels, strict=True)]


def facts_of(video):
    return video.name, video.duration_sec, video.fps, video.subset, video.annotated, video.media


# --- BORIS ------------------------------------------------------------------------------------------------------------


def test_aggregated_events_of_old_boris(tmp_path):
    """Two subjects may walk at a time; the observation is about its media file."""
    first, second = read_annotations(write(tmp_path / "events.tsv", BORIS_OLD))
    assert facts_of(first) == ("cam1", 179.96, 25.0, "training", True, "videos/cam1.mp4")
    assert segments_of(first) == [(1.8, 8.125, "walk"), (5.0, 9.0, "walk"), (8.125, 23.35, "sit")]
    assert facts_of(second)[:3] == ("cam2", 60.0, 30.0) and segments_of(second) == [(0.5, 4.0, "sit")]


def test_aggregated_events_of_new_boris(tmp_path):
    """Their times have the time offset of 100 s in them."""
    (video,) = read_annotations(write(tmp_path / "events.csv", BORIS_NEW))
    assert facts_of(video) == ("cam1", 179.96, 25.0, "training", True, "videos/cam1.mp4")
    assert segments_of(video) == [(1.8, 8.125, "walk"), (8.125, 23.35, "sit")]


def test_a_boris_project(tmp_path):
    """Rows pair by subject, code and modifiers; an observation without events is not annotated; a live one is about
    itself."""
    project = boris_project(
        one=boris_observation([101.0, "anna", "walk", "slow"], [102.0, "", "walk", ""], [103.5, "anna", "walk", "slow"],
                              [104.0, "", "walk", ""], offset=100.0),
        two=boris_observation(media=["/home/anna/cam2.mp4"]),
        live={"file": {}, "type": "LIVE", "time offset": 0.0, "events": [[1.0, "", "sit", "", ""],
                                                                         [2, "", "sit", "", ""]]})
    one, two, live = read_annotations(write(tmp_path / "study.boris", project))
    assert facts_of(one) == ("cam1", 60.0, 25.0, "training", True, "/home/anna/cam1.mp4")
    assert segments_of(one) == [(1.0, 3.5, "walk"), (2.0, 4.0, "walk")]
    assert facts_of(two)[0] == "cam2" and two.annotated is False
    assert facts_of(live)[:3] == ("live", None, None) and segments_of(live) == [(1.0, 2.0, "sit")]


def test_media_that_follow_each_other_are_recordings_of_their_own(tmp_path):
    """Two files of 60 s: what is at 55 s to 70 s ends the first and begins the second, where the point at 61 s is."""
    project = boris_project(one=boris_observation(
        [55.0, "", "walk", ""], [61.0, "", "call", ""], [70.0, "", "walk", ""], media=["a.mp4", "b.mp4"]))
    first, second = read_annotations(write(tmp_path / "x.boris", project), options=ReadingOptions(point_width_sec=1))
    assert (first.name, segments_of(first)) == ("a", [(55.0, 60.0, "walk")])
    assert (second.name, segments_of(second)) == ("b", [(0.0, 10.0, "walk"), (0.5, 1.5, "call")])


# --- ELAN -------------------------------------------------------------------------------------------------------------


def test_elan_values_are_classes_on_all_tiers_or_on_those_named(tmp_path):
    path = write(tmp_path / "anna.eaf", ELAN)
    (video,) = read_annotations(path, options=ReadingOptions(tiers=("gestures",)))
    assert facts_of(video) == ("cam1", None, None, "training", True, "C:/Users/anna/my videos/cam1.mp4")
    assert segments_of(video) == [(1.0, 2.5, "wave"), (2.5, 4.12, "point & hold")]
    (video,) = read_annotations(path)
    assert segments_of(video) == [(0.5, 3.0, "hello there"), (1.0, 2.5, "wave"), (2.5, 4.12, "point & hold")]


def test_elan_tiers_can_be_the_classes(tmp_path):
    (video,) = read_annotations(write(tmp_path / "x.eaf", ELAN), options=ReadingOptions(classes_from="tiers"))
    assert segments_of(video) == [(0.5, 3.0, "speech"), (1.0, 2.5, "gestures"), (2.5, 4.12, "gestures")]


def test_elan_references_have_the_time_of_what_they_refer_to_on_tiers_that_are_named(tmp_path):
    """a4 translates a3, 0.5 s to 3.0 s; a tier of subdivisions halves it, a6 behind a5 whatever their order in the
    file; a7 refers to a6, the second half. Tiers that are not named are notes."""
    more = """<TIER LINGUISTIC_TYPE_REF="word" PARENT_REF="speech" TIER_ID="words">
        <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a6" ANNOTATION_REF="a3" PREVIOUS_ANNOTATION="a5">
            <ANNOTATION_VALUE>there</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
        <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a5" ANNOTATION_REF="a3">
            <ANNOTATION_VALUE>hello</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
    <TIER LINGUISTIC_TYPE_REF="kind" PARENT_REF="words" TIER_ID="kinds">
        <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a7" ANNOTATION_REF="a6">
            <ANNOTATION_VALUE>adverb</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
    <LINGUISTIC_TYPE """
    text = ELAN.replace("<LINGUISTIC_TYPE ", more, 1)
    path = write(tmp_path / "anna.eaf", text)
    (video,) = read_annotations(path, options=ReadingOptions(tiers=("english",)))
    assert segments_of(video) == [(0.5, 3.0, "hello")]
    (video,) = read_annotations(path, options=ReadingOptions(tiers=("words", "kinds")))
    assert sorted(segments_of(video)) == [(0.5, 1.75, "hello"), (1.75, 3.0, "adverb"), (1.75, 3.0, "there")]
    (video,) = read_annotations(path, options=ReadingOptions(tiers=("english",), classes_from="tiers"))
    assert segments_of(video) == [(0.5, 3.0, "english")]
    (video,) = read_annotations(path)
    assert [label for *_, label in segments_of(video)] == ["hello there", "wave", "point & hold"]


def test_elan_slots_of_a_time_subdivision_that_nobody_aligned_are_evenly_spaced(tmp_path):
    """Three phases between 1.0 s and 2.5 s, whose inner slots have no time: at 1.5 s and 2.0 s."""
    phases = "".join(f"""<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="p{one}" TIME_SLOT_REF1="{one}"
        TIME_SLOT_REF2="{two}"><ANNOTATION_VALUE>{label}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"""
                     for one, two, label in (("ts1", "x1", "rise"), ("x1", "x2", "hold"), ("x2", "ts2", "sink")))
    text = ELAN.replace("</TIME_ORDER>", '<TIME_SLOT TIME_SLOT_ID="x1"/><TIME_SLOT TIME_SLOT_ID="x2"/></TIME_ORDER>')
    text = text.replace("<LINGUISTIC_TYPE ", f'<TIER PARENT_REF="gestures" TIER_ID="phases">{phases}</TIER>'
                        "<LINGUISTIC_TYPE ", 1)
    (video,) = read_annotations(write(tmp_path / "a.eaf", text), options=ReadingOptions(tiers=("phases",)))
    assert segments_of(video) == [(1.0, 1.5, "rise"), (1.5, 2.0, "hold"), (2.0, 2.5, "sink")]


def test_two_views_are_one_recording_that_is_called_by_the_file(tmp_path):
    text = ELAN.replace("cam1.wav", "cam2.mp4")
    (video,) = read_annotations(write(tmp_path / "session 1.eaf", text))
    assert video.name == "session 1"


# --- VIA 3 ------------------------------------------------------------------------------------------------------------


def test_via_options_are_classes(tmp_path):
    """In order of time; the box in a frame is left aside; the second file has no segment."""
    first, second = read_annotations(write(tmp_path / "via.json", VIA))
    assert facts_of(first) == ("cam1", None, None, "training", True, "cam1.mp4")
    assert segments_of(first) == [(0.25, 1.5, "sit"), (1.5, 4.25, "walk")]
    assert facts_of(second) == ("cam2", None, None, "training", False, "https://example.org/cam2.mp4")


def test_via_text_is_the_class_where_its_attribute_is_named(tmp_path):
    text = {**VIA, "metadata": {key: value for key, value in VIA["metadata"].items() if key != "1_zY8xW5vU"}}
    first, _ = read_annotations(write(tmp_path / "via.json", text), options=ReadingOptions(tiers=("note",)))
    assert segments_of(first) == [(1.5, 4.25, "slow")]


# --- Label Studio -----------------------------------------------------------------------------------------------------


def test_label_studio_frames_count_from_one_and_the_last_is_in(tmp_path):
    """At 10 frames per second frames 11 to 25 are 1.0 s to 2.5 s. The name is what the user uploaded."""
    tasks = [label_studio_task(1, "/data/upload/1/0a1b2c3d-cam1.mp4", timeline_region("walk", 11, 25)),
             label_studio_task(2, "/data/local-files/?d=videos/cam2.mp4"),
             label_studio_task(3, "s3://bucket/cam3.mp4", timeline_region("sit", 1, 5), annotations=[],
                               predictions=[{"result": [timeline_region("sit", 1, 5)]}])]
    path = write(tmp_path / "project-1.json", tasks)
    videos = read_annotations(path, options=ReadingOptions(fps=10))
    assert [video.name for video in videos] == ["cam1", "cam2", "cam3"]
    assert segments_of(videos[0]) == [(1.0, 2.5, "walk")]
    # An annotation without regions says that there is no action; a prediction says nothing.
    assert [video.annotated for video in videos] == [True, True, False] and not videos[2].labels
    info = write(tmp_path / "info.csv", "video,fps\ncam1,5\ncam2,5\ncam3,5\n")
    assert segments_of(read_annotations(path, info)[0]) == [(2.0, 5.0, "walk")]


def test_label_studio_min_and_skipped_tasks(tmp_path):
    small = [{"video": "/data/upload/1/0a1b2c3d-cam1.mp4", "id": 1, "annotator": 1, "annotation_id": 5,
              "videoLabels": [{"ranges": [{"start": 11, "end": 25}], "timelinelabels": ["walk"]}],
              "created_at": "2025-03-09T22:16:08Z", "updated_at": "2025-03-09T22:16:08Z"}]
    (video,) = read_annotations(write(tmp_path / "min.json", small), options=ReadingOptions(fps=10))
    assert video.name == "cam1" and segments_of(video) == [(1.0, 2.5, "walk")]
    task = label_studio_task(1, "cam1.mp4", timeline_region("walk", 11, 25))
    task["annotations"][0]["was_cancelled"] = True
    (video,) = read_annotations(write(tmp_path / "skipped.json", [task]), options=ReadingOptions(fps=10))
    assert video.annotated is False and not video.labels


def test_label_studio_time_series_and_sound_are_in_seconds(tmp_path):
    sound = {"original_length": 12.5, "value": {"start": 1, "end": 2.5, "channel": 0, "labels": ["bark"]}, "id": "x",
             "from_name": "label", "to_name": "audio", "type": "labels", "origin": "manual"}
    tasks = [label_studio_task(1, "/data/upload/1/0a1b2c3d-imu.csv", time_series_region("run", 0.5, 3.25)),
             label_studio_task(2, "/data/upload/1/0a1b2c3d-dog.wav", sound)]
    series, dog = read_annotations(write(tmp_path / "x.json", tasks))
    assert (series.name, segments_of(series)) == ("imu", [(0.5, 3.25, "run")])
    assert (dog.name, dog.duration_sec, segments_of(dog)) == ("dog", 12.5, [(1.0, 2.5, "bark")])


# --- plain tables and Audacity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "video,start,end,label\ncam1.mp4,1,2.5,walk\ncam2.mp4,,,\n",
    "Video;Start (s);Stop (s);Behavior;Duration;FPS;Split\ncam1;1;2,5;walk;;;\n".replace("2,5", "2.5") + "cam2;;;;;;\n",
    "video_id\tt-start\tt-end\tclass\ncam1\t0:01\t0:00:02.5\twalk\ncam2\t\t\t\n",
    "video,start_sec,end_sec,label,score\ncam1,1.000,2.500,walk,0.9\ncam2,,,,\n"])
def test_a_plain_table(tmp_path, text):
    first, second = read_annotations(write(tmp_path / "labels.csv", text))
    assert (first.name, segments_of(first), first.annotated) == ("cam1", [(1.0, 2.5, "walk")], True)
    assert (second.name, second.annotated) == ("cam2", False)


def test_a_table_can_hold_the_facts_of_its_videos_or_be_called_by_the_video(tmp_path):
    text = "video,start,end,label,duration,fps,subset\na,1,2,walk,10,25,Validation\n"
    assert facts_of(*read_annotations(write(tmp_path / "x.csv", text)))[:4] == ("a", 10.0, 25.0, "validation")
    (video,) = read_annotations(write(tmp_path / "cam7.csv", "start,end,label\n1,2,walk\n"))
    assert video.name == "cam7"


def test_an_audacity_label_track(tmp_path):
    """The line with a backslash is the frequency range of the label before it."""
    path = write(tmp_path / "cam1.txt", "1.000000\t2.500000\twalk\n\\\t100.0\t2000.0\n3.000000\t4.000000\tsit down\n")
    (video,) = read_annotations(path)
    assert video.name == "cam1" and segments_of(video) == [(1.0, 2.5, "walk"), (3.0, 4.0, "sit down")]


# --- all of them ------------------------------------------------------------------------------------------------------


def test_a_folder_and_a_pattern_are_read_file_by_file(tmp_path):
    folder = tmp_path / "annotations"
    write(folder / "a.eaf", ELAN)
    write(folder / "b.txt", "1\t2\tsit\n")
    write(folder / ".hidden.txt", "nothing")
    write(folder / "notes.md", "nothing")
    assert [video.name for video in read_annotations(folder)] == ["cam1", "b"]
    assert [video.name for video in read_annotations(folder / "*.txt")] == ["b"]


def test_points_become_segments_of_the_width_inside_of_the_recording(tmp_path):
    text = "video,start,end,label,duration\na,0.2,0.2,call,10\na,5,,call,10\na,9.8,9.8,call,10\n"
    (video,) = read_annotations(write(tmp_path / "x.csv", text), options=ReadingOptions(point_width_sec=1))
    assert segments_of(video) == [(0.0, 0.7, "call"), (4.5, 5.5, "call"), (9.3, 10.0, "call")]


def test_a_mark_says_which_recordings_are_annotated(tmp_path):
    """The mark may be a point, and is no class; without it a recording is unlabeled, whatever it shows."""
    text = "video,start,end,label\na,1,2,walk\na,0,0,complete\nb,1,2,walk\nc,0,,complete\n"
    path = write(tmp_path / "x.csv", text)
    videos = read_annotations(path, options=ReadingOptions(complete_label="complete"))
    assert [(video.name, video.annotated, video.labels) for video in videos] == [
        ("a", True, ("walk",)), ("b", False, ("walk",)), ("c", True, ())]
    assert labeled_split(videos, "annotated", 0) == ["a", "c"]
    assert set(labeled_split(videos, 1.0, 0)) == {"a", "c"}  # a share of those that are annotated
    listed = write(tmp_path / "complete.txt", "b\n")
    assert labeled_split(videos, str(listed), 0) == ["b"]


@pytest.mark.parametrize("last", [0, 1])
def test_what_is_unlabeled_says_nothing_beside_an_annotation(tmp_path, last):
    """Detections that a tool took in stand beside the annotation: a task with predictions alone, an observation without
    the mark, in one file or in two, before or after it. Two annotations of one recording are a fault in any order.
    """
    tasks = [label_studio_task(number, "cam1.mp4", timeline_region("walk", 11, 25)) for number in (1, 2)]
    tasks[1 - last]["annotations"] = []
    (video,) = read_annotations(write(tmp_path / "tasks.json", tasks), options=ReadingOptions(fps=10))
    assert video.annotated and segments_of(video) == [(1.0, 2.5, "walk")]

    found = boris_observation([1.0, "", "walk", ""], [2.0, "", "walk", ""])
    done = boris_observation([3.0, "", "call", ""], [5.0, "", "sit", ""], [7.0, "", "sit", ""])
    for number, observation in enumerate([found, done] if last else [done, found]):
        write(tmp_path / "two" / f"{number}.boris", boris_project(one=observation))
    (video,) = read_annotations(tmp_path / "two", options=ReadingOptions(complete_label="call"))
    assert video.annotated and segments_of(video) == [(5.0, 7.0, "sit")]
    with pytest.raises(SpotError, match="are both about the recording 'cam1'"):
        read_annotations(tmp_path / "two", options=ReadingOptions(point_width_sec=1))


def test_the_info_file_adds_facts_and_recordings_that_no_tool_knows(tmp_path):
    path = write(tmp_path / "x.csv", "video,start,end,label\na,1,2,walk\n")
    info = write(tmp_path / "info.csv", "video,subset,duration,fps\na,validation,10,25\nb,training,20,25\n")
    first, second = read_annotations(path, info)
    assert facts_of(first) == ("a", 10.0, 25.0, "validation", True, None)
    assert facts_of(second) == ("b", 20.0, 25.0, "training", False, None)


def test_our_own_json_can_say_which_videos_are_annotated():
    database = {"database": {name: {"annotated": mark, "annotations": []} for name, mark in
                             {"a": True, "b": False}.items()}}
    videos = read_annotations(database)
    assert labeled_split(videos, "annotated", 0) == ["a"]
