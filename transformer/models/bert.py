"""BERT: an encoder that reads a text from both sides, and the two heads that it is pre-trained with.

Axes: B batch, T tokens of a row, P masked places of a row, D model width, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from transformer.config.checks import require_choice
from transformer.layers.activations import activation_of
from transformer.layers.blocks import EncoderLayer, norm_of
from transformer.layers.checks import Shape, check_mask, check_sizes
from transformer.layers.embedding import TokenEmbedding
from transformer.layers.fused import Dropout
from transformer.layers.keras_call import PositionalCallMixin
from transformer.layers.masks import create_padding_mask
from transformer.layers.options import LayerOptions
from transformer.layers.positions import KINDS, positions_of

ACTIVATION = "gelu"  # with the error function (Devlin et al. 2019, appendix A.2)
FIRST_STDDEV = 0.02  # of the positions' and segments' vectors (Devlin et al. 2019, the published code)
SEGMENTS = ("token_type_ids", "segment_ids")  # names under which inputs may give them
LABELS = ("masked_lm_ids", "masked_lm_weights", "next_sentence_label", "next_sentence_labels")  # that losses read
INPUTS = ("input_ids", *SEGMENTS, "attention_mask", "input_mask", "masked_lm_positions", *LABELS)


@keras.saving.register_keras_serializable(package="transformer")
class BertEncoder(PositionalCallMixin, keras.layers.Layer):
    """A stack of self-attention layers in which each token sees the whole row; a pooler reads its first token.

    x = dropout(norm(token + position + segment)), then `num_layers` times `EncoderLayer`. pooled = tanh(x_0 W + b).

    Args:
        num_layers: number of layers.
        d_model, num_heads, dff, rate, **options: see `LayerOptions`; `rate` also applies to the embeddings, and the
            activation is 'gelu' where none is given.
        vocab_size: number of tokens V.
        maximum_position_encoding: longest row, in tokens.
        num_segments: number of kinds of segment; the first and second sentence of a pair are 0 and 1.
        positions: name of what tells positions, one of `layers.positions.KINDS`.
        pooler: whether there is one.

    Call: `encoder(ids, segments, training, mask)` with ids (B, T), segments (B, T) below `num_segments`, None: all of
    them 0, and a boolean mask broadcastable to (B, 1, T, T), which hides more than padding (id 0); None: nothing.
    Returns states (B, T, D).

    `pool(states)` returns (B, D). `embedding` holds the token vectors, `stack` the list of layers.

    Raises:
        ValueError: a size or rate out of range, `positions` or `norm` unknown, ids that are too long, a mask that is
            not boolean, or `pool` of an encoder without a pooler.

    Source: Devlin et al. 2019, sections 3 and 3.1; the layers are those of Vaswani et al. 2017. Document 001, section
        5.2.1.
    Deviation: with `norm_first` a final norm follows the stack (Xiong et al. 2020); the embeddings keep theirs.
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        num_heads: int,
        dff: int,
        vocab_size: int,
        maximum_position_encoding: int,
        rate: float = 0.1,
        *,
        num_segments: int = 2,
        positions: str = "learned",
        pooler: bool = True,
        **options: Any,
    ) -> None:
        options = {"activation": ACTIVATION, **options}
        layer_options, others = LayerOptions.split(d_model, num_heads, dff, rate, options)
        super().__init__(**others)
        require_choice("positions", positions, tuple(KINDS))
        sizes = {
            "num_layers": num_layers,
            "vocab_size": vocab_size,
            "maximum_position_encoding": maximum_position_encoding,
            "num_segments": num_segments,
        }
        check_sizes(**sizes)
        self.arguments = {**layer_options.arguments(), **sizes, "positions": positions, "pooler": pooler}
        self.options, self.vocab_size, self.longest = layer_options, vocab_size, maximum_position_encoding
        self.num_segments = num_segments
        policy = self.dtype_policy
        self.embedding = TokenEmbedding(vocab_size, d_model, scale=False, dtype=policy, name="embedding")
        start = {"stddev": FIRST_STDDEV} if positions == "learned" else {}
        self.positions, of_layers = positions_of(
            positions, self.longest, layer_options, num_layers, True, dtype=policy, name="positions", **start
        )
        self.embedding_norm = norm_of(layer_options, dtype=policy, name="embedding_norm")
        self.dropout = Dropout(rate, dtype=policy, name="dropout")
        self.stack = [
            EncoderLayer(**layer_options.arguments(), positions=each, dtype=policy, name=f"layer{i}")
            for i, each in enumerate(of_layers, start=1)
        ]
        self.final_norm = norm_of(layer_options, dtype=policy, name="final_norm") if layer_options.norm_first else None
        self.pooler = keras.layers.Dense(d_model, activation="tanh", dtype=policy, name="pooler") if pooler else None

    def build(self, ids_shape: Shape | None = None, segments_shape: Shape | None = None) -> None:
        width = self.options.d_model
        self.embedding.build()
        self.segment_vectors = self.add_weight(
            shape=(self.num_segments, width),
            initializer=keras.initializers.RandomNormal(stddev=FIRST_STDDEV),
            name="segment_vectors",
        )
        self.positions.build()
        for layer in self.stack:
            layer.build()
        for part in (self.embedding_norm, self.final_norm):
            if part:
                part.build((None, None, width))
        if self.pooler:
            self.pooler.build((None, width))
        self.built = True

    def embed(self, ids: tf.Tensor, segments: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        """Return what the first layer reads: (B, T) -> (B, T, D); arguments as of the call."""
        if (ids.shape[1] or 0) > self.longest:
            raise ValueError(
                f"{self.name}: ids must be at most maximum_position_encoding={self.longest} tokens long, "
                f"got {ids.shape[1]}"
            )
        x = self.embedding(ids)
        vectors = tf.cast(tf.convert_to_tensor(self.segment_vectors), x.dtype)  # (segments, D)
        if segments is None:
            x += vectors[0]
        else:  # a product, whose gradient is one too: a gather's would add up row by row
            x += tf.matmul(tf.one_hot(segments, self.num_segments, dtype=x.dtype), vectors)
        return self.dropout(self.embedding_norm(self.positions.embed(x, 0)), training=training)

    def call(
        self,
        ids: tf.Tensor,
        segments: tf.Tensor | None = None,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        check_mask(mask)
        real = create_padding_mask(ids)  # (B, 1, 1, T)
        visible = real if mask is None else real & mask
        x = self.embed(ids, segments, training)
        for layer in self.stack:
            x = layer(x, training=training, mask=visible)
        return self.final_norm(x) if self.final_norm else x

    def pool(self, states: tf.Tensor) -> tf.Tensor:
        """Return the summary of each row: states (B, T, D) -> (B, D)."""
        if not self.pooler:
            raise ValueError(f"{self.name} has no pooler; build it with pooler=True")
        return self.pooler(states[:, 0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.arguments}


@keras.saving.register_keras_serializable(package="transformer")
class MaskedLMHead(PositionalCallMixin, keras.layers.Layer):
    """Logits of what stands at a masked place: norm(activation(x W + b)) E^T + c, with the table E of the embedding.

    Args:
        options: of the encoder's layers.
        vocab_size: number of tokens V.

    Call: `head(states, table)` with states (..., D) and table (V, D). Returns logits (..., V), float32.

    `transform(states)` returns what is projected, (..., D), and `bias` is c, (V,).

    Source: Devlin et al. 2019, section 3.1, Task 1, and the published code, which the paper leaves details to.
    """

    def __init__(self, options: LayerOptions | Mapping[str, Any], vocab_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_sizes(vocab_size=vocab_size)
        self.options = options if isinstance(options, LayerOptions) else LayerOptions(**options)
        self.vocab_size, policy = vocab_size, self.dtype_policy
        activation = activation_of(self.options.activation)
        self.dense = keras.layers.Dense(self.options.d_model, activation=activation, dtype=policy, name="dense")
        self.norm = norm_of(self.options, dtype=policy, name="norm")

    def build(self, states_shape: Shape | None = None, table_shape: Shape | None = None) -> None:
        for part in (self.dense, self.norm):
            part.build((None, self.options.d_model))
        self.bias = self.add_weight(shape=(self.vocab_size,), initializer="zeros", autocast=False, name="bias")
        self.built = True

    def transform(self, states: tf.Tensor) -> tf.Tensor:
        """Return what is projected onto the table: (..., D) -> (..., D)."""
        return self.norm(self.dense(states))

    def call(self, states: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
        x = self.transform(states)
        logits = tf.tensordot(x, tf.cast(table, x.dtype), [[-1], [1]])
        return tf.cast(logits, tf.float32) + tf.convert_to_tensor(self.bias)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "options": self.options.arguments(), "vocab_size": self.vocab_size}


@keras.saving.register_keras_serializable(package="transformer")
class BERT(PositionalCallMixin, keras.Model):
    """A `BertEncoder` with a masked-LM head and a next-sentence head.

    Args:
        num_layers, d_model, num_heads, dff, vocab_size, maximum_position_encoding, rate: see `BertEncoder`.
        num_segments, positions, pooler, **options: likewise.
        next_sentence: whether there is a next-sentence head, which needs the pooler.

    Call: `bert(inputs, training)` with a mapping of integer tensors: `input_ids` (B, T), and, where there are any,
    `token_type_ids` or `segment_ids` (B, T), `attention_mask` or `input_mask` (B, T), 0 = hidden in addition to
    padding, and `masked_lm_positions` (B, P). Labels beside them, as document 001 has them, are not read.
    Returns masked-LM logits (B, P, V) at those places, or (B, T, V) at all where none are given, and next-sentence
    logits (B, 2), 0 = is next; (B, 0) without that head. Both are float32.

    Raises:
        ValueError: as `BertEncoder`; inputs without `input_ids`, with a name that is not known, or with two names for
            the same; `next_sentence` without a pooler.

    Source: Devlin et al. 2019, section 3.1; document 001, section 5.2.
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        num_heads: int,
        dff: int,
        vocab_size: int,
        maximum_position_encoding: int,
        rate: float = 0.1,
        *,
        num_segments: int = 2,
        positions: str = "learned",
        pooler: bool = True,
        next_sentence: bool = True,
        **options: Any,
    ) -> None:
        layer_options, others = LayerOptions.split(d_model, num_heads, dff, rate, {"activation": ACTIVATION, **options})
        super().__init__(**others)
        if next_sentence and not pooler:
            raise ValueError("next_sentence=True needs pooler=True: that head reads the pooled state")
        policy = self.dtype_policy
        self.encoder = BertEncoder(
            num_layers,
            vocab_size=vocab_size,
            maximum_position_encoding=maximum_position_encoding,
            num_segments=num_segments,
            positions=positions,
            pooler=pooler,
            **layer_options.arguments(),
            dtype=policy,
            name="encoder",
        )
        self.masked_lm = MaskedLMHead(layer_options, vocab_size, dtype=policy, name="masked_lm")
        self.next_sentence = keras.layers.Dense(2, dtype=policy, name="next_sentence") if next_sentence else None

    def build(self, inputs_shape: Any = None) -> None:
        self.encoder.build()
        self.masked_lm.build()
        if self.next_sentence:
            self.next_sentence.build((None, self.encoder.options.d_model))
        self.built = True

    def masked_logits(self, states: tf.Tensor) -> tf.Tensor:
        """Return the logits (..., V) of what stands at places with these states (..., D)."""
        return self.masked_lm(states, tf.convert_to_tensor(self.encoder.embedding.embeddings))

    def next_sentence_logits(self, states: tf.Tensor) -> tf.Tensor:
        """Return (B, 2) of the states (B, T, D) of pairs, float32: is the second sentence the next, or is it not?"""
        if not self.next_sentence:
            return tf.zeros((tf.shape(states)[0], 0))
        return tf.cast(self.next_sentence(self.encoder.pool(states)), tf.float32)

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        if unknown := sorted(set(inputs) - set(INPUTS)):
            raise ValueError(f"inputs of {self.name} must be among {', '.join(INPUTS)}; got {', '.join(unknown)}")
        ids = _one_of(inputs, "input_ids")
        if ids is None:
            raise ValueError(f"inputs of {self.name} must have input_ids (B, T), got {', '.join(sorted(inputs))}")
        shown = _one_of(inputs, "attention_mask", "input_mask")
        mask = None if shown is None else tf.cast(shown, tf.bool)[:, tf.newaxis, tf.newaxis]  # (B, 1, 1, T)
        states = self.encoder(ids, _one_of(inputs, *SEGMENTS), training=training, mask=mask)
        places = inputs.get("masked_lm_positions")
        masked = states if places is None else tf.gather(states, places, batch_dims=1)  # (B, P, D)
        return self.masked_logits(masked), self.next_sentence_logits(states)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.encoder.arguments, "next_sentence": self.next_sentence is not None}


def _one_of(inputs: Mapping[str, tf.Tensor], *names: str) -> tf.Tensor | None:
    """Return the input that has one of these names, or None."""
    found = [name for name in names if name in inputs]
    if len(found) > 1:
        raise ValueError(f"inputs must have only one of {' and '.join(found)}, which mean the same")
    return inputs[found[0]] if found else None
