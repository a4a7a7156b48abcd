"""Run directories: everything a trained network is made of, saved so that nothing is ever half-written.

RUN/config.json           the resolved config
RUN/corpus.json           what the task's corpus says of itself: name, fingerprint and, say, languages
RUN/tokenizer/            vocabularies
RUN/confidence.json       what tells right translations from wrong ones; of a translator that has been calibrated
RUN/best.safetensors      weights that scored best on the validation examples
RUN/last.safetensors      weights, optimizer, random states and the training state, for resuming
RUN/previous.safetensors  the `last` before that, for the day `last` is damaged
RUN/kept/                 weights of some validations, where they are to be averaged
RUN/metrics.jsonl         one JSON object a line
"""

import dataclasses
import json
import math
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from transformer.config.run import Config
from transformer.config.stored_run import EXPORT, stored_config
from transformer.metrics.confidence import MOST_BYTES, Confidence
from transformer.system.errors import UserError
from transformer.system.files import hold, parse_json, path_inside, read_inside, write_atomically
from transformer.system.messages import called

BEST, LAST, PREVIOUS = "best", "last", "previous"
CONFIDENCE = "confidence.json"
MOST_METRICS = 2**28  # bytes of metrics.jsonl: more than a million records
LONGEST_RECORD = 10_000  # bytes of a line in it


def _step_of(line: bytes) -> float:
    if len(line) > LONGEST_RECORD:
        return math.inf
    try:
        return float(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError):  # half a line, or forged
        return math.inf


class Savable(Protocol):
    """Vocabularies, see `tasks/base.py`."""

    def save(self, folder: Path) -> None: ...


class RunDirectory:
    """The files of one training run.

    Args:
        path: the directory; it need not exist yet.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._lock: weakref.finalize | None = None

    def weights(self, which: str = BEST) -> Path:
        """Return the path of the `best` or the `last` weights."""
        return path_inside(self.path, f"{which}.safetensors")

    def kept_weights(self, step: int) -> Path:
        """Return the path of the weights that are kept of a validation."""
        return path_inside(self.path, f"kept/{step:09d}.safetensors")

    def all_kept_weights(self) -> list[Path]:
        """Return the paths of all weights that are kept of validations, in the order of their steps."""
        names = sorted(path.name for path in path_inside(self.path, "kept").glob("[0-9]*.safetensors"))
        return [path_inside(self.path, f"kept/{name}") for name in names]

    @property
    def metrics(self) -> Path:
        """Path of the metrics, JSON lines."""
        return path_inside(self.path, "metrics.jsonl")

    @property
    def board(self) -> Path:
        """Path of TensorBoard's files."""
        return path_inside(self.path, "tensorboard")

    def truncate_metrics(self, step: int) -> None:
        """Drop the metrics behind a step, which an interrupted run left and its continuation makes again.

        Raises:
            UserError: the file cannot be read or written, or is longer than `MOST_METRICS`.
        """
        if not self.metrics.exists():
            return
        try:
            lines = read_inside(self.path, self.metrics.name, MOST_METRICS).splitlines(keepends=True)
        except OSError as error:
            raise UserError(f"cannot read {self.metrics}: {error.strerror}; move it away") from None
        write_atomically(self.metrics, b"".join(line for line in lines if _step_of(line) <= step))

    def lock(self) -> None:
        """Hold the directory, which exists, for this process until `unlock` or its end; or raise a UserError."""
        if self._lock:
            return
        try:
            handle = hold(self.path)
        except BlockingIOError:
            raise UserError(
                f"another process is training {self.path}; wait for it, stop it, or choose another --run"
            ) from None
        self._lock = weakref.finalize(self, os.close, handle)

    def remove_drafts(self) -> None:
        """Remove what killed processes had not finished writing; only the holder of the lock may."""
        for folder in (self.path, path_inside(self.path, "kept"), self.vocabularies):
            for draft in folder.glob(".*.*.[0-9]*"):
                draft.unlink(missing_ok=True)

    def unlock(self) -> None:
        """Let go of the directory."""
        if self._lock:
            self._lock()
            self._lock = None

    @property
    def vocabularies(self) -> Path:
        """Path of the folder of the vocabularies."""
        return path_inside(self.path, "tokenizer")

    def create(self, config: Config, vocabularies: Savable, corpus: Mapping[str, str]) -> None:
        """Write what stays the same during a run, and hold the directory from then on.

        Raises:
            UserError: the directory cannot be written, or another process has begun a run in it meanwhile.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock()
            if (self.path / "config.json").exists():
                raise UserError(f"another process has just begun {self.path}; choose another --run")
        except OSError as error:
            raise UserError(f"cannot write run directory {self.path}: {error.strerror}; choose another --run") from None
        self.write(config, vocabularies, corpus)

    def write(self, config: Config, vocabularies: Savable, corpus: Mapping[str, str]) -> None:
        """Write what stays the same into the directory, which exists and nobody else writes; errors as of `create`."""
        try:
            vocabularies.save(self.vocabularies)
        except OSError as error:
            raise UserError(f"cannot write run directory {self.path}: {error.strerror}; choose another --run") from None
        write_atomically(path_inside(self.path, "corpus.json"), (json.dumps(corpus, indent=2) + "\n").encode())
        write_atomically(
            path_inside(self.path, "config.json"), config.to_json().encode()
        )  # last: it marks the beginning

    def is_complete(self) -> bool:
        """Return whether what `create` writes is here."""
        return (self.path / "tokenizer").is_dir() and all(
            (self.path / name).is_file() for name in ("config.json", "corpus.json")
        )

    def exists(self) -> bool:
        """Return whether a run was begun here; a file, or a directory that holds something else, is a UserError."""
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
        """Read the run's config; a UserError where it is damaged, or there is no run here but an export perhaps."""
        if os.path.exists(self.path / EXPORT):  # also False where the name is none
            raise UserError(f"{self.path} is the export of a run, not a run directory; name the run")
        return stored_config(self.path)

    def corpus(self) -> dict[str, str]:
        """Read what the run was trained on; a missing or damaged file is a UserError."""
        try:
            values = parse_json(read_inside(self.path, "corpus.json"))
            if not {"name", "fingerprint"} <= values.keys() or not all(isinstance(v, str) for v in values.values()):
                raise ValueError("an entry is missing or no text")
            return values
        except OSError:
            raise UserError(
                f"run directory {self.path} is incomplete: no corpus.json; restore it or train the run again"
            ) from None
        except (ValueError, AttributeError):
            raise UserError(f"{self.path / 'corpus.json'} is damaged; restore it or train the run again") from None

    def confidence(self) -> Confidence | None:
        """Read what tells right translations from wrong ones; None where nothing does.

        Raises:
            UserError: the file is damaged.
        """
        if not self.calibrated():
            return None
        try:
            values = parse_json(read_inside(self.path, CONFIDENCE, MOST_BYTES))
            return None if values is None else Confidence.from_json(values)
        except OSError as error:
            raise UserError(f"cannot read {self.path / CONFIDENCE}: {error.strerror}; restore or remove it") from None
        except ValueError as error:
            raise UserError(
                f"{self.path / CONFIDENCE} is damaged ({error}); restore it, or remove it: then no translation is "
                "called unsure"
            ) from None

    def calibrated(self) -> bool:
        """Return whether `write_confidence` was called."""
        return os.path.lexists(self.path / CONFIDENCE)

    def write_confidence(self, confidence: Confidence | None) -> None:
        """Write what `confidence` reads; a UserError where that fails."""
        write_atomically(path_inside(self.path, CONFIDENCE), confidence.to_json() if confidence else b"null\n")

    def trained_weights(self, which: str = BEST) -> Path:
        """Return the path of the `best` or the `last` weights; a UserError where they are not there yet."""
        if not self.weights(which).exists():
            way_out = f"train it with {called('train')} first"
            if self.weights(LAST).exists():  # the best are chosen at validations
                way_out = "the first validation makes them; until then take those of --weights last"
            raise UserError(f"run directory {self.path} has no {which} weights yet; {way_out}")
        return self.weights(which)


# Changing these between two calls of `train` continues the same run: its length, its reports, and where files lie.
CHANGEABLE = {
    "training": {"max_steps", "max_minutes", "patience", "validate_every", "save_every"}
    | {"score_examples", "log_every", "tensorboard"},
    "data": {"train", "valid", "test", "cache"},  # their content is compared instead
    "search": {entry.name for entry in dataclasses.fields(Config().search)},
}


def check_same_run(stored: Config, wanted: Config, run: Path) -> None:
    """Refuse to continue a run with another task, model, tokenizer, corpus or recipe; all that differs is named."""
    old, new = stored.to_dict(), wanted.to_dict()
    different = [
        f"{section}.{key} is {new[section].get(key)!r} here, {value!r} there"
        for section, values in old.items()
        for key, value in values.items()
        if value != new[section].get(key) and key not in CHANGEABLE.get(section, ())
    ]
    if different:
        raise UserError(
            f"{run} holds another run ({'; '.join(different)}); to continue it give the config and the flags that it "
            "was begun with, for a new one another --run"
        )
