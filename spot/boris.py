"""BORIS: tables of aggregated events, of old and new versions, and whole projects, .boris (JSON)."""

import itertools
import math
import re
from collections import defaultdict

from spot.errors import SpotError
from spot.files import write_json
from spot.text import alike, clean, has_value, number, short
from spot.tool_recordings import Event, Recording, label_at, name_of

# Columns of aggregated events, as `alike` spells them; BORIS 2 to 7 has the first names, 8 and 9 the others.
COLUMNS = {
    "observation": ("observationid",),
    "media": ("mediafile", "mediafilename", "mediafilepath", "source"),
    "length": ("totallength", "mediaduration(s)"),
    "fps": ("fps", "fps(frame/s)"),
    "time_offset": ("timeoffset(s)",),
    "subject": ("subject",),
    "code": ("behavior",),
    "type": ("behaviortype",),
    "start": ("start(s)",),
    "stop": ("stop(s)",),
}
NEEDED = ("code", "type", "start", "stop")
PLAYER = re.compile(r"player\s*#1:\s*([^;]*)", re.IGNORECASE)  # what the column Source holds
NUM_PLAYERS = 8
PROJECT_VERSION = "7.0"  # of the format, since BORIS 7


# --- aggregated events ------------------------------------------------------------------------------------------------


def is_aggregated(columns):
    """Are these the columns of aggregated events?"""
    spelled = set(map(alike, columns))
    return all(spelled.intersection(COLUMNS[key]) for key in NEEDED)


def refuse_single_events(path, text):
    """SpotError for the other table that BORIS exports, with a row for each start and each stop."""
    first = [alike(cell) for cell in re.split(r"[\t,;]", text.lstrip().partition("\n")[0])]
    if first[:1] == ["observationid"] and not is_aggregated(first):
        raise SpotError(f"{path}: is BORIS's table of single events, which leaves open which stop belongs to which "
                        "start; export aggregated events (Observations > Export events > Aggregated events), or give "
                        "the .boris project")


def read_aggregated(path, columns, rows, options):
    """The recordings of a table of aggregated events. An observation is about its media file, a live one about itself.

    rows: (line, {column: cell}); options: as of all readers, not needed here
    SpotError with file and line for a state without a stop, one that overlaps another of its subject, code and
    modifiers, and an observation of several media files, of which the table does not say how long each is.
    """
    spelled = {alike(column): column for column in reversed(columns)}
    chosen = {key: next((spelled[name] for name in names if name in spelled), None) for key, names in COLUMNS.items()}
    modifiers = [column for column in columns if alike(column).startswith("modifier")]
    observations = defaultdict(list)
    for line, row in rows:
        cells = {key: row[column] if column else "" for key, column in chosen.items()}
        cells["media"] = next((row[spelled[name]] for name in COLUMNS["media"]
                               if name in spelled and has_value(row[spelled[name]])), "")
        if player := PLAYER.match(cells["media"]):
            cells["media"] = clean(player[1])
        cells["modifiers"] = tuple(row[column] for column in modifiers)
        observations[cells["observation"]].append((line, cells))
    return [_observation(path, name, own) for name, own in observations.items()]


def _observation(path, name, rows):
    """One observation of a table as a `Recording`."""
    where = f"{path}, observation {name!r}" if name else str(path)
    media = dict.fromkeys(cells["media"] for _, cells in rows)
    if len(media) > 1:
        raise SpotError(f"{where}: shows {len(media)} media files ({', '.join(media)}), and the table does not say how "
                        "long each is; give the .boris project instead")
    first = rows[0][1]
    states, events = defaultdict(list), []
    for line, cells in rows:
        event = _row_event(path, line, cells)
        events.append(event)
        if event.end_sec is not None:
            states[cells["subject"], cells["code"], cells["modifiers"]].append(event)
    for own in states.values():
        _refuse_overlaps(where, own)
    file = next(iter(media))
    if not (file or name):
        raise SpotError(f"{path}: line {rows[0][0]}: names neither an observation nor a media file; export both "
                        "columns")
    return Recording(name_of(file or name), where, events, media=file or None, duration_sec=_fact(first["length"]),
                     fps=_fact(first["fps"]))


def _row_event(path, line, cells):
    where = f"{path}: line {line}"
    label = label_at(cells["code"], where)
    offset = number(cells["time_offset"], f"{where}, time offset") if has_value(cells["time_offset"]) else 0.0
    start = number(cells["start"], f"{where}, start of {label!r}") - offset
    kind = cells["type"].upper()
    if kind == "POINT":
        return Event(label, start, None, f"line {line}")
    if kind != "STATE":
        raise SpotError(f"{where}: the type of {label!r} is {short(cells['type'])}, not STATE or POINT; export "
                        "aggregated events")
    if not has_value(cells["stop"]):
        raise SpotError(f"{where}: the state {label!r} starts at {start:g} s and never stops; add its stop in BORIS")
    return Event(label, start, number(cells["stop"], f"{where}, stop of {label!r}") - offset, f"line {line}")


def _fact(cell):
    """A positive number, None for NA, 0 and lists such as `359.96;179.96`."""
    try:
        found = float(cell)
    except ValueError:
        return None
    return found if 0 < found < math.inf else None


def _refuse_overlaps(where, events):
    """SpotError where two states of one subject, code and modifiers share time."""
    for one, other in itertools.pairwise(sorted(events, key=lambda event: (event.start_sec, event.end_sec))):
        if other.start_sec < one.end_sec:
            raise SpotError(f"{where}, {other.where}: {other.label!r} starts at {other.start_sec:g} s, while that of "
                            f"{one.where} lasts from {one.start_sec:g} s to {one.end_sec:g} s; a state cannot start "
                            "twice, so remove or mend one of them")


# --- projects ---------------------------------------------------------------------------------------------------------


def is_project(data):
    """Is this parsed JSON a project of BORIS?"""
    return isinstance(data, dict) and "observations" in data and "behaviors_conf" in data


def read_project(path, data, options):
    """The recordings of a .boris project: of every observation its media, which the first player shows one after the
    other; a live observation is about itself. Times are those of the player, so the time offset comes off.

    options: as of all readers, not needed here
    SpotError with observation and event for a state that starts and never stops, a code that is not in the ethogram,
    and for media without a length where several follow each other.
    """
    ethogram, observations = data["behaviors_conf"], data["observations"]
    if not isinstance(ethogram, dict) or not isinstance(observations, dict):
        raise SpotError(f"{path}: is not a BORIS project: `behaviors_conf` and `observations` must be objects")
    codes = {entry["code"]: str(entry.get("type", "")) for entry in ethogram.values()
             if isinstance(entry, dict) and isinstance(entry.get("code"), str)}
    return [recording for name, entry in observations.items()
            for recording in _recordings(f"{path}, observation {name!r}", name, entry, codes)]


def _recordings(where, name, entry, codes):
    """The recordings that one observation shows."""
    if not isinstance(entry, dict) or not isinstance(entry.get("events", []), list):
        raise SpotError(f"{where}: has no list of `events`; was the project fully saved?")
    offset = number(entry.get("time offset") or 0, f"{where}, time offset")
    events = _paired(where, entry.get("events", []), offset, codes)
    media = _object(entry.get("file")).get("1") or []
    if not media:
        return [Recording(name_of(name), where, events)]
    if not isinstance(media, list) or not all(isinstance(file, str) for file in media):
        raise SpotError(f"{where}: its media are {short(media)}, not a list of files; was the project fully saved?")
    info = _object(entry.get("media_info"))
    facts = {file: {key: _fact(str(_object(info.get(key)).get(file, ""))) for key in ("length", "fps")}
             for file in media}
    if len(media) == 1:
        return [_recording(where, media[0], events, facts)]
    if unknown := [file for file in media if facts[file]["length"] is None]:
        raise SpotError(f"{where}: shows {len(media)} media files one after the other, and the length of "
                        f"{unknown[0]!r} is not known; open the observation in BORIS, where the file is found, and "
                        "save it")
    ends = list(itertools.accumulate(facts[file]["length"] for file in media))
    spans = zip([0.0, *ends], [*ends[:-1], math.inf], strict=False)
    return [_recording(where, file, _within(events, *span), facts) for file, span in zip(media, spans, strict=False)]


def _object(value):
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _recording(where, file, events, facts):
    return Recording(name_of(file), where, events, media=file, duration_sec=facts[file]["length"],
                     fps=facts[file]["fps"])


def _within(events, begin, end):
    """The events of the part [begin, end) of an observation, in seconds from its begin on."""
    parts = [(event, max(event.start_sec, begin), event.start_sec if event.end_sec is None else min(event.end_sec, end))
             for event in events]
    return [Event(event.label, start - begin, None if event.end_sec is None else stop - begin, event.where)
            for event, start, stop in parts
            if (start < stop if event.end_sec is not None else begin <= event.start_sec < end)]


def _paired(where, rows, offset, codes):
    """The events of an observation: of each state the first row is its start, the next of that subject, code and
    modifiers its stop, and so on."""
    open_states, events = {}, []
    rows = [(*_row(where, index, row, offset, codes), index) for index, row in enumerate(rows, 1)]
    for time, subject, code, modifiers, index in sorted(rows, key=lambda row: (row[0], row[-1])):
        place = f"event {index}"
        if "state" not in codes[code].lower():
            events.append(Event(label_at(code, f"{where}, {place}"), time, None, place))
            continue
        start = open_states.pop((subject, code, modifiers), None)
        if start is None:
            open_states[subject, code, modifiers] = (time, place)
        else:
            events.append(Event(label_at(code, f"{where}, {place}"), start[0], time, start[1]))
    for (_, code, _), (time, place) in open_states.items():
        raise SpotError(f"{where}, {place}: the state {code!r} has one time, {time:g} s, without the other: its start "
                        "or its stop is missing; add it in BORIS (Observations > Check state events)")
    return sorted(events, key=lambda event: event.start_sec)


def _row(where, index, row, offset, codes):
    """(time in seconds, subject, code, modifiers) of an event of a project."""
    if not isinstance(row, list) or len(row) < 3:
        raise SpotError(f"{where}, event {index}: is {short(row)}, not [time, subject, code, modifiers, comment]")
    if not isinstance(row[2], str) or row[2] not in codes:
        raise SpotError(f"{where}, event {index}: the code {short(row[2])} is not in the ethogram (`behaviors_conf`); "
                        "add it in BORIS, or remove the event")
    time, modifiers = number(row[0], f"{where}, event {index}, time"), row[3] if len(row) > 3 else ""
    return time - offset, str(row[1]), row[2], str(modifiers)


# --- writing ----------------------------------------------------------------------------------------------------------


def write_boris(folder, recordings, class_names):
    """FOLDER/detections.boris, a project with an observation for every recording; the score is the comment of a start.

    Every class is a state event of the ethogram.
    """
    ethogram = {str(index): {"type": "State event", "key": "", "code": label, "description": "", "color": "",
                             "category": "", "modifiers": {}, "excluded": "", "coding map": ""}
                for index, label in enumerate(class_names)}
    project = {
        "time_format": "hh:mm:ss", "project_date": "", "project_name": "detections", "project_description": "",
        "project_format_version": PROJECT_VERSION, "subjects_conf": {}, "behaviors_conf": ethogram,
        "observations": {recording.name: _as_observation(recording) for recording in recordings},
        "behavioral_categories": [], "behavioral_categories_config": {}, "independent_variables": {}, "coding_map": {},
        "behaviors_coding_map": [], "converters": {}}
    write_json(folder / "detections.boris", project)


def _as_observation(recording):
    """One recording as an observation of a project."""
    media, events = recording.media or recording.name, []
    for event in recording.events:
        comment = "" if event.score is None else f"score {event.score:.3g}"
        frames = [math.floor(time * recording.fps) if recording.fps else "NA"
                  for time in (event.start_sec, event.end_sec)]
        events += [[round(event.start_sec, 3), "", event.label, "", comment, frames[0]],
                   [round(event.end_sec, 3), "", event.label, "", "", frames[1]]]
    files = {str(player): [] for player in range(1, NUM_PLAYERS + 1)} | {"1": [media]}
    info = {"length": {media: recording.duration_sec or 0}, "fps": {media: recording.fps or 0},
            "hasVideo": {media: True}, "hasAudio": {media: False},
            "offset": dict.fromkeys(files, 0.0)}
    return {"file": files, "type": "MEDIA", "date": "1970-01-01T00:00:00", "description": "", "time offset": 0.0,
            "events": sorted(events, key=lambda row: row[0]), "observation time interval": [0, 0],
            "independent_variables": {}, "visualize_spectrogram": False, "visualize_waveform": False,
            "close_behaviors_between_videos": False, "scan_sampling_time": 0, "start_from_current_time": False,
            "media_info": info}
