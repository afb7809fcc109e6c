"""ELAN's annotation files, .eaf (EAF 2.x and 3.0): XML with a table of time slots in milliseconds and tiers over it."""

import datetime
import re
from pathlib import PurePath
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET
from xml.parsers import expat

from spot.errors import SpotError
from spot.files import write_text
from spot.text import clean, listing, whole_number
from spot.tool_recordings import Event, Recording, label_at, name_of

SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
# What every file of ELAN ends with: the kinds of tiers that depend on another one.
CONSTRAINTS = (
    ("Time_Subdivision",
     "Time subdivision of parent annotation's time interval, no time gaps allowed within this interval"),
    ("Symbolic_Subdivision",
     "Symbolic subdivision of a parent annotation. Annotations refering to the same parent are ordered"),
    ("Symbolic_Association", "1-1 association with a parent annotation"),
    ("Included_In", "Time alignable annotations within the parent annotation's time interval, gaps are allowed"),
)
MIME_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mpg": "video/mpeg", ".mpeg": "video/mpeg",
              ".mov": "video/quicktime", ".wav": "audio/x-wav"}


# --- reading ----------------------------------------------------------------------------------------------------------


def parse_xml(text, path):
    """The root element of an XML text; SpotError for what is no XML, and for a document type (DTD), whose entities
    could unfold to more than any memory holds or fetch other files."""
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_):
        raise SpotError(f"{path}: line {parser.CurrentLineNumber}: declares a document type (DTD), which no file of "
                        "ELAN does; is it the right file?")

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text, True)
        return builder.close()
    except expat.ExpatError as error:
        raise SpotError(f"{path}: is not valid XML ({error}); was it fully downloaded?") from error


def read_eaf(path, root, options):
    """The recording of an .eaf file: the annotations of `options.tiers`, or of all tiers that have times of their own.

    root: of `parse_xml`; `options.classes_from`: the values of annotations or the names of tiers are the classes
    Annotations that refer to others, of which most are notes and translations, are read on tiers that are named.
    SpotError for another XML file, a tier that is not there, a slot without a time, and an annotation without a value.
    """
    if root.tag != "ANNOTATION_DOCUMENT":
        raise SpotError(f"{path}: is XML of another kind (<{root.tag}>), not ELAN's <ANNOTATION_DOCUMENT>; give an "
                        ".eaf file")
    header = root.find("HEADER")
    unit = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if unit != "milliseconds":
        raise SpotError(f"{path}: its times are in {unit}, not in milliseconds; save it with ELAN 4 or newer")
    times = TimesOfAnnotations(root, path)
    events = [_event(annotation, tier, times, path, options) for tier in _tiers(root, path, options)
              for annotation in tier.iterfind("ANNOTATION/*")
              if annotation.tag == "ALIGNABLE_ANNOTATION" or (options.tiers and annotation.tag == "REF_ANNOTATION")]
    media = [_media_of(entry) for entry in root.iterfind("HEADER/MEDIA_DESCRIPTOR")]
    media = [file for file in media if file]
    names = {name_of(file) for file in media}
    # A picture and its sound may be two files; two views of one recording are called by the file that annotates them.
    name = names.pop() if len(names) == 1 else name_of(path.stem)
    events.sort(key=lambda event: event.start_sec)
    return [Recording(name, str(path), events, media=next(iter(media), None))]


def _tiers(root, path, options):
    """The tiers to read."""
    tiers = {clean(tier.get("TIER_ID", "")): tier for tier in root.iterfind("TIER")}
    if options.tiers is None:
        return list(tiers.values())
    if missing := [name for name in options.tiers if name not in tiers]:
        raise SpotError(f"{path}: {listing(missing)} no tier of this file, which has {', '.join(tiers) or 'none'}; "
                        "mend dataset.tiers")
    return [tiers[name] for name in options.tiers]


class TimesOfAnnotations:
    """When the annotations of a document are: by slots of their own, or by the annotation that they refer to.

    A symbolic association has the time of the annotation that it refers to. Of several annotations of a tier that refer
    to one, a symbolic subdivision, each has an equal part, in their order. Between slots with a time, those of a time
    subdivision that nobody has aligned are evenly spaced. ELAN shows them so.
    """

    def __init__(self, root, path):
        self.path = path
        slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iterfind("TIME_ORDER/TIME_SLOT")}
        self.known, self.by_id, self.parts = slots, {}, {}
        self.spaced = {}  # slot without a time -> (slot before, slot behind, share of the way)
        for tier in root.iterfind("TIER"):
            own = list(tier.iterfind("ANNOTATION/*"))
            self.by_id.update((one.get("ANNOTATION_ID"), one) for one in own)
            self._space([one for one in own if one.tag == "ALIGNABLE_ANNOTATION"])
            self._divide([one for one in own if one.tag == "REF_ANNOTATION"])

    def _space(self, annotations):
        """Find the slots of one tier that lie, without a time, in a chain between two that have one."""
        following = {one.get("TIME_SLOT_REF1"): one.get("TIME_SLOT_REF2") for one in annotations}
        for first in [slot for slot in following if self.known.get(slot) is not None]:
            chain, slot = [], following[first]
            while slot in following and self.known.get(slot) is None and slot not in chain:
                chain.append(slot)
                slot = following[slot]
            if self.known.get(slot) is not None:
                self.spaced |= {one: (first, slot, place / (len(chain) + 1)) for place, one in enumerate(chain, 1)}

    def _divide(self, annotations):
        """Find which part of the annotation that they refer to those of one tier take: (place, number of parts)."""
        children = {}
        for one in annotations:
            children.setdefault(one.get("ANNOTATION_REF"), []).append(one)
        for own in children.values():
            behind = {one.get("PREVIOUS_ANNOTATION"): one.get("ANNOTATION_ID") for one in own}
            order, name = [], behind.get(None)
            while name is not None and name not in order:
                order.append(name)
                name = behind.get(name)
            if len(order) < len(own):  # without that order, the one of the file
                order = [one.get("ANNOTATION_ID") for one in own]
            self.parts |= {name: (place, len(own)) for place, name in enumerate(order)}

    def of(self, annotation, place, seen=()):
        """(start, end) of an annotation in seconds; SpotError for what has no time. place: for messages."""
        if annotation.tag == "ALIGNABLE_ANNOTATION":
            return tuple(self._of_slot(annotation.get(key), place) for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"))
        name, parent = annotation.get("ANNOTATION_ID"), annotation.get("ANNOTATION_REF")
        if parent not in self.by_id or parent in (name, *seen):
            wrong = "itself" if parent in self.by_id else f"{parent}, which is not in the file"
            raise SpotError(f"{self.path}: {place}: refers to {wrong}, so nothing tells its time; mend it in ELAN")
        start, end = self.of(self.by_id[parent], place, (*seen, name))
        index, count = self.parts[name]
        return start + (end - start) * index / count, start + (end - start) * (index + 1) / count

    def _of_slot(self, slot, place):
        if slot in self.spaced:
            before, behind, share = self.spaced[slot]
            start, end = self._of_slot(before, place), self._of_slot(behind, place)
            return start + share * (end - start)
        if self.known.get(slot) is None:
            raise SpotError(f"{self.path}: {place}: its time slot {slot} has no time; align it in ELAN")
        return whole_number(self.known[slot], f"{self.path}: {place}") / 1000


def _event(annotation, tier, of_document, path, options):
    """One annotation as an `Event`; of_document: `TimesOfAnnotations`."""
    name = tier.get("TIER_ID", "")
    place = f"annotation {annotation.get('ANNOTATION_ID')} of tier {name!r}"
    times = of_document.of(annotation, place)
    if options.classes_from == "tiers":
        return Event(label_at(name, f"{path}: {place}"), *times, place)
    value = annotation.findtext("ANNOTATION_VALUE") or ""
    if not clean(value):
        raise SpotError(f"{path}: {place}: has no value, which is its class; give it one, or "
                        "dataset.classes_from=tiers where the tiers are the classes")
    return Event(label_at(value, f"{path}: {place}"), *times, place)


def _media_of(entry):
    """The media file of a MEDIA_DESCRIPTOR: `file:///C:/videos/x%201.mp4` is `C:/videos/x 1.mp4`."""
    url = entry.get("MEDIA_URL") or entry.get("RELATIVE_MEDIA_URL") or ""
    local = re.fullmatch(r"file:/{2,3}(\.?/)?((?:[A-Za-z]:)?.*)", url)
    if local is None:
        return unquote(url)
    is_relative = local[1] == "./" or re.match(r"[A-Za-z]:", local[2])
    return unquote(local[2] if is_relative else f"/{local[2].lstrip('/')}")


# --- writing ----------------------------------------------------------------------------------------------------------


def write_eaf(folder, recordings, class_names):
    """FOLDER/VIDEO.eaf for every recording, with a tier for every class, because annotations of one tier cannot
    overlap; the value is the class too, so that a change of the value, from a menu, is a change of the class.

    EAF has no place for a score.
    """
    for recording in recordings:
        root = _document(recording, class_names)
        ET.indent(root, "    ")
        text = ET.tostring(root, encoding="unicode")
        write_text(folder / f"{recording.name}.eaf", f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _document(recording, class_names):
    """The root element of one file."""
    root = ET.Element("ANNOTATION_DOCUMENT", {
        "AUTHOR": "SPOT", "DATE": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "FORMAT": "3.0",
        "VERSION": "3.0", "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
        "xsi:noNamespaceSchemaLocation": SCHEMA})
    header = ET.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if recording.media:
        ET.SubElement(header, "MEDIA_DESCRIPTOR", _descriptor(recording.media))
    events = [(event, *_milliseconds(event)) for event in recording.events]
    ET.SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId").text = str(len(events))
    times = sorted({time for _, *both in events for time in both})
    slots = {time: f"ts{number}" for number, time in enumerate(times, 1)}
    order = ET.SubElement(root, "TIME_ORDER")
    for time, slot in slots.items():
        ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(time))
    number = 0
    for label in class_names:
        tier = ET.SubElement(root, "TIER", LINGUISTIC_TYPE_REF="action", TIER_ID=label)
        for event, start, end in sorted(events, key=lambda timed: timed[1:]):
            if event.label == label:
                number += 1
                annotation = ET.SubElement(ET.SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", {
                    "ANNOTATION_ID": f"a{number}", "TIME_SLOT_REF1": slots[start], "TIME_SLOT_REF2": slots[end]})
                ET.SubElement(annotation, "ANNOTATION_VALUE").text = label
    _add_kinds(root, class_names)
    return root


def _add_kinds(root, class_names):
    """What the end of a file declares: the type of the tiers, and the menu of their values."""
    ET.SubElement(root, "LINGUISTIC_TYPE", CONTROLLED_VOCABULARY_REF="classes", GRAPHIC_REFERENCES="false",
                  LINGUISTIC_TYPE_ID="action", TIME_ALIGNABLE="true")
    ET.SubElement(root, "LANGUAGE", LANG_DEF="http://cdb.iso.org/lg/CDB-00130975-001", LANG_ID="und",
                  LANG_LABEL="undetermined (und)")
    for stereotype, description in CONSTRAINTS:
        ET.SubElement(root, "CONSTRAINT", DESCRIPTION=description, STEREOTYPE=stereotype)
    vocabulary = ET.SubElement(root, "CONTROLLED_VOCABULARY", CV_ID="classes")
    ET.SubElement(vocabulary, "DESCRIPTION", LANG_REF="und")
    for number, label in enumerate(class_names):
        entry = ET.SubElement(vocabulary, "CV_ENTRY_ML", CVE_ID=f"cveid{number}")
        ET.SubElement(entry, "CVE_VALUE", DESCRIPTION="", LANG_REF="und").text = label


def _milliseconds(event):
    start = max(round(event.start_sec * 1000), 0)
    return start, max(round(event.end_sec * 1000), start + 1)  # ELAN knows no annotation without a duration


def _descriptor(media):
    """The attributes of a MEDIA_DESCRIPTOR; the relative one finds the video beside the .eaf file."""
    name = re.split(r"[\\/]", media)[-1]
    path = quote(media.replace("\\", "/"), safe="/:")
    if re.match(r"[A-Za-z]:", path):
        path = f"/{path}"
    local = path if re.match(r"[a-z]{2,}://", path) else f"file://{path if path.startswith('/') else f'/./{path}'}"
    return {"MEDIA_URL": local, "MIME_TYPE": MIME_TYPES.get(PurePath(name).suffix.lower(), "unknown"),
            "RELATIVE_MEDIA_URL": f"./{quote(name)}"}
