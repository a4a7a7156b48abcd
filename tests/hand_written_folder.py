"""Folders of small models as transformers writes them, made without it, and what such models compute, in NumPy.

Source: the code of GPT-2 and Llama; here one text at a time, in float64.
"""

import itertools
import json
import math

import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers

END = "<|endoftext|>"
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("a", "t"), ("Ġ", "c"), ("Ġc", "at")]
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = [*ALPHABET, *("".join(pair) for pair in MERGES), END]
VOCABULARY = {token: i for i, token in enumerate(TOKENS)}
SIZE = len(TOKENS)
TEXTS = ["the cat sat on the mat", "naïve 猫 123\n\n the", "", "a" + END + "the", " "]

GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": SIZE,
    "n_positions": 24,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 4,
    "eos_token_id": SIZE - 1,
    "bos_token_id": SIZE - 1,
    "attn_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
}
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": SIZE,
    "max_position_embeddings": 24,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500.0,
    "tie_word_embeddings": False,
    "eos_token_id": SIZE - 1,
    "bos_token_id": 3,
}


def tokenizer(special=(END,)):
    """Return the tokenizer of the `tokenizers` library."""
    made = tokenizers.Tokenizer(models.BPE(VOCABULARY, MERGES))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(special))
    return made


def shapes_of(config):
    """Return the shapes of a model's tensors by transformers' names."""
    if config["model_type"] == "gpt2":
        width, inner = config["n_embd"], config.get("n_inner") or 4 * config["n_embd"]
        found = {"wte.weight": (config["vocab_size"], width), "wpe.weight": (config["n_positions"], width)}
        for i in range(config["n_layer"]):
            for norm in ("ln_1", "ln_2"):
                found |= {f"h.{i}.{norm}.{part}": (width,) for part in ("weight", "bias")}
            for name, one, other in (
                ("attn.c_attn", width, 3 * width),
                ("attn.c_proj", width, width),
                ("mlp.c_fc", width, inner),
                ("mlp.c_proj", inner, width),
            ):
                found |= {f"h.{i}.{name}.weight": (one, other), f"h.{i}.{name}.bias": (other,)}
        found |= {"ln_f.weight": (width,), "ln_f.bias": (width,)}
        found = {f"transformer.{name}": shape for name, shape in found.items()}
        tied = config.get("tie_word_embeddings", True)
    else:
        width, inner = config["hidden_size"], config["intermediate_size"]
        depth = width // config["num_attention_heads"]
        kv = depth * config["num_key_value_heads"]
        found = {"model.embed_tokens.weight": (config["vocab_size"], width), "model.norm.weight": (width,)}
        for i in range(config["num_hidden_layers"]):
            layer = f"model.layers.{i}."
            found |= {layer + name: (width,) for name in ("input_layernorm.weight", "post_attention_layernorm.weight")}
            for name, out, into in (
                ("self_attn.q_proj", width, width),
                ("self_attn.k_proj", kv, width),
                ("self_attn.v_proj", kv, width),
                ("self_attn.o_proj", width, width),
                ("mlp.gate_proj", inner, width),
                ("mlp.up_proj", inner, width),
                ("mlp.down_proj", width, inner),
            ):
                found[f"{layer}{name}.weight"] = (out, into)
                if config.get("mlp_bias" if name.startswith("mlp") else "attention_bias"):
                    found[f"{layer}{name}.bias"] = (out,)
        tied = config["tie_word_embeddings"]
    return found if tied else {**found, "lm_head.weight": (config["vocab_size"], width)}


def random_tensors(config, seed=0):
    """Return random weights, none of which is 0 or 1 by rule."""
    chance = np.random.default_rng(seed)
    return {name: chance.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes_of(config).items()}


def write_model(folder, config, tensors, byte_pairs=False, **extras):
    """Write a folder; `byte_pairs`: with vocab.json and merges.txt. `extras` stand in tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if tensors is not None:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    if byte_pairs:
        (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{one} {other}\n" for one, other in MERGES))
    else:
        (folder / "tokenizer.json").write_text(tokenizer().to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END, **extras}))
    return folder


ACTIVATIONS = {
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / 2**0.5)),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def attended(queries, keys, values, scale):
    """Return what each token of a head takes from itself and those before: (T, K) each."""
    rows = []
    for t, query in enumerate(queries):
        scores = keys[: t + 1] @ query * scale
        weights = np.exp(scores - scores.max())
        rows.append(weights / weights.sum() @ values[: t + 1])
    return np.array(rows)


def gpt2_logits(config, tensors, ids):
    """Return logits (T, V) of ids (T,), both theirs."""
    w = {name.removeprefix("transformer."): array.astype(np.float64) for name, array in tensors.items()}
    activation = ACTIVATIONS[config.get("activation_function", "gelu_new")]
    heads, depth = config["n_head"], config["n_embd"] // config["n_head"]

    def norm(x, name):
        centred = x - x.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + config.get("layer_norm_epsilon", 1e-5))
        return centred / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["wte.weight"][ids] + w["wpe.weight"][: len(ids)]
    for i in range(config["n_layer"]):
        scale = depth**-0.5 if config.get("scale_attn_weights", True) else 1.0
        scale /= i + 1 if config.get("scale_attn_by_inverse_layer_idx") else 1
        parts = np.split(dense(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn"), 3, axis=1)
        parts = [np.split(part, heads, axis=1) for part in parts]
        found = np.concatenate([attended(*head, scale) for head in zip(*parts, strict=True)], axis=1)
        x = x + dense(found, f"h.{i}.attn.c_proj")
        x = x + dense(activation(dense(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")), f"h.{i}.mlp.c_proj")
    return norm(x, "ln_f") @ w.get("lm_head.weight", w["wte.weight"]).T


def turned(x, base):
    """Turn rows p of x (T, K): pairs of columns i and i + K / 2 by p / base^(2i / K)."""
    half, found = x.shape[1] // 2, x.copy()
    for p, i in itertools.product(range(len(x)), range(half)):
        cos, sin = math.cos(p / base ** (i / half)), math.sin(p / base ** (i / half))
        found[p, i], found[p, i + half] = x[p, i] * cos - x[p, i + half] * sin, x[p, i] * sin + x[p, i + half] * cos
    return found


def llama_logits(config, tensors, ids):
    """Return logits (T, V) of ids (T,), both theirs."""
    w = {name: array.astype(np.float64) for name, array in tensors.items()}
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    depth = config["hidden_size"] // heads

    def norm(x, name):
        return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + config["rms_norm_eps"]) * w[f"{name}.weight"]

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)

    x = w["model.embed_tokens.weight"][ids]
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        entered = norm(x, f"{layer}.input_layernorm")
        q, k, v = (
            np.split(dense(entered, f"{layer}.self_attn.{name}_proj"), count, axis=1)
            for name, count in (("q", heads), ("k", kv), ("v", kv))
        )
        q, k = ([turned(head, config["rope_theta"]) for head in part] for part in (q, k))
        found = [attended(q[h], k[h * kv // heads], v[h * kv // heads], depth**-0.5) for h in range(heads)]
        x = x + dense(np.concatenate(found, axis=1), f"{layer}.self_attn.o_proj")
        entered = norm(x, f"{layer}.post_attention_layernorm")
        gate = ACTIVATIONS[config.get("hidden_act", "silu")](dense(entered, f"{layer}.mlp.gate_proj"))
        x = x + dense(gate * dense(entered, f"{layer}.mlp.up_proj"), f"{layer}.mlp.down_proj")
    return norm(x, "model.norm") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


LOGITS = {"gpt2": gpt2_logits, "llama": llama_logits}
