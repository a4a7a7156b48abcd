"""Export directories: written whole or not at all, and described by one file.

OUT/export.json             format, how it was made, SHA-256 of every other file
OUT/text/, OUT/ids/         of format 'savedmodel', see savedmodel.py
OUT/model/                  of format 'ctranslate2': the library's files
OUT/tokenizer/, config.json of format 'ctranslate2': as in a run directory
of format 'keras', see keras_model.py
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformer.config.stored_run import EXPORT
from transformer.system.errors import UserError
from transformer.system.files import hold, parse_json, path_inside, read_inside
from transformer.system.messages import called

EXPORT_FORMATS = ("savedmodel", "ctranslate2", "keras")
QUANTIZATIONS = ("float32", "int16", "int8")  # of an exported CTranslate2 model's weights; the first is the default
EXPORTED_BEAM = 8  # largest beam that an exported SavedModel can be asked for, where nothing else is said


def check_target(target: Path, overwrite: bool) -> None:
    """Raise a UserError where `target` is something else than a new directory, or an export that may be overwritten."""
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target} is a file; name a directory for the export")
    if not any(target.iterdir()):
        return
    if not (target / EXPORT).exists():
        raise UserError(f"{target} holds something that is no export; name another directory for the export")
    known = {EXPORT, *read_description(target)["files"]}
    foreign = sorted(set(_files(target)) - known)
    if foreign:
        raise UserError(
            f"{target} holds {foreign[0]}, which is not of its export; move it away or name another directory"
        )
    if not overwrite:
        raise UserError(f"{target} is an export already; replace it with --overwrite or name another directory")


def check_new(target: Path) -> None:
    """Raise a UserError where there is already something at a path."""
    if target.is_symlink() or target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{target} is there already; name a new directory")


@contextlib.contextmanager
def draft_export(target: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a directory to write an export into; it gets its name when all is written.

    A draft that a killed process left is cleared, and a former export that it had moved away is put back.

    Raises:
        UserError: see `check_target`; another process writes there, or the disk refuses.
    """
    target = target.resolve()
    draft, old = (target.with_name(f".{target.name}.{kind}") for kind in ("draft", "old"))
    for path in (draft, old):  # they are cleared, and moved to the target
        if path.is_symlink():
            raise UserError(f"{path} is a link, where the export is written first; remove it")
    try:
        draft.mkdir(parents=True, exist_ok=True)
        handle = hold(draft)
        try:
            _restore(old, target)
            check_target(target, overwrite)
            for entry in draft.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            yield draft
            if target.exists():
                target.rename(old)
            draft.rename(target)
        finally:
            _restore(old, target)
            shutil.rmtree(draft, ignore_errors=True)  # gone where all went well
            os.close(handle)
    except BlockingIOError:
        raise UserError(f"another process is exporting to {target}; wait for it or name another directory") from None
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; free space or name another directory") from None


def _restore(old: Path, target: Path) -> None:
    """Give a former export its name again, where nothing has taken it; else remove it."""
    if old.exists():
        shutil.rmtree(old) if target.exists() else old.rename(target)


def _files(folder: Path) -> Iterator[str]:
    """Yield the paths of all files and links below a folder, relative to it; links are not followed."""
    for path, folders, files in os.walk(folder):
        for name in [*files, *(each for each in folders if os.path.islink(os.path.join(path, each)))]:
            yield Path(path, name).relative_to(folder).as_posix()


def _digest(path: Path, flush: bool = False) -> str:
    with open(path, "rb") as file:
        if flush:  # what was just written
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(folder: Path, metadata: Mapping[str, object]) -> None:
    """Flush the files of an export to disk and write its description: metadata, and the SHA-256 of each file."""
    files = {name: _digest(folder / name, flush=True) for name in sorted(_files(folder))}
    text = json.dumps({**metadata, "files": files}, indent=2, ensure_ascii=False)
    (folder / EXPORT).write_text(text + "\n", encoding="utf-8")


def read_description(export: Path) -> dict[str, Any]:
    """Read an export's description, or raise a UserError. No file is ever opened by a name that stands in it."""
    try:
        description = parse_json(read_inside(export, EXPORT))
    except OSError:
        raise UserError(
            f"{export} is no export (it has no {EXPORT}); make one with: "
            f"{called('export')} RUN OUT --format ctranslate2"
        ) from None
    except ValueError:
        description = None
    match description:
        case {"format": str(name), "files": dict()} if name in EXPORT_FORMATS:
            if isinstance(description.setdefault("source_language", ""), str):
                return description
    raise UserError(f"{export / EXPORT} is damaged; export the run again")


def check_intact(export: Path, most: Mapping[str, int]) -> None:
    """Compare the files of an export with the SHA-256 that its description gives.

    Args:
        export: the directory.
        most: bytes that each file may have, by all names that there may be. One of 0 is not read, see `check_digest`.

    Raises:
        UserError: one is missing, changed, too long, not of the export, or a link out of it.
    """
    wanted = read_description(export)["files"]
    found = set(_files(export)) - {EXPORT}
    for name in sorted(found):
        path = path_inside(export, name)  # links and devices first: they are named as such
        if name not in wanted or name not in most:
            raise _damaged(path)
        if most[name]:
            check_digest(export, name, most[name])
    for name in sorted(set(wanted) - found):
        raise _damaged(export / name)


def check_digest(export: Path, name: str, most: int) -> None:
    """Raise a UserError where a file is missing, changed, longer than `most` bytes, or a link out of the export."""
    path = path_inside(export, name)
    try:
        intact = path.stat().st_size <= most and _digest(path) == read_description(export)["files"].get(name)
    except OSError:
        intact = False
    if not intact:
        raise _damaged(path)


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is missing, truncated or changed; export the run again")
