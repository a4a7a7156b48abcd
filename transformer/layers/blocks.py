"""The feed-forward network and the encoder and decoder layers.

Axes: B batch, T target/query, S source/key, H heads, D model width, F feed-forward width, K head width.
"""

from typing import Any

import keras
import tensorflow as tf

from transformer.layers.activations import activation_of
from transformer.layers.attention import Cache, MultiHeadAttention
from transformer.layers.cache import LayerCache, Memory, memorise
from transformer.layers.checks import Shape, check_sizes
from transformer.layers.fused import Dropout, LayerNormalization, RMSNormalization
from transformer.layers.keras_call import PositionalCallMixin
from transformer.layers.options import LayerOptions
from transformer.layers.positions_base import Positions, restored, stored

NORM_EPSILON = 1e-6  # document 000, section 5.2.3; the default of `LayerOptions.norm_epsilon`
Norm = LayerNormalization | RMSNormalization


def norm_of(options: LayerOptions, **others: Any) -> Norm:
    """Return a normalisation of the kind that the options name.

    Raises:
        ValueError: `norm` is unknown.
    """
    if options.norm not in ("layer", "rms"):
        raise ValueError(f"norm must be 'layer' or 'rms', got {options.norm!r}")
    if options.norm == "rms":
        return RMSNormalization(epsilon=options.norm_epsilon, **others)
    return LayerNormalization(epsilon=options.norm_epsilon, center=options.use_bias, **others)


@keras.saving.register_keras_serializable(package="transformer")
class GatedDense(keras.layers.Layer):
    """activation(x W_g + b_g) * (x W_u + b_u): the first half of a gated feed-forward network.

    Args:
        units: width F of the output.
        activation: see `LayerOptions`.
        use_bias: whether there are b_g and b_u.

    Call: `layer(x)` with x (..., D). Returns (..., F).

    Source: Shazeer 2020, "GLU Variants Improve Transformer", equations 5 and 6.
    """

    def __init__(self, units: int, activation: str = "silu", use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.activation, self.use_bias = units, activation, use_bias
        both = {"use_bias": use_bias, "dtype": self.dtype_policy}
        self.gate = keras.layers.Dense(units, activation=activation_of(activation), name="gate", **both)
        self.up = keras.layers.Dense(units, name="up", **both)

    def build(self, input_shape: Shape) -> None:
        self.gate.build(input_shape)
        self.up.build(input_shape)
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.gate(x) * self.up(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "activation": self.activation, "use_bias": self.use_bias}
        return {**super().get_config(), **own}


def point_wise_feed_forward_network(
    d_model: int,
    dff: int,
    activation: str = "relu",
    rate: float = 0.0,
    dtype: str | keras.DTypePolicy | None = None,
    name: str = "ffn",
    gated: bool = False,
    use_bias: bool = True,
) -> keras.Sequential:
    """Return FFN(x) = activation(x W_1 + b_1) W_2 + b_2, applied to each position alone: (B, T, D) -> (B, T, D).

    Args:
        d_model: width D.
        dff: inner width F.
        activation: any name Keras knows, or 'gelu_tanh'; the paper's is `relu`.
        rate: dropout rate after the activation (0 in the paper).
        dtype: Keras dtype or policy.
        name: name of the returned model.
        gated: `GatedDense` takes the place of activation(x W_1 + b_1).
        use_bias: whether there are b_1 and b_2.

    Raises:
        ValueError: a width below 1, an unknown activation or a rate outside 0 .. 1.

    Source: Vaswani et al. 2017, section 3.3; document 001, section 4.1.3.
    """
    check_sizes(d_model=d_model, dff=dff)
    inner: dict[str, Any] = {"use_bias": use_bias, "dtype": dtype, "name": "inner"}
    layers = [
        GatedDense(dff, activation, **inner)
        if gated
        else keras.layers.Dense(dff, activation=activation_of(activation), **inner),
        keras.layers.Dense(d_model, use_bias=use_bias, dtype=dtype, name="outer"),
    ]
    if rate:
        layers.insert(1, Dropout(rate, dtype=dtype, name="dropout"))
    network = keras.Sequential(layers, name=name)
    # Sequential takes no dtype, and would cast its input to the global one.
    network.dtype_policy = layers[0].dtype_policy
    return network


class _ResidualLayer(PositionalCallMixin, keras.layers.Layer):
    """What encoder and decoder layers share: their arguments, and the residual connection around a sub-layer.

    Post-norm (the paper): norm(x + dropout(sublayer(x))). Pre-norm (Xiong et al. 2020): x + dropout(sublayer(norm(x))).
    """

    def __init__(
        self, d_model: int, num_heads: int, dff: int, rate: float, positions: Any, others: dict[str, Any]
    ) -> None:
        self.options, others = LayerOptions.split(d_model, num_heads, dff, rate, others)
        super().__init__(**others)
        self.positions = restored(positions)
        self.ffn = point_wise_feed_forward_network(
            d_model,
            dff,
            self.options.activation,
            self.options.feed_forward_rate,
            self.dtype_policy,
            gated=self.options.gated,
            use_bias=self.options.use_bias,
        )

    def _attention(self, name: str, positions: Positions | None = None) -> MultiHeadAttention:
        options = self.options
        return MultiHeadAttention(
            options.d_model,
            options.num_heads,
            options.attention_rate,
            positions,
            num_kv_heads=options.num_kv_heads,
            use_bias=options.use_bias,
            dtype=self.dtype_policy,
            name=name,
        )

    def _norms(self, count: int) -> list[Norm]:
        return [norm_of(self.options, dtype=self.dtype_policy, name=f"layernorm{i + 1}") for i in range(count)]

    def _dropouts(self, count: int) -> list[Dropout]:
        return [Dropout(self.options.rate, dtype=self.dtype_policy, name=f"dropout{i + 1}") for i in range(count)]

    def _build_on(self, *layers: keras.layers.Layer) -> None:
        for layer in layers:
            layer.build((None, None, self.options.d_model))
        self.built = True

    def _enter(self, norm: Norm, x: tf.Tensor) -> tf.Tensor:
        """What the sub-layer sees."""
        return norm(x) if self.options.norm_first else x

    def _leave(
        self,
        norm: Norm,
        dropout: Dropout,
        x: tf.Tensor,
        output: tf.Tensor,
        training: bool | None,
    ) -> tf.Tensor:
        """The residual connection around the sub-layer's output."""
        x = x + dropout(output, training=training)
        return x if self.options.norm_first else norm(x)

    def _feed_forward(self, norm: Norm, dropout: Dropout, x: tf.Tensor, training: bool | None) -> tf.Tensor:
        """The sub-layer of the feed-forward network, for x (B, T, D) or (B * T, D)."""
        output = self._enter(norm, x)
        for layer in self.ffn.layers:  # the Sequential itself takes three axes only
            output = layer(output, training=training) if isinstance(layer, Dropout) else layer(output)
        return self._leave(norm, dropout, x, output, training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options.arguments(), "positions": stored(self.positions)}


@keras.saving.register_keras_serializable(package="transformer")
class EncoderLayer(_ResidualLayer):
    """Self-attention and a feed-forward network, each inside a residual connection with layer normalisation.

    Args:
        d_model, num_heads, dff, rate, **options: see `LayerOptions`.
        positions: what the self-attention asks of positions; None: nothing.

    Call: `layer(x, training, mask)` with x (B, S, D) and a boolean mask broadcastable to (B, H, S, S).
    Returns (B, S, D).

    Given a `cache`, x are the current tokens of W hypotheses per sentence, (B * W, D), as the output is.

    Raises:
        ValueError: a size or rate out of range, `d_model` no multiple of `num_heads`, or a mask that is not boolean.

    Source: Vaswani et al. 2017, sections 3.1 and 5.4; document 000, section 5.2.3. Pre-norm: Xiong et al. 2020.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        dff: int,
        rate: float = 0.1,
        *,
        positions: Positions | None = None,
        **options: Any,
    ) -> None:
        super().__init__(d_model, num_heads, dff, rate, positions, options)
        self.mha = self._attention("mha", self.positions)
        self.layernorm1, self.layernorm2 = self._norms(2)
        self.dropout1, self.dropout2 = self._dropouts(2)

    def build(self, input_shape: Shape | None = None) -> None:
        self._build_on(self.mha, self.ffn, self.layernorm1, self.layernorm2)

    def call(
        self,
        x: tf.Tensor,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
        cache: Cache | None = None,
    ) -> tf.Tensor:
        entered = self._enter(self.layernorm1, x)
        attn_output, _ = self.mha(entered, entered, entered, mask=mask, training=training, cache=cache)
        x = self._leave(self.layernorm1, self.dropout1, x, attn_output, training)
        return self._feed_forward(self.layernorm2, self.dropout2, x, training)


@keras.saving.register_keras_serializable(package="transformer")
class DecoderLayer(_ResidualLayer):
    """Masked self-attention, attention over the encoder output and a feed-forward network, each a residual.

    Args:
        d_model, num_heads, dff, rate, positions, **options: as `EncoderLayer`.

    Call: `layer(x, enc_output, training, look_ahead_mask, padding_mask)` with x (B, T, D), enc_output (B, S, D), and
    boolean masks broadcastable to (B, H, T, T) and (B, H, T, S).
    Returns output (B, T, D), self-attention weights (B, H, T, T) and cross-attention weights (B, H, T, S).

    Given a `cache`, x are the current tokens of W hypotheses per sentence, (B * W, D), enc_output is not read, and
    the output is (B * W, D), the weights (B, H, W, T * W) and (B, H, W, S).

    Raises:
        ValueError: as `EncoderLayer`.

    Source: Vaswani et al. 2017, sections 3.1 and 5.4; document 000, section 5.2.3. Pre-norm: Xiong et al. 2020.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        dff: int,
        rate: float = 0.1,
        *,
        positions: Positions | None = None,
        **options: Any,
    ) -> None:
        super().__init__(d_model, num_heads, dff, rate, positions, options)
        self.mha1 = self._attention("mha1", self.positions)
        self.mha2 = self._attention("mha2")
        self.layernorm1, self.layernorm2, self.layernorm3 = self._norms(3)
        self.dropout1, self.dropout2, self.dropout3 = self._dropouts(3)

    def build(self, x_shape: Shape | None = None, enc_output_shape: Shape | None = None) -> None:
        self._build_on(self.mha1, self.mha2, self.ffn, self.layernorm1, self.layernorm2, self.layernorm3)

    def call(
        self,
        x: tf.Tensor,
        enc_output: tf.Tensor,
        training: bool | None = None,
        look_ahead_mask: tf.Tensor | None = None,
        padding_mask: tf.Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        own, source = cache or (None, None)
        entered = self._enter(self.layernorm1, x)
        attn1, weights1 = self.mha1(entered, entered, entered, mask=look_ahead_mask, training=training, cache=own)
        x = self._leave(self.layernorm1, self.dropout1, x, attn1, training)
        entered = self._enter(self.layernorm2, x)
        attn2, weights2 = self.mha2(enc_output, enc_output, entered, mask=padding_mask, training=training, cache=source)
        x = self._leave(self.layernorm2, self.dropout2, x, attn2, training)
        return self._feed_forward(self.layernorm3, self.dropout3, x, training), weights1, weights2

    def start(self, enc_output: tf.Tensor) -> Memory:
        """Return what a cache needs of the encoder output (B, S, D)."""
        return memorise(self.mha1, self.mha2, enc_output)
