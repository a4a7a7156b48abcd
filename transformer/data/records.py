"""Encoded examples on disk, made once for a corpus, its vocabularies and limits."""

import collections
import dataclasses
import errno
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import tensorflow as tf

from transformer.config.settings import DataConfig
from transformer.system.errors import EnvironmentFailure, UserError
from transformer.system.files import cache_folder, parse_json, path_inside, read_inside
from transformer.system.threads import in_order

FORMAT = 3  # of the shards; part of their fingerprint
ROWS_PER_SHARD = 250_000
EXAMPLES_PER_CALL = 4096  # encoded in one call, which a tokenizer spreads over the cores
Flat = tuple[np.ndarray, np.ndarray]  # of N rows: the integers, one row behind the other, and each row's number of them


class Rows(NamedTuple):
    """What is stored of some examples."""

    columns: dict[str, Flat]  # the integers of each column, by its name
    left_out: dict[str, int]  # how many examples are not in them, by the reason

    @classmethod
    def kept(cls, columns: Mapping[str, Flat], keep: np.ndarray, otherwise: str) -> Self:
        """Return those of N rows that are to be kept, (N,) booleans, and the reason why the others are not."""
        some = {name: (values[np.repeat(keep, lengths)], lengths[keep]) for name, (values, lengths) in columns.items()}
        return cls(some, {otherwise: int(np.sum(~keep))})


class Source(Protocol):
    """Where examples come from; see `tasks/base.py`."""

    name: str

    def examples(self, split: str) -> Iterator[Any]: ...

    def summary(self, split: str) -> str: ...


@dataclasses.dataclass(frozen=True)
class Shards:
    """The stored rows of one split."""

    paths: tuple[str, ...]  # TFRecord files
    rows: int  # number of rows in them
    left_out: dict[str, int]  # how many examples are not in them, by the reason
    summary: str  # what the corpus left out or changed before, in one line
    sizes: tuple[int, ...] = ()  # of the files, in bytes
    digests: tuple[str, ...] = ()  # BLAKE2b of the files, in hexadecimal

    def check(self, thorough: bool = False) -> None:
        """Raise EnvironmentFailure unless the files' sizes and, if `thorough`, their content are what was written."""
        try:
            same = tuple(os.path.getsize(path) for path in self.paths) == self.sizes
            same = same and not (thorough and tuple(in_order(_digest, self.paths)) != self.digests)
        except OSError:
            same = False
        if not same:
            raise self.lost()

    def lost(self) -> EnvironmentFailure:
        """Return what to say where the files are missing or damaged."""
        folder = Path(self.paths[0]).parent
        return EnvironmentFailure(f"the encoded examples in {folder} have been removed or damaged, and are made again")

    def describe(self) -> str:
        """Return what became of the examples, in one line."""
        return "; ".join([self.summary, *(f"{count} {reason}" for reason, count in self.left_out.items())])


def stored_shards(
    source: Source,
    split: str,
    encode: Callable[[Sequence[Any]], Rows],
    identity: Mapping[str, object],
    config: DataConfig,
    say: Callable[[str], None] = lambda _: None,
    together: int = EXAMPLES_PER_CALL,
) -> Shards:
    """Encode a split into shards on disk, or return those that an earlier run left.

    The folder's name is a fingerprint of `identity`: when that changes, other shards are made, and also when their
    files have changed. A folder is written under a temporary name and renamed when it is complete.

    Args:
        source: of the examples.
        split: which of them.
        encode: makes rows of some examples; called from several threads.
        identity: all that decides what the rows hold, as JSON.
        config: with the cache folder.
        say: is told how far it is, now and then.
        together: examples that `encode` is given in one call.

    Raises:
        UserError: no row is left, or the cache folder cannot be written.
    """
    parts = {"format": FORMAT, "split": split, **identity}
    name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache_folder(config.cache) / name
    shards = _read_shards(folder)
    if shards is None:
        try:
            shards = _make_shards(folder, source, split, encode, say, together)
        except (OSError, tf.errors.OpError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.message.rpartition("; ")[2]
            raise UserError(
                f"cannot write the cache folder {folder.parent} ({reason}); make room, or "
                "name another one with $TRANSFORMER_CACHE or data.cache"
            ) from None
    if not shards.rows:
        way_out = f"Raise data.max_tokens (now {config.max_tokens}) in the config"
        if split == "validation" and not sum(shards.left_out.values()):
            way_out = "Give validation files (data.valid), or at least 10 training examples to take some from"
        raise UserError(f"no {split} example of {source.name} is left: {shards.describe()}. {way_out}")
    return shards


def _read_shards(folder: Path, thorough: bool = True) -> Shards | None:
    """Return the shards in a folder, or None where they are not complete or, if that is looked at, not whole."""
    try:
        summary = parse_json(read_inside(folder, "summary.json"))
        paths = tuple(str(path_inside(folder, path)) for path in summary["paths"])
        rows, left_out = summary["rows"], {str(reason): count for reason, count in summary["left_out"].items()}
        if not all(type(count) is int and count >= 0 for count in (rows, *left_out.values())):
            return None
        sizes, digests = tuple(map(int, summary["sizes"])), tuple(map(str, summary["digests"]))
        shards = Shards(paths, rows, left_out, str(summary["summary"]), sizes, digests)
        shards.check(thorough)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UserError):
        return None
    return shards


def _digest(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _make_shards(
    folder: Path,
    source: Source,
    split: str,
    encode: Callable[[Sequence[Any]], Rows],
    say: Callable[[str], None],
    together: int,
) -> Shards:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        _write_shards(draft, source, split, encode, say, together)
        if _read_shards(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)  # what is left of shards that somebody cut or moved
        try:
            draft.rename(folder)
        except OSError:  # another process was first; its shards are the same
            if _read_shards(folder) is None:
                raise
        made = _read_shards(folder, thorough=False)
        if made is None:
            raise FileNotFoundError(errno.ENOENT, "what was just written has been removed", str(folder))
        return made
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_shards(
    folder: Path,
    source: Source,
    split: str,
    encode: Callable[[Sequence[Any]], Rows],
    say: Callable[[str], None],
    together: int,
) -> None:
    examples = source.examples(split)
    paths: list[str] = []
    left_out: collections.Counter = collections.Counter()
    written, writer = 0, None

    def encoded(chunk: list[Any]) -> tuple[list[bytes], dict[str, int]]:
        rows = encode(chunk)
        return encode_records(list(rows.columns.values())), rows.left_out

    chunks = iter(lambda: list(itertools.islice(examples, together)), [])
    try:
        # A tokenizer works in C++ while the next examples are read and cleaned.
        for records, more in in_order(encoded, chunks):
            for record in records:
                if writer is None or written % ROWS_PER_SHARD == 0:
                    if writer:
                        writer.close()
                        say(f"{written:,} rows written")
                    paths.append(f"{len(paths):05d}.tfrecord")
                    writer = tf.io.TFRecordWriter(str(folder / paths[-1]))
                writer.write(record)
                written += 1
            left_out.update(more)
    finally:
        if writer:
            writer.close()
    files = [folder / path for path in paths]
    sizes, digests = tuple(path.stat().st_size for path in files), tuple(in_order(_digest, files))
    summary = Shards(tuple(paths), written, dict(left_out), source.summary(split), sizes, digests)
    (folder / "summary.json").write_text(json.dumps(dataclasses.asdict(summary)), encoding="utf-8")


def encode_records(columns: Sequence[Flat]) -> list[bytes]:
    """Return a record for each of N rows: the lengths of all columns but the last, then the columns, as little-endian
    int32.

    Args:
        columns: of each, the integers of all rows, one behind the other, and their lengths (N,).
    """
    lengths = np.stack([own for _, own in columns], axis=1).astype(np.int64)  # (N, K)
    heads = lengths[:, :-1]  # (N, K - 1)
    sizes = np.concatenate([np.full((len(lengths), 1), heads.shape[1]), lengths], axis=1)  # (N, 1 + K)
    ends = np.cumsum(np.sum(sizes, axis=1))
    flat = np.empty(ends[-1] if len(ends) else 0, "<i4")
    part = np.repeat(np.tile(np.arange(sizes.shape[1], dtype=np.int8), len(sizes)), sizes.ravel())
    for index, values in enumerate((heads.ravel(), *(own for own, _ in columns))):
        flat[part == index] = values
    data, places = flat.tobytes(), [0, *(flat.itemsize * ends).tolist()]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def decode_records(records: tf.Tensor, names: Sequence[str]) -> dict[str, tf.RaggedTensor]:
    """Return the columns (N, None), int32, by their names, of N records that `encode_records` made."""
    sizes = tf.strings.length(records) // 4  # numbers in each record
    flat = tf.io.decode_raw(tf.strings.reduce_join(records), tf.int32)
    numbers = tf.RaggedTensor.from_row_lengths(flat, sizes)
    place = tf.ragged.range(sizes).flat_values  # of each number in its record
    heads = len(names) - 1
    lengths = [tf.gather(flat, numbers.row_starts() + index) for index in range(heads)]
    lengths.append(sizes - heads - sum(lengths))
    columns, start = {}, tf.fill(tf.shape(sizes), heads)
    for name, own in zip(names, lengths, strict=True):
        inside = (place >= tf.repeat(start, sizes)) & (place < tf.repeat(start + own, sizes))
        columns[name] = tf.RaggedTensor.from_row_lengths(tf.boolean_mask(flat, inside), own)
        start += own
    return columns
