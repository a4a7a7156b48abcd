"""Documents as sentences, for tasks that ask which sentence follows which."""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from transformer.config.run import Config
from transformer.data.cleaning import SPACES
from transformer.data.examples.text_documents import Part, TextCorpus, TextSettings, open_texts

LONGEST = 2**13  # characters of a passage, more or less a sentence; a longer sentence is cut

LOOKED_AT = 100_000  # passages, to see whether there are documents of several sentences


class Passage(NamedTuple):
    """Sentences of a document that follow one another, in their order."""

    document: int  # its number in the split
    number: int  # of the passage in the split
    sentences: tuple[str, ...]


class SentenceSettings(TextSettings, Protocol):
    """What the settings of a task say of sentences, too."""

    @property
    def sentences(self) -> str: ...  # one of `config.tasks.SENTENCES`

    @property
    def document_sentences(self) -> int: ...

    @property
    def next_sentence(self) -> bool: ...


class Passages:
    """The documents of a text corpus in passages; see `tasks.base.Corpus`.

    `describe` also says whether sentences have successors: there must be two documents, and one of several sentences.

    Args:
        texts: the corpus.
        settings: what a sentence is.
    """

    def __init__(self, texts: TextCorpus, settings: SentenceSettings) -> None:
        self.texts, self.settings = texts, settings
        self.name, self.own_splits = texts.name, texts.own_splits

    def check(self) -> None:
        self.texts.check()

    def warnings(self) -> Iterator[str]:
        yield from self.texts.warnings()
        if self.settings.next_sentence and self.settings.documents != "line" and not self.has_successors:
            yield (
                f"{self.name} has no two documents, or none with several sentences, so that next sentences are not "
                "learned; blank lines between documents go with task.documents = 'blank_line'"
            )

    def fingerprint(self) -> str:
        return self.texts.fingerprint()

    def describe(self) -> dict[str, str]:
        wanted = self.settings.next_sentence
        return {**self.texts.describe(), "successors": "yes" if wanted and self.has_successors else "no"}

    @functools.cached_property
    def has_successors(self) -> bool:
        """Whether the training split has two documents, and one of several sentences, among its first passages."""
        documents, several = set(), False
        for passage in itertools.islice(self.examples("train"), LOOKED_AT):
            documents.add(passage.document)
            several = several or len(passage.sentences) > 1
            if len(documents) > 1 and several:
                return True
        return False

    def examples(self, split: str) -> Iterator[Passage]:
        """Start a pass over the passages of a split, 'train' or 'validation'."""
        document, numbers = -1, itertools.count()
        for sentences in self._documents(split):
            held: list[str] = []
            size = count = 0
            document += 1
            for sentence in sentences:
                if size >= LONGEST or (count and count == self.settings.document_sentences):
                    yield Passage(document, next(numbers), tuple(held))
                    held, size = [], 0
                    if count == self.settings.document_sentences:
                        document, count = document + 1, 0
                held.append(sentence)
                size, count = size + len(sentence), count + 1
            if held:
                yield Passage(document, next(numbers), tuple(held))

    def _documents(self, split: str) -> Iterator[Iterator[str]]:
        """Yield the documents of a split, each a pass over its sentences."""
        parts = self.texts.parts(split)
        for part in parts:
            rest = _until_end(part, parts)
            yield self._sentences(rest)
            for _ in rest:  # what nobody asked for
                pass

    def _sentences(self, parts: Iterator[Part]) -> Iterator[str]:
        paragraph: list[str] = []
        size = 0
        for line in _lines(parts):
            text = line.strip(SPACES)
            if self.settings.sentences == "line":
                yield from (text[i : i + LONGEST] for i in range(0, len(text), LONGEST))
                continue
            paragraph += [text] if text else []
            size += len(text)
            if paragraph and (not text or size >= LONGEST):
                yield " ".join(paragraph)
                paragraph, size = [], 0
        if paragraph:
            yield " ".join(paragraph)

    def summary(self, split: str) -> str:
        return self.texts.summary(split)


def _until_end(first: Part, others: Iterator[Part]) -> Iterator[Part]:
    """Yield the parts of the document that begins with `first`; the others follow it."""
    yield first
    while not first.ends:
        following = next(others, None)
        if following is None:
            return
        yield following
        first = following


def _lines(parts: Iterator[Part]) -> Iterator[str]:
    """Yield the lines of a document, also those that are in two parts."""
    begun = ""
    for part in parts:
        *whole, last = (begun + part.text).split("\n")
        yield from whole
        begun = last
    yield begun


def open_passages(config: Config) -> Passages:
    """Open the corpus that the config of a task names; errors as of `open_texts`."""
    return Passages(open_texts(config), config.task)
