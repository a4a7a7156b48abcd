"""Solutions of notebook 1: `python solutions/01_attention.py`."""

import numpy as np
import tensorflow as tf

from transformer import MultiHeadAttention, create_masks, positional_encoding, scaled_dot_product_attention


def exercise_1(d_model=16, tokens=64):
    """Return how many columns change by more than 0.1 over the tokens: of a narrow encoding nearly all.

    Pair i turns by 1 / 10000^(2i / d_model) a token. With few pairs, few of them are fast; those tell neighbours
    apart, so that the ridge of the dot products is wider.
    """
    table = positional_encoding(tokens, d_model)[0].numpy()
    return int(np.sum(np.ptp(table, axis=0) > 0.1))


def exercise_2(factor=10.0):
    """Return weights and output of queries that are so many times as large.

    The scores are as many times as far apart, and softmax gives all the weight to the largest. Token 1 has two
    largest keys, itself and token 3: its output is the mean of their values, (7.5, 2.5).
    """
    keys = tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    values = tf.constant([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
    output, weights = scaled_dot_product_attention(factor * keys, keys, values, None)
    return weights.numpy(), output.numpy()


def exercise_3():
    """Return the mask of a source with an id 0 in the middle: its column is hidden, as if it were padding.

    No real sentence has one there: tokenizers give the id 0 to no text.
    """
    mask, _, _ = create_masks(tf.constant([[2, 41, 0, 17, 3]]), tf.constant([[2, 58]]))
    return mask.numpy()[0, 0, 0]


def exercise_4(tokens=5, d_model=16, num_heads=4):
    """Return the weights (H, T, S) where the first token is hidden from everyone: column 0 is 0, rows sum to 1."""
    layer, x = MultiHeadAttention(d_model, num_heads), tf.random.normal((1, tokens, d_model))
    _, weights = layer(x, x, x, tf.range(tokens) > 0)
    return weights.numpy()[0]


def exercise_5(d_model=128, dff=2048):
    """Return the length at which attention costs as much as everything else: 2 T^2 D = 4 T D^2 + 2 T D F."""
    return 2 * d_model + dff


if __name__ == "__main__":
    print("1:", exercise_1(), "of 16 columns change, and", exercise_1(128), "of 128")
    print("2:", *exercise_2(), sep="\n")
    print("3:", exercise_3())
    print("4:", exercise_4()[0].round(2), sep="\n")
    print("5:", exercise_5(), "tokens")
