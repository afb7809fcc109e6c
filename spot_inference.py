"""Detect actions with a trained model.

    python spot_inference.py RUN [section.key=value ...] [--plot]
    python spot_inference.py --config config/anet_published.yaml checkpoint=published.pth.tar
    python spot_inference.py RUN features=FILE_OR_FOLDER [fps=.. stride=.. every=.. window=..] [--plot]
    python spot_inference.py RUN videos=FILE_OR_FOLDER [weights=FOLDER] [--plot] [--write vtt,srt]

RUN, or `checkpoint=`, is a run folder, whose own config.yaml then holds, or a checkpoint file. Writes
`output_path`/detections.json (the run folder, where nothing else is given) for every video of `dataset.eval_subset`,
and with --plot a picture of a few of them, which `eval.py --report` shows; with `features=`, which needs no annotation,
`output_path`/own/detections.json and .csv for every video there, and with --plot a picture of each. Beside them
actions.csv: of the detections those whose score is `testing.action_threshold` or more, without overlaps of one class,
in order of time.

    torchrun --nproc_per_node=N spot_inference.py ...    N processes, one GPU each, that share the videos; the same file
"""

import collections
import contextlib
import csv
import gc
import itertools
import sys
import warnings
from pathlib import Path

from spot import command_line
from spot.detection_writers import WRITERS, formats_in, written_actions

DEFAULT_CONFIG = "config/anet.yaml"
RUN_MEANS = "a run folder or a checkpoint file, as checkpoint="
SIZES = ("dataset.grid", "model.temporal_scale", "model.feat_dim")  # which `check_fit` refuses
LEARNING_KEYS = ("dataset.labeled", "dataset.split_seed", "dataset.train_subset")
GIVE_THRESHOLD = "give the score from which on a detection is an action by testing.action_threshold=SCORE"
OTHER_TEMPO = 0.02  # of the time between two rows: more is told
NUM_PICTURES = 4  # of an evaluation subset, evenly spaced in it


def make_parser():
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("-c", "--config", metavar="FILE", help="settings file, needed only with a published checkpoint")
    parser.add_argument("--plot", action="store_true", help="draw what the model sees, timelines/VIDEO.png: "
                        f"{NUM_PICTURES} videos of the subset, or all of features=")
    parser.add_argument("--write", metavar="FORMATS", help="the actions for other programs too, such as vtt,srt: "
                        f"{', '.join(WRITERS)}")
    return parser


if __name__ == "__main__":
    command_line.parse_early(make_parser, run_means=RUN_MEANS)

import numpy as np
from tqdm import tqdm

from spot import distributed
from spot.annotations import check_video_id, read_class_file
from spot.boundary import mine_snippets
from spot.checkpoint import RunFolder, load_model
from spot.class_scores import read_class_scores, top_classes
from spot.config import (
    LEARNING,
    OWN_VIDEO_KEYS,
    changed_keys,
    data_values,
    decoding_values,
    grid_values,
    load_config,
    plain,
    refuse_own_video_keys,
    save_config,
    scoring_values,
    with_values,
)
from spot.datasets import GridSettings, open_data, videos_of_subset, with_features
from spot.detections import read_action_threshold
from spot.devices import choose_device, choose_precision
from spot.feature_times import refuse_other_backbone
from spot.features import FeatureSource
from spot.files import (
    SpotError,
    atomic_path,
    expand_home,
    locked,
    read_json,
    remove_unfinished,
    streamed_results,
    write_text,
)
from spot.losses import class_probabilities, foreground
from spot.meaning import differences, named, named_decoding
from spot.names import NameIndex
from spot.operating_point import actions_of
from spot.proposals import OtherSettings, detect, run_windows, stack_windows, to_results
from spot.recordings import centers_of_rows, far_from_training, own_facts, own_times, times_of
from spot.segments import centers_mismatch, duration_mismatch, features_end_sec, window_starts
from spot.sidecar import read_sidecar


def main(argv=None):
    arguments = command_line.parse(make_parser(), argv, RUN_MEANS)
    config = settings_of(arguments)
    typed = {override.partition("=")[0] for override in arguments.overrides}
    formats = formats_in(arguments.write) if arguments.write is not None else []
    alone = arguments.config is None and not (run_of(config).path / "config.yaml").is_file()
    try:
        if config.videos is not None:
            infer_videos(config, arguments.plot, typed, alone, formats)
            return
        if config.features is not None:
            refuse_own_video_keys(config, "belongs to videos=, which is not given", ("weights",))
            infer_own(config, arguments.plot, typed, alone, formats)
            return
        refuse_own_video_keys(config, "belongs to features=, which is not given")
        infer(config, arguments.plot, typed, alone, formats)
    except KeyboardInterrupt:
        if distributed.is_first():
            print(f"this command begins again: {command_line.again(__file__, argv)}", file=sys.stderr)
        raise


def settings_of(arguments):
    """The settings of the run that RUN, `checkpoint=` or else `output_path=` names; --config where there is none."""
    overrides = list(arguments.overrides)
    given = {key: expand_home(value) for key, _, value in (override.partition("=") for override in overrides)}
    if arguments.run and "checkpoint" in given:
        raise SpotError(f"{arguments.run} and checkpoint={given['checkpoint']} are two runs; give one of them")
    if arguments.run:
        given["checkpoint"] = arguments.run
        overrides.append(f"checkpoint={arguments.run}")
    run = given.get("checkpoint") or given.get("output_path")
    run = folder_of(run or load_config(arguments.config or DEFAULT_CONFIG).output_path)
    own = run / "config.yaml"
    if not own.is_file():
        return load_config(arguments.config or DEFAULT_CONFIG, overrides)
    command_line.note_unread_config(arguments.config, own)
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


def compared_with_training(model, config, typed, alone):
    """Say which keys differ from the training, whose results would be others. Returns the settings that hold.

    typed: the keys of the command line; alone: the checkpoint has no config.yaml beside it and no --config was given,
    so what it says of itself holds
    SpotError for a model key without effect, and where results of other settings would lie in the run folder.
    """
    known = named(model.settings, model.architecture)
    if alone and known:
        config = with_values(config, {**known, **named_decoding(model.settings)}, typed)
    for key in sorted(typed & {f"model.{name}" for name in model.architecture} - set(SIZES)):
        trained, given = model.architecture[key.removeprefix("model.")], plain(config.model[key.removeprefix("model.")])
        if given not in (trained, "auto"):
            raise SpotError(f"{key}={given} has no effect at inference, because the model is the checkpoint's, with "
                            f"{trained}; leave it out")
    other = {key: pair for key, pair in differences(known, named(grid_values(config), plain(config.model))).items()
             if pair[1] not in (None, "auto") and key not in SIZES}
    for key, (trained, given) in other.items():
        effect = "has no effect" if key.startswith("model.") else "moves the detections in time, or finds others"
        print(f"warning: {key} is {given}, and the run was trained with {trained}: it {effect}", file=sys.stderr)
    tell_of_other_data(config, typed - set(known))
    moved = [key for key in other if key.startswith("dataset.")]
    if moved and run_of(config).path.resolve() == Path(config.output_path).resolve():
        trained, given = other[moved[0]]
        raise SpotError(f"{moved[0]} is {given}, and the run was trained with {trained}; results of other settings do "
                        "not go into the run folder: give output_path=FOLDER for them")
    return config


def tell_of_other_data(config, typed):
    """Notes of the keys `typed` on the command line that are not those of the run, by its config.yaml."""
    if not run_of(config).config.is_file():
        return
    for key, (own, given) in changed_keys(load_config(run_of(config).config), config, typed).items():
        section = key.partition(".")[0]
        if key in LEARNING_KEYS or (section in LEARNING and section != "testing" and key != "training.device"):
            print(f"warning: {key} has no effect at inference", file=sys.stderr)
        elif key.startswith("dataset."):
            print(f"note: {key} is {given}, and of the run {own}", file=sys.stderr)


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
    """Settings and labeled videos of a run, beside detections that lie elsewhere."""
    save_config(config, folder.config)
    labeled = RunFolder(folder_of(config.checkpoint)).labeled
    if labeled.is_file():
        write_text(folder.labeled, labeled.read_text(encoding="utf-8"))
    else:
        folder.labeled.unlink(missing_ok=True)


def infer(config, plot=False, typed=frozenset(), alone=False, formats=()):
    """Write the detections of every video of the evaluation subset.

    plot: draw a few of them too, as `timelines/VIDEO.png` in the run folder
    typed, alone: see `compared_with_training`
    formats: of the actions for other programs, see `spot.detection_writers`
    """
    folder = RunFolder(config.output_path)
    model = load_model(config.checkpoint or folder.path, choose_device(config.training.device))
    config = compared_with_training(model, config, typed, alone)
    videos, class_names, source = open_data(**data_values(config))
    check_fit(model, config, class_names)
    refuse_other_backbone(backbone_of_run(config), source.times)
    wanted = videos_of_subset(videos, "dataset.eval_subset", config.dataset.eval_subset,
                              config.dataset.video_anno_path)
    present, missing = with_features(wanted, source, config.dataset.eval_subset)

    times = [times_of(video, config.dataset.fps) for video in present]
    found = detect_all(model, config, class_names, source, [video.name for video in present], times)
    if not distributed.is_first():
        exhaust(found)
        return
    grid = GridSettings(**grid_values(config))
    step = max(len(present) // NUM_PICTURES, 1)
    shown = list(zip(present, times, strict=True))[::step][:NUM_PICTURES] if plot else []
    kept = {video.name: [] for video, _ in shown}

    def keep(name, entries):
        if name in kept:
            kept[name] = entries

    with locked(folder.path / "inference.lock", f"output_path {folder.path}"):
        # Without features nothing is found, and evaluation counts it.
        nothing = ((name, []) for name in missing)
        action = action_threshold(config)
        facts = {video.name: (video.duration_sec, config.dataset.fps or video.fps, video.media) for video in wanted}
        with (described_elsewhere(config, folder),
              written_actions(formats, folder.path, action, facts, class_names) as add_for_others,
              actions_table(folder.actions, action) as add_actions):
            write_detections(folder.detections, itertools.chain(nothing, found), len(wanted),
                             {**facts_of(config, action), "missing_features": missing},
                             [keep, add_actions, add_for_others])
        if plot:
            videos_to_draw = [(video.name, known, kept[video.name], (video.segments_sec, video.labels))
                              for video, known in shown]
            draw_videos(folder.timelines, model, grid, source, class_names, videos_to_draw,
                        config.testing.batch_size)


def detect_all(model, config, class_names, source, names, times, **changes):
    """Detect in the videos `names`, a batch at a time; yields (name, entries of detections.json).

    times: a Times for each; changes: settings of `detect` that replace those of the config, such as stride
    """
    settings = {**grid_values(config), **decoding_values(config), **changes}
    del settings["fps"]  # each video has its own
    size, top = config.testing.batch_size, config.testing.class_scores_top
    amp = choose_precision(config.testing.amp, next(model.parameters()).device)
    external = open_class_scores(config.testing.class_scores, class_names)
    if external and (unknown := [name for name in names if external.scores(name) is None]):
        print(f"warning: {len(unknown)} videos, such as {unknown[0]}, are not in {config.testing.class_scores}: "
              "nothing is detected in them", file=sys.stderr)
    # Another machine may not have other videos, nor an older checkpoint of the same model.
    distributed.refuse_different({"videos": names, "settings": settings,
                                  "model sizes": {name: tuple(x.shape) for name, x in model.state_dict().items()}})
    distributed.copy_from_first(model)

    grid, odd = GridSettings(**{**grid_values(config), **changes}), {}

    def detect_batch(start):
        batch, known = names[start : start + size], times[start : start + size]
        scores = [external_scores(external, name, class_names, top) for name in batch] if external else None
        features = [source.read(name) for name in batch]
        facts = [oddities(*one, grid, model.settings.get("feature_statistics"))
                 for one in zip(features, known, strict=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OtherSettings)  # `compared_with_training` has said it
            found = detect(model, features, [one.duration_sec for one in known],
                           feature_duration_sec=[one.feature_duration_sec for one in known],
                           fps=[one.fps for one in known], centers_sec=centers_of_rows(known, features),
                           batch_size=size, external=scores, amp=amp, **settings)
        return [(name, to_results(rows, class_names), strange)
                for name, rows, strange in zip(batch, found, facts, strict=True)]

    # Whole batches are shared out: what is computed, to the last digit, does not depend on the number of processes.
    starts = range(0, len(names), size)
    # Detections make the collector look through all objects again and again; what is there by now stays, so a sixth of
    # the time is saved by leaving it out.
    gc.freeze()
    try:
        for batch in tqdm(distributed.shared_out(detect_batch, starts), total=len(starts), desc="inference",
                          unit="batch", disable=None):
            for name, entries, strange in batch:
                for kind, words in strange.items():
                    odd.setdefault(kind, []).append((name, words))
                yield name, entries
    finally:
        gc.unfreeze()
        if distributed.is_first():
            warn_of_oddities(odd, len(names))


def oddities(features, times, grid, statistics):
    """{kind: half a sentence} about features (C, T') that are unlike those of the training, or end far from the video.

    statistics: {"mean", "deviation"} of the training features, None where a run did not store them
    """
    found = {}
    if statistics:
        used = features[:, :: grid.every]
        found["unlike"] = far_from_training(used.mean(1), used.std(1), statistics["mean"], statistics["deviation"])
    if times.centers_sec is not None:
        found["length"] = centers_mismatch(times.centers_sec, times.duration_sec)
    elif grid.grid == "window" and times.duration_sec and times.fps:
        found["length"] = duration_mismatch(features.shape[1], grid.stride, grid.window, times.fps, times.duration_sec,
                                            grid.offset)
    return {kind: words for kind, words in found.items() if words}


def warn_of_oddities(odd, total):
    """One warning of each kind, with the first video; odd: {kind: [(video, half a sentence)]}."""
    advice = {"unlike": "are they in another unit, or of another extractor?",
              "length": "check the duration, the frame rate and the stride"}
    for kind, cases in odd.items():
        name, words = cases[0]
        print(f"warning: the features of {len(cases)} of {total} videos, such as {name}: {words}; {advice[kind]}",
              file=sys.stderr)


def exhaust(found):
    """Do this process' share of `detect_all`; what is found, the first process writes."""
    collections.deque(found, 0)


def facts_of(config, action):
    """What a detections.json says beside its results: the class source, and `action_threshold`, None or known."""
    scores = config.testing.class_scores
    return {"version": "SPOT", "external_data": {"class_scores": None if scores == "none" else scores},
            "action_threshold": action}


def action_threshold(config):
    """From which score on a detection is an action: {"threshold", "per_class", "chosen_on"}; None where nobody knows.

    `testing.action_threshold`, or what the end of the training chose, which holds for the scores of its settings alone.
    """
    if config.testing.action_threshold is not None:
        return {"threshold": config.testing.action_threshold, "per_class": {}, "chosen_on": "testing.action_threshold"}
    path = run_of(config).action_threshold
    if not path.is_file():
        print(f"no actions.csv: the checkpoint comes without a threshold; {GIVE_THRESHOLD}")
        return None
    chosen, scoring = read_action_threshold(read_json(path)), scoring_values(config)
    if chosen is None or not isinstance(chosen.get("scoring"), dict):
        raise SpotError(f"{path}: is not as the training wrote it; remove it, or {GIVE_THRESHOLD}")
    if changed := [key for key in scoring if chosen["scoring"].get(key) != scoring[key]]:
        print(f"no actions.csv: the threshold in {path} was chosen with another testing.{changed[0]}, for other scores "
              f"than the settings make now; {GIVE_THRESHOLD}")
        return None
    if chosen["threshold"] is None:
        print(f"no actions.csv: no detection is right on {chosen['chosen_on']}; {GIVE_THRESHOLD}")
        return None
    return {key: chosen[key] for key in ("threshold", "per_class", "chosen_on")}


def write_detections(path, found, total, facts, takers=()):
    """Write detections as they are found, so that memory stays flat however many videos there are.

    found: an iterable of (video, entries), of `total` videos; after Ctrl-C the file holds those so far, marked partial
    takers: functions of (video, entries) that get them too
    """
    remove_unfinished(path)
    videos = detections = 0
    try:
        with streamed_results(path, facts) as add:
            for name, entries in found:
                for take in (add, *takers):
                    take(name, entries)
                videos, detections = videos + 1, detections + len(entries)
    except KeyboardInterrupt:
        remove_evaluation(path.parent)
        print(f"{path} is partial: it holds {videos} of {total} videos and says so", file=sys.stderr)
        raise
    remove_evaluation(path.parent)
    print(f"{detections} detections in {videos} videos: {path}; "
          f"class source: {facts['external_data']['class_scores'] or 'the model'}")


def remove_evaluation(folder):
    """Remove what belongs to earlier detections in a folder: metrics.json and the pictures of videos."""
    for path in (folder / "metrics.json", *(folder / "timelines").glob("*.png")):
        path.unlink(missing_ok=True)


# --- videos without annotation ----------------------------------------------------------------------------------------


def infer_videos(config, plot, typed=frozenset(), alone=False, formats=()):
    """As `infer_own`, for video files: their features are extracted first, by what the run was trained on."""
    from spot.own_videos import features_of_videos  # PyAV, only where there are videos

    refuse_own_video_keys(config, "has no effect beside videos=, whose snippets lie as those of the training do",
                          [key for key in OWN_VIDEO_KEYS if key not in ("videos", "weights")])
    out = Path(config.output_path) / "own" / "features"
    device = choose_device(config.training.device)
    videos = distributed.from_first(lambda: features_of_videos(
        config.videos, backbone_of_run(config), config.weights, out, device))
    infer_own(with_values(config, {"features": str(out)}), plot, typed, alone, formats, videos)


def infer_own(config, plot, typed=frozenset(), alone=False, formats=(), videos=None):
    """Write the detections of every video of `features=`, as JSON and CSV, and their pictures; the rest as `infer`.

    videos: {name: file}, which of them, None: all; with --plot a frame of each detection is drawn too
    """
    model = load_model(config.checkpoint or config.output_path, choose_device(config.training.device))
    config = compared_with_training(model, config, typed, alone)
    class_names = own_class_names(model, config)
    check_fit(model, config, class_names)
    try:
        source = FeatureSource(plain(config.features), model.feat_dim, plain(config.dataset.feature_pattern),
                               resample=config.dataset.resample_streams)
    except SpotError as error:
        raise SpotError(f"features={config.features}: {error}") from error
    index = NameIndex(source.names)
    files = {index.find(video): str(file) for video, file in (videos or {}).items()}
    names = sorted(source.names if videos is None else files)
    for name in names:
        check_video_id(name, f"features={config.features}")  # its picture is called so
    if not names:
        raise SpotError(f"features={config.features}: no video is in all of them")
    refuse_other_backbone(backbone_of_run(config), source.times)
    changes = place_of_own(config, source.times)
    times = times_of_own(config, source, names, model)
    found = detect_all(model, config, class_names, source, names, times, **changes)
    if not distributed.is_first():
        exhaust(found)
        return
    folder = Path(config.output_path) / "own"
    kept = {}  # the detections of all videos, only where pictures need them
    with locked(folder / "inference.lock", f"output_path {folder}"):
        action = action_threshold(config)
        facts = {name: (one.duration_sec, one.fps, files.get(name)) for name, one in zip(names, times, strict=True)}
        with (written_actions(formats, folder, action, facts, class_names) as add_for_others,
              table_of(folder / "detections.csv") as add_rows,
              actions_table(folder / "actions.csv", action) as add_actions):
            takers = [add_rows, add_actions, add_for_others, *([kept.__setitem__] if plot else [])]
            write_detections(folder / "detections.json", found, len(names), facts_of(config, action), takers)
        print(f"the same as a table: {folder / 'detections.csv'}")
        if plot:
            videos_to_draw = [(name, known, kept[name], None) for name, known in zip(names, times, strict=True)]
            draw_videos(folder / "timelines", model, GridSettings(**{**grid_values(config), **changes}), source,
                        class_names, videos_to_draw, config.testing.batch_size)
            draw_thumbnails(folder / "thumbnails", files, class_names, kept, action,
                            dict(zip(names, times, strict=True)))


def draw_thumbnails(folder, files, class_names, kept, action, times):
    """A frame of each action of each video, or of its best detections where no threshold is known.

    files: {name: video file}; kept: {name: entries of detections.json}; action: see `action_threshold`
    times: {name: Times}
    """
    if not files:
        return
    from spot.thumbnails import save_thumbnails  # PyAV and matplotlib

    for name, file in tqdm(files.items(), desc="thumbnails", unit="video", disable=None):
        entries = actions_of(kept[name], action["threshold"]) if action else kept[name]
        save_thumbnails(Path(folder) / f"{name}.png", file, class_names, entries, times[name].duration_sec, name)
    print(f"frames of the {'actions' if action else 'detections'}: {folder}")


def own_class_names(model, config):
    """The classes of the checkpoint; a published one holds none, so its `dataset.class_file` tells."""
    if model.settings.get("class_names"):
        return list(model.settings["class_names"])
    if config.dataset.class_file is None:
        raise SpotError("the checkpoint holds no class names; name them by dataset.class_file=FILE, one per line")
    return read_class_file(config.dataset.class_file)


def backbone_of_run(config):
    """The Sidecar of the features that the run was trained on, None where it is not known."""
    path = run_of(config).features
    return read_sidecar(path) if path.is_file() else None


def place_of_own(config, times):
    """The settings of `detect` that features without annotation replace: what is typed, and what their sidecar says.

    times: their FeatureTimes or None. SpotError, with both values, where it contradicts what is typed.
    """
    typed = {key: config[key] for key in ("stride", "every", "window") if config[key] is not None}
    if times is None:
        return typed
    times.refuse_others({key: config[key] for key in ("stride", "window", "fps")})
    known = {key: value for key, value in times.settings().items() if key in ("stride", "window")}
    dataset, fps = config.dataset, times.sidecar.fps
    own, trained = known["stride"] / (fps or 1), dataset.stride / (dataset.fps or 1)
    if fps and dataset.fps and abs(own / trained - 1) > OTHER_TEMPO and distributed.is_first():
        print(f"warning: the rows of the features are {own:.3g} s apart, and those of the training were {trained:.3g} "
              "s: the times are right, but the model sees another tempo", file=sys.stderr)
    return {**known, **typed}


def times_of_own(config, source, names, model):
    """The Times of videos without annotation, from `duration=`, `fps=` and the run; prints what it assumes."""
    known = model.settings.get("training_fps") or [rate for rate in [model.settings.get("fps")] if rate]
    run_fps = config.dataset.fps or model.settings.get("fps")

    def seconds_of(name, fps):
        if not (fps and config.stride):
            return None
        num_rows = source.read(name).shape[1]
        return features_end_sec(num_rows, config.stride, config.window or config.stride, fps)

    facts = own_facts(config.duration, names)
    if source.times is not None:
        facts = {name: source.times.facts(name, known) for name, known in facts.items()}
    times, sentences = own_times(facts, config.dataset.grid, config.fps, run_fps, known,
                                 seconds_of)
    if distributed.is_first():
        for sentence in sentences:
            print(sentence, file=sys.stderr)
    return times


@contextlib.contextmanager
def table_of(path):
    """Yield `add(video, entries)`, which writes detections into the CSV `path`: one row each, a video's best first.

    A stopped run leaves no table: unlike the JSON, it has no place to say that it is partial.
    """
    remove_unfinished(path)
    try:
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["video", "start_sec", "end_sec", "label", "score"])

            def add(video, entries):
                for entry in entries:
                    start, end = entry["segment"]
                    table.writerow([video, f"{start:.3f}", f"{end:.3f}", entry["label"], f"{entry['score']:.6g}"])

            yield add
    except KeyboardInterrupt:
        path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def actions_table(path, action):
    """Yield `add(video, entries)`, which writes the actions among detections into the CSV `path`, in order of time.

    action: what `action_threshold` returns; None: there is no table, and an earlier one, of other detections, goes
    """
    if action is None:
        path.unlink(missing_ok=True)
        yield lambda video, entries: None
        return
    count = 0
    with table_of(path) as add_rows:

        def add(video, entries):
            nonlocal count
            actions = actions_of(entries, action["threshold"])
            count += len(actions)
            add_rows(video, actions)

        yield add
    print(f"{count} actions, those with a score of {action['threshold']:.3g} or more "
          f"(chosen on {action['chosen_on']}): {path}")


def draw_videos(folder, model, grid, source, class_names, videos, batch_size):
    """Pictures of what the model saw in some videos, FOLDER/VIDEO.png, with their detections.

    videos: a list of (name, Times, entries of detections.json, None or the true (segments_sec, labels))
    """
    from spot.model_view import save_video_picture  # matplotlib, only where pictures are wanted

    for name, times, entries, truth in tqdm(videos, desc="pictures", unit="video", disable=None):
        fitted = grid.fit(source.read(name))
        snippet_grid = grid.at(fitted.shape[1], times.duration_sec, times.feature_duration_sec, times.fps,
                               times.centers_sec)
        view = model_view(model, fitted, grid.temporal_scale, batch_size)
        save_video_picture(
            Path(folder) / f"{name}.png", class_names, snippet_grid.to_sec(np.arange(snippet_grid.length + 1)), *view,
            title=name, segments_sec=[entry["segment"] for entry in entries], ground_truth=truth,
            labels=[entry["label"] for entry in entries], scores=[entry["score"] for entry in entries])
    print(f"pictures: {folder}")


def model_view(model, features, num_snippets, batch_size):
    """Outputs of the model over one fitted video (C, T'), in W windows.

    Returns first snippets (W,), class probabilities (W, K+1, T) with background last, masks (W, T, T), and the easy and
    hard snippets {kind: (W, T) bool}, as numpy.
    """
    first = np.array(window_starts(features.shape[1], num_snippets))
    windows, valid = (x.to(next(model.parameters()).device) for x in stack_windows([features], first, num_snippets))
    outputs = run_windows(model, windows, valid, batch_size)
    probabilities = class_probabilities(outputs["class_logits"], model.class_activation)
    mined = mine_snippets(foreground(probabilities), outputs["masks"], valid)
    return (first, probabilities.cpu().numpy(), outputs["masks"].cpu().numpy(),
            {kind: member.cpu().numpy() for kind, member in mined.items()})


def open_class_scores(path, class_names):
    """The external video classifier that `testing.class_scores` names; None for `none`: the model's own classes."""
    return None if path == "none" else read_class_scores(path, class_names)


def external_scores(classifier, video_name, class_names, top):
    """(K,) scores of the classifier's best `top` classes, 0 for the others and for a video that it does not know."""
    scores = classifier.scores(video_name)
    if scores is None:
        return np.zeros(len(class_names))
    return np.where(np.isin(np.arange(len(scores)), top_classes(scores, top)), scores, 0)


def check_fit(model, config, class_names):
    """Refuse a model whose sizes or classes are not those of the data, with both."""
    sizes = {"model.feat_dim": (model.feat_dim, config.model.feat_dim),
             "number of classes": (model.num_classes, len(class_names)),
             "dataset.grid": (model.settings.get("grid"), config.dataset.grid),
             "model.temporal_scale": (model.settings.get("temporal_scale"), config.model.temporal_scale)}
    for name, (trained, wanted) in sizes.items():
        if trained is not None and trained != wanted:
            raise SpotError(f"the checkpoint has {name} {trained}, but the data and settings have {wanted}; "
                            "give the checkpoint's own settings and data")
    own = model.settings.get("class_names")
    if own is not None and list(own) != list(class_names):
        raise SpotError("the checkpoint was trained with other classes or another order of them than the annotations "
                        f"have (first of the checkpoint: {own[0]!r}, of the data: {class_names[0]!r}); "
                        "set dataset.class_file to classes.txt of its run folder")


if __name__ == "__main__":
    distributed.run(main)
