"""The examples of docs/extend.md, put into a copy of the code as they stand there, and used."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
STEP = re.compile(r"^`(?P<file>spot/\w+\.py)`, (?P<how>[^\n]*):\n\n```python\n(?P<code>.*?)^```$", re.M | re.S)
# What is used of the extended copy, in a process of its own: an epoch of two steps, and a model that is loaded again.
USE = """
import json, sys
from pathlib import Path
import numpy as np
import tiny
from spot import checkpoint
from spot.config import load_config
from spot.feature_files import read_feature

net = tiny.model(encoder="gru", mask_head="product")
trainer = tiny.trainer("model.encoder=gru", "model.mask_head=product", "model.embed_dim=8", "model.embedding_head=2",
                       "loss.smoothness=0.15", "training.amp=auto", net=net)
losses = [trainer.train_epoch(epoch)["loss"] for epoch in range(2)]
architecture = {"encoder": "gru", "mask_head": "product", "class_activation": "sigmoid", "feat_dim": tiny.C,
                "temporal_scale": tiny.T, "embedding_head": 2, "embed_dim": 8, "num_classes": tiny.K, "chunks": 2}
checkpoint.save("best.pt", checkpoint.describe_model(net, architecture))
again = checkpoint.load_model("best.pt")
print(json.dumps({"losses": losses, "same": tiny.same(tiny.weights_of(again), tiny.weights_of(net)),
                  "rows": read_feature(Path("x.fvecs"), tiny.C).tolist()}))
"""


def steps_of(section):
    """The (file, what is done to it, code) of an example."""
    return [(found["file"], found["how"], found["code"]) for found in STEP.finditer(section)]


def examples():
    """{title: steps} of docs/extend.md."""
    text = (ROOT / "docs" / "extend.md").read_text()
    sections = re.split(r"^## (.*)\n", text, flags=re.M)[1:]
    return {title: steps_of(body) for title, body in zip(sections[::2], sections[1::2], strict=True)
            if steps_of(body)}


def apply(step, folder):
    """Do to the copy in `folder` what the page says."""
    file, how, code = step
    path = folder / file
    if how == "a new file":
        assert not path.exists()
        path.write_text(code)
        return
    text = path.read_text()
    if table := re.fullmatch(r"a line in `(\w+)`", how):
        before, begin, after = text.partition(f"\n{table[1]} = {{\n")
        assert begin, f"{file} has no {table[1]}"
        path.write_text(before + begin + code + after)
    else:
        assert how == "a line at the top"
        first = re.search(r"^from spot", text, re.M).start()
        path.write_text(text[:first] + code + text[first:])


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the code with all examples in it."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "spot", folder / "spot", ignore=shutil.ignore_patterns("__pycache__"))
    for file in [*ROOT.glob("*.py"), ROOT / "tests" / "tiny.py"]:
        shutil.copy(file, folder)
    for steps in examples().values():
        for step in steps:
            apply(step, folder)
    return folder


def test_each_example_changes_two_files_at_most():
    found = examples()
    assert {"A snippet encoder", "A mask head", "A loss", "A format of feature files"} <= found.keys()
    for steps in found.values():
        assert len({file for file, *_ in steps}) == 2 and sum(how == "a new file" for _, how, _ in steps) == 1


def test_the_examples_train_are_logged_and_load_again(extended):
    """A file of two rows, 1 to 6 and 7 to 12, is (C, T') = (6, 2) of them."""
    rows = np.arange(1, 13, dtype="<f4").reshape(2, 6)
    content = np.column_stack([np.full(2, 6, "<i4"), rows.view("<i4")])
    (extended / "x.fvecs").write_bytes(content.tobytes())
    done = subprocess.run([sys.executable, "-c", USE], cwd=extended, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["same"] and np.array(said["rows"]).T.tolist() == rows.tolist()
    assert all(losses["smoothness"] > 0 for losses in said["losses"])


def test_the_settings_know_the_new_names(extended):
    code = ("from spot.config import load_config; c = load_config(None, ['model.encoder=gru', 'loss.smoothness=1']); "
            "print(c.model.encoder, c.loss.smoothness); load_config(None, ['model.encoder=gro'])")
    done = subprocess.run([sys.executable, "-c", code], cwd=extended, capture_output=True, text=True, timeout=300)
    assert done.stdout == "gru 1.0\n" and "did you mean 'gru'" in done.stderr
