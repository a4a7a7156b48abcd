"""The pairs of Multi30k, as benchmarks read them."""

from pathlib import Path

from transformer.system.tensorflow import import_tensorflow

SPLITS = {"train": "train", "val": "validation"}  # the files' names, and FileCorpus's


def read_pairs(data: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the pairs (English, German) of 'train' and 'val' in a folder.

    Raises:
        UserError: what is wrong with a file, see `FileCorpus`.
    """
    import_tensorflow()
    from transformer.data.examples.corpus import FileCorpus

    files = {split: (data / f"{name}.en", data / f"{name}.de") for name, split in SPLITS.items()}
    corpus = FileCorpus(files, "en", "de", 0)
    return {name: list(corpus.pairs(split)) for name, split in SPLITS.items()}
