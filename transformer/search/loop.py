"""The decoding loop with its key/value cache: one for every strategy and every network that is `Generative`.

Axes: B sentences, S source tokens, T output tokens that there are places for, the cache's capacity, W hypotheses per
sentence, V vocabulary.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from transformer.ids import END_ID, PAD_ID
from transformer.search.hypotheses import Hypotheses
from transformer.search.rules import Past, Rule, never_special, penalise_repetition
from transformer.search.strategy import IMPOSSIBLE, Step, Strategy, coverage_penalty, is_given
from transformer.system.graphs import compiled as compiled_by_xla

FIRST_CAPACITY = 32  # tokens that the cache has places for at first; they double when they are used up


class Generative(Protocol):
    """What the search asks of a network."""

    vocab_size: int  # V

    def first(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the ids (B,) that `step` reads at position 0: the start token, or the last one of each prompt."""

    def start(self, inputs: tf.Tensor, width: tf.Tensor | int, capacity: tf.Tensor | int) -> tuple[Any, Any]:
        """Return what `step` needs of the inputs at every token, and a cache for `capacity` tokens.

        Args:
            inputs: source ids (B, S), or prompts (B, P), whose tokens but the last are read at once.
            width: W.
            capacity: T. To lengthen the cache, the loop adds W columns a token to the third axis of each tensor.
        """

    def step(
        self, ids: tf.Tensor, cache: Any, position: tf.Tensor, memory: Any, ancestry: tf.Tensor | None
    ) -> tuple[tf.Tensor, Any, tf.Tensor | None]:
        """Read a token of each hypothesis.

        Args:
            ids: (B, W), the last token of each hypothesis; that of `first` at position 0.
            cache: from `start` or the last `step`.
            position: scalar int32, index of these tokens, those of a prompt not counted.
            memory: from `start`.
            ancestry: (B, W, T) int32, the hypotheses in whose columns of the cache the tokens up to `position` stand;
                None: their own.

        Returns:
            logits (B, W, V), the new cache, and the attention over the source (B, W, S), or None.
        """


class State(NamedTuple):
    """What the loop carries: see `Hypotheses`; `ancestry` and `caches` are those of `Generative.step`."""

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
    def capacity(self) -> tf.Tensor:
        """T, scalar int32."""
        return tf.shape(self.ids)[2]


def decode(
    models: Sequence[Generative],
    inputs: tf.Tensor,
    limits: tf.Tensor,
    strategy: Strategy,
    rules: Sequence[Rule] = (),
    coverage: float = 0.0,
    compiled: bool = False,
    repetition_penalty: float = 1.0,
) -> Hypotheses:
    """Decode a batch token by token.

    A finished hypothesis is frozen: it keeps its score, competes with the others and is never extended. The loop ends
    when all are finished or the longest limit is reached. Pad, unknown and start are never produced.

    The cache has places for a few tokens first, and for twice as many each time that they are used up: attention over
    empty places costs as much as over tokens.

    Args:
        models: one, or several with one vocabulary, whose mean probabilities decide.
        inputs: (B, S) source ids with start and end tokens, padded with 0; or prompts (B, P), padded on the left.
        limits: (B,) int32, most output tokens of each sentence, the end token included; at least 1.
        strategy: chooses the tokens and scores hypotheses.
        rules: what must not be chosen.
        coverage: weight of `coverage_penalty`; 0: none.
        compiled: whether XLA compiles the parts, once for each shape and capacity.
        repetition_penalty: see `penalise_repetition`; probabilities are those with it.

    Source: Wu et al. 2016, section 7.
    """
    whole = compiled_by_xla if compiled else lambda function: function
    first = FIRST_CAPACITY if compiled else tf.minimum(FIRST_CAPACITY, tf.reduce_max(limits))
    memories, state = whole(lambda: _begin(models, inputs, strategy, coverage))()

    def go_on(*parts: Any) -> State:
        grown = with_capacity(State(*parts), tf.maximum(first, 2 * State(*parts).capacity))
        return advance(models, inputs, memories, limits, strategy, rules, coverage, grown, repetition_penalty)

    return _finish(inputs, strategy, coverage, _until_finished(whole(go_on), state))


def _begin(models: Sequence[Generative], inputs: tf.Tensor, strategy: Strategy, coverage: float) -> tuple[list, State]:
    """Return each model's memory of the inputs, and the state before the first token, with no place for any."""
    batch, source_length = tf.unstack(tf.shape(inputs))
    width = strategy.width
    memories, caches = zip(*(model.start(inputs, width, 0) for model in models), strict=True)
    state = State(
        tf.constant(0),
        tf.fill((batch, width, 0), PAD_ID),
        strategy.start(batch),
        tf.zeros((batch, width, 0)),
        tf.zeros((batch, width), tf.int32),
        tf.zeros((batch, width), tf.bool),
        tf.zeros((batch, width, source_length if coverage else 0)),
        tf.zeros((batch, width, 0), tf.int32),
        list(caches),
    )
    return list(memories), state


def with_capacity(state: State, capacity: tf.Tensor) -> State:
    """Return the state with places for so many tokens."""
    width, more = tf.shape(state.ids)[1], capacity - state.capacity

    def longer(part: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        return tf.pad(part, [[0, places if axis == 2 else 0] for axis in range(part.shape.rank)])

    grown = {name: longer(getattr(state, name), more) for name in ("ids", "token_log_probabilities", "ancestry")}
    return state._replace(**grown, caches=tf.nest.map_structure(lambda part: longer(part, more * width), state.caches))


def advance(
    models: Sequence[Generative],
    inputs: tf.Tensor,
    memories: list,
    limits: tf.Tensor,
    strategy: Strategy,
    rules: Sequence[Rule],
    coverage: float,
    state: State,
    repetition_penalty: tf.Tensor | float = 1.0,
    until: tf.Tensor | None = None,
) -> State:
    """Return the state when all hypotheses are finished, all places are used up or `until` tokens are there.

    Other arguments are as of `decode`, or what it began with.
    """
    batch, width, vocabulary = tf.shape(inputs)[0], strategy.width, models[0].vocab_size
    capacity, real = state.capacity, inputs != PAD_ID
    first = tf.broadcast_to(models[0].first(inputs)[:, tf.newaxis], (batch, width))

    def expand(*parts: Any) -> State:
        s = State(*parts)
        last = tf.where(s.position == 0, first, s.ids[:, :, s.position - 1])
        here = tf.range(capacity) == s.position  # (T,)
        ancestry = None
        if strategy.branches:
            ancestry = tf.where(here, tf.range(width)[:, tf.newaxis], s.ancestry)  # each writes into its own column
        logits, caches, weights = _step(models, last, s.caches, s.position, memories, ancestry)
        past = Past(s.ids, s.position, vocabulary)
        if is_given(repetition_penalty, 1):
            logits = penalise_repetition(logits, past, repetition_penalty)
        normalisers = tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
        forbidden = functools.reduce(tf.logical_or, (rule(past) for rule in (never_special, *rules)))
        logits = tf.where(forbidden, IMPOSSIBLE, logits)
        covered = s.coverage
        if coverage:
            covered += tf.where(s.finished[:, :, tf.newaxis], 0.0, weights)
        lengths = s.lengths + tf.cast(~s.finished, tf.int32)
        bonus = coverage_penalty(covered, coverage, real) if coverage else 0.0
        choice = strategy.choose(Step(logits, normalisers, s.log_probabilities, lengths, s.finished, s.position, bonus))

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

    return _until_finished(expand, state, capacity if until is None else tf.minimum(until, capacity))


def _until_finished(body: Callable[..., State], state: State, capacity: tf.Tensor | int = tf.int32.max) -> State:
    """Return the state that `body` makes of a state, again and again, until all is finished or no place is left."""

    def shape(part: tf.Tensor) -> tf.TensorShape:
        """Leave the first and third axis open: B, and T or S."""
        return tf.TensorShape([None if axis in (0, 2) else size for axis, size in enumerate(part.shape)])

    return State(
        *tf.while_loop(
            lambda *parts: (parts[0] < capacity) & ~tf.reduce_all(State(*parts).finished),
            body,
            state,
            shape_invariants=tf.nest.map_structure(shape, state),
            parallel_iterations=1,
        )
    )


def _finish(inputs: tf.Tensor, strategy: Strategy, coverage: float, state: State) -> Hypotheses:
    """Return the hypotheses of a state, best first."""
    scores = strategy.score(state.log_probabilities, tf.maximum(state.lengths, 1))
    if coverage:
        scores += coverage_penalty(state.coverage, coverage, inputs != PAD_ID)
    finished = tf.reduce_any(state.ids == END_ID, axis=-1)
    found = Hypotheses(
        state.ids, scores, state.log_probabilities, state.token_log_probabilities, state.lengths, finished
    )
    order = tf.argsort(scores, direction="DESCENDING", stable=True)
    return Hypotheses(*(tf.gather(part, order, batch_dims=1) for part in found))


def _step(
    models: Sequence[Generative],
    last: tf.Tensor,
    caches: list,
    position: tf.Tensor,
    memories: list,
    ancestry: tf.Tensor | None,
) -> tuple[tf.Tensor, list, tf.Tensor | None]:
    """Return the logits (B, W, V) after the last tokens, the caches, and the mean attention (B, W, S) or None."""
    steps = zip(models, caches, memories, strict=True)
    found = [model.step(last, cache, position, memory, ancestry) for model, cache, memory in steps]
    logits, new_caches, weights = map(list, zip(*found, strict=True))
    if len(models) == 1:
        return logits[0], new_caches, weights[0]
    logs, count = tf.stack([tf.nn.log_softmax(scores) for scores in logits]), float(len(models))
    mean = None if weights[0] is None else tf.add_n(weights) / count
    return tf.reduce_logsumexp(logs, axis=0) - tf.math.log(count), new_caches, mean
