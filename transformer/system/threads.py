"""How the cores of a CPU are shared."""

import collections
import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

PARALLEL = 2  # batches that a CPU works on side by side: halves of a training batch, batches of sentences


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_each() -> int:
    """Return how many of the cores that this process may use each of the `PARALLEL` batches has; at least 1."""
    return max(1, cores() // PARALLEL)


_working: list[int] = []  # the process in which a model computes, once one is loaded


def refuse_fork() -> None:
    """Raise a RuntimeError where this process was forked from one that had called this function.

    The threads of TensorFlow and CTranslate2 are not in the forked process, which would wait for them for ever.
    """
    if not _working:
        _working.append(os.getpid())
    if _working[0] != os.getpid():
        raise RuntimeError(
            "a model was loaded before this process was forked, and its threads do not work in a forked process; load "
            'it in the child alone, or start processes by the "spawn" method: multiprocessing.get_context("spawn")'
        )


def share_cores() -> None:
    """Divide the cores among the parallel batches; no effect once TensorFlow has run anything, or with a GPU."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_inter_op_parallelism_threads(PARALLEL)
        tf.config.threading.set_intra_op_parallelism_threads(cores_each())


def in_order(function: Callable, items: Iterable, threads: int = PARALLEL) -> Iterator:
    """Apply a function to items on some threads; yields the results in the items' order.

    At most `threads` + 1 items are read ahead of the results, which bounds the memory. A single item needs no thread.
    """
    items = iter(items)
    some = list(itertools.islice(items, 2))
    if len(some) < 2:
        yield from map(function, some)
        return
    items = itertools.chain(some, items)
    with ThreadPoolExecutor(threads) as pool:
        waiting: collections.deque[Future] = collections.deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
