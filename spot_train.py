"""Train SPOT: pre-training on all training videos, then training on labels and pseudo labels.

    python spot_train.py [--config config/anet.yaml] [section.key=value ...]
    python spot_train.py RUN [section.key=value ...]             go on with a run that was stopped, by its own settings
    python spot_train.py --config C --seeds 0,1,2                a run per seed: trained, detected, evaluated; the mean
    python spot_train.py --config C --check                      read everything once, tell what is wrong with it
    python spot_train.py --config C --pack FILE.h5               all features in one HDF5 file, which loads faster

Training writes the run folder `output_path`: config.yaml, classes.txt, labeled.txt, commit.txt, log.jsonl, log.csv,
TensorBoard events, last.pt (to resume) and best.pt (to detect with).

    torchrun --nproc_per_node=N spot_train.py ...                N processes, one GPU each, that train as one
"""

import contextlib
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

from spot import command_line

DEFAULT_CONFIG = "config/anet.yaml"
RUN_MEANS = "the folder of a run that was stopped, to go on with by its own settings"


def make_parser():
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("-c", "--config", metavar="FILE", help=f"settings file (default: {DEFAULT_CONFIG}; to "
                        "resume: the run's own)")
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--check", action="store_true", help="read all data once, report on it, do not train")
    task.add_argument("--pack", metavar="FILE.h5", help="write the features of all annotated videos into one HDF5 file")
    task.add_argument("--seeds", metavar="0,1,2", help="train, detect and evaluate with each training.random_seed, in "
                      "OUTPUT_PATH/seed0 ...; mean and deviation in OUTPUT_PATH/seeds.json")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16",
                        help="precision of --pack (default: %(default)s)")
    return parser


if __name__ == "__main__":
    command_line.parse_early(make_parser, run_means=RUN_MEANS)

from collections import Counter

import torch
from torch.utils.tensorboard import SummaryWriter

from spot import checkpoint, commands, distributed
from spot.annotations import labeled_split
from spot.config import load_config, save_config
from spot.config_runs import refuse_own_video_keys, with_own
from spot.config_values import data_values, decoding_values, grid_values, plain, scoring_values
from spot.data_check import check_data
from spot.data_files import open_data, videos_of_subset, with_features
from spot.datasets import GridSettings, SnippetDataset, feature_statistics
from spot.detectors import build_model
from spot.devices import choose_device, choose_precision
from spot.engine import Augmentation, PretextTasks, Trainer
from spot.evaluation import evaluate_detections, parse_thresholds, threshold_key
from spot.feature_files import H5_SUFFIXES
from spot.feature_times import sidecar_beside
from spot.files import SpotError, read_json, write_json
from spot.inference import detect_all
from spot.meaning import Meaning, digest
from spot.operating_point import choose_thresholds, measure, middle_tiou
from spot.packing import pack
from spot.proposals import detect, to_results
from spot.recordings import annotated_recording, centers_of_rows, times_of
from spot.run_report import Progress, end_lines, epoch_line, parts_of, report_data, start_block, write_curves
from spot.seeds import seeds_in, summary, summary_text
from spot.semi import SemiSupervision
from spot.sidecar import write_sidecar
from spot.standardize import choose_standardization
from spot.waveforms import choose_waveforms
from spot_inference import detector_of
from spot_inference import main as detect_subset

NAMED = 6  # keys in a note


def main(argv=None):
    arguments = command_line.parse(make_parser(), argv, RUN_MEANS)
    config = settings_of(arguments)
    refuse_own_video_keys(config, "is a key of spot_inference.py")
    if arguments.seeds:
        with telling_how_to_go_on(config.output_path, argv):
            train_seeds(config, seeds_in(arguments.seeds), arguments)
    elif not (arguments.check or arguments.pack):
        with telling_how_to_go_on(config.output_path, argv):
            train(own_settings(config, arguments.config, arguments.overrides))
    elif distributed.is_first():
        if arguments.check:
            check(config)
        else:
            pack_features(config, arguments.pack, arguments.dtype)


def train_seeds(config, seeds, arguments):
    """Train, detect and evaluate with one random seed after another; print and write what they have in common.

    A seed that an earlier call has finished is trained no more where `training.resume=auto` is given.
    """
    if arguments.run or any(word.startswith("training.random_seed=") for word in arguments.overrides):
        raise SpotError("--seeds begins runs by --config and gives each its training.random_seed; leave out "
                        + (arguments.run or "training.random_seed"))
    metrics, out = {}, Path(config.output_path)
    for seed in seeds:
        own = [f"output_path={out / f'seed{seed}'}", f"training.random_seed={seed}"]
        if distributed.is_first():
            print(f"\nseed {seed}, in {out / f'seed{seed}'}")
        folder = train(own_settings(load_config(arguments.config or DEFAULT_CONFIG, [*arguments.overrides, *own]),
                                    arguments.config, [*arguments.overrides, *own]))
        detect_subset([str(folder.path)])
        if distributed.is_first():
            commands.main_of("eval")([str(folder.path)])
            metrics[seed] = read_json(folder.path / "metrics.json")
    if distributed.is_first():
        write_json(out / "seeds.json", found := summary(metrics), indent=1)
        print(f"\n{summary_text(found)}\nthe same: {out / 'seeds.json'}")


def settings_of(arguments):
    """The settings of --config, or of the run folder that is named to go on with."""
    if arguments.run is None:
        return load_config(arguments.config or DEFAULT_CONFIG, arguments.overrides)
    folder = checkpoint.RunFolder(arguments.run)
    if arguments.config:
        raise SpotError(f"{folder.path} has its own settings, so --config has no effect; leave it out, or begin a new "
                        f"run by output_path={folder.path}")
    reads_only = arguments.check or arguments.pack
    if not folder.config.is_file() or not (reads_only or folder.last.is_file()):
        raise SpotError(f"{folder.path}: holds no run to go on with (config.yaml and last.pt); begin one by "
                        f"--config FILE output_path={folder.path}")
    config = load_config(folder.config, ["training.resume=auto", f"output_path={folder.path}", *arguments.overrides])
    if Path(config.output_path) != folder.path:
        raise SpotError(f"{folder.path} and output_path={config.output_path} are two runs; give one of them")
    return config


def own_settings(config, config_path, overrides):
    """The settings with which a run is resumed: its own, but for what is typed on the command line.

    Where `--config` is given, its data and model are compared with the run's later on; only the rest is the run's own.
    config: as the command line says; config_path: --config or None
    """
    folder = checkpoint.RunFolder(config.output_path)
    if config.training.resume != "auto" or not folder.last.exists():
        return config
    if not folder.config.is_file():
        print(f"note: {folder.config} is missing, so the settings that were given hold", file=sys.stderr)
        return config
    place = f"output_path={config.output_path}"
    if config_path is None:
        return load_config(folder.config, [*overrides, place, "training.resume=auto"])
    config, taken, typed = with_own(config, load_config(folder.config, [place]), overrides)
    if taken and distributed.is_first():
        print(f"note: the run goes on with its own {said(taken)}; type a key to change it", file=sys.stderr)
    if typed and distributed.is_first():
        print(f"note: from here on the run has {said(typed)}", file=sys.stderr)
    return config


def said(changes):
    """{key: (value that holds, value that does not)} as words for a note."""
    words = [f"{key}={holds} (not {other})" for key, (holds, other) in changes.items()]
    return ", ".join(words[:NAMED]) + (f" and {len(words) - NAMED} more" if len(words) > NAMED else "")


@contextlib.contextmanager
def telling_how_to_go_on(output_path, argv):
    """Where Ctrl-C stops the block, print the command that goes on; argv: the arguments of `main`."""
    try:
        yield
    except KeyboardInterrupt:
        if distributed.is_first():
            how = "goes on" if checkpoint.RunFolder(output_path).last.exists() else "begins again"
            print(f"this command {how}: {command_line.again(__file__, argv, 'training.resume=auto')}", file=sys.stderr)
        raise


def check(config):
    """Print the report of `data_check`; SpotError, so exit code 2, where training would fail."""
    dataset = config.dataset
    report = check_data(data_values(config), grid_values(config), decoding_values(config), dataset.train_subset,
                        dataset.eval_subset, dataset.labeled, dataset.split_seed, config.model.class_activation,
                        plain(config.testing.tiou), config.testing.class_scores, config.model.standardize,
                        dataset.sensor_channels)
    print(report.text())
    if report.problems:
        raise SpotError(f"{report.num_problems} problems, listed above, would stop training; mend them first")


def pack_features(config, path, dtype):
    """Write the features of all annotated videos into the HDF5 file `path`."""
    if Path(path).suffix.lower() not in H5_SUFFIXES:
        raise SpotError(f"--pack {path}: the file's name must end in {' or '.join(H5_SUFFIXES)}")
    videos, _, source = open_data(**data_values(config))
    present, _ = with_features(videos, source, "annotated")
    # All rows are packed, so that dataset.every means the same for the packed file as for the others.
    grid = {key: value for key, value in grid_values(config).items() if key != "every"}
    count = pack(source, [video.name for video in present], path, dtype, attributes=grid)
    if source.times is not None:
        write_sidecar(sidecar_beside(path), replace(source.times.sidecar, channels=config.model.feat_dim))
    print(f"the features of {count} videos are in {path}: train with {shlex.quote(f'dataset.feature_path={path}')}")


def train(config):
    """Train one run as `config` says; returns its RunFolder."""
    refuse_nothing_to_do(config.training)
    begin = time.perf_counter()
    device = choose_device(config.training.device)
    folder = checkpoint.RunFolder(config.output_path)
    resumed = distributed.from_first(lambda: config.training.resume == "auto" and folder.last.exists())
    if distributed.is_first():
        folder.refuse_another_run(resume=config.training.resume == "auto")

    # Data: annotated videos with features, of which a few may show their labels.
    videos, class_names, source = open_data(**data_values(config))
    training = videos_of_subset(videos, "dataset.train_subset", config.dataset.train_subset,
                                config.dataset.video_anno_path)
    names = labeled_split(training, config.dataset.labeled, config.dataset.split_seed, config.dataset.video_info_path)
    training, _ = with_features(training, source, "training")
    labeled, held_out, unlabeled = split(training, names, config.training.holdout, config.dataset.split_seed)
    standardization = choose_standardization(config.model.standardize, labeled, class_names)
    print(f"features are standardized by statistics of: {standardization.kind} ({standardization.evidence})")
    grid = GridSettings(**grid_values(config))
    names = [video.name for video in training]
    waveforms, reason = choose_waveforms(config.dataset.sensor_channels, source, names, grid)
    print(f"features are {'made spectral' if waveforms else 'taken as they are'} ({reason})")
    meaning = meaning_of(config, standardization.kind, waveforms, class_names, training, labeled, held_out)
    if resumed and distributed.is_first():
        checkpoint.refuse_other_meaning(folder.last, meaning)
    load = {"source": source, "grid": grid, "class_names": class_names, "feat_dim": config.model.feat_dim,
            "cache": config.training.cache, "device": device, "own_statistics": standardization.kind == "recording",
            "waveforms": waveforms}
    labeled_data = SnippetDataset(labeled, progress="labeled videos", **load)
    unlabeled_data = SnippetDataset(unlabeled, progress="unlabeled videos", **load) if unlabeled else None
    report_data(labeled_data, unlabeled_data, held_out, class_names)
    require_the_same(config, class_names, labeled_data, unlabeled_data)

    # Model.
    torch.manual_seed(config.training.random_seed)
    model = build_model(**meaning.architecture)
    model.settings = {**meaning.settings, **decoding_values(config)}
    sets = list(filter(None, [labeled_data, unlabeled_data]))
    meaning = replace(meaning, statistics=feature_statistics(*sets, of_files=True))
    mean, deviation = meaning.statistics
    model.settings |= {"training_fps": rates_of(training, config.dataset.fps),  # for what is told of other recordings
                       "feature_statistics": {"mean": mean.tolist(), "deviation": deviation.tolist()}}
    if standardization.kind != "none":
        model.set_statistics(*feature_statistics(*sets))
    if config.training.pretrained and not resumed:
        checkpoint.load_pretrained(model, config.training.pretrained, meaning)
    model.to(device)
    distributed.copy_from_first(model)
    trainer = make_trainer(config, model, labeled_data, unlabeled_data)

    with folder.locked() if distributed.is_first() else contextlib.nullcontext():
        if config.training.resume != "auto" and distributed.is_first():
            folder.refuse_another_run()  # another one may have ended while the features were read
        if source.times is not None and distributed.is_first():
            write_sidecar(folder.features, source.times.sidecar.without_videos())  # what made the features of the run
        records = run_stages(config, folder, trainer, meaning,
                             lambda: holdout_map(trainer.teacher.module, held_out, source, grid, config))
        choose_action_threshold(config, folder, trainer.teacher.module, labeled, held_out, source)
    print(*end_lines(folder.path, time.perf_counter() - begin, records), sep="\n")
    if not config.training.max_epoch:
        print("its class head is as it was drawn: only the pretext stage was trained (training.max_epoch=0); train on "
              f"from it by {shlex.quote(f'training.pretrained={folder.path}')}")
    return folder


def refuse_nothing_to_do(training):
    """SpotError where no stage has an epoch: there would be no run."""
    if training.max_epoch:
        return
    if training.pretrained:
        raise SpotError("training.max_epoch=0 leaves nothing to train, because training.pretrained replaces the "
                        "pretext stage; give training.max_epoch=1 or more")
    if not training.pretrain_epoch:
        raise SpotError("training.max_epoch=0 and training.pretrain_epoch=0 leave nothing to train; give one of them "
                        "1 or more")


def rates_of(videos, fps):
    """The frame rates of the videos, sorted; at most the 20 most frequent, where nearly each has its own."""
    counts = Counter(round(fps or video.fps, 3) for video in videos if fps or video.fps)
    return sorted(rate for rate, _ in counts.most_common(20))


def meaning_of(config, standardization, waveforms, class_names, training, labeled, held_out):
    """What the weights of this training will mean.

    standardization: the kind that was chosen; waveforms: waveforms.Waveforms or None
    training, labeled, held_out: lists of videos
    """
    architecture = {**plain(config.model), "standardize": standardization, "num_classes": len(class_names),
                    "chunks": config.pretext.chunks, "sensor_axes": waveforms.axes if waveforms else 0,
                    "sensor_order": waveforms.order if waveforms else "axis"}
    settings = {**grid_values(config), "class_names": class_names}
    rates = {video.fps for video in training}
    if settings["fps"] is None and len(rates) == 1:  # `spot.detect` then needs no fps
        settings["fps"] = rates.pop()
    return Meaning(architecture, settings, [video.name for video in labeled], [video.name for video in held_out],
                   {"training.optimizer": config.training.optimizer},
                   {video.name: digest(video) for video in labeled + held_out})


def run_stages(config, folder, trainer, meaning, watch):
    """Pre-training, then training on labels and pseudo labels, from where last.pt stands; logs and saves each epoch.

    meaning: the Meaning of the run; watch: () -> mAP on the held-out videos, None without any
    Returns the log records of all epochs.
    """
    progress = {"records": [], "best": -1.0}
    if distributed.from_first(folder.last.exists):
        progress = checkpoint.resume(folder.last, trainer, meaning)
    done = epochs_done(config, folder, progress["records"])
    writer = None
    if distributed.is_first():
        now = distributed.world_size()
        before = progress["records"][-1].get("processes", 1) if progress["records"] else now
        if before != now:
            print(f"warning: the run had {before} processes until now and has {now}; a step takes the batches of all, "
                  "so set training.batch_size to keep it as it was", file=sys.stderr)
        folder.describe(meaning.settings["class_names"], meaning.labeled + meaning.held_out)
        save_config(config, folder.config)
        writer = SummaryWriter(folder.events, purge_step=len(progress["records"]) + 1)

    def finish_epoch(record):
        """Log an epoch and save it: last.pt to go on from, best.pt to detect with."""
        # The loss of a step is checked before it is taken, so the last step of an epoch may have broken the weights.
        checkpoint.refuse_non_finite(trainer.model.state_dict(), f"{record['stage']} epoch {record['epoch']}")
        if not distributed.is_first():
            return
        record["holdout_mAP"] = watch()
        progress["records"].append(record)
        detector = checkpoint.describe_model(trainer.teacher.module, meaning.architecture)
        if record["holdout_mAP"] is None or record["holdout_mAP"] >= progress["best"]:
            progress["best"] = record["holdout_mAP"] or progress["best"]
            checkpoint.save(folder.best, detector)
        folder.write_log(progress["records"])
        write_curves(writer, record, len(progress["records"]))
        # Last, because it decides where a resumed run goes on: whatever it does again, it writes again.
        checkpoint.save(folder.last, {**detector, "trainer": trainer.state(), **meaning.stored(), **progress})
        report.end_epoch(epoch_line(record))

    parts = parts_of(trainer, pretext=not config.training.pretrained)
    print(*start_block(trainer, parts, folder.events), sep="\n")
    report = Progress(trainer, parts, done)
    if not config.training.pretrained and not done["train"]:
        for epoch in range(done["pretext"], config.training.pretrain_epoch):
            finish_epoch(trainer.pretext_epoch(epoch))
    if not done["train"]:
        trainer.start_stage()
    for epoch in range(done["train"], config.training.max_epoch):
        finish_epoch(trainer.train_epoch(epoch))
    report.close()
    if writer is not None:
        writer.close()
    return progress["records"]


def epochs_done(config, folder, records):
    """{stage: epochs of it that the log has}; SpotError where `training.max_epoch` lies before the last one."""
    done = {stage: sum(record["stage"] == stage for record in records) for stage in ("pretext", "train")}
    if config.training.max_epoch < done["train"]:
        raise SpotError(f"training.max_epoch={config.training.max_epoch}: the run in {folder.path} has "
                        f"{done['train']} epochs already; give as many or more, or choose another output_path")
    if done["train"] and not config.training.pretrained and done["pretext"] != config.training.pretrain_epoch:
        print(f"note: training.pretrain_epoch={config.training.pretrain_epoch} comes too late: the run had "
              f"{done['pretext']} epochs of the pretext stage and is past it", file=sys.stderr)
    return done


def make_trainer(config, model, labeled, unlabeled):
    """Unpack the settings of the learning."""
    training = config.training
    return Trainer(
        model, labeled, unlabeled, plain(config.loss), Augmentation(**plain(config.augment)),
        SemiSupervision(**plain(config.semi)),
        PretextTasks(**{key: value for key, value in plain(config.pretext).items() if key != "chunks"}),
        batch_size=training.batch_size, unlabeled_ratio=training.unlabeled_ratio,
        steps_per_epoch=training.steps_per_epoch, pretrain_epochs=training.pretrain_epoch, epochs=training.max_epoch,
        learning_rate=training.learning_rate, weight_decay=training.weight_decay, optimizer=training.optimizer,
        schedule=training.schedule, seed=training.random_seed,
        amp=choose_precision(training.amp, next(model.parameters()).device),
        change_speed=config.dataset.grid == "resize", graph=training.graph == "auto")


def split(training, names, holdout, seed):
    """Training videos -> labeled, held out (a share of the labeled ones), unlabeled."""
    chosen = set(names)
    labeled = [video for video in training if video.name in chosen]
    unlabeled = [video for video in training if video.name not in chosen]
    if not labeled:
        raise SpotError("none of the labeled videos has features; check dataset.feature_path")
    count = round(holdout * len(labeled))
    if holdout and not 0 < count < len(labeled):
        raise SpotError(f"training.holdout={holdout} of {len(labeled)} labeled videos leaves none to "
                        "watch or none to learn from; use 0 or more labels")
    order = torch.randperm(len(labeled), generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = [labeled[i] for i in sorted(order[:count])]
    return [labeled[i] for i in sorted(order[count:])], held_out, unlabeled


def require_the_same(config, class_names, labeled, unlabeled):
    """SpotError where the processes would not train the same: other settings, or other files on another machine."""
    learning = ("dataset", "model", "training", "augment", "pretext", "semi", "loss")
    paths = {key for key in config.dataset if key.endswith(("_path", "_file"))}
    facts = {"classes": class_names,
             "settings": [(key, value) for section in learning for key, value in plain(config[section]).items()
                          if key not in paths]}
    for kind, data in (("labeled videos", labeled), ("unlabeled videos", unlabeled)):
        facts[kind] = data and [(video.name, int(length)) for video, length
                                in zip(data.videos, data.bank.lengths, strict=True)]
    distributed.refuse_different(facts)


def holdout_map(model, held_out, source, grid, config):
    """Average mAP on the held-out labeled videos, None without any."""
    if not held_out:
        return None
    features, times = [source.read(video.name) for video in held_out], [times_of(video, grid.fps) for video in held_out]
    found = detect(model, features, [one.duration_sec for one in times],
                   feature_duration_sec=[one.feature_duration_sec for one in times], fps=[one.fps for one in times],
                   centers_sec=centers_of_rows(times, features))
    results = {video.name: to_results(rows, model.settings["class_names"])
               for video, rows in zip(held_out, found, strict=True)}
    return evaluate_detections(held_out, {"results": results}, config.dataset.train_subset,
                               parse_thresholds(plain(config.testing.tiou))).average_mAP


def choose_action_threshold(config, folder, teacher, labeled, held_out, source):
    """Write action_threshold.json: the score from which on detections of this run are taken for actions.

    It is the one of best F1 at the middle tIoU on the held-out videos, and without any on the labeled ones. The model
    has learned from those, so its scores are higher there than elsewhere: the file and the screen say so.
    teacher: a model to load best.pt into
    """
    videos = held_out or labeled
    testing = config.testing
    # An external classifier is one of the evaluation videos, mostly: it does not know these.
    is_given = testing.action_threshold is not None or testing.class_scores != "none"
    if is_given or not any(video.labels for video in videos) or not distributed.from_first(folder.best.is_file):
        return
    model = checkpoint.load_model(folder.best, next(teacher.parameters()).device) if distributed.is_first() else teacher
    class_names = model.settings["class_names"]
    recordings = [annotated_recording(video, config.dataset.fps) for video in videos]
    found = dict(detect_all(detector_of(model, config, class_names), source, recordings))
    if not distributed.is_first():
        return
    thresholds = parse_thresholds(plain(testing.tiou))
    scene = evaluate_detections(videos, {"results": found}, config.dataset.train_subset, thresholds).scene
    tiou = middle_tiou(thresholds)
    chosen = choose_thresholds(scene, tiou)
    where = f"{len(videos)} held-out training videos" if held_out else (
        f"{len(videos)} labeled training videos, from which the model has learned")
    quality, _ = measure(scene, chosen, tiou)
    write_json(folder.action_threshold, {
        "threshold": chosen.overall, "per_class": chosen.per_class, "chosen_on": where, "tiou": tiou,
        "quality_there": quality.as_dict(), "scoring": scoring_values(config)})
    if chosen.overall is None:
        print(f"no detection is right on {where}, so there is no score from which on detections are actions")
        return
    print(f"actions: detections with a score of {chosen.overall:.3g} or more, best F1 at tIoU {threshold_key(tiou)} on "
          f"{where}: precision {100 * quality.precision:.1f} %, recall {100 * quality.recall:.1f} %"
          + ("" if held_out else " there; expect less on other videos"))


if __name__ == "__main__":
    distributed.run(main)
