"""A tiny model with random weights, and a padded batch for it."""

import functools
import itertools

import tensorflow as tf
from reference import randomised

from transformer.models.transformer import Transformer

LAYERS, WIDTH, HEADS, DFF, VOCABULARY = 2, 8, 2, 12, 11
SOURCE = tf.constant([[2, 4, 5, 6, 3], [2, 7, 3, 0, 0]])
TARGET = tf.constant([[2, 8, 9, 10], [2, 5, 0, 0]])
LABELS = tf.constant([[8, 9, 10, 3], [5, 3, 0, 0]])
EMBEDDINGS = ("separate", "target", "shared")
VARIANTS = list(itertools.product(EMBEDDINGS, (False, True)))


def build(**options):
    model = Transformer(LAYERS, WIDTH, HEADS, DFF, VOCABULARY, VOCABULARY, 16, 16, **options)
    model.build()
    return randomised(model)


@functools.cache
def variant(embeddings="separate", norm_first=False, positions="sinusoidal"):
    return build(embeddings=embeddings, norm_first=norm_first, positions=positions)
