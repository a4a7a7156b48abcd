"""Tagging: a tag of each word of a text, such as which entity it belongs to, or its part of speech.

Axes: B rows of a batch, T tokens of a row, C tags.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.tasks import TaggingSettings
from transformer.data.batches import Batch, Record
from transformer.data.examples.annotated import AnnotatedCorpus, Tagged
from transformer.data.examples.iob2 import WORDS, tagged, tfds_tags
from transformer.data.examples.open_annotated import open_examples
from transformer.data.examples.phrasebook_examples import PhrasebookExamples
from transformer.data.records import Rows
from transformer.data.tag_schemes import EDGE, entities, follows, parts
from transformer.data.tokenizers.labelled import LabelledVocabulary
from transformer.data.tokenizers.labels import Labels
from transformer.data.words import words_of
from transformer.ids import UNKNOWN_ID
from transformer.losses.cross_entropy import token_losses
from transformer.metrics import labels as metrics
from transformer.models.heads import Tagger
from transformer.search.viterbi import likeliest
from transformer.system.errors import UserError, nearest, shortened
from transformer.tasks.base import Parts
from transformer.tasks.fine_tuning import INPUTS, FineTuning, balanced_weights, columns_of, framed, softmax
from transformer.tasks.row_reader import Row
from transformer.tasks.sequence_to_sequence import IDS

Spans = Sequence[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Entity:
    """An entity in a text or, of plain tags, a word."""

    text: str
    kind: str  #: its type, or the tag
    start: int  #: of its first character in the text
    end: int  #: behind its last one
    probability: float  #: of its tags, the mean of the words'


@dataclasses.dataclass(frozen=True)
class Tags:
    """What a tagger says of a text."""

    text: str
    spans: tuple[tuple[int, int], ...]  #: of the words, in characters
    tags: tuple[str, ...]  #: of each word, a valid sequence
    probabilities: tuple[float, ...]  #: of these tags
    entities: tuple[Entity, ...]


class Tagging(FineTuning):
    """An encoder that tags each word at its first token.

    The loss is the mean of -w_y log P(y | text) over words with the tags y. Of sequences only those that the scheme
    allows are predicted, by the sum of their tags' log-probabilities. A text that is longer than `data.max_tokens` is
    read in pieces of whole words, so every word has a tag.

    An example is a `Tagged`; an input of `predict` is a text, whose words are found, or a `Tagged`, whose words are
    given; its result is a `Tags`.

    Features: ids, segments (B, T); labels (B, T), 1 + the tag at the first token of each word, 0 elsewhere.

    Source: Devlin et al. 2019, section 5.3.
    Deviation: a text has no more context than its sentence.
    """

    name = "tagging"
    Settings = TaggingSettings
    columns = ("tokens", "labels")
    features = {**INPUTS, "labels": IDS}
    network_name = "tagger"
    settings: TaggingSettings

    def __init__(self, config: Config, vocabularies: LabelledVocabulary, corpus: Mapping[str, str]) -> None:
        super().__init__(config, vocabularies, corpus)
        self.scheme, self.tags = self.settings.scheme, self.listed("label")
        self.ids = {tag: i for i, tag in enumerate(self.tags)}
        known = {"f1": "entity F1 {:.2%}"} if self.scheme != "plain" else {"macro_f1": "macro F1 {:.2%}"}
        accuracy = {"accuracy": "accuracy of words {:.2%}"}
        self.figures = self._ordered({**known, **accuracy} if self.scheme != "plain" else {**accuracy, **known})
        balanced = self.settings.class_weights == "balanced"
        self.weights = balanced_weights(self.numbers("count")) if balanced else None
        self._allowed = np.array([[follows(self.scheme, tag, before) for tag in self.tags] for before in self.tags])
        self._first = np.array([follows(self.scheme, tag, EDGE) for tag in self.tags])
        self._last = np.array([follows(self.scheme, EDGE, tag) for tag in self.tags])

    @classmethod
    def read(cls, config: Config) -> AnnotatedCorpus:
        settings = config.task

        def embedded() -> AnnotatedCorpus:
            if settings.scheme != "iob2":
                raise UserError(f"the phrasebook's entities are IOB2, got task.scheme = '{settings.scheme}'")
            return PhrasebookExamples("entities", settings.language)

        return open_examples(
            config,
            lambda path: tagged(path, settings),
            settings.word or WORDS,
            lambda builder: tfds_tags(builder, settings),
            embedded,
        )

    @staticmethod
    def _texts_of(example: Tagged) -> Iterable[str]:
        return (example.text,)

    @classmethod
    def learn_labels(cls, corpus: AnnotatedCorpus, config: Config) -> Labels:
        counts: collections.Counter = collections.Counter()
        for example in corpus.learned_from():
            counts.update(example.tags)
        if len(counts) < 2:
            only = f"only the tag {shortened(next(iter(counts)))}" if counts else "no tag"
            raise UserError(f"the training examples of {corpus.name} have {only}; name another column with task.tag")
        tags = sorted(counts)
        return Labels({"label": tags, "count": [str(counts[tag]) for tag in tags]})

    def describe(self) -> str:
        size = self.tokenizer.vocabulary_size
        return f"vocabulary of {size:,} tokens ({self.tokenizer.kind}), {len(self.tags)} tags"

    def encode(self, examples: Sequence[Tagged]) -> Rows:
        tokens, labels = [], []
        every = self._rows([(example.text, example.spans) for example in examples])
        for example, pieces in zip(examples, every, strict=True):
            tags = iter(self._tag_numbers(example))
            for row, places in pieces:
                tokens.append(row.ids)
                numbers = np.zeros(len(row.ids), np.int32)
                numbers[places] = [next(tags) + 1 for _ in places]
                labels.append(numbers)
        return columns_of({"tokens": tokens, "labels": labels}, {"cut into pieces": len(tokens) - len(examples)})

    def _tag_numbers(self, example: Tagged) -> list[int]:
        if unknown := next((tag for tag in example.tags if tag not in self.ids), ""):
            raise UserError(
                f"{example.place or 'an example'}: the tag {shortened(unknown)} does not occur in the training "
                f"examples, only {', '.join(self.tags[:20])}.{nearest(unknown, self.ids)}"
            )
        return [self.ids[tag] for tag in example.tags]

    def _rows(self, texts: Sequence[tuple[str, Spans]]) -> list[list[tuple[Row, list[int]]]]:
        """Return the rows of texts with the spans of their words: of each row, where its words begin.

        A word that the tokenizer has no token for is the unknown one.
        """
        words = dict.fromkeys(text[start:end] for text, spans in texts for start, end in spans)
        encoded = dict(zip(words, self.encoded(list(words)), strict=True))
        unknown = np.array([UNKNOWN_ID], np.int32)
        found = []
        for text, spans in texts:
            pieces: list[tuple[Row, list[int]]] = []
            held: list[np.ndarray] = []
            places: list[int] = []
            size = 1  # the start token
            for start, end in spans:
                ids = encoded[text[start:end]][: self.longest - 2]
                ids = ids if len(ids) else unknown
                if size + len(ids) + 1 > self.longest:
                    pieces.append((self.row(np.concatenate(held)), places))
                    held, places, size = [], [], 1
                places.append(size)
                held.append(ids)
                size += len(ids)
            if held:
                pieces.append((self.row(np.concatenate(held)), places))
            found.append(pieces)
        return found

    def batch(self, record: Record, seed: tf.Tensor) -> Batch:
        ids = framed(record, tf.cast(record["tokens"].row_lengths(), tf.int32))
        return {**ids, "labels": record["labels"].to_tensor(0)}

    def network(self, dtype: str) -> Tagger:
        network = Tagger(
            self.encoder(dtype), len(self.tags), self.config.model.dropout_rate, dtype=dtype, name=self.network_name
        )
        network.build()
        return network

    def _weights(self, labels: tf.Tensor) -> tf.Tensor:
        """Return how much each place counts, (B, T)."""
        real = tf.cast(labels > 0, tf.float32)
        if self.weights is None:
            return real
        return real * tf.gather(tf.constant(self.weights, tf.float32), tf.maximum(labels - 1, 0))

    def counts(self, batch: Batch) -> Parts:
        return {"word": tf.reduce_sum(self._weights(batch["labels"]))}

    def losses(self, network: keras.Model, batch: Batch, training: bool) -> Parts:
        logits = network({"ids": batch["ids"], "segments": batch["segments"]}, training=training)  # (B, T, C)
        smoothing = self.config.training.label_smoothing if training else 0.0
        losses = token_losses(tf.maximum(batch["labels"] - 1, 0), logits, smoothing)
        return {"word": tf.reduce_sum(losses * self._weights(batch["labels"]))}

    def score(self, network: keras.Model, examples: Sequence[Tagged]) -> dict[str, float]:
        scores = self.scores(examples, self.predict(network, examples))
        return {name: scores[name] for name in self.figures}

    def by_class(self, examples: Sequence[Tagged], found: Sequence[Tags]) -> list[metrics.ClassScore]:
        """Return the scores of each type of entity or, of plain tags, of each tag."""
        gold, predicted = [example.tags for example in examples], [tags.tags for tags in found]
        if self.scheme != "plain":
            return metrics.entity_scores(self.scheme, gold, predicted)[1]
        one, other = (np.array([self.ids[tag] for tags in every for tag in tags]) for every in (gold, predicted))
        return metrics.by_class(one, other, self.tags)

    def confusion(self, examples: Sequence[Tagged], found: Sequence[Tags]) -> tuple[list[str], np.ndarray]:
        """Return the types of entities, or the tags, and how often a word of each (rows) was taken for each."""

        def kind(tag: str) -> str:
            return tag if self.scheme == "plain" else parts(tag)[1] or tag

        names = sorted({kind(tag) for tag in self.tags})
        every = ([example.tags for example in examples], [tags.tags for tags in found])
        gold, predicted = (np.array([names.index(kind(tag)) for tags in some for tag in tags]) for some in every)
        return names, metrics.confusion(gold, predicted, len(names))

    def scores(self, examples: Sequence[Tagged], found: Sequence[Tags]) -> dict[str, float]:
        """Return all scores of predictions, which are of the examples' own words."""
        for example in examples:
            self._tag_numbers(example)
        gold = [tag for example in examples for tag in example.tags]
        predicted = [tag for tags in found for tag in tags.tags]
        right = [one == other for one, other in zip(gold, predicted, strict=True)]
        scores = {"accuracy": float(np.mean(right))}
        if self.scheme == "plain":
            scores["macro_f1"] = metrics.macro_f1(self.by_class(examples, found))
        else:
            every, _ = metrics.entity_scores(self.scheme, [e.tags for e in examples], [tags.tags for tags in found])
            scores |= {"f1": every.f1, "precision": every.precision, "recall": every.recall}
        sure = [p for tags in found for p in tags.probabilities]
        return {**scores, "calibration_error": metrics.calibration_error(right, sure)}

    @staticmethod
    def inputs_of(examples: Sequence[Tagged]) -> list[Any]:
        return list(examples)

    def predict(self, network: keras.Model, inputs: Sequence[str | Tagged]) -> list[Tags]:
        """Return the tags of texts."""
        texts = [(one.text, one.spans) if isinstance(one, Tagged) else (one, tuple(words_of(one))) for one in inputs]
        every = self._rows(texts)
        outputs = iter(self.read_rows(network, [row for pieces in every for row, _ in pieces]))
        found = []
        for (text, spans), pieces in zip(texts, every, strict=True):
            logits = [next(outputs)[places] for _, places in pieces]
            found.append(self._tags(text, spans, np.concatenate([np.zeros((0, len(self.tags))), *logits])))
        return found

    def _tags(self, text: str, spans: Spans, logits: np.ndarray) -> Tags:
        """Return the likeliest valid tags of words with these logits (words, C)."""
        chances = softmax(logits)
        best = likeliest(np.log(np.maximum(chances, 1e-30)), self._allowed, self._first, self._last)
        tags = tuple(self.tags[i] for i in best)
        sure = [float(chances[place, i]) for place, i in enumerate(best)]
        there = []
        for kind, first, end in entities(self.scheme, tags):
            start, stop = spans[first][0], spans[end - 1][1]
            there.append(Entity(text[start:stop], kind, start, stop, float(np.mean(sure[first:end]))))
        return Tags(text, tuple(spans), tags, tuple(sure), tuple(there))
