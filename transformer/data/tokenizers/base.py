"""What every tokenizer does."""

from __future__ import annotations

import abc
import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from transformer.data.cleaning import META_SPACE
from transformer.ids import END_ID, MASK_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.system.tensorflow import have_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

    from transformer.data.tokenizers.in_graph import TokenizerGraphs

# At PAD_ID, UNKNOWN_ID, START_ID, END_ID.
RESERVED_TOKENS = ["[PAD]", "[UNK]", "[START]", "[END]"]
MASK_TOKEN = "[MASK]"  # at MASK_ID, in vocabularies that have a mask
SENTINEL_TOKEN = "<extra_id_{}>"  # with a number from 0, at MASK_ID + 1 and on, in vocabularies that have sentinels


class Tokenizer(abc.ABC):
    """Text to subword ids and back: `encode` and `decode` of lists, `tokenize` and `detokenize` of tensors.

    Special ids are the package's (`pad_id` 0, `unknown_id` 1, `start_id` 2, `end_id` 3). The first of each pair adds
    none of them and the second drops them.
    """

    kind: str  # the name in `TextConfig.tokenizer`
    suffix: str  # of the asset's file name
    pad_id, unknown_id, start_id, end_id = PAD_ID, UNKNOWN_ID, START_ID, END_ID

    def __init__(self, asset: bytes, vocabulary: list[str]) -> None:
        self.asset = asset
        self._vocabulary = vocabulary

    @functools.cached_property
    def graphs(self) -> TokenizerGraphs:
        """What `tokenize` and `detokenize` run; TensorFlow is imported for them."""
        have_tensorflow()
        from transformer.data.tokenizers.in_graph import TokenizerGraphs

        return TokenizerGraphs(self._split, self._join)

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, special ids included."""
        return len(self._vocabulary)

    @property
    def masks(self) -> bool:
        """Whether MASK_ID is a mask."""
        return len(self._vocabulary) > MASK_ID and self._vocabulary[MASK_ID] == MASK_TOKEN

    @property
    def sentinels(self) -> int:
        """Number of sentinels, whose ids follow MASK_ID."""
        if not self.masks:
            return 0
        numbers = itertools.takewhile(
            lambda i: self._vocabulary[MASK_ID + 1 + i] == SENTINEL_TOKEN.format(i),
            range(len(self._vocabulary) - MASK_ID - 1),
        )
        return sum(1 for _ in numbers)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Normalise texts and split them into ids, without start and end.

        A lone surrogate, which is no text, is taken for a question mark.
        """
        return self.tokenize([text.encode("utf-8", "replace") for text in texts]).to_list() if texts else []

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Join rows of ids to texts; special ids are dropped, and bytes that are no UTF-8 become U+FFFD."""
        if not rows:
            return []
        longest = max(map(len, rows))
        padded = np.array([[*row, *[PAD_ID] * (longest - len(row))] for row in rows], np.int32)
        return [text.decode("utf-8", "replace") for text in self.detokenize(padded).numpy()]

    def pieces(self, ids: Sequence[int] | tf.Tensor) -> list[str]:
        """Return the subwords behind ids (T,), special ones included, as a picture would show them."""
        return [self._vocabulary[index] for index in np.asarray(ids, dtype=np.int32)]

    def count_unknown(self, ids: Sequence[int]) -> tuple[int, int]:
        """Return how many of the ids stand for characters outside the vocabulary, and how many for text in it.

        A space counts as neither.
        """
        pieces = self.pieces(ids)
        unknown = sum(index == UNKNOWN_ID or self._is_byte(piece) for index, piece in zip(ids, pieces, strict=True))
        return unknown, len(pieces) - unknown - pieces.count(META_SPACE)

    @staticmethod
    def _is_byte(piece: str) -> bool:
        """Return whether a piece is one byte of a character that the vocabulary lacks."""
        return False

    def tokenize(self, texts: tf.Tensor | Sequence[str] | Sequence[bytes]) -> tf.RaggedTensor:
        """Normalise UTF-8 texts (N,) and split them into int32 ids (N, None), without start and end."""
        return self.graphs.split(texts)

    def detokenize(self, ids: tf.RaggedTensor | tf.Tensor | np.ndarray) -> tf.Tensor:
        """Join integer ids, (N, None) or padded (N, T), to UTF-8 texts (N,); special ids are dropped."""
        return self.graphs.joined(ids)

    @abc.abstractmethod
    def _split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Split normalised texts (N,) into int32 ids (N, None)."""

    @abc.abstractmethod
    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Join int32 ids (N, None) without special ids to texts (N,)."""
