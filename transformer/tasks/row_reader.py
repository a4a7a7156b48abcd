"""Reading rows of tokens with an encoder, where nothing is learned from them.

Axes: B rows of a batch, T tokens of a row.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from transformer.ids import PAD_ID
from transformer.system.graphs import Graph
from transformer.system.threads import in_order
from transformer.tasks.sequence_to_sequence import IDS

PREDICTED_TOKENS = 1024  # padded tokens that are read together: twice as many take 3 % longer on a CPU


class Row(NamedTuple):
    """What an encoder reads: START, a text, END and, of a pair, another text and END."""

    ids: np.ndarray  # (T,) int32
    border: int  # tokens of the first text, with both ends


class RowReader:
    """What a network makes of rows, in one graph for each network.

    Args:
        function: of the network, ids and segments (B, T); returns (B, ...) or, token by token, (B, T, ...).
    """

    def __init__(self, function: Callable[[keras.Model, tf.Tensor, tf.Tensor], tf.Tensor]) -> None:
        self._function = function
        self._last: tuple[keras.Model, Graph] | None = None  # of the network that last read

    def __call__(self, network: keras.Model, rows: Sequence[Row]) -> list[np.ndarray]:
        """Return what the network makes of rows, each without what stands for padding.

        Rows are read in the order of their lengths, several batches at a time.
        """
        graph = self._graph(network)

        def read(batch: list[int]) -> np.ndarray:
            longest = max(len(rows[i].ids) for i in batch)
            ids = np.full((len(batch), longest), PAD_ID, np.int32)
            for place, i in enumerate(batch):
                ids[place, : len(rows[i].ids)] = rows[i].ids
            borders = np.array([rows[i].border for i in batch])
            segments = (np.arange(longest) >= borders[:, np.newaxis]) & (ids != PAD_ID)
            return np.asarray(graph(ids, segments.astype(np.int32)))

        found: list[np.ndarray] = [np.zeros(0)] * len(rows)
        batches = batches_by_length([len(row.ids) for row in rows], PREDICTED_TOKENS)
        for batch, outputs in zip(batches, in_order(read, batches), strict=True):
            for i, output in zip(batch, outputs, strict=True):
                found[i] = output[: len(rows[i].ids)] if outputs.ndim == 3 else output
        return found

    def _graph(self, network: keras.Model) -> Graph:
        if self._last is None or self._last[0] is not network:
            self._last = network, Graph(lambda ids, segments: self._function(network, ids, segments), IDS, IDS)
        return self._last[1]


def batches_by_length(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Return the numbers of rows, by their lengths, in batches of at most so many tokens with padding; each has one."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batches, start = [], 0
    for end in range(1, len(order) + 1):
        longest = lengths[order[end]] if end < len(order) else 0
        if end == len(order) or longest * (end + 1 - start) > most_tokens:
            batches.append(order[start:end])
            start = end
    return batches
