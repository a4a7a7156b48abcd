"""Sampling: every hypothesis gets tokens at random.

Axes: B sentences, W hypotheses per sentence, V vocabulary.
"""

import tensorflow as tf

from transformer.ids import PAD_ID
from transformer.search.strategy import IMPOSSIBLE, Choice, Step, Strategy


class Sample(Strategy):
    """Each of W hypotheses samples its own tokens.

    Args:
        width: W, samples of a sentence.
        temperature: logits are divided by it; above 0.
        top_k: sample from the k likeliest tokens only; 0: from all.
        top_p: sample from the fewest likeliest tokens whose probabilities sum up to p at least; 1: from all.
        seed: the same seed samples the same from the same batch, but for rounding, until `Searcher`
            compiles the batch's shape, which has come often by then; from then on it samples the same other tokens.

    Source: Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p).
    """

    branches = False

    def __init__(self, width: int, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0) -> None:
        self.width, self.temperature, self.top_k, self.top_p, self.seed = width, temperature, top_k, top_p, seed

    def start(self, batch: tf.Tensor) -> tf.Tensor:
        return tf.zeros((batch, self.width))

    def score(self, log_probabilities: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        return log_probabilities

    def choose(self, step: Step) -> Choice:
        batch, width, vocabulary = tf.unstack(tf.shape(step.logits))
        drawn_from = tf.reshape(step.logits / self.temperature, (batch * width, vocabulary))
        tokens = None
        if self.top_k or self.top_p < 1:
            kept = tf.minimum(self.top_k, vocabulary) if self.top_k else vocabulary
            drawn_from, tokens = tf.math.top_k(drawn_from, kept)  # likeliest first
            probabilities = tf.nn.softmax(drawn_from)
            before = tf.cumsum(probabilities, axis=-1, exclusive=True)
            drawn_from = tf.where(before < self.top_p, drawn_from, IMPOSSIBLE)
        seed = tf.stack([self.seed, step.position])
        place = tf.random.stateless_categorical(drawn_from, 1, seed, dtype=tf.int32)  # (B * W, 1)
        token = place if tokens is None else tf.gather(tokens, place, batch_dims=1)
        token = tf.reshape(token, (batch, width))
        gain = tf.gather(step.logits - step.normalisers, token, batch_dims=2)
        parent = tf.zeros_like(token) + tf.range(width)
        return Choice(parent, tf.where(step.finished, PAD_ID, token), tf.where(step.finished, 0.0, gain))
