"""Named presets and TOML config files."""

import tomllib
from pathlib import Path

from transformer.config.run import Config
from transformer.config.settings import FILES
from transformer.system.errors import UserError, nearest, shortened
from transformer.system.files import read_bounded

DEFAULT_CONFIG = Path(__file__).with_name("phrasebook.toml")  # what a training without arguments reads
DEFAULT_CONFIGS = {  # and one that names a task alone
    "language-model": Path(__file__).with_name("phrasebook_texts.toml"),
    "masked-lm": Path(__file__).with_name("phrasebook_masked.toml"),
    "denoising": Path(__file__).with_name("phrasebook_denoising.toml"),
    "classification": Path(__file__).with_name("phrasebook_topics.toml"),
    "tagging": Path(__file__).with_name("phrasebook_entities.toml"),
    "contrastive": Path(__file__).with_name("phrasebook_meaning.toml"),
}
FINE_TUNED = ("classification", "tagging", "question-answering")
STARTED = {  # and one of such a task that starts from another run
    **dict.fromkeys(FINE_TUNED, Path(__file__).with_name("fine_tuning.toml")),
    "contrastive": Path(__file__).with_name("contrastive_tuning.toml"),
}

# Sections of model, task and training; what a preset leaves out keeps its default.
TRANSLATION: dict[str, object] = {"name": "translation"}
PRESETS: dict[str, dict[str, dict[str, object]]] = {
    "tiny": {"task": TRANSLATION, "model": {"num_layers": 4, "d_model": 128, "num_heads": 4, "dff": 256}},
    "tutorial": {"task": TRANSLATION, "model": {"num_layers": 4, "d_model": 128, "num_heads": 8, "dff": 512}},
    "base": {
        "task": TRANSLATION,
        "model": {"num_layers": 6, "d_model": 512, "num_heads": 8, "dff": 2048, "embeddings": "shared"},
        "training": {"max_steps": 100_000},
    },
    "big": {
        "task": TRANSLATION,
        "model": {
            "num_layers": 6,
            "d_model": 1024,
            "num_heads": 16,
            "dff": 4096,
            "dropout_rate": 0.3,
            "embeddings": "shared",
        },
        "training": {"max_steps": 300_000},
    },
    "bert-mini": {
        "task": {"name": "masked-lm"},
        "model": {
            "num_layers": 4,
            "d_model": 256,
            "num_heads": 4,
            "dff": 1024,
            "activation": "gelu",
            "attention_dropout_rate": 0.1,
            "positions": "learned",
            "norm_epsilon": 1e-12,
        },
        "text": {"tokenizer": "wordpiece"},
        "training": {
            "schedule": "linear",
            "peak_learning_rate": 1e-3,
            "warmup_steps": 1000,
            "beta_2": 0.999,
            "epsilon": 1e-6,
            "weight_decay": 0.01,
            "label_smoothing": 0.0,
        },
    },
}


def preset(name: str) -> Config:
    """Return the default config with the settings of a preset (`tiny`, `tutorial`, `base`, `big`, `bert-mini`).

    Source: `tiny` Wu et al. 2021; `tutorial` the TensorFlow tutorial; `base` and `big` Vaswani et al. 2017, Table 3,
        whose dropout of `base`, label smoothing and schedule are the defaults; `bert-mini` Turc et al. 2019, Table 1,
        with the dropout and the optimiser of Devlin et al. 2019, appendix A.2.
    Deviation: batches are those of `[data] batch_tokens`, not the papers' 25,000 (section 5.1) and 128,000 tokens, so
        `bert-mini` learns at 0.001 rather than 0.0001.

    Raises:
        UserError: unknown name; the nearest one is suggested.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset '{name}'.{nearest(name, PRESETS)} Known: {', '.join(PRESETS)}")
    return Config().override(PRESETS[name], f"preset {name}")


def read_config(path: str | Path, folder: str | Path | None = None, base: Config | None = None) -> Config:
    """Read a TOML config file: an optional `preset = NAME` line, then sections that override it.

    Args:
        path: the file.
        folder: where relative file names of its [data] section lie; None: beside the config file.
        base: what the file overrides, unless it names a preset; None: the defaults.

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
        raise UserError(f"{path}: preset must be a name in quotes, got {shortened(name)}. Known: {', '.join(PRESETS)}")
    config = ((base or Config()) if name is None else preset(name)).override(values, str(path))
    folder = Path(folder) if folder else path.parent
    return config.override({"data": {key: [str(folder / name) for name in getattr(config.data, key)] for key in FILES}})
