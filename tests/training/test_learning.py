"""The model learns: to write sequences of symbols backwards, with `compile` and `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from transformer.ids import END_ID, START_ID
from transformer.layers.masks import create_padding_mask
from transformer.losses.cross_entropy import masked_accuracy, masked_loss
from transformer.models.transformer import Transformer

SYMBOLS, LONGEST = 8, 6
VOCABULARY = END_ID + 1 + SYMBOLS


def reversals(count, seed):
    """Return source ids, decoder inputs and labels of random sequences and their reversal, padded with 0."""
    generator = np.random.default_rng(seed)
    source, target_in, target_out = (np.zeros((count, LONGEST + 2), np.int32) for _ in range(3))
    for row in range(count):
        symbols = generator.integers(END_ID + 1, VOCABULARY, generator.integers(2, LONGEST + 1))
        backwards = symbols[::-1]
        source[row, : len(symbols) + 2] = [START_ID, *symbols, END_ID]
        target_in[row, : len(symbols) + 1] = [START_ID, *backwards]
        target_out[row, : len(symbols) + 1] = [*backwards, END_ID]
    return source, target_in, target_out


def greedy(model, source):
    """Decode with the cache, one token after the other."""
    mask = create_padding_mask(source)
    memory, cache = model.decoder.start(model.encoder(source, training=False, mask=mask), 1, LONGEST + 2)
    token, tokens = tf.fill((len(source), 1), START_ID), []
    for position in range(LONGEST + 1):
        output, cache, _ = model.decoder.step(token, cache, position, memory, mask)
        token = tf.argmax(model.project(output), axis=-1, output_type=tf.int32)
        tokens.append(token[:, 0])
    return tf.stack(tokens, axis=1).numpy()


@pytest.mark.slow  # 300 steps; that the loss falls is tested with the trainer
def test_it_learns_to_reverse():
    keras.utils.set_random_seed(1)
    model = Transformer(1, 32, 4, 64, VOCABULARY, VOCABULARY, 16, 16, rate=0.0, embeddings="shared")
    model.compile(keras.optimizers.Adam(3e-3), masked_loss, metrics=[masked_accuracy])
    source, target_in, target_out = reversals(4096, seed=1)
    model.fit((source, target_in), target_out, batch_size=64, epochs=6, verbose=0)
    source, target_in, target_out = reversals(256, seed=2)
    loss, accuracy = model.evaluate((source, target_in), target_out, batch_size=256, verbose=0)
    assert accuracy > 0.98 and loss < 0.1  # guessing symbols: accuracy 0.13, and ln 8 = 2.1 nats
    right = 0
    for output, label in zip(greedy(model, tf.constant(source)), target_out, strict=True):
        length = list(label).index(END_ID) + 1
        right += list(output[:length]) == list(label[:length])
    assert right > 0.9 * len(source)
