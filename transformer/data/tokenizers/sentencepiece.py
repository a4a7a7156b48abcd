"""SentencePiece: unigram or byte-pair subwords of raw text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from transformer.data.cleaning import META_SPACE, normalise_text
from transformer.data.tokenizers.base import Tokenizer
from transformer.ids import END_ID

if TYPE_CHECKING:
    import tensorflow as tf

_SENTENCEPIECE_SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]
LONGEST_PIECE = 100  # characters; SentencePiece itself learns at most 16


class SentencePieceTokenizer(Tokenizer):
    """SentencePiece with byte fallback: `decode(encode(x)) == normalise_text(x)` for every text.

    But a vocabulary with a mask that texts can spell takes the space before it away.

    Lists are encoded by the package `sentencepiece`, tensors by the same library in tensorflow-text. Each graph builds
    the SentencePiece op it uses from the model's bytes. A tokenizer object built outside owns a resource that
    `tf.random.set_seed` and `keras.utils.set_random_seed` destroy; this one can be seeded around freely.

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
        self._model, self._space = model, model.piece_to_id(META_SPACE)  # the unknown id where there is none

    @staticmethod
    def _is_byte(piece: str) -> bool:
        return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        normalised = [normalise_text(text.encode("utf-8", "replace").decode()) for text in texts]
        return self._model.encode(normalised, out_type=int, num_threads=1)

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        # The older copy in tensorflow-text removes a space from every piece as long as there is no text.
        real = [[int(index) for index in row if index > END_ID] for row in rows]
        real = [list(itertools.dropwhile(lambda index: index == self._space, row)) for row in real]
        return self._model.decode(real, num_threads=1) if real else []

    def _split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        import tensorflow_text

        return tensorflow_text.SentencepieceTokenizer(model=self.asset).tokenize(texts)

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        import tensorflow_text

        return tensorflow_text.SentencepieceTokenizer(model=self.asset).detokenize(ids)
