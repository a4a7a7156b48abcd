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
    pair = np.arange(d_model) // 2  # column 2i and column 2i + 1 share a frequency
    angles = np.arange(pos)[:, np.newaxis] / np.power(10000.0, 2 * pair / d_model)  # (pos, D)
    angles[:, 0::2] = np.sin(angles[:, 0::2])
    angles[:, 1::2] = np.cos(angles[:, 1::2])
    return angles.astype(np.float32)


class Positions(keras.layers.Layer, abc.ABC):
    """A table of vectors, one for each position, that a stack adds to its embeddings; the base of all kinds.

    Args:
        count: number of positions, in tokens.
        d_model: width D.

    Raises:
        ValueError: an argument is below 1.
    """

    def __init__(self, count: int, d_model: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_sizes(count=count, d_model=d_model)
        self.count, self.d_model = count, d_model

    @staticmethod
    def weights_for(count: int, d_model: int) -> int:
        """Return how many numbers the weights hold."""
        return 0

    def build(self, input_shape: Any = None) -> None:
        self.built = True

    @abc.abstractmethod
    def table(self) -> tf.Tensor:
        """Return the vectors: (count, D)."""

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


KINDS: dict[str, type[Positions]] = {"sinusoidal": Sinusoidal}  # by their names in `config.POSITIONS`
