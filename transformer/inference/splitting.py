"""Cutting a text that is longer than the model reads into parts that are not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

# Where a text may be cut, best places first: after a sentence, after a clause, between words.
_PLACES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:[.!?\u2026]+[\"'\u201d\u2019\u00bb)\]]*\s+|[\u3002\uff01\uff1f]+[\u201d\u300d\uff09]*\s*|\n+)",
        r"(?:[,;:]\s+|[\uff0c\uff1b\uff1a\u3001]\s*)",
        r"\s+",
    )
)


def split_text(text: str, count: Callable[[Sequence[str]], Sequence[int]], limit: int) -> list[str]:
    """Return the parts of a text, each of at most `limit` tokens, without the blanks between them.

    A part that is too long is cut in two, as near to its middle as there is a sentence's end; else a clause's end, else
    a blank, else between two characters.

    Args:
        text: any text that is not blank.
        count: returns the number of tokens of several texts.
        limit: at least as many tokens as any one character makes.

    Raises:
        ValueError: one character has more than `limit` tokens.
    """
    parts = [text.strip()]
    too_long = [count(parts)[0] > limit]
    while any(too_long):
        halves = [_halves(part) if long else (part,) for part, long in zip(parts, too_long, strict=True)]
        counts = iter(count([half for pair in halves if len(pair) == 2 for half in pair]))
        too_long = [len(pair) == 2 and next(counts) > limit for pair in halves for _ in pair]
        parts = [half for pair in halves for half in pair]
    return parts


def _halves(text: str) -> tuple[str, str]:
    middle = len(text) / 2
    for place in _PLACES:
        for end in sorted((match.end() for match in place.finditer(text)), key=lambda end: abs(end - middle)):
            if (first := text[:end].strip()) and (second := text[end:].strip()):
                return first, second
    cut = len(text) // 2
    while cut > 1 and unicodedata.combining(text[cut]):  # leave an accent with its letter where that is possible
        cut -= 1
    if not 0 < cut < len(text):
        raise ValueError(f"limit must hold the tokens of any one character, got one with more: {text!r}")
    return text[:cut], text[cut:]
