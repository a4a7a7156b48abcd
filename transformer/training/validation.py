"""Scores of validation examples, and the weights that had the best."""

import contextlib
import dataclasses
import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from transformer.checkpoints.arrays import load_arrays, model_variables, save_arrays
from transformer.checkpoints.run_directory import BEST, RunDirectory
from transformer.config.checks import from_metadata, require
from transformer.config.run import Config
from transformer.data.batches import batches, streamed
from transformer.system.errors import EnvironmentFailure, UserError
from transformer.training.cluster import Cluster
from transformer.training.preparation import TrainingData
from transformer.training.progress import loss_figures
from transformer.training.state import TrainingState
from transformer.training.steps import Steps

DIVERGENCE_ADVICE = "lower training.peak_learning_rate or raise training.warmup_steps, and start again in another --run"


@dataclasses.dataclass(frozen=True)
class KeptWeights:
    """What is saved with the weights of a validation that are kept for averaging."""

    step: int
    value: float  # by which the best are chosen
    loss: float  # where that is equal, in nats

    def __post_init__(self) -> None:
        require(self.step >= 0, "step", "at least 0", self.step)
        for name in ("value", "loss"):
            require(-math.inf < getattr(self, name) < math.inf, name, "a finite number", getattr(self, name))


def save(
    path: Path, variables: Mapping[str, keras.Variable], metadata: Mapping[str, object], keep: Path | None = None
) -> None:
    """Do what `save_arrays` does for a run at work: a file that cannot be written is an EnvironmentFailure."""
    try:
        save_arrays(path, variables, metadata, keep)
    except UserError as error:
        raise EnvironmentFailure(str(error)) from None


@contextlib.contextmanager
def restored(variables: Sequence[keras.Variable]) -> Iterator[None]:
    """Give variables, at the end, the values that they have now."""
    own = [variable.numpy() for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)


class Validation:
    """Scores a model on validation examples and keeps the weights that score best.

    Args:
        config: how many examples the task scores, what decides, which weights to keep for averaging.
        run: where they are kept.
        cluster: every worker scores; the chief's figures count, and it writes.
        steps: of the model.
        data: the validation examples, as they are and as rows.
    """

    def __init__(self, config: Config, run: RunDirectory, cluster: Cluster, steps: Steps, data: TrainingData) -> None:
        self.config, self.run, self.cluster, self.steps, self.data = config, run, cluster, steps, data
        if self._wanted and cluster.chief and "validation" in data.corpus.own_splits:
            self._examples  # noqa: B018 - read now; to take some from training is a pass over all of it, and can wait

    def score(self, state: TrainingState) -> dict[str, float]:
        """Return `loss_figures` of the validation examples, and the task's own; a loss of no number is a UserError."""
        losses: Counter = Counter()
        counts: Counter = Counter()
        shards = self.data.validation_shards
        for batch in streamed(batches(shards, self.data.task, self.config.data), shards):
            for sums, parts in zip((losses, counts), self.steps.validation_step(batch), strict=True):
                sums.update({part: float(value) for part, value in parts.items()})
        figures = loss_figures(losses, counts)
        if not math.isfinite(figures["loss"]):
            raise UserError(f"the validation loss is {figures['loss']} after step {state.step}; {DIVERGENCE_ADVICE}")
        figures |= self.data.task.from_losses(losses, counts)
        if self._wanted:
            scores = self.data.task.score(self.steps.model, self._examples) if self.cluster.chief else {}
            figures |= {name: self.cluster.agree(scores.get(name, 0.0)) for name in self.data.task.figures}
        return figures

    @property
    def _wanted(self) -> int:
        """How many examples the task scores."""
        return self.config.training.score_examples if self.data.task.figures else 0

    @functools.cached_property
    def _examples(self) -> list:
        """The examples that are scored, kept: whoever changes their files meanwhile changes no score."""
        return list(itertools.islice(self.data.corpus.examples("validation"), self._wanted))

    def update_best(self, scores: dict[str, float], state: TrainingState) -> None:
        """Keep the model's weights if they are the best so far, and also where they are to be averaged."""
        better = self._keep_if_best(scores, state) or scores["loss"] < state.lowest_loss
        state.worse = 0 if better else state.worse + 1
        state.lowest_loss = min(state.lowest_loss, scores["loss"])
        if wanted := self.config.training.average_checkpoints:
            kept = KeptWeights(state.step, self._value(scores), scores["loss"])
            self._save(self.run.kept_weights(state.step), dataclasses.asdict(kept))
            if self.cluster.chief:
                self._prune(wanted, state.step)

    def _value(self, scores: dict[str, float]) -> float:
        first = next((scores[name] for name in self.data.task.figures if name in scores), None)
        if self.config.training.select_by == "loss" or first is None:
            return -scores["loss"]
        return first if first >= self.data.task.chance else 0.0

    def _keep_if_best(self, scores: dict[str, float], state: TrainingState) -> bool:
        """Keep the weights where they score better than the best or, with an equal score, have a lower loss."""
        value, loss = self._value(scores), scores["loss"]
        best = (value, -loss) > (state.best_score, -state.best_loss)
        if best:
            state.best_score, state.best_loss, state.best_step = value, loss, state.step
            self._save(self.run.weights(BEST), {"step": state.step})
        return best

    def _save(self, path: Path, metadata: dict[str, object]) -> None:
        if self.cluster.chief:
            if path.parent != self.run.path:  # which is never made again
                with contextlib.suppress(OSError):  # told below
                    path.parent.mkdir(exist_ok=True)
            save(path, model_variables(self.steps.model), metadata)

    def _prune(self, wanted: int, step: int) -> None:
        """Drop all but the wanted weights, and those that an interrupted process left behind this step."""
        kept = {path: metadata for path, metadata in self._kept() if metadata.step <= step}
        by_score = self.config.training.average_which == "best"

        def rank(path: Path) -> tuple[float, ...]:
            metadata = kept[path]
            return (metadata.value, -metadata.loss, metadata.step) if by_score else (metadata.step,)

        chosen = sorted(kept, key=rank)[-wanted:]
        for path, _ in self._kept():
            if path not in chosen:
                path.unlink()

    def _kept(self) -> Iterator[tuple[Path, KeptWeights]]:
        for path in self.run.all_kept_weights():
            yield path, load_arrays(path, {}, functools.partial(from_metadata, KeptWeights))

    def average(self, state: TrainingState) -> dict[str, float] | None:
        """Give the model the mean of the kept weights, score it and keep it if it is best.

        Returns the scores, or None where there are not two.
        """
        weights = model_variables(self.steps.model)
        sums = {name: np.zeros(variable.shape, np.float64) for name, variable in weights.items()}
        paths = [path for path, _ in self._kept()]
        if len(paths) < 2:
            return None
        for path in paths:
            load_arrays(path, weights)
            for name, variable in weights.items():
                sums[name] += variable.numpy()
        for name, variable in weights.items():
            variable.assign((sums[name] / len(paths)).astype(np.float32))
        scores = self.score(state)
        self._keep_if_best(scores, state)
        return {**scores, "checkpoints": len(paths)}
