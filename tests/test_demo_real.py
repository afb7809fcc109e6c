"""The real demo: a tiny stand-in for the package its data come from, joined into recordings; and its commands."""

import io
import zipfile

import numpy as np
import pytest

from spot.annotations import read_annotations
from spot.features import FeatureSource
from spot.files import SpotError, write_json
from tools import convert_watch, demo, demo_real

LENGTHS = (400, 500, 600)


def content_of(people=(1, 2, 3, 4, 5), value=0.0):
    """What watch_dataset.npy holds: three exercises of each person's left arm, and one of the first one's right arm."""
    rows = [(person, 0.0, k) for person in people for k in range(3)] + [(people[0], 1.0, 2)]
    return {"X": [np.full((LENGTHS[k], 6), value + k) for _, _, k in rows], "y": np.array([k for *_, k in rows]),
            "subject": np.array([person for person, *_ in rows]), "side": np.array([side for _, side, _ in rows]),
            "X_labels": list(convert_watch.AXES), "y_labels": ["PEN", "ABD", "new one"]}


def write(path, content):
    """A wheel, or for another suffix the array alone."""
    file = io.BytesIO()
    np.save(file, np.array(content, dtype=object), allow_pickle=True)
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(convert_watch.MEMBER, file.getvalue())
    else:
        path.write_bytes(file.getvalue())
    return path


@pytest.mark.parametrize("name", ["seglearn-1.2.5-py3-none-any.whl", "watch_dataset.npy"])
def test_series_come_out_of_the_package_as_they_are(tmp_path, name):
    series = convert_watch.read_watch(write(tmp_path / name, content_of()))
    assert len(series) == 16
    assert (series[1].exercise, series[1].person, series[1].side) == ("abduction", 1, "left")
    assert (series[-1].exercise, series[-1].side) == ("new one", "right")
    np.testing.assert_array_equal(series[1].samples, np.ones((500, 6)))


def test_a_recording_holds_every_sample_of_its_exercises_and_pauses_between(tmp_path):
    """Three series of 8, 10 and 12 s with four pauses of 3 to 12 s each: 42 to 78 s."""
    series = convert_watch.read_watch(write(tmp_path / "x.npy", content_of((1,))))[:3]
    samples, segments = convert_watch.join(series, np.random.default_rng(0))
    assert 42 * 50 <= len(samples) <= 78 * 50 and samples.shape[1] == 6
    assert [label for *_, label in segments] == ["pendulum", "abduction", "new one"]
    edges = np.array([0, *(edge for first, last, _ in segments for edge in (first, last)), len(samples)])
    assert ((np.diff(edges)[::2] >= 150) & (np.diff(edges)[::2] <= 600)).all()  # the pauses
    for (first, last, _), one in zip(segments, series, strict=True):
        np.testing.assert_array_equal(samples[first:last], one.samples)


def test_a_pause_leads_from_one_exercise_to_the_next_and_rests_in_between():
    """From acceleration 0 to 2 g, where the arm turns by 5 rad/s before and not after; noise and wandering aside."""
    before = np.repeat([[0.0, 0, 0, 5, 5, 5]], 100, axis=0)
    after = np.repeat([[2.0, 2, 2, 0, 0, 0]], 100, axis=0)
    made = [convert_watch.pause(before, after, 500, np.random.default_rng(seed)) for seed in range(40)]
    mean = np.mean(made, axis=0)
    assert mean[0] == pytest.approx(before[-1], abs=0.1) and mean[-1] == pytest.approx(after[0], abs=0.1)
    assert mean[250] == pytest.approx([1, 1, 1, 0, 0, 0], abs=0.25)
    assert (np.std(made, axis=0)[250] > [0.05] * 3 + [0.2] * 3).all()  # an arm at rest is not still


def test_the_conversion_writes_what_a_training_reads(tmp_path):
    """Five people, of whom 40 % = 2 are for validation; windows of 100 samples every 50, 55 channels of an axis."""
    words = convert_watch.convert(convert_watch.read_watch(write(tmp_path / "x.npy", content_of())), tmp_path / "out")
    videos = read_annotations(tmp_path / "out" / "annotations.json")
    assert "6 recordings of 5 people" in words and len(videos) == 6
    assert len({video.name.partition("_")[0] for video in videos if video.subset == "validation"}) == 2
    one = next(video for video in videos if video.name == "person01_left")
    assert sorted(one.labels) == ["abduction", "new one", "pendulum"]
    assert sorted((one.segments_sec[:, 1] - one.segments_sec[:, 0]).round(2)) == [8, 10, 12]
    source = FeatureSource(tmp_path / "out" / "features", 330)
    assert source.times.settings() == {"stride": 50, "window": 100, "fps": 50, "feat_dim": 330}
    assert source.read("person01_left").shape == (330, int((one.duration_sec * 50 - 100) // 50) + 1)


def test_exercises_are_shared_out_to_recordings(tmp_path):
    """Of three exercises of an arm two and one; the right arm of the first person has one, so one recording."""
    convert_watch.convert(convert_watch.read_watch(write(tmp_path / "x.npy", content_of())), tmp_path / "out", parts=2)
    labels = {video.name: video.labels for video in read_annotations(tmp_path / "out" / "annotations.json")}
    assert len(labels) == 11 and len(labels["person01_right_1"]) == 1
    assert [len(labels[f"person02_left_{part}"]) for part in (1, 2)] == [2, 1]
    assert sorted(labels["person02_left_1"] + labels["person02_left_2"]) == ["abduction", "new one", "pendulum"]


def test_the_same_file_gives_the_same_recordings(tmp_path):
    series = convert_watch.read_watch(write(tmp_path / "x.npy", content_of()))
    for name in ("a", "b"):
        convert_watch.convert(series, tmp_path / name)
    for file in ("features/person03_left.npy", "features/features.json", "annotations.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("change", [{"X": []}, {"subject": None}, {"y": np.array([9] * 16)},
                                    {"X": [np.zeros((5, 4))] * 16}, {"X": [np.full((5, 6), np.nan)] * 16}])
def test_another_file_is_refused_in_a_sentence(tmp_path, change):
    path = write(tmp_path / "x.npy", content_of() | change)
    with pytest.raises(SpotError, match=r"x\.npy: (is not the watch data of seglearn|expected a label)"):
        convert_watch.read_watch(path)


def test_no_file_and_another_wheel_say_where_to_get_it(tmp_path):
    with pytest.raises(SpotError, match=r"none\.whl: No such file.*pip download --no-deps seglearn==1\.2\.5"):
        convert_watch.read_watch(tmp_path / "none.whl")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("other/__init__.py", "")
    with pytest.raises(SpotError, match=r"other\.whl: is not the watch data of seglearn 1\.2\.5"):
        convert_watch.read_watch(tmp_path / "other.whl")


def test_the_demo_trains_three_ways_and_says_where_to_look(tmp_path, monkeypatch, capsys):
    """In a project of its own, in which nothing is trained: the commands, the table, and the next command."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "demo_real.yaml").write_text(
        "dataset: {video_anno_path: data/demo_real/annotations.json, feature_path: data/demo_real/features}\n")
    write(tmp_path / "x.whl", content_of())
    monkeypatch.chdir(tmp_path)
    given = []

    def measure(words):
        folder = words[0].removeprefix("output_path=")
        given.append(("eval", *words))
        write_json(tmp_path / folder / "metrics.json",
                   {"average_mAP": len(given) / 100, "whole_video_average_mAP": 0.1, "num_videos": 3})

    monkeypatch.setattr(demo, "train", lambda words: given.append(("train", *words)))
    monkeypatch.setattr(demo, "infer", lambda words: given.append(("infer", *words)))
    monkeypatch.setattr(demo, "evaluate", measure)
    demo_real.main(["x.whl"])
    said = capsys.readouterr().out
    assert [words[0] for words in given] == ["train", "infer", "eval"] * 3
    assert given[0][3:] == ("output_path=runs/demo_real_labels_only", "semi.method=none")
    assert given[7][1:] == ("checkpoint=runs/demo_real", "--plot")
    assert given[8][2:] == ("--report", "runs/demo_real/report")
    assert "labels only            3.0 %" in said and "all labels             6.0 %" in said
    assert "runs/demo_real/report/report.html" in said
    assert "python spot_inference.py runs/demo_real features=data/demo_real/features/person0" in said
    write_json(tmp_path / "data" / "demo_real" / "annotations.json", {"version": "mine", "database": {}})
    with pytest.raises(SpotError, match="is not the demo's"):
        demo_real.main(["x.whl"])
