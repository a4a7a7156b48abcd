"""Corpora of texts: a user's own files, datasets of TFDS, and the embedded phrasebook's sentences.

A text comes in parts of bounded size, so that no document has to fit into memory.
"""

from __future__ import annotations

import abc
import functools
import hashlib
import itertools
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import tensorflow as tf

from transformer.config.run import Config
from transformer.data.cleaning import SPACES
from transformer.data.examples import text_files
from transformer.data.examples.downloads import check_format, prepare
from transformer.system.errors import EnvironmentFailure, UserError
from transformer.system.files import parse_json

if typing.TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

PART = 2**17  # characters after which a document goes on in another part
CHUNK = 2**20  # characters of an example of the task, more or less a part
BEGINNING = 60  # characters of a document by which it is recognised
JSON_LINES = (".jsonl", ".ndjson", ".json")
_TOGETHER = 256  # examples of TFDS that are fetched in one go


class TextSettings(Protocol):
    """What the settings of a task say of its texts."""

    @property
    def documents(self) -> str: ...  # one of `config.tasks.DOCUMENTS`

    @property
    def validation_share(self) -> float: ...

    @property
    def language(self) -> str: ...  # of the phrasebook's sentences; 'all' of them


class Part(NamedTuple):
    """A part of a document, or the whole of it."""

    text: str
    begins: bool  # whether the document begins with it
    ends: bool


class Chunk(NamedTuple):
    """Parts that are made into windows together."""

    split: str
    number: int  # from 0
    parts: tuple[Part, ...]


class TextCorpus(abc.ABC):
    """Documents in splits, read as a stream.

    Where a source has no validation split, the last `validation_share` of its characters are validation, to the
    character, and the document at the border is in both. No document is chosen at random: a text that is one document
    must be divided too.

    Args:
        name: for messages and pictures.
        own_splits: those that the source itself has, 'train' and perhaps 'validation'.
        settings: of the task.
    """

    def __init__(self, name: str, own_splits: Iterable[str], settings: TextSettings) -> None:
        self.name, self.own_splits, self.settings = name, tuple(own_splits), settings

    @abc.abstractmethod
    def _read(self, split: str) -> Iterator[Part]:
        """Start a pass over one of the source's own splits."""

    @abc.abstractmethod
    def _identity(self) -> Iterator[str]:
        """Yield lines that tell this corpus from any other."""

    def check(self) -> None:
        """Read the source through, once, where its text may be faulty; the first fault found is a UserError."""
        return

    def warnings(self) -> Iterator[str]:
        """Yield what looks wrong, though it can be read."""
        yield from ()

    def fingerprint(self) -> str:
        """Return a SHA-256, in hexadecimal, that changes whenever the documents or their splits may."""
        parts = [*self._identity(), self.settings.documents, str(self.settings.validation_share)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def describe(self) -> dict[str, str]:
        return {"name": self.name, "fingerprint": self.fingerprint(), "validation_bytes": str(self._validation_bytes)}

    def parts(self, split: str) -> Iterator[Part]:
        """Start a pass over the documents of a split, 'train' or 'validation', in their order."""
        if split in self.own_splits and (split != "train" or "validation" in self.own_splits):
            return self._read(split)
        return self._divided(split)

    def undivided(self, split: str) -> Iterator[Part]:
        """Start a pass over one of `own_splits`, of which no part is taken for validation."""
        return self._read(split)

    def texts(self, split: str) -> Iterator[str]:
        """Start a pass over the text of a split."""
        return (part.text for part in self.parts(split))

    def examples(self, split: str) -> Iterator[Chunk]:
        """Start a pass over the chunks of a split."""
        held: list[Part] = []
        number = size = 0
        for part in self.parts(split):
            held.append(part)
            size += len(part.text)
            if size >= CHUNK:
                yield Chunk(split, number, tuple(held))
                held, number, size = [], number + 1, 0
        if held:
            yield Chunk(split, number, tuple(held))

    def summary(self, split: str) -> str:
        return "not cleaned"

    @functools.cached_property
    def _border(self) -> int:
        """The number of characters before those that are validation."""
        return int(sum(len(part.text) for part in self._read("train")) * (1 - self.settings.validation_share))

    @functools.cached_property
    def _validation_bytes(self) -> int:
        return sum(len(text.encode()) for text in self.texts("validation"))

    def _divided(self, split: str) -> Iterator[Part]:
        start, border = 0, self._border
        for part in self._read("train"):
            place, start = border - start, start + len(part.text)  # of the border in this part
            if split == "train" and place <= 0:
                return
            if 0 < place < len(part.text):
                head, rest = Part(part.text[:place], part.begins, False), Part(part.text[place:], False, part.ends)
                yield head if split == "train" else rest
            elif (place > 0) == (split == "train"):
                yield part


class FileTexts(TextCorpus):
    """A user's own text files, plain or compressed, or JSON lines with the text under `text`.

    Args:
        files: paths by split, 'train' and perhaps 'validation'.
        settings: what a document is.

    Raises:
        UserError: a path that is missing or no file.
    """

    def __init__(self, files: dict[str, tuple[Path, ...]], settings: TextSettings) -> None:
        super().__init__(" + ".join(path.name for path in files["train"]), files, settings)
        self._files = files
        self._fixed = text_files.FixedFiles(itertools.chain(*files.values()), self._inspect)

    def check(self) -> None:
        """Read every file through once: whether it can be read, and holds any text."""
        self._fixed.digests()

    def _inspect(self) -> list[str]:
        digest = hashlib.sha256()
        for split, paths in self._files.items():
            for path in paths:
                some = False
                for part in _documents(path, self.settings.documents):
                    some = some or bool(part.text.strip(SPACES))
                    digest.update(f"{split} {part.begins} {part.ends} {len(part.text)} ".encode() + part.text.encode())
                if not some:
                    raise UserError(f"{path} holds no text; give a file with some")
        return [digest.hexdigest()]

    def documents(self, tell: Callable[[str], object]) -> Iterator[list[Part]]:
        """Start a pass over the whole documents of the training files; `tell` is called with how each begins."""
        held: list[Part] = []
        for part in self._read("train"):
            held.append(part)
            if part.ends:
                tell(" ".join(held[0].text[:BEGINNING].split()))
                yield held
                held = []

    def _identity(self) -> Iterator[str]:
        yield f"files {self._fixed.digests()[0]}"

    def _read(self, split: str) -> Iterator[Part]:
        self.check()
        self._fixed.check_unchanged()
        for path in self._files[split]:
            yield from _documents(path, self.settings.documents)
        self._fixed.check_unchanged()


def _documents(path: Path, kind: str) -> Iterator[Part]:
    """Yield the documents of a file; errors are those of `text_files.lines`, and text that is binary or no JSON."""
    if any(suffix in JSON_LINES for suffix in path.suffixes[-2:]):
        yield from _json_documents(path)
        return
    held: list[str] = []
    size, begins = 0, True
    for line in _text_lines(path):
        blank = not line.strip(SPACES)
        if kind != "file" and blank:
            if held or not begins:
                yield Part("".join(held).removesuffix("\n"), begins, True)
            held, size, begins = [], 0, True
            continue
        if kind == "line":
            yield Part(line, True, True)
            continue
        held.append(line + "\n")
        size += len(line) + 1
        if size >= PART:
            yield Part("".join(held), begins, False)
            held, size, begins = [], 0, False
    if held or not begins:
        text = "".join(held)
        yield Part(text if kind == "file" else text.removesuffix("\n"), begins, True)


def _text_lines(path: Path) -> Iterator[str]:
    for number, line in enumerate(text_files.lines(path), start=1):
        if "\0" in line:
            raise UserError(f"{path}, line {number}: holds a byte 0, so it is binary; give a text file")
        yield line


def _json_documents(path: Path) -> Iterator[Part]:
    for number, line in enumerate(_text_lines(path), start=1):
        if not line.strip(SPACES):
            continue
        try:
            value = parse_json(line)
            text = value["text"]
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, TypeError, KeyError):
            raise UserError(
                f"{path}, line {number}: no JSON object with a text under the key 'text'; write one a line, such as "
                '{"text": "..."}'
            ) from None
        for start in range(0, max(1, len(text)), PART):
            yield Part(text[start : start + PART], start == 0, start + PART >= len(text))


class PhrasebookTexts(TextCorpus):
    """The embedded phrasebook's sentences of one language, or of all, each a document."""

    def __init__(self, settings: TextSettings) -> None:
        super().__init__(f"phrasebook/{settings.language}", ("train", "validation"), settings)

    def _identity(self) -> Iterator[str]:
        from transformer.data.phrasebook import digest

        yield f"{self.name} {digest()}"

    def _read(self, split: str) -> Iterator[Part]:
        from transformer.data.phrasebook import LANGUAGES, generate

        wanted = LANGUAGES if self.settings.language == "all" else (self.settings.language,)
        for sentence in generate(split):
            for language in wanted:
                yield Part(getattr(sentence, language), True, True)


class TfdsTexts(TextCorpus):
    """A prepared TFDS dataset whose examples have a feature `text`, each a document.

    Args:
        builder: of the prepared dataset.
        settings: of the task.

    Raises:
        UserError: a dataset without a split 'train', or in another file format than TFRecord.
    """

    def __init__(self, builder: DatasetBuilder, settings: TextSettings) -> None:
        name = "/".join(builder.info.full_name.split("/")[:-1])
        splits = [split for split in ("train", "validation") if split in builder.info.splits]
        super().__init__(name, splits, settings)
        if "train" not in splits:
            raise UserError(f"dataset {name} has no split 'train', only {', '.join(builder.info.splits)}")
        check_format(builder, name)
        self._builder = builder

    def _identity(self) -> Iterator[str]:
        yield self._builder.info.full_name
        for split, info in self._builder.info.splits.items():
            yield f"{split} {info.num_examples} {info.num_bytes}"

    def _read(self, split: str) -> Iterator[Part]:
        features = {"text": tf.io.FixedLenFeature([], tf.string)}
        records = tf.data.TFRecordDataset(self._builder.info.splits[split].filepaths).batch(_TOGETHER)
        try:
            for batch in records.map(lambda batch: tf.io.parse_example(batch, features)).as_numpy_iterator():
                for content in batch["text"]:
                    text = content.decode(errors="replace")
                    for start in range(0, max(1, len(text)), PART):
                        yield Part(text[start : start + PART], start == 0, start + PART >= len(text))
        except tf.errors.OpError:
            raise EnvironmentFailure(
                f"dataset {self.name} is damaged, or cannot be read, in {self._builder.data_dir}; "
                "remove that folder and it is prepared again"
            ) from None


def open_texts(config: Config) -> TextCorpus:
    """Open the one source that the config of a task names; the embedded phrasebook where it names none.

    Raises:
        UserError: two sources, or validation text alone; an unknown dataset, or one that cannot be downloaded; a file
            that is missing or no file. What is wrong inside files is found by `check`.
    """
    data, settings = config.data, config.task
    files = {"train": data.train, "validation": data.valid}
    paths = {split: tuple(map(Path, names)) for split, names in files.items() if names}
    if data.dataset and paths:
        raise UserError(
            f"give one source only: dataset {data.dataset}, or files ({' + '.join(sum(files.values(), ()))})"
        )
    if paths:
        if not data.train:
            raise UserError(f"{' + '.join(data.valid)} are no training text; name that too, as data.train")
        return FileTexts(paths, settings)
    if not data.dataset or data.dataset.startswith("phrasebook/"):
        return PhrasebookTexts(settings)
    return TfdsTexts(prepare(data.dataset, "text"), settings)
