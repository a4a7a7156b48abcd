"""Corpora of annotated texts: labels of texts, tags of words, questions with their answers.

What they share: splits, what is held out, and when files have changed. How a file is read is up to `tables`, `iob2` and
`squad`.
"""

from __future__ import annotations

import abc
import collections
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformer.data.examples import text_files
from transformer.data.examples.held_out import hold_out, pair_hash
from transformer.system.errors import UserError


class Labelled(NamedTuple):
    """A text or a pair of texts, with its labels."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    place: str = ""  # where it stands, for messages

    @property
    def key(self) -> str:
        """What examples have in common that must not be divided among splits."""
        return "\n".join(self.texts)


class Tagged(NamedTuple):
    """A text whose words have a tag each."""

    text: str
    spans: tuple[tuple[int, int], ...]  # of its words: first character, and the one behind the last
    tags: tuple[str, ...]
    place: str = ""

    @property
    def key(self) -> str:
        """As of `Labelled`."""
        return self.text


class Answer(NamedTuple):
    """Where a text answers a question."""

    text: str
    start: int  # its first character


class Question(NamedTuple):
    """A question about a text."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]  # right ones, any of them; none: the text has no answer
    place: str = ""

    @property
    def key(self) -> str:
        """As of `Labelled`: the text, so that no text is asked about in two splits."""
        return self.context


class AnnotatedCorpus(abc.ABC):
    """Annotated examples in splits, read as a stream.

    Where a source has no validation split, at most `validation_pairs` of its training examples become one, and at most
    a tenth of them: those whose hash is smallest. Examples with the same `key` stay together.

    Args:
        name: for messages and pictures.
        own_splits: those that the source itself has, 'train' among them.
        validation_pairs: upper bound described above.
        test_share: of the training keys that are taken away first, as the split 'test'; 0: none are.
        seed: chooses them.
    """

    def __init__(
        self, name: str, own_splits: Iterable[str], validation_pairs: int, test_share: float = 0.0, seed: int = 1
    ) -> None:
        self.name, self.own_splits = name, tuple(own_splits)
        self.validation_pairs, self.test_share, self.seed = validation_pairs, test_share, seed
        if test_share and "test" in self.own_splits:
            raise UserError(f"task.test_share takes a test split from {name}, which has one already; leave it out")

    @abc.abstractmethod
    def _read(self, split: str) -> Iterator[Any]:
        """Start a pass over one of the source's own splits."""

    @abc.abstractmethod
    def _identity(self) -> Iterator[str]:
        """Yield lines that tell this corpus from any other."""

    def check(self) -> None:
        """Read the source through, once, where it may be faulty; the first fault found is a UserError."""
        return

    def warnings(self) -> Iterator[str]:
        """Yield what looks wrong, though it can be read."""
        yield from ()

    def fingerprint(self) -> str:
        """Return a SHA-256, in hexadecimal, that changes whenever the examples, their order or their splits may."""
        division = f"{self.validation_pairs} {self.test_share} {self.seed}"
        return hashlib.sha256("\n".join([*self._identity(), division]).encode()).hexdigest()

    def describe(self) -> dict[str, str]:
        return {"name": self.name, "fingerprint": self.fingerprint()}

    def summary(self, split: str) -> str:
        return "not cleaned"

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that can be read."""
        return tuple(dict.fromkeys((*self.own_splits, "validation", *["test"] * bool(self.test_share))))

    def examples(self, split: str) -> Iterator[Any]:
        """Start a pass over the examples of a split, in their order; a UserError where there is no such split."""
        if split not in self.splits:
            raise UserError(f"{self.name} has no split '{split}', only {', '.join(self.splits)}; give files of its own")
        if split in self.own_splits and split != "train":
            return self._read(split)
        held = self._held_out
        own = held.get(split)
        others = frozenset().union(*held.values())
        return (
            example
            for example in self._read("train")
            if (_hash(example) in own if own is not None else _hash(example) not in others)
        )

    def learned_from(self) -> Iterator[Any]:
        """Start a pass over the examples whose labels are learned: the training's, with those taken for validation."""
        for split in ("train",) if "validation" in self.own_splits else ("train", "validation"):
            yield from self.examples(split)

    @functools.cached_property
    def _held_out(self) -> dict[str, frozenset[int]]:
        """The hashes of the training examples that are in other splits, by the split."""
        found: dict[str, frozenset[int]] = {}
        if self.test_share:
            keys = collections.Counter(map(_hash, self._read("train")))
            ranked = sorted(keys, key=lambda key: hashlib.blake2b(f"{self.seed} {key}".encode()).digest())
            found["test"] = frozenset(ranked[: round(self.test_share * len(ranked))])
        if "validation" not in self.own_splits:
            others = found.get("test", frozenset())
            rest = (_pair(example) for example in self._read("train") if _hash(example) not in others)
            found["validation"] = hold_out(rest, self.validation_pairs)
        return found


def _pair(example: Any) -> tuple[str, str]:
    return example.key, example.key


def _hash(example: Any) -> int:
    return pair_hash(_pair(example))


class FileExamples(AnnotatedCorpus):
    """A user's own files of examples.

    Args:
        files: paths by split, 'train' and perhaps 'validation' and 'test'.
        read: yields the examples of a file, or raises a UserError that tells file and line.
        validation_pairs, test_share, seed: see `AnnotatedCorpus`.

    Raises:
        UserError: a path that is missing or no file.
    """

    def __init__(
        self,
        files: Mapping[str, tuple[Path, ...]],
        read: Callable[[Path], Iterator[Any]],
        validation_pairs: int,
        test_share: float = 0.0,
        seed: int = 1,
    ) -> None:
        name = " + ".join(path.name for path in next(iter(files.values())))
        super().__init__(name, files, validation_pairs, test_share, seed)
        self._files, self._reader = files, read
        self._fixed = text_files.FixedFiles(itertools.chain(*files.values()), self._inspect)

    def check(self) -> None:
        """Read every file through once: whether it can be read, and holds an example."""
        self._fixed.digests()

    def _inspect(self) -> list[str]:
        digests = []
        for split, paths in self._files.items():
            for path in paths:
                count, digest = 0, hashlib.sha256()
                for example in self._reader(path):
                    count += 1
                    digest.update(repr(example[:-1]).encode(errors="surrogatepass"))
                if not count:
                    raise UserError(f"{path} holds no example; give a file with some")
                digests.append(f"{split} {count} {digest.hexdigest()}")
        return digests

    def _identity(self) -> Iterator[str]:
        yield "examples"
        # Nothing is learned from the test split.
        yield from (digest for digest in self._fixed.digests() if not digest.startswith("test "))

    def _read(self, split: str) -> Iterator[Any]:
        self.check()
        self._fixed.check_unchanged()
        for path in self._files[split]:
            yield from self._reader(path)
        self._fixed.check_unchanged()
