"""TFDS datasets: found by name, downloaded and prepared once, with one clear line where that fails."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import sys
import typing
from collections.abc import Iterator

from transformer.config.settings import DEFAULT_DATASET
from transformer.data.languages import canonical
from transformer.system.errors import UserError, nearest
from transformer.system.messages import say

if typing.TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

ALTERNATIVES = (
    f"use the embedded phrasebook (--dataset {DEFAULT_DATASET}) or your own files (--source F --target F, or --tsv F)"
)
DIRECTIONS = tuple(f"{source}_to_{target}" for source, target in itertools.permutations(("pt", "en", "zh"), 2))
MAX_RETRIES = 4  # a few seconds of waiting for an unknown host; TFDS's own 10 take more than three minutes


def prepare(name: str, feature: str = "") -> DatasetBuilder:
    """Return the prepared builder of a dataset, which is downloaded where it is not on this machine yet.

    Progress goes to stderr. Data are kept where TFDS keeps them (`$TFDS_DATA_DIR` or ~/tensorflow_datasets).

    Args:
        name: `phrasebook/DIRECTION`, or what `tfds.builder` takes: `NAME`, `NAME/CONFIG` or `NAME/CONFIG:VERSION`.
        feature: that its examples must have; empty: they must be translations.

    Raises:
        UserError: unknown dataset or config (the nearest name is suggested), no translation dataset, a failed download
            (names the alternatives), or a folder that cannot be written.
    """
    dataset, _, config = name.partition("/")
    with _progress_on_stderr(name):
        if dataset == "phrasebook":
            return _phrasebook(config)
        try:
            builder = _find(dataset, config, feature)
            prepared = builder.is_prepared()
        except OSError as error:
            raise _unusable_folder(name, error) from None
        if not prepared:
            say(f"{name}: not on this machine yet, downloading it into {builder.data_dir}")
            _download(builder, name)
    return builder


def _unusable_folder(name: str, error: Exception) -> UserError:
    """Return what to say where TFDS' folder cannot be read or written, or is full."""
    from tensorflow_datasets.core import constants

    reason = getattr(error, "strerror", "") or _one_line(error).rpartition("; ")[2]  # TensorFlow names the file before
    return UserError(
        f"cannot keep dataset '{name}' in {constants.DATA_DIR} ({reason}); make room there, or name a folder that can "
        "be written with $TFDS_DATA_DIR"
    )


def check_format(builder: DatasetBuilder, name: str) -> None:
    """Refuse, with a UserError, a dataset that is prepared in another file format than TFRecord."""
    file_format = builder.info.file_format.value
    if file_format != "tfrecord":
        raise UserError(
            f"dataset {name} is prepared as {file_format} in {builder.data_dir}, not as TFRecord; "
            "move that folder away and it is prepared again"
        )


def directions(builder: DatasetBuilder, name: str, source: str, target: str) -> tuple[str, str]:
    """Return the source and target language: those that the user gave, else the dataset's own direction."""
    languages = list(builder.info.supervised_keys or builder.info.features.languages)
    spelled = {canonical(language): language for language in languages}
    source, target = (spelled.get(canonical(code), code) for code in (source, target))
    for language in filter(None, (source, target)):
        if language not in languages:
            raise UserError(f"dataset {name} has no language '{language}', only {', '.join(languages)}")
    if source and source == target:
        raise UserError(f"dataset {name} needs two different languages of {', '.join(languages)}, got '{source}' twice")
    source = source or next(language for language in languages if language != target)
    target = target or next(language for language in languages if language != source)
    return source, target


def _phrasebook(direction: str) -> DatasetBuilder:
    from transformer.data.phrasebook import load_builder

    if direction not in DIRECTIONS:
        names = [f"phrasebook/{known}" for known in DIRECTIONS]
        hint = nearest(f"phrasebook/{direction}", names)
        raise UserError(f"unknown dataset 'phrasebook/{direction}'.{hint} Known: {', '.join(names)}")
    import tensorflow as tf

    try:
        return load_builder(direction)
    except (OSError, RuntimeError, tf.errors.OpError) as error:  # TFDS turns TensorFlow's errors into the second
        raise _unusable_folder(f"phrasebook/{direction}", error) from None


def _find(dataset: str, config: str, feature: str) -> DatasetBuilder:
    import tensorflow_datasets as tfds

    name = f"{dataset}/{config}" if config else dataset
    try:
        known = [entry.name for entry in tfds.builder_cls(dataset.partition(":")[0]).BUILDER_CONFIGS]
    except ValueError:
        names = [*tfds.list_builders(with_community_datasets=False), "phrasebook"]
        raise UserError(f"unknown dataset '{name}'.{nearest(dataset, names)} Otherwise {ALTERNATIVES}") from None
    if known and config.partition(":")[0] not in known:
        swapped = [entry for entry in known if sorted(_parts(entry)) == sorted(_parts(config))]
        hint = nearest(config, known)
        if swapped:
            hint = f" Did you mean '{swapped[0]}' with --source-language {_parts(config)[0]}?"
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        raise UserError(f"dataset '{dataset}' has no config '{config}'.{hint} Known: {shown}")
    try:
        builder = tfds.builder(name)
    except (ValueError, AssertionError) as error:  # an unknown version, or a config that another package must supply
        raise UserError(f"dataset '{name}' cannot be opened: {_one_line(error)}; {ALTERNATIVES}") from None
    if feature and feature not in builder.info.features:
        raise UserError(
            f"dataset '{name}' has no feature '{feature}'; take another one, or your own files (data.train)"
        )
    if not feature and not isinstance(builder.info.features, tfds.features.Translation):
        raise UserError(f"dataset '{name}' is no translation dataset (TFDS feature `Translation`); {ALTERNATIVES}")
    return builder


def _parts(config: str) -> list[str]:
    return re.split("_to_|[-_/]", config)


def _download(builder: DatasetBuilder, name: str) -> None:
    import tensorflow_datasets as tfds

    try:
        # The public bucket of prepared data is not asked: without network that hangs.
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    except Exception as error:  # whatever the dataset's own code raises: a host, a checksum, a package is missing
        if isinstance(error, OSError) and error.filename is not None or "No space left" in str(error):
            raise _unusable_folder(name, error) from None
        request = getattr(error, "request", None)
        reason = f"no answer from {request.url}" if request is not None else _one_line(error)
        raise UserError(f"dataset '{name}' cannot be downloaded ({reason}); {ALTERNATIVES}") from None


def _one_line(error: object, limit: int = 200) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[:limit] + "..."


@contextlib.contextmanager
def _progress_on_stderr(name: str) -> Iterator[None]:
    """Keep stdout for results, make TFDS give up sooner and say on stderr when it tries again."""
    from tensorflow_datasets.core.download import downloader

    def retries(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            reason = _one_line(record.args[1]) if isinstance(record.args, tuple) and len(record.args) > 1 else ""
            say(f"{name}: no answer yet, trying again ({reason})")
        return False

    connections, notices = logging.getLogger("urllib3.connectionpool"), logging.getLogger("absl")
    own_retries, own_level = downloader.MAX_RETRIES, notices.level
    connections.addFilter(retries)
    notices.setLevel(logging.ERROR)  # "Variant folder has no dataset_info.json": said of every new dataset
    downloader.MAX_RETRIES = MAX_RETRIES
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        downloader.MAX_RETRIES = own_retries
        notices.setLevel(own_level)
        connections.removeFilter(retries)
