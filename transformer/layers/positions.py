"""Sinusoidal position encodings."""

import numpy as np
import tensorflow as tf

from transformer.layers.checks import check_sizes


def positional_encoding(pos: int, d_model: int) -> tf.Tensor:
    """Return the sinusoidal encodings of the positions 0 .. pos - 1.

    PE[p, 2i] = sin(p / 10000^(2i / d_model)) and PE[p, 2i + 1] = cos(p / 10000^(2i / d_model)): sine and cosine
    interleave, so the encoding of p + k is a rotation of the encoding of p (two columns at a time).

    Args:
        pos: number of positions, in tokens.
        d_model: model width D. Where it is odd, the last column is a sine without its cosine.

    Returns:
        float32 of shape (1, pos, D).

    Raises:
        ValueError: `pos` or `d_model` is below 1.

    Source: Vaswani et al. 2017, section 3.5; document 000, section 5.2.1.
    """
    return tf.constant(sinusoids(pos, d_model)[np.newaxis])


def sinusoids(pos: int, d_model: int) -> np.ndarray:
    """Return the table behind `positional_encoding`: (pos, D) float32, an array that a layer can keep in any graph."""
    check_sizes(pos=pos, d_model=d_model)
    pair = np.arange(d_model) // 2  # column 2i and column 2i + 1 share a frequency
    angles = np.arange(pos)[:, np.newaxis] / np.power(10000.0, 2 * pair / d_model)  # (pos, D)
    angles[:, 0::2] = np.sin(angles[:, 0::2])
    angles[:, 1::2] = np.cos(angles[:, 1::2])
    return angles.astype(np.float32)
