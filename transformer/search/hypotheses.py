"""What a search returns, and what its scores are divided by.

Axes: B sentences, W hypotheses per sentence, T output tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


class Hypotheses(NamedTuple):
    """What a search returns, best hypothesis first; tensors or arrays."""

    ids: tf.Tensor | np.ndarray  # (B, W, T) int32, without the start token; the end token is kept, pad id 0 after it
    scores: tf.Tensor | np.ndarray  # (B, W) by which they are ordered: those of the strategy, and the coverage penalty
    log_probabilities: tf.Tensor | np.ndarray  # (B, W) summed over tokens, the end token included, in nats
    token_log_probabilities: tf.Tensor | np.ndarray  # (B, W, T) of each token, 0 after the last
    lengths: tf.Tensor | np.ndarray  # (B, W) int32, tokens including the end token
    finished: tf.Tensor | np.ndarray  # (B, W) bool, False where the longest length cut a hypothesis off


def length_penalty(lengths: Any, alpha: Any, form: str = "gnmt") -> Any:
    """Return what a log-probability is divided by.

    Args:
        lengths: in tokens, the end token included; at least 1. Numbers, or a tensor or array of floats.
        alpha: exponent; 0 compares plain log-probabilities.
        form: 'gnmt': ((5 + length) / 6)^alpha (Wu et al. 2016, equation 14); 'length': length^alpha.
    """
    return (lengths if form == "length" else (5.0 + lengths) / 6.0) ** alpha
