"""A run's weights in CTranslate2's terms: its specification of a Transformer, filled with our arrays.

Nothing here imports TensorFlow.

What our layers share with the library: post-norm and pre-norm with a final norm, biases everywhere but in a tied
projection, embeddings times sqrt(d_model). What is written explicitly because its own default is another: the position
encodings (it puts all sines before all cosines and counts from 1), the epsilon of the norms, and the attention that it
returns (the mean over all heads of the last layer).

Axes: D model width, F feed-forward width, V vocabulary; the library's `linear` weights are (out, in), ours (in, out).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from transformer.checkpoints.arrays import PREFIX, Shape
from transformer.config.settings import ModelConfig
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.ids import END_ID, START_ID, UNKNOWN_ID
from transformer.layers.angles import CLIPPED, FARTHEST, sinusoids
from transformer.system.errors import UserError

# Not those of config.POSITIONS, to which a user may have added a kind that the library cannot compute.
CONVERTED_POSITIONS = ("sinusoidal", "rotary", "learned", "relative_bias", "relative_keys")
# Keras' names and the library's.
ACTIVATIONS = {"relu": "RELU", "gelu": "GELU", "silu": "SWISH", "swish": "SWISH", "tanh": "Tanh", "sigmoid": "Sigmoid"}
Arrays = Mapping[str, np.ndarray]
# The sublayers of our layers: attention, the norm after it (before it, where norms come first), and the library's name.
ENCODER = (("mha", "layernorm1", "self_attention"),)
DECODER = (("mha1", "layernorm1", "self_attention"), ("mha2", "layernorm2", "attention"))
# Our dense layers that make up each of the library's linear layers.
LINEARS = {"self_attention": (("wq", "wk", "wv"), ("dense",)), "attention": (("wq",), ("wk", "wv"), ("dense",))}


def library() -> ModuleType:
    """Import and return CTranslate2; a UserError tells that it is not installed."""
    try:
        import ctranslate2
    except ImportError as error:
        raise UserError(f"CTranslate2 cannot be used ({error}); install it with: pip install ctranslate2") from None
    return ctranslate2


def unsupported(config: ModelConfig, tokenizers: TokenizerPair) -> str:
    """Return which setting of a model the library does not know, or no model can have; empty: it can be converted."""
    if config.activation not in ACTIVATIONS:
        return f"CTranslate2 does not know model.activation '{config.activation}', only {', '.join(ACTIVATIONS)}"
    if config.positions not in CONVERTED_POSITIONS:
        known = ", ".join(CONVERTED_POSITIONS)
        return f"CTranslate2 does not know model.positions '{config.positions}', only {known}"
    plain = ModelConfig()
    for name in ("norm", "norm_epsilon", "gated", "use_bias", "num_kv_heads", "rotary_base", "scale_embeddings"):
        if getattr(config, name) != getattr(plain, name):
            return f"model.{name} is a setting of language models"
    if config.embeddings == "shared" and not tokenizers.joint:
        return "model.embeddings = 'shared' needs text.joint = true"
    return ""


def vocabularies(tokenizers: TokenizerPair) -> tuple[list[str], list[str]]:
    """Return the pieces of source and target, in the order of their ids."""
    source, target = (
        tokenizer.pieces(range(tokenizer.vocabulary_size)) for tokenizer in (tokenizers.source, tokenizers.target)
    )
    return source, target


def weight_shapes(config: ModelConfig, sizes: Sequence[int]) -> dict[str, Shape]:
    """Return the shapes of a run's weights by their names in its files; `sizes` are those of both vocabularies."""
    shapes: dict[str, Shape] = {}
    width = config.d_model

    def dense(name: str, into: int, out: int) -> None:
        shapes[f"{name}/kernel"], shapes[f"{name}/bias"] = (into, out), (out,)

    def norm(name: str) -> None:
        shapes[f"{name}/gamma"] = shapes[f"{name}/beta"] = (width,)

    for side, sublayers, size in (("encoder", ENCODER, sizes[0]), ("decoder", DECODER, sizes[1])):
        if side == "encoder" or config.embeddings != "shared":
            shapes[f"{side}/embedding/embeddings"] = (size, width)
        if config.positions == "learned":
            shapes[f"{side}/positions/vectors"] = (config.max_positions, width)
        elif config.positions == "relative_bias":
            shapes[f"{side}/positions/biases"] = (config.relative_buckets, config.num_heads)
        for layer in (f"{side}/layer{number}" for number in range(1, config.num_layers + 1)):
            for attention, _, _ in sublayers:
                for projection in ("wq", "wk", "wv", "dense"):
                    dense(f"{layer}/{attention}/{projection}", width, width)
            if config.positions == "relative_keys":
                own = f"{layer}/{sublayers[0][0]}/positions"
                shapes |= {
                    f"{own}/{name}": distance_vectors(config)
                    for name in ("keys", "values")[: 1 + config.relative_values]
                }
            dense(f"{layer}/ffn/inner", width, config.dff)
            dense(f"{layer}/ffn/outer", config.dff, width)
            for number in range(1, len(sublayers) + 2):
                norm(f"{layer}/layernorm{number}")
        if config.norm_first:
            norm(f"{side}/final_norm")
    if config.embeddings == "separate":
        dense("final_layer", width, sizes[1])
    return {PREFIX + name: shape for name, shape in shapes.items()}


def distance_vectors(config: ModelConfig) -> Shape:
    """Return the shape of what 'relative_keys' has for each distance."""
    return 2 * (config.relative_distance or CLIPPED) + 1, config.d_model // config.num_heads


def save(arrays: Arrays, config: ModelConfig, tokenizers: TokenizerPair, folder: Path, quantization: str) -> None:
    """Write the library's files of a model into a folder.

    Args:
        arrays: the weights of `weight_shapes`.
        config: of the model, for which `unsupported` returns nothing.
        tokenizers: of both sides.
        folder: which exists.
        quantization: of the written weights.
    """
    spec = specification(arrays, config)
    source, target = vocabularies(tokenizers)
    spec.register_source_vocabulary(source)
    spec.register_target_vocabulary(target)
    configure(spec, config, target)
    spec.validate()
    spec.optimize(quantization)
    spec.save(str(folder))


def configure(spec: Any, config: ModelConfig, target: Sequence[str]) -> None:
    """Set what the library's config.json says; `target` are the pieces of the target vocabulary."""
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = (
        target[index] for index in (UNKNOWN_ID, START_ID, END_ID)
    )
    spec.config.decoder_start_token = target[START_ID]
    spec.config.layer_norm_epsilon = config.norm_epsilon


def empty_specification(config: ModelConfig) -> Any:
    """Return the library's `TransformerSpec` of a model for which `unsupported` returns nothing, without weights."""
    library()
    from ctranslate2.specs import Activation, TransformerDecoderSpec, TransformerEncoderSpec, TransformerSpec

    shared = {"num_layers": config.num_layers, "num_heads": config.num_heads, "pre_norm": config.norm_first}
    shared["activation"] = Activation[ACTIVATIONS[config.activation]]
    if config.positions == "rotary":
        shared |= {"rotary_dim": config.d_model // config.num_heads, "rotary_interleave": False}
    shared["relative_attention_bias"] = config.positions == "relative_bias"
    shared["relative_position"] = config.positions == "relative_keys"
    spec = TransformerSpec(
        TransformerEncoderSpec(**shared),
        TransformerDecoderSpec(**shared, alignment_layer=-1, alignment_heads=config.num_heads),
    )
    for layer in (*spec.encoder.layer, *spec.decoder.layer) if config.positions == "relative_bias" else ():
        farthest = np.dtype("int32").type(config.relative_distance or FARTHEST)
        layer.self_attention.relative_attention_max_distance = farthest
    return spec


def specification(arrays: Arrays, config: ModelConfig) -> Any:
    """Return `empty_specification` with the weights of a model, see `save`."""
    spec, own = empty_specification(config), {name.removeprefix(PREFIX): array for name, array in arrays.items()}
    tables = {side: own.get(f"{side}/embedding/embeddings") for side in ("encoder", "decoder")}
    if tables["decoder"] is None:
        tables["decoder"] = tables["encoder"]
    spec.encoder.embeddings[0].weight = _copy(tables["encoder"])
    spec.decoder.embeddings.weight = _copy(tables["decoder"])
    for side, stack, sublayers in (("encoder", spec.encoder, ENCODER), ("decoder", spec.decoder, DECODER)):
        if hasattr(stack, "position_encodings"):  # a rotary encoder has to add something too
            stack.position_encodings.encodings = _positions(own, config, side)
        if config.norm_first:
            _fill_norm(stack.layer_norm, own, f"{side}/final_norm")
        for number, layer in enumerate(stack.layer, start=1):
            name = f"{side}/layer{number}"
            for attention, norm, theirs in sublayers:
                part = getattr(layer, theirs)
                for linear, ours in zip(part.linear, LINEARS[theirs], strict=True):
                    _fill_linear(linear, own, [f"{name}/{attention}/{projection}" for projection in ours])
                _fill_norm(part.layer_norm, own, f"{name}/{norm}")
            _fill_relative(layer.self_attention, own, config, side, f"{name}/{sublayers[0][0]}/positions")
            _fill_linear(layer.ffn.linear_0, own, [f"{name}/ffn/inner"])
            _fill_linear(layer.ffn.linear_1, own, [f"{name}/ffn/outer"])
            _fill_norm(layer.ffn.layer_norm, own, f"{name}/layernorm{len(sublayers) + 1}")
    if config.embeddings == "separate":
        _fill_linear(spec.decoder.projection, own, ["final_layer"])
    else:
        spec.decoder.projection.weight = _copy(tables["decoder"])
    return spec


def _positions(own: Arrays, config: ModelConfig, side: str) -> np.ndarray:
    """Return what is added at each position.

    It is one row more than the model reads: the library scores a translation that was cut at the limit with an end
    token after it, which changes nothing before and is left out.
    """
    if config.positions == "rotary":
        return np.zeros((config.max_positions + 1, config.d_model), np.float32)
    learned = config.positions == "learned"
    table = own[f"{side}/positions/vectors"] if learned else sinusoids(config.max_positions, config.d_model)
    return np.pad(table, ((0, 1), (0, 0)), mode="edge")


def _fill_relative(attention: Any, own: Arrays, config: ModelConfig, side: str, name: str) -> None:
    """Fill the relative positions of a self-attention; `name` is of those that a layer has for itself."""
    if config.positions == "relative_bias":
        attention.relative_attention_bias = _copy(own[f"{side}/positions/biases"])
    elif config.positions == "relative_keys":
        attention.relative_position_keys = _copy(own[f"{name}/keys"])
        values = own.get(f"{name}/values", np.zeros(distance_vectors(config)))  # the library always adds some
        attention.relative_position_values = _copy(values)


def _copy(array: Any) -> np.ndarray:
    return np.array(array, np.float32)  # quantisation works in place


def _fill_linear(linear: Any, own: Arrays, names: Sequence[str]) -> None:
    """Fill a linear layer with one of ours, or with several side by side."""
    linear.weight = np.concatenate([np.asarray(own[f"{name}/kernel"]).T for name in names])
    linear.bias = np.concatenate([own[f"{name}/bias"] for name in names])


def _fill_norm(spec: Any, own: Arrays, name: str) -> None:
    spec.gamma, spec.beta = _copy(own[f"{name}/gamma"]), _copy(own[f"{name}/beta"])
