"""What a translator returns for a sentence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Translation:
    """One hypothesis for one sentence.

    Attributes:
        text: the translation, on one line.
        score: penalised log-probability, by which hypotheses are ordered.
        log_probability: summed over tokens, in nats.
        tokens: the pieces of the translation, without the end token.
        source_tokens: the pieces of the sentence, with start and end, as the attention sees them.
        attention: (tokens + end, source_tokens) weights of the last decoder layer, mean over heads, or None.
        finished: False where the longest length cut the translation off.
        warnings: what a reader should know about this line.
        token_log_probabilities: of each token, the end token included, in nats.
        heads: (layers, heads, tokens + end, source_tokens) weights of all layers and heads, or None.
    """

    text: str
    score: float
    log_probability: float
    tokens: tuple[str, ...] = ()
    source_tokens: tuple[str, ...] = ()
    attention: np.ndarray | None = None
    finished: bool = True
    warnings: tuple[str, ...] = ()
    token_log_probabilities: tuple[float, ...] = ()
    heads: np.ndarray | None = None

    @property
    def alignment(self) -> list[tuple[int, int]]:
        """Return (source token, token) pairs: for each token, the source token that it attended to most.

        Both count from 0 and leave start and end out. Empty without attention.
        """
        if self.attention is None:
            return []
        words = self.attention[: len(self.tokens), 1:-1]
        return [(int(row.argmax()), place) for place, row in enumerate(words)]


def one_line(text: str) -> str:
    """Return the text with line breaks, which byte fallback can generate, turned into blanks."""
    return text.replace("\r", " ").replace("\n", " ")


def joined(parts: Sequence[list[Translation]], warning: str) -> list[Translation]:
    """Return the hypotheses of a sentence from those of its parts: the k-th of each make the k-th of all.

    Args:
        parts: the hypotheses of each part; one part is returned as it is.
        warning: what to say of several, with {} for their number.
    """
    if len(parts) == 1:
        return parts[0]
    return [
        Translation(
            " ".join(part.text for part in of),
            sum(part.score for part in of),
            sum(part.log_probability for part in of),
            finished=all(part.finished for part in of),
            warnings=(warning.format(len(of)), *_kinds(w for part in of for w in part.warnings)),
            token_log_probabilities=tuple(p for part in of for p in part.token_log_probabilities),
        )
        for of in zip(*parts, strict=True)
    ]


def _kinds(warnings: Iterable[str]) -> tuple[str, ...]:
    """Return the first of those warnings that differ in nothing but numbers."""
    first: dict[str, str] = {}
    for warning in warnings:
        first.setdefault(re.sub(r"\d+", "", warning), warning)
    return tuple(first.values())


def described(source: str, hypotheses: Sequence[Translation]) -> dict[str, Any]:
    """Return a sentence and its translations as JSON shows them, without attention weights; numbers are rounded."""
    return {
        "source": source,
        "source_tokens": hypotheses[0].source_tokens[1:-1],
        "hypotheses": [
            {
                "text": hypothesis.text,
                "score": round(hypothesis.score, 6),
                "log_probability": round(hypothesis.log_probability, 6),
                "finished": hypothesis.finished,
                "tokens": hypothesis.tokens,
                "token_log_probabilities": [round(p, 6) for p in hypothesis.token_log_probabilities],
                "alignment": hypothesis.alignment,
            }
            for hypothesis in hypotheses
        ],
        "warnings": hypotheses[0].warnings,
    }
