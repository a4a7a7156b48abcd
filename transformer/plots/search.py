"""How the next token is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transformer.plots.fonts import text_renderer
from transformer.plots.style import COLOURS, HATCHES, finish, label_axes, new_plot, show_legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def token_probabilities(
    distributions: Mapping[str, Sequence[float]],
    tokens: Sequence[str],
    path: str | Path | None = None,
    title: str = "How likely each token is next",
    names: tuple[str, str] = ("token", "probability"),
) -> Figure:
    """Draw the probabilities of the same tokens in several named distributions beside each other.

    Args:
        distributions: by name, a probability for each token.
        tokens: as text, or what else the bars are of.
        title: of the picture.
        names: of the axes.
    """
    letters = text_renderer([*tokens, *distributions])
    figure, axes = new_plot(title, 2.0 + 0.75 * len(tokens), 4.0)
    width = 0.8 / len(distributions)
    for number, (name, probabilities) in enumerate(distributions.items()):
        places = np.arange(len(tokens)) + (number - (len(distributions) - 1) / 2) * width
        style: dict[str, Any] = {"facecolor": COLOURS[number % len(COLOURS)], "hatch": HATCHES[number % len(HATCHES)]}
        axes.bar(places, probabilities, width, label=letters.show(name), edgecolor="white", **style)
    label_axes(axes, *names)
    axes.grid(visible=False, axis="x")
    letters.name_ticks(axes.set_xticks, tokens)
    show_legend(axes, letters.families)
    letters.note(figure)
    return finish(figure, path)


def beam_tree(
    steps: Sequence[Sequence[tuple[Sequence[str], float]]], path: str | Path | None = None, width: float = 1.25
) -> Figure:
    """Draw a beam search: a column for each step, in it the hypotheses kept, the best on top, joined to their parents.

    The path of the last step's best hypothesis is drawn thick. Each token has its hypothesis' score below it.

    Args:
        steps: for each step its hypotheses, best first: tokens so far and score. A finished one stays as it is.
        width: inches of a step.

    Raises:
        ValueError: a hypothesis goes on from none of the step before.
    """
    letters = text_renderer(token for step in steps for tokens, _ in step for token in tokens)
    most = max(map(len, steps))
    title = "Beam search: what is kept at each step" if len(steps) > 2 else "Beam search"
    figure, axes = new_plot(title, 1.0 + width * len(steps), 1.2 + 0.55 * most)
    winner = tuple(steps[-1][0][0])
    for place, step in enumerate(steps):
        for rank, (tokens, score) in enumerate(step):
            tokens = tuple(tokens)
            won = tokens == winner[: len(tokens)]
            colour, line = ("black", 2.5) if won else ("#999999", 0.8)
            if place:
                parent = _parent(tokens, [tuple(before) for before, _ in steps[place - 1]])
                axes.plot([place - 1, place], [parent, rank], color=colour, linewidth=line, zorder=1)
            box = {"boxstyle": "round", "facecolor": "white", "edgecolor": colour, "linewidth": line}
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "fontfamily": letters.families}
            axes.text(place, rank, f"{letters.show(tokens[-1])}\n{score:.2f}", bbox=box, **style)
    axes.set_xlim(-0.6, len(steps) - 0.4)
    axes.set_ylim(most - 0.5, -0.5)
    for set_ticks, count in ((axes.set_xticks, len(steps)), (axes.set_yticks, most)):
        set_ticks(range(count), [str(number + 1) for number in range(count)])
    axes.set_xlabel("step: token, and score of the hypothesis")
    axes.set_ylabel("rank")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    letters.note(figure)
    return finish(figure, path)


def _parent(tokens: tuple[str, ...], before: list[tuple[str, ...]]) -> int:
    """Return the rank of the hypothesis that this one goes on from: itself, where it was finished."""
    for candidate in (tokens, tokens[:-1]):
        if candidate in before:
            return before.index(candidate)
    raise ValueError(f"steps: the hypothesis {' '.join(tokens)!r} goes on from none of the step before")
