"""Text files as streams of lines: UTF-8, plain or compressed, lines that end at U+000A only."""

import bz2
import contextlib
import gzip
import hashlib
import io
import itertools
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from backports import zstd

from transformer.data.cleaning import SPACES
from transformer.system.errors import EnvironmentFailure, UserError

Stamp = tuple[int, int] | None
Stream = BinaryIO | io.BufferedIOBase | io.RawIOBase
LONGEST_LINE = 4_000_000  # bytes, a million characters of any script: a line is held in memory as a whole
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINES_TOGETHER = 1024  # hashed in one go

# What compressed files begin with, by their kind; no UTF-8 text begins so, or none that anybody would write.
_COMPRESSED = {
    "gzip": (b"\x1f\x8b",),
    "bzip2": tuple(b"BZh%d" % level + block for level in range(1, 10) for block in (b"1AY&SY", b"\x17rE8P\x90")),
    "xz": (b"\xfd7zXZ\0",),
    "zstd": (b"\x28\xb5\x2f\xfd",),
}
_SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
_UTF_16 = "is UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8"
_UTF_32 = "is UTF-32 text; convert it: iconv -f UTF-32 -t UTF-8"
_REFUSED = {
    _UTF_16: (b"\xff\xfe", b"\xfe\xff"),
    _UTF_32: (b"\0\0\xfe\xff",),
    "is a zip archive, not text; unpack it": (b"PK\3\4",),
}
_BEGINNINGS = {start: name for table in (_COMPRESSED, _REFUSED) for name, starts in table.items() for start in starts}


def stamp(path: Path) -> Stamp:
    """Return what changes when a file is written: its size and the time of its last change; None without a file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


class FixedFiles:
    """Files that are read through once, and must hold the same for as long as they are in use.

    Args:
        paths: of the files.
        inspect: reads them through, and returns texts that are others where the files hold anything else.

    Raises:
        UserError: a path that is missing or no file.
    """

    def __init__(self, paths: Iterable[Path], inspect: Callable[[], list[str]]) -> None:
        self._paths, self._inspect = tuple(paths), inspect
        self._digests: list[str] = []
        self._stamps: dict[Path, Stamp] = {}  # when the files were read through
        for path in self._paths:
            if path.is_dir():
                raise UserError(f"{path} is a directory, not a text file; name a file inside it")
            if not path.exists():
                raise UserError(f"there is no file {path}; check the path")
            if not path.is_file():
                raise UserError(
                    f"{path} is a pipe or a device, and text is read more than once; save it to a file first"
                )

    def digests(self) -> list[str]:
        """Return what `inspect` returned; called the first time, it reads the files."""
        self._digests = self._digests or self._read_through()
        return self._digests

    def _read_through(self) -> list[str]:
        self._stamps = {path: stamp(path) for path in self._paths}
        return self._inspect()

    def check_unchanged(self) -> None:
        """Refuse files that hold other text than when they were read through: one part of the run would be on each.

        They are read through again where a stamp differs.

        Raises:
            EnvironmentFailure: they hold something else, or cannot be read.
        """
        changed = [str(path) for path, before in self._stamps.items() if stamp(path) != before]
        with contextlib.suppress(UserError):
            if not changed or self._read_through() == self._digests:
                return
        raise EnvironmentFailure(
            f"{' and '.join(changed)} changed while in use; put back what was there, or begin another --run"
        )


def lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, which may be compressed; errors are those of `decoded`, and that it cannot be read."""
    try:
        with open(path, "rb") as stream:
            yield from decoded(stream, str(path), _SUFFIXES.get(path.suffix, ""))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def decoded(stream: Stream, name: str, expected: str = "") -> Iterator[str]:
    """Yield the lines of a stream of bytes as they come.

    Text compressed with gzip, bzip2, xz or zstd is recognised by its first bytes. A byte order mark at the start is
    dropped. A line ends at U+000A only; a U+000D before it is dropped.

    Args:
        stream: of bytes, such as a file or standard input; no byte is waited for that a line does not need.
        name: of the stream, for messages.
        expected: kind of compression that the file's name announces, or empty.

    Raises:
        UserError: a line is not UTF-8, or longer than `LONGEST_LINE`; the text is UTF-16, its lines end at U+000D; what
            is compressed is cut off or damaged. The message names the stream and the line.
    """
    start, kind = _beginning(stream)
    if kind not in _COMPRESSED and expected and start:
        raise UserError(f"{name} is not a complete {expected} file (it does not begin as one); compress it again")
    if kind not in _COMPRESSED:
        yield from _decoded(stream, name, start, kind)
        return
    try:
        with _decompressed(_Rejoined(start, stream), kind) as text:
            yield from _decoded(text, name, *_beginning(text))
    except (EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's fault
            raise
        raise UserError(f"{name} is not a complete {kind} file ({error}); compress it again") from None


def _beginning(stream: Stream) -> tuple[bytes, str]:
    """Read as much of a stream as tells what it is, which of text is a byte; returns that and what it is, or ''."""
    start = b""
    while start not in _BEGINNINGS and any(known.startswith(start) for known in _BEGINNINGS):
        byte = stream.read(1)
        if not byte:
            break
        start += byte
    return start, _BEGINNINGS.get(start, "")


class _Rejoined(io.RawIOBase):
    """A stream together with its first bytes, which have been read already."""

    def __init__(self, start: bytes, stream: Stream) -> None:
        self._start, self._stream = start, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._start[: len(buffer)] or self._stream.read(len(buffer))
        self._start = self._start[len(part) :]
        buffer[: len(part)] = part
        return len(part)


class _Members(io.RawIOBase):
    """The text of one or more compressed members, one behind the other; the padding of xz between them is left out.

    Python's own readers of bzip2 and xz take a damaged member behind a whole one for the end of the text. `begin`
    returns what decompresses a member.
    """

    def __init__(self, stream: io.RawIOBase, begin: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> None:
        self._stream, self._begin, self._member = stream, begin, begin()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._member.eof:
                rest = self._member.unused_data or self._stream.read(io.DEFAULT_BUFFER_SIZE)
                while rest and not (rest := rest.lstrip(b"\0")):
                    rest = self._stream.read(io.DEFAULT_BUFFER_SIZE)
                if not rest:
                    return 0
                self._member = self._begin()
            else:
                rest = self._stream.read(io.DEFAULT_BUFFER_SIZE) if self._member.needs_input else b""
                if not rest and self._member.needs_input:
                    raise EOFError("it ends too early")
            if text := self._member.decompress(rest, len(buffer)):
                buffer[: len(text)] = text
                return len(text)


def _decompressed(stream: io.RawIOBase, kind: str) -> io.BufferedIOBase:
    """Open a compressed stream; what it holds is never in memory as a whole."""
    if kind in ("gzip", "zstd"):
        source = io.BufferedReader(stream)
        return gzip.GzipFile(fileobj=source) if kind == "gzip" else zstd.ZstdFile(source)
    return io.BufferedReader(_Members(stream, bz2.BZ2Decompressor if kind == "bzip2" else lzma.LZMADecompressor))


def _decoded(stream: Stream, name: str, start: bytes, kind: str) -> Iterator[str]:
    """Yield the lines of a stream of text, whose first bytes have been read."""
    if kind in _REFUSED:
        if start == b"\xff\xfe" and stream.read(2) == b"\0\0":
            kind = _UTF_32
        raise UserError(f"{name} {kind}")
    if kind:
        raise UserError(f"{name} is compressed twice; unpack it")
    for number in itertools.count(1):
        line = start if start.endswith(b"\n") else start + stream.readline(LONGEST_LINE + 1 - len(start))
        start = b""
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            _check_first(line, name)
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


def _check_first(line: bytes, name: str) -> None:
    """Refuse text whose first line shows that it is no UTF-8 with line ends of today."""
    if not line.endswith(b"\n") and b"\r" in line[:-1]:  # no U+000A in the whole text
        raise UserError(f"{name}: its line ends are U+000D alone, as on old Macs; convert them: tr '\\r' '\\n'")
    if 1 < line.count(0) < len(line) <= LONGEST_LINE and 3 * line.count(0) >= len(line):
        raise UserError(f"{name} looks like UTF-16 text without a byte order mark; convert it to UTF-8 with iconv")


def rows(path: Path) -> Iterator[list[str]]:
    """Yield the columns of each line of a TSV; an empty line is two empty columns, one column alone a UserError."""
    for number, line in enumerate(lines(path), start=1):
        row = line.split("\t") if line else ["", ""]
        if len(row) < 2:
            raise UserError(f"{path}, line {number}: one column; expected source TAB target")
        yield row


def check_aligned(one: Path, lines: int, other: Path, its_lines: int) -> None:
    """Raise a UserError unless two aligned files are equally long."""
    if lines != its_lines:
        raise UserError(
            f"{one} has {lines} lines and {other} has {its_lines}: line {min(lines, its_lines) + 1} has no "
            "counterpart; line n of one must be the translation of line n of the other"
        )


def inspect(path: Path, is_table: bool = False) -> tuple[int, str]:
    """Return the number of lines and the SHA-256, in hexadecimal, of their text; without text, raise a UserError."""
    count, has_text, digest = 0, False, hashlib.sha256()
    stream = map("\t".join, rows(path)) if is_table else lines(path)
    while block := list(itertools.islice(stream, _LINES_TOGETHER)):
        count += len(block)
        text = "\n".join(block) + "\n"
        has_text = has_text or bool(text.strip(SPACES))
        digest.update(text.encode())
    if not has_text:
        raise UserError(f"{path} holds no text; give a file with one sentence a line")
    return count, digest.hexdigest()
