"""BMN: its losses, its decoding, and that it learns. T = 8, C = 6, K = 3."""

import pytest
import torch
from tiny import CLASSES, LABELED, UNLABELED, C, T, dataset, features_of, model, same, trainer, weights_of

from spot import checkpoint
from spot.bmn_decoding import decode_maps, distinct_proposals, overlap_of, peaks
from spot.bmn_losses import candidate_targets, class_candidates, overlap_loss, weighted_logistic
from spot.config import load_config
from spot.detectors import require_masks
from spot.files import SpotError
from spot.inference import detect
from spot.proposals import Decoding

SIZES = {"detector": "bmn", "map_channels": 4, "map_samples": 4, "map_stride": 1}
METHODS = ["none", "self", "ema", "mean_teacher", "fixmatch", "sstap"]


def bmn(seed=0, **changes):
    return model(seed, **SIZES, **changes)


# --- losses -----------------------------------------------------------------------------------------------------------


def test_positives_and_negatives_weigh_half_each():
    """One positive at logit 0 costs log 2; so do two of three negatives, and the third is not seen. Half of each."""
    logits = torch.tensor([[0.0, 0.0, 0.0, 9.0]])
    loss = weighted_logistic(logits, torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[1.0, 1, 1, 0]]))
    assert loss.item() == pytest.approx(0.693147, abs=1e-5)
    assert weighted_logistic(logits, torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0


def test_regression_takes_as_many_bad_as_good_proposals():
    """One good proposal (tIoU 1) is missed by 1, a thousand bad ones by 0.1 each. In the mean as many of them count as
    there are good ones, so the loss is about 0.5 * (1 + 0.01) / 2 = 0.25, and not the 0.0055 of all of them alike."""
    torch.manual_seed(0)
    targets, overlap = torch.zeros(1, 1, 1001), torch.full((1, 1, 1001), 0.1)
    targets[..., 0], overlap[..., 0] = 1, 0
    losses = [overlap_loss(overlap, targets, torch.ones(1, 1, 1001)).item() for _ in range(50)]
    assert 0.2 < sum(losses) / 50 < 0.4 and overlap_loss(targets, targets, torch.ones(1, 1, 1001)).item() == 0


def test_candidates_have_the_classes_that_they_overlap():
    """Segments 0 to 4 of class 1 and of class 2 alike, and no third one. 0 to 4 has both classes; 1 to 4 overlaps by
    3/4; 3 to 5 by 1/5 is background; 2 to 5 by 2/5 is neither."""
    segments = torch.tensor([[[0.0, 4], [0, 4], [0, 8]]])
    candidates = torch.tensor([[[0.0, 4], [1, 4], [3, 5], [2, 5]]])
    targets, weights = candidate_targets(candidates, segments, torch.tensor([[1, 2, -1]]), 3)
    assert targets[0].T.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert weights.tolist() == [[1, 1, 1, 0]]


def test_candidates_lie_near_the_segments_and_in_the_sequence():
    torch.manual_seed(0)
    segments, labels = torch.tensor([[[2.0, 6], [0, 1]]]), torch.tensor([[0, -1]])
    found = class_candidates(segments, labels, torch.tensor([7]))
    assert (found[0, :16] - torch.tensor([2.0, 6])).abs().max() <= 0.8001  # a fifth of 4 snippets
    assert found.min() >= 0 and found.max() <= 7 and (found[..., 1] > found[..., 0]).all()


# --- decoding ---------------------------------------------------------------------------------------------------------


def planted(*segments, length=T):
    """Outputs in which these segments (start, end) have sure boundaries and a sure map, and a classifier of them."""
    low = -8.0
    outputs = {"start_logits": torch.full((1, length), low), "end_logits": torch.full((1, length), low),
               "map_logits": torch.full((1, 2, length, length), low), "snippets": torch.zeros(1, 8, length),
               "valid": torch.ones(1, length, dtype=torch.bool)}
    for start, end in segments:
        outputs["start_logits"][0, start] = outputs["end_logits"][0, end - 1] = 8
        outputs["map_logits"][0, :, end - start - 1, start] = 8
    return outputs


def test_decoding_finds_the_planted_segments():
    """Two segments, all four probabilities 0.99966: 0.9987 together, to the power of a half; the classifier says class
    1 with certainty. What pairs the start of the one with the end of the other has a low map and comes far behind."""
    net = bmn().eval()
    with torch.no_grad():
        net.classifier.out.weight.zero_()
        net.classifier.out.bias.copy_(torch.tensor([-20.0, 20, -20, -20]))
    [rows] = decode_maps(net, planted((1, 3), (4, 8)), [0], Decoding())
    assert sorted(rows[:2, :2].tolist()) == [[1, 3], [4, 8]] and set(rows[:2, 2]) == {1}
    assert rows[:2, 3] == pytest.approx(0.9993, abs=1e-3) and (rows[2:, 3] < 0.1).all()


def test_an_external_classifier_says_what():
    net = bmn().eval()
    with torch.no_grad():
        net.classifier.out.weight.zero_()
        net.classifier.out.bias.copy_(torch.tensor([20.0, -20, -20, -20]))
    [rows] = decode_maps(net, planted((1, 3)), [0], Decoding(), external=torch.tensor([[0, 0, 0.5]]))
    assert rows[0].tolist() == pytest.approx([1, 3, 2, 0.5], abs=1e-3)


def test_a_proposal_cut_by_an_inner_window_edge_is_left_to_the_neighbor():
    """Windows at 0 and 4 of T = 8: the first sees 6 to 8, the second the whole of it, 6 to 10, as 2 to 6."""
    net = bmn().eval()
    one, other = planted((6, 8)), planted((2, 6))
    outputs = {key: torch.cat([one[key], other[key]]) for key in one}
    [rows] = decode_maps(net, outputs, [0, 4], Decoding())
    best = rows[rows[:, 3] == rows[:, 3].max()]
    assert best[0, :2].tolist() == [6, 10] and not ((rows[:, 0] == 6) & (rows[:, 1] == 8)).any()


def test_peaks_are_local_maxima_and_high_values():
    """0.3 is a local maximum, 0.6 and 0.7 are above half of 0.9; 0.2 beside 0.3 is neither."""
    assert peaks(torch.tensor([0.1, 0.3, 0.2, 0.6, 0.9, 0.7])).tolist() == [False, True, False, True, True, True]


def test_distinct_proposals_do_not_overlap():
    """Of 0 to 4 (0.9), 0 to 3 (0.8, overlap 3/4) and 5 to 7 (0.5): the first and the third."""
    scores = torch.zeros(1, 8, 8)
    scores[0, 3, 0], scores[0, 2, 0], scores[0, 1, 5] = 0.9, 0.8, 0.5
    segments, found = distinct_proposals(scores, 20, 3)
    assert segments[0, :2].tolist() == [[0, 4], [5, 7]] and found[0].tolist() == pytest.approx([0.9, 0.5, 0])
    assert overlap_of(segments, segments)[0, 0, 1] == 0


# --- learning ---------------------------------------------------------------------------------------------------------


def test_steps_lower_every_loss():
    """40 steps on labels alone, without augmentation; then the model finds the three labeled videos' segments."""
    run = trainer("semi.method=none", "training.steps_per_epoch=30", "training.max_epoch=2", "augment.zoom=0",
                  "training.learning_rate=1e-2", "augment.montage=0", "augment.noise=0", "augment.offset=0",
                  "augment.channel_dropout=0", "augment.snippet_masking=0", "model.dropout=0", net=bmn(dropout=0.0))
    first, last = (run.train_epoch(epoch)["loss"] for epoch in range(2))
    assert set(first) == {"start_end", "confidence", "overlap", "class"}
    assert all(last[name] < first[name] for name in first)
    run.model.settings = {"grid": "window", "stride": 1, "window": 1, "temporal_scale": T}
    for one, features in features_of(LABELED).items():
        true = next(video for video in LABELED if video.name == one)
        [rows] = detect(run.model, [features], [true.duration_sec], fps=1.0)
        start, end = true.segments_sec[0]
        best = rows[:3]
        overlaps = [min(end, row[1]) - max(start, row[0]) for row in best]
        assert max(overlaps) / (end - start) > 0.6 and CLASSES[int(best[0, 2])] == true.labels[0]


@pytest.mark.parametrize("grid", ["window", "resize"])
@pytest.mark.parametrize("detector", ["bmn", "spot"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_resumes_and_detects(tmp_path, method, detector, grid):
    """Two epochs of one step in one go, or stopped between them: the same weights; other unlabeled videos lead
    elsewhere, but for labels alone."""
    data = {"labeled": dataset(LABELED, grid=grid), "unlabeled": dataset(UNLABELED, grid=grid)}
    settings = (f"semi.method={method}", "training.steps_per_epoch=1", "training.max_epoch=2", "semi.confidence=0")
    sizes = SIZES if detector == "bmn" else {}
    whole = trainer(*settings, net=model(**sizes), **data)
    whole.train_epoch(0)
    checkpoint.save(tmp_path / "last.pt", whole.state())
    record = whole.train_epoch(1)
    second = trainer(*settings, net=model(seed=5, **sizes), **data)
    second.load_state(checkpoint.read(tmp_path / "last.pt"))
    second.train_epoch(1)
    assert same(weights_of(second.model), weights_of(whole.model))
    learned = {name for name in record["loss"] if name.startswith("unlabeled_") and record["loss"][name] > 0}
    assert bool(learned) == (method != "none")
    if method == "sstap":
        assert {"unlabeled_reconstruction", "unlabeled_order"} <= learned
    whole.model.settings = {"grid": grid, "stride": 1, "window": 1, "temporal_scale": T}
    [rows] = detect(whole.model, [features_of(LABELED)["a"]], [8.0], fps=1.0, min_score=0.0)
    assert rows.shape[1] == 4 and len(rows) and (rows[:, 1] <= 8).all() and (rows[:, 0] >= 0).all()


@pytest.mark.parametrize("detector", ["bmn", "spot"])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_on_labels_alone_goes_on_with_any_method(method, detector):
    """What it saved has no teacher of a round: the moving teacher stands for it, and the next step learns from it."""
    sizes = SIZES if detector == "bmn" else {}
    settings = ("training.steps_per_epoch=1", "training.max_epoch=2", "semi.confidence=0")
    first = trainer("semi.method=none", *settings, net=model(**sizes))
    first.train_epoch(0)
    second = trainer(f"semi.method={method}", *settings, net=model(seed=5, **sizes))
    second.load_state(first.state())
    if method == "ema":
        assert same(weights_of(second.method.round_teacher), weights_of(first.teacher.module))
    record = second.train_epoch(1)
    assert any(name.startswith("unlabeled_") for name in record["loss"]) == (method != "none")


def test_a_short_sequence_has_no_proposal_behind_its_end():
    """Five of T = 8 snippets."""
    net = bmn().eval()
    net.settings = {"grid": "window", "stride": 1, "window": 1, "temporal_scale": T}
    [rows] = detect(net, [torch.randn(C, 5).numpy()], [5.0], fps=1.0, min_score=0.0)
    assert len(rows) and rows[:, 1].max() <= 5


def test_a_checkpoint_knows_its_detector(tmp_path):
    net = bmn()
    architecture = {**SIZES, "encoder": "conv_transformer", "mask_head": "pairwise", "class_activation": "sigmoid",
                    "feat_dim": C, "temporal_scale": T, "embedding_head": 2, "embed_dim": 8, "num_classes": 3,
                    "chunks": 2}
    net.settings = {"grid": "resize", "temporal_scale": T}
    checkpoint.save(tmp_path / "best.pt", checkpoint.describe_model(net, architecture))
    loaded = checkpoint.load_model(tmp_path / "best.pt")
    assert loaded.detector == "bmn" and same(weights_of(loaded), weights_of(net))
    with pytest.raises(SpotError, match=r"--plot needs .* masks .*, which a run of model\.detector=bmn does"):
        require_masks(loaded, "--plot")
    checkpoint.save(tmp_path / "bad.pt", checkpoint.describe_model(net, {**architecture, "detector": "rcnn"}))
    with pytest.raises(SpotError, match="detector is 'rcnn'; it must be one of spot, bmn, sliding"):
        checkpoint.load_model(tmp_path / "bad.pt")
    with pytest.raises(SpotError, match="temporal_scale is 5; the model was made for 8"):
        detect(loaded, [torch.randn(C, 8).numpy()], [8.0], temporal_scale=5)


@pytest.mark.parametrize(("override", "sentence"), [
    ("loss.boundary=1", "loss.boundary is 1.0, and model.detector=bmn has no such loss"),
    ("semi.method=meanteacher", "did you mean 'mean_teacher'"),
    ("model.map_stride=0", "model.map_stride must be in 1..16, got 0"),
    ("model.detector=bsn", "model.detector must be one of spot, bmn, sliding, got 'bsn'; did you mean 'bmn'"),
    ("model.embed_dim=126", "must be a multiple of"),
    ("pretext.random_foreground=0 pretext.temporal_order=0 pretext.reconstruction=0 training.pretrain_epoch=2",
     "training.pretrain_epoch is 2, and the weights of all tasks in pretext are 0"),
])
def test_a_wrong_setting_is_refused_in_a_sentence(override, sentence):
    settings = ["dataset.feature_path=nowhere", "model.detector=bmn"]
    load_config(None, settings)
    with pytest.raises(SpotError, match=sentence):
        load_config(None, [*settings, *override.split()])
