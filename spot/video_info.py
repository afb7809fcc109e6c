"""Tables with the facts of videos that annotations leave out, `*video_info*.csv` -> {video: facts}. No torch."""

from spot.annotation_entries import facts_in, refuse, strictly
from spot.errors import SpotError
from spot.files import matching_files
from spot.text import (
    read_table,
)


def read_video_info(info_path, attempt=strictly):
    """Read `*video_info*.csv` (BMN / SSTAP / SPOT, AFSD, THUMOS14's test table) -> {id as written: facts}.

    The facts of a row are `duration` in seconds, `fps`, `frames`, `feature_frames`, `subset` where the columns exist.
    info_path: a path or pattern; attempt: as in `read_annotations`. Raises SpotError with the file, the video and the
    value; for two rows of one video, too, that differ.
    """
    info = {}
    for path in matching_files(info_path):
        columns, rows = read_table(path)
        column = next((name for name in ("video", "video-name", "video_name") if name in columns), None)
        if column is None:
            raise SpotError(f"{path}: has columns {', '.join(columns)}; a video info file needs one named video")
        if not rows:
            raise SpotError(f"{path}: names no video; was it fully downloaded?")
        for row in rows:
            facts = attempt(facts_in, row, f"{path}, video {row[column]!r}")
            if facts is not None and info.setdefault(row[column], facts) != facts:
                attempt(refuse, f"{path}: video {row[column]!r} has two different rows; keep one of them")
    return info
