"""The decoding loop with its key/value cache: one for every strategy, one `tf.while_loop`.

`decode` is the whole; `begin`, `advance` and `finish` are its parts, between which `with_room` may lengthen the cache.

Axes: B sentences, S source tokens, T output tokens, W hypotheses per sentence, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from transformer.ids import END_ID, PAD_ID, START_ID
from transformer.layers.masks import create_padding_mask
from transformer.models.transformer import Transformer
from transformer.search.rules import Past, Rule, never_special
from transformer.search.strategy import IMPOSSIBLE, Strategy, coverage_penalty


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


class State(NamedTuple):
    """What the loop carries: see `Hypotheses`; `ancestry` and `caches` are those of `Decoder.step`.

    T is the room: tokens that there is a place for.
    """

    position: tf.Tensor
    ids: tf.Tensor
    log_probabilities: tf.Tensor
    token_log_probabilities: tf.Tensor
    lengths: tf.Tensor
    finished: tf.Tensor
    coverage: tf.Tensor  # (B, W, S) attention that each source token received, or (B, W, 0)
    ancestry: tf.Tensor  # (B, W, T)
    caches: list

    @property
    def room(self) -> tf.Tensor:
        """T, scalar int32."""
        return tf.shape(self.ids)[2]


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
    memories, state = begin(models, source_ids, strategy, tf.reduce_max(limits), coverage)
    state = advance(models, source_ids, memories, limits, strategy, rules, coverage, state)
    return finish(source_ids, strategy, coverage, state)


def begin(
    models: Sequence[Transformer], source_ids: tf.Tensor, strategy: Strategy, room: tf.Tensor | int, coverage: float
) -> tuple[list, State]:
    """Return each model's memory of the sentences, see `Decoder.start`, and the state before the first token."""
    batch, source_length = tf.unstack(tf.shape(source_ids))
    width, padding_mask = strategy.width, create_padding_mask(source_ids)
    memories, caches = [], []
    for model in models:
        enc_output = model.encoder(source_ids, training=False, mask=padding_mask)
        memory, cache = model.decoder.start(enc_output, width, room)
        memories.append(memory)
        caches.append(cache)
    state = State(
        tf.constant(0),
        tf.fill((batch, width, room), PAD_ID),
        strategy.start(batch),
        tf.zeros((batch, width, room)),
        tf.zeros((batch, width), tf.int32),
        tf.zeros((batch, width), tf.bool),
        tf.zeros((batch, width, source_length if coverage else 0)),
        tf.zeros((batch, width, room), tf.int32),
        caches,
    )
    return memories, state


def advance(
    models: Sequence[Transformer],
    source_ids: tf.Tensor,
    memories: list,
    limits: tf.Tensor,
    strategy: Strategy,
    rules: Sequence[Rule],
    coverage: float,
    state: State,
) -> State:
    """Return the state when all hypotheses are finished or the room is used up; arguments as of `decode`.

    Args:
        memories, state: from `begin`, or the state from an earlier call and `with_room`.
    """
    batch, width, vocabulary = tf.shape(source_ids)[0], strategy.width, models[0].decoder.vocab_size
    padding_mask, room = create_padding_mask(source_ids), state.room
    real = padding_mask[:, 0, 0]  # (B, S)

    def expand(*parts: Any) -> State:
        s = State(*parts)
        last = tf.where(s.position == 0, tf.fill((batch, width), START_ID), s.ids[:, :, s.position - 1])
        here = tf.range(room) == s.position  # (T,)
        ancestry = None
        if strategy.branches:
            ancestry = tf.where(here, tf.range(width)[:, tf.newaxis], s.ancestry)  # each writes into its own column
        logits, caches, weights = _step(models, last, s.caches, s.position, memories, padding_mask, ancestry)
        normalisers = tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
        past = Past(s.ids, s.position, vocabulary)
        forbidden = functools.reduce(tf.logical_or, (rule(past) for rule in (never_special, *rules)))
        logits = tf.where(forbidden, IMPOSSIBLE, logits)
        covered = s.coverage
        if coverage:
            covered += tf.where(s.finished[:, :, tf.newaxis], 0.0, weights)
        lengths = s.lengths + tf.cast(~s.finished, tf.int32)
        bonus = coverage_penalty(covered, coverage, real) if coverage else 0.0
        choice = strategy.choose(logits, normalisers, s.log_probabilities, lengths, s.finished, s.position, bonus)

        def follow(part: tf.Tensor) -> tf.Tensor:
            return tf.gather(part, choice.parent, batch_dims=1) if strategy.branches else part

        lengths = follow(lengths)
        ended = follow(s.finished) | (choice.token == END_ID) | (lengths >= limits[:, tf.newaxis])
        return State(
            s.position + 1,
            tf.where(here, choice.token[:, :, tf.newaxis], follow(s.ids)),
            follow(s.log_probabilities) + choice.gain,
            tf.where(here, choice.gain[:, :, tf.newaxis], follow(s.token_log_probabilities)),
            lengths,
            ended,
            follow(covered) if coverage else covered,
            follow(ancestry) if strategy.branches else s.ancestry,
            caches,
        )

    return State(
        *tf.while_loop(
            lambda *parts: (parts[0] < room) & ~tf.reduce_all(State(*parts).finished),
            expand,
            state,
            shape_invariants=tf.nest.map_structure(open_axes, state),
            parallel_iterations=1,
            maximum_iterations=room,
        )
    )


def open_axes(part: tf.Tensor) -> tf.TensorShape:
    """Return the shape of a part of the state or memory with its first and third axis, B and T or S, left open."""
    rank = part.shape.rank
    return tf.TensorShape([None if axis in (0, 2) else size for axis, size in enumerate(part.shape)] if rank else [])


def finish(source_ids: tf.Tensor, strategy: Strategy, coverage: float, state: State) -> Hypotheses:
    """Return the hypotheses of a state, best first."""
    scores = strategy.score(state.log_probabilities, tf.maximum(state.lengths, 1))
    if coverage:
        scores += coverage_penalty(state.coverage, coverage, create_padding_mask(source_ids)[:, 0, 0])
    finished = tf.reduce_any(state.ids == END_ID, axis=-1)
    found = Hypotheses(
        state.ids, scores, state.log_probabilities, state.token_log_probabilities, state.lengths, finished
    )
    order = tf.argsort(scores, direction="DESCENDING", stable=True)
    return Hypotheses(*(tf.gather(part, order, batch_dims=1) for part in found))


def with_room(state: State) -> State:
    """Return the state with places for twice as many tokens."""

    def wider(part: tf.Tensor) -> tf.Tensor:
        return tf.pad(part, [[0, tf.shape(part)[2] if axis == 2 else 0] for axis in range(part.shape.rank)])

    grown = {name: wider(getattr(state, name)) for name in ("ids", "token_log_probabilities", "ancestry")}
    return state._replace(**grown, caches=tf.nest.map_structure(wider, state.caches))


def _step(
    models: Sequence[Transformer],
    last: tf.Tensor,
    caches: list,
    position: tf.Tensor,
    memories: list,
    padding_mask: tf.Tensor,
    ancestry: tf.Tensor | None,
) -> tuple[tf.Tensor, list, tf.Tensor]:
    """Return the logits (B, W, V) after the last tokens, the caches, and the attention (B, W, S) of the last layers."""
    scores, new_caches, weights = [], [], []
    for model, cache, memory in zip(models, caches, memories, strict=True):
        step = model.decoder.step(last, cache, position, memory, padding_mask, ancestry)
        outputs, cache, attention = step
        scores.append(model.project(outputs))
        new_caches.append(cache)
        weights.append(tf.cast(tf.reduce_mean(attention, axis=1), tf.float32))
    if len(models) == 1:
        return scores[0], new_caches, weights[0]
    logs = tf.stack([tf.nn.log_softmax(score) for score in scores])
    count = float(len(models))
    return tf.reduce_logsumexp(logs, axis=0) - tf.math.log(count), new_caches, tf.add_n(weights) / count
