"""Files of annotation tools: which of the formats a file has, by its content. No torch.

| tool | what is read |
|---|---|
| BORIS (`spot.boris`) | aggregated events, CSV or TSV; .boris projects |
| ELAN (`spot.elan`) | .eaf |
| VIA 3 (`spot.via`) | projects |
| Label Studio (`spot.label_studio`) | JSON and JSON-MIN |
| any (`spot.label_tables`) | CSV or TSV of video, start, end, label; Audacity's label tracks |

What is written for them: `spot.detection_writers`.
"""

from pathlib import Path

from spot.boris import is_aggregated, is_project, read_aggregated, read_project, refuse_single_events
from spot.elan import parse_xml, read_eaf
from spot.errors import SpotError
from spot.label_studio import is_label_studio, read_label_studio
from spot.label_tables import is_audacity, is_label_table, read_audacity, read_label_table
from spot.names import pair_names
from spot.text import parse_table
from spot.tool_recordings import ReadingOptions, Recording, annotated_one, video_of
from spot.via import is_via, read_via

SUFFIXES = (".boris", ".eaf", ".json", ".csv", ".tsv", ".txt")  # of the files that are read in a folder
JSON_FORMATS = ((is_project, read_project), (is_via, read_via), (is_label_studio, read_label_studio))
TABLE_FORMATS = ((is_aggregated, read_aggregated), (is_label_table, read_label_table))


# --- reading ----------------------------------------------------------------------------------------------------------


def annotation_files(folder):
    """The files of a folder that may hold annotations, in the order of their names; SpotError where there is none."""
    found = sorted(path for path in Path(folder).iterdir()
                   if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."))
    if not found:
        raise SpotError(f"{folder}: holds no file of annotations ({', '.join(SUFFIXES)}); name the file, or a folder "
                        "of them")
    return found


def read_json_recordings(path, data, options=None):
    """The recordings of parsed JSON of one of the tools; None where it is of another kind. SpotError as of the tool."""
    if isinstance(data, dict) and "_via_img_metadata" in data:
        raise SpotError(f"{path}: is of VIA 2, which annotates pictures and knows no times; annotate in VIA 3, for "
                        "audio and video")
    return _read(JSON_FORMATS, data, path, data, options)


def read_text_recordings(path, text, options=None):
    """The recordings of a text that is no JSON; None where it is a table of another kind. SpotError as of the tool."""
    path, options = Path(path), options or ReadingOptions()
    if text.lstrip().startswith("<"):
        return read_eaf(path, parse_xml(text, path), options)
    if is_audacity(text):
        return read_audacity(path, text, options)
    refuse_single_events(path, text)
    columns, rows = parse_table(text, path)
    return _read(TABLE_FORMATS, columns, path, (columns, rows), options)


def _read(formats, shown, path, content, options):
    """What the reader of the first format that fits `shown` makes of the content."""
    content = content if isinstance(content, tuple) else (content,)
    for fits, read in formats:
        if fits(shown):
            return read(Path(path), *content, options or ReadingOptions())
    return None


def videos_of(recordings, info, options, attempt):
    """The `Video` of each of the recordings of a file.

    info: {id: facts} of the video info file; attempt: see `dataset_formats.strictly`; of two annotated recordings of
    one name, a fault, the last one is kept
    """
    recordings, kept = list(recordings), {}
    rows = pair_names({recording.name: None for recording in recordings}, info)
    for recording in recordings:
        video = attempt(video_of, recording, info.get(rows[recording.name], {}), options or ReadingOptions())
        if video is None:
            continue
        if recording.name in kept:
            other, of_other = kept.pop(recording.name)
            if annotated_one(other, video) is None:
                attempt(_refuse_both, of_other, recording)
            elif annotated_one(other, video) is other:
                video, recording = other, of_other
        kept[video.name] = video, recording
    return [video for video, _ in kept.values()]


def _refuse_both(one, other):
    places = one.where if one.where == other.where else f"{one.where} and {other.where}"
    raise SpotError(f"{places}: two recordings are called {one.name!r}; keep one of them")


def unannotated(name, facts=None):
    """The `Video` without annotation that a name, and its row of the video info file, stand for."""
    return video_of(Recording(name, "the video info file"), facts or {}, ReadingOptions())
