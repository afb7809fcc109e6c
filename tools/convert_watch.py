"""Join the exercises of seglearn's smartwatch data into untrimmed recordings that config/demo_real.yaml reads.

    pip download --no-deps seglearn==1.2.5
    python tools/convert_watch.py seglearn-1.2.5-py3-none-any.whl data/demo_real
    python tools/convert_watch.py seglearn-1.2.5-py3-none-any.whl data/watch_parts --parts 2   # 3 or 4 exercises each

The data: ten people did seven shoulder exercises with each arm, about 20 repetitions at a time, with a watch that
measured acceleration (g) and angular velocity (rad/s) at 50 Hz: 140 series of 19 to 52 s. They come with the Python
package seglearn (copyright David M. Burns, BSD license), in `seglearn/data/watch_dataset.npy`; only this file is read,
and nothing in it is run. Whoever uses it cites
D. Burns, N. Leung, M. Hardisty, C. Whyne, P. Henry, S. McLachlin: Shoulder physiotherapy exercise recognition: machine
learning the inertial signals from a smartwatch, Physiological Measurement 39(7), 2018, arXiv 1802.01489.

What is real and what is made. The exercises are real, every sample of them. Each series is one exercise and nothing
else, so there is no real pause: here the seven series of a person's arm follow each other in an order drawn by lot, and
the pauses between them, 3 to 12 s, are made: the arm goes smoothly from where it was to where the next exercise begins
and meanwhile wanders slowly, with the noise of a sensor. A pause is thus easier to tell from an exercise than a real
one; which exercise it is, in a person who was never labeled, is as hard as it was.

Written:
    OUT/features/personNN_right.npy   windows of 2 s every second, (T', 330) float32, 55 spectral channels of each axis,
                                      see spot/sensors.py
    OUT/features/features.json        how they were made and where they lie in time
    OUT/annotations.json              ActivityNet format; `training` and `validation` are different people
"""

import argparse
import io
import sys
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spot import pickles
from spot.command_line import Parser, parse, run, whole_number
from spot.files import SpotError, atomic_path, write_json
from spot.sensors import channels_of, sidecar_of_signals
from spot.sidecar import SIDECAR, ExtractedVideo, write_sidecar

MEMBER = "seglearn/data/watch_dataset.npy"
VERSION = "seglearn 1.2.5, watch_dataset.npy, joined"  # in the annotations
FPS, WINDOW, STRIDE = 50, 100, 50  # samples
AXES = ("ax", "ay", "az", "wx", "wy", "wz")
SIDES = ("left", "right")
EXERCISES = {"PEN": "pendulum", "ABD": "abduction", "FEL": "forward elevation", "IR": "internal rotation",
             "ER": "external rotation", "TRAP": "trapezius extension", "ROW": "upright row"}
VALIDATION_PEOPLE = 4  # of ten
PAUSE_SEC = 3.0, 12.0
# Of what is made in a pause, in the units of acceleration and angular velocity.
WANDER, NOISE = np.repeat([0.1, 0.4], 3), np.repeat([0.01, 0.03], 3)
WANDER_SAMPLES = 50  # over which wandering is smooth: 1 s
SETTLE_SAMPLES = 25  # until the arm has come to rest


@dataclass(frozen=True, eq=False)
class Series:
    """One person who does one exercise with one arm; samples (S, 6) at 50 Hz."""

    samples: np.ndarray
    exercise: str
    person: int
    side: str


def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, metavar="WHEEL", help="the package seglearn, or its watch_dataset.npy")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--parts", type=whole_number(1, len(EXERCISES)), default=1,
                        help="recordings of a person's arm, each with a part of the exercises (default: 1)")
    arguments = parse(parser, argv, takes_overrides=False)
    print(convert(read_watch(arguments.wheel), arguments.out, parts=arguments.parts))


def read_watch(path):
    """The list of Series in a wheel of seglearn, or in its watch_dataset.npy. SpotError for anything else."""
    path = Path(path)
    try:
        content = _content_of(path)
        exercises, people, sides = content["y_labels"], _numbers(content["subject"]), _numbers(content["side"])
        names = [EXERCISES.get(exercises[int(k)], exercises[int(k)]) for k in _numbers(content["y"])]
        arrays = [pickles.array_of(series) for series in content["X"]]
    except OSError as error:
        raise SpotError(f"{path}: {error.strerror or error}; get it by `pip download --no-deps seglearn==1.2.5`"
                        ) from error
    except (KeyError, TypeError, ValueError, IndexError, EOFError, zipfile.BadZipFile, SpotError) as error:
        raise SpotError(f"{path}: is not the watch data of seglearn 1.2.5 ({' '.join(str(error).split())[:100]}); get "
                        "it by `pip download --no-deps seglearn==1.2.5`") from error
    wrong = {array.shape for array in arrays if array.ndim != 2 or array.shape[1] != len(AXES)
             or not np.isfinite(array).all()}
    if wrong or not len(arrays) == len(names) == len(people) == len(sides) > 0:
        raise SpotError(f"{path}: expected a label for each of the series, finite and of {len(AXES)} axes, got "
                        f"{len(arrays)} series and {len(names)} labels{f', shape {min(wrong)}' if wrong else ''}")
    return [Series(array.astype(float), name, int(person), SIDES[int(side)])
            for array, name, person, side in zip(arrays, names, people, sides, strict=True)]


def _content_of(path):
    """The dict in watch_dataset.npy, whose arrays are the `Noted` of spot/pickles.py."""
    data = path.read_bytes()
    if path.suffix == ".whl":
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:
            data = wheel.read(MEMBER)
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    read_header(file)
    return pickles.unwrapped(pickles.load(file))


def _numbers(content):
    return pickles.array_of(content).tolist()


def convert(series, out, seed=0, parts=1):
    """Write the recordings of `series` as features and, last of all, annotations; returns what was written, in words.

    seed: of the order of exercises, of the pauses, and of who is in the validation subset
    parts: recordings that the exercises of an arm are shared out to, at most one for each
    """
    random, out = np.random.default_rng(seed), Path(out)
    people = sorted({one.person for one in series})
    validation = set(random.permutation(people)[: round(VALIDATION_PEOPLE / 10 * len(people))].tolist())
    (out / "features").mkdir(parents=True, exist_ok=True)
    (out / "features" / SIDECAR).unlink(missing_ok=True)  # while it is replaced, nothing says what is there
    database, videos, pause_samples = {}, {}, 0
    for person, side in sorted({(one.person, one.side) for one in series}):
        own = [one for one in series if (one.person, one.side) == (person, side)]
        for part, indices in enumerate(np.array_split(random.permutation(len(own)), min(parts, len(own))), 1):
            samples, segments = join([own[i] for i in indices], random)
            name = f"person{person:02d}_{side}" + (f"_{part}" if parts > 1 else "")
            with atomic_path(out / "features" / f"{name}.npy") as temporary:
                np.save(temporary, features := channels_of(samples, "spectral", WINDOW, STRIDE))
            duration_sec = len(samples) / FPS
            videos[name] = ExtractedVideo(duration_sec, len(features))
            pause_samples += len(samples) - sum(last - first for first, last, _ in segments)
            database[name] = {
                "subset": "validation" if person in validation else "training", "fps": FPS, "duration": duration_sec,
                "annotations": [{"label": label, "segment": [first / FPS, last / FPS]}
                                for first, last, label in segments]}
    write_sidecar(out / "features", sidecar_of_signals("spectral", WINDOW, STRIDE, float(FPS), len(AXES), videos))
    write_json(out / "annotations.json", {"version": VERSION, "database": database})
    minutes = sum(entry["duration"] for entry in database.values()) / 60
    return (f"{out}: {len(database)} recordings of {len(people)} people, {minutes:.0f} minutes, of which "
            f"{pause_samples / FPS / 60:.0f} are pauses that were made; {len(validation)} people for validation: "
            f"{', '.join(map(str, sorted(validation)))}")


def join(parts, random):
    """Series, one after another, with a pause before, between and behind them.

    Returns samples (S, 6) and a list of (first sample, sample behind the last, exercise).
    """
    ends = [None, *(part.samples for part in parts), None]
    pieces, segments, place = [], [], 0
    for i, (before, after) in enumerate(pairwise(ends)):
        length = round(random.uniform(*PAUSE_SEC) * FPS)
        pieces.append(pause(before, after, length, random))
        place += length
        if after is not None:
            pieces.append(after)
            segments.append((place, place + len(after), parts[i].exercise))
            place += len(after)
    return np.concatenate(pieces), segments


def pause(before, after, length, random):
    """(length, 6) samples between two series (S, 6), of which one may be None: the recording begins or ends there.

    A smooth line leads from the rest position of the one to that of the other, the mean over its next second; the
    movement at the ends dies away in half a second.
    """
    first = after[:FPS] if before is None else before[-FPS:]
    last = before[-FPS:] if after is None else after[:FPS]
    share = (1 - np.cos(np.linspace(0, np.pi, length)))[:, None] / 2
    rest = (1 - share) * first.mean(0) + share * last.mean(0)
    rest[:, 3:] = 0  # an arm at rest does not turn
    away = np.minimum(np.arange(length), np.arange(length)[::-1])[:, None] / SETTLE_SAMPLES  # 0 at both ends
    quiet = np.clip(away, 0, 1)
    samples = rest + WANDER * quiet * _wander(length, random) + NOISE * random.normal(size=rest.shape)
    fading = np.exp(-3 * np.arange(length) / SETTLE_SAMPLES)[:, None]
    if before is not None:
        samples += fading * (before[-1] - rest[0])
    if after is not None:
        samples += fading[::-1] * (after[0] - rest[-1])
    return samples


def _wander(length, random):
    """(length, 6) smooth noise of unit variance, alike over about a second."""
    kernel = np.hanning(2 * WANDER_SAMPLES + 1)
    noise = random.normal(size=(length + len(kernel) - 1, len(AXES)))
    return np.stack([np.convolve(axis, kernel, "valid") for axis in noise.T], axis=1) / np.sqrt((kernel**2).sum())


if __name__ == "__main__":
    run(main)
