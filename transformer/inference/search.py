"""The decoding loop with its key/value cache: one for every strategy, inside one `tf.while_loop`.

Axes: B sentences, S source tokens, T output tokens, W hypotheses per sentence, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from transformer.config import END_ID, PAD_ID, START_ID
from transformer.inference.constraints import Past, Rule, never_special
from transformer.inference.strategies import IMPOSSIBLE, Strategy, coverage_penalty
from transformer.layers.masks import create_padding_mask
from transformer.models.translation import Transformer

FIRST_ROOM = 16  # tokens that the cache has room for at the start; it doubles when they are used up


class Hypotheses(NamedTuple):
    """What a search returns, best hypothesis first.

    Attributes:
        ids: (B, W, T) int32, without the start token; the end token is kept, pad id 0 after it.
        scores: (B, W) by which they are ordered: those of the strategy, and the coverage penalty.
        log_probabilities: (B, W) summed over tokens, the end token included, in nats.
        token_log_probabilities: (B, W, T) of each token, 0 after the last.
        lengths: (B, W) int32, tokens including the end token.
        finished: (B, W) bool, False where the longest length cut a hypothesis off.
    """

    ids: tf.Tensor
    scores: tf.Tensor
    log_probabilities: tf.Tensor
    token_log_probabilities: tf.Tensor
    lengths: tf.Tensor
    finished: tf.Tensor


class _State(NamedTuple):
    """What the loop carries: see `Hypotheses`; `authors` and `caches` are those of `Decoder.step`."""

    position: tf.Tensor
    ids: tf.Tensor
    log_probabilities: tf.Tensor
    token_log_probabilities: tf.Tensor
    lengths: tf.Tensor
    finished: tf.Tensor
    coverage: tf.Tensor  # (B, W, S) attention that each source token received, or (B, W, 0)
    authors: tf.Tensor  # (B, W, T)
    caches: list


def decode(
    models: Sequence[Transformer],
    source_ids: tf.Tensor,
    limits: tf.Tensor,
    strategy: Strategy,
    rules: Sequence[Rule] = (),
    coverage: float = 0.0,
) -> Hypotheses:
    """Decode a batch token by token.

    A finished hypothesis is frozen: it keeps its score, competes with the others and is never extended. The loop ends
    when all are finished or the longest limit is reached. Pad, unknown and start are never produced.

    Args:
        models: one, or several with one vocabulary, whose mean probabilities decide.
        source_ids: (B, S) with start and end tokens, padded with 0.
        limits: (B,) int32, most output tokens of each sentence, the end token included; at least 1.
        strategy: chooses the tokens and scores hypotheses.
        rules: what must not be chosen.
        coverage: weight of `coverage_penalty`; 0: none.

    Source: Wu et al. 2016, section 7.
    """
    batch, source_length = tf.unstack(tf.shape(source_ids))
    width, vocabulary = strategy.width, models[0].decoder.vocab_size
    longest = tf.reduce_max(limits)
    padding_mask = create_padding_mask(source_ids)
    real = padding_mask[:, 0, 0]  # (B, S)
    memories, caches = [], []
    for model in models:
        enc_output = model.encoder(source_ids, training=False, mask=padding_mask)
        memory, cache = model.decoder.start(enc_output, width, tf.minimum(longest, FIRST_ROOM))
        memories.append(memory)
        caches.append(cache)

    def expand(*parts) -> _State:
        s = _State(*parts)
        last = tf.where(s.position == 0, tf.fill((batch, width), START_ID), s.ids[:, :, s.position - 1])
        here = tf.range(longest) == s.position  # (T,)
        authors = tf.where(here, tf.range(width)[:, tf.newaxis], s.authors)  # each writes into its own column
        logits, caches, weights = _step(models, last, s.caches, s.position, longest, memories, padding_mask, authors)
        normalisers = tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
        past = Past(s.ids, s.position, vocabulary)
        forbidden = functools.reduce(tf.logical_or, (rule(past) for rule in (never_special, *rules)))
        logits += tf.where(forbidden, IMPOSSIBLE, 0.0)
        covered = s.coverage
        if coverage:
            covered += tf.where(s.finished[:, :, tf.newaxis], 0.0, weights)
        lengths = s.lengths + tf.cast(~s.finished, tf.int32)
        bonus = coverage_penalty(covered, coverage, real) if coverage else 0.0
        choice = strategy.choose(logits, normalisers, s.log_probabilities, lengths, s.finished, s.position, bonus)

        def follow(part):
            return tf.gather(part, choice.parent, batch_dims=1) if strategy.branches else part

        lengths = follow(lengths)
        ended = follow(s.finished) | (choice.token == END_ID) | (lengths >= limits[:, tf.newaxis])
        return _State(
            s.position + 1,
            tf.where(here, choice.token[:, :, tf.newaxis], follow(s.ids)),
            follow(s.log_probabilities) + choice.gain,
            tf.where(here, choice.gain[:, :, tf.newaxis], follow(s.token_log_probabilities)),
            lengths,
            ended,
            follow(covered),
            follow(authors),
            caches,
        )

    start = _State(
        tf.constant(0),
        tf.fill((batch, width, longest), PAD_ID),
        strategy.start(batch),
        tf.zeros((batch, width, longest)),
        tf.zeros((batch, width), tf.int32),
        tf.zeros((batch, width), tf.bool),
        tf.zeros((batch, width, source_length if coverage else 0)),
        tf.zeros((batch, width, longest), tf.int32),
        caches,
    )
    shapes = tf.nest.map_structure(lambda part: part.shape, start)
    growing = tf.nest.map_structure(lambda part: tf.TensorShape([*part.shape[:2], None, *part.shape[3:]]), caches)
    end = _State(
        *tf.while_loop(
            lambda *parts: (parts[0] < longest) & ~tf.reduce_all(_State(*parts).finished),
            expand,
            start,
            shape_invariants=shapes._replace(caches=growing),
            parallel_iterations=1,
            maximum_iterations=longest,
        )
    )
    scores = strategy.score(end.log_probabilities, tf.maximum(end.lengths, 1))
    if coverage:
        scores += coverage_penalty(end.coverage, coverage, real)
    finished = tf.reduce_any(end.ids == END_ID, axis=-1)
    found = Hypotheses(end.ids, scores, end.log_probabilities, end.token_log_probabilities, end.lengths, finished)
    order = tf.argsort(scores, direction="DESCENDING", stable=True)
    return Hypotheses(*(tf.gather(part, order, batch_dims=1) for part in found))


def _step(models, last, caches, position, longest, memories, padding_mask, authors):
    """Return the logits (B, W, V) after the last tokens, the caches, and the attention (B, W, S) of the last layers."""
    scores, new_caches, weights = [], [], []
    for model, cache, memory in zip(models, caches, memories, strict=True):
        cache = _with_room(cache, position, longest)
        outputs, cache, attention = model.decoder.step(last, cache, position, memory, padding_mask, authors)
        scores.append(model.project(outputs))
        new_caches.append(cache)
        weights.append(tf.cast(tf.reduce_mean(attention, axis=1), tf.float32))
    if len(models) == 1:
        return scores[0], new_caches, weights[0]
    logs = tf.stack([tf.nn.log_softmax(score) for score in scores])
    count = float(len(models))
    return tf.reduce_logsumexp(logs, axis=0) - tf.math.log(count), new_caches, tf.add_n(weights) / count


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
