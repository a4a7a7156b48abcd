"""Schemes of tags: how the tags of words mark entities, and which tag may follow which.

- iob2: B-X begins an entity of type X, I-X goes on with it, O is outside (Ramshaw and Marcus 1995; Sang and Veenstra
  1999).
- bioes: also E-X at the end, and S-X for an entity of one word.
- plain: a tag stands for itself, such as a part of speech, and any may follow any.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

SCHEMES = ("iob2", "bioes", "plain")
OUTSIDE = "O"
EDGE = ""  # stands for what is before the first tag and behind the last
_LETTERS = {"iob2": "BI", "bioes": "BIES"}


class Span(NamedTuple):
    """Words that make up an entity."""

    kind: str  # its type
    start: int  # of its first word
    end: int  # behind its last word


def parts(tag: str) -> tuple[str, str]:
    """Return the letter and the type of a tag: ('B', 'LOC') of 'B-LOC', ('O', '') of 'O'."""
    letter, _, kind = tag.partition("-")
    return letter, kind


def known(scheme: str, tag: str) -> bool:
    """Return whether a tag can be one of a scheme."""
    if scheme == "plain":
        return bool(tag)
    letter, kind = parts(tag)
    return tag == OUTSIDE or (len(letter) == 1 and letter in _LETTERS[scheme] and bool(kind))


def follows(scheme: str, tag: str, before: str) -> bool:
    """Return whether a tag may stand behind another; either may be `EDGE`."""
    if scheme == "plain":
        return True
    (letter, kind), (previous, its_kind) = parts(tag), parts(before)
    inside = kind == its_kind and previous in ("B", "I")
    if scheme == "iob2":
        return letter != "I" or inside
    return inside if letter in ("I", "E") else previous not in ("B", "I")


def entities(scheme: str, tags: Sequence[str]) -> Iterator[Span]:
    """Yield the entities of a valid sequence of tags, in their order; of a plain one, each word."""
    if scheme == "plain":
        yield from (Span(tag, i, i + 1) for i, tag in enumerate(tags))
        return
    start = 0
    for i, tag in enumerate(tags):
        letter, kind = parts(tag)
        if letter in ("B", "S"):
            start = i
        after = tags[i + 1] if i + 1 < len(tags) else OUTSIDE
        if letter in ("E", "S") or (scheme == "iob2" and letter != OUTSIDE and parts(after) != ("I", kind)):
            yield Span(kind, start, i + 1)
