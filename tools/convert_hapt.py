"""Convert the UCI HAPT download (SBHAR) to features and annotations that config/sbhar.yaml reads.

    python tools/convert_hapt.py HAPT_FOLDER data/sbhar [--channels spectral|raw]

The download: "Smartphone-Based Recognition of Human Activities and Postural Transitions", UCI Machine Learning
Repository, https://archive.ics.uci.edu/dataset/341, license CC BY 4.0. Whoever uses it cites
J.-L. Reyes-Ortiz, L. Oneto, A. Sama, X. Parra, D. Anguita: Transition-Aware Human Activity Recognition Using
Smartphones, Neurocomputing 171, 2016.

Read from HAPT_FOLDER:
    activity_labels.txt              rows "1 WALKING"
    RawData/labels.txt               rows: experiment, user, activity, first sample, last sample (counted from 1)
    RawData/acc_expNN_userNN.txt     (samples, 3) acceleration in g at 50 Hz
    RawData/gyro_expNN_userNN.txt    (samples, 3) angular velocity in rad/s, the same samples
Written:
    OUT/features/expNN_userNN.npy    windows of 1 s every 0.5 s, acceleration x, y, z, then angular velocity x, y, z:
                                     spectral: (T', 180) float32, 5 statistics and 25 magnitudes of an axis, see
                                     spot/sensors.py; raw: (T', 300) float16, 50 samples of an axis
    OUT/features/features.json       how they were made and where they lie in time
    OUT/annotations.json             ActivityNet format; `training` and `validation` by the official split of persons
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spot.command_line import Parser, parse, run
from spot.files import SpotError, atomic_path, write_json
from spot.sensors import KINDS, channels_of, sidecar_of_signals
from spot.sidecar import SIDECAR, ExtractedVideo, write_sidecar

FPS, WINDOW, STRIDE = 50, 50, 25  # samples
NUM_AXES = 6
TRAINING_USERS = {1, 3, 5, 6, 7, 8, 11, 14, 15, 16, 17, 19, 21, 22, 23, 25, 26, 27, 28, 29, 30}  # subject_id_train.txt


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hapt_folder", type=Path, metavar="HAPT_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--channels", choices=KINDS, default=KINDS[0],
                        help="of the features (default: %(default)s)")
    arguments = parse(parser, takes_overrides=False)
    convert(arguments.hapt_folder, arguments.out, arguments.channels)


def convert(hapt_folder, out, channels=KINDS[0]):
    """Write OUT/features and, last of all, OUT/annotations.json; a file not as described above is a SpotError.

    channels: spectral or raw. What an earlier conversion left in OUT/features is replaced.
    """
    raw = Path(hapt_folder) / "RawData"
    activities = dict(
        read_rows(Path(hapt_folder) / "activity_labels.txt", ["activity", "name"]).itertuples(index=False)
    )
    rows = read_rows(raw / "labels.txt", ["experiment", "user", "activity", "first", "last"])
    unknown = set(rows["activity"]) - set(activities)
    if unknown:
        raise SpotError(f"{raw / 'labels.txt'}: activity {min(unknown)} is not in activity_labels.txt")
    database, videos = {}, {}
    (Path(out) / "features" / SIDECAR).unlink(missing_ok=True)  # while it is replaced, nothing says what is there
    groups = rows.groupby(["experiment", "user"])
    for (experiment, user), labels in tqdm(groups, desc="converting", unit="recording", disable=None):
        name = f"exp{experiment:02d}_user{user:02d}"
        signal = read_signal(raw, name)
        with atomic_path(Path(out) / "features" / f"{name}.npy") as temporary:
            np.save(temporary, features := features_of(signal, channels))
        videos[name] = ExtractedVideo(len(signal) / FPS, len(features))
        database[name] = {
            "subset": "training" if user in TRAINING_USERS else "validation",
            "user": user,
            "fps": FPS,
            "duration": len(signal) / FPS,
            "annotations": [
                # Samples count from 1 and the last one is included: sample n lasts from (n - 1) / FPS to n / FPS.
                {"label": activities[a], "label_id": a - 1, "segment": [(first - 1) / FPS, last / FPS]}
                for a, first, last in labels[["activity", "first", "last"]].itertuples(index=False)
            ],
        }
    write_sidecar(Path(out) / "features", sidecar_of_signals(channels, WINDOW, STRIDE, float(FPS), NUM_AXES, videos))
    content = {"version": "SBHAR (UCI HAPT 2.1), official user split", "database": database}
    write_json(Path(out) / "annotations.json", content)
    print(f"{out}: {len(database)} recordings, {len(rows)} segments, {len(activities)} activities")


def read_rows(path, columns):
    """A table of numbers and names separated by blanks, as a DataFrame with `columns`."""
    try:
        table = pd.read_csv(path, sep=r"\s+", header=None)
    except OSError as error:
        raise SpotError(
            f"{path}: {error.strerror}; HAPT_FOLDER is the unpacked download, with RawData in it"
        ) from error
    except ValueError as error:  # pandas' parser and empty-file errors, and broken UTF-8
        raise SpotError(f"{path}: cannot be read ({error}); was it fully unpacked?") from error
    numbers = [column for column in columns if column != "name"]
    if len(table.columns) != len(columns):
        raise SpotError(f"{path}: has {len(table.columns)} columns, expected {', '.join(columns)}")
    table.columns = columns
    if not all(kind.kind in "if" for kind in table[numbers].dtypes) or table.isna().any(axis=None):
        raise SpotError(f"{path}: holds something else than numbers in {', '.join(numbers)}; was it fully unpacked?")
    return table


def read_signal(raw, name):
    """The six axes of one recording, (samples, 6): acceleration x, y, z, then angular velocity x, y, z."""
    acc, gyro = (read_rows(raw / f"{sensor}_{name}.txt", ["x", "y", "z"]) for sensor in ("acc", "gyro"))
    if len(acc) != len(gyro) or len(acc) < WINDOW:
        raise SpotError(
            f"{raw}: acc_{name}.txt and gyro_{name}.txt hold {len(acc)} and {len(gyro)} samples; "
            f"expected as many in both, and {WINDOW} at least"
        )
    return np.concatenate([acc.to_numpy(), gyro.to_numpy()], axis=1)


def features_of(signal, channels):
    """(samples, 6) -> (T', 180) float32 or, raw, (T', 300) float16: window i starts at sample 25 i; raw channel 50 a +
    s is sample s of axis a."""
    features = channels_of(signal, channels, WINDOW, STRIDE)
    return features.astype(np.float16) if channels == "raw" else features


if __name__ == "__main__":
    run(main)
