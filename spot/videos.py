"""One video file -> its frames with their times, by presentation time. PyAV decodes, see requirements-video.txt.

Second 0 is where players begin: the earliest stream of the file, however its clock is set. A frame is shown from its
own time to that of the next one, so videos of variable frame rate are as exact as any other.
"""

import contextlib
from fractions import Fraction
from pathlib import Path

import numpy as np

from spot.errors import SpotError
from spot.names import check_video_id
from spot.text import clean

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv",
            ".3gp", ".ogv", ".gif", ".vob", ".mxf")
# Containers that hold a video themselves; others, such as playlists, make FFmpeg open further files, or draw a text.
CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,live_flv,ogg,gif,mxf,nut,ivf,"
              "h264,hevc,m4v,av1,obu,dv,wtv,rm,yuv4mpegpipe,mp3,aac,flac,wav,aiff")
TICK_SEC = 1e-3  # times in many files are whole milliseconds: a frame that is due so much later counts as shown
# Frames that end so much before the end that the header says (and by so large a share of it): the file was cut off.
CUT_OFF_SEC, CUT_OFF_SHARE = 1.0, 0.02


def pyav():
    """The module `av`; SpotError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise SpotError(f"videos are read by PyAV, which is not installed ({error}); "
                        "pip install -r requirements-video.txt") from None
    return av


def find_videos(path):
    """The videos that a file or folder means, {name: file} in order of the names; a name is a file's without suffix.

    Folders in the folder are looked through as well. SpotError where there is none, or two files have one name.
    """
    path = Path(path)
    if not path.exists():
        raise SpotError(f"{path}: there is no such video or folder; check the path")
    if path.is_file():
        files = [path]
    else:
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()
                       and not any(part.startswith(".") for part in file.relative_to(path).parts))
    if not files:
        raise SpotError(f"{path}: holds no video; looked for {', '.join(SUFFIXES)}, also in the folders in it")
    found = {}
    for file in files:
        name = clean(file.stem)
        check_video_id(name, file)
        # The loaders take `x` and `v_x` for one video.
        twin = next((known for known in (name, f"v_{name}", name.removeprefix("v_")) if known in found), None)
        if twin is not None:
            raise SpotError(f"{found[twin]} and {file} are two videos of one name, {name!r}; rename one of them")
        found[name] = file
    return dict(sorted(found.items()))


class VideoFile:
    """An open video, a context manager.

    header_sec: seconds that the header says, None where it does not
    After `frames` or `sampled` is through: end_sec, where its last frame ends, num_frames that were decoded, and rate,
    frames per second: of the header where the frames agree, else their mean.
    SpotError where the file is no video, or holds sound alone.
    """

    def __init__(self, path):
        self.path, self._av = Path(path), pyav()
        try:
            self._container = self._av.open(str(self.path.resolve()), options={"format_whitelist": CONTAINERS})
        except (self._av.FFmpegError, OSError) as error:
            reason = "the file is empty" if not self.path.stat().st_size else error.strerror or error
            raise SpotError(f"{self.path}: cannot be opened as a video ({reason}); it is none, or its end or beginning "
                            "is missing") from error
        try:
            self._stream = self._video_stream()
        except SpotError:
            self._container.close()
            raise
        self.end_sec, self.num_frames, self.first_sec, self.num_broken = 0.0, 0, None, 0
        self._origin = self._first_time()
        self.header_sec = self._header_sec()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._container.close()

    def _video_stream(self):
        attached = self._av.stream.Disposition.attached_pic  # the cover of a song
        streams = [one for one in self._container.streams.video if not one.disposition & attached]
        if not streams:
            kinds = sorted({one.type for one in self._container.streams}) or ["nothing"]
            raise SpotError(f"{self.path}: holds no video, only {' and '.join(kinds)}; leave it out")
        if streams[0].codec_context is None:
            raise SpotError(f"{self.path}: its video has a format that this FFmpeg cannot decode; convert it to H.264")
        streams[0].thread_type = "AUTO"
        return streams[0]

    def _first_time(self):
        """Where players begin, on the clock of the file, as a Fraction of seconds; never before its zero."""
        starts = [one.start_time * one.time_base for one in self._container.streams
                  if one.type in ("video", "audio") and one.start_time is not None and one.time_base]
        return max(min(starts, default=Fraction(0)), Fraction(0))

    def _header_sec(self):
        if self._stream.duration and self._stream.time_base:
            start = (self._stream.start_time or 0) * self._stream.time_base
            return float(self._stream.duration * self._stream.time_base + start - self._origin)
        if not self._container.duration:
            return None
        # Matroska says when the file ends, the others how long it is.
        start = self._origin if "matroska" in self._container.format.name else 0
        return float(Fraction(self._container.duration, self._av.time_base) - start)

    @property
    def rate(self):
        """Frames per second, see the class."""
        stated = self._stream.average_rate
        measured = self.num_frames / max(self.end_sec - (self.first_sec or 0), 1e-6)
        return float(stated) if stated and abs(stated / measured - 1) < 0.005 else measured

    def frames(self):
        """Yield (time in seconds, (H, W, 3) uint8 RGB) of every frame, turned as it is shown.

        SpotError where there is none.
        """
        for time_sec, frame in self._decoded():
            yield time_sec, image_of(frame)

    def sampled(self, fps):
        """As `frames`, `fps` times a second from the first frame on: the frame that is shown at that time."""
        shown, image, count = None, None, 0
        for time_sec, frame in self._decoded():
            while shown is not None and self.first_sec + count / fps < time_sec - TICK_SEC:
                image = image_of(shown) if image is None else image
                yield self.first_sec + count / fps, image
                count += 1
            shown, image = frame, None
        while self.first_sec + count / fps < self.end_sec - TICK_SEC or not count:
            image = image_of(shown) if image is None else image
            yield self.first_sec + count / fps, image
            count += 1

    def frame_at(self, time_sec):
        """The (H, W, 3) image that is shown at a time; the first or last one before and after them."""
        place = int((self._origin + Fraction(max(time_sec, 0))) / self._stream.time_base)
        with contextlib.suppress(self._av.FFmpegError):  # a format without seeking is read from where it is
            self._container.seek(place, stream=self._stream)
        shown = None
        for at_sec, frame in self._decoded():
            if shown is not None and at_sec > time_sec + TICK_SEC:
                break
            shown = frame
        return image_of(shown)

    def faults(self):
        """Half a sentence for each thing that was wrong with a video whose frames have been read."""
        found = []
        short = (self.header_sec or 0) - self.end_sec
        if short > max(CUT_OFF_SEC, CUT_OFF_SHARE * (self.header_sec or 0)):
            found.append(f"its frames end at {self.end_sec:.1f} s of the {self.header_sec:.1f} s that its header says")
        if self.num_broken:
            found.append(f"{self.num_broken} broken pieces of it were left out")
        return found

    def _decoded(self):
        """Yield (time in seconds, av.VideoFrame) in the order of presentation; SpotError where there is none."""
        last_sec, step_sec = None, float(1 / self._stream.average_rate) if self._stream.average_rate else 0.04
        for frame in self._frames_of_packets():
            if frame.pts is not None:
                time_sec = float(frame.pts * frame.time_base - self._origin)
            else:  # some old files have no times
                time_sec = 0.0 if last_sec is None else last_sec + step_sec
            if last_sec is not None and time_sec <= last_sec:
                continue  # the clock of a damaged file runs back
            self.first_sec = time_sec if self.first_sec is None else self.first_sec
            last_sec, self.num_frames = time_sec, self.num_frames + 1
            length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else step_sec
            self.end_sec = time_sec + length
            yield time_sec, frame
        if last_sec is None:
            raise SpotError(f"{self.path}: not one frame of it can be decoded; it is broken, or empty")

    def _frames_of_packets(self):
        """Yield what the packets hold; a broken one is counted, and a file that ends within one ends there."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except self._av.FFmpegError:
                self.num_broken += 1
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except self._av.FFmpegError:
                self.num_broken += 1
                continue
            yield from frames


def image_of(frame):
    """An av.VideoFrame as it is shown, (H, W, 3) uint8 RGB: turned as its rotation flag says."""
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))  # counterclockwise
