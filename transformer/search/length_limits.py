"""How long outputs may get, and how many inputs are searched together."""

from collections.abc import Callable, Sequence

import numpy as np

from transformer.config.settings import SearchConfig
from transformer.system.threads import PARALLEL


def output_limits(search: SearchConfig, lengths: np.ndarray, positions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the most output tokens, the end token included, and the least without it, for source lengths (B,).

    Args:
        search: what is asked for.
        lengths: of the sources in tokens, start and end included.
        positions: longest sequence of the model.
    """
    most = np.broadcast_to(search.max_length or lengths + search.max_extra_length, lengths.shape)
    if search.max_length_ratio:
        most = np.minimum(most, np.ceil(search.max_length_ratio * lengths))
    least = np.maximum(search.min_length, np.ceil(search.min_length_ratio * lengths))
    most = np.clip(most, 1, positions)
    return most.astype(np.int32), np.minimum(least, most - 1).astype(np.int32)


def search_batches(
    lengths: Sequence[int], search: SearchConfig, most_rows: Callable[[int], int], shortest: int = 0
) -> list[list[int]]:
    """Return the numbers of the inputs that are searched together, longest first, so that little is padding.

    Args:
        lengths: of the inputs, in tokens.
        search: with the tokens of a batch, all its hypotheses counted.
        most_rows: how many inputs of a length can be searched together.
        shortest: inputs that are shorter are in no batch.
    """
    todo = sorted((i for i, length in enumerate(lengths) if length >= shortest), key=lengths.__getitem__, reverse=True)
    batches, place, share = [], 0, -(-len(todo) // PARALLEL)  # no thread without work
    while place < len(todo):
        length = lengths[todo[place]]
        size = max(1, min(search.batch_tokens // (length * search.beam_size), share, most_rows(length)))
        batches.append(todo[place : place + size])
        place += size
    return batches
