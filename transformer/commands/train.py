"""`transformer train`: learn from examples, or continue an interrupted run."""

import shlex

from transformer.commands.parser import Parser
from transformer.commands.task_flag import load_own_task
from transformer.config.flags import resolve
from transformer.config.presets import PRESETS
from transformer.config.settings import DEFAULT_DATASET, PRECISIONS, STRATEGIES
from transformer.config.tasks import SETTINGS
from transformer.system.errors import UserError
from transformer.system.interrupts import starting
from transformer.system.messages import called, one_line, say
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow
from transformer.tasks import COMMANDS

HOW = {  # to go on with a run, by its task or by the command that works with it
    "translate": 'translate --run {} "..."',
    "generate": 'generate {} "..."',
    "predict": 'predict {} "..."',
    "masked-lm": 'predict {} "... [MASK] ..."',
    "embed": 'embed {} "..."',
}


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("train"),
        description=f"Train a translator and keep it in a run directory. Without arguments: {DEFAULT_DATASET}, the "
        "embedded phrasebook, about 5 minutes on two cores. The same command continues an interrupted run.",
        epilog="Settings: defaults < --preset < --config < flags, --set among them; a setting is given by one of them. "
        "The resolved config is kept in RUN/config.json.",
    )
    sizes = p.add_mutually_exclusive_group()
    sizes.add_argument("--config", metavar="F", help="a TOML file of settings in sections, as RUN/config.json has them")
    sizes.add_argument("--preset", metavar="P", help="settings of a published model: " + ", ".join(PRESETS))
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="any setting, such as training.peak_learning_rate=0.001; VALUE is TOML, or a word; may be repeated",
    )
    p.add_argument(
        "--task", metavar="TASK", help=f"{', '.join(SETTINGS)}, or FILE:CLASS, one of your own (default: the config's)"
    )
    data = p.add_argument_group(
        "data: one of --dataset, --source with --target, --tsv, --train, or what the config names"
    )
    data.add_argument("--dataset", metavar="NAME", help="a TFDS dataset of the task, such as wmt14_translate/de-en")
    for split, what in (("train", "files of training examples"), ("valid", "validation"), ("test", "test")):
        text = f"{what}, as the task reads them (translation: --source and --target, or --tsv)"
        data.add_argument(f"--{split}", metavar="F", nargs="+", help=text if split == "train" else f"{what} files")
    data.add_argument("--source", metavar="F", help="source sentences, one a line, plain or compressed")
    data.add_argument("--target", metavar="F", help="their translations, line by line")
    data.add_argument("--tsv", metavar="F", help="source TAB translation, one pair a line, plain or compressed")
    data.add_argument("--valid-source", metavar="F", help="validation sentences; without them pairs are held out")
    data.add_argument("--valid-target", metavar="F", help="their translations")
    data.add_argument("--source-language", metavar="L", help="two-letter code, such as pt")
    data.add_argument("--target-language", metavar="L", help="two-letter code, such as en")
    data.add_argument("--data", metavar="DIR", help="folder of the files that the config names (default: the config's)")
    p.add_argument("--run", metavar="DIR", help="run directory (default: runs/, named after the config or the data)")
    p.add_argument("--init-from", metavar="RUN", help="start with this run's vocabulary and best weights")
    p.add_argument("--seed", type=int, metavar="N", help="of initial weights, data order and dropout")
    p.add_argument("--max-steps", type=int, metavar="N", help="optimizer steps")
    p.add_argument("--max-minutes", type=float, metavar="N", help="wall time of the loop, validation included")
    p.add_argument(
        "--precision", choices=PRECISIONS, help="of matrix multiplications and activations; weights are float32"
    )
    p.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="single",
        help="single, mirrored: all GPUs of this machine, multiworker: several machines, named by $TF_CONFIG",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        args = parser().parse_args(argv)
        if args.task and ":" in args.task:
            args.task = load_own_task(args.task)
        config, run = resolve(args)
    except UserError as error:
        say(f"error: {error}")
        return 2

    def job() -> None:
        with starting():
            import_tensorflow()
            from transformer.checkpoints.run_directory import RunDirectory
            from transformer.inference.run_engines import OURS, prepare
            from transformer.training.cluster import open_strategy
            from transformer.training.trainer import train

        state = train(config, run, open_strategy(args.strategy))
        name = config.task.name
        if name in OURS:
            prepare(RunDirectory(run))
        words = HOW.get(name if name in HOW else COMMANDS.get(name, ""), "").format(shlex.quote(str(run)))
        how = f" {words.split()[0].capitalize()}: {called(words)}" if words else ""
        print(one_line(f"{run}: best at step {state.best_step:,}.{how}"))
        confidence = RunDirectory(run).confidence() if how else None
        for sentence in confidence.examples if confidence else ():
            print(one_line(f"try: {called('translate')} --run {shlex.quote(str(run))} {shlex.quote(sentence)}"))

    return exit_code(job, f"interrupted; the same command continues {run} from its last checkpoint")
