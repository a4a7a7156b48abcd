"""GPT-2's layout: weights and settings as transformers' `GPT2LMHeadModel` has them.

Its dense layers are (in, out), as ours are; queries, keys and values are thirds of one.

Source: Radford et al. 2019.
"""

from typing import Any

from transformer.config.settings import ModelConfig
from transformer.convert.huggingface.settings import Settings
from transformer.convert.huggingface.tables import THIRDS, TOKENS, TOKENS_TRANSPOSED, Layout, Row

ACTIVATIONS = {  # theirs: ours
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
ROWS = (
    Row("embedding/embeddings", "wte.weight", TOKENS),
    Row("positions/vectors", "wpe.weight"),
    Row("layer{}/layernorm1/gamma", "h.{}.ln_1.weight"),
    Row("layer{}/layernorm1/beta", "h.{}.ln_1.bias"),
    Row("layer{}/mha/wq/kernel", "h.{}.attn.c_attn.weight", THIRDS[0]),
    Row("layer{}/mha/wk/kernel", "h.{}.attn.c_attn.weight", THIRDS[1]),
    Row("layer{}/mha/wv/kernel", "h.{}.attn.c_attn.weight", THIRDS[2]),
    Row("layer{}/mha/wq/bias", "h.{}.attn.c_attn.bias", THIRDS[0]),
    Row("layer{}/mha/wk/bias", "h.{}.attn.c_attn.bias", THIRDS[1]),
    Row("layer{}/mha/wv/bias", "h.{}.attn.c_attn.bias", THIRDS[2]),
    Row("layer{}/mha/dense/kernel", "h.{}.attn.c_proj.weight"),
    Row("layer{}/mha/dense/bias", "h.{}.attn.c_proj.bias"),
    Row("layer{}/layernorm2/gamma", "h.{}.ln_2.weight"),
    Row("layer{}/layernorm2/beta", "h.{}.ln_2.bias"),
    Row("layer{}/ffn/inner/kernel", "h.{}.mlp.c_fc.weight"),
    Row("layer{}/ffn/inner/bias", "h.{}.mlp.c_fc.bias"),
    Row("layer{}/ffn/outer/kernel", "h.{}.mlp.c_proj.weight"),
    Row("layer{}/ffn/outer/bias", "h.{}.mlp.c_proj.bias"),
    Row("final_norm/gamma", "ln_f.weight"),
    Row("final_norm/beta", "ln_f.bias"),
    Row("final_layer/kernel", "lm_head.weight", TOKENS_TRANSPOSED),
)
FIXED = {
    "norm_first": True,
    "norm": "layer",
    "gated": False,
    "use_bias": True,
    "positions": "learned",
    "num_kv_heads": 0,
    "scale_embeddings": False,
}


def settings(given: Settings) -> dict[str, Any]:
    """Return the section [model] of a config; a UserError names what is not honoured."""
    width = given.size("n_embd", 768)
    found = {
        **FIXED,
        "d_model": width,
        "num_layers": given.size("n_layer", 12),
        "num_heads": given.size("n_head", 12),
        "dff": given.size("n_inner", 4 * width),
        "max_positions": given.size("n_positions", 1024),
        "activation": given.named("activation_function", "gelu_new", ACTIVATIONS),
        "norm_epsilon": given.take("layer_norm_epsilon", 1e-5, float),
        "dropout_rate": given.take("resid_pdrop", 0.1, float),
        "attention_dropout_rate": given.take("attn_pdrop", 0.1, float),
        "embeddings": "shared" if given.take("tie_word_embeddings", True, bool) else "separate",
    }
    for key, usual in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False)):
        given.take(key, usual, bool)  # see `query_scale`
    given.take("reorder_and_upcast_attn", False, bool)  # all is float32 here anyhow
    given.finish(
        *("n_ctx", "embd_pdrop", "summary_activation", "summary_first_dropout", "summary_proj_to_labels"),
        *("summary_type", "summary_use_proj"),
    )
    return found


def query_scale(given: Settings, layer: int) -> float:
    """Return what a layer's queries are multiplied by, so that the scores divided by sqrt(K) are theirs."""
    width = given.size("n_embd", 768) // given.size("n_head", 12)
    scale = 1.0 if given.take("scale_attn_weights", True, bool) else width**0.5
    return scale / (layer + 1) if given.take("scale_attn_by_inverse_layer_idx", False, bool) else scale


def config(model: ModelConfig) -> dict[str, Any]:
    """Return the keys of config.json; scales of queries are in the weights."""
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "activation_function": names.get(model.activation, model.activation),
        "attn_pdrop": model.attention_dropout_rate,
        "embd_pdrop": model.dropout_rate,
        "layer_norm_epsilon": model.norm_epsilon,
        "n_embd": model.d_model,
        "n_head": model.num_heads,
        "n_inner": model.dff,
        "n_layer": model.num_layers,
        "n_positions": model.max_positions,
        "resid_pdrop": model.dropout_rate,
    }


LAYOUT = Layout(
    name="gpt2",
    architectures=("GPT2LMHeadModel", "GPT2Model"),
    prefix="transformer.",
    bare=("lm_head.weight",),
    rows=ROWS,
    passed_over=r"h\.\d+\.attn\.(bias|masked_bias)",  # the causal mask of old files
    activations=tuple(ACTIVATIONS.values()),
    settings=settings,
    config=config,
    fixed=FIXED,
    query_scale=query_scale,
)
