"""What chooses the next tokens, and what scores hypotheses.

Axes: B sentences, S source tokens, W hypotheses per sentence, V vocabulary.
"""

import abc
from typing import NamedTuple

import tensorflow as tf

IMPOSSIBLE = -1e9  # log-probability of what must not be chosen; finite, so that differences stay numbers


def is_given(value: tf.Tensor | float, neutral: float) -> bool:
    """Return whether a setting asks for anything: a tensor does, whose value is not known yet."""
    return tf.is_tensor(value) or value != neutral


class Step(NamedTuple):
    """What the next tokens are chosen from."""

    logits: tf.Tensor  # (B, W, V), forbidden tokens at `IMPOSSIBLE` or below
    normalisers: tf.Tensor  # (B, W, 1); a token's log-probability is its logit minus this
    log_probabilities: tf.Tensor  # (B, W) of the hypotheses so far
    lengths: tf.Tensor  # (B, W) tokens of a hypothesis with the next one, or all of a finished one
    finished: tf.Tensor  # (B, W) bool; a finished hypothesis goes on with padding, at no cost
    position: tf.Tensor  # scalar int32, index of the next token
    bonus: tf.Tensor | float  # (B, W), added to the penalised log-probability in comparisons


class Choice(NamedTuple):
    """What was chosen for each hypothesis."""

    parent: tf.Tensor  # (B, W) int32, the hypothesis that it goes on from
    token: tf.Tensor  # (B, W) int32
    gain: tf.Tensor  # (B, W) log-probability of the token after `parent`, in nats; 0 where that was finished before


def coverage_penalty(coverage: tf.Tensor, beta: float, real: tf.Tensor) -> tf.Tensor:
    """Return beta * sum over source tokens of log(min(attention received, 1)): (B, W, S) and (B, S) bool -> (B, W).

    Source: Wu et al. 2016, equation 14.
    """
    received = tf.clip_by_value(coverage, 1e-6, 1.0)
    return beta * tf.reduce_sum(tf.where(real[:, tf.newaxis], tf.math.log(received), 0.0), axis=-1)


class Strategy(abc.ABC):
    """Chooses the next tokens of W hypotheses."""

    width: int  # W
    branches: bool  # whether a hypothesis may go on from another one

    @abc.abstractmethod
    def start(self, batch: tf.Tensor) -> tf.Tensor:
        """Return the log-probabilities (B, W) that the hypotheses start with."""

    @abc.abstractmethod
    def score(self, log_probabilities: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Return what hypotheses are ordered by, from their log-probabilities and their lengths of at least 1."""

    @abc.abstractmethod
    def choose(self, step: Step) -> Choice:
        """Return the next token of each hypothesis."""
