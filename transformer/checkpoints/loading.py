"""From the files of a run to its network."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import keras

from transformer.checkpoints.arrays import model_variables
from transformer.config.sections import ModelConfig
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.tasks.sequence_to_sequence import build_model


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
