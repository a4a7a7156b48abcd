r"""Show how the wording of a parallel corpus changes along its lines, and which lines are worded most like `val`.

    python benchmarks/styles.py DIR [--lines 500] [--source people --targets Menschen Personen Leute]

DIR holds Multi30k's train and val files. For each stretch of so many lines of train, and for val, a JSON line: how
surprising val's German is to one who knows the words of that stretch and of train as a whole, half and half (nats per
word, the less the more alike; cross-entropy as a measure of likeness: Moore and Lewis 2010), the same for English, and
how often each of the --targets stands in the German of sentences that have --source. Nothing here looks at a test set.
"""

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from multi30k import read_pairs

from transformer.command_line import Parser, exit_code

LINES = 500
SOURCE, TARGETS = "people", ("Menschen", "Personen", "Leute")


def words(line: str) -> list[str]:
    """Return the words and marks of a line, lower-cased; a hyphen stays inside its word."""
    return re.findall(r"[\w-]+|[^\w\s]", line.lower())


def counts(lines: Sequence[str]) -> Counter[str]:
    """Return how often each word stands in lines."""
    return Counter(word for line in lines for word in words(line))


def surprises(train: Sequence[str], val: Sequence[str], size: int) -> list[float]:
    """Return the nats per word of val under the words of each stretch of train mixed with those of all, half and half.

    Args:
        train: lines.
        val: lines.
        size: lines in a stretch; the last may be shorter.
    """
    whole, wanted = counts(train), counts(val)
    unseen = whole.total() + len(whole) + 1  # each known word once more, and one that stands for the unknown
    figures = []
    for start in range(0, len(train), size):
        part = counts(train[start : start + size])
        share = 0.5 / max(part.total(), 1)
        logs = (n * math.log(share * part[w] + 0.5 * (whole[w] + 1) / unseen) for w, n in wanted.items())
        figures.append(-sum(logs) / max(wanted.total(), 1))
    return figures


def shares(pairs: list[tuple[str, str]], source: str, targets: tuple[str, ...]) -> dict[str, float | None]:
    """Return in which share of the pairs with a source word each target word stands; None where it has no pair."""
    found = [set(words(other)) for one, other in pairs if source.lower() in words(one)]
    return {t: round(sum(t.lower() in of for of in found) / len(found), 2) if found else None for t in targets}


def rows(data: Path, size: int, source: str, targets: tuple[str, ...]) -> Iterator[dict]:
    """Yield a row for each stretch of train, then one for val.

    Raises:
        UserError: what is wrong with a file, see `read_pairs`.
    """
    train, val = read_pairs(data).values()
    sides = zip(zip(*train, strict=True), zip(*val, strict=True), strict=True)
    english, german = (surprises(ours, wanted, size) for ours, wanted in sides)
    for number in range(len(german)):
        pairs = train[number * size : (number + 1) * size]
        row = {"lines": f"{number * size + 1}-{number * size + len(pairs)}"}
        row |= {"german": round(german[number], 3), "english": round(english[number], 3)}
        yield row | {source: shares(pairs, source, targets)}
    yield {"lines": "val", source: shares(val, source, targets)}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="styles.py", description=__doc__.splitlines()[0])
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's train.en, train.de, val.en and val.de")
    p.add_argument("--lines", type=int, default=LINES, metavar="N", help="in a stretch (default: %(default)s)")
    p.add_argument("--source", default=SOURCE, metavar="WORD", help="an English word (default: %(default)s)")
    p.add_argument("--targets", nargs="+", default=TARGETS, metavar="WORD", help="German words for it")
    args = p.parse_args(argv)
    if args.lines < 1:
        p.error(f"--lines must be at least 1, got {args.lines}")

    def job() -> None:
        for row in rows(Path(args.data), args.lines, args.source, tuple(args.targets)):
            print(json.dumps(row, ensure_ascii=False))

    return exit_code(job)


if __name__ == "__main__":
    sys.exit(main())
