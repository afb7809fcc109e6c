"""Video files without features: extracted by what a run was trained on, and kept, so that the next time is quick."""

import sys
from pathlib import Path

from spot.backbones import open_backbone
from spot.devices import choose_precision
from spot.errors import SpotError
from spot.extraction import SOURCES, Sampling, extract_all, stamp_of
from spot.files import read_json
from spot.limits import shown
from spot.sidecar import HEAD, SIDECAR, read_sidecar
from spot.videos import find_videos


def features_of_videos(path, trained, weights, out, device, amp="auto", batch_size=8):
    """Extract the features of a video or a folder of them into the folder `out`; those that are there stay.

    trained: the Sidecar of the features of the run, or None where it had none
    weights: of its backbone, where they are not on the hub, or None; device: torch.device; amp: auto, none or bf16
    Returns {name: file} of the videos that could be read; the others are listed on stderr.
    SpotError where the run does not tell its backbone, the backbone is another one now, or no video can be read.
    """
    videos = find_videos(path)
    if trained is None:
        raise SpotError("videos= needs features that were made by tools/extract_features.py, and those of the run came "
                        f"without a {SIDECAR}; extract the features as they were, and give features=")
    if are_there(videos, trained, out):
        print(f"features of {len(videos)} videos are there already: {out}")
        return videos
    backbone = backbone_of(trained, weights, device, amp)
    failed = extract_all(videos, out, backbone, Sampling(trained.stride, trained.window, trained.fps), batch_size)
    for name, error in failed.items():
        print(f"warning: {name} is left out: {error}", file=sys.stderr)
    if len(failed) == len(videos):
        raise SpotError(f"videos={path}: none of {len(videos)} videos can be read; the first: "
                        f"{next(iter(failed.values()))}")
    return {name: file for name, file in videos.items() if name not in failed}


def backbone_of(trained, weights, device, amp):
    """The backbone that a Sidecar names, opened; SpotError, with both, where its weights are others."""
    precision = "none" if amp == "auto" and device.type == "cpu" else choose_precision(amp, device)
    try:
        backbone = open_backbone(trained.backbone, weights, device, precision)
    except SpotError as error:
        advice = "" if weights else "; where its weights are in a folder, give weights=FOLDER"
        raise SpotError(f"the run was trained on features of backbone {trained.backbone!r}: {error}{advice}") from error
    if backbone.weights_sha256 != trained.weights_sha256:
        raise SpotError(f"the run was trained on features of backbone {trained.backbone!r} with weights of checksum "
                        f"{shown(trained.weights_sha256[:12])}, and {weights or 'those at hand'} have "
                        f"{shown(backbone.weights_sha256[:12])}; give weights=FOLDER of the same")
    if backbone.version != trained.version:
        print(f"note: the features of the run were extracted by {trained.version}, these by {backbone.version}",
              file=sys.stderr)
    return backbone


def are_there(videos, trained, out):
    """Are the features of just these files in `out`, made as the Sidecar `trained` says?"""
    out = Path(out)
    if not (out / SIDECAR).is_file() or not (out / SOURCES).is_file():
        return False
    known, sources = read_sidecar(out), read_json(out / SOURCES)
    same = all(getattr(known, key) == getattr(trained, key) for key in HEAD if key != "version")
    return same and all(name in known.videos and sources.get(name) == stamp_of(file)
                        and (out / f"{name}.npy").is_file() for name, file in videos.items())
