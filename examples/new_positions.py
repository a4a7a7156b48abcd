r"""Write a kind of positions of your own: a bias for distance, ALiBi.

    python examples/new_positions.py

A kind is a subclass of `Positions` that overrides one of its hooks: `embed` adds to the embeddings, `turn` turns
queries and keys, `bias` adds to the scores of attention, `value_bias` to its output. Encoders, decoders and their
caches ask it; CTranslate2 refuses kinds that it does not know. `layers/relative_positions.py` has kinds with weights.

A run keeps only the name of its positions. To train with yours by `train.py`, and to translate with the run, move the
class into a file of `transformer/layers/`, add it to `KINDS` in `transformer/layers/positions.py`, and its name to
`POSITIONS` in `transformer/config/settings.py`: then `--set model.positions=alibi` chooses it.
"""

import keras
import numpy as np
import tensorflow as tf

from transformer.layers.positions import KINDS, Positions
from transformer.layers.positions_base import distances
from transformer.models.transformer import Transformer


@keras.saving.register_keras_serializable(package="examples")
class LinearBiases(Positions):
    """Take a little from a score for each token that lies between query and key, in each head another little.

    Head h of H, counted from 1, takes 2^(-8 h / H) times the distance. Nothing is trained, and there is no last
    position.

    Source: Press et al. 2022, "Train Short, Test Long", section 3.
    Deviation: the paper has a decoder alone; the encoder's distances count to both sides.
    """

    def bias(self, queries: tf.Tensor, query_positions: tf.Tensor, key_positions: tf.Tensor) -> tf.Tensor:
        slopes = 2.0 ** (-8.0 * np.arange(1, self.num_heads + 1) / self.num_heads)
        away = tf.abs(distances(query_positions, key_positions))[..., tf.newaxis, :, :]  # (1, T, S), or (B, 1, T, S)
        return -tf.constant(slopes[:, np.newaxis, np.newaxis], tf.float32) * tf.cast(away, tf.float32)  # (..., H, T, S)


KINDS["alibi"] = LinearBiases


def main() -> None:
    """Train a small model that copies its source for a few steps, and print its losses."""
    keras.utils.set_random_seed(1)
    model = Transformer(1, 16, 2, 32, 20, 20, 32, 32, rate=0.0, positions="alibi")
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ids = np.random.default_rng(1).integers(4, 20, (256, 8)).astype(np.int32)
    target_in = np.concatenate([np.full((256, 1), 2, np.int32), ids[:, :-1]], axis=1)
    losses = model.fit((ids, target_in), ids, batch_size=32, epochs=3, verbose=0).history["loss"]
    print(" ".join(f"{loss:.3f}" for loss in losses))


if __name__ == "__main__":
    main()
