"""Subword tokenizers that run in the graph with tensorflow-text.

`SentencePieceTokenizer` loses no character; `WordPieceTokenizer` is the TensorFlow tutorial's way. Both share one
interface and the special ids of `transformer.config`.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text

from transformer.data.cleaning import META_BLANK, normalise_tensor
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.system.graphs import Graph

# At PAD_ID, UNKNOWN_ID, START_ID, END_ID.
RESERVED_TOKENS = ["[PAD]", "[UNK]", "[START]", "[END]"]
_SENTENCEPIECE_SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]
LONGEST_PIECE = 100  # characters; SentencePiece itself learns at most 16
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

    def pieces(self, ids: Sequence[int] | tf.Tensor) -> list[str]:
        """Return the subwords behind ids (T,), special ones included, as a picture would show them."""
        return [self._vocabulary[index] for index in np.asarray(ids, dtype=np.int32)]

    def count_unknown(self, ids: Sequence[int]) -> tuple[int, int]:
        """Return how many of the ids stand for characters outside the vocabulary, and how many for text in it.

        A blank counts as neither.
        """
        pieces = self.pieces(ids)
        unknown = sum(index == UNKNOWN_ID or self._is_byte(piece) for index, piece in zip(ids, pieces, strict=True))
        return unknown, len(pieces) - unknown - pieces.count(META_BLANK)

    @staticmethod
    def _is_byte(piece: str) -> bool:
        """Return whether a piece is one byte of a character that the vocabulary lacks."""
        return False

    def tokenize(self, texts: tf.Tensor | Sequence[str]) -> tf.RaggedTensor:
        """Normalise and split texts.

        Args:
            texts: UTF-8 strings (N,).

        Returns:
            int32 ids (N, None), without start and end.
        """
        return self._split(texts)

    def detokenize(self, ids: tf.RaggedTensor | tf.Tensor) -> tf.Tensor:
        """Join subwords to texts; special ids are dropped.

        Args:
            ids: integer ids (N, None) or padded (N, T).

        Returns:
            UTF-8 strings (N,).
        """
        if not isinstance(ids, tf.RaggedTensor):
            ids = tf.RaggedTensor.from_tensor(ids)
        return self._join(tf.cast(ids.with_row_splits_dtype(tf.int64), tf.int32))

    @abc.abstractmethod
    def _encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Split normalised texts (N,) into int32 ids (N, None)."""

    @abc.abstractmethod
    def _decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Join int32 ids (N, None) without special ids to texts (N,)."""


class SentencePieceTokenizer(Tokenizer):
    """SentencePiece with byte fallback: `detokenize(tokenize(x)) == normalise_text(x)` for every text.

    Each graph builds the SentencePiece op it uses from the model's bytes. A tokenizer object built outside owns a
    resource that `tf.random.set_seed` and `keras.utils.set_random_seed` destroy; this one can be seeded around freely.

    Args:
        asset: a serialised SentencePiece model with the package's special ids.

    Raises:
        ValueError: not a SentencePiece model, or other special ids.

    Source: Kudo and Richardson 2018, https://arxiv.org/abs/1808.06226.
    """

    kind = "sentencepiece"
    suffix = ".model"

    def __init__(self, asset: bytes) -> None:
        import sentencepiece

        try:
            # It checks the model; the older copy in tensorflow-text trusts it, and a forged one crashes the process.
            model = sentencepiece.SentencePieceProcessor(model_proto=asset)
            vocabulary = [model.id_to_piece(index) for index in range(model.vocab_size())]
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"asset must be a SentencePiece model, got {len(asset)} bytes ({error})") from None
        if any("\0" in piece or len(piece) > LONGEST_PIECE for piece in vocabulary):
            raise ValueError(f"asset must hold pieces of at most {LONGEST_PIECE} characters, none of them U+0000")
        if vocabulary[: len(_SENTENCEPIECE_SPECIAL)] != _SENTENCEPIECE_SPECIAL:
            raise ValueError(f"asset must start with {_SENTENCEPIECE_SPECIAL}, got {vocabulary[:4]}")
        super().__init__(asset, vocabulary)

    @staticmethod
    def _is_byte(piece: str) -> bool:
        return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")

    def _model(self) -> tensorflow_text.SentencepieceTokenizer:
        return tensorflow_text.SentencepieceTokenizer(model=self.asset)

    def _encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._model().tokenize(texts)

    def _decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        return self._model().detokenize(ids)


class WordPieceTokenizer(Tokenizer):
    """WordPiece: words are split at blanks, punctuation and Chinese characters, then into the longest known pieces.

    Case and accents are kept. Not lossless: a word with an unknown character becomes the unknown id, and
    `detokenize` puts one blank between words except before closing and after opening punctuation, around an apostrophe
    between letters and beside Chinese and Japanese characters.

    Args:
        asset: the vocabulary in UTF-8, one piece a line, `RESERVED_TOKENS` first.

    Raises:
        ValueError: not such a vocabulary.

    Source: the TensorFlow tutorial on subword tokenizers. Deviation: the tutorial lower-cases, strips accents and
    leaves blanks around punctuation.
    """

    kind = "wordpiece"
    suffix = ".vocab.txt"
    _han = r"\p{Han}\p{Hiragana}\p{Katakana}\x{3001}-\x{303F}\x{FF00}-\x{FF0F}\x{FF1A}-\x{FF20}"
    _joins = (
        (r" ([.,;:!?%)\]}…»”])", r"\1"),
        (r"([(\[{¿¡«“]) ", r"\1"),
        (r"(\pL) (['’]) (\pL)", r"\1\2\3"),
        (rf"([{_han}]) ", r"\1"),
        (rf" ([{_han}])", r"\1"),
    )

    def __init__(self, asset: bytes) -> None:
        try:
            vocabulary = asset.decode().removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"asset must be UTF-8, got {error}") from None
        if vocabulary[: len(RESERVED_TOKENS)] != RESERVED_TOKENS:
            raise ValueError(f"asset must start with {RESERVED_TOKENS}, got {vocabulary[:4]}")
        if len(set(vocabulary)) < len(vocabulary):
            raise ValueError("asset must hold each piece once, got a repeated piece")
        super().__init__(asset, vocabulary)
        try:
            self._model = tensorflow_text.FastBertTokenizer(
                vocabulary,
                token_out_type=tf.int32,
                unknown_token=RESERVED_TOKENS[UNKNOWN_ID],
                support_detokenization=True,
            )
        except RuntimeError as error:
            raise ValueError(f"asset must hold pieces that WordPiece can look up, got {error}") from None

    def _encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._model.tokenize(texts)

    def _decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        texts = self._model.detokenize(ids)
        for pattern, replacement in self._joins:
            texts = tf.strings.regex_replace(texts, pattern, replacement)
        return texts
