"""How well a run's vectors find what means the same: `transformer evaluate --task contrastive RUN [FILE ...]`."""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformer.checkpoints.run_directory import BEST, LAST
from transformer.commands.parser import Parser
from transformer.system.errors import UserError
from transformer.system.interrupts import starting
from transformer.system.messages import called, say
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

TASK = "contrastive"
STS_COLUMNS = 7  # genre, file, year, number, score, sentence, sentence; further ones name sources
WAYS = ("first to second", "second to first")


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=f"{called('evaluate')} --task {TASK}",
        description="Score a run's vectors: for each text, does the text of its pair have the nearest vector among all "
        "second texts? Or, with --sts, how well cosines follow people's scores of likeness.",
        epilog="Files are two texts that are aligned line by line, or a TSV of pairs. A file of --sts has the columns "
        "of the STS benchmark (the fifth is the score, the sixth and seventh the sentences), or three: score TAB "
        "sentence TAB sentence.",
    )
    p.add_argument("run", metavar="RUN", type=Path, help="directory of a run of contrastive or masked-lm")
    p.add_argument("files", metavar="FILE", nargs="*", type=Path, help="pairs (default: the run's validation pairs)")
    p.add_argument("--task", choices=(TASK,), help="what is scored")
    p.add_argument("--sts", metavar="F", type=Path, help="sentence pairs with scores")
    p.add_argument("--which", choices=(BEST, LAST), default=BEST, help="weights (default: best)")
    p.add_argument("--json", action="store_true", help="write one JSON object")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Score a run; return the exit code: 0 done, 1 failed with one line on stderr, 2 wrong usage."""
    p = parser()
    options = p.parse_intermixed_args(argv)
    if options.sts and options.files:
        p.error("give files of pairs or --sts, not both")
    if len(options.files) > 2:
        p.error(f"give two aligned files, or one TSV of pairs, got {len(options.files)} files")
    return exit_code(lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> None:
    with starting():
        import_tensorflow()
        from transformer.inference.embedder import Embedder
        from transformer.metrics.labels import rank_correlation
        from transformer.metrics.retrieval import accuracy_at, mean_reciprocal_rank, ranks_both_ways

    if options.sts:
        gold, first, second = zip(*sts_rows(options.sts), strict=True)
    else:
        first, second = zip(*_pairs(options), strict=True)
    embedder = Embedder.load(options.run, options.which)
    found = [embedder.embed_and_warn(texts) for texts in (first, second)]
    if empty := sum(len(one.warnings) for one in found):
        say(f"warning: {empty:,} texts are empty or were not read to the end")
    vectors = [one.vectors for one in found]
    if options.sts:
        cosines = (vectors[0] * vectors[1]).sum(axis=1)
        told = {"pairs": len(gold), "spearman": rank_correlation(list(gold), cosines.tolist())}
        print(json.dumps(told) if options.json else f"pairs     {len(gold):,}\nspearman  {told['spearman']:.4f}")
        return
    scores = {
        way: {
            "accuracy_at_1": accuracy_at(ranks, 1),
            "accuracy_at_5": accuracy_at(ranks, 5),
            "mean_reciprocal_rank": mean_reciprocal_rank(ranks),
        }
        for way, ranks in zip(WAYS, ranks_both_ways(vectors[0], vectors[1], first, second), strict=True)
    }
    if options.json:
        print(json.dumps({"pairs": len(first), **scores}))
        return
    print(f"{len(first):,} pairs{'accuracy at 1':>28}{'at 5':>10}{'mean reciprocal rank':>24}")
    for way, values in scores.items():
        at_1, at_5, reciprocal = values.values()
        print(f"{way:<20}{100 * at_1:>15.2f}{100 * at_5:>10.2f}{reciprocal:>24.4f}")


def _pairs(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield the pairs of the files, or the run's validation pairs; a UserError where there are none."""
    from transformer.checkpoints.run_directory import RunDirectory
    from transformer.data.examples import text_files
    from transformer.tasks import task_class

    if len(options.files) == 2:
        texts = [list(text_files.lines(path)) for path in options.files]
        text_files.check_aligned(options.files[0], len(texts[0]), options.files[1], len(texts[1]))
        pairs = list(zip(*texts, strict=True))
    elif options.files:
        pairs = [(row[0], row[1]) for row in text_files.rows(options.files[0])]
    else:
        config = RunDirectory(options.run).config()
        if config.task.name != TASK:
            raise UserError(f"{options.run} was not trained on pairs; name files of them")
        corpus = task_class(TASK).read(config)
        corpus.check()
        examples = corpus.examples("validation")
        pairs = [tuple(getattr(example, "texts", example)[:2]) for example in examples]
    if not pairs:
        raise UserError("there are no pairs to score; name files that hold some")
    yield from pairs


def sts_rows(path: Path) -> Iterator[tuple[float, str, str]]:
    """Yield score, sentence and sentence of each line of a file of the STS benchmark, or of three columns.

    Raises:
        UserError: a line with other columns, or whose score is no number; a file without a line.
    """
    from transformer.data.examples import text_files

    number = 0
    for number, line in enumerate(text_files.lines(path), start=1):
        row = line.split("\t")
        if len(row) >= STS_COLUMNS:
            row = row[4:STS_COLUMNS]
        if len(row) != 3:
            raise UserError(
                f"{path}, line {number}: {len(row)} columns; expected score TAB sentence TAB sentence, or the "
                f"{STS_COLUMNS} of the STS benchmark"
            )
        try:
            score = float(row[0])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise UserError(f"{path}, line {number}: the score '{row[0][:20]}' is no number; correct it")
        yield score, row[1], row[2]
    if number < 2:
        raise UserError(f"{path} holds {number} lines, and a correlation needs two; give a file with more")
