"""Whatever stands in a file or on the command line: it is read, or refused in one sentence of our own error type."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
import torch
from cases import cases
from hypothesis import given
from hypothesis import strategies as st
from test_checkpoint import ARCHITECTURE, MEANING, SETTINGS
from test_detections import walk
from test_scripts import ends
from tiny import C, K, T, model, trainer, video

import eval as evaluation_script
from spot import checkpoint, detect, json_stream
from spot.annotations import read_annotations
from spot.checkpoint import describe_model, load_model, load_pretrained
from spot.class_scores import read_class_scores
from spot.config import load_config, save_config, schema
from spot.detection_formats import read_predictions
from spot.evaluation import evaluate_detections
from spot.feature_files import read_feature
from spot.features import FeatureSource
from spot.files import SpotError, read_json
from spot.json_stream import streamed_json

pytestmark = pytest.mark.filterwarnings("ignore")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all cases of this module."""
    return tmp_path_factory.mktemp("fuzz")


def accepted(function, *arguments):
    """Is it read (True) or refused in one sentence (False)? Anything else fails the test."""
    try:
        function(*arguments)
    except SpotError as error:
        assert str(error) and "\n" not in str(error)
        return False
    return True


def damaged(draw, content):
    """Bytes cut anywhere, or with one stretch overwritten."""
    at = draw(st.integers(0, len(content)))
    noise = draw(st.binary(max_size=8))
    return content[:at] + (noise + content[at + len(noise):] if draw(st.booleans()) else b"")


def changed(draw, tree):
    """A nested value with one of its parts, at any depth, left out, replaced or joined by another."""
    if isinstance(tree, dict) and tree and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(tree, key=str)))
        return {**tree, key: changed(draw, tree[key])}
    if isinstance(tree, list) and tree and draw(st.integers(0, 4)):
        index = draw(st.integers(0, len(tree) - 1))
        return [*tree[:index], changed(draw, tree[index]), *tree[index + 1:]]
    if isinstance(tree, dict) and tree and draw(st.booleans()):
        gone = draw(st.sampled_from(sorted(tree, key=str)))
        return {key: value for key, value in tree.items() if key != gone}
    if isinstance(tree, dict) and draw(st.booleans()):
        return {**tree, draw(st.text(max_size=5)): draw(anything)}
    return draw(anything)


# --- annotations ------------------------------------------------------------------------------------------------------

ANNOTATIONS = {"database": {
    "a": {"subset": "training", "duration": 8.0, "fps": 25, "frame": 200,
          "annotations": [{"segment": [1.0, 4.0], "label": "run", "label_id": 0}]},
    "v_b": {"subset": "validation", "duration": "9.5", "annotations": []}}}


@cases(250)
@given(st.data())
def test_annotation_files(folder, data):
    path = folder / "annotations.json"
    if data.draw(st.booleans()):
        content = json.dumps(changed(data.draw, ANNOTATIONS)).encode()
    else:
        content = damaged(data.draw, json.dumps(ANNOTATIONS).encode())
    path.write_bytes(content)
    accepted(read_annotations, path)


# --- features ---------------------------------------------------------------------------------------------------------


@cases(250)
@given(shape=st.lists(st.integers(-2, 8) | st.sampled_from([C, 10**6, 10**12, 2**63, 2**70]), max_size=3),
       descr=st.sampled_from(["<f4", ">f8", "<f2", "<i4", "|O", "<U3", "|V7", "<c8", "<M8[s]", "nonsense"]),
       fortran=st.booleans(), version=st.sampled_from([(1, 0), (2, 0), (9, 9)]), body=st.integers(0, 400))
def test_npy_headers_that_claim_anything(folder, shape, descr, fortran, version, body):
    """Terabytes, negative sizes, objects, dates: nothing is allocated for a claim."""
    text = repr({"descr": descr, "fortran_order": fortran, "shape": tuple(shape)}).encode() + b"\n"
    length = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    path = folder / "x.npy"
    path.write_bytes(b"\x93NUMPY" + bytes(version) + length + text + bytes(body))
    if accepted(read_feature, path, C):
        assert C in shape and np.dtype(descr).kind == "f"


@cases(150)
@given(suffix=st.sampled_from([".npy", ".npz", ".pt", ".pkl", ".csv", ".h5"]), content=st.binary(max_size=200))
def test_feature_files_of_noise(folder, suffix, content):
    path = folder / f"noise{suffix}"
    path.write_bytes(content)
    accepted(read_feature, path, C)
    accepted(lambda: [FeatureSource(str(path), C).read(name) for name in FeatureSource(str(path), C).names])


# --- settings ---------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(sorted(schema()))
VALUES = (st.sampled_from(["1e400", ".inf", "nan", "-1", "0", "999999999999999999999", "null", "~", "true", "[]", "{}",
                           "[1, [2]]", "${a}", "*a", "&a 1", "!!python/object:os.system x", "2020-01-01", "0x1f", "'",
                           "{a: 1}", "- 1", "1:2", "0.5:0.95:10", "auto", "info", "resize"])
          | st.text(max_size=8) | st.floats().map(str) | st.integers().map(str))


@cases(200)
@given(st.lists(st.tuples(KEYS | st.text(max_size=8), VALUES), min_size=1, max_size=2))
def test_overrides(folder, given_values):
    """What is accepted can be written to config.yaml and read again."""
    if accepted(load_config, None, [f"{key}={value}" for key, value in given_values]):
        config = load_config(None, ["dataset.video_anno_path=a", "dataset.feature_path=f",
                                    *(f"{key}={value}" for key, value in given_values)])
        save_config(config, folder / "config.yaml")
        assert load_config(folder / "config.yaml") == config


@cases(120)
@given(st.data())
def test_settings_files(folder, data):
    path = folder / "settings.yaml"
    if data.draw(st.booleans()):
        section, _, key = data.draw(KEYS).rpartition(".")
        line = f"{key}: {data.draw(VALUES)}"
        path.write_text(f"{section}:\n  {line}\n" if section else line, encoding="utf-8", errors="replace")
    else:
        save_config(load_config(None, ["dataset.video_anno_path=a", "dataset.feature_path=f"]), path)
        path.write_bytes(damaged(data.draw, path.read_bytes()))
    accepted(load_config, path)


def test_aliases_that_unfold_without_end(folder):
    """Ten levels of nine aliases are 800 million values."""
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
    (folder / "laughs.yaml").write_text("\n".join(lines))
    with pytest.raises(SpotError, match=r"laughs\.yaml: YAML aliases"):
        load_config(folder / "laughs.yaml")


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good():
    """The content of a last.pt, and a trainer that could resume from it."""
    run = trainer()
    run.train_epoch(0)
    run.teacher.module.settings = SETTINGS
    content = {**describe_model(run.teacher.module, ARCHITECTURE), "trainer": run.state(), **MEANING.stored(),
               "records": [{"stage": "train", "epoch": 1}], "best": -1.0}
    return copy.deepcopy(content), run


def misshapen(draw, content):
    """A checkpoint with a part changed, or a tensor of another shape, type or value."""
    kind = draw(st.sampled_from(["any part", "optimizer", "settings", "weight"]))
    if kind == "any part":
        return changed(draw, content)
    if kind == "optimizer":
        state = content["trainer"]
        return {**content, "trainer": {**state, "optimizer": changed(draw, state["optimizer"])}}
    if kind == "settings":
        return {**content, "settings": changed(draw, content["settings"])}
    name = draw(st.sampled_from(sorted(content["state_dict"])))
    tensor = content["state_dict"][name]
    other = draw(st.sampled_from([tensor[..., :1], tensor[None], tensor.double(), tensor > 0, torch.zeros(0),
                                  tensor.to_sparse(), torch.zeros((), dtype=torch.complex64), tensor.half(),
                                  torch.full_like(tensor, float("nan")), tensor[:1].expand(tensor.shape)]))
    return {**content, "state_dict": {**content["state_dict"], name: other}}


@cases(40)
@given(st.data())
def test_checkpoints(folder, good, data):
    """Loaded to detect with, to begin from, or to resume and go on: each one works or is refused."""
    content, run = good
    path = folder / "x.pt"
    checkpoint.save(path, misshapen(data.draw, content))
    if accepted(load_model, path):
        net = load_model(path)
        with torch.no_grad():
            assert net(torch.zeros(1, C, T))["masks"].shape == (1, T, T)
        accepted(lambda: detect(net, np.zeros((C, 2 * T)), 8.0, fps=4))
    accepted(load_pretrained, model(), path)
    accepted(load_pretrained, model(), path, MEANING)
    if accepted(checkpoint.resume, path, run, MEANING):
        accepted(run.train_epoch, 0)


@cases(100)
@given(st.data())
def test_checkpoint_bytes(folder, good, data):
    buffer = io.BytesIO()
    torch.save(good[0], buffer)
    path = folder / "bytes.pt"
    path.write_bytes(damaged(data.draw, buffer.getvalue()))
    accepted(load_model, path)


def test_a_checkpoint_that_claims_a_giant_is_refused_before_memory_is_taken(folder, good):
    content = {**good[0], "architecture": {**ARCHITECTURE, "embed_dim": 40_000}}
    checkpoint.save(folder / "giant.pt", content)
    with pytest.raises(SpotError, match=r"giant\.pt: its weights do not fit together"):
        load_model(folder / "giant.pt")


# --- detections and class scores --------------------------------------------------------------------------------------

DETECTIONS = {"version": "SPOT", "results": {"a": [{"label": "run", "score": 0.5, "segment": [1.0, 4.0]},
                                                   {"label": "jump", "score": 1, "segment": [0, 2]}], "b": []},
              "external_data": {"class_scores": None}, "missing_features": ["b"], "partial": True}
VIDEOS = [video("a", (1, 4, "run")), video("b", (2, 3, "jump"))]


@cases(400)
@given(st.data(), st.booleans())
def test_detections(folder, data, lenient):
    """Read with and without --lenient; what is read can be measured."""
    path = folder / "detections.json"
    if data.draw(st.booleans()):
        content = json.dumps(changed(data.draw, DETECTIONS)).encode()
    else:
        content = damaged(data.draw, json.dumps(DETECTIONS).encode())
    path.write_bytes(content)
    if accepted(read_predictions, path, lenient):
        result = evaluate_detections(VIDEOS, path, "training", lenient=lenient)
        assert 0 <= result.average_mAP <= 1 and result.num_missing_features in (None, 0, 1, 2)


@cases(150)
@given(st.data())
def test_class_scores(folder, data):
    spot = {"a": {"class": "run", "score": 0.5}}
    cuhk = {"results": {"a": [0.5, 0.1, 0]}, "class": ["jump", "run", "throw"]}
    path = folder / "scores.json"
    path.write_text(json.dumps(changed(data.draw, data.draw(st.sampled_from([spot, cuhk])))))
    if accepted(read_class_scores, path, ["jump", "run", "throw"]):
        scores = read_class_scores(path, ["jump", "run", "throw"])
        assert all(scores.scores(name).shape == (K,) for name in scores.names)


@cases(250)
@given(st.data(), st.integers(1, 80))
def test_json_in_pieces_of_any_size(folder, data, size):
    """What is read whole is read alike piece by piece, and what is refused is refused."""
    path = folder / "pieces.json"
    content = json.dumps(changed(data.draw, data.draw(st.sampled_from([DETECTIONS, ANNOTATIONS])))).encode()
    path.write_bytes(damaged(data.draw, content) if data.draw(st.booleans()) else content)
    found = []

    def piecewise():
        with streamed_json(path) as stream:
            found.append(walk(stream))
            stream.refuse_more()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_BYTES", size)
        is_accepted = accepted(piecewise)
    assert is_accepted == accepted(read_json, path)
    if is_accepted:
        assert json.dumps(found[0]) == json.dumps(read_json(path))


@cases(100)
@given(st.data(), st.sampled_from([[], ["--lenient"], ["--drop-duplicates", "--recall"], ["--protocol", "thumos14"]]))
def test_the_whole_script(folder, data, flags):
    """From both files to metrics.json: exit code 0, or 2 with one sentence, and then the old metrics stay."""
    gt, predictions, output = folder / "gt.json", folder / "p.json", folder / "metrics.json"
    truth = {"database": {"a": {**ANNOTATIONS["database"]["a"], "subset": "validation"}}}
    for path, content in ((gt, truth), (predictions, DETECTIONS)):
        path.write_text(json.dumps(changed(data.draw, content) if data.draw(st.booleans()) else content))
    output.write_text("the old metrics")
    message = io.StringIO()
    with contextlib.redirect_stderr(message), contextlib.redirect_stdout(io.StringIO()):
        code = ends(evaluation_script.main, "--ground-truth", str(gt), "--predictions", str(predictions), "--output",
                    str(output), *flags)
    if code == 0:
        assert 0 <= read_json(output)["average_mAP"] <= 1 and not message.getvalue()
    else:
        assert code == 2 and message.getvalue().count("\n") == 1 and output.read_text() == "the old metrics"
