"""Text files: what ends a line, byte order marks, compression, and one clear line for each fault."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import tracemalloc

import pytest
from backports import zstd

from transformer.data.examples import text_files
from transformer.system.errors import UserError


def write(path, content):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as stream:
        stream.write(content)
    return path


@pytest.mark.parametrize("name", ["plain.txt", "packed.gz"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\n\n", ["a", ""]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),  # a mark further down is text
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\n", [""]),
        ("a\u2028b\u0085c\x0bd\x0ce\rf\x1cg\n".encode(), ["a\u2028b\u0085c\x0bd\x0ce\rf\x1cg"]),
    ],
)
def test_lines(tmp_path, name, content, expected):
    assert list(text_files.lines(write(tmp_path / name, content))) == expected


def test_rows(tmp_path):
    path = write(tmp_path / "pairs.tsv", b"hi\toi\n\nyes\tsim\tnote\n\t\n")
    assert list(text_files.rows(path)) == [["hi", "oi"], ["", ""], ["yes", "sim", "note"], ["", ""]]


def test_inspect_counts_and_hashes_the_text(tmp_path):
    content = b"a\r\n" * 3000 + b"last"
    expected = hashlib.sha256(b"a\n" * 3000 + b"last\n").hexdigest()
    for name in ("plain.txt", "packed.gz"):
        assert text_files.inspect(write(tmp_path / name, content)) == (3001, expected)


@pytest.mark.parametrize("content", [b"", b"\n\n", b" \n\xe3\x80\x80\n", b"\xef\xbb\xbf"])
def test_a_file_without_text_is_refused(tmp_path, content):
    path = write(tmp_path / "empty.txt", content)
    with pytest.raises(UserError, match=rf"^{path} holds no text; give"):
        text_files.inspect(path)


def test_invalid_utf8_names_file_line_and_position(tmp_path):
    path = write(tmp_path / "latin1.txt", b"one\ntwo caf\xe9 x\n")
    with pytest.raises(UserError) as error:
        list(text_files.lines(path))
    assert str(error.value) == (f"{path}, line 2: not valid UTF-8 (byte 0xe9 at position 8); convert it to UTF-8")


def test_one_column_names_file_line_and_what_is_expected(tmp_path):
    path = write(tmp_path / "pairs.tsv", b"hi\toi\nalone\n")
    with pytest.raises(UserError) as error:
        list(text_files.rows(path))
    assert str(error.value) == f"{path}, line 2: one column; expected source TAB target"


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-12], lambda data: b"no gzip at all", lambda data: data[:40] + b"x" * 40]
)
def test_damaged_gzip(tmp_path, damage):
    path = tmp_path / "text.gz"
    path.write_bytes(damage(gzip.compress(b"".join(b"line %d\n" % number for number in range(200)))))
    with pytest.raises(UserError, match=rf"^{path} is not a complete gzip file .*; compress it again$"):
        list(text_files.lines(path))


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(UserError, match=r"^cannot read .*gone\.txt: No such file or directory$"):
        list(text_files.lines(tmp_path / "gone.txt"))


def with_checksum(data):  # as the command `zstd` does
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


COMPRESS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": with_checksum}
SUFFIXES = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst"}


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbfa\r\nb", b"line\n" * 5000])
def test_compressed_text_is_known_by_its_first_bytes(tmp_path, kind, content):
    expected = list(text_files.decoded(io.BytesIO(content), "x"))
    data = COMPRESS[kind](content)
    for name in ("unnamed", "wrong.txt", "right" + SUFFIXES[kind]):
        (tmp_path / name).write_bytes(data)
        assert list(text_files.lines(tmp_path / name)) == expected
    read, write = os.pipe()  # cannot be read from its start again, as standard input
    with open(read, "rb") as stream, open(write, "wb") as file:
        file.write(data)
        file.close()
        assert list(text_files.decoded(stream, "standard input")) == expected
    (tmp_path / "two").write_bytes(data + COMPRESS[kind](b"\nmore"))  # as `cat` makes of two files
    assert "\n".join(text_files.lines(tmp_path / "two")).endswith("\nmore")


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_damaged_member_behind_a_whole_one_is_not_the_end(tmp_path, kind):
    first, second = COMPRESS[kind](b"one\n"), bytearray(COMPRESS[kind](b"two\nthree\n" * 50))
    second[len(second) // 2] ^= 1
    path = tmp_path / "two"
    for rest in (bytes(second), b"no member"):
        path.write_bytes(first + rest)
        with pytest.raises(UserError, match=rf"^{path} is not a complete {kind} file \(.*\); compress it again$"):
            list(text_files.lines(path))


def test_padding_between_members_of_xz_is_passed_over(tmp_path):
    """Its format allows for zero bytes there (The .xz File Format, section 2.2)."""
    (tmp_path / "two").write_bytes(lzma.compress(b"one\n") + bytes(8) + lzma.compress(b"two\n") + bytes(20_000))
    assert list(text_files.lines(tmp_path / "two")) == ["one", "two"]


@pytest.mark.parametrize("kind", COMPRESS)
def test_damaged_compressed_text_is_named(tmp_path, kind):
    whole = COMPRESS[kind](b"".join(b"line %d\n" % number for number in range(2000)))
    path = tmp_path / "text"
    for data in (whole[:-12], whole[: len(whole) // 2], whole[:60] + b"x" * 60 + whole[120:]):
        path.write_bytes(data)
        with pytest.raises(
            UserError, match=rf"^{path} is not a complete {kind} file \(.*\); compress it again$"
        ) as error:
            list(text_files.lines(path))
        assert "\n" not in str(error.value)
    named = tmp_path / ("text" + SUFFIXES[kind])
    named.write_bytes(b"plain text\n")
    with pytest.raises(UserError, match=rf"^{named} is not a complete {kind} file"):
        list(text_files.lines(named))


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_line_that_grows_out_of_a_few_bytes_is_refused_before_it_is_whole(tmp_path, kind):
    path = tmp_path / "bomb"
    path.write_bytes(COMPRESS[kind](bytes(40_000_000)))
    tracemalloc.start()
    with pytest.raises(UserError, match=r"bomb, line 1: longer than 4,000,000 bytes"):
        list(text_files.lines(path))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 30_000_000


def test_what_only_begins_like_compressed_text_is_text():
    for text in ("BZh", "BZhang", "B", "BZh9", "P", "PK", "PKs", "(", "(a", "\x1f", "\x1fa"):
        for end in ("", "\n", "\nmore\n"):
            found = list(text_files.decoded(io.BytesIO((text + end).encode()), "x"))
            assert found == (text + end).removesuffix("\n").split("\n")


def test_a_line_is_given_before_the_next_one_is_there():
    read, write = os.pipe()
    with open(read, "rb") as stream, open(write, "wb", buffering=0) as file:
        found = text_files.decoded(stream, "x")
        for line in ("B", "", "BZh9", "a"):
            file.write(f"{line}\n".encode())
            assert next(found) == line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"old\rMac\rtext\r", "x: its line ends are U+000D alone, as on old Macs; convert them: tr '\\r' '\\n'"),
        (b"old\rMac", "x: its line ends are U+000D alone"),
        ("Olá\n".encode("utf-16"), "x is UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8"),
        (b"\xfe\xff" + "Olá\n".encode("utf-16-be"), "x is UTF-16 text"),
        ("Olá!\n".encode("utf-16-le"), "x looks like UTF-16 text without a byte order mark"),
        ("Olá!\n".encode("utf-16-be"), "x looks like UTF-16 text without a byte order mark"),
        ("Olá!\n".encode("utf-32"), "x is UTF-32 text; convert it: iconv -f UTF-32 -t UTF-8"),
        (b"\0\0\xfe\xff" + "Olá!\n".encode("utf-32-be"), "x is UTF-32 text"),
        (b"PK\x03\x04 and so on", "x is a zip archive, not text; unpack it"),
        (gzip.compress(gzip.compress(b"a\n", mtime=0), mtime=0), "x is compressed twice; unpack it"),
        (gzip.compress("Olá\n".encode("utf-16"), mtime=0), "x is UTF-16 text"),
    ],
)
def test_text_of_another_kind_is_named(content, message):
    with pytest.raises(UserError) as error:
        list(text_files.decoded(io.BytesIO(content), "x"))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("content", [b"a\r", b"a\rb\n", b"\r\n", b"\r", b"\0\n", b"a\0b\n"])
def test_a_carriage_return_or_a_null_inside_a_line_is_text(content):
    expected = content.decode().removesuffix("\n").removesuffix("\r")
    assert list(text_files.decoded(io.BytesIO(content), "x")) == [expected]
