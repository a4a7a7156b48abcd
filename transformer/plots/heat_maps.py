"""Tables of numbers as areas: attention weights, masks, positional encodings.

Axes: T target/query, S source/key, H heads, D model width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transformer.plots.fonts import TextRenderer, text_renderer
from transformer.plots.style import LONGEST_NAME, MAP, finish, need_matplotlib, new_figure
from transformer.system.errors import UserError

PER_ROW = 3  # pictures of heads
MOST_MAPS = 256  # of a picture; laying out more takes minutes
MOST_PLACES = 4_000_000  # of a table
WEIGHT = "attention weight"
MARK = "source token that each token attends to most (mean of the last layer's heads; start and end left out)"

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from transformer.inference.result import Translation


def attention_map(
    translation: Translation, path: str | Path | None = None, heads: bool = False, alignment: bool = False
) -> Figure:
    """Draw the attention of each written token (rows) over the source tokens (columns).

    Args:
        translation: made with `with_attention=True`, and `with_heads=True` where `heads` is.
        heads: a picture of each head, a row of them for each layer, instead of the last layer's mean.
        alignment: mark the source token that each token attends to most, start and end left out.

    Raises:
        ValueError: the translation has no such attention weights.
    """
    mean = _present(translation.attention, "with_attention")
    rows = [*translation.tokens, "[end]"][: len(mean)]
    weights, titles, wide = mean[np.newaxis], [""], 1
    title = "Attention over the source: last decoder layer, mean of its heads"
    if heads:
        title = "Attention over the source: every decoder layer and head"
        layers = _present(translation.heads, "with_heads")
        weights, wide = np.concatenate(layers), layers.shape[1]
        titles = [f"layer {i // wide + 1}, head {i % wide + 1}" for i in range(len(weights))]
    marks = [(source + 1, target) for source, target in translation.alignment] if alignment else []
    names = ("written token", "source token")
    return finish(_weight_grid(weights, rows, translation.source_tokens, titles, title, names, wide, marks), path)


def _present(weights: np.ndarray | None, name: str) -> np.ndarray:
    if weights is None:
        raise ValueError(f"translation must be made with {name}=True, got one without attention weights")
    return weights


def attention_heads(
    weights: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    numbers: bool = False,
    label: str = WEIGHT,
    path: str | Path | None = None,
    title: str = "",
    names: tuple[str, str] = ("query", "key"),
) -> Figure:
    """Draw what each head of one attention layer attends to and, of several heads, their mean.

    Args:
        weights: (H, T, S) of one sentence, as `MultiHeadAttention` returns them for each of a batch.
        rows: T queries, as text.
        columns: S keys, as text.
        numbers: write each weight into its place.
        label: what the colours say, from 0 to 1.
        title: of the picture; empty: that it shows what is attended to.
        names: of the rows and of the columns.
    """
    weights = np.asarray(weights)
    if weights.ndim != 3 or weights.shape[1:] != (len(rows), len(columns)):
        raise ValueError(f"weights must be (H, {len(rows)}, {len(columns)}), got {weights.shape}")
    titles, usual = [""], "What each query attends to"
    if len(weights) > 1:
        usual = "What each head attends to"
        titles = [*(f"head {i + 1}" for i in range(len(weights))), "mean of the heads"]
        weights = np.concatenate([weights, weights.mean(axis=0, keepdims=True)])
    grid = _weight_grid(weights, rows, columns, titles, title or usual, names, PER_ROW, (), numbers, label)
    return finish(grid, path)


def _weight_grid(
    weights: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    titles: Sequence[str],
    title: str,
    names: tuple[str, str],
    wide: int,
    marks: Sequence[tuple[int, int]],
    numbers: bool = False,
    label: str = WEIGHT,
) -> Figure:
    """Draw maps of weights (N, T, S), `wide` of them in a row, all on the scale from 0 to 1.

    `rows` are T and `columns` S tokens, `names` say what they are. `titles` are of the maps, `title` is of all of them.
    Marks stand at (column, row).
    """
    if len(weights) > MOST_MAPS:
        raise UserError(f"a picture of {len(weights):,} maps is too large, the limit is {MOST_MAPS}; draw some of them")
    wide = min(wide, len(weights))
    high = -(-len(weights) // wide)
    letters = text_renderer([*rows, *columns])
    across, down = (0.5, 0.4) if len(weights) == 1 else (0.36, 0.3)  # inches of a place
    longest = [min(max(map(len, tokens), default=0), LONGEST_NAME) for tokens in (rows, columns)]  # characters
    beside, above = 0.6 + 0.08 * longest[0], 1.0 + 0.06 * longest[1]  # inches of the tokens, these slanted
    width = max(1.2 + wide * (beside + across * len(columns)), 0.1 * len(title), 0.075 * len(MARK) * bool(marks))
    figure = new_figure(width, 0.7 + high * (above + down * len(rows)))
    figure.suptitle(title)
    grid = figure.subplots(high, wide, squeeze=False)
    for axes, table, name in zip_longest(grid.flat, weights, titles):
        if table is None:
            axes.set_axis_off()
            continue
        image = axes.imshow(table, cmap=MAP, vmin=0.0, vmax=1.0, aspect="auto")
        _write_tokens(axes, rows, columns, letters)
        if marks:  # white inside black is seen on every shade
            marked = axes.scatter(*zip(*marks, strict=True), marker="o", s=36, color="white", edgecolors="black")
        if numbers:
            for (row, column), weight in np.ndenumerate(table):
                colour = "white" if weight < 0.5 else "black"
                axes.text(column, row, f"{weight:.2f}", ha="center", va="center", color=colour, fontsize="small")
        axes.set_title(name, fontsize="medium", fontweight="bold")
        _label_above(axes, *names)
    figure.colorbar(image, ax=grid.ravel().tolist(), label=label)
    if marks:
        figure.legend([marked], [MARK], loc="outside lower center", fontsize="small", facecolor="lightgrey")
    letters.note(figure)
    return figure


def _write_tokens(axes: Axes, rows: Sequence[str], columns: Sequence[str], letters: TextRenderer) -> None:
    letters.name_ticks(axes.set_xticks, columns, rotation=45, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    letters.name_ticks(axes.set_yticks, rows)


def _label_above(axes: Axes, rows: str, columns: str) -> None:
    axes.set_ylabel(rows)
    axes.set_xlabel(columns)
    axes.xaxis.set_label_position("top")


def mask_maps(
    masks: Mapping[str, np.ndarray],
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    meanings: tuple[str, str] = ("True: may attend", "False: hidden"),
    path: str | Path | None = None,
    names: tuple[str, str] = ("query", "key"),
) -> Figure:
    """Draw boolean masks beside each other: True is light, False is dark.

    Args:
        masks: by title, each (..., T, S) or (..., 1, S) with leading axes of 1; drawn is what is left of them.
        rows: the queries as text, where the masks have as many.
        columns: the keys as text, likewise.
        meanings: of light and of dark, for the legend.
        names: of the rows and of the columns.

    Raises:
        ValueError: a mask is not boolean, or has a leading axis above 1.
    """
    need_matplotlib()
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    tables: dict[str, np.ndarray] = {}
    for title, mask in masks.items():
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.ndim < 2 or max(mask.shape[:-2], default=1) > 1:
            raise ValueError(f"mask '{title}' must be boolean (1, ..., T, S), got {mask.dtype} {mask.shape}")
        tables[title] = mask.reshape(mask.shape[-2:])
    letters, shades = text_renderer([*rows, *columns, *masks]), colormaps[MAP]
    sizes = [table.shape for table in tables.values()]
    figure = new_figure(1.0 + sum(0.8 + 0.45 * size[1] for size in sizes), 2.3 + 0.42 * max(size[0] for size in sizes))
    grid = figure.subplots(1, len(tables), squeeze=False, width_ratios=[2 + size[1] for size in sizes])[0]
    for axes, (title, table) in zip(grid, tables.items(), strict=True):
        axes.imshow(table, cmap=MAP, vmin=0, vmax=1)
        queries, keys = (
            tokens if len(tokens) == size else [""] * size
            for tokens, size in zip((rows, columns), table.shape, strict=True)
        )
        _write_tokens(axes, queries, keys, letters)
        axes.set_xticks(np.arange(table.shape[1] + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(table.shape[0] + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1)
        axes.tick_params(which="both", length=0)
        axes.set_title(letters.show(title), fontfamily=letters.families, fontsize="medium")
        _label_above(axes, *names)
    handles = [Patch(facecolor=shades(1.0 * allowed), edgecolor="black") for allowed in (True, False)]
    figure.legend(handles, meanings, loc="outside lower center", ncols=2, fontsize="small")
    letters.note(figure)
    return finish(figure, path)


def position_maps(table: np.ndarray, path: str | Path | None = None) -> Figure:
    """Draw positional encodings, (T, D) or (1, T, D) as `positional_encoding` returns them, and their dot products."""
    table = np.asarray(table)
    table = table[0] if table.ndim == 3 and len(table) == 1 else table
    if table.ndim != 2:
        raise ValueError(f"table must be (T, D) or (1, T, D), got {table.shape}")
    if len(table) * max(table.shape) > MOST_PLACES:
        raise UserError(f"a table of {table.shape} is too large, the limit is {MOST_PLACES:,} places; draw less of it")
    figure = new_figure(10.5, 4.6)
    figure.suptitle("Positional encodings")
    encodings, products = figure.subplots(1, 2)
    image = encodings.imshow(table, cmap=MAP, vmin=-1.0, vmax=1.0, aspect="auto")
    encodings.set(xlabel="column of the encoding", ylabel="position pos", title="PE(pos, column)")
    figure.colorbar(image, ax=encodings)
    image = products.imshow(table @ table.T, cmap=MAP)
    products.set(xlabel="position", ylabel="position", title="dot product of two encodings")
    figure.colorbar(image, ax=products)
    return finish(figure, path)
