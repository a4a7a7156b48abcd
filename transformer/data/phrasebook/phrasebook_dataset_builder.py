"""TFDS builder of the phrasebook (a folder of its own is what TFDS asks of a builder class)."""

import contextlib
import io
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator

import tensorflow_datasets as tfds

from transformer.data import phrasebook

PARTS = {  # of each split: those of `phrasebook.SPLITS`
    "train": ("everyday_train", "train"),
    "validation": ("validation", "everyday_validation"),
    "test": ("test",),
    "free": ("free",),
    "everyday": ("everyday",),
    "calibration": ("everyday_validation",),
}
# Training reads an everyday sentence so often in an epoch, and of the sentences of patterns one in so many, once.
EVERYDAY_TIMES = 8
PATTERN_SHARE = 2


class Phrasebook(tfds.core.GeneratorBasedBuilder):
    """Sentence pairs of the phrasebook, one config a direction: `phrasebook/pt_to_en` and five more.

    An example is {"<source>": text, "<target>": text}, as in TFDS' own translation datasets.
    Splits: train and validation, of patterns and everyday sentences; test, of patterns; free; everyday; calibration,
    the everyday sentences of validation.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=direction, description=f"Phrasebook, {direction}")
        for direction in phrasebook.DIRECTIONS
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        languages = tuple(self.builder_config.name.split("_to_"))
        return tfds.core.DatasetInfo(
            builder=self,
            description=phrasebook.__doc__,
            features=tfds.features.Translation(languages=languages),
            supervised_keys=languages,
            metadata=tfds.core.MetadataDict(digest=phrasebook.digest()),
            # The generator's order is already mixed, and TFDS' own shuffle costs a pass over the data.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        return {split: self._generate_examples(split) for split in PARTS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, str]]]:
        source, target = self.builder_config.name.split("_to_")
        pairs: dict[str, tuple[str, str]] = {}  # of a source that is written twice, the first target
        for part in PARTS[split]:
            step = PATTERN_SHARE if part == "train" else 1
            for sentence in phrasebook.generate(part)[::step]:
                pairs.setdefault(getattr(sentence, source), (getattr(sentence, target), part))
        times = [
            (phrasebook.stable_hash(text, time) if split == "train" else 0, text, found)
            for text, (found, part) in pairs.items()
            for time in range(EVERYDAY_TIMES if part == "everyday_train" else 1)
        ]
        for index, (_, text, found) in enumerate(sorted(times, key=lambda each: each[0])):
            yield index, {source: text, target: found}


def _is_current(builder: Phrasebook) -> bool:
    stored = builder.data_path / "metadata.json"
    return stored.exists() and phrasebook.digest() in stored.read_text()


def prepared_builder(direction: str, data_dir: str | None) -> Phrasebook:
    """Return the builder with its data on disk; see `transformer.data.phrasebook.load_builder`."""
    builder = Phrasebook(config=direction, data_dir=data_dir)
    if not _is_current(builder):
        final = pathlib.Path(builder.data_path)
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".preparing-", dir=final.parent) as private:
            fresh = Phrasebook(config=direction, data_dir=private)
            print(f"preparing the embedded phrasebook, {direction}", file=sys.stderr, flush=True)
            # TFDS reports with print() and progress bars; standard output belongs to results.
            tfds.display_progress_bar(False)
            with contextlib.redirect_stdout(io.StringIO()):
                fresh.download_and_prepare(
                    download_config=tfds.download.DownloadConfig(try_download_gcs=False, num_shards=1)
                )
            if final.exists() and not _is_current(builder):
                shutil.rmtree(final, ignore_errors=True)
            # Where another process was first, its data are the same and stay.
            with contextlib.suppress(OSError):
                os.rename(fresh.data_path, final)
        builder = Phrasebook(config=direction, data_dir=data_dir)
    return builder
