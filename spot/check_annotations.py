"""The data check of the annotations: videos, segments, classes, and what of them can be trained on."""

import math
from collections import Counter

import numpy as np

from spot.annotations import (
    clean_segments,
)
from spot.check_report import SHOWN, quantiles
from spot.cleaning import label_warnings, loss_warning, losses_of, unusable
from spot.names import NameIndex

# An annotation that ends early: the rest of the recording lasts UNFINISHED times as long as any pause between actions,
# and REST of the recording. In the published annotations of ActivityNet and THUMOS14 it is up to 1.9 times.
UNFINISHED = 3
REST = 0.2


def video_lines(subsets, labeled_names, source):
    """One line per subset: videos, segments, features, durations."""
    lines = []
    for name, videos in subsets.items():
        durations = [video.duration_sec for video in videos if video.duration_sec]
        with_file = "unknown" if source is None else f"{sum(video.name in source for video in videos):,}"
        lines.append(f"{name}: {len(videos):,} videos, {with_file} with features, "
                     f"{sum(not video.labels for video in videos):,} without a segment; duration "
                     + (f"{quantiles(durations)} s" if durations else "unknown"))
    chosen = set(labeled_names)
    training = next(iter(subsets.values()))
    lines.append(f"label split: {len(chosen):,} labeled, {sum(v.name not in chosen for v in training):,} unlabeled")
    return lines


def counted_videos(videos, data, source):
    """The videos of a subset that training would use, each with where its features end: a list of (Video, seconds).

    data: the SnippetDataset of the subset, None where there is none; source: the FeatureSource, None where it cannot be
    opened, and then every video counts
    """
    if data is not None:
        return [(video, grid.duration_sec) for video, grid in zip(data.videos, data.grids, strict=True)]
    return [(video, math.inf) for video in videos if source is None or video.name in source]


def check_segments(report, counted, labeled_names, names, fps):
    """What is wrong with the segments: none of the labeled ones is usable (a problem), many are lost, and the like.

    counted: {subset: of `counted_videos`}, training first; fps: dataset.fps or None
    """
    chosen = set(labeled_names)
    labeled = [pair for pair in next(iter(counted.values())) if pair[0].name in chosen]
    if labeled:
        videos, ends_sec = map(list, zip(*labeled, strict=True))
        fault = unusable(losses_of(videos, ends_sec, fps), "the labeled videos")
        if fault:
            report.problems.append(fault)
        report.warnings += label_warnings(videos, names, ends_sec, fps)
    looked_at = [video for pairs in (labeled, *list(counted.values())[1:]) for video, _ in pairs]
    report.warnings += unfinished(looked_at)
    for subset, pairs in counted.items():
        ends_sec = [end for _, end in pairs]
        losses = losses_of([video for video, _ in pairs], ends_sec, fps)
        sentence = loss_warning(losses, f"subset {subset!r}")
        if losses.total and not losses.usable:
            sentence = unusable(losses, f"subset {subset!r}")
        report.warnings += [sentence] if sentence else []


def unfinished(videos):
    """A sentence about recordings whose annotation seems to have been stopped before their end, as a list.

    videos: list of annotations.Video. What lies behind the last segment counts as background, in training and in
    evaluation. It is suspicious where it lasts longer than UNFINISHED times any other time without a segment, in all of
    the videos, unless half of them are like that.
    """
    known = [video for video in videos if video.duration_sec and len(video.segments_sec)]
    usual_sec = max((longest_pause(video.segments_sec) for video in known), default=0)
    found = []
    for video in known:
        end_sec = video.segments_sec.max()
        rest_sec = video.duration_sec - end_sec
        if rest_sec > max(UNFINISHED * usual_sec, REST * video.duration_sec):
            found.append((rest_sec, video.name, end_sec, video.duration_sec))
    if not 0 < len(found) < len(known) / 2:
        return []
    _, name, end_sec, duration_sec = max(found)
    return [f"the annotation of {name} ends at {end_sec:.0f} of {duration_sec:.0f} s, though elsewhere at most "
            f"{usual_sec:.0f} s lie between actions" + (f" ({len(found):,} such recordings)" if len(found) > 1 else "")
            + "; what lies behind counts as background: annotate it, or cut the recording"]


def longest_pause(segments_sec):
    """Seconds of the longest time without a segment before the last of them; segments_sec: (N, 2), N >= 1."""
    ordered = segments_sec[np.argsort(segments_sec[:, 0])]
    covered_until = np.maximum.accumulate(np.append(0, ordered[:-1, 1]))
    return float(np.max(ordered[:, 0] - covered_until).clip(min=0))


def unnamed_features(source, videos, train_subset):
    """A sentence about features that no annotation names, as a list: they can be learned from without labels."""
    index = NameIndex(video.name for video in videos)
    names = sorted(name for name in source.names if index.find(name) is None)
    if not names:
        return []
    entry = f'"{names[0]}": {{"subset": "{train_subset}", "duration": SECONDS, "annotations": []}}'
    return [f"{len(names):,} feature files, such as {names[0]}, are of no video in the annotations; training learns "
            f"from them without labels once each has an entry there, as {entry}, and dataset.labeled is a file that "
            "lists the labeled videos"]


def segment_lines(subsets, counted):
    """Lengths, dirt, and time beyond the video, for each subset; counted: {subset: of `counted_videos`}."""
    lines = []
    for name, videos in subsets.items():
        segments_sec = np.concatenate([video.segments_sec for video in videos] or [np.zeros((0, 2))])
        counts = Counter()
        for video, end_sec in counted[name]:
            counts.update(clean_segments(video, end_sec)[2])
        beyond_sec = np.concatenate([video.segments_sec[:, 1] - video.duration_sec for video in videos
                                     if video.duration_sec] or [np.zeros(0)])
        beyond_sec = beyond_sec[beyond_sec > 0]
        lengths = segments_sec[:, 1] - segments_sec[:, 0]
        lines.append(f"{name}: {len(lengths):,} segments of {len({x for v in videos for x in v.labels}):,} classes"
                     + (f"; length {quantiles(lengths)} s" if len(lengths) else ""))
        lines.append(f"  dirty: {(lengths <= 0).sum():,} end at or before their start, {len(beyond_sec):,} end after "
                     f"their video" + (f" (by up to {beyond_sec.max():.3g} s)" if len(beyond_sec) else "")
                     + f"; training clips {counts['clipped']:,} and drops {counts['dropped']:,}")
    return lines


def class_lines(report, subsets, counted, labeled_names, names):
    """A table: labeled videos, labeled segments, segments of each subset. Classes without a label become a warning.

    subsets: {subset: its videos}, training first; counted: {subset: of `counted_videos`}
    Training counts the segments that `clean_segments` leaves; evaluation counts all, also of videos without features.
    """
    chosen, (train_subset, *_) = set(labeled_names), subsets
    labels = {subset: [(video.name, video.labels) for video in videos] for subset, videos in subsets.items()}
    labels[train_subset] = [(video.name, clean_segments(video, end_sec)[1]) for video, end_sec in counted[train_subset]]
    labeled = [pair for pair in labels[train_subset] if pair[0] in chosen]
    in_videos = Counter(label for _, found in labeled for label in set(found))
    columns = [in_videos, *(Counter(label for _, found in pairs for label in found)
                            for pairs in (labeled, *labels.values()))]
    absent = [name for name in names if not in_videos[name]]
    if absent:
        report.warnings.append(f"{len(absent)} of {len(names)} classes have no labeled video and cannot be learned: "
                               + ", ".join(absent[:SHOWN]) + (" ..." if len(absent) > SHOWN else ""))
    width = max(map(len, names), default=0)
    return [f"{name:<{width}}" + "".join(f"{column[name]:9,}" for column in columns) for name in names]
