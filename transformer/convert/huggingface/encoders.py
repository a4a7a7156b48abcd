"""From a BERT of another program to a run directory of masked language modelling, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transformer.checkpoints.arrays import PREFIX, model_variables, save_arrays
from transformer.checkpoints.loading import weight_shapes
from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.run import Config
from transformer.config.settings import ModelConfig
from transformer.convert.directory import check_new, draft_export
from transformer.convert.huggingface import tables
from transformer.convert.huggingface.bert import HEAD, LAYOUT, NEXT_SENTENCE, POOLER, TIED
from transformer.convert.huggingface.encoder_vocabulary import original, renumbered
from transformer.convert.huggingface.folder import Tensors, write_folder
from transformer.convert.huggingface.settings import Settings
from transformer.convert.huggingface.tables import Layout, Named, check_fitting
from transformer.convert.huggingface.vocabulary import Their
from transformer.data.tokenizers.imported import Imported
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.system.errors import UserError
from transformer.tasks.masked_lm import MaskedLM

UNTRAINED = "untrained_head"  # in what a run knows of its corpus: 'yes' where the masked-LM head began at random


def import_encoder(
    given: Settings,
    tensors: Tensors,
    tokenizer: Mapping[str, Any],
    extras: Mapping[str, Any],
    run: Path,
    name: str,
) -> MaskedLM:
    """Write a run directory, whole or not at all, and return its task.

    Without a masked-LM head, that of the run has random weights, and is left out on the way back.

    Args:
        given: what transformers' config.json says.
        tensors: the weights, by transformers' names.
        tokenizer, extras: see `encoder_vocabulary.renumbered`.
        run: the directory.
        name: of the model.

    Raises:
        UserError: tells what is missing, damaged, not honoured or does not fit, or that the run cannot be written.
    """
    check_new(run)
    named = Named(tensors, LAYOUT)
    segments = given.size("type_vocab_size", 2)
    tied = given.take("tie_word_embeddings", True, bool)
    vocabulary = renumbered(given, tokenizer, extras)
    head = any(key.startswith(HEAD) for key in named.shapes)
    pooler, pairs = (any(key.startswith(part) for key in named.shapes) for part in (POOLER, NEXT_SENTENCE))
    if head and not tied:
        raise given.refuse("tie_word_embeddings", "the output of a masked-LM head is the embedding here")
    if pairs and not pooler:
        raise UserError(f"{named.place} has weights of next sentences and none of a pooler, which they need")
    own = {"next_sentence": pairs, "pooler": pooler, "segments": segments}
    config = run_config(given, LAYOUT.settings(given), vocabulary, {"name": MaskedLM.name, **own})
    corpus = {"name": name, "fingerprint": "imported"} | ({} if head else {UNTRAINED: "yes"})
    task = MaskedLM(config, TextVocabulary(vocabulary), corpus)
    arrays = _read(named, task, vocabulary.theirs, head)
    with draft_export(run, overwrite=False) as draft:
        directory = RunDirectory(draft)
        save_arrays(directory.weights(), arrays)
        directory.write(config, task.vocabularies, task.corpus)
    return task


def run_config(
    given: Settings, model: Mapping[str, Any], vocabulary: Imported, task: Mapping[str, Any], longest: int = 0
) -> Config:
    """Return the config of a run that was imported, whose rows are as long as its positions, or as `longest` says."""
    longest = min(longest or model["max_positions"], model["max_positions"])
    return Config().override(
        {
            "task": task,
            "model": model,
            "text": {"tokenizer": vocabulary.kind, "vocabulary_size": max(300, vocabulary.size)},
            "data": {
                "max_tokens": longest,
                "length_step": 1 if longest % 4 else 4,
                "batch_tokens": max(4096, longest),
            },
            "training": {"label_smoothing": 0.0},
        },
        str(given.place),
    )


def _read(tensors: Named, task: MaskedLM, ids: np.ndarray, head: bool) -> dict[str, np.ndarray]:
    """Return the arrays of a task's network by name, compared with theirs before any is read."""
    for one, other in TIED:
        tensors.drop_tied(one, other)
    wanted = weight_shapes(task)
    groups = LAYOUT.groups(wanted, task.config.model.num_layers)
    missing = [name for name in groups if name.startswith(HEAD) and not head]
    own = {row.ours: wanted[row.ours] for name in missing for row in groups.pop(name)}
    tables.check_tensors(tensors, groups, wanted, ids)
    return tables.read(tensors, groups, ids) | _untrained(own)


def _untrained(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return weights of a head that nobody has trained: its kernel as `keras.layers.Dense` begins, norm and biases."""
    kernel = keras.initializers.GlorotUniform(seed=1)
    found = {}
    for name, shape in shapes.items():
        part = name.rpartition("/")[2]
        found[name] = np.asarray(kernel(shape)) if part == "kernel" else np.full(shape, float(part == "gamma"))
    return {name: array.astype(np.float32) for name, array in found.items()}


def export_encoder(task: MaskedLM, network: keras.Model, run: Path, folder: Path) -> str:
    """Write a run as a folder that transformers loads, whole or not at all; returns the class that loads all of it.

    Args:
        task: of the run.
        network: with its weights.
        run: where they are from, for messages.
        folder: to write.

    Raises:
        UserError: the run is of a kind that the layout does not have, or the folder cannot be written.
    """
    model, settings = task.config.model, task.settings
    check_fitting(LAYOUT, model, run)
    their = original(task.tokenizer)
    arrays = {name: variable.numpy() for name, variable in model_variables(network).items()}
    untrained = task.corpus.get(UNTRAINED) == "yes"
    if untrained:
        arrays = {name: array for name, array in arrays.items() if not name.startswith(f"{PREFIX}masked_lm/")}
    whole = "BertForPreTraining" if task.pairs else "BertForMaskedLM"
    architecture = "BertModel" if untrained and not task.pairs else whole
    write(folder, LAYOUT, architecture, model, arrays, their, {"type_vocab_size": settings.segments})
    return architecture


def write(
    folder: Path,
    layout: Layout,
    architecture: str,
    model: ModelConfig,
    arrays: Mapping[str, np.ndarray],
    their: Their,
    more: Mapping[str, Any],
) -> None:
    """Write a folder, whole or not at all; a UserError tells that it cannot be written.

    Args:
        folder: to write.
        layout: of the weights.
        architecture: the class that loads it.
        model: its sizes.
        arrays: our weights by name.
        their: the tokenizer.
        more: keys of config.json that are neither the model's nor the tokenizer's.
    """
    groups = layout.groups({name: array.shape for name, array in arrays.items()}, model.num_layers)
    full = (lambda name: name) if architecture == "BertModel" else layout.full
    tensors = {full(name): array for name, array in tables.written(arrays, groups, their.ids).items()}
    config = {
        "architectures": [architecture],
        "model_type": layout.name,
        "torch_dtype": "float32",
        "tie_word_embeddings": True,
        "vocab_size": int(their.ids.max()) + 1,
        **their.special,
        **layout.config(model),
        **more,
    }
    with draft_export(folder, overwrite=False) as draft:
        write_folder(draft, dict(sorted(config.items())), tensors, their.tokenizer, their.extras)
