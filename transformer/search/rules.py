"""Rules about which tokens may come next.

A rule is a function of a `Past` to a bool tensor that broadcasts to (B, W, V): True where a token is forbidden.

Axes: B sentences, W hypotheses per sentence, T output tokens, V vocabulary, P prefix tokens.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from transformer.config.settings import SearchConfig
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID


class Past(NamedTuple):
    """What a rule may look at."""

    ids: tf.Tensor  # (B, W, T) int32, tokens chosen so far, pad id 0 from `position` on
    position: tf.Tensor  # scalar int32, index of the next token
    vocabulary: int  # V


Rule = Callable[[Past], tf.Tensor]


def never_special(past: Past) -> tf.Tensor:
    """Forbid pad, unknown and start, which no translation holds."""
    token = tf.range(past.vocabulary)
    return (token == PAD_ID) | (token == UNKNOWN_ID) | (token == START_ID)


def at_least(least: tf.Tensor) -> Rule:
    """Forbid the end before a hypothesis has `least` (B,) int32 tokens, the end token not counted."""

    def rule(past: Past) -> tf.Tensor:
        early = (past.position < least)[:, tf.newaxis, tf.newaxis]  # (B, 1, 1)
        return early & (tf.range(past.vocabulary) == END_ID)

    return rule


def begins_with(prefix: tf.Tensor) -> Rule:
    """Allow nothing but the tokens of `prefix` (B, P) int32, padded with 0, as long as it lasts."""

    def rule(past: Past) -> tf.Tensor:
        longest = tf.shape(prefix)[1]
        wanted = tf.gather(prefix, tf.minimum(past.position, longest - 1), axis=1)  # (B,)
        wanted = tf.where(past.position < longest, wanted, PAD_ID)[:, tf.newaxis, tf.newaxis]
        return (wanted != PAD_ID) & (tf.range(past.vocabulary) != wanted)

    return rule


def no_repeated_ngram(size: int) -> Rule:
    """Forbid a token that would end an n-gram of `size` tokens which the hypothesis holds already.

    Source: Paulus et al. 2018, section 2.5.
    """

    def rule(past: Past) -> tf.Tensor:
        batch, width, length = tf.unstack(tf.shape(past.ids))
        starts = tf.range(length)  # of n-grams
        alike = starts + size - 1 < past.position  # those that are complete: (T,)
        for place in range(size - 1):
            now = tf.gather(past.ids, tf.maximum(past.position - (size - 1) + place, 0), axis=2)  # (B, W)
            then = tf.gather(past.ids, tf.minimum(starts + place, length - 1), axis=2)  # (B, W, T)
            alike &= then == now[:, :, tf.newaxis]
        alike = tf.broadcast_to(alike & (past.position >= size - 1), (batch, width, length))
        ends = tf.gather(past.ids, tf.minimum(starts + size - 1, length - 1), axis=2)  # (B, W, T)
        rows = tf.reshape(tf.range(batch * width), (batch, width, 1)) * past.vocabulary
        flat = tf.where(alike, rows + ends, batch * width * past.vocabulary)  # the last place takes what is allowed
        found = tf.scatter_nd(
            tf.reshape(flat, (-1, 1)), tf.ones([batch * width * length]), [batch * width * past.vocabulary + 1]
        )
        return tf.reshape(found[:-1] > 0, (batch, width, past.vocabulary))

    return rule


def penalise_repetition(logits: tf.Tensor, past: Past, penalty: tf.Tensor | float) -> tf.Tensor:
    """Return logits (B, W, V) in which those of tokens that the hypothesis holds already are lower, for a penalty > 1.

    Source: Keskar et al. 2019, section 4.1.
    Deviation: a logit below 0 is multiplied by the penalty, not divided, which would raise it; so do the
        implementations in use.
    """
    held = no_repeated_ngram(1)(past) & (tf.range(past.vocabulary) != PAD_ID)  # (B, W, V); padding is before a prompt
    return tf.where(held, tf.where(logits > 0, logits / penalty, logits * penalty), logits)


def rules_of(search: SearchConfig, least: tf.Tensor) -> list[Rule]:
    """Return the rules that a config asks for, with `least` (B,) int32 as of `at_least`."""
    rules = []
    if search.min_length or search.min_length_ratio:
        rules.append(at_least(least))
    if search.no_repeat_ngram:
        rules.append(no_repeated_ngram(search.no_repeat_ngram))
    return rules
