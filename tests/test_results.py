"""What results look like when they are printed, and that they are plain arrays and lists otherwise."""

import copy
import pickle

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from tiny import LABELED, C, K, T, dataset, model, video
from torch.utils.data import DataLoader

import spot_inference
from spot.annotations import read_class_file
from spot.checkpoint import RunFolder
from spot.config import load_config
from spot.evaluation import evaluate_detections
from spot.findings import gather
from spot.inference import detect
from spot.report_pictures import pictures_of
from spot.results import as_detections
from spot.timelines import class_colors, plan_timeline

ROWS = [[1.5, 20, 2, 0.91]] + [[i, i + 1, 0, 0.5] for i in range(6)]


def test_detections_are_shown_in_a_few_lines():
    found = as_detections([ROWS, [[0, 2.25, 11, 0.125]]])
    assert repr(found[0]).splitlines()[:3] == ["7 detections:", "start_sec  end_sec  class_index  score",
                                               "     1.50    20.00            2  0.910"]
    assert len(str(found[0]).splitlines()) == 8 and str(found[0]).endswith("\n...")
    assert str(found[1]).splitlines()[-1] == "     0.00     2.25           11  0.125"
    assert repr(found) == "detections in 2 videos: 7, 1"
    assert repr(as_detections([ROWS])).startswith("[7 detections:")
    assert repr(as_detections([np.zeros((0, 4))])) == "[0 detections]"
    assert repr(as_detections([])) == "detections in 0 videos"


def test_they_are_arrays_in_a_list_in_every_other_way():
    found = as_detections([ROWS])
    assert isinstance(found, list) and isinstance(found[0], np.ndarray) and found[0].dtype == float
    np.testing.assert_array_equal(found[0], ROWS)
    assert repr(found[0][:, 3]) == repr(np.array([0.91] + [0.5] * 6))
    assert repr(found[0].max()) == repr(np.float64(20)) and type(found[0] * 2) is np.ndarray
    for other in (copy.deepcopy(found[0]), pickle.loads(pickle.dumps(found[0]))):
        np.testing.assert_array_equal(other, ROWS)
    net = model()
    net.settings = {"grid": "window", "temporal_scale": T, "stride": 1, "window": 1, "fps": 1.0}
    assert repr(detect(net, [np.zeros((C, 8)), np.ones((C, 5))], [8, 5])).startswith("detections in 2 videos: ")


def test_an_evaluation_a_video_and_a_data_set_say_what_they_are_in_a_line():
    """One of two segments is found: AP 1 of `run`, 0 of `jump`."""
    videos = [video("a", (1, 4, "run"), (5, 6, "jump"))]
    result = evaluate_detections(videos, {"results": {"a": [{"label": "run", "score": 0.9, "segment": [1, 4]}]}},
                                 "training", [0.5, 0.75])
    assert repr(result) == ("Evaluation(average_mAP 0.5000; mAP at tIoU 0.50: 0.5000, 0.75: 0.5000; 1 videos, "
                            "2 segments, 2 classes, 1 predictions)")
    assert repr(videos[0]) == "Video('a', training, 8 s, 2 segments)"
    assert repr(dataset(LABELED)) == f"SnippetDataset(3 videos, 3 sequences of {T} snippets, {K} classes)"


# --- sequences by number ----------------------------------------------------------------------------------------------


def test_a_sequence_by_its_number_is_that_of_a_batch():
    data = dataset([video("long", (1, 4, "run"), duration=20.0), video("b", (3, 7, "jump"))])
    batch = data.batch(range(len(data)))
    for i in range(len(data)):
        one = data[i]
        assert one.pop("name") == data.names_of([i])[0]
        assert one.keys() == batch.keys() and all(torch.equal(one[key], batch[key][i]) for key in one)
    assert data[-1]["name"] == "b" and data[np.int64(0)]["name"] == "long"
    with pytest.raises(IndexError, match=f"sequence {len(data)} of {len(data)}"):
        data[len(data)]
    assert len(list(data)) == len(data)  # the sequence protocol ends at an IndexError


def test_a_data_loader_makes_batches_of_them():
    data = dataset([video("long", (1, 4, "run"), duration=20.0), *LABELED])
    batches = list(DataLoader(data, batch_size=4, shuffle=False))
    assert len(batches) == -(-len(data) // 4) and batches[0]["features"].shape == (4, C, T)
    assert [name for batch in batches for name in batch["name"]] == data.names_of(range(len(data)))
    assert torch.equal(batches[0]["labels"], data.batch(range(4))["labels"])


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_class_has_one_color_where_not_all_are_evaluated(tmp_path):
    """Colors go by the place among the run's classes; detections elsewhere have these beside them, for the report."""
    own, elsewhere = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "elsewhere")
    own.describe(["jump", "run", "throw"], ["a"])
    config = load_config(None, [f"checkpoint={own.path}", f"output_path={elsewhere.path}"])
    spot_inference.write_description(config, elsewhere)
    names = read_class_file(elsewhere.classes)
    result = evaluate_detections([video("a", (1, 4, "throw"))], {"results": {}}, "training", [0.5])
    pictures = {picture.name: picture for picture in pictures_of(gather(result, 10), class_order=names)}
    bar, = pictures["ap_by_class"].figure.axes[0].patches
    assert result.classes == ["throw"] and bar.get_facecolor() == to_rgba(class_colors(names)["throw"])
    own.classes.unlink()
    spot_inference.write_description(config, elsewhere)
    assert not elsewhere.classes.exists() and elsewhere.labeled.exists()


@pytest.mark.parametrize("found", [True, False])
def test_no_axis_lies_around_zero_where_all_or_nothing_is_found(found):
    """Such as one from -0.05 to 0.05: shares and gains begin at 0."""
    entries = [{"label": "run", "score": 0.9, "segment": [1, 4]}] if found else []
    result = evaluate_detections([video("a", (1, 4, "run"))], {"results": {"a": entries}}, "training", [0.5, 0.7])
    for picture in pictures_of(gather(result, 10)):
        for axis in picture.figure.axes:
            for low, high in (sorted(axis.get_ylim()), sorted(axis.get_xlim())):
                assert low >= 0 or high >= 0.6, picture.name


def test_a_video_without_annotation_has_no_strip_of_truth():
    colors = class_colors(["run"])
    for truth in (None, (np.zeros((0, 2)), ())):
        planned = plan_timeline([[1, 2]], ["run"], [0.5], colors, 8.0, truth)
        assert [strip.name for strip in planned.strips] == ["detected"]
