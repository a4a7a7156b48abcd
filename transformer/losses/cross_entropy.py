"""Token losses: cross-entropy with label smoothing, and accuracy, over real tokens alone.

Axes: B batch, T target, V vocabulary.
"""

import keras
import tensorflow as tf

from transformer.ids import PAD_ID


def token_losses(labels: tf.Tensor, logits: tf.Tensor, label_smoothing: float = 0.0) -> tf.Tensor:
    """Return the cross-entropy of each token, in nats: (...,) ids and (..., V) logits -> (...,) float32.

    With smoothing e, the target distribution gives 1 - e to the label and spreads e evenly over all V tokens:
    loss = logsumexp(z) - (1 - e) z_label - e mean(z).

    Args:
        labels: ids (...,).
        logits: (..., V), of any float type.
        label_smoothing: e, at least 0 and below 1.

    Raises:
        ValueError: `label_smoothing` is out of range.

    Source: Vaswani et al. 2017, section 5.4; Szegedy et al. 2016, section 7.
    """
    check_smoothing(label_smoothing)
    labels = tf.cast(labels, tf.int32)  # `compile` hands labels over as floats
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if label_smoothing:
        label_logits = tf.gather(logits, labels, axis=-1, batch_dims=labels.shape.rank)
        losses += label_smoothing * (label_logits - tf.reduce_mean(logits, axis=-1))
    return losses


def check_smoothing(label_smoothing: float) -> None:
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing!r}")


@keras.saving.register_keras_serializable(package="transformer")
def masked_loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the mean cross-entropy in nats per real target token; positions with the pad id 0 do not count.

    Args:
        labels: ids (B, T).
        logits: (B, T, V).

    Returns:
        A float32 scalar; 0 where there is no real token.

    Source: document 000, sections 4.3.1 and 5.3.2, which names it without defining it.
    Deviation: the mean over tokens rather than the document's sum, so that the figure does not depend on batch size.
    """
    real = tf.cast(tf.not_equal(labels, PAD_ID), tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(token_losses(labels, logits) * real), tf.reduce_sum(real))


@keras.saving.register_keras_serializable(package="transformer")
def masked_accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the share of real target tokens (not the pad id 0) whose most probable token is right.

    Args:
        labels: ids (B, T).
        logits: (B, T, V).

    Returns:
        A float32 scalar from 0 to 1; 0 where there is no real token.

    Source: the TensorFlow tutorial, beside document 000, section 5.3.
    """
    real = tf.not_equal(labels, PAD_ID)
    right = tf.equal(tf.cast(labels, tf.int64), tf.argmax(logits, axis=-1))
    count = tf.reduce_sum(tf.cast(tf.logical_and(real, right), tf.float32))
    return tf.math.divide_no_nan(count, tf.reduce_sum(tf.cast(real, tf.float32)))
