"""Our own checkpoints and the run folder; the published ones are in test_published."""

import json

import pytest
import torch
from tiny import C, K, T, model, same, trainer, weights_of

from spot import checkpoint, load_model
from spot.checkpoint import RunFolder, checkpoint_file, describe_model, load_pretrained
from spot.files import SpotError
from spot.meaning import Meaning

ARCHITECTURE = {"encoder": "conv_transformer", "mask_head": "pairwise", "class_activation": "sigmoid", "feat_dim": C,
                "temporal_scale": T, "embedding_head": 2, "embed_dim": 8, "num_classes": K, "chunks": 2}
SETTINGS = {"grid": "window", "temporal_scale": T, "class_names": ["jump", "run", "throw"], "mask_thresh": (0.3, 0.5),
            "fps": None, "nms_sigma": 0.4}
MEANING = Meaning(ARCHITECTURE, SETTINGS, ["a"])


def saved(path, net=None, **changes):
    net = net or model()
    net.settings = dict(SETTINGS)
    checkpoint.save(path, {**describe_model(net, ARCHITECTURE), **changes})
    return path


def test_what_was_saved_loads_again(tmp_path):
    """Weights, statistics, settings and outputs; ready for inference."""
    net = model(seed=3)
    net.set_statistics(torch.ones(C), torch.full((C,), 2.0))
    loaded = load_model(saved(tmp_path / "best.pt", net))
    assert same(weights_of(loaded), weights_of(net)) and loaded.settings == SETTINGS and not loaded.training
    features = torch.randn(1, C, T)
    with torch.no_grad():
        assert torch.equal(loaded(features)["masks"], net.eval()(features)["masks"])


@pytest.mark.parametrize("changes", [{"encoder": "attention"}, {"mask_head": "fixed"}, {"class_activation": "softmax"},
                                     {"embed_dim": 12, "num_classes": 7}, {"chunks": 4}, {"temporal_scale": 5}])
def test_every_architecture_loads_again(tmp_path, changes):
    net = model(**changes)
    checkpoint.save(tmp_path / "a.pt", describe_model(net, {**ARCHITECTURE, **changes}))
    assert same(weights_of(load_model(tmp_path / "a.pt")), weights_of(net))


def test_a_run_folder_is_its_best_checkpoint_else_its_last(tmp_path):
    saved(tmp_path / "last.pt", model(seed=1))
    assert same(weights_of(load_model(tmp_path)), weights_of(model(seed=1)))
    saved(tmp_path / "best.pt", model(seed=2))
    assert same(weights_of(load_model(tmp_path)), weights_of(model(seed=2)))
    assert checkpoint_file(str(tmp_path)) == tmp_path / "best.pt"


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SpotError, match=r"neither best\.pt nor last\.pt"):
        load_model(tmp_path)


@pytest.mark.parametrize("changes", [
    {"architecture": {}}, {"architecture": {**ARCHITECTURE, "encoder": "magic"}}, {"architecture": None},
    {"architecture": {**ARCHITECTURE, "embed_dim": 16}}, {"architecture": {**ARCHITECTURE, "surprise": 1}},
    {"architecture": {**ARCHITECTURE, "embedding_head": 0}}, {"architecture": {**ARCHITECTURE, "feat_dim": -1}},
    {"state_dict": {}}, {"state_dict": None}, {"state_dict": {"class_head.bias": torch.zeros(4)}}],
    ids=lambda changes: str(changes)[:60])
def test_a_changed_checkpoint_is_refused(tmp_path, changes):
    with pytest.raises(SpotError, match=r"a\.pt: "):
        load_model(saved(tmp_path / "a.pt", **changes))


@pytest.mark.parametrize("changes", [
    {"stride": 0}, {"stride": 2.5}, {"stride": True}, {"stride": 2**70}, {"window": 10**10}, {"window": -1},
    {"offset": 1e3}, {"offset": -(10**10)}, {"grid": "square"}, {"grid": 1}, {"fps": 0}, {"fps": -25}, {"fps": "25"},
    {"fps": 1e300}, {"fps": float("inf")}, {"nms_sigma": 0}, {"nms_sigma": float("nan")}, {"nms_sigma": 1e-320},
    {"min_score": -1}, {"min_score": 1.5}, {"class_power": 2**70}, {"mask_power": -0.5}, {"video_power": float("inf")},
    {"top_k": 0}, {"top_k": 2.0}, {"max_detections": 0}, {"mask_thresh": []}, {"mask_thresh": 0.5},
    {"mask_thresh": ["a"]}, {"mask_thresh": [1.0]}, {"mask_thresh": [-0.1]}, {"mask_thresh": [0.5] * 101},
    {"class_names": [1, 2, 3]}, {"class_names": ["run", "run", "jump"]}, {"class_names": ["", "a", "b"]},
    {"class_names": "abc"}, {"fusion": 3}, {"fusion": "mean"}, {"temporal_scale": 0}, {"temporal_scale": 10**6},
], ids=str)
def test_a_stored_setting_out_of_range_is_refused(tmp_path, changes):
    """One sentence with the file, the key and its value."""
    (key, value), = changes.items()
    checkpoint.save(tmp_path / "x.pt", {**describe_model(model(), ARCHITECTURE), "settings": {**SETTINGS, **changes}})
    with pytest.raises(SpotError, match=rf"x\.pt: its settings cannot be used \(its {key} is ") as refusal:
        load_model(tmp_path / "x.pt")
    assert repr(value)[:60] in str(refusal.value) and "it must be" in str(refusal.value)


@pytest.mark.parametrize(("settings", "architecture", "words"), [
    ({"of_a_later_version": 1}, {}, "there is no setting 'of_a_later_version'"),
    ({3: 4}, {}, "there is no setting 3"),
    ({"strid": 4}, {}, "there is no setting 'strid'; did you mean stride"),
    ({"class_names": ["a"]}, {}, "its class_names are 1, and it has 3 classes"),
    ({"temporal_scale": 1}, {}, "its temporal_scale is 1 in its settings and 8 in its architecture"),
    ({"temporal_scale": 1}, {"temporal_scale": 1}, r"its temporal_scale \(1\) must be at least pretext\.chunks \(2\)"),
    ({}, {"embed_dim": 6}, r"its embed_dim \(6\) must be a multiple of 2 \* embedding_head \(4\)"),
    ({}, {"encoder": "attention", "embedding_head": 4}, r"its feat_dim \(6\) must be a multiple of embedding_head"),
    ({}, {"class_activation": "tanh"}, "its class_activation is 'tanh'; it must be one of sigmoid, softmax"),
    ({}, {"dropout": 1.0}, r"its dropout is 1\.0; it must be a number in 0\.0\.\.0\.99"),
    ({}, {"chunks": 2.0}, r"its chunks is 2\.0; it must be a whole number in 2\.\.1000"),
], ids=str)
def test_stored_settings_that_do_not_go_together_are_refused(tmp_path, settings, architecture, words):
    content = describe_model(model(), {**ARCHITECTURE, **architecture})
    checkpoint.save(tmp_path / "x.pt", {**content, "settings": {**SETTINGS, **settings}})
    with pytest.raises(SpotError, match=rf"x\.pt: its settings cannot be used \({words}"):
        load_model(tmp_path / "x.pt")


def test_settings_at_the_ends_of_their_ranges_load(tmp_path):
    fine = {**SETTINGS, "fps": None, "stride": 10**9, "offset": -40, "min_score": 0, "mask_thresh": [0.5],
            "fusion": "sqrt", "class_power": 100, "max_detections": 1, "class_names": None}
    checkpoint.save(tmp_path / "x.pt", {**describe_model(model(), ARCHITECTURE), "settings": fine})
    assert load_model(tmp_path / "x.pt").settings == fine


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_deviation_that_features_cannot_be_divided_by_is_refused(tmp_path, value):
    net = model()
    net.set_statistics(torch.zeros(C), torch.tensor([1.0] * (C - 1) + [value]))
    with pytest.raises(SpotError, match=r"x\.pt: its weights do not fit together \(feature_std, by which"):
        load_model(saved(tmp_path / "x.pt", net))


def test_saving_leaves_the_old_file_where_it_fails(tmp_path):
    """Something that cannot be written: the good file stays, and no temporary one is left."""
    saved(tmp_path / "a.pt", model(seed=1))
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save(tmp_path / "a.pt", {"x": lambda: 0})
    assert same(weights_of(load_model(tmp_path / "a.pt")), weights_of(model(seed=1)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


# --- pre-trained weights ----------------------------------------------------------------------------------------------


def test_pre_trained_weights_fill_all_but_the_class_head(tmp_path):
    net = model(seed=5, num_classes=9)
    before = weights_of(net)
    load_pretrained(net, saved(tmp_path / "a.pt", model(seed=1)))
    other = weights_of(model(seed=1))
    for name, value in weights_of(net).items():
        assert torch.equal(value, (before if name.startswith("class_head") else other)[name]), name


def test_pre_trained_weights_of_another_model_are_refused(tmp_path):
    path = saved(tmp_path / "a.pt")
    net = model(embed_dim=16)
    before = weights_of(net)
    with pytest.raises(SpotError, match=r"training\.pretrained=.*do not fit this model, such as \w+"):
        load_pretrained(net, path)
    assert same(before, weights_of(net))


def test_a_published_checkpoint_is_not_trained_on(tmp_path):
    """It says nothing of its features and classes."""
    torch.save({"state_dict": model().state_dict()}, tmp_path / "published.pth.tar")
    with pytest.raises(SpotError, match=r"published.pth.tar: is not a checkpoint of a training here.*leave it out"):
        load_pretrained(model(), tmp_path / "published.pth.tar")


# --- resuming ---------------------------------------------------------------------------------------------------------


def test_resuming_gives_back_records_and_best(tmp_path):
    run = trainer()
    run.train_epoch(0)
    checkpoint.save(tmp_path / "last.pt", {**describe_model(run.teacher.module, ARCHITECTURE), "trainer": run.state(),
                                           "labeled_names": ["a"], "records": [{"stage": "train"}], "best": 0.25})
    other = trainer(net=model(seed=9))
    found = checkpoint.resume(tmp_path / "last.pt", other, MEANING)
    assert found == {"records": [{"stage": "train"}], "best": 0.25}
    assert same(weights_of(other.model), weights_of(run.model))


WITHOUT_TRAINER = {"architecture": ARCHITECTURE, "settings": SETTINGS, "labeled_names": ["a"], "records": [], "best": 0}


@pytest.mark.parametrize("content", [{}, {"architecture": ARCHITECTURE}, {"architecture": 3},
                                     {**WITHOUT_TRAINER, "trainer": {}}, {**WITHOUT_TRAINER, "trainer": 3}],
                         ids=lambda content: ",".join(content) or "empty")
def test_a_last_checkpoint_without_its_parts_is_refused(tmp_path, content):
    checkpoint.save(tmp_path / "last.pt", content)
    with pytest.raises(SpotError, match=r"last\.pt: cannot be resumed"):
        checkpoint.resume(tmp_path / "last.pt", trainer(), MEANING)


def test_of_the_optimizer_only_what_it_gathered_is_resumed(tmp_path):
    """Weight decay is this training's; a state that no step could be taken with is refused."""
    run = trainer("training.weight_decay=0.5")
    run.train_epoch(0)
    content = {**describe_model(run.teacher.module, ARCHITECTURE), **WITHOUT_TRAINER, "trainer": run.state()}
    checkpoint.save(tmp_path / "last.pt", content)
    other = trainer("training.weight_decay=0.25")
    checkpoint.resume(tmp_path / "last.pt", other, MEANING)
    assert [group["weight_decay"] for group in other.optimizer.param_groups] == [0.25, 0]
    gathered = next(iter(content["trainer"]["optimizer"]["state"].values()))
    for changes in ({"exp_avg": torch.zeros(3)}, {"exp_avg": 3}, {"more": torch.zeros(())}):
        kept = dict(gathered)
        gathered.update(changes)
        checkpoint.save(tmp_path / "last.pt", content)
        with pytest.raises(SpotError, match=r"last\.pt: cannot be resumed, it does not hold the state"):
            checkpoint.resume(tmp_path / "last.pt", trainer(), MEANING)
        gathered.clear()
        gathered.update(kept)


# --- run folder -------------------------------------------------------------------------------------------------------


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    folder = RunFolder(tmp_path)
    folder.refuse_another_run()
    folder.last.write_bytes(b"x")
    with pytest.raises(SpotError, match=r"already holds a run; continue it with training\.resume=auto"):
        folder.refuse_another_run()


def test_an_output_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    for path in (tmp_path / "x", tmp_path / "x" / "y"):
        with pytest.raises(SpotError, match="output_path"), RunFolder(path).locked():
            pass


def test_the_folder_says_what_the_run_was_made_from(tmp_path):
    folder = RunFolder(tmp_path)
    folder.describe(["jump", "run"], ["a", "b"])
    folder.write_log([{"epoch": 1}])
    folder.write_log([{"epoch": 1}, {"epoch": 2}])
    assert folder.classes.read_text() == "jump\nrun\n" and folder.labeled.read_text() == "a\nb\n"
    assert folder.commit.read_text().strip()
    assert [json.loads(line)["epoch"] for line in folder.log.read_text().splitlines()] == [1, 2]


def test_outside_of_a_git_checkout_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert checkpoint.git_commit() == "unknown"


def test_a_write_that_torch_gives_up_is_told_as_one(tmp_path, monkeypatch):
    def give_up(*_):
        raise RuntimeError("[enforce fail at inline_container.cc:668] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", give_up)
    with pytest.raises(SpotError, match=r"x\.pt: cannot be written \(.*unexpected pos"):
        checkpoint.save(tmp_path / "x.pt", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("message", ["CUDA out of memory. Tried to allocate 20.00 MiB.", "no space"])
def test_memory_that_runs_out_is_not_taken_for_a_full_disk(tmp_path, monkeypatch, message):
    """While a checkpoint is written: a GPU that is full is said by the script, any other fault is one of the file."""
    def failing(*_):
        raise torch.OutOfMemoryError(message) if "CUDA" in message else RuntimeError(message)

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(torch.OutOfMemoryError if "CUDA" in message else SpotError, match=message[:8]):
        checkpoint.save(tmp_path / "last.pt", {})
    assert not list(tmp_path.iterdir())


def test_memory_that_runs_out_while_resuming_is_not_a_broken_file(tmp_path, monkeypatch):
    run = trainer()
    content = {"architecture": {}, "settings": {}, "labeled_names": [], "trainer": run.state(), "records": [],
               "best": -1.0}
    checkpoint.save(tmp_path / "last.pt", content)
    assert checkpoint.resume(tmp_path / "last.pt", run, Meaning({}, {}, [])) == {"records": [], "best": -1.0}

    def full(_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(run, "load_state", full)
    with pytest.raises(torch.OutOfMemoryError):
        checkpoint.resume(tmp_path / "last.pt", run, Meaning({}, {}, []))
