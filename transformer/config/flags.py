"""From the flags of `train.py` to a config."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from transformer.config.presets import preset, read_config
from transformer.config.run import Config
from transformer.config.sections import CORPUS_FIELDS, DEFAULT_DATASET
from transformer.config.stored import stored_config
from transformer.system.errors import UserError


def resolve(args: Namespace, phrasebook: Path) -> tuple[Config, Path]:
    """Return the config and the run directory that the flags of `train.py` ask for.

    Args:
        args: the flags.
        phrasebook: config file for the embedded phrasebook, where they name neither sizes nor another corpus.

    Raises:
        UserError: flags that contradict each other, or a config that cannot be read.
    """
    if args.data and not args.config:
        raise UserError("--data names the folder of a config's files and needs --config beside it")
    corpus = {name: getattr(args, name) for name in CORPUS_FIELDS if getattr(args, name)}
    embedded = corpus.keys() <= {"dataset"} and (args.dataset or DEFAULT_DATASET).startswith("phrasebook/")
    if args.init_from and not (args.config or args.preset):  # the sizes must fit the weights
        stored = stored_config(args.init_from).to_dict()
        config = Config().override({"model": stored["model"], "text": stored["text"]})
    elif args.config or (embedded and not args.preset):
        config = read_config(args.config or phrasebook, args.data)
    else:
        config = preset(args.preset) if args.preset else Config()
    if corpus:  # the flags name another corpus than the config, wholly
        config = config.override({"data": dict.fromkeys(CORPUS_FIELDS, "")})
    elif not any(getattr(config.data, name) for name in CORPUS_FIELDS):
        corpus = {"dataset": DEFAULT_DATASET}
    languages = {n: getattr(args, n) for n in ("source_language", "target_language") if getattr(args, n)}
    settings = ("seed", "max_steps", "max_minutes", "precision", "init_from")
    training = {n: getattr(args, n) for n in settings if getattr(args, n) is not None}
    config = config.override({"data": corpus | languages, "training": training}, "command line")
    first = next((getattr(config.data, n) for n in CORPUS_FIELDS if getattr(config.data, n)), "")
    corpus_name = config.data.dataset.replace("/", "_") or Path(first).name.split(".")[0]
    name = Path(args.config).stem if args.config else corpus_name
    return config, Path(args.run or Path("runs") / name)
