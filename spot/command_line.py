"""What all scripts share: `[RUN] [flags] [section.key=value ...]` in any order, the exit codes, and what is printed."""

import argparse
import contextlib
import difflib
import errno
import math
import os
import re
import shlex
import sys
import traceback
from pathlib import Path

from spot import __version__
from spot.files import SpotError, expand_home

OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")  # `runs/lr=0.1` is a folder
YAML = (".yaml", ".yml")
# What torch, its CUDA libraries and HDF5 say, each in an error type that has other meanings too.
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|cannot allocate memory|not enough memory|bad.?alloc|"
                           r"ALLOC_FAILED|Storage size calculation overflow|Invalid buffer size", re.IGNORECASE)
MEMORY_ADVICE = ("lower training.batch_size (inference: testing.batch_size) or model.temporal_scale, or keep the "
                 "features on the disk by training.cache=disk")
# What the scripts are called where the package is installed, see pyproject.toml.
INSTALLED = {"spot_train.py": "spot-train", "spot_inference.py": "spot-detect", "eval.py": "spot-eval"}
CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # would break a sentence in two, or the terminal


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one sentence on stderr, exit code 2."""

    def error(self, message):
        """What argparse calls for a mistake: raises SpotError."""
        raise SpotError(f"{message}; see --help")


def parse(parser, argv=None, run_means=None, takes_overrides=True):
    """Parse a run folder, flags and `key=value` overrides in any order; every parser gets `--version`, `--debug` and
    `--quiet`.

    argv: the arguments, None = those of the process; `~` at the beginning of a path is the home folder
    run_means: what a path without a key stands for, for --help and messages; None: it stands for nothing
    takes_overrides: whether there are settings that `key=value` could replace
    Returns the argparse namespace with `overrides`, the list of `key=value` strings, and `run`, the path or None.
    SpotError for an unknown flag and whatever is none of them, with what it could have been.
    """
    parser.add_argument("--version", action="version", version=f"SPOT {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("-q", "--quiet", action="store_true", help="print warnings and errors alone")
    if takes_overrides or run_means:
        parser.add_argument("words", nargs="*", metavar=" | ".join(
            filter(None, [run_means and "RUN", takes_overrides and "key=value"])), help="; ".join(
            filter(None, [run_means and f"RUN: {run_means}",
                          takes_overrides and "key=value: settings that replace those of the YAML"])))
    words = [_readable(word) for word in (sys.argv[1:] if argv is None else argv)]
    arguments, unknown = parser.parse_known_intermixed_args([_with_home(word) for word in words])
    if unknown:
        say = _unknown if unknown[0].startswith("-") else _neither
        raise SpotError(say(unknown[0], parser, run_means, takes_overrides))
    arguments.overrides, arguments.run = [], None
    _Lasting.is_quiet = arguments.quiet
    given = vars(arguments).pop("words", [])
    if takes_overrides:
        _refuse_spaces(given)
    for word in given:
        if takes_overrides and OVERRIDE.match(word):
            arguments.overrides.append(word)
        elif not run_means or not os.path.exists(word) or word.endswith(YAML):
            raise SpotError(_neither(word, parser, run_means, takes_overrides))
        elif arguments.run is not None:
            raise SpotError(f"{arguments.run!r} and {word!r} are two runs; give one of them")
        else:
            arguments.run = word
    return arguments


def keys_of(overrides):
    """The keys of the `key=value` of a command line, as a set."""
    return {override.partition("=")[0] for override in overrides}


def again(script, argv, *changes):
    """The command that started this script, quoted for a shell, with other settings at its end.

    script: its file; argv: the arguments that its `main` was called with, None = those of the process
    changes: `key=value`, which replace what the command says of the keys
    """
    keys = keys_of(changes)
    words = list(sys.orig_argv) if argv is None else ["python", os.path.relpath(script), *argv]
    if (size := int(os.environ.get("WORLD_SIZE", 1))) > 1:  # torchrun has put its own words before the script's
        mine = int(os.environ.get("LOCAL_WORLD_SIZE", size))
        machines = [] if mine == size else [f"--nnodes={size // mine}"]
        words = ["torchrun", *machines, f"--nproc_per_node={mine}",
                 *(sys.argv if argv is None else [os.path.relpath(script), *argv])]
    return shlex.join([word for word in words if word.partition("=")[0] not in keys] + list(changes))


def parse_early(make_parser, **how):
    """Answer --help, --version and mistakes in the arguments before a script imports torch, which takes seconds.

    make_parser: () -> parser; how: the other arguments of `parse`
    Ctrl-C during the imports, too, ends with a sentence.
    """
    sys.excepthook = _without_traceback_of_ctrl_c
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:  # of several processes only one prints, which is found out later
        return
    try:
        parse(make_parser(), **how)
    except SpotError as error:
        _print_error(error)
        sys.exit(2)


def whole_number(low, high):
    """An argparse type: a whole number in low..high."""

    def read(text):
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low:,} to {high:,}, got {text!r}")
        return number

    return read


def real_number(low, high):
    """An argparse type: a number in low..high."""

    def read(text):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"must be a number from {low:,} to {high:,}, got {text!r}")
        return number

    return read


def command(script, *words):
    """The line with which a user calls a script, such as `python eval.py 'runs/my run'`: quoted for the shell.

    Where the installed commands are in use, it is one of those: `spot-eval 'runs/my run'`.
    """
    words = shlex.join(map(str, words))
    if Path(sys.argv[0]).stem in INSTALLED.values():
        return f"{INSTALLED[script]} {words}"
    return f"python {script} {words}"


def note_unread_config(given, own):
    """Say that `--config` has no effect where a run has settings of its own; given, own: paths, or None."""
    if given and own and os.path.realpath(given) != os.path.realpath(own):
        print(f"note: --config {given} is not read, because {own} holds; key=value changes a setting of it",
              file=sys.stderr)


def run(main, prints=lambda code: True, memory_advice=MEMORY_ADVICE):
    """Run `main()` as a script: exit 0, 2 with one sentence for a mistake of the user, 130 on Ctrl-C.

    prints: exit code -> does this process print why it ends? Of several that end together only one does.
    memory_advice: what to do where memory is short
    """
    with _lasting_output():
        code = _exit_code(main, prints, memory_advice)
    sys.exit(code)


def _exit_code(main, prints, memory_advice):
    try:
        code = main() or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        if prints(130):
            print("stopped by Ctrl-C", file=sys.stderr)
        return 130
    except (SpotError, MemoryError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not OUT_OF_MEMORY.search(str(error)):
            raise  # a fault of ours
        if prints(2):
            if "--debug" in sys.argv:
                traceback.print_exc()
            _print_error(_sentence(error, memory_advice))
        return 2


def _sentence(error, memory_advice):
    """The message of an error that is the user's or the machine's, not ours."""
    if isinstance(error, MemoryError | RuntimeError) or getattr(error, "errno", None) == errno.ENOMEM:
        reason = (str(error).strip().splitlines() or ["no details"])[0].partition(". Of the allocated")[0]
        return f"out of memory ({reason[-200:]}); {memory_advice}"
    if isinstance(error, OSError):
        where = next((str(name) for name in (error.filename, error.filename2) if name is not None), "the system")
        return f"{where}: {error.strerror or error}; check the path and its permissions"
    return str(error)


def _print_error(message):
    """Print one sentence, whatever characters it holds, on one line of stderr."""
    line = CONTROL.sub(lambda found: repr(found[0])[1:-1], str(message))
    print(f"{os.path.basename(sys.argv[0])}: {line}", file=sys.stderr)


def _without_traceback_of_ctrl_c(kind, error, place):
    if issubclass(kind, KeyboardInterrupt):
        print("stopped by Ctrl-C", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, place)


# --- arguments --------------------------------------------------------------------------------------------------------


def _readable(word):
    """An argument as it is; SpotError where it is empty or no text, which no file that we write could hold."""
    if not word:
        raise SpotError("an argument is empty; is a variable of the shell not set?")
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        raise SpotError(f"the argument {word.encode('utf-8', 'backslashreplace').decode()} is not UTF-8 text; "
                        "rename the file") from None
    return word


def _with_home(word):
    """`~/x` and `--flag=~/x` with the home folder; settings know themselves which of them are paths."""
    flag, equals, value = word.partition("=")
    return f"{flag}={expand_home(value)}" if equals and flag.startswith("--") else expand_home(word)


def _refuse_spaces(words):
    """SpotError for `key = value`, which the shell cuts into three words."""
    for before, word in zip(["", *words], words, strict=False):
        if word.startswith("=") or (before.endswith("=") and not OVERRIDE.match(word)):
            raise SpotError(f"write key=value without spaces: {before}{word}")


def _unknown(word, parser, run_means, takes_overrides):
    """The sentence for a word with dashes that is no flag."""
    name, _, value = word.partition("=")
    setting = f"{name.lstrip('-').replace('-', '_')}={value or 'VALUE'}"
    near = difflib.get_close_matches(name, parser._option_string_actions, 1, 0.75)
    if takes_overrides and (not near or any(sign in name for sign in "._")):
        return f"{word!r} is no flag; settings are written without dashes, {setting}; see --help"
    return f"{word!r} is no flag" + (f"; did you mean {near[0]!r}?" if near else "; see --help")


def _neither(word, parser, run_means, takes_overrides):
    """The sentence for a word that is neither a run nor a setting, with what it could have been."""
    if not takes_overrides and not run_means:
        return f"{word!r}: neither settings nor more files can be given here; see {parser.prog} --help"
    choices = [run_means and f"an existing run ({run_means})", takes_overrides and "key=value"]
    sentence = f"{word!r} is neither a flag nor {' nor '.join(filter(None, choices))}"
    if word.endswith(YAML):
        return f"{sentence}; a settings file is given by --config {shlex.quote(word)}"
    if run_means and (near := _nearest_path(word)):
        return f"{sentence}; did you mean {near!r}?"
    return f"{sentence}; see --help"


def _nearest_path(word):
    """The path beside a missing one whose name is most like it, or None."""
    path = Path(word)
    with contextlib.suppress(OSError, ValueError):
        near = difflib.get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], 1, 0.6)
        return str(path.parent / near[0]) if near else None
    return None


# --- output -----------------------------------------------------------------------------------------------------------


class _Lasting:
    """A text stream that a script can print to until it has done its work, also when nobody reads it any more.

    After `| head` the rest is dropped, so that results are still written; characters that the terminal's encoding
    lacks are escaped. With --quiet nothing comes out of stdout, and stderr is no terminal on which bars could move.
    """

    is_quiet = False

    def __init__(self, stream, is_output):
        self._stream, self._is_output = stream, is_output
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text):
        """As the stream's, but the length where nobody reads; SpotError where it cannot be written."""
        if not (self.is_quiet and self._is_output):
            with self._letting_go():
                self._stream.write(text)
        return len(text)

    def isatty(self):
        """Is it a terminal that may be written to?"""
        return not self.is_quiet and self._stream.isatty()

    def flush(self):
        """As the stream's; SpotError where it cannot be written."""
        with self._letting_go():
            self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _letting_go(self):
        try:
            yield
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError):
                raise SpotError(f"the output cannot be written ({error.strerror}); send it elsewhere") from error


@contextlib.contextmanager
def _lasting_output():
    """Make stdout and stderr lasting for the block; a closed one, as by `>&-`, is replaced by one that drops all."""
    before = sys.stdout, sys.stderr
    if None in before:
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  stays open to the end of the process
        before = sys.stdout, sys.stderr = tuple(stream or nowhere for stream in before)
    sys.stdout, sys.stderr = _Lasting(before[0], is_output=True), _Lasting(before[1], is_output=False)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        _Lasting.is_quiet = False
