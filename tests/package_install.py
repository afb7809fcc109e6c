"""The installed package: `pip install .` into a fresh environment, used from another folder. `make test-package`

What SPOT needs is taken from the environment that runs this test, so an installation takes seconds.
"""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = shutil.ignore_patterns(".*", "data", "runs", "build", "*.egg-info", "__pycache__")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """(folder of the environment's commands, a folder in which a copy of this repository is called `spot`)."""
    folder = tmp_path_factory.mktemp("fresh")
    clone = folder / "work" / "spot"
    shutil.copytree(ROOT, clone, ignore=NOT_OURS)
    venv.create(folder / "venv", with_pip=True)
    commands = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    subprocess.run([commands / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                    str(clone)], check=True, timeout=600)
    packages = output(commands / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    (Path(packages) / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return commands, clone.parent


def output(*words, cwd=None, code=0):
    """What a command prints; it must end with this exit code."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, cwd=cwd, timeout=900)
    assert done.returncode == code, done.stderr
    return (done.stdout + done.stderr).strip()


def test_a_script_beside_the_clone_imports_the_installed_package(installed):
    """The clone is called `spot` too; a folder of this name beside a script must not be what it imports."""
    commands, folder = installed
    code = "import spot\nprint(spot.__file__, spot.load_config.__module__, spot.__version__)\n"
    (folder / "mine.py").write_text(code)
    place, home, version = output(commands / "python", "mine.py", cwd=folder).split()
    assert "site-packages" in place and home == "spot.config"
    assert version == output(sys.executable, "-c", "import spot; print(spot.__version__)", cwd=ROOT)


def test_every_file_of_the_package_is_installed(installed):
    commands, folder = installed
    place = Path(output(commands / "python", "-c", "import spot; print(spot.__path__[0])", cwd=folder))
    for source, target in ((ROOT / "spot", place), (ROOT / "config", place / "settings_files")):
        ours = {path.relative_to(source) for path in source.rglob("*")
                if path.is_file() and "__pycache__" not in path.parts}
        assert len(ours) > 5 and not {str(path) for path in ours if not (target / path).is_file()}
    assert not (place.parent / "eval.py").exists()  # a name that others use too


@pytest.mark.parametrize("command", ["spot-train", "spot-detect", "spot-eval"])
def test_the_commands_answer_from_any_folder(installed, tmp_path, command):
    commands, _ = installed
    version = output(commands / command, "--version", cwd=tmp_path)
    assert version == f"SPOT {output(sys.executable, '-c', 'import spot; print(spot.__version__)', cwd=ROOT)}"
    assert f"usage: {command}" in output(commands / command, "--help", cwd=tmp_path)
    assert "no flag" in output(commands / command, "--nothing", cwd=tmp_path, code=2)


def test_training_detection_and_evaluation_from_another_folder(installed, tmp_path):
    """By a settings file that came with the package; the next commands are told by the names of the installed ones."""
    commands, _ = installed
    output(commands / "python", "-c", "from spot.synthetic import write_demo; write_demo('data/demo', training=12, "
           "validation=4)", cwd=tmp_path)
    said = output(commands / "spot-train", "--config", "config/demo.yaml", "training.max_epoch=1",
                  "training.pretrain_epoch=0", "training.steps_per_epoch=2", "semi.method=none", cwd=tmp_path)
    assert "spot-detect runs/demo" in said and "spot-eval runs/demo" in said
    assert "detections in 4 videos" in output(commands / "spot-detect", "runs/demo", cwd=tmp_path)
    assert "whole-video baseline" in output(commands / "spot-eval", "runs/demo", cwd=tmp_path)
    version = output(commands / "spot-eval", "--version").removeprefix("SPOT ")
    assert (tmp_path / "runs" / "demo" / "commit.txt").read_text() == f"unknown\nSPOT {version}\n"


def test_a_published_class_list_comes_with_the_package(installed, tmp_path):
    commands, _ = installed
    code = ("import spot; from spot.annotations import read_class_file; "
            "print(len(read_class_file(spot.load_config('config/anet_published.yaml').dataset.class_file)))")
    assert output(commands / "python", "-c", code, cwd=tmp_path) == "200"
