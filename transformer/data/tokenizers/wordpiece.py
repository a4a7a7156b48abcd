"""WordPiece: subwords of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformer.data.tokenizers.base import RESERVED_TOKENS, Tokenizer
from transformer.ids import UNKNOWN_ID
from transformer.system.tensorflow import have_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf


class WordPieceTokenizer(Tokenizer):
    """WordPiece: words are split at spaces, punctuation and Chinese characters, then into the longest known pieces.

    Case and accents are kept. Not lossless: a word with an unknown character becomes the unknown id, and
    `detokenize` puts one space between words except before closing and after opening punctuation, around an apostrophe
    between letters and beside Chinese and Japanese characters.

    Args:
        asset: the vocabulary in UTF-8, one piece a line, `RESERVED_TOKENS` first.

    Raises:
        ValueError: not such a vocabulary.

    Source: the TensorFlow tutorial on subword tokenizers. Deviation: the tutorial lower-cases, strips accents and
    leaves spaces around punctuation.
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
        have_tensorflow()  # the library that splits words is TensorFlow Text alone
        import tensorflow as tf
        import tensorflow_text

        try:
            self._model = tensorflow_text.FastBertTokenizer(
                vocabulary,
                token_out_type=tf.int32,
                unknown_token=RESERVED_TOKENS[UNKNOWN_ID],
                support_detokenization=True,
            )
        except RuntimeError as error:
            raise ValueError(f"asset must hold pieces that WordPiece can look up, got {error}") from None

    def _split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._model.tokenize(texts)

    def _join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        import tensorflow as tf

        texts = self._model.detokenize(ids)
        for pattern, replacement in self._joins:
            texts = tf.strings.regex_replace(texts, pattern, replacement)
        return texts
