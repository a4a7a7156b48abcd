"""Everyday sentences, written by hand: `everyday/TOPIC.tsv` with a column for each of pt, en, zh.

A fifth is never trained on. Fixed expressions of a few words ("Obrigado.") always are: nobody can guess
them from others.
"""

import collections
import functools
from collections.abc import Sequence
from importlib import resources

from transformer.data.phrasebook.grammar import Sentence, stable_hash

COLUMNS = 3
# One in so many is held out for each of the tests and, less often, validation.
TEST_SHARE, VALIDATION_SHARE = 5, 25
# Words of the shortest sentence that may be held out.
SHORTEST_HELD_OUT = 4


@functools.cache
def read_everyday() -> list[Sentence]:
    """Return all sentences; the `pattern` of each is its topic, such as 'everyday.hotels'.

    Raises:
      ValueError: a line has not three columns.
    """
    names = sorted(item.name for item in (resources.files("transformer.data.phrasebook") / "everyday").iterdir())
    topics = [name.removesuffix(".tsv") for name in names if name.endswith(".tsv")]
    return [each for topic in topics for each in read_table(f"everyday/{topic}.tsv", f"everyday.{topic}")]


def read_table(name: str, pattern: str) -> list[Sentence]:
    """Return the sentences of a file of the package, a line each: pt TAB en TAB zh.

    Args:
      name: of the file.
      pattern: what the sentences get as theirs.

    Raises:
      ValueError: a line has not three columns.
    """
    text = resources.files("transformer.data.phrasebook").joinpath(name).read_text(encoding="utf-8")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        columns = line.split("\t")
        if len(columns) != COLUMNS or not all(columns):
            raise ValueError(f"{name}, line {number}: must have three columns (pt, en, zh), has {len(columns)}")
        found.append(Sentence(columns[0], columns[1], columns[2], pattern))
    return found


def everyday_splits(left_out: Sequence[Sentence]) -> dict[str, list[Sentence]]:
    """Return {"everyday_train", "everyday_validation", "everyday"}: the same lists in every process.

    A sentence is held out only where none of its texts is also that of another one.

    Args:
      left_out: sentences of other tests; everyday sentences that share a text with one of them are in no split.
    """
    others = [{sentence[index] for sentence in left_out} for index in range(COLUMNS)]
    sentences = [each for each in read_everyday() if not any(each[i] in texts for i, texts in enumerate(others))]
    uses = [collections.Counter(sentence[index] for sentence in sentences) for index in range(COLUMNS)]

    def may_be_held_out(sentence: Sentence) -> bool:
        alone = all(count[sentence[index]] == 1 for index, count in enumerate(uses))
        return alone and len(sentence.pt.split()) >= SHORTEST_HELD_OUT

    ranked = sorted(filter(may_be_held_out, sentences), key=lambda sentence: stable_hash("everyday", sentence.pt))
    test = len(sentences) // TEST_SHARE
    end = test + len(sentences) // VALIDATION_SHARE
    held = set(ranked[:end])
    return {
        "everyday_train": [sentence for sentence in sentences if sentence not in held],
        "everyday_validation": ranked[test:end],
        "everyday": ranked[:test],
    }
