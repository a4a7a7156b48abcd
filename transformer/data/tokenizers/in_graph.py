"""Text to subword ids and back as TensorFlow graphs: for `tf.data`, exports and whoever has tensors."""

from collections.abc import Callable

import tensorflow as tf
import tensorflow_text

from transformer.data.cleaning import META_SPACE, SPACES
from transformer.ids import END_ID
from transformer.system.graphs import Graph

_OUTER_SPACES = rf"\A[{SPACES}]+|[{SPACES}]+\z"
_TEXTS = tf.TensorSpec([None], tf.string)
_RAGGED_IDS = tf.RaggedTensorSpec([None, None], tf.int32)


def normalise_tensor(texts: tf.Tensor) -> tf.Tensor:
    """Do what `normalise_text` does, in the graph, to UTF-8 strings of any shape.

    The two differ only in characters newer than the running Python's Unicode tables.
    """
    texts = tensorflow_text.normalize_utf8(texts, "NFC")
    texts = tf.strings.regex_replace(texts, META_SPACE, " ")
    return tf.strings.regex_replace(texts, _OUTER_SPACES, "")


class TokenizerGraphs:
    """The graphs of one tokenizer.

    Args:
        split: from normalised texts (N,) to int32 ids (N, None).
        join: from int32 ids (N, None) without special ids to texts (N,).
    """

    def __init__(
        self, split: Callable[[tf.Tensor], tf.RaggedTensor], join: Callable[[tf.RaggedTensor], tf.Tensor]
    ) -> None:
        self.split = Graph(lambda texts: split(normalise_tensor(texts)), _TEXTS)
        self.join = Graph(lambda ids: join(tf.ragged.boolean_mask(ids, ids > END_ID)), _RAGGED_IDS)

    def joined(self, ids: tf.RaggedTensor | tf.Tensor) -> tf.Tensor:
        """Return the texts of integer ids, (N, None) or padded (N, T)."""
        if not isinstance(ids, tf.RaggedTensor):
            ids = tf.RaggedTensor.from_tensor(ids)
        return self.join(tf.cast(ids.with_row_splits_dtype(tf.int64), tf.int32))
