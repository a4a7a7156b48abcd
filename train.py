"""Train a translator: `python train.py` learns Portuguese to English from the embedded phrasebook in minutes."""

import sys
from argparse import Namespace
from pathlib import Path

from transformer.command_line import Parser, exit_code, import_tensorflow
from transformer.config import CORPUS_FIELDS, DEFAULT_DATASET, STRATEGIES, Config, UserError
from transformer.presets import PRESETS, preset, read_config, stored_config

CONFIGS = Path(__file__).resolve().parent / "configs"


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog="train.py",
        description=f"Train a translator and keep it in a run directory. Without arguments: {DEFAULT_DATASET}, the "
        "embedded phrasebook, about 5 minutes on two cores. The same command continues an interrupted run.",
        epilog="Settings: defaults < --preset < --config < flags. The resolved config is kept in RUN/config.json.",
    )
    sizes = p.add_mutually_exclusive_group()
    sizes.add_argument("--config", metavar="F", help="a TOML file such as configs/multi30k_en_de.toml")
    sizes.add_argument("--preset", metavar="P", help="model sizes: " + ", ".join(PRESETS))
    data = p.add_argument_group("data: one of --dataset, --source with --target, --tsv, or what the config names")
    data.add_argument("--dataset", metavar="NAME", help="a TFDS translation dataset, such as wmt14_translate/de-en")
    data.add_argument("--source", metavar="F", help="source sentences, one a line, plain or .gz")
    data.add_argument("--target", metavar="F", help="their translations, line by line")
    data.add_argument("--tsv", metavar="F", help="source TAB translation, one pair a line, plain or .gz")
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
        "--strategy",
        choices=STRATEGIES,
        default="single",
        help="single, mirrored: all GPUs of this machine, multiworker: several machines (docs/scaling.md)",
    )
    return p


def resolve(args: Namespace) -> tuple[Config, Path]:
    """Return the config and the run directory that the flags ask for."""
    if args.data and not args.config:
        raise UserError("--data names the folder of a config's files and needs --config beside it")
    corpus = {name: getattr(args, name) for name in CORPUS_FIELDS if getattr(args, name)}
    embedded = corpus.keys() <= {"dataset"} and (args.dataset or DEFAULT_DATASET).startswith("phrasebook/")
    if args.init_from and not (args.config or args.preset):  # the sizes must fit the weights
        stored = stored_config(args.init_from).to_dict()
        config = Config().override({"model": stored["model"], "text": stored["text"]})
    elif args.config or (embedded and not args.preset):
        config = read_config(args.config or CONFIGS / "phrasebook.toml", args.data)
    else:
        config = preset(args.preset) if args.preset else Config()
    if corpus:  # the flags name another corpus than the config, wholly
        config = config.override({"data": dict.fromkeys(CORPUS_FIELDS, "")})
    elif not any(getattr(config.data, name) for name in CORPUS_FIELDS):
        corpus = {"dataset": DEFAULT_DATASET}
    languages = {n: getattr(args, n) for n in ("source_language", "target_language") if getattr(args, n)}
    settings = ("seed", "max_steps", "max_minutes", "init_from")
    training = {n: getattr(args, n) for n in settings if getattr(args, n) is not None}
    config = config.override({"data": corpus | languages, "training": training}, "command line")
    first = next((getattr(config.data, n) for n in CORPUS_FIELDS if getattr(config.data, n)), "")
    corpus_name = config.data.dataset.replace("/", "_") or Path(first).name.split(".")[0]
    name = Path(args.config).stem if args.config else corpus_name
    return config, Path(args.run or Path("runs") / name)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        args = parser().parse_args(argv)
        config, run = resolve(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    def job() -> None:
        import_tensorflow()
        from transformer.training.cluster import open_strategy
        from transformer.training.trainer import train

        position = train(config, run, open_strategy(args.strategy))
        print(f'{run}: best at step {position.best_step:,}. Translate: python translate.py --run {run} "..."')

    return exit_code(job, f"interrupted; the same command continues {run} from its last checkpoint")


if __name__ == "__main__":
    sys.exit(main())
