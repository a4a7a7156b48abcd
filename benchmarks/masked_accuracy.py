r"""Score a run of the task masked-lm on a file, beside what counting gives: the command behind its figures.

    python benchmarks/masked_accuracy.py runs/multi30k_en_masked --text DIR/test_2016_flickr.en --counted DIR/train.en

Prints one JSON line: the share of masked tokens that the network finds, over several draws of the masks, and of pairs
where the run has them; with --counted, the shares of the most frequent token and of n-grams of both sides, counted in
another file: of the tokens around a mask, the longest context that was seen, two on each side at most, none of them
masked.
"""

import collections
import functools
import json
import operator
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence

from transformer.commands.parser import Parser
from transformer.ids import END_ID, MASK_ID, PAD_ID, START_ID
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

CONTEXTS = ((2, 2), (2, 1), (1, 2), (1, 1), (2, 0), (0, 2), (1, 0), (0, 1), (0, 0))  # tokens before and behind


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="masked_accuracy.py", description=__doc__.splitlines()[0])
    p.add_argument("run", metavar="RUN")
    p.add_argument("--text", metavar="F", help="score this file (default: the run's validation split)")
    p.add_argument("--counted", metavar="F", help="also score n-grams counted in this file")
    p.add_argument("--draws", type=int, default=5, metavar="N", help="of the masks (default: %(default)s)")
    args = p.parse_args(argv)
    return exit_code(lambda: score(args))


def score(args: Namespace) -> None:
    """Score and print the line."""
    import_tensorflow()
    import tensorflow as tf

    from transformer.checkpoints.loading import load
    from transformer.checkpoints.run_directory import RunDirectory

    task, network = load(RunDirectory(args.run))
    passages = list(_corpus(task, args.text).examples("train" if args.text else "validation"))
    found = functools.reduce(operator.add, (task.found(network, passages, seed) for seed in range(args.draws)))
    figures = {name: round(value, 4) for name, value in found.figures().items()}
    row = {"run": args.run, "masked": int(found.tokens), "pairs": int(found.pairs), **figures}
    if args.counted:
        columns = task.encode(list(_corpus(task, args.counted).examples("train"))).columns
        counted = NGrams(_rows(*columns["tokens"]))
        columns = task.encode(passages).columns
        record = {name: tf.RaggedTensor.from_row_lengths(*column) for name, column in columns.items()}
        right = collections.Counter()
        for seed in range(args.draws):
            batch = task.batch(record, tf.constant([seed, 0], tf.int64))
            for ids, labels in zip(batch["ids"].numpy().tolist(), batch["labels"].numpy().tolist(), strict=True):
                hidden = [PAD_ID if label else i for i, label in zip(ids, labels, strict=True)]
                for place, label in enumerate(labels):
                    if label:
                        right["n"] += 1
                        right["unigram"] += counted.most_frequent == label
                        right["ngram"] += counted.guess(hidden, place) == label
        row |= {name: round(right[name] / right["n"], 4) for name in ("unigram", "ngram")}
    print(json.dumps(row))


def _corpus(task, path: str | None):
    data = {"dataset": "", "train": [path], "valid": [path]} if path else {}
    return task.read(task.config.override({"data": data}))


def _rows(values: Sequence[int], lengths: Sequence[int]) -> Iterable[list[int]]:
    start = 0
    for length in lengths:
        yield [START_ID, *values[start : start + length].tolist(), END_ID]
        start += length


class NGrams:
    """What stood most often between the same neighbours.

    Args:
        rows: ids of texts, each with its start and end.
    """

    def __init__(self, rows: Iterable[Sequence[int]]) -> None:
        counts = {context: collections.defaultdict(collections.Counter) for context in CONTEXTS}
        for row in rows:
            for place in range(1, len(row) - 1):
                for context, found in counts.items():
                    found[_around(row, place, *context)][row[place]] += 1
        self._best = {
            context: {around: max(seen, key=lambda i: (seen[i], -i)) for around, seen in found.items()}
            for context, found in counts.items()
        }
        self.most_frequent = self._best[0, 0][(), ()]

    def guess(self, row: Sequence[int], place: int) -> int:
        """Return what stands at a place, by the longest context without an id 0 or a mask that was seen."""
        for context in CONTEXTS:
            around = _around(row, place, *context)
            if not {PAD_ID, MASK_ID} & {*around[0], *around[1]} and around in self._best[context]:
                return self._best[context][around]
        raise ValueError("rows must hold at least one token")


def _around(row: Sequence[int], place: int, before: int, behind: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return so many tokens before a place and behind it; beyond the row, its first and last are repeated."""
    first = tuple(row[max(0, i)] for i in range(place - before, place))
    return first, tuple(row[min(len(row) - 1, i)] for i in range(place + 1, place + 1 + behind))


if __name__ == "__main__":
    sys.exit(main())
