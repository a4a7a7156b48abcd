"""Masking: which tokens of a row a model must find, in the graph of tf.data.

Axes: B rows, T tokens.
"""

import numpy as np
import tensorflow as tf

from transformer.ids import END_ID, MASK_ID, UNKNOWN_ID

FIRST_WORD_ID = MASK_ID + 1  # of the ids that stand for text, in vocabularies with a mask
MASKED, REPLACED = 0.8, 0.1  # shares of the chosen tokens that become the mask, and any token; the others stay


def masked(
    ids: tf.Tensor, seed: tf.Tensor, rate: float, vocab_size: int, continues: np.ndarray | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return ids as the model reads them, and what it must find: (B, T) int32 twice, the latter 0 where nothing.

    Padding, start and end are never chosen. Of the n other tokens of a row, `rate` n are chosen, and at least one:
    words in a random order until there are as many, the last of them with the probability that makes the mean exact.

    Args:
        ids: (B, T) int32.
        seed: (2,) int64.
        rate: share of the tokens.
        vocab_size: V; a token is replaced by any of those that stand for text.
        continues: (V,) bool, which ids go on with a word; None: each token is a word.

    Source: Devlin et al. 2019, section 3.1, Task 1; whole words: the published code's second release.
    """
    order_seed, last_seed, kind_seed, other_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    chosen = _chosen(ids, order_seed, last_seed, rate, continues)
    kind = tf.random.stateless_uniform(tf.shape(ids), kind_seed)
    others = tf.random.stateless_uniform(tf.shape(ids), other_seed, FIRST_WORD_ID, vocab_size, tf.int32)
    read = tf.where(kind < MASKED, MASK_ID, tf.where(kind < MASKED + REPLACED, others, ids))
    return tf.where(chosen, read, ids), tf.where(chosen, ids, 0)


def _chosen(
    ids: tf.Tensor, order_seed: tf.Tensor, last_seed: tf.Tensor, rate: float, continues: np.ndarray | None
) -> tf.Tensor:
    """Return which tokens are chosen, (B, T) bool; see `masked`."""
    rows, width = tf.unstack(tf.shape(ids))
    usable = (ids > END_ID) | (ids == UNKNOWN_ID)  # the unknown token stands for text too
    word = _words(ids, usable, continues)  # (B, T), from 1 in each row; 0: none
    flat = word + (width + 1) * tf.range(rows)[:, tf.newaxis]  # words of all rows
    count = (width + 1) * rows
    # Sorted by their word's random number, the tokens of a word stand side by side.
    numbers = tf.random.stateless_uniform((rows, width + 1), order_seed)
    keys = tf.where(usable, tf.gather(numbers, word, batch_dims=1), 2.0)
    places = tf.argsort(tf.argsort(keys, axis=1, stable=True), axis=1)  # (B, T), of each token in that order
    before = tf.math.unsorted_segment_min(tf.reshape(places, [-1]), tf.reshape(flat, [-1]), count)
    sizes = tf.math.unsorted_segment_sum(tf.ones_like(tf.reshape(flat, [-1])), tf.reshape(flat, [-1]), count)
    before, sizes = (tf.cast(tf.gather(part, flat), tf.float32) for part in (before, sizes))  # (B, T), of the word
    tokens = tf.reduce_sum(tf.cast(usable, tf.float32), axis=1, keepdims=True)  # (B, 1)
    wanted = tf.maximum(rate * tokens, 1.0)
    last = tf.gather(tf.random.stateless_uniform((rows, width + 1), last_seed), word, batch_dims=1)
    return usable & (before + last * sizes < wanted)


def _words(ids: tf.Tensor, usable: tf.Tensor, continues: np.ndarray | None) -> tf.Tensor:
    """Return the number of each token's word in its row, from 1, and 0 for what is no text: (B, T) int32."""
    begins = usable
    if continues is not None:
        goes_on = tf.gather(tf.constant(continues), ids)
        after_word = tf.pad(usable[:, :-1], [[0, 0], [1, 0]])
        begins = usable & ~(goes_on & after_word)
    return tf.where(usable, tf.cumsum(tf.cast(begins, tf.int32), axis=1), 0)
