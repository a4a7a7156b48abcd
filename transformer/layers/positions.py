"""What tells a model where its tokens stand."""

import abc
from typing import Any

import keras
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
    angles = np.repeat(_angles(pos, d_model), 2, axis=1)[:, :d_model]  # columns 2i and 2i + 1 share a frequency
    angles[:, 0::2] = np.sin(angles[:, 0::2])
    angles[:, 1::2] = np.cos(angles[:, 1::2])
    return angles.astype(np.float32)


def _angles(pos: int, width: int) -> np.ndarray:
    """Return p / 10000^(2i / width) for each position p and pair of columns i: (pos, width / 2), rounded up."""
    return np.arange(pos)[:, np.newaxis] / np.power(10000.0, 2 * np.arange((width + 1) // 2) / width)


def rotary_angles(pos: int, depth: int) -> np.ndarray:
    """Return the angles by which a head's queries and keys turn at the positions 0 .. pos - 1.

    Column i of position p holds p / 10000^(2i / depth), the angle of `positional_encoding`'s columns 2i and 2i + 1.

    Args:
        pos: number of positions, in tokens.
        depth: width K of a head.

    Returns:
        float64 of shape (pos, K / 2).

    Raises:
        ValueError: an argument is below 1, or `depth` is odd.

    Source: Su et al. 2021, "RoFormer", section 3.2.2.
    """
    check_sizes(pos=pos, depth=depth)
    if depth % 2:
        raise ValueError(f"depth must be even, since columns turn in pairs, got {depth}")
    return _angles(pos, depth)


def rotate(x: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor) -> tf.Tensor:
    """Turn each pair of columns i and i + K / 2 by its angle: (..., T, K) -> (..., T, K).

    The product of a query turned by p and a key turned by s depends on p - s alone, so attention sees how far apart
    two tokens are and not where they stand.

    Args:
        x: queries or keys (..., T, K).
        cos, sin: of the angles, (T, K / 2), or (K / 2,) where all are at one position.

    Source: Su et al. 2021, "RoFormer", equations 14 and 34.
    Deviation: the paper pairs neighbouring columns; which are paired makes no difference to a model that is trained so,
        and halves need no strided copies.
    """
    one, other = tf.split(x, 2, axis=-1)
    return tf.concat([one * cos - other * sin, one * sin + other * cos], axis=-1)


class Positions(keras.layers.Layer, abc.ABC):
    """A table of vectors, one for each position, that a stack adds to its embeddings; the base of all kinds.

    Args:
        count: number of positions, in tokens.
        d_model: width D.

    Attributes:
        rotary: whether the stack's self-attention turns its queries and keys by their positions.

    Raises:
        ValueError: an argument is below 1.
    """

    rotary = False

    def __init__(self, count: int, d_model: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_sizes(count=count, d_model=d_model)
        self.count, self.d_model = count, d_model

    def build(self, input_shape: Any = None) -> None:
        self.built = True

    @abc.abstractmethod
    def table(self) -> tf.Tensor | None:
        """Return the vectors, (count, D), or None where nothing is added."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count, "d_model": self.d_model}


@keras.saving.register_keras_serializable(package="transformer")
class Sinusoidal(Positions):
    """The fixed vectors of `positional_encoding`.

    Source: Vaswani et al. 2017, section 3.5.
    """

    def __init__(self, count: int, d_model: int, **kwargs: Any) -> None:
        super().__init__(count, d_model, **kwargs)
        self.encodings = sinusoids(count, d_model)

    def table(self) -> tf.Tensor:
        return tf.constant(self.encodings)


@keras.saving.register_keras_serializable(package="transformer")
class Rotary(Positions):
    """Relative positions: nothing is added, the self-attention turns its queries and keys, see `rotate`.

    The attention over the encoder output compares places of two sentences, so nothing turns there.

    Source: Su et al. 2021, "RoFormer", section 3; document 002, section 3.3.2, asks for relative positions.
    """

    rotary = True

    def table(self) -> None:
        return None


KINDS: dict[str, type[Positions]] = {  # by their names in `config.POSITIONS`
    "sinusoidal": Sinusoidal,
    "rotary": Rotary,
}
