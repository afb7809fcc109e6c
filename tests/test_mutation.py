"""The mutation check itself: which changes it makes, and that it tells a test that notices from one that does not."""

import ast
import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
specification = importlib.util.spec_from_file_location("mutation", ROOT / "tools" / "mutation.py")
mutation = importlib.util.module_from_spec(specification)
specification.loader.exec_module(mutation)

SOURCE = '''
def clip(values, low=0):
    """Docstrings and texts stay."""
    return [max(value, low) for value in values if value is not None and True]
'''


def test_every_change_is_one_that_runs():
    """low=1, min for max, `is` for `is not`, `or` for `and`, False for True: five, each in its line."""
    found = mutation.mutants(SOURCE)
    assert sorted(what.split("  ->  ")[1] for _, what, _ in found) == [
        "1", "False", "min", "value is None", "value is not None or True"]
    assert {line for line, _, _ in found} == {2, 4}
    for _, _, source in found:
        assert "Docstrings and texts stay." in source and source != ast.unparse(ast.parse(SOURCE))
        compile(source, "x", "exec")


def test_what_no_test_notices_is_told(tmp_path, monkeypatch, capsys):
    """A test that looks at [5, None] alone: four changes are noticed, another default of `low` is not."""
    (tmp_path / "spot").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "spot" / "clip.py").write_text(SOURCE)
    (tmp_path / "tests" / "test_clip.py").write_text("")
    outcomes = []

    def noticed(folder, files, limit_sec):
        assert files == ["tests/test_clip.py"]
        space = {}
        exec((folder / "spot" / "clip.py").read_text(), space)
        try:
            outcomes.append(space["clip"]([5, None]) != [5])
        except TypeError:
            outcomes.append(True)
        return outcomes[-1]

    monkeypatch.setattr(mutation, "noticed", noticed)
    assert mutation.check_module("clip", tmp_path, 10, 0) == (5, 4)
    assert "clip: 4 of 5 changes noticed (5 possible)\n  spot/clip.py:2: 0  ->  1\n" in capsys.readouterr().out
    assert len(outcomes) == 6 and (tmp_path / "spot" / "clip.py").read_text() == SOURCE
