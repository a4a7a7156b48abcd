"""Which class was taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transformer.plots.fonts import text_renderer
from transformer.plots.style import MAP, finish, new_figure
from transformer.system.errors import UserError

MOST_CLASSES = 60  # of a picture that can be read

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_map(counts: np.ndarray, names: Sequence[str], path: str | Path | None = None) -> Figure:
    """Draw a confusion matrix: the colour of a place is its share of the row, and its number is written into it.

    Args:
        counts: (C, C), how often each class (rows) was taken for each (columns).
        names: of the C classes.

    Raises:
        ValueError: the matrix is not of these classes.
        UserError: more than `MOST_CLASSES`.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(names), len(names)) or not len(names):
        raise ValueError(f"counts must be ({len(names)}, {len(names)}) and not empty, got {counts.shape}")
    if len(names) > MOST_CLASSES:
        raise UserError(f"{len(names):,} classes are too many for a confusion matrix; at most {MOST_CLASSES} are drawn")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.5 * len(names)
    figure = new_figure(side + 1.0, side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap=MAP, vmin=0.0, vmax=1.0)
    letters = text_renderer(names)
    letters.name_ticks(axes.set_xticks, names, rotation=45, ha="right", rotation_mode="anchor")
    letters.name_ticks(axes.set_yticks, names)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] < 0.5 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize="small")
    axes.set(title="Which class was taken for which", xlabel="predicted class", ylabel="right class")
    figure.colorbar(image, ax=axes, label="share of the right class")
    letters.note(figure)
    return finish(figure, path)
