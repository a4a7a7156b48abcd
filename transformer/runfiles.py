"""Reading the files of a run directory, which may come from anyone, and holding a directory for one process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from transformer.config import UserError

MOST_JSON = 1_000_000  # bytes of a JSON file


def own_path(folder: str | Path, name: str) -> Path:
    """Return the path of a file or folder in `folder`, be it there or not.

    Raises:
        UserError: it is a link out of the folder, a device or a pipe.
    """
    path = Path(folder, name)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise UserError(f"{path} is a link to a place outside {folder}; put a copy of the file there")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is a device or a pipe; put a file there")
    return path


def hold(folder: Path) -> int:
    """Return a handle that holds a folder for this process alone, until it is closed or the process is gone.

    On a file system without locks, such as some network ones, it holds nothing.

    Raises:
        BlockingIOError: another process holds the folder.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        pass
    return handle


def read_own(folder: str | Path, name: str, most: int = MOST_JSON) -> bytes:
    """Return the content of a file in `folder`.

    Raises:
        OSError: it is missing, or cannot be read.
        UserError: what `own_path` raises, or it is longer than `most` bytes.
    """
    with open(own_path(folder, name), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{Path(folder, name)} is longer than {most:,} bytes and not what it should be; restore it")
    return content
