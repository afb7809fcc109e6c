"""Settings as plain values: the arguments of the functions that read data, place snippets and decode outputs."""

from omegaconf import DictConfig, ListConfig, OmegaConf

from spot.feature_times import times_of_features
from spot.idle_settings import idle_of_detector, idle_settings
from spot.tool_recordings import ReadingOptions


def plain(section):
    """A section, or a list in it, as plain Python values."""
    return OmegaConf.to_container(section) if isinstance(section, DictConfig | ListConfig) else section


def data_values(config):
    """The arguments of `data_files.open_data`."""
    dataset = config.dataset
    return {"video_anno_path": dataset.video_anno_path, "video_info_path": dataset.video_info_path,
            "blocked": dataset.blocked, "feature_path": plain(dataset.feature_path),
            "feature_pattern": plain(dataset.feature_pattern), "resample_streams": dataset.resample_streams,
            "feat_dim": config.model.feat_dim,
            "place": {f"dataset.{key}": dataset[key] for key in ("stride", "window", "offset", "fps")}
            | {"model.feat_dim": config.model.feat_dim},
            "class_file": dataset.class_file, "num_classes": dataset.num_classes, "options": reading_options(config)}


def reading_options(config):
    """What the settings add to files of annotation tools."""
    dataset = config.dataset
    tiers = plain(dataset.tiers)
    if tiers is not None:
        tiers = tuple(map(str, tiers if isinstance(tiers, list) else [tiers]))
    # The rate at which features were extracted is not the one that annotated frames are counted at.
    is_of_features = dataset.fps is not None and (times := times_of_features(
        plain(dataset.feature_path), dataset.resample_streams)) and times.sidecar.fps == dataset.fps
    return ReadingOptions(dataset.point_width, dataset.classes_from, tiers, dataset.complete_label,
                          None if is_of_features else dataset.fps)


def grid_values(config):
    """Where snippets lie in time: the arguments of `datasets.GridSettings`, with `grid` for `kind`."""
    dataset = config.dataset
    return {"grid": dataset.grid, "temporal_scale": config.model.temporal_scale, "stride": dataset.stride,
            "every": dataset.every, "window": dataset.window, "offset": dataset.offset, "fps": dataset.fps}


def decoding_values(config):
    """How outputs become detections: the fields of `proposals.Decoding`."""
    testing = config.testing
    return {"mask_thresh": tuple(testing.mask_thresh), "top_k": testing.top_k, "nms_sigma": testing.nms_sigma,
            "min_score": testing.min_score, "max_detections": testing.max_detections,
            "class_power": testing.class_power, "mask_power": testing.mask_power, "video_power": testing.video_power,
            "fusion": testing.class_scores_fusion}


def idle_settings_of(config):
    """{key: why} of the settings that say nothing beside others, see `idle_settings`."""
    return idle_settings(config.model.detector, config.semi.method, config.testing.class_scores)


def scoring_values(config):
    """What the scores of detections depend on beside the model, as JSON can hold it: a threshold holds for these."""
    idle = idle_of_detector(config.model.detector)
    # The first two only leave out the lowest scores; the third belongs to a classifier, and no threshold is chosen with
    # one.
    others = {"min_score", "max_detections", "fusion"}
    values = {"class_scores": config.testing.class_scores, **decoding_values(config)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
            if key not in others and f"testing.{key}" not in idle}
