"""Run directories: everything a translator is made of, saved so that nothing is ever half-written.

RUN/config.json           the resolved config
RUN/corpus.json           what the model was trained on: name, languages, fingerprint
RUN/tokenizer/            vocabularies
RUN/best.safetensors      weights that scored best on the validation pairs
RUN/last.safetensors      weights, optimizer, random states and position in the data, for resuming
RUN/metrics.jsonl         one JSON object a line
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import keras
import numpy as np
import safetensors
from safetensors.numpy import save as serialise

from transformer.config import Config, ModelConfig, UserError
from transformer.data.tokenizers import TokenizerPair
from transformer.models.translation import Transformer

BEST, LAST = "best", "last"


def build_model(config: ModelConfig, tokenizers: TokenizerPair) -> Transformer:
    """Return a built, untrained model of the configured sizes.

    Raises:
        UserError: shared embeddings with two vocabularies, or an activation that Keras does not know.
    """
    try:
        keras.activations.get(config.activation)
    except ValueError:
        raise UserError(
            f"model.activation '{config.activation}' is unknown to Keras; take one such as 'relu', 'gelu' or 'silu'"
        ) from None
    if config.embeddings == "shared" and not tokenizers.joint:
        raise UserError("model.embeddings = 'shared' needs text.joint = true; set it, or embeddings = 'target'")
    model = Transformer(
        num_layers=config.num_layers,
        d_model=config.d_model,
        num_heads=config.num_heads,
        dff=config.dff,
        input_vocab_size=tokenizers.source.vocabulary_size,
        target_vocab_size=tokenizers.target.vocabulary_size,
        pe_input=config.max_positions,
        pe_target=config.max_positions,
        rate=config.dropout_rate,
        activation=config.activation,
        attention_rate=config.attention_dropout_rate,
        feed_forward_rate=config.feed_forward_dropout_rate,
        norm_first=config.norm_first,
        embeddings=config.embeddings,
        name="transformer",
    )
    model.build()
    return model


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to disk, then rename: a reader sees the old file or the whole new one.

    Raises:
        UserError: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free space or choose another --run") from None
    finally:
        with contextlib.suppress(OSError):  # gone where the writing went well
            draft.unlink()


def save_arrays(path: Path, variables: Mapping[str, keras.Variable], facts: Mapping[str, object] | None = None) -> None:
    """Save variables by name, and a few JSON facts with them, as one safetensors file (it holds no code).

    Raises:
        UserError: the file cannot be written.
    """
    arrays = {name: np.asarray(v.numpy(), order="C") for name, v in variables.items()}
    write_atomically(path, serialise(arrays, {"facts": json.dumps(facts or {})}))


def load_arrays(path: Path, variables: Mapping[str, keras.Variable]) -> dict[str, object]:
    """Assign the arrays of a file to the variables of the same names and return the file's facts.

    Every variable must be in the file with its shape, or none is assigned; what else the file holds is not read.

    Raises:
        UserError: the file is missing, truncated, or of another architecture.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
            for name, variable in variables.items():
                if stored.get(name) != tuple(variable.shape):
                    found = f"has shape {stored[name]}" if name in stored else "is missing"
                    raise UserError(
                        f"{path} is of another architecture: '{name}' {found}, "
                        f"the config wants {tuple(variable.shape)}; restore its config.json or train the run again"
                    )
            facts = json.loads(file.metadata()["facts"])
            for name, variable in variables.items():
                variable.assign(file.get_tensor(name))
            return facts
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the run with train.py first") from None
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); restore it or train the run again") from None


def model_variables(model: Transformer) -> dict[str, keras.Variable]:
    """Return the weights of a model by name, the same in every process."""
    return {f"model/{v.path.removeprefix(model.name + '/')}": v for v in model.trainable_variables}


def numbered(prefix: str, variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """Return variables under numbers, for those whose own names differ between processes."""
    return {f"{prefix}/{i:04d}": variable for i, variable in enumerate(variables)}


def _step_of(line: bytes) -> float:
    try:
        return json.loads(line)["step"]
    except ValueError:  # the last line of a process that was killed while it wrote
        return math.inf


class RunDirectory:
    """The files of one training run.

    Args:
        path: the directory; it need not exist yet.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def weights(self, which: str = BEST) -> Path:
        """Return the path of the `best` or the `last` weights."""
        return self.path / f"{which}.safetensors"

    @property
    def metrics(self) -> Path:
        """Path of the metrics, JSON lines."""
        return self.path / "metrics.jsonl"

    def cut_metrics(self, step: int) -> None:
        """Drop the metrics behind a step, which an interrupted run left and its continuation makes again.

        Raises:
            UserError: the file cannot be written.
        """
        if self.metrics.exists():
            kept = [line for line in self.metrics.read_bytes().splitlines(keepends=True) if _step_of(line) <= step]
            write_atomically(self.metrics, b"".join(kept))

    def create(self, config: Config, tokenizers: TokenizerPair, corpus: Mapping[str, object]) -> None:
        """Write what stays the same during a run.

        Raises:
            UserError: the directory cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            tokenizers.save(self.path / "tokenizer")
        except OSError as error:
            raise UserError(f"cannot write run directory {self.path}: {error.strerror}; choose another --run") from None
        write_atomically(self.path / "corpus.json", (json.dumps(corpus, indent=2) + "\n").encode())
        write_atomically(self.path / "config.json", config.to_json().encode())  # last: it marks the run as begun

    def exists(self) -> bool:
        """Return whether a run was begun here.

        Raises:
            UserError: the path is a file, or a directory that holds something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"run directory {self.path} is a file; choose another --run")
        if (self.path / "config.json").exists():
            return True
        known = {"tokenizer", "corpus.json"}  # left by a process killed while it began the run
        entries = self.path.iterdir() if self.path.exists() else ()
        if any(entry.name not in known and not entry.name.startswith(".") for entry in entries):
            raise UserError(f"run directory {self.path} is not empty and holds no run; choose another --run")
        return False

    def config(self) -> Config:
        """Read the run's config.

        Raises:
            UserError: there is no run here, or its config is damaged.
        """
        if not self.path.is_dir():
            raise UserError(f"there is no run directory {self.path}; train it with train.py or name another with --run")
        return Config.from_json(self._text("config.json"), str(self.path / "config.json"))

    def corpus(self) -> dict[str, object]:
        """Read what the run was trained on.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            values = json.loads(self._text("corpus.json"))
            return {key: str(values[key]) for key in ("name", "source_language", "target_language", "fingerprint")}
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self.path / 'corpus.json'} is damaged; restore it or train the run again") from None

    def _text(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except OSError:
            raise UserError(
                f"run directory {self.path} is incomplete: no {name}; restore it or train the run again"
            ) from None
        except UnicodeDecodeError:
            raise UserError(f"{self.path / name} is damaged; restore it or train the run again") from None

    def tokenizers(self) -> TokenizerPair:
        """Load the run's tokenizers.

        Raises:
            UserError: they are missing or damaged.
        """
        return TokenizerPair.load(self.path / "tokenizer")

    def load(self, which: str = BEST) -> tuple[Config, TokenizerPair, Transformer]:
        """Load config, tokenizers and the model with its weights.

        Raises:
            UserError: the run is missing, incomplete, damaged or of another architecture.
        """
        config = self.config()
        tokenizers = self.tokenizers()
        if not self.weights(which).exists():
            raise UserError(f"run directory {self.path} has no {which} weights yet; train it with train.py first")
        model = build_model(config.model, tokenizers)
        load_arrays(self.weights(which), model_variables(model))
        return config, tokenizers, model


# Changing these between two calls of train.py continues the same run: its length, its reports, and where files lie.
FREE_TO_CHANGE = {
    "training": {"max_steps", "max_minutes", "validate_every", "validation_bleu_pairs", "log_every"},
    "data": {"source", "target", "tsv", "valid_source", "valid_target", "cache"},  # their content is compared instead
    "search": {entry.name for entry in dataclasses.fields(Config().search)},
}


def check_same_run(stored: Config, wanted: Config, run: Path) -> None:
    """Refuse to continue a run with another model, tokenizer, corpus or recipe.

    Raises:
        UserError: names every setting that differs.
    """
    old, new = stored.to_dict(), wanted.to_dict()
    different = [
        f"{section}.{key} is {new[section][key]!r} there {value!r}"
        for section, values in old.items()
        for key, value in values.items()
        if value != new[section][key] and key not in FREE_TO_CHANGE.get(section, ())
    ]
    if different:
        raise UserError(f"{run} holds another run ({'; '.join(different)}); choose another --run or remove it")
