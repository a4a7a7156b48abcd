"""What tasks that turn one sequence into another share: an encoder-decoder, its batches and its loss.

Axes: B batch, S source, T target.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.settings import ModelConfig, SearchConfig
from transformer.data.batches import Batch, Record
from transformer.data.cleaning import cleaned
from transformer.data.tokenizers.base import Tokenizer
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.ids import END_ID, PAD_ID, START_ID
from transformer.layers.activations import activation_of
from transformer.losses.linear_cross_entropy import linear_cross_entropy
from transformer.models.transformer import Transformer
from transformer.search.length_limits import output_limits, search_batches
from transformer.search.searcher import Searchers, padded
from transformer.system.errors import UserError
from transformer.system.threads import in_order
from transformer.tasks.base import Parts, Task

IDS = tf.TensorSpec((None, None), tf.int32)
# Settings of [model] that an encoder-decoder does not have.
LANGUAGE_MODELS = (
    "norm",
    "norm_epsilon",
    "gated",
    "use_bias",
    "num_kv_heads",
    "rotary_base",
    "scale_embeddings",
)


class Found(NamedTuple):
    """What a search found for a text, in one line."""

    text: str
    log_probability: float  # summed, in nats
    tokens: int  # the end token included
    source_tokens: int  # without start and end


class SequenceToSequence(Task):
    """A `Transformer` that reads a source and writes a target, token by token.

    The loss is the cross-entropy of the target's tokens, the end token included, smoothed in training.

    Features: source_ids (B, S) with start and end tokens; target_in (B, T), which begins with the start token;
    target_out (B, T), the same a token further, which ends with the end token.

    Source: Vaswani et al. 2017, sections 3 and 5.4.
    """

    Vocabularies = TokenizerPair
    vocabularies: TokenizerPair
    columns: tuple[str, ...] = ("source", "target")
    features = {"source_ids": IDS, "target_in": IDS, "target_out": IDS}

    def __init__(self, config: Config, vocabularies: TokenizerPair, corpus: Mapping[str, str]) -> None:
        super().__init__(config, vocabularies, corpus)
        check_buildable(config.model, vocabularies)
        self._searchers: Searchers | None = None  # of the network that was last searched with

    def describe(self) -> str:
        return f"vocabulary of {self.vocabularies.target.vocabulary_size:,} subwords"

    def lengths(self, record: Record) -> Sequence[tf.Tensor]:
        # The decoder reads all of the target but its end and writes all but its start.
        return [record["source"].row_lengths() + 2, record["target"].row_lengths() + 1]

    def batch(self, record: Record, seed: tf.Tensor) -> Batch:
        return features_of(record["source"], record["target"])

    def network(self, dtype: str) -> Transformer:
        return build_model(self.config.model, self.vocabularies, dtype)

    def counts(self, batch: Batch) -> Parts:
        return {"token": tf.reduce_sum(tf.cast(tf.not_equal(batch["target_out"], PAD_ID), tf.float32))}

    def losses(self, network: keras.Model, batch: Batch, training: bool) -> Parts:
        return self.summed_losses(network, [batch], training)

    def summed_losses(self, network: keras.Model, micro_batches: Sequence[Batch], training: bool) -> Parts:
        table, bias = network.output_table()
        smoothing = self.config.training.label_smoothing if training else 0.0

        def loss(batch: Batch) -> tf.Tensor:
            outputs, _ = network.decode(batch["source_ids"], batch["target_in"], training=training)
            labels = batch["target_out"]
            real = tf.not_equal(labels, PAD_ID)  # only real tokens are projected onto the vocabulary
            outputs, labels = tf.boolean_mask(outputs, real), tf.boolean_mask(labels, real)
            return linear_cross_entropy(outputs, table, bias, labels, smoothing)

        return {"token": tf.add_n([loss(batch) for batch in micro_batches])}

    def uniform(self) -> dict[str, float]:
        return {"token": math.log(self.vocabularies.target.vocabulary_size)}

    def predict(self, network: keras.Model, inputs: Sequence[str]) -> list[str]:
        """Return the best output for each text, which is read as one; `Translator` does more."""
        return [found.text for found in self.search(network, inputs, self.config.search)]

    def search(self, network: keras.Model, texts: Sequence[str], search: SearchConfig) -> list[Found]:
        """Return the best output for each text.

        Args:
            network: of the task.
            texts: are cleaned first, and cut to the positions of the model.
            search: its settings.
        """
        if self._searchers is None or self._searchers.models[0] is not network:
            self._searchers = Searchers([network])
        searcher, positions = self._searchers.searcher(search), self.config.model.max_positions
        rows = _source_rows(
            self.vocabularies.source, [cleaned(text, self.config.cleaning) for text in texts], positions
        )
        lengths = [len(row) for row in rows]

        def outputs_for(batch: list[int]) -> Iterator[tuple[bytes, float, int]]:
            limits = output_limits(search, np.array([lengths[i] for i in batch]), positions)
            found = searcher(padded([rows[i] for i in batch]), *limits)
            best = found.log_probabilities[:, 0], found.lengths[:, 0]
            outputs = self.vocabularies.target.detokenize(tf.constant(found.ids[:, 0])).numpy()
            return zip(outputs.tolist(), *(np.asarray(array).tolist() for array in best), strict=True)

        # Of no token nothing is made.
        batches = search_batches(lengths, search, positions, self.config.model.cached, shortest=3)
        every = [Found("", 0.0, 0, 0)] * len(texts)
        for batch, found in zip(batches, in_order(outputs_for, batches), strict=True):
            for i, (text, log_probability, tokens) in zip(batch, found, strict=True):
                line = " ".join(text.decode("utf-8", "replace").splitlines())
                every[i] = Found(line, log_probability, tokens, lengths[i] - 2)
        return every


def features_of(source: tf.RaggedTensor, target: tf.RaggedTensor) -> Batch:
    """Return the features of rows of ids (B, None), which get start and end tokens."""
    source_ids, target_ids = (_framed(ids).to_tensor(PAD_ID) for ids in (source, target))
    target_in = tf.where(target_ids == END_ID, PAD_ID, target_ids)[:, :-1]
    return {"source_ids": source_ids, "target_in": target_in, "target_out": target_ids[:, 1:]}


def _source_rows(tokenizer: Tokenizer, texts: Sequence[str], positions: int) -> list[list[int]]:
    """Return the ids of texts with start and end tokens, cut to the positions of the model."""
    encoded = tf.constant([text.encode("utf-8", "replace") for text in texts])
    return [[START_ID, *row[: positions - 2], END_ID] for row in tokenizer.tokenize(encoded).to_list()]


def _framed(ids: tf.RaggedTensor) -> tf.RaggedTensor:
    """Add start and end tokens to rows of ids."""
    edge = tf.ones((ids.nrows(), 1), ids.dtype)
    return tf.concat([edge * START_ID, ids, edge * END_ID], axis=1)


def check_activation(name: str) -> None:
    """Refuse an activation that is not known, or no function of one number, with a UserError."""
    try:
        usable = activation_of(name)(keras.ops.zeros((1, 2))).shape == (1, 2)
    except (ValueError, TypeError):
        usable = False
    if not usable:
        raise UserError(
            f"model.activation '{name}' is unknown to Keras, or changes the width; take one such as 'relu', 'gelu' or "
            "'silu'"
        )


def check_buildable(config: ModelConfig, tokenizers: TokenizerPair) -> None:
    """Refuse what cannot be built, with a UserError.

    Such are shared embeddings with two vocabularies, an activation that is not known, and what language models alone
    have.
    """
    check_activation(config.activation)
    for name in LANGUAGE_MODELS:
        if getattr(config, name) != getattr(ModelConfig(), name):
            raise UserError(f"model.{name} is a setting of language models alone; leave it out of this config")
    if config.embeddings == "shared" and not tokenizers.joint:
        raise UserError("model.embeddings = 'shared' needs text.joint = true; set it, or embeddings = 'target'")


def build_model(config: ModelConfig, tokenizers: TokenizerPair, dtype: str = "float32") -> Transformer:
    """Return a built, untrained model of the configured sizes, or raise what `check_buildable` does.

    Args:
        config: the sizes.
        tokenizers: whose vocabularies the embeddings hold.
        dtype: Keras' policy; the weights are float32 in any case.
    """
    check_buildable(config, tokenizers)
    model = Transformer(
        num_layers=config.num_layers,
        d_model=config.d_model,
        num_heads=config.num_heads,
        dff=config.dff,
        input_vocab_size=tokenizers.source.vocabulary_size,
        target_vocab_size=tokenizers.target.vocabulary_size,
        pe_input=config.max_positions,
        pe_target=config.max_positions,
        rate=config.dropout_rate,
        activation=config.activation,
        attention_rate=config.attention_dropout_rate,
        feed_forward_rate=config.feed_forward_dropout_rate,
        norm_first=config.norm_first,
        embeddings=config.embeddings,
        positions=config.positions,
        relative_distance=config.relative_distance,
        relative_buckets=config.relative_buckets,
        relative_values=config.relative_values,
        dtype=dtype,
        name="transformer",
    )
    model.build()
    return model
