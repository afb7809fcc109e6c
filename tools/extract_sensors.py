"""Extract snippet features from raw signals of sensors, for training and detection.

    python tools/extract_sensors.py SIGNALS OUT --window 50 --stride 25 [--fps 50] [--channels spectral|raw]

SIGNALS is a folder of .csv and .npy files, or one: samples x axes. A table with a time column (`time`, `timestamp` or
`t`, in seconds; `time_ms` in milliseconds) tells its own rate; --fps, the samples per second, is that of the others,
and what all are resampled to where it is given. Written: OUT/NAME.npy, (T', C), for each, and OUT/features.json, which
says how they were made and where their snippets lie, so that dataset.stride, window and fps need not be given in
training.
Signals that cannot be read are listed at the end and stop no others.

A snippet is a window of --window samples, the next one begins --stride samples later. `spectral` channels are, of each
axis, mean, deviation, minimum, maximum, mean absolute difference and Fourier magnitudes; `raw` ones are the samples.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spot.command_line import Parser, parse, real_number, run, whole_number
from spot.files import SpotError
from spot.sensors import KINDS, extract_signals, find_signals
from spot.sidecar import place_and_use


def make_parser():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("signals", metavar="SIGNALS", help="a folder of signals, or one signal")
    parser.add_argument("out", metavar="OUT", help="the folder of the features")
    parser.add_argument("--window", type=whole_number(1, 1_000_000), required=True, metavar="SAMPLES",
                        help="that a snippet sees")
    parser.add_argument("--stride", type=whole_number(1, 1_000_000), metavar="SAMPLES",
                        help="from one snippet to the next (default: half of the window)")
    parser.add_argument("--fps", type=real_number(0.001, 1_000_000),
                        help="samples per second (default: by the time column)")
    parser.add_argument("--channels", choices=KINDS, default=KINDS[0], help="(default: %(default)s)")
    parser.add_argument("--axes", nargs="+", metavar="COLUMN", help="columns of the tables that are axes (default: all "
                        "but the time)")
    return parser


def main(argv=None):
    arguments = parse(make_parser(), argv, takes_overrides=False)
    signals = find_signals(arguments.signals)
    stride = arguments.stride or max(arguments.window // 2, 1)
    failed = extract_signals(signals, arguments.out, arguments.channels, arguments.window, stride, arguments.fps,
                             arguments.axes)
    for name, error in failed.items():
        print(f"failed: {name}: {error}", file=sys.stderr)
    print(f"features of {len(signals) - len(failed)} of {len(signals)} signals: {place_and_use(arguments.out)}")
    if failed:
        raise SpotError(f"{len(failed)} of {len(signals)} signals could not be read, listed above; mend or remove "
                        "them, and run this again")


if __name__ == "__main__":
    run(main)
