"""From tokenised shards to batches: a tf.data pipeline that streams them.

Axes: N pairs, B sentences in a batch, S source tokens, T target tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from transformer.config.sections import DataConfig
from transformer.data.records import Shards
from transformer.ids import END_ID, PAD_ID, START_ID

PARALLEL = 4  # files read side by side
PREFETCHED = 256  # batches made ahead, for the training to go on while the next buffer is sorted


def decode_pairs(records: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Return the source and target ids of N records, (N, None) each, with start and end added."""
    count = tf.shape(records)[0]
    lengths = tf.strings.length(records) // 4  # numbers in each record
    flat = tf.io.decode_raw(tf.strings.reduce_join(records), tf.int32)
    numbers = tf.RaggedTensor.from_row_lengths(flat, lengths)
    source_lengths = tf.gather(flat, numbers.row_starts())
    column = tf.ragged.range(lengths).flat_values
    split = tf.repeat(source_lengths, lengths)

    def part(mask: tf.Tensor, part_lengths: tf.Tensor) -> tf.RaggedTensor:
        ids = tf.RaggedTensor.from_row_lengths(tf.boolean_mask(flat, mask), part_lengths)
        edge = tf.ones((count, 1), tf.int32)
        return tf.concat([edge * START_ID, ids, edge * END_ID], axis=1)

    source = part((column > 0) & (column <= split), source_lengths)
    return source, part(column > split, lengths - 1 - source_lengths)


def cut_into_batches(
    source_lengths: tf.Tensor, target_lengths: tf.Tensor, batch_tokens: int, length_step: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sort pairs by length and cut them into batches of equal token counts.

    A pair's bucket is its longer side, rounded up to a multiple of `length_step`. Inside a bucket pairs are sorted by
    the target's, then the source's rounded length, so both sides of a batch carry little padding; pairs of
    equal rounded lengths keep their (shuffled) order. A batch holds at most `batch_tokens // bucket` pairs.

    Args:
        source_lengths: (N,) tokens, start and end included.
        target_lengths: (N,) tokens that the decoder reads (or writes).
        batch_tokens: padded tokens of a batch, on each side.
        length_step: see above.

    Returns:
        order (N,), and the first row of each batch in that order, ascending.
    """
    rounded = [(tf.cast(n, tf.int64) + length_step - 1) // length_step for n in (source_lengths, target_lengths)]
    bucket = tf.maximum(*rounded)
    limit = tf.reduce_max(bucket) + 1
    order = tf.argsort((bucket * limit + rounded[1]) * limit + rounded[0], stable=True)
    bucket = tf.gather(bucket, order)
    place = tf.range(tf.shape(bucket)[0]) - tf.searchsorted(bucket, bucket, side="left")  # row inside its bucket
    size = tf.maximum(1, batch_tokens // (tf.cast(bucket, tf.int32) * length_step))
    return order, tf.where(place % size == 0)[:, 0]


def batches(shards: Shards, config: DataConfig, seed: int | None = None, epoch: int = 0) -> tf.data.Dataset:
    """Return one epoch of batches `((source_ids, target_in), target_out)` for `fit` and for the trainer.

    Shards, pairs and batches are shuffled; the order follows from (seed, epoch) and TensorFlow's global seed, so an
    epoch can be resumed with `skip`. Both sides are padded with 0 to a multiple of `length_step`, and the number of
    rows is a multiple of an eighth of the bucket's full size: the number of shapes is bounded by the limits, not by
    the corpus.

    Args:
        shards: from `tokenised_shards`.
        config: limits and buffer sizes.
        seed: None keeps the shards' order (only length-sorted inside a buffer), for validation.
        epoch: number of the epoch.

    Returns:
        int32 batches: source_ids (B, S), target_in (B, T), target_out (B, T); target_in starts with the start token
        and target_out ends with the end token.
    """
    paths = list(shards.paths)
    if seed is not None:
        order_seed, pair_seed, batch_seed = (
            int(s) for s in np.random.SeedSequence([seed, epoch]).generate_state(3, np.uint32)
        )
        np.random.default_rng(order_seed).shuffle(paths)
    dataset = tf.data.TFRecordDataset(paths, num_parallel_reads=min(len(paths), PARALLEL))
    if seed is not None:
        dataset = dataset.shuffle(config.shuffle_buffer, pair_seed, reshuffle_each_iteration=False)

    limits = config.batch_tokens, config.length_step

    def batches_of_buffer(records: tf.Tensor) -> tf.data.Dataset:
        source, target, starts, ends = _sort_and_cut(records, *limits)
        cuts = tf.data.Dataset.from_tensor_slices((starts, ends))
        if seed is not None:
            cuts = cuts.shuffle(config.shuffle_buffer, batch_seed, reshuffle_each_iteration=False)
        return cuts.map(lambda start, end: _pad_batch(source, target, start, end, *limits))

    dataset = dataset.batch(config.shuffle_buffer).flat_map(batches_of_buffer)
    options = tf.data.Options()
    options.deterministic = True
    # tf.data's tuner sleeps for up to a minute at a time, and the end of an epoch often waits for it to wake.
    options.autotune.enabled = False
    return dataset.with_options(options).prefetch(PREFETCHED)


def streamed(dataset: tf.data.Dataset, shards: Shards) -> Iterator:
    """Yield what a dataset made of shards holds.

    Raises:
        AccidentError: the shards' files have been removed or changed since they were made.
    """
    shards.check()
    try:
        yield from dataset
    except (tf.errors.OpError, OSError):
        raise shards.lost() from None


@tf.function  # `batches` is called for every epoch; so the graph is made for the first one only
def _sort_and_cut(
    records: tf.Tensor, batch_tokens: int, length_step: int
) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.Tensor, tf.Tensor]:
    """Return source and target ids of a buffer in sorted order, and the first and last row (+ 1) of each batch."""
    source, target = decode_pairs(records)
    order, starts = cut_into_batches(source.row_lengths(), target.row_lengths() - 1, batch_tokens, length_step)
    ends = tf.concat([starts[1:], [tf.cast(tf.shape(order)[0], tf.int64)]], axis=0)
    return tf.gather(source, order), tf.gather(target, order), starts, ends


@tf.function
def _pad_batch(
    source: tf.RaggedTensor, target: tf.RaggedTensor, start: tf.Tensor, end: tf.Tensor, batch_tokens: int, step: int
) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Pad the rows of one batch to `((source_ids, target_in), target_out)`; see `batches` for the shapes.

    Rows that fill up the last batch of a bucket hold padding only.
    """
    source, target = source[start:end], target[start:end]
    source_width, target_width = (
        (tf.cast(longest, tf.int32) + step - 1) // step * step
        # The decoder reads all of the target but its end and writes all but its start.
        for longest in (source.bounding_shape(1), target.bounding_shape(1) - 1)
    )
    full = tf.maximum(1, batch_tokens // tf.maximum(source_width, target_width))
    part = (full + 7) // 8
    rows = tf.minimum(full, (tf.cast(source.nrows(), tf.int32) + part - 1) // part * part)
    source_ids = _dense(source, rows, source_width)
    target_ids = _dense(target, rows, target_width + 1)
    target_in = tf.where(target_ids == END_ID, PAD_ID, target_ids)[:, :-1]
    return (source_ids, target_in), target_ids[:, 1:]


def _dense(ragged: tf.RaggedTensor, rows: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    dense = ragged.to_tensor(PAD_ID, shape=(None, None))
    return tf.pad(dense, [[0, rows - tf.shape(dense)[0]], [0, width - tf.shape(dense)[1]]], constant_values=PAD_ID)
