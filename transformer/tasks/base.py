"""What a task is: what is read, what is predicted, and how wrong that was. A new task is a class like this one.

Axes: N rows of a buffer, B rows of a batch.
"""

import abc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import keras
import tensorflow as tf

from transformer.config.run import Config
from transformer.data.batches import Batch, Record
from transformer.data.records import EXAMPLES_PER_CALL, Rows
from transformer.metrics.confidence import Confidence

Parts = dict[str, tf.Tensor]  # float32 scalars by the names of the loss's parts


class Corpus(Protocol):
    """The examples of a task, of whatever type its `encode` takes."""

    name: str  # for messages and pictures
    own_splits: tuple[str, ...]  # the splits that can be read without reading another one

    def check(self) -> None:
        """Read the source through, once; a UserError tells the first fault."""

    def warnings(self) -> Iterator[str]:
        """Yield what looks wrong, though it can be read."""

    def fingerprint(self) -> str:
        """Return a text that changes whenever the examples, their order or their splits may."""

    def describe(self) -> dict[str, str]:
        """Return what a run keeps of its corpus, `name` and `fingerprint` among it."""

    def examples(self, split: str) -> Iterator[Any]:
        """Start a pass over the examples of a split: 'train' or 'validation'."""

    def summary(self, split: str) -> str:
        """Return, in one line, what the last pass over a split left out or changed."""


class Learned(Protocol):
    """What a task learns from its corpus before the network is built: tokenizers, labels."""

    def fingerprint(self) -> str:
        """Return a text that changes whenever they do."""

    def save(self, folder: Path) -> None:
        """Write them into a folder."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; a UserError names the file that is missing or damaged."""


class Task(abc.ABC):
    """What the trainer, the run directory and validation ask of a task.

    The loss is a sum over parts, such as {'token': ...} or {'token': ..., 'sentence': ...}. A part is named after the
    unit that it is counted in. The trainer follows the gradient of

        sum over parts of (losses of the part / counts of the part),

    where losses and counts are those of all batches and replicas of a step. Counts depend on labels alone, so they are
    known before the first gradient: accumulation and replicas change nothing.

    `batch`, `counts` and `losses` run in graphs, and Python's `if` and `for` over tensors are not converted there: take
    `tf.where` or `tf.cond`.

    Args:
        config: of the run.
        vocabularies: from `learn`, or from the run's files.
        corpus: what the corpus said of itself, see `Corpus.describe`.

    Raises:
        UserError: no network can be built of these sizes with these vocabularies.
    """

    name: ClassVar[str]  # in [task] of a config
    Settings: ClassVar[type]  # frozen dataclass: `name`, and the other keys of [task]
    Vocabularies: ClassVar[type[Learned]]  # what `learn` returns
    columns: tuple[str, ...]  # lists of integers in a stored record
    features: dict[str, tf.TensorSpec]  # of a batch; open axes behind the first are padded with 0
    rows_stand_alone: ClassVar[bool] = True  # a row's loss depends on it alone, so that a batch may be cut
    figures: Mapping[str, str] = {}  # what `score` returns, and the format in which the log tells it
    loss_figures: ClassVar[dict[str, str]] = {}  # what `from_losses` returns, likewise; these decide nothing
    examples_together: ClassVar[int] = EXAMPLES_PER_CALL  # that `encode` is given in one call
    chance: ClassVar[float] = 0.0  # below this the first figure tells less than the loss, and counts as 0
    version: ClassVar[str] = ""  # changes when `encode` does, so that no stored records of another are taken

    def __init__(self, config: Config, vocabularies: Any, corpus: Mapping[str, str]) -> None:
        self.config, self.vocabularies, self.corpus = config, vocabularies, corpus

    @classmethod
    @abc.abstractmethod
    def read(cls, config: Config) -> Corpus:
        """Open the corpus that a config names; a UserError where it names none, or a file that is missing."""

    @classmethod
    @abc.abstractmethod
    def learn(cls, corpus: Any, config: Config) -> Learned:
        """Learn the vocabularies from the training split; without any text, a UserError."""

    @classmethod
    def adopt(cls, folder: Path, corpus: Any, config: Config) -> Learned:
        """Return the vocabularies for weights of another run: those in its folder, with what else `learn` would learn.

        A UserError tells that they are of another kind.
        """
        return cls.Vocabularies.load(folder)

    def describe(self) -> str:
        """Return, in one line, what was learned."""
        return "vocabulary learned"

    @abc.abstractmethod
    def encode(self, examples: Sequence[Any]) -> Rows:
        """Return the integers of examples, `examples_together` at a time; called from several threads."""

    def lengths(self, record: Record) -> Sequence[tf.Tensor]:
        """Return integers (N,), one or more: rows are sorted by them, and the largest says how many make a batch."""
        return [record[name].row_lengths() for name in self.columns]

    def buffered(self) -> int:
        """Return how many rows are shuffled together, and held in memory."""
        return self.config.data.shuffle_buffer

    @abc.abstractmethod
    def batch(self, record: Record, seed: tf.Tensor) -> Batch:
        """Return the features of a batch, as long as its longest row; runs in the graph of `tf.data`.

        Args:
            record: the stored columns of its rows.
            seed: (2,) int64 for `tf.random.stateless_...`, the same whenever this batch of this epoch is made.
        """

    @abc.abstractmethod
    def network(self, dtype: str) -> keras.Model:
        """Return a built, untrained network.

        Args:
            dtype: Keras' policy: 'float32', 'mixed_bfloat16' or 'mixed_float16'.
        """

    def depths(self, network: keras.Model) -> dict[str, int]:
        """Return how deep in a network its weights are, by their paths: 0 below the first layer. {}: it is not known.

        Settings that treat layers differently (`training.freeze_layers`, `training.layer_decay`) need it.
        """
        return {}

    @abc.abstractmethod
    def counts(self, batch: Batch) -> Parts:
        """Return how many units of each part of the loss a batch has, from its labels alone."""

    @abc.abstractmethod
    def losses(self, network: keras.Model, batch: Batch, training: bool) -> Parts:
        """Return the summed loss of each part, in nats; what only training adds, such as smoothing, with `training`."""

    def summed_losses(self, network: keras.Model, micro_batches: Sequence[Batch], training: bool) -> Parts:
        """Return `losses` summed over micro-batches; overridden where they share what is better computed once."""
        every = [self.losses(network, batch, training) for batch in micro_batches]
        return {part: tf.add_n([losses[part] for losses in every]) for part in every[0]}

    def uniform(self) -> dict[str, float]:
        """Return the nats that a uniform guess costs, by part: a step with twice their sum is a bad one. {}: none is.

        Of a few classes it says little: an untrained network may well cost more.
        """
        return {}

    def from_losses(self, losses: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
        """Return `loss_figures`, which follow from the summed losses and counts of all validation batches, by part."""
        return {}

    def score(self, network: keras.Model, examples: Sequence[Any]) -> dict[str, float]:
        """Return `figures` of validation examples, the more the better: the first decides. {}: the loss does."""
        return {}

    def confidence(self, network: keras.Model, corpus: Any, step: int) -> Confidence | None:
        """Return what tells right answers of a trained network from wrong ones, for its users; None: nothing does.

        Args:
            network: with the weights that are kept.
            corpus: from `read`.
            step: of training that made the weights.
        """
        return None

    @abc.abstractmethod
    def predict(self, network: keras.Model, inputs: Sequence[Any]) -> list:
        """Return what the network makes of inputs, one result each."""
