"""Kinds of positions, by name, and those of the papers that give each token a place: sinusoidal, learned, rotary."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transformer.layers.angles import rotary_angles, sinusoids
from transformer.layers.options import LayerOptions
from transformer.layers.positions_base import Positions
from transformer.layers.relative_positions import RelativeBias, RelativeKeys
from transformer.system.errors import UserError


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


def rotate(x: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor) -> tf.Tensor:
    """Turn each pair of columns i and i + K / 2 by its angle: (..., T, K) -> (..., T, K).

    The product of a query turned by p and a key turned by s depends on p - s alone, so attention sees how far apart
    two tokens are and not where they stand.

    Args:
        x: queries or keys (..., T, K).
        cos, sin: of the angles, broadcastable to (..., T, K / 2).

    Source: Su et al. 2021, "RoFormer", equations 14 and 34.
    Deviation: the paper pairs neighbouring columns; which are paired makes no difference to a model that is trained so,
        and halves need no strided copies.
    """
    one, other = tf.split(x, 2, axis=-1)
    return tf.concat([one * cos - other * sin, one * sin + other * cos], axis=-1)


@keras.saving.register_keras_serializable(package="transformer")
class Sinusoidal(Positions):
    """The fixed vectors of `positional_encoding`, added to the embeddings.

    Source: Vaswani et al. 2017, section 3.5.
    """

    def __init__(self, count: int, d_model: int, num_heads: int = 1, **kwargs: Any) -> None:
        super().__init__(count, d_model, num_heads, **kwargs)
        self.encodings = sinusoids(count, d_model)

    def embed(self, x: tf.Tensor, start: tf.Tensor | int) -> tf.Tensor:
        return _plus_rows(x, tf.constant(self.encodings), start)


@keras.saving.register_keras_serializable(package="transformer")
class Learned(Positions):
    """A trained vector for each position, added to the embeddings; those that training never meets stay random.

    Args:
        stddev: standard deviation that the vectors start with.

    Source: Vaswani et al. 2017, section 3.5 and Table 3, row E; Gehring et al. 2017, section 3.1.
    Deviation: the vectors start with the standard deviation of sinusoids, beside embeddings of unit variance.
    """

    def __init__(self, count: int, d_model: int, num_heads: int = 1, stddev: float = 0.5**0.5, **kwargs: Any) -> None:
        super().__init__(count, d_model, num_heads, **kwargs)
        self.stddev = stddev

    def build(self, input_shape: Any = None) -> None:
        initializer = keras.initializers.RandomNormal(stddev=self.stddev)
        self.vectors = self.add_weight(shape=(self.count, self.d_model), initializer=initializer, name="vectors")
        self.built = True

    def embed(self, x: tf.Tensor, start: tf.Tensor | int) -> tf.Tensor:
        return _plus_rows(x, tf.convert_to_tensor(self.vectors), start)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev}


def _plus_rows(x: tf.Tensor, table: tf.Tensor, start: tf.Tensor | int) -> tf.Tensor:
    """Return x (B, T, D) plus rows of a table (count, D), one for each of the T tokens; `start` as of `embed`."""
    if not isinstance(start, int) and start.shape.rank == 2:
        return x + tf.cast(tf.gather(table, start), x.dtype)
    return x + tf.cast(tf.slice(table, [start, 0], [tf.shape(x)[1], x.shape[-1]]), x.dtype)


@keras.saving.register_keras_serializable(package="transformer")
class Rotary(Positions):
    """Relative positions: nothing is added, the self-attention turns its queries and keys, see `rotate`.

    Args:
        base: of the angles, see `rotary_angles`.

    Raises:
        ValueError: also where d_model / num_heads is odd.

    Source: Su et al. 2021, "RoFormer", section 3; document 002, section 3.3.2, asks for relative positions.
    """

    def __init__(self, count: int, d_model: int, num_heads: int = 1, base: float = 10000.0, **kwargs: Any) -> None:
        super().__init__(count, d_model, num_heads, **kwargs)
        self.base = base
        angles = rotary_angles(count, d_model // num_heads, base)
        self.turns = np.cos(angles), np.sin(angles)  # (count, K / 2) each

    @classmethod
    def arguments(cls, options: LayerOptions, bidirectional: bool) -> dict[str, Any]:
        return {"base": options.rotary_base}

    def turn(self, x: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        if positions.shape.rank == 2:
            positions = positions[:, tf.newaxis]  # (B, 1, T), for all heads
        return rotate(x, *(tf.gather(tf.constant(table, x.dtype), positions) for table in self.turns))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "base": self.base}


KINDS: dict[str, type[Positions]] = {  # by their names in `config.POSITIONS`
    "sinusoidal": Sinusoidal,
    "rotary": Rotary,
    "learned": Learned,
    "relative_bias": RelativeBias,
    "relative_keys": RelativeKeys,
}


def check_kind(name: str) -> None:
    """Refuse a kind of positions that no class is registered for with a UserError."""
    if name not in KINDS:
        raise UserError(
            f"no class computes model.positions '{name}'; add one to KINDS in transformer/layers/positions.py"
        )


def positions_of(
    kind: str, count: int, options: LayerOptions, layers: int, bidirectional: bool, **others: Any
) -> tuple[Positions, list[Positions]]:
    """Return what a stack asks of positions, and what each of its layers asks: the same, or an object of its own.

    Args:
        kind: one of `KINDS`.
        count: number of positions, in tokens.
        options: of the layers.
        layers: how many there are.
        bidirectional: whether a token sees those behind it too.
        others: arguments of the kind, or of the Keras class.
    """
    chosen, sizes = KINDS[kind], (count, options.d_model, options.num_heads)
    others |= chosen.arguments(options, bidirectional)
    if chosen.shared:
        one = chosen(*sizes, **others)
        return one, [one] * layers
    return Positions(*sizes), [chosen(*sizes, **others) for _ in range(layers)]
