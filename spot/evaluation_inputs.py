"""Which files an evaluation reads, by its flags: annotations and detections. No torch.

`flags` are those of `spot.evaluation_flags`, parsed.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from spot.epic_kitchens import TIOU as EPIC_TIOU
from spot.epic_kitchens import is_epic_file
from spot.errors import SpotError
from spot.evaluation import read_ground_truth
from spot.names import pair_names
from spot.text import read_lines
from spot.tool_recordings import ReadingOptions

# What files of annotation tools leave open, see docs/formats.md.
READING_KEYS = ("dataset.point_width", "dataset.fps", "dataset.tiers", "dataset.classes_from", "dataset.complete_label")
# What an evaluation reads of the settings of a run; where the features lie tells what rate `dataset.fps` is.
RUN_KEYS = ("output_path", "dataset.video_anno_path", "dataset.video_info_path", "dataset.blocked",
            "dataset.eval_subset", "dataset.feature_path", "dataset.resample_streams", *READING_KEYS)
DEFAULT_TIOU = {"activitynet": "0.5:0.95:10", "thumos14": "0.3:0.7:5"}


@dataclass(frozen=True)
class Job:
    """What to evaluate: paths, subset, tIoU thresholds; `output` is where metrics.json goes, None for nowhere."""

    ground_truth: str
    info_path: str | None
    blocked: str | None
    predictions: Path
    compared: list | None  # the two files of --compare
    subset: str
    tiou: str | float | list
    output: Path | None
    labeled_file: Path | None
    options: ReadingOptions | None = None  # what the settings add to files of annotation tools


def job_from_files(flags, options):
    """The job of `--ground-truth ... --predictions ...`: no config, metrics.json only with `--output`.

    options: `tool_recordings.ReadingOptions` of the settings READING_KEYS, which alone have a meaning here
    SpotError where there are no detections.
    """
    compared = flags.compare and [detections_of(path) for path in flags.compare]
    predictions = compared[0] if compared else flags.predictions or flags.run
    if not predictions:
        raise SpotError("--ground-truth needs --predictions FILE, a run folder, or --compare A B")
    return Job(
        flags.ground_truth, flags.video_info, flags.blocked, detections_of(predictions), compared,
        flags.subset, flags.tiou or default_tiou(flags),
        Path(flags.output) if flags.output else None, labeled_file=None,
        options=options,
    )


def refuse_settings(flags):
    """SpotError where `--ground-truth` stands beside settings that have no effect there."""
    without_meaning = [text for text in flags.overrides if text.partition("=")[0] not in READING_KEYS]
    if flags.config or without_meaning:
        what = f"--config {flags.config}" if flags.config else without_meaning[0]
        raise SpotError(f"--ground-truth reads no config, so {what} has no effect; leave it out (of files of "
                        f"annotation tools it takes {', '.join(READING_KEYS)})")


def default_tiou(flags):
    """The tIoU thresholds that the field uses with the given ground truth and protocol."""
    return EPIC_TIOU if is_epic_file(flags.ground_truth) else DEFAULT_TIOU[flags.protocol]


def with_ground_truth(job, task):
    """The job with its subset, and the videos of its ground truth.

    The subset that is not named is validation, or the only one that there is. Where no video has one, all count, those
    of the training too, and a note says so.
    """
    videos = read_ground_truth(job.ground_truth, job.info_path, task, job.options)
    subsets = {video.subset for video in videos}
    only = subsets.pop() if len(subsets) == 1 else "validation"
    if job.subset is None and not only:
        print(f"note: {job.ground_truth} names no subsets, so all of its {len(videos):,} videos count; --video-info "
              "CSV gives the table that says which subset each belongs to", file=sys.stderr)
    return (job if job.subset is not None else replace(job, subset=only)), videos


def detections_of(path):
    """The detections file that `path` means: a file, or detections.json of a run folder."""
    return Path(path) / "detections.json" if Path(path).is_dir() else Path(path)


def folder_of(path):
    """The run folder that `path` means: a folder, or that of a file."""
    return Path(path) if Path(path).is_dir() else Path(path).parent


def classes_without_labels(videos, classes, labeled_file):
    """Evaluated classes that no labeled training video holds; None where the labeled videos are not known."""
    if labeled_file is None:
        return None
    labeled = set(pair_names(read_lines(labeled_file), [video.name for video in videos]).values())
    seen = {label for video in videos if video.name in labeled for label in video.labels}
    return sorted(set(classes) - seen)


def refuse_other_videos(result, path, subset):
    """SpotError where no detection is in a video or of a class of the ground truth: there is nothing to measure.

    result: the `Evaluation` of the detections file `path`
    """
    if not result.num_predictions or (result.scene.video < result.num_videos).any():
        return
    what = "labels" if result.num_unknown_video_predictions < result.num_predictions else "videos"
    advice = "" if what == "labels" else "; --subset (dataset.eval_subset) names the one that it is of"
    raise SpotError(f"{path}: none of its {result.num_predictions:,} detections is of the {what} of subset {subset} of "
                    f"the ground truth{advice}; is it of another data set?")
