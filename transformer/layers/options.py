"""The sizes and options of a layer, which stacks and models hand on."""

import dataclasses
from typing import Any, Self


@dataclasses.dataclass(frozen=True)
class LayerOptions:
    """What all layers of a model share.

    `EncoderLayer`, `DecoderLayer`, their stacks and `Transformer` take these as arguments by their names here.

    Attributes:
        d_model: width D.
        num_heads: number of heads H.
        dff: inner width F of the feed-forward network.
        rate: dropout rate on each sub-layer's output.
        activation: of the feed-forward network, by its Keras name, or 'gelu_tanh'.
        attention_rate: dropout rate on the attention weights.
        feed_forward_rate: dropout rate after the activation.
        norm_first: pre-norm (Xiong et al. 2020) instead of the paper's post-norm.
        norm: 'layer' (Ba et al. 2016) or 'rms' (Zhang and Sennrich 2019).
        norm_epsilon: added to the variance, or to the mean square.
        gated: a gated feed-forward network (Shazeer 2020); with the activation 'silu' it is SwiGLU.
        use_bias: biases of all dense layers and norms.
        num_kv_heads: heads of keys and values, each shared by as many heads of queries (Ainslie et al. 2023); 0: all H.
        rotary_base: of the angles where positions are rotary.
        relative_distance: how far tokens are apart at most whose distance counts, where positions are 'relative_bias'
            or 'relative_keys'; 0: 128 (Raffel et al. 2020) and 16 (Shaw et al. 2018).
        relative_buckets: of distances where positions are 'relative_bias'.
        relative_values: whether 'relative_keys' adds to the values too.
    """

    d_model: int
    num_heads: int
    dff: int
    rate: float
    activation: str = "relu"
    attention_rate: float = 0.0
    feed_forward_rate: float = 0.0
    norm_first: bool = False
    norm: str = "layer"
    norm_epsilon: float = 1e-6
    gated: bool = False
    use_bias: bool = True
    num_kv_heads: int = 0
    rotary_base: float = 10000.0
    relative_distance: int = 0
    relative_buckets: int = 32
    relative_values: bool = True

    @classmethod
    def split(
        cls, d_model: int, num_heads: int, dff: int, rate: float, others: dict[str, Any]
    ) -> tuple[Self, dict[str, Any]]:
        """Return the options, and which of the other arguments are none: those of the Keras class, such as `name`."""
        names = {field.name for field in dataclasses.fields(cls)}
        options = cls(d_model, num_heads, dff, rate, **{name: others[name] for name in others if name in names})
        return options, {name: value for name, value in others.items() if name not in names}

    def arguments(self) -> dict[str, Any]:
        """Return them as arguments by name."""
        return dataclasses.asdict(self)
