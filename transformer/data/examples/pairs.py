"""From a config to the sentence pairs that it names."""

from __future__ import annotations

import typing
from pathlib import Path

from transformer.config.sections import DEFAULT_DATASET, PAIR_FILES, DataConfig
from transformer.data.examples import text_files
from transformer.data.examples.corpus import Corpus, FileCorpus
from transformer.data.examples.downloads import prepare
from transformer.data.examples.tfds import TfdsCorpus
from transformer.data.languages import check_language
from transformer.system.errors import UserError

if typing.TYPE_CHECKING:
    pass


READERS: dict[str, text_files.Reader] = {"tsv": text_files.rows}  # by their names in `PAIR_FILES`


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
    read = READERS[pair_files[0]] if pair_files else text_files.rows
    return FileCorpus(files, config.source_language, config.target_language, config.validation_pairs, read)
