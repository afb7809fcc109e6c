"""The best mAP that snippet grid and targets allow: targets as perfect outputs, decoded back to segments."""

from collections import Counter

import numpy as np
import torch
from tqdm import tqdm

from spot.check_grid import hidden_segments
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


def bound_lines(report, data, names, decoding, activation, thresholds):
    """mAP per tIoU of both kinds of detections against the same ground truth, and which segments are lost."""
    subset = data.videos[0].subset
    allowed, decoded = (evaluate_detections(data.videos, {"results": results}, subset, thresholds)
                        for results in bound(data, names, decoding, activation))
    lines = [f"{'tIoU':<40}" + "".join(f"{threshold_key(value):>7}" for value in thresholds) + "  average"]
    for title, result in (("mAP %, targets and back", allowed), ("mAP %, the same by the testing settings", decoded)):
        lines.append(f"{title:<40}" + "".join(f"{100 * value:7.2f}" for value in result.mAP)
                     + f"{100 * result.average_mAP:9.2f}")
    # At the lowest tIoU boundaries hardly matter: what is lost there was never proposed, or fell out of the list.
    loss = allowed.mAP[0] - decoded.mAP[0]
    if loss > MAX_DECODING_LOSS:
        report.warnings.append(
            f"the testing settings lose {100 * loss:.1f} points of mAP at tIoU {threshold_key(thresholds[0])} even "
            f"with perfect outputs; testing.top_k={decoding.top_k} of {data.num_snippets} snippets or "
            f"testing.max_detections={decoding.max_detections} is too few for videos with many segments")
    return lines + lost_lines(data, allowed, int(np.abs(thresholds - LOST_AT).argmin()))


def lost_lines(data, result, row):
    """Which ground-truth segments even perfect outputs miss at one tIoU (index), and why."""
    matches = result.matches[row]
    lost = np.setdiff1d(np.arange(result.num_segments), matches[matches >= 0])
    reasons = [reason for index in range(len(data.videos)) for reason in reasons_of(data, index)]
    counts = Counter(reasons[index] for index in lost)
    told = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    threshold = threshold_key(result.tiou_thresholds[row])
    scene = result.scene
    examples = [f"lost: {scene.videos[scene.gt_video[index]]}, {scene.classes[scene.gt_class[index]]}, "
                f"{scene.gt_sec[index, 0]:.2f} to {scene.gt_sec[index, 1]:.2f} s: {reasons[index]}" for index in lost]
    return [f"lost at tIoU {threshold}: {len(lost):,} of {result.num_segments:,} segments" + (f": {told}" * bool(told)),
            *shortened(examples, "lost segments")]


def reasons_of(data, index):
    """Why each annotated segment of a video, dirty ones included, might be lost."""
    video, snippet_grid = data.videos[index], data.grids[index]
    segments = snippet_grid.to_snippet(video.segments_sec)
    labels = np.array([data.class_index[label] for label in video.labels], int)
    empty = segments[:, 1] <= segments[:, 0]
    hidden = np.zeros(len(labels), bool)
    hidden[~empty] = hidden_segments(segments[~empty], labels[~empty], snippet_grid.length)
    short = segments[:, 1] - segments[:, 0] < 1
    return ["empty or outside the video" if is_empty else "hidden by shorter segments over it" if is_hidden
            else "shorter than a snippet" if is_short else "the grid blurs it or a duplicate takes its place"
            for is_empty, is_hidden, is_short in zip(empty, hidden, short, strict=True)]
