"""Where configs come from: named presets, TOML files, run directories, the flags of `train.py`."""

from __future__ import annotations

import tomllib
from argparse import Namespace
from pathlib import Path

from transformer.config import CORPUS_FIELDS, DEFAULT_DATASET, Config, UserError
from transformer.rules import nearest, shown
from transformer.runfiles import read_bounded, read_own

# Sizes only: what a preset leaves out keeps its default.
PRESETS: dict[str, dict[str, dict[str, object]]] = {
    "tiny": {"model": {"num_layers": 4, "d_model": 128, "num_heads": 4, "dff": 256}},
    "tutorial": {"model": {"num_layers": 4, "d_model": 128, "num_heads": 8, "dff": 512}},
    "base": {"model": {"num_layers": 6, "d_model": 512, "num_heads": 8, "dff": 2048, "embeddings": "shared"}},
    "big": {
        "model": {
            "num_layers": 6,
            "d_model": 1024,
            "num_heads": 16,
            "dff": 4096,
            "dropout_rate": 0.3,
            "embeddings": "shared",
        }
    },
}


def preset(name: str) -> Config:
    """Return the default config with the sizes of a preset (`tiny`, `tutorial`, `base`, `big`).

    Source: `tiny` Wu et al. 2021; `tutorial` the TensorFlow tutorial; `base` and `big` Vaswani et al. 2017, Table 3.

    Raises:
        UserError: unknown name; the nearest one is suggested.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset '{name}'.{nearest(name, PRESETS)} Known: {', '.join(PRESETS)}")
    return Config().override(PRESETS[name], f"preset {name}")


def _runs_in(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/config.json"))


def _instead_of(run: Path) -> str:
    """Return how to go on where a run directory is missing: what is there, or where it was looked for."""
    if run.exists():
        return ": it is a file; name the directory of a run"
    where = "" if run.is_absolute() else f" in {Path.cwd()}"
    return f"{where}; train it with train.py or name another one.{nearest(run.name, _runs_in(run.parent))}".rstrip(".")


def stored_config(run: str | Path) -> Config:
    """Read the config of a run directory.

    Raises:
        UserError: there is no run, or its config is damaged.
    """
    path = Path(run) / "config.json"
    try:
        if not path.parent.is_dir():
            raise UserError(f"there is no run directory {run}{_instead_of(path.parent)}")
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise UserError(f"cannot read run directory {run}: {error.strerror}; name another one") from None
    try:
        return Config.from_json(read_own(run, path.name).decode(), str(path))
    except OSError:
        inside = ", ".join(str(path.parent / name) for name in _runs_in(path.parent)[:5])
        way_out = f"name one of the runs in it: {inside}" if inside else "restore it or train the run again"
        raise UserError(f"run directory {run} is incomplete: no config.json; {way_out}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged; restore it or train the run again") from None


def read_config(path: str | Path, folder: str | Path | None = None) -> Config:
    """Read a TOML config file: an optional `preset = NAME` line, then sections that override it.

    Args:
        path: the file.
        folder: where relative file names of its [data] section lie; None: beside the config file.

    Raises:
        UserError: missing file, invalid TOML, or an unknown or wrong entry.
    """
    path = Path(path)
    try:
        values = tomllib.loads(read_bounded(path).decode())
    except OSError as error:
        raise UserError(f"cannot read config file {path}: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"config file {path} is nested too deeply; it has sections of keys and no more") from None
    except ValueError as error:  # of TOML, of UTF-8, or of an integer with thousands of digits
        raise UserError(f"config file {path} is not valid TOML: {error}") from None
    name = values.pop("preset", None)
    if not isinstance(name, str | None):
        raise UserError(f"{path}: preset must be a name in quotes, got {shown(name)}. Known: {', '.join(PRESETS)}")
    config = (Config() if name is None else preset(name)).override(values, str(path))
    folder = Path(folder) if folder else path.parent
    files = {key: getattr(config.data, key) for key in CORPUS_FIELDS if key != "dataset"}
    return config.override({"data": {key: str(folder / name) for key, name in files.items() if name}})


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
