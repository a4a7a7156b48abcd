"""Converted models in the user's own cache folder, each made once from a run's weights.

CACHE/engines/DIGEST/           the files that CTranslate2 reads, of the weights, config and vocabulary with this digest
CACHE/engines/DIGEST/made.json  SHA-256 of each of them

Nothing is read from a run directory but its weights, config and vocabulary: these are checked, and a model that a
stranger converted could make the library read foreign memory.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from pathlib import Path

from transformer.checkpoints.arrays import MOST_HEADER, PREFIX, DamagedError, Shape, check_shapes, read_arrays
from transformer.config.settings import ModelConfig
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.inference import ctranslate2_model
from transformer.inference.ctranslate2_engine import CTranslate2Engine
from transformer.inference.engine import Unavailable
from transformer.system.errors import UserError
from transformer.system.files import NoFolderError, cache_folder, parse_json, read_inside
from transformer.system.messages import say

FORMAT = 1  # of what is written; another one makes all models again
MADE = "made.json"
MOST_MODELS = 20  # that are kept; those that were not used longest are removed
DRAFT = ".draft-"
DRAFT_SECONDS = 86_400  # after which a draft is taken for one that a killed process left
MOST_TIMES = 8  # length of a file of weights, in those of the model: an optimizer's state and an average go with them
DAMAGED = "CTranslate2 cannot use {} ({}); remove that folder, or translate with --engine tensorflow"


def opened(weights: Path, config: ModelConfig, tokenizers: TokenizerPair) -> CTranslate2Engine:
    """Return the engine of a run's weights; their model is made where the cache folder does not hold it.

    Args:
        weights: the file of the run.
        config: of the model.
        tokenizers: of the run.

    Raises:
        DamagedError: the weights are truncated, torn or changed.
        UserError: the weights are missing or of another architecture.
        Unavailable: the library is missing, or does not know a setting of the model; no folder can be written.
    """
    model, kept = prepare(weights, config, tokenizers)
    return CTranslate2Engine(model, tokenizers, config.cached, DAMAGED, kept)


def prepare(
    weights: Path, config: ModelConfig, tokenizers: TokenizerPair
) -> tuple[Path, tempfile.TemporaryDirectory | None]:
    """Return the folder of a model, made where it is not there, and what it lies in where it cannot be kept.

    Arguments and errors as of `opened`.
    """
    if reason := ctranslate2_model.unsupported(config, tokenizers):
        raise Unavailable(reason)
    try:
        ctranslate2_model.library()
    except UserError as error:
        raise Unavailable(str(error)) from None
    return _found_or_made(weights, config, tokenizers)


def _found_or_made(
    weights: Path, config: ModelConfig, tokenizers: TokenizerPair
) -> tuple[Path, tempfile.TemporaryDirectory | None]:
    """Return the folder of a model, and what it lies in where it cannot be kept."""
    digest = _digest_of(weights, config, tokenizers)
    try:
        folder = cache_folder() / "engines"
        model = folder / digest
        if not is_whole(model):
            _make(model, weights, config, tokenizers)
        with contextlib.suppress(OSError):
            os.utime(model / MADE)  # used now
        return model, None
    except (OSError, NoFolderError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
    say(
        f"warning: cannot keep the converted model in the cache folder ({reason}); it is made again each time. Name "
        "another folder with $TRANSFORMER_CACHE"
    )
    try:
        kept = tempfile.TemporaryDirectory(prefix="transformer-")
        _convert(Path(kept.name), weights, config, tokenizers)
    except OSError as error:
        raise Unavailable(f"no folder for the converted model can be written ({error.strerror})") from None
    return Path(kept.name), kept


def _digest_of(weights: Path, config: ModelConfig, tokenizers: TokenizerPair) -> str:
    """Return the name of a model: a digest of all that decides what is in it. A file that is too long is not read."""
    shapes = _shapes(config, tokenizers)
    check_shapes(weights, shapes, PREFIX)
    most = MOST_HEADER + MOST_TIMES * sum(4 * math.prod(shape) for shape in shapes.values())
    try:
        if os.stat(weights).st_size > most:
            raise DamagedError(f"{weights} is damaged (it is longer than {most:,} bytes); restore it")
        with open(weights, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {weights}: {error.strerror}; restore it or train the run again") from None
    version = ctranslate2_model.library().__version__
    parts = [FORMAT, version, content, repr(config), tokenizers.fingerprint()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def is_whole(model: Path) -> bool:
    """Return whether a folder holds a model as it was made, and nothing else."""
    try:
        made = parse_json(read_inside(model, MADE))
        return isinstance(made, dict) and made == _digests(model)
    except (OSError, ValueError, UserError):
        return False


def _digests(model: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a model."""
    found = {}
    for entry in sorted(os.listdir(model)):
        if entry != MADE:
            with open(model / entry, "rb") as file:
                found[entry] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _make(model: Path, weights: Path, config: ModelConfig, tokenizers: TokenizerPair) -> None:
    """Write a model beside its place, then give it its name; an OSError tells that the disk refuses."""
    model.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear(model.parent)
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=model.parent))
    try:
        _convert(draft, weights, config, tokenizers)
        for name in os.listdir(draft):
            with open(draft / name, "rb") as file:
                os.fsync(file.fileno())
        (draft / MADE).write_text(json.dumps(_digests(draft), indent=2) + "\n", encoding="utf-8")
        try:
            os.rename(draft, model)
        except OSError:
            if is_whole(model):  # another process has just made it
                return
            _remove(model)
            os.rename(draft, model)
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # gone where all went well


def _convert(folder: Path, weights: Path, config: ModelConfig, tokenizers: TokenizerPair) -> None:
    arrays = read_arrays(weights, _shapes(config, tokenizers), PREFIX)
    ctranslate2_model.save(arrays, config, tokenizers, folder, "float32")


def _shapes(config: ModelConfig, tokenizers: TokenizerPair) -> dict[str, Shape]:
    sizes = tokenizers.source.vocabulary_size, tokenizers.target.vocabulary_size
    return ctranslate2_model.weight_shapes(config, sizes)


def _remove(path: Path) -> None:
    """Remove a folder, or a file or link that stands in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    """Remove drafts of killed processes, and the models that were not used longest."""
    used = {}
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.startswith(DRAFT):
                used[entry] = (entry / MADE).stat().st_mtime
            elif entry.stat().st_mtime < time.time() - DRAFT_SECONDS:
                _remove(entry)
    for entry in sorted(used, key=used.__getitem__)[: max(0, len(used) - MOST_MODELS + 1)]:
        with contextlib.suppress(OSError):
            _remove(entry)
