"""The likeliest sequence of tags, of those in which each may follow the one before (Viterbi 1967; Forney 1973)."""

import numpy as np


def likeliest(scores: np.ndarray, allowed: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the tags (T,) of the allowed sequence with the highest sum of scores.

    Args:
        scores: (T, C) of each place and tag.
        allowed: (C, C) bool, whether the tag of a column may follow that of a row.
        first: (C,) bool, whether a tag may be the first.
        last: (C,) bool, whether it may be the last.

    Raises:
        ValueError: no sequence is allowed.
    """
    best = scores.argmax(axis=1)
    if not len(best) or (first[best[0]] and last[best[-1]] and allowed[best[:-1], best[1:]].all()):
        return best
    steps = np.where(allowed, 0.0, -np.inf)  # (C, C)
    total = np.where(first, scores[0].astype(np.float64), -np.inf)  # (C,) of the best sequence that ends with each tag
    before = np.zeros(scores.shape, np.int64)
    for place in range(1, len(scores)):
        ways = total[:, np.newaxis] + steps  # (C, C)
        before[place] = ways.argmax(axis=0)
        total = ways.max(axis=0) + scores[place]
    total = np.where(last, total, -np.inf)
    if not np.isfinite(total.max()):
        raise ValueError("allowed must permit a sequence of this length, got none")
    tags = [int(total.argmax())]
    for place in range(len(scores) - 1, 0, -1):
        tags.append(int(before[place, tags[-1]]))
    return np.array(tags[::-1])
