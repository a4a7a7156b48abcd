"""Which of all second texts has the nearest vector to each first text, and the other way round, with several runs.

The first run is compared with each other one: McNemar's exact test in each direction, and a paired bootstrap of the
difference of both directions together.

    transformer train --config configs/multi30k_retrieval.toml --data DIR --set task.encoder=bag \\
        --set task.norm_pooled=false --set training.peak_learning_rate=0.01 --run runs/multi30k_bag
    python benchmarks/retrieval.py runs/multi30k_retrieval runs/multi30k_bag \\
        --first DIR/test_2016_flickr.en --second DIR/test_2016_flickr.de
    ... --longer-than 10        only pairs with a text of more words
"""

import argparse
from pathlib import Path

import numpy as np

from transformer.system.errors import UserError
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

SAMPLES = 10_000


def main() -> int:
    """Run the command line; returns the exit code."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("runs", nargs="+", metavar="RUN")
    p.add_argument("--first", type=Path, required=True, metavar="F")
    p.add_argument("--second", type=Path, required=True, metavar="F")
    p.add_argument("--longer-than", type=int, default=0, metavar="N", help="words of the longer text")
    args = p.parse_args()
    return exit_code(lambda: _compare(args))


def _compare(args: argparse.Namespace) -> None:
    import_tensorflow()
    from transformer.data.examples import text_files
    from transformer.inference.embedder import Embedder
    from transformer.metrics.retrieval import accuracy_at, mcnemar, mean_reciprocal_rank, ranks_both_ways
    from transformer.metrics.significance import paired_bootstrap

    lines = [list(text_files.lines(path)) for path in (args.first, args.second)]
    text_files.check_aligned(args.first, len(lines[0]), args.second, len(lines[1]))
    pairs = [pair for pair in zip(*lines, strict=True) if max(len(t.split()) for t in pair) > args.longer_than]
    if not pairs:
        raise UserError(f"no pair has a text of more than {args.longer_than} words")
    first, second = zip(*pairs, strict=True)
    print(f"{len(pairs):,} pairs")
    right: list[list[np.ndarray]] = []
    for run in args.runs:
        embedder = Embedder.load(run)
        found = ranks_both_ways(embedder.embed(first), embedder.embed(second), first, second)
        right.append([ranks == 1 for ranks in found])
        at_1, at_5 = ([f"{100 * accuracy_at(ranks, most):.1f}" for ranks in found] for most in (1, 5))
        reciprocal = [f"{mean_reciprocal_rank(ranks):.4f}" for ranks in found]
        print(f"{run}: accuracy at 1 {' / '.join(at_1)}, at 5 {' / '.join(at_5)}, MRR {' / '.join(reciprocal)}")
    for run, theirs in zip(args.runs[1:], right[1:], strict=True):
        chances = [f"{mcnemar(one, other):.4g}" for one, other in zip(right[0], theirs, strict=True)]
        both = [np.mean(ways, axis=0)[:, np.newaxis] for ways in (right[0], theirs)]  # of each pair, (N, 1)
        compared = paired_bootstrap(*both, lambda sums: float(sums[0] / len(pairs)), SAMPLES)
        print(f"{args.runs[0]} and {run}: McNemar p = {' / '.join(chances)}")
        means = f"{100 * compared.score:.2f} and {100 * compared.baseline:.2f}"
        print(f"    both directions together {means}, paired bootstrap p = {compared.p_value:.4f}")


if __name__ == "__main__":
    raise SystemExit(main())
