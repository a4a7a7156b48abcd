"""BERT's layout: weights and settings as transformers' `BertForPreTraining` has them, with all its parts or fewer.

Fine-tuned models have another head, see `fine_tuned`.

Its dense layers are (out, in). The projection onto the vocabulary is the embedding, with a bias of its own.

Source: Devlin et al. 2019.
"""

import dataclasses
import re
from typing import Any

from transformer.config.settings import ModelConfig
from transformer.convert.huggingface.settings import Settings
from transformer.convert.huggingface.tables import TOKENS, TRANSPOSED, Layout, Row

ACTIVATIONS = {  # theirs: ours
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


def _dense(ours: str, theirs: str) -> tuple[Row, Row]:
    return Row(f"{ours}/kernel", f"{theirs}.weight", TRANSPOSED), Row(f"{ours}/bias", f"{theirs}.bias")


def _norm(ours: str, theirs: str) -> tuple[Row, Row]:
    return Row(f"{ours}/gamma", f"{theirs}.LayerNorm.weight"), Row(f"{ours}/beta", f"{theirs}.LayerNorm.bias")


HEAD = "cls.predictions."  # of masked tokens
TABLE, BIAS = "embeddings.word_embeddings.weight", f"{HEAD}bias"
POOLER, NEXT_SENTENCE = "pooler.dense", "cls.seq_relationship"
ROWS = (
    Row("encoder/embedding/embeddings", TABLE, TOKENS),
    Row("encoder/positions/vectors", "embeddings.position_embeddings.weight"),
    Row("encoder/segment_vectors", "embeddings.token_type_embeddings.weight"),
    *_norm("encoder/embedding_norm", "embeddings"),
    *_dense("encoder/layer{}/mha/wq", "encoder.layer.{}.attention.self.query"),
    *_dense("encoder/layer{}/mha/wk", "encoder.layer.{}.attention.self.key"),
    *_dense("encoder/layer{}/mha/wv", "encoder.layer.{}.attention.self.value"),
    *_dense("encoder/layer{}/mha/dense", "encoder.layer.{}.attention.output.dense"),
    *_norm("encoder/layer{}/layernorm1", "encoder.layer.{}.attention.output"),
    *_dense("encoder/layer{}/ffn/inner", "encoder.layer.{}.intermediate.dense"),
    *_dense("encoder/layer{}/ffn/outer", "encoder.layer.{}.output.dense"),
    *_norm("encoder/layer{}/layernorm2", "encoder.layer.{}.output"),
    *_dense("encoder/pooler", POOLER),
    *_dense("masked_lm/dense", f"{HEAD}transform.dense"),
    *_norm("masked_lm/norm", f"{HEAD}transform"),
    Row("masked_lm/bias", BIAS, TOKENS),
    *_dense("next_sentence", NEXT_SENTENCE),
)
BARE = tuple(row.theirs for row in ROWS if row.theirs.startswith("cls."))
TIED = ((TABLE, f"{HEAD}decoder.weight"), (BIAS, f"{HEAD}decoder.bias"))  # two names of one array
FIXED = {
    "norm_first": False,
    "norm": "layer",
    "gated": False,
    "use_bias": True,
    "positions": "learned",
    "num_kv_heads": 0,
    "feed_forward_dropout_rate": 0.0,
}
# Keys that `BertModel` does not read: of heads that are not here, and of a pooler that the multilingual models name.
UNREAD = (
    *("classifier_dropout", "directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers"),
    *("pooler_size_per_head", "pooler_type"),
)


def settings(given: Settings) -> dict[str, Any]:
    """Return the section [model] of a config; a UserError names what is not honoured."""
    found = {
        **FIXED,
        "d_model": given.size("hidden_size", 768),
        "num_layers": given.size("num_hidden_layers", 12),
        "num_heads": given.size("num_attention_heads", 12),
        "dff": given.size("intermediate_size", 3072),
        "max_positions": given.size("max_position_embeddings", 512),
        "activation": given.named("hidden_act", "gelu", ACTIVATIONS),
        "norm_epsilon": given.take("layer_norm_eps", 1e-12, float),
        "dropout_rate": given.take("hidden_dropout_prob", 0.1, float),
        "attention_dropout_rate": given.take("attention_probs_dropout_prob", 0.1, float),
        "embeddings": "shared",
        "scale_embeddings": False,
    }
    given.only("position_embedding_type", "absolute")
    given.only("is_decoder", False)
    for key in ("pad_token_id", "bos_token_id", "eos_token_id"):  # which tokens are what, the tokenizer says
        given.pass_over(key)
    given.finish(*UNREAD)
    return found


def config(model: ModelConfig) -> dict[str, Any]:
    """Return the keys of config.json."""
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "attention_probs_dropout_prob": model.attention_dropout_rate,
        "hidden_act": names.get(model.activation, model.activation),
        "hidden_dropout_prob": model.dropout_rate,
        "hidden_size": model.d_model,
        "intermediate_size": model.dff,
        "layer_norm_eps": model.norm_epsilon,
        "max_position_embeddings": model.max_positions,
        "num_attention_heads": model.num_heads,
        "num_hidden_layers": model.num_layers,
        "position_embedding_type": "absolute",
    }


CLASSIFIER, ANSWERS = "classifier", "qa_outputs"  # heads of fine-tuned models
FINE_TUNED = {  # the head of a class, whose other weights are the encoder's
    "BertForSequenceClassification": CLASSIFIER,
    "BertForTokenClassification": CLASSIFIER,
    "BertForQuestionAnswering": ANSWERS,
}
LAYOUT = Layout(
    name="bert",
    architectures=("BertForMaskedLM", "BertForPreTraining", *FINE_TUNED, "BertModel"),
    prefix="bert.",
    bare=BARE,
    rows=ROWS,
    passed_over=r"embeddings\.position_ids",  # 0, 1, 2, ... in older files
    activations=tuple(ACTIVATIONS.values()),
    settings=settings,
    config=config,
    fixed=FIXED,
    renamed=(("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")),
)


def fine_tuned(architecture: str) -> Layout:
    """Return the layout of a class in `FINE_TUNED`: an encoder and a dense head. One that reads no pooler has none."""
    head = _dense("head", FINE_TUNED[architecture])
    rows = (*(row for row in ROWS if row.ours.startswith("encoder/")), *head)
    unread = "" if architecture == "BertForSequenceClassification" else rf"|{re.escape(POOLER)}\.\w+"
    return dataclasses.replace(
        LAYOUT, rows=rows, bare=tuple(row.theirs for row in head), passed_over=LAYOUT.passed_over + unread
    )
