"""Keys and values of earlier tokens, for decoding token by token.

Axes: B batch, T output tokens that the cache has places for, W hypotheses per sentence, S source, H heads, D model
width, K head width. The W current tokens of a sentence stand on the query axis.
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from transformer.layers.attention import KeysValues, MultiHeadAttention
from transformer.system.graphs import being_compiled


class Memory(NamedTuple):
    """What a decoder layer needs at every token.

    Attributes:
        keys, values: of the encoder output, (B, H, S, K) each.
        kernel, bias: (D, 3 D) and (3 D,), which give queries, keys and values of the self-attention in one product.
    """

    keys: tf.Tensor
    values: tf.Tensor
    kernel: tf.Tensor
    bias: tf.Tensor


def memorise(own: MultiHeadAttention, source: MultiHeadAttention, enc_output: tf.Tensor) -> Memory:
    """Return what a decoder layer of these two attentions needs of the encoder output (B, S, D)."""
    layers, dtype = (own.wq, own.wk, own.wv), own.compute_dtype
    kernel = tf.cast(tf.concat([layer.kernel for layer in layers], axis=1), dtype)
    bias = tf.cast(tf.concat([layer.bias for layer in layers], axis=0), dtype)
    return Memory(*source.project_keys_values(enc_output, enc_output), kernel, bias)


class OwnTokens:
    """The tokens that each hypothesis holds so far, for self-attention.

    Args:
        kept: keys and values of the tokens so far, (B, H, T * W, K) each: token t of hypothesis w in column t * W + w.
        memory: of the layer.
        position: scalar int32, index of the current tokens.
        width: W.
    """

    def __init__(self, kept: KeysValues, memory: Memory, position: tf.Tensor, width: tf.Tensor | int) -> None:
        self.kept = kept
        self.positions = position, tf.range(tf.shape(kept[0])[2]) // width
        self._memory, self._position, self._width = memory, position, width

    def project(self, mha: MultiHeadAttention, x: tf.Tensor) -> list[tf.Tensor]:
        """Return queries, keys and values, (B, H, W, K) each, of the current tokens (B * W, D)."""
        joint = tf.nn.bias_add(tf.matmul(x, self._memory.kernel), self._memory.bias)  # (B * W, 3 D)
        return [mha.split_heads(part, tf.shape(self.kept[0])[0]) for part in tf.split(joint, 3, axis=1)]

    def extend(self, keys: tf.Tensor, values: tf.Tensor) -> KeysValues:
        """Keep keys and values of the current tokens too, (B, H, W, K) each, and return all."""
        write = _write_compiled if being_compiled() else _write
        self.kept = tuple(
            write(old, new, self._position, self._width) for old, new in zip(self.kept, (keys, values), strict=True)
        )
        return self.kept


class SourceTokens:
    """The tokens of the source, which stay as they are, for the attention over the encoder output.

    Args:
        memory: of the layer.
    """

    def __init__(self, memory: Memory) -> None:
        self.positions = tf.constant(0), tf.range(tf.shape(memory.keys)[2])  # the source's own; never asked for
        self._memory = memory

    def project(self, mha: MultiHeadAttention, x: tf.Tensor) -> list[tf.Tensor]:
        """Return queries (B, H, W, K) of the current tokens (B * W, D), and the source's keys and values."""
        queries = mha.project_queries(x, tf.shape(self._memory.keys)[0])
        return [queries, self._memory.keys, self._memory.values]

    def extend(self, keys: tf.Tensor, values: tf.Tensor) -> KeysValues:
        """Return what is given."""
        return keys, values


class LayerCache(NamedTuple):
    """What the attentions of a decoder layer know of earlier tokens."""

    own: OwnTokens
    source: SourceTokens


def visible_columns(
    position: tf.Tensor, width: tf.Tensor | int, capacity: tf.Tensor | int, ancestry: tf.Tensor | None
) -> tf.Tensor:
    """Return which cached tokens are a hypothesis' own: a mask that broadcasts to (B, H, W, T * W).

    Args:
        position: scalar int32, index of the current tokens.
        width: W.
        capacity: T.
        ancestry: (B, W, T) int32, the hypotheses in whose columns the tokens up to `position` stand; None: their own.
    """
    columns = tf.range(width)
    visible = (tf.range(capacity) <= position)[:, tf.newaxis]  # (T, 1)
    if not (isinstance(width, int) and width == 1):
        own = columns[tf.newaxis, :, tf.newaxis] if ancestry is None else ancestry
        visible &= own[..., tf.newaxis] == columns  # (B, W, T, W)
    return tf.reshape(visible, (-1, 1, width, capacity * width))


def _write(kept: tf.Tensor, new: tf.Tensor, position: tf.Tensor, width: tf.Tensor | int) -> tf.Tensor:
    """Return the cache (B, H, T * W, K) with new keys or values (B, H, W, K) at a position, written in place."""
    depth = kept.shape[3]
    flat = tf.reshape(kept, (-1, tf.shape(kept)[2] // width, width * depth))  # (B * H, T, W * K)
    rows = tf.range(tf.shape(flat)[0])
    places = tf.stack([rows, tf.zeros_like(rows) + position], axis=1)
    written = tf.tensor_scatter_nd_update(flat, places, tf.reshape(new, (-1, width * depth)))
    return tf.reshape(written, tf.shape(kept))


def _write_compiled(kept: tf.Tensor, new: tf.Tensor, position: tf.Tensor, width: tf.Tensor | int) -> tf.Tensor:
    """Return the same as `_write`, in place where XLA compiles it."""
    return keras.ops.slice_update(kept, (0, 0, position * width, 0), new)
