"""The text of pictures: every script of an installed font, one warning for another, and no markup."""

import warnings

import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from spot import fonts
from spot.look import as_png


def picture(*labels):
    """A figure whose labels stand at its ticks, in its title and in its legend."""
    figure = Figure(figsize=(3, 2))
    axis = figure.subplots()
    for label in labels:
        axis.plot([0, 1], label=f"a {label}")
    axis.set_yticks(range(len(labels)), labels)
    axis.set_title(labels[0])
    axis.legend()
    return figure


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(fonts, "_told", set())


def test_a_label_that_looks_like_a_formula_is_drawn_as_it_stands():
    """`$x^$` is no formula that matplotlib could draw, and `$a$` is no italic a."""
    figure = picture("cost $x^$", "$a$", "50 % \\frac")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_png(figure)
    assert not any(text.get_parse_math() for text in figure.findobj(Text))


def test_a_letter_that_the_own_font_lacks_is_taken_from_another(monkeypatch):
    """STIX, which comes with matplotlib, has the sign of a gram; DejaVu Sans has not."""
    stix = [entry for entry in font_manager.fontManager.ttflist if entry.name == "STIXGeneral"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", stix)
    assert fonts.fonts_with({"ℊ"}) == (["STIXGeneral"], set())
    figure = picture("Wurf ℊ", "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_png(figure)
    families = {text.get_text(): text.get_fontfamily() for text in figure.findobj(Text)}
    assert "STIXGeneral" in families["Wurf ℊ"] and "STIXGeneral" not in families["run"]


def test_a_script_that_no_font_shows_is_warned_of_once(monkeypatch, capsys):
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_png(picture("投掷", "run"))
        as_png(picture("投", "掷"))
    assert capsys.readouterr().err.startswith("warning: no installed font shows 投 掷: boxes")
    assert capsys.readouterr().err == ""


def test_the_font_of_boxes_shows_nothing():
    assert "Last Resort High-Efficiency" not in fonts.fonts_with({"\U00013000"})[0]
