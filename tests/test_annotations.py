"""Every annotation format of the field, written by hand as its users have it, then the real files."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from spot.annotations import (
    class_names,
    clean_segments,
    labeled_split,
    match_name,
    read_annotations,
    read_class_file,
    read_video_ids,
    read_video_info,
    without_blocked,
)
from spot.files import SpotError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real annotation files of ../shared/data are not here"
)

RUN = {"segment": [1.0, 3.5], "label": "Running"}
INFO_HEADER = "video,numFrame,seconds,fps,rfps,subset,featureFrame\n"


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def database(**entries):
    return {"version": "VERSION 1.3", "taxonomy": [], "database": entries}


def entry(*annotations, **facts):
    return {"duration": 10.0, "subset": "training", "annotations": list(annotations), **facts}


def one_class_videos(counts):
    """counts {class: number of videos} -> videos named <class>0, <class>1, ..."""
    segments = {
        f"{label}{i}": entry({"segment": [0, 1], "label": label}) for label, n in counts.items() for i in range(n)
    }
    return read_annotations(database(**segments))


# --- formats -----------------------------------------------------------------------------------------------------


def test_activitynet_json(tmp_path):
    path = write(
        tmp_path / "activity_net.v1-3.min.json", database(sJSy7Vobk94=entry(RUN, resolution="320x240", url="u"))
    )
    (video,) = read_annotations(path)
    assert (video.name, video.duration_sec, video.fps, video.subset) == ("sJSy7Vobk94", 10.0, None, "training")
    assert (video.labels, video.label_ids, video.feature_duration_sec) == (("Running",), None, 10.0)
    np.testing.assert_array_equal(video.segments_sec, [[1.0, 3.5]])
    assert video.segments_sec.dtype == np.float64 and video.ambiguous_sec.shape == (0, 2)


def test_a_parsed_dict_reads_as_its_file(tmp_path):
    data = database(a=entry(RUN), b=entry())
    from_file, from_dict = read_annotations(write(tmp_path / "a.json", data)), read_annotations(data)
    assert [video.name for video in from_file] == [video.name for video in from_dict] == ["a", "b"]
    assert from_dict[1].segments_sec.shape == (0, 2) and from_dict[1].label_ids == ()


def test_bmn_flat_dict_takes_its_subset_from_the_csv(tmp_path):
    """98 of 100 frames have features, so they cover 9.8 of 10 s; 100 frames in 10 s are 10 frames per second."""
    flat = {
        "v_a": {"duration_second": 10.0, "duration_frame": 100, "feature_frame": 98, "annotations": [RUN]},
        "v_b": {"duration_second": 20.0, "duration_frame": 500, "feature_frame": 496, "annotations": []},
        "v_v_c": {"duration_second": 5.0, "duration_frame": 50, "feature_frame": 50, "annotations": []},
    }
    rows = "v_a,100,10.0,30.0,10.0,training_unlabel,98\nv_b,500,20.0,30.0,25.0,validation,496\n"
    videos = read_annotations(
        write(tmp_path / "anet_anno_action.json", flat), write(tmp_path / "video_info_new_0.9.csv", INFO_HEADER + rows)
    )
    assert [video.name for video in videos] == ["a", "b", "v_c"]
    assert [video.subset for video in videos] == ["training", "validation", ""]
    assert videos[0].feature_duration_sec == pytest.approx(9.8)
    assert (videos[0].fps, videos[1].fps) == (10.0, 25.0)


def test_opentad_json_counts_frames():
    (video,) = read_annotations(database(video_test_0000004=entry(RUN, subset="validation", frame=300)))
    assert (video.name, video.fps) == ("video_test_0000004", 30.0)


def test_actionformer_json_keeps_ids_and_lowers_the_subset():
    annotation = {**RUN, "label_id": 5, "segment(frames)": [30.0, 105.0]}
    (video,) = read_annotations(database(x=entry(annotation, subset="Validation", fps=29.97)))
    assert (video.subset, video.fps, video.label_ids) == ("validation", 29.97, (5,))


def test_gtad_json_has_segments_as_text_and_its_duration_in_a_csv(tmp_path):
    """AFSD's info file counts frames at the video's own rate: 900 / 30 = 30 s. Its extra row is no fault."""
    data = {"database": {"x": {"subset": "train", "annotations": [{"segment": ["18.6", "24.8"], "label": "HighJump"}]}}}
    path = write(tmp_path / "thumos_gt.json", data)
    info = write(
        tmp_path / "val_video_info.csv", "video,fps,sample_fps,count,sample_count\nx,30.0,10.0,900,300\ny,30,10,60,20\n"
    )
    assert read_annotations(path)[0].duration_sec is None
    (video,) = read_annotations(path, info)
    assert (video.duration_sec, video.fps, video.subset) == (30.0, 30.0, "train")
    np.testing.assert_array_equal(video.segments_sec, [[18.6, 24.8]])


def test_raw_thumos_tables_are_read_by_pattern_and_ambiguous_is_no_class(tmp_path):
    header = "video,type,type_idx,start,end,startFrame,endFrame\n"
    write(tmp_path / "val_Annotation.csv", header + "video_validation_0000051,Billiards,12,67.5,75.9,2025,2277\n")
    write(
        tmp_path / "test_Annotation.csv",
        header + "video_test_0000004,Ambiguous,0,0.2,1.1,6,33\nvideo_test_0000004,Diving,26,2,3,60,90\n",
    )
    test, val = read_annotations(tmp_path / "*_Annotation.csv")
    assert (test.name, test.subset, test.labels, test.label_ids) == ("video_test_0000004", "test", ("Diving",), (26,))
    np.testing.assert_array_equal(test.ambiguous_sec, [[0.2, 1.1]])
    assert (val.subset, val.duration_sec) == ("validation", None)


def test_raw_thumos_ground_truth_knows_duration_and_frame_rate(tmp_path):
    """label-idx counts the sorted detection classes from 0, so 7 is Diving; -1 is Ambiguous."""
    path = write(
        tmp_path / "thumos14_test_groundtruth.csv",
        "video-name,t-init,t-end,f-init,f-end,video-duration,frame-rate,video-frames,label-idx\n"
        "video_test_0000278,0.0,1.4,0,42,215.2,25.0,5380,-1\nvideo_test_0000278,2.0,3.0,50,75,215.2,25.0,5380,7\n",
    )
    (video,) = read_annotations(path)
    assert (video.duration_sec, video.fps, video.labels, len(video.ambiguous_sec)) == (215.2, 25.0, ("Diving",), 1)


def test_segments_stay_as_the_file_has_them():
    dirty = [{"segment": [5.0, 4.0], "label": "a"}, {"segment": [-1.0, 99.0], "label": "a"}]
    (video,) = read_annotations(database(x=entry(*dirty)))
    np.testing.assert_array_equal(video.segments_sec, [[5.0, 4.0], [-1.0, 99.0]])


def test_v_is_a_prefix_only_where_every_id_has_it():
    """ActivityNet's own ids hold v_UmAH95xls: in the official file, without prefixes, it is the whole id."""
    assert [video.name for video in read_annotations(database(v_UmAH95xls=entry(), QOlSCBRmfWY=entry()))] == [
        "v_UmAH95xls",
        "QOlSCBRmfWY",
    ]
    assert [video.name for video in read_annotations(database(v_v_UmAH95xls=entry(), v_QOlSCBRmfWY=entry()))] == [
        "v_UmAH95xls",
        "QOlSCBRmfWY",
    ]
    assert match_name("v_a", {"a"}) == "a" and match_name("a", {"v_a"}) == "v_a" and match_name("b", {"a"}) is None


# --- faults ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"results": {}}, "annotation file"),
        ({}, "no video"),
        (database(), "no video"),
        ({"database": [1]}, "annotation file"),
        (database(x=entry({"segment": [1], "label": "a"})), "'x'.*segment"),
        (database(x=entry({"segment": [1, "soon"], "label": "a"})), "'x'.*'soon'"),
        (database(x=entry({"segment": [1, float("nan")], "label": "a"})), "'x'.*nan"),
        (database(x=entry({"segment": [1, 10**400], "label": "a"})), "finite"),
        (database(x=entry({"segment": [1, True], "label": "a"})), "True"),
        (database(x=entry({"segment": [1, 2]})), "'x'.*label"),
        (database(x=entry({"segment": [1, 2], "label": None})), "'x'.*label"),
        (database(x=entry({**RUN, "label_id": "five"})), "'five'"),
        (database(x=entry("Running")), "'x'.*segment"),
        (database(x={"annotations": {"a": 1}}), "not a list"),
        (database(x=entry(duration=-3)), "duration.*-3"),
        (database(x=entry(duration="long")), "duration.*'long'"),
        (database(x=entry(subset=4)), "subset is 4"),
        (database(**{"../../x": entry()}), r"\.\./\.\./x.*plain name"),
        (database(**{"/etc/passwd": entry()}), "plain name"),
        (database(**{"a\\..\\b": entry()}), "plain name"),
        (database(**{"C:x": entry()}), "plain name"),
        (database(**{"": entry()}), "plain name"),
        (database(**{"a\0b": entry()}), "plain name"),
        (database(v_x=entry(), x=entry()), "two videos"),
    ],
)
def test_a_fault_is_one_sentence_with_file_and_video(tmp_path, data, words):
    path = write(tmp_path / "broken.json", data)
    with pytest.raises(SpotError, match=f"broken.json.*{words}"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cut.json", '{"database": {"x"', "not valid JSON"),
        ("list.json", "[1]", "list"),
        ("twice.json", '{"database": {"x": {"annotations": []}, "y": {}, "x": {}}}', "two entries are called 'x'"),
        ("empty.csv", "", "not a CSV table"),
        ("cut.csv", "video,type,type_idx,start,end\nx,Diving,26,1,2\nx,Diving,26", "line 3 has 3 cells, the header 5"),
        ("other.csv", "a,b\n1,2\n", "columns a, b"),
        ("long_row.csv", "video,type,type_idx,start,end\nx,Diving,26,1,2,3\n", "not a CSV table"),
        ("no_rows.csv", "video,type,type_idx,start,end\n", "no segment"),
        ("index.csv", "video-name,t-init,t-end,label-idx\nx,1,2,77\n", "'x'.*label"),
        ("missing/nothing.json", None, "cannot be read"),
        ("*.nothing", None, "no file matches"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, name, content, words):
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(SpotError, match=words):
        read_annotations(tmp_path / name)


def test_info_faults(tmp_path):
    data = database(x=entry())
    row = "v_z,100,10.0,30.0,10.0,training,98\n"
    with pytest.raises(SpotError, match=r"info.csv.*'v_z' is not in"):
        read_annotations(data, write(tmp_path / "info.csv", INFO_HEADER + row))
    with pytest.raises(SpotError, match="two different rows"):
        read_video_info(write(tmp_path / "info.csv", INFO_HEADER + row + row.replace("98", "97")))
    with pytest.raises(SpotError, match="needs one named video"):
        read_video_info(write(tmp_path / "info.csv", "id,subset\nx,training\n"))
    with pytest.raises(SpotError, match="names no video"):
        read_video_info(write(tmp_path / "info.csv", INFO_HEADER))
    with pytest.raises(SpotError, match="line 2 has 4 cells, the header 7"):  # it would have been in no subset
        read_video_info(write(tmp_path / "info.csv", INFO_HEADER + "v_z,100,10.0,30.0"))
    with pytest.raises(SpotError, match=r"'v_z'.*feature_frames.*'many'"):
        read_video_info(write(tmp_path / "info.csv", INFO_HEADER + row.replace("98", "many")))


def test_all_faults_are_told_at_once(tmp_path):
    """As the data check reads: six faults in four videos and a table, and what is sound is still there.

    That y could not be read does not make its row in the table a fault.
    """
    entries = {"x": entry(RUN, {"segment": [1], "label": "a"}, {"segment": [1, 2]}), "v_x": entry(RUN),
               "y": entry(duration="long"), "z": entry(RUN)}
    path = write(tmp_path / "a.json", json.dumps(database(**entries))[:-2] + ', "z": {"annotations": []}}}')
    sentences = []

    def attempt(function, *arguments):
        try:
            return function(*arguments)
        except SpotError as error:
            sentences.append(str(error))

    rows = "y,100,10.0,30.0,10.0,training,98\nz,many,10.0,30.0,10.0,training,98\n"
    info = write(tmp_path / "info.csv", INFO_HEADER + rows)
    videos = read_annotations(path, info, attempt)
    assert [(video.name, len(video.labels)) for video in videos] == [("x", 1), ("v_x", 1), ("z", 0)]
    wanted = ("info.csv, video 'z', frames: 'many'", "two entries are called 'z'", "'x'.*has no `segment`",
              "'x'.*has no `label`", "'y', duration: 'long'", "two videos are called 'v_x'")
    assert len(sentences) == len(wanted)
    for words in wanted:
        assert sum(bool(re.search(words, sentence)) for sentence in sentences) == 1, words


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
almost_annotations = st.fixed_dictionaries(
    {"annotations": st.lists(st.fixed_dictionaries({"segment": json_values, "label": json_values}), max_size=2)},
    optional=dict.fromkeys(("duration", "duration_second", "fps", "subset", "feature_frame", "frame"), json_values),
)


@cases(100)
@given(st.dictionaries(st.text(max_size=6), almost_annotations | json_values, max_size=3), st.booleans())
def test_any_json_is_read_or_refused_in_a_sentence(entries, flat):
    try:
        videos = read_annotations(entries if flat else {"database": entries})
    except SpotError as error:
        assert "\n" not in str(error)
    else:
        assert len(videos) == len(entries)


@cases(100)
@given(
    header=st.sampled_from(
        [
            "video,type,type_idx,start,end",
            "video-name,t-init,t-end,label-idx,video-duration,frame-rate",
            "video,numFrame,seconds,fps,rfps,subset,featureFrame",
            "id,label",
        ]
    ),
    rows=st.lists(st.text('01.,-"\\\n\r\0 aNé', max_size=30), max_size=3),
    noise=st.binary(max_size=3),
)
def test_any_table_is_read_or_refused_in_a_sentence(tmp_path_factory, header, rows, noise):
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_bytes("\n".join([header, *rows]).encode() + noise)
    videos = one_class_videos({"a": 1})
    readers = (read_annotations, read_video_info, read_class_file, read_video_ids)
    for read in (*readers, lambda path: labeled_split(videos, path, 0)):
        try:
            read(path)
        except SpotError as error:
            assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(("label_id", "found"), [(3, 3), ("3", 3), (3.0, 3), ("3.0", 3), (" 3", 3)])
def test_a_class_id_is_a_whole_number_however_it_is_written(label_id, found):
    assert read_annotations(database(x=entry({**RUN, "label_id": label_id})))[0].label_ids == (found,)


def test_a_null_is_no_class_id():
    for nothing in (None, "", float("nan")):
        assert read_annotations(database(x=entry({**RUN, "label_id": nothing})))[0].label_ids is None


def test_labels_and_ids_have_one_spelling():
    """A space, a byte order mark, a form of Unicode and a number as text make no second class, and no second video."""
    labels = ["Über", "U\u0308ber", "Über ", "\ufeffÜber", 3, "3", 3.0]
    (video,) = read_annotations(database(**{" x\u200b": entry(*({**RUN, "label": label} for label in labels))}))
    assert video.name == "x" and video.labels == ("Über",) * 4 + ("3",) * 3
    with pytest.raises(SpotError, match="two videos are called 'x'"):
        read_annotations(database(**{"x": entry(), "x ": entry()}))


@pytest.mark.parametrize("fps", [0, "0", "0/0", -1, "nan", "N/A", None, float("nan")])
def test_a_rate_that_is_none_is_not_known(fps):
    """The next key that tells one counts; a file must not be refused for a rate that the settings give."""
    assert read_annotations(database(x=entry(RUN, fps=fps)))[0].fps is None
    assert read_annotations(database(x=entry(RUN, rfps=fps, fps=25)))[0].fps == 25


def test_a_rate_is_read_as_programs_write_it():
    rates = {"a": "25/1", "b": "30000/1001", "c": "29.97"}
    videos = read_annotations(database(**{name: entry(fps=fps) for name, fps in rates.items()}))
    assert [round(video.fps, 2) for video in videos] == [25, 29.97, 29.97]


def test_keys_in_another_case_and_with_other_separators_are_read():
    (video,) = read_annotations({"x": {"Duration": 8, "Frame_Rate": 25, "split": "Train", "Annotations": [RUN]}})
    assert (video.duration_sec, video.fps, video.subset, video.labels) == (8, 25, "train", ("Running",))


def test_a_duration_of_nothing_is_not_known():
    for nothing in (0, None, float("nan"), ""):
        assert read_annotations(database(x=entry(duration=nothing)))[0].duration_sec is None


@pytest.mark.parametrize("key", ["annotation", "annots", "segments", "timestamps", "labels", "anotations", "events"])
@pytest.mark.parametrize("flat", [True, False])
def test_another_key_for_the_annotations_is_named(key, flat):
    """It was read as a video without a segment."""
    entries = {"x": {"duration": 10.0, "subset": "training", key: [RUN]}}
    with pytest.raises(SpotError, match=f"'x'.*but '{key}'; rename it to `annotations`"):
        read_annotations(entries if flat else {"database": entries})


def test_a_video_without_annotations_is_one_without_a_segment():
    """As in the testing subset of some data sets: nothing else in it looks like segments."""
    (video,) = read_annotations({"database": {"x": {"duration": 10.0, "url": "u", "tags": [], "labels": []}}})
    assert video.labels == ()


@pytest.mark.parametrize(("annotation", "words"), [
    ({"timestamp": [1, 2], "label": "a"}, "no `segment`.*but 'timestamp'; rename it to `segment`"),
    ({"start": 1, "end": 2, "label": "a"}, "no `segment`.*but 'start'"),
    ({"segment": [1, 2], "class": "a"}, "no `label`.*but 'class'; rename it to `label`"),
    ({"segment": [1, 2], "lable": "a"}, "no `label`.*but 'lable'"),
])
def test_another_key_for_a_segment_or_a_label_is_named(annotation, words):
    with pytest.raises(SpotError, match=words):
        read_annotations(database(x=entry(annotation)))


def test_ids_of_the_table_may_be_spelled_differently(tmp_path):
    """abc.mp4 and ABC in the table; where abc has a row of its own, ABC does not take it."""
    data = {"abc": {"annotations": []}}
    for video_id in ("abc.mp4", "ABC", "v_abc", "clips/abc.avi"):
        info = write(tmp_path / "i.csv", INFO_HEADER + f"{video_id},100,10.0,30.0,10.0,training,98\n")
        assert read_annotations(data, info)[0].duration_sec == 10
    info = write(tmp_path / "i.csv", INFO_HEADER + "abc,100,10.0,30.0,10.0,training,98\n")
    assert [video.duration_sec for video in read_annotations({**data, "ABC": {"annotations": []}}, info)] == [10, None]


# --- segments and classes ----------------------------------------------------------------------------------------


def test_clean_segments_clips_and_drops():
    """In a video of 10 s: [8, 12] is clipped to [8, 10], [-1, 2] to [0, 2]; [5, 4], [3, 3] and [11, 12] are empty."""
    spans = [[8, 12], [5, 4], [-1, 2], [3, 3], [11, 12], [6, 7]]
    (video,) = read_annotations(database(x=entry(*({"segment": s, "label": f"c{i}"} for i, s in enumerate(spans)))))
    segments_sec, labels, counts = clean_segments(video)
    np.testing.assert_array_equal(segments_sec, [[8, 10], [0, 2], [6, 7]])
    assert labels == ("c0", "c2", "c5")
    assert counts == {"clipped": 2, "dropped": 3}
    np.testing.assert_array_equal(video.segments_sec, spans)


def test_clean_segments_without_a_duration_clips_only_the_start():
    (video,) = read_annotations(database(x={"annotations": [{"segment": [-1, 1e6], "label": "a"}]}))
    np.testing.assert_array_equal(clean_segments(video)[0], [[0, 1e6]])


def test_clean_segments_ends_with_the_features_where_no_duration_is_known():
    """The features of x end after 5 s; y is 10 s long, wherever its features end."""
    segments = [{"segment": span, "label": "a"} for span in ([4, 6], [6, 8])]
    x, y = read_annotations(database(x={"annotations": segments}, y=entry(*segments)))
    spans, _, counts = clean_segments(x, 5.0)
    assert spans.tolist() == [[4, 5]] and counts == {"clipped": 1, "dropped": 1}
    assert clean_segments(y, 5.0)[0].tolist() == [[4, 6], [6, 8]]


def test_class_names_are_sorted_or_in_the_order_of_their_ids():
    def videos(*pairs):
        return read_annotations(database(x=entry(*({**RUN, "label": name, "label_id": i} for name, i in pairs))))

    assert class_names(videos(("b", None), ("a", None))) == ["a", "b"]
    assert class_names(videos(("b", 3), ("a", 9), ("c", 0))) == ["c", "b", "a"]
    assert class_names(videos(("b", 3), ("a", 3))) == ["a", "b"], "one id for two labels is no order"
    assert class_names(videos(("b", 0), ("a", 1), ("a", 2))) == ["a", "b"], "nor are two ids for one label"


def test_class_file_as_csv_as_text_and_as_numbered_text(tmp_path):
    assert read_class_file(write(tmp_path / "a.csv", "id,label\n1,Archery\n0,Beer pong\n")) == ["Beer pong", "Archery"]
    assert read_class_file(write(tmp_path / "category_idx.txt", "Beer pong\n\n3D printing\n")) == [
        "Beer pong",
        "3D printing",
    ]
    assert read_class_file(write(tmp_path / "detclasslist.txt", "9 Dunk\n7 Pitch\n")) == ["Pitch", "Dunk"]


def test_a_class_list_whose_names_begin_with_digits(tmp_path):
    """classes.txt of a run on such classes; the labels tell names from ids."""
    labels = ["1 leg stand", "2 hands up"]
    path = write(tmp_path / "classes.txt", "1 leg stand\n2 hands up\n")
    videos = read_annotations(database(x=entry(*({**RUN, "label": label} for label in labels))))
    assert class_names(videos, path) == read_class_file(path, labels) == labels
    assert read_class_file(path) == ["leg stand", "hands up"]
    assert read_class_file(path, ["hands up", "leg stand"]) == ["leg stand", "hands up"]


def test_a_class_list_is_spelled_like_the_annotations(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("U\u0308ben \r\nGehen\r\n", encoding="utf-16")
    videos = read_annotations(database(x=entry({**RUN, "label": "Üben"}, {**RUN, "label": "Gehen\u00a0"})))
    assert class_names(videos, path) == ["Üben", "Gehen"]
    ids = write(tmp_path / "c.csv", "\ufeffid,label\n1.0,Gehen\n0,Üben\n")
    assert class_names(videos, ids) == ["Üben", "Gehen"]


def test_ambiguous_is_no_class_of_a_class_file_either(tmp_path):
    """OpenTAD lists every label that the annotations of THUMOS14 have."""
    listed = write(tmp_path / "category_idx.txt", "Ambiguous\nDiving\nBilliards\n")
    assert read_class_file(listed) == ["Diving", "Billiards"]
    with pytest.raises(SpotError, match="lists no class"):
        read_class_file(write(tmp_path / "c.txt", "Ambiguous\n"))


def test_class_file_faults(tmp_path):
    videos = read_annotations(database(x=entry(RUN)))
    assert class_names(videos, write(tmp_path / "c.txt", "Walking\nRunning\n")) == ["Walking", "Running"]
    for content, words in (("Walking\n", "'Running' is in the annotations"), ("", "no class"), ("a\na\n", "twice")):
        with pytest.raises(SpotError, match=words):
            class_names(videos, write(tmp_path / "c.txt", content))
    for content, words in (("name\nx\n", "needs id and label"), ("id,label\nx,Running\n", "whole number"),
                           ("id,label\n3,Running\n3,Walking\n", "'Running' and 'Walking' have one id, 3")):
        with pytest.raises(SpotError, match=words):
            class_names(videos, write(tmp_path / "c.csv", content))


def test_the_published_class_ids_are_200_names_not_sorted():
    names = read_class_file(Path(__file__).parents[1] / "config" / "published_class_ids.csv")
    assert len(names) == 200 and names[:2] == ["Beer pong", "Kneeling"]


# --- videos to leave out -----------------------------------------------------------------------------------------


def test_lists_of_video_ids(tmp_path):
    """blocked.json as a list, as reasons by id, and empty; missing_files.txt, whose last line OpenTAD leaves open."""
    assert read_video_ids(write(tmp_path / "a.json", ["a", "v_b"])) == ["a", "v_b"]
    assert read_video_ids(write(tmp_path / "a.json", {"a": "gone", "b": None})) == ["a", "b"]
    assert read_video_ids(write(tmp_path / "a.json", [])) == read_video_ids(write(tmp_path / "a.txt", "")) == []
    assert read_video_ids(write(tmp_path / "a.txt", "a\nb c")) == ["a", "b c"]
    for content in ([1], "x", 3, [["a"]], None):
        with pytest.raises(SpotError, match=r"a\.json: is no list of video ids"):
            read_video_ids(write(tmp_path / "a.json", json.dumps(content)))


def test_blocked_videos_are_left_out_with_or_without_prefix(tmp_path):
    """`never` is in BMN's list but not in these annotations: no fault."""
    videos = read_annotations(database(v_a=entry(), v_b=entry(), v_v_c=entry()))
    path = write(tmp_path / "blocked.json", ["v_a", "v_c", "never"])
    kept, count = without_blocked(videos, path)
    assert [video.name for video in kept] == ["b"] and count == 2
    assert without_blocked(videos, None) == (videos, 0)


# --- labeled split -----------------------------------------------------------------------------------------------


def test_a_fraction_covers_classes_evenly_and_follows_its_seed():
    """10 % of 40 videos are 4: one of each of the 4 classes, though class a has 30 of the 40 videos."""
    videos = one_class_videos({"a": 30, "b": 4, "c": 4, "d": 2})
    for seed in range(5):
        chosen = labeled_split(videos, 0.1, seed)
        assert sorted(name[0] for name in chosen) == ["a", "b", "c", "d"]
        assert chosen == labeled_split(videos, "0.1", seed)
        order = [video.name for video in videos]
        assert chosen == sorted(chosen, key=order.index)
    assert len({tuple(labeled_split(videos, 0.1, seed)) for seed in range(5)}) > 1


def test_a_fraction_covers_with_videos_of_several_classes():
    """Two of three videos: a class that is only in z (ab) must not be lost to x and y, which both hold a."""
    spans = {"x": "a", "y": "a", "z": "ab"}
    data = {name: entry(*({"segment": [0, 1], "label": label} for label in labels)) for name, labels in spans.items()}
    for seed in range(5):
        assert "z" in labeled_split(read_annotations(database(**data)), 0.6, seed)


@pytest.mark.parametrize(("fraction", "count"), [(1, 7), (1.0, 7), (0.5, 4), (0.6, 4), (0.001, 1)])
def test_a_fraction_takes_the_rounded_number_of_videos(fraction, count):
    videos = one_class_videos({"a": 3, "b": 2})
    videos += [*read_annotations(database(empty0=entry(), empty1=entry()))]
    assert len(set(labeled_split(videos, fraction, 0))) == count


def test_a_file_of_ids_with_or_without_prefix(tmp_path):
    videos = one_class_videos({"a": 3})
    assert labeled_split(videos, str(write(tmp_path / "labeled.txt", "v_a2\na0\n\n")), 0) == ["a0", "a2"]
    assert labeled_split(videos, write(tmp_path / "labeled.txt", "A0.mp4\r\nv_a2\r\n"), 0) == ["a0", "a2"]
    with pytest.raises(SpotError, match=r"labeled.txt: 'v_b1', 'c' are not in"):
        labeled_split(videos, write(tmp_path / "labeled.txt", "a0\nv_b1\nc\n"), 0)
    with pytest.raises(SpotError, match="names no video"):
        labeled_split(videos, write(tmp_path / "labeled.txt", "\n"), 0)
    with pytest.raises(SpotError, match="cannot be read"):
        labeled_split(videos, tmp_path / "absent.txt", 0)


def test_info_takes_the_rows_that_are_not_unlabeled(tmp_path):
    rows = "v_a0,9,9,1,1,training_unlabel,9\nv_a1,9,9,1,1,training,9\n"
    info = write(tmp_path / "info.csv", INFO_HEADER + rows)
    videos = read_annotations(database(a0=entry(RUN), a1=entry(RUN, subset="testing")), info)
    assert [video.subset for video in videos] == ["training", "training"]
    assert labeled_split(videos, "info", 0, info) == ["a1"]
    with pytest.raises(SpotError, match="video_info_path"):
        labeled_split(videos, "info", 0)
    with pytest.raises(SpotError, match="label at least one"):
        labeled_split(videos[:1], "info", 0, info)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, 10, "nan", "inf"])
def test_a_fraction_outside_zero_and_one_is_refused(fraction):
    with pytest.raises(SpotError, match=r"dataset\.labeled"):
        labeled_split(one_class_videos({"a": 3}), fraction, 0)


def test_no_training_video_is_refused():
    with pytest.raises(SpotError, match="train_subset"):
        labeled_split([], 0.1, 0)


# --- the real files ----------------------------------------------------------------------------------------------


def subset_counts(videos):
    segments = Counter()
    for video in videos:
        segments[video.subset] += len(video.labels)
    return {name: (count, segments[name]) for name, count in Counter(video.subset for video in videos).items()}


@needs_shared
def test_real_thumos_files():
    folder = SHARED / "thumos14"
    actionformer = read_annotations(folder / "thumos14.json")
    assert subset_counts(actionformer) == {"validation": (200, 3007), "test": (212, 3358)}
    assert len(class_names(actionformer)) == 20
    gtad = read_annotations(folder / "thumos_gt.json", folder / "thumos14_test_groundtruth.csv")
    assert subset_counts(gtad)["train"] == (200, 3007) and subset_counts(gtad)["test"][0] == 210
    assert all(video.duration_sec for video in gtad if video.subset == "test")
    tables = read_annotations(folder / "*_Annotation.csv")
    assert subset_counts(tables) == {"validation": (200, 3007), "test": (213, 3358)}
    table = read_annotations(folder / "thumos14_test_groundtruth.csv")
    assert sum(video.fps != 30 for video in table) == 17
    by_name = {video.name: sorted(video.labels) for video in table}
    assert by_name == {video.name: sorted(video.labels) for video in tables if video.subset == "test"}
    assert class_names(table) == class_names(actionformer) == class_names(tables)


@needs_shared
def test_real_activitynet_files():
    folder = SHARED / "anet"
    info = folder / "video_info_new_0.9.csv"
    videos = read_annotations(folder / "anet_anno_action.json", info)
    assert Counter(video.subset for video in videos) == {"training": 9649, "validation": 4728, "testing": 4851}
    assert sum((video.segments_sec[:, 1] <= video.segments_sec[:, 0]).sum() for video in videos) == 12
    assert class_names(videos) == sorted(class_names(videos, folder / "published_class_ids.csv"))
    training = [video for video in videos if video.subset == "training"]
    assert len(labeled_split(training, "info", 0, info)) == 966
    assert len(labeled_split(training, "info", 0, folder / "video_info_new_0.4.csv")) == 5782
    drawn = labeled_split(training, 0.1, 0)
    per_class = Counter(video.labels[0] for video in training if video.name in set(drawn))
    assert len(drawn) == 965 and len(per_class) == 200 and min(per_class.values()) >= 4


@needs_shared
def test_real_sbhar_files():
    videos = read_annotations(SHARED / "sbhar" / "annotations.json")
    assert subset_counts(videos) == {"training": (42, 849), "validation": (19, 365)}
    assert class_names(videos)[:2] == ["WALKING", "WALKING_UPSTAIRS"]
    training = [video for video in videos if video.subset == "training"]
    splits = [labeled_split(training, 0.1, seed) for seed in range(6)]
    assert len({tuple(split) for split in splits}) == 6
    for split in splits:
        assert len({label for video in training if video.name in split for label in video.labels}) == 12
