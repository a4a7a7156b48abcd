"""Contrastive learning: vectors of texts that are near to one another where the texts mean the same.

Axes: B rows of a batch, T tokens of a row, E numbers of a vector, K texts of a row.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.tasks import ContrastiveSettings
from transformer.data.batches import Batch, Record
from transformer.data.examples.annotated import AnnotatedCorpus
from transformer.data.examples.compared import Compared, open_compared
from transformer.data.examples.pairs import open_corpus
from transformer.data.records import Rows
from transformer.data.tokenizers.exact import ExactTokenizer
from transformer.data.tokenizers.learning import train_exact, train_masking
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import PAD_ID
from transformer.losses.contrastive import Embedded, gathered, nested_losses
from transformer.losses.gradient_cache import in_chunks
from transformer.metrics.retrieval import accuracy_at, ranks_both_ways
from transformer.models.bert import BertEncoder
from transformer.models.sentence_encoder import BagOfVectors, SentenceEncoder
from transformer.models.stacks import Encoder
from transformer.system.errors import UserError
from transformer.tasks.base import Parts, Task
from transformer.tasks.fine_tuning import columns_of
from transformer.tasks.network_sizes import network_sizes
from transformer.tasks.sequence_to_sequence import IDS, LANGUAGE_MODELS, check_activation
from transformer.tasks.text_vectors import TextVectors, encode_texts, framed_row
from transformer.tasks.translation import CleanedPairs

EMBEDDED = "phrasebook/meaning"  # its sentences in the two languages that the settings name
SIDES = ("first", "second", "negative")  # a text, its positive, and perhaps a hard negative
MASKING = ("wordpiece", "sentencepiece", "bytepair")  # tokenizers that can be learned with a mask


class Contrastive(Task):
    """An encoder of texts that learns which of a batch belong together.

    The loss of a pair is that of `losses.contrastive_losses`: all other pairs of the batch are its negatives, so a
    batch is never cut, and replicas exchange their vectors. Gradients of accumulated batches are summed, but the texts
    of one are no negatives of another's; `chunk_rows` makes a large batch out of little memory.

    An example is a pair of texts, or a `Compared`; an input of `predict` is a text, and its result a vector (E,).

    Features: first, second and, of triplets, negative: (B, T) ids with both ends; keys (B, K): equal for equal texts,
    0 where there is none. The keys have 31 bits: of two different texts, one in two billion is taken for the other.

    Source: Radford et al. 2021, section 2.3 (pairs); Gao et al. 2021, "SimCSE", section 3 (one text twice), section 4
        (hard negatives); document 001, section 4.3.2.
    """

    name = "contrastive"
    Settings = ContrastiveSettings
    Vocabularies = TextVocabulary
    vocabularies: TextVocabulary
    columns: tuple[str, ...] = ("first", "second", "keys")
    features = {"first": IDS, "second": IDS, "keys": tf.TensorSpec((None, 2), tf.int32)}
    rows_stand_alone = False

    def __init__(self, config: Config, vocabularies: TextVocabulary, corpus: Mapping[str, str]) -> None:
        super().__init__(config, vocabularies, corpus)
        self.settings, self.tokenizer = config.task, vocabularies.tokenizer
        check_activation(config.model.activation)
        if self.settings.encoder == "transformer":
            _check_plain(config)
        longest, step = config.data.max_tokens, config.data.length_step
        padded = (longest + step - 1) // step * step
        if config.data.batch_tokens < 2 * padded:
            raise UserError(
                f"data.batch_tokens = {config.data.batch_tokens} holds one pair of {padded} tokens, which has no "
                f"negatives; make it at least {2 * padded}, better 100 times data.max_tokens"
            )
        norms = config.model.norm_first and self.settings.encoder != "bag"
        if self.settings.norm_pooled and not norms:
            raise UserError(
                "task.norm_pooled = true needs an encoder with model.norm_first = true, whose norm it moves"
            )
        self.sizes = [int(size) for size in self.settings.sizes]
        width = self.settings.projection or config.model.d_model
        if max(self.sizes, default=0) > width:
            raise UserError(f"task.sizes must be at most {width}, the numbers of a vector, got {max(self.sizes)}")
        self.sides: tuple[str, ...] = SIDES[:2]
        if self.settings.examples == "triplets":
            self.sides, self.columns = SIDES, (*SIDES, "keys")
            self.features = {**dict.fromkeys(SIDES, IDS), "keys": tf.TensorSpec((None, 3), tf.int32)}
        if self.settings.examples != "sentences":
            self.figures = {"accuracy": "found {:.2%}"}
        self._vectors: TextVectors | None = None  # of the network that last made some

    @classmethod
    def read(cls, config: Config) -> CleanedPairs | AnnotatedCorpus:
        if config.task.examples != "pairs":
            return open_compared(config)
        if config.data.dataset == EMBEDDED:
            languages = config.task.source_language or "pt", config.task.target_language or "en"
            config = config.override({"data": {"dataset": "phrasebook/{}_to_{}".format(*languages)}})
        return CleanedPairs(open_corpus(config), config.cleaning)

    @classmethod
    def learn(cls, corpus: Any, config: Config) -> TextVocabulary:
        _check_several(corpus)
        texts = (text for example in corpus.examples("train") for text in dict.fromkeys(_texts(example)))
        train = train_masking if config.text.tokenizer in MASKING else train_exact
        return TextVocabulary(train(texts, config.text))

    @classmethod
    def adopt(cls, folder: Path, corpus: Any, config: Config) -> TextVocabulary:
        _check_several(corpus)
        vocabulary = TextVocabulary.of_translator(folder)
        if vocabulary is not None and config.task.encoder != "transformer":
            raise UserError(f"{folder} is of an encoder-decoder; add --set task.encoder=transformer")
        return vocabulary or TextVocabulary.load(folder)

    def describe(self) -> str:
        return f"vocabulary of {self.tokenizer.vocabulary_size:,} tokens ({self.tokenizer.kind})"

    def encode(self, examples: Sequence[tuple[str, str] | Compared]) -> Rows:
        longest, count = self.config.data.max_tokens, len(self.sides)
        ids = iter(encode_texts(self.tokenizer, [text for example in examples for text in _texts(example)]))
        groups = [[next(ids) for _ in range(count)] for _ in examples]
        groups = [group for group in groups if len(group[0]) and len(group[1])]
        columns: dict[str, list[np.ndarray]] = {
            side: [framed_row(group[i], longest) if len(group[i]) else group[i] for group in groups]
            for i, side in enumerate(self.sides)
        }
        columns["keys"] = [np.array([_key(part) for part in group], np.int32) for group in groups]
        cut = sum(len(part) > longest - 2 for group in groups for part in group)
        return columns_of(columns, {"without text": len(examples) - len(groups), f"texts cut at {longest} tokens": cut})

    def lengths(self, record: Record) -> Sequence[tf.Tensor]:
        return [record[side].row_lengths() for side in self.sides]

    def batch(self, record: Record, seed: tf.Tensor) -> Batch:
        keys = tf.reshape(record["keys"].flat_values, [-1, len(self.sides)])
        return {**{side: record[side].to_tensor(PAD_ID) for side in self.sides}, "keys": keys}

    def network(self, dtype: str) -> SentenceEncoder:
        encoder: Encoder | BertEncoder | BagOfVectors
        if self.settings.encoder == "transformer":
            encoder = transformer_encoder(self.config, self.tokenizer, dtype)
        elif self.settings.encoder == "bag":
            size, width = self.tokenizer.vocabulary_size, self.config.model.d_model
            encoder = BagOfVectors(size, width, dtype=dtype, name="encoder")
        else:
            encoder = BertEncoder(
                **network_sizes(self.config.model),
                vocab_size=self.tokenizer.vocabulary_size,
                pooler=False,
                dtype=dtype,
                name="encoder",
            )
        settings = self.settings
        arguments = settings.pooling, settings.projection, settings.norm_pooled
        network = SentenceEncoder(encoder, *arguments, dtype=dtype, name="sentence_encoder")
        network.build()
        return network

    def depths(self, network: keras.Model) -> dict[str, int]:
        found: dict[str, int] = network.depths()
        return found

    def counts(self, batch: Batch) -> Parts:
        return {"pair": tf.reduce_sum(tf.cast(batch["keys"][:, 0] != 0, tf.float32))}

    def losses(self, network: keras.Model, batch: Batch, training: bool) -> Parts:
        vectors = tuple(self._embedded(network, batch[side], training) for side in self.sides)
        own = Embedded(vectors, batch["keys"])
        every, places = gathered(own)
        settings = self.settings
        losses = nested_losses(
            own,
            every,
            places,
            self.sizes,
            temperature=settings.temperature,
            denominator=settings.denominator,
            symmetric=settings.symmetric,
        )
        return {"pair": tf.reduce_sum(losses)}

    def _embedded(self, network: keras.Model, ids: tf.Tensor, training: bool) -> tf.Tensor:
        if not self.settings.chunk_rows:
            return network(ids, training=training)
        states = network.non_trainable_variables if training else ()
        return in_chunks(lambda part: network(part, training=training), ids, self.settings.chunk_rows, states)

    def vectors(self, network: keras.Model) -> TextVectors:
        """Return what makes vectors of texts with a network of this task."""
        if self._vectors is None or self._vectors.network is not network:
            self._vectors = TextVectors(self.tokenizer, network, self.config.data.max_tokens)
        return self._vectors

    def score(self, network: keras.Model, examples: Sequence[tuple[str, str] | Compared]) -> dict[str, float]:
        """Return how many texts find their positive first among those of all examples, the mean of both directions."""
        first, second = zip(*(_texts(example)[:2] for example in examples), strict=True)
        vectors = self.vectors(network)
        found = ranks_both_ways(vectors(first).values, vectors(second).values, first, second)
        return {"accuracy": float(np.mean([accuracy_at(ranks, 1) for ranks in found]))}

    def predict(self, network: keras.Model, inputs: Sequence[str]) -> list[np.ndarray]:
        """Return the vector of each text, of any length; `Embedder` does more."""
        return list(self.vectors(network)(inputs).values)


def _texts(example: tuple[str, str] | Compared) -> tuple[str, ...]:
    return example.texts if isinstance(example, Compared) else example


def _key(ids: np.ndarray) -> int:
    """Return a number of a text's ids, at least 1 and below 2^31; 0 of none."""
    if not len(ids):
        return 0
    digest = hashlib.blake2b(np.asarray(ids, np.int32).tobytes(), digest_size=4).digest()
    return int.from_bytes(digest) % (2**31 - 1) + 1


def _check_several(corpus: Any) -> None:
    """Refuse, with a UserError, a corpus of one pair."""
    if len(list(itertools.islice(corpus.examples("train"), 2))) < 2:
        raise UserError(f"{corpus.name} has one pair to train on, which has no negatives; give it more pairs")


def _check_plain(config: Config) -> None:
    """Refuse, with a UserError, settings that the encoder of an encoder-decoder does not have."""
    for name in LANGUAGE_MODELS:
        if getattr(config.model, name) != getattr(type(config.model)(), name):
            raise UserError(f"model.{name} goes with task.encoder = 'bert'; leave it out of this config")


def transformer_encoder(config: Config, tokenizer: ExactTokenizer, dtype: str) -> Encoder:
    """Return the encoder of a Transformer of the configured sizes."""
    model = config.model
    return Encoder(
        num_layers=model.num_layers,
        d_model=model.d_model,
        num_heads=model.num_heads,
        dff=model.dff,
        input_vocab_size=tokenizer.vocabulary_size,
        maximum_position_encoding=model.max_positions,
        rate=model.dropout_rate,
        activation=model.activation,
        attention_rate=model.attention_dropout_rate,
        feed_forward_rate=model.feed_forward_dropout_rate,
        norm_first=model.norm_first,
        positions=model.positions,
        dtype=dtype,
        name="encoder",
    )
