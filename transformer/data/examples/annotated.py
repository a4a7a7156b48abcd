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
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformer.config.run import Config
from transformer.config.settings import FILES
from transformer.data.examples import text_files
from transformer.data.examples.downloads import prepare
from transformer.data.examples.held_out import hold_out, pair_hash
from transformer.data.examples.pairs import SPLITS
from transformer.system.errors import EnvironmentFailure, UserError

if typing.TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder


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
        return "as they are"

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
        self._digests: list[str] = []
        self._stamps: dict[Path, text_files.Stamp] = {}  # when the files were read through
        text_files.check_paths(itertools.chain(*files.values()))

    def check(self) -> None:
        """Read every file through once: whether it can be read, and holds an example."""
        if not self._digests:
            self._digests = self._inspect()

    def _inspect(self) -> list[str]:
        self._stamps = {path: text_files.stamp(path) for path in itertools.chain(*self._files.values())}
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

    def _check_unchanged(self) -> None:
        text_files.check_unchanged(self._stamps, lambda: self._inspect() == self._digests)

    def _identity(self) -> Iterator[str]:
        self.check()
        yield "examples"
        yield from (digest for digest in self._digests if not digest.startswith("test "))  # nothing is learned from it

    def _read(self, split: str) -> Iterator[Any]:
        self.check()
        self._check_unchanged()
        for path in self._files[split]:
            yield from self._reader(path)
        self._check_unchanged()


class TfdsExamples(AnnotatedCorpus):
    """A prepared TFDS dataset.

    Args:
        builder: of the prepared dataset.
        convert: makes an example of one of its own, given as NumPy arrays and bytes, and of where it stands.
        validation_pairs, test_share, seed: see `AnnotatedCorpus`.

    Raises:
        UserError: a dataset without a split 'train'.
    """

    def __init__(
        self,
        builder: DatasetBuilder,
        convert: Callable[[Mapping[str, Any], str], Any],
        validation_pairs: int,
        test_share: float = 0.0,
        seed: int = 1,
    ) -> None:
        name = "/".join(builder.info.full_name.split("/")[:-1])
        splits = [split for split in ("train", "validation", "test") if split in builder.info.splits]
        super().__init__(name, splits, validation_pairs, test_share, seed)
        if "train" not in splits:
            raise UserError(f"dataset {name} has no split 'train', only {', '.join(builder.info.splits)}")
        self._builder, self._convert = builder, convert

    def _identity(self) -> Iterator[str]:
        yield self._builder.info.full_name
        for split, info in self._builder.info.splits.items():
            yield f"{split} {info.num_examples} {info.num_bytes}"

    def _read(self, split: str) -> Iterator[Any]:
        import tensorflow as tf
        import tensorflow_datasets as tfds

        dataset = self._builder.as_dataset(split=split, shuffle_files=False)
        try:
            for number, example in enumerate(tfds.as_numpy(dataset), start=1):
                yield self._convert(example, f"{self.name}, {split} example {number}")
        except tf.errors.OpError:
            raise EnvironmentFailure(
                f"dataset {self.name} is damaged, or cannot be read, in {self._builder.data_dir}; "
                "remove that folder and it is prepared again"
            ) from None


def decoded(value: Any) -> str:
    """Return the text of a feature of TFDS."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def open_examples(
    config: Config,
    read: Callable[[Path], Iterator[Any]],
    feature: str,
    converter: Callable[[DatasetBuilder], Callable[[Mapping[str, Any], str], Any]],
    embedded: Callable[[], AnnotatedCorpus],
) -> AnnotatedCorpus:
    """Open the one source that a config names.

    Args:
        config: of a task whose settings may have `test_share` and `split_seed`.
        read: of a file, see `FileExamples`.
        feature: that a dataset of TFDS must have.
        converter: returns what makes examples of those of a dataset, see `TfdsExamples`.
        embedded: opens what there is without a source, or raises a UserError.

    Raises:
        UserError: two sources, or no training files; an unknown dataset, or one that cannot be downloaded; a file that
            is missing or no file. What is wrong inside files is found by `check`.
    """
    data, settings = config.data, config.task
    files = {SPLITS[name]: tuple(map(Path, getattr(data, name))) for name in FILES if getattr(data, name)}
    division = (data.validation_pairs, getattr(settings, "test_share", 0.0), getattr(settings, "split_seed", 1))
    if data.dataset and files:
        named = " + ".join(str(path) for paths in files.values() for path in paths)
        raise UserError(f"give one source only: dataset {data.dataset}, or files ({named})")
    if files:
        if "train" not in files:
            named = " + ".join(str(path) for paths in files.values() for path in paths)
            raise UserError(f"{named} are no training examples; name those too, as data.train")
        return FileExamples(files, read, *division)
    if not data.dataset or data.dataset.startswith("phrasebook/"):
        return embedded()
    builder = prepare(data.dataset, feature)
    return TfdsExamples(builder, converter(builder), *division)
