"""Model outputs -> scored proposals -> detections. Vectorized over snippets, thresholds, classes and videos."""

import warnings
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch

from spot.class_scores import fuse
from spot.datasets import GridSettings
from spot.detection_inputs import centers_of, external_of, numbers_of, recordings_of
from spot.detectors import decoding_of
from spot.devices import exact_convolutions, to_device
from spot.files import SpotError
from spot.limits import DECODING, GRID, fault, listed_rates, shown
from spot.losses import class_probabilities, pooled_class_logits
from spot.nms import soft_nms_batch
from spot.results import as_detections
from spot.segments import window_starts
from spot.standardize import by_recording
from spot.targets import segment_coverage


@dataclass(frozen=True)
class Decoding:
    """How outputs become detections; the YAML's `testing` section says what each value means."""

    mask_thresh: tuple[float, ...] = (0.2, 0.35, 0.5, 0.65, 0.8)
    top_k: int = 256
    nms_sigma: float = 0.4
    min_score: float = 0.001
    max_detections: int = 200
    class_power: float = 1.0
    mask_power: float = 0.5
    video_power: float = 0.0
    fusion: str = "product"


def mask_runs(masks, thresholds, counts=None):
    """The run of snippets above each threshold that contains snippet i, for every row i: it never bridges instances.

    masks: (B, T, T) in 0..1; thresholds: R numbers; counts: (B,) snippets of a sequence that is shorter than T, or None
    Returns starts and ends (B, T, R), positions where the mask crosses the threshold, interpolated between snippet
    centers; and quality (B, T, R) in 0..1: the tIoU that the run is expected to have if the mask row holds true
    probabilities, sum(inside) / (length + sum(outside)); 0 where snippet i itself is below the threshold.
    """
    length = masks.shape[-1]
    index = torch.arange(length, device=masks.device)
    last = torch.full((len(masks), 1), length, device=masks.device) if counts is None else counts[:, None]
    exists = (index < last).to(masks.dtype)[:, None]  # (B, 1, T)
    masks = masks * exists
    before, after = _neighbors_below(masks - (1 - exists), thresholds)  # -1 is below every threshold
    last = last[..., None]
    levels = masks.new_tensor(thresholds)  # once: a copy for which a GPU is waited
    starts = torch.where(before < 0, 0, _crossing(masks, before, before + 1, levels))
    ends = torch.where(after >= last, last, _crossing(masks, after, after - 1, levels))
    total = masks.cumsum(-1)
    inside = _at(total, after - 1) - _at(total, before) * (before >= 0)
    outside = total[..., -1:] - inside
    # A snippet that is below the threshold is both of its own neighbors.
    quality = inside / ((after - before - 1).clamp(min=1) + outside) * (before < after)
    return starts, ends, quality


def _neighbors_below(masks, thresholds):
    """The last snippet up to i and the first from i on that are below the threshold, (B, T, R): -1 and T for none."""
    length = masks.shape[-1]
    index = torch.arange(length, device=masks.device)
    # Numbers that grow towards snippet i: the largest is the nearest. On a CPU, products and maxima of floats take
    # a tenth of the time of torch.where, cummax or a comparison that returns bool.
    until = ((index + 1) * (index <= index[:, None])).to(masks.dtype)
    beyond = ((length - index) * (index >= index[:, None])).to(masks.dtype)
    below, numbers = torch.empty_like(masks), torch.empty_like(masks)
    before, after = [], []
    for threshold in thresholds:
        torch.lt(masks, threshold, out=below)
        before.append(torch.mul(below, until, out=numbers).amax(-1) - 1)
        after.append(length - torch.mul(below, beyond, out=numbers).amax(-1))
    return torch.stack(before, -1).long(), torch.stack(after, -1).long()


def _at(rows, index):
    """rows (B, T, M), index (B, T, R) -> (B, T, R)."""
    return rows.gather(-1, index.clamp(0, rows.shape[-1] - 1))


def _crossing(masks, outside, inside, levels):
    """Position between the centers of neighbors `outside` (below) and `inside` (above), (B, T, R) snippet numbers.

    levels: (R,) thresholds
    """
    low, high = _at(masks, outside), _at(masks, inside)
    share = ((levels - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return outside + 0.5 + share * (inside - outside)


def join_windows(starts, ends, first_snippets, num_snippets):
    """Proposals of overlapping windows, in positions of the video; one cut by an inner edge goes on in its neighbor.

    starts, ends: (W, T, R) positions in each window; first_snippets: W ints
    A run that reaches the edge between two windows takes the boundary that the neighbor sees from a snippet which lies
    in the run and in both windows, near the middle of their overlap, and so on from window to window: a segment may
    span any number of them. Windows without a common snippet (T = 1) do not show this, so their runs stay as they are.
    """
    first = torch.as_tensor(first_snippets, device=starts.device)
    starts, ends = starts + first[:, None, None], ends + first[:, None, None]
    # The middle of the overlap of window w and w + 1, as a snippet of the video.
    middle = (first[:-1] + num_snippets + first[1:]) // 2
    overlap = (first[1:] < first[:-1] + num_snippets).tolist()  # of window w and w + 1
    for w in (w for w in range(len(first) - 2, -1, -1) if overlap[w]):
        cut = ends[w] >= first[w] + num_snippets - 0.5
        place = torch.maximum((starts[w] - 0.5).ceil().long(), middle[w]).clamp(max=first[w] + num_snippets - 1)
        ends[w] = torch.where(cut, torch.maximum(ends[w], ends[w + 1].gather(0, place - first[w + 1])), ends[w])
    for w in (w for w in range(1, len(first)) if overlap[w - 1]):
        cut = starts[w] <= first[w] + 0.5
        place = torch.minimum((ends[w] - 0.5).ceil().long() - 1, middle[w - 1]).clamp(min=first[w])
        starts[w] = torch.where(cut, torch.minimum(starts[w], starts[w - 1].gather(0, place - first[w - 1])), starts[w])
    return starts, ends


def decode_masks(model, outputs, first_snippets, decoding, external=None):
    """The detections of a SPOT, see `detections_of`. model: says how class logits become probabilities"""
    return detections_of(outputs, first_snippets, model.class_activation, decoding, external)


decode_masks.needs = ("class_logits", "masks")


def classify_segments(model, outputs, segments):
    """Class probabilities (B, K+1, M) of given segments (B, M, 2) positions: logits pooled as under a mask row."""
    labels = torch.zeros(segments.shape[:2], dtype=torch.long, device=segments.device)
    coverage, _ = segment_coverage(segments, labels, outputs["class_logits"].shape[-1])
    return class_probabilities(pooled_class_logits(outputs["class_logits"], coverage), model.class_activation)


def class_evidence(outputs, activation):
    """Probability (B, K+1, T) of each class in the instance that a snippet is in: logits pooled under its mask row."""
    return class_probabilities(pooled_class_logits(outputs["class_logits"], outputs["masks"]), activation)


def video_evidence(evidence):
    """Video-level class probability (V, K): the strongest instance evidence. evidence: (V, K, M) over M snippets."""
    return evidence.amax(-1)


def detections_of(outputs, first_snippets, activation, decoding, external=None):
    """Detections of V videos that have W windows each.

    outputs: the model's dict for V * W sequences, the windows of a video side by side, with "valid" (V * W, T) bool
    first_snippets: W ints; activation: sigmoid or softmax
    external: None, or (V, K) class probabilities of a video classifier: it then says what, the foreground only where
    Returns a list of V arrays (N, 4): start, end (positions on the grid), class index, score; descending score.
    """
    valid = outputs["valid"]
    outputs = {**outputs, "masks": outputs["masks"] * valid[:, None]}
    sequences, length = valid.shape
    windows = len(first_snippets)
    videos, ranks = sequences // windows, len(decoding.mask_thresh)
    starts, ends, quality = mask_runs(outputs["masks"], decoding.mask_thresh, valid.sum(1))
    if windows > 1:
        joined = [join_windows(starts[first : first + windows], ends[first : first + windows], first_snippets, length)
                  for first in range(0, sequences, windows)]
        starts, ends = (torch.cat(parts) for parts in zip(*joined, strict=True))
    evidence = class_evidence(outputs, activation) * valid[:, None]
    evidence, background = evidence[:, :-1], evidence[:, -1:]
    if external is not None:
        evidence = fuse((1 - background) * valid[:, None], external.repeat_interleave(windows, 0)[..., None],
                        decoding.fusion)
    classes = evidence.shape[1]
    evidence = evidence.view(videos, windows, classes, length).transpose(1, 2).flatten(2)  # (V, K, W * T)
    video_score = video_evidence(evidence)[..., None]
    snippet_score = evidence**decoding.class_power * video_score**decoding.video_power
    quality = quality**decoding.mask_power * (quality > 0)
    # From here on there are few numbers and many small steps, for which a GPU is no use.
    snippet_score, starts, ends, quality = (x.cpu().numpy() for x in (snippet_score, starts, ends, quality))
    segments = np.stack([starts, ends], -1).reshape(videos, windows * length, ranks, 2)
    return _best(snippet_score, segments, quality.reshape(segments.shape[:3]), decoding, decoding.top_k * windows)


def _best(snippet_score, segments, quality, decoding, top):
    """The best detections of each video, as `detections_of` gives them. Pure numpy.

    snippet_score: (V, K, M) of M snippets; segments: (V, M, R, 2) and quality: (V, M, R) of the proposals that each
    snippet makes; top: snippets per class that may propose
    """
    # Classes that can reach min_score, best first; as many as the video with the most of them has: (V, G).
    reach = (snippet_score * quality.max(-1)[:, None]).max(-1)
    most = int((reach >= decoding.min_score).sum(1).max())
    labels = np.argsort(-reach, 1, kind="stable")[:, :most]
    scores = _rows_of(snippet_score, labels)
    if top < scores.shape[2]:
        place = np.argpartition(scores, -top)[..., -top:]
        scores = np.take_along_axis(scores, place, -1)  # (V, G, top)
        segments, quality = _rows_of(segments, place), _rows_of(quality, place)
    else:  # all classes share the segments
        segments, quality = segments[:, None], quality[:, None]
    scores = scores[..., None] * quality
    count = scores.shape[2] * scores.shape[3]
    kept, groups, scores = soft_nms_batch(
        segments.reshape(len(segments), segments.shape[1], count, 2), scores.reshape(*labels.shape, count),
        decoding.nms_sigma, decoding.min_score, decoding.max_detections)
    labels = np.take_along_axis(labels, groups, 1)
    rows = np.concatenate([kept, labels[..., None], scores[..., None]], 2, dtype=np.float64)
    return [row[:number] for row, number in zip(rows, (scores > 0).sum(1), strict=True)]


def _rows_of(x, index):
    """x (V, M, ...), index (V, ...) numbers of each video's M rows -> these rows, (V, ..., ...)."""
    first = (np.arange(len(x)) * x.shape[1]).reshape(-1, *[1] * (index.ndim - 1))
    return x.reshape(-1, *x.shape[2:]).take(first + index, 0)


def takes_own_statistics(model):
    """Whether the features of each recording are standardized by its own mean and deviation. model: any detector."""
    return getattr(model, "standardization", "training") == "recording"


def waveforms_of(model):
    """The waveforms.Waveforms of a model that takes raw samples of sensors; None of others. model: any detector."""
    return getattr(model, "waveforms", None)


def prepare(model, grid, features):
    """The features (C, T') of a recording as `run_windows` takes them: spectral, on the GridSettings `grid`, and
    standardized by their own statistics, where the model was trained so."""
    waveforms = waveforms_of(model)
    fitted = grid.fit(waveforms.spectral(features) if waveforms else features)
    return by_recording(fitted) if takes_own_statistics(model) else fitted


@torch.no_grad()
def run_windows(model, features, valid, batch_size, amp="none"):
    """The model in batches of `batch_size` over (N, C, T) sequences of recordings that `prepare` has prepared.

    Returns one dict of float32 outputs, and "valid" (N, T).
    amp: none, or bf16: the precision of the model alone
    SpotError where an output is not finite.
    """
    prepared = {"prepared": True} if takes_own_statistics(model) or waveforms_of(model) else {}
    with exact_convolutions(), torch.autocast(features.device.type, torch.bfloat16, enabled=amp == "bf16"):
        parts = [model(*part, **prepared)
                 for part in zip(features.split(batch_size), valid.split(batch_size), strict=True)]
    merged = {key: torch.cat([part[key] for part in parts]).float() for key in decoding_of(model).needs}
    if not all(value.sum().isfinite() for value in merged.values()):  # else nothing would be found, without a word
        raise SpotError("the model's outputs are not finite; its weights were changed, or the features are in another "
                        "unit than those of its training")
    return {**merged, "valid": valid}


class OtherSettings(UserWarning):
    """Snippets that lie otherwise in time than those that the model was trained with."""


def detect(model, features, duration_sec, *, feature_duration_sec=None, centers_sec=None, external=None, batch_size=32,
           amp="none", **settings):
    """Detect actions in one video or many.

    features: (C, T') array or tensor, or a list of them, with finite values
    duration_sec: seconds, one number for all, or a list or array of them (None = as long as the features reach,
    `window` grid only); feature_duration_sec: seconds that the features cover, None = the duration
    centers_sec: (T',) increasing centers of the rows of the features in seconds, or a list of them or None, where they
    are known one by one, as for a variable frame rate: stride, window, offset and fps then say nothing
    external: (K,) video-level class probabilities of another classifier, one for each video, or None
    batch_size: sequences at once; amp: precision of the model, none (float32) or bf16
    settings: `grid`, `temporal_scale`, `stride` (of the features), `every`, `window`, `offset`, `fps` (a number, or one
    per video) and the fields of `Decoding`; what is not given comes from the run that the model was loaded from
    Returns a list with one (N, 4) float array per video: start_sec, end_sec, class_index, score, descending score.
    Raises SpotError where features are not of C channels, or a time that the grid needs is not known; warns where the
    grid is not that of the training.
    """
    if not hasattr(model, "settings"):
        raise SpotError(f"detect: the model is a {type(model).__name__}; give what spot.load_model returns")
    features = recordings_of(features, model.feat_dim)
    given, settings = settings, {**model.settings, **settings}
    known_rates = settings.pop("training_fps", None) or []
    rates = numbers_of(settings.pop("fps", None), len(features), "fps")
    durations = numbers_of(duration_sec, len(features), "duration_sec")
    feature_durations = numbers_of(feature_duration_sec, len(features), "feature_duration_sec")
    centers = centers_of(centers_sec, features)
    external = external_of(external, len(features), getattr(model, "num_classes", None))
    for key in ("class_names", "feature_statistics"):
        settings.pop(key, None)
    _refuse_settings(model, settings, rates, batch_size, amp)
    for key in GRID:
        if key in given and key != "fps" and model.settings.get(key, given[key]) != given[key]:
            warnings.warn(f"detect: {key} is {given[key]!r}, and the model was trained with {model.settings[key]!r}",
                          OtherSettings, stacklevel=2)
    in_frames = {key: settings.pop(key) for key in ("stride", "every", "window", "offset") if key in settings}
    grid = GridSettings(settings.pop("grid", "resize"), settings.pop("temporal_scale", 100), **in_frames)
    decoding = Decoding(**settings)
    _refuse_unknown_times(grid, durations, rates, centers, known_rates)
    fitted = [prepare(model, grid, x) for x in features]
    if grid.grid == "window":  # in time that no snippet has seen, nothing is found
        durations = [grid.covered_sec(x.shape[1], *times)
                     for x, *times in zip(features, durations, rates, centers, strict=True)]
    grids = [grid.at(x.shape[1], *times)
             for x, *times in zip(fitted, durations, feature_durations, rates, centers, strict=True)]
    device = next(model.parameters()).device
    decode = decoding_of(model)
    model.eval()
    detections = [np.zeros((0, 4))] * len(features)
    # Videos with the same windows go through model and decoding together.
    groups = {}
    for index, x in enumerate(fitted):
        groups.setdefault((*window_starts(x.shape[1], grid.temporal_scale),), []).append(index)
    for first_snippets, members in groups.items():
        # Masks take T * T numbers a window: as many videos at once as the model takes windows, so that memory is flat.
        size = max(batch_size // len(first_snippets), 1)
        for chunk in (members[i : i + size] for i in range(0, len(members), size)):
            windows, valid = stack_windows([fitted[i] for i in chunk], first_snippets, grid.temporal_scale)
            outputs = run_windows(model, to_device(windows, device), to_device(valid, device), batch_size, amp)
            scores = None
            if external[chunk[0]] is not None:
                scores = torch.as_tensor(np.stack([external[i] for i in chunk]), dtype=torch.float32, device=device)
            found = decode(model, outputs, first_snippets, decoding, scores)
            for index, rows in zip(chunk, found, strict=True):
                rows[:, :2] = grids[index].to_sec(rows[:, :2])
                detections[index] = rows[rows[:, 1] > rows[:, 0]]
    return as_detections(detections)


def _refuse_settings(model, settings, rates, batch_size, amp):
    """SpotError for a setting of `detect` that is unknown or out of range, or that this model cannot work with.

    rates: frames per second of each video, or None
    """
    if not (isinstance(batch_size, Integral) and batch_size >= 1 and not isinstance(batch_size, bool)):
        raise SpotError(f"detect: batch_size is {shown(batch_size)}; it must be a whole number of at least 1")
    if amp not in ("none", "bf16"):
        raise SpotError(f"detect: amp is {shown(amp)}; it must be none or bf16")
    wrong = next(filter(None, (fault(given, (*GRID, *DECODING)) for given in (settings, *({"fps": x} for x in rates)))),
                 None)
    fixed = getattr(model, "fixed_length", None)
    if not wrong and fixed is not None and settings.get("temporal_scale", fixed) != fixed:
        wrong = f"temporal_scale is {settings['temporal_scale']}; the model was made for {fixed}"
    if wrong:
        raise SpotError(f"detect: {wrong}")


def _refuse_unknown_times(grid, durations, rates, centers, known_rates):
    """SpotError where the grid needs a duration or a frame rate that is not given; known_rates: of the training."""
    if grid.grid == "resize" and None in durations:
        raise SpotError("detect: the resize grid needs duration_sec, the seconds of each recording")
    if grid.grid == "window" and any(rate is None and own is None for rate, own in zip(rates, centers, strict=True)):
        seen = f"; the training videos had {listed_rates(known_rates)}" if known_rates else ""
        raise SpotError(f"detect: the window grid needs fps, the frames per second of each recording{seen}")


def to_results(rows, class_names):
    """One video's (N, 4) detections as the entries of detections.json; class_names: K names."""
    return [{"label": class_names[int(label)], "score": score, "segment": [start, end]}
            for start, end, label, score in rows.tolist()]


def stack_windows(sequences, first_snippets, length):
    """(C, T') arrays with the same windows -> features (V * W, C, T) padded with 0 and valid (V * W, T)."""
    features = np.zeros((len(sequences) * len(first_snippets), sequences[0].shape[0], length), np.float32)
    valid = np.zeros((len(features), length), bool)
    slots = ((x, start) for x in sequences for start in first_snippets)
    for slot, (x, start) in enumerate(slots):
        part = x[:, start : start + length]
        features[slot, :, : part.shape[1]] = part
        valid[slot, : part.shape[1]] = True
    return torch.from_numpy(features), torch.from_numpy(valid)
