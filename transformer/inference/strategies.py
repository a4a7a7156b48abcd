"""What decides which token comes next: beam search, of which greedy search is a beam of 1, or sampling.

Axes: B sentences, W hypotheses per sentence, V vocabulary, C candidates of a hypothesis.
"""

from __future__ import annotations

import abc
from typing import NamedTuple

import tensorflow as tf

from transformer.ids import PAD_ID

IMPOSSIBLE = -1e9  # log-probability of what must not be chosen; finite, so that differences stay numbers
GROUP = 100  # tokens that `likeliest` looks at together


class Choice(NamedTuple):
    """What was chosen for each hypothesis.

    Attributes:
        parent: (B, W) int32, the hypothesis that it goes on from.
        token: (B, W) int32.
        gain: (B, W) log-probability of the token after that hypothesis, in nats; 0 where it was finished before.
    """

    parent: tf.Tensor
    token: tf.Tensor
    gain: tf.Tensor


def length_penalty(lengths: tf.Tensor, alpha: tf.Tensor | float, form: str = "gnmt") -> tf.Tensor:
    """Return what a log-probability is divided by.

    Args:
        lengths: in tokens, the end token included; at least 1.
        alpha: exponent; 0 compares plain log-probabilities.
        form: 'gnmt': ((5 + length) / 6)^alpha (Wu et al. 2016, equation 14); 'length': length^alpha.
    """
    lengths = tf.cast(lengths, tf.float32)
    return (lengths if form == "length" else (5.0 + lengths) / 6.0) ** alpha


def coverage_penalty(coverage: tf.Tensor, beta: float, real: tf.Tensor) -> tf.Tensor:
    """Return beta * sum over source tokens of log(min(attention received, 1)): (B, W, S) and (B, S) bool -> (B, W).

    Source: Wu et al. 2016, equation 14.
    """
    received = tf.clip_by_value(coverage, 1e-6, 1.0)
    return beta * tf.reduce_sum(tf.where(real[:, tf.newaxis], tf.math.log(received), 0.0), axis=-1)


class Strategy(abc.ABC):
    """Chooses the next tokens of W hypotheses.

    Attributes:
        width: W.
        branches: whether a hypothesis may go on from another one.
    """

    width: int
    branches: bool

    @abc.abstractmethod
    def start(self, batch: tf.Tensor) -> tf.Tensor:
        """Return the log-probabilities (B, W) that the hypotheses start with."""

    @abc.abstractmethod
    def score(self, log_probabilities: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Return what hypotheses are ordered by, from their log-probabilities and their lengths of at least 1."""

    @abc.abstractmethod
    def choose(
        self,
        logits: tf.Tensor,
        normalisers: tf.Tensor,
        log_probabilities: tf.Tensor,
        lengths: tf.Tensor,
        finished: tf.Tensor,
        position: tf.Tensor,
        bonus: tf.Tensor | float,
    ) -> Choice:
        """Choose.

        Args:
            logits: (B, W, V), forbidden tokens at `IMPOSSIBLE` or below.
            normalisers: (B, W, 1); a token's log-probability is its logit minus this.
            log_probabilities: (B, W) of the hypotheses so far.
            lengths: (B, W) tokens of a hypothesis with the next one, or all of a finished one.
            finished: (B, W) bool; a finished hypothesis goes on with padding, at no cost.
            position: scalar int32, index of the next token.
            bonus: (B, W), added to the penalised log-probability in comparisons.
        """


class Beam(Strategy):
    """Of all tokens after all hypotheses, the W best by penalised log-probability go on.

    Args:
        width: W.
        alpha: exponent of `length_penalty`.
        form: of `length_penalty`.
        most: upper bound of W, where W is a tensor.

    Source: Wu et al. 2016, section 7; Vaswani et al. 2017, section 6.1.
    """

    def __init__(
        self, width: tf.Tensor | int, alpha: tf.Tensor | float = 0.0, form: str = "gnmt", most: int = 0
    ) -> None:
        self.width, self.alpha, self.form = width, alpha, form
        self.candidates = most or width
        self.branches = self.candidates > 1

    def start(self, batch: tf.Tensor) -> tf.Tensor:
        # All hypotheses start alike; only the first may be extended at the first step, or there would be W copies.
        first_only = tf.where(tf.range(self.width) == 0, 0.0, IMPOSSIBLE)
        return tf.tile(first_only[tf.newaxis], (batch, 1))

    def score(self, log_probabilities: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        return log_probabilities / length_penalty(lengths, self.alpha, self.form)

    def choose(
        self,
        logits: tf.Tensor,
        normalisers: tf.Tensor,
        log_probabilities: tf.Tensor,
        lengths: tf.Tensor,
        finished: tf.Tensor,
        position: tf.Tensor,
        bonus: tf.Tensor | float,
    ) -> Choice:
        batch, width = tf.shape(logits)[0], logits.shape[1] or tf.shape(logits)[1]
        # More of one hypothesis cannot be among the W best of all.
        candidates = min(self.candidates, logits.shape[-1] or self.candidates)
        likely, tokens = likeliest(logits, candidates)  # (B, W, C)
        # A finished hypothesis has one candidate.
        frozen = tf.where(tf.range(candidates) == 0, 0.0, IMPOSSIBLE)
        gains = tf.where(finished[:, :, tf.newaxis], frozen, likely - normalisers)
        tokens = tf.where(finished[:, :, tf.newaxis], PAD_ID, tokens)
        bonus = tf.zeros_like(log_probabilities) + bonus
        penalised = self.score(log_probabilities[:, :, tf.newaxis] + gains, lengths[:, :, tf.newaxis])
        penalised += bonus[:, :, tf.newaxis]
        _, best = tf.math.top_k(tf.reshape(penalised, (batch, width * candidates)), self.width)  # (B, W)
        token, gain = (
            tf.gather(tf.reshape(part, (batch, width * candidates)), best, batch_dims=1) for part in (tokens, gains)
        )
        return Choice(best // candidates, token, gain)


def likeliest(logits: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the `count` highest logits, highest first, and their tokens: (B, W, V) -> (B, W, C) each.

    They stand in the `count` groups of tokens with the highest maxima, so that only these are sorted.
    """
    width, vocabulary = logits.shape[1] or tf.shape(logits)[1], logits.shape[2] or 0
    groups = vocabulary // GROUP
    if groups < 2 * count:
        return tf.math.top_k(logits, count)
    missing = -vocabulary % GROUP
    if missing:
        groups += 1
        logits = tf.pad(logits, [[0, 0], [0, 0], [0, missing]], constant_values=2 * IMPOSSIBLE)
    table = tf.reshape(logits, (-1, groups, GROUP))  # (B * W, groups, GROUP)
    _, best = tf.math.top_k(tf.reduce_max(table, axis=2), count)  # (B * W, C)
    # A product with ones and zeros picks the groups: XLA would gather them one by one.
    rows = tf.matmul(tf.one_hot(best, groups), table)  # (B * W, C, GROUP)
    values, places = tf.math.top_k(tf.reshape(rows, (-1, width, count * GROUP)), count)
    chosen = tf.gather(tf.reshape(best, (-1, width, count)), places // GROUP, batch_dims=2)
    return values, chosen * GROUP + places % GROUP


class Sample(Strategy):
    """Each of W hypotheses draws its own tokens.

    Args:
        width: W, samples of a sentence.
        temperature: logits are divided by it; above 0.
        top_k: draw from the k likeliest tokens only; 0: from all.
        top_p: draw from the fewest likeliest tokens whose probabilities sum up to p at least; 1: from all.
        seed: the same seed draws the same from the same batch, but for rounding that tips a draw, until `Searcher`
            compiles the batch's shape, which has come often by then; from then on it draws the same other tokens.

    Source: Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p).
    """

    branches = False

    def __init__(self, width: int, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0) -> None:
        self.width, self.temperature, self.top_k, self.top_p, self.seed = width, temperature, top_k, top_p, seed

    def start(self, batch: tf.Tensor) -> tf.Tensor:
        return tf.zeros((batch, self.width))

    def score(self, log_probabilities: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        return log_probabilities

    def choose(
        self,
        logits: tf.Tensor,
        normalisers: tf.Tensor,
        log_probabilities: tf.Tensor,
        lengths: tf.Tensor,
        finished: tf.Tensor,
        position: tf.Tensor,
        bonus: tf.Tensor | float,
    ) -> Choice:
        batch, width, vocabulary = tf.unstack(tf.shape(logits))
        drawn_from = tf.reshape(logits / self.temperature, (batch * width, vocabulary))
        tokens = None
        if self.top_k or self.top_p < 1:
            kept = tf.minimum(self.top_k, vocabulary) if self.top_k else vocabulary
            drawn_from, tokens = tf.math.top_k(drawn_from, kept)  # likeliest first
            probabilities = tf.nn.softmax(drawn_from)
            before = tf.cumsum(probabilities, axis=-1, exclusive=True)
            drawn_from = tf.where(before < self.top_p, drawn_from, IMPOSSIBLE)
        seed = tf.stack([self.seed, position])
        place = tf.random.stateless_categorical(drawn_from, 1, seed, dtype=tf.int32)  # (B * W, 1)
        token = place if tokens is None else tf.gather(tokens, place, batch_dims=1)
        token = tf.reshape(token, (batch, width))
        gain = tf.gather(logits - normalisers, token, batch_dims=2)
        parent = tf.zeros_like(token) + tf.range(width)
        return Choice(parent, tf.where(finished, PAD_ID, token), tf.where(finished, 0.0, gain))
