"""Scores on the validation pairs, and the weights that had the best."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from transformer.arrays import load_arrays, save_arrays
from transformer.building import model_variables
from transformer.checkpoints import BEST, RunDirectory
from transformer.config import Config, UserError
from transformer.data.pipeline import batches
from transformer.evaluation import bleu
from transformer.inference.translator import Translator
from transformer.rules import from_facts, require
from transformer.training.cluster import Cluster
from transformer.training.preparation import TrainingData
from transformer.training.progress import Position
from transformer.training.steps import Steps

REMEDY = "lower training.peak_learning_rate or raise training.warmup_steps, and start again in another --run"


@dataclasses.dataclass(frozen=True)
class Kept:
    """What is saved with the weights of a validation that are kept for averaging."""

    step: int
    value: float  # by which the best are chosen

    def __post_init__(self) -> None:
        require(self.step >= 0, "step", "at least 0", self.step)
        require(-math.inf < self.value < math.inf, "value", "a finite number", self.value)


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
        self.translator = Translator(steps.model, data.tokenizers, search, config.model.max_positions, language)

    def score(self, position: Position) -> dict[str, float]:
        """Return the validation loss in nats per target token and, where it is wanted, the BLEU of greedy search.

        Raises:
            UserError: the loss is no number.
        """
        sums = np.zeros(2)
        for (source_ids, target_in), target_out in batches(self.data.validation_shards, self.config.data):
            sums += [float(part) for part in self.steps.validation_step(source_ids, target_in, target_out)]
        loss = sums[0] / sums[1]
        if not math.isfinite(loss):
            raise UserError(f"the validation loss is {loss} after step {position.step}; {REMEDY}")
        if not self.config.training.validation_bleu_pairs:
            return {"loss": loss}
        return {"loss": loss, "bleu": self.cluster.agree(self._bleu() if self.cluster.chief else 0.0)}

    def _bleu(self) -> float:
        wanted = self.config.training.validation_bleu_pairs
        pairs = self.data.corpus.pairs("validation")
        sources, references = zip(*(pair for pair, _ in zip(pairs, range(wanted), strict=False)), strict=True)
        hypotheses = [best[0].text for best in self.translator.translate(sources)]
        return bleu(hypotheses, references, self.data.corpus.target_language).score

    def judge(self, scores: dict[str, float], position: Position) -> None:
        """Keep the model's weights if they are the best so far, and also where they are to be averaged."""
        position.worse += 1
        value = self._keep_if_best(scores, position)
        if wanted := self.config.training.average_checkpoints:
            self._save(self.run.kept_weights(position.step), dataclasses.asdict(Kept(position.step, value)))
            if self.cluster.chief:
                self._prune(wanted, position.step)

    def _keep_if_best(self, scores: dict[str, float], position: Position) -> float:
        value = -scores["loss"]
        if self.config.training.select_by == "bleu" and "bleu" in scores:
            value = scores["bleu"]
        if value > position.best_score:
            position.best_score, position.best_step, position.worse = value, position.step, 0
            self._save(self.run.weights(BEST), {"step": position.step})
        return value

    def _save(self, path: Path, facts: dict[str, object]) -> None:
        if self.cluster.chief:
            with contextlib.suppress(OSError):  # told below
                path.parent.mkdir(exist_ok=True)
            save_arrays(path, model_variables(self.steps.model), facts)

    def _prune(self, wanted: int, step: int) -> None:
        """Drop all but the wanted weights, and those that an interrupted process left behind this step."""
        kept = {path: facts for path, facts in self._kept() if facts.step <= step}
        by = "value" if self.config.training.average_which == "best" else "step"
        chosen = sorted(kept, key=lambda path: (getattr(kept[path], by), kept[path].step))[-wanted:]
        for path, _ in self._kept():
            if path not in chosen:
                path.unlink()

    def _kept(self) -> Iterator[tuple[Path, Kept]]:
        for path in self.run.all_kept_weights():
            yield path, load_arrays(path, {}, functools.partial(from_facts, Kept))

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
