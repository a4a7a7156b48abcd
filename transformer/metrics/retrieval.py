"""How well vectors find what belongs to them: ranks, accuracy, reciprocal ranks, and whether two systems differ.

Axes: N queries, C candidates, E numbers of a vector.
"""

import math
from collections.abc import Sequence

import numpy as np

BLOCK = 1024  # queries that are compared at once


def ranks(queries: np.ndarray, candidates: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Return the rank of each query's right candidate by their cosine, (N,), from 1 on; a tie counts against it.

    Args:
        queries: (N, E); candidate i is right for query i.
        candidates: (C, E), C at least N.
        texts: of the C candidates; one with the text of the right candidate is right, too.
    """
    if len(candidates) < len(queries) or len(texts) != len(candidates):
        raise ValueError(f"got {len(queries)} queries, {len(candidates)} candidates and {len(texts)} texts")
    numbers: dict[str, int] = {}
    same = np.array([numbers.setdefault(text, len(numbers)) for text in texts])
    queries, candidates = _units(queries), _units(candidates)
    found = []
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK] @ candidates.T  # (block, C)
        right = same[start : start + len(scores), np.newaxis] == same
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        found.append(1 + np.sum(~right & (scores >= best), axis=1))
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def ranks_both_ways(
    first: np.ndarray, second: np.ndarray, first_texts: Sequence[str], second_texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return `ranks` of pairs (N, E): of the second texts for the first, and of the first for the second."""
    return ranks(first, second, second_texts), ranks(second, first, first_texts)


def accuracy_at(found: np.ndarray, most: int) -> float:
    """Return the share of ranks (N,) that are at most so large; 0 of none."""
    return float(np.mean(found <= most)) if len(found) else 0.0


def mean_reciprocal_rank(found: np.ndarray) -> float:
    """Return the mean of 1 / rank, (N,); 0 of none.

    Source: Voorhees 1999, section 3.
    """
    return float(np.mean(1.0 / found)) if len(found) else 0.0


def mcnemar(one: Sequence[bool] | np.ndarray, other: Sequence[bool] | np.ndarray) -> float:
    """Return the probability that two systems, equally good, differ on as many examples or more: McNemar's exact test.

    Of b examples that only one gets right and c that only the other does, it is twice the probability of at most
    min(b, c) heads among b + c tosses of a coin, and at most 1.

    Args:
        one, other: (N,) bool, whether each got an example right.

    Source: McNemar 1947; Dietterich 1998, section 3.1.
    Deviation: exact rather than by chi-squared.
    """
    one, other = np.asarray(one, bool), np.asarray(other, bool)
    if one.shape != other.shape:
        raise ValueError(f"both must be of the same examples, got {one.shape} and {other.shape}")
    only_one, only_other = int(np.sum(one & ~other)), int(np.sum(other & ~one))
    tosses, fewer = only_one + only_other, min(only_one, only_other)
    heads = sum(math.comb(tosses, k) for k in range(fewer + 1))
    return min(1.0, float(2 * heads / 2**tosses))


def _units(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(lengths > 0, lengths, 1.0)
