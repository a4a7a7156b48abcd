"""Texts that are compared with one another: triplets of a TSV, and sentences that are read twice."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from transformer.config.run import Config
from transformer.data.cleaning import SPACES
from transformer.data.examples import text_files
from transformer.data.examples.annotated import AnnotatedCorpus
from transformer.data.examples.open_annotated import open_examples
from transformer.system.errors import UserError


class Compared(NamedTuple):
    """A text, one that means the same, and perhaps one that does not though it looks like it."""

    texts: tuple[str, ...]  # anchor, positive, and perhaps a hard negative
    place: str = ""

    @property
    def key(self) -> str:
        """What examples have in common that must not be divided among splits."""
        return "\n".join(self.texts[:2])


def triplets(path: Path) -> Iterator[Compared]:
    """Yield the triplets of a TSV: text TAB positive TAB hard negative, which may be empty.

    Raises:
        UserError: a line with another number of columns, or without a text or a positive.
    """
    for number, row in enumerate(text_files.rows(path), start=1):
        if not any(text.strip(SPACES) for text in row):
            continue
        place = f"{path}, line {number}"
        if len(row) != 3:
            raise UserError(
                f"{place}: {len(row)} columns; expected text TAB positive TAB hard negative (pairs: task.examples = "
                "'pairs')"
            )
        if not (row[0].strip(SPACES) and row[1].strip(SPACES)):
            raise UserError(f"{place}: a text or its positive is empty; fill it in or leave the line out")
        yield Compared(tuple(row), place)


def twice(path: Path) -> Iterator[Compared]:
    """Yield the lines of a file that hold text, each as a pair of itself."""
    for number, line in enumerate(text_files.lines(path), start=1):
        if line.strip(SPACES):
            yield Compared((line, line), f"{path}, line {number}")


_WAY_OUT = "give files of them with --train"


def _no_dataset(builder: object) -> Callable:
    raise AssertionError  # no dataset is asked for


def open_compared(config: Config) -> AnnotatedCorpus:
    """Open the files of triplets or sentences that a config names; errors as of `open_examples`."""
    kind, dataset = config.task.examples, config.data.dataset

    if dataset:
        raise UserError(f"dataset {dataset} holds pairs, and task.examples is '{kind}'; {_WAY_OUT}")

    def no_files() -> AnnotatedCorpus:
        raise UserError(f"task.examples is '{kind}', and there are no files; {_WAY_OUT}")

    return open_examples(config, triplets if kind == "triplets" else twice, "", _no_dataset, no_files)
