"""Pairs taken from training for validation where a corpus has none: the same at each run, never on both sides."""

import hashlib
import heapq
from collections.abc import Iterable

from transformer.data.cleaning import SPACES, normalise_text, strip_html

Pair = tuple[str, str]


def hold_out(pairs: Iterable[Pair], wanted: int) -> frozenset[int]:
    """Return the hashes of the training pairs, at most `wanted`, that go to validation.

    They are the smallest hashes of pairs without an empty side, as far as all their copies together make at most a
    tenth of the corpus. Memory grows with `wanted`, not with the corpus.
    """
    smallest: list[int] = []  # a heap of negated hashes: the largest kept hash is on top
    copies: dict[int, int] = {}
    total = 0
    for pair in pairs:
        total += 1
        if not (pair[0].strip(SPACES) and pair[1].strip(SPACES)):
            continue
        key = pair_hash(pair)
        if key in copies:
            copies[key] += 1
        elif len(smallest) < wanted:
            heapq.heappush(smallest, -key)
            copies[key] = 1
        elif key < -smallest[0]:
            del copies[-heapq.heappushpop(smallest, -key)]
            copies[key] = 1
    room = total // 10
    chosen = []
    for key in sorted(copies):
        if copies[key] <= room:
            room -= copies[key]
            chosen.append(key)
    return frozenset(chosen)


def pair_hash(pair: Pair) -> int:
    """Return a 64-bit hash of a pair's text after cleaning: pairs that cleaning makes equal must not be divided."""
    text = "\0".join(normalise_text(strip_html(side)) for side in pair)
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())
