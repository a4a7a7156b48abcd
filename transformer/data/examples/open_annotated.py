"""From a config to the annotated examples that it names."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from transformer.config.run import Config
from transformer.config.settings import FILES
from transformer.data.examples.annotated import AnnotatedCorpus, FileExamples
from transformer.data.examples.annotated_tfds import TfdsExamples
from transformer.data.examples.downloads import prepare
from transformer.data.examples.pairs import SPLITS
from transformer.system.errors import UserError

if typing.TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder


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
