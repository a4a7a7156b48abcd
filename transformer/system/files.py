"""Reading and writing the files of a run directory, which may come from anyone, and locking it for one process.

Every path in such a directory goes through `path_inside` before anything is read or written there.
"""

import contextlib
import fcntl
import json
import os
import typing
from pathlib import Path

from transformer.system.errors import UserError


class NoFolderError(UserError):
    """There is no home folder for what would be kept in it."""


MOST_JSON = 1_000_000  # bytes of a JSON file


def path_inside(folder: str | Path, name: str) -> Path:
    """Return the path of a file or folder in `folder`, which need not exist, for reading or for writing.

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
    """Return a handle that locks a folder for this process, until it is closed or the process ends.

    On a file system without locks, such as some network ones, it locks nothing. A BlockingIOError means that another
    process holds the folder.
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


def read_inside(folder: str | Path, name: str, most: int = MOST_JSON) -> bytes:
    """Return the content of a file in `folder`; errors are those of `path_inside` and `read_bounded`."""
    return read_bounded(path_inside(folder, name), most)


def read_bounded(path: Path, most: int = MOST_JSON) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: it is missing, or cannot be read.
        UserError: it is longer than `most` bytes, of which no more are read.
    """
    with open(path, "rb") as file:
        too_long = os.fstat(file.fileno()).st_size > most
        content = b"" if too_long else file.read(most + 1)  # a pipe has no size
    if too_long or len(content) > most:
        raise UserError(f"{path} is longer than {most:,} bytes and not what it should be; restore it")
    return content


def write_atomically(path: Path, content: bytes, keep: Path | None = None) -> None:
    """Write beside `path`, flush to disk, then rename: a reader sees the old file or the whole new one.

    A link at `path` is replaced and not followed. The old file moves to `keep`, where that is given; for a moment in
    between there is no file at `path`. A UserError says why the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # of a killed process that had the same number, or a link that somebody left
        with open(draft, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            os.replace(path, keep)
        os.replace(draft, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free space or choose another --run") from None
    finally:
        with contextlib.suppress(OSError):  # gone where the writing went well
            draft.unlink()


def cache_folder(given: str = "") -> Path:
    """Return where is kept what can be made again: `given`, else what the environment names, else ~/.cache/transformer.

    The environment names it by $TRANSFORMER_CACHE, or the folder that it lies in by $XDG_CACHE_HOME.

    Raises:
        NoFolderError: that is in the home folder of a user who has none.
    """
    folders = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folders):  # the specification says to ignore it then
        folders = "~/.cache"
    folder = Path(given or os.environ.get("TRANSFORMER_CACHE") or Path(folders, "transformer"))
    try:
        return folder.expanduser()
    except RuntimeError:
        raise NoFolderError(
            f"there is no home folder for {folder}; name another folder with $TRANSFORMER_CACHE or data.cache"
        ) from None


def parse_json(content: str | bytes) -> typing.Any:
    """Return what a JSON text says, which may come from anyone.

    Raises:
        ValueError: it is not JSON, nested too deeply, or holds text that no file can (half of a surrogate pair).
    """
    try:
        value = json.loads(content)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value
