"""What the three scripts share: `[--config FILE] [flags] [section.key=value ...]` in any order, and the exit codes."""

import argparse
import os
import sys
import traceback

from spot.files import SpotError


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one sentence on stderr, exit code 2."""

    def error(self, message):
        """What argparse calls for a mistake: raises SpotError."""
        raise SpotError(f"{message}; see --help")


def parse(parser, argv=None):
    """Parse flags and `key=value` overrides in any order; every parser gets `overrides` and `--debug`.

    argv: the arguments, None = those of the process
    Returns the argparse namespace with `overrides`, the list of `key=value` strings. SpotError for an unknown flag.
    """
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the YAML")
    arguments = parser.parse_intermixed_args(argv)
    for override in arguments.overrides:
        if "=" not in override:
            raise SpotError(f"{override!r} is neither a flag nor key=value; see --help")
    return arguments


def run(main, speaks=lambda code: True):
    """Run `main()` as a script: exit 0, 2 with one sentence for a mistake of the user, 130 on Ctrl-C.

    speaks: exit code -> may this process say why it ends?  Of several that end together only one does.
    """
    try:
        code = main() or 0
        sys.stdout.flush()
    except SpotError as error:
        code = 2
        if speaks(code):
            if "--debug" in sys.argv:
                traceback.print_exc()
            print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
        if speaks(code):
            print("stopped by Ctrl-C", file=sys.stderr)
    except BrokenPipeError:  # `eval.py ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
        speaks(code)
    sys.exit(code)
