"""Cutting a text into its sentences, and one that is longer than the model reads into parts that are not."""

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from sentencex import segment

from transformer.data.cleaning import SPACES
from transformer.data.languages import language_of
from transformer.inference.abbreviations import abbreviations
from transformer.system.errors import panics_as_errors

TOGETHER = 10_000  # characters; sentencex takes the square of their number for some signs
LONGEST_TOKEN = 16  # characters; a text that fits only with longer ones, on average, is cut without being counted
_CLOSING = r"[\"'\u201d\u2019\u00bb\u300d\u300f)\]\uff09\u3011]{0,4}+"
_FOREIGN = r"\u3002\uff01\uff1f\uff61\u0964\u06d4\u061f\u17d4\u17d5\u104b\u1362\u1367"  # stops that no number holds

# Where a text may be cut, best places first: after a sentence, after a clause, between words. Each takes time in
# proportion to the text, which is why a run of stops is tried from its first one only and not given back.
_PLACES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<![.!?\u2026])[.!?\u2026]++{_CLOSING}\s+|[{_FOREIGN}]++{_CLOSING}\s*|\n+",
        r"[,;:\u060c\u061b]\s+|[\uff0c\uff1b\uff1a\u3001]\s*",
        r"\s+",
    )
)

# Ends that sentencex does not always see: stops of other scripts, "…", and a whole sentence in brackets. As above, a
# run of stops is tried from its first one only.
_MISSED = re.compile(rf"[{_FOREIGN}]++{_CLOSING}\s*+|(?<!\u2026)\u2026++{_CLOSING}\s++|[.!?][)\]]\s++")

# What may stand before a new sentence: a space, or a stop that needs none behind it.
_ENDED = re.compile(rf"(?:\s|[{_FOREIGN}]{_CLOSING})\Z")
_PARAGRAPH = re.compile(r"\n\s*\n\s*\Z")
_IN_BRACKETS = re.compile(rf"[.!?\u2026{_FOREIGN}][)\]\uff09\u3011]\s*\Z")
_BRACKET = re.compile(r"\s{0,8}[(\[\uff08\u3010]")
_FIRST = re.compile(r"[\W_]{0,16}(\w)")  # letter or digit of a sentence
_ROMAN = re.compile(r"[IVXLC]{2,}\b|[VXLC]\b")
_SMALL_NUMBER = re.compile(r"(?<![\w.,])\d{1,2}\.\s+\Z")  # of a date in German, of a list's item
_ITEM = re.compile(r"(?:\A|[:;\n])[\s(]*\d{1,2}\.\s+\Z")
_INITIAL = re.compile(r"(?:\A|\b\w{1,3}\s|(?<!\w)(?P<name>\w)\w*\s|[.\-])[(\"'\u00ab\u201c]?(?P<initial>\w)\.\s+\Z")
_AROUND = 32  # characters before and after a place that decide

# sentencex 1.0 panics at spaces of several bytes between a capital letter and a full stop, and takes none for a space.
_PLAIN_SPACES = {ord(space): " " for space in SPACES if not space.isascii()}


def most_characters(limit: int) -> int:
    """Return the most characters of a text whose tokens are worth counting, where `limit` tokens are allowed.

    Normalising takes the square of the length of a run of combining marks, so long texts are not tokenised whole.
    """
    return max(1, LONGEST_TOKEN * limit)


def sentences_of(text: str, language: str = "") -> list[str]:
    """Return the sentences of a text, without the spaces between them.

    They are those of sentencex, with more ends in scripts that it does not know. A sentence holds a letter or a digit.
    It begins after a space, or after a stop that needs none (Chinese, Hindi, Khmer, ...); never with a small letter,
    unless after an empty line; and not after an abbreviation that calls for more, an initial or the number of an item.
    The abbreviations are those of the language's code; empty or unknown: those of English.
    """
    readable = text.encode("utf-8", "replace").decode("utf-8")  # as long: a lone surrogate becomes a question mark
    cuts = itertools.pairwise([0, *_beginnings(readable, language_of(language)), len(text)])
    return [part for start, end in cuts if (part := text[start:end].strip())]


def _beginnings(text: str, language: str) -> Iterator[int]:
    """Yield where the second and later sentences of a text begin."""
    start, has_words = 0, False
    places = sorted({0, *_places(text, language), len(text)})
    for place, following in itertools.pairwise(places):
        has_word = any(map(str.isalnum, text[place:following]))
        if has_words and has_word and _may_begin(text, start, place, language):
            yield place
            start, has_words = place, False
        has_words |= has_word


def _places(text: str, language: str) -> Iterator[int]:
    """Yield places where sentences may begin, in no order."""
    for start in range(0, len(text), TOGETHER):  # which is no end of a sentence
        place = start
        for part in _segments(text[start : start + TOGETHER], language)[:-1]:
            place += len(part)
            yield place
    for match in itertools.chain(_MISSED.finditer(text), abbreviations(language).ends.finditer(text)):
        yield match.end()


def _may_begin(text: str, start: int, place: int, language: str) -> bool:
    """Return whether a sentence may begin at a place of a text, where the one before starts at `start`."""
    before, after = _around(text, start, place)
    if _PARAGRAPH.search(before):
        return True
    if not _ENDED.search(before) or (_IN_BRACKETS.search(before) and not _BRACKET.match(text, start)):
        return False
    first = _FIRST.match(after)
    if first and first[1].islower() and first[1].title() != first[1]:  # Georgian letters have no capital
        return False
    if after.startswith("\u3068") and before.endswith(("\u300d", "\u300f")):  # "said", in Japanese
        return False
    return not _goes_on(before, after, language)


def _around(text: str, start: int, place: int) -> tuple[str, str]:
    return text[max(start, place - _AROUND) : place], text[place : place + _AROUND]


def _goes_on(before: str, after: str, language: str) -> bool:
    """Return whether a sentence goes on after what is before a place: a title, an initial, the number of an item."""
    if before.rstrip()[-1:] != ".":
        return False
    known = abbreviations(language)
    if known.onward.search(before) or _ITEM.search(before):
        return True
    if known.number.search(before) and (after[:1].isdigit() or _ROMAN.match(after)):
        return True
    if known.with_ordinals and _SMALL_NUMBER.search(before) and not known.numbered.search(before):
        return True
    initial = _INITIAL.search(before)  # sentencex knows those of English, and the words that follow none
    if not initial or language in ("", "en") or not initial["initial"].isupper():
        return False
    return initial["name"] is None or initial["name"].isupper()


def _segments(text: str, language: str) -> list[str]:
    """Return the sentences of a text by sentencex, with plain spaces; where it fails, the text is one."""
    try:
        with panics_as_errors():
            return segment(language, text.translate(_PLAIN_SPACES))
    except Exception:  # whatever it is, the text can be translated
        return [text]


def split_text(text: str, language: str, count: Callable[[Sequence[str]], Sequence[int]], limit: int) -> list[str]:
    """Return the parts of a text, each of at most `limit` tokens, without the spaces between them.

    A text that is too long is cut into its sentences, see `sentences_of`. A part that is still too long is cut in two,
    as near to its middle as something ends that looks like a sentence; else a clause; else at a space, else between two
    characters. One character is a part, whatever it counts.

    Args:
        text: any text.
        language: its code, or empty.
        count: returns the numbers of tokens of texts.
        limit: most tokens of a part.
    """
    most, language = most_characters(limit), language_of(language)

    def are_too_long(parts: Sequence[str]) -> list[bool]:
        counts = iter(count([part for part in parts if len(part) <= most]))
        return [len(part) > most or (next(counts) > limit and len(part) > 1) for part in parts]

    parts = [text.strip()]
    if not are_too_long(parts)[0]:
        return parts
    parts = sentences_of(text, language)
    too_long = are_too_long(parts)
    while any(too_long):
        halves = [_halves(part, language) if long else (part,) for part, long in zip(parts, too_long, strict=True)]
        still = iter(are_too_long([half for pair in halves if len(pair) == 2 for half in pair]))
        too_long = [len(pair) == 2 and next(still) for pair in halves for _ in pair]
        parts = [half for pair in halves for half in pair]
    return parts


def _halves(text: str, language: str) -> tuple[str, str]:
    """Cut a text of two characters or more, without outer spaces."""
    length = len(text)
    for place in _PLACES:
        ends = (match.end() for match in place.finditer(text))
        if place is _PLACES[0]:
            ends = (end for end in ends if not _goes_on(*_around(text, 0, end), language))
        if end := min((end for end in ends if end < length), key=lambda end: abs(2 * end - length), default=0):
            return text[:end].strip(), text[end:].strip()
    middle = length // 2  # an accent stays with its letter, unless there are accents alone
    cut = next((place for place in range(middle, 0, -1) if not unicodedata.combining(text[place])), middle)
    return text[:cut], text[cut:]
