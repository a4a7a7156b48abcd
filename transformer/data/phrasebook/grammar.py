"""Patterns of the phrasebook: sentences in three languages with typed slots, expanded to all that agree.

A pattern is a table `[name]` with `pt`, `en` and `zh`. Its slots, in braces:

  {place}            the plain form of an entry of type "place"
  {place:no}         a named form (na estação); the forms of each kind are listed in the files of `entries/`
  {do:pres@who}      a form that agrees with the entry of another slot
  {who!am|is|are}    alternatives by person and number of the entry (verbs)
  {place?o|a}        alternatives by gender and number (adjectives and the like)

A slot is named after its type; `slots = { a = "place near -hotel" }` renames and narrows it: entries with any of the
tags, without those after "-" (an entry's key is one of its tags). `train = ["station"]` keeps entries out of test and
validation. First letters are capitalised by the expansion. Every slot must stand in all three languages.
"""

import functools
import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from transformer.data.phrasebook.lexicon import LANGUAGES, Entry, load_types, read_tables
from transformer.data.phrasebook.numbers import VALUES, value_entry

MAX_VALUES = 10
NOT_ITSELF = {"zh": ("cl", "v")}  # forms of a noun that say nothing of it: its measure word, the verb that goes with it
SLOT = re.compile(r"\{(\w+)(?::(\w+))?(?:@(\w+))?(?:([?!])([^{}]*))?\}")


class Sentence(NamedTuple):
    """One sentence in three languages and the pattern that made it ("free" for the hand-written ones)."""

    pt: str
    en: str
    zh: str
    pattern: str
    combination: tuple[int, ...] = ()  # of the pattern's entries, see `Pattern.spans`


class SlotSpan(NamedTuple):
    """Where a sentence says what the entry of a slot stands for."""

    kind: str  # the slot's type
    start: int  # of its first character
    end: int  # behind its last one


def stable_hash(*parts: object) -> int:
    """Return the same 64-bit number for the same parts in every process and Python version."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class Pattern:
    """One pattern with its slots filled by entries.

    Args:
      name: unique name, "topic.pattern".
      table: the TOML table, see the module.
      types: type -> entries.

    Raises:
      ValueError: a missing language, unknown key, slot type or form, a slot absent from a language, unbalanced braces.
    """

    def __init__(self, name: str, table: dict, types: dict[str, list[Entry]]):
        self.name = name
        unknown = set(table) - {*LANGUAGES, "slots", "train"}
        missing = set(LANGUAGES) - set(table)
        if unknown or missing:
            raise ValueError(f"pattern {name}: missing {sorted(missing)}, unknown keys {sorted(unknown)}")
        self.train_only = frozenset(table.get("train", ()))
        self.slots = list(dict.fromkeys(match[1] for match in SLOT.finditer(table["pt"])))
        filters = table.get("slots", {})
        if set(filters) - set(self.slots):
            raise ValueError(f"pattern {name}: slots {sorted(set(filters) - set(self.slots))} do not occur in pt")
        choices = [self._fill(slot, filters.get(slot, slot), types) for slot in self.slots]
        self.types = [kind for kind, _ in choices]
        self.entries = [entries for _, entries in choices]
        self.forms: dict[str, list[str | None]] = {}  # of each segment
        try:
            self.segments = {language: self._compile(language, table[language]) for language in LANGUAGES}
        except ValueError as error:
            raise ValueError(f"pattern {name}: {error}") from error
        lexical = [index for index, kind in enumerate(self.types) if kind not in VALUES]
        if not lexical:
            raise ValueError(f"pattern {name}: needs a slot of words, not of numbers alone")
        # Whole entries of the largest slot of words are held out for validation and test.
        self.held_slot = max(lexical, key=lambda index: len(self.entries[index]))

    def _fill(self, slot: str, description: str, types: dict[str, list[Entry]]) -> tuple[str, list[Entry]]:
        kind, *tags = description.split()
        if kind in VALUES:
            ranked = sorted(VALUES[kind][1], key=lambda value: stable_hash(self.name, slot, value))
            return kind, [value_entry(kind, value) for value in sorted(ranked[:MAX_VALUES])]
        if kind not in types:
            raise ValueError(f"pattern {self.name}: unknown slot type {kind!r}")
        wanted = {tag for tag in tags if not tag.startswith("-")}
        unwanted = {tag[1:] for tag in tags if tag.startswith("-")}
        known = frozenset().union(*(entry.tags for entry in types[kind]))
        if not wanted | unwanted <= known:
            raise ValueError(f"pattern {self.name}: type {kind} has no tag {sorted((wanted | unwanted) - known)}")
        entries = [e for e in types[kind] if (not wanted or wanted & e.tags) and not unwanted & e.tags]
        return kind, entries

    def _compile(self, language: str, template: str) -> list[tuple]:
        """Return segments (text,) or (slot, texts) or (slot, other slot, texts of pairs)."""
        segments: list[tuple] = []
        names: list[str | None] = []  # of the form that a segment writes; None: text, or what agrees with a slot
        position, used = 0, set()
        for match in SLOT.finditer(template):
            segments.append((template[position : match.start()],))
            names.append(None)
            position = match.end()
            slot, name, other, mark, alternatives = match.groups()
            names.append(None if mark else name or "")
            for reference in (slot, other or slot):
                if reference not in self.slots:
                    raise ValueError(f"{language}: slot {reference!r} does not occur in pt")
            index, name = self.slots.index(slot), name or ""
            entries = self.entries[index]
            if mark:
                options = alternatives.split("|")
                texts = [options[entry.choose(language, mark, len(options))] for entry in entries]
                segments.append((index, texts))
            elif other:
                used.add(slot)
                others = self.entries[self.slots.index(other)]
                pairs = [[entry.form(language, name, agreed) for agreed in others] for entry in entries]
                segments.append((index, self.slots.index(other), pairs))
            else:
                used.add(slot)
                segments.append((index, [entry.form(language, name, None) for entry in entries]))
        segments.append((template[position:],))
        names.append(None)
        if any("{" in part[0] or "}" in part[0] for part in segments if len(part) == 1):
            raise ValueError(f"{language}: unreadable slot in {template!r}")
        if used != set(self.slots):
            raise ValueError(f"{language}: slots {sorted(set(self.slots) - used)} are missing in {template!r}")
        self.forms[language] = [name for part, name in zip(segments, names, strict=True) if part != ("",)]
        return [part for part in segments if part != ("",)]

    def literals(self, language: str) -> str:
        """Return the text of the pattern outside its slots."""
        return " ".join(part[0] for part in self.segments[language] if len(part) == 1)

    def entry_texts(self, language: str, slot: int, index: int) -> Iterator[str]:
        """Yield what the entry `index` of the slot writes into the sentence."""
        for part in self.segments[language]:
            if len(part) == 2 and part[0] == slot:
                yield part[1][index]
            elif len(part) == 3 and part[0] == slot:
                yield from part[2][index]

    def render(self, combination: tuple[int, ...]) -> Sentence:
        """Return the sentence of one combination of entries (one index a slot)."""
        texts = []
        for language in LANGUAGES:
            text = "".join(self._parts(language, combination))
            texts.append(text[0].upper() + text[1:])
        return Sentence._make([*texts, self.name, combination])

    def _parts(self, language: str, combination: tuple[int, ...]) -> Iterator[str]:
        """Yield the text of each segment."""
        for part in self.segments[language]:
            if len(part) == 1:
                yield part[0]
            elif len(part) == 2:
                yield part[1][combination[part[0]]]
            else:
                yield part[2][combination[part[0]]][combination[part[1]]]

    def spans(self, language: str, combination: tuple[int, ...]) -> Iterator[SlotSpan]:
        """Yield where the sentence of a combination says what its entries stand for.

        What only agrees with an entry is none of it: articles and prepositions before a noun, measure words, verbs.
        """
        start = 0
        texts = self._parts(language, combination)
        for part, form, text in zip(self.segments[language], self.forms[language], texts, strict=True):
            if form is not None and form not in NOT_ITSELF.get(language, ()):
                entry = self.entries[part[0]][combination[part[0]]]
                for plain in entry.plain(language):
                    place = text.rfind(plain)
                    if place >= 0:
                        yield SlotSpan(self.types[part[0]], start + place, start + place + len(plain))
                        break
                else:
                    yield SlotSpan(self.types[part[0]], start, start + len(text))
            start += len(text)

    def combinations(self, held: list[int], limit: int) -> Iterator[tuple[int, ...]]:
        """Yield distinct combinations, in a stable random order, whose held slot takes one of `held`.

        Slots of the same type never take the same entry.

        Args:
          held: entry indices of the held slot.
          limit: up to this many combinations all are yielded, of more a sample of at most twice this number.
        """
        pools = [list(range(len(entries))) for entries in self.entries]
        pools[self.held_slot] = held
        drawn: Iterable[tuple[int, ...]]
        if math.prod(map(len, pools)) <= limit:
            drawn = sorted(itertools.product(*pools), key=lambda indices: stable_hash(self.name, *indices))
        else:
            drawn = (self._draw(pools, number) for number in range(2 * limit))
        twins = [(a, b) for a, b in itertools.combinations(range(len(self.slots)), 2) if self.types[a] == self.types[b]]
        seen = set()
        for combination in drawn:
            same = any(self.entries[a][combination[a]] is self.entries[b][combination[b]] for a, b in twins)
            if combination not in seen and not same:
                seen.add(combination)
                yield combination

    def _draw(self, pools: list[list[int]], number: int) -> tuple[int, ...]:
        value = stable_hash(self.name, number)
        combination = []
        for pool in pools:
            value, index = divmod(value, len(pool))
            combination.append(pool[index])
        return tuple(combination)


@functools.cache
def load_patterns() -> list[Pattern]:
    """Return every pattern of the package's `patterns/` folder, in the order of the files."""
    types = load_types()
    return [
        Pattern(f"{topic}.{name}", table, types)
        for topic, tables in read_tables("patterns").items()
        for name, table in tables.items()
    ]
