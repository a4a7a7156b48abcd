"""Scaled dot-product attention and multi-head attention.

Axes: B batch, T target/query, S source/key, H heads, D model width, K head width (D / H).
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import keras
import tensorflow as tf

from transformer.layers.checks import Shape, check_heads, check_mask
from transformer.layers.fused import Dropout, matmul
from transformer.layers.keras_call import PositionalCallMixin
from transformer.layers.positions_base import Positions, restored, stored

KeysValues = tuple[tf.Tensor, tf.Tensor]
HIDDEN_SCORE = -1e9  # far below any score, yet finite in float32: a row that may attend to nothing stays free of NaN


def scaled_dot_product_attention(
    q: tf.Tensor,
    k: tf.Tensor,
    v: tf.Tensor,
    mask: tf.Tensor | None,
    bias: tf.Tensor | None = None,
    dropout: keras.layers.Dropout | None = None,
    training: bool | None = None,
    value_bias: Callable[[tf.Tensor], tf.Tensor | None] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the weighted values and the weights of Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k) + bias) V.

    Args:
        q: queries (..., T, K).
        k: keys (..., S, K).
        v: values (..., S, K').
        mask: bool, broadcastable to (..., T, S), True = may attend; None hides nothing.
        bias: of positions, broadcastable to (..., T, S); None adds nothing.
        dropout: applied to the weights before they meet the values; the returned weights are without it.
        training: whether `dropout` is active.
        value_bias: of positions, returns what is added to the output for the weights (..., T, S), or None.

    Returns:
        output (..., T, K') and weights (..., T, S); each row of weights sums to 1. Where a query may attend to
        nothing, the weights are uniform.

    Raises:
        ValueError: the mask is not boolean.

    Source: Vaswani et al. 2017, section 3.2.1; document 000, section 4.1.1.
    Deviation: the softmax is taken in float32 whatever the type of `q` (float16 has no room for the hidden score).
    """
    check_mask(mask)
    scale = tf.math.rsqrt(tf.cast(tf.shape(k)[-1], tf.float32))
    scores = matmul(q * tf.cast(scale, q.dtype), k, transpose_b=True, training=training)  # (..., T, S)
    scores = tf.cast(scores, tf.float32)
    if bias is not None:
        scores += tf.cast(bias, tf.float32)
    if mask is not None:
        scores += tf.where(mask, 0.0, HIDDEN_SCORE)
    weights = tf.cast(tf.nn.softmax(scores, axis=-1), v.dtype)
    kept = weights if dropout is None else dropout(weights, training=training)
    output = matmul(kept, v, training=training)
    added = value_bias(kept) if value_bias else None
    return output if added is None else output + added, weights


class Cache(Protocol):
    """What `MultiHeadAttention` knows of earlier tokens while it decodes token by token, see `layers/cache.py`.

    Attributes:
        positions: of the current tokens and of all that it knows, int32, see `Positions.bias`.
    """

    positions: tuple[tf.Tensor, tf.Tensor]

    def project(self, mha: "MultiHeadAttention", x: tf.Tensor) -> list[tf.Tensor]:
        """Return queries, keys and values (B, H, W, K) of the W current tokens of each sentence, x (B * W, D)."""

    def extend(self, keys: tf.Tensor, values: tf.Tensor) -> KeysValues:
        """Keep these keys and values too, and return all there are."""


@keras.saving.register_keras_serializable(package="transformer")
class MultiHeadAttention(PositionalCallMixin, keras.layers.Layer):
    """MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O, head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V).

    Args:
        d_model: width D of the queries and of the output.
        num_heads: number of heads H; each is D / H wide.
        rate: dropout rate on the attention weights (0 in the paper).
        positions: what turns queries and keys, or adds a bias to their scores; None: nothing does (the paper).
        num_kv_heads: heads of keys and values, each shared by H / num_kv_heads heads of queries; 0: H (the paper).
        use_bias: whether the projections have biases.

    Call: `mha(v, k, q, mask)` with v, k (B, S, D), q (B, T, D) and a boolean mask broadcastable to (B, H, T, S), where
    keys are shared to (B, 1, T, S). Returns output (B, T, D) and weights (B, H, T, S).

    Given a `cache`, q are the current tokens of W hypotheses per sentence, (B * W, D), v and k are not read, and the
    output is (B * W, D), the weights (B, H, W, S).

    Raises:
        ValueError: `d_model` is not a multiple of `num_heads`, this not of `num_kv_heads`, or the mask is not boolean.

    Source: Vaswani et al. 2017, section 3.2.2; document 000, section 5.2.2. Shared keys: Ainslie et al. 2023.
    Deviation: a bad head count raises ValueError instead of an assertion; the query, key and value kernels start
        smaller than Glorot's by sqrt(2), as if they were one kernel of width 3 D, which keeps post-norm training
        stable at high learning rates.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        rate: float = 0.0,
        positions: Positions | dict[str, Any] | None = None,
        num_kv_heads: int = 0,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_heads(d_model, num_heads)
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_kv_heads = num_kv_heads or num_heads
        if num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads must be a multiple of num_kv_heads={num_kv_heads}, got {num_heads}")
        self.depth = d_model // num_heads
        self.rate = rate
        self.use_bias = use_bias
        self.positions = restored(positions)
        self.wq, self.wk, self.wv = (
            keras.layers.Dense(
                heads * self.depth,
                use_bias=use_bias,
                kernel_initializer=keras.initializers.VarianceScaling(0.5, "fan_avg", "uniform"),
                dtype=self.dtype_policy,
                name=name,
            )
            for name, heads in (("wq", num_heads), ("wk", self.num_kv_heads), ("wv", self.num_kv_heads))
        )
        self.dense = keras.layers.Dense(d_model, use_bias=use_bias, dtype=self.dtype_policy, name="dense")
        self.dropout = Dropout(rate, dtype=self.dtype_policy, name="dropout") if rate else None

    def build(self, v_shape: Shape, k_shape: Shape | None = None, q_shape: Shape | None = None) -> None:
        k_shape, q_shape = k_shape or v_shape, q_shape or v_shape
        self.wv.build(v_shape)
        self.wk.build(k_shape)
        self.wq.build(q_shape)
        self.dense.build((*q_shape[:-1], self.d_model))
        if self.positions and not self.positions.built:
            self.positions.build()
        self.built = True

    def split_heads(self, x: tf.Tensor, batch_size: tf.Tensor) -> tf.Tensor:
        """Cut the width into heads: (B, T, D) or (B * T, D) -> (B, H, T, K); H as many as are in D."""
        x = tf.reshape(x, (batch_size, -1, x.shape[-1] // self.depth, self.depth))  # (B, T, H, K)
        return tf.transpose(x, perm=[0, 2, 1, 3])

    def project_queries(self, q: tf.Tensor, batch_size: tf.Tensor | None = None) -> tf.Tensor:
        """Return the queries of all heads: (B, T, D) -> (B, H, T, K)."""
        return self.split_heads(self.wq(q), tf.shape(q)[0] if batch_size is None else batch_size)

    def project_keys_values(
        self, k: tf.Tensor, v: tf.Tensor, batch_size: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the keys and the values of all heads: (B, S, D) twice -> (B, H, S, K) twice."""
        batch_size = tf.shape(k)[0] if batch_size is None else batch_size
        return self.split_heads(self.wk(k), batch_size), self.split_heads(self.wv(v), batch_size)

    def call(
        self,
        v: tf.Tensor,
        k: tf.Tensor,
        q: tf.Tensor,
        mask: tf.Tensor | None = None,
        training: bool | None = None,
        cache: Cache | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if cache is None:
            keys, values = self.project_keys_values(k, v)
            queries = self.project_queries(q)
        else:
            queries, keys, values = cache.project(self, q)
        bias = value_bias = None
        if self.positions:
            at, others = cache.positions if cache else (tf.range(tf.shape(queries)[2]), tf.range(tf.shape(keys)[2]))
            bias = self.positions.bias(queries, at, others)
            value_bias = functools.partial(self._value_bias, at, others)
            queries, keys = self.positions.turn(queries, at), self.positions.turn(keys, at if cache else others)
        if cache:
            keys, values = cache.extend(keys, values)
        heads, weights = self._attend(queries, keys, values, mask, bias, value_bias, training)
        heads = tf.transpose(heads, perm=[0, 2, 1, 3])  # (B, T, H, K)
        shape = (-1, self.d_model) if cache else (tf.shape(heads)[0], -1, self.d_model)
        return self.dense(tf.reshape(heads, shape)), weights

    def _attend(
        self,
        queries: tf.Tensor,
        keys: tf.Tensor,
        values: tf.Tensor,
        mask: tf.Tensor | None,
        bias: tf.Tensor | None,
        value_bias: Callable[[tf.Tensor], tf.Tensor | None] | None,
        training: bool | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return heads (B, H, T, K) and weights (B, H, T, S); queries that share keys stand behind one another."""
        shared = self.num_heads // self.num_kv_heads
        if shared == 1:
            return scaled_dot_product_attention(queries, keys, values, mask, bias, self.dropout, training, value_bias)
        if mask is not None and mask.shape[1] not in (1, None):
            raise ValueError("mask must be broadcastable to (B, 1, T, S) where heads share keys")
        shape = tf.shape(queries)  # (B, H, T, K)
        if mask is not None and mask.shape[2] != 1:
            mask = tf.tile(mask, (1, 1, shared, 1))  # (B, 1, H / shared * T, S)
        queries = tf.reshape(queries, (shape[0], self.num_kv_heads, -1, self.depth))
        if bias is not None:
            bias = tf.broadcast_to(
                bias, (*tf.unstack(tf.shape(bias)[:-3]), *tf.unstack(shape[1:3]), tf.shape(bias)[-1])
            )
            bias = tf.reshape(bias, (-1, self.num_kv_heads, tf.shape(queries)[2], tf.shape(bias)[-1]))
        heads, weights = scaled_dot_product_attention(
            queries, keys, values, mask, bias, self.dropout, training, value_bias
        )
        return tf.reshape(heads, shape), tf.reshape(weights, (*tf.unstack(shape[:3]), tf.shape(keys)[2]))

    def _value_bias(self, at: tf.Tensor, others: tf.Tensor, weights: tf.Tensor) -> tf.Tensor | None:
        """Return `Positions.value_bias` for weights (B, H', T', S) as they stand in `_attend`: (B, H', T', K)."""
        assert self.positions
        if self.num_kv_heads == self.num_heads:
            return self.positions.value_bias(weights, at, others)
        shape = tf.shape(weights)
        added = self.positions.value_bias(tf.reshape(weights, (shape[0], self.num_heads, -1, shape[3])), at, others)
        return None if added is None else tf.reshape(added, (*tf.unstack(shape[:3]), self.depth))

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("d_model", "num_heads", "rate", "num_kv_heads", "use_bias")}
        return {**super().get_config(), **own, "positions": stored(self.positions)}
