"""Detect actions with a trained model.

    python spot_inference.py checkpoint=runs/anet [section.key=value ...]
    python spot_inference.py --config config/anet_published.yaml checkpoint=published.pth.tar

`checkpoint=` takes a run folder, whose own config.yaml then holds, or a checkpoint file. Writes
`output_path`/detections.json for every video of `dataset.eval_subset`.
"""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from spot import command_line
from spot.checkpoint import RunFolder, load_model
from spot.class_scores import read_class_scores, top_classes
from spot.config import data_values, decoding_values, grid_values, load_config
from spot.datasets import choose_device, open_data, with_features
from spot.files import SpotError, write_json
from spot.proposals import detect, to_results

DEFAULT_CONFIG = "config/anet.yaml"


def main(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", help="settings file, needed only with a published checkpoint")
    arguments = command_line.parse(parser, argv)
    infer(settings_of(arguments.config, arguments.overrides))


def settings_of(config_path, overrides):
    """The settings of the run that `checkpoint=` (or else `output_path=`) names; --config where there is none."""
    given = dict(override.partition("=")[::2] for override in overrides)
    run = Path(given.get("checkpoint") or given.get("output_path")
               or load_config(config_path or DEFAULT_CONFIG).output_path)
    own = (run if run.is_dir() else run.parent) / "config.yaml"
    if not own.is_file():
        return load_config(config_path or DEFAULT_CONFIG, overrides)
    if "checkpoint" in given and "output_path" not in given:
        overrides = [*overrides, f"output_path={own.parent}"]
    return load_config(own, overrides)


def infer(config):
    """Write the detections of every video of the evaluation subset; returns the path of detections.json."""
    folder = RunFolder(config.output_path)
    model = load_model(config.checkpoint or folder.path, choose_device(config.training.device))
    videos, class_names, source = open_data(**data_values(config))
    check_fit(model, config, class_names)
    wanted = [video for video in videos if video.subset == config.dataset.eval_subset.lower()]
    if not wanted:
        raise SpotError(f"dataset.eval_subset: no video of {config.dataset.video_anno_path} is in subset "
                        f"{config.dataset.eval_subset!r}; it has {', '.join(sorted({v.subset for v in videos}))}")
    present, missing = with_features(wanted, source, config.dataset.eval_subset)

    results = {name: [] for name in missing}  # without features nothing is found, and evaluation counts it
    size = config.testing.batch_size
    settings = {**grid_values(config), **decoding_values(config)}
    fps = settings.pop("fps")
    external = open_class_scores(config.testing.class_scores, class_names)
    if external and (unknown := [video.name for video in present if external.scores(video.name) is None]):
        print(f"warning: {len(unknown)} videos, such as {unknown[0]}, are not in {config.testing.class_scores}: "
              "nothing is detected in them", file=sys.stderr)
    for start in tqdm(range(0, len(present), size), desc="inference", unit="batch", disable=None):
        batch = present[start : start + size]
        found = detect(model, [source.read(video.name) for video in batch], [video.duration_sec for video in batch],
                       feature_duration_sec=[video.feature_duration_sec for video in batch],
                       fps=[fps or video.fps for video in batch], batch_size=size,
                       external=[external_scores(external, video.name, class_names, config.testing.class_scores_top)
                                 for video in batch] if external else None, **settings)
        for video, rows in zip(batch, found, strict=True):
            results[video.name] = to_results(rows, class_names)
    content = {"version": "SPOT", "results": results, "missing_features": missing,
               "external_data": {"class_scores": external and config.testing.class_scores}}
    write_json(folder.detections, content)
    print(f"{sum(map(len, results.values()))} detections in {len(results)} videos: {folder.detections}; "
          f"class source: {config.testing.class_scores if external else 'the model'}")
    return folder.detections


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
    command_line.run(main)
