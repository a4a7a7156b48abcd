"""Sampling: every hypothesis gets tokens at random.

Axes: B sentences, W hypotheses per sentence, T output tokens, N candidates, V vocabulary.
"""

from typing import TypeAlias

import tensorflow as tf

from transformer.ids import PAD_ID
from transformer.search.strategy import IMPOSSIBLE, Choice, Step, Strategy, is_given

Number: TypeAlias = float | tf.Tensor


class Sample(Strategy):
    """Each of W hypotheses samples its own tokens.

    The logits are divided by the temperature; then top-k, top-p, min-p and typical sampling leave tokens out, in this
    order, each of what the one before has left.

    Args:
        width: W, samples of a sentence.
        temperature: above 0.
        top_k: sample from the k likeliest tokens only; 0: from all.
        top_p: sample from the fewest likeliest tokens whose probabilities sum up to p at least; 1: from all.
        seed: the same seed samples the same from the same batch, but for rounding, until `Searcher`
            compiles the batch's shape, which has come often by then; from then on it samples the same other tokens.
        min_p: sample from the tokens whose probability is at least this share of the likeliest one's; 0: from all.
        typical_p: see `typical`; 1: from all.
        chances: (B, W, T), numbers from 0 to below 1, one for each token; they take the place of `seed`.
        most_k: upper bound of `top_k`, where that is a tensor.

    All numbers but the seed may be scalar tensors, so that one graph serves any value.

    Source: Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p); Nguyen et al. 2024 (min-p); Meister et al. 2023
        (typical).
    """

    branches = False

    def __init__(
        self,
        width: int,
        temperature: Number = 1.0,
        top_k: Number = 0,
        top_p: Number = 1.0,
        seed: int = 0,
        min_p: Number = 0.0,
        typical_p: Number = 1.0,
        chances: tf.Tensor | None = None,
        most_k: int = 0,
    ) -> None:
        self.width, self.temperature, self.top_k, self.top_p, self.seed = width, temperature, top_k, top_p, seed
        self.min_p, self.typical_p, self.chances, self.most_k = min_p, typical_p, chances, most_k or top_k

    def start(self, batch: tf.Tensor) -> tf.Tensor:
        return tf.zeros((batch, self.width))

    def score(self, log_probabilities: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        return log_probabilities

    def choose(self, step: Step) -> Choice:
        logits, tokens = step.logits / self.temperature, None
        with_k = is_given(self.top_k, 0)
        if with_k or is_given(self.top_p, 1):
            vocabulary = tf.shape(logits)[2]
            kept = tf.minimum(self.most_k, vocabulary) if with_k else vocabulary
            logits, tokens = tf.math.top_k(logits, kept)  # (B, W, N), likeliest first
            if with_k:
                logits = tf.where(tf.range(kept) < tf.cast(self.top_k, tf.int32), logits, IMPOSSIBLE)
            before = tf.cumsum(tf.nn.softmax(logits), axis=2, exclusive=True)
            logits = tf.where(before < self.top_p, logits, IMPOSSIBLE)
        if is_given(self.min_p, 0):
            likeliest = tf.reduce_max(logits, axis=2, keepdims=True)
            logits = tf.where(logits >= likeliest + tf.math.log(self.min_p), logits, IMPOSSIBLE)
        if is_given(self.typical_p, 1):
            logits = tf.where(typical(logits, self.typical_p), logits, IMPOSSIBLE)
        place = drawn(tf.nn.softmax(logits), self._chances(step))
        token = place if tokens is None else tf.gather(tokens, place, batch_dims=2)
        gain = tf.gather(step.logits - step.normalisers, token, batch_dims=2)
        parent = tf.zeros_like(token) + tf.range(self.width)
        return Choice(parent, tf.where(step.finished, PAD_ID, token), tf.where(step.finished, 0.0, gain))

    def _chances(self, step: Step) -> tf.Tensor:
        """Return a number from 0 to below 1 for each hypothesis (B, W)."""
        if self.chances is not None:
            return self.chances[:, :, step.position]
        return tf.random.stateless_uniform(tf.shape(step.logits)[:2], tf.stack([self.seed, step.position]))


def drawn(probabilities: tf.Tensor, chances: tf.Tensor) -> tf.Tensor:
    """Return the first place up to which there is more probability than `chances`: (B, W, N) and (B, W) -> (B, W)."""
    up_to = tf.cumsum(probabilities, axis=2)
    beyond = tf.cast(up_to > chances[:, :, tf.newaxis] * up_to[:, :, -1:], tf.int32)
    return tf.argmax(beyond, axis=2, output_type=tf.int32)


def typical(logits: tf.Tensor, share: float) -> tf.Tensor:
    """Return which tokens are the fewest that are most typical and sum up to a share at least: (B, W, N) -> bool.

    The nearer -log P(token) is to its mean, the entropy, the more typical a token is.

    Source: Meister et al. 2023, equation 10.
    """
    logs = tf.nn.log_softmax(logits)
    probabilities = tf.exp(logs)
    entropy = -tf.reduce_sum(probabilities * logs, axis=2, keepdims=True)
    order = tf.argsort(tf.abs(-logs - entropy), axis=2, stable=True)  # (B, W, N), most typical first
    before = tf.cumsum(tf.gather(probabilities, order, batch_dims=2), axis=2, exclusive=True)
    return tf.gather(before < share, tf.argsort(order, axis=2, stable=True), batch_dims=2)
