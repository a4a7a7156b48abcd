"""Searching with graphs: one that takes any shape at once, and code compiled for the shapes that come again and again.

Axes: B sentences, S source tokens, T output tokens, W hypotheses per sentence, P prefix tokens.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from transformer.config.sections import SearchConfig
from transformer.ids import END_ID, PAD_ID, START_ID
from transformer.models.transformer import Transformer
from transformer.search.beam import Aside, Beam
from transformer.search.loop import Hypotheses, State, advance, begin, finish, open_axes, with_room
from transformer.search.rules import begins_with, rules_of
from transformer.search.sampling import Sample
from transformer.search.strategy import Strategy
from transformer.system.graphs import Graph

FIRST_ROOM = 32  # tokens that the cache has room for at the start; it doubles when they are used up
WORTH_COMPILING = 128  # uses of a shape after which the two seconds that XLA takes for it are earned back
COMPILED_ROWS = 64  # hypotheses that compiled code takes at once: with more, their logits leave the cache of a core
COMPILED_STEP = 8  # source lengths of compiled code are multiples of this


_Found = tuple[tf.Tensor, Hypotheses, list, State]  # whether all is finished; memory and state are to go on from


class _Graphs(NamedTuple):
    """The beginning, the way on in the room there is, and the way on in twice as much; the last two return `_Found`."""

    begin: Graph | Callable
    go_on: Graph
    go_further: Graph


class Searcher:
    """Searches batches for one config.

    A batch is decoded until all its hypotheses are finished; where the room for tokens is used up before, it doubles.
    A shape that came `WORTH_COMPILING` times is compiled by XLA, padded to a few lengths and sizes, so that a single
    sentence and a short file never wait for a compiler, and servers and long files do once for each shape.

    Args:
        models: as of `decode`.
        search: how to search.
        compile_after: uses of a shape before it is compiled; 0: at once.
    """

    def __init__(
        self, models: Sequence[Transformer], search: SearchConfig, compile_after: int = WORTH_COMPILING
    ) -> None:
        self.models, self.search, self.compile_after = list(models), search, compile_after
        self.strategy = strategy_for(search)
        self._graphs: dict[tuple[bool, bool], _Graphs] = {}
        self._uses: collections.Counter = collections.Counter()
        self._lock = threading.Lock()

    @property
    def traces(self) -> int:
        """Number of graphs made so far; lengths are open in them, so it does not grow with use."""
        made = [graph for graphs in self._graphs.values() for graph in graphs]
        return sum(graph.traces for graph in made if isinstance(graph, Graph))

    def __call__(
        self, source_ids: np.ndarray, limits: np.ndarray, least: np.ndarray, prefix: np.ndarray | None = None
    ) -> Hypotheses:
        """Return the hypotheses, as arrays.

        Args:
            source_ids: (B, S) int32 with start and end tokens, padded with 0.
            limits: (B,) int32, most output tokens, the end token included; at least 1.
            least: (B,) int32, fewest output tokens without the end token.
            prefix: (B, P) int32, how the output has to begin, padded with 0; None: anyhow.
        """
        if prefix is None and self._compiled_pays(source_ids):
            return self._compiled(source_ids, limits, least)
        return self._run(False, source_ids, limits, least, prefix)

    def warm_up(self) -> None:
        """Make and run all graphs that searching without a prefix needs, so that no search waits for them."""
        source_ids, least = np.array([[START_ID, END_ID]], np.int32), np.zeros(1, np.int32)
        given = source_ids, least + 2, least, np.zeros((1, 0), np.int32)
        graphs, _ = self._graph(False, False, source_ids, 1)
        _, _, *rest = graphs.go_on(*given, *graphs.begin(source_ids, 1))
        graphs.go_further(*given, *rest)

    def _compiled_pays(self, source_ids: np.ndarray) -> bool:
        shape = self._padded_shape(source_ids)
        with self._lock:
            self._uses[shape] += 1
            return self._uses[shape] > self.compile_after

    def _padded_shape(self, source_ids: np.ndarray) -> tuple[int, int]:
        batch, length = source_ids.shape
        most = max(1, COMPILED_ROWS // self.strategy.width)
        size = min(most, 1 << (batch - 1).bit_length())
        return size, -(-length // COMPILED_STEP) * COMPILED_STEP

    def _compiled(self, source_ids: np.ndarray, limits: np.ndarray, least: np.ndarray) -> Hypotheses:
        """Search with compiled code, some sentences at a time."""
        size, length = self._padded_shape(source_ids)
        found = []
        for first in range(0, len(limits), size):
            chunk = slice(first, first + size)
            missing = size - len(limits[chunk])  # sentences of padding that end at their first token
            source = np.pad(
                source_ids[chunk], ((0, missing), (0, length - source_ids.shape[1])), constant_values=PAD_ID
            )
            most = np.pad(limits[chunk], (0, missing), constant_values=1)
            fewest = np.pad(least[chunk], (0, missing))
            parts = self._run(True, source, most, fewest, None)
            found.append([part[: size - missing] for part in parts])
        longest = max(parts[0].shape[2] for parts in found)
        return Hypotheses(
            *(np.concatenate([_wider(part, longest) for part in field]) for field in zip(*found, strict=True))
        )

    def _run(
        self,
        compiled: bool,
        source_ids: np.ndarray,
        limits: np.ndarray,
        least: np.ndarray,
        prefix: np.ndarray | None,
    ) -> Hypotheses:
        prefixed, longest = prefix is not None, int(limits.max())
        if not prefixed:
            prefix = np.zeros((len(limits), 0), np.int32)
        room = FIRST_ROOM if compiled else min(FIRST_ROOM, longest)
        graphs, begun = self._graph(compiled, prefixed, source_ids, room)
        begun = graphs.begin(source_ids, room) if begun is None else begun
        done, found, *rest = graphs.go_on(source_ids, limits, least, prefix, *begun)
        while room < longest and not done.numpy():
            done, found, *rest = graphs.go_further(source_ids, limits, least, prefix, *rest)
            room *= 2
        found = Hypotheses(*(part.numpy() for part in found))
        length = found.lengths.max()  # there may be more room than the model has positions
        return Hypotheses(*(part[:, :, :length] if part.ndim == 3 else part for part in found))

    def _graph(
        self, compiled: bool, prefixed: bool, source_ids: np.ndarray, room: int
    ) -> tuple[_Graphs, tuple[list, State] | None]:
        """Return the graphs, and what their `begin` would return where that is known from making them.

        They are made when they are first asked for, from a beginning without a graph: a single sentence does not wait
        for a graph of the encoder that it uses once.
        """
        with self._lock:
            if (compiled, prefixed) in self._graphs:
                return self._graphs[compiled, prefixed], None
            begun = begin(self.models, tf.constant(source_ids), self.strategy, room, self.search.coverage_penalty)
            self._graphs[compiled, prefixed] = self._make(compiled, prefixed, begun)
            return self._graphs[compiled, prefixed], None if compiled else begun

    def _make(self, compiled: bool, prefixed: bool, begun: tuple[list, State]) -> _Graphs:
        search, strategy, coverage = self.search, self.strategy, self.search.coverage_penalty
        numbers, ids = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, None), tf.int32)
        open_specs = tf.nest.map_structure(lambda part: tf.TensorSpec(open_axes(part), part.dtype), begun)

        def beginning(source_ids: tf.Tensor, room: tf.Tensor) -> tuple[list, State]:
            return begin(self.models, source_ids, strategy, room, coverage)

        def going_on(
            source_ids: tf.Tensor, limits: tf.Tensor, least: tf.Tensor, prefix: tf.Tensor, memories: list, state: State
        ) -> _Found:
            rules = [begins_with(prefix)] if prefixed else []
            rules += rules_of(search, least)
            state = advance(self.models, source_ids, memories, limits, strategy, rules, coverage, state)
            return tf.reduce_all(state.finished), finish(source_ids, strategy, coverage, state), memories, state

        def going_further(
            source_ids: tf.Tensor, limits: tf.Tensor, least: tf.Tensor, prefix: tf.Tensor, memories: list, state: State
        ) -> _Found:
            return going_on(source_ids, limits, least, prefix, memories, with_room(state))

        def whole(
            source_ids: tf.Tensor, limits: tf.Tensor, least: tf.Tensor, prefix: tf.Tensor, room: tf.Tensor
        ) -> _Found:
            return going_on(source_ids, limits, least, prefix, *beginning(source_ids, room))

        given, number = (ids, numbers, numbers, ids), tf.TensorSpec((), tf.int32)
        further = Graph(going_further, *given, *open_specs, compiled=compiled)
        if compiled:  # XLA makes faster code of the whole
            return _Graphs(lambda source_ids, room: [room], Graph(whole, *given, number, compiled=True), further)
        return _Graphs(Graph(beginning, ids, number), Graph(going_on, *given, *open_specs), further)


class Searchers:
    """Searchers of the same models for all configs that are asked for.

    Those that differ in nothing but what a `Searcher` never looks at have the same one.

    Args:
        models: as of `decode`.
    """

    _ELSEWHERE = ("max_length", "max_extra_length", "max_length_ratio", "batch_tokens", "cut")  # heeded by others

    def __init__(self, models: Sequence[Transformer]) -> None:
        self.models = models
        self._made: dict[SearchConfig, Searcher] = {}

    def searcher(self, search: SearchConfig) -> Searcher:
        """Return the searcher of a config."""
        defaults = {name: getattr(SearchConfig(), name) for name in self._ELSEWHERE}
        key = dataclasses.replace(search, **defaults)
        if key not in self._made:
            self._made[key] = Searcher(self.models, key)
        return self._made[key]


def padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Return rows of ids as an array (B, longest), padded with 0."""
    ids = np.full((len(rows), max(map(len, rows))), PAD_ID, np.int32)
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = values
    return ids


def _wider(part: np.ndarray, length: int) -> np.ndarray:
    """Pad the third axis, T, where there is one."""
    return np.pad(part, ((0, 0), (0, 0), (0, length - part.shape[2]))) if part.ndim == 3 else part


def strategy_for(
    search: SearchConfig,
    width: tf.Tensor | int | None = None,
    alpha: tf.Tensor | float | None = None,
    most: int = 0,
) -> Strategy:
    """Return what a config asks for.

    Args:
        search: the config.
        width: number of hypotheses where it is known only when a graph runs; None: the config's `beam_size`.
        alpha: exponent of the length penalty, likewise; None: the config's.
        most: upper bound of `width`, where that is a tensor.
    """
    width = search.beam_size if width is None else width
    alpha = search.length_penalty if alpha is None else alpha
    if search.temperature:
        return Sample(width, search.temperature, search.top_k, search.top_p, search.seed)
    beam = Aside if search.finished == "aside" and (most or search.beam_size) > 1 else Beam
    return beam(width, alpha, search.penalty, most)
