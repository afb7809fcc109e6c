"""The benchmark measures what it says, on sizes that take no time. No test looks at a clock."""

import importlib.util
from pathlib import Path

import pytest
import torch

from spot import engine
from spot.proposals import Decoding, detections_of

ROOT = Path(__file__).resolve().parents[1]
specification = importlib.util.spec_from_file_location("bench", ROOT / "tools" / "bench.py")
tool = importlib.util.module_from_spec(specification)
specification.loader.exec_module(tool)

SMALL = ["model.temporal_scale=10", "model.feat_dim=6", "model.embed_dim=8", "training.batch_size=2",
         "training.unlabeled_ratio=1", "training.steps_per_epoch=1", "training.amp=none"]


@pytest.fixture
def bench():
    return tool.Bench(torch.device("cpu"), torch.get_num_threads(), 1, SMALL)


def test_flops_are_those_of_products_forward_and_backward():
    """(2, 3) @ (3, 4): 2 * 24 floating-point operations; backward one product of that size for each factor."""
    a, b = torch.ones(2, 3, requires_grad=True), torch.ones(3, 4, requires_grad=True)
    assert tool.gflop_of(lambda: (a @ b).sum().backward()) == pytest.approx(3 * 48e-9)


def test_flops_of_fused_attention_are_counted():
    """One head, T = 5, d = 4: two products of 2 * 5 * 5 * 4."""
    x = torch.ones(1, 1, 5, 4)
    count = tool.gflop_of(lambda: torch.nn.functional.scaled_dot_product_attention(x, x, x))
    assert count == pytest.approx(2 * 200e-9)


def test_a_step_is_one_of_the_real_trainer(bench):
    """Two labeled and two unlabeled videos; time on data is a part of the whole; nothing stays patched."""
    trainer = tool.random_trainer(bench, tool.settings_of(bench, False), 2, 2, classes=3)
    assert isinstance(trainer, engine.Trainer) and (len(trainer.labeled), len(trainer.unlabeled)) == (2, 2)
    row = tool.measure_step(bench, trainer, 4)
    assert 0 < row["data share"] < 1 and row["GFLOP"] > 0 and row["videos/s"] > 0
    assert trainer.objective.targets.__self__ is trainer.objective and trainer.draw_batch.__self__ is trainer


@pytest.mark.parametrize("published", [False, True])
def test_the_plain_loop_finds_the_same(bench, published):
    config = tool.settings_of(bench, published)
    decoding = Decoding(**tool.decoding_values(config))
    outputs = tool.random_outputs(bench, 3, config, 3)
    found = detections_of(outputs, [0], config.model.class_activation, decoding)
    for video, rows in enumerate(found):
        wanted = tool.plain_detections(outputs, video, config.model.class_activation, decoding)
        assert len(wanted) == len(rows) > 0
        assert rows[:, 3] == pytest.approx([score for *_, score in wanted], abs=1e-6)


def test_a_stand_in_for_the_model_leaves_the_rest(bench):
    """What takes no time answers for the model; detections of three videos are found and written."""
    config = tool.settings_of(bench, False)
    stand_in = tool.Answering(tool.random_model(bench, config), tool.random_outputs(bench, 32, config, 3))
    assert tool.to_file(stand_in, config, tool.RandomSource(6, 10), 3) > 3


def test_memory_is_that_of_this_process():
    assert 0 < tool.resident_mb() <= tool.peak_memory_mb(tool.Bench(torch.device("cpu"), 1, 1, [])) < 1e5


def test_a_row_stands_under_its_titles():
    row = {"what": "a step", "precision": "bf16", "share": 0.5, "peak MB": 12, "note": "noted"}
    line = tool.line_of(row)
    assert line.endswith("  noted")
    for name, text in (("precision", "bf16"), ("share", "50%"), ("peak MB", "12")):
        assert line[: tool.HEADER.index(f" {name}") + len(name) + 1].endswith(text)


def test_a_whole_training_runs_through(bench):
    """One pass of the pretext stage and of training over 6 videos, detections in 4; on a CPU the GPU says nothing."""
    read, pretext, train, detection = tool.full(bench, 6, 4, 1)
    assert "6 videos" in read["what"] and pretext["what"].startswith("pretext: 1 ") and "4 videos" in detection["what"]
    assert train["what"].startswith("train: 1 ") and train["note"] == "GPU utilization not available"


def test_a_whole_training_of_any_size_asks_for_a_gpu(bench):
    with pytest.raises(tool.SpotError, match="CUDA"):
        next(tool.full(bench, 10_000, 10, 1))
