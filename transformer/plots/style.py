"""One style for all pictures: readable in print without colours, and for readers who see colours differently.

Areas are drawn in cividis, whose lightness grows with the value (Nuñez et al. 2018). Lines and bars have the colours of
Okabe and Ito (2008), dark and light in turn, and differ in marker, dashes or hatching too.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer.system.errors import UserError
from transformer.system.messages import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAP = "cividis"
COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73", "#000000", "#CC79A7")  # without yellow: too light
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo")
SCREEN_DPI, FILE_DPI, LEAST_DPI = 100, 150, 60  # at the least, small letters can just be read
MOST_PIXELS = 40_000_000  # of a picture; drawing takes about 20 bytes for each
LONGEST_SIDE = 2**16 - 1  # pixels, which matplotlib's renderer cannot exceed
LONGEST_NAME = 80  # characters of a text that is written beside something


def need_matplotlib() -> None:
    """Raise a UserError that says how to get matplotlib where it is not installed.

    Where it is, it need not tell that its cache is temporary, because the user's folder cannot be written.
    """
    if find_spec("matplotlib") is None:
        raise UserError("pictures need matplotlib; install it with: pip install 'transformer-reference[plots]'")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def plain(text: str) -> str:
    """Return a text as matplotlib draws it letter by letter, on one line and cut in the middle where it is long.

    A pair of dollar signs would be read as mathematics, and what begins with an underscore is left out of a legend.
    """
    text = one_line(text)
    if len(text) > LONGEST_NAME:
        text = f"{text[: LONGEST_NAME // 4]}...{text[3 - LONGEST_NAME * 3 // 4 :]}"  # paths differ at their ends
    return (" " * text.startswith("_") + text).replace("$", r"\$")


def dots_per_inch(width: float, height: float, wanted: float) -> float:
    """Return the wanted resolution of a picture of a size in inches, or the highest that is within the limits."""
    return min(wanted, math.sqrt(MOST_PIXELS / (width * height)), LONGEST_SIDE / max(width, height))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, unless it would be too large."""
    need_matplotlib()
    from matplotlib.figure import Figure

    dpi = dots_per_inch(width, height, SCREEN_DPI)
    if dpi < LEAST_DPI:
        raise UserError(
            f"a picture of {width:,.0f} x {height:,.0f} inches is too large: the limit is {MOST_PIXELS:,} "
            f"pixels, {LONGEST_SIDE:,} on a side, with {LEAST_DPI} in an inch; draw a shorter sentence, or less of it"
        )
    return Figure(figsize=(width, height), layout="constrained", dpi=dpi)


def new_plot(title: str, width: float = 6.5, height: float = 4.2) -> tuple[Figure, Axes]:
    """Return a new figure and the only axes in it."""
    figure = new_figure(width, height)
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def finish(figure: Figure, path: str | Path | None) -> Figure:
    """Save a figure as a PNG file where a path is given, and return it."""
    if path is not None:
        drawn = io.BytesIO()
        width, height = figure.get_size_inches()
        figure.savefig(drawn, format="png", dpi=dots_per_inch(width, height, FILE_DPI))
        try:
            Path(path).write_bytes(drawn.getbuffer())
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}; name another file") from None
    return figure


def line_style(number: int) -> dict[str, Any]:
    """Return colour, marker and dashes of the n-th line, which differ from those of its neighbours."""
    n = number % len(COLOURS)
    return {"color": COLOURS[n], "marker": MARKERS[n], "linestyle": DASHES[n], "markersize": 5}


def label_axes(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Name both axes and draw a light grid behind what is there."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def show_legend(axes: Axes, families: Sequence[str] = ()) -> None:
    """Show the legend, in the fonts of its names, or say that there is nothing to see."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(prop={"size": "small", "family": families} if families else {"size": "small"})
    else:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes)
