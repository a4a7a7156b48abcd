"""Perplexities on standard output, and whether another run's differ by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformer.inference.text_scores import TextScore
    from transformer.metrics.significance import Comparison


def print_perplexities(scores: Sequence[TextScore], other: Path | None, its_scores: Sequence[TextScore]) -> TextScore:
    """Print the perplexity a token and a byte, and compare each with another run's where there is one.

    Args:
        scores: of each text.
        other: the other run.
        its_scores: of the same texts.

    Returns:
        the sum of the scores.
    """
    import numpy as np

    from transformer.inference.text_scores import TextScore
    from transformer.metrics.significance import compare_perplexities

    total = sum(scores, TextScore(0.0, 0, 0))
    for unit, perplexity in (("token", total.perplexity), ("byte", total.byte_perplexity)):
        print(f"perplexity {perplexity:.4f}  a {unit} ({getattr(total, f'{unit}s'):,})")
        if other:
            ours, theirs = (
                np.array([(score.log_probability, getattr(score, f"{unit}s")) for score in each])
                for each in (scores, its_scores)
            )
            print(compared(compare_perplexities(ours, theirs), other, 4))
    return total


def compared(found: Comparison, other: Path, digits: int) -> str:
    """Return the line that compares a score with that of another system."""
    difference = round(found.score, digits) - round(found.baseline, digits)
    return f"  {other}: {found.baseline:.{digits}f}, {difference:+.{digits}f} to it, p = {found.p_value:.4f}"
