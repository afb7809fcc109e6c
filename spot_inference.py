"""Detect actions with a trained model.

    python spot_inference.py RUN [--plot]                        in the evaluation subset, for eval.py RUN
    python spot_inference.py RUN features=FILE_OR_FOLDER         in recordings without annotations, by their features
                                 [fps=.. stride=.. every=.. window=.. duration=..] [--write csv,eaf]
    python spot_inference.py RUN videos=FILE_OR_FOLDER           in video files, where the run was trained on such
                                 [weights=FOLDER] [--write vtt,srt]
    python spot_inference.py RUN --suggest N                     which recordings to annotate next
    python spot_inference.py RUN dataset.eval_subset=training --review      a page to correct detections on
    python spot_inference.py --config config/anet_published.yaml checkpoint=published.pth.tar output_path=FOLDER

RUN, or `checkpoint=`, is a run folder, whose own config.yaml then holds, or a checkpoint file; section.key=value
replaces a setting (docs/settings.md). For every video of `dataset.eval_subset` it writes into `output_path` (the run
folder, where nothing else is given) detections.json, and beside it actions.csv: of the detections those whose score is
`testing.action_threshold` or more, without overlaps of one class, in order of time. With --plot there is a picture of a
few of the videos, which `eval.py --report` shows. With `features=` or `videos=` all of that lies in `output_path`/own,
for every video there, with detections.csv. With --suggest nothing is detected: it tells which N of the unlabeled
recordings of `dataset.train_subset` to annotate next, and why, on the screen, in suggest.csv and in suggest.png. With
--review a page, review.html, on which the detections are corrected in a browser and become annotations to train on.

    torchrun --nproc_per_node=N spot_inference.py ...    N processes, one GPU each, that share the videos; the same file
"""

import argparse
import contextlib
import itertools
import sys
from pathlib import Path

from spot import command_line
from spot.detection_writers import WRITERS, formats_in, written_actions

DEFAULT_CONFIG = "config/anet.yaml"
RUN_MEANS = "a run folder or a checkpoint file, as checkpoint="
SIZES = ("dataset.grid", "model.temporal_scale", "model.feat_dim")  # which `check_fit` refuses
LEARNING_KEYS = ("dataset.labeled", "dataset.split_seed", "dataset.train_subset")
NUM_PICTURES = 4  # of an evaluation subset, evenly spaced in it


def make_parser():
    parser = command_line.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", metavar="FILE", help="settings file, needed only with a published checkpoint")
    parser.add_argument("--plot", action="store_true", help="draw what the model sees, timelines/VIDEO.png: "
                        f"{NUM_PICTURES} videos of the subset, or all of features=")
    parser.add_argument("--write", metavar="FORMATS", help="the actions for other programs too, such as vtt,srt: "
                        f"{', '.join(WRITERS)}")
    parser.add_argument("--suggest", type=command_line.whole_number(1, 1_000_000), metavar="N", help="detect nothing, "
                        "but tell which N unlabeled recordings to annotate next, and why: suggest.csv and suggest.png")
    parser.add_argument("--review", action="store_true", help="a page on which the detections are corrected in a "
                        "browser and become annotations: review.html")
    return parser


if __name__ == "__main__":
    command_line.parse_early(make_parser, run_means=RUN_MEANS)

from omegaconf import OmegaConf

from spot import distributed
from spot.action_threshold import action_threshold
from spot.annotations import read_annotations
from spot.checkpoint import RunFolder, load_model
from spot.class_scores import read_class_scores
from spot.config import load_config, save_config, with_values
from spot.config_runs import LEARNING, OWN_VIDEO_KEYS, changed_keys, refuse_own_video_keys
from spot.config_values import (
    data_values,
    decoding_values,
    grid_values,
    idle_settings_of,
    plain,
    reading_options,
    scoring_values,
)
from spot.data_files import open_data, videos_of_subset, with_features
from spot.datasets import GridSettings
from spot.detection_files import actions_table, detections_table, write_detections
from spot.detectors import require_masks
from spot.devices import choose_device, choose_precision
from spot.feature_times import refuse_other_backbone
from spot.files import SpotError, expand_home, locked, read_json, write_text
from spot.idle_settings import warn_of_idle
from spot.inference import Detector, detect_all, exhaust, waveforms_of
from spot.meaning import check_fit, differences, named, named_decoding
from spot.proposals import Decoding
from spot.recordings import annotated_recording, open_own, own_class_names, own_grid, own_recordings
from spot.sidecar import read_sidecar
from spot.suggest_views import STRENGTH, parted, suggest_among


def main(argv=None):
    flags = command_line.parse(make_parser(), argv, RUN_MEANS)
    config = settings_of(flags)
    flags.formats = formats_in(flags.write) if flags.write is not None else []
    try:
        if flags.suggest is not None:
            suggest_recordings(config, flags)
        elif config.videos is not None:
            infer_videos(config, flags)
        else:
            refuse_own_video_keys(config, "belongs to videos=, which is not given", ("weights",))
            if config.features is not None:
                infer_own(config, flags)
            else:
                refuse_own_video_keys(config, "belongs to features=, which is not given")
                infer(config, flags)
    except KeyboardInterrupt:
        if distributed.is_first():
            print(f"this command begins again: {command_line.again(__file__, argv)}", file=sys.stderr)
        raise


# --- detection --------------------------------------------------------------------------------------------------------


def open_run(config, flags):
    """The model of a run with the data set that the settings name: (model, config, videos, class_names, source).

    config: compared with the settings that the model was trained with. SpotError where the two do not fit together.
    """
    model = load_model(config.checkpoint or config.output_path, choose_device(config.training.device))
    config = compared_with_training(model, config, flags)
    videos, class_names, source = open_data(**data_values(config))
    check_fit(model, class_names, sizes_of(config))
    refuse_other_backbone(backbone_of_run(config), source.times)
    return model, config, videos, class_names, source


def infer(config, flags):
    """Detect in every video of the evaluation subset."""
    # Model, and data: annotated videos, of which some may have no features.
    model, config, videos, class_names, source = open_run(config, flags)
    wanted = videos_of_subset(videos, "dataset.eval_subset", config.dataset.eval_subset,
                              config.dataset.video_anno_path)
    present, missing = with_features(wanted, source, config.dataset.eval_subset)
    recordings = {video.name: annotated_recording(video, config.dataset.fps) for video in wanted}
    with_rows = [recordings[video.name] for video in present]

    # Detections, written as they are found.
    detector = detector_of(model, config, class_names)
    found = detect_all(detector, source, with_rows)
    if not distributed.is_first():
        exhaust(found)
        return
    nothing = ((name, []) for name in missing)  # which evaluation counts
    drawn = with_rows[:: max(len(with_rows) // NUM_PICTURES, 1)][:NUM_PICTURES] if flags.plot else []
    folder = RunFolder(config.output_path)
    with locked(folder.path / "inference.lock", f"output_path {folder.path}"):
        facts = {**facts_of(config), "missing_features": missing}
        with described_elsewhere(config, folder):
            kept = write_results(folder, flags, class_names, recordings, itertools.chain(nothing, found), facts, drawn)
        write_more(folder, flags, detector, source, drawn, kept)
        if flags.review:
            write_review_page(folder, config, detector, source, recordings.values(), facts, videos)


def infer_own(config, flags, videos=None):
    """Detect in every video of `features=`, which needs no annotation; the results lie in `output_path`/own.

    videos: {name: video file}, in which of them; None: in all
    """
    # Model, by the settings that it was trained with.
    model = load_model(config.checkpoint or config.output_path, choose_device(config.training.device))
    config = compared_with_training(model, config, flags)
    class_names = own_class_names(model, config.dataset.class_file)
    check_fit(model, class_names, sizes_of(config))

    # Data: features, and where they lie in time, as far as anybody says.
    source, files = open_own(plain(config.features), model.feat_dim, plain(config.dataset.feature_pattern),
                             config.dataset.resample_streams, videos)
    refuse_other_backbone(backbone_of_run(config), source.times)
    typed = {key: config[key] for key in ("duration", "fps", "stride", "every", "window")}
    trained_fps = model.settings.get("fps")
    changes = own_grid(typed, source.times, GridSettings(**grid_values(config)), config.dataset.fps or trained_fps)
    recordings = own_recordings(source, files, typed, config.dataset.grid, config.dataset.fps or trained_fps,
                                model.settings.get("training_fps") or ([trained_fps] if trained_fps else []))

    # Detections, written as they are found.
    detector = detector_of(model, config, class_names, **changes)
    found = detect_all(detector, source, recordings)
    if not distributed.is_first():
        exhaust(found)
        return
    folder = RunFolder(Path(config.output_path) / "own")
    table, drawn = folder.path / "detections.csv", recordings if flags.plot else []
    with locked(folder.path / "inference.lock", f"output_path {folder.path}"):
        facts = facts_of(config)
        kept = write_results(folder, flags, class_names, {one.name: one for one in recordings}, found, facts, drawn,
                             table)
        print(f"the same as a table: {table}")
        write_more(folder, flags, detector, source, drawn, kept)
        if flags.plot and videos:
            from spot.video_pictures import draw_thumbnails

            draw_thumbnails(folder.path / "thumbnails", class_names, recordings, kept, facts["action_threshold"])
        if flags.review:
            write_review_page(folder, config, detector, source, recordings, facts)


def infer_videos(config, flags):
    """As `infer_own`, for video files: their features are extracted first, by what the run was trained on."""
    from spot.own_videos import features_of_videos  # PyAV, only where there are videos

    refuse_own_video_keys(config, "has no effect beside videos=, whose snippets lie as those of the training do",
                          [key for key in OWN_VIDEO_KEYS if key not in ("videos", "weights")])
    out = Path(config.output_path) / "own" / "features"
    device = choose_device(config.training.device)
    videos = distributed.from_first(lambda: features_of_videos(
        config.videos, backbone_of_run(config), config.weights, out, device))
    infer_own(with_values(config, {"features": str(out)}), flags, videos)


def suggest_recordings(config, flags):
    """Tell which unlabeled recordings of the training subset to annotate next, and why."""
    refuse_beside_suggest(config, flags)
    if not distributed.is_first():
        return
    model, config, videos, class_names, source = open_run(config, flags)
    training = videos_of_subset(videos, "dataset.train_subset", config.dataset.train_subset,
                                config.dataset.video_anno_path)
    training, _ = with_features(training, source, config.dataset.train_subset)
    labeled, unlabeled = parted(training, run_of(config).labeled)
    strength = {key: config.augment[key] for key in STRENGTH}
    suggestions = suggest_among(model, labeled, unlabeled, source, GridSettings(**grid_values(config)), strength,
                                class_names, flags.suggest, config.testing.batch_size)

    from spot.suggest_report import save_picture, table_text, write_table  # matplotlib

    folder = Path(config.output_path)
    print(f"{len(labeled):,} recordings are labeled, {len(unlabeled):,} are not; to annotate next:\n"
          f"{table_text(suggestions)}")
    write_table(folder / "suggest.csv", suggestions)
    save_picture(folder / "suggest.png", suggestions, len(unlabeled))
    print(f"the same as a table and as a picture: {folder / 'suggest.csv'}, {folder / 'suggest.png'}")
    print("a random choice was as good in simulated rounds on SBHAR: docs/label-train-correct.md")
    subset = f"dataset.eval_subset={config.dataset.train_subset}"
    print("what is in them, to correct it in a browser (--write FORMAT: in an annotation tool): "
          + command_line.command("spot_inference.py", run_of(config).path, subset, "--review"))


def refuse_beside_suggest(config, flags):
    """SpotError for what has no effect beside --suggest."""
    for flag, given in (("--plot", flags.plot), ("--write", flags.formats), ("--review", flags.review)):
        if given:
            raise SpotError(f"--suggest detects nothing, so {flag} has no effect; leave one of them out")
    for key in OWN_VIDEO_KEYS:
        if config[key] is not None:
            raise SpotError(f"--suggest chooses among the unlabeled recordings of dataset.train_subset, so {key}= has "
                            "no effect; put features of new recordings into dataset.feature_path")


def detector_of(model, config, class_names, **changes):
    """The model with how it detects by the settings; changes: keys of the grid that replace those of the config."""
    testing = config.testing
    # The classes come from the model itself, unless an external video classifier is named.
    classifier = None if testing.class_scores == "none" else read_class_scores(testing.class_scores, class_names)
    return Detector(model, class_names, GridSettings(**{**grid_values(config), **changes}),
                    Decoding(**decoding_values(config)), testing.batch_size,
                    choose_precision(testing.amp, next(model.parameters()).device), classifier,
                    testing.class_scores_top)


# --- results ----------------------------------------------------------------------------------------------------------
# A flag that asks for one more output has its line in `write_results`, among the `outputs` that take the detections of
# a video as soon as they are found, or in `write_more`, where those of all videos are there.


def write_results(folder, flags, class_names, recordings, found, facts, drawn, table=None):
    """Write the detections of all videos while they are found, and the actions among them.

    recordings: {name: Recording} of all videos; found: an iterable of (name, entries of detections.json)
    facts: what detections.json says beside them; drawn: the Recordings whose detections are drawn afterwards
    table: a CSV file for the same detections, or None
    Returns {name: entries} of those that are drawn; no others are kept, so that memory stays flat.
    """
    action, kept = facts["action_threshold"], {one.name: [] for one in drawn}
    known = {one.name: (one.times.duration_sec, one.times.fps, one.media) for one in recordings.values()}

    def keep(name, entries):
        if name in kept:
            kept[name] = entries

    outputs = [written_actions(flags.formats, folder.path, action, known, class_names),
               *([detections_table(table)] if table else []),
               actions_table(folder.actions, action)]
    with contextlib.ExitStack() as stack:
        takers = [keep, *map(stack.enter_context, outputs)]
        write_detections(folder.detections, found, len(recordings), facts, takers)
    return kept


def write_more(folder, flags, detector, source, drawn, kept):
    """What the flags ask for beside the detections, once these are written; arguments as of `write_results`."""
    if flags.plot:
        from spot.video_pictures import draw_videos  # matplotlib, only where pictures are wanted

        draw_videos(folder.timelines, detector, source, drawn, kept)


def write_review_page(folder, config, detector, source, recordings, facts, videos=None):
    """The page on which the detections in `folder` are corrected.

    videos: of the annotations of the run; None: these are read where they can be, for recordings beside them
    """
    from spot import review_run  # matplotlib

    run, dataset, own = run_of(config), config.dataset, plain(config.features)
    if videos is None:
        videos = review_run.annotations_if_readable(lambda: read_annotations(
            dataset.video_anno_path, dataset.video_info_path, options=reading_options(config)))
    train = review_run.training_command(run.path, plain(dataset.feature_path), own) if run.config.is_file() else None
    review_run.make_review(
        folder.path / "review.html", detector, source, list(recordings), read_json(folder.detections)["results"],
        review_run.base_annotations(videos, run.labeled, dataset.train_subset), dataset.train_subset,
        review_run.Origin(str(run.path), "" if own else dataset.eval_subset, facts["action_threshold"], train))


def facts_of(config):
    """What detections.json says beside its results: the class source, and from which score on they are actions."""
    scores, path = config.testing.class_scores, run_of(config).action_threshold
    return {"version": "SPOT", "external_data": {"class_scores": None if scores == "none" else scores},
            "action_threshold": action_threshold(config.testing.action_threshold, path, scoring_values(config))}


@contextlib.contextmanager
def described_elsewhere(config, folder):
    """A block that writes detections. Where these do not lie with their run, its settings are then written beside them:
    by these they are evaluated.

    After an error in the block earlier detections still lie there, and so do their settings. SpotError where another
    run lies there.
    """
    if config.checkpoint is None or folder.path.resolve() == folder_of(config.checkpoint).resolve():
        yield
        return
    if folder.checkpoints():
        raise SpotError(f"output_path {folder.path} holds another run than checkpoint={config.checkpoint}; choose "
                        "another output_path")
    try:
        yield
    except KeyboardInterrupt:  # what was found until then has replaced earlier detections
        write_description(config, folder)
        raise
    write_description(config, folder)


def write_description(config, folder):
    """Settings, classes and labeled videos of a run, beside detections that lie elsewhere.

    By the classes, in their order, the report gives each the color that it has in the other pictures.
    """
    save_config(config, folder.config)
    run = RunFolder(folder_of(config.checkpoint))
    for own, copied in ((run.labeled, folder.labeled), (run.classes, folder.classes)):
        if own.is_file():
            write_text(copied, own.read_text(encoding="utf-8"))
        else:
            copied.unlink(missing_ok=True)


# --- settings ---------------------------------------------------------------------------------------------------------


def settings_of(flags):
    """The settings of the run that RUN, `checkpoint=` or else `output_path=` names; --config where there is none."""
    overrides = list(flags.overrides)
    given = {key: expand_home(value) for key, _, value in (override.partition("=") for override in overrides)}
    if flags.run and "checkpoint" in given:
        raise SpotError(f"{flags.run} and checkpoint={given['checkpoint']} are two runs; give one of them")
    if flags.run:
        given["checkpoint"] = flags.run
        overrides.append(f"checkpoint={flags.run}")
    run = given.get("checkpoint") or given.get("output_path")
    run = folder_of(run or load_config(flags.config or DEFAULT_CONFIG).output_path)
    own = run / "config.yaml"
    if not own.is_file():
        return load_config(flags.config or DEFAULT_CONFIG, overrides)
    command_line.note_unread_config(flags.config, own)
    if "checkpoint" in given and "output_path" not in given:
        overrides.append(f"output_path={run}")
    if given.get("checkpoint") and run == Path(given["checkpoint"]) and not RunFolder(run).checkpoints():
        # Detections of a run elsewhere: their settings name its checkpoint.
        overrides = [override for override in overrides if not override.startswith("checkpoint=")]
    return load_config(own, overrides)


def folder_of(run):
    """The folder that a run folder or a checkpoint file means."""
    return Path(run) if Path(run).is_dir() else Path(run).parent


def run_of(config):
    """The RunFolder of the checkpoint."""
    return RunFolder(folder_of(config.checkpoint or config.output_path))


def compared_with_training(model, config, flags):
    """Warn of the keys that are not as in the training, whose results would be others. Returns the settings that hold.

    SpotError for a model key or a flag without effect, and where results of other settings would lie in the run folder.
    """
    typed = command_line.keys_of(flags.overrides)
    given = (("--plot", flags.plot), ("--review", flags.review), ("--suggest", flags.suggest is not None))
    for flag in (name for name, is_given in given if is_given):
        require_masks(model, flag)
    known = named(model.settings, model.architecture)
    # Without --config, and without config.yaml beside it, a checkpoint is used as it says of itself.
    if known and flags.config is None and not run_of(config).config.is_file():
        config = with_values(config, {**known, **named_decoding(model.settings)}, typed)
    decided = {f"model.{name}": value for name, value in model.architecture.items()}
    decided["dataset.sensor_channels"] = "spectral" if waveforms_of(model) else "raw"
    for key in sorted(typed & set(decided) - set(SIZES)):
        trained, given = decided[key], plain(OmegaConf.select(config, key))
        if given not in (trained, "auto"):
            raise SpotError(f"{key}={given} has no effect at inference, because the model is the checkpoint's, with "
                            f"{trained}; leave it out")
    now = named(grid_values(config), plain(config.model))
    other = {key: pair for key, pair in differences(known, now).items()
             if pair[1] not in (None, "auto") and key not in SIZES}
    for key, (trained, given) in other.items():
        effect = "has no effect" if key.startswith("model.") else "moves the detections in time, or finds others"
        print(f"warning: {key} is {given}, and the run was trained with {trained}: it {effect}", file=sys.stderr)
    with_effect = {key for key in typed if key == "dataset.train_subset" or key.startswith("augment.")}
    told = {*(known.keys() & now.keys()), "dataset.sensor_channels"}
    note_other_data(config, typed - told - (with_effect if flags.suggest else set()))
    warn_of_idle(idle_settings_of(config), {key for key in typed if key.startswith("testing.")})
    moved = [key for key in other if key.startswith("dataset.")]
    if moved and run_of(config).path.resolve() == Path(config.output_path).resolve():
        trained, given = other[moved[0]]
        raise SpotError(f"{moved[0]} is {given}, and the run was trained with {trained}; results of other settings do "
                        "not go into the run folder: give output_path=FOLDER for them")
    return config


def note_other_data(config, typed):
    """Print which keys `typed` on the command line differ from the config.yaml of the run, or have no effect."""
    if not run_of(config).config.is_file():
        return
    for key, (own, given) in changed_keys(load_config(run_of(config).config), config, typed).items():
        section = key.partition(".")[0]
        if key in LEARNING_KEYS or (section in LEARNING and section != "testing" and key != "training.device"):
            print(f"warning: {key} has no effect at inference", file=sys.stderr)
        elif key.startswith("dataset."):
            print(f"note: {key} is {given}, and of the run {own}", file=sys.stderr)


def sizes_of(config):
    """The sizes that a model must have for the data, as `check_fit` takes them."""
    return {"model.feat_dim": config.model.feat_dim, "dataset.grid": config.dataset.grid,
            "model.temporal_scale": config.model.temporal_scale}


def backbone_of_run(config):
    """The Sidecar of the features that the run was trained on, None where it is not known."""
    path = run_of(config).features
    return read_sidecar(path) if path.is_file() else None


if __name__ == "__main__":
    distributed.run(main)
