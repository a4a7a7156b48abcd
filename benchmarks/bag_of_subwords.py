"""The mean of learned subword vectors, without a Transformer, as a task: the baseline of retrieval.

It has the data, the batches, the loss and the trainer of the task `contrastive`, and no positions and no attention.

    transformer train --task benchmarks/bag_of_subwords.py:BagOfSubwords --config configs/multi30k_retrieval.toml \\
        --data DIR --set model.d_model=256 --set training.peak_learning_rate=0.01 --run runs/multi30k_bag
"""

import dataclasses

import keras
import tensorflow as tf

from transformer.config.tasks import ContrastiveSettings
from transformer.ids import END_ID
from transformer.tasks.contrastive import Contrastive

STDDEV = 0.1  # of new vectors


@dataclasses.dataclass(frozen=True)
class BagSettings(ContrastiveSettings):
    """Those of contrastive learning; what concerns an encoder is not read."""

    name: str = "bag-of-subwords"


class Bag(keras.Model):
    """The mean of the vectors of a row's tokens, start and end left out: ids (B, T) -> (B, D)."""

    def __init__(self, vocab_size: int, d_model: int, **others: object) -> None:
        super().__init__(**others)
        self.vocab_size, self.size = vocab_size, d_model

    def build(self, ids_shape: object = None) -> None:
        start = keras.initializers.RandomNormal(stddev=STDDEV)
        self.vectors = self.add_weight(shape=(self.vocab_size, self.size), initializer=start, name="vectors")
        self.built = True

    def call(self, ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        real = tf.cast(ids > END_ID, tf.float32)[:, :, tf.newaxis]
        vectors = tf.gather(tf.convert_to_tensor(self.vectors), ids)
        return tf.math.divide_no_nan(tf.reduce_sum(vectors * real, axis=1), tf.reduce_sum(real, axis=1))


class BagOfSubwords(Contrastive):
    """`Contrastive` with a `Bag`."""

    name = "bag-of-subwords"
    Settings = BagSettings

    def network(self, dtype: str) -> Bag:
        network = Bag(self.tokenizer.vocabulary_size, self.config.model.d_model, name="bag")
        network.build()
        return network

    def depths(self, network: keras.Model) -> dict[str, int]:
        """Return nothing: there are no layers."""
        return {}
