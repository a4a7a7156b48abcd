"""Lines and bars: one number against another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transformer.metrics.text import bleu
from transformer.plots.fonts import text_renderer
from transformer.plots.style import COLOURS, HATCHES, finish, label_axes, line_style, new_plot, plain, show_legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKED = 25  # points of a line up to which each has a marker
Points = tuple[Sequence[float], Sequence[float]]


def curves(
    lines: Mapping[str, Points],
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    logarithmic: str = "",
    path: str | Path | None = None,
    title: str = "",
) -> Figure:
    """Draw lines.

    Args:
        lines: (x values, y values) by name.
        xlabel: what x is, with its unit.
        ylabel: what y is, with its unit.
        levels: heights by name that are drawn as horizontal lines.
        logarithmic: the axes that are, "x", "y" or "xy"; x then has powers of 2.
        title: of the picture; empty: "y against x", without their units.
    """
    figure, axes = new_plot(title or " against ".join(name.partition(" (")[0] for name in (ylabel, xlabel)))
    letters = text_renderer(lines)
    for number, (name, (x, y)) in enumerate(lines.items()):
        axes.plot(x, y, label=letters.show(name), markevery=math.ceil(len(x) / MARKED), **line_style(number))
    for name, level in (levels or {}).items():
        axes.axhline(level, color="black", linestyle=":", linewidth=1.0)
        axes.annotate(plain(name), (0.01, level), xycoords=("axes fraction", "data"), va="bottom", fontsize="small")
    label_axes(axes, xlabel, ylabel)
    if "x" in logarithmic:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    if "y" in logarithmic:
        axes.set_yscale("log")
    show_legend(axes, letters.families)
    return finish(figure, path)


def learning_rates(
    schedules: Mapping[str, Callable[[int], float]], steps: int, path: str | Path | None = None
) -> Figure:
    """Draw the learning rates of so many optimizer steps; schedules are called with 0 for step 1, as Keras does."""
    shown = np.unique(np.linspace(0, steps - 1, min(steps, 500)).astype(int)).tolist()
    places = [step + 1 for step in shown]
    lines = {name: (places, [float(schedule(step)) for step in shown]) for name, schedule in schedules.items()}
    return curves(lines, "optimizer step", "learning rate", path=path, title="Learning rate of each step")


def cost_growth(costs: Mapping[str, Points], xlabel: str, ylabel: str, path: str | Path | None = None) -> Figure:
    """Draw how costs grow with a size, both logarithmic: the power n of size^n is the slope.

    The legend says the power between the first two points and between the last two, such as "n = 1.0 to 1.9". `costs`
    are (sizes, costs) by name, at least two of each; sizes ascend. The labels say what grows and what it costs.
    """
    lines = {}
    for name, (sizes, values) in costs.items():
        powers = np.diff(np.log(values)) / np.diff(np.log(sizes))
        lines[f"{name}: n = {powers[0]:.1f} to {powers[-1]:.1f}"] = (sizes, values)
    return curves(lines, xlabel, ylabel, logarithmic="xy", path=path, title="Growth: cost = c x size^n")


def length_bleu(
    groups: Mapping[str, tuple[Sequence[int], Sequence[str], Sequence[str]]],
    edges: Sequence[int],
    target_language: str,
    path: str | Path | None = None,
) -> Figure:
    """Draw the corpus BLEU of the sentences of each length, with how many there are.

    Args:
        groups: (lengths of the sources, hypotheses, references) by name.
        edges: ascending; a range goes from one up to, not including, the next.
        target_language: see `transformer.metrics.text.bleu`.
    """
    figure, axes = new_plot("BLEU by the length of the source")
    ranges = list(zip(edges[:-1], edges[1:], strict=True))
    for number, (name, rows) in enumerate(groups.items()):
        scores = {}
        for place, (low, high) in enumerate(ranges):
            inside = [row for row in zip(*rows, strict=True) if low <= row[0] < high]
            if inside:
                _, hypotheses, references = zip(*inside, strict=True)
                scores[place] = score = bleu(hypotheses, references, target_language).score
                note: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
                axes.annotate(f"{len(inside):,}", (place, score), (0, 6), **note)
        axes.plot(list(scores), list(scores.values()), label=plain(name), **line_style(number))
    names = [f"{low} to {high - 1}" if high - low > 1 else f"{low}" for low, high in ranges]
    axes.set_xticks(range(len(ranges)), names)
    axes.set_ylim(0, 110)
    label_axes(axes, "length of the source (tokens)", "BLEU; beside it the number of sentences")
    show_legend(axes)
    return finish(figure, path)


def histograms(values: Mapping[str, Sequence[float]], xlabel: str, path: str | Path | None = None) -> Figure:
    """Draw how often values occur, as shares of each named series, all series in the same bins."""
    figure, axes = new_plot("How often values occur")
    edges = np.histogram_bin_edges(np.concatenate([np.asarray(series) for series in values.values()]), bins=20)
    for number, (name, series) in enumerate(values.items()):
        shares = np.histogram(series, edges)[0] / len(series)
        style: dict[str, Any] = {"fill": True, "facecolor": "none", "linewidth": 2}
        style |= {"edgecolor": COLOURS[number % len(COLOURS)], "hatch": HATCHES[(number + 1) % len(HATCHES)]}
        axes.stairs(shares, edges, label=plain(name), **style)
    label_axes(axes, xlabel, "share")
    show_legend(axes)
    return finish(figure, path)
