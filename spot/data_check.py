"""What a user wants to know before training for hours: everything is read once, and all problems are told at once.

Problems would stop training, warnings would not. `check_data` gathers both; the other functions measure one thing each.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from spot.annotations import (
    class_names,
    clean_segments,
    labeled_split,
    matching_files,
    read_annotations,
    with_unannotated,
    without_blocked,
)
from spot.class_scores import read_class_scores
from spot.cleaning import label_warnings, loss_warning, losses_of, unusable
from spot.datasets import GridSettings, SnippetDataset, duration_faults
from spot.evaluation import evaluate_detections, parse_thresholds, threshold_key
from spot.features import MISSING_LIST, FeatureSource, unlisted
from spot.files import SpotError
from spot.names import NameIndex
from spot.nms import soft_nms
from spot.proposals import Decoding, detections_of, join_windows, mask_runs, to_results
from spot.segments import window_starts
from spot.targets import make_targets, segment_coverage

SHOWN = 10  # examples of one kind; the rest is counted
LOST_AT = 0.7  # tIoU at which lost segments are listed
# Perfect outputs that lose more mAP than this in decoding point to a setting, not to the data.
MAX_DECODING_LOSS = 0.02


@dataclass
class Report:
    """Lines to read under titles; sentences about what would stop training, and about what would not."""

    sections: list[tuple[str, list[str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    num_more: int = 0  # problems that are only counted in the sentences

    @property
    def num_problems(self):
        """All problems, also those that are not told one by one."""
        return len(self.problems) + self.num_more

    def add_problems(self, sentences, kind):
        """Add problems of one kind, of which at most SHOWN are told."""
        self.problems += shortened(sentences, kind)
        self.num_more += max(len(sentences) - SHOWN - 1, 0)  # the sentence that counts the others counts as one

    def attempt(self, function, *arguments):
        """The function's result, or None where it raises SpotError, whose sentence becomes a problem."""
        return noting(self.problems)(function, *arguments)

    def text(self):
        """The whole report, problems last, where they are seen."""
        sections = [*self.sections, ("Warnings", self.warnings), ("Problems that would stop training", self.problems)]
        return "\n\n".join("\n".join([title, *(f"  {line}" for line in lines or ["none"])])
                           for title, lines in sections)


def noting(sentences):
    """An `attempt` for readers (see `annotations.strictly`): a SpotError becomes a sentence of the list, and None."""

    def attempt(function, *arguments):
        try:
            return function(*arguments)
        except SpotError as error:
            if str(error) not in sentences:  # a file may be read for two reasons
                sentences.append(str(error))
            return None

    return attempt


def check_data(data, grid, decoding, train_subset, eval_subset, labeled, split_seed, activation, tiou,
               class_scores="none"):
    """Read annotations and all features of both subsets, measure them, and run the targets there and back.

    data: the arguments of `datasets.open_data`; grid: those of `GridSettings`; decoding: those of `proposals.Decoding`
    labeled, split_seed: as `annotations.labeled_split` takes them; activation: sigmoid or softmax
    tiou: `first:last:count`; class_scores: the file of a video classifier, or none
    Returns a Report; whatever is broken is listed in it.
    """
    report = Report()
    source = open_features(report, data["feature_path"], data["feat_dim"], data["feature_pattern"],
                           data.get("resample_streams", False))
    faults = []
    videos = report.attempt(read_annotations, data["video_anno_path"], data["video_info_path"], noting(faults),
                            data.get("options"))
    report.add_problems(faults, "faults of the annotations")
    if not videos:
        return report
    if source is not None:
        videos = with_unannotated(videos, source.names, data["video_info_path"])
        source.bind(video.name for video in videos)
        if source.times is not None:
            report.attempt(source.times.refuse_others, data.get("place") or {})
            videos = [source.times.place(video) for video in videos]
        report.warnings += unnamed_features(source, videos, train_subset)
    all_videos, videos = videos, leave_out_blocked(report, videos, data)
    names = report.attempt(class_names, all_videos, data["class_file"])
    if names is not None and data["num_classes"] not in (None, len(names)):
        report.problems.append(f"dataset.num_classes is {data['num_classes']}, but there are {len(names)} classes; "
                               "correct it or set it to null")
    subsets = choose_subsets(report, videos, train_subset, eval_subset)
    chosen = next(iter(subsets.values()))
    labeled_names = chosen and report.attempt(labeled_split, chosen, labeled, split_seed, data["video_info_path"])
    report.sections.append(("Videos (five numbers are: min / 5 % / median / 95 % / max)",
                            video_lines(subsets, labeled_names or [], source)))
    place, placed = len(report.sections), {}
    if source is not None:
        placed = check_features(report, subsets, source, labeled_names or [], names, GridSettings(**grid),
                                Decoding(**decoding), activation, parse_thresholds(tiou))
    counted = {subset: counted_videos(videos, placed.get(subset), source) for subset, videos in subsets.items()}
    report.sections.insert(place, ("Segments, as annotated", segment_lines(subsets, counted)))
    check_segments(report, counted, labeled_names or [], names or [], grid.get("fps"))
    if names and labeled_names:
        report.sections.append(("Classes: labeled videos and segments, then segments of each subset, as training and "
                                "evaluation count them", class_lines(report, subsets, counted, labeled_names, names)))
    if names and class_scores != "none":
        check_class_scores(report, subsets[eval_subset.lower()], names, class_scores)
    return report


def open_features(report, paths, feat_dim, pattern, resample=False):
    """The FeatureSource of the settings, None where it cannot be opened; all of its faults become problems."""
    faults = []
    source = report.attempt(FeatureSource, paths, feat_dim, pattern, noting(faults), resample)
    report.add_problems(faults, "feature files of one name")
    if source is None and isinstance(paths, list):  # the first stream that is broken need not be the only one
        patterns = pattern if isinstance(pattern, list) else [pattern] * len(paths)
        for path, own_pattern in zip(paths, patterns, strict=False):
            report.attempt(FeatureSource, [path], feat_dim, own_pattern, noting([]))
    return source


def leave_out_blocked(report, videos, data):
    """The videos that `dataset.blocked` does not list; a list beside the annotations that is not used is a warning."""
    if data["blocked"] is None:
        beside = [path.parent / "blocked.json" for path in matching_files(data["video_anno_path"])]
        for path in filter(Path.is_file, dict.fromkeys(beside)):
            _, count = noting(report.warnings)(without_blocked, videos, path) or (videos, 0)
            if count:
                report.warnings.append(f"{path} lists {count:,} of the videos; they are kept, in training and in "
                                       f"evaluation, and dataset.blocked={path} leaves them out of both")
        return videos
    path = data["blocked"]
    listed = report.attempt(without_blocked, videos, path)
    if listed is None:
        return videos
    kept, count = listed
    report.sections.append(("Left out", [f"{count:,} videos that {path} lists"]))
    if not count:
        report.warnings.append(f"dataset.blocked: none of the videos is in {path}; is it the list of this data set?")
    return kept


def check_class_scores(report, videos, names, path):
    """Warn of a classifier's file that cannot be read or lacks videos of the evaluation subset: training would run."""
    scores = noting(report.warnings)(read_class_scores, path, names)
    unknown = [video.name for video in videos if scores is not None and scores.scores(video.name) is None]
    if unknown:
        report.warnings.append(f"testing.class_scores: {len(unknown):,} of {len(videos):,} evaluation videos, such as "
                               f"{unknown[0]}, are not in {path}: nothing would be detected in them")


def choose_subsets(report, videos, train_subset, eval_subset):
    """{subset: its videos}, training first; an empty one is a problem (training) or a warning (evaluation)."""
    subsets = {name: [video for video in videos if video.subset == name]
               for name in (train_subset.lower(), eval_subset.lower())}
    known = ", ".join(f"{name!r} ({count:,})" for name, count in Counter(video.subset for video in videos).items())
    for key, name, found in (("train_subset", train_subset.lower(), report.problems),
                             ("eval_subset", eval_subset.lower(), report.warnings)):
        if not subsets[name]:
            found.append(f"dataset.{key}: no video is in subset {name!r}; the annotations have {known}")
    return subsets


def shortened(sentences, kind):
    """At most SHOWN sentences of one kind, and how many more there are."""
    more = [f"... and {len(sentences) - SHOWN:,} more {kind}"] if len(sentences) > SHOWN else []
    return [*sentences[:SHOWN], *more]


# --- annotations ------------------------------------------------------------------------------------------------------


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
    for subset, pairs in counted.items():
        ends_sec = [end for _, end in pairs]
        losses = losses_of([video for video, _ in pairs], ends_sec, fps)
        sentence = loss_warning(losses, f"subset {subset!r}")
        if losses.total and not losses.usable:
            sentence = unusable(losses, f"subset {subset!r}")
        report.warnings += [sentence] if sentence else []


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


def quantiles(values):
    """The smallest, 5 %, median, 95 % and largest of numbers."""
    return " / ".join(f"{value:.4g}" for value in np.quantile(values, (0, 0.05, 0.5, 0.95, 1)))


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


# --- features ---------------------------------------------------------------------------------------------------------


@dataclass
class FeatureFacts:
    """What one pass over the features found.

    lengths: {video: snippets T'} of those that can be read; broken: {video: what is wrong with its file}
    still: videos whose snippets are all alike; low, high, total, square: (C,) of all snippets
    """

    feat_dim: int
    lengths: dict[str, int] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    still: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.low, self.high = np.full(self.feat_dim, np.inf), np.full(self.feat_dim, -np.inf)
        self.total, self.square = np.zeros(self.feat_dim), np.zeros(self.feat_dim)

    def add(self, name, features):
        """Take in the (C, T') features of one video."""
        self.lengths[name] = features.shape[1]
        low, high = features.min(1), features.max(1)
        if features.shape[1] > 1 and (low == high).all():
            self.still.append(name)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.total += features.sum(1, dtype=np.float64)
        self.square += np.square(features, dtype=np.float64).sum(1)

    def constant_channels(self):
        """Channels that have one value in all snippets of all videos."""
        return np.flatnonzero(self.high - self.low <= 1e-6 * np.maximum(np.abs(self.high), np.abs(self.low)))

    def lines(self):
        """Shapes and value ranges."""
        count = sum(self.lengths.values())
        if not count:
            return ["no feature file could be read"]
        mean = self.total / count
        deviation = np.sqrt(np.maximum(self.square / count - mean**2, 0))
        return [f"{len(self.lengths):,} videos read, {count:,} snippets of {self.feat_dim:,} channels; snippets per "
                f"video {quantiles(list(self.lengths.values()))}",
                f"values {self.low.min():.4g} to {self.high.max():.4g}; channel means {mean.min():.3g} to "
                f"{mean.max():.3g}, standard deviations {deviation.min():.3g} to {deviation.max():.3g}",
                f"constant channels: {len(self.constant_channels()):,}; files with NaN, Inf or another fault: "
                f"{len(self.broken):,}"]


def read_features(videos, source):
    """Read the features of every video that has some, once -> FeatureFacts. A broken file is noted, not raised."""
    facts = FeatureFacts(source.feat_dim)
    for video in tqdm(videos, desc="reading features", unit="video", disable=None):
        try:
            facts.add(video.name, source.read(video.name))
        except SpotError as error:
            facts.broken[video.name] = str(error)
    return facts


def missing_sentences(videos, source, subset):
    """Videos without features, each with the feature name that is most like it: a forgotten prefix shows there.

    Those that the features' own list names are only counted; so are listed ones that have features, and are used.
    """
    missing = [video.name for video in videos if video.name not in source]
    surprising = unlisted(missing, source.listed_missing)
    sentences = []
    for name in surprising[:SHOWN]:
        nearest = source.nearest(name)
        sentences.append(f"{subset} video {name} has no features; "
                         + (f"the nearest feature name is {nearest}" if nearest else "no feature name is like it"))
    sentences = shortened(sentences + surprising[SHOWN:], f"{subset} videos without features")
    if listed := len(missing) - len(surprising):
        sentences.append(f"{listed:,} {subset} videos have no features, as {MISSING_LIST} says")
    present = [video.name for video in videos if video.name in source]
    if used := len(present) - len(unlisted(present, source.listed_missing)):
        sentences.append(f"{used:,} {subset} videos are listed in {MISSING_LIST}, but have features, which are used")
    return sentences


def check_features(report, subsets, source, labeled_names, names, grid, decoding, activation, thresholds):
    """Everything that needs the features, as sections, warnings and problems of the report.

    Returns {subset: its SnippetDataset, as training places it, without features}.
    """
    train_subset, eval_subset = next(iter(subsets)), list(subsets)[-1]
    present = {subset: [video for video in videos if video.name in source] for subset, videos in subsets.items()}
    for subset, videos in subsets.items():
        report.warnings += missing_sentences(videos, source, subset)
    if subsets[train_subset] and not present[train_subset]:
        report.problems.append(f"dataset.feature_path: none of the {len(subsets[train_subset]):,} training videos has "
                               "features; see the nearest names above, and dataset.feature_pattern")
    elif labeled_names and not any(name in source for name in labeled_names):
        report.problems.append("none of the labeled videos has features; check dataset.feature_path")
    facts = read_features([video for videos in present.values() for video in videos], source)
    report.sections.append(("Features", facts.lines()))
    note_feature_faults(report, facts, present)
    usable = {subset: with_grid(report, [video for video in videos if video.name in facts.lengths], grid, facts)
              for subset, videos in present.items()}
    for subset, videos in usable.items():
        report.warnings += shortened(time_differences(videos, grid, facts), f"{subset} videos with such features")
    if names is None:
        return {}
    placed = {subset: on_grid(videos, facts, grid, names) for subset, videos in usable.items() if videos}
    for subset, data in placed.items():
        report.sections.append((f"On the snippet grid: {subset}", grid_lines(data)))
    # Without an evaluation subset the training videos tell what the grid allows.
    measured = [placed[subset] for subset in (eval_subset, train_subset)
                if subset in placed and any(video.labels for video in placed[subset].videos)]
    if measured:
        data = measured[0]
        report.sections.append((f"The best mAP that grid and targets allow: {data.videos[0].subset}, "
                                f"{len(data.videos):,} videos with features",
                                bound_lines(report, data, names, decoding, activation, thresholds)))
    return placed


def note_feature_faults(report, facts, present):
    """Broken files stop training where a training video has them; constant channels and still videos never do."""
    training = {video.name for video in next(iter(present.values()))}
    fatal = [sentence for name, sentence in facts.broken.items() if name in training]
    report.add_problems(fatal, "broken feature files")
    report.warnings += shortened([text for name, text in facts.broken.items() if name not in training],
                                 "broken feature files, which will stop inference")
    constant = facts.constant_channels() if facts.lengths else []
    if len(constant):
        report.warnings.append(f"{len(constant)} channels have one value in all videos, first {constant[0]}: they say "
                               "nothing; was a stream left out?")
    report.warnings += shortened([f"video {name}: all its snippets are alike; extract its features again"
                                  for name in facts.still], "such videos")


# --- the snippet grid -------------------------------------------------------------------------------------------------


def with_grid(report, videos, grid, facts):
    """The videos whose duration and frame rate the grid has; the others become problems."""
    usable, sentences = [], []
    for video in videos:
        try:
            grid_of(video, grid, facts)
            usable.append(video)
        except SpotError as error:
            sentences.append(str(error))
    report.add_problems(sentences, "videos that have no place in time")
    return usable


def grid_of(video, grid, facts):
    """The SnippetGrid of a video by the length of its features; SpotError where it needs what is not known."""
    return grid.of(video, grid.temporal_scale if grid.grid == "resize" else -(-facts.lengths[video.name] // grid.every))


def time_differences(videos, grid, facts):
    """Window grid: sentences about features that end far from the end of their video."""
    used = {name: len(range(0, length, grid.every)) for name, length in facts.lengths.items()}
    return duration_faults(videos, used, grid)


class _LengthsOnly:
    """Stands for a FeatureSource where only the number of snippets matters."""

    def __init__(self, lengths):
        self.lengths = lengths

    def read(self, name):
        return np.zeros((1, self.lengths[name]), np.float32)


def on_grid(videos, facts, grid, names):
    """The videos as training cuts them, a SnippetDataset without features (C = 1)."""
    return SnippetDataset(videos, _LengthsOnly(facts.lengths), grid, names, 1, "memory", progress="snippet grid")


def grid_lines(data):
    """How the segments of a data set fare on its grid."""
    counts, centerless, lengths = Counter(), 0, []
    for index, snippet_grid in enumerate(data.grids):
        segments, labels = segments_of(data, index)
        lengths += (segments[:, 1] - segments[:, 0]).tolist()
        centerless += int((np.ceil(segments[:, 0] - 0.5) + 0.5 >= segments[:, 1]).sum())
        counts.update(overlaps(segments, labels))
        counts["hidden"] += int(hidden_segments(segments, labels, snippet_grid.length).sum())
    if not lengths:
        return ["no segment"]
    lengths = np.array(lengths)
    return [
        f"{len(data):,} sequences of {data.num_snippets:,} snippets; segment length in snippets {quantiles(lengths)}",
        f"{centerless:,} segments hold no snippet center and get the nearest snippet; {(lengths < 1).sum():,} are "
        f"shorter than a snippet, {(lengths > data.num_snippets).sum():,} are longer than a sequence",
        f"overlaps: {counts['cross']:,} pairs of two classes ({counts['cross_whole']:,} by a snippet or more), "
        f"{counts['same']:,} pairs of one class ({counts['same_whole']:,} by a snippet or more); "
        f"{counts['twins']:,} pairs of two classes are one time span with both names, which comes out as both",
        f"{counts['hidden']:,} segments have no mask row of their own, because shorter ones lie over them",
    ]


def segments_of(data, index):
    """Segments (N, 2) in grid positions and class indices (N,) of one video of a data set, as numpy."""
    labels = data.labels[index]
    return data.segments[index][labels >= 0].numpy().astype(float), labels[labels >= 0].numpy()


def overlaps(segments_snippet, labels):
    """Counter of overlapping pairs: `cross` and `twins` of two classes, `same` of one class, however short the overlap;
    `cross_whole` and `same_whole` are those of a snippet or more.

    segments_snippet: (N, 2) positions; labels: (N,). Twins agree to half a snippet at both ends: one mask shows both.
    """
    start, end = segments_snippet.T
    overlap = np.minimum(end[:, None], end) - np.maximum(start[:, None], start)
    first, second = np.nonzero(np.triu(overlap > 0, 1))
    whole = overlap[first, second] >= 1
    same = labels[first] == labels[second]
    twins = ~same & _twins(segments_snippet)[first, second]
    kinds = {"cross": ~same & ~twins, "twins": twins, "same": same}
    kinds |= {"cross_whole": kinds["cross"] & whole, "same_whole": same & whole}
    return Counter({kind: int(pairs.sum()) for kind, pairs in kinds.items()})


def _twins(segments_snippet):
    """(N, N) bool: pairs of segments that agree to half a snippet at both ends."""
    return (np.abs(segments_snippet[:, None] - segments_snippet) <= 0.5).all(-1)


def hidden_segments(segments_snippet, labels, length):
    """Segments that no mask row shows, (N,) bool: every snippet they hold belongs to a shorter segment.

    segments_snippet: (N, 2) positions; labels: (N,); length: snippets of the video
    The row of a twin of another class shows both, so that one is not hidden.
    """
    if not len(labels):
        return np.zeros(0, bool)
    member = segment_coverage(torch.from_numpy(segments_snippet)[None], torch.from_numpy(labels)[None], length)[1]
    member = member[0].numpy()  # (N, T')
    duration = np.where(member, (segments_snippet[:, 1] - segments_snippet[:, 0])[:, None], np.inf)
    shown = np.zeros(len(labels), bool)
    shown[duration.argmin(0)[member.any(0)]] = True
    other_class = labels[:, None] != labels
    return ~(shown | (_twins(segments_snippet) & other_class & shown).any(1))


# --- there and back ---------------------------------------------------------------------------------------------------


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
