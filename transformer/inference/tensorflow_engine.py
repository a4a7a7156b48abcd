"""The reference engine: our own search, and our own network. Axes as in engine.py."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.settings import TENSORFLOW, SearchConfig
from transformer.inference.cross_attention import source_attention
from transformer.inference.engine import Engine, Rows
from transformer.models.transformer import Transformer
from transformer.search.hypotheses import Hypotheses
from transformer.search.searcher import Searchers, padded
from transformer.system.errors import UserError
from transformer.system.graphs import Graph
from transformer.tasks.denoising import Denoising
from transformer.tasks.translation import Translation


class TensorFlowEngine(Engine):
    """Searches with one model, or with several of one vocabulary.

    Args:
        models: weights loaded. The search goes by their mean probabilities, and the attention is that of the first.
    """

    name = TENSORFLOW

    def __init__(self, models: Sequence[Transformer]) -> None:
        self.models = list(models)
        self.cached = sum(2 * model.decoder.num_layers * model.decoder.options.d_model for model in self.models)
        self.searchers = Searchers(self.models)
        ids, hypotheses = (tf.TensorSpec((None,) * rank, tf.int32) for rank in (2, 3))
        self.source_attention = Graph(functools.partial(source_attention, self.models[0]), ids, hypotheses)

    def search(
        self,
        rows: Rows,
        starts: Rows,
        limits: np.ndarray,
        least: np.ndarray,
        search: SearchConfig,
        n_best: int = 1,
        scored: bool = True,
    ) -> Hypotheses:
        prefix = padded(starts) if any(starts) else None
        found = self.searchers.searcher(search)(padded(rows), limits, least, prefix)
        return Hypotheses(*(array[:, :n_best] for array in found))

    def attention(self, rows: Rows, found: Hypotheses) -> np.ndarray:
        return self.source_attention(padded(rows), found.ids).numpy()

    def warm_up(self, search: SearchConfig) -> None:
        self.searchers.searcher(search).warm_up()

    def traces(self, search: SearchConfig) -> int:
        return self.searchers.searcher(search).traces + self.source_attention.traces


def opened(runs: Sequence[str | Path], which: str) -> TensorFlowEngine:
    """Return the engine of one run, or of several that translate together; which weights: `best` or `last`.

    Raises:
        UserError: what `checkpoints.loading.load` raises; a run of a task that does not translate.
    """
    models = []
    for path in runs:
        task, model = load(RunDirectory(path), which)
        if not isinstance(task, Translation | Denoising):
            raise UserError(f"{path} is a run of the task '{task.name}', which does not translate")
        models.append(model)
    return TensorFlowEngine(models)
