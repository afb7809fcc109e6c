"""Label Studio's JSON: tasks with TimelineLabels (frames), TimeSeriesLabels or Labels of a sound (seconds)."""

import re
import uuid
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from spot.errors import SpotError
from spot.files import write_json, write_text
from spot.text import number, short, whole_number
from spot.tool_recordings import Event, Recording, label_at, name_of

UPLOAD = re.compile(r"[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file
EPOCH_SEC = 1e8  # a time above it counts from 1970, no recording is that long
FRAMES, TIMES, SOUND = "timelinelabels", "timeserieslabels", "labels"
MODEL = "SPOT"


# --- reading ----------------------------------------------------------------------------------------------------------


def is_label_studio(data):
    """Is this parsed JSON an export of Label Studio, JSON or JSON-MIN, or one task of it?"""
    tasks = data if isinstance(data, list) else [data]
    return bool(tasks) and all(isinstance(task, dict) and _is_task(task) for task in tasks)


def _is_task(task):
    if isinstance(task.get("data"), dict):
        return True
    return "id" in task and "database" not in task and ("annotator" in task or "annotation_id" in task
                                                        or bool(_short_regions(task)))


def read_label_studio(path, data, options):
    """The recordings of an export: those of its tasks. A task that nobody has annotated, or that was skipped, is not
    annotated, whatever a model has predicted; one with an empty annotation is, and shows no action.

    `options.tiers`: names of the controls to read (`from_name`); None: all
    SpotError with task and region for what is broken, and for two annotations of one task of which none is chosen.
    """
    return [_recording(path, index, task, options) for index, task in
            enumerate(data if isinstance(data, list) else [data], 1)]


def _recording(path, index, task, options):
    """One task as a `Recording`."""
    where = f"{path}, task {task.get('id', index)}"
    media = _media_of(where, task)
    if isinstance(task.get("data"), dict):
        annotation = _annotation_of(where, task)
        regions = [] if annotation is None else annotation.get("result")
        is_annotated = annotation is not None
    else:
        regions, is_annotated = _short_regions(task), True
    if not isinstance(regions, list):
        raise SpotError(f"{where}: `result` is {short(regions)}, not a list of regions; was it fully exported?")
    events, units, lengths = [], set(), set()
    for number_of, region in enumerate(regions, 1):
        own, unit, length = _events(f"{where}, region {number_of}", f"region {number_of}", region, options)
        events += own
        units |= {unit} if own else set()
        lengths |= {length} - {None}
    if len(units) > 1:
        raise SpotError(f"{where}: has regions in frames and regions in seconds; name the control to read by "
                        "dataset.tiers=[NAME]")
    duration = next(iter(lengths), None)
    return Recording(_name(media), where, sorted(events, key=lambda event: event.start_sec), media=media,
                     duration_sec=duration, annotated=is_annotated, counts_frames=FRAMES in units)


def _annotation_of(where, task):
    """The annotation of a task that counts; None where there is none."""
    found = task.get("annotations", task.get("completions", []))
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise SpotError(f"{where}: `annotations` is {short(found)}, not a list; export in the format JSON")
    made = [one for one in found if not one.get("was_cancelled")]
    chosen = [one for one in made if one.get("ground_truth")] or made
    if len(chosen) > 1:
        raise SpotError(f"{where}: has {len(chosen)} annotations; set the one that counts as ground truth (the star in "
                        "Label Studio), or remove the others")
    return chosen[0] if chosen else None


def _media_of(where, task):
    """The file that a task is about: of its data the first text that looks like one."""
    data = task["data"] if isinstance(task.get("data"), dict) else task
    texts = [value for key, value in data.items() if isinstance(value, str) and key not in ("created_at", "updated_at")]
    found = [text for text in texts if re.search(r"[^/]\.\w{2,5}($|\?)", text)] or texts
    upload = task.get("file_upload")
    if not found and not isinstance(upload, str):
        raise SpotError(f"{where}: names no file in its `data`; add the video to it, as `video`")
    return found[0] if found else upload


def _name(media):
    """The id of a video in `/data/upload/1/0a1b2c3d-x.mp4`, `/data/local-files/?d=videos/x.mp4` or `s3://bucket/x.mp4`."""
    parts = urlsplit(media)
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    name = PurePosixPath(path.replace("\\", "/")).name or media
    is_upload = "/upload/" in path or path == media == name
    return name_of(UPLOAD.sub("", name, count=1) if is_upload and UPLOAD.match(name) else name)


def _short_regions(task):
    """The regions of a task of JSON-MIN, where each control is a key of the task, in the shape of the full format."""
    return [{"from_name": key, "value": region} for key, regions in task.items() if isinstance(regions, list)
            for region in regions if isinstance(region, dict) and {FRAMES, TIMES} & set(region)]


def _events(where, place, region, options):
    """The events of a region, their unit, and the seconds of the recording where the region states them."""
    value = region.get("value") if isinstance(region, dict) else None
    if not isinstance(value, dict):
        raise SpotError(f"{where}: is {short(region)}, without a `value`; was it fully exported?")
    if options.tiers is not None and region.get("from_name") not in options.tiers:
        return [], None, None
    length = region.get("original_length")
    kind = next((kind for kind in (FRAMES, TIMES) if kind in value), SOUND if length and SOUND in value else None)
    if kind is None:  # of the whole task, or a box in a frame
        return [], None, None
    labels = value[kind]
    if not isinstance(labels, list) or not labels:
        raise SpotError(f"{where}: has no label; give it one in Label Studio, or remove it")
    spans = [_frames(where, one) for one in _ranges(where, value)] if kind == FRAMES else [_seconds(where, value)]
    events = [Event(label_at(label, where), *span, place) for span in spans for label in labels]
    return events, kind if kind == FRAMES else TIMES, number(length, f"{where}, original_length") if length else None


def _ranges(where, value):
    ranges = value.get("ranges")
    if not isinstance(ranges, list) or not all(isinstance(one, dict) for one in ranges):
        raise SpotError(f"{where}: `ranges` is {short(ranges)}, not a list of start and end")
    return ranges


def _frames(where, span):
    """(first frame, last frame), the last None for a single one."""
    start, end = (whole_number(span.get(key), f"{where}, {key}") for key in ("start", "end"))
    return start, None if end == start else end


def _seconds(where, value):
    """(start, end) in seconds, the end None for a point."""
    for key in ("start", "end"):
        is_date = isinstance(value.get(key), str) and re.search(r"\d[-/:]\d", value[key])
        if is_date or number(value.get(key), f"{where}, {key}") > EPOCH_SEC:
            raise SpotError(f"{where}: {key} is {short(value[key])}, a date, where the seconds since the start of the "
                            "recording are needed; give the time series a time column in seconds, without timeFormat")
    start, end = (float(value[key]) for key in ("start", "end"))
    return start, None if value.get("instant") or end == start else end


# --- writing ----------------------------------------------------------------------------------------------------------


def write_label_studio(folder, recordings, class_names):
    """FOLDER/label_studio.json, a task with a prediction for every recording, in frames of a video, and
    FOLDER/label_studio.xml, the labeling interface that shows them.

    SpotError where a frame rate is not known.
    """
    for recording in recordings:
        if not recording.fps:
            raise SpotError(f"--write labelstudio: the frame rate of {recording.name!r} is not known, and Label Studio "
                            "counts frames in a video; give fps=25, say (of a data set: dataset.fps=25), or "
                            "--write labelstudio-timeseries, which counts seconds")
    tasks = [_task({"video": recording.media or recording.name, "fps": recording.fps}, recording, "timeline", "video",
                   FRAMES, lambda event, fps=recording.fps: {"ranges": [_as_frames(event, fps)]})
             for recording in recordings]
    _write(folder / "label_studio.json", tasks, "TimelineLabels", "timeline", "video", class_names,
           '<Video name="video" value="$video" frameRate="$fps"/>')


def write_label_studio_timeseries(folder, recordings, class_names):
    """FOLDER/label_studio.json and .xml, as `write_label_studio` for recordings of sensors: in seconds, over
    a table of the channels with a column `time` in seconds."""
    tasks = [_task({"csv": recording.media or f"{recording.name}.csv"}, recording, "label", "ts", TIMES,
            lambda event: {"start": round(event.start_sec, 3), "end": round(event.end_sec, 3), "instant": False})
             for recording in recordings]
    _write(folder / "label_studio.json", tasks, "TimeSeriesLabels", "label", "ts", class_names,
           '<TimeSeries name="ts" valueType="url" value="$csv" timeColumn="time">\n'
           '    <Channel column="CHANNEL"/>\n  </TimeSeries>')


def _task(data, recording, from_name, to_name, kind, place_of):
    """One task; the id of a region follows from what it is, so that the same detections make the same file."""
    results = [{"id": uuid.uuid5(uuid.NAMESPACE_OID, f"{recording.name} {number_of}").hex[:10], "from_name": from_name,
                "to_name": to_name, "type": kind, "origin": "prediction",
                "value": {**place_of(event), kind: [event.label]},
                **({} if event.score is None else {"score": round(event.score, 6)})}
               for number_of, event in enumerate(recording.events, 1)]
    scores = [event.score for event in recording.events if event.score is not None]
    prediction = {"model_version": MODEL, "result": results}
    if scores:  # Label Studio sorts tasks by it
        prediction["score"] = round(sum(scores) / len(scores), 6)
    return {"data": data, "predictions": [prediction]}


def _as_frames(event, fps):
    start = round(event.start_sec * fps) + 1
    return {"start": start, "end": max(round(event.end_sec * fps), start)}


def _write(path, tasks, control, name, target, class_names, shown):
    write_json(path, tasks)
    labels = "\n".join(f"    <Label value={quoteattr(label)}/>" for label in class_names)
    write_text(path.with_suffix(".xml"), f'<View>\n  <{control} name="{name}" toName="{target}">\n{labels}\n'
                                         f"  </{control}>\n  {shown}\n</View>\n")
