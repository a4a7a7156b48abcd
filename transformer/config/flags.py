"""From the flags of `train` to a config."""

import dataclasses
import tomllib
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from transformer.config.presets import (
    DEFAULT_CONFIG,
    DEFAULT_CONFIGS,
    STARTED,
    preset,
    read_config,
)
from transformer.config.run import Config
from transformer.config.settings import DEFAULT_DATASET, FILES
from transformer.config.stored_run import stored_config
from transformer.system.errors import UserError, shortened
from transformer.system.messages import say

CORPUS = ("dataset", "train")  # keys of [data] of which one names the whole corpus
TASK_FLAGS = ("source_language", "target_language")
TRAINING_FLAGS = ("seed", "max_steps", "max_minutes", "precision", "init_from")
LONG_TEXTS = {"question-answering": 384}  # tokens that are read together, unless the weights read fewer
PAIRED = (("source", "target"), ("valid_source", "valid_target"))  # flags that go together


def resolve(args: Namespace) -> tuple[Config, Path]:
    """Return the config and run directory that the flags of `train` ask for; contradictions are a UserError."""
    if args.data and not args.config:
        raise UserError("--data names the folder of a config's files and needs --config beside it")
    flags = {"task": _given(args, TASK_FLAGS), "data": _corpus(args), "training": _given(args, TRAINING_FLAGS)}
    if args.task:
        flags["task"]["name"] = args.task
    settings = _settings(args.set)
    for section, values in settings.items():
        if both := sorted(values.keys() & flags.get(section, {}).keys()):
            raise UserError(f"--set {section}.{both[0]} and a flag of its own give one setting twice; leave one out")
    corpus = {key: value for key, value in (settings.get("data", {}) | flags["data"]).items() if key in CORPUS}
    embedded = "train" not in corpus and str(corpus.get("dataset", DEFAULT_DATASET)).startswith("phrasebook/")
    if args.init_from and not args.preset:  # the sizes must fit the weights
        config = _config_like(args)
        if args.config:
            config = read_config(args.config, args.data, config)
    elif args.config or ((embedded or args.task in STARTED) and not args.preset):
        config = read_config(args.config or DEFAULT_CONFIGS.get(args.task, DEFAULT_CONFIG), args.data)
    else:
        config = preset(args.preset) if args.preset else Config()
    if corpus:  # the flags name another corpus than the config, wholly
        config = config.override({"data": {"dataset": "", **dict.fromkeys(FILES, ())}})
    elif not (config.data.dataset or any(getattr(config.data, name) for name in FILES)):
        flags["data"]["dataset"] = DEFAULT_DATASET
    before = config
    config = config.override(flags, "command line").override(settings, "--set")
    _warn_of_lost_settings(args, before, config)
    corpus_name = config.data.dataset.replace("/", "_") or Path((*config.data.train, "run")[0]).name.split(".")[0]
    name = Path(args.config).stem if args.config else corpus_name
    return config, Path(args.run or Path("runs") / name)


def _warn_of_lost_settings(args: Namespace, before: Config, config: Config) -> None:
    """Tell which settings of a config file's [task] are lost since --task names another task."""
    if not args.config or before.task.name == config.task.name:
        return
    usual = dataclasses.asdict(type(before.task)())
    lost = [name for name, value in dataclasses.asdict(before.task).items() if value != usual[name]]
    if lost:
        say(
            f"warning: {args.config}: its [task] is of {before.task.name}, and --task {config.task.name} leaves out "
            f"{', '.join(lost)}; write name = '{config.task.name}' there to keep them"
        )


def _config_like(args: Namespace) -> Config:
    """Return a config with the sizes of the run that `--init-from` names, and what fine-tuning or its task need."""
    stored = stored_config(args.init_from).to_dict()
    usual, most = Config().data, int(str(stored["model"]["max_positions"]))
    wanted = LONG_TEXTS.get(args.task, usual.max_tokens)
    fitting = {"max_tokens": min(wanted, max(1, most - most % usual.length_step))}
    config = Config().override({"model": stored["model"], "text": stored["text"], "data": fitting})
    if args.task in STARTED and not args.config:
        config = read_config(STARTED[args.task], base=config)
    name = stored["task"]["name"]
    unsaid = Config().task.name if args.source or args.tsv else name  # pairs are translation's alone
    if (args.task or unsaid) == name and not args.config:  # but not what flags say of a corpus
        task = {name: value for name, value in stored["task"].items() if name not in TASK_FLAGS}
        config = config.override({"task": task})
    return config


def _corpus(args: Namespace) -> dict[str, object]:
    """Return the keys of [data] that the flags of a corpus stand for; none where there are no such flags."""
    for one, other in PAIRED:
        if bool(getattr(args, one)) != bool(getattr(args, other)):
            given, missing = (one, other) if getattr(args, one) else (other, one)
            flags = [f"--{name.replace('_', '-')}" for name in (given, missing)]
            raise UserError(f"{flags[0]} {getattr(args, given)} needs {flags[1]} beside it")
    if bool(args.dataset) + bool(args.source) + bool(args.tsv) + bool(args.train) > 1:
        raise UserError("give one source only: --dataset NAME, or --source F --target F, or --tsv F, or --train F")
    if (args.valid or args.test) and not args.train:
        raise UserError("--valid and --test go with --train; of translations give --valid-source and --valid-target")
    if args.valid_source and not (args.source or args.tsv):
        raise UserError(
            "--valid-source and --valid-target go with --source and --target or --tsv, not with --dataset or a config"
        )
    train = args.train or ([args.tsv] if args.tsv else [args.source, args.target])
    valid = args.valid or [args.valid_source, args.valid_target]
    corpus = {"dataset": args.dataset, "train": list(filter(None, train)), "valid": list(filter(None, valid))}
    corpus["test"] = args.test
    return {name: value for name, value in corpus.items() if value}


def _given(args: Namespace, names: tuple[str, ...]) -> dict[str, object]:
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _settings(words: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return the changes that the words of --set ask for, each SECTION.KEY=VALUE; the last of one setting counts."""
    changes: dict[str, dict[str, object]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and section and key):
            full = [f"{part}.{name.strip()}" for part, keys in Config().to_dict().items() if name.strip() in keys]
            hint = f" Did you mean {' or '.join(full)}?" if full else ""
            raise UserError(f"--set takes SECTION.KEY=VALUE, such as training.seed=2, got {shortened(word)}.{hint}")
        changes.setdefault(section, {})[key] = _value(text)
    return changes


def _value(text: str) -> object:
    """Return what a text means as TOML or, where it is none, the text itself."""
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return values["value"] if values.keys() == {"value"} else text
