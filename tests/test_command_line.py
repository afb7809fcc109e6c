"""Flags and overrides in any order; exit codes 0, 2 with one sentence, 130."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spot import __version__
from spot.command_line import Parser, command, parse, run, whole_number
from spot.files import SpotError

ROOT = Path(__file__).resolve().parents[1]


def parser():
    parser = Parser(prog="spot")
    parser.add_argument("-c", "--config")
    parser.add_argument("--check", action="store_true")
    return parser


@pytest.mark.parametrize(
    "line",
    [
        "--config c.yaml --check a.b=1 c=x=y",
        "a.b=1 c=x=y --check --config c.yaml",
        "a.b=1 --config=c.yaml c=x=y --check",
        "--check a.b=1 --config c.yaml c=x=y",
    ],
)
def test_flags_and_overrides_in_any_order(line):
    arguments = parse(parser(), line.split())
    assert (arguments.config, arguments.check, arguments.debug) == ("c.yaml", True, False)
    assert arguments.overrides == ["a.b=1", "c=x=y"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--chek", "'--chek' is no flag; did you mean '--check'?"),
        ("training", "'training' is neither a flag nor key=value"),
        ("--config", "expected one"),
        ("--training.lr=1", "settings are written without dashes, training.lr=1"),
        ("--output_path runs/x", "settings are written without dashes, output_path=VALUE"),
        ("--batch-size=4", "settings are written without dashes, batch_size=4"),
        ("--lr 1", "settings are written without dashes, lr=VALUE"),
        ("a.b = 1", "write key=value without spaces: a.b="),
        ("a.b= 1", "write key=value without spaces: a.b=1"),
        ("a.b =1", "write key=value without spaces: a.b=1"),
        ("c.yaml", "a settings file is given by --config c.yaml"),
    ],
)
def test_a_wrong_argument_is_refused(line, words):
    with pytest.raises(SpotError) as error:
        parse(parser(), line.split())
    assert words in str(error.value) and "\n" not in str(error.value)


def test_an_empty_argument_and_one_that_is_no_text_are_refused():
    with pytest.raises(SpotError, match="variable of the shell"):
        parse(parser(), ["", "a=1"])
    with pytest.raises(SpotError, match="not UTF-8"):
        parse(parser(), ["a=caf\udce9"])


# --- the run folder and paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["{run} a.b=1 --check", "a.b=1 {run} --check", "--check a.b=1 {run}"])
def test_a_run_folder_stands_anywhere(tmp_path, line):
    """Also where its name holds an `=`, as names of runs do."""
    run_folder = tmp_path / "runs" / "lr=0.1"
    run_folder.mkdir(parents=True)
    arguments = parse(parser(), line.format(run=run_folder).split(), "a run folder")
    assert (arguments.run, arguments.overrides, arguments.check) == (str(run_folder), ["a.b=1"], True)


def test_what_is_no_run_is_told_what_it_could_have_been(tmp_path):
    (tmp_path / "sbhar").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "c.yaml").touch()
    for words, message in (
        ([f"{tmp_path}/sbar"], f"did you mean '{tmp_path}/sbhar'?"),
        (["nothing"], "neither a flag nor an existing run (a run folder) nor key=value"),
        ([f"{tmp_path}/c.yaml"], f"--config {tmp_path}/c.yaml"),
        ([f"{tmp_path}/sbhar", f"{tmp_path}/other"], "two runs"),
        (["output_path=", f"{tmp_path}/sbhar"], f"without spaces: output_path={tmp_path}/sbhar"),
    ):
        with pytest.raises(SpotError) as error:
            parse(parser(), words, "a run folder")
        assert message in str(error.value)


def test_a_script_without_settings_refuses_them():
    for words in (["a.b=1"], ["runs"], ["--seed=1"]):
        with pytest.raises(SpotError, match=r"neither settings nor more files|is no flag"):
            parse(Parser(), words, takes_overrides=False)


def test_the_home_folder_is_written_out_as_by_the_shell(tmp_path, monkeypatch):
    """In every path: behind a flag, behind its `=`, without a key; of settings, `config` knows which are paths."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    for line in ("--config ~/c.yaml ~/run x=~", "x=~ --config=~/c.yaml ~/run"):
        arguments = parse(parser(), line.split(), "a run folder")
        assert (arguments.config, arguments.run) == (f"{tmp_path}/c.yaml", f"{tmp_path}/run")
        assert arguments.overrides == ["x=~"]


def test_printed_commands_are_quoted_for_the_shell():
    line = command("spot_inference.py", "checkpoint=runs/it's mine", Path("a b"), "x")
    assert shlex.split(line) == ["python", "spot_inference.py", "checkpoint=runs/it's mine", "a b", "x"]
    assert command("eval.py", "runs/x") == "python eval.py runs/x"


@pytest.mark.parametrize("text", ["-5", "0", "101", "2.5", "many", "1e1", "99999999999999999999"])
def test_a_number_out_of_range_is_refused_with_the_range(text):
    one = Parser()
    one.add_argument("--count", type=whole_number(1, 100))
    assert parse(one, ["--count", "7"]).count == 7
    other = Parser()
    other.add_argument("--count", type=whole_number(1, 100))
    with pytest.raises(SpotError, match=f"--count: must be a whole number from 1 to 100, got '{text}'"):
        parse(other, ["--count", text])


# --- how a script ends ------------------------------------------------------------------------------------------------


def exit_code(main):
    with pytest.raises(SystemExit) as stop:
        run(main)
    return stop.value.code


def mistake():
    raise SpotError("c.yaml: no such key")


def test_exit_codes_and_one_sentence(capsys, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["/somewhere/eval.py"])
    assert exit_code(lambda: None) == 0 and exit_code(lambda: 2) == 2
    assert capsys.readouterr().err == ""
    assert exit_code(mistake) == 2
    assert capsys.readouterr().err == "eval.py: c.yaml: no such key\n"
    assert exit_code(stop) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-q"], ["--quiet", "a.b=1"], ["-qc", "c.yaml"]])
def test_quiet_leaves_warnings_and_errors(capsys, monkeypatch, words):
    """Nothing on stdout, and no bar that moves, which asks stderr for a terminal; the next command speaks again."""
    monkeypatch.setattr(sys, "argv", ["script.py", *words])

    def main():
        arguments = parse(parser())
        print("an epoch")
        print(f"a warning, {sys.stderr.isatty()}", file=sys.stderr)
        if not arguments.quiet:
            raise SpotError("not quiet")

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert exit_code(main) == 0
    assert capsys.readouterr() == ("", "a warning, False\n")
    monkeypatch.setattr(sys, "argv", ["script.py"])
    assert exit_code(main) == 2 and capsys.readouterr().out == "an epoch\n"


def test_debug_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["eval.py", "--debug"])
    assert exit_code(mistake) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_ours_is_not_dressed_up_as_the_users():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)


def test_memory_that_runs_out_is_one_sentence(capsys):
    """From Python, numpy, torch on a CPU and on CUDA, and the system; no real allocation of torch is tried."""

    def numpy_takes_all():
        np.empty(2**60, np.uint8)

    def fails(error):
        def main():
            raise error

        return main

    for main in (numpy_takes_all, fails(MemoryError()), fails(OSError(12, "Cannot allocate memory")), *(
        fails(RuntimeError(text)) for text in (
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
            "allocate 8000 bytes. Error code 12 (Cannot allocate memory)\nException raised from ...",
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...", "CUDA error: out of memory",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "std::bad_alloc"))):
        assert exit_code(main) == 2
        message = capsys.readouterr().err
        assert "out of memory (" in message and message.count("\n") == 1
        assert "training.batch_size" in message and "model.temporal_scale" in message
    with pytest.raises(RuntimeError, match="size mismatch"):
        run(fails(RuntimeError("size mismatch")))


def test_a_fault_of_the_file_system_names_the_file(capsys, tmp_path):
    for path in (tmp_path, tmp_path / ("x" * 300), tmp_path / "no"):
        main = path.read_text
        assert exit_code(main) == 2
        message = capsys.readouterr().err
        assert str(tmp_path) in message and message.count("\n") == 1 and "Traceback" not in message


def test_a_message_stays_on_one_line(capsys):
    def mistake():
        raise SpotError("a\nb\x1b[31m.json: is missing")

    assert exit_code(mistake) == 2
    assert capsys.readouterr().err.endswith(": a\\nb\\x1b[31m.json: is missing\n")


def in_shell(code, line):
    """The result of a bash line in which $P runs Python `code`."""
    values = {"P": sys.executable, "C": f"from spot.command_line import *; {code}", "HOME": "/nowhere"}
    return subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
                          env=values)


PRINTS = "run(lambda: [print('x' * 90) for i in range(5_000)] and open('{}', 'w').write('done') and None)"


@pytest.mark.parametrize("end", ["| head -1 > {0}.seen; exit ${{PIPESTATUS[0]}}", ">&-", "2>&-", ">&- 2>&- <&-"])
def test_without_a_reader_the_work_goes_on(tmp_path, end):
    """`eval.py ... | head` still writes metrics.json; also with stdout and stderr closed."""
    done = in_shell(PRINTS.format(tmp_path / "file"), '"$P" -c "$C" ' + end.format(tmp_path / "file"))
    assert done.returncode == 0 and done.stderr == "" and (tmp_path / "file").read_text() == "done"


def test_a_full_disk_for_the_output_is_one_sentence(tmp_path):
    done = in_shell(PRINTS.format(tmp_path / "file"), '"$P" -c "$C" > /dev/full')
    assert done.returncode == 2 and re.fullmatch(r"-c: the output cannot be written \(No space.*\n", done.stderr)


def test_a_terminal_without_the_characters_gets_them_escaped(tmp_path):
    done = in_shell("run(lambda: print('caf\u00e9 \u8dd1'))", 'PYTHONIOENCODING=ascii "$P" -c "$C"')
    assert (done.returncode, done.stdout, done.stderr) == (0, "caf\\xe9 \\u8dd1\n", "")


def test_ctrl_c_during_the_imports_is_quiet():
    done = in_shell("parse_early(Parser); raise KeyboardInterrupt", '"$P" -c "$C"; exit $?')
    assert (done.returncode, done.stderr) == (130, "stopped by Ctrl-C\n")


def test_the_version_stands_in_one_place(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(parser(), ["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"SPOT {__version__}\n"


def test_a_closed_pipe_is_no_error():
    code = "from spot.command_line import run; run(lambda: [print(i) for i in range(200_000)] and None)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 0
    process.stderr.close()
