"""Keys and values of earlier tokens, for decoding token by token.

Axes: B batch, T output tokens that the cache has places for, W hypotheses per sentence, S source, H heads, D model
width, K head width. The W current tokens of a sentence stand on the query axis.
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from transformer.layers.attention import KeysValues, MultiHeadAttention
from transformer.system.graphs import being_compiled


class Joint(NamedTuple):
    """What gives queries, keys and values of a self-attention in one product.

    Attributes:
        kernel, bias: (D, 3 D) and (3 D,), less where heads share keys; zeros where the attention has no bias.
    """

    kernel: tf.Tensor
    bias: tf.Tensor

    def project(self, mha: MultiHeadAttention, x: tf.Tensor, batch: tf.Tensor) -> list[tf.Tensor]:
        """Return queries, keys and values, (B, H, W, K) each, of tokens (B * W, D)."""
        joint = tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias)  # (B * W, 3 D)
        widths = [layer.units for layer in (mha.wq, mha.wk, mha.wv)]
        return [mha.split_heads(part, batch) for part in tf.split(joint, widths, axis=1)]


def joint_of(own: MultiHeadAttention) -> Joint:
    """Return the projections of a self-attention as one."""
    layers, dtype = (own.wq, own.wk, own.wv), own.compute_dtype
    kernel = tf.cast(tf.concat([layer.kernel for layer in layers], axis=1), dtype)
    biases = [layer.bias if own.use_bias else tf.zeros((layer.units,)) for layer in layers]
    return Joint(kernel, tf.cast(tf.concat(biases, axis=0), dtype))


class Memory(NamedTuple):
    """What a decoder layer needs at every token.

    Attributes:
        keys, values: of the encoder output, (B, H, S, K) each.
        joint: of the self-attention.
    """

    keys: tf.Tensor
    values: tf.Tensor
    joint: Joint


def memorise(own: MultiHeadAttention, source: MultiHeadAttention, enc_output: tf.Tensor) -> Memory:
    """Return what a decoder layer of these two attentions needs of the encoder output (B, S, D)."""
    return Memory(*source.project_keys_values(enc_output, enc_output), joint_of(own))


class PromptTokens:
    """The tokens of a prompt, which are read at once and stand on the query axis; `kept` are their keys and values.

    Args:
        joint: of the layer.
        positions: of the tokens, (B, P) int32.
    """

    kept: KeysValues

    def __init__(self, joint: Joint, positions: tf.Tensor) -> None:
        self.positions = positions, positions
        self._joint = joint

    def project(self, mha: MultiHeadAttention, x: tf.Tensor) -> list[tf.Tensor]:
        """Return queries, keys and values, (B, H, P, K) each, of the prompt (B * P, D)."""
        return self._joint.project(mha, x, tf.shape(self.positions[0])[0])

    def extend(self, keys: tf.Tensor, values: tf.Tensor) -> KeysValues:
        """Keep these keys and values, and return them."""
        self.kept = keys, values
        return self.kept


class OwnTokens:
    """The tokens that each hypothesis holds so far, for self-attention.

    Args:
        kept: keys and values of the tokens so far, (B, H, T * W, K) each: token t of hypothesis w in column t * W + w.
        joint: of the layer.
        place: scalar int32, t of the current tokens.
        width: W.
        positions: of the current tokens and of the columns, see `Cache`; None: both are t.
    """

    def __init__(
        self,
        kept: KeysValues,
        joint: Joint,
        place: tf.Tensor,
        width: tf.Tensor | int,
        positions: tuple[tf.Tensor, tf.Tensor] | None = None,
    ) -> None:
        self.kept = kept
        self.positions = positions or (place, tf.range(tf.shape(kept[0])[2]) // width)
        self._joint, self._place, self._width = joint, place, width

    def project(self, mha: MultiHeadAttention, x: tf.Tensor) -> list[tf.Tensor]:
        """Return queries, keys and values, (B, H, W, K) each, of the current tokens (B * W, D)."""
        return self._joint.project(mha, x, tf.shape(self.kept[0])[0])

    def extend(self, keys: tf.Tensor, values: tf.Tensor) -> KeysValues:
        """Keep keys and values of the current tokens too, (B, H, W, K) each, and return all."""
        write = _write_compiled if being_compiled() else _write
        self.kept = tuple(
            write(old, new, self._place, self._width) for old, new in zip(self.kept, (keys, values), strict=True)
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
