"""Flags and overrides in any order; exit codes 0, 2 with one sentence, 130."""

import subprocess
import sys
from pathlib import Path

import pytest

from spot.command_line import Parser, parse, run
from spot.files import SpotError

ROOT = Path(__file__).resolve().parents[1]


def parser():
    parser = Parser(prog="spot")
    parser.add_argument("--config")
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
    [("--chek", "--chek"), ("training", "'training' is neither a flag nor key=value"), ("--config", "expected one")],
)
def test_a_wrong_argument_is_refused(line, words):
    with pytest.raises(SpotError, match=words):
        parse(parser(), line.split())


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


def test_debug_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["eval.py", "--debug"])
    assert exit_code(mistake) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_ours_is_not_dressed_up_as_the_users():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)


def test_a_closed_pipe_is_no_error():
    code = "from spot.command_line import run; run(lambda: [print(i) for i in range(200_000)] and None)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 0
    process.stderr.close()
