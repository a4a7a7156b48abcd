"""Text files: what ends a line, byte order marks, gzip, and one clear line for each fault."""

import gzip
import hashlib

import pytest

from transformer.config import UserError
from transformer.data import textfiles


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
    assert list(textfiles.lines(write(tmp_path / name, content))) == expected


def test_rows(tmp_path):
    path = write(tmp_path / "pairs.tsv", b"hi\toi\n\nyes\tsim\tnote\n\t\n")
    assert list(textfiles.rows(path)) == [["hi", "oi"], ["", ""], ["yes", "sim", "note"], ["", ""]]


def test_inspect_counts_and_hashes_the_text(tmp_path):
    content = b"a\r\n" * 3000 + b"last"
    expected = hashlib.sha256(b"a\n" * 3000 + b"last\n").hexdigest()
    for name in ("plain.txt", "packed.gz"):
        assert textfiles.inspect(write(tmp_path / name, content)) == (3001, expected)


@pytest.mark.parametrize("content", [b"", b"\n\n", b" \n\xe3\x80\x80\n", b"\xef\xbb\xbf"])
def test_a_file_without_text_is_refused(tmp_path, content):
    path = write(tmp_path / "empty.txt", content)
    with pytest.raises(UserError, match=rf"^{path} holds no text; give"):
        textfiles.inspect(path)


def test_invalid_utf8_names_file_line_and_position(tmp_path):
    path = write(tmp_path / "latin1.txt", b"one\ntwo caf\xe9 x\n")
    with pytest.raises(UserError) as error:
        list(textfiles.lines(path))
    assert str(error.value) == (f"{path}, line 2: not valid UTF-8 (byte 0xe9 at position 8); convert it to UTF-8")


def test_one_column_names_file_line_and_what_is_expected(tmp_path):
    path = write(tmp_path / "pairs.tsv", b"hi\toi\nalone\n")
    with pytest.raises(UserError) as error:
        list(textfiles.rows(path))
    assert str(error.value) == f"{path}, line 2: one column; expected source TAB target"


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-12], lambda data: b"no gzip at all", lambda data: data[:40] + b"x" * 40]
)
def test_damaged_gzip(tmp_path, damage):
    path = tmp_path / "text.gz"
    path.write_bytes(damage(gzip.compress(b"".join(b"line %d\n" % number for number in range(200)))))
    with pytest.raises(UserError, match=rf"^{path} is not a complete gzip file .*; compress it again$"):
        list(textfiles.lines(path))


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(UserError, match=r"^cannot read .*gone\.txt: No such file or directory$"):
        list(textfiles.lines(tmp_path / "gone.txt"))
