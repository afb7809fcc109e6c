"""Raw signals of sensors -> snippet features: windows of samples, as they are (`raw`) or as `spectral` channels."""

import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from spot import __version__
from spot.errors import SpotError
from spot.files import atomic_path
from spot.sidecar import SIDECAR, ExtractedVideo, Sidecar, difference, irregular_centers, read_sidecar, write_sidecar
from spot.text import clean, delimiter_of, read_text
from spot.waveforms import Waveforms, spectral_channels

KINDS = ("spectral", "raw")
SUFFIXES = (".csv", ".npy")
# Columns of a table that are the time of a sample: name -> what a second is in it.
TIME_COLUMN = re.compile(r"(time|timestamp|t|seconds|sec)(?:[ _(\[]*(s|sec|seconds|ms|us|µs|ns)[)\]]?)?", re.IGNORECASE)
UNITS = {"ms": 1e3, "us": 1e6, "µs": 1e6, "ns": 1e9}
# Samples this many steps apart leave a gap in which nothing was measured.
GAP_STEPS = 10


def windows_of(signal, window, stride):
    """(samples, axes) -> (T', axes, window): window i begins at sample i * stride; what is left at the end is not used.

    A signal shorter than a window is one window, filled up by its last sample.
    """
    signal = np.asarray(signal)
    if len(signal) < window:
        signal = np.concatenate([signal, np.repeat(signal[-1:], window - len(signal), axis=0)])
    return np.lib.stride_tricks.sliding_window_view(signal, window, axis=0)[::stride]


def raw_channels(windows):
    """(T', axes, window) -> (T', axes * window): the samples of the first axis, then of the next one."""
    return windows.reshape(len(windows), -1)


def channels_of(signal, kind, window, stride):
    """(samples, axes) -> (T', C) float32 channels of a `kind` in KINDS."""
    windows = windows_of(signal, window, stride)
    return spectral_channels(windows) if kind == "spectral" else raw_channels(windows).astype(np.float32)


def sidecar_of_signals(kind, window, stride, rate, num_axes, videos=None, details=None):
    """The Sidecar of features that `channels_of` made; rate: samples per second, None where each has its own."""
    channels = num_axes * window
    if kind == "spectral":
        channels = Waveforms(num_axes).channels(channels)
    return Sidecar(kind, f"spot {__version__}", "", stride, window, rate, channels, videos or {}, details or {})


# --- files of signals -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Signal:
    """One recording: samples (S, axes) at a fixed rate (per second), the first of them at start_sec."""

    samples: np.ndarray
    rate: float
    start_sec: float = 0.0

    @property
    def duration_sec(self):
        """Where the recording ends, counted as its times are."""
        return self.start_sec + len(self.samples) / self.rate


def read_signal(path, rate=None, axes=None):
    """The Signal of a .csv or .npy file, and sentences about it.

    rate: samples per second. A table with a time column (`time`, `timestamp`, `t`; `time_ms` is in milliseconds) needs
    none; a table that has one is resampled to it (linear), or to its own most frequent step.
    axes: names of the columns of a table, None: all but the time
    SpotError for a value that is no finite number, a time that goes back, and a rate that nobody tells.
    """
    path = Path(path)
    times, samples = _read_table(path, axes) if path.suffix.lower() == ".csv" else _read_array(path, axes)
    wrong = np.argwhere(~np.isfinite(samples))
    if len(wrong):
        raise SpotError(f"{path}: {len(wrong)} values are missing, NaN or Inf, first in sample {wrong[0][0]}, axis "
                        f"{wrong[0][1]}; fill or cut them")
    if times is None:
        if rate is None:
            raise SpotError(f"{path}: its rate is not known; give --fps, the samples per second, or a CSV with a time "
                            "column")
        return Signal(samples, float(rate)), []
    return _at_fixed_rate(path, times, samples, rate)


def _read_table(path, axes):
    text = read_text(path).strip()
    if not text:
        raise SpotError(f"{path}: is empty; was it fully written?")
    separator = delimiter_of(text)
    names = [clean(cell).strip('"') for cell in text.partition("\n")[0].split(separator)]
    has_header = any(_number_of(name) is None for name in names)
    try:
        table = pd.read_csv(io.StringIO(text), sep=separator, header=0 if has_header else None, low_memory=False)
    except ValueError as error:
        raise SpotError(f"{path}: is no table ({' '.join(str(error).split())}); was it fully written?") from error
    table.columns = names if has_header and len(names) == table.shape[1] else map(str, range(table.shape[1]))
    unit_of = {name: TIME_COLUMN.fullmatch(name) for name in table.columns}
    time_name = next((name for name, found in unit_of.items() if found), None)
    chosen = axes or [name for name in table.columns if name != time_name]
    missing = [name for name in chosen if name not in table.columns]
    if missing or not chosen:
        raise SpotError(f"{path}: has no column {missing[0] if missing else 'of a sensor'!r}; its columns are "
                        f"{', '.join(map(repr, table.columns))}")
    values = {name: pd.to_numeric(table[name], errors="coerce").to_numpy(float)
              for name in ([time_name] if time_name else []) + list(chosen)}
    for name, column in values.items():
        text_cells = np.flatnonzero(np.isnan(column) & table[name].notna().to_numpy())
        if len(text_cells):
            raise SpotError(f"{path}: column {name!r} holds {table[name].iloc[text_cells[0]]!r} in row "
                            f"{text_cells[0] + 1}, which is no number; name the sensor's columns by --axes")
    samples = np.column_stack([values[name] for name in chosen])
    if time_name is None:
        return None, samples
    return values[time_name] / UNITS.get((unit_of[time_name][2] or "").lower(), 1), samples


def _number_of(text):
    try:
        return float(text or "nan")
    except ValueError:
        return None


def _read_array(path, axes):
    if axes:
        raise SpotError(f"{path}: --axes names columns, and an array has none; give a CSV")
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:100]
        raise SpotError(f"{path}: is no array of numpy ({reason}); save it again") from error
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size:
        raise SpotError(f"{path}: shape {array.shape} of {array.dtype}; a signal is (samples, axes) of numbers")
    if array.shape[0] < array.shape[1]:
        raise SpotError(f"{path}: shape {array.shape} has more axes than samples; a signal is (samples, axes): "
                        "transpose it")
    return None, array.astype(float)


def _at_fixed_rate(path, times_sec, samples, rate):
    """The Signal of samples (S, axes) with their times (S,), linear between them, and sentences about gaps."""
    if not np.isfinite(times_sec).all():
        raise SpotError(f"{path}: the time of sample {np.flatnonzero(~np.isfinite(times_sec))[0]} is missing; fill or "
                        "cut it")
    steps = np.diff(times_sec)
    if not len(steps) or (steps <= 0).any():
        place = np.flatnonzero(steps <= 0)[0] + 1 if len(steps) else 0
        raise SpotError(f"{path}: time does not go on at sample {place} ({times_sec[place]:.6g} s); sort the samples "
                        "and give each its own time")
    step = 1 / rate if rate else float(np.median(steps))
    sentences = []
    if times_sec[0] > times_sec[-1] - times_sec[0] or times_sec[0] < 0:  # a date, no time of the recording
        sentences.append("its times begin far from 0 and are counted from its first sample")
        times_sec = times_sec - times_sec[0]
    if steps.max() > GAP_STEPS * step:
        place = int(steps.argmax())
        sentences.append(f"has no sample from {times_sec[place]:.6g} to {times_sec[place + 1]:.6g} s; a straight line "
                         "stands for them")
    count = int(np.floor((times_sec[-1] - times_sec[0]) / step + 1e-6)) + 1
    grid_sec = times_sec[0] + np.arange(count) * step
    even = np.column_stack([np.interp(grid_sec, times_sec, axis) for axis in samples.T])
    return Signal(even, float(rate or round(1 / step, 6)), float(times_sec[0])), sentences


# --- a folder of signals ----------------------------------------------------------------------------------------------


def find_signals(path):
    """{name: file} of the .csv and .npy files in a folder, or of the one file; SpotError where there is none, and for
    two files of one name."""
    path = Path(path)
    if not path.exists():
        raise SpotError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else sorted(file for file in path.iterdir()
                                                 if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    if not files:
        raise SpotError(f"{path}: holds no signal; looked for {' and '.join(SUFFIXES)}")
    found = {}
    for file in files:
        if file.stem in found:
            raise SpotError(f"{found[file.stem]} and {file} have one name; rename or remove one of them")
        found[file.stem] = file
    return found


def extract_signals(signals, out, kind, window, stride, rate=None, axes=None):
    """Write OUT/NAME.npy, (T', C) float32, for every signal, and then OUT/features.json.

    signals: {name: file}; kind: one of KINDS; window, stride: samples; rate, axes: as of `read_signal`
    Returns {name: SpotError} of those that could not be read, which leave nothing behind. SpotError where OUT holds
    features that were made in another way, and where signals differ in their number of axes.
    """
    if kind == "spectral" and window < 2:
        raise SpotError(f"a window of {window} sample has no spectrum; give --window 2 or more, or raw channels")
    out, videos, failed, rates, num_axes = Path(out), {}, {}, {}, {}
    for name, path in tqdm(signals.items(), desc="features", unit="signal", disable=None):
        try:
            signal, sentences = read_signal(path, rate, axes)
        except SpotError as error:
            failed[name] = error
            continue
        for sentence in sentences:
            print(f"warning: {path}: {sentence}", file=sys.stderr)
        num_axes.setdefault(signal.samples.shape[1], path)
        if len(num_axes) > 1:
            (one, first), (other, second) = num_axes.items()
            raise SpotError(f"{first} has {one} axes and {second} {other}; give the same of all, by --axes")
        if not videos:
            _refuse_others(out, sidecar_of_signals(kind, window, stride, rate, *num_axes, details=_details(axes)))
        features = channels_of(signal.samples, kind, window, stride)
        with atomic_path(out / f"{name}.npy") as temporary:
            np.save(temporary, features)
        centers = signal.start_sec + (np.arange(len(features)) * stride + window / 2) / signal.rate
        rates[name] = signal.rate
        videos[name] = ExtractedVideo(signal.duration_sec, len(features), None if rate else signal.rate,
                                      irregular_centers(centers, stride, window, signal.rate))
    if videos:
        known = read_sidecar(out).videos if (out / SIDECAR).is_file() else {}
        write_sidecar(out, sidecar_of_signals(kind, window, stride, rate, *num_axes, {**known, **videos},
                                              _details(axes)))
    return failed


def _details(axes):
    return {"axes": list(axes)} if axes else {}


def _refuse_others(out, head):
    """SpotError where a folder holds features that were made in another way than the Sidecar `head` says."""
    if (out / SIDECAR).is_file() and (apart := difference(read_sidecar(out), head)):
        key, there, now = apart
        raise SpotError(f"{out}: holds features with {key} {there}, and now it is {now}; choose another folder, or "
                        "remove this one")
