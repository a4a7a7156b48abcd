"""Choosing among the hypotheses of a sentence by how well each tells what was translated.

Axes: B sentences, W hypotheses per sentence, N rows, S and T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from transformer.checkpoints import BEST, RunDirectory
from transformer.config import PAD_ID, REVERSE_WEIGHT, UserError
from transformer.data.tokenizers import TokenizerPair
from transformer.graphs import Graph
from transformer.inference.parts import Reader
from transformer.inference.search import Hypotheses
from transformer.inference.searcher import padded
from transformer.models.translation import Transformer

TOKENS_TOGETHER = 1024  # of sentences, padding included: bounds what their logits take


class ReverseModel:
    """A model of the other direction, which says how likely a sentence is once its translation is known.

    A translation that leaves something out, or makes something up, reads as well as another and may be likely; the
    sentence cannot be told from it. The vocabulary is the model's own.

    Args:
        transformer: the model, weights loaded.
        tokenizers: the pair it was trained with.
        max_positions: longest sequence of the model, in tokens; of what is longer the beginning counts.
        weight: of what it says beside the score of the search.

    Raises:
        ValueError: the weight is negative or no number.

    Source: Yee et al. 2019, "Simple and Effective Noisy Channel Modeling for Neural Machine Translation".
    """

    def __init__(
        self, transformer: Transformer, tokenizers: TokenizerPair, max_positions: int, weight: float = REVERSE_WEIGHT
    ) -> None:
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight must be a number from 0, got {weight!r}")
        self.transformer, self.weight = transformer, weight
        self._readers = [Reader(of, max_positions, "long", "") for of in (tokenizers.source, tokenizers.target)]
        ids = tf.TensorSpec((None, None), tf.int32)
        self._graph = Graph(self._mean_log_probabilities, ids, ids)

    @classmethod
    def load(
        cls,
        run: str | Path,
        source_language: str,
        target_language: str,
        which: str = BEST,
        weight: float = REVERSE_WEIGHT,
    ) -> ReverseModel:
        """Load the model of a run directory.

        Args:
            run: the directory.
            source_language: that of the sentences, which the model writes; empty: unknown.
            target_language: that of the translations, which it reads; empty: unknown.
            which: `best` or `last` weights.
            weight: of what it says.

        Raises:
            UserError: the run is missing, incomplete, damaged, or of other languages.
        """
        directory = RunDirectory(run)
        config, tokenizers, transformer = directory.load(which)
        corpus = directory.corpus()
        reads, writes = str(corpus["source_language"]), str(corpus["target_language"])
        known = all((reads, writes, source_language, target_language))
        if known and (reads, writes) != (target_language, source_language):
            raise UserError(
                f"{directory.path} translates {reads} to {writes}; the other direction of {source_language} to "
                f"{target_language} is {target_language} to {source_language}: name a run of that"
            )
        return cls(transformer, tokenizers, config.model.max_positions, weight)

    @property
    def traces(self) -> int:
        """Number of graphs made so far."""
        return self._graph.traces

    def log_probabilities(self, sentences: Sequence[str], translations: Sequence[str]) -> np.ndarray:
        """Return log p(sentence | translation) of pairs, divided by the tokens of the sentence, its end included.

        Args:
            sentences: N texts of the language that the model writes.
            translations: N texts of the language that it reads.

        Returns:
            (N,) float32, nats per token.
        """
        sources, targets = (
            [reader.fit(row) for row in reader.encode(texts)]
            for reader, texts in zip(self._readers, (translations, sentences), strict=True)
        )
        if not targets:
            return np.zeros(0, np.float32)
        size = max(1, TOKENS_TOGETHER // max(map(len, targets)))
        chunks = [slice(first, first + size) for first in range(0, len(targets), size)]
        return np.concatenate([self._graph(padded(sources[of]), padded(targets[of])).numpy() for of in chunks])

    def rerank(self, sentences: Sequence[str], texts: Sequence[str], found: Hypotheses) -> tuple[list[str], Hypotheses]:
        """Put the hypotheses of each sentence in a new order: score + weight * `log_probabilities`, the highest first.

        Args:
            sentences: B texts.
            texts: those of the hypotheses, B * W, sentence by sentence.
            found: the hypotheses, as arrays.

        Returns:
            texts and hypotheses in the new order, which `scores` now tells.
        """
        batch, width = found.scores.shape
        reverse = self.log_probabilities([sentence for sentence in sentences for _ in range(width)], texts)
        scores = np.asarray(found.scores) + self.weight * reverse.reshape(batch, width)
        order = np.argsort(-scores, axis=1, kind="stable")

        def reordered(part: np.ndarray) -> np.ndarray:
            return np.take_along_axis(part, order.reshape(*order.shape, *[1] * (part.ndim - 2)), axis=1)

        hypotheses = Hypotheses(*(reordered(np.asarray(part)) for part in found._replace(scores=scores)))
        return [texts[b * width + w] for b in range(batch) for w in order[b]], hypotheses

    def _mean_log_probabilities(self, source_ids: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
        """Return (N,) from ids (N, S) and (N, T), with start and end tokens, padded with 0."""
        outputs, _ = self.transformer.decode(source_ids, target_ids[:, :-1], training=False)
        labels = target_ids[:, 1:]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, self.transformer.project(outputs))
        real = tf.cast(labels != PAD_ID, losses.dtype)
        return -tf.reduce_sum(losses * real, axis=1) / tf.reduce_sum(real, axis=1)
