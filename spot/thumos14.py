"""THUMOS14: its classes, and its raw tables of segments -> a list of `Video`. No torch."""

import re

from spot.annotation_entries import AMBIGUOUS, build_videos
from spot.errors import SpotError

# The 20 detection classes of THUMOS14 and their official class index (1..101, as in the UCF101 list and `type_idx`).
THUMOS14_CLASSES = {
    "BaseballPitch": 7,
    "BasketballDunk": 9,
    "Billiards": 12,
    "CleanAndJerk": 21,
    "CliffDiving": 22,
    "CricketBowling": 23,
    "CricketShot": 24,
    "Diving": 26,
    "FrisbeeCatch": 31,
    "GolfSwing": 33,
    "HammerThrow": 36,
    "HighJump": 40,
    "JavelinThrow": 45,
    "LongJump": 51,
    "PoleVault": 68,
    "Shotput": 79,
    "SoccerPenalty": 85,
    "TennisSwing": 92,
    "ThrowDiscus": 93,
    "VolleyballSpiking": 97,
}


def videos_of_thumos_table(path, columns, rows, info, attempt):
    """A raw THUMOS14 table -> list of Video. One row is one segment; the subset is in the video's name.

    SpotError for a table with other columns, or without a row.
    """
    rows = [row for _, row in rows]
    if {"video", "type", "type_idx", "start", "end"} <= set(columns):
        video, class_id, start, end = "video", "type_idx", "start", "end"
    elif {"video-name", "t-init", "t-end", "label-idx"} <= set(columns):
        video, class_id, start, end = "video-name", "label-idx", "t-init", "t-end"
        names = {str(i): name for i, name in enumerate(sorted(THUMOS14_CLASSES))} | {"-1": AMBIGUOUS}
        rows = [{**row, "type": names.get(row[class_id], "")} for row in rows]
    else:
        raise SpotError(
            f"{path}: has columns {', '.join(columns)}; annotations are tables of video, start, end, label, BORIS's "
            "aggregated events (Behavior, Behavior type, Start (s), Stop (s)), or THUMOS14's (video, type, type_idx, "
            "start, end or video-name, t-init, t-end, label-idx)"
        )
    if not rows:
        raise SpotError(f"{path}: holds no segment; was it fully downloaded?")
    entries = {}
    for row in rows:
        subset = re.match(r"video_(validation|test)_", row[video])
        entry = entries.setdefault(row[video], {**row, "subset": subset[1] if subset else "", "annotations": []})
        segment = [row[start], row[end]]
        entry["annotations"].append({"segment": segment, "label": row["type"], "label_id": row[class_id]})
    return build_videos(entries, path, info, attempt)
