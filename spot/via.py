"""Projects of VIA 3, the VGG Image Annotator for audio and video: JSON with temporal segments as `metadata`."""

import re
import time

from spot.errors import SpotError
from spot.files import write_json
from spot.text import clean, listing, number, short
from spot.tool_recordings import Event, Recording, label_at, name_of

ANCHOR = "FILE1_Z2_XY0"  # an attribute of a temporal segment of one file
TEXT, CHECKBOX, RADIO, SELECT = 1, 2, 3, 4  # types of attributes
AUDIO_AND_VIDEO = (4, 8)  # types of files; 2 is a picture
VIDEO, LOCAL, WEB = 4, 1, 2  # a type of files; where a file is


def is_via(data):
    """Is this parsed JSON a project of VIA 3?"""
    return isinstance(data, dict) and {"file", "view", "metadata", "attribute"} <= set(data)


def read_via(path, data, options):
    """The recordings of a VIA 3 project. Regions of pictures and frames are left aside.

    The class of a segment is the chosen option of its attribute, or the text in it, of the attributes that
    `options.tiers` names, else of those with options, else of all. A segment of two such attributes has two classes.
    SpotError for a part that is missing or broken, with the key of the segment.
    """
    if not all(isinstance(data[key], dict) for key in ("file", "view", "metadata", "attribute")):
        raise SpotError(f"{path}: is not a project of VIA 3: `file`, `view`, `metadata` and `attribute` must be "
                        "objects")
    attributes = _attributes(path, data["attribute"], options)
    views = {view: _file_of(path, view, entry, data["file"]) for view, entry in data["view"].items()}
    events = {view: [] for view, file in views.items() if file.get("type", VIDEO) in AUDIO_AND_VIDEO}
    for key, entry in data["metadata"].items():
        where = f"{path}, segment {key!r}"
        if not isinstance(entry, dict) or str(entry.get("vid")) not in views:
            raise SpotError(f"{where}: names no `vid` that is in `view`; was the project fully saved?")
        view = str(entry["vid"])
        if view in events and not entry.get("xy") and entry.get("z"):
            events[view] += _events(where, f"segment {key!r}", entry, attributes)
    return [Recording(name_of(views[view]["fname"]), str(path), sorted(own, key=lambda event: event.start_sec),
                      media=views[view].get("src") or views[view]["fname"]) for view, own in events.items()]


def _attributes(path, attributes, options):
    """{id: attribute} of those that hold classes."""
    temporal = {key: entry for key, entry in attributes.items()
                if isinstance(entry, dict) and entry.get("anchor_id") == ANCHOR}
    if options.tiers is None:
        return {key: entry for key, entry in temporal.items() if entry.get("type") != TEXT} or temporal
    names = {clean(str(entry.get("aname"))): key for key, entry in temporal.items()}
    if missing := [name for name in options.tiers if name not in names]:
        raise SpotError(f"{path}: {listing(missing)} no attribute of temporal segments in this file, which has "
                        f"{', '.join(names) or 'none'}; mend dataset.tiers")
    return {names[name]: temporal[names[name]] for name in options.tiers}


def _file_of(path, view, entry, files):
    """The file that a view shows, the first where it shows several beside each other."""
    shown = entry.get("fid_list") if isinstance(entry, dict) else None
    file = files.get(str(shown[0])) if isinstance(shown, list) and shown else None
    if not isinstance(file, dict) or not isinstance(file.get("fname"), str):
        raise SpotError(f"{path}, view {view!r}: shows no file that is in `file`; was the project fully saved?")
    return file


def _events(where, place, entry, attributes):
    """The events of one segment, one for each of its classes."""
    times, values = entry["z"], entry.get("av")
    if not isinstance(times, list) or len(times) > 2:
        raise SpotError(f"{where}: `z` is {short(times)}, not [start, end] in seconds")
    start, *end = (number(value, f"{where}, `z`") for value in times)
    labels = [label for key, attribute in attributes.items()
              for label in _labels(where, attribute, (values if isinstance(values, dict) else {}).get(key))]
    if not labels:
        raise SpotError(f"{where}: no attribute of it is a class; choose one in VIA, or name the attribute that is by "
                        "dataset.tiers=[NAME]")
    return [Event(label, start, end[0] if end else None, place) for label in labels]


def _labels(where, attribute, value):
    """The classes in the value of an attribute: names of its options, or the text itself."""
    if not isinstance(value, str) or not clean(value):
        return []
    options = attribute.get("options")
    if attribute.get("type") == TEXT or not isinstance(options, dict) or not options:
        return [label_at(value, where)]
    chosen = value.split(",") if attribute.get("type") == CHECKBOX else [value]
    return [label_at(options.get(one, one), where) for one in chosen if one]


def write_via(folder, recordings, class_names):
    """FOLDER/via.json, one project with all recordings; the score is a text attribute. """
    numbered = {str(number): recording for number, recording in enumerate(recordings, 1)}
    options = {label: str(number) for number, label in enumerate(class_names)}
    metadata = {}
    for view, recording in numbered.items():
        for number_in_view, event in enumerate(recording.events, 1):
            values = {"1": options[event.label]}
            if event.score is not None:
                values["2"] = f"{event.score:.3g}"
            metadata[f"{view}_{number_in_view:08d}"] = {
                "vid": view, "flg": 0, "z": [round(event.start_sec, 3), round(event.end_sec, 3)], "xy": [],
                "av": values}
    attribute = {"anchor_id": ANCHOR, "default_option_id": ""}
    project = {
        "project": {"pid": "__VIA_PROJECT_ID__", "rev": "__VIA_PROJECT_REV_ID__",
                    "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__", "pname": "detections", "creator": "SPOT",
                    "created": int(time.time() * 1000), "data_format_version": "3.1.1", "vid_list": list(numbered)},
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}},
                   "ui": {"file_content_align": "center", "file_metadata_editor_visible": True,
                          "spatial_metadata_editor_visible": True, "temporal_segment_metadata_editor_visible": True,
                          "spatial_region_label_attribute_id": "", "gtimeline_visible_row_count": "4"}},
        "attribute": {
            "1": {"aname": "action", "type": SELECT, "desc": "class of the action",
                  "options": {number: label for label, number in options.items()}, **attribute},
            "2": {"aname": "score", "type": TEXT, "desc": "score of the detection", "options": {}, **attribute}},
        "file": {view: {"fid": view, **_media(recording)} for view, recording in numbered.items()},
        "metadata": metadata,
        "view": {view: {"fid_list": [view]} for view in numbered}}
    write_json(folder / "via.json", project)


def _media(recording):
    """Where VIA finds the video: on the web, or where it asks for a local file, by the name that the user sees."""
    media = recording.media or recording.name
    is_web = re.match(r"https?://", media)
    return {"fname": re.split(r"[\\/]", media)[-1], "type": VIDEO, "loc": WEB if is_web else LOCAL,
            "src": media if is_web else ""}
