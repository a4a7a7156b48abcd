"""From texts to vectors with a trained network.

Axes: N texts, T tokens of a row, E numbers of a vector.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from transformer.data.cleaning import normalise_text
from transformer.data.tokenizers.exact import ExactTokenizer
from transformer.ids import END_ID, START_ID
from transformer.models.sentence_encoder import SentenceEncoder
from transformer.tasks.row_reader import Row, RowReader


class Vectors(NamedTuple):
    """What texts became."""

    values: np.ndarray  # (N, E) float32, of any length; 0 for a text without a token
    empty: np.ndarray  # (N,) bool: texts without a token
    cut: np.ndarray  # (N,) tokens that were left out, since the model reads no more


class TextVectors:
    """A network that makes vectors of texts, with the tokenizer that it was trained with.

    Args:
        tokenizer: of the run.
        network: likewise.
        longest: row that is read, in tokens, start and end included.
    """

    def __init__(self, tokenizer: ExactTokenizer, network: SentenceEncoder, longest: int) -> None:
        self.tokenizer, self.network, self.longest = tokenizer, network, longest
        self._reader = RowReader(lambda network, ids, segments: network(ids, training=False))

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts, which are read in the order of their lengths, several batches at a time."""
        encoded = encode_texts(self.tokenizer, texts)
        rows = [framed_row(ids, self.longest) for ids in encoded]
        values = np.zeros((len(texts), self.network.size), np.float32)
        for i, vector in enumerate(self._reader(self.network, [Row(ids, len(ids)) for ids in rows])):
            values[i] = vector
        lengths = np.array([len(ids) for ids in encoded], np.int64)
        values[lengths == 0] = 0.0
        return Vectors(values, lengths == 0, np.maximum(lengths + 2 - self.longest, 0))


def encode_texts(tokenizer: ExactTokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Return the ids of texts, (T,) int32 each, whose first word is like those behind a space."""
    normalised = map(normalise_text, texts)
    return tokenizer.encode([f" {text}" if tokenizer.spaced and text else text for text in normalised])


def framed_row(ids: np.ndarray, longest: int) -> np.ndarray:
    """Return the row of a text with start and end, of at most `longest` tokens."""
    return np.array([START_ID, *ids[: longest - 2], END_ID], np.int32)


def unit_vectors(values: np.ndarray) -> np.ndarray:
    """Return vectors (N, E) with the length 1; those of length 0 stay."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(lengths > 0, lengths, 1.0)
