"""Extract snippet features from videos, for training and detection.

    python tools/extract_features.py VIDEOS OUT --backbone NAME [--weights FOLDER] [--fps 15] [--stride 4] [--window 16]

VIDEOS is a folder of videos, or one. Written: OUT/VIDEO.npy, (T', C), for each, and OUT/features.json, which says how
they were made and where their snippets lie, so that dataset.stride, window and fps need not be given in training.
A stopped extraction goes on where it was; videos that cannot be read are listed at the end and stop no others.

A snippet is a clip of --window frames, the next one begins --stride frames later; frames are taken --fps times a
second, by their presentation time, or all of them. Backbones: a video or image model of transformers by its name on the
hub, such as MCG-NJU/videomae-base-finetuned-kinetics or facebook/dinov2-base, or by its local folder; torchvision's
Kinetics models, such as r2plus1d_18; transnetv2. See docs/from-videos.md.

Raw signals of sensors, .csv or .npy files of samples x axes, take --backbone spectral or raw, with --window, --stride
and --fps in samples; tools/extract_sensors.py --help says more.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spot.command_line import Parser, parse, parse_early, real_number, run, whole_number
from spot.files import SpotError
from spot.sidecar import place_and_use

MEMORY_ADVICE = "lower --batch"


def make_parser():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", metavar="VIDEOS", help="a folder of videos, or one video")
    parser.add_argument("out", metavar="OUT", help="the folder of the features")
    parser.add_argument("--backbone", required=True, metavar="NAME", help="see above")
    parser.add_argument("--weights", metavar="FOLDER", help="a local copy of the weights (torchvision: a file)")
    parser.add_argument("--fps", type=real_number(0.001, 1_000_000),
                        help="frames per second that are taken (default: all of a video's own)")
    parser.add_argument("--stride", type=whole_number(1, 100_000), metavar="FRAMES", help="from one snippet to the "
                        "next (default: a quarter of the window)")
    parser.add_argument("--window", type=whole_number(1, 100_000), metavar="FRAMES", help="that a snippet sees "
                        "(default: as many as the backbone takes, or 16)")
    parser.add_argument("--batch", type=whole_number(1, 100_000), default=8, metavar="CLIPS", help="that go through "
                        "the backbone together (default: 8; halved where a GPU is out of memory)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:NUMBER (default: auto)")
    parser.add_argument("--amp", choices=("auto", "none", "bf16"), default="auto", help="precision (auto: bf16 on a "
                        "GPU)")
    return parser


if __name__ == "__main__":
    parse_early(make_parser, takes_overrides=False)

import extract_sensors  # noqa: E402

from spot.backbones import open_backbone  # noqa: E402  after --help
from spot.devices import choose_device, choose_precision  # noqa: E402
from spot.extraction import Sampling, extract_all  # noqa: E402
from spot.sensors import KINDS  # noqa: E402
from spot.videos import find_videos  # noqa: E402


def main(argv=None):
    arguments = parse(make_parser(), argv, takes_overrides=False)
    if arguments.backbone in KINDS:
        extract_sensors.main(sensor_arguments(arguments))
        return
    videos = find_videos(arguments.videos)
    device = choose_device(arguments.device)
    amp = "none" if arguments.amp == "auto" and device.type == "cpu" else choose_precision(arguments.amp, device)
    backbone = open_backbone(arguments.backbone, arguments.weights, device, amp)
    failed = extract_all(videos, arguments.out, backbone, sampling_of(arguments, backbone), arguments.batch)
    for name, error in failed.items():
        print(f"failed: {name}: {error}", file=sys.stderr)
    done = len(videos) - len(failed)
    print(f"features of {done} of {len(videos)} videos, {backbone.channels} channels: "
          f"{place_and_use(arguments.out)}")
    if failed:
        raise SpotError(f"{len(failed)} of {len(videos)} videos could not be read, listed above; mend or remove them, "
                        "and this command does the rest")


def sensor_arguments(arguments):
    """The same request for `tools/extract_sensors.py`; SpotError without --window, which no backbone tells here."""
    if arguments.window is None:
        raise SpotError(f"--backbone {arguments.backbone} cuts signals of sensors into windows: give --window SAMPLES")
    given = [f"--{name}={value}" for name in ("window", "stride", "fps")
             if (value := getattr(arguments, name)) is not None]
    return [arguments.videos, arguments.out, "--channels", arguments.backbone, *given]


def sampling_of(arguments, backbone):
    """The Sampling of the arguments; SpotError for clips of fewer frames than the backbone sees."""
    window = arguments.window or backbone.num_frames or 16
    if backbone.num_frames and window < backbone.num_frames:
        raise SpotError(f"--window {window}: backbone {backbone.name} sees {backbone.num_frames} frames of a clip; "
                        "give at least so many")
    return Sampling(arguments.stride or max(window // 4, 1), window, arguments.fps)


if __name__ == "__main__":
    run(main, memory_advice=MEMORY_ADVICE)
