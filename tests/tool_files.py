"""Files as the annotation tools write them, for the tests of their readers."""

import json

# BORIS 7, Observations > Export events > Aggregated events, as TSV; `weather` is an independent variable.
BORIS_OLD = """\
Observation id\tObservation date\tMedia file\tTotal length\tFPS\tweather\tSubject\tBehavior\tBehavioral category\t\
Modifiers\tBehavior type\tStart (s)\tStop (s)\tDuration (s)\tComment start\tComment stop
day 1\t2016-12-01 23:01:31\tvideos/cam1.mp4\t179.960\t25.0\tsunny\tanna\twalk\t\
locomotion\t\tSTATE\t1.800\t8.125\t6.325\t\t
day 1\t2016-12-01 23:01:31\tvideos/cam1.mp4\t179.960\t25.0\tsunny\tben\twalk\t\
locomotion\t\tSTATE\t5.000\t9.000\t4.000\t\t
day 1\t2016-12-01 23:01:31\tvideos/cam1.mp4\t179.960\t25.0\tsunny\tanna\tsit\t\
\t\tSTATE\t8.125\t23.350\t15.225\tsee video\t
day 2\t2016-12-02 10:00:00\tvideos/cam2.mp4\t60.000\t30.0\train\tNo focal subject\tsit\t\
\t\tSTATE\t0.500\t4.000\t3.500\t\t
"""

# BORIS 8 and 9, the same as CSV.
BORIS_NEW = """\
Observation id,Observation date,Description,Observation type,Source,Time offset (s),Coding duration,Media duration (s),\
FPS (frame/s),weather,Subject,Observation duration by subject by observation,Behavior,Behavioral category,Modifier #1,\
Behavior type,Start (s),Stop (s),Duration (s),Media file name,Image index start,Image index stop,Image file path start,\
Image file path stop,Comment start,Comment stop
day 1,2025-09-06 14:58:19,,Media file,player #1:videos/cam1.mp4,100.0,170.000,179.960,25.000,sunny,anna,170.000,walk,\
locomotion,slow,STATE,101.800,108.125,6.325,videos/cam1.mp4,45,203,,,,
day 1,2025-09-06 14:58:19,,Media file,player #1:videos/cam1.mp4,100.0,170.000,179.960,25.000,sunny,anna,170.000,sit,,\
,STATE,108.125,123.350,15.225,videos/cam1.mp4,203,583,,,,
"""


def boris_project(**observations):
    """A .boris project of BORIS 7 to 9 with the state `walk` (of two modifiers) and `sit`, and the point `call`."""
    codes = {"walk": "State event", "sit": "State event", "call": "Point event"}
    return json.dumps({
        "time_format": "hh:mm:ss", "project_date": "2025-09-06T14:00:00", "project_name": "test",
        "project_description": "", "project_format_version": "7.0",
        "subjects_conf": {"0": {"key": "1", "name": "anna", "description": ""}},
        "behaviors_conf": {str(index): {"type": kind, "key": code[0], "code": code, "description": "", "category": "",
                                        "modifiers": {}, "excluded": "", "coding map": ""}
                           for index, (code, kind) in enumerate(codes.items())},
        "observations": observations, "behavioral_categories": [], "independent_variables": {}, "coding_map": {},
        "behaviors_coding_map": [], "converters": {}})


def boris_observation(*events, media=("/home/anna/cam1.mp4",), length=60.0, fps=25.0, offset=0.0):
    """An observation of (time, subject, code, modifiers) rows over media that the first player shows in turn."""
    return {"file": {"1": list(media), **{str(player): [] for player in range(2, 9)}}, "type": "MEDIA",
            "date": "2025-09-06T14:58:19", "description": "", "time offset": offset,
            "events": [[*event, "", 10] for event in events], "observation time interval": [0, 0],
            "independent_variables": {}, "visualize_spectrogram": False, "visualize_waveform": False,
            "close_behaviors_between_videos": False, "scan_sampling_time": 0,
            "media_info": {"length": dict.fromkeys(media, length), "fps": dict.fromkeys(media, fps),
                           "hasVideo": dict.fromkeys(media, True), "hasAudio": dict.fromkeys(media, False),
                           "offset": {"1": 0.0}}}


# ELAN 6: a tier of gestures, whose values are the classes, a tier of speech, and translations that depend on it.
ELAN = """\
<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2025-03-24T18:09:00+01:00" FORMAT="3.0" VERSION="3.0" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Users/anna/my%20videos/cam1.mp4" \
MIME_TYPE="video/mp4" RELATIVE_MEDIA_URL="./cam1.mp4"/>
        <MEDIA_DESCRIPTOR EXTRACTED_FROM="file:///C:/Users/anna/my%20videos/cam1.mp4" \
MEDIA_URL="file:///C:/Users/anna/my%20videos/cam1.wav" MIME_TYPE="audio/x-wav" RELATIVE_MEDIA_URL="./cam1.wav"/>
        <PROPERTY NAME="URN">urn:nl-mpi-tools-elan-eaf:c45b7718-9185-49a2-8ff4-f59257751cb2</PROPERTY>
        <PROPERTY NAME="lastUsedAnnotationId">4</PROPERTY>
    </HEADER>
    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/>
        <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="2500"/>
        <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="2500"/>
        <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="4120"/>
        <TIME_SLOT TIME_SLOT_ID="ts5" TIME_VALUE="500"/>
        <TIME_SLOT TIME_SLOT_ID="ts6" TIME_VALUE="3000"/>
    </TIME_ORDER>
    <TIER ANNOTATOR="anna" LINGUISTIC_TYPE_REF="gesture" PARTICIPANT="ben" TIER_ID="gestures">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" CVE_REF="cveid0" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
                <ANNOTATION_VALUE>wave</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
                <ANNOTATION_VALUE>point &amp; hold</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="speech">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts5" TIME_SLOT_REF2="ts6">
                <ANNOTATION_VALUE>hello there</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="translation" PARENT_REF="speech" TIER_ID="english">
        <ANNOTATION>
            <REF_ANNOTATION ANNOTATION_ID="a4" ANNOTATION_REF="a3">
                <ANNOTATION_VALUE>hello</ANNOTATION_VALUE>
            </REF_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>
    <LINGUISTIC_TYPE CONTROLLED_VOCABULARY_REF="gestures" GRAPHIC_REFERENCES="false" \
LINGUISTIC_TYPE_ID="gesture" TIME_ALIGNABLE="true"/>
    <LINGUISTIC_TYPE CONSTRAINTS="Symbolic_Association" GRAPHIC_REFERENCES="false" \
LINGUISTIC_TYPE_ID="translation" TIME_ALIGNABLE="false"/>
    <CONSTRAINT DESCRIPTION="1-1 association with a parent annotation" STEREOTYPE="Symbolic_Association"/>
</ANNOTATION_DOCUMENT>
"""

# VIA 3.0.11: a select attribute with options, one of free text, a segment without any, a box in a frame.
VIA = {
    "project": {"pid": "__VIA_PROJECT_ID__", "rev": "__VIA_PROJECT_REV_ID__",
                "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__", "pname": "test",
                "creator": "VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)",
                "created": 1573815248007, "vid_list": ["1", "2"]},
    "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}},
               "ui": {"file_content_align": "center", "file_metadata_editor_visible": True,
                      "spatial_metadata_editor_visible": True, "temporal_segment_metadata_editor_visible": True,
                      "spatial_region_label_attribute_id": "", "gtimeline_visible_row_count": "4"}},
    "attribute": {"1": {"aname": "activity", "anchor_id": "FILE1_Z2_XY0", "type": 4, "desc": "",
                        "options": {"0": "walk", "1": "sit"}, "default_option_id": ""},
                  "2": {"aname": "note", "anchor_id": "FILE1_Z2_XY0", "type": 1, "desc": "", "options": {},
                        "default_option_id": ""},
                  "3": {"aname": "object", "anchor_id": "FILE1_Z1_XY1", "type": 1, "desc": "", "options": {},
                        "default_option_id": ""}},
    "file": {"1": {"fid": "1", "fname": "cam1.mp4", "type": 4, "loc": 1, "src": ""},
             "2": {"fid": "2", "fname": "cam2.mp4", "type": 4, "loc": 2, "src": "https://example.org/cam2.mp4"}},
    "metadata": {"1_aB3dE6gH": {"vid": "1", "flg": 0, "z": [1.5, 4.25], "xy": [], "av": {"1": "0", "2": "slow"}},
                 "1_zY8xW5vU": {"vid": "1", "flg": 0, "z": [0.25, 1.5], "xy": [], "av": {"1": "1"}},
                 "1_kL2mN4oP": {"vid": "1", "flg": 0, "z": [2.0], "xy": [2, 10, 10, 50, 60], "av": {"3": "cup"}}},
    "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
}


def label_studio_task(number, media, *regions, **more):
    """A task as Label Studio exports it (JSON), annotated by one person with the regions."""
    annotation = {"id": 10 + number, "completed_by": 1, "result": list(regions), "was_cancelled": False,
                  "ground_truth": False, "created_at": "2025-03-09T22:16:08.728353Z",
                  "updated_at": "2025-03-09T22:16:08.728378Z", "draft_created_at": None, "lead_time": 4.288,
                  "prediction": {}, "result_count": len(regions), "unique_id": "3c4e", "task": number, "project": 1}
    return {"id": number, "annotations": [annotation], "file_upload": media.split("/")[-1], "drafts": [],
            "predictions": [], "data": {"video": media}, "meta": {}, "created_at": "2025-03-09T21:52:49.513742Z",
            "updated_at": "2025-03-09T22:16:08.746926Z", "inner_id": number, "total_annotations": 1, "project": 1,
            **more}


def timeline_region(label, start, end):
    return {"value": {"ranges": [{"start": start, "end": end}], "timelinelabels": [label]}, "id": "WTMRA",
            "from_name": "videoLabels", "to_name": "video", "type": "timelinelabels", "origin": "manual"}


def time_series_region(label, start, end, instant=False):
    return {"value": {"start": start, "end": end, "instant": instant, "timeserieslabels": [label]}, "id": "S1DkU7FSku",
            "from_name": "label", "to_name": "ts", "type": "timeserieslabels", "origin": "manual"}
