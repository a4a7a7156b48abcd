"""One vector for a text: an encoder, a pooling of its states and, where it is wanted, a projection.

Axes: B batch, T tokens of a row, D model width, E numbers of a vector.
"""

from typing import Any

import keras
import tensorflow as tf

from transformer.config.checks import require, require_choice
from transformer.ids import END_ID, PAD_ID
from transformer.layers.embedding import TokenEmbedding
from transformer.layers.keras_call import PositionalCallMixin
from transformer.layers.masks import create_padding_mask
from transformer.models.bert import BertEncoder
from transformer.models.heads import encoder_depths
from transformer.models.stacks import Encoder

POOLINGS = ("mean", "first", "max")
LOWEST = -1e9  # of states that stand for padding; float32


@keras.saving.register_keras_serializable(package="transformer")
class BagOfVectors(keras.layers.Layer):
    """The vectors of a row's tokens, and nothing else: the baseline of an encoder, which knows no order.

    Args:
        vocab_size: V.
        d_model: D.

    Call: `bag(ids)` with ids (B, T). Returns (B, T, D); 0 for start and end. `embedding` holds the vectors, under the
    name that they have in an encoder.
    """

    stack: tuple[keras.layers.Layer, ...] = ()
    final_norm: keras.layers.Layer | None = None

    def __init__(self, vocab_size: int, d_model: int, **others: Any) -> None:
        super().__init__(**others)
        self.embedding = TokenEmbedding(vocab_size, d_model, dtype=self.dtype_policy, name="embedding")
        self.vocab_size, self.d_model = vocab_size, d_model

    def build(self, ids_shape: Any = None) -> None:
        self.embedding.build()
        self.built = True

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        vectors = self.embedding(ids)
        return vectors * tf.cast(ids > END_ID, vectors.dtype)[:, :, tf.newaxis]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vocab_size": self.vocab_size, "d_model": self.d_model}


@keras.saving.register_keras_serializable(package="transformer")
class SentenceEncoder(PositionalCallMixin, keras.Model):
    """An encoder whose states become one vector: their mean, the first, or the largest of each number.

    With states h_1, ..., h_T of the real tokens (start and end included), the vector is pooled W + b, or pooled alone.

    Args:
        encoder: a `BertEncoder`, the `Encoder` of a translator, or a `BagOfVectors`.
        pooling: 'mean', 'first' or 'max'.
        projection: E of W; 0: there is none, and E is D.
        norm_pooled: whether the final norm of a pre-norm encoder is that of the pooled vector rather than of each
            state: states of different lengths then count differently, as the words of a bag of vectors do.

    Call: `sentence_encoder(ids, training)` with ids (B, T), padded with 0. Returns (B, E), float32, of any length; 0
    for a row of padding where there is no projection.

    Raises:
        ValueError: an unknown pooling, a projection below 0, or `norm_pooled` of an encoder without a final norm.

    Source: Reimers and Gurevych 2019, section 3.
    """

    def __init__(
        self,
        encoder: BertEncoder | Encoder | BagOfVectors,
        pooling: str = "mean",
        projection: int = 0,
        norm_pooled: bool = False,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        require_choice("pooling", pooling, POOLINGS)
        require(projection >= 0, "projection", "at least 0", projection)
        require(bool(encoder.final_norm) or not norm_pooled, "norm_pooled", "False without norm_first", norm_pooled)
        self.encoder, self.pooling, self.norm_pooled = encoder, pooling, norm_pooled
        self.d_model = encoder.d_model if isinstance(encoder, BagOfVectors) else encoder.options.d_model
        self.size = projection or self.d_model
        self.projection = (
            keras.layers.Dense(projection, dtype=self.dtype_policy, name="projection") if projection else None
        )

    def build(self, ids_shape: Any = None) -> None:
        width = self.d_model
        if not self.encoder.built:
            self.encoder.build()
        if self.projection:
            self.projection.build((None, width))
        self.built = True

    def call(self, ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        states = self._states(ids, training)  # (B, T, D)
        pooled = self._pooled(tf.cast(states, tf.float32), (ids != PAD_ID)[:, :, tf.newaxis])
        norm = self.encoder.final_norm
        if self.norm_pooled and norm:
            pooled = tf.cast(norm(pooled), tf.float32)
        return tf.cast(self.projection(pooled), tf.float32) if self.projection else pooled

    def _states(self, ids: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Return the encoder's states or, with `norm_pooled`, what its final norm would read."""
        if isinstance(self.encoder, BagOfVectors):
            return self.encoder(ids)
        mask = create_padding_mask(ids)
        if self.norm_pooled:
            x = self.encoder.embed(ids, training=training)
            for layer in self.encoder.stack:
                x = layer(x, training=training, mask=mask)
            return x
        if isinstance(self.encoder, BertEncoder):
            return self.encoder(ids, training=training)
        return self.encoder(ids, training=training, mask=mask)

    def _pooled(self, states: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
        """Return states (B, T, D) of which some are real, (B, T, 1) bool, as one each: (B, D)."""
        if self.pooling == "max":
            any_real = tf.reduce_any(real, axis=1)
            return tf.where(any_real, tf.reduce_max(tf.where(real, states, LOWEST), axis=1), 0.0)
        weights = tf.cast(real, tf.float32)
        if self.pooling == "first":
            return states[:, 0] * weights[:, 0]
        return tf.math.divide_no_nan(tf.reduce_sum(states * weights, axis=1), tf.reduce_sum(weights, axis=1))

    def depths(self) -> dict[str, int]:
        """Return how deep each weight is, by its path; see `heads.encoder_depths`."""
        return encoder_depths(self)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "pooling": self.pooling,
            "projection": self.size if self.projection else 0,
            "norm_pooled": self.norm_pooled,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SentenceEncoder":
        return cls(**{**config, "encoder": keras.saving.deserialize_keras_object(config["encoder"])})
