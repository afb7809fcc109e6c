"""The look that all pictures share. No torch.

Every picture is as wide as the page, WIDTH inches at 100 dots of the page per inch, and drawn with twice the dots.
Colors are those of Okabe and Ito, which color-blind readers can distinguish.
"""

import io

from matplotlib import rc_context
from matplotlib.figure import Figure

from spot import fonts

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
GRAY = "#999999"
LINE_STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
WIDTH = 7.6
# Text of PDFs as TrueType, which publishers ask for; the same picture gives the same bytes.
FILE_SETTINGS = {"pdf.fonttype": 42, "svg.hashsalt": "spot"}


def new_figure(height):
    """A figure of the page's width and `height` inches with one axis: (figure, axis)."""
    figure = Figure(figsize=(WIDTH, height), dpi=100, layout="constrained")
    return figure, tidy(figure.subplots())


def tidy(axis):
    """The look that all axes share; returns the axis."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    return axis


def beside(axis, reverse=False, title=None):
    """The legend to the right of an axis, which makes room for it."""
    handles, labels = axis.get_legend_handles_labels()
    step = -1 if reverse else 1
    legend = axis.legend(handles[::step], labels[::step], frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1),
                         fontsize=9, title=title, title_fontsize=9, handlelength=2.6)
    legend.set_alignment("left")


def shortened(text, most):
    """The text, or its beginning and "…" where it has more than `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def as_png(figure):
    """The bytes of a figure as PNG."""
    return drawn(figure, "png", dpi=200)


def drawn(figure, kind, **options):
    """The bytes of a figure as png, pdf or svg."""
    buffer = io.BytesIO()
    metadata = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    with rc_context(FILE_SETTINGS), fonts.showing(figure):
        figure.savefig(buffer, format=kind, metadata=metadata, **options)
    return buffer.getvalue()
