"""Attention masks: explicit boolean tensors, True = may attend.

Axes: B batch, T target/query, S source/key.
"""

import tensorflow as tf

from transformer.ids import PAD_ID


def create_padding_mask(ids: tf.Tensor) -> tf.Tensor:
    """Return which tokens are real: (B, S) integer ids -> (B, 1, 1, S) bool, False at the pad id 0.

    The two inner axes broadcast over heads and queries.

    Source: document 000, section 5.3.3, which uses such masks without defining them.
    """
    return tf.not_equal(ids, PAD_ID)[:, tf.newaxis, tf.newaxis, :]


def create_look_ahead_mask(size: tf.Tensor | int) -> tf.Tensor:
    """Return the causal mask, (size, size) bool: query t may attend to keys 0 .. t.

    Args:
        size: T, in tokens.

    Source: Vaswani et al. 2017, section 3.2.3.
    """
    positions = tf.range(size)
    return positions[:, tf.newaxis] >= positions[tf.newaxis, :]


def create_masks(inp: tf.Tensor, tar: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the three masks of an encoder-decoder Transformer.

    Args:
        inp: source ids (B, S).
        tar: decoder input ids (B, T).

    Returns:
        The encoder's padding mask (B, 1, 1, S); the decoder's combined look-ahead and padding mask (B, 1, T, T); the
        padding mask (B, 1, 1, S) for the decoder's attention over the encoder output. All bool, True = may attend.

    Source: document 000, section 5.3.3, which calls it without defining it.
    Deviation: the documents' lineage has float masks with 1 = hidden; here True = may attend, and every layer refuses
        a mask that is not boolean, so the two are never mixed up in silence.
    """
    padding_mask = create_padding_mask(inp)
    look_ahead_mask = create_look_ahead_mask(tf.shape(tar)[1])
    combined_mask = tf.logical_and(create_padding_mask(tar), look_ahead_mask)  # (B, 1, T, T)
    return padding_mask, combined_mask, padding_mask
