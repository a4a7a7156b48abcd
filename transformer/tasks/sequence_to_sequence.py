"""From a config and vocabularies to an encoder-decoder."""

from __future__ import annotations

import keras

from transformer.config.sections import ModelConfig
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.models.transformer import Transformer
from transformer.system.errors import UserError


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
