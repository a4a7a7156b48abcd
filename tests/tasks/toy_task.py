"""A task for tests: its loss has a part per token and a part per row, and its batches hold random noise.

A row is some random tokens and whether it holds more even ones than odd ones.
"""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from transformer.data.records import Rows
from transformer.data.tokenizers.labels import Labels
from transformer.losses.cross_entropy import token_losses
from transformer.tasks.base import Task

TOKENS = 12  # 0 is padding, 1 is noise


@dataclasses.dataclass(frozen=True)
class Settings:
    name: str = "toy"
    rows: int = 96


class Corpus:
    name, own_splits = "toy rows", ("train", "validation")

    def __init__(self, rows):
        self.rows = rows

    def check(self):
        pass

    def warnings(self):
        return iter(())

    def fingerprint(self):
        return str(self.rows)

    def describe(self):
        return {"name": self.name, "fingerprint": self.fingerprint()}

    def examples(self, split):
        generator = np.random.default_rng(split == "train")
        for _ in range(self.rows if split == "train" else 8):
            ids = generator.integers(2, TOKENS, generator.integers(1, 8))
            yield ids.tolist(), int(np.mean(ids % 2 == 0) > 0.5)

    def summary(self, split):
        return "as they are"


class Network(keras.Model):
    def __init__(self, width, rate, dtype):
        super().__init__(dtype=dtype, name="toy")
        self.embedding = keras.layers.Embedding(TOKENS, width, dtype=dtype, name="embedding")
        self.inner = keras.layers.Dense(width, "tanh", dtype=dtype, name="inner")
        self.dropout = keras.layers.Dropout(rate, dtype=dtype, name="dropout")
        self.token = keras.layers.Dense(TOKENS, dtype=dtype, name="token")
        self.row = keras.layers.Dense(2, dtype=dtype, name="row")

    def build(self, input_shape=None):
        self.call(tf.zeros((1, 1), tf.int32))
        self.built = True

    def call(self, ids, training=None):
        x = self.dropout(self.inner(self.embedding(ids)), training=training)
        real = tf.cast(ids > 0, x.dtype)[:, :, tf.newaxis]
        mean = tf.math.divide_no_nan(tf.reduce_sum(x * real, axis=1), tf.reduce_sum(real, axis=1))
        return self.token(x), self.row(mean)


class Toy(Task):
    name, Settings, Vocabularies = "toy", Settings, Labels
    columns = ("ids", "label")
    features = {
        "noisy": tf.TensorSpec((None, None), tf.int32),
        "ids": tf.TensorSpec((None, None), tf.int32),
        "label": tf.TensorSpec((None,), tf.int32),
    }
    figures = {"accuracy": "accuracy {:.1%}"}

    @classmethod
    def read(cls, config):
        return Corpus(config.task.rows)

    @classmethod
    def learn(cls, corpus, config):
        return Labels({"label": ["odd", "even"]})

    def encode(self, examples):
        ids, labels = zip(*examples, strict=True)
        lengths = np.array([len(row) for row in ids])
        columns = {
            "ids": (np.array(sum(ids, []), np.int32), lengths),
            "label": (np.array(labels, np.int32) + 1, np.ones_like(lengths)),
        }
        return Rows.kept(columns, lengths < 7, "longer than 6")

    def lengths(self, record):
        return [record["ids"].row_lengths()]

    def batch(self, record, seed):
        ids = record["ids"].to_tensor()
        noise = tf.random.stateless_uniform(tf.shape(ids), seed) < 0.3
        return {"noisy": tf.where(noise & (ids > 0), 1, ids), "ids": ids, "label": record["label"].flat_values}

    def network(self, dtype):
        network = Network(self.config.model.d_model, self.config.model.dropout_rate, dtype)
        network.build()
        return network

    def counts(self, batch):
        return {part: tf.reduce_sum(real) for part, real in self._real(batch).items()}

    def losses(self, network, batch, training):
        tokens, rows = network(batch["noisy"], training=training)
        real = self._real(batch)
        return {
            "token": tf.reduce_sum(token_losses(batch["ids"], tokens) * real["token"]),
            "row": tf.reduce_sum(token_losses(tf.maximum(batch["label"] - 1, 0), rows) * real["row"]),
        }

    def uniform(self):
        return {"token": math.log(TOKENS), "row": math.log(2)}

    def score(self, network, examples):
        return {"accuracy": float(np.mean([self.predict(network, [ids])[0] == label for ids, label in examples]))}

    def predict(self, network, inputs):
        return [int(np.argmax(network(tf.constant([ids]))[1])) for ids in inputs]

    @staticmethod
    def _real(batch):
        return {"token": tf.cast(batch["ids"] > 0, tf.float32), "row": tf.cast(batch["label"] > 0, tf.float32)}
