"""The nearest vectors of many, exactly, by matrix multiplication in blocks.

Axes: Q queries, C vectors of a block, E numbers of a vector, K nearest.
"""

from collections.abc import Iterable

import numpy as np


def nearest(queries: np.ndarray, blocks: Iterable[np.ndarray], most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (Q, K) and the numbers (Q, K) of the vectors with the largest products, the largest first.

    The memory is that of a block and of K candidates for each query. Of equal scores the earlier vector is nearer; K is
    `most`, or how many vectors there are.

    Args:
        queries: (Q, E) float32.
        blocks: of vectors, (C, E) each, of any sizes; they are numbered from 0 on, through all blocks.
        most: K, at least 1.

    Raises:
        ValueError: `most` is below 1.
    """
    if most < 1:
        raise ValueError(f"most must be at least 1, got {most}")
    scores = np.zeros((len(queries), 0), np.float32)
    numbers = np.zeros((len(queries), 0), np.int64)
    done = 0
    for block in blocks:
        own = queries @ np.asarray(block, np.float32).T  # (Q, C)
        scores = np.concatenate([scores, own], axis=1)
        numbers = np.concatenate([numbers, np.broadcast_to(np.arange(done, done + len(block)), own.shape)], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :most]
        scores, numbers = np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)
        done += len(block)
    return scores, numbers
