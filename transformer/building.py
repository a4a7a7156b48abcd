"""From a config and vocabularies to a model, and from a model to its weights by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import keras

from transformer.config.sections import ModelConfig
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.models.transformer import Transformer
from transformer.system.errors import UserError

PREFIX = "model/"  # of the names of a model's weights in a file


def check_buildable(config: ModelConfig, tokenizers: TokenizerPair) -> None:
    """Refuse sizes of which no model can be built with these vocabularies.

    Raises:
        UserError: shared embeddings with two vocabularies, or an activation that Keras does not know.
    """
    try:
        usable = keras.activations.get(config.activation)(keras.ops.zeros((1, 2))).shape == (1, 2)
    except (ValueError, TypeError):
        usable = False
    if not usable:
        raise UserError(
            f"model.activation '{config.activation}' is unknown to Keras, or changes the width; take one such as "
            "'relu', 'gelu' or 'silu'"
        )
    if config.embeddings == "shared" and not tokenizers.joint:
        raise UserError("model.embeddings = 'shared' needs text.joint = true; set it, or embeddings = 'target'")


def build_model(config: ModelConfig, tokenizers: TokenizerPair, precision: str = "float32") -> Transformer:
    """Return a built, untrained model of the configured sizes.

    Args:
        config: the sizes.
        tokenizers: whose vocabularies the embeddings hold.
        precision: of products and activations, see `TrainingConfig`; the weights are float32 in any case.

    Raises:
        UserError: see `check_buildable`.
    """
    check_buildable(config, tokenizers)
    model = Transformer(
        num_layers=config.num_layers,
        d_model=config.d_model,
        num_heads=config.num_heads,
        dff=config.dff,
        input_vocab_size=tokenizers.source.vocabulary_size,
        target_vocab_size=tokenizers.target.vocabulary_size,
        pe_input=config.max_positions,
        pe_target=config.max_positions,
        rate=config.dropout_rate,
        activation=config.activation,
        attention_rate=config.attention_dropout_rate,
        feed_forward_rate=config.feed_forward_dropout_rate,
        norm_first=config.norm_first,
        embeddings=config.embeddings,
        positions=config.positions,
        dtype=precision if precision == "float32" else f"mixed_{precision}",
        name="transformer",
    )
    model.build()
    return model


def model_variables(model: Transformer) -> dict[str, keras.Variable]:
    """Return the weights of a model by name, the same in every process."""
    return {f"{PREFIX}{v.path.removeprefix(model.name + '/')}": v for v in model.trainable_variables}


def weight_shapes(config: ModelConfig, tokenizers: TokenizerPair) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what `model_variables` returns for a model of these sizes, which is not built for it.

    It takes no memory for weights, and no more time for many layers: all layers are like the first.

    Raises:
        UserError: see `check_buildable`.
    """
    # Keras would make the variables at the end of the next scope of its thread: so this thread ends before.
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(_shapes_of_first_layers, config, tokenizers).result()
    numbers = range(1, config.num_layers + 1)
    return {
        name.replace("/layer1/", f"/layer{number}/"): shape
        for name, shape in first.items()
        for number in (numbers if "/layer1/" in name else numbers[:1])
    }


def _shapes_of_first_layers(config: ModelConfig, tokenizers: TokenizerPair) -> dict[str, tuple[int, ...]]:
    with keras.StatelessScope(initialize_variables=False):
        model = build_model(dataclasses.replace(config, num_layers=1), tokenizers)
    return {name: tuple(variable.shape) for name, variable in model_variables(model).items()}


def numbered(prefix: str, variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """Return variables under numbers, for those whose own names differ between processes."""
    return {f"{prefix}/{i:04d}": variable for i, variable in enumerate(variables)}
