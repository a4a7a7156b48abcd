"""What every kind of positions answers to a stack and to its self-attention."""

from typing import Any, ClassVar

import keras
import tensorflow as tf

from transformer.layers.checks import check_heads, check_sizes
from transformer.layers.options import LayerOptions


def distances(query_positions: tf.Tensor, key_positions: tf.Tensor) -> tf.Tensor:
    """Return how far each key stands behind its query, in tokens; below 0 before it.

    Args:
        query_positions, key_positions: as of `Positions.bias`.

    Returns:
        int32, (T, S), or (B, T, S) where rows differ; T is 1 where all queries stand at one position.
    """
    queries = query_positions[tf.newaxis] if query_positions.shape.rank == 0 else query_positions
    return key_positions[..., tf.newaxis, :] - queries[..., tf.newaxis]


class Positions(keras.layers.Layer):
    """What tells a stack where its tokens stand; the base of all kinds, which itself tells nothing.

    A stack has one such object. It asks `embed` once for its embeddings, and each of its self-attentions asks `turn`,
    `bias` and `value_bias`. A kind overrides what it needs, mostly one of them. The attention over the encoder output
    compares places of two sentences and asks nothing.

    A kind whose weights differ between layers sets `shared` to False: then each self-attention has an object of its
    own, and nobody asks `embed`.

    Args:
        count: number of positions, in tokens.
        d_model: width D.
        num_heads: number of heads H of the stack's attention.

    Raises:
        ValueError: an argument is below 1, or `d_model` is no multiple of `num_heads`.
    """

    shared: ClassVar[bool] = True

    def __init__(self, count: int, d_model: int, num_heads: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_sizes(count=count)
        check_heads(d_model, num_heads)
        self.count, self.d_model, self.num_heads = count, d_model, num_heads

    @classmethod
    def arguments(cls, options: LayerOptions, bidirectional: bool) -> dict[str, Any]:
        """Return the kind's own arguments for layers with these options.

        Args:
            options: of the layers.
            bidirectional: whether a token sees those behind it too, as in an encoder.
        """
        return {}

    def build(self, input_shape: Any = None) -> None:
        self.built = True

    def embed(self, x: tf.Tensor, start: tf.Tensor | int) -> tf.Tensor:
        """Return embeddings (B, T, D) of tokens with what tells their positions.

        Args:
            x: (B, T, D).
            start: scalar, where the positions are start .. start + T - 1; or int32 (B, T) or (B, 1), the positions.
        """
        return x

    def turn(self, x: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """Return queries or keys (B, H, T, K) turned by their positions.

        Args:
            x: (B, H, T, K).
            positions: int32, a scalar for all of them, (T,), or (B, T) or (B, 1) where they differ between rows.
        """
        return x

    def bias(self, queries: tf.Tensor, query_positions: tf.Tensor, key_positions: tf.Tensor) -> tf.Tensor | None:
        """Return what is added to the scores before the softmax, broadcastable to (B, H, T, S); None: nothing.

        Args:
            queries: (B, H, T, K).
            query_positions: int32, as of `turn`.
            key_positions: (S,) or (B, S) int32.
        """
        return None

    def value_bias(self, weights: tf.Tensor, query_positions: tf.Tensor, key_positions: tf.Tensor) -> tf.Tensor | None:
        """Return what is added to the weighted values, (B, H, T, K); None: nothing.

        Args:
            weights: of the attention, (B, H, T, S).
            query_positions, key_positions: as of `bias`.
        """
        return None

    def get_config(self) -> dict[str, Any]:
        own = {"count": self.count, "d_model": self.d_model, "num_heads": self.num_heads}
        return {**super().get_config(), **own}


def stored(positions: Positions | None) -> dict[str, Any] | None:
    """Return what `get_config` of a layer says of its positions."""
    return None if positions is None else keras.saving.serialize_keras_object(positions)


def restored(positions: Positions | dict[str, Any] | None) -> Positions | None:
    """Return positions from what `stored` returned, or as they are."""
    return keras.saving.deserialize_keras_object(positions) if isinstance(positions, dict) else positions
