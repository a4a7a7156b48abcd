"""A trained model in CTranslate2's terms: its specification of a Transformer, filled with our weights.

What our layers share with the library: post-norm and pre-norm with a final norm, biases everywhere but in a tied
projection, embeddings times sqrt(d_model). What is written explicitly because its own default is another: the position
encodings (it puts all sines before all cosines and counts from 1), the epsilon of the norms, and the attention that it
returns (the mean over all heads of the last layer).

Axes: D model width, F feed-forward width, V vocabulary; `linear` weights are (out, in).
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.settings import POSITIONS, ModelConfig
from transformer.ids import END_ID, START_ID, UNKNOWN_ID
from transformer.inference.translator import Translator
from transformer.layers.attention import MultiHeadAttention
from transformer.layers.blocks import NORM_EPSILON
from transformer.layers.fused import LayerNormalization
from transformer.layers.relative_positions import FARTHEST, RelativeBias, RelativeKeys
from transformer.models.transformer import Transformer
from transformer.system.errors import UserError

# Keras' names and the library's.
ACTIVATIONS = {"relu": "RELU", "gelu": "GELU", "silu": "SWISH", "swish": "SWISH", "tanh": "Tanh", "sigmoid": "Sigmoid"}
MODEL = "model"  # the directory


def library() -> ModuleType:
    """Import and return CTranslate2; a UserError tells that it is not installed."""
    try:
        import ctranslate2
    except ImportError:
        how = "pip install 'transformer-reference[ctranslate2]'"
        raise UserError(f"CTranslate2 is not installed; install it with: {how}") from None
    return ctranslate2


def write(translator: Translator, config: Config, folder: Path, quantization: str) -> dict[str, object]:
    """Write model, tokenizer and config below a folder, and return what the export's description says of them.

    Raises:
        UserError: CTranslate2 is not installed, or does not know the activation function or the kind of positions.
    """
    ctranslate2 = library()
    source, target = (
        tokenizer.pieces(range(tokenizer.vocabulary_size))
        for tokenizer in (translator.tokenizers.source, translator.tokenizers.target)
    )
    spec = specification(translator.transformer, config.model)
    spec.register_source_vocabulary(source)
    spec.register_target_vocabulary(target)
    configure(spec, target)
    spec.validate()
    spec.optimize(quantization)
    (folder / MODEL).mkdir()
    spec.save(str(folder / MODEL))
    translator.tokenizers.save(folder / "tokenizer")
    (folder / "config.json").write_text(config.to_json(), encoding="utf-8")
    return {"quantization": quantization, "ctranslate2": ctranslate2.__version__}


def configure(spec: Any, target: Sequence[str]) -> None:
    """Set what the library's config.json says; `target` are the pieces of the target vocabulary."""
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = (
        target[index] for index in (UNKNOWN_ID, START_ID, END_ID)
    )
    spec.config.decoder_start_token = target[START_ID]
    spec.config.layer_norm_epsilon = NORM_EPSILON


def empty_specification(model: ModelConfig) -> Any:
    """Return the library's `TransformerSpec` of such a model, without weights.

    Raises:
        UserError: CTranslate2 is not installed, or does not know the activation function or the kind of positions.
    """
    library()
    from ctranslate2.specs import Activation, TransformerDecoderSpec, TransformerEncoderSpec, TransformerSpec

    for name, known in (("activation", tuple(ACTIVATIONS)), ("positions", POSITIONS)):
        if getattr(model, name) not in known:
            raise UserError(
                f"CTranslate2 does not know model.{name} '{getattr(model, name)}', only {', '.join(known)}; "
                "export with --format savedmodel"
            )
    shared = {"num_layers": model.num_layers, "num_heads": model.num_heads, "pre_norm": model.norm_first}
    shared["activation"] = Activation[ACTIVATIONS[model.activation]]
    if model.positions == "rotary":
        shared |= {"rotary_dim": model.d_model // model.num_heads, "rotary_interleave": False}
    shared["relative_attention_bias"] = model.positions == "relative_bias"
    shared["relative_position"] = model.positions == "relative_keys"
    spec = TransformerSpec(
        TransformerEncoderSpec(**shared),
        TransformerDecoderSpec(**shared, alignment_layer=-1, alignment_heads=model.num_heads),
    )
    for layer in (*spec.encoder.layer, *spec.decoder.layer) if model.positions == "relative_bias" else ():
        farthest = np.dtype("int32").type(model.relative_distance or FARTHEST)
        layer.self_attention.relative_attention_max_distance = farthest
    return spec


def specification(model: Transformer, config: ModelConfig) -> Any:
    """Return `empty_specification` with the weights of a model of this config."""
    encoder, decoder = model.encoder, model.decoder
    spec = empty_specification(config)
    spec.encoder.embeddings[0].weight = _array(encoder.embedding.embeddings)
    spec.decoder.embeddings.weight = _array(decoder.embedding.embeddings)
    for stack, ours in ((spec.encoder, encoder), (spec.decoder, decoder)):
        # One more than the model reads: the library scores a translation that was cut at the limit with an end token
        # after it, which changes nothing before and is left out.
        if hasattr(stack, "position_encodings"):  # a rotary encoder has to add something too
            nothing = tf.zeros((1, ours.maximum_position_encoding, config.d_model))
            table = _array(ours.positions.embed(nothing, 0))[0]
            stack.position_encodings.encodings = np.pad(table, ((0, 1), (0, 0)), mode="edge")
        if ours.final_norm:
            _fill_norm(stack.layer_norm, ours.final_norm)
    for layer, ours in zip(spec.encoder.layer, encoder.stack, strict=True):
        _fill_self_attention(layer.self_attention, ours.mha, ours.layernorm1)
        _fill_feed_forward(layer.ffn, ours.ffn, ours.layernorm2)
    for layer, ours in zip(spec.decoder.layer, decoder.stack, strict=True):
        _fill_self_attention(layer.self_attention, ours.mha1, ours.layernorm1)
        _fill_cross_attention(layer.attention, ours.mha2, ours.layernorm2)
        _fill_feed_forward(layer.ffn, ours.ffn, ours.layernorm3)
    table, bias = model.output_table()
    spec.decoder.projection.weight = _array(table)
    if bias is not None:
        spec.decoder.projection.bias = _array(bias)
    return spec


def _array(weight: tf.Tensor | keras.Variable) -> np.ndarray:
    return tf.convert_to_tensor(weight).numpy()  # a copy: quantisation works in place


def _fill_linear(linear: Any, *layers: keras.layers.Dense) -> None:
    """Fill a linear layer with one of ours, or with several side by side."""
    linear.weight = np.concatenate([_array(layer.kernel).T for layer in layers])
    linear.bias = np.concatenate([_array(layer.bias) for layer in layers])


def _fill_norm(spec: Any, norm: LayerNormalization) -> None:
    spec.gamma, spec.beta = _array(norm.gamma), _array(norm.beta)


def _fill_self_attention(spec: Any, mha: MultiHeadAttention, norm: LayerNormalization) -> None:
    _fill_linear(spec.linear[0], mha.wq, mha.wk, mha.wv)
    _fill_linear(spec.linear[1], mha.dense)
    _fill_norm(spec.layer_norm, norm)
    if isinstance(mha.positions, RelativeBias):
        spec.relative_attention_bias = _array(mha.positions.biases)
    if isinstance(mha.positions, RelativeKeys):
        keys, values = mha.positions.keys, mha.positions.values
        spec.relative_position_keys = _array(keys)
        spec.relative_position_values = np.zeros(keys.shape, np.float32) if values is None else _array(values)


def _fill_cross_attention(spec: Any, mha: MultiHeadAttention, norm: LayerNormalization) -> None:
    _fill_linear(spec.linear[0], mha.wq)
    _fill_linear(spec.linear[1], mha.wk, mha.wv)
    _fill_linear(spec.linear[2], mha.dense)
    _fill_norm(spec.layer_norm, norm)


def _fill_feed_forward(spec: Any, ffn: keras.Sequential, norm: LayerNormalization) -> None:
    _fill_linear(spec.linear_0, ffn.get_layer("inner"))
    _fill_linear(spec.linear_1, ffn.get_layer("outer"))
    _fill_norm(spec.layer_norm, norm)
