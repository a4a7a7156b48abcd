"""The section [model] of a config as the arguments that GPT and BERT have in common."""

from typing import Any

from transformer.config.settings import ModelConfig


def network_sizes(model: ModelConfig) -> dict[str, Any]:
    """Return the arguments: sizes, positions, and those of `LayerOptions`."""
    return {
        "num_layers": model.num_layers,
        "d_model": model.d_model,
        "num_heads": model.num_heads,
        "dff": model.dff,
        "maximum_position_encoding": model.max_positions,
        "rate": model.dropout_rate,
        "positions": model.positions,
        "activation": model.activation,
        "attention_rate": model.attention_dropout_rate,
        "feed_forward_rate": model.feed_forward_dropout_rate,
        "norm_first": model.norm_first,
        "norm": model.norm,
        "norm_epsilon": model.norm_epsilon,
        "gated": model.gated,
        "use_bias": model.use_bias,
        "num_kv_heads": model.num_kv_heads,
        "rotary_base": model.rotary_base,
        "relative_distance": model.relative_distance,
        "relative_buckets": model.relative_buckets,
        "relative_values": model.relative_values,
    }
