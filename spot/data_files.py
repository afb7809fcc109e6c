"""The files of a data set: annotated videos with their classes and features, and those of a subset that have some."""

import glob
import sys
from pathlib import Path

from spot.annotations import class_names, read_annotations, with_unannotated, without_blocked
from spot.features import MISSING_LIST, FeatureSource, unlisted
from spot.files import SpotError

MISSING_SHOWN = 5


def open_data(video_anno_path, video_info_path, blocked, feature_path, feature_pattern, feat_dim, class_file,
              num_classes, resample_streams=False, options=None, place=None):
    """The files of a data set: (videos, class names, FeatureSource). The arguments are the YAML's keys.

    place: {key: value} of settings that must not contradict the sidecar of the features, where there is one
    Videos that the list `blocked` names are left out, with a note of how many; the classes stay those of all videos.
    Where the annotations come from an annotation tool, features that they do not name are unlabeled videos of training.
    SpotError names the key whose file is missing, or both numbers where `num_classes` does not fit.
    """
    _require("dataset.video_anno_path", video_anno_path)
    _require("dataset.video_info_path", video_info_path)
    _require("dataset.blocked", blocked)
    _require("dataset.class_file", class_file)
    for path in _flat(feature_path):
        _require("dataset.feature_path", path)
    videos = read_annotations(video_anno_path, video_info_path, options=options)
    names = class_names(videos, class_file)
    if num_classes is not None and num_classes != len(names):
        raise SpotError(f"dataset.num_classes is {num_classes}, but {class_file or video_anno_path} has {len(names)} "
                        "classes; correct it or set it to null")
    source = FeatureSource(feature_path, feat_dim, feature_pattern, resample=resample_streams)
    num_known, videos = len(videos), with_unannotated(videos, source.names, video_info_path)
    if len(videos) > num_known:
        print(f"note: {len(videos) - num_known:,} recordings, such as {videos[-1].name!r}, have features and are in no "
              "file of annotations: they are unlabeled videos of training", file=sys.stderr)
    videos, num_blocked = without_blocked(videos, blocked)
    if blocked:
        print(f"note: {num_blocked} videos are left out, because {blocked} lists them", file=sys.stderr)
    other = source.bind(video.name for video in videos)
    if other:
        video, feature = next(iter(other.items()))
        print(f"note: {len(other):,} videos are spelled differently in the features, such as {video!r}, there "
              f"{feature!r}", file=sys.stderr)
    if source.times is not None:
        source.times.refuse_others(place or {})
        videos = [source.times.place(video) for video in videos]
    return videos, names, source


def videos_of_subset(videos, key, subset, video_anno_path):
    """The videos of a subset, compared in lower case; SpotError that names the YAML's `key` where there are none."""
    found = [video for video in videos if video.subset == subset.lower()]
    if not found:
        raise SpotError(f"{key}: no video of {video_anno_path} is in subset {subset!r}; it has "
                        f"{', '.join(sorted({video.subset for video in videos}))}")
    return found


def _require(key, path):
    if path is not None and not Path(path).exists() and not glob.glob(str(path)):
        raise SpotError(f"{key}: {path} does not exist; put the data there or give {key}=PATH "
                        "(`make demo` shows a whole run on data that it makes itself)")


def _flat(paths):
    return [paths] if isinstance(paths, str) else [path for part in paths for path in _flat(part)]


def with_features(videos, source, subset):
    """The videos that have features, and the names of those that do not, which a warning lists.

    Those that the features' own missing_files.txt lists are only counted.
    """
    present = [video for video in videos if video.name in source]
    missing = [video.name for video in videos if video.name not in source]
    if missing:
        surprising = unlisted(missing, source.listed_missing)
        listed = len(missing) - len(surprising)
        text = f"; {listed} are listed in {MISSING_LIST}" if listed else ""
        if surprising:
            more = f" and {len(surprising) - MISSING_SHOWN} more" if len(surprising) > MISSING_SHOWN else ""
            nearest = source.nearest(surprising[0])
            hint = f"; the nearest feature name to {surprising[0]} is {nearest}" if nearest else ""
            text = f": {', '.join(surprising[:MISSING_SHOWN])}{more}{text}{hint}"
        print(f"warning: {len(missing)} of {len(videos)} {subset} videos have no features{text}", file=sys.stderr)
    return present, missing
