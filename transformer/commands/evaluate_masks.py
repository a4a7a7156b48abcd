"""How well a run finds masked tokens: `transformer evaluate --task masked-lm RUN [FILE ...]`."""

import argparse
import functools
import json
import operator
from collections.abc import Sequence
from pathlib import Path

from transformer.checkpoints.run_directory import BEST, LAST, RunDirectory
from transformer.commands.parser import Parser
from transformer.commands.task_flag import check_task
from transformer.config.tasks import DOCUMENTS
from transformer.system.errors import UserError
from transformer.system.interrupts import starting
from transformer.system.messages import called
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

SPLITS = ("validation", "train")


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=f"{called('evaluate')} --task masked-lm",
        description="Score a masked language model: the share of masked tokens that it finds, and their mean loss in "
        "nats; of next sentences likewise, where the run has learned them and the texts have documents.",
        epilog="Files are UTF-8 text or JSON lines, plain or compressed, as the run's config says. Masks are drawn as "
        "in training; the same draws are made each time.",
    )
    p.add_argument("run", metavar="RUN", type=Path, help="directory of a trained run")
    p.add_argument("files", metavar="FILE", nargs="*", help="texts (default: a split of what it was trained on)")
    p.add_argument("--task", choices=("masked-lm",), help="the task of the run")
    p.add_argument("--which", choices=(BEST, LAST), default=BEST, help="weights (default: best)")
    p.add_argument("--split", choices=SPLITS, default=SPLITS[0], help="where no files are given (default: validation)")
    p.add_argument("--documents", choices=DOCUMENTS, help="what a document is (default: as in the run's config)")
    p.add_argument("--mask-rate", type=float, metavar="R", help="share of the tokens (default: as in the run's config)")
    p.add_argument("--draws", type=int, default=5, metavar="N", help="of masks and pairs (default: %(default)s)")
    p.add_argument("--json", action="store_true", help="write one JSON object")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Score a run; return the exit code: 0 done, 1 failed with one line on stderr, 2 wrong usage."""
    p = parser()
    options = p.parse_intermixed_args(argv)
    if options.draws < 1:
        p.error(f"--draws must be at least 1, got {options.draws}")
    return exit_code(lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> None:
    run = RunDirectory(options.run)
    config = run.config()
    check_task(options.run, config, "masked-lm")
    with starting():
        import_tensorflow()
        from transformer.checkpoints.loading import load
        from transformer.tasks.masked_lm import MaskedLM

    data = {"dataset": "", "train": options.files, "valid": options.files} if options.files else {}
    given = {"documents": options.documents, "mask_rate": options.mask_rate}
    changes = {"data": data, "task": {name: value for name, value in given.items() if value is not None}}
    config = config.override(changes, "command line")
    corpus = MaskedLM.read(config)
    corpus.check()
    task, network = load(run, options.which)
    assert isinstance(task, MaskedLM)  # as the config says
    task.settings = config.task  # masks at the rate that is asked for
    passages = list(corpus.examples("train" if options.files else options.split))
    every = [task.found(network, passages, seed) for seed in range(options.draws)]
    found = functools.reduce(operator.add, every)
    if not found.tokens:
        raise UserError(f"{corpus.name} has no token that could be masked; give texts of at least a word")
    counts = {"masked_tokens": int(found.tokens), **({"pairs": int(found.pairs)} if found.pairs else {})}
    if options.json:
        print(json.dumps({**counts, **found.figures()}))
        return
    for name, count in counts.items():
        print(f"{name:<20}{count:>12,}")
    for name, value in found.figures().items():
        print(f"{name:<20}{value:>12.4f}")
