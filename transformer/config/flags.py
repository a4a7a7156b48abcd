"""From the flags of `train` to a config."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from transformer.config.presets import preset, read_config
from transformer.config.run import Config
from transformer.config.sections import DEFAULT_DATASET, FILES
from transformer.config.stored import stored_config
from transformer.system.errors import UserError

PAIRED = (("source", "target"), ("valid_source", "valid_target"))  # flags that go together


def resolve(args: Namespace, phrasebook: Path) -> tuple[Config, Path]:
    """Return the config and the run directory that the flags of `train` ask for.

    Args:
        args: the flags.
        phrasebook: config file for the embedded phrasebook, where they name neither sizes nor another corpus.

    Raises:
        UserError: flags that contradict each other, or a config that cannot be read.
    """
    if args.data and not args.config:
        raise UserError("--data names the folder of a config's files and needs --config beside it")
    corpus = _corpus(args)
    embedded = corpus.keys() <= {"dataset"} and (args.dataset or DEFAULT_DATASET).startswith("phrasebook/")
    if args.init_from and not (args.config or args.preset):  # the sizes must fit the weights
        stored = stored_config(args.init_from).to_dict()
        config = Config().override({"model": stored["model"], "text": stored["text"]})
    elif args.config or (embedded and not args.preset):
        config = read_config(args.config or phrasebook, args.data)
    else:
        config = preset(args.preset) if args.preset else Config()
    if corpus:  # the flags name another corpus than the config, wholly
        config = config.override({"data": {"dataset": "", **dict.fromkeys(FILES, ())}})
    elif not (config.data.dataset or any(getattr(config.data, name) for name in FILES)):
        corpus = {"dataset": DEFAULT_DATASET}
    task = {n: getattr(args, n) for n in ("source_language", "target_language") if getattr(args, n)}
    settings = ("seed", "max_steps", "max_minutes", "precision", "init_from")
    training = {n: getattr(args, n) for n in settings if getattr(args, n) is not None}
    config = config.override({"task": task, "data": corpus, "training": training}, "command line")
    corpus_name = config.data.dataset.replace("/", "_") or Path((*config.data.train, "run")[0]).name.split(".")[0]
    name = Path(args.config).stem if args.config else corpus_name
    return config, Path(args.run or Path("runs") / name)


def _corpus(args: Namespace) -> dict[str, object]:
    """Return the keys of [data] that the flags of a corpus stand for; none where there are no such flags."""
    for one, other in PAIRED:
        if bool(getattr(args, one)) != bool(getattr(args, other)):
            given, missing = (one, other) if getattr(args, one) else (other, one)
            flags = [f"--{name.replace('_', '-')}" for name in (given, missing)]
            raise UserError(f"{flags[0]} {getattr(args, given)} needs {flags[1]} beside it")
    if bool(args.dataset) + bool(args.source) + bool(args.tsv) > 1:
        raise UserError("give one source only: --dataset NAME, or --source F --target F, or --tsv F")
    if args.valid_source and not (args.source or args.tsv):
        raise UserError(
            "--valid-source and --valid-target go with --source and --target or --tsv, not with --dataset or a config"
        )
    train = [args.tsv] if args.tsv else [args.source, args.target]
    valid = [args.valid_source, args.valid_target]
    corpus = {"dataset": args.dataset, "train": list(filter(None, train)), "valid": list(filter(None, valid))}
    return {name: value for name, value in corpus.items() if value}
