"""Searching with graphs: one that takes any shape at once, and code compiled for the shapes that come again and again.

Axes: B sentences, S source tokens, T output tokens, W hypotheses per sentence, P prefix tokens.
"""

import collections
import dataclasses
import threading
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from transformer.config.settings import SearchConfig
from transformer.ids import END_ID, PAD_ID, START_ID
from transformer.search.beam import Beam, LeavingBeam
from transformer.search.hypotheses import Hypotheses
from transformer.search.loop import Generative, decode
from transformer.search.rules import begins_with, rules_of
from transformer.search.sampling import Sample
from transformer.search.strategy import Strategy
from transformer.system.graphs import Graph

USES_BEFORE_COMPILING = 128  # uses of a shape after which the two seconds that XLA takes for it are earned back
COMPILED_ROWS = 64  # hypotheses that compiled code takes at once: with more, their logits leave the cache of a core
MOST_SEARCHERS = 16  # whose graphs are kept for the same models; clients of a server may ask for any settings
COMPILED_STEP = 8  # source lengths of compiled code are multiples of this


class Searcher:
    """Searches batches for one config.

    A shape that came `USES_BEFORE_COMPILING` times is compiled by XLA, padded to a few lengths and sizes, so that a
    single sentence and a short file never wait for a compiler, and servers and long files do once for each shape.

    Args:
        models: as of `decode`.
        search: how to search.
        compile_after: uses of a shape before it is compiled; 0: at once.
        prompts: whether the inputs are prompts, which are padded on the left.
    """

    def __init__(
        self,
        models: Sequence[Generative],
        search: SearchConfig,
        compile_after: int = USES_BEFORE_COMPILING,
        prompts: bool = False,
    ) -> None:
        self.models, self.search, self.compile_after = list(models), search, compile_after
        self.prompts = prompts
        self.strategy = strategy_for(search)
        self._graphs: dict[tuple[bool, bool], Graph] = {}  # by whether compiled, whether with a prefix
        self._uses: collections.Counter = collections.Counter()
        self._lock = threading.Lock()

    @property
    def traces(self) -> int:
        """Number of graphs made so far; lengths are open in them, so it does not grow with use."""
        return sum(graph.traces for graph in self._graphs.values())

    def __call__(
        self, source_ids: np.ndarray, limits: np.ndarray, least: np.ndarray, prefix: np.ndarray | None = None
    ) -> Hypotheses:
        """Return the hypotheses, as arrays.

        Args:
            source_ids: (B, S) int32 with start and end tokens, padded with 0; or prompts, padded on the left.
            limits: (B,) int32, most output tokens, the end token included; at least 1.
            least: (B,) int32, fewest output tokens without the end token.
            prefix: (B, P) int32, how the output has to begin, padded with 0; None: anyhow.
        """
        if prefix is None and self._compiled_pays(source_ids):
            return self._compiled(source_ids, limits, least)
        return self._run(False, source_ids, limits, least, prefix)

    def warm_up(self) -> None:
        """Make and run the graph that searching without a prefix needs, so that no search waits for it."""
        least = np.zeros(1, np.int32)
        self._run(False, np.array([[START_ID, END_ID]], np.int32), least + 2, least, None)

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
            columns = (0, length - source_ids.shape[1])[:: -1 if self.prompts else 1]
            source = np.pad(source_ids[chunk], ((0, missing), columns), constant_values=PAD_ID)
            most = np.pad(limits[chunk], (0, missing), constant_values=1)
            fewest = np.pad(least[chunk], (0, missing))
            parts = self._run(True, source, most, fewest, None)
            found.append([part[: size - missing] for part in parts])
        longest = max(parts[0].shape[2] for parts in found)
        return Hypotheses(
            *(np.concatenate([_wider(part, longest) for part in field]) for field in zip(*found, strict=True))
        )

    def _run(
        self, compiled: bool, source_ids: np.ndarray, limits: np.ndarray, least: np.ndarray, prefix: np.ndarray | None
    ) -> Hypotheses:
        graph = self._graph(compiled, prefix is not None)
        if prefix is None:
            prefix = np.zeros((len(limits), 0), np.int32)
        found = Hypotheses(*(part.numpy() for part in graph(source_ids, limits, least, prefix)))
        length = found.lengths.max()  # the cache may have had places for more
        return Hypotheses(*(part[:, :, :length] if part.ndim == 3 else part for part in found))

    def _graph(self, compiled: bool, prefixed: bool) -> Graph:
        def search(source_ids: tf.Tensor, limits: tf.Tensor, least: tf.Tensor, prefix: tf.Tensor) -> Hypotheses:
            rules = [begins_with(prefix)] if prefixed else []
            rules += rules_of(self.search, least)
            coverage = self.search.coverage_penalty
            penalty = self.search.repetition_penalty
            return decode(self.models, source_ids, limits, self.strategy, rules, coverage, compiled, penalty)

        numbers, ids = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, None), tf.int32)
        with self._lock:
            if (compiled, prefixed) not in self._graphs:
                self._graphs[compiled, prefixed] = Graph(search, ids, numbers, numbers, ids)
            return self._graphs[compiled, prefixed]


class Searchers:
    """Searchers of the same models for all configs that are asked for.

    Those that differ in nothing but what a `Searcher` never looks at have the same one.

    Args:
        models: as of `decode`.
        prompts: see `Searcher`.
    """

    _ELSEWHERE = ("max_length", "max_extra_length", "max_length_ratio", "batch_tokens", "cut")  # heeded by others

    def __init__(self, models: Sequence[Generative], prompts: bool = False) -> None:
        self.models, self.prompts = models, prompts
        self._made: dict[SearchConfig, Searcher] = {}

    def searcher(self, search: SearchConfig) -> Searcher:
        """Return the searcher of a config."""
        defaults = {name: getattr(SearchConfig(), name) for name in self._ELSEWHERE}
        key = dataclasses.replace(search, **defaults)
        made = self._made.pop(key, None) or Searcher(self.models, key, prompts=self.prompts)
        while len(self._made) >= MOST_SEARCHERS:
            del self._made[next(iter(self._made))]  # the one that was not asked for longest
        self._made[key] = made
        return made


def padded(rows: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    """Return rows of ids as an array (B, longest), padded with 0."""
    ids = np.full((len(rows), max(map(len, rows))), PAD_ID, np.int32)
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = values
    return ids


def left_padded(rows: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    """Return prompts as an array (B, longest), padded with 0 on the left."""
    return padded([row[::-1] for row in rows])[:, ::-1]


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
        return Sample(
            width, search.temperature, search.top_k, search.top_p, search.seed, search.min_p, search.typical_p
        )
    beam = LeavingBeam if search.finished == "leave" and (most or search.beam_size) > 1 else Beam
    return beam(width, alpha, search.penalty, most)
