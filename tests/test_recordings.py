"""Recordings that nobody has annotated: their times."""

import numpy as np
import pytest

from spot.datasets import GridSettings
from spot.errors import SpotError
from spot.recordings import Times, open_own, own_facts, own_grid, own_times


def times(facts, grid="window", fps=None, run_fps=None, training_fps=(), seconds=None):
    return own_times(facts, grid, fps, run_fps, list(training_fps), lambda name, rate: seconds)


def test_rates_given_in_a_table_and_of_the_run_in_this_order():
    facts = {"a": {"fps": 30.0, "duration": 9.0}, "b": {}}
    assert times(facts, fps=20.0)[0] == [Times(9.0, 9.0, 20.0), Times(None, None, 20.0)]
    found, sentences = times(facts, run_fps=25.0, training_fps=[25.0, 30.0])
    assert found == [Times(9.0, 9.0, 30.0), Times(None, None, 25.0)]
    assert len(sentences) == 1 and "1 recordings come without" in sentences[0] and "25 frames per" in sentences[0]


@pytest.mark.parametrize(("rate", "is_told"), [(30.0, False), (29.97, False), (27.0, True), (50.0, True)])
def test_a_rate_that_no_training_video_had_is_told(rate, is_told):
    """29.97 and 30 are one."""
    sentences = times({"a": {"fps": rate}}, training_fps=[25.0, 30.0])[1]
    assert any(f"a has {rate:g} frames per second, the training videos had 25, 30 frames" in one
               for one in sentences) is is_told


def test_what_is_not_known_is_asked_for_without_a_number_of_our_own():
    with pytest.raises(SpotError, match=r"video a: .* give fps=, the frames per second of the recordings, or"):
        times({"a": {}})
    with pytest.raises(SpotError, match=r"had 1, 2, 3, 4, 5 and 2 other frame rates\)"):
        times({"a": {}}, training_fps=[1, 2, 3, 4, 5, 6, 7])
    with pytest.raises(SpotError, match=r"give duration=, the seconds of every recording"):
        times({"a": {}}, grid="resize")
    assert times({"a": {}}, grid="resize", seconds=7.0)[0] == [Times(7.0, 7.0, None)]


def test_durations_come_from_a_number_or_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("video,duration\na,3\nv_b,4\n")
    assert own_facts(None, "ab") == {"a": {}, "b": {}} and own_facts("7.5", "a") == {"a": {"duration": 7.5}}
    table = own_facts(str(tmp_path / "t.csv"), "ab")
    assert {name: facts["duration"] for name, facts in table.items()} == {"a": 3, "b": 4}
    for wrong in ("0", "-1", "nan", "inf"):
        with pytest.raises(SpotError, match=f"duration={wrong} must be a positive number"):
            own_facts(wrong, "a")


@pytest.mark.parametrize(("typed", "kind", "trained_fps", "words"), [
    ({}, "window", 10.0, None), ({"stride": 5, "every": 1}, "window", 10.0, None),
    ({"stride": 10}, "window", 10.0, "are 1 s apart, and those of the training were 0.5 s"),
    ({"every": 2}, "window", 10.0, "are 1 s apart, and those of the training were 0.5 s"),
    ({"stride": 25, "fps": 50.0}, "window", 10.0, None), ({"fps": 50.0}, "window", 10.0, None),
    ({"stride": 10}, "window", None, "are 10 frames apart, and those of the training were 5 frames"),
    ({"stride": 10}, "resize", 10.0, None)])
def test_snippets_that_are_farther_apart_than_in_the_training_are_told(typed, kind, trained_fps, words, capsys):
    """Trained on every row, 5 frames apart at 10 frames per second: 0.5 s. Another rate alone is told elsewhere, and a
    recording that is resized as a whole has no tempo of its own."""
    given = {**dict.fromkeys(("duration", "fps", "stride", "every", "window")), **typed}
    found = own_grid(given, None, GridSettings(kind, 8, stride=5, window=10), trained_fps)
    assert found == {key: value for key, value in typed.items() if key != "fps"}
    said = capsys.readouterr().err
    assert said == "" if words is None else words in said and "another tempo" in said


def test_features_of_other_channels_than_the_checkpoint_takes_are_refused(tmp_path):
    for name, length in (("a", 20), ("b", 31)):
        np.save(tmp_path / f"{name}.npy", np.zeros((length, 6), np.float32))
    source, files = open_own(str(tmp_path), 6, None, False)
    assert list(files) == ["a", "b"] and source.read("a").shape == (6, 20)
    with pytest.raises(SpotError, match=r"have 6 channels, and the checkpoint takes 12; extract them as those of its"):
        open_own(str(tmp_path), 12, None, False)
