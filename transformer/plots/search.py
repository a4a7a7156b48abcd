"""How the next token is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transformer.plots.fonts import lettering
from transformer.plots.style import COLOURS, HATCHES, finish, label_axes, new_figure, show_legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def token_probabilities(
    distributions: Mapping[str, Sequence[float]], tokens: Sequence[str], path: str | Path | None = None
) -> Figure:
    """Draw the probabilities of the same tokens in several distributions beside each other.

    Args:
        distributions: probabilities of the tokens by name.
        tokens: as text.
        path: of a PNG file; None: none is written.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    letters = lettering([*tokens, *distributions])
    figure = new_figure(2.0 + 0.75 * len(tokens), 4.0)
    axes = figure.subplots()
    axes.set_title("How likely each token is next")
    width = 0.8 / len(distributions)
    for number, (name, probabilities) in enumerate(distributions.items()):
        places = np.arange(len(tokens)) + (number - (len(distributions) - 1) / 2) * width
        style: dict[str, Any] = {"facecolor": COLOURS[number % len(COLOURS)], "hatch": HATCHES[number % len(HATCHES)]}
        axes.bar(places, probabilities, width, label=letters.show(name), edgecolor="white", **style)
    label_axes(axes, "next token", "probability")
    axes.grid(visible=False, axis="x")
    family = list(letters.families)
    axes.set_xticks(range(len(tokens)), [letters.show(token) for token in tokens], fontfamily=family)
    show_legend(axes, letters.families)
    letters.note(figure)
    return finish(figure, path)


def beam_tree(
    steps: Sequence[Sequence[tuple[Sequence[str], float]]], path: str | Path | None = None, width: float = 1.25
) -> Figure:
    """Draw a beam search: a column for each step, in it the hypotheses kept, the best above, joined to their parents.

    The path of the last step's best hypothesis is drawn thick. Beside each token stands its hypothesis' score.

    Args:
        steps: for each step its hypotheses, best first: tokens so far and score. A finished one stays as it is.
        path: of a PNG file; None: none is written.
        width: inches of a step.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
        ValueError: a hypothesis goes on from none of the step before.
    """
    letters = lettering(token for step in steps for tokens, _ in step for token in tokens)
    figure = new_figure(1.0 + width * len(steps), 1.2 + 0.55 * max(map(len, steps)))
    axes = figure.subplots()
    winner = tuple(steps[-1][0][0])
    for place, step in enumerate(steps):
        for rank, (tokens, score) in enumerate(step):
            tokens = tuple(tokens)
            won = tokens == winner[: len(tokens)]
            if place:
                parent = _parent(tokens, [tuple(before) for before, _ in steps[place - 1]])
                colour, line = ("black", 2.5) if won else ("#999999", 0.8)
                axes.plot([place - 1, place], [parent, rank], color=colour, linewidth=line, zorder=1)
            text = f"{letters.show(tokens[-1])}\n{score:.2f}"
            box: dict[str, Any] = {
                "boxstyle": "round",
                "facecolor": "white",
                "edgecolor": "black" if won else "#999999",
            }
            box["linewidth"] = 2.0 if won else 0.8
            family = list(letters.families)
            axes.text(place, rank, text, ha="center", va="center", fontsize=8, bbox=box, fontfamily=family)
    axes.set_xlim(-0.6, len(steps) - 0.4)
    axes.set_ylim(max(map(len, steps)) - 0.5, -0.5)
    for ticks, count in ((axes.set_xticks, len(steps)), (axes.set_yticks, max(map(len, steps)))):
        ticks(range(count), [str(number + 1) for number in range(count)])
    axes.set_title("Beam search: what is kept at each step" if len(steps) > 2 else "Beam search")
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
