"""Searching with graphs: one that takes any shape at once, and code compiled for the shapes that come again and again.

Axes: B sentences, S source tokens, T output tokens, W hypotheses per sentence, P prefix tokens.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from transformer.config import PAD_ID, SearchConfig
from transformer.inference.constraints import at_least, begins_with, no_repeated_ngram
from transformer.inference.search import Hypotheses, advance, begin, finish, open_axes, with_room
from transformer.inference.strategies import make_strategy
from transformer.models.translation import Transformer

FIRST_ROOM = 32  # tokens that the cache has room for at the start; it doubles when they are used up
WORTH_COMPILING = 32  # uses of a shape after which the seconds that XLA takes for it are earned back
COMPILED_ROWS = 64  # hypotheses that compiled code takes at once: with more, their logits leave the cache of a core
COMPILED_STEP = 8  # source lengths of compiled code are multiples of this


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
        self.strategy = make_strategy(search)
        self._graphs: dict[tuple[bool, bool], tuple[tf.types.experimental.PolymorphicFunction, ...]] = {}
        self._uses: collections.Counter = collections.Counter()
        self._lock = threading.Lock()

    @property
    def traces(self) -> int:
        """Number of graphs made so far; lengths are open in them, so it does not grow with use."""
        return sum(graph.experimental_get_tracing_count() for graphs in self._graphs.values() for graph in graphs)

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
        if prefix is None:
            return self._run(False, False, source_ids, limits, least, np.zeros((len(limits), 0), np.int32))
        return self._run(False, True, source_ids, limits, least, prefix)

    def _compiled_pays(self, source_ids: np.ndarray) -> bool:
        shape = self._padded_shape(source_ids)
        with self._lock:
            self._uses[shape] += 1
            return self._uses[shape] > self.compile_after

    def _padded_shape(self, source_ids: np.ndarray) -> tuple[int, int]:
        batch, length = source_ids.shape
        most = max(1, COMPILED_ROWS // self.search.beam_size)
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
            parts = self._run(True, False, source, most, fewest, np.zeros((size, 0), np.int32))
            found.append([part[: size - missing] for part in parts])
        longest = max(parts[0].shape[2] for parts in found)
        return Hypotheses(*(np.concatenate([_wider(part, longest) for part in of]) for of in zip(*found, strict=True)))

    def _run(self, compiled: bool, prefixed: bool, source_ids, limits, least, prefix) -> Hypotheses:
        first, more = self._graph(compiled, prefixed)
        longest = int(limits.max())
        room = FIRST_ROOM if compiled else min(FIRST_ROOM, longest)
        done, found, *rest = first(source_ids, limits, least, prefix, room)
        while room < longest and not done.numpy():
            done, found, *rest = more(source_ids, limits, least, prefix, *rest)
            room *= 2
        return Hypotheses(*(part.numpy() for part in found))

    def _graph(self, compiled: bool, prefixed: bool) -> tuple:
        """Return the two functions of `_make`, made when they are first asked for."""
        with self._lock:
            if (compiled, prefixed) not in self._graphs:
                self._graphs[compiled, prefixed] = self._make(compiled, prefixed)
            return self._graphs[compiled, prefixed]

    def _make(self, compiled: bool, prefixed: bool) -> tuple:
        """Return the function for the first tokens, and the one that goes on with twice the room.

        Both return whether all are finished, the hypotheses, and what the second goes on from.
        """
        search, strategy = self.search, self.strategy
        coverage, mode = search.coverage_penalty, {"autograph": False, "jit_compile": compiled or None}
        numbers, ids = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, None), tf.int32)
        given = [ids, numbers, numbers, ids]

        def go_on(source_ids, limits, least, prefix, memories, state):
            rules = [begins_with(prefix)] if prefixed else []
            if search.min_length or search.min_length_ratio:
                rules.append(at_least(least))
            if search.no_repeat_ngram:
                rules.append(no_repeated_ngram(search.no_repeat_ngram))
            state = advance(self.models, source_ids, memories, limits, strategy, rules, coverage, state, compiled)
            return tf.reduce_all(state.finished), finish(source_ids, strategy, coverage, state), memories, state

        # Nothing here is Python control flow over tensors, and converting it would take seconds.
        @tf.function(input_signature=[*given, tf.TensorSpec((), tf.int32)], **mode)
        def first(source_ids, limits, least, prefix, room):
            memories, state = begin(self.models, source_ids, strategy, room, coverage)
            return go_on(source_ids, limits, least, prefix, memories, state)

        *_, memories, state = first.get_concrete_function().structured_outputs
        rest = tf.nest.map_structure(lambda part: tf.TensorSpec(open_axes(part), part.dtype), [memories, state])

        @tf.function(input_signature=[*given, *rest], **mode)
        def more(source_ids, limits, least, prefix, memories, state):
            return go_on(source_ids, limits, least, prefix, memories, with_room(state))

        return first, more


def _wider(part: np.ndarray, length: int) -> np.ndarray:
    """Pad the third axis, T, where there is one."""
    return np.pad(part, ((0, 0), (0, 0), (0, length - part.shape[2]))) if part.ndim == 3 else part
