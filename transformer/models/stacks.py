"""The encoder and the decoder: embeddings, positions and a stack of layers.

Axes: B batch, T target/query, S source/key, H heads, D model width, K head width, V vocabulary, W hypotheses per
sentence.
"""

from typing import Any

import keras
import tensorflow as tf

from transformer.config.checks import require_choice
from transformer.layers.attention import KeysValues
from transformer.layers.blocks import DecoderLayer, EncoderLayer, norm_of
from transformer.layers.cache import LayerCache, Memory, OwnTokens, SourceTokens, visible_columns
from transformer.layers.checks import Shape, check_sizes
from transformer.layers.embedding import TokenEmbedding
from transformer.layers.fused import Dropout
from transformer.layers.keras_call import PositionalCallMixin
from transformer.layers.options import LayerOptions
from transformer.layers.positions import KINDS, positions_of


class _Stack(PositionalCallMixin, keras.layers.Layer):
    """What encoder and decoder share: embedding, positions, dropout, and a final norm where the layers are pre-norm."""

    layer_class: type[keras.layers.Layer]
    bidirectional: bool  # whether a token sees those behind it too

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        num_heads: int,
        dff: int,
        vocab_size: int,
        maximum_position_encoding: int,
        rate: float,
        *,
        embedding: TokenEmbedding | None = None,
        positions: str = "sinusoidal",
        **others: Any,
    ) -> None:
        options, others = LayerOptions.split(d_model, num_heads, dff, rate, others)
        super().__init__(**others)
        require_choice("positions", positions, tuple(KINDS))
        check_sizes(num_layers=num_layers, maximum_position_encoding=maximum_position_encoding)
        self.options, self.num_layers, self.vocab_size = options, num_layers, vocab_size
        self.maximum_position_encoding, self.position_kind = maximum_position_encoding, positions
        policy = self.dtype_policy
        self.borrows_embedding = embedding is not None
        self.embedding = embedding or TokenEmbedding(vocab_size, d_model, dtype=policy, name="embedding")
        self.positions, of_layers = positions_of(
            positions,
            maximum_position_encoding,
            options,
            num_layers,
            self.bidirectional,
            dtype=policy,
            name="positions",
        )
        self.dropout = Dropout(rate, dtype=policy, name="dropout")
        self.stack = [
            self.layer_class(**options.arguments(), positions=each, dtype=policy, name=f"layer{i}")
            for i, each in enumerate(of_layers, start=1)
        ]
        self.final_norm = None
        if options.norm_first:  # the residual path of pre-norm layers is never normalised on the way
            self.final_norm = norm_of(options, dtype=policy, name="final_norm")

    def _build_all(self) -> None:
        if not self.embedding.built:
            self.embedding.build()
        self.positions.build()
        for layer in self.stack:
            layer.build()
        if self.final_norm:
            self.final_norm.build((None, None, self.options.d_model))
        self.built = True

    def embed(self, ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Return embeddings plus positions, with dropout: (B, T) -> (B, T, D).

        Args:
            ids: (B, T).
            training: whether dropout is active.

        Raises:
            ValueError: `ids` are longer than `maximum_position_encoding`, as far as their shape is known.
        """
        if (ids.shape[1] or 0) > self.maximum_position_encoding:
            raise ValueError(
                f"{self.name}: ids must be at most maximum_position_encoding={self.maximum_position_encoding} tokens "
                f"long, got {ids.shape[1]}"
            )
        return self.dropout(self.positions.embed(self.embedding(ids), 0), training=training)

    def finish(self, x: tf.Tensor) -> tf.Tensor:
        """Apply the final norm of a pre-norm stack."""
        return self.final_norm(x) if self.final_norm else x

    def get_config(self) -> dict[str, Any]:
        if self.borrows_embedding:
            raise ValueError(f"{self.name} borrows its embedding, so it is saved by the model that holds it, not alone")
        return {
            **super().get_config(),
            **self.options.arguments(),
            "num_layers": self.num_layers,
            "maximum_position_encoding": self.maximum_position_encoding,
            "positions": self.position_kind,
        }


@keras.saving.register_keras_serializable(package="transformer")
class Encoder(_Stack):
    """Embedding, positional encoding and `num_layers` encoder layers; a final layer norm where they are pre-norm.

    Args:
        num_layers: number of layers.
        d_model, num_heads, dff, rate, **options: see `LayerOptions`; `rate` also applies to the embeddings.
        input_vocab_size: number of source tokens V.
        maximum_position_encoding: longest sequence, in tokens.
        embedding: a `TokenEmbedding` to share, or None for its own.
        positions: name of what tells positions, one of `layers.positions.KINDS`.

    Call: `encoder(x, training, mask)` with ids x (B, S) and a boolean mask broadcastable to (B, H, S, S).
    Returns (B, S, D).

    Raises:
        ValueError: a size or rate out of range, ids that are too long, or a mask that is not boolean.

    Source: Vaswani et al. 2017, section 3.1; document 000, section 5.2.3 (layers only). Final norm: Xiong et al. 2020.
    """

    layer_class, bidirectional = EncoderLayer, True

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        num_heads: int,
        dff: int,
        input_vocab_size: int,
        maximum_position_encoding: int,
        rate: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(
            num_layers, d_model, num_heads, dff, input_vocab_size, maximum_position_encoding, rate, **options
        )

    def build(self, x_shape: Shape | None = None) -> None:
        self._build_all()

    def call(self, x: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        x = self.embed(x, training)
        for layer in self.stack:
            x = layer(x, training=training, mask=mask)
        return self.finish(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_vocab_size": self.vocab_size}


@keras.saving.register_keras_serializable(package="transformer")
class Decoder(_Stack):
    """Embedding, positional encoding and `num_layers` decoder layers; a final layer norm where they are pre-norm.

    Args:
        target_vocab_size: number of target tokens V.
        num_layers, d_model, num_heads, dff, maximum_position_encoding, rate, embedding, positions, **options: as
            `Encoder`.

    Call: `decoder(x, enc_output, training, look_ahead_mask, padding_mask)` with ids x (B, T), enc_output (B, S, D) and
    boolean masks broadcastable to (B, H, T, T) and (B, H, T, S).
    Returns (B, T, D) and the attention weights, a dict: `decoder_layer{i}_block1` is the self-attention (B, H, T, T) of
    layer i, counted from 1, and `decoder_layer{i}_block2` its attention over the encoder output (B, H, T, S).

    `start` and `step` decode token by token with a cache and equal `call`.

    Raises:
        ValueError: as `Encoder`.

    Source: Vaswani et al. 2017, section 3.1; document 000, section 5.2.3 (layers only). Final norm: Xiong et al. 2020.
    """

    layer_class, bidirectional = DecoderLayer, False

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        num_heads: int,
        dff: int,
        target_vocab_size: int,
        maximum_position_encoding: int,
        rate: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(
            num_layers, d_model, num_heads, dff, target_vocab_size, maximum_position_encoding, rate, **options
        )

    def build(self, x_shape: Shape | None = None, enc_output_shape: Shape | None = None) -> None:
        self._build_all()

    def call(
        self,
        x: tf.Tensor,
        enc_output: tf.Tensor,
        training: bool | None = None,
        look_ahead_mask: tf.Tensor | None = None,
        padding_mask: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        attention_weights = {}
        x = self.embed(x, training)
        for i, layer in enumerate(self.stack, start=1):
            x, block1, block2 = layer(
                x, enc_output, training=training, look_ahead_mask=look_ahead_mask, padding_mask=padding_mask
            )
            attention_weights[f"decoder_layer{i}_block1"] = block1
            attention_weights[f"decoder_layer{i}_block2"] = block2
        return self.finish(x), attention_weights

    def start(
        self, enc_output: tf.Tensor, width: tf.Tensor | int, capacity: tf.Tensor | int
    ) -> tuple[list[Memory], list[KeysValues]]:
        """Return what `step` needs before the first token, for each layer: the memory and an empty cache.

        Args:
            enc_output: (B, S, D).
            width: W, hypotheses per sentence.
            capacity: T, tokens of each hypothesis that the cache has places for.

        Returns:
            What `DecoderLayer.start` returns, and keys and values of no token yet, (B, H, T * W, K) each.
        """
        attention = self.stack[0].mha1
        shape = (tf.shape(enc_output)[0], attention.num_kv_heads, capacity * width, attention.depth)
        empty = tf.zeros(shape, enc_output.dtype)
        return [layer.start(enc_output) for layer in self.stack], [(empty, empty) for _ in self.stack]

    def step(
        self,
        ids: tf.Tensor,
        cache: list[KeysValues],
        position: tf.Tensor,
        memory: list[Memory],
        padding_mask: tf.Tensor,
        ancestry: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, list[KeysValues], tf.Tensor]:
        """Decode one token of each of W hypotheses per sentence; equal to `call` at that position.

        Each hypothesis writes into its own column of the cache. Where hypotheses branch off from one another, the
        cache stays as it is and `ancestry` says in whose column a hypothesis' earlier tokens stand.

        Args:
            ids: (B, W), the current token of each hypothesis.
            cache: of the tokens so far, from `start` or the last `step`.
            position: scalar int32, index of the current token, below the cache's T.
            memory: from `start`.
            padding_mask: (B, 1, 1, S) bool.
            ancestry: (B, W, T) int32, the hypotheses in whose columns the tokens up to `position` stand; None: their
                own.

        Returns:
            output (B, W, D), the new cache, and the last layer's attention over the source (B, H, W, S).
        """
        batch, width = tf.shape(ids)[0], ids.shape[1] or tf.shape(ids)[1]
        x = self.embedding(tf.reshape(ids, (-1, 1)))  # (B * W, 1, D); all are at the same position
        x = tf.squeeze(self.positions.embed(x, position), 1)  # (B * W, D)
        visible = visible_columns(position, width, tf.shape(cache[0][0])[2] // width, ancestry)
        new_cache, weights = [], None
        for layer, kept, layer_memory in zip(self.stack, cache, memory, strict=True):
            tokens = LayerCache(OwnTokens(kept, layer_memory.joint, position, width), SourceTokens(layer_memory))
            x, _, weights = layer(x, None, False, visible, padding_mask, cache=tokens)
            new_cache.append(tokens.own.kept)
        return tf.reshape(self.finish(x), (batch, width, self.options.d_model)), new_cache, weights

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_vocab_size": self.vocab_size}
