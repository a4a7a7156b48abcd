"""The numbers behind the kinds of positions, in NumPy: an exported model holds them too."""

import numpy as np

from transformer.layers.checks import check_sizes

FARTHEST = 128  # distance from which on relative biases are the same: T5's
CLIPPED = 16  # and relative keys: Shaw et al. 2018, section 4.1


def sinusoids(pos: int, d_model: int) -> np.ndarray:
    """Return the table behind `positional_encoding`: (pos, D) float32, an array that a layer can keep in any graph."""
    check_sizes(pos=pos, d_model=d_model)
    angles = np.repeat(_angles(pos, d_model), 2, axis=1)[:, :d_model]  # columns 2i and 2i + 1 share a frequency
    angles[:, 0::2] = np.sin(angles[:, 0::2])
    angles[:, 1::2] = np.cos(angles[:, 1::2])
    return angles.astype(np.float32)


def _angles(pos: int, width: int, base: float = 10000.0) -> np.ndarray:
    """Return p / base^(2i / width) for each position p and pair of columns i: (pos, width / 2), rounded up."""
    return np.arange(pos)[:, np.newaxis] / np.power(base, 2 * np.arange((width + 1) // 2) / width)


def rotary_angles(pos: int, depth: int, base: float = 10000.0) -> np.ndarray:
    """Return the angles by which a head's queries and keys turn at the positions 0 .. pos - 1.

    Column i of position p holds p / base^(2i / depth): with the base 10000 the angle of `positional_encoding`'s columns
    2i and 2i + 1.

    Args:
        pos: number of positions, in tokens.
        depth: width K of a head.
        base: the larger, the slower the last columns turn.

    Returns:
        float64 of shape (pos, K / 2).

    Raises:
        ValueError: an argument is below 1, or `depth` is odd.

    Source: Su et al. 2021, "RoFormer", section 3.2.2.
    """
    check_sizes(pos=pos, depth=depth)
    if depth % 2:
        raise ValueError(f"depth must be even, since columns turn in pairs, got {depth}")
    return _angles(pos, depth, base)
