"""Sentences that are numbers, for tests of the data path: a tokenizer, corpora, and what came out of a batch."""

from collections import Counter

import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.data.examples.corpus import FileCorpus
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.ids import END_ID, PAD_ID, START_ID
from transformer.tasks.translation import CleanedPairs, Translation


class Numbers:
    """A tokenizer whose text is its ids: '7 12 5' -> [7, 12, 5]."""

    kind, vocabulary_size = "numbers", 100

    def __init__(self, asset=b"numbers"):
        self.asset, self.calls = asset, []

    def tokenize(self, texts):
        self.calls.append(len(texts))
        return tf.ragged.map_flat_values(tf.strings.to_number, tf.strings.split(texts), out_type=tf.int32)


def a_pair(rng, longest=10):
    return tuple(" ".join(map(str, rng.integers(4, 99, rng.integers(1, longest + 1)))) for _ in range(2))


def unlike_pairs(count, longest=10, seed=0):
    rng, found = np.random.default_rng(seed), {}
    while len(found) < count:
        found[a_pair(rng, longest)] = None
    return list(found)


def write_corpus(folder, pairs, validation=(("4", "4"),)):
    files = {}
    for split, rows in (("train", pairs), ("validation", validation)):
        files[split] = tuple(folder / f"{split}.{side}" for side in "ab")
        for path, lines in zip(files[split], zip(*rows, strict=True), strict=True):
            path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return CleanedPairs(FileCorpus(files, "en", "de", 10), Config().cleaning)


def a_task(config, *tokenizers):
    return Translation(config, TokenizerPair(*(tokenizers or (Numbers(), Numbers()))), {})


def a_config(folder, cleaning=None, **data):
    sizes = {"max_tokens": 12, "batch_tokens": 48, "length_step": 4, "shuffle_buffer": 64}
    return Config().override({"data": {**sizes, "cache": str(folder / "cache"), **data}, "cleaning": cleaning or {}})


def rows_of(batch):
    """Return the pairs of a batch as they must have been, from all three tensors; rows of padding only left out."""
    pairs = []
    for source, before, after in zip(
        *(batch[n].numpy() for n in ("source_ids", "target_in", "target_out")), strict=True
    ):
        source, before, after = (row[row != PAD_ID].tolist() for row in (source, before, after))
        if not source:
            assert not before and not after
            continue
        assert source[0] == START_ID and source[-1] == END_ID
        assert before[0] == START_ID and after[-1] == END_ID
        assert before[1:] == after[:-1]
        pairs.append((tuple(source[1:-1]), tuple(after[:-1])))
    return pairs


def as_ids(pairs):
    return Counter(tuple(tuple(map(int, side.split())) for side in pair) for pair in pairs)
