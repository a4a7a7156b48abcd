"""Llama's layout: weights and settings as transformers' `LlamaForCausalLM` has them.

Its dense layers are (out, in), the transpose of ours; columns i and i + K / 2 turn together, as in `layers.positions`.

Source: Touvron et al. 2023.
"""

from typing import Any

from transformer.config.settings import ModelConfig
from transformer.convert.huggingface.gpt2 import ACTIVATIONS
from transformer.convert.huggingface.settings import Settings
from transformer.convert.huggingface.tables import TOKENS, TOKENS_TRANSPOSED, TRANSPOSED, Layout, Row

MOST_POSITIONS = 2**14  # that `ModelConfig` allows
ROWS = (
    Row("embedding/embeddings", "embed_tokens.weight", TOKENS),
    Row("layer{}/layernorm1/scale", "layers.{}.input_layernorm.weight"),
    Row("layer{}/mha/wq/kernel", "layers.{}.self_attn.q_proj.weight", TRANSPOSED),
    Row("layer{}/mha/wk/kernel", "layers.{}.self_attn.k_proj.weight", TRANSPOSED),
    Row("layer{}/mha/wv/kernel", "layers.{}.self_attn.v_proj.weight", TRANSPOSED),
    Row("layer{}/mha/dense/kernel", "layers.{}.self_attn.o_proj.weight", TRANSPOSED),
    Row("layer{}/mha/wq/bias", "layers.{}.self_attn.q_proj.bias"),
    Row("layer{}/mha/wk/bias", "layers.{}.self_attn.k_proj.bias"),
    Row("layer{}/mha/wv/bias", "layers.{}.self_attn.v_proj.bias"),
    Row("layer{}/mha/dense/bias", "layers.{}.self_attn.o_proj.bias"),
    Row("layer{}/layernorm2/scale", "layers.{}.post_attention_layernorm.weight"),
    Row("layer{}/ffn/inner/gate/kernel", "layers.{}.mlp.gate_proj.weight", TRANSPOSED),
    Row("layer{}/ffn/inner/up/kernel", "layers.{}.mlp.up_proj.weight", TRANSPOSED),
    Row("layer{}/ffn/outer/kernel", "layers.{}.mlp.down_proj.weight", TRANSPOSED),
    Row("layer{}/ffn/inner/gate/bias", "layers.{}.mlp.gate_proj.bias"),
    Row("layer{}/ffn/inner/up/bias", "layers.{}.mlp.up_proj.bias"),
    Row("layer{}/ffn/outer/bias", "layers.{}.mlp.down_proj.bias"),
    Row("final_norm/scale", "norm.weight"),
    Row("final_layer/kernel", "lm_head.weight", TOKENS_TRANSPOSED),
)
FIXED = {
    "norm_first": True,
    "norm": "rms",
    "gated": True,
    "positions": "rotary",
    "scale_embeddings": False,
}


def settings(given: Settings) -> dict[str, Any]:
    """Return the section [model] of a config; a UserError names what is not honoured."""
    width, heads = given.size("hidden_size", 4096), given.size("num_attention_heads", 32)
    if given.size("head_dim", width // heads) * heads != width:
        raise given.refuse("head_dim", f"heads must be hidden_size / num_attention_heads = {width // heads} wide")
    attention_bias, mlp_bias = (given.take(key, False, bool) for key in ("attention_bias", "mlp_bias"))
    positions = given.size("max_position_embeddings", 2048)
    kept = min(positions, MOST_POSITIONS, 2**24 // width)  # fewer read less of a text, and the same
    if kept < positions:
        given.warnings.append(f"of max_position_embeddings = {positions:,} the first {kept:,} are kept")
    given.size("pretraining_tp", 1)  # how the products were divided; their sums are the same
    found = {
        **FIXED,
        "d_model": width,
        "num_layers": given.size("num_hidden_layers", 32),
        "num_heads": heads,
        "num_kv_heads": given.size("num_key_value_heads", heads),
        "dff": given.size("intermediate_size", 11008),
        "max_positions": kept,
        "activation": given.named("hidden_act", "silu", ACTIVATIONS),
        "norm_epsilon": given.take("rms_norm_eps", 1e-6, float),
        "rotary_base": _rotary_base(given),
        "use_bias": attention_bias or mlp_bias,
        "dropout_rate": 0.0,
        "attention_dropout_rate": given.take("attention_dropout", 0.0, float),
        "embeddings": "shared" if given.take("tie_word_embeddings", False, bool) else "separate",
    }
    given.finish()
    return found


def _rotary_base(given: Settings) -> float:
    """Return the base of the angles, which newer files keep in `rope_parameters`; they may not be scaled."""
    base = given.take("rope_theta", None, float)
    for key in ("rope_scaling", "rope_parameters"):
        rope = given.take(key, {}, dict)
        for name, value in rope.items():
            if name in ("rope_type", "type") and value in ("default", None):
                continue
            if name == "rope_theta" and type(value) in (int, float):
                base = float(value)
                continue
            raise given.refuse(key, f"its {name} may not be {value!r}: angles are not scaled")
    given.only("partial_rotary_factor", 1.0)
    return 10000.0 if base is None else float(base)


def absent(given: Settings) -> str:
    """Return a regular expression of the biases that a model with others does not have."""
    without = {"attention_bias": "self_attn", "mlp_bias": "mlp"}
    parts = [part for key, part in without.items() if not given.take(key, False, bool)]
    return rf"layers\.\d+\.({'|'.join(parts)})\.\w+\.bias" if parts else "(?!)"


def config(model: ModelConfig) -> dict[str, Any]:
    """Return the keys of config.json, those of older and newer versions."""
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "attention_bias": model.use_bias,
        "attention_dropout": model.attention_dropout_rate,
        "head_dim": model.d_model // model.num_heads,
        "hidden_act": names.get(model.activation, model.activation),
        "hidden_size": model.d_model,
        "intermediate_size": model.dff,
        "max_position_embeddings": model.max_positions,
        "mlp_bias": model.use_bias,
        "num_attention_heads": model.num_heads,
        "num_hidden_layers": model.num_layers,
        "num_key_value_heads": model.num_kv_heads or model.num_heads,
        "rms_norm_eps": model.norm_epsilon,
        "rope_parameters": {"rope_theta": model.rotary_base, "rope_type": "default"},
        "rope_theta": model.rotary_base,
    }


LAYOUT = Layout(
    name="llama",
    architectures=("LlamaForCausalLM", "LlamaModel"),
    prefix="model.",
    bare=("lm_head.weight",),
    rows=ROWS,
    passed_over=r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",  # the angles of old files
    activations=tuple(ACTIVATIONS.values()),
    settings=settings,
    config=config,
    fixed=FIXED,
    absent=absent,
)
