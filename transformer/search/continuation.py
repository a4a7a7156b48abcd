"""Continuing texts: prompts are read at once, then tokens follow, some at a time, so that somebody can look in between.

Axes: B texts, P tokens of a prompt, T tokens that the cache has places for, those of the prompt counted.
"""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from transformer.config.settings import SearchConfig
from transformer.ids import PAD_ID
from transformer.search.loop import Generative, State, advance, with_capacity
from transformer.search.rules import rules_of
from transformer.search.sampling import Sample
from transformer.search.searcher import strategy_for
from transformer.search.strategy import Strategy
from transformer.system.graphs import Graph, compiled

_NUMBER = tf.TensorSpec((), tf.int32)


class Continuable(Generative, Protocol):
    """What continuing asks of a network."""

    def read(self, inputs: tf.Tensor, capacity: tf.Tensor | int) -> tuple[Any, Any]:
        """Read prompts as `start` does, but into the places of one hypothesis: the last tokens are at position P - 1.

        So the shapes that `step` meets depend on the capacity alone, and not on the prompts.
        """


@dataclasses.dataclass(frozen=True)
class Reading:
    """Texts of which all tokens but the last are in the cache, and what `Continuer.go_on` makes of them.

    Attributes:
        memory: what the network needs of the prompts.
        state: of the search, one hypothesis a text; token t + 1 of a row is in place t.
        begun: places of the prompts, without the last tokens.
    """

    memory: Any
    state: State
    begun: int

    @property
    def new(self) -> np.ndarray:
        """The tokens that were chosen so far, (B, new) int32, the end token included and pad id 0 after it."""
        return self.state.ids[:, 0, self.begun : int(self.state.position)].numpy()

    @property
    def log_probabilities(self) -> np.ndarray:
        """Of each token of `new`, in nats."""
        return self.state.token_log_probabilities[:, 0, self.begun : int(self.state.position)].numpy()

    @property
    def finished(self) -> np.ndarray:
        """(B,) bool, whether a text has come to its end or its limit."""
        return self.state.finished[:, 0].numpy()

    def stopped(self, rows: np.ndarray) -> "Reading":
        """Return the same with texts (B,) bool finished, whatever they say."""
        return dataclasses.replace(self, state=self.state._replace(finished=self.state.finished | rows[:, np.newaxis]))


NUMBERS = ("temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty")  # that graphs are given


def of_graphs(search: SearchConfig) -> SearchConfig:
    """Return the settings that graphs depend on: which of `NUMBERS` are given, but not how large they are."""
    sampling = search.temperature > 0
    return dataclasses.replace(
        search,
        seed=0,
        max_length=0,
        min_length=min(search.min_length, 1),
        temperature=float(sampling),
        top_k=1 << (search.top_k - 1).bit_length() if sampling and search.top_k else 0,  # at most
        top_p=0.5 if sampling and search.top_p < 1 else 1.0,
        min_p=0.5 if sampling and search.min_p else 0.0,
        typical_p=0.5 if sampling and search.typical_p < 1 else 1.0,
        repetition_penalty=1.0 if search.repetition_penalty == 1 else 2.0,
    )


class Continuer:
    """Continues texts, greedily or sampling.

    Args:
        model: the network.
        search: from `of_graphs`, with a beam of 1.

    Attributes:
        steps: tokens chosen without XLA, by B and T; whoever counts them here may decide by them what is compiled.
    """

    def __init__(self, model: Continuable, search: SearchConfig) -> None:
        self.model, self.search = model, search
        ids = tf.TensorSpec((None, None), tf.int32)
        self._begin = Graph(self._read, ids, _NUMBER)
        self._longer: Graph | None = None
        self.steps: collections.Counter = collections.Counter()
        self._graphs: dict[bool, Graph] = {}  # by whether compiled

    @property
    def traces(self) -> int:
        """Number of graphs made so far."""
        graphs = [self._begin, *self._graphs.values(), *filter(None, [self._longer])]
        return sum(graph.traces for graph in graphs)

    def begin(self, prompts: np.ndarray, capacity: int) -> Reading:
        """Read prompts.

        Args:
            prompts: (B, P) int32, at least one token each, padded with 0 on the left.
            capacity: T, more than P.
        """
        memory, state = self._begin(np.pad(prompts, ((0, 0), (1, 0)), constant_values=PAD_ID), capacity)
        return Reading(memory, State(*state), prompts.shape[1])

    def with_capacity(self, reading: Reading, capacity: int) -> Reading:
        """Return the same with places for more tokens."""
        if self._longer is None:
            given = tf.nest.map_structure(_open_shape, reading.state)
            self._longer = Graph(lambda state, capacity: with_capacity(State(*state), capacity), given, _NUMBER)
        return dataclasses.replace(reading, state=State(*self._longer(reading.state, capacity)))

    def go_on(
        self,
        reading: Reading,
        count: int,
        limits: np.ndarray,
        least: np.ndarray,
        chances: np.ndarray,
        search: SearchConfig,
        with_xla: bool = False,
    ) -> Reading:
        """Choose up to `count` tokens more of each text, as long as there are places.

        Args:
            reading: from `begin` or the last call.
            count: of tokens.
            limits: (B,) int32, most tokens of each that `begin` did not read.
            least: (B,) int32, so many of them before the end.
            chances: (B, T) float32 for sampling, at the tokens' places.
            search: whose `of_graphs` this continuer was made for.
            with_xla: whether XLA compiles the loop, once for each B and T.
        """
        graph = self._graph(with_xla, reading)
        until = int(reading.state.position) + count
        least = least + reading.begun  # rules count the places
        numbers = np.array([getattr(search, name) for name in NUMBERS], np.float32)
        state = graph(reading.memory, reading.state, limits, least, until, chances, numbers)
        return dataclasses.replace(reading, state=State(*state))

    def _read(self, prompts: tf.Tensor, capacity: tf.Tensor) -> tuple[Any, State]:
        memory, cache = self.model.read(prompts, capacity)
        batch, places = tf.unstack(tf.shape(prompts))
        ids = tf.pad(prompts[:, tf.newaxis, 1:], [[0, 0], [0, 0], [0, capacity - places + 1]])  # (B, 1, T)
        state = State(
            places - 1,
            ids,
            tf.zeros((batch, 1)),
            tf.zeros_like(ids, tf.float32),
            tf.zeros((batch, 1), tf.int32),
            tf.zeros((batch, 1), tf.bool),
            tf.zeros((batch, 1, 0)),
            tf.zeros_like(ids),
            [cache],
        )
        return memory, state

    def _graph(self, with_xla: bool, reading: Reading) -> Graph:
        def go_on(
            memory: Any,
            state: State,
            limits: tf.Tensor,
            least: tf.Tensor,
            until: tf.Tensor,
            chances: tf.Tensor,
            numbers: tf.Tensor,
        ) -> State:
            state = State(*state)
            given = dict(zip(NUMBERS, tf.unstack(numbers), strict=True))
            rules, penalty = rules_of(self.search, least), given["repetition_penalty"]
            if self.search.repetition_penalty == 1:
                penalty = 1.0
            strategy = self._strategy(given, chances[:, tf.newaxis])
            return advance([self.model], state.ids[:, 0], [memory], limits, strategy, rules, 0.0, state, penalty, until)

        if with_xla not in self._graphs:
            given = tf.nest.map_structure(_open_shape, (reading.memory, reading.state))
            each, places = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, None), tf.float32)
            settings = tf.TensorSpec((len(NUMBERS),), tf.float32)
            function = compiled(go_on) if with_xla else go_on
            self._graphs[with_xla] = Graph(function, *given, each, each, _NUMBER, places, settings)
        return self._graphs[with_xla]

    def _strategy(self, given: Mapping[str, tf.Tensor], chances: tf.Tensor) -> Strategy:
        """Return what chooses tokens by the numbers that a graph is given; those that ask for nothing stay out."""
        search = self.search
        if not search.temperature:
            return strategy_for(search, 1)
        return Sample(
            1,
            given["temperature"],
            given["top_k"] if search.top_k else 0,
            given["top_p"] if search.top_p < 1 else 1.0,
            min_p=given["min_p"] if search.min_p else 0.0,
            typical_p=given["typical_p"] if search.typical_p < 1 else 1.0,
            chances=chances,
            most_k=search.top_k,
        )


def _open_shape(part: tf.Tensor) -> tf.TensorSpec:
    """Return what describes a tensor of any B and T; a tensor of two axes is of the network, or (B, 1)."""
    open_axes = (0, 2) if part.shape.rank > 2 else (0,)
    return tf.TensorSpec([None if axis in open_axes else size for axis, size in enumerate(part.shape)], part.dtype)
