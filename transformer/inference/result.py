"""What a translator returns for a sentence."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

START, END = "[start]", "[end]"  # tokens, as they are shown
FULL_STOPS = ("\u3002", "\uff01", "\uff1f")  # after these no space stands before the next sentence


@dataclasses.dataclass(frozen=True, repr=False)
class Translation:
    """One hypothesis for one sentence.

    Where a text was translated sentence by sentence, the end and start tokens between them are among the tokens.
    """

    text: str  #: on one line
    score: float  #: penalised log-probability, by which hypotheses are ordered
    log_probability: float  #: summed over tokens, in nats
    tokens: tuple[str, ...] = ()  #: the pieces of the translation, without the last end token
    source_tokens: tuple[str, ...] = ()  #: the pieces of the sentence, with start and end, as the attention sees them
    #: (tokens + end, source_tokens) weights of the last decoder layer, mean over heads, or None; 0 between a sentence
    #: and the translation of another one
    attention: np.ndarray | None = None
    finished: bool = True  #: False where the longest length cut the translation off
    warnings: tuple[str, ...] = ()  #: what a reader should know about this line
    token_log_probabilities: tuple[float, ...] = ()  #: of each token, the end token included, in nats
    heads: np.ndarray | None = None  #: (layers, heads, tokens + end, source_tokens) weights, or None
    confidence: float | None = None  #: estimated probability that it is right, or None where the run tells none
    unsure: bool = False  #: whether that is below the run's threshold

    def __repr__(self) -> str:
        """Return text and score, for people; there is more to it."""
        return f"Translation({self.text!r}, score={self.score:.4f})"

    @property
    def alignment(self) -> list[tuple[int, int]]:
        """Return (source token, token) pairs: for each token, the source token that it attended to most.

        Both count from 0 and leave start and end out. Empty without attention.
        """
        if self.attention is None:
            return []
        words = np.where(np.isin(self.source_tokens, (START, END)), -1, self.attention)[: len(self.tokens), 1:-1]
        return [
            (int(row.argmax()), place)
            for place, (row, token) in enumerate(zip(words, self.tokens, strict=True))
            if token != END
        ]


def one_line(text: str) -> str:
    """Return the text with line breaks, which byte fallback can generate, turned into spaces."""
    return text.replace("\r", " ").replace("\n", " ")


def joined(parts: Sequence[list[Translation]], warning: str = "") -> list[Translation]:
    """Return the hypotheses of a sentence from those of its parts: the k-th of each make the k-th of all.

    Several parts get a `warning`, if it is not empty, with their number in place of {}.
    """
    if len(parts) == 1:
        return parts[0]
    warnings = [warning.format(len(parts))] if warning else []
    return [_concatenated(hypotheses, warnings) for hypotheses in zip(*parts, strict=True)]


def _concatenated(parts: Sequence[Translation], warnings: Sequence[str]) -> Translation:
    """Return one translation of several, with warnings before theirs."""
    *others, last = parts
    tokens = [token for part in others for token in (*part.tokens, *[END] * part.finished)]
    shown = all(part.attention is not None for part in parts)
    return Translation(
        "".join(part.text + " " * (not part.text.endswith(FULL_STOPS)) for part in others) + last.text,
        sum(part.score for part in parts),
        sum(part.log_probability for part in parts),
        (*tokens, *last.tokens) if shown else (),
        tuple(token for part in parts for token in part.source_tokens) if shown else (),
        _block_diagonal([part.attention for part in parts]),
        all(part.finished for part in parts),
        (*warnings, *_distinct(warning for part in parts for warning in part.warnings)),
        tuple(gain for part in parts for gain in part.token_log_probabilities),
        _block_diagonal([part.heads for part in parts]),
        min((part.confidence for part in parts if part.confidence is not None), default=None),
        any(part.unsure for part in parts),
    )


def _block_diagonal(blocks: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return arrays (..., T, S) as the blocks of one that is 0 elsewhere; None where one is missing."""
    given = [block for block in blocks if block is not None]
    if len(given) < len(blocks):
        return None
    rows, columns = np.sum([block.shape[-2:] for block in given], axis=0)
    whole = np.zeros((*given[0].shape[:-2], rows, columns), given[0].dtype)
    row = column = 0
    for block in given:
        height, width = block.shape[-2:]
        whole[..., row : row + height, column : column + width] = block
        row, column = row + height, column + width
    return whole


def _distinct(warnings: Iterable[str]) -> tuple[str, ...]:
    """Return the first of those warnings that differ only in numbers."""
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
                "confidence": None if hypothesis.confidence is None else round(hypothesis.confidence, 4),
                "unsure": hypothesis.unsure,
                "tokens": hypothesis.tokens,
                "token_log_probabilities": [round(p, 6) for p in hypothesis.token_log_probabilities],
                "alignment": hypothesis.alignment,
            }
            for hypothesis in hypotheses
        ],
        "warnings": hypotheses[0].warnings,
    }
