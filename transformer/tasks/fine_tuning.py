"""What the tasks that put a head on an encoder share: its sizes, its vocabulary, and reading texts with it.

Axes: B rows of a batch, T tokens of a row.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.data.batches import Record
from transformer.data.records import Rows
from transformer.data.tokenizers.labelled import LabelledVocabulary
from transformer.data.tokenizers.labels import Labels
from transformer.data.tokenizers.learning import train_exact, train_masking
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import END_ID, PAD_ID, START_ID
from transformer.metrics.labels import ClassScore
from transformer.models.bert import BertEncoder
from transformer.system.errors import UserError
from transformer.tasks.base import Task
from transformer.tasks.network_sizes import network_sizes
from transformer.tasks.row_reader import Row, RowReader
from transformer.tasks.sequence_to_sequence import IDS, check_activation

INPUTS = {"ids": IDS, "segments": IDS}


class FineTuning(Task):
    """A head on a `BertEncoder`, which is new or comes from another run.

    Args:
        config, vocabularies, corpus: see `Task`.

    Source: Devlin et al. 2019, section 3.2.
    """

    Vocabularies = LabelledVocabulary
    vocabularies: LabelledVocabulary
    needs_pooler = False
    network_name: ClassVar[str] = "fine_tuned"

    def __init__(self, config: Config, vocabularies: LabelledVocabulary, corpus: Mapping[str, str]) -> None:
        super().__init__(config, vocabularies, corpus)
        check_activation(config.model.activation)
        self.settings, self.tokenizer, self.labels = config.task, vocabularies.tokenizer, vocabularies.labels
        self.longest = config.data.max_tokens
        self._reader = RowReader(_outputs)

    def listed(self, name: str) -> tuple[str, ...]:
        """Return a list of the labels' file; a UserError tells that it is not there."""
        if name not in self.labels.lists:
            raise UserError(f"the run's labels.json has no list '{name}'; restore it or train the run again")
        return self.labels[name]

    def numbers(self, name: str) -> list[float]:
        """Return a list of the labels' file as finite numbers; a UserError tells that they are none."""
        try:
            found = [float(text) for text in self.listed(name)]
            if not all(map(math.isfinite, found)):
                raise ValueError
        except ValueError:
            raise UserError(
                f"the run's labels.json has no numbers as '{name}'; restore it or train the run again"
            ) from None
        return found

    def _ordered(self, figures: dict[str, str]) -> dict[str, str]:
        """Return figures with the one first that chooses the best weights."""
        wanted = self.settings.metric
        if wanted and wanted not in figures:
            raise UserError(f"task.metric must be one of {', '.join(figures)}, got '{wanted}'")
        return {name: figures[name] for name in ([wanted] if wanted else []) + [f for f in figures if f != wanted]}

    @classmethod
    def learn(cls, corpus: Any, config: Config) -> LabelledVocabulary:
        texts = (text for example in corpus.examples("train") for text in cls._texts_of(example))
        train = train_masking if config.text.tokenizer == "wordpiece" else train_exact
        return LabelledVocabulary(TextVocabulary(train(texts, config.text)), cls.learn_labels(corpus, config))

    @classmethod
    def adopt(cls, folder: Path, corpus: Any, config: Config) -> LabelledVocabulary:
        return LabelledVocabulary(TextVocabulary.load(folder), cls.learn_labels(corpus, config))

    @staticmethod
    @abc.abstractmethod
    def _texts_of(example: Any) -> Iterable[str]:
        """Return the texts of an example, which a vocabulary is learned from."""

    @classmethod
    @abc.abstractmethod
    def learn_labels(cls, corpus: Any, config: Config) -> Labels:
        """Learn the labels from the training examples."""

    @abc.abstractmethod
    def scores(self, examples: Sequence[Any], found: Sequence[Any]) -> dict[str, float]:
        """Return all scores of what `predict` found for examples."""

    @abc.abstractmethod
    def by_class(self, examples: Sequence[Any], found: Sequence[Any]) -> list[ClassScore]:
        """Return the scores of each class; none where there are no classes."""

    @abc.abstractmethod
    def confusion(self, examples: Sequence[Any], found: Sequence[Any]) -> tuple[list[str], np.ndarray]:
        """Return the names of classes, and how often each (rows) was taken for each (columns); none as above."""

    @staticmethod
    @abc.abstractmethod
    def inputs_of(examples: Sequence[Any]) -> list[Any]:
        """Return the inputs of `predict` of examples."""

    def encoder(self, dtype: str) -> BertEncoder:
        """Return an encoder of the configured sizes."""
        return BertEncoder(
            **network_sizes(self.config.model),
            vocab_size=self.tokenizer.vocabulary_size,
            pooler=self.needs_pooler,
            dtype=dtype,
            name="encoder",
        )

    def depths(self, network: keras.Model) -> dict[str, int]:
        found: dict[str, int] = network.depths()
        return found

    def encoded(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of texts, whose first word is like those behind a space."""
        return self.tokenizer.encode([f" {text}" for text in texts] if self.tokenizer.spaced else texts)

    def row(self, first: np.ndarray, second: np.ndarray | None = None) -> Row:
        """Return the row of a text or a pair."""
        more = [] if second is None else [*second, END_ID]
        return Row(np.array([START_ID, *first, END_ID, *more], np.int32), len(first) + 2)

    def lengths(self, record: Record) -> Sequence[tf.Tensor]:
        return [record["tokens"].row_lengths()]

    def read_rows(self, network: keras.Model, rows: Sequence[Row]) -> list[np.ndarray]:
        """Return what the network makes of rows, each without what stands for padding."""
        return self._reader(network, rows)


def _outputs(network: keras.Model, ids: tf.Tensor, segments: tf.Tensor) -> tf.Tensor:
    return network({"ids": ids, "segments": segments}, training=False)


def columns_of(rows: Mapping[str, Sequence[np.ndarray | Sequence[int]]], left_out: Mapping[str, int]) -> Rows:
    """Return rows to be stored, given as one list of integers a row and column, and what became of others."""

    def flat(lists: Sequence[np.ndarray | Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        values = np.concatenate([np.zeros(0, np.int32), *map(np.asarray, lists)]).astype(np.int32)
        return values, np.array([len(part) for part in lists], np.int64)

    return Rows({name: flat(lists) for name, lists in rows.items()}, {why: n for why, n in left_out.items() if n})


def framed(record: Record, borders: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return `ids` and `segments` (B, T) of stored rows whose first texts have so many tokens (B,), ends included."""
    ids = record["tokens"].to_tensor(PAD_ID)
    second = tf.range(tf.shape(ids)[1])[tf.newaxis] >= borders[:, tf.newaxis]
    return {"ids": ids, "segments": tf.cast(second & (ids != PAD_ID), tf.int32)}


def fitting(lengths: Sequence[int], most: int) -> list[int]:
    """Return how much of two texts is read, together at most so much: of the longer one less."""
    first, second = lengths
    half = most // 2
    if first + second <= most:
        return [first, second]
    if min(first, second) <= half:
        return [first, most - first] if first <= second else [most - second, second]
    return [most - half, half]


def balanced_weights(counts: Sequence[float]) -> list[float]:
    """Return weights of classes with which each counts as much as any other, and all together as much as without."""
    some = sum(count > 0 for count in counts)
    return [sum(counts) / (some * count) if count else 0.0 for count in counts]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities of logits, over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
