"""Translation: sentences of one language into another."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.settings import CleaningConfig, SearchConfig
from transformer.config.tasks import TranslationSettings
from transformer.data.cleaning import CleaningReport, clean, cleaned
from transformer.data.examples import corpus as corpora
from transformer.data.examples.held_out import Pair
from transformer.data.examples.pairs import open_corpus
from transformer.data.records import Rows
from transformer.data.tokenizers.base import Tokenizer
from transformer.data.tokenizers.learning import reservoir, train_tokenizers
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.ids import END_ID, START_ID
from transformer.metrics.confidence import Confidence
from transformer.metrics.text import bleu
from transformer.search.length_limits import output_limits, search_batches
from transformer.search.searcher import Searchers, padded
from transformer.system.errors import UserError
from transformer.system.threads import in_order
from transformer.tasks.sequence_to_sequence import SequenceToSequence
from transformer.tasks.translation_confidence import Found, confidence_of


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

    def __init__(self, config: Config, vocabularies: TokenizerPair, corpus: Mapping[str, str]) -> None:
        super().__init__(config, vocabularies, corpus)
        self._searchers: Searchers | None = None  # of the network that was last searched with

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
        found = self._translate(network, sources, dataclasses.replace(self.config.search, beam_size=1))
        return {"bleu": bleu([each.text for each in found], references, self.corpus.get("target_language", "")).score}

    def predict(self, network: keras.Model, inputs: Sequence[str]) -> list[str]:
        """Return the best translation of each text, which is one sentence; `Translator` does more."""
        return [found.text for found in self._translate(network, inputs, self.config.search)]

    def confidence(self, network: keras.Model, corpus: CleanedPairs, step: int) -> Confidence | None:
        def translate(texts: Sequence[str]) -> list[Found]:
            return self._translate(network, texts, dataclasses.replace(self.config.search, beam_size=1))  # fast

        return confidence_of(translate, corpus.corpus, step)

    def _translate(self, network: keras.Model, texts: Sequence[str], search: SearchConfig) -> list[Found]:
        if self._searchers is None or self._searchers.models[0] is not network:
            self._searchers = Searchers([network])
        searcher, positions = self._searchers.searcher(search), self.config.model.max_positions
        rows = _source_rows(
            self.vocabularies.source, [cleaned(text, self.config.cleaning) for text in texts], positions
        )
        lengths = [len(row) for row in rows]

        def translated(batch: list[int]) -> Iterator[tuple[bytes, float, int]]:
            limits = output_limits(search, np.array([lengths[i] for i in batch]), positions)
            found = searcher(padded([rows[i] for i in batch]), *limits)
            best = found.log_probabilities[:, 0], found.lengths[:, 0]
            texts = self.vocabularies.target.detokenize(tf.constant(found.ids[:, 0])).numpy()
            return zip(texts.tolist(), *(np.asarray(array).tolist() for array in best), strict=True)

        # Without a token nothing is translated.
        batches = search_batches(lengths, search, positions, self.config.model.cached, shortest=3)
        translations = [Found("", 0.0, 0, 0)] * len(texts)
        for batch, found in zip(batches, in_order(translated, batches), strict=True):
            for i, (text, log_probability, tokens) in zip(batch, found, strict=True):
                line = " ".join(text.decode("utf-8", "replace").splitlines())
                translations[i] = Found(line, log_probability, tokens, lengths[i] - 2)
        return translations


def _source_rows(tokenizer: Tokenizer, texts: Sequence[str], positions: int) -> list[list[int]]:
    """Return the ids of texts with start and end tokens, cut to the positions of the model."""
    encoded = tf.constant([text.encode("utf-8", "replace") for text in texts])
    return [[START_ID, *row[: positions - 2], END_ID] for row in tokenizer.tokenize(encoded).to_list()]
