"""From stored records to batches: a tf.data pipeline that streams them.

Axes: N rows of a buffer, B rows of a batch.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from transformer.config.settings import DataConfig
from transformer.data.records import Shards, decode_records

PARALLEL = 4  # files read side by side
PREFETCHED = 256  # batches made ahead, for the training to go on while the next buffer is sorted
Batch = dict[str, tf.Tensor]  # features by name, axis 0 is B; a row of zeros counts for nothing
Record = dict[str, tf.RaggedTensor]  # the stored columns of some rows, (N, None) int32 each


class Batching(Protocol):
    """What a task says of its batches; see `tasks/base.py`."""

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def features(self) -> Mapping[str, tf.TensorSpec]: ...

    def lengths(self, record: Record) -> Sequence[tf.Tensor]: ...

    def buffered(self) -> int: ...

    def batch(self, record: Record, seed: tf.Tensor) -> Batch: ...

    def __hash__(self) -> int: ...


def cut_into_batches(lengths: Sequence[tf.Tensor], batch_tokens: int, length_step: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Sort rows by their lengths (N,) in tokens and cut them into batches of at most `batch_tokens`, padding included.

    A row's bucket is its longest length, rounded up to a multiple of `length_step`. Inside a bucket rows are sorted by
    the last, then the one before, and so on, of the rounded lengths, so all of a batch carry little padding; rows of
    equal rounded lengths keep their (shuffled) order. A batch holds at most `batch_tokens // bucket` rows.

    Returns order (N,), and the first row of each batch in that order, ascending.
    """
    rounded = [(tf.cast(length, tf.int64) + length_step - 1) // length_step for length in lengths]
    key = bucket = tf.reduce_max(tf.stack(rounded), axis=0)
    limit = tf.reduce_max(bucket) + 1
    for length in reversed(rounded):
        key = key * limit + length
    order = tf.argsort(key, stable=True)
    bucket = tf.gather(bucket, order)
    place = tf.range(tf.shape(bucket)[0]) - tf.searchsorted(bucket, bucket, side="left")  # row inside its bucket
    size = tf.maximum(1, batch_tokens // (tf.cast(bucket, tf.int32) * length_step))
    return order, tf.where(place % size == 0)[:, 0]


def batches(
    shards: Shards, task: Batching, config: DataConfig, seed: int | None = None, epoch: int = 0
) -> tf.data.Dataset:
    """Return one epoch of batches, features by name.

    Shards, rows and batches are shuffled; the order follows from (seed, epoch) and TensorFlow's global seed, so an
    epoch can be resumed with `skip`. Axes that the task leaves open are padded with 0 to a multiple of `length_step`,
    and the number of rows is a multiple of an eighth of the bucket's full size: the number of shapes is bounded by the
    limits, not by the corpus. Rows that fill up the last batch of a bucket hold zeros only.

    Args:
        shards: from `stored_shards`.
        task: what its records are, and makes features of them.
        config: limits and buffer sizes.
        seed: None keeps the shards' order (only length-sorted inside a buffer), for validation.
        epoch: number of the epoch.
    """
    paths, batch_seed, buffered = list(shards.paths), 0, task.buffered()
    if seed is not None:
        order_seed, row_seed, batch_seed = (
            int(s) for s in np.random.SeedSequence([seed, epoch]).generate_state(3, np.uint32)
        )
        np.random.default_rng(order_seed).shuffle(paths)
    dataset = tf.data.TFRecordDataset(paths, num_parallel_reads=min(len(paths), PARALLEL))
    if seed is not None:
        dataset = dataset.shuffle(buffered, row_seed, reshuffle_each_iteration=False)

    plain = tf.autograph.experimental.do_not_convert  # no Python control flow over tensors, so no second to look for it
    sort_and_cut, make_batch = _graphs(task, config.batch_tokens, config.length_step)

    @plain
    def batches_of_buffer(buffer: tf.Tensor, records: tf.Tensor) -> tf.data.Dataset:
        columns, longest, starts, ends = sort_and_cut(records)
        cuts = tf.data.Dataset.from_tensor_slices((starts, ends))
        if seed is not None:
            cuts = cuts.shuffle(buffered, batch_seed, reshuffle_each_iteration=False)

        @plain
        def batch(start: tf.Tensor, end: tf.Tensor) -> Batch:
            seeds = tf.stack([tf.constant(batch_seed, tf.int64), buffer * 2**32 + start])
            return make_batch(columns, longest, start, end, seeds)

        return cuts.map(batch)

    dataset = dataset.batch(buffered).enumerate().flat_map(batches_of_buffer)
    options = tf.data.Options()
    options.deterministic = True
    # tf.data's tuner sleeps for up to a minute at a time, and the end of an epoch often waits for it to wake.
    options.autotune.enabled = False
    return dataset.with_options(options).prefetch(PREFETCHED)


@functools.lru_cache(maxsize=2)  # `batches` is called for each epoch and validation: they share the first one's graphs
def _graphs(task: Batching, batch_tokens: int, length_step: int) -> tuple[Callable, Callable]:
    """Return a graph from the records of a buffer to sorted rows and cuts, and one from rows and a cut to a batch."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def sort_and_cut(records: tf.Tensor) -> tuple[Record, tf.Tensor, tf.Tensor, tf.Tensor]:
        columns = decode_records(records, task.columns)
        order, starts = cut_into_batches(task.lengths(columns), batch_tokens, length_step)
        columns = {name: tf.gather(column, order) for name, column in columns.items()}
        longest = tf.reduce_max(tf.stack([tf.cast(n, tf.int32) for n in task.lengths(columns)]), axis=0)  # (N,)
        ends = tf.concat([starts[1:], [tf.cast(tf.shape(order)[0], tf.int64)]], axis=0)
        return columns, longest, starts, ends

    @tf.function(autograph=False)
    def make_batch(columns: Record, longest: tf.Tensor, start: tf.Tensor, end: tf.Tensor, seed: tf.Tensor) -> Batch:
        features = task.batch({name: column[start:end] for name, column in columns.items()}, seed)
        return _padded(features, task.features, tf.reduce_max(longest[start:end]), batch_tokens, length_step)

    return sort_and_cut, make_batch


def _padded(
    features: Batch, specs: Mapping[str, tf.TensorSpec], longest: tf.Tensor, batch_tokens: int, step: int
) -> Batch:
    """Pad the features of a batch whose longest length is given; see `batches` for the shapes."""
    full = tf.maximum(1, batch_tokens // ((longest + step - 1) // step * step))
    part = (full + 7) // 8

    def padded(feature: tf.Tensor, spec: tf.TensorSpec) -> tf.Tensor:
        shape = tf.shape(feature)
        rows = tf.minimum(full, (shape[0] + part - 1) // part * part)
        open_axes = [-shape[axis] % step if spec.shape[axis] is None else 0 for axis in range(1, spec.shape.rank)]
        feature = tf.pad(feature, [[0, size] for size in (rows - shape[0], *open_axes)])
        return tf.ensure_shape(feature, spec.shape)

    return {name: padded(features[name], spec) for name, spec in specs.items()}


def streamed(dataset: tf.data.Dataset, shards: Shards) -> Iterator[Batch]:
    """Yield what a dataset made of shards holds; an EnvironmentFailure tells that their files are gone or changed."""
    shards.check()
    try:
        yield from dataset
    except (tf.errors.OpError, OSError):
        raise shards.lost() from None
