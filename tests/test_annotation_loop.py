"""The whole way once: annotations as a tool exports them, a training, detections back into the tool."""

import csv

import pytest
from test_scripts import settings
from tool_files import label_studio_task, timeline_region

import eval as evaluation_script
import spot_inference
import spot_train
from spot.annotations import read_annotations
from spot.evaluation import evaluate_detections
from spot.files import SpotError, read_json, write_json
from spot.synthetic import write_demo


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """8 recordings with features; a table of the annotations of 4, one of them a point; nothing of the others."""
    folder = tmp_path_factory.mktemp("data")
    write_demo(folder, training=8, validation=1, classes=3, feat_dim=6, duration_sec=(60, 70))
    training = [video for video in read_annotations(folder / "annotations.json") if video.subset == "training"]
    (folder / "tool").mkdir()
    with (folder / "tool" / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["video", "start", "end", "label", "duration", "fps"])
        for video in training[:4]:
            table.writerows([f"{video.name}.mp4", start, end, label, video.duration_sec, 25]
                            for (start, end), label in zip(video.segments_sec, video.labels, strict=True))
        table.writerow([f"{training[3].name}.mp4", 1, 1, training[3].labels[0], training[3].duration_sec, 25])
    with (folder / "info.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["video", "duration", "fps"],
                                    *([video.name, video.duration_sec, 25] for video in training)])
    for path in (folder / "features").iterdir():
        if path.stem.removeprefix("v_") not in {video.name for video in training}:
            path.unlink()
    return folder


def test_a_few_annotated_recordings_train_and_the_others_are_unlabeled(data, tmp_path, capsys):
    """4 of 8 are labeled; detections in all of them are written for BORIS, and evaluated where somebody annotated."""
    words = [*settings(data, tmp_path / "run"), f"dataset.video_anno_path={data}/tool",
             f"dataset.video_info_path={data}/info.csv",
             "dataset.labeled=annotated", "dataset.eval_subset=training", "testing.action_threshold=0"]
    with pytest.raises(SpotError, match=r"labels\.csv, line \d+: .* is a point.*dataset\.point_width=1"):
        spot_train.main(words)
    spot_train.main([*words, "dataset.point_width=2", "--check"])
    assert "Problems that would stop training\n  none" in capsys.readouterr().out
    spot_train.main([*words, "dataset.point_width=2"])
    assert "4 recordings, such as 'demo_0007', have features and are in no file of" in capsys.readouterr().err
    assert len((tmp_path / "run" / "labeled.txt").read_text(encoding="utf-8").split()) == 4
    spot_inference.main([str(tmp_path / "run"), "--write", "boris"])
    corrected = {video.name: video for video in read_annotations(tmp_path / "run" / "boris" / "detections.boris")}
    results = read_json(tmp_path / "run" / "detections.json")["results"]
    assert set(corrected) == set(results) and len(results) == 8
    evaluation_script.main([str(tmp_path / "run")])
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["num_videos"] == 4


def test_a_recording_that_nobody_annotated_is_not_evaluated(tmp_path):
    """In it every detection would count as wrong; without it the one detection in `a` is right."""
    path = tmp_path / "labels.csv"
    path.write_text("video,start,end,label\na,1,2,walk\nb,,,\n", encoding="utf-8")
    detection = {"label": "walk", "segment": [1, 2]}
    found = {"results": {"a": [{**detection, "score": 0.5}], "b": [{**detection, "score": 0.9}]}}
    result = evaluate_detections(path, found, "training")
    assert (result.average_mAP, result.num_videos, result.num_left_out_videos) == (1.0, 1, 1)


def test_evaluation_reads_a_tools_file_by_the_keys_that_its_messages_name(tmp_path, capsys):
    """A point at 2 s is refused with the advice dataset.point_width=1, which holds here too: 1.5 s to 2.5 s."""
    (tmp_path / "labels.csv").write_text("video,start,end,label\na,2,,walk\n", encoding="utf-8")
    found = {"results": {"a": [{"label": "walk", "segment": [1.5, 2.5], "score": 0.5}]}}
    write_json(tmp_path / "found.json", found)
    arguments = ["--ground-truth", f"{tmp_path}/labels.csv", "--predictions", f"{tmp_path}/found.json"]
    with pytest.raises(SpotError, match=r"give dataset\.point_width=1"):
        evaluation_script.main(arguments)
    evaluation_script.main([*arguments, "dataset.point_width=1", "--output", f"{tmp_path}/metrics.json"])
    assert read_json(tmp_path / "metrics.json")["average_mAP"] == 1
    with pytest.raises(SpotError, match=r"so testing\.top_k=3 has no effect; leave it out"):
        evaluation_script.main([*arguments, "testing.top_k=3"])


def test_frames_of_label_studio_are_evaluated_with_a_frame_rate(tmp_path):
    """Frames 11 to 25 at 10 frames per second: 1.0 s to 2.5 s."""
    write_json(tmp_path / "tasks.json", [label_studio_task(1, "cam1.mp4", timeline_region("walk", 11, 25))])
    found = {"results": {"cam1": [{"label": "walk", "segment": [1.0, 2.5], "score": 0.5}]}}
    write_json(tmp_path / "found.json", found)
    evaluation_script.main(["--ground-truth", f"{tmp_path}/tasks.json", "--predictions", f"{tmp_path}/found.json",
                            "dataset.fps=10", "--tiou", "0.95", "--output", f"{tmp_path}/metrics.json"])
    assert read_json(tmp_path / "metrics.json")["average_mAP"] == 1
