"""Text files as streams of lines: UTF-8, plain or gzip, lines that end at U+000A only."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from transformer.config import UserError
from transformer.data.cleaning import BLANKS

Reader = Callable[[Path], Iterator[list[str]]]  # of a file of pairs: source, target and perhaps more of each

LONGEST_LINE = 4_000_000  # bytes, a million characters of any script: a line is held in memory as a whole
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINES_TOGETHER = 1024  # hashed in one go


def lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file; through gzip where its name ends in `.gz`.

    Raises:
        UserError: the file cannot be read, is no complete gzip file, or what `decoded` raises.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as stream:
            yield from decoded(stream, str(path))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not a complete gzip file ({error}); compress it again") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def decoded(stream: BinaryIO | io.BufferedIOBase, name: str) -> Iterator[str]:
    """Yield the lines of a stream of bytes as they come.

    A byte order mark at the start is dropped. A line ends at U+000A only; a U+000D before it is dropped.

    Raises:
        UserError: a line is not UTF-8, or longer than `LONGEST_LINE`; the message names the stream and the line.
    """
    for number in itertools.count(1):
        line = stream.readline(LONGEST_LINE + 1)
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return
        if len(line) > LONGEST_LINE:
            raise UserError(f"{name}, line {number}: longer than {LONGEST_LINE:,} bytes; break it into several lines")
        try:
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}, line {number}: not valid UTF-8 (byte 0x{error.object[error.start]:02x} at position "
                f"{error.start + 1}); convert it to UTF-8"
            ) from None


def rows(path: Path) -> Iterator[list[str]]:
    """Yield the columns, two or more, of each line of a TSV; an empty line is two empty columns.

    Raises:
        UserError: a line with one column, or what `lines` raises.
    """
    for number, line in enumerate(lines(path), start=1):
        row = line.split("\t") if line else ["", ""]
        if len(row) < 2:
            raise UserError(f"{path}, line {number}: one column; expected source TAB target")
        yield row


def inspect(path: Path, read: Reader | None = None) -> tuple[int, str]:
    """Return the number of lines and the SHA-256, in hexadecimal, of their text.

    Args:
        path: the file.
        read: reads its columns; None: its lines are sentences.

    Raises:
        UserError: a file without text, or what `lines` or `read` raises.
    """
    count, has_text, digest = 0, False, hashlib.sha256()
    stream = ("\t".join(row) for row in read(path)) if read else lines(path)
    while block := list(itertools.islice(stream, _LINES_TOGETHER)):
        count += len(block)
        text = "\n".join(block) + "\n"
        has_text = has_text or bool(text.strip(BLANKS))
        digest.update(text.encode())
    if not has_text:
        raise UserError(f"{path} holds no text; give a file with one sentence a line")
    return count, digest.hexdigest()
