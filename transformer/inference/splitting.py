"""Cutting a text into its sentences, and one that is longer than the model reads into parts that are not."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from sentencex import segment

from transformer.data.cleaning import BLANKS
from transformer.native import panics_as_errors

TOGETHER = 10_000  # characters; sentencex takes the square of their number for some signs
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

# What may stand before a new sentence: a blank, or a stop of a script without blanks.
_ENDED = re.compile(r"(?:\s|[\u3002\uff01\uff1f\uff61][\"'\u201d\u2019\u300d\u300f\uff09)]{0,4})\Z")
_ORDINAL = re.compile(r"(?<![\w.,])\d{1,2}\.\s+\Z")  # of a date in German, of a list

# sentencex 1.0 panics at spaces of several bytes between a capital letter and a full stop, and takes none for a space.
_PLAIN_SPACES = {ord(blank): " " for blank in BLANKS if not blank.isascii()}


def most_characters(limit: int) -> int:
    """Return the most characters of a text that is worth counting, where `limit` tokens are allowed.

    Normalising takes the square of the length of a run of combining marks, so long texts are not looked at as a whole.
    """
    return max(1, LONGEST_TOKEN * limit)


def sentences_of(text: str, language: str = "") -> list[str]:
    """Return the sentences of a text, without the blanks between them.

    A sentence holds a letter or a digit. It begins after a blank, or after a stop of Chinese or Japanese, but not after
    a number such as "3.".

    Args:
        text: any text; one of blanks alone has no sentence.
        language: code, whose abbreviations are known; empty or unknown: those of English.
    """
    readable = text.encode("utf-8", "replace").decode("utf-8")  # as long: a lone surrogate becomes a question mark
    cuts = itertools.pairwise([0, *_beginnings(readable, language), len(text)])
    return [part for start, end in cuts if (part := text[start:end].strip())]


def _beginnings(text: str, language: str) -> Iterator[int]:
    """Yield where the second and later sentences of a text begin."""
    place, worded = 0, False
    for start in range(0, len(text), TOGETHER):  # which is no end of a sentence
        for number, part in enumerate(_segments(text[start : start + TOGETHER], language)):
            has_word = any(map(str.isalnum, part))
            before = text[max(0, place - 6) : place]
            if number and worded and has_word and _ENDED.search(before) and not _ORDINAL.search(before):
                yield place
                worded = False
            worded |= has_word
            place += len(part)


def _segments(text: str, language: str) -> list[str]:
    """Return what sentencex takes for the sentences of a text; where it fails, the text is one.

    The lengths alone are of interest: spaces of several bytes come back as plain ones.
    """
    try:
        with panics_as_errors():
            return segment(language, text.translate(_PLAIN_SPACES))
    except Exception:  # whatever it is, the text can be translated
        return [text]


def split_text(text: str, language: str, count: Callable[[Sequence[str]], Sequence[int]], limit: int) -> list[str]:
    """Return the parts of a text, each of at most `limit` tokens, without the blanks between them.

    A text that is too long is cut into its sentences, see `sentences_of`. A part that is still too long is cut in two,
    as near to its middle as something ends that looks like a sentence; else a clause; else at a blank, else between two
    characters. One character is a part, whatever it counts.

    Args:
        text: any text.
        language: its code, or empty.
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
    parts = sentences_of(text, language)
    too_long = are_too_long(parts)
    while any(too_long):
        halves = [_halves(part) if long else (part,) for part, long in zip(parts, too_long, strict=True)]
        still = iter(are_too_long([half for pair in halves if len(pair) == 2 for half in pair]))
        too_long = [len(pair) == 2 and next(still) for pair in halves for _ in pair]
        parts = [half for pair in halves for half in pair]
    return parts


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
