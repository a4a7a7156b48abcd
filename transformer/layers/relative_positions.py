"""Kinds of positions that say how far two tokens are apart, and nothing of where they stand: T5's, Shaw's.

Axes: B batch, T target/query, S source/key, H heads, D model width, K head width, N distances that are told apart.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transformer.layers.angles import CLIPPED, FARTHEST
from transformer.layers.checks import check_sizes
from transformer.layers.options import LayerOptions
from transformer.layers.positions_base import Positions, distances

BUCKETS = 32  # T5's


def relative_buckets(distance: np.ndarray, buckets: int, farthest: int, bidirectional: bool) -> np.ndarray:
    """Return the bucket of each distance: one each for small ones, wider and wider ones up to `farthest`.

    With n buckets for a direction and e = n / 2, the distance x >= 0 has the bucket x if x < e, else
    min(n - 1, e + floor((n - e) ln(x / e) / ln(farthest / e))).

    Args:
        distance: position of the key less that of the query, in tokens, integers of any shape.
        buckets: how many there are; where it is bidirectional, half of them are for keys behind the query.
        farthest: distance from which on all have the last bucket.
        bidirectional: False: a key behind the query has the bucket 0, as it is hidden anyway.

    Raises:
        ValueError: a size below 1, `buckets` is odd or below 4, or `farthest` is not above e.

    Source: Raffel et al. 2020, section 2.1; the boundaries are those of the published code.
    """
    check_sizes(buckets=buckets, farthest=farthest)
    if buckets < 4 or buckets % 2:
        raise ValueError(f"buckets must be an even number of at least 4, got {buckets}")
    each = buckets // 2 if bidirectional else buckets
    exact = each // 2
    if farthest <= exact:
        raise ValueError(f"farthest must be above {exact}, the number of distances with a bucket each, got {farthest}")
    steps = np.abs(distance) if bidirectional else np.maximum(-distance, 0)
    ratio = np.maximum(steps, exact).astype(np.float32) / np.float32(exact)  # in float32, as the published code has it
    wider = exact + (np.log(ratio) / np.float32(np.log(farthest / exact)) * np.float32(each - exact)).astype(np.int32)
    found = np.where(steps < exact, steps, np.minimum(wider, each - 1))
    return found + np.where(bidirectional & (distance > 0), each, 0)


@keras.saving.register_keras_serializable(package="transformer")
class RelativeBias(Positions):
    """T5's bias: a trained number for each head and each bucket of distances, added to the scores of all layers.

    scores = Q K^T / sqrt(d_k) + b[head, bucket(key - query)].

    Args:
        buckets, farthest, bidirectional: see `relative_buckets`.

    Raises:
        ValueError: as `relative_buckets`.

    Source: Raffel et al. 2020, section 2.1; document 002, section 3.3.2, asks for biases between elements.
    Deviation: T5 does not divide its scores by sqrt(d_k), for which its projections start smaller; here they are
        divided, as with every other kind.
    """

    def __init__(
        self,
        count: int,
        d_model: int,
        num_heads: int = 1,
        buckets: int = BUCKETS,
        farthest: int = FARTHEST,
        bidirectional: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(count, d_model, num_heads, **kwargs)
        self.buckets, self.farthest, self.bidirectional = buckets, farthest, bidirectional
        self.bucket_of = relative_buckets(np.arange(-farthest, farthest + 1), buckets, farthest, bidirectional)

    @classmethod
    def arguments(cls, options: LayerOptions, bidirectional: bool) -> dict[str, Any]:
        farthest = options.relative_distance or FARTHEST
        return {"buckets": options.relative_buckets, "farthest": farthest, "bidirectional": bidirectional}

    def build(self, input_shape: Any = None) -> None:
        initializer = keras.initializers.RandomNormal(stddev=self.d_model**-0.5)
        self.biases = self.add_weight(shape=(self.buckets, self.num_heads), initializer=initializer, name="biases")
        self.built = True

    def bias(self, queries: tf.Tensor, query_positions: tf.Tensor, key_positions: tf.Tensor) -> tf.Tensor:
        which = _clipped(distances(query_positions, key_positions), self.farthest)
        which = tf.gather(tf.constant(self.bucket_of, tf.int32), which)
        found = tf.gather(tf.convert_to_tensor(self.biases), which)  # (T, S, H) or (B, T, S, H)
        return tf.transpose(found, (2, 0, 1) if found.shape.rank == 3 else (0, 3, 1, 2))

    def get_config(self) -> dict[str, Any]:
        own = {"buckets": self.buckets, "farthest": self.farthest, "bidirectional": self.bidirectional}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="transformer")
class RelativeKeys(Positions):
    """Shaw's relative representations: a trained vector for each distance, added to the keys and to the values.

    With a_d = the vector of the distance d = max(-k, min(k, key - query)), of its own for keys and for values:
    score = q (k + a_d^K)^T / sqrt(d_k), output = sum over keys of weight (v + a_d^V). The heads share the vectors, the
    layers do not.

    No key has a sum of its own: q a^T is taken for all N = 2 k + 1 distances and then found for each key, and the
    weights are summed up for each distance before they meet a^V. So no tensor has the axes T, S and K together.

    Args:
        farthest: k, from which on all distances have the same vectors.
        with_values: whether values have vectors too; the paper's Table 3 finds them dispensable.

    Raises:
        ValueError: `farthest` is below 1.

    Source: Shaw et al. 2018, equations 3 and 4, and sections 3.2 and 3.3.
    Deviation: the paper's base model has vectors of its own for each head as well (section 4.1), which section 3.3
        shares to save memory.
    """

    shared = False

    def __init__(
        self,
        count: int,
        d_model: int,
        num_heads: int = 1,
        farthest: int = CLIPPED,
        with_values: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(count, d_model, num_heads, **kwargs)
        check_sizes(farthest=farthest)
        self.farthest, self.with_values = farthest, with_values

    @classmethod
    def arguments(cls, options: LayerOptions, bidirectional: bool) -> dict[str, Any]:
        return {"farthest": options.relative_distance or CLIPPED, "with_values": options.relative_values}

    def build(self, input_shape: Any = None) -> None:
        shape = (2 * self.farthest + 1, self.d_model // self.num_heads)  # (N, K)
        self.keys = self.add_weight(shape=shape, initializer="glorot_uniform", name="keys")
        self.values = None
        if self.with_values:
            self.values = self.add_weight(shape=shape, initializer="glorot_uniform", name="values")
        self.built = True

    def bias(self, queries: tf.Tensor, query_positions: tf.Tensor, key_positions: tf.Tensor) -> tf.Tensor:
        which, axes = self._which(query_positions, key_positions, queries.dtype)
        vectors = tf.cast(tf.convert_to_tensor(self.keys), queries.dtype) * queries.shape[-1] ** -0.5
        products = tf.einsum("bhtk,nk->bhtn", queries, vectors)
        return tf.einsum(f"bhtn,{axes}->bhts", products, which)

    def value_bias(self, weights: tf.Tensor, query_positions: tf.Tensor, key_positions: tf.Tensor) -> tf.Tensor | None:
        if self.values is None:
            return None
        which, axes = self._which(query_positions, key_positions, weights.dtype)
        summed = tf.einsum(f"bhts,{axes}->bhtn", weights, which)
        return tf.einsum("bhtn,nk->bhtk", summed, tf.cast(tf.convert_to_tensor(self.values), weights.dtype))

    def _which(self, query_positions: tf.Tensor, key_positions: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, str]:
        """Return 1 where two tokens are at a distance and 0 elsewhere, (S, N), (T, S, N), or with B; and its axes."""
        found = _clipped(distances(query_positions, key_positions), self.farthest)
        axes = "tsn" if found.shape.rank == 2 else "btsn"
        if found.shape[-2] == 1:  # all queries at one position
            found, axes = tf.squeeze(found, -2), axes.replace("t", "")
        return tf.one_hot(found, 2 * self.farthest + 1, dtype=dtype), axes

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "farthest": self.farthest, "with_values": self.with_values}


def _clipped(distance: tf.Tensor, farthest: int) -> tf.Tensor:
    """Return indices 0 .. 2 `farthest` of distances."""
    return tf.clip_by_value(distance, -farthest, farthest) + farthest
