"""Cross-entropy of a projection onto the vocabulary that is never held as a whole.

Axes: N tokens, D model width, V vocabulary.
"""

from collections.abc import Callable

import tensorflow as tf

from transformer.losses.cross_entropy import check_smoothing

CHUNK = 256  # tokens whose logits exist at the same time in `linear_cross_entropy`, more or less a half


def linear_cross_entropy(
    hidden: tf.Tensor, table: tf.Tensor, bias: tf.Tensor | None, labels: tf.Tensor, label_smoothing: float = 0.0
) -> tf.Tensor:
    """Return the summed cross-entropy in nats of `hidden @ table^T + bias` without ever holding all the logits.

    Equal to `tf.reduce_sum(token_losses(labels, logits, label_smoothing))` and its gradients. The logits of a batch
    are by far its largest tensor (4,096 tokens of 8,000 words: 131 MB, walked over several times); here a chunk of
    about `CHUNK` tokens is projected, normalised and turned into its gradients while it is still in the cache. Only
    logsumexp(z) needs them all: the label's logit and the mean one are linear in the logits, so they are taken on
    `hidden` and `table` instead, which are V / D times smaller.

    Args:
        hidden: decoder outputs of the real tokens (N, D); products are taken in this type, all else in float32.
        table: output vectors (V, D), float32.
        bias: (V,) float32, or None.
        labels: integer ids (N,).
        label_smoothing: e of `token_losses`.

    Raises:
        ValueError: `label_smoothing` is out of range.

    Source: Vaswani et al. 2017, section 5.4, for what is computed.
    """
    check_smoothing(label_smoothing)
    weights = [table] if bias is None else [table, bias]
    return _chunked_logsumexp(hidden, *weights) - _linear_part(hidden, table, bias, labels, label_smoothing)


def _linear_part(
    hidden: tf.Tensor, table: tf.Tensor, bias: tf.Tensor | None, labels: tf.Tensor, label_smoothing: float
) -> tf.Tensor:
    """Return the sum of (1 - e) z_label + e mean(z) over all tokens, without their logits z."""
    hidden = tf.cast(hidden, table.dtype)
    label_logits = tf.reduce_sum(hidden * tf.gather(table, labels))
    if bias is not None:
        label_logits += tf.reduce_sum(tf.gather(bias, labels))
    if not label_smoothing:
        return label_logits
    mean_logits = tf.reduce_mean(tf.linalg.matvec(table, tf.reduce_sum(hidden, axis=0)))
    if bias is not None:
        mean_logits += tf.cast(tf.shape(hidden)[0], bias.dtype) * tf.reduce_mean(bias)
    return (1.0 - label_smoothing) * label_logits + label_smoothing * mean_logits


@tf.custom_gradient
def _chunked_logsumexp(hidden: tf.Tensor, table: tf.Tensor, *bias: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Sum log(sum(exp(logits))) over tokens: (N, D), (V, D), (V,) or nothing -> scalar. The gradients come with it.

    With e = exp(z - max z) and s its sum, the gradient to the logits z is e / s. The division is done on the narrow
    side: (e / s) W = (e W) / s and (e / s)^T h = e^T (h / s).
    """
    count, size = _rows_and_chunk_size(hidden)
    vectors = tf.cast(table, hidden.dtype)  # (V, D)

    def body(
        start: tf.Tensor, total: tf.Tensor, d_hidden: tf.TensorArray, d_table: tf.Tensor, *d_bias: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        rows = hidden[start : start + size]  # (C, D)
        logits = tf.matmul(rows, vectors, transpose_b=True)
        logits = tf.cast(tf.nn.bias_add(logits, tf.cast(bias[0], logits.dtype)) if bias else logits, tf.float32)
        most = tf.reduce_max(logits, axis=-1, keepdims=True)  # (C, 1)
        shares = tf.exp(logits - most)  # (C, V), of `sums`
        sums = tf.reduce_sum(shares, axis=-1, keepdims=True)
        products = tf.cast(shares, hidden.dtype)
        return (
            start + size,
            total + tf.reduce_sum(most + tf.math.log(sums)),
            d_hidden.write(start // size, tf.matmul(products, vectors) / tf.cast(sums, hidden.dtype)),
            d_table + tf.cast(tf.matmul(products, rows / tf.cast(sums, rows.dtype), transpose_a=True), table.dtype),
            *(d + tf.linalg.matvec(shares, 1.0 / sums[:, 0], transpose_a=True) for d in d_bias),
        )

    _, total, d_hidden, *d_weights = tf.while_loop(
        lambda start, *_: start < count,
        body,
        (tf.constant(0), tf.constant(0.0), _chunks(hidden), *(tf.zeros_like(weight) for weight in (table, *bias))),
        parallel_iterations=1,
    )
    d_hidden = d_hidden.concat()

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tf.cast(upstream, hidden.dtype) * d_hidden, *(upstream * d_weight for d_weight in d_weights)

    return total, gradient


def _rows_and_chunk_size(hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the number of rows, at least 1, and how many of them a chunk has, so that all have about the same.

    Each chunk reads and writes all the output vectors, so that one for the last few rows would be a waste. Where there
    is no row, there is one empty chunk, so that shapes stay known.
    """
    count = tf.maximum(tf.shape(hidden)[0], 1)
    chunks = tf.maximum((count + CHUNK // 2) // CHUNK, 1)
    return count, (count + chunks - 1) // chunks


def _chunks(hidden: tf.Tensor) -> tf.TensorArray:
    """Return an empty array for rows like those of `hidden`, chunk by chunk."""
    shape = (None, hidden.shape[1])
    return tf.TensorArray(hidden.dtype, size=0, dynamic_size=True, element_shape=shape, infer_shape=False)
