"""From sentence pairs to batches: tokenised shards on disk, then a tf.data pipeline that streams them.

Axes: B sentences in a batch, S source tokens, T target tokens.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from transformer.config import END_ID, PAD_ID, START_ID, Config, DataConfig, UserError
from transformer.data.cleaning import CleaningReport, clean
from transformer.data.corpora import Corpus
from transformer.data.tokenizers import TokenizerPair

FORMAT = 1  # of the shards; part of their fingerprint
PAIRS_PER_SHARD = 250_000
PAIRS_PER_CALL = 4096  # tokenised in one call, which the tokenizer spreads over the cores


@dataclasses.dataclass(frozen=True)
class Shards:
    """Tokenised pairs of one split on disk.

    Attributes:
        paths: TFRecord files.
        pairs: number of pairs in them.
        target_tokens: their target tokens, the end token included.
        too_long: pairs left out because a side has more than `max_tokens` tokens.
        cleaning: what cleaning did, in one line.
    """

    paths: tuple[str, ...]
    pairs: int
    target_tokens: int
    too_long: int
    cleaning: str


def cache_folder(config: DataConfig) -> Path:
    """Return where tokenised shards are kept."""
    return Path(config.cache or os.environ.get("TRANSFORMER_CACHE") or "~/.cache/transformer").expanduser()


def cleaned_pairs(
    corpus: Corpus, split: str, config: Config, report: CleaningReport | None = None
) -> Iterator[tuple[str, str]]:
    """Stream the pairs of a split; those of the training split are cleaned.

    Raises:
        UserError: no training pair passed the cleaning.
    """
    if split != "train":
        yield from corpus.pairs(split)
        return
    report = CleaningReport() if report is None else report
    yield from clean(corpus.pairs(split), config.cleaning, corpus.source_language, corpus.target_language, report)
    if not report.kept:
        raise UserError(f"no pair of {corpus.name} passed the cleaning: {report}. Relax [cleaning] in the config")


def tokenised_shards(corpus: Corpus, split: str, tokenizers: TokenizerPair, config: Config) -> Shards:
    """Tokenise a split into shards on disk, or return those that an earlier run left.

    The folder's name is a fingerprint of corpus, tokenizers, cleaning and limits: when one of them changes, other
    shards are made. A folder is written under a temporary name and renamed when it is complete.

    Raises:
        UserError: no pair is left, or the cache folder cannot be written.
    """
    parts = {
        "format": FORMAT,
        "corpus": corpus.fingerprint(),
        "tokenizers": tokenizers.fingerprint(),
        "split": split,
        "cleaning": dataclasses.asdict(config.cleaning) if split == "train" else None,
        "max_tokens": config.data.max_tokens,
        "validation_pairs": config.data.validation_pairs,
        "languages": [corpus.source_language, corpus.target_language],
    }
    name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache_folder(config.data) / name
    shards = _read_shards(folder)
    if shards is None:
        try:
            shards = _make_shards(folder, corpus, split, tokenizers, config)
        except (OSError, tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.message
            raise UserError(
                f"cannot write the cache folder {folder.parent} ({reason}); "
                "name another one with $TRANSFORMER_CACHE or data.cache"
            ) from None
    if not shards.pairs:
        way_out = "Raise data.max_tokens in the config"
        if split == "validation" and not shards.too_long:
            way_out = "Give --valid-source and --valid-target, or at least 10 training pairs to take some from"
        raise UserError(
            f"no {split} pair of {corpus.name} is left: {shards.cleaning}; {shards.too_long} longer than "
            f"data.max_tokens={config.data.max_tokens}. {way_out}"
        )
    return shards


def _read_shards(folder: Path) -> Shards | None:
    """Return the shards in a folder, or None where they are not complete."""
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        shards = Shards(**{**summary, "paths": tuple(str(folder / path) for path in summary["paths"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return shards if all(Path(path).is_file() for path in shards.paths) else None


def _make_shards(folder: Path, corpus: Corpus, split: str, tokenizers: TokenizerPair, config: Config) -> Shards:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        _write_shards(draft, corpus, split, tokenizers, config)
        if _read_shards(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)  # what is left of shards that somebody cut or moved
        try:
            draft.rename(folder)
        except OSError:  # another process was first; its shards are the same
            if _read_shards(folder) is None:
                raise
        return _read_shards(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_shards(folder: Path, corpus: Corpus, split: str, tokenizers: TokenizerPair, config: Config) -> None:
    report = CleaningReport()
    pairs = cleaned_pairs(corpus, split, config, report)
    longest = config.data.max_tokens - 2  # start and end take two
    paths, kept, target_tokens, too_long, writer = [], 0, 0, 0, None
    try:
        while chunk := list(itertools.islice(pairs, PAIRS_PER_CALL)):
            sources, targets = (
                tokenizer.tokenize(tf.constant(texts))
                for tokenizer, texts in zip(
                    (tokenizers.source, tokenizers.target), zip(*chunk, strict=True), strict=True
                )
            )
            for source, target in zip(_rows(sources), _rows(targets), strict=True):
                if max(len(source), len(target)) > longest:
                    too_long += 1
                    continue
                if kept % PAIRS_PER_SHARD == 0:
                    if writer:
                        writer.close()
                    paths.append(f"{len(paths):05d}.tfrecord")
                    writer = tf.io.TFRecordWriter(str(folder / paths[-1]))
                writer.write(encode_pair(source, target))
                kept += 1
                target_tokens += len(target) + 1
    finally:
        if writer:
            writer.close()
    summary = Shards(tuple(paths), kept, target_tokens, too_long, str(report) if split == "train" else "not cleaned")
    (folder / "summary.json").write_text(json.dumps(dataclasses.asdict(summary)), encoding="utf-8")


def _rows(ragged: tf.RaggedTensor) -> list[np.ndarray]:
    return np.split(ragged.values.numpy(), ragged.row_splits.numpy()[1:-1])


def encode_pair(source: np.ndarray, target: np.ndarray) -> bytes:
    """Return a record: the source's length, the source ids and the target ids, as little-endian int32."""
    return np.concatenate([[len(source)], source, target]).astype("<i4").tobytes()


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
    dataset = tf.data.TFRecordDataset(paths, num_parallel_reads=min(len(paths), 4))
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
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)


@tf.function  # `batches` is called for every epoch; so the graph is made for the first one only
def _sort_and_cut(records, batch_tokens, length_step):
    """Return source and target ids of a buffer in sorted order, and the first and last row (+ 1) of each batch."""
    source, target = decode_pairs(records)
    order, starts = cut_into_batches(source.row_lengths(), target.row_lengths() - 1, batch_tokens, length_step)
    ends = tf.concat([starts[1:], [tf.cast(tf.shape(order)[0], tf.int64)]], axis=0)
    return tf.gather(source, order), tf.gather(target, order), starts, ends


@tf.function
def _pad_batch(source, target, start, end, batch_tokens, step):
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
