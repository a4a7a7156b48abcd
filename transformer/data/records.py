"""Tokenised sentence pairs on disk, made once for a corpus, a vocabulary and limits."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.sections import DataConfig
from transformer.data.cleaning import CleaningReport, clean
from transformer.data.examples.corpus import Corpus
from transformer.data.tokenizers.learning import reservoir
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.system.errors import AccidentError, UserError
from transformer.system.files import own_path, parse_json, read_own
from transformer.system.threads import in_order

FORMAT = 2  # of the shards, and of what cleaning does; part of their fingerprint
PAIRS_PER_SHARD = 250_000
PAIRS_PER_CALL = 4096  # tokenised in one call, which the tokenizer spreads over the cores
FlatIds = tuple[np.ndarray, np.ndarray]  # of many texts, one behind the other, and each text's number of them


@dataclasses.dataclass(frozen=True)
class Shards:
    """Tokenised pairs of one split on disk.

    Attributes:
        paths: TFRecord files.
        pairs: number of pairs in them.
        target_tokens: their target tokens, the end token included.
        too_long: pairs left out because a side has more than `max_tokens` tokens.
        cleaning: what cleaning did, in one line.
        sizes: of the files, in bytes.
        digests: BLAKE2b of the files, in hexadecimal.
    """

    paths: tuple[str, ...]
    pairs: int
    target_tokens: int
    too_long: int
    cleaning: str
    sizes: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()

    def check(self, thorough: bool = False) -> None:
        """Compare the files' sizes, and their content if it is to be `thorough`, with what was written.

        Raises:
            AccidentError: a file is missing or has changed.
        """
        try:
            same = tuple(os.path.getsize(path) for path in self.paths) == self.sizes
            same = same and not (thorough and tuple(in_order(_digest, self.paths)) != self.digests)
        except OSError:
            same = False
        if not same:
            raise self.lost()

    def lost(self) -> AccidentError:
        """Return what to say where the files are missing or damaged."""
        folder = Path(self.paths[0]).parent
        return AccidentError(f"the tokenised sentences in {folder} have been removed or damaged, and are made again")


def cache_folder(config: DataConfig) -> Path:
    """Return where tokenised shards are kept.

    Raises:
        UserError: in the home folder of a user who has none.
    """
    folder = Path(config.cache or os.environ.get("TRANSFORMER_CACHE") or "~/.cache/transformer")
    try:
        return folder.expanduser()
    except RuntimeError:
        raise UserError(
            f"there is no home folder for {folder}; name another folder with $TRANSFORMER_CACHE or data.cache"
        ) from None


def cleaned_pairs(
    corpus: Corpus, split: str, config: Config, report: CleaningReport | None = None, sample: int = 0
) -> Iterator[tuple[str, str]]:
    """Stream the pairs of a split; those of the training split are cleaned.

    Args:
        corpus: where they are read.
        split: 'train' or another split of the corpus.
        config: with the cleaning rules.
        report: what cleaning did is added to it.
        sample: at most so many pairs, chosen at random before they are cleaned; 0: all.

    Raises:
        UserError: no training pair passed the cleaning.
    """
    if split != "train":
        yield from corpus.pairs(split)
        return
    report = CleaningReport() if report is None else report
    pairs = reservoir(corpus.pairs(split), sample) if sample else corpus.pairs(split)
    yield from clean(pairs, config.cleaning, corpus.source_language, corpus.target_language, report)
    if not report.kept:
        raise UserError(f"no pair of {corpus.name} passed the cleaning: {report}. Relax [cleaning] in the config")


def tokenised_shards(
    corpus: Corpus, split: str, tokenizers: TokenizerPair, config: Config, say: Callable[[str], None] = lambda _: None
) -> Shards:
    """Tokenise a split into shards on disk, or return those that an earlier run left.

    The folder's name is a fingerprint of corpus, tokenizers, cleaning and limits: when one of them changes, other
    shards are made, and also when their files have changed. A folder is written under a temporary name and renamed when
    it is complete. `say` is told how far it is, now and then.

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
            shards = _make_shards(folder, corpus, split, tokenizers, config, say)
        except (OSError, tf.errors.OpError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.message.rpartition("; ")[2]
            raise UserError(
                f"cannot write the cache folder {folder.parent} ({reason}); make room, or "
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


def _read_shards(folder: Path, thorough: bool = True) -> Shards | None:
    """Return the shards in a folder, or None where they are not complete or, if that is looked at, not whole."""
    try:
        summary = parse_json(read_own(folder, "summary.json"))
        paths = tuple(str(own_path(folder, path)) for path in summary["paths"])
        pairs, tokens, too_long = (summary[name] for name in ("pairs", "target_tokens", "too_long"))
        if not all(type(count) is int and count >= 0 for count in (pairs, tokens, too_long)):
            return None
        sizes, digests = tuple(map(int, summary["sizes"])), tuple(map(str, summary["digests"]))
        shards = Shards(paths, pairs, tokens, too_long, str(summary["cleaning"]), sizes, digests)
        shards.check(thorough)
    except (OSError, ValueError, TypeError, KeyError, UserError):
        return None
    return shards


def _digest(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _make_shards(
    folder: Path,
    corpus: Corpus,
    split: str,
    tokenizers: TokenizerPair,
    config: Config,
    say: Callable[[str], None],
) -> Shards:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        _write_shards(draft, corpus, split, tokenizers, config, say)
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
    corpus: Corpus,
    split: str,
    tokenizers: TokenizerPair,
    config: Config,
    say: Callable[[str], None],
) -> None:
    report = CleaningReport()
    pairs = cleaned_pairs(corpus, split, config, report)
    paths: list[str] = []
    kept, target_tokens, too_long, writer = 0, 0, 0, None

    def tokenised(chunk: list[tuple[str, str]]) -> tuple[list[bytes], int, int]:
        return _records(chunk, tokenizers, config.data.max_tokens)

    chunks = iter(lambda: list(itertools.islice(pairs, PAIRS_PER_CALL)), [])
    try:
        # The tokenizer works in C++ while the next pairs are read and cleaned.
        for records, tokens, left_out in in_order(tokenised, chunks):
            for record in records:
                if writer is None or kept % PAIRS_PER_SHARD == 0:
                    if writer:
                        writer.close()
                        say(f"{kept:,} pairs tokenised")
                    paths.append(f"{len(paths):05d}.tfrecord")
                    writer = tf.io.TFRecordWriter(str(folder / paths[-1]))
                writer.write(record)
                kept += 1
            target_tokens += tokens
            too_long += left_out
    finally:
        if writer:
            writer.close()
    cleaning = str(report) if split == "train" else "not cleaned"
    written = [folder / path for path in paths]
    sizes, digests = tuple(path.stat().st_size for path in written), tuple(in_order(_digest, written))
    counts = kept, target_tokens, too_long
    summary = Shards(tuple(paths), *counts, cleaning, sizes, digests)
    (folder / "summary.json").write_text(json.dumps(dataclasses.asdict(summary)), encoding="utf-8")


def _records(chunk: list[tuple[str, str]], tokenizers: TokenizerPair, max_tokens: int) -> tuple[list[bytes], int, int]:
    """Return the records of the pairs that are not too long, their target tokens, and the number of the others."""
    sides = zip((tokenizers.source, tokenizers.target), zip(*chunk, strict=True), strict=True)
    ragged = [tokenizer.tokenize(tf.constant(texts)) for tokenizer, texts in sides]
    source, target = ((rows.values.numpy(), np.diff(rows.row_splits)) for rows in ragged)
    fits = np.maximum(source[1], target[1]) <= max_tokens - 2  # start and end take two
    records = encode_pairs(source, target)
    return list(itertools.compress(records, fits)), int(np.sum(target[1][fits] + 1)), int(np.sum(~fits))


def encode_pairs(source: FlatIds, target: FlatIds) -> list[bytes]:
    """Return a record for each pair: the source's length, the source ids and the target ids, as little-endian int32.

    Args:
        source: the ids of all sources, one behind the other, and their lengths (N,).
        target: likewise.
    """
    lengths = np.stack([np.ones_like(source[1]), source[1], target[1]], axis=1)  # (N, 3)
    ends = np.cumsum(np.sum(lengths, axis=1))
    flat = np.empty(ends[-1], "<i4")
    part = np.repeat(np.tile(np.arange(3, dtype=np.int8), len(lengths)), lengths.ravel())
    for index, values in enumerate((source[1], source[0], target[0])):
        flat[part == index] = values
    data, places = flat.tobytes(), [0, *(flat.itemsize * ends).tolist()]
    return [data[start:end] for start, end in itertools.pairwise(places)]
