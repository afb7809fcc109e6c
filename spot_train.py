"""Train SPOT: pre-training on all training videos, then training on labels and pseudo labels.

    python spot_train.py --config own.yaml --check               read everything once, list what is wrong with it
    python spot_train.py --config own.yaml [section.key=value ...]
    python spot_train.py RUN [section.key=value ...]             go on with a run that was stopped, by its own settings
    python spot_train.py --config own.yaml --seeds 0,1,2         a run per seed: trained, detected, evaluated; the mean
    python spot_train.py --config own.yaml --pack FILE.h5        all features in one HDF5 file, which loads faster

Training writes the run folder `output_path`: config.yaml, classes.txt, labeled.txt, commit.txt, log.jsonl, log.csv,
TensorBoard events, last.pt (to resume) and best.pt (to detect with). Every setting: docs/settings.md.

    torchrun --nproc_per_node=N spot_train.py ...                N processes, one GPU each, that train as one
"""

import argparse
import contextlib
import shlex
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

from spot import command_line

DEFAULT_CONFIG = "config/anet.yaml"
RUN_MEANS = "the folder of a run that was stopped, to go on with by its own settings"


def make_parser():
    parser = command_line.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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


import torch
from torch.utils.tensorboard import SummaryWriter

from spot import checkpoint, commands, distributed
from spot.action_threshold import choose_action_threshold
from spot.annotations import labeled_split
from spot.augment import Augmentation
from spot.bmn import longest_proposal
from spot.config import load_config, save_config
from spot.config_runs import earlier_values, refuse_own_video_keys, with_own
from spot.config_values import data_values, decoding_values, grid_values, idle_settings_of, plain, scoring_values
from spot.data_check import check_data
from spot.data_files import open_data, videos_of_subset, with_features
from spot.datasets import GridSettings, feature_statistics
from spot.detectors import build_model
from spot.devices import choose_device, choose_precision
from spot.engine import Learning, Trainer
from spot.evaluation import evaluate_detections, parse_thresholds
from spot.feature_files import H5_SUFFIXES
from spot.feature_times import sidecar_beside
from spot.files import SpotError, read_json, write_json
from spot.idle_settings import warn_of_idle
from spot.inference import detect, to_results
from spot.meaning import meaning_of
from spot.optimization import Optimization
from spot.packing import pack
from spot.pretext import PretextTasks
from spot.recordings import centers_of_rows, times_of
from spot.run_report import (
    Progress,
    end_lines,
    epoch_line,
    parts_of,
    report_data,
    start_block,
    unused_unlabeled,
    write_curves,
)
from spot.seeds import seeds_in, summary, summary_text
from spot.semi import SemiSupervision
from spot.sidecar import write_sidecar
from spot.training_videos import choose_videos
from spot_inference import detector_of
from spot_inference import main as detect_subset

NAMED = 6  # keys in a note


def main(argv=None):
    arguments = command_line.parse(make_parser(), argv, RUN_MEANS)
    config = settings_of(arguments)
    refuse_own_video_keys(config, "is a key of spot_inference.py")
    if not (arguments.seeds or arguments.check or arguments.pack):
        config = own_settings(config, arguments.config, arguments.overrides)
    if not arguments.pack and distributed.is_first():
        warn_of_idle(idle_settings_of(config), command_line.keys_of(arguments.overrides))
    if arguments.seeds:
        with telling_how_to_go_on(config.output_path, argv):
            train_seeds(config, seeds_in(arguments.seeds), arguments)
    elif not (arguments.check or arguments.pack):
        with telling_how_to_go_on(config.output_path, argv):
            train(config)
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
    earlier, place = earlier_values(folder.config), f"output_path={config.output_path}"
    if config_path is None:
        return load_config(folder.config, [*earlier, *overrides, place, "training.resume=auto"])
    config, taken, typed = with_own(config, load_config(folder.config, [*earlier, place]), overrides)
    if taken and distributed.is_first():
        print(f"note: the run goes on with its own {listed(taken)}; type a key to change it", file=sys.stderr)
    if typed and distributed.is_first():
        print(f"note: from here on the run has {listed(typed)}", file=sys.stderr)
    return config


def listed(changes):
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
    dataset, model = config.dataset, config.model
    longest = longest_proposal(model.map_durations, model.temporal_scale) if model.detector == "bmn" else None
    report = check_data(data_values(config), grid_values(config), decoding_values(config), dataset.train_subset,
                        dataset.eval_subset, dataset.labeled, dataset.split_seed, model.class_activation,
                        plain(config.testing.tiou), config.testing.class_scores, model.standardize,
                        dataset.sensor_channels, model.detector, longest)
    print(report.text())
    if report.problems:
        many = report.num_problems > 1
        raise SpotError(f"{report.num_problems} problem{'s' * many}, listed above, would stop training; mend "
                        f"{'them' if many else 'it'} first")
    print("\nnothing here stops a training: the same command without --check begins it")


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
    folder, resumes = checkpoint.RunFolder(config.output_path), config.training.resume == "auto"
    resumed = distributed.from_first(lambda: resumes and folder.last.exists())
    if distributed.is_first():
        folder.refuse_another_run(resume=resumes)

    # Data: annotated videos with features, of which a few may show their labels.
    videos = videos_of(config)
    meaning = meaning_of({**plain(config.model), "chunks": config.pretext.chunks}, grid_values(config),
                         config.training.optimizer, videos)
    if resumed and distributed.is_first():
        checkpoint.refuse_other_meaning(folder.last, meaning)
    labeled, unlabeled = videos.datasets(config.model.feat_dim, config.training.cache, device)
    report_data(labeled, unlabeled, videos.held_out, videos.class_names)
    require_the_same(config, videos.class_names, labeled, unlabeled)

    # Model.
    torch.manual_seed(config.training.random_seed)
    model, meaning = new_model(meaning, decoding_values(config), videos, labeled, unlabeled)
    if config.training.pretrained and not resumed:
        checkpoint.load_pretrained(model, config.training.pretrained, meaning)
    model.to(device)
    distributed.copy_from_first(model)

    # Training: the pretext stage, unless a checkpoint replaces it, then labels and pseudo labels.
    trainer = make_trainer(config, model, labeled, unlabeled)
    with folder.locked() if distributed.is_first() else contextlib.nullcontext():
        if not resumes and distributed.is_first():
            folder.refuse_another_run()  # another one may have ended while the features were read
        has_pretext = not config.training.pretrained
        progress = progress_of(folder, trainer, meaning)
        done = epochs_done(folder, trainer, progress["records"], has_pretext)
        if distributed.is_first():
            describe_run(config, folder, meaning, videos.source.times)
        tiou = parse_thresholds(plain(config.testing.tiou))
        run_stages(folder, trainer, meaning, progress, done, has_pretext,
                   lambda: holdout_map(trainer.teacher.module, videos, config.dataset.train_subset, tiou))
        choose_threshold(config, folder, trainer.teacher.module, videos.labeled, videos.held_out, videos.source)
    print(*end_lines(folder.path, time.perf_counter() - begin, progress["records"]), sep="\n")
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


# --- data -------------------------------------------------------------------------------------------------------------


def videos_of(config):
    """The TrainingVideos of the settings."""
    dataset = config.dataset
    videos, class_names, source = open_data(**data_values(config))
    training = videos_of_subset(videos, "dataset.train_subset", dataset.train_subset, dataset.video_anno_path)
    names = labeled_split(training, dataset.labeled, dataset.split_seed, dataset.video_info_path)
    return choose_videos(training, names, config.training.holdout, dataset.split_seed, class_names, source,
                         GridSettings(**grid_values(config)), config.model.standardize, dataset.sensor_channels)


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


# --- model and learning -----------------------------------------------------------------------------------------------


def new_model(meaning, decoding, videos, labeled, unlabeled):
    """A model with fresh weights that knows its data, and the Meaning with the statistics of the features.

    meaning: of `meaning_of`; decoding: fields of `proposals.Decoding`; videos: TrainingVideos
    labeled, unlabeled: SnippetDataset, the latter or None
    """
    model = build_model(**meaning.architecture)
    sets = list(filter(None, [labeled, unlabeled]))
    meaning = replace(meaning, statistics=feature_statistics(*sets, of_files=True))
    mean, deviation = meaning.statistics
    model.settings = {**meaning.settings, **decoding,
                      "training_fps": videos.frame_rates(),  # with which those of other recordings are compared
                      "feature_statistics": {"mean": mean.tolist(), "deviation": deviation.tolist()}}
    if videos.standardization != "none":
        model.set_statistics(*feature_statistics(*sets))
    return model, meaning


def make_trainer(config, model, labeled, unlabeled):
    """Unpack the settings of the learning."""
    training = plain(config.training)
    steps = {field.name: training[field.name] for field in fields(Optimization)}
    steps |= {"amp": choose_precision(training["amp"], next(model.parameters()).device),
              "graph": training["graph"] == "auto"}
    tasks = {key: value for key, value in plain(config.pretext).items() if key != "chunks"}
    learning = Learning(Optimization(**steps),
                        Augmentation(**plain(config.augment), change_speed=config.dataset.grid == "resize"),
                        PretextTasks(**tasks), SemiSupervision(**plain(config.semi)), plain(config.loss))
    return Trainer(model, labeled, unlabeled, learning)


# --- the stages -------------------------------------------------------------------------------------------------------


def progress_of(folder, trainer, meaning):
    """Where last.pt stands, from which the trainer then goes on: {"records", "best": held-out mAP}."""
    if distributed.from_first(folder.last.exists):
        return checkpoint.resume(folder.last, trainer, meaning)
    return {"records": [], "best": -1.0}


def epochs_done(folder, trainer, records, has_pretext):
    """{stage: epochs of it that the log has}; SpotError where `training.max_epoch` lies before the last one."""
    done = {stage: sum(record["stage"] == stage for record in records) for stage in ("pretext", "train")}
    if trainer.epochs < done["train"]:
        raise SpotError(f"training.max_epoch={trainer.epochs}: the run in {folder.path} has "
                        f"{done['train']} epochs already; give as many or more, or choose another output_path")
    if done["train"] and has_pretext and done["pretext"] != trainer.pretrain_epochs:
        print(f"note: training.pretrain_epoch={trainer.pretrain_epochs} comes too late: the run had "
              f"{done['pretext']} epochs of the pretext stage and is past it", file=sys.stderr)
    now = distributed.world_size()
    before = records[-1].get("processes", 1) if records else now
    if before != now and distributed.is_first():
        print(f"warning: the run had {before} processes until now and has {now}; a step takes the batches of all, "
              "so set training.batch_size to keep it as it was", file=sys.stderr)
    return done


def describe_run(config, folder, meaning, times):
    """Write what the run is made from. times: the FeatureTimes of its features, or None"""
    if times is not None:
        write_sidecar(folder.features, times.sidecar.without_videos())  # what made the features of the run
    folder.describe(meaning.settings["class_names"], meaning.labeled + meaning.held_out)
    save_config(config, folder.config)


def run_stages(folder, trainer, meaning, progress, done, has_pretext, watch):
    """The pretext stage, then labels and pseudo labels, from where the run stands; logs and saves each epoch.

    progress: of `progress_of`, which grows; done: of `epochs_done`; has_pretext: False where a checkpoint replaces it
    watch: () -> mAP on the held-out videos, None without any
    """
    writer = None
    if distributed.is_first():
        writer = SummaryWriter(folder.events, purge_step=len(progress["records"]) + 1)
    parts = parts_of(trainer, pretext=has_pretext)
    print(*start_block(trainer, parts, folder.events), sep="\n")
    if (sentence := unused_unlabeled(trainer, parts)) and distributed.is_first():
        print(f"warning: {sentence}", file=sys.stderr)
    report = Progress(trainer, parts, done)

    def finish_epoch(record):
        # The loss of a step is checked before it is taken, so the last step of an epoch may have broken the weights.
        checkpoint.refuse_non_finite(trainer.model.state_dict(), f"{record['stage']} epoch {record['epoch']}")
        if distributed.is_first():
            record["holdout_mAP"] = watch()
            save_epoch(folder, trainer, meaning, progress, record, writer)
            report.end_epoch(epoch_line(record))

    if has_pretext and not done["train"]:
        for epoch in range(done["pretext"], trainer.pretrain_epochs):
            finish_epoch(trainer.pretext_epoch(epoch))
    if not done["train"]:
        trainer.start_stage()
    for epoch in range(done["train"], trainer.epochs):
        finish_epoch(trainer.train_epoch(epoch))
    report.close()
    if writer is not None:
        writer.close()


def save_epoch(folder, trainer, meaning, progress, record, writer):
    """Log an epoch and save it: last.pt to go on from, best.pt to detect with; `progress` takes its record."""
    progress["records"].append(record)
    detector = checkpoint.describe_model(trainer.teacher.module, meaning.architecture)
    if record["holdout_mAP"] is None or record["holdout_mAP"] >= progress["best"]:
        progress["best"] = record["holdout_mAP"] or progress["best"]
        checkpoint.save(folder.best, detector)
    folder.write_log(progress["records"])
    write_curves(writer, record, len(progress["records"]))
    # Last, because it decides where a resumed run goes on: whatever it does again, it writes again.
    checkpoint.save(folder.last, {**detector, "trainer": trainer.state(), **meaning.stored(), **progress})


def holdout_map(model, videos, subset, thresholds):
    """Average mAP on the held-out videos of TrainingVideos, None without any. thresholds: (R,) tIoU"""
    if not videos.held_out:
        return None
    features = [videos.source.read(video.name) for video in videos.held_out]
    times = [times_of(video, videos.grid.fps) for video in videos.held_out]
    found = detect(model, features, [one.duration_sec for one in times],
                   feature_duration_sec=[one.feature_duration_sec for one in times], fps=[one.fps for one in times],
                   centers_sec=centers_of_rows(times, features))
    results = {video.name: to_results(rows, videos.class_names)
               for video, rows in zip(videos.held_out, found, strict=True)}
    return evaluate_detections(videos.held_out, {"results": results}, subset, thresholds).average_mAP


def choose_threshold(config, folder, teacher, labeled, held_out, source):
    """Write action_threshold.json of the run: chosen on the held-out videos, and without any on the labeled ones.

    teacher: a model to load best.pt into
    """
    videos, testing = held_out or labeled, config.testing
    # An external classifier is one of the evaluation videos, mostly: it does not know these.
    is_given = testing.action_threshold is not None or testing.class_scores != "none"
    if is_given or not any(video.labels for video in videos) or not distributed.from_first(folder.best.is_file):
        return
    model = checkpoint.load_model(folder.best, next(teacher.parameters()).device) if distributed.is_first() else teacher
    choose_action_threshold(folder.action_threshold, detector_of(model, config, model.settings["class_names"]), source,
                            videos, config.dataset.train_subset, parse_thresholds(plain(testing.tiou)), not held_out,
                            scoring_values(config))


if __name__ == "__main__":
    distributed.run(main)
