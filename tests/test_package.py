"""Importing spot is free: no file, no GPU, no torch until a name that needs it is used."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import spot
from spot.command_line import INSTALLED, command
from spot.semi import Method
from spot.shipped import shipped

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
    """`spot/` receives plain values: no module but those of the settings imports OmegaConf or spot.config."""
    for name in MODULES:
        text = (ROOT / "spot" / f"{name}.py").read_text()
        assert name.startswith("config") or ("omegaconf" not in text and "spot.config" not in text), name


def public_definitions(path):
    """The public functions, classes and methods of a module, each as (name, syntax tree).

    What a method of a `semi.Method` is asked is explained there, once for all of them.
    """
    for node in ast.parse(path.read_text()).body:
        asked = dir(Method) if isinstance(node, ast.ClassDef) and "Method" in map(ast.unparse, node.bases) else ()
        for inner in [node, *(node.body if isinstance(node, ast.ClassDef) else [])]:
            if (isinstance(inner, ast.FunctionDef | ast.ClassDef) and not {node.name[0], inner.name[0]} & {"_"}
                    and inner.name not in asked):
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


# --- what is installed ------------------------------------------------------------------------------------------------


def requirements(name):
    """{package: versions} of a requirements file, comments aside."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return dict(re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in lines if line)


def test_the_package_needs_what_the_requirements_say():
    """`make` installs requirements*.txt, `pip install .` what pyproject.toml says: the same, but for torch's range."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for listed in (project["dependencies"], *extras.values()):
        assert all(re.fullmatch(r"[\w-]+>=[\d.]+,<[\d.]+", one) for one in listed)
    listed = {re.match(r"[\w-]+", one)[0]: one for one in [*project["dependencies"], *extras["dev"]]}
    wanted = requirements("requirements.txt")
    assert listed.keys() == wanted.keys() and wanted.pop("torch").startswith("==")
    assert all(listed[package] == package + versions for package, versions in wanted.items())
    for extra in extras.keys() - {"dev"}:
        assert [*extras[extra]] == [package + versions
                                    for package, versions in requirements(f"requirements-{extra}.txt").items()]


def test_the_version_stands_in_one_place():
    text = (ROOT / "pyproject.toml").read_text()
    assert spot.__version__ not in text and tomllib.loads(text)["project"]["dynamic"] == ["version"]


def test_every_target_of_make_has_its_sentence():
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)", text, re.M)[1].split()
    said = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout
    explained = dict(line.split(maxsplit=1) for line in said.splitlines())
    assert explained.keys() == set(targets) == set(re.findall(r"^([a-z-]+):", text, re.M))


@pytest.mark.parametrize(("program", "line"), [("spot_train.py", "python eval.py 'runs/my run'"),
                                               ("/bin/spot-train", "spot-eval 'runs/my run'"),
                                               ("spot-detect.exe", "spot-eval 'runs/my run'")])
def test_the_next_command_is_called_as_this_one_was(monkeypatch, program, line):
    monkeypatch.setattr(sys, "argv", [program])
    assert command("eval.py", "runs/my run") == line
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == set(INSTALLED.values()) and all((ROOT / script).is_file() for script in INSTALLED)


def test_shipped_settings_are_found_from_any_folder_and_own_ones_go_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shipped("config/sbhar.yaml") == ROOT / "config" / "sbhar.yaml"
    assert str(shipped("config/none.yaml")) == "config/none.yaml" and str(shipped("sbhar.yaml")) == "sbhar.yaml"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "sbhar.yaml").touch()
    assert str(shipped("config/sbhar.yaml")) == "config/sbhar.yaml"
