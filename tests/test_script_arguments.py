"""The command lines of the three scripts: the run folder without a key, results elsewhere, --help without torch."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_scripts import data, log_of, settings

import eval as evaluation_script
import spot_inference
import spot_train
from spot import checkpoint
from spot.config import load_config
from spot.files import SpotError, read_json

__all__ = ["data"]  # a fixture
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def run_folder(data, tmp_path_factory):
    """A finished run whose path needs quotes."""
    folder = tmp_path_factory.mktemp("a run") / "it's ä"
    spot_train.main(settings(data, folder))
    return folder


# --- before torch is there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["spot_train.py", "spot_inference.py", "eval.py"])
@pytest.mark.parametrize(("words", "code"), [("--help", 0), ("--version", 0), ("--chek", 2), ("no/such/run", 2)])
def test_what_needs_no_torch_is_answered_without_it(script, words, code):
    """In a process in which `import torch` fails; a mistake is one line on stderr."""
    program = ("import runpy, sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; "
               "runpy.run_path(sys.argv[0], run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", program, script, words], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == code and "Traceback" not in done.stderr
    assert len((done.stdout if words == "--version" else done.stderr if code else "one line").splitlines()) == 1


def test_help_shows_how_each_script_is_called(capsys):
    """A call per task, whose settings `key=value` no list of flags could show."""
    for script, calls in ((spot_train, ["--config own.yaml --check", "RUN [section.key=value ...]"]),
                          (spot_inference, ["RUN features=FILE_OR_FOLDER", "RUN videos=FILE_OR_FOLDER"]),
                          (evaluation_script, ["--ground-truth G.json --predictions P.json"])):
        with pytest.raises(SystemExit):
            script.main(["--help"])
        said = capsys.readouterr().out
        assert [call for call in calls if call not in said] == []


# --- a run without a key ----------------------------------------------------------------------------------------------


def test_three_scripts_take_the_run_folder_and_print_commands_that_work(run_folder, data, tmp_path, capsys):
    """What training prints are commands, quoted for the shell, whose argument the other scripts take."""
    folder = tmp_path / "it's a run"
    spot_train.main(settings(data, folder, "training.max_epoch=1"))
    printed = [line[line.index(": python ") + 2 :] for line in capsys.readouterr().out.splitlines()
               if ": python " in line]
    detect, measure = map(shlex.split, printed)
    assert detect == ["python", "spot_inference.py", str(folder)] and measure == ["python", "eval.py", str(folder)]
    spot_inference.main([*detect[2:], "testing.max_detections=1"])
    evaluation_script.main(["--per-class", *measure[2:]])
    assert read_json(folder / "metrics.json")["num_predictions"] == 2  # of three videos one has no features


def test_training_goes_on_in_a_run_folder_by_its_own_settings(run_folder, data, tmp_path, monkeypatch):
    """Stopped after the pretext stage; the path alone continues it, to the same end as without a stop."""

    def stop(path, content, save=checkpoint.save):
        save(path, content)
        if path.name == "last.pt":
            raise InterruptedError

    folder = tmp_path / "run"
    monkeypatch.setattr(checkpoint, "save", stop)
    with pytest.raises(InterruptedError):
        spot_train.main(settings(data, folder))
    monkeypatch.undo()
    spot_train.main([str(folder)])
    assert log_of(folder) == log_of(run_folder)
    one, other = (torch.load(path / "best.pt")["state_dict"] for path in (folder, run_folder))
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize(("main", "words", "message"), [
    (spot_train.main, ["{run}", "--config", "c.yaml"], "has its own settings, so --config has no effect"),
    (spot_train.main, ["{run}", "output_path=other"], "two runs; give one"),
    (spot_train.main, ["{data}"], "holds no run to go on with"),
    (spot_train.main, ["{run}/best.pt"], "holds no run to go on with"),
    (spot_inference.main, ["{run}", "checkpoint=other"], "two runs; give one"),
    (evaluation_script.main, ["{run}", "output_path=other"], "two runs; give one"),
    (evaluation_script.main, ["{run}"], "run python spot_inference.py '{run}' first"),
])
def test_a_run_that_does_not_fit_is_one_sentence(run_folder, data, main, words, message):
    with pytest.raises(SpotError) as error:
        main([word.format(run=run_folder, data=data) for word in words])
    assert message.format(run=str(run_folder).replace("'", "'\"'\"'")) in str(error.value)


# --- detections elsewhere ---------------------------------------------------------------------------------------------


def test_detections_elsewhere_are_evaluated_there(run_folder, tmp_path):
    """By the settings of their run, which lie beside them; detecting there again takes the same checkpoint."""
    folder = tmp_path / "elsewhere"
    spot_inference.main([str(run_folder), f"output_path={folder}", "testing.tiou=[0.3,0.5]", "testing.top_k=3"])
    evaluation_script.main([str(folder)])
    metrics = read_json(folder / "metrics.json")
    assert list(metrics["mAP"]) == ["0.30", "0.50"] and metrics["classes_without_labels"] is not None
    assert not (run_folder / "detections.json").exists()
    found = (folder / "detections.json").read_text()
    spot_inference.main([str(folder)])
    assert (folder / "detections.json").read_text() == found
    config = load_config(folder / "config.yaml")
    assert (config.checkpoint, config.testing.top_k) == (str(run_folder), 3)
    with pytest.raises(SpotError, match="holds no run to go on with"):
        spot_train.main([str(folder)])


def test_settings_that_a_run_does_not_read_are_told(run_folder, tmp_path, capsys):
    """The run's own file is no other."""
    for main in (spot_inference.main, evaluation_script.main):
        for given in ("config/anet.yaml", f"{run_folder}/config.yaml"):
            main(["--config", given, str(run_folder)])
            told = f"note: --config {given} is not read, because {run_folder}/config.yaml holds"
            assert (told in capsys.readouterr().err) is (given == "config/anet.yaml")


def test_settings_that_come_too_late_for_an_evaluation_are_told(run_folder, tmp_path, capsys):
    """Of what is typed, that which the run does not have itself, and which the detections would have needed."""
    own = load_config(run_folder / "config.yaml")
    spot_inference.main([str(run_folder)])
    capsys.readouterr()
    evaluation_script.main([str(run_folder), "--output", f"{tmp_path}/metrics.json", "testing.nms_sigma=0.2",
                            "testing.action_threshold=0.3", "testing.tiou=0.5", "dataset.eval_subset=Validation",
                            f"testing.top_k={own.testing.top_k}", "semi.method=self"])
    assert capsys.readouterr().err.splitlines() == [
        "warning: semi.method has no effect on detections that are there; leave it out",
        "warning: testing.action_threshold has no effect on detections that are there; give --action-threshold",
        "warning: testing.nms_sigma has no effect on detections that are there; give it to spot_inference.py"]


def test_detections_do_not_replace_those_of_another_run(run_folder, data, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "best.pt").touch()
    with pytest.raises(SpotError, match="holds another run than checkpoint"):
        spot_inference.main([str(run_folder), f"output_path={other}"])
    assert [file.name for file in other.iterdir()] == ["best.pt"]


def test_an_output_path_inside_a_file_is_refused_before_the_data_are_read(data, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(SpotError, match=f"output_path {path}: {tmp_path}/file is a file, not a folder"):
            spot_train.main(settings(data, path, "dataset.video_anno_path=nowhere"))


# --- nothing to train -------------------------------------------------------------------------------------------------


def test_no_epoch_at_all_is_refused(run_folder, data, tmp_path):
    nothing = ["training.max_epoch=0", "training.pretrain_epoch=0"]
    with pytest.raises(SpotError, match=r"training\.max_epoch=0 and training\.pretrain_epoch=0"):
        spot_train.main(settings(data, tmp_path / "run", *nothing))
    with pytest.raises(SpotError, match=r"training\.pretrained replaces"):
        spot_train.main(settings(data, tmp_path / "run", "training.max_epoch=0", f"training.pretrained={run_folder}"))
    assert not (tmp_path / "run").exists()


def test_the_pretext_stage_alone_writes_a_run_and_says_what_it_is(data, tmp_path, capsys):
    spot_train.main(settings(data, tmp_path / "run", "training.max_epoch=0"))
    assert (tmp_path / "run" / "best.pt").is_file()
    assert f"training.pretrained={tmp_path / 'run'}" in capsys.readouterr().out
