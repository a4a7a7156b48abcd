"""Tags of words: CoNLL files in IOB2, BIOES or plain tags, and datasets of TFDS."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformer.config.tasks import TaggingSettings
from transformer.data.cleaning import SPACES
from transformer.data.examples import text_files
from transformer.data.examples.annotated import Tagged
from transformer.data.examples.annotated_tfds import decoded
from transformer.data.tag_schemes import EDGE, follows, known
from transformer.system.errors import UserError, nearest, shortened

if typing.TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

WORDS = "tokens"  # feature of TFDS
BETWEEN_DOCUMENTS = "-DOCSTART-"  # of CoNLL-2003, in place of a word
COLUMNS = "# global.columns = "  # of CoNLL-U Plus, followed by the names
_COMMENT = re.compile(r"# ?(\S+ =|newdoc|newpar)")
_NO_WORD = re.compile(r"\d+[-.]\d+")  # the id of CoNLL-U's contractions and empty nodes
_EXAMPLE = {
    "iob2": "IOB2 has O, B-TYPE and I-TYPE",
    "bioes": "BIOES has O, B-TYPE, I-TYPE, E-TYPE and S-TYPE",
    "plain": "a tag must not be empty",
}


def tagged(path: Path, settings: TaggingSettings) -> Iterator[Tagged]:
    """Yield the sentences of a file: a word a line, in columns between TABs or spaces, and an empty line behind each.

    Lines that begin with # before a sentence are comments. A sentence's text is its words with a space between.

    Raises:
        UserError: a column that is missing, or tags that are not of the scheme; file and line are told.
    """
    columns = _Columns(path, settings)
    words: list[str] = []
    tags: list[str] = []
    number = 0
    for number, line in enumerate(text_files.lines(path), start=1):
        if not line.strip(SPACES):
            if words:
                yield _sentence(words, tags, settings.scheme, f"{path}, line {number - len(words)}")
            words, tags = [], []
        elif not columns.leaves_out(line, at_start=not words):
            word, tag = columns.read(line, number)
            check_tag(settings.scheme, tag, tags[-1] if tags else EDGE, f"{path}, line {number}")
            words.append(word)
            tags.append(tag)
    if words:
        yield _sentence(words, tags, settings.scheme, f"{path}, line {number + 1 - len(words)}")


def check_tag(scheme: str, tag: str, before: str, place: str) -> None:
    """Refuse, with a UserError, a tag that is none of a scheme, or may not follow the one before."""
    if not known(scheme, tag):
        raise UserError(
            f"{place}: '{shortened(tag)[1:-1]}' is no tag: {_EXAMPLE[scheme]}; name the column with task.tag, or the "
            "scheme with task.scheme"
        )
    if not follows(scheme, tag, before):
        behind = f"behind '{before}'" if before else "at the beginning"
        raise UserError(f"{place}: '{tag}' cannot stand {behind}: {_RULES[scheme]}; correct it, or set task.scheme")


_RULES = {
    "iob2": "an entity of IOB2 begins with B-, and I- goes on with one of its type",
    "bioes": "an entity of BIOES is S-, or B-, any number of I-, and E- of one type",
}


def _sentence(words: Sequence[str], tags: Sequence[str], scheme: str, place: str) -> Tagged:
    if not follows(scheme, EDGE, tags[-1]):
        raise UserError(f"{place}: the sentence ends with '{tags[-1]}': {_RULES[scheme]}; correct it")
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return Tagged(" ".join(words), tuple(spans), tuple(tags), place)


class _Columns:
    """Which columns of a file are the word and its tag, by number from 1 or by name.

    Names stand in CoNLL-U Plus' first comment, or in the first line that is none.
    """

    def __init__(self, path: Path, settings: TaggingSettings) -> None:
        self.path, self.wanted = path, (settings.word or "1", settings.tag or "0")  # 0: the last
        self.scheme = settings.scheme
        self.named = not all(name.isdigit() for name in self.wanted)
        self.places = None if self.named else tuple(int(name) - 1 for name in self.wanted)

    def leaves_out(self, line: str, at_start: bool) -> bool:
        """Return whether a line is no word: a comment, the names of the columns, or what is between documents."""
        if at_start and line.startswith(COLUMNS):
            if self.named:
                self.places = self._find(line.removeprefix(COLUMNS).split())
            return True
        cells = _cells(line)
        if at_start and line.startswith("#") and "\t" not in line:
            plain = self.scheme == "plain" or not known(self.scheme, cells[-1])
            if _COMMENT.match(line) or (plain and len(cells) != 2):
                return True
        if self.places is None:
            self.places = self._find(cells)
            return True
        return cells[0] == BETWEEN_DOCUMENTS or bool(self.places[0] and _NO_WORD.fullmatch(cells[0]))

    def _find(self, names: Sequence[str]) -> tuple[int, ...]:
        found = []
        for name in self.wanted:
            if name not in names and not (name.isdigit() and int(name) <= len(names)):
                raise UserError(
                    f"{self.path} has no column '{name}', only {', '.join(map(shortened, names))}."
                    f"{nearest(name, names)} Name the columns with task.word and task.tag, or number them from 1"
                )
            found.append(names.index(name) if name in names else int(name) - 1)
        return tuple(found)

    def read(self, line: str, number: int) -> tuple[str, str]:
        """Return the word and the tag of a line."""
        cells = _cells(line)
        places = self.places or ()
        least = max(2, *(place + 1 for place in places))
        if len(cells) < least:
            raise UserError(
                f"{self.path}, line {number}: column {least} is missing, there are {len(cells)}; a line holds a word "
                "and its tag, in the columns task.word and task.tag"
            )
        word, tag = (cells[place] for place in places)
        if not word.strip(SPACES):
            raise UserError(f"{self.path}, line {number}: the word is empty; name its column with task.word")
        return word, tag.strip(SPACES)


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def tfds_tags(builder: DatasetBuilder, settings: TaggingSettings) -> Callable[[Mapping[str, Any], str], Tagged]:
    """Return what makes examples of those of a dataset of TFDS, such as conll2003.

    Raises:
        UserError: it has no such features, or tags that are not of the scheme.
    """
    features = builder.info.features
    word, tag = settings.word or WORDS, settings.tag or "ner"
    for key in (word, tag):
        if key not in features:
            raise UserError(
                f"dataset {builder.name} has no feature '{key}', only {', '.join(features)}; name them with task.word "
                "and task.tag"
            )
    names = getattr(getattr(features[tag], "feature", None), "names", None)

    def convert(example: Mapping[str, Any], place: str) -> Tagged:
        tags = [names[int(value)] if names else decoded(value) for value in example[tag]]
        for number, (one, before) in enumerate(zip(tags, [EDGE, *tags], strict=False), start=1):
            check_tag(settings.scheme, one, before, f"{place}, word {number}")
        return _sentence([decoded(value) for value in example[word]], tags, settings.scheme, place)

    return convert
