"""What `transformer embed` and `transformer search` do with an embedder: lines in, vectors or neighbours out."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from transformer.commands.predict_lines import source_lines
from transformer.commands.translate_lines import MOST_TOLD, groups, output
from transformer.data.examples import text_files
from transformer.inference.embedder import Embedder
from transformer.inference.nearest import nearest
from transformer.system.errors import UserError
from transformer.system.messages import escaped, for_terminal, say

ARRAY = ".npy"  # ending of a file of vectors
TOGETHER = 2048  # lines
MOST_NUMBERS = 2**22  # of a block of stored vectors that is compared at once: 16 MB


class Warned:
    """Tells the warnings of some lines, and in the end of how many more."""

    def __init__(self, what: str) -> None:
        self.what, self.count = what, 0

    def tell(self, warnings: dict[int, str], first: int) -> None:
        """Say warnings about lines, by their places after the first, which has a number from 0 on."""
        for place, told in warnings.items():
            self.count += 1
            if self.count <= MOST_TOLD:
                say(f"warning: {self.what} {first + place + 1}: {told}")

    def finish(self) -> None:
        """Say how many were not told."""
        if self.count > MOST_TOLD:
            say(f"warning: {self.count - MOST_TOLD:,} more of {self.what} have warnings")


def embed_lines(
    embedder: Embedder,
    texts: Sequence[str],
    input_path: str | None,
    output_path: str | None,
    size: int,
    normalise: bool,
) -> None:
    """Embed texts, the lines of a file, or those of standard input.

    Vectors go into a .npy file, or line by line as JSON. What cannot be read or written is a UserError.
    """
    check_size(embedder, size)
    lines, idle = source_lines(texts, input_path)
    embedded, done = _embedded(embedder, lines, size, normalise, idle), 0
    with output(output_path) as file:
        if output_path and output_path.endswith(ARRAY):
            width = size or embedder.size
            done = write_array(file.buffer, (vectors for _, vectors in embedded), width)
            say(f"{output_path}: {done:,} vectors of {width} numbers")
            return
        for group, vectors in embedded:
            for text, vector in zip(group, vectors, strict=True):
                line = json.dumps({"text": text, "vector": [round(float(x), 7) for x in vector]}, ensure_ascii=False)
                print(for_terminal(line, file), file=file)
            file.flush()
            done += len(group)
            if output_path:
                say(f"{done:,} texts done", in_place=True)
    if output_path:
        say("")


def check_size(embedder: Embedder, size: int) -> None:
    """Refuse, with a UserError, more numbers than a vector has."""
    if size > embedder.size:
        raise UserError(f"--size must be at most {embedder.size}, the numbers of a vector of this run, got {size}")


def _embedded(
    embedder: Embedder, lines: Iterable[str], size: int, normalise: bool, idle: Callable[[], bool] | None = None
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield some lines at a time with their vectors."""
    warned, done = Warned("text"), 0
    for group in groups(lines, TOGETHER, idle):
        found = embedder.embed_and_warn(group, size, normalise)
        warned.tell(found.warnings, done)
        yield group, found.vectors
        done += len(group)
    warned.finish()


def write_array(file: BinaryIO, parts: Iterable[np.ndarray], width: int) -> int:
    """Write vectors (some, width) as one array of NumPy's format, part by part; returns how many there were."""

    def header(count: int) -> None:
        file.seek(0)
        shape = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
        np.lib.format.write_array_header_1_0(file, shape)  # as long for any count: NumPy leaves space for it

    header(0)
    count = 0
    for part in parts:
        file.write(np.ascontiguousarray(part, "<f4").tobytes())
        count += len(part)
    header(count)
    file.flush()
    return count


def search_lines(
    embedder: Embedder, queries: Sequence[str], corpus: str, vectors_path: str | None, most: int, as_json: bool
) -> None:
    """Write, for each query, the lines of a corpus that are nearest to it.

    Args:
        embedder: of the run.
        queries: texts; none: the lines of standard input.
        corpus: text file, one text a line.
        vectors_path: .npy file of its vectors, as `embed` writes it; None: they are made.
        most: lines of an answer.
        as_json: one JSON object a query.

    Raises:
        UserError: a file that cannot be read, a corpus without a line, or vectors that are not those of the corpus.
    """
    lines, idle = source_lines(queries, None)
    stored = open_vectors(vectors_path, embedder.size) if vectors_path else None
    first = next(text_files.lines(Path(corpus)), None)
    if first is None:
        raise UserError(f"{corpus} holds no line, so that nothing can be found; give a file with one text a line")
    with tempfile.TemporaryDirectory() as folder:
        if stored is None and idle is not None:  # the corpus is asked again and again
            path = Path(folder, f"corpus{ARRAY}")
            with open(path, "wb") as file:
                write_array(file, vectors_of(embedder, corpus), embedder.size)
            stored = open_vectors(str(path), embedder.size)
        _answer(embedder, groups(lines, TOGETHER, idle), corpus, stored, most, as_json)


def vectors_of(embedder: Embedder, path: str) -> Iterator[np.ndarray]:
    """Yield the vectors of a file's lines, some at a time."""
    return (vectors for _, vectors in _embedded(embedder, text_files.lines(Path(path)), 0, True))


def _answer(
    embedder: Embedder,
    queries: Iterable[list[str]],
    corpus: str,
    stored: np.ndarray | None,
    most: int,
    as_json: bool,
) -> None:
    """Write what is found for groups of queries; see `search_lines`."""
    done = 0
    for group in queries:
        found = embedder.embed_and_warn(group, stored.shape[1] if stored is not None else 0)
        Warned("query").tell(found.warnings, done)
        if stored is None:
            blocks = vectors_of(embedder, corpus)
        else:
            rows = max(1, MOST_NUMBERS // stored.shape[1])
            blocks = (stored[i : i + rows] for i in range(0, len(stored), rows))
        scores, numbers = nearest(found.vectors, blocks, most)
        texts = lines_at(corpus, set(numbers.flatten().tolist()), None if stored is None else len(stored))
        for query, row, places in zip(group, scores, numbers, strict=True):
            hits = [
                {"score": round(float(score), 6), "line": int(place) + 1, "text": texts[int(place)]}
                for score, place in zip(row, places, strict=True)
            ]
            write_hits(query, hits, as_json)
        done += len(group)


def write_hits(query: str, hits: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Write what was found for a query."""
    if as_json:
        line = json.dumps({"query": query, "found": list(hits)}, ensure_ascii=False)
        print(for_terminal(line, sys.stdout), flush=True)
        return
    for hit in hits:
        text = escaped(" ".join(hit["text"].splitlines()).replace("\t", " "))
        print(f"{hit['score']:.4f}\t{hit['line']}\t{text}", flush=True)


def lines_at(path: str, wanted: set[int], count: int | None) -> dict[int, str]:
    """Return the lines of a file with some numbers, from 0 on; a UserError where there are not `count` in all."""
    found, total = {}, 0
    for total, line in enumerate(text_files.lines(Path(path)), start=1):
        if total - 1 in wanted:
            found[total - 1] = line
    if count is not None and total != count:
        raise UserError(f"{path} has {total:,} lines, and there are {count:,} vectors; make them again with embed")
    if len(found) != len(wanted):
        raise UserError(f"{path} changed while it was read; start again")
    return found


def open_vectors(path: str, width: int) -> np.ndarray:
    """Open an array of vectors as `embed` writes it, without reading it into memory; a UserError where it is none."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, SyntaxError) as error:
        raise UserError(f"{path} is no array of vectors ({error}); make it with embed --output F.npy") from None
    fits = isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 and vectors.ndim == 2
    if not (fits and 0 < vectors.shape[1] <= width):
        raise UserError(f"{path} does not hold float32 vectors of at most {width} numbers; make it with embed")
    return vectors
