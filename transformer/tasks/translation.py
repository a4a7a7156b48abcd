"""Translation: sentences of one language into another."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.settings import CleaningConfig
from transformer.config.tasks import TranslationSettings
from transformer.data.cleaning import CleaningReport, clean
from transformer.data.examples import corpus as corpora
from transformer.data.examples.held_out import Pair
from transformer.data.examples.pairs import open_corpus
from transformer.data.records import Rows
from transformer.data.tokenizers.learning import reservoir, train_tokenizers
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.metrics.confidence import Confidence
from transformer.metrics.text import bleu
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import Found, SequenceToSequence
from transformer.tasks.translation_confidence import confidence_of


class CleanedPairs:
    """The pairs of a corpus as examples; those of the training split are cleaned.

    Args:
        corpus: where they are read.
        cleaning: the rules.
    """

    def __init__(self, corpus: corpora.Corpus, cleaning: CleaningConfig) -> None:
        self.corpus, self.cleaning = corpus, cleaning
        self.name, self.own_splits = corpus.name, corpus.own_splits
        self.check, self.warnings, self.fingerprint = corpus.check, corpus.warnings, corpus.fingerprint
        self.report = CleaningReport()  # of the last pass over the training split

    def describe(self) -> dict[str, str]:
        corpus = self.corpus
        languages = {"source_language": corpus.source_language, "target_language": corpus.target_language}
        return {"name": self.name, **languages, "fingerprint": self.fingerprint()}

    def examples(self, split: str, sample: int = 0) -> Iterator[Pair]:
        """Start a pass over the pairs of a split.

        Args:
            split: 'train' or another split of the corpus.
            sample: at most so many pairs, chosen at random before they are cleaned; 0: all.

        Raises:
            UserError: no training pair passed the cleaning.
        """
        pairs = self.corpus.pairs(split)
        if split != "train":
            yield from pairs
            return
        report = self.report = CleaningReport()
        languages = self.corpus.source_language, self.corpus.target_language
        yield from clean(reservoir(pairs, sample) if sample else pairs, self.cleaning, *languages, report)
        if not report.kept:
            raise UserError(f"no pair of {self.name} passed the cleaning: {report}. Relax [cleaning] in the config")

    def summary(self, split: str) -> str:
        return str(self.report) if split == "train" else "not cleaned"


class Translation(SequenceToSequence):
    """Translation with an encoder-decoder Transformer, scored by BLEU.

    An example is a pair of texts, the source and its translation; an input of `predict` is a text.

    Source: Vaswani et al. 2017.
    """

    name = "translation"
    Settings = TranslationSettings
    figures = {"bleu": "BLEU {:.2f} (greedy)"}
    # On Multi30k one good sentence, given as the translation of all, has up to 3 BLEU, and right sentences in a wrong
    # order have up to 1.
    chance = 3.0

    @classmethod
    def read(cls, config: Config) -> CleanedPairs:
        return CleanedPairs(open_corpus(config), config.cleaning)

    @classmethod
    def learn(cls, corpus: CleanedPairs, config: Config) -> TokenizerPair:
        sample = config.text.sample_size // 2  # pairs, that is, of two sentences each
        return train_tokenizers(functools.partial(corpus.examples, "train", sample), config.text)

    def encode(self, examples: Sequence[Pair]) -> Rows:
        sides = zip((self.vocabularies.source, self.vocabularies.target), zip(*examples, strict=True), strict=True)
        ragged = [tokenizer.tokenize(tf.constant(texts)) for tokenizer, texts in sides]
        columns = [(rows.values.numpy(), np.diff(rows.row_splits)) for rows in ragged]
        longest = np.maximum(*(lengths for _, lengths in columns))
        fits = longest <= self.config.data.max_tokens - 2  # start and end take two
        return Rows.kept(dict(zip(self.columns, columns, strict=True)), fits, "too long")

    def score(self, network: keras.Model, examples: Sequence[Pair]) -> dict[str, float]:
        """Return the BLEU of greedy search."""
        sources, references = zip(*examples, strict=True)
        found = self.search(network, sources, dataclasses.replace(self.config.search, beam_size=1))
        return {"bleu": bleu([each.text for each in found], references, self.corpus.get("target_language", "")).score}

    def confidence(self, network: keras.Model, corpus: CleanedPairs, step: int) -> Confidence | None:
        def translate(texts: Sequence[str]) -> list[Found]:
            return self.search(network, texts, dataclasses.replace(self.config.search, beam_size=1))  # fast

        return confidence_of(translate, corpus.corpus, step)
