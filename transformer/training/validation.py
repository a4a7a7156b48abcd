"""Scores on the validation pairs, and the weights that had the best."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from transformer.checkpoints.arrays import load_arrays, model_variables, save_arrays
from transformer.checkpoints.run import BEST, RunDirectory
from transformer.config.checks import from_metadata, require
from transformer.config.run import Config
from transformer.data.batches import batches, streamed
from transformer.data.examples.held_out import Pair
from transformer.inference.translator import Translator
from transformer.metrics.text import bleu
from transformer.system.errors import AccidentError, UserError
from transformer.training.cluster import Cluster
from transformer.training.preparation import TrainingData
from transformer.training.progress import Position
from transformer.training.steps import Steps

# A BLEU below is chance, and the loss tells more: on Multi30k one good sentence, given as the translation of all, has
# up to 3, and right sentences in a wrong order have up to 1.
CHANCE = 3.0
REMEDY = "lower training.peak_learning_rate or raise training.warmup_steps, and start again in another --run"


@dataclasses.dataclass(frozen=True)
class Kept:
    """What is saved with the weights of a validation that are kept for averaging."""

    step: int
    value: float  # by which the best are chosen
    loss: float  # where that is equal, in nats per token

    def __post_init__(self) -> None:
        require(self.step >= 0, "step", "at least 0", self.step)
        for name in ("value", "loss"):
            require(-math.inf < getattr(self, name) < math.inf, name, "a finite number", getattr(self, name))


def save(
    path: Path, variables: Mapping[str, keras.Variable], metadata: Mapping[str, object], keep: Path | None = None
) -> None:
    """Do what `save_arrays` does, for a run at work.

    Raises:
        AccidentError: the file cannot be written.
    """
    try:
        save_arrays(path, variables, metadata, keep)
    except UserError as error:
        raise AccidentError(str(error)) from None


@contextlib.contextmanager
def put_back(variables: Sequence[keras.Variable]) -> Iterator[None]:
    """Give variables, at the end, the values that they have now."""
    own = [variable.numpy() for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)


class Validation:
    """Scores a model on the validation pairs and keeps the weights that score best.

    Args:
        config: how many pairs are translated for BLEU, what decides, which weights to keep for averaging.
        run: where they are kept.
        cluster: every worker scores; the chief translates and writes.
        steps: of the model.
        data: the validation sentences, as text and as tokens.
    """

    def __init__(self, config: Config, run: RunDirectory, cluster: Cluster, steps: Steps, data: TrainingData) -> None:
        self.config, self.run, self.cluster, self.steps, self.data = config, run, cluster, steps, data
        search = dataclasses.replace(config.search, beam_size=1)
        language = data.corpus.source_language
        positions, cleaning = config.model.max_positions, config.cleaning
        self.translator = Translator(steps.model, data.tokenizers, search, positions, language, cleaning=cleaning)
        wanted = config.training.score_examples and cluster.chief
        if wanted and "validation" in data.corpus.own_splits:
            self._pairs  # noqa: B018 - read now; to take some from training is a pass over all of it, and can wait

    def score(self, position: Position) -> dict[str, float]:
        """Return the validation loss in nats per target token and, where it is wanted, the BLEU of greedy search.

        Raises:
            UserError: the loss is no number.
        """
        sums = np.zeros(2)
        shards = self.data.validation_shards
        for (source_ids, target_in), target_out in streamed(batches(shards, self.config.data), shards):
            sums += [float(part) for part in self.steps.validation_step(source_ids, target_in, target_out)]
        loss = sums[0] / sums[1]
        if not math.isfinite(loss):
            raise UserError(f"the validation loss is {loss} after step {position.step}; {REMEDY}")
        if not self.config.training.score_examples:
            return {"loss": loss}
        return {"loss": loss, "bleu": self.cluster.agree(self._bleu() if self.cluster.chief else 0.0)}

    @functools.cached_property
    def _pairs(self) -> list[Pair]:
        """The sentences that are translated, kept: whoever changes their files meanwhile changes no score."""
        wanted = self.config.training.score_examples
        return list(itertools.islice(self.data.corpus.pairs("validation"), wanted))

    def _bleu(self) -> float:
        sources, references = zip(*self._pairs, strict=True)
        hypotheses = [best[0].text for best in self.translator.translate(sources)]
        return bleu(hypotheses, references, self.data.corpus.target_language).score

    def judge(self, scores: dict[str, float], position: Position) -> None:
        """Keep the model's weights if they are the best so far, and also where they are to be averaged."""
        better = self._keep_if_best(scores, position) or scores["loss"] < position.lowest_loss
        position.worse = 0 if better else position.worse + 1
        position.lowest_loss = min(position.lowest_loss, scores["loss"])
        if wanted := self.config.training.average_checkpoints:
            kept = Kept(position.step, self._value(scores), scores["loss"])
            self._save(self.run.kept_weights(position.step), dataclasses.asdict(kept))
            if self.cluster.chief:
                self._prune(wanted, position.step)

    def _value(self, scores: dict[str, float]) -> float:
        if self.config.training.select_by == "loss" or "bleu" not in scores:
            return -scores["loss"]
        return scores["bleu"] if scores["bleu"] >= CHANCE else 0.0

    def _keep_if_best(self, scores: dict[str, float], position: Position) -> bool:
        """Keep the weights where they score better than the best or, with an equal score, have a lower loss."""
        value, loss = self._value(scores), scores["loss"]
        best = (value, -loss) > (position.best_score, -position.best_loss)
        if best:
            position.best_score, position.best_loss, position.best_step = value, loss, position.step
            self._save(self.run.weights(BEST), {"step": position.step})
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

    def _kept(self) -> Iterator[tuple[Path, Kept]]:
        for path in self.run.all_kept_weights():
            yield path, load_arrays(path, {}, functools.partial(from_metadata, Kept))

    def average(self, position: Position) -> dict[str, float] | None:
        """Give the model the mean of the kept weights, score and judge it; returns the scores, or None without any."""
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
        scores = self.score(position)
        self._keep_if_best(scores, position)
        return {**scores, "checkpoints": len(paths)}
