"""What a translation's tokens look at in the sentence.

Axes: B sentences, W hypotheses per sentence, T output tokens, S source tokens, H heads.
"""

import tensorflow as tf

from transformer.ids import START_ID
from transformer.models.transformer import Transformer


def source_attention(model: Transformer, source_ids: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Return the attention weights over the source, (layers, B, W, H, T, S), of hypotheses (B, W, T) of B sentences."""
    batch, width, length = tf.unstack(tf.shape(ids))
    start = tf.fill((batch, width, 1), START_ID)
    target_in = tf.reshape(tf.concat([start, ids[:, :, :-1]], axis=2), (batch * width, length))
    _, weights = model.decode(tf.repeat(source_ids, width, axis=0), target_in, training=False)
    layers = [weights[f"decoder_layer{i + 1}_block2"] for i in range(model.decoder.num_layers)]
    stacked = tf.cast(tf.stack(layers), tf.float32)  # (layers, B * W, H, T, S)
    shape = tf.shape(stacked)
    return tf.reshape(stacked, tf.concat([shape[:1], [batch, width], shape[2:]], axis=0))
