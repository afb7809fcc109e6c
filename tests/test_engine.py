"""Training: what moves the weights and what does not, and that a run can be repeated and resumed."""

import itertools
import math

import numpy as np
import pytest
import torch
from tiny import CLASSES, LABELED, UNLABELED, dataset, features_of, model, same, trainer, video, weights_of

from spot import checkpoint
from spot.files import SpotError
from spot.optimization import make_optimizer
from spot.schedule import learning_rate_share
from spot.teacher import make_teacher


def trained(*overrides, epochs=1, **data):
    """Weights after some training epochs from the same start."""
    net = model()
    run = trainer(*overrides, net=net, **data)
    records = [run.train_epoch(epoch) for epoch in range(epochs)]
    return weights_of(net), records


# --- one epoch --------------------------------------------------------------------------------------------------------


def test_a_tiny_model_trains_a_step_on_the_cpu():
    """3 classes, 8 snippets, 6 channels: every part of the network moves, and the record says what happened."""
    before = weights_of(model())
    after, [record] = trained("training.steps_per_epoch=1")
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"encoder", "class_head", "mask_head"}
    assert (record["stage"], record["epoch"], record["step"]) == ("train", 1, 1)
    assert {"class", "mask", "unlabeled_class", "unlabeled_mask"} <= set(record["loss"])
    assert all(math.isfinite(value) for value in record["loss"].values()) and record["holdout_mAP"] is None
    assert set(record) >= {"stage", "epoch", "step", "lr", "seconds", "loss", "kept_share", "holdout_mAP"}


def test_the_losses_of_three_videos_fall():
    """160 steps on labels alone, without augmentation: the network can learn at all."""
    _, records = trained("semi.method=none", "training.steps_per_epoch=40", "training.learning_rate=5e-3",
                         "augment.zoom=0", "augment.noise=0", "augment.channel_dropout=0", "augment.snippet_masking=0",
                         "training.max_epoch=4", "model.dropout=0", epochs=4)
    for name in ("class", "mask"):
        assert records[-1]["loss"][name] < 0.7 * records[0]["loss"][name], name


def test_the_published_configuration_trains():
    net = model(encoder="attention", mask_head="fixed", class_activation="softmax")
    before = weights_of(net)
    run = trainer("semi.method=self", "semi.class_threshold=0", "loss.boundary=1", "training.optimizer=adam",
                  "training.schedule=step", net=net)
    record = run.train_epoch(0)
    assert not same(before, weights_of(net)) and all(map(math.isfinite, record["loss"].values()))


@pytest.mark.parametrize("name", ["boundary", "consistency", "reconstruction", "instance"])
def test_every_loss_has_a_switch(name):
    """Weight 0 leaves it out of the record, a weight puts it in and moves the weights elsewhere."""
    # Four steps: in a single one no snippet may be surely foreground, and then nothing is easy for `boundary`.
    without, [silent] = trained(f"loss.{name}=0", "training.steps_per_epoch=4")
    with_it, [spoken] = trained(f"loss.{name}=1", "training.steps_per_epoch=4")
    assert name not in silent["loss"] and math.isfinite(spoken["loss"][name]) and not same(without, with_it)


def test_bf16_stays_near_float32():
    """One epoch on labels in bf16 (8 bits of mantissa): losses within 5 %. A pseudo label at its threshold may flip."""
    _, [full] = trained("semi.method=none")
    _, [half] = trained("semi.method=none", "training.amp=bf16")
    for name, value in full["loss"].items():
        assert half["loss"][name] == pytest.approx(value, rel=0.05, abs=0.01), name


# --- unlabeled videos -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ema", "self"])
def test_unlabeled_videos_change_the_gradient(method):
    """Other unlabeled features lead elsewhere; with `none` they do not matter at all."""
    others = dataset(UNLABELED, features_of(UNLABELED, seed=9))
    one, other = (trained(f"semi.method={method}", unlabeled=data)[0] for data in (UNLABELED, others))
    assert not same(one, other)
    nothing, nothing_either = (trained("semi.method=none", unlabeled=data)[0] for data in (UNLABELED, others))
    assert same(nothing, nothing_either) and not same(nothing, one)


def test_the_teacher_is_not_the_student():
    """After the first steps `ema` and `self` disagree."""
    one, other = (trained(f"semi.method={method}", "training.steps_per_epoch=4",
                          "training.learning_rate=1e-2")[0] for method in ("ema", "self"))
    assert not same(one, other)


@pytest.mark.parametrize("method", ["ema", "self"])
def test_the_labels_of_unlabeled_videos_are_never_seen(method):
    """The same features under other labels: bit for bit the same weights, pretext stage included."""
    features = features_of(UNLABELED)
    lied = [video(one.name, (0, 8, CLASSES[i % 3])) for i, one in enumerate(UNLABELED)]
    results = []
    for videos in (UNLABELED, lied):
        net = model()
        run = trainer(f"semi.method={method}", net=net, unlabeled=dataset(videos, features))
        run.pretext_epoch(0), run.start_stage(), run.train_epoch(0)
        results.append(weights_of(net))
    assert same(*results)


def test_the_weight_of_the_unlabeled_losses_counts():
    """Weight 0 is training on labels alone, bit for bit."""
    nothing, _ = trained("semi.method=none")
    zero, _ = trained("semi.weight=0")
    assert same(nothing, zero)


def test_the_share_of_snippets_kept_is_logged():
    _, [everything] = trained("semi.class_threshold=0")
    _, [nothing] = trained("semi.class_threshold=1")
    _, [none] = trained("semi.method=none")
    assert 0 <= nothing["kept_share"] <= everything["kept_share"] <= 1 and none["kept_share"] is None


def test_the_burn_in_trains_on_labels_alone():
    """4 epochs of 2 steps, burn-in half of them: pseudo labels from epoch 3 on."""
    _, records = trained("semi.burn_in=0.5", "training.max_epoch=4", epochs=4)
    heard = [any(name.startswith("unlabeled_") for name in record["loss"]) for record in records]
    assert heard == [False, False, True, True]
    assert [record["kept_share"] is None for record in records] == [True, True, False, False]


@pytest.mark.parametrize("overrides", [("semi.method=none",), ("semi.method=ema",), ("training.unlabeled_ratio=0",)])
def test_without_unlabeled_videos_it_trains_on_labels(overrides):
    data = {} if "unlabeled_ratio" in overrides[0] else {"unlabeled": None}
    weights, [record] = trained(*overrides, **data)
    assert all(map(math.isfinite, record["loss"].values())) and all(torch.isfinite(w).all() for w in weights.values())


# --- hard cases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labeled", [
    [video("a"), video("b")],
    [video("a", (0, 1, "run"), duration=1.0), video("b", (0, 8, "jump"))],
    [video("a", (0, 8, "run"), (0, 8, "jump"))],
    [video("a", (3.1, 3.2, "run"))],
], ids=["all background", "one snippet", "all foreground, two classes", "shorter than a snippet"])
def test_hard_labels_stay_finite(labeled):
    weights, [record] = trained("loss.boundary=1", "loss.consistency=1", "loss.reconstruction=1", labeled=labeled)
    assert all(map(math.isfinite, record["loss"].values())) and all(torch.isfinite(w).all() for w in weights.values())


def test_constant_features_stay_finite():
    features = {one.name: np.full((6, 8), 3, np.float32) for one in LABELED}
    weights, _ = trained(labeled=dataset(LABELED, features))
    assert all(torch.isfinite(value).all() for value in weights.values())


@pytest.mark.parametrize("stage", ["train", "pretext"])
def test_a_loss_that_is_not_finite_stops_with_names(stage):
    """Stage, epoch, loss and videos are named, and the weights stay as they were before the step."""
    features = features_of(LABELED)
    for x in features.values():
        x[0, 3] = np.inf
    net = model()
    before = weights_of(net)
    run = trainer("semi.method=none", "augment.channel_dropout=0", "augment.snippet_masking=0", net=net,
                  labeled=dataset(LABELED, features), unlabeled=None)
    epoch = run.train_epoch if stage == "train" else run.pretext_epoch
    with pytest.raises(SpotError, match=rf"{stage} epoch 3: the loss .*\w+ is not finite for the videos [abc], [abc];"):
        epoch(2)
    assert same(before, weights_of(net))


# --- pretext stage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list("abcdefg"))
def test_pre_training_sees_every_training_video(name):
    """Labeled (a, b, c) or not (d to g): a broken one is met within 8 steps of 2 videos."""
    features = features_of(LABELED + UNLABELED)
    features[name][:, 3] = np.nan
    run = trainer("training.steps_per_epoch=8", "pretext.temporal_order=0", "pretext.random_foreground=0",
                  labeled=dataset(LABELED, features), unlabeled=dataset(UNLABELED, features))
    with pytest.raises(SpotError, match=rf"videos .*\b{name}\b"):
        run.pretext_epoch(0)


def test_pre_training_leaves_the_class_head_alone():
    """Also under weight decay; encoder, mask head, order head and reconstruction learn."""
    net = model()
    before = weights_of(net)
    run = trainer("training.weight_decay=0.5", net=net)
    record = run.pretext_epoch(0)
    after = weights_of(net)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"encoder", "mask_head", "order_head", "reconstruct"}
    assert set(record["loss"]) == {"random_foreground", "temporal_order", "reconstruction"}
    assert record["stage"] == "pretext" and all(parameter.requires_grad for parameter in net.parameters())


def test_pre_training_does_not_need_a_label():
    """The same features without any segment: bit for bit the same weights."""
    results = []
    for labeled in (LABELED, [video(one.name) for one in LABELED]):
        net = model()
        trainer(net=net, labeled=dataset(labeled, features_of(LABELED))).pretext_epoch(0)
        results.append(weights_of(net))
    assert same(*results)


@pytest.mark.parametrize("task", ["random_foreground", "temporal_order", "reconstruction"])
def test_every_pretext_task_has_a_switch(task):
    others = [f"pretext.{name}=0" for name in ("random_foreground", "temporal_order", "reconstruction") if name != task]
    assert list(trainer(*others).pretext_epoch(0)["loss"]) == [task]


# --- teacher, optimizer, schedule -------------------------------------------------------------------------------------


def test_the_teacher_warms_up():
    """The first update copies; update n keeps min(decay, (1 + n) / (10 + n)) of the teacher: 2/11, 3/12, 4/13 = 0.307
    becomes the decay of 0.3. The student's weight is 1, 2, 3, 4; buffers move alike."""
    net = model()
    teacher = make_teacher(net, 0.3)
    wanted = None
    for n, value in enumerate([1.0, 2.0, 3.0, 4.0]):
        with torch.no_grad():
            net.class_head.bias.fill_(value)
            net.feature_mean.fill_(value)
        teacher.update_parameters(net)
        kept = min(0.3, (1 + n) / (10 + n))
        wanted = value if n == 0 else kept * wanted + (1 - kept) * value
        assert teacher.module.class_head.bias.tolist() == pytest.approx([wanted] * 4)
        assert teacher.module.feature_mean.flatten().tolist() == pytest.approx([wanted] * 6)
    assert 3 < wanted < 4 and net.class_head.bias[0] == 4


def test_the_teacher_learns_nothing_by_itself():
    net = model()
    teacher = make_teacher(net, 0.9)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher.module.training and net.training
    assert same(weights_of(teacher.module), weights_of(net)) and teacher.module is not net


def test_a_new_stage_starts_with_a_teacher_like_the_model():
    run = trainer()
    run.pretext_epoch(0)
    assert not same(weights_of(run.teacher.module), weights_of(run.model))
    run.start_stage()
    assert same(weights_of(run.teacher.module), weights_of(run.model)) and not run.optimizer.state_dict()["state"]


def test_biases_and_norms_do_not_decay():
    net = model()
    groups = make_optimizer(net, "adamw", 1e-3, 0.1).param_groups
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert len(decay) == len(list(net.parameters()))
    assert decay[id(net.class_head.weight)] == 0.1 and decay[id(net.class_head.bias)] == 0
    assert decay[id(net.encoder.norm.weight)] == 0


def test_the_published_schedule():
    """x 0.2 every 10 epochs of 5 steps: at steps 0, 49, 50, 100."""
    assert [learning_rate_share("step", step, 125, 5) for step in (0, 49, 50, 100)] == pytest.approx([1, 1, 0.2, 0.04])


def test_the_cosine_schedule_warms_up_and_falls():
    """200 steps: the first 20 rise, then it falls to about 0.01."""
    shares = [learning_rate_share("cosine", step, 200, 50) for step in range(200)]
    assert shares[0] == pytest.approx(1 / 20, rel=0.01) and shares[199] < 0.011
    assert all(b > a for a, b in itertools.pairwise(shares[:20]))
    assert all(b < a for a, b in itertools.pairwise(shares[20:]))
    assert 0 < learning_rate_share("cosine", 0, 1, 1) <= 1


def test_the_burn_in_has_a_cycle_of_its_own():
    """200 steps with a restart at 100: almost 0 just before it, almost 1 soon after, almost 0 at the end."""
    share = [learning_rate_share("cosine", step, 200, 50, restart=100) for step in range(200)]
    assert max(share[98], share[99], share[199]) < 0.02 and min(share[12], share[112]) > 0.9
    assert share[:100] == share[100:]


# --- repeat and resume ------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights():
    one, again = trained()[0], trained()[0]
    other = trained("training.random_seed=1")[0]
    assert same(one, again) and not same(one, other)


@pytest.mark.parametrize("stop", [("pretext", 1), ("train", 1), ("train", 2)])
def test_resumed_training_equals_uninterrupted(tmp_path, stop):
    """2 pretext and 3 training epochs, stopped after some epoch, saved to a file, and resumed in a trainer that started
    from other weights: model, teacher and losses are equal bit for bit."""
    plan = [("pretext", 0), ("pretext", 1), ("train", 0), ("train", 1), ("train", 2)]

    def go_on(run, epochs):
        records = []
        for stage, epoch in epochs:
            if (stage, epoch) == ("train", 0):
                run.start_stage()
            records.append((run.pretext_epoch if stage == "pretext" else run.train_epoch)(epoch))
        return [record["loss"] for record in records]

    settings = ("training.pretrain_epoch=2", "training.max_epoch=3")
    whole = trainer(*settings, net=model())
    losses = go_on(whole, plan)

    done = plan.index(stop) + 1
    first = trainer(*settings, net=model())
    before = go_on(first, plan[:done])
    checkpoint.save(tmp_path / "last.pt", first.state())
    second = trainer(*settings, net=model(seed=5))
    second.load_state(checkpoint.read(tmp_path / "last.pt"))
    assert before + go_on(second, plan[done:]) == losses
    assert same(weights_of(second.model), weights_of(whole.model))
    assert same(weights_of(second.teacher.module), weights_of(whole.teacher.module))


def test_a_ratio_of_zero_is_training_on_labels_alone():
    alone, [record] = trained("training.unlabeled_ratio=0")
    assert not any(name.startswith("unlabeled") for name in record["loss"])
    assert same(alone, trained("semi.method=none")[0])


def test_in_rounds_the_teacher_of_classes_changes_only_between_them():
    """Two rounds of two steps: classes come from the teacher as it was when the round began, masks from it as it is.

    Every recording is one sequence here, so its class logits are those of the sequence, in float16.
    """
    run = trainer("semi.rounds=2", "training.max_epoch=2")
    seen, original = [], run.method.teach

    def watched(unlabeled):
        outputs, labeler = original(unlabeled), run.method.round_teacher
        with torch.no_grad():
            now = run.teacher.module.from_standardized(unlabeled["features"], unlabeled["valid"])
            assert torch.equal(outputs["masks"], now["masks"])
            then = labeler.classify(unlabeled["features"], unlabeled["valid"])
            assert torch.allclose(unlabeled["class_logits"], then, atol=1e-2)
        seen.append(weights_of(labeler))
        return outputs

    run.method.teach = watched
    for epoch in range(2):
        run.train_epoch(epoch)
    assert same(seen[0], seen[1]) and same(seen[2], seen[3]) and not same(seen[1], seen[2])


@pytest.mark.parametrize("settings", [["semi.rounds=0"], ["semi.method=self"]])
def test_without_rounds_one_model_teaches_masks_and_classes(settings):
    """The moving teacher, or the student itself; the teacher of the round is not asked."""
    run = trainer(*settings)
    for parameter in run.method.round_teacher.parameters():
        parameter.fill_(float("nan"))
    batch = run.draw_batch(run.unlabeled, 2, 0, torch.Generator(), stream=1)
    assert run.method.draw(batch, 0, 4, torch.Generator()) == {}
    assert run.method.teach(batch)["class_logits"].isfinite().all()


def test_unlabeled_videos_whose_labels_nobody_knows_have_no_diagnostics():
    """What is right of their pseudo labels cannot be told; they are trained on all the same."""
    unknown = [video("x"), video("y")]
    record = trainer(unlabeled=dataset(unknown, features_of(unknown))).train_epoch(0)
    assert record["diagnostics"] == {} and record["kept_share"] is not None and "unlabeled_mask" in record["loss"]
