"""Token embeddings.

Axes: B batch, T target/query, D model width, V vocabulary.
"""

from typing import Any

import keras
import tensorflow as tf

from transformer.layers.checks import Shape, check_sizes


@keras.saving.register_keras_serializable(package="transformer")
class TokenEmbedding(keras.layers.Layer):
    """Token vectors times sqrt(d_model), and their transpose as an output projection where they are tied.

    Args:
        vocab_size: number of tokens V.
        d_model: width D.
        scale: False: the vectors as they are, as GPT-2 and Llama have them.

    Call: `embedding(ids)` with integer ids (B, T) below V. Returns (B, T, D).

    Raises:
        ValueError: an argument is below 1.

    Source: Vaswani et al. 2017, section 3.4; Press and Wolf 2017.
    Deviation: the paper names no initialiser; vectors start with standard deviation d_model^-0.5, so that the scaled
        vectors and the tied logits of a normalised state are both of unit variance.
    """

    def __init__(self, vocab_size: int, d_model: int, scale: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_sizes(vocab_size=vocab_size, d_model=d_model)
        self.vocab_size, self.d_model, self.scale = vocab_size, d_model, scale

    def build(self, input_shape: Shape | None = None) -> None:
        self.embeddings = self.add_weight(
            shape=(self.vocab_size, self.d_model),
            initializer=keras.initializers.RandomNormal(stddev=self.d_model**-0.5),
            name="embeddings",
        )
        self.built = True

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        table = tf.convert_to_tensor(self.embeddings)
        vectors = tf.gather(table, ids)
        return vectors * tf.cast(self.d_model**0.5, table.dtype) if self.scale else vectors

    def project(self, x: tf.Tensor) -> tf.Tensor:
        """Return logits over the vocabulary: (..., D) -> (..., V)."""
        table = tf.cast(tf.convert_to_tensor(self.embeddings), x.dtype)
        logits = tf.matmul(tf.reshape(x, (-1, self.d_model)), table, transpose_b=True)  # (N, V)
        return tf.reshape(logits, tf.concat([tf.shape(x)[:-1], [self.vocab_size]], axis=0))

    def get_config(self) -> dict[str, Any]:
        own = {"vocab_size": self.vocab_size, "d_model": self.d_model, "scale": self.scale}
        return {**super().get_config(), **own}
