"""Pictures show what detection saw: the same features, prepared in the same way."""

import numpy as np
import pytest
from tiny import CLASSES, C, Source, T, model

from spot import video_pictures
from spot.datasets import GridSettings
from spot.inference import Detector
from spot.proposals import Decoding
from spot.recordings import Recording, Times


@pytest.mark.parametrize(("standardization", "is_same"), [("recording", True), ("training", False)])
def test_a_picture_shows_a_recording_by_its_own_statistics_where_the_model_does(monkeypatch, tmp_path, standardization,
                                                                               is_same):
    """3 x + 5 has the standardized values of x; two windows, so that a window does not stand for the recording."""
    net = model().eval()
    net.standardization = standardization
    x = np.random.default_rng(0).normal(size=(C, T + 4)).astype(np.float32)
    shown = {}
    monkeypatch.setattr(video_pictures, "save_video_picture",
                        lambda path, _, edges_sec, first, probabilities, *rest, **more: shown.update(
                            {path.stem: probabilities}))
    recordings = [Recording(name, Times(T + 4.0, None, 1.0)) for name in ("a", "b")]
    detector = Detector(net, CLASSES, GridSettings("window", T, stride=1, window=1), Decoding(), batch_size=4)
    video_pictures.draw_videos(tmp_path, detector, Source({"a": x, "b": 3 * x + 5}), recordings, {"a": [], "b": []})
    assert shown["a"].shape == (2, len(CLASSES) + 1, T)
    assert np.allclose(shown["a"], shown["b"], atol=1e-4) is is_same
