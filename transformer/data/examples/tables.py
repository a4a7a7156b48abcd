"""Labels of texts: CSV and TSV with named or numbered columns, JSON lines, and datasets of TFDS."""

from __future__ import annotations

import collections
import csv
import itertools
import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformer.config.tasks import ClassificationSettings
from transformer.data.cleaning import SPACES
from transformer.data.examples import text_files
from transformer.data.examples.annotated import Labelled
from transformer.data.examples.annotated_tfds import decoded
from transformer.data.examples.text_documents import JSON_LINES
from transformer.system.errors import UserError, nearest, shortened
from transformer.system.files import parse_json

if typing.TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

TEXT_KEYS = ("text", "sentence")  # of headers, JSON and TFDS, where the settings name no column
LABEL_KEY = "label"
MOST_CLASSES = 10_000  # a column of texts taken for labels has more
MANY = 20  # examples, of which a label that occurs once is likely to be none
MOST_WARNINGS = 10  # of labels that occur once
COMMA = ".csv"  # the ending of files with commas; any other has TABs


def labelled(path: Path, settings: ClassificationSettings) -> Iterator[Labelled]:
    """Yield the examples of a file.

    Raises:
        UserError: a column that is missing, a line that lacks one, no text, no label, a label that is no number where
            numbers are wanted; file and line are told.
    """
    for line, texts, label in _examples(path, settings):
        place = f"{path}, line {line}"
        if not any(text.strip(SPACES) for text in texts):
            raise UserError(f"{place}: no text; fill it in or leave the line out")
        yield Labelled(texts, labels_of(label, settings, place), place)


def has_columns(path: Path) -> bool:
    """Return whether a file of texts to label is a CSV or JSON lines, whose texts are in columns or under keys."""
    return _ends_in(path, (COMMA, *JSON_LINES))


def unlabelled(path: Path, settings: ClassificationSettings) -> Iterator[tuple[str, ...]]:
    """Yield the text or the pair of each row of such a file, in the order of its rows; no labels are needed.

    Raises:
        UserError: a column or a key that is missing; file and line are told.
    """
    return (texts for _, texts, _ in _examples(path, settings, with_label=False))


def _ends_in(path: Path, endings: Sequence[str]) -> bool:
    """Return whether a file has an ending, perhaps with that of a compressed file behind it."""
    return any(suffix.lower() in endings for suffix in path.suffixes[-2:])


def _examples(
    path: Path, settings: ClassificationSettings, with_label: bool = True
) -> Iterator[tuple[int, tuple[str, ...], object]]:
    """Yield line, texts and label of each example of a file; without labels, '' instead."""
    if _ends_in(path, JSON_LINES):
        return _json_rows(path, settings, with_label)
    return _table_rows(path, _ends_in(path, (COMMA,)), settings, with_label)


def labels_of(label: object, settings: ClassificationSettings, place: str) -> tuple[str, ...]:
    """Return the labels that a field says: one, several between separators or in a list, or a number."""
    if settings.kind == "several":
        several = label if isinstance(label, list) else str(label).split(settings.separator)
        return tuple(sorted({str(part).strip(SPACES) for part in several} - {""}))
    text = str(label).strip(SPACES)
    if not text or label is None or isinstance(label, list | dict):
        what = "no label" if not text or label is None else f"label {shortened(label)} is no text"
        raise UserError(f"{place}: {what}; give one, or leave the line out (several of a text: task.kind = 'several')")
    if settings.kind == "number":
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{place}: {shortened(text)} is no number; name another column with task.label")
    return (text,)


def _table_rows(
    path: Path, commas: bool, settings: ClassificationSettings, with_label: bool
) -> Iterator[tuple[int, tuple[str, ...], object]]:
    """Yield line, texts and label of each row of a table; rows without anything are left out."""
    places: list[int] | None = None
    for line, row in _rows(path, commas):
        if places is None:
            places, header = _columns(row, path, settings, with_label)
            if header:
                continue
        if not any(row):
            continue
        if len(row) <= max(places):
            kind = "commas" if commas else "TABs"
            raise UserError(
                f"{path}, line {line}: column {max(places) + 1} is missing, there are {len(row)} between {kind}; name "
                "the columns with task.text and task.label"
            )
        cells = [row[place] for place in places]
        label = cells.pop() if with_label else ""
        yield line, tuple(cells), label


def _columns(
    row: Sequence[str], path: Path, settings: ClassificationSettings, with_label: bool
) -> tuple[list[int], bool]:
    """Return the places of the texts and, behind them, of the label; and whether the first line names its columns."""
    texts, label = settings.text or ("1",), settings.label or "2"
    wanted = [*texts, label] if with_label else [*texts]
    if not all(name.isdigit() for name in (*texts, label)):
        return [_place(name, row, path) for name in wanted], True
    places = [int(name) - 1 for name in wanted]
    if settings.skip_header or settings.text or settings.label:
        return places, settings.skip_header
    names = [name.strip(SPACES).lower() for name in row]
    keys = [next((key for key in TEXT_KEYS if key in names), ""), *([LABEL_KEY] if with_label else [])]
    if all(key in names for key in keys):
        return [names.index(key) for key in keys], True
    if with_label and len(row) > len(places):
        raise UserError(
            f"{path} has {len(row)} columns: {', '.join(map(shortened, row[:9]))}; say which are text and label, by "
            "name or number: --set task.text=NAME --set task.label=NAME"
        )
    return places, False


def _place(name: str, header: Sequence[str], path: Path) -> int:
    """Return the place of a column, given by its name or its number from 1."""
    if name in header:
        return list(header).index(name)
    if name.isdigit() and int(name) <= len(header):
        return int(name) - 1
    raise UserError(
        f"{path} has no column '{name}'; its first line names {', '.join(map(shortened, header))}."
        f"{nearest(name, header)} Columns are named with task.text and task.label, or numbered from 1"
    )


def _rows(path: Path, commas: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the columns of each line."""
    if not commas:
        for number, line in enumerate(text_files.lines(path), start=1):
            yield number, line.split("\t")
        return
    csv.field_size_limit(text_files.LONGEST_LINE)
    reader = csv.reader((f"{line}\n" for line in text_files.lines(path)), strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: {error}; quote it as RFC 4180 says") from None
        if row is None:
            return
        yield reader.line_num, row


def _json_rows(
    path: Path, settings: ClassificationSettings, with_label: bool
) -> Iterator[tuple[int, tuple[str, ...], object]]:
    for number, line in enumerate(text_files.lines(path), start=1):
        if not line.strip(SPACES):
            continue
        place = f"{path}, line {number}"
        try:
            value = parse_json(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise UserError(f'{place}: no JSON object; write one a line, such as {{"text": "...", "label": "..."}}')
        keys = settings.text or tuple(itertools.islice((key for key in TEXT_KEYS if key in value), 1)) or TEXT_KEYS[:1]
        label = settings.label or LABEL_KEY
        for key in (*keys, label) if with_label else keys:
            if key not in value:
                raise UserError(
                    f"{place}: no key '{key}', only {', '.join(map(shortened, value))}; name the keys with task.text "
                    "and task.label"
                )
        texts = tuple(value[key] for key in keys)
        if not all(isinstance(text, str) for text in texts):
            raise UserError(f"{place}: a text must be a string; name its key with task.text")
        yield number, texts, value[label] if with_label else ""


def tfds_labels(
    builder: DatasetBuilder, settings: ClassificationSettings
) -> Callable[[Mapping[str, Any], str], Labelled]:
    """Return what makes examples of those of a dataset of TFDS, such as glue/sst2 or imdb_reviews.

    Raises:
        UserError: it has no such features.
    """
    features = builder.info.features
    texts = settings.text or tuple(key for key in TEXT_KEYS if key in features)[:1]
    label = settings.label or LABEL_KEY
    for key in (*texts, label):
        if key not in features:
            raise UserError(
                f"dataset {builder.name} has no feature '{key}', only {', '.join(features)}; name them with task.text "
                "and task.label"
            )
    if not texts:
        raise UserError(f"dataset {builder.name} has features {', '.join(features)}; say which is text: task.text")
    names = getattr(features[label], "names", None)

    def convert(example: Mapping[str, Any], place: str) -> Labelled:
        value = example[label]
        if names:
            if not 0 <= int(value) < len(names):
                raise UserError(f"{place}: it has no label; take another split")
            value = names[int(value)]
        return Labelled(
            tuple(decoded(example[key]) for key in texts), labels_of(decoded(value), settings, place), place
        )

    return convert


def check_classes(labels: Sequence[str], kind: str, name: str) -> None:
    """Refuse, with a UserError, labels that nothing can be learned from."""
    if len(labels) < (2 if kind == "single" else 1):
        only = f"only the label {shortened(labels[0])}" if labels else "no label"
        raise UserError(f"the training examples of {name} have {only}; name another column with task.label")
    if len(labels) > MOST_CLASSES:
        raise UserError(
            f"the training examples of {name} have {len(labels):,} labels, such as {shortened(labels[0])}; at most "
            f"{MOST_CLASSES:,} can be told apart: name another column with task.label, or set task.kind = 'number'"
        )


def label_warnings(first: Mapping[str, str], counts: collections.Counter[str]) -> Iterator[str]:
    """Yield what looks wrong in labels that occur once: the name of a column, or another label in another spelling.

    Args:
        first: where each label stands first.
        counts: how often each occurs. Of the rare ones, only the first are looked at.
    """
    frequent = [label for label, count in counts.items() if count > 1]
    rare = (label for label, count in counts.items() if count == 1)
    for label in itertools.islice(rare, MOST_WARNINGS) if counts.total() >= MANY else ():
        told = f"{first[label]}: no other line has the label {shortened(label)}"
        if first[label].endswith(", line 1"):
            how = "--set task.text=NAME --set task.label=NAME"
            yield f"{told}; if this line names the columns, name them too: {how}"
        elif likely := nearest(label, frequent):
            yield f"{told}.{likely}"
