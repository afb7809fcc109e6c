"""Keys of video files, refused before a package for videos is needed."""

import pytest

import spot_inference
from spot.config import load_config
from spot.files import SpotError


@pytest.mark.parametrize(("key", "other"), [("features=x", "features"), ("fps=25", "fps"), ("stride=4", "stride")])
def test_videos_stand_alone(tmp_path, key, other):
    config = load_config(None, [f"output_path={tmp_path}", "videos=a.mp4", key])
    with pytest.raises(SpotError, match=rf"^{other}= has no effect beside videos="):
        spot_inference.infer_videos(config, flags=None)


def test_weights_belong_to_videos(tmp_path):
    (tmp_path / "config.yaml").write_text("dataset: {video_anno_path: a.json, feature_path: f}\n")
    with pytest.raises(SpotError, match="weights= belongs to videos=, which is not given"):
        spot_inference.main([f"output_path={tmp_path}", "features=x", "weights=y"])
    with pytest.raises(SpotError, match=r"^weights= belongs to videos=.*; leave it out"):
        spot_inference.main([f"output_path={tmp_path}", "weights=y"])
