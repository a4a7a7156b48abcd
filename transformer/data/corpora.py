"""Parallel corpora: one interface to the embedded phrasebook, any TFDS translation dataset, and a user's own files."""

from __future__ import annotations

import abc
import hashlib
import itertools
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path

import tensorflow as tf

from transformer.config.sections import DEFAULT_DATASET, PAIR_FILES, DataConfig
from transformer.data import suspicions, textfiles
from transformer.data.downloads import ALTERNATIVES, directions, prepare
from transformer.data.held_out import Pair, hold_out, pair_hash
from transformer.data.languages import check_language
from transformer.system.errors import AccidentError, UserError

if typing.TYPE_CHECKING:
    import tensorflow_datasets

READERS: dict[str, textfiles.Reader] = {"tsv": textfiles.rows}  # by their names in `PAIR_FILES`
_EXAMPLES_TOGETHER = 1024  # fetched in one go; bounds the memory


class Corpus(abc.ABC):
    """Sentence pairs in splits, read as a stream.

    `splits` always holds 'train' and 'validation'. A source without a validation split gives away at most
    `validation_pairs` of its training pairs, and at most a tenth of them: those whose hash is smallest. The hash is
    taken of the cleaned text, so a pair and its duplicates stand on one side, the same at each run.
    A source of fewer than 10 pairs gives none.

    Args:
        name: for messages and pictures.
        source_language: code, or empty where the user gave none.
        target_language: likewise.
        own_splits: the splits that the source itself has.
        validation_pairs: upper bound described above.
    """

    def __init__(
        self, name: str, source_language: str, target_language: str, own_splits: Iterable[str], validation_pairs: int
    ) -> None:
        self.name = name
        self.source_language = source_language
        self.target_language = target_language
        self.own_splits = tuple(own_splits)
        self.splits = tuple(dict.fromkeys((*self.own_splits, "validation")))
        self.validation_pairs = validation_pairs
        self._held_out: frozenset[int] | None = None

    def pairs(self, split: str) -> Iterator[Pair]:
        """Start a pass over the (source, target) pairs of a split, in the order of the source.

        Raises:
            ValueError: unknown split.
            UserError: the source cannot be read; see `open_corpus`.
        """
        if split not in self.splits:
            raise ValueError(f"split must be one of {self.splits}, got {split!r}")
        if "validation" in self.own_splits or split not in ("train", "validation"):
            return self._read(split)
        return self._divided(split)

    def fingerprint(self) -> str:
        """Return a SHA-256, in hexadecimal, that changes whenever the pairs, their order or their division may."""
        parts = [*self._identity()]
        if "validation" not in self.own_splits:
            parts.append(f"validation_pairs {self.validation_pairs}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @abc.abstractmethod
    def check(self) -> None:
        """Read the source through, once, where its text may be faulty.

        Raises:
            UserError: the first fault found; see `open_corpus`.
        """

    def warnings(self) -> Iterator[str]:
        """Yield what looks wrong at the beginning of the training text, though it can be read."""
        yield from ()

    @abc.abstractmethod
    def _read(self, split: str) -> Iterator[Pair]:
        """Start a pass over one of the source's own splits."""

    @abc.abstractmethod
    def _identity(self) -> Iterator[str]:
        """Yield lines that tell this corpus from any other."""

    def _divided(self, split: str) -> Iterator[Pair]:
        if self._held_out is None:
            self._held_out = hold_out(self._read("train"), self.validation_pairs)
        unseen = set(self._held_out)
        for pair in self._read("train"):
            key = pair_hash(pair)
            if split == "train" and key not in self._held_out:
                yield pair
            elif split == "validation" and key in unseen:
                unseen.remove(key)
                yield pair


class FileCorpus(Corpus):
    """A user's own files: two aligned texts, one sentence a line, or one file of pairs, such as a TSV.

    Files ending in `.gz` are read through gzip. Text is UTF-8; a byte order mark at its start is dropped. A line ends
    at U+000A only, a U+000D before it is dropped; every other separator Unicode knows is text. In a TSV, further
    columns are ignored and an empty line is an empty pair.

    Args:
        files: paths by split, 'train' and perhaps 'validation': (source, target) or (file of pairs,).
        source_language: code or empty.
        target_language: code or empty.
        validation_pairs: see `Corpus`.
        read: reads a file of pairs.

    Raises:
        UserError: a path that is missing or no file.
    """

    def __init__(
        self,
        files: dict[str, tuple[Path, ...]],
        source_language: str,
        target_language: str,
        validation_pairs: int,
        read: textfiles.Reader = textfiles.rows,
    ) -> None:
        name = " + ".join(path.name for path in files["train"])
        super().__init__(name, source_language, target_language, files, validation_pairs)
        self._files, self._read_pairs = files, read
        self._digests: list[str] = []
        self._stamps: dict[Path, textfiles.Stamp] = {}  # when the files were read through
        for path in itertools.chain(*files.values()):
            if path.is_dir():
                raise UserError(f"{path} is a directory, not a text file; name a file inside it")
            if not path.exists():
                raise UserError(f"there is no file {path}; check the path")
            if not path.is_file():
                raise UserError(
                    f"{path} is a pipe or a device, and text is read more than once; save it to a file first"
                )

    def check(self) -> None:
        """Read every file through once: encoding, columns, equal line counts, any text at all.

        Raises:
            UserError: the first fault found, with its file and line.
        """
        if not self._digests:
            self._digests = self._inspect()

    def _inspect(self) -> list[str]:
        self._stamps = {path: textfiles.stamp(path) for path in itertools.chain(*self._files.values())}
        digests = []
        for split, paths in self._files.items():
            counts = []
            for path in paths:
                lines, digest = textfiles.inspect(path, self._read_pairs if len(paths) == 1 else None)
                counts.append(lines)
                digests.append(f"{split} {lines} {digest}")
            if min(counts) != max(counts):
                raise UserError(
                    f"{paths[0]} has {counts[0]} lines and {paths[1]} has {counts[1]}: line {min(counts) + 1} has no "
                    "counterpart; line n of one must be the translation of line n of the other"
                )
        return digests

    def _check_unchanged(self) -> None:
        """Refuse files that hold other text than at `check`: a part of the run would be on one, a part on the other."""
        changed = [str(path) for path, stamp in self._stamps.items() if textfiles.stamp(path) != stamp]
        if changed and not self._same_text():
            names = " and ".join(changed)
            raise AccidentError(f"{names} changed while in use; put back what was there, or begin another --run")

    def _same_text(self) -> bool:
        try:
            return self._inspect() == self._digests
        except UserError:
            return False

    def warnings(self) -> Iterator[str]:
        languages = self.source_language, self.target_language
        readers = (self._read_pairs,) if len(self._files["train"]) == 1 else (textfiles.lines,) * 2
        yield from suspicions.of_files(self._files["train"], readers, languages)

    def _identity(self) -> Iterator[str]:
        self.check()
        yield "files"
        yield from self._digests

    def _read(self, split: str) -> Iterator[Pair]:
        self.check()
        return self._stream(self._files[split])

    def _stream(self, paths: tuple[Path, ...]) -> Iterator[Pair]:
        self._check_unchanged()
        if len(paths) == 1:
            yield from ((source, target) for source, target, *_ in self._read_pairs(paths[0]))
        else:  # as many lines at `check`, and else it is told below
            yield from zip(textfiles.lines(paths[0]), textfiles.lines(paths[1]), strict=False)
        self._check_unchanged()


class TfdsCorpus(Corpus):
    """A prepared TFDS dataset with a `Translation` feature.

    Args:
        builder: prepared builder.
        source_language: code, or empty: the first language of the dataset's direction.
        target_language: code, or empty: the other one.
        validation_pairs: see `Corpus`.

    Raises:
        UserError: a dataset without these languages, without a split 'train', or in another file format than TFRecord.
    """

    def __init__(
        self,
        builder: tensorflow_datasets.core.DatasetBuilder,
        source_language: str,
        target_language: str,
        validation_pairs: int,
    ) -> None:
        name = "/".join(builder.info.full_name.split("/")[:-1])
        languages = directions(builder, name, source_language, target_language)
        super().__init__(name, *languages, builder.info.splits, validation_pairs)
        if "train" not in self.own_splits:
            raise UserError(f"dataset {name} has no split 'train', only {', '.join(self.own_splits)}; {ALTERNATIVES}")
        file_format = builder.info.file_format.value
        if file_format != "tfrecord":
            raise UserError(
                f"dataset {name} is prepared as {file_format} in {builder.data_dir}, not as TFRecord; "
                "move that folder away and it is prepared again"
            )
        self._builder = builder

    def check(self) -> None:
        """Do nothing: TFDS has checked the data while it prepared them."""

    def _identity(self) -> Iterator[str]:
        yield f"{self._builder.info.full_name} {self.source_language} {self.target_language}"
        for split, info in self._builder.info.splits.items():
            yield f"{split} {info.num_examples} {info.num_bytes}"

    def _read(self, split: str) -> Iterator[Pair]:
        # TFDS itself parses one example at a time: 90 microseconds a pair, where whole batches take 6.
        features = {language: tf.io.FixedLenFeature([], tf.string) for language in self._builder.info.features}
        records = tf.data.TFRecordDataset(self._builder.info.splits[split].filepaths).batch(_EXAMPLES_TOGETHER)
        try:
            for batch in records.map(lambda batch: tf.io.parse_example(batch, features)).as_numpy_iterator():
                for source, target in zip(batch[self.source_language], batch[self.target_language], strict=True):
                    yield source.decode(errors="replace"), target.decode(errors="replace")
        except tf.errors.OpError:
            raise AccidentError(
                f"dataset {self.name} is damaged, or cannot be read, in {self._builder.data_dir}; "
                "remove that folder and it is prepared again"
            ) from None


def open_corpus(config: DataConfig) -> Corpus:
    """Open the one source that a config names; the embedded phrasebook where it names none.

    Raises:
        UserError: more than one source or half of one; an unknown language or dataset; a file that is missing or
            no file; a dataset that cannot be downloaded. What is wrong inside files is found by `Corpus.check`.
    """
    pair_files = [name for name in PAIR_FILES if getattr(config, name)]
    pair_flags = " or ".join(f"--{name}" for name in PAIR_FILES)
    if bool(config.dataset) + bool(config.source or config.target) + len(pair_files) > 1:
        raise UserError(f"give one source only: --dataset NAME, or --source F --target F, or {pair_flags} F")
    for one, other in (("source", "target"), ("valid_source", "valid_target")):
        if bool(getattr(config, one)) != bool(getattr(config, other)):
            given, missing = (one, other) if getattr(config, one) else (other, one)
            given, missing = (f"--{name.replace('_', '-')}" for name in (given, missing))
            raise UserError(f"{given} {getattr(config, given[2:].replace('-', '_'))} needs {missing} beside it")
    if not (config.source or pair_files):
        if config.valid_source:
            raise UserError(
                f"--valid-source and --valid-target go with --source and --target or {pair_flags}, not --dataset"
            )
        builder = prepare(config.dataset or DEFAULT_DATASET)
        return TfdsCorpus(builder, config.source_language, config.target_language, config.validation_pairs)
    for language in filter(None, (config.source_language, config.target_language)):
        check_language(language)
    train = [getattr(config, name) for name in pair_files or ("source", "target")]
    files: dict[str, tuple[Path, ...]] = {"train": tuple(map(Path, train))}
    if config.valid_source:
        files["validation"] = (Path(config.valid_source), Path(config.valid_target))
    read = READERS[pair_files[0]] if pair_files else textfiles.rows
    return FileCorpus(files, config.source_language, config.target_language, config.validation_pairs, read)
