"""The check of a GPU works, shown with tiny sizes on the CPU; no test looks at a clock."""

import importlib.util
import json
import sys
from pathlib import Path

import pandas
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def tool():
    specification = importlib.util.spec_from_file_location("gpu_check", ROOT / "tools" / "gpu_check.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_part_gives_its_rows(tool, tmp_path, capsys):
    """On the screen, as CSV and as JSON: the same lines, in order."""
    assert tool.main(["--quick", "--device", "cpu", "--out", str(tmp_path)]) == 0
    table = pandas.read_csv(tmp_path / "gpu_check.csv")
    words = ("matrix product", "step, C = 400", "features to detections.json", "reading 6 videos", "pretext: 1 passes",
             "train: 1 passes", "full size")
    for word in words:
        assert table.what.str.startswith(word).any(), word
    step = table[table.what.str.startswith("step")].iloc[0]
    assert step.ms > 0 and step["expected ms"] == 4 and step["share of the matrix rate"] > 0
    assert [row["what"] for row in json.loads((tmp_path / "gpu_check.json").read_text())] == list(table.what)
    shown = capsys.readouterr().out
    assert all(word in shown for word in words)


def test_a_part_that_fails_is_a_line_and_the_others_go_on(tool, tmp_path, monkeypatch):
    def broken(bench, quick):
        yield {"what": "first"}
        raise RuntimeError("CUDA error: an illegal memory access\nmore")

    monkeypatch.setattr(tool, "PARTS", {"broken": broken, "matrix products": lambda bench, quick: [{"what": "second"}]})
    assert tool.main(["--quick", "--device", "cpu", "--out", str(tmp_path)]) == 1
    table = pandas.read_csv(tmp_path / "gpu_check.csv")
    assert list(table.what) == ["first", "broken", "second"]
    assert table.note[1] == "WRONG: RuntimeError: CUDA error: an illegal memory access"


def test_what_no_time_is_left_for_is_named(tool, tmp_path):
    assert tool.main(["--quick", "--device", "cpu", "--seconds", "-1", "--out", str(tmp_path)]) == 1
    assert pandas.read_csv(tmp_path / "gpu_check.csv").note.str.startswith("NOT DONE").all()


@pytest.mark.parametrize("name", ["pandas", "torch"])
def test_a_package_that_is_missing_is_named_with_the_way_to_bring_it(tool, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    specification = importlib.util.spec_from_file_location("again", tool.__file__)
    with pytest.raises(SystemExit) as stop:
        specification.loader.exec_module(importlib.util.module_from_spec(specification))
    message = str(stop.value)
    assert message.startswith(f"gpu_check.py: {name} is not installed here") and "\n" not in message
    assert "pip download -r requirements.txt -d wheels" in message and "--no-index" in message
