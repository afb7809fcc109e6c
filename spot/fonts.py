"""Fonts that show the text of a picture: class names and ids in any script, and in no markup."""

import contextlib
import functools
import sys
import unicodedata
import warnings

from matplotlib import font_manager, rcParams
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

NORMAL = (400, "normal", "regular", "book")  # weights
BOXES = "Last Resort"  # matplotlib's font that has every character, as a box
_told = set()  # characters that no font shows, of which one warning is enough


@contextlib.contextmanager
def showing(figure):
    """Draw the figure in this block: its text is taken as it stands (`$` is no formula), and where matplotlib's own
    font lacks a character, in an installed font that has it.

    Characters that no font has are drawn as boxes; they are named once per process, by one warning.
    """
    texts = _texts_of(figure)
    for text in texts:
        text.set_parse_math(False)
    missing = {letter for text in texts for letter in text.get_text()} - _letters(_own_font())
    missing = {letter for letter in missing if not unicodedata.category(letter).startswith(("C", "Z"))}
    families = []
    if missing:
        families, boxes = fonts_with(missing)
        if new := boxes - _told:
            _told.update(new)
            print(f"warning: no installed font shows {' '.join(sorted(new)[:10])}: boxes are drawn in their place; "
                  "install a font of that script, such as Noto Sans", file=sys.stderr)
    for text in texts if families else ():
        if missing.intersection(text.get_text()):
            text.set_fontfamily([*text.get_fontfamily(), *families])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def fonts_with(letters):
    """The installed fonts that have some characters, fewest first: (names of families, characters that none has).

    Fonts of many scripts, as Noto and those for Chinese, Japanese and Korean are, come first.
    """
    families, left = [], set(letters)
    entries = [entry for entry in font_manager.fontManager.ttflist
               if entry.style == "normal" and entry.weight in NORMAL and not entry.name.startswith(BOXES)]
    for entry in sorted(entries, key=lambda entry: ("Noto" not in entry.name and "CJK" not in entry.name, entry.name)):
        if not left:
            break
        if found := left & _letters(entry.fname):
            families.append(entry.name)
            left -= found
    return families, left


def _texts_of(figure):
    """Every text of a figure, with the labels of its ticks, which matplotlib makes only when asked for."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_ticklabels()
    return figure.findobj(Text)


def _own_font():
    return font_manager.findfont(font_manager.FontProperties(family=rcParams["font.family"]))


@functools.cache
def _letters(path):
    """The characters of a font file; none where it cannot be read."""
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
