"""Actions for other programs: subtitles, and what `--write` takes."""

import pytest

from spot.detection_writers import formats_in, written_actions
from spot.errors import SpotError
from spot.subtitles import srt_text, vtt_text

ACTIONS = [{"label": "jump <b> & run\n\n", "score": 0.876, "segment": [0.0, 1.5]},
           {"label": "throw {x}", "score": 0.5, "segment": [3661.2345, 3661.2345]}]


def test_vtt_escapes_labels_and_counts_hours():
    """3661.2345 s are 1 h 1 min 1.234 s (a tie goes to the even digit); a cue of no length gets one millisecond."""
    assert vtt_text(ACTIONS) == ("WEBVTT\n\n"
                                 "00:00:00.000 --> 00:00:01.500\njump &lt;b&gt; &amp; run (0.88)\n\n"
                                 "01:01:01.234 --> 01:01:01.235\nthrow {x} (0.50)\n")


def test_srt_numbers_its_cues_and_has_a_comma_before_milliseconds():
    assert srt_text(ACTIONS) == ("1\n00:00:00,000 --> 00:00:01,500\njump ‹b› & run (0.88)\n\n"
                                 "2\n01:01:01,234 --> 01:01:01,235\nthrow (x) (0.50)\n")


def test_a_video_without_actions_has_an_empty_file(tmp_path):
    with written_actions(["vtt", "srt"], tmp_path, {"threshold": 0.6}, {}) as add:
        add("a", [{"label": "run", "score": 0.5, "segment": [0, 1]}])
    assert (tmp_path / "vtt" / "a.vtt").read_text() == "WEBVTT\n\n"
    assert (tmp_path / "srt" / "a.srt").read_text() == ""


def test_only_actions_are_written_in_order_of_time(tmp_path):
    """Of the two overlapping runs the better one stays; the jump is below the threshold."""
    entries = [{"label": "run", "score": 0.9, "segment": [4, 6]}, {"label": "run", "score": 0.7, "segment": [5, 7]},
               {"label": "jump", "score": 0.2, "segment": [0, 1]}, {"label": "run", "score": 0.5, "segment": [1, 2]}]
    with written_actions(["vtt"], tmp_path, {"threshold": 0.4}, {}) as add:
        add("a", entries)
    cues = (tmp_path / "vtt" / "a.vtt").read_text().split("\n\n")[1:]
    assert [cue.splitlines()[0] for cue in cues] == ["00:00:01.000 --> 00:00:02.000", "00:00:04.000 --> 00:00:06.000"]


def test_a_stopped_run_writes_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), written_actions(["vtt"], tmp_path, {"threshold": 0.4}, {}) as add:
        add("a", [])
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_formats_are_named_once_and_a_wrong_one_is_refused_with_the_nearest():
    assert formats_in("vtt, SRT,vtt") == ["vtt", "srt"]
    with pytest.raises(SpotError, match=r"no format 'vttt'; did you mean 'vtt'\?"):
        formats_in("srt,vttt")
    with pytest.raises(SpotError, match=r"names no format; choose from boris, .*vtt, srt"):
        formats_in(",")


def test_without_a_threshold_it_is_asked_for(tmp_path):
    with pytest.raises(SpotError, match=r"give it by testing\.action_threshold="), written_actions(
            ["vtt"], tmp_path, None, {}):
        pass
