"""How well a run labels, tags or answers: `transformer evaluate --task classification RUN [FILE ...]`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from transformer.checkpoints.run_directory import BEST, LAST, RunDirectory
from transformer.commands.parser import Parser
from transformer.commands.task_flag import check_task
from transformer.config.presets import FINE_TUNED
from transformer.config.run import Config
from transformer.system.errors import UserError
from transformer.system.interrupts import starting
from transformer.system.messages import called, say
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

SPLITS = ("test", "validation", "train")


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=f"{called('evaluate')} --task TASK",
        description="Score a run on texts with the right labels, tags or answers: all scores, and those of each class.",
        epilog="Files are read as the run's config says. A threshold or anything else is never chosen here.",
    )
    p.add_argument("run", metavar="RUN", type=Path, help="directory of a trained run")
    p.add_argument("files", metavar="FILE", nargs="*", help="examples (default: a split of what it was trained on)")
    p.add_argument("--task", choices=FINE_TUNED, help="the task of the run")
    p.add_argument("--which", choices=(BEST, LAST), default=BEST, help="weights (default: best)")
    p.add_argument("--split", choices=SPLITS, default=SPLITS[0], help="where no files are given (default: test)")
    p.add_argument("--confusion", metavar="PNG", help="draw which class was taken for which")
    p.add_argument("--json", action="store_true", help="write one JSON object")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Score a run; return the exit code: 0 done, 1 failed with one line on stderr, 2 wrong usage."""
    options = parser().parse_intermixed_args(argv)
    return exit_code(lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> None:
    run = RunDirectory(options.run)
    config = run.config()
    check_task(options.run, config, options.task)
    if options.confusion:
        from transformer.plots.style import need_matplotlib

        need_matplotlib()
    with starting():
        import_tensorflow()
        from transformer.inference.predictor import Predictor
        from transformer.tasks import task_class
        from transformer.tasks.fine_tuning import FineTuning

    if options.files:
        config, options.split = _of_files(config, options.files), "train"
    corpus = task_class(options.task).read(config)
    corpus.check()
    examples = list(corpus.examples(options.split))
    predictor = Predictor.load(options.run, options.which)
    task = predictor.task
    assert isinstance(task, FineTuning)  # as the config says
    found = predictor.predict(task.inputs_of(examples))
    scores, classes = task.scores(examples, found), task.by_class(examples, found)
    names, counts = task.confusion(examples, found)
    if options.json:
        told = {"examples": len(examples), **scores, "classes": [score._asdict() for score in classes]}
        print(json.dumps({**told, "confusion": {"names": names, "counts": counts.tolist()}}, ensure_ascii=False))
    else:
        print(f"{'examples':<20}{len(examples):>10,}")
        for name, value in scores.items():
            print(f"{name:<20}{value:>10.4f}")
        if classes:
            print(f"\n{'class':<20}{'precision':>10}{'recall':>10}{'F1':>10}{'number':>10}")
        for score in classes:
            print(f"{score.name:<20}{score.precision:>10.4f}{score.recall:>10.4f}{score.f1:>10.4f}{score.support:>10,}")
    if options.confusion:
        from transformer.plots.confusion import confusion_map

        if not names:
            raise UserError("there are no classes that could be taken for one another; leave --confusion out")
        confusion_map(counts, names, options.confusion)
        say(f"{options.confusion} is drawn")


def _of_files(config: Config, files: Sequence[str]) -> Config:
    """Return a config whose training split is some files, whole."""
    whole = {"task": {"test_share": 0.0}} if hasattr(config.task, "test_share") else {}
    data = {"dataset": "", "train": files, "valid": files, "test": ()}
    return config.override({**whole, "data": data}, "command line")
