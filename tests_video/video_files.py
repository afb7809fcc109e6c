"""Tiny videos for the tests, written by PyAV."""

import struct
from fractions import Fraction

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


def gray(*levels, size=(64, 48)):
    """An image (H, W, 3) of one gray level for each number; size: (width, height)."""
    return [np.full((size[1], size[0], 3), level, np.uint8) for level in levels]


def write_video(path, times_sec, images, codec="libx264", rate=25, **options):
    """Write a video whose frame i is shown from `times_sec[i]` on, the last for about 1 / rate seconds.

    options: of the container, such as movflags
    """
    height, width = images[0].shape[:2]
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "5"})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
        stream.time_base = stream.codec_context.time_base = MILLISECOND if codec != "mpeg4" else Fraction(1, 25)
        for time_sec, image in zip(times_sec, images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(time_sec / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path):
    """A second of silence, without a picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for first in range(0, 8000, 1000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turn_clockwise(path):
    """Set the matrix of an MP4's only track to a quarter turn clockwise, as a phone held upright does.

    x' = height - y and y' = x, as a 3 x 3 matrix in rows (a b u, c d v, x y w), 16.16 fixed point, u v w 2.30.
    """
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd") + 4
    one = 1 << 16
    matrix = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    content[header + 40 : header + 76] = matrix  # behind version, flags, times, ids, duration, layer, volume
    path.write_bytes(content)
    return path
