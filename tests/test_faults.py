"""The eleven faults of the authors' code, one test each: put one back, and its test fails."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_proposals import DECODING, SECONDS, Oracle, answer, found
from tiny import LABELED, UNLABELED, C, dataset, features_of, model, same, trainer, video, weights_of

import spot
import spot_train
from spot.boundary import boundary_loss
from spot.config import load_config
from spot.datasets import feature_statistics
from spot.evaluation import evaluate_detections
from spot.synthetic import write_demo

ROOT = Path(__file__).resolve().parents[1]


def perfect(videos):
    """Detections that are the ground truth."""
    return {"results": {one.name: [{"segment": list(segment), "label": label, "score": 0.9}
                                   for segment, label in zip(one.segments_sec.tolist(), one.labels, strict=True)]
                        for one in videos}}


@pytest.mark.parametrize("method", ["ema", "self"])
def test_fault_1_the_unlabeled_loss_is_trained_on(method):
    """Fault 1: the unlabeled loss was appended to a tuple and never trained on.

    After one step the weights differ by more than with labels alone, and every logged loss is part of the total: an
    unlabeled weight of 2 leads elsewhere than 1.
    """
    results = []
    for overrides in (("semi.method=none",), (f"semi.method={method}",), (f"semi.method={method}", "semi.weight=2")):
        net = model()
        record = trainer("training.steps_per_epoch=1", *overrides, net=net).train_epoch(0)
        assert any(name.startswith("unlabeled_") for name in record["loss"]) == (overrides != ("semi.method=none",))
        results.append(weights_of(net))
    assert not same(results[0], results[1]) and not same(results[1], results[2])


def test_fault_2_every_segment_is_ground_truth():
    """Fault 2: only the last segment of a video became ground truth, and a short last one made the video vanish.

    Three segments, the last of 0.2 of 8 s: all are targets in training, all count in evaluation.
    """
    videos = [video("a", (0, 2, "run"), (3, 5, "jump"), (7, 7.2, "run"))]
    batch = dataset(videos).batch([0])
    assert batch["labels"][0].tolist() == [1, 0, 1]
    assert batch["segments"][0].flatten().tolist() == pytest.approx([0, 2, 3, 5, 7, 7.2], abs=1e-3)
    result = evaluate_detections(videos, perfect(videos), "training", [0.5])
    assert result.average_mAP == 1
    only_last = {"results": {"a": perfect(videos)["results"]["a"][-1:]}}
    # run 1/2, jump 0
    assert evaluate_detections(videos, only_last, "training", [0.5]).average_mAP == pytest.approx(0.25)


def test_fault_3_videos_without_predictions_count():
    """Fault 3: evaluation dropped the ground truth of videos without predictions.

    Two videos of one segment each, one is found: half of the positives, AP 0.5.
    """
    videos = [video("a", (1, 4, "run")), video("b", (2, 5, "run"))]
    assert evaluate_detections(videos, perfect(videos[:1]), "training", [0.5]).average_mAP == pytest.approx(0.5)


def test_fault_4_contrast_gathers_snippets():
    """Fault 4: contrastive mining gathered channels instead of snippets.

    8 channels, 16 snippets, foreground 6..9: easy and hard snippets are columns, so a column that is neither gets no
    gradient, and shuffling the channels changes nothing.
    """
    foreground = torch.full((1, 16), 0.45)
    foreground[0, 6:10], foreground[0, [0, 15]] = 0.9, 0.01
    masks = (foreground > 0.5).float()[:, None].expand(1, 16, 16)
    embedding = torch.randn(1, 8, 16, requires_grad=True)
    valid = torch.ones(1, 16, dtype=torch.bool)

    def loss(x):
        return boundary_loss(x, foreground, masks, valid, easy_count=2, widths=(0, 2))

    loss(embedding).backward()
    used = embedding.grad[0].abs().sum(0) > 0
    assert used[[0, 4, 5, 10, 11, 15]].all() and not used[[1, 2, 3, 12, 13, 14]].any()
    shuffled = embedding.detach()[:, torch.randperm(8)]
    assert loss(shuffled).item() == pytest.approx(loss(embedding).item(), rel=1e-5)


def test_fault_5_separate_instances_stay_separate():
    """Fault 5: filling the holes of a mask joined separate instances into one segment.

    A mask that shows two instances of one class in the same row, 1..3 and 5..8, gives two detections.
    """
    x = answer(8, (1, 3, 0), (5, 8, 0))
    x[-1] = x[-1] > 0  # one instance number for both: each row shows both
    assert found(spot.detect(Oracle(8), x, 8.0, **SECONDS, **DECODING)[0]) == [(1, 3, 0), (5, 8, 0)]


def test_fault_6_soft_nms_never_raises_a_score():
    """Fault 6: Soft-NMS used a wrong overlap and raised the scores of weakly overlapping segments.

    [0, 10] and [9, 19] share 1 of 19 s: 0.5 * exp(-(1 / 19)^2 / 0.4) = 0.4965; [30, 40] shares nothing and keeps 0.4.
    """
    _, scores = spot.soft_nms([[0, 10], [9, 19], [30, 40]], [0.9, 0.5, 0.4], 0.4, 0.001, 10)
    assert scores == pytest.approx([0.9, 0.5 * np.exp(-((1 / 19) ** 2) / 0.4), 0.4])


def test_fault_7_pre_training_uses_unlabeled_videos_and_the_cropped_input():
    """Fault 7: pre-training saw labeled videos only, and its mask loss was computed on the un-cropped input.

    Other unlabeled features lead to other weights; and what enters the encoder for the random foreground has
    suppressed (zero) snippets and kept ones in every sequence.
    """
    results = []
    for seed in (0, 9):
        net = model()
        trainer(net=net, unlabeled=dataset(UNLABELED, features_of(UNLABELED, seed))).pretext_epoch(0)
        results.append(weights_of(net))
    assert not same(*results)

    net, seen = model(), []
    net.encoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach().clone()))
    trainer("pretext.temporal_order=0", "pretext.reconstruction=0", "augment.noise=0", "training.steps_per_epoch=4",
            net=net).pretext_epoch(0)
    empty = torch.stack([(x == 0).all(1) for x in seen])  # (steps, B, T)
    assert empty.any(2).all() and (~empty).any(2).all()


def test_fault_8_normalization_leaves_its_input_and_constant_channels_alone():
    """Fault 8: normalization wrote into its input, and divided by zero on a constant channel.

    Channel 2 is 5 in every snippet: deviation 1, standardized to 0, all finite; features are the same before and after.
    """
    features = features_of(LABELED)
    for x in features.values():
        x[2] = 5
    before = {name: x.copy() for name, x in features.items()}
    data = dataset(LABELED, features)
    mean, deviation = feature_statistics(data)
    net = model()
    net.set_statistics(mean, deviation)
    batch = data.batch([0, 1])["features"]
    kept = batch.clone()
    standardized = net.standardize(batch)
    assert deviation[2] == 1 and (standardized[:, 2] == 0).all() and torch.isfinite(standardized).all()
    assert torch.equal(batch, kept) and all((features[name] == before[name]).all() for name in features)


def test_fault_9_best_is_best_and_the_loss_is_the_mean_of_the_epoch(tmp_path, monkeypatch):
    """Fault 9: the "best" checkpoint was the last one; the loss of an epoch was that of its last batch.

    Held-out mAP .1 .5 .2: best.pt is the teacher of the second epoch. With learning rate 0, the loss of an epoch of
    three steps is the mean of three epochs of one step.
    """
    write_demo(tmp_path, training=5, validation=1, classes=2, feat_dim=C, duration_sec=(60, 61))
    teachers = []

    def watched(teacher, *_):
        teachers.append(weights_of(teacher))
        return [0.1, 0.5, 0.2][len(teachers) - 1]

    monkeypatch.setattr(spot_train, "holdout_map", watched)
    spot_train.main(["--config", str(ROOT / "config" / "demo.yaml"),
                     f"dataset.video_anno_path={tmp_path}/annotations.json",
                     f"dataset.feature_path={tmp_path}/features", f"output_path={tmp_path}/run", "dataset.labeled=0.8",
                     f"model.feat_dim={C}", "model.temporal_scale=8", "model.embed_dim=8", "model.embedding_head=2",
                     "training.holdout=0.5", "training.pretrain_epoch=0", "training.max_epoch=3",
                     "training.batch_size=2", "training.steps_per_epoch=1", "training.device=cpu"])
    best = weights_of(spot.load_model(tmp_path / "run"))
    assert same(best, teachers[1]) and not same(best, teachers[2])

    still = ("training.learning_rate=0", "semi.method=none")
    whole = trainer(*still, "training.steps_per_epoch=3", "training.max_epoch=1").train_epoch(0)["loss"]
    single = trainer(*still, "training.steps_per_epoch=1", "training.max_epoch=3")
    parts = [single.train_epoch(epoch)["loss"] for epoch in range(3)]
    for name, value in whole.items():
        values = [part[name] for part in parts]
        assert value == pytest.approx(np.mean(values), rel=1e-5) and value != pytest.approx(values[-1], rel=1e-5)


def test_fault_10_classes_and_scores_are_the_models_own():
    """Fault 10: class and score of every detection came from an external file by default.

    The default is `none`; another class head gives other detections, and an external classifier only where it is given.
    """
    assert load_config(None).testing.class_scores == "none"
    x = answer(8, (1, 4, 0))
    swapped = x[[1, 0, 2]]
    own = spot.detect(Oracle(8), x, 8.0, **SECONDS, **DECODING)[0]
    other = spot.detect(Oracle(8), swapped, 8.0, **SECONDS, **DECODING)[0]
    assert found(own) == [(1, 4, 0)] and found(other) == [(1, 4, 1)]
    told = spot.detect(Oracle(8), x, 8.0, external=np.array([0, 0.9]), **SECONDS, **DECODING)[0]
    assert found(told, above=0.2) == [(1, 4, 1)]


def test_fault_11_no_size_or_device_is_fixed_and_importing_does_nothing(tmp_path):
    """Fault 11: sizes (100, 200, 201, 400) and the device were hard-coded; importing read files and used CUDA.

    C = 5, T = 7, K = 2 and C = 9, T = 12, K = 5 both run forward and backward on the CPU; every module imports in an
    empty folder, and CUDA is not initialized after it.
    """
    for channels, length, classes in ((5, 7, 2), (9, 12, 5)):
        for encoder, mask_head in (("conv_transformer", "pairwise"), ("attention", "fixed")):
            net = model(encoder=encoder, mask_head=mask_head, feat_dim=channels, temporal_scale=length,
                        num_classes=classes, embedding_head=1)
            outputs = net(torch.randn(2, channels, length))
            assert outputs["class_logits"].shape == (2, classes + 1, length)
            assert outputs["masks"].shape == (2, length, length)
            sum(value.sum() for value in outputs.values()).backward()
            assert next(net.parameters()).device.type == "cpu"
    code = ("import importlib, pkgutil, spot, torch\n"
            "for module in pkgutil.iter_modules(spot.__path__): importlib.import_module('spot.' + module.name)\n"
            "print(torch.cuda.is_initialized())")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout.strip() == "False", done.stderr
    assert not list(tmp_path.iterdir())


def test_there_are_eleven_faults():
    """There are eleven; each has its test here, which names it."""
    tests = [name for name in globals() if name.startswith("test_fault_")]
    assert sorted(int(name.split("_")[2]) for name in tests) == list(range(1, 12))
    assert all(f"Fault {name.split('_')[2]}:" in globals()[name].__doc__ for name in tests)
