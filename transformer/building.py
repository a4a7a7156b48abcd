"""From a config and vocabularies to a model, and from a model to its weights by name."""

from __future__ import annotations

from collections.abc import Iterable

import keras

from transformer.config import ModelConfig, UserError
from transformer.data.tokenizers import TokenizerPair
from transformer.layers.positions import KINDS
from transformer.models.translation import Transformer


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


def count_weights(config: ModelConfig, tokenizers: TokenizerPair) -> int:
    """Return how many numbers the weights of a model hold, which need not be built for it."""
    width, inner = config.d_model, config.dff
    attention, feed_forward, norm = 4 * (width + 1) * width, (width + 1) * inner + (inner + 1) * width, 2 * width
    layers = config.num_layers * (3 * attention + 2 * feed_forward + 5 * norm)  # of the encoder and the decoder
    source, target = tokenizers.source.vocabulary_size, tokenizers.target.vocabulary_size
    tables = {"shared": 0, "target": target * width, "separate": target * (2 * width + 1)}
    positions = 2 * KINDS[config.positions].weights_for(config.max_positions, width)
    return layers + source * width + tables[config.embeddings] + positions + 2 * norm * config.norm_first


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
    return {f"model/{v.path.removeprefix(model.name + '/')}": v for v in model.trainable_variables}


def numbered(prefix: str, variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """Return variables under numbers, for those whose own names differ between processes."""
    return {f"{prefix}/{i:04d}": variable for i, variable in enumerate(variables)}
