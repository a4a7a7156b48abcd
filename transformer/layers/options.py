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
        activation: of the feed-forward network, by its Keras name.
        attention_rate: dropout rate on the attention weights.
        feed_forward_rate: dropout rate after the activation.
        norm_first: pre-norm (Xiong et al. 2020) instead of the paper's post-norm.
    """

    d_model: int
    num_heads: int
    dff: int
    rate: float
    activation: str = "relu"
    attention_rate: float = 0.0
    feed_forward_rate: float = 0.0
    norm_first: bool = False

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
