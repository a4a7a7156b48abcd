"""Folders of small BERTs as transformers writes them, made without it, and what such models compute, in NumPy.

Source: Devlin et al. 2019 and the published code; here one row at a time, in float64.
"""

import json
import math

import numpy as np
from hand_written_folder import ACTIVATIONS
from safetensors.numpy import save_file

# As BERT's own: the special tokens stand at odd places.
TOKENS = ["[PAD]", "[unused0]", "the", "cat", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "s", "##at", "##s", "cafe", "café"]
TOKENS += ["The", "猫", "犬", ",", ".", "!", "m", "##a", "##t", "a", "na", "##ive", "##ï", "##ve"]
PAD, UNK, CLS, SEP, MASK = (TOKENS.index(f"[{name}]") for name in ("PAD", "UNK", "CLS", "SEP", "MASK"))
TEXTS = ["The cat sat, cats!", "the CAFÉ 猫犬", "naïve mat.", "", "[MASK] the\u00a0cat", "cafe\u0301 dog"]

BERT = {
    "model_type": "bert",
    "architectures": ["BertForPreTraining"],
    "vocab_size": len(TOKENS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": PAD,
}
BERT_ACTIVATIONS = {**ACTIVATIONS, "tanh": np.tanh, "gelu_pytorch_tanh": ACTIVATIONS["gelu_new"]}


def shapes_of(config):
    """Return the shapes of a model's tensors by transformers' names, which its class decides."""
    width, inner, size = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    kind = config["architectures"][0]

    def dense(name, into, out):
        return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}

    def norm(name):
        return {f"{name}.LayerNorm.weight": (width,), f"{name}.LayerNorm.bias": (width,)}

    base = {
        "embeddings.word_embeddings.weight": (size, width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        **norm("embeddings"),
    }
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        for name in ("query", "key", "value"):
            base |= dense(f"{layer}attention.self.{name}", width, width)
        base |= dense(f"{layer}attention.output.dense", width, width) | norm(f"{layer}attention.output")
        base |= dense(f"{layer}intermediate.dense", width, inner) | dense(f"{layer}output.dense", inner, width)
        base |= norm(f"{layer}output")
    if kind != "BertForMaskedLM":
        base |= dense("pooler.dense", width, width)
    if kind == "BertModel":
        return base
    found = {f"bert.{name}": shape for name, shape in base.items()}
    found |= dense("cls.predictions.transform.dense", width, width) | norm("cls.predictions.transform")
    found["cls.predictions.bias"] = (size,)
    return found | (dense("cls.seq_relationship", width, 2) if kind == "BertForPreTraining" else {})


def random_tensors(config, seed=0):
    """Return random weights, none of which is 0 or 1 by rule."""
    chance = np.random.default_rng(seed)
    return {name: chance.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes_of(config).items()}


def write_model(folder, config, tensors, **extras):
    """Write a folder with vocab.txt; `extras` stand in tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if tensors is not None:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in TOKENS), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **extras}))
    return folder


def softmax(x):
    shares = np.exp(x - x.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


class Numbers:
    """What a BERT computes of a row of ids (T,) and segments (T,): `states` (T, D), `pooled` (D,), `masked` (T, V) and
    `following` (2,), each None where the model has no such part.
    """

    def __init__(self, config, tensors, ids, segments):
        self.config = config
        self.w = {name.removeprefix("bert."): array.astype(np.float64) for name, array in tensors.items()}
        self.states = self._states(np.asarray(ids), np.asarray(segments))
        self.pooled = self.masked = self.following = None
        if "pooler.dense.weight" in self.w:
            self.pooled = np.tanh(self._dense(self.states[:1], "pooler.dense"))[0]
        if "cls.predictions.bias" in self.w:
            activation = BERT_ACTIVATIONS[config["hidden_act"]]
            x = activation(self._dense(self.states, "cls.predictions.transform.dense"))
            x = self._norm(x, "cls.predictions.transform")
            self.masked = x @ self.w["embeddings.word_embeddings.weight"].T + self.w["cls.predictions.bias"]
        if "cls.seq_relationship.weight" in self.w:
            self.following = self._dense(self.pooled[np.newaxis], "cls.seq_relationship")[0]

    def _dense(self, x, name):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def _norm(self, x, name):
        centred = x - x.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.config["layer_norm_eps"])
        return centred / deviation * self.w[f"{name}.LayerNorm.weight"] + self.w[f"{name}.LayerNorm.bias"]

    def _states(self, ids, segments):
        config, w = self.config, self.w
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][segments]
        x = self._norm(x + w["embeddings.position_embeddings.weight"][: len(ids)], "embeddings")
        heads = config["num_attention_heads"]
        for i in range(config["num_hidden_layers"]):
            layer = f"encoder.layer.{i}"
            q, k, v = (
                np.split(self._dense(x, f"{layer}.attention.self.{name}"), heads, axis=1)
                for name in ("query", "key", "value")
            )
            scale = math.sqrt(config["hidden_size"] // heads)
            found = [softmax(q[h] @ k[h].T / scale) @ v[h] for h in range(heads)]
            found = self._dense(np.concatenate(found, axis=1), f"{layer}.attention.output.dense")
            x = self._norm(x + found, f"{layer}.attention.output")
            inner = BERT_ACTIVATIONS[config["hidden_act"]](self._dense(x, f"{layer}.intermediate.dense"))
            x = self._norm(x + self._dense(inner, f"{layer}.output.dense"), f"{layer}.output")
        return x
