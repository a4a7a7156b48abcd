"""One style for all pictures: readable in print without colours, and for readers who see colours differently.

Areas are drawn in cividis, whose lightness grows with the value (Nuñez et al. 2018). Lines and bars have the colours of
Okabe and Ito (2008), dark and light in turn, and differ in marker, dashes or hatching too.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer.config import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAP = "cividis"
COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73", "#000000", "#CC79A7")  # without yellow: too light
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo")
SCREEN_DPI, FILE_DPI = 100, 150


def need_matplotlib() -> None:
    """Say how to get matplotlib where it is not installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("matplotlib") is None:
        raise UserError("pictures need matplotlib; install it with: pip install -e '.[plots]'")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches.

    Raises:
        UserError: matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=SCREEN_DPI)


def finish(figure: Figure, path: str | Path | None) -> Figure:
    """Save a figure as a PNG file where a path is given, and return it.

    Raises:
        UserError: the file cannot be written.
    """
    if path is not None:
        try:
            figure.savefig(path, format="png", dpi=FILE_DPI)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
    return figure


def line_style(number: int) -> dict[str, Any]:
    """Return colour, marker and dashes of the n-th line, which differ from those of its neighbours."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number % len(DASHES)],
        "markersize": 5,
    }


def label_axes(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Name both axes and draw a light grid behind what is there."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def show_legend(axes: Axes) -> None:
    """Show the legend, or say that there is nothing to see."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
    else:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes)
