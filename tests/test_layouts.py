"""The folders as the projects of the field leave them on a user's disk: each one is checked, some are trained on.

Every layout has 4 training and 2 evaluation videos of 16 s at 25 frames per second, `diving` in seconds 2 to 6 of each
and `running` in 8 to 14 of every second one; 6 channels, a snippet per second (stride 25, window 25), on which the
class lifts one channel.
"""

import csv
import json
import pickle

import h5py
import numpy as np
import pytest
import torch
from test_scripts import refused

import eval as evaluation_script
import spot_inference
import spot_train
from spot.annotations import class_names, read_annotations
from spot.files import read_json

FPS, SECONDS, C = 25, 16, 6
NAMES = {f"video_validation_000000{i}": "train" for i in range(4)} | {f"video_test_000000{i}": "test" for i in (4, 5)}
SEGMENTS = {"diving": (2.0, 6.0), "running": (8.0, 14.0)}
SMALL = ["dataset.labeled=1", "dataset.grid=window", "dataset.stride=25", "dataset.window=25", "model.feat_dim=6",
         "model.temporal_scale=8", "model.embed_dim=8", "model.embedding_head=2", "training.steps_per_epoch=2",
         "training.batch_size=2", "training.max_epoch=1", "semi.burn_in=0", "pretext.chunks=2", "training.device=cpu",
         "testing.min_score=0", "testing.tiou=0.3:0.7:5"]


def labels_of(index):
    return ["diving", "running"] if index % 2 else ["diving"]


def array_of(index):
    """(T', C) features of a video; 0.5 in the first channel and 1.5 in the second while its class is there."""
    array = np.random.default_rng(index).normal(size=(SECONDS, C)).astype(np.float32)
    for label in labels_of(index):
        start, end = SEGMENTS[label]
        array[int(start):int(end), list(SEGMENTS).index(label)] += 3
    return array


def database(subsets, **facts):
    """The entries of an ActivityNet-like file; subsets: what it calls training and evaluation."""
    return {name: {"subset": subsets[subset], **facts, "annotations": [
        {"segment": list(SEGMENTS[label]), "label": label} for label in labels_of(index)]}
        for index, (name, subset) in enumerate(NAMES.items())}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def write_features(folder, form, save):
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(NAMES):
        save(folder / form.format(video=name), array_of(index))


def activitynet(root):
    """activity_net.v1-3.min.json: ids without v_, no frame rate; TSN features as CSV with a header, resized."""
    def save(path, array):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([[f"f{c}" for c in range(C)], *array.tolist()])

    entries = database({"train": "training", "test": "validation"}, duration=16.0, url="u", resolution="320x240")
    entries["only_tested"] = {"subset": "testing", "duration": 9.0, "annotations": []}
    write(root / "activity_net.v1-3.min.json", {"version": "VERSION 1.3", "taxonomy": [], "database": entries})
    write_features(root / "csv_mean_100", "v_{video}.csv", save)
    return [f"dataset.video_anno_path={root}/activity_net.v1-3.min.json", f"dataset.feature_path={root}/csv_mean_100",
            "dataset.grid=resize", "model.temporal_scale=16"]


def bmn(root):
    """anet_anno_action.json and video_info_new_0.9.csv: flat, ids with v_, subset and label split in the table."""
    flat = {f"v_{name}": {"duration_second": 16.0, "duration_frame": 400, "feature_frame": 400, **entry}
            for name, entry in database({"train": 0, "test": 0}).items()}
    for entry in flat.values():
        del entry["subset"]
    rows = [f"v_{name},400,16.0,30.0,25.0,{subset},400" for name, subset in zip(
        NAMES, ["training", "training_unlabel", "training", "training", "validation", "validation"], strict=True)]
    write(root / "video_info_new_0.9.csv", "\n".join(["video,numFrame,seconds,fps,rfps,subset,featureFrame", *rows]))
    write(root / "anet_anno_action.json", flat)
    write_features(root / "features", "v_{video}.npy", np.save)
    return [f"dataset.video_anno_path={root}/anet_anno_action.json", "dataset.labeled=info",
            f"dataset.video_info_path={root}/video_info_new_0.9.csv", f"dataset.feature_path={root}/features"]


def opentad(root):
    """`frame` instead of fps, a class file that lists Ambiguous, missing_files.txt with the features, blocked.json."""
    entries = database({"train": "training", "test": "validation"}, duration=16.0, frame=400)
    entries["video_validation_0000000"]["annotations"].append({"segment": [6.0, 7.0], "label": "Ambiguous"})
    for name, subset in (("without_features", "validation"), ("blocked_a", "validation"), ("blocked_b", "training")):
        entries[name] = {**entries["video_test_0000004"], "subset": subset}
    write(root / "annotations" / "thumos_14_anno.json", {"database": entries})
    write(root / "annotations" / "category_idx.txt", "Ambiguous\nrunning\ndiving\n")
    write(root / "annotations" / "blocked.json", ["blocked_a", "blocked_b", "never_annotated"])
    write_features(root / "features", "{video}.npy", np.save)
    write(root / "features" / "missing_files.txt", "without_features\n")
    return [f"dataset.video_anno_path={root}/annotations/thumos_14_anno.json",
            f"dataset.class_file={root}/annotations/category_idx.txt",
            f"dataset.blocked={root}/annotations/blocked.json", f"dataset.feature_path={root}/features"]


def actionformer(root):
    """label_id, fps, and subsets with a capital."""
    entries = database({"train": "Validation", "test": "Test"}, duration=16.0, fps=25.0)
    for entry in entries.values():
        for annotation in entry["annotations"]:
            annotation.update({"label_id": {"diving": 1, "running": 0}[annotation["label"]], "segment(frames)": [1, 2]})
    write(root / "thumos14.json", {"version": "Thumos14-30fps", "database": entries})
    write_features(root / "i3d_features", "{video}.npy", np.save)
    return [f"dataset.video_anno_path={root}/thumos14.json", f"dataset.feature_path={root}/i3d_features",
            "dataset.train_subset=validation", "dataset.eval_subset=test"]


def gtad(root):
    """AFSD's and G-TAD's thumos_gt.json (segments are text, no duration), *_video_info.csv, four TSN files."""
    entries = database({"train": "train", "test": "test"})
    for entry in entries.values():
        for annotation in entry["annotations"]:
            annotation["segment"] = [str(time) for time in annotation["segment"]]
    write(root / "thumos_gt.json", {"database": entries})
    for title, subset in (("val", "train"), ("test", "test")):
        rows = [f"{name},25.0,10.0,400.0,160" for name in NAMES if NAMES[name] == subset]
        write(root / f"{title}_video_info.csv", "\n".join(["video,fps,sample_fps,count,sample_count", *rows]))
        for stream, channels in (("rgb", slice(0, 2)), ("flow", slice(2, 6))):
            with h5py.File(root / f"{stream}_{title}.h5", "w") as file:
                for index, name in enumerate(NAMES):
                    if NAMES[name] == subset:
                        file[name] = array_of(index)[:SECONDS - (stream == "flow"), channels]
    return [f"dataset.video_anno_path={root}/thumos_gt.json", f"dataset.video_info_path={root}/*_video_info.csv",
            f"dataset.feature_path=[{root}/rgb_*.h5,{root}/flow_*.h5]", "dataset.train_subset=train",
            "dataset.eval_subset=test"]


def thumos_tables(root):
    """The raw tables: no duration, no frame rate; I3D features of two streams in two folders, with suffixes."""
    for title, subset in (("val", "train"), ("test", "test")):
        rows = [f"{name},{label},{26 + len(label)},{SEGMENTS[label][0]},{SEGMENTS[label][1]},50,150"
                for index, name in enumerate(NAMES) if NAMES[name] == subset for label in labels_of(index)]
        rows.append(f"{next(name for name in NAMES if NAMES[name] == subset)},Ambiguous,0,6.5,7.0,160,170")
        write(root / f"{title}_Annotation.csv", "\n".join(["video,type,type_idx,start,end,startFrame,endFrame", *rows]))
    write_features(root / "rgb", "{video}_rgb.npy", lambda path, array: np.save(path, array[:, :2]))
    write_features(root / "flow", "{video}_flow.npy", lambda path, array: np.save(path, array[:, 2:].T))
    return [f"dataset.video_anno_path={root}/*_Annotation.csv", f"dataset.feature_path=[{root}/rgb,{root}/flow]",
            "dataset.feature_pattern=['{video}_rgb.npy','{video}_flow.npy']", "dataset.train_subset=validation",
            "dataset.eval_subset=test", "dataset.fps=25"]


def hacs(root):
    """Any file in ActivityNet's format, such as HACS and FineAction; features as pickles and tensors, float16."""
    def save(path, array):
        path.write_bytes(pickle.dumps(array.astype(np.float16)))

    write(root / "HACS_segments_v1.1.1.json", {"database": database({"train": "training", "test": "validation"},
                                                                    duration="16.0", url="u")})
    write_features(root / "slowfast", "{video}.pkl", save)
    torch.save(torch.from_numpy(array_of(0)).half(), root / "slowfast" / "video_validation_0000000.pt")
    (root / "slowfast" / "video_validation_0000000.pkl").unlink()
    return [f"dataset.video_anno_path={root}/HACS_segments_v1.1.1.json", f"dataset.feature_path={root}/slowfast",
            "dataset.fps=25"]


def arguments(root, layout):
    """What `spot_train.py` is given for a layout that is written into the folder `root`."""
    return ["--config", str(write(root / "small.yaml", "output_path: x\n")), *SMALL, *layout(root),
            f"output_path={root}/run"]


LAYOUTS = (activitynet, bmn, opentad, actionformer, gtad, thumos_tables, hacs)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_the_check_is_content_with_every_layout(tmp_path, capsys, layout):
    """No problem, all six videos with features, and targets that come back to the last segment."""
    spot_train.main([*arguments(tmp_path, layout), "--check"])
    report = capsys.readouterr().out
    assert "Problems that would stop training\n  none" in report
    assert "4 videos, 4 with features, 0 without a segment" in report
    assert f"6 videos read, {90 if layout is gtad else 96} snippets of 6 channels" in report
    row = next(line for line in report.splitlines() if "targets and back" in line)
    assert row.split()[-6:] == ["100.00"] * 6
    rows = [line.split() for line in report.splitlines()]
    # Segments of training and of evaluation, where OpenTAD's third video has no features.
    assert [row[3:] for row in rows if row[:1] == ["diving"]] == [["4", "3" if layout is opentad else "2"]]
    assert [row[3:] for row in rows if row[:1] == ["running"]] == [["2", "1"]]


@pytest.mark.parametrize("layout", [bmn, opentad, gtad, thumos_tables], ids=lambda layout: layout.__name__)
def test_layouts_are_trained_on_and_evaluated(tmp_path, capsys, layout):
    """All three scripts, to a mAP of two videos."""
    run = tmp_path / "run"
    spot_train.main(arguments(tmp_path, layout))
    spot_inference.main([f"checkpoint={run}"])
    capsys.readouterr()
    evaluation_script.main([f"output_path={run}"])
    metrics = read_json(run / "metrics.json")
    left_out = {"opentad": (3, 1, 1)}.get(layout.__name__, (2, 0, 0))
    assert (metrics["num_videos"], metrics["num_missing_features"], metrics["num_left_out_videos"]) == left_out
    assert metrics["num_segments"] == 3 + (layout is opentad) and metrics["num_unknown_videos"] == 0
    order = {"opentad": "running\ndiving\n"}.get(layout.__name__, "diving\nrunning\n")
    assert (run / "classes.txt").read_text() == order


def test_the_check_counts_what_opentads_lists_leave_out(tmp_path, capsys):
    """Nothing else is worth a warning: missing_files.txt says which features are missing."""
    spot_train.main([*arguments(tmp_path, opentad), "--check"])
    report = capsys.readouterr().out
    assert f"Left out\n  2 videos that {tmp_path}/annotations/blocked.json lists" in report
    warnings = report.partition("Warnings\n")[2].partition("\n\n")[0].splitlines()
    assert warnings == ["  1 validation videos have no features, as missing_files.txt says"]


def test_blocked_videos_come_back_where_nobody_asks_to_leave_them_out(tmp_path, capsys):
    """The check tells of the list, evaluation counts its video, and a prediction in it."""
    spot_train.main([*arguments(tmp_path, opentad), "dataset.blocked=null", "--check"])
    report = capsys.readouterr().out
    assert "blocked.json lists 2 of the videos; they are kept" in report and f"dataset.blocked={tmp_path}" in report
    truth = str(tmp_path / "annotations" / "thumos_14_anno.json")
    write(tmp_path / "d.json", {"results": {name: [{"label": "diving", "score": 1, "segment": [2, 6]}]
                                            for name in ("video_test_0000004", "v_blocked_a", "never_annotated")}})
    measured = []
    for flags in ([], ["--blocked", f"{tmp_path}/annotations/blocked.json"]):
        evaluation_script.main(["--ground-truth", truth, "--predictions", f"{tmp_path}/d.json", *flags, "--output",
                                f"{tmp_path}/m.json"])
        metrics = read_json(tmp_path / "m.json")
        measured.append([metrics[key] for key in ("num_videos", "num_left_out_videos", "num_unknown_videos")])
    assert measured == [[4, 0, 1], [3, 1, 0]]
    assert "1 videos of the subset and their detections are left out by" in capsys.readouterr().out


def test_a_list_of_blocked_videos_that_is_none_is_one_sentence(tmp_path, capsys):
    given = arguments(tmp_path, opentad)
    write(tmp_path / "annotations" / "blocked.json", [3])
    assert "blocked.json: is no list of video ids" in refused(capsys, spot_train.main, *given)
    assert "1 problem, listed above, would stop training" in refused(capsys, spot_train.main, *given, "--check")
    message = refused(capsys, spot_train.main, *given, f"dataset.blocked={tmp_path}/gone.json")
    assert "dataset.blocked" in message and "gone.json does not exist" in message


def test_the_order_of_the_classes_is_that_of_their_ids(tmp_path):
    actionformer(tmp_path)
    assert class_names(read_annotations(tmp_path / "thumos14.json")) == ["running", "diving"]
