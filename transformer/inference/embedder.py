"""From texts to vectors.

Axes: N texts, E numbers of a vector.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from transformer.checkpoints.run_directory import BEST
from transformer.inference.runs_of_tasks import load_run_of
from transformer.models.sentence_encoder import SentenceEncoder
from transformer.tasks.contrastive import Contrastive
from transformer.tasks.masked_lm import MaskedLM
from transformer.tasks.text_vectors import TextVectors, unit_vectors

EMBEDDING = (Contrastive.name, MaskedLM.name)  # tasks whose runs embed
TOGETHER = 4096  # texts that are sorted by their lengths together, which bounds the memory


class Embeddings(NamedTuple):
    """The vectors of texts, and what a reader should know of some."""

    vectors: np.ndarray  # (N, E) float32
    warnings: dict[int, str]  # by the number of the text, from 0 on


class Embedder:
    """Makes vectors of texts, with a trained run; their cosine tells how alike two texts are.

    A run of contrastive learning pools as it was trained. Of a masked language model, such as an imported BERT, the
    vector is the mean of all states, those of start and end included.

    Args:
        vectors: of the run.

    Use: `Embedder.load(run).embed(["A dog runs.", "Ein Hund läuft."])`.

    Source: Reimers and Gurevych 2019, section 3.
    """

    def __init__(self, vectors: TextVectors) -> None:
        self._vectors = vectors

    @classmethod
    def load(cls, run: str | Path, which: str = BEST) -> Self:
        """Load the embedder of a run directory.

        Args:
            run: the directory.
            which: `best` or `last` weights.

        Raises:
            UserError: the run is missing, damaged, or of a task that embeds nothing.
            RuntimeError: in a process that was forked after a model had been loaded.
        """
        task, network = load_run_of(run, which, EMBEDDING)
        if isinstance(task, Contrastive):
            return cls(task.vectors(network))
        assert isinstance(task, MaskedLM)  # as the name says
        pooled = SentenceEncoder(network.encoder, "mean", name="sentence_encoder")
        return cls(TextVectors(task.tokenizer, pooled, task.config.model.max_positions))

    @property
    def size(self) -> int:
        """E."""
        return self._vectors.network.size

    def embed(self, texts: Sequence[str], size: int = 0, normalise: bool = True) -> np.ndarray:
        """Return the vectors of texts, (N, E) float32; a `UserWarning` tells which are empty or not read to the end.

        Args:
            texts: any number.
            size: so many numbers of each vector, the first; 0: all. Of use where the run was trained with `task.sizes`.
            normalise: whether each vector gets the length 1, so that products are cosines. That of an empty text is 0.

        Raises:
            ValueError: `texts` is one text, or `size` is larger than a vector.
        """
        found = self.embed_and_warn(texts, size, normalise)
        for number, told in found.warnings.items():
            warnings.warn(f"text {number + 1}: {told}", stacklevel=2)
        return found.vectors

    def embed_and_warn(self, texts: Sequence[str], size: int = 0, normalise: bool = True) -> Embeddings:
        """Return what `embed` does, and its warnings instead of raising them."""
        if isinstance(texts, str):
            raise ValueError("texts must be a list of texts, got one text")
        if not 0 <= size <= self.size:
            raise ValueError(f"size must be at most {self.size}, the numbers of a vector, got {size}")
        vectors = np.zeros((len(texts), size or self.size), np.float32)
        told: dict[int, str] = {}
        for start in range(0, len(texts), TOGETHER):
            part = self._vectors(texts[start : start + TOGETHER])
            values = part.values[:, : vectors.shape[1]]
            vectors[start : start + len(values)] = unit_vectors(values) if normalise else values
            told |= {start + int(i): "empty, so that its vector is 0" for i in np.flatnonzero(part.empty)}
            for i in np.flatnonzero(part.cut):
                told[start + int(i)] = f"the last {part.cut[i]:,} tokens were not read: the model reads no more"
        return Embeddings(vectors, told)
