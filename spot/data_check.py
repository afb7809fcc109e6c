"""The check before a training of hours: everything is read once, and all problems are listed at once.

Problems would stop training, warnings would not. `check_data` gathers both; the other functions measure one thing each.
"""

from collections import Counter
from pathlib import Path

from spot.annotations import (
    class_names,
    labeled_split,
    matching_files,
    read_annotations,
    with_unannotated,
    without_blocked,
)
from spot.check_annotations import (
    check_segments,
    class_lines,
    counted_videos,
    segment_lines,
    unnamed_features,
    video_lines,
)
from spot.check_features import missing_sentences, note_feature_faults, read_features
from spot.check_grid import grid_lines, on_grid, time_differences, with_grid
from spot.check_report import Report, noting, shortened
from spot.class_scores import read_class_scores
from spot.datasets import GridSettings
from spot.evaluation import parse_thresholds
from spot.features import FeatureSource
from spot.proposals import Decoding
from spot.standardize import choose_standardization
from spot.upper_bound import bound_lines
from spot.waveforms import choose_waveforms


def check_data(data, grid, decoding, train_subset, eval_subset, labeled, split_seed, activation, tiou,
               class_scores="none", standardize="auto", sensor_channels="auto", detector="spot", longest=None):
    """Read annotations and all features of both subsets, measure them, and run the targets there and back.

    data: the arguments of `data_files.open_data`; grid: of `GridSettings`; decoding: of `proposals.Decoding`
    labeled, split_seed: as `annotations.labeled_split` takes them; activation: sigmoid or softmax
    tiou: `first:last:count`; class_scores: the file of a video classifier, or none
    standardize, sensor_channels: as `model.standardize` and `dataset.sensor_channels` say
    detector: its name; longest: snippets of the longest segment that it proposes, None: any
    Returns a Report; whatever is broken is listed in it.
    """
    report = Report()
    source = open_features(report, data["feature_path"], data["feat_dim"], data["feature_pattern"],
                           data.get("resample_streams", False))
    annotated = read_videos(report, source, data, train_subset)
    if not annotated:
        return report
    videos = leave_out_blocked(report, annotated, data)
    names = read_classes(report, annotated, data)
    subsets = choose_subsets(report, videos, train_subset, eval_subset)
    training = next(iter(subsets.values()))
    labeled_names = training and report.attempt(labeled_split, training, labeled, split_seed, data["video_info_path"])
    labeled_names = labeled_names or []
    report.sections.append(("Videos (five numbers are: min / 5 % / median / 95 % / max)",
                            video_lines(subsets, labeled_names, source)))
    place, placed = len(report.sections), {}
    if source is not None:
        placed = check_features(report, subsets, source, labeled_names, names, GridSettings(**grid),
                                Decoding(**decoding), activation, parse_thresholds(tiou), detector, longest)
    if placed and labeled_names:
        report.sections.append(("What a training decides from these data", decision_lines(
            report, training, labeled_names, names, source, GridSettings(**grid), standardize, sensor_channels)))
    counted = {subset: counted_videos(videos, placed.get(subset), source) for subset, videos in subsets.items()}
    report.sections.insert(place, ("Segments, as annotated", segment_lines(subsets, counted)))
    check_segments(report, counted, labeled_names, names or [], grid.get("fps"))
    if names and labeled_names:
        report.sections.append(("Classes: labeled videos and segments, then segments of each subset, as training and "
                                "evaluation count them", class_lines(report, subsets, counted, labeled_names, names)))
    if names and class_scores != "none":
        check_class_scores(report, subsets[eval_subset.lower()], names, class_scores)
    return report


def decision_lines(report, training, labeled_names, names, source, grid, standardize, sensor_channels):
    """Whose statistics will standardize the features, and whether they are raw samples of a sensor, with the reasons.

    training: the videos of the subset, of which `labeled_names` show their labels
    """
    chosen, present = set(labeled_names), [video for video in training if video.name in source]
    standardization = choose_standardization(
        standardize, [video for video in present if video.name in chosen], names)
    lines = [f"statistics that standardize the features: {standardization.kind} ({standardization.evidence})"]
    found = report.attempt(choose_waveforms, sensor_channels, source, [video.name for video in present], grid)
    if found is not None:
        waveforms, reason = found
        lines.append(f"features are {'made spectral' if waveforms else 'taken as they are'} ({reason})")
    return lines


def read_videos(report, source, data, train_subset):
    """The annotated videos, with the times of their features from a sidecar; None where they cannot be read."""
    faults = []
    videos = report.attempt(read_annotations, data["video_anno_path"], data["video_info_path"], noting(faults),
                            data.get("options"))
    report.add_problems(faults, "faults of the annotations")
    if not videos or source is None:
        return videos
    videos = with_unannotated(videos, source.names, data["video_info_path"])
    source.bind(video.name for video in videos)
    if source.times is not None:
        report.attempt(source.times.refuse_others, data.get("place") or {})
        videos = [source.times.place(video) for video in videos]
    report.warnings += unnamed_features(source, videos, train_subset)
    return videos


def read_classes(report, videos, data):
    """The class names, None where they cannot be read; `dataset.num_classes` that differs is a problem."""
    names = report.attempt(class_names, videos, data["class_file"])
    if names is not None and data["num_classes"] not in (None, len(names)):
        report.problems.append(f"dataset.num_classes is {data['num_classes']}, but there are {len(names)} classes; "
                               "correct it or set it to null")
    return names


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


def check_features(report, subsets, source, labeled_names, names, grid, decoding, activation, thresholds, detector,
                   longest):
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
    # Without an evaluation subset the training videos show what the grid allows.
    measured = [placed[subset] for subset in (eval_subset, train_subset)
                if subset in placed and any(video.labels for video in placed[subset].videos)]
    if measured:
        data = measured[0]
        what = "grid and targets allow" if detector == "spot" else "the grid allows"
        report.sections.append((f"The best mAP that {what}: {data.videos[0].subset}, "
                                f"{len(data.videos):,} videos with features",
                                bound_lines(report, data, names, decoding, activation, thresholds, detector,
                                            longest)))
    return placed
