"""The best mAP that the snippet grid allows: of SPOT its targets as perfect outputs, decoded back to segments; of
detectors whose boundaries lie between snippets the nearest of such segments."""

from collections import Counter

import numpy as np
import torch
from tqdm import tqdm

from spot.check_grid import hidden_segments, segments_of
from spot.check_report import shortened
from spot.evaluation import evaluate_detections, threshold_key
from spot.inference import to_results
from spot.nms import soft_nms
from spot.proposals import detections_of, join_windows, mask_runs
from spot.segments import window_starts
from spot.targets import make_targets

LOST_AT = 0.7  # tIoU at which lost segments are listed
# Perfect outputs that lose more mAP than this in decoding point to a setting, not to the data.
MAX_DECODING_LOSS = 0.02


def perfect_outputs(data, index, num_classes):
    """The targets of one video, in the shape of model outputs.

    Returns (first snippets of its W windows, class_targets (W, K+1, T), mask_targets (W, T, T), valid (W, T) bool).
    """
    numbers = np.flatnonzero(data.sequence_video == index)
    batch = data.batch(numbers)
    class_targets, mask_targets = make_targets(batch["segments"], batch["labels"], num_classes, data.num_snippets)
    first = window_starts(int(data.bank.lengths[index]), data.num_snippets)
    return first, class_targets * batch["valid"][:, None], mask_targets * batch["valid"][:, None], batch["valid"]


def decode_targets(first_snippets, class_targets, mask_targets, valid):
    """Targets back to segments: what a perfect model could say at best.

    The mask row of every foreground snippet gives one run (threshold .5), joined over windows, with every class of the
    snippet; its score is the share of the run that is of the class. Returns (N, 4): start, end (positions on the grid),
    class index, score.
    """
    starts, ends, quality = mask_runs(mask_targets, (0.5,), valid.sum(1))
    if len(first_snippets) > 1:
        starts, ends = join_windows(starts, ends, first_snippets, valid.shape[1])
    share = mask_targets / mask_targets.sum(-1, keepdim=True).clamp(min=1e-6)
    evidence = (class_targets @ share.transpose(1, 2))[:, :-1]  # (W, K, T)
    window, label, snippet = ((class_targets[:, :-1] > 0) & (quality[:, None, :, 0] > 0)).nonzero(as_tuple=True)
    rows = torch.stack([starts[window, snippet, 0], ends[window, snippet, 0], label.float(),
                        evidence[window, label, snippet] * quality[window, snippet, 0]], 1)
    # All snippets of a segment say the same; thousandths keep what windows see differently.
    rows = torch.unique((rows * 1000).round() / 1000, dim=0).double().numpy()
    found = [np.zeros((0, 4))]
    for label in np.unique(rows[:, 2]):
        own = rows[rows[:, 2] == label]
        segments, scores = soft_nms(own[:, :2], own[:, 3], sigma=0.4, min_score=0.001, max_detections=len(own))
        found.append(np.column_stack([segments, np.full(len(scores), label), scores]))
    return np.concatenate(found)


def whole_snippets(data, index, longest):
    """The segments of one video as whole snippets, rows as of `decode_targets`.

    longest: snippets of the longest segment that the detector proposes, None: any
    """
    segments, labels = segments_of(data, index)
    length = data.grids[index].length
    start, end = segments.round().clip(0, length).T
    middle = np.floor(segments.mean(1)).clip(0, length - 1)
    start, end = np.where(end > start, start, middle), np.where(end > start, end, middle + 1)
    return np.column_stack([start, np.minimum(end, start + (longest or length)), labels, np.ones(len(labels))])


def bound_of_whole(data, names, longest):
    """Detections that consist of whole snippets, {video: entries of detections.json}; longest: of `whole_snippets`."""
    found = {}
    for index, video in enumerate(data.videos):
        rows = whole_snippets(data, index, longest)
        rows[:, :2] = data.grids[index].to_sec(rows[:, :2])
        found[video.name] = to_results(rows, names)
    return found


def bound(data, names, decoding, activation):
    """Detections that perfect outputs give, {video: entries of detections.json}, twice.

    The first is what grid and targets allow (`decode_targets`); the second goes through the settings `decoding`.
    """
    allowed, decoded = {}, {}
    inverse = {"sigmoid": torch.logit, "softmax": torch.log}[activation]
    for index, video in enumerate(tqdm(data.videos, desc="targets and back", unit="video", disable=None)):
        first, class_targets, mask_targets, valid = perfect_outputs(data, index, len(names))
        logits = inverse(class_targets.clamp(1e-4, 1 - 1e-4))
        outputs = {"class_logits": logits, "masks": mask_targets, "valid": valid}
        ways = ((allowed, decode_targets(first, class_targets, mask_targets, valid)),
                (decoded, detections_of(outputs, first, activation, decoding)[0]))
        for results, rows in ways:
            rows[:, :2] = data.grids[index].to_sec(rows[:, :2])
            results[video.name] = to_results(rows[rows[:, 1] > rows[:, 0]], names)
    return allowed, decoded


def bound_lines(report, data, names, decoding, activation, thresholds, detector="spot", longest=None):
    """mAP per tIoU of what the detector could find at best, and which segments are lost.

    Of SPOT, what its targets hold, and the same by the testing settings. Of the others, segments of whole snippets, of
    at most `longest`, None: any.
    """
    def measured(results):
        return evaluate_detections(data.videos, {"results": results}, data.videos[0].subset, thresholds)

    is_spot = detector == "spot"
    if is_spot:
        allowed, decoded = map(measured, bound(data, names, decoding, activation))
        rows = {"mAP %, targets and back": allowed, "mAP %, the same by the testing settings": decoded}
        warn_of_decoding(report, data, decoding, thresholds, allowed, decoded)
    else:
        allowed = measured(bound_of_whole(data, names, longest))
        rows = {f"mAP %, whole snippets ({detector})": allowed}
        warn_of_long(report, data, detector, longest)
    lines = [f"{'tIoU':<40}" + "".join(f"{threshold_key(value):>7}" for value in thresholds) + "  average"]
    for title, result in rows.items():
        lines.append(f"{title:<40}" + "".join(f"{100 * value:7.2f}" for value in result.mAP)
                     + f"{100 * result.average_mAP:9.2f}")
    return lines + lost_lines(data, allowed, int(np.abs(thresholds - LOST_AT).argmin()), is_spot, longest)


def warn_of_decoding(report, data, decoding, thresholds, allowed, decoded):
    """A warning where the testing settings lose what perfect outputs hold. allowed, decoded: Evaluation of both"""
    # At the lowest tIoU boundaries hardly matter: what is lost there was never proposed, or fell out of the list.
    loss = allowed.mAP[0] - decoded.mAP[0]
    if loss > MAX_DECODING_LOSS:
        report.warnings.append(
            f"the testing settings lose {100 * loss:.1f} points of mAP at tIoU {threshold_key(thresholds[0])} even "
            f"with perfect outputs; testing.top_k={decoding.top_k} of {data.num_snippets} snippets or "
            f"testing.max_detections={decoding.max_detections} is too few for videos with many segments")


def warn_of_long(report, data, detector, longest):
    """A warning where segments are too long for the longest proposal of a detector to overlap them by LOST_AT."""
    if longest is None:
        return
    segments = np.concatenate([segments_of(data, index)[0] for index in range(len(data.videos))])
    lengths = segments[:, 1] - segments[:, 0]
    if count := int((longest < LOST_AT * lengths).sum()):
        key = "model.map_durations" if longest < data.num_snippets else "model.temporal_scale"
        report.warnings.append(
            f"{count:,} of {len(lengths):,} {data.videos[0].subset} segments, of up to {lengths.max():.0f} snippets, "
            f"are too long to be found at tIoU {LOST_AT:g}: model.detector={detector} proposes at most {longest:,} "
            f"snippets; raise {key}, or take snippets that are farther apart by dataset.every")


def lost_lines(data, result, row, has_masks=True, longest=None):
    """Which ground-truth segments are missed at one tIoU (index) whatever a model learns, and why.

    has_masks: whether a mask row must show a segment; longest: snippets of the longest proposal, None: any
    """
    matches = result.matches[row]
    lost = np.setdiff1d(np.arange(result.num_segments), matches[matches >= 0])
    reasons = [reason for index in range(len(data.videos)) for reason in reasons_of(data, index, has_masks, longest)]
    counts = Counter(reasons[index] for index in lost)
    told = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    threshold = threshold_key(result.tiou_thresholds[row])
    scene = result.scene
    examples = [f"lost: {scene.videos[scene.gt_video[index]]}, {scene.classes[scene.gt_class[index]]}, "
                f"{scene.gt_sec[index, 0]:.2f} to {scene.gt_sec[index, 1]:.2f} s: {reasons[index]}" for index in lost]
    return [f"lost at tIoU {threshold}: {len(lost):,} of {result.num_segments:,} segments" + (f": {told}" * bool(told)),
            *shortened(examples, "lost segments")]


def reasons_of(data, index, has_masks=True, longest=None):
    """Why each annotated segment of a video, dirty ones included, might be lost; arguments as of `lost_lines`."""
    video, snippet_grid = data.videos[index], data.grids[index]
    segments = snippet_grid.to_snippet(video.segments_sec)
    labels = np.array([data.class_index[label] for label in video.labels], int)
    empty = segments[:, 1] <= segments[:, 0]
    hidden = np.zeros(len(labels), bool)
    if has_masks:
        hidden[~empty] = hidden_segments(segments[~empty], labels[~empty], snippet_grid.length)
    lengths = segments[:, 1] - segments[:, 0]
    long = lengths > (longest or np.inf)
    return ["empty or outside the video" if is_empty else "hidden by shorter segments over it" if is_hidden
            else "longer than the longest proposal" if is_long else "shorter than a snippet" if length < 1
            else "the grid blurs it or a duplicate takes its place"
            for is_empty, is_hidden, is_long, length in zip(empty, hidden, long, lengths, strict=True)]
