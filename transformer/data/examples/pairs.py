"""From a config to the sentence pairs that it names."""

from pathlib import Path

from transformer.config.run import Config
from transformer.config.settings import DEFAULT_DATASET, FILES
from transformer.data.examples.corpus import Corpus, FileCorpus
from transformer.data.examples.downloads import prepare
from transformer.data.examples.tfds import TfdsCorpus
from transformer.data.languages import check_language
from transformer.system.errors import UserError

SPLITS = {"train": "train", "valid": "validation", "test": "test"}  # fields of DataConfig, and splits of a corpus


def open_corpus(config: Config) -> Corpus:
    """Open the one source that the config of a translator names; the embedded phrasebook where it names none.

    Raises:
        UserError: more than one source or half of one; an unknown language or dataset; a file that is missing or
            no file; a dataset that cannot be downloaded. What is wrong inside files is found by `Corpus.check`.
    """
    data, languages = config.data, (config.task.source_language, config.task.target_language)
    files = {SPLITS[name]: tuple(map(Path, getattr(data, name))) for name in FILES if getattr(data, name)}
    if data.dataset and files:
        raise UserError(f"give one source only: dataset {data.dataset}, or files ({_names(*files.values())})")
    if not files:
        builder = prepare(data.dataset or DEFAULT_DATASET)
        return TfdsCorpus(builder, *languages, data.validation_pairs)
    if "train" not in files:
        raise UserError(f"{_names(*files.values())} are no training text; name that too, as data.train")
    for split, paths in files.items():
        if len(paths) > 2:
            raise UserError(
                f"the {split} text must be two files, source and target, or one TSV of both, got {_names(paths)}"
            )
    for language in filter(None, languages):
        check_language(language)
    return FileCorpus(files, *languages, data.validation_pairs)


def _names(*paths: tuple[Path, ...]) -> str:
    return " + ".join(str(path) for group in paths for path in group)
