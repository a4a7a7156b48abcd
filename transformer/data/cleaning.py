"""Cleaning of sentence pairs: one normalisation for the whole package, and the rules that real corpora need."""

import functools
import hashlib
import html
import html.entities
import re
import sys
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from transformer.config.settings import CleaningConfig
from transformer.data.languages import is_without_spaces

META_SPACE = "\u2581"  # SentencePiece's own sign for a space

# Unicode's White_Space property, spelled out because Python and RE2 disagree on what `\s` means.
SPACES = (
    "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
MARKS_TOGETHER = 64  # combining marks in a row that Unicode's library may sort: it takes the square of their number


def normalise_text(text: str) -> str:
    """Return `text` in NFC, with U+2581 replaced by a space and outer spaces (White_Space) removed.

    Nothing else changes: inner spaces, full-width forms, ligatures and control characters stay. Idempotent.
    """
    if text.isascii():
        return text.strip(SPACES)
    if len(text) > MARKS_TOGETHER:
        text = _many_marks().sub(_sort_marks, text)
    return unicodedata.normalize("NFC", text).replace(META_SPACE, " ").strip(SPACES)


@functools.cache
def _many_marks() -> re.Pattern[str]:
    """Return the pattern of more combining marks in a row than may be sorted by their class the slow way."""
    marks = (chr(code) for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code)))
    return re.compile(f"[{re.escape(''.join(marks))}]{{{MARKS_TOGETHER},}}")


def _sort_marks(match: re.Match[str]) -> str:
    """Return marks in the order that NFC gives them, in which it then has nothing to sort."""
    return "".join(sorted(match[0], key=unicodedata.combining))


# HTML's elements (the living standard's index, and those that older pages still hold), blocks and others. Those of
# `_MARKUP` only shape text: nobody means anything else by them. The names of the others are words, with which people
# write placeholders (<time>, <code>, <source>): they are tags where they have an attribute, or an end.
_MARKUP_BLOCKS = (
    "blockquote|br|center|colgroup|dd|div|dl|dt|fieldset|figcaption|frameset|h[1-6]|hr|html|iframe|img|li|noscript|ol|"
    "optgroup|p|pre|tbody|td|textarea|tfoot|th|thead|tr|ul"
)
_MARKUP_INLINE = "a|b|bdi|bdo|big|em|font|i|rp|rt|s|small|span|strike|strong|sub|sup|tt|u|wbr"
_WORD_BLOCKS = (
    "address|article|aside|body|button|caption|col|dialog|details|dir|figure|footer|form|frame|head|header|hgroup|input|"
    "legend|link|main|map|menu|meta|nav|object|option|param|search|section|select|source|summary|table|template|title|"
    "track|video"
)
_WORD_INLINE = (
    "abbr|acronym|area|audio|base|canvas|cite|code|data|datalist|del|dfn|embed|ins|kbd|label|mark|meter|output|picture|"
    "progress|q|ruby|samp|slot|svg|time|var"
)
_ATTRIBUTES = r"""(?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))"""
_DOCTYPE = re.compile(r"<!doctype\b[^<>]*>", re.IGNORECASE)
_HIDING = re.compile(r"<!--|<(script|style)\b[^<>]*>", re.IGNORECASE)
_MARKUP = re.compile(rf"</?(?:(?P<block>{_MARKUP_BLOCKS})|{_MARKUP_INLINE}){_ATTRIBUTES}*\s*/?>", re.IGNORECASE)
_WORD = re.compile(
    rf"<(?P<end>/?)(?P<name>(?P<block>{_WORD_BLOCKS})|{_WORD_INLINE})(?P<attributes>{_ATTRIBUTES}*)\s*/?>",
    re.IGNORECASE,
)
_END = re.compile(r"</(\w+)\s*>")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def strip_html(text: str) -> str:
    """Return `text` without HTML: entities unescaped, comments, scripts and tags removed.

    Entities are unescaped twice, for corpora that were escaped twice. A tag is an HTML element's name with nothing but
    attributes `name=value` behind it, so "a < b", "x<y" and "<name>" stay. A name that is a word too, such as "time" or
    "code", makes a tag only with an attribute, or if the text holds its end ("<code>x</code>"): alone it is a
    placeholder, and stays. A tag that separates blocks leaves a space.
    """
    if "&" in text:
        for _ in range(2):
            text = _ENTITY.sub(_unescape, text)
    if "<" not in text:
        return text
    stripped = _MARKUP.sub(_blank, _without_hidden(_DOCTYPE.sub(" ", text)))
    ended = {name.lower() for name in _END.findall(stripped)}

    def without_word(tag: re.Match[str]) -> str:
        is_tag = tag["end"] or tag["attributes"] or tag["name"].lower() in ended
        return _blank(tag) if is_tag else tag[0]

    stripped = _WORD.sub(without_word, stripped)
    return text if stripped == text else re.sub(" {2,}", " ", stripped).strip(SPACES)


def _without_hidden(text: str) -> str:
    """Replace each comment, script and style sheet that ends by a space, in one pass over the text."""
    parts, shown, endless = [], 0, set()
    for opening in _HIDING.finditer(text):
        name = (opening[1] or "").lower()
        if opening.start() < shown or name in endless:
            continue
        closing = re.compile(rf"</{name}\s*>" if name else "-->", re.IGNORECASE)
        if end := closing.search(text, opening.end()):
            parts.append(text[shown : opening.start()])
            shown = end.end()
        else:
            endless.add(name)
    return " ".join([*parts, text[shown:]])


def _blank(tag: re.Match[str]) -> str:
    return " " if tag["block"] else ""


def _unescape(match: re.Match[str]) -> str:
    entity = match[0]
    return html.unescape(entity) if entity[1] == "#" or entity[1:] in html.entities.html5 else entity


def _changes(config: CleaningConfig) -> dict[str, Callable[[str], str]]:
    changes = {"strip_html": strip_html, "normalise_unicode": normalise_text}
    return {rule: change for rule, change in changes.items() if getattr(config, rule)}


def cleaned(text: str, config: CleaningConfig) -> str:
    """Return a text as `clean` changes each side of a pair: without HTML, normalised, as far as `config` says."""
    for change in _changes(config).values():
        text = change(text)
    return text


@dataclass
class CleaningReport:
    """Counts of pairs: read, changed by each rule, removed by each rule, kept."""

    read: int = 0
    changed: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    kept: int = 0

    def __str__(self) -> str:
        parts = [f"kept {self.kept:,} of {self.read:,} pairs"]
        parts += [f"{rule} removed {count:,}" for rule, count in self.removed.items()]
        parts += [f"{rule} changed {count:,}" for rule, count in self.changed.items()]
        return "; ".join(parts)


def clean(
    pairs: Iterable[tuple[str, str]],
    config: CleaningConfig,
    source_language: str = "",
    target_language: str = "",
    report: CleaningReport | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield the (source, target) pairs that pass every rule of `config`; each rule can be turned off.

    First the text is changed: HTML, then `normalise_text`. Then pairs are removed by the first rule they break: an
    empty side, too many words (characters in languages without spaces, such as Chinese), too different lengths, seen
    before. A pair is a duplicate if both sides are equal; it is recognised by a 64-bit hash, which takes at most 24
    bytes a pair; the chance that any of 5 million pairs is taken for another is 1e-6.

    While the pairs are read, counts are added to `report`.
    """
    report = CleaningReport() if report is None else report
    changes = _changes(config)
    source_words, target_words = _words_in(source_language), _words_in(target_language)
    faults: dict[str, Callable[[tuple[str, str]], bool]] = {
        "drop_empty": lambda pair: not (pair[0].strip(SPACES) and pair[1].strip(SPACES)),
        "max_words": lambda pair: max(source_words(pair[0]), target_words(pair[1])) > config.max_words,
        "max_ratio": lambda pair: max(map(len, pair)) > config.max_ratio * min(map(len, pair)),
        "drop_duplicates": _Seen().add,
    }
    faults = {rule: fault for rule, fault in faults.items() if getattr(config, rule)}
    for rules, counts in ((changes, report.changed), (faults, report.removed)):
        for rule in rules:
            counts.setdefault(rule, 0)

    for pair in pairs:
        report.read += 1
        for rule, change in changes.items():
            changed = (change(pair[0]), change(pair[1]))
            report.changed[rule] += changed != pair
            pair = changed
        for rule, fault in faults.items():
            if fault(pair):
                report.removed[rule] += 1
                break
        else:
            report.kept += 1
            yield pair


def _words_in(language: str) -> Callable[[str], int]:
    if not is_without_spaces(language):
        return lambda text: len(text.split())
    return lambda text: sum(not character.isspace() for character in text)


class _Seen:
    """A set of 64-bit hashes in one flat array (open addressing, linear probing): 12 to 24 bytes an entry.

    A Python set of the same hashes takes about 90.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def add(self, pair: tuple[str, str]) -> bool:
        """Remember a pair; return whether it was there before."""
        text = f"{len(pair[0])} {pair[0]}{pair[1]}".encode(errors="surrogatepass")
        key = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) or 1  # 0 marks a free slot
        slot = self._find(key)
        if self._slots[slot] == key:
            return True
        self._slots[slot] = key
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            self._grow()
        return False

    def _find(self, key: int) -> int:
        slots, last = self._slots, len(self._slots) - 1
        slot = key & last
        while slots[slot] not in (0, key):
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        keys = self._slots
        self._slots = array("Q", bytes(16 * len(keys)))
        for key in filter(None, keys):
            self._slots[self._find(key)] = key
