"""Settings without effect: the tables are true, they are told, and nothing else is decided by them."""

import numpy as np
import pytest
from tiny import C, K, T, model, same, trainer, weights_of

from spot.config import load_config
from spot.config_values import idle_settings_of, scoring_values
from spot.idle_settings import idle_of_detector, warn_of_idle
from spot.inference import OtherSettings, detect
from spot.limits import DECODING, sizes_fault
from spot.meaning import named
from spot.registry import DETECTORS, IDLE_OF_METHODS

OTHER_DECODING = {"mask_thresh": (0.004,), "top_k": 2, "nms_sigma": 0.01, "min_score": 0.02, "max_detections": 3,
                  "class_power": 3.0, "mask_power": 3.0, "video_power": 3.0}
OTHER_MODEL = {"model.encoder": "attention", "model.mask_head": "fixed", "model.embedding_head": 4,
               "model.map_channels": 8, "model.map_samples": 4, "model.map_stride": 3, "model.map_durations": 4,
               "pretext.chunks": 4}
OTHER_SEMI = {"targets": "hard", "class_threshold": 0.02, "mask_threshold": 0.9, "confidence": 0.02, "consistency": 3,
              "weight": 2, "rounds": 1, "burn_in": 0.5, "ramp": 1, "class_shares": "free", "class_repeats": "free"}


@pytest.mark.filterwarnings("ignore::spot.inference.OtherSettings")
@pytest.mark.parametrize("detector", DETECTORS)
def test_of_the_decoding_what_is_idle_changes_nothing_and_the_rest_does(detector):
    """Two random recordings through a fresh model, whose probabilities are about 1 %."""
    net = model(detector=detector)
    net.settings = {"grid": "window", "stride": 1, "window": 1, "temporal_scale": T, "min_score": 0.0,
                    "mask_thresh": (0.002, 0.01)}
    features = [np.random.default_rng(seed).normal(size=(C, 30)).astype(np.float32) for seed in range(2)]

    def found(**given):
        return detect(net, features, None, fps=1.0, **given)

    before = found()
    assert all(map(len, before)) and set(OTHER_DECODING) == set(DECODING) - {"fusion"}
    for key, value in OTHER_DECODING.items():
        is_same = all(np.array_equal(*pair) for pair in zip(before, found(**{key: value}), strict=True))
        assert is_same == (f"testing.{key}" in idle_of_detector(detector)), key


@pytest.mark.parametrize("detector", DETECTORS)
def test_of_the_model_what_is_idle_changes_no_weight_and_no_meaning(detector):
    """Such a key keeps no run from going on, no weights from being carried over, and no sizes from fitting."""
    own = {"detector": detector, "encoder": "conv_transformer", "mask_head": "pairwise", "embedding_head": 2,
           "map_channels": 32, "map_samples": 16, "map_stride": 2, "map_durations": None, "chunks": 2}
    idle = [key for key in OTHER_MODEL if key in idle_of_detector(detector)]
    changed = own | {key.partition(".")[2]: OTHER_MODEL[key] for key in idle}
    assert same(weights_of(model(**own)), weights_of(model(**changed)))
    assert named({}, own) == named({}, changed)
    sizes = {"feat_dim": C, "embed_dim": 10, "temporal_scale": 3, "num_classes": K}
    assert bool(sizes_fault(**own | {"chunks": 5}, **sizes)) == ("pretext.chunks" not in idle)


@pytest.mark.parametrize(("detector", "method"), [*(("spot", method) for method in IDLE_OF_METHODS), ("bmn", "ema"),
                                                  ("bmn", "fixmatch")])
def test_of_the_learning_what_is_idle_changes_nothing(detector, method):
    """Two steps with all idle keys of the section `semi` at once; where one more is changed, they lead elsewhere."""
    given = [f"model.detector={detector}", f"semi.method={method}", "semi.confidence=0"]
    idle = {key: why for key, why in idle_settings_of(load_config(None, [*given, "dataset.feature_path=no"])).items()
            if key.startswith("semi.")}

    def learned(*more):
        run = trainer(*given, *more, net=model(detector=detector))
        run.train_epoch(0)
        return weights_of(run.model)

    changed = [f"{key}={OTHER_SEMI[key.partition('.')[2]]}" for key in idle]
    before = learned()
    assert changed and same(before, learned(*changed))
    assert method == "none" or not same(before, learned(*changed, "semi.weight=2"))


def test_a_threshold_holds_whatever_idle_settings_are():
    """The scores of bmn depend on top_k, not on mask_thresh; without a classifier, on none of its settings."""
    def scoring(*given):
        return scoring_values(load_config(None, ["dataset.feature_path=no", *given]))

    for detector, key_of_scores, idle in (("bmn", "testing.top_k=5", "testing.mask_thresh=[0.5]"),
                                          ("spot", "testing.mask_thresh=[0.5]", "testing.class_scores_fusion=sqrt")):
        own = f"model.detector={detector}"
        assert scoring(own) == scoring(own, idle) != scoring(own, key_of_scores)
    assert scoring() != scoring("testing.class_scores=scores.json")


def test_what_is_typed_without_effect_is_told(capsys):
    """By its key and the setting that makes it so; what a file says, or what has an effect, is not told."""
    typed = {"semi.consistency", "testing.mask_thresh", "loss.mask", "testing.class_scores_top", "training.batch_size"}
    settings = ["dataset.feature_path=no", "model.detector=bmn", "semi.method=fixmatch", "loss.instance=0"]
    warn_of_idle(idle_settings_of(load_config(None, settings)), typed)
    assert capsys.readouterr().err.splitlines() == [
        "warning: loss.mask has no effect with model.detector=bmn",
        "warning: semi.consistency has no effect with semi.method=fixmatch",
        "warning: testing.class_scores_top has no effect with testing.class_scores=none",
        "warning: testing.mask_thresh has no effect with model.detector=bmn"]
    net = model(detector="bmn")
    net.settings = {"grid": "window", "stride": 1, "window": 1, "mask_thresh": (0.5,)}
    with pytest.warns(OtherSettings, match="mask_thresh has no effect with model.detector=bmn"):
        detect(net, np.zeros((C, T), np.float32), None, fps=1.0, mask_thresh=(0.2,))
