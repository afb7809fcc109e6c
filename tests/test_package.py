"""Importing spot is free: no file, no GPU, no torch until a name that needs it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import spot

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(path.stem for path in (ROOT / "spot").glob("*.py") if path.stem != "__init__")
# Files that the import system itself opens: modules, and what packages of others bring along.
WATCH = """
import sys
opened = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        opened.append(arguments[0])
"""


def run(code, *arguments):
    """A fresh interpreter in the repository; its output."""
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True,
                          check=True, timeout=120).stdout.strip()


def test_importing_spot_loads_nothing():
    """Neither torch nor numpy, in a fresh process."""
    loaded = run("import sys, spot; print([name for name in ('torch', 'numpy', 'omegaconf', 'pandas') "
                 "if name in sys.modules])")
    assert loaded == "[]"


def test_every_public_name_is_there():
    assert {"load_config", "load_model", "detect", "evaluate_detections", "soft_nms"} <= set(spot.__all__)
    for name in spot.__all__:
        assert callable(getattr(spot, name)) and name in dir(spot)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        spot.nothing  # noqa: B018


def test_no_module_reads_a_file_or_touches_a_gpu_when_imported():
    """All modules in one process: nothing of the repository but its code is opened, and CUDA is never initialized."""
    output = run(WATCH + f"""
import importlib, kornia, matplotlib, torch  # packages of others may read files of their own
sys.addaudithook(watch)
for name in {MODULES}:
    importlib.import_module("spot." + name)
own = [path for path in opened if path.startswith({str(ROOT)!r}) and ".venv" not in path
       and not path.endswith((".py", ".pyc")) and "__pycache__" not in path]
print(own, torch.cuda.is_initialized())
""")
    assert output == "[] False"


@pytest.mark.parametrize("module", ["evaluation", "evaluation_flags", "evaluation_inputs", "evaluation_text",
                                    "diagnosis", "annotations", "segments", "files", "detections", "synthetic",
                                    "class_scores", "config", "command_line"])
def test_these_modules_need_no_torch(module):
    code = "import sys; sys.modules['torch'] = None; import importlib; importlib.import_module('spot.' + sys.argv[1])"
    run(code, module)


def test_only_scripts_know_the_settings():
    """`spot/` receives plain values: no module but config itself imports OmegaConf or spot.config."""
    for name in MODULES:
        text = (ROOT / "spot" / f"{name}.py").read_text()
        assert name == "config" or ("omegaconf" not in text and "spot.config" not in text), name


def public_definitions(path):
    """The public functions, classes and methods of a module, each as (name, syntax tree)."""
    for node in ast.parse(path.read_text()).body:
        for inner in [node, *(node.body if isinstance(node, ast.ClassDef) else [])]:
            if isinstance(inner, ast.FunctionDef | ast.ClassDef) and not {node.name[0], inner.name[0]} & {"_"}:
                yield f"{path.stem}.{node.name}.{inner.name}", inner


def test_every_public_name_is_explained_with_its_errors():
    """A docstring for each; a function that raises SpotError itself says so."""
    definitions = [pair for name in MODULES for pair in public_definitions(ROOT / "spot" / f"{name}.py")]
    assert len(definitions) > 200
    for name, node in definitions:
        text = ast.get_docstring(node)
        assert text, f"{name} has no docstring"
        raises = isinstance(node, ast.FunctionDef) and any(
            isinstance(part, ast.Raise) and "SpotError(" in ast.unparse(part) for part in ast.walk(node))
        assert not raises or "SpotError" in text, f"{name} raises SpotError and does not say when"
