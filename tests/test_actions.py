"""actions.csv: which detections are in it, and where its threshold comes from. One tiny run for all tests."""

import csv
import json

import numpy as np
import pytest
from test_scripts import settings

import spot_inference
import spot_train
from spot.annotations import read_annotations
from spot.checkpoint import RunFolder, load_model
from spot.config import load_config
from spot.data_files import open_data
from spot.files import SpotError, read_json
from spot.synthetic import write_demo


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_demo(folder, training=8, validation=2, classes=3, feat_dim=6, duration_sec=(60, 70))
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    spot_train.main(settings(data, folder, "testing.tiou=0.1:0.1:1"))
    return folder


def rows_of(path):
    with path.open(encoding="utf-8") as file:
        return [(row["video"], float(row["start_sec"]), float(row["end_sec"]), row["label"], float(row["score"]))
                for row in csv.DictReader(file)]


def expected_actions(results, threshold):
    """By definition: the best first, unless it shares time with a better one of its class; then by video and time."""
    rows = []
    for video, entries in results.items():
        kept = []
        for entry in sorted(entries, key=lambda entry: -entry["score"]):
            (start, end), label = entry["segment"], entry["label"]
            if entry["score"] >= threshold and not any(label == other and start < e and s < end
                                                       for s, e, other, _ in kept):
                kept.append((start, end, label, entry["score"]))
        rows += [(video, *action) for action in sorted(kept)]
    return rows


def test_the_threshold_given_makes_the_table(run, tmp_path):
    """Half of all scores lie above their median."""
    spot_inference.main([f"checkpoint={run}", f"output_path={tmp_path}"])
    scores = [entry["score"] for entries in read_json(tmp_path / "detections.json")["results"].values()
              for entry in entries]
    threshold = float(np.median(scores))
    spot_inference.main([f"checkpoint={run}", f"output_path={tmp_path}", f"testing.action_threshold={threshold!r}"])
    content = read_json(tmp_path / "detections.json")
    expected = expected_actions(content["results"], threshold)
    found = rows_of(tmp_path / "actions.csv")
    assert len(found) == len(expected) > 0
    for row, wanted in zip(found, expected, strict=True):
        assert row[0] == wanted[0] and row[3] == wanted[3]
        np.testing.assert_allclose([row[1], row[2], row[4]], [wanted[1], wanted[2], wanted[4]], atol=6e-4)
    assert content["action_threshold"] == {"threshold": threshold, "per_class": {},
                                           "chosen_on": "testing.action_threshold"}


def test_the_training_chooses_on_its_labeled_videos(run, data, tmp_path):
    """Chosen again here, over every threshold, from what inference finds in the same videos."""
    chosen = read_json(run / "action_threshold.json")
    assert chosen["chosen_on"] == "3 labeled training videos, from which the model has learned"
    spot_inference.main([f"checkpoint={run}", f"output_path={tmp_path}", "dataset.eval_subset=training"])
    results = read_json(tmp_path / "detections.json")["results"]
    labeled = (run / "labeled.txt").read_text().split()
    videos = {video.name: video for video in read_annotations(data / "annotations.json") if video.name in labeled}
    num_segments = sum(len(video.labels) for video in videos.values())
    found = {name: results[name] for name in videos}
    f1 = {}
    for threshold in sorted({entry["score"] for entries in found.values() for entry in entries}):
        free = {(name, index) for name, video in videos.items() for index in range(len(video.labels))}
        actions = sorted(expected_actions(found, threshold), key=lambda row: -row[-1])
        for name, start, end, label, _ in actions:
            near = {}
            for index, ((s, e), true_label) in enumerate(zip(videos[name].segments_sec, videos[name].labels,
                                                             strict=True)):
                tiou = max(0, min(end, e) - max(start, s)) / (max(end, e) - min(start, s))
                if tiou >= 0.1 and true_label == label and (name, index) in free:
                    near[tiou] = index
            if near:
                free.remove((name, near[max(near)]))
        right = num_segments - len(free)
        f1[threshold] = 2 * right / (len(actions) + num_segments)
    best = max(f1.values())
    last = max(score for score, value in f1.items() if value == best)  # of the best list
    assert best > 0 and chosen["threshold"] <= last
    assert expected_actions(found, chosen["threshold"]) == expected_actions(found, last)
    assert chosen["quality_there"]["F1"] == pytest.approx(best)


def test_inference_takes_the_threshold_of_the_run(run, data, tmp_path, capsys):
    """For the evaluation subset and for own videos; other scores, by testing.class_power, need another one."""
    spot_inference.main([f"checkpoint={run}", f"output_path={tmp_path}"])
    content, chosen = read_json(tmp_path / "detections.json"), read_json(run / "action_threshold.json")
    assert content["action_threshold"]["threshold"] == chosen["threshold"]
    assert len(rows_of(tmp_path / "actions.csv")) == len(expected_actions(content["results"], chosen["threshold"]))
    spot_inference.main([f"checkpoint={run}/best.pt", f"features={data}/features/v_demo_0001.npy", "fps=25",
                         f"output_path={tmp_path}", "--write", "vtt,srt"])
    own = read_json(tmp_path / "own" / "detections.json")["results"]
    assert len(rows_of(tmp_path / "own" / "actions.csv")) == len(expected_actions(own, chosen["threshold"]))
    cues = (tmp_path / "own" / "vtt" / "demo_0001.vtt").read_text().count("-->")
    assert cues == (tmp_path / "own" / "srt" / "demo_0001.srt").read_text().count("-->")
    assert cues == len(rows_of(tmp_path / "own" / "actions.csv"))
    capsys.readouterr()
    spot_inference.main([f"checkpoint={run}", f"output_path={tmp_path}", "testing.class_power=2"])
    assert "another testing.class_power" in capsys.readouterr().out
    assert not (tmp_path / "actions.csv").exists()  # the one of the detections before them


@pytest.mark.parametrize("text", ["{}", "[1]", '{"threshold": "a", "per_class": {}, "chosen_on": "x"}',
                                  '{"threshold": 0.5, "per_class": {}, "chosen_on": "x"}'])
def test_a_threshold_file_that_was_changed_is_refused(run, tmp_path, text):
    for name in ("best.pt", "config.yaml"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    (tmp_path / "action_threshold.json").write_text(text)
    with pytest.raises(SpotError, match=r"action_threshold\.json"):
        spot_inference.main([f"checkpoint={tmp_path}"])


def test_held_out_videos_choose_where_there_are_any(run, data, tmp_path):
    config = load_config(run / "config.yaml", [f"output_path={tmp_path}"])
    (tmp_path / "best.pt").write_bytes((run / "best.pt").read_bytes())
    videos, _, source = open_data(**{key: config.dataset[key] for key in ("video_anno_path", "video_info_path",
                                  "blocked", "feature_path", "feature_pattern", "class_file", "num_classes")},
                                  feat_dim=6)
    spot_train.choose_threshold(config, RunFolder(tmp_path), load_model(run), videos[:3], videos[3:5], source)
    assert read_json(tmp_path / "action_threshold.json")["chosen_on"] == "2 held-out training videos"


def test_a_threshold_that_is_given_is_not_chosen_and_a_missing_one_is_told(run, data, tmp_path, capsys):
    config = load_config(run / "config.yaml", [f"output_path={tmp_path}", "testing.action_threshold=0.2"])
    (tmp_path / "best.pt").write_bytes((run / "best.pt").read_bytes())
    (tmp_path / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    spot_train.choose_threshold(config, RunFolder(tmp_path), load_model(run), read_annotations(
        data / "annotations.json")[:3], [], None)
    assert not (tmp_path / "action_threshold.json").exists()
    spot_inference.main([f"checkpoint={tmp_path}"])
    assert "no actions.csv" in capsys.readouterr().out and not (tmp_path / "actions.csv").exists()
    assert json.loads((tmp_path / "detections.json").read_text())["action_threshold"] is None


def test_write_gives_the_actions_to_annotation_tools(run, tmp_path):
    """What --write puts into a table are the rows of actions.csv; a threshold of 0 makes some."""
    spot_inference.main([f"checkpoint={run}", f"output_path={tmp_path}", "testing.action_threshold=0",
                         "--write", "csv,eaf,vtt"])
    with (tmp_path / "csv" / "annotations.csv").open(encoding="utf-8") as file:
        written = [(row["video"], float(row["start"]), float(row["end"]), row["label"], float(row["score"]))
                   for row in csv.DictReader(file) if row["label"]]
    assert written and written == rows_of(tmp_path / "actions.csv")
    videos = {video for video, *_ in written}
    for suffix in ("eaf", "vtt"):
        assert videos <= {path.stem for path in (tmp_path / suffix).iterdir()}
