"""From a model of another program to a run directory, and back."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transformer.checkpoints.arrays import PREFIX, model_variables, save_arrays
from transformer.checkpoints.loading import load, weight_shapes
from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.run import Config
from transformer.convert.directory import check_new, draft_export
from transformer.convert.huggingface import bert, encoder_vocabulary, encoders, fine_tuned, gpt2, llama, tables
from transformer.convert.huggingface.folder import CONFIG, SafeTensors, Tensors, read_json, read_tokenizer, write_folder
from transformer.convert.huggingface.settings import Settings
from transformer.convert.huggingface.tables import Layout, Named, check_fitting
from transformer.convert.huggingface.vocabulary import Vocabulary, original, renumbered
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.system.errors import UserError, shortened
from transformer.system.messages import say
from transformer.tasks.fine_tuning import FineTuning
from transformer.tasks.language_model import LanguageModel
from transformer.tasks.masked_lm import MaskedLM

LAYOUTS = {layout.name: layout for layout in (gpt2.LAYOUT, llama.LAYOUT, bert.LAYOUT)}


def layout_of(given: Settings) -> Layout:
    """Return the layout that a config.json names; a UserError where it is none of `LAYOUTS`."""
    kind, classes = given.values.get("model_type"), given.values.get("architectures")
    if not isinstance(kind, str) or kind not in LAYOUTS:
        raise UserError(f"{given.place}: model_type {shortened(kind)} is not known; known are {', '.join(LAYOUTS)}")
    layout = LAYOUTS[kind]
    for name in classes if isinstance(classes, list) else []:
        if name not in layout.architectures:
            raise UserError(
                f"{given.place}: architecture '{str(name)[:60]}' is not known; known are "
                f"{', '.join(layout.architectures)}"
            )
    return layout


def import_folder(folder: Path, run: Path) -> LanguageModel | MaskedLM | FineTuning:
    """Make a run of a folder, see `folder.py`, and return its task.

    Raises:
        UserError: tells what is missing, damaged, not honoured or does not fit, or that the run cannot be written.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; name the folder of a model, which holds {CONFIG}")
    given = Settings(read_json(folder, CONFIG), folder / CONFIG)
    layout = layout_of(given)
    tensors, name = SafeTensors(folder), folder.resolve().name
    if layout is bert.LAYOUT:
        read = encoder_vocabulary.read_tokenizer(folder)
        classes = given.values.get("architectures")
        for architecture in classes if isinstance(classes, list) else []:
            if architecture in bert.FINE_TUNED:
                return fine_tuned.import_fine_tuned(given, tensors, *read, run, name, architecture)
        return encoders.import_encoder(given, tensors, *read, run, name)
    return import_model(given, tensors, *read_tokenizer(folder, layout.name), run, name)


def import_model(
    given: Settings,
    tensors: Tensors,
    tokenizer: Mapping[str, Any],
    extras: Mapping[str, Any],
    run: Path,
    name: str,
) -> LanguageModel:
    """Write a run directory, whole or not at all, and return its task.

    Args:
        given: what transformers' config.json says.
        tensors: the weights, by transformers' names.
        tokenizer, extras: see `vocabulary.renumbered`.
        run: the directory.
        name: of the model.

    Raises:
        UserError: as `import_folder`.
    """
    check_new(run)
    layout = layout_of(given)
    vocabulary = renumbered(given, tokenizer, extras)
    config = config_of(layout.settings(given), vocabulary, str(given.place))
    task = LanguageModel(config, TextVocabulary(vocabulary.tokenizer), {"name": name, "fingerprint": "imported"})
    arrays = read_weights(given, Named(tensors, layout), layout, task, vocabulary.tokenizer.theirs)
    with draft_export(run, overwrite=False) as draft:
        directory = RunDirectory(draft)
        save_arrays(directory.weights(), arrays)
        directory.write(config, task.vocabularies, task.corpus)
    for told in given.warnings:
        say(f"warning: {given.place}: {told}")
    return task


def config_of(model: Mapping[str, Any], vocabulary: Vocabulary, origin: str) -> Config:
    """Return the config of a run that was imported: windows as long as the context, and greedy search."""
    longest = model["max_positions"]
    return Config().override(
        {
            "task": {"name": LanguageModel.name, "start_token": vocabulary.start},
            "model": model,
            "text": {"tokenizer": vocabulary.tokenizer.kind, "vocabulary_size": max(300, vocabulary.tokenizer.size)},
            "data": {
                "max_tokens": longest,
                "length_step": 1 if longest % 4 else 4,
                "batch_tokens": max(4096, longest),
            },
            "search": {"beam_size": 1},
        },
        origin,
    )


def read_weights(
    given: Settings, tensors: Named, layout: Layout, task: LanguageModel, ids: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the arrays of a task's network by name, compared with theirs before any is read; a UserError as above."""
    model = task.config.model
    if model.embeddings == "shared":
        tensors.drop_tied(layout.rows[0].theirs, layout.rows[-1].theirs)
    wanted = weight_shapes(task)
    groups = layout.groups(wanted, model.num_layers)
    absent = re.compile(layout.absent(given))
    empty = [row.ours for name, rows in groups.items() if absent.fullmatch(name) for row in rows]
    groups = {name: rows for name, rows in groups.items() if not absent.fullmatch(name)}
    tables.check_tensors(tensors, groups, wanted, ids)
    arrays = tables.read(tensors, groups, ids) | {name: np.zeros(wanted[name], np.float32) for name in empty}
    for i in range(model.num_layers):
        scale = layout.query_scale(given, i)
        for part in ("kernel", "bias"):
            name = f"{PREFIX}layer{i + 1}/mha/wq/{part}"
            if scale != 1.0 and name in arrays:
                arrays[name] = arrays[name] * np.float32(scale)
    return arrays


def export_run(run: RunDirectory, which: str, folder: Path) -> str:
    """Write a run as a folder that transformers loads, whole or not at all; returns the class that loads it.

    Args:
        run: the run.
        which: `best` or `last` weights.
        folder: to write.

    Raises:
        UserError: the run cannot be loaded, is of a kind that no layout has, or the folder cannot be written.
    """
    check_new(folder)
    task, network = load(run, which)
    if isinstance(task, MaskedLM):
        return encoders.export_encoder(task, network, run.path, folder)
    if isinstance(task, FineTuning):
        return fine_tuned.export_fine_tuned(task, network, run.path, folder)
    if not isinstance(task, LanguageModel):
        raise UserError(f"{run.path} is a run of the task {task.name}, which no such folder holds")
    model = task.config.model
    layout = LAYOUTS["llama" if model.norm == "rms" else "gpt2"]
    check_fitting(layout, model, run.path)
    their = original(task.tokenizer, task.config.task.start_token)
    arrays = {name: variable.numpy() for name, variable in model_variables(network).items()}
    groups = layout.groups({name: array.shape for name, array in arrays.items()}, model.num_layers)
    tensors = {layout.full(name): array for name, array in tables.written(arrays, groups, their.ids).items()}
    config = {
        "architectures": [layout.architectures[0]],
        "model_type": layout.name,
        "torch_dtype": "float32",
        "tie_word_embeddings": model.embeddings != "separate",
        "vocab_size": int(their.ids.max()) + 1,
        **their.special,
        **layout.config(model),
    }
    with draft_export(folder, overwrite=False) as draft:
        write_folder(draft, dict(sorted(config.items())), tensors, their.tokenizer, their.extras)
    return layout.architectures[0]
