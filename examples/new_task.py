r"""A task of your own, in one file: which language is a text written in?

    python train.py --task examples/new_task.py:LanguageIdentification --set 'data.train=["texts.tsv"]' \
        --set model.num_layers=1 --set training.schedule=inverse_sqrt --set training.peak_learning_rate=0.002 \
        --set training.warmup_steps=50 --set training.max_steps=200 --set training.validate_every=50 \
        --run runs/languages

A line of texts.tsv is `text TAB language`. Texts are read character by character; an encoder and the mean of its
outputs give one score for each language. Then, in Python, which is where a run of one's own task is used:

    from transformer.checkpoints.loading import load
    from transformer.checkpoints.run_directory import RunDirectory
    from transformer.tasks import load_task

    load_task("examples/new_task.py:LanguageIdentification")
    task, network = load(RunDirectory("runs/languages"))
    task.predict(network, ["Guten Morgen", "bom dia"])  # ["de", "pt"]

Axes: B batch, S characters, D model width, C languages.
"""

import operator
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from transformer.data.examples.corpus import FileCorpus
from transformer.data.records import Rows
from transformer.data.tokenizers.labels import Labels
from transformer.ids import PAD_ID, UNKNOWN_ID
from transformer.layers.masks import create_padding_mask
from transformer.losses.cross_entropy import token_losses
from transformer.models.stacks import Encoder
from transformer.tasks.base import Task
from transformer.tasks.translation import CleanedPairs


@dataclass(frozen=True)
class Settings:
    """What a config may say in [task]."""

    name: str = "language_identification"
    characters: int = 200  # the most frequent ones are told apart


class Classifier(keras.Model):
    """Ids of characters (B, S) to logits of languages (B, C)."""

    def __init__(self, config, characters, languages, dtype):
        super().__init__(dtype=dtype, name="classifier")
        self.width = config.d_model
        sizes = config.num_layers, config.d_model, config.num_heads, config.dff
        self.encoder = Encoder(
            *sizes, characters, config.max_positions, config.dropout_rate, dtype=self.dtype_policy, name="encoder"
        )
        self.scores = keras.layers.Dense(languages, dtype="float32", name="scores")

    def build(self, input_shape=None):
        self.encoder.build()
        self.scores.build((None, self.width))
        self.built = True

    def call(self, ids, training=None):
        outputs = self.encoder(ids, training=training, mask=create_padding_mask(ids))  # (B, S, D)
        real = tf.cast(ids != PAD_ID, tf.float32)[:, :, tf.newaxis]
        total = tf.reduce_sum(tf.cast(outputs, tf.float32) * real, axis=1)
        return self.scores(tf.math.divide_no_nan(total, tf.reduce_sum(real, axis=1)))


class LanguageIdentification(Task):
    """An example is (text, language); an input of `predict` is a text."""

    name = "language_identification"
    Settings = Settings
    Vocabularies = Labels
    columns = ("characters", "language")
    # A label is its place in the list of languages + 1: in a row of zeros, which fills up a batch, nothing counts.
    features = {"ids": tf.TensorSpec((None, None), tf.int32), "label": tf.TensorSpec((None,), tf.int32)}
    figures = {"accuracy": "accuracy {:.1%}"}

    @classmethod
    def read(cls, config):
        files = {"train": config.data.train, "validation": config.data.valid}
        paths = {split: tuple(map(Path, names)) for split, names in files.items() if names}
        return CleanedPairs(FileCorpus(paths, "", "", config.data.validation_pairs), config.cleaning)

    @classmethod
    def learn(cls, corpus, config):
        characters, languages = Counter(), set()
        for text, language in corpus.examples("train"):
            characters.update(text)
            languages.add(language)
        frequent = [character for character, _ in characters.most_common(config.task.characters)]
        return Labels({"character": frequent, "language": sorted(languages)})

    def __init__(self, config, vocabularies, corpus):
        super().__init__(config, vocabularies, corpus)
        self.languages = vocabularies["language"]
        self._ids = {character: UNKNOWN_ID + 1 + place for place, character in enumerate(vocabularies["character"])}

    def describe(self):
        return f"{len(self._ids)} characters, languages {', '.join(self.languages)}"

    def _read(self, texts):
        """Return the ids of texts, the beginning of those that are too long."""
        most = self.config.data.max_tokens
        return [[self._ids.get(character, UNKNOWN_ID) for character in text[:most]] or [UNKNOWN_ID] for text in texts]

    def encode(self, examples):
        known = [(text, language) for text, language in examples if language in self.languages]
        ids = self._read([text for text, _ in known])
        labels = [self.languages.index(language) + 1 for _, language in known]
        characters = np.array([i for row in ids for i in row], np.int32), np.array([len(row) for row in ids], np.int64)
        columns = {"characters": characters, "language": (np.array(labels, np.int32), np.ones(len(labels), np.int64))}
        return Rows(columns, {"of an unknown language": len(examples) - len(known)})

    def lengths(self, record):
        return [record["characters"].row_lengths()]

    def batch(self, record, seed):
        return {"ids": record["characters"].to_tensor(PAD_ID), "label": record["language"].flat_values}

    def network(self, dtype):
        network = Classifier(self.config.model, UNKNOWN_ID + 1 + len(self._ids), len(self.languages), dtype)
        network.build()
        return network

    def counts(self, batch):
        return {"text": tf.reduce_sum(tf.cast(batch["label"] > 0, tf.float32))}

    def losses(self, network, batch, training):
        real = tf.cast(batch["label"] > 0, tf.float32)
        smoothing = self.config.training.label_smoothing if training else 0.0
        losses = token_losses(tf.maximum(batch["label"] - 1, 0), network(batch["ids"], training=training), smoothing)
        return {"text": tf.reduce_sum(losses * real)}

    def score(self, network, examples):
        texts, languages = zip(*examples, strict=True)
        found = self.predict(network, texts)
        return {"accuracy": sum(map(operator.eq, found, languages)) / len(found)}

    def predict(self, network, inputs):
        found = []
        for start in range(0, len(inputs), 256):
            ids = tf.ragged.constant(self._read(inputs[start : start + 256]), dtype=tf.int32).to_tensor(PAD_ID)
            found += [self.languages[best] for best in np.argmax(network(ids, training=False), axis=1)]
        return found
