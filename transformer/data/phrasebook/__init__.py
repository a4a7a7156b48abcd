"""The embedded default corpus: a phrasebook in Portuguese (Brazil), English and Chinese.

Sentences come from patterns (`patterns/*.toml`) with typed slots, filled with entries (`entries/*.toml`) that agree in
gender, number, person and tense; `everyday/*.tsv` and `free.tsv` hold sentences that were written by hand, the latter
for tests alone. `generate(split)` gives them as a list, `load_builder(direction)` as a prepared TFDS builder.
`python -m transformer.data.phrasebook` counts.
"""

import collections
import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from transformer.data.phrasebook.grammar import Sentence, load_patterns, stable_hash
from transformer.data.phrasebook.lexicon import LANGUAGES, load_types
from transformer.data.phrasebook.splits import SPLITS, build_splits

if TYPE_CHECKING:
    from transformer.data.phrasebook.phrasebook_dataset_builder import Phrasebook

FIRST_SENTENCES = (  # what a trained model can be shown with; all are trained on
    Sentence("Onde fica a estação?", "Where is the station?", "车站在哪里？", "first"),
    Sentence("Quanto custa isso?", "How much does this cost?", "这个多少钱？", "first"),
    Sentence("Eu te amo.", "I love you.", "我爱你。", "first"),
)
DIRECTIONS = tuple(f"{source}_to_{target}" for source in LANGUAGES for target in LANGUAGES if source != target)
__all__ = [
    "DIRECTIONS",
    "FIRST_SENTENCES",
    "LANGUAGES",
    "SPLITS",
    "Sentence",
    "describe",
    "digest",
    "generate",
    "load_builder",
    "stable_hash",
]


def generate(split: str) -> list[Sentence]:
    """Return the sentences of a split, the same in every process.

    Args:
      split: "train", "validation" or "test" (patterns with entries held out, see splits.py); "everyday_train",
        "everyday_validation" or "everyday" (see everyday.py); or "free".

    Raises:
      ValueError: unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    return list(build_splits()[split])


def describe() -> dict[str, float]:
    """Return counts of the corpus.

    Keys: patterns, entries, one per split (pairs), pairs (distinct pairs of patterns) and largest_share (the share of
    those that the most productive pattern makes).
    """
    splits = build_splits()
    made = [sentence for split in ("train", "validation", "test") for sentence in splits[split]]
    by_pattern = collections.Counter(sentence.pattern for sentence in made)
    return {
        "patterns": len(load_patterns()),
        "entries": sum(map(len, load_types().values())),
        **{split: len(splits[split]) for split in SPLITS},
        # No sentence occurs twice in any language, so every direction has this many distinct pairs.
        "pairs": len(made),
        "largest_share": max(by_pattern.values()) / len(made),
    }


@functools.cache
def digest() -> str:
    """Return a hash of the package's data and code files: prepared data with another one are out of date."""
    result = hashlib.blake2b(digest_size=16)
    root = resources.files("transformer.data.phrasebook")
    for folder in (root, root / "entries", root / "patterns", root / "everyday"):
        for item in sorted(folder.iterdir(), key=lambda item: item.name):
            if item.name.endswith((".py", ".toml", ".tsv")):
                result.update(item.name.encode() + b"\0" + item.read_bytes())
    return result.hexdigest()


def load_builder(direction: str, data_dir: str | None = None) -> "Phrasebook":
    """Return the TFDS builder `phrasebook/<direction>`, prepared on disk without network.

    Safe when several processes call it at once: each prepares in a folder of its own, the first to finish moves it
    into place, the others use that one. Prepared data of an older phrasebook are replaced.

    Args:
      direction: one of DIRECTIONS, such as "pt_to_en".
      data_dir: TFDS data folder; None means TFDS' own default (`~/tensorflow_datasets` or TFDS_DATA_DIR).

    Returns:
      A `tfds.core.DatasetBuilder` with the splits train, validation, test, free, everyday and calibration; an example
      is {"<source>": text, "<target>": text}.

    Raises:
      ValueError: unknown direction.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {DIRECTIONS}, got {direction!r}")
    from transformer.data.phrasebook.phrasebook_dataset_builder import prepared_builder

    return prepared_builder(direction, data_dir)
