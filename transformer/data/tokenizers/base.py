"""What every tokenizer does."""

import abc
import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from transformer.data.cleaning import META_SPACE, normalise_tensor
from transformer.ids import END_ID, MASK_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.system.graphs import Graph

# At PAD_ID, UNKNOWN_ID, START_ID, END_ID.
RESERVED_TOKENS = ["[PAD]", "[UNK]", "[START]", "[END]"]
MASK_TOKEN = "[MASK]"  # at MASK_ID, in vocabularies that have a mask
SENTINEL_TOKEN = "<extra_id_{}>"  # with a number from 0, at MASK_ID + 1 and on, in vocabularies that have sentinels
_TEXTS = tf.TensorSpec([None], tf.string)
_RAGGED_IDS = tf.RaggedTensorSpec([None, None], tf.int32)


class Tokenizer(abc.ABC):
    """Text to subword ids and back, in the graph.

    Special ids are the package's (`pad_id` 0, `unknown_id` 1, `start_id` 2, `end_id` 3). `tokenize` adds none of them
    and `detokenize` drops them.
    """

    kind: str  # the name in `TextConfig.tokenizer`
    suffix: str  # of the asset's file name
    pad_id, unknown_id, start_id, end_id = PAD_ID, UNKNOWN_ID, START_ID, END_ID

    def __init__(self, asset: bytes, vocabulary: list[str]) -> None:
        self.asset = asset
        self._vocabulary = vocabulary
        self._split = Graph(lambda texts: self._encode(normalise_tensor(texts)), _TEXTS)
        self._join = Graph(lambda ids: self._decode(tf.ragged.boolean_mask(ids, ids > END_ID)), _RAGGED_IDS)

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

    def tokenize(self, texts: tf.Tensor | Sequence[str]) -> tf.RaggedTensor:
        """Normalise UTF-8 texts (N,) and split them into int32 ids (N, None), without start and end."""
        return self._split(texts)

    def detokenize(self, ids: tf.RaggedTensor | tf.Tensor) -> tf.Tensor:
        """Join integer ids, (N, None) or padded (N, T), to UTF-8 texts (N,); special ids are dropped."""
        if not isinstance(ids, tf.RaggedTensor):
            ids = tf.RaggedTensor.from_tensor(ids)
        return self._join(tf.cast(ids.with_row_splits_dtype(tf.int64), tf.int32))

    @abc.abstractmethod
    def _encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Split normalised texts (N,) into int32 ids (N, None)."""

    @abc.abstractmethod
    def _decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Join int32 ids (N, None) without special ids to texts (N,)."""
