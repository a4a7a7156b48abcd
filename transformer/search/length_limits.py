"""How long outputs may get, and how many inputs are searched together."""

from collections.abc import Sequence

import numpy as np

from transformer.config.run import MOST_CACHE
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


def rows_in_cache(search: SearchConfig, length: int, positions: int, cached: int) -> int:
    """Return how many inputs of a length can be searched together before the cache exceeds `MOST_CACHE`.

    Args:
        search, positions: see `output_limits`.
        length: of the inputs in tokens, start and end included.
        cached: numbers that the models keep of each token that they write, see `ModelConfig.cached`.
    """
    most, _ = output_limits(search, np.array([length]), positions)
    return MOST_CACHE // (int(most[0]) * search.beam_size * cached)


def search_batches(
    lengths: Sequence[int], search: SearchConfig, positions: int, cached: int, shortest: int = 0
) -> list[list[int]]:
    """Return the numbers of the inputs that are searched together, longest first, so that little is padding.

    Args:
        lengths: of the inputs, in tokens.
        search: with the tokens of a batch, all its hypotheses counted.
        positions, cached: see `rows_in_cache`.
        shortest: inputs that are shorter are in no batch.
    """
    todo = sorted((i for i, length in enumerate(lengths) if length >= shortest), key=lengths.__getitem__, reverse=True)
    batches, place, share = [], 0, -(-len(todo) // PARALLEL)  # no thread without work
    while place < len(todo):
        length = lengths[todo[place]]
        most = rows_in_cache(search, length, positions, cached)
        size = max(1, min(search.batch_tokens // (length * search.beam_size), share, most))
        batches.append(todo[place : place + size])
        place += size
    return batches
