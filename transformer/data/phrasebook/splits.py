"""What is trained on and what is held out.

For every pattern a few entries of its largest slot of words are held out for `test`, a few others for `validation`:
no training sentence of that pattern contains them. "Eu preciso ir à {place}" is thus tested with places it was never
trained with, each of which other patterns do train. All patterns give the same number of test pairs and of
validation pairs. An entry is held out only where each word it writes (in zh: each character) is left in training.

Over all splits of patterns a sentence of any language occurs once, and in none of the others, so that in each direction
a source has exactly one target and no test source is known from training. Everyday sentences have splits of their own.
"""

import collections
import functools
import math
import operator
import re
from collections.abc import Iterable
from typing import NamedTuple

from transformer.data.phrasebook.everyday import everyday_splits, read_table
from transformer.data.phrasebook.grammar import Pattern, Sentence, load_patterns, stable_hash
from transformer.data.phrasebook.lexicon import LANGUAGES

SPLITS = ("train", "validation", "test", "free", "everyday_train", "everyday_validation", "everyday")
TEST_PAIRS, VALIDATION_PAIRS = 4, 3
# Most training pairs of one pattern: under 1 % of the whole.
TRAIN_PAIRS = 400
# One entry in so many of a large slot is held out for each of test and validation.
HELD_SHARE = 20
# How many other uses of a word must be left in training when an entry is held out.
USES_LEFT = 2


class Partition(NamedTuple):
    """Entry indices of a pattern's held slot."""

    train: list[int]
    validation: list[int]
    test: list[int]


def words(language: str, text: str) -> list[str]:
    """Return the lower-case words of a text, in zh its characters, without punctuation."""
    return re.findall(r"[^\W_]" if language == "zh" else r"[^\W_]+(?:['-][^\W_]+)*", text.lower())


def _entry_words(pattern: Pattern, slot: int, index: int) -> set[tuple[str, str]]:
    return {
        (language, word)
        for language in LANGUAGES
        for text in pattern.entry_texts(language, slot, index)
        for word in words(language, text)
    }


def partition_entries(patterns: list[Pattern]) -> dict[str, Partition]:
    """Return, for every pattern, which entries of its held slot are for training, validation and test.

    Raises:
      ValueError: a pattern has too few entries to hold any out.
    """
    uses: collections.Counter[tuple[str, str]] = collections.Counter()
    for pattern in patterns:
        for slot, entries in enumerate(pattern.entries):
            for index in range(len(entries)):
                uses.update(_entry_words(pattern, slot, index))
        for language in LANGUAGES:
            # Words of the pattern itself stay in training whatever is held out.
            uses.update(dict.fromkeys(((language, w) for w in words(language, pattern.literals(language))), 1000))
    partitions = {}
    for pattern in patterns:
        slot, entries = pattern.held_slot, pattern.entries[pattern.held_slot]
        others = math.prod(len(pool) for index, pool in enumerate(pattern.entries) if index != slot)
        # Half as many pairs again as wanted, since another pattern may have some already; of large slots a share.
        share = len(entries) // HELD_SHARE
        quota = {
            "test": max(math.ceil(1.5 * TEST_PAIRS / others), share),
            "validation": max(math.ceil(1.5 * VALIDATION_PAIRS / others), share),
        }
        held: dict[str, list[int]] = {"test": [], "validation": []}
        ranked = sorted(range(len(entries)), key=lambda index: stable_hash(pattern.name, entries[index].key))
        for index in ranked:
            open_splits = [split for split in quota if len(held[split]) < quota[split]]
            entry_words = _entry_words(pattern, slot, index)
            spare = all(uses[word] > USES_LEFT for word in entry_words)
            if open_splits and spare and entries[index].key not in pattern.train_only:
                held[open_splits[0]].append(index)
                uses.subtract(entry_words)
        train = [index for index in range(len(entries)) if index not in held["test"] + held["validation"]]
        if any(len(held[split]) < quota[split] for split in quota) or len(train) < len(entries) / 2:
            raise ValueError(f"pattern {pattern.name}: too few entries in {pattern.slots[slot]} to hold {quota} out")
        partitions[pattern.name] = Partition(train, held["validation"], held["test"])
    return partitions


@functools.cache
def build_splits() -> dict[str, list[Sentence]]:
    """Return the sentences of `SPLITS`: the same lists in every process.

    Raises:
      ValueError: a pattern cannot give its number of test or validation pairs.
    """
    patterns = load_patterns()
    partitions = partition_entries(patterns)
    splits = {"train": [], "validation": [], "test": [], "free": read_table("free.tsv", "free")}
    taken = tuple({sentence[index] for sentence in splits["free"]} for index in range(len(LANGUAGES)))

    def collect(pattern: Pattern, split: str, number: int, known_words: list[set[str]] | None) -> int:
        """Add up to `number` sentences that are new in every language and of known words; return how many."""
        found = 0
        for combination in pattern.combinations(getattr(partitions[pattern.name], split), TRAIN_PAIRS):
            sentence = pattern.render(combination)
            if any(sentence[index] in texts for index, texts in enumerate(taken)):
                continue
            if known_words and not all(
                known.issuperset(words(language, text))
                for known, language, text in zip(known_words, LANGUAGES, sentence[:3], strict=True)
            ):
                continue
            for index, texts in enumerate(taken):
                texts.add(sentence[index])
            splits[split].append(sentence)
            found += 1
            if found == number:
                break
        return found

    for pattern in patterns:
        collect(pattern, "train", TRAIN_PAIRS, None)
    vocabulary = [
        set(words(language, " ".join(getattr(sentence, language) for sentence in splits["train"])))
        for language in LANGUAGES
    ]
    for split, number in (("test", TEST_PAIRS), ("validation", VALIDATION_PAIRS)):
        for pattern in patterns:
            found = collect(pattern, split, number, vocabulary)
            if found < number:
                raise ValueError(f"pattern {pattern.name}: only {found} of {number} pairs for {split}")
    splits |= everyday_splits([sentence for split in ("validation", "test", "free") for sentence in splits[split]])
    everyday = (sentence for split in SPLITS if split.startswith("everyday") for sentence in splits[split])
    written = _texts(everyday)
    splits["train"] = [each for each in splits["train"] if not any(map(operator.contains, written, each[:3]))]
    # Patterns mixed, so that the head of the list is a sample of the whole.
    splits["train"].sort(key=lambda sentence: stable_hash(sentence.en))
    return splits


def _texts(sentences: Iterable[Sentence]) -> list[set[str]]:
    """Return what sentences are in each language."""
    return list(map(set, zip(*(sentence[:3] for sentence in sentences), strict=True)))
