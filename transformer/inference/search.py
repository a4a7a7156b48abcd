"""Greedy and beam search with a key/value cache, batched, inside one `tf.while_loop`.

Axes: B sentences, S source tokens, T output tokens, W hypotheses per sentence, V vocabulary.
"""

from typing import NamedTuple

import tensorflow as tf

from transformer.config import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.layers.masks import create_padding_mask
from transformer.models.translation import Transformer

FIRST_ROOM = 16  # tokens that the cache has room for at the start; it doubles when they are used up
IMPOSSIBLE = -1e9  # log-probability of what must not be chosen; finite, so that differences stay numbers


class Hypotheses(NamedTuple):
    """What a search returns, best hypothesis first.

    Attributes:
        ids: (B, W, T) int32, without the start token; the end token is kept, pad id 0 after it.
        scores: (B, W) log-probability divided by the length penalty; the order is by this.
        log_probabilities: (B, W) summed over tokens, the end token included, in nats.
        lengths: (B, W) int32, tokens including the end token.
        finished: (B, W) bool, False where the longest length cut a hypothesis off.
        attention: (B, W, T, S) weights over the source of the last decoder layer, mean over heads; or (B, W, 0, S).
    """

    ids: tf.Tensor
    scores: tf.Tensor
    log_probabilities: tf.Tensor
    lengths: tf.Tensor
    finished: tf.Tensor
    attention: tf.Tensor


def length_penalty(lengths: tf.Tensor, alpha: tf.Tensor | float) -> tf.Tensor:
    """Return ((5 + length) / 6)^alpha for lengths in tokens. Source: Wu et al. 2016, equation 14."""
    return ((5.0 + tf.cast(lengths, tf.float32)) / 6.0) ** alpha


def beam_search(
    transformer: Transformer,
    source_ids: tf.Tensor,
    limits: tf.Tensor,
    beam_size: int = 1,
    alpha: tf.Tensor | float = 0.0,
    with_attention: bool = False,
) -> Hypotheses:
    """Search the translations of a batch; a beam of 1 is greedy search.

    At each step every live hypothesis is extended by every token and the W best by penalised score survive. A
    finished hypothesis is frozen: it keeps its score, competes with the others and is never extended. The search ends
    when all hypotheses are finished or the longest limit is reached. Pad, unknown and start are never produced.

    Args:
        transformer: the model.
        source_ids: (B, S) with start and end tokens, padded with 0.
        limits: (B,) int32, most output tokens of each sentence, the end token included; at least 1.
        beam_size: W.
        alpha: exponent of `length_penalty`; 0 compares plain log-probabilities.
        with_attention: also return attention weights.

    Source: Wu et al. 2016, section 7; Vaswani et al. 2017, section 6.1.
    """
    batch, source_length = tf.unstack(tf.shape(source_ids))
    width = beam_size
    longest = tf.reduce_max(limits)
    padding_mask = create_padding_mask(source_ids)
    enc_output = transformer.encoder(source_ids, training=False, mask=padding_mask)
    memory, cache = transformer.decoder.start(enc_output, width, tf.minimum(longest, FIRST_ROOM))
    vocabulary = transformer.decoder.vocab_size
    token = tf.range(vocabulary)
    forbidden = tf.where((token == PAD_ID) | (token == UNKNOWN_ID) | (token == START_ID), IMPOSSIBLE, 0.0)  # (V,)
    candidates = min(width, vocabulary)  # of each hypothesis: no more than W of one can be among the W best of all
    # A finished hypothesis has one candidate: it goes on with padding, at no cost.
    frozen = tf.where(tf.range(candidates) == 0, 0.0, IMPOSSIBLE)
    steps = longest if with_attention else 0

    def expand(position, ids, log_probabilities, lengths, finished, authors, cache, attention):
        last = tf.where(position == 0, tf.fill((batch, width), START_ID), ids[:, :, position - 1])
        here = tf.range(longest) == position  # (T,)
        authors = tf.where(here, tf.range(width)[:, tf.newaxis], authors)
        cache = _with_room(cache, position, longest)
        outputs, cache, weights = transformer.decoder.step(last, cache, position, memory, padding_mask, authors)
        logits = transformer.project(outputs)  # (B, W, V)
        likely, tokens = tf.math.top_k(logits + forbidden, candidates)  # (B, W, C)
        gains = likely - tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
        gains = tf.where(finished[:, :, tf.newaxis], frozen, gains)
        tokens = tf.where(finished[:, :, tf.newaxis], PAD_ID, tokens)
        totals = log_probabilities[:, :, tf.newaxis] + gains
        new_lengths = lengths + tf.cast(~finished, tf.int32)
        penalised = totals / length_penalty(new_lengths, alpha)[:, :, tf.newaxis]
        _, best = tf.math.top_k(tf.reshape(penalised, (batch, width * candidates)), width)  # (B, W)
        parent = best // candidates
        chosen, log_probabilities = (
            tf.gather(tf.reshape(part, (batch, width * candidates)), best, batch_dims=1) for part in (tokens, totals)
        )
        lengths = tf.gather(new_lengths, parent, batch_dims=1)
        finished = tf.gather(finished, parent, batch_dims=1) | (chosen == END_ID) | (lengths >= limits[:, tf.newaxis])
        ids, authors = (
            (tf.gather(part, parent, batch_dims=1) for part in (ids, authors)) if width > 1 else (ids, authors)
        )
        ids = tf.where(here, chosen[:, :, tf.newaxis], ids)
        if with_attention:
            weights = tf.cast(tf.reduce_mean(weights, axis=1), tf.float32)  # (B, W, S)
            attention = tf.where(here[:, tf.newaxis], weights[:, :, tf.newaxis], attention)
            attention = tf.gather(attention, parent, batch_dims=1)
        return position + 1, ids, log_probabilities, lengths, finished, authors, cache, attention

    # All hypotheses start alike; only the first may be extended at the first step, or the beam would hold W copies.
    first_only = tf.where(tf.range(width) == 0, 0.0, IMPOSSIBLE)
    open_length = [tuple(tf.TensorShape([*part.shape[:2], None, *part.shape[3:]]) for part in layer) for layer in cache]
    state = (
        tf.constant(0),
        tf.fill((batch, width, longest), PAD_ID),
        tf.tile(first_only[tf.newaxis], (batch, 1)),
        tf.zeros((batch, width), tf.int32),
        tf.zeros((batch, width), tf.bool),
        tf.zeros((batch, width, longest), tf.int32),
        cache,
        tf.zeros((batch, width, steps, source_length)),
    )
    position, ids, log_probabilities, lengths, finished, _, _, attention = tf.while_loop(
        lambda position, ids, log_probabilities, lengths, finished, *_: (position < longest) & ~tf.reduce_all(finished),
        expand,
        state,
        shape_invariants=(*(part.shape for part in state[:6]), open_length, state[7].shape),
        parallel_iterations=1,
        maximum_iterations=longest,
    )
    ended = tf.reduce_any(ids == END_ID, axis=-1)
    scores = log_probabilities / length_penalty(lengths, alpha)
    return Hypotheses(ids, scores, log_probabilities, lengths, ended, attention)


def _with_room(cache: list[tuple[tf.Tensor, ...]], position: tf.Tensor, longest: tf.Tensor) -> list:
    """Return the cache, twice as long where it ends before `position`; its third axis is time."""
    length = tf.shape(cache[0][0])[2]

    def doubled():
        more = tf.minimum(length, longest - length)
        return [
            tuple(tf.pad(part, [[0, more if axis == 2 else 0] for axis in range(part.shape.rank)]) for part in layer)
            for layer in cache
        ]

    return tf.cond(position < length, lambda: cache, doubled)
