"""Our annotation JSON, of ActivityNet's shape, from `Video`s: `annotations.read_annotations` reads the same back."""

from spot.annotation_entries import AMBIGUOUS


def database_of(videos):
    """{id: entry} of videos, as `{"database": ...}` holds it."""
    return {video.name: entry_of(video) for video in videos}


def entry_of(video):
    """One `Video` as an entry: its facts where they are known, its segments as they are, and whether it is annotated.

    Where the features cover another time than the video lasts, the numbers of frames say so, as in BMN's files.
    """
    entry = {"subset": video.subset} if video.subset else {}
    if video.duration_sec is not None:
        entry["duration"] = video.duration_sec
    if video.fps is not None:
        entry["fps"] = video.fps
    if video.feature_duration_sec != video.duration_sec and video.fps is not None:
        entry["duration_frame"] = video.duration_sec * video.fps
        entry["feature_frame"] = video.feature_duration_sec * video.fps
    if video.annotated is not None:
        entry["annotated"] = video.annotated
    entry["annotations"] = annotations_of(video.segments_sec, video.labels, video.label_ids)
    entry["annotations"] += annotations_of(video.ambiguous_sec, [AMBIGUOUS] * len(video.ambiguous_sec))
    return entry


def annotations_of(segments_sec, labels, label_ids=None):
    """N segments (N, 2) as the list `annotations`; label_ids: N ids, None: the file has none."""
    found = [{"segment": list(map(float, segment)), "label": label}
             for segment, label in zip(segments_sec, labels, strict=True)]
    if label_ids is not None:
        for entry, label_id in zip(found, label_ids, strict=True):
            entry["label_id"] = label_id
    return found
