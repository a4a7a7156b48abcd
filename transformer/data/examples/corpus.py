"""Parallel corpora: one interface, and a user's own files behind it."""

import abc
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from transformer.data.examples import corpus_warnings, text_files
from transformer.data.examples.held_out import Pair, hold_out, pair_hash


class Corpus(abc.ABC):
    """Sentence pairs in splits, read as a stream.

    `splits` always holds 'train' and 'validation'. Where a source has no validation split, at most `validation_pairs`
    of its training pairs become one, and at most a tenth of them: those whose hash is smallest. The hash is that of the
    cleaned text, so a pair and its duplicates are in one split, the same at each run. A source of fewer than 10 pairs
    gives none.

    Args:
        name: for messages and pictures.
        source_language, target_language: codes, or empty where the user gave none.
        own_splits: the splits that the source itself has.
        validation_pairs: upper bound described above.
    """

    def __init__(
        self, name: str, source_language: str, target_language: str, own_splits: Iterable[str], validation_pairs: int
    ) -> None:
        self.name, self.source_language, self.target_language = name, source_language, target_language
        self.own_splits = tuple(own_splits)
        self.splits = tuple(dict.fromkeys((*self.own_splits, "validation")))
        self.validation_pairs = validation_pairs
        self._held_out: frozenset[int] | None = None

    def pairs(self, split: str) -> Iterator[Pair]:
        """Start a pass over the (source, target) pairs of a split, in their order; a UserError where it fails."""
        if split not in self.splits:
            raise ValueError(f"split must be one of {self.splits}, got {split!r}")
        if "validation" in self.own_splits or split not in ("train", "validation"):
            return self._read(split)
        return self._divided(split)

    def fingerprint(self) -> str:
        """Return a SHA-256, in hexadecimal, that changes whenever the pairs, their order or their division may."""
        parts = list(self._identity())
        if "validation" not in self.own_splits:
            parts.append(f"validation_pairs {self.validation_pairs}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def first_pairs(self) -> Iterator[Pair]:
        """Yield pairs that a trained model can be shown with, where the source has chosen some."""
        yield from ()

    @abc.abstractmethod
    def check(self) -> None:
        """Read the source through, once, where its text may be faulty; the first fault found is a UserError."""

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

    They are read by `text_files`. In a TSV, further columns are ignored and an empty line is an empty pair.

    Args:
        files: paths by split, 'train' and perhaps 'validation' and 'test': (source, target) or (file of pairs,).
        source_language, target_language, validation_pairs: see `Corpus`.

    Raises:
        UserError: a path that is missing or no file.
    """

    def __init__(
        self, files: dict[str, tuple[Path, ...]], source_language: str, target_language: str, validation_pairs: int
    ) -> None:
        name = " + ".join(path.name for path in files["train"])
        super().__init__(name, source_language, target_language, files, validation_pairs)
        self._files = files
        self._fixed = text_files.FixedFiles(itertools.chain(*files.values()), self._inspect)

    def check(self) -> None:
        """Read every file through once: encoding, columns, equal line counts, any text at all."""
        self._fixed.digests()

    def _inspect(self) -> list[str]:
        digests = []
        for split, paths in self._files.items():
            counts = []
            for path in paths:
                lines, digest = text_files.inspect(path, is_table=len(paths) == 1)
                counts.append(lines)
                digests.append(f"{split} {lines} {digest}")
            text_files.check_aligned(paths[0], counts[0], paths[-1], counts[-1])
        return digests

    def warnings(self) -> Iterator[str]:
        languages = self.source_language, self.target_language
        yield from corpus_warnings.of_files(self._files["train"], languages)

    def _identity(self) -> Iterator[str]:
        yield "files"
        # Nothing is learned from the test split.
        yield from (digest for digest in self._fixed.digests() if not digest.startswith("test "))

    def _read(self, split: str) -> Iterator[Pair]:
        self.check()
        return self._stream(self._files[split])

    def _stream(self, paths: tuple[Path, ...]) -> Iterator[Pair]:
        self._fixed.check_unchanged()
        if len(paths) == 1:
            yield from ((source, target) for source, target, *_ in text_files.rows(paths[0]))
        else:  # as many lines at `check`; a change since then is found below
            yield from zip(text_files.lines(paths[0]), text_files.lines(paths[1]), strict=False)
        self._fixed.check_unchanged()
