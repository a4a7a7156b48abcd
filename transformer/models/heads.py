"""Heads on an encoder: a label of a text, a tag of each token, the place of an answer.

Axes: B batch, T tokens of a row, D model width, C classes.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from transformer.config.checks import require_choice
from transformer.ids import END_ID, PAD_ID
from transformer.layers.checks import check_sizes
from transformer.layers.fused import Dropout
from transformer.models.bert import BertEncoder

POOLINGS = ("first", "mean")
OUTPUTS = ("logits", "softmax", "sigmoid")
STDDEV = 0.02  # of a new head's weights (Devlin et al. 2019, the published code)
HIDDEN_LOGIT = -1e9  # of places that no answer begins or ends at; float32
Inputs = Any  # ids, or a mapping of ids and segments


class _EncoderModel(keras.Model):
    """An encoder, dropout and a dense head.

    Inputs are ids (B, T) or a mapping of `ids` and `segments`, both (B, T).
    """

    def __init__(self, encoder: BertEncoder, outputs: int, rate: float, **others: Any) -> None:
        super().__init__(**others)
        check_sizes(outputs=outputs)
        self.encoder, self.rate = encoder, rate
        self.dropout = Dropout(rate, dtype=self.dtype_policy, name="dropout")
        start = keras.initializers.TruncatedNormal(stddev=STDDEV)
        self.head = keras.layers.Dense(outputs, kernel_initializer=start, dtype=self.dtype_policy, name="head")

    def build(self, inputs_shape: Any = None) -> None:
        if not self.encoder.built:
            self.encoder.build()
        self.head.build((None, self.encoder.options.d_model))
        self.built = True

    def states(self, inputs: Inputs, training: bool | None) -> tf.Tensor:
        """Return the encoder's states (B, T, D)."""
        ids, segments = _ids_and_segments(inputs)
        return self.encoder(ids, segments, training=training)

    def project(self, states: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Return the head's outputs of states (..., D), float32."""
        return tf.cast(self.head(self.dropout(states, training=training)), tf.float32)

    def depths(self) -> dict[str, int]:
        """Return how deep each weight is, by its path; see `encoder_depths`."""
        return encoder_depths(self)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "rate": self.rate,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "_EncoderModel":
        return cls(**{**config, "encoder": keras.saving.deserialize_keras_object(config["encoder"])})


def encoder_depths(model: keras.Model) -> dict[str, int]:
    """Return how deep each weight of a model with an `encoder` is, by its path.

    0 are the embeddings, i layer i, and one more what is above the layers.
    """
    encoder = model.encoder
    depth = {id(w): i for i, layer in enumerate(encoder.stack, start=1) for w in layer.trainable_variables}
    parts = [part for part in (getattr(encoder, "pooler", None), encoder.final_norm) if part]
    below = {id(w) for w in encoder.trainable_variables}
    below -= {id(w) for part in parts for w in part.trainable_variables}
    above = len(encoder.stack) + 1
    return {w.path: depth.get(id(w), 0 if id(w) in below else above) for w in model.trainable_variables}


def _ids_and_segments(inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor | None]:
    if not isinstance(inputs, Mapping):
        return inputs, None
    if "ids" not in inputs or set(inputs) - {"ids", "segments"}:
        raise ValueError(f"inputs must be ids, or a mapping of ids and segments, got {', '.join(sorted(inputs))}")
    return inputs["ids"], inputs.get("segments")


@keras.saving.register_keras_serializable(package="transformer")
class Classifier(_EncoderModel):
    """A label of a row, or of a pair of texts in one row.

    dropout(pooled) W + b, where pooled is the encoder's pooler on the first state, or the mean of all real states.

    Args:
        encoder: a `BertEncoder`.
        num_classes: C.
        rate: dropout rate before the head.
        pooling: 'first' or 'mean'.
        outputs: 'logits'; 'softmax': probabilities of C classes of which one is right; 'sigmoid': of each class alone.

    Call: `classifier(inputs, training)` with ids (B, T), padded with 0, or a mapping of `ids` and `segments`. Returns
    (B, C), float32.

    Raises:
        ValueError: a size out of range, an unknown `pooling` or `outputs`, or other inputs.

    Source: Devlin et al. 2019, section 4.1; mean pooling Reimers and Gurevych 2019, section 3.
    """

    def __init__(
        self,
        encoder: BertEncoder,
        num_classes: int,
        rate: float = 0.1,
        pooling: str = "first",
        outputs: str = "logits",
        **others: Any,
    ) -> None:
        super().__init__(encoder, num_classes, rate, **others)
        require_choice("pooling", pooling, POOLINGS)
        require_choice("outputs", outputs, OUTPUTS)
        self.num_classes, self.pooling, self.outputs_kind = num_classes, pooling, outputs

    def call(self, inputs: Inputs, training: bool | None = None) -> tf.Tensor:
        states = self.states(inputs, training)
        if self.pooling == "first":
            pooled = self.encoder.pool(states)
        else:
            real = tf.cast(_ids_and_segments(inputs)[0] != PAD_ID, states.dtype)[:, :, tf.newaxis]  # (B, T, 1)
            pooled = tf.math.divide_no_nan(tf.reduce_sum(states * real, axis=1), tf.reduce_sum(real, axis=1))
        logits = self.project(pooled, training)
        if self.outputs_kind == "softmax":
            return tf.nn.softmax(logits)
        return tf.nn.sigmoid(logits) if self.outputs_kind == "sigmoid" else logits

    def get_config(self) -> dict[str, Any]:
        own = {"num_classes": self.num_classes, "pooling": self.pooling, "outputs": self.outputs_kind}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="transformer")
class Tagger(_EncoderModel):
    """A tag of each token: dropout(state) W + b.

    Args:
        encoder: a `BertEncoder`.
        num_tags: C.
        rate: dropout rate before the head.

    Call: `tagger(inputs, training)` as `Classifier`. Returns logits (B, T, C), float32.

    Source: Devlin et al. 2019, section 5.3.
    """

    def __init__(self, encoder: BertEncoder, num_tags: int, rate: float = 0.1, **others: Any) -> None:
        super().__init__(encoder, num_tags, rate, **others)
        self.num_tags = num_tags

    def call(self, inputs: Inputs, training: bool | None = None) -> tf.Tensor:
        return self.project(self.states(inputs, training), training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_tags": self.num_tags}


@keras.saving.register_keras_serializable(package="transformer")
class SpanFinder(_EncoderModel):
    """Where in the second text of a pair the answer to the first begins and ends; the first token: there is none.

    Args:
        encoder: a `BertEncoder`.
        rate: dropout rate before the head.

    Attributes:
        threshold: scalar, by how much the best answer's score must exceed that of none. It is saved with the weights,
            and chosen on validation examples, not by gradients.

    Call: `finder(inputs, training)` with a mapping of `ids` and `segments`, 1 in the second text. Returns logits
    (B, T, 2), float32, of each token as the first and as the last one of the answer; `HIDDEN_LOGIT` outside the second
    text, but for the first token.

    Source: Devlin et al. 2019, sections 4.2 and 4.3.
    """

    def __init__(self, encoder: BertEncoder, rate: float = 0.1, **others: Any) -> None:
        super().__init__(encoder, 2, rate, **others)

    def build(self, inputs_shape: Any = None) -> None:
        self.threshold = self.add_weight(shape=(), initializer="zeros", dtype="float32", name="threshold")
        super().build(inputs_shape)

    def call(self, inputs: Inputs, training: bool | None = None) -> tf.Tensor:
        logits = self.project(self.states(inputs, training), training)
        ids, segments = _ids_and_segments(inputs)
        if segments is None:
            raise ValueError(f"{self.name} needs segments, which tell the text from the question")
        allowed = (segments == 1) & (ids != END_ID) & (ids != PAD_ID)  # (B, T)
        first = tf.range(tf.shape(ids)[1]) == 0
        return tf.where((allowed | first)[:, :, tf.newaxis], logits, HIDDEN_LOGIT)
