"""Cutting a text that is longer than the model reads into parts that are not."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Sequence

SHORTEST = 20  # characters; what is shorter, perhaps an abbreviation, stays with the next sentence
LONGEST_TOKEN = 16  # characters; a text that fits only with longer ones, on average, is cut without being counted

# Where a text may be cut, best places first: after a sentence, after a clause, between words. Each takes time in
# proportion to the text, which is why a run of stops is tried from its first one only and not given back.
_PLACES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![.!?\u2026])[.!?\u2026]++[\"'\u201d\u2019\u00bb)\]]*+\s+|[\u3002\uff01\uff1f]+[\u201d\u300d\uff09]*\s*|\n+",
        r"[,;:]\s+|[\uff0c\uff1b\uff1a\u3001]\s*",
        r"\s+",
    )
)


def most_characters(limit: int) -> int:
    """Return the most characters of a text that is worth counting, where `limit` tokens are allowed.

    Normalising takes the square of the length of a run of combining marks, so long texts are not looked at as a whole.
    """
    return max(1, LONGEST_TOKEN * limit)


def split_text(text: str, count: Callable[[Sequence[str]], Sequence[int]], limit: int) -> list[str]:
    """Return the parts of a text, each of at most `limit` tokens, without the blanks between them.

    A text that is too long is cut after each sentence of at least `SHORTEST` characters: models learn from single
    sentences, and of several they translate the first. A part that is still too long is cut in two, as near to its
    middle as there is a sentence's end; else a clause's end, else a blank, else between two characters. One character
    is a part, whatever it counts.

    Args:
        text: any text.
        count: returns the number of tokens of several texts.
        limit: most tokens of a part.
    """
    most = most_characters(limit)

    def are_too_long(parts: Sequence[str]) -> list[bool]:
        counts = iter(count([part for part in parts if len(part) <= most]))
        return [len(part) > most or (next(counts) > limit and len(part) > 1) for part in parts]

    parts = [text.strip()]
    if not are_too_long(parts)[0]:
        return parts
    parts = _sentences(parts[0])
    too_long = are_too_long(parts)
    while any(too_long):
        halves = [_halves(part) if long else (part,) for part, long in zip(parts, too_long, strict=True)]
        still = iter(are_too_long([half for pair in halves if len(pair) == 2 for half in pair]))
        too_long = [len(pair) == 2 and next(still) for pair in halves for _ in pair]
        parts = [half for pair in halves for half in pair]
    return parts


def _sentences(text: str) -> list[str]:
    """Cut a text without outer blanks after each sentence."""
    cuts = [0]
    for match in _PLACES[0].finditer(text):
        if match.end() - cuts[-1] >= SHORTEST:
            cuts.append(match.end())
    parts = (text[start:end].strip() for start, end in itertools.pairwise([*cuts, len(text)]))
    return [part for part in parts if part]


def _halves(text: str) -> tuple[str, str]:
    """Cut a text of two characters or more, without outer blanks."""
    length = len(text)
    for place in _PLACES:
        ends = (match.end() for match in place.finditer(text))
        if end := min((end for end in ends if end < length), key=lambda end: abs(2 * end - length), default=0):
            return text[:end].strip(), text[end:].strip()
    middle = length // 2  # an accent stays with its letter, unless there are accents alone
    cut = next((place for place in range(middle, 0, -1) if not unicodedata.combining(text[place])), middle)
    return text[:cut], text[cut:]
