"""How well a language model predicts texts: `transformer evaluate --task language-model RUN FILE [FILE ...]`."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from transformer.checkpoints.run_directory import BEST, LAST, RunDirectory
from transformer.commands.parser import Parser
from transformer.commands.perplexities import print_perplexities
from transformer.commands.task_flag import check_task
from transformer.config.tasks import DOCUMENTS
from transformer.system.errors import UserError
from transformer.system.interrupts import starting
from transformer.system.messages import called
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=f"{called('evaluate')} --task language-model",
        description="Score texts: how likely they are to a language model, on standard output.",
        epilog="Files are UTF-8 text or JSON lines, plain or compressed.",
    )
    p.add_argument("run", metavar="RUN", type=Path, help="directory of a trained run")
    p.add_argument("files", metavar="FILE", type=Path, nargs="+", help="texts")
    p.add_argument("--task", choices=("language-model",), help="the task of the run")
    p.add_argument("--which", choices=(BEST, LAST), default=BEST, help="weights (default: best)")
    p.add_argument(
        "--documents",
        choices=DOCUMENTS,
        help="what a document is, which nothing before it helps to predict (default: as in the run's config)",
    )
    p.add_argument(
        "--stride",
        type=int,
        default=0,
        metavar="N",
        help="tokens between two windows of a text that is longer than the context (default: half of the context)",
    )
    p.add_argument(
        "--each",
        action="store_true",
        help="a line for each document: its log-probability in nats, its perplexity a token, and how it begins",
    )
    p.add_argument(
        "--baseline-run",
        metavar="RUN",
        type=Path,
        help="another run, whose perplexity of the same documents is compared (paired bootstrap over documents)",
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Score files; return the exit code: 0 done, 1 failed with one line on stderr, 2 wrong usage."""
    options = parser().parse_intermixed_args(argv)
    return exit_code(lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> None:
    runs = [RunDirectory(path) for path in (options.run, options.baseline_run) if path]
    for run in reversed(runs):
        config = run.config()
        check_task(run.path, config, "language-model")
    with starting():
        import_tensorflow()
        from transformer.checkpoints.loading import load
        from transformer.data.examples.text_documents import FileTexts
        from transformer.inference.text_scores import TextScore, TextScorer
        from transformer.tasks.language_model import LanguageModel

    settings = dataclasses.replace(config.task, documents=options.documents or config.task.documents)
    texts = FileTexts({"train": tuple(options.files)}, settings)
    texts.check()
    beginnings: list[str] = []
    found: list[list[TextScore]] = [[], []]
    for scores, directory in zip(found, runs, strict=False):
        task, network = load(directory, options.which)
        assert isinstance(task, LanguageModel)  # as the config says
        try:
            scorer = TextScorer(task, network, options.stride)
        except ValueError as error:
            raise UserError(f"--stride: {error}") from None
        scores += scorer.score_documents(texts.documents(beginnings.append))
    if options.each:
        for score, beginning in zip(found[0], beginnings, strict=False):
            print(f"{score.log_probability:.4f}\t{score.perplexity:.4f}\t{beginning}")
        return
    total = print_perplexities(found[0], options.baseline_run, found[1])
    print(f"bits per byte {total.bits_per_byte:.4f}")
    print(f"log-probability {total.log_probability:.2f} nats, of {len(found[0]):,} documents")
