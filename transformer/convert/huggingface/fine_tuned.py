"""From a fine-tuned BERT of another program to a run of classification, tagging or question answering, and back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transformer.checkpoints.arrays import PREFIX, model_variables, save_arrays
from transformer.checkpoints.loading import weight_shapes
from transformer.checkpoints.run_directory import RunDirectory
from transformer.convert.directory import check_new, draft_export
from transformer.convert.huggingface import bert, tables
from transformer.convert.huggingface.encoder_vocabulary import original, renumbered
from transformer.convert.huggingface.encoders import run_config, write
from transformer.convert.huggingface.folder import Tensors
from transformer.convert.huggingface.settings import Settings
from transformer.convert.huggingface.tables import Named, check_fitting
from transformer.data.tag_schemes import OUTSIDE, SCHEMES, known
from transformer.data.tokenizers.labelled import LabelledVocabulary
from transformer.data.tokenizers.labels import Labels
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.system.errors import UserError
from transformer.tasks.classification import Classification
from transformer.tasks.fine_tuning import FineTuning
from transformer.tasks.question_answering import QuestionAnswering
from transformer.tasks.tagging import Tagging

PROBLEMS = {  # `problem_type` in config.json, by [task] kind
    "single": "single_label_classification",
    "several": "multi_label_classification",
    "number": "regression",
}
TASKS: dict[str, type[FineTuning]] = {task.name: task for task in (Classification, Tagging, QuestionAnswering)}
CLASSES = {  # transformers' class, by our task
    Classification.name: "BertForSequenceClassification",
    Tagging.name: "BertForTokenClassification",
    QuestionAnswering.name: "BertForQuestionAnswering",
}
THRESHOLD = f"{PREFIX}threshold"  # which transformers has no place for: in config.json it has this package's own key
NO_ANSWER = "no_answer_threshold"
WINDOW = 384  # tokens of a question and a part of the text (Devlin et al. 2019, the published code)


def import_fine_tuned(
    given: Settings,
    tensors: Tensors,
    tokenizer: Mapping[str, Any],
    extras: Mapping[str, Any],
    run: Path,
    name: str,
    architecture: str,
) -> FineTuning:
    """Write a run directory, whole or not at all, and return its task.

    A classifier reads texts and pairs of texts: config.json does not tell for which it was trained. One that answers
    questions always finds an answer, as transformers' has it by default, unless config.json has a `NO_ANSWER`, which
    this package writes.

    Args:
        given, tensors, tokenizer, extras, run, name: as of `encoders.import_encoder`.
        architecture: one of `bert.FINE_TUNED`.

    Raises:
        UserError: as of `encoders.import_encoder`.
    """
    check_new(run)
    layout = bert.fine_tuned(architecture)
    given.only("type_vocab_size", 2)
    given.pass_over("tie_word_embeddings")  # there is no output over the vocabulary
    threshold = _threshold(given) if architecture == CLASSES[QuestionAnswering.name] else None
    vocabulary = renumbered(given, tokenizer, extras)
    model = layout.settings(given)
    if architecture == CLASSES[Classification.name]:
        settings, lists = _classes(given)
    elif architecture == CLASSES[Tagging.name]:
        tags = _labels(given)
        scheme = next(scheme for scheme in SCHEMES if _is_of(scheme, tags))
        settings, lists = {"name": Tagging.name, "scheme": scheme}, {"label": tags, "count": ["1"] * len(tags)}
    else:
        part = min(WINDOW, model["max_positions"]) // 4
        sizes = {"stride": min(128, part), "longest_question": min(64, part)}
        settings, lists = {"name": QuestionAnswering.name, **sizes}, {"label": ["answer"]}
        if threshold is not None:
            lists["label"] = ["answer", "none"]
    longest = WINDOW if settings["name"] == QuestionAnswering.name else 0
    config = run_config(given, model, vocabulary, settings, longest)
    labelled = LabelledVocabulary(TextVocabulary(vocabulary), Labels(lists))
    task = TASKS[config.task.name](config, labelled, {"name": name, "fingerprint": "imported"})
    wanted = weight_shapes(task)
    groups = layout.groups(wanted, config.model.num_layers)
    named = Named(tensors, layout)
    tables.check_tensors(named, groups, wanted, vocabulary.theirs)
    arrays = tables.read(named, groups, vocabulary.theirs)
    if THRESHOLD in wanted:
        arrays[THRESHOLD] = np.array(threshold or 0.0, np.float32)
    with draft_export(run, overwrite=False) as draft:
        directory = RunDirectory(draft)
        save_arrays(directory.weights(), arrays)
        directory.write(config, task.vocabularies, task.corpus)
    return task


def _threshold(given: Settings) -> float | None:
    """Return by how much the score of an answer must exceed that of none; None: there always is one."""
    threshold: float | None = given.take(NO_ANSWER, None, float)
    if threshold is not None and not abs(threshold) <= float(np.finfo(np.float32).max):
        raise given.refuse(NO_ANSWER, "it must be a finite number")
    return threshold


def _labels(given: Settings) -> list[str]:
    """Return the labels in the order of their ids; without names they are LABEL_0, LABEL_1, ..."""
    names = given.take("id2label", {}, dict)
    count = given.size("num_labels", len(names) or 2)
    found = [names.get(str(i), f"LABEL_{i}") for i in range(len(names) or count)]
    if names and names.keys() != {str(i) for i in range(len(names))}:
        raise given.refuse("id2label", "its keys must be the numbers from 0 on")
    if not all(isinstance(label, str) and label for label in found) or len(set(found)) != len(found):
        raise given.refuse("id2label", "its labels must be different texts")
    if names and count != len(names):
        raise given.refuse("num_labels", f"id2label has {len(names)}")
    return found


def _classes(given: Settings) -> tuple[dict[str, Any], dict[str, Sequence[str]]]:
    """Return the settings and lists of a classifier."""
    labels = _labels(given)
    problem = given.take("problem_type", PROBLEMS["number" if len(labels) == 1 else "single"], str)
    kinds = {theirs: ours for ours, theirs in PROBLEMS.items()}
    if problem not in kinds:
        raise given.refuse("problem_type", f"it may be {', '.join(kinds)}")
    kind = kinds[problem]
    if (kind == "number" and len(labels) != 1) or (kind == "single" and len(labels) < 2):
        raise given.refuse("problem_type", f"with {len(labels)} labels it cannot be that")
    lists: dict[str, Sequence[str]] = {"label": labels, "count": ["1"] * len(labels), "texts": []}
    if kind == "number":
        lists = {"label": [], "count": [], "texts": [], "scale": ["0.0", "1.0"]}
    return {"name": Classification.name, "kind": kind}, lists


def _is_of(scheme: str, tags: Sequence[str]) -> bool:
    """Return whether tags are those of a scheme: none can only go on with an entity that no tag begins."""
    begun = {tag[2:] for tag in tags if tag.startswith("B-")}
    inside = {tag[2:] for tag in tags if tag[:2] in ("I-", "E-")}
    return all(known(scheme, tag) for tag in tags) and (
        scheme == "plain" or (OUTSIDE in tags and bool(begun) and inside <= begun)
    )


def export_fine_tuned(task: FineTuning, network: keras.Model, run: Path, folder: Path) -> str:
    """Write a run as a folder that transformers loads, whole or not at all; returns the class that loads it.

    The threshold below which a question has no answer becomes the key `NO_ANSWER` of config.json, which transformers
    keeps and does not read; a number's mean and deviation become part of the head.

    Args:
        task, network, run, folder: as of `encoders.export_encoder`.

    Raises:
        UserError: the run is of a kind that the layout does not have, or the folder cannot be written.
    """
    if task.name not in CLASSES:
        raise UserError(f"{run} is a run of the task {task.name}, which no such folder holds")
    architecture, model = CLASSES[task.name], task.config.model
    layout = bert.fine_tuned(architecture)
    check_fitting(layout, model, run)
    arrays = {name: variable.numpy() for name, variable in model_variables(network).items() if name != THRESHOLD}
    more: dict[str, Any] = {"type_vocab_size": 2}
    labels: Sequence[str] = ()
    if isinstance(task, Classification):
        if task.settings.pooling != "first":
            raise UserError(
                f"{run} cannot be written in bert's layout: task.pooling is '{task.settings.pooling}', and there it is "
                "'first'"
            )
        more["problem_type"], labels = PROBLEMS[task.kind], task.classes or ("LABEL_0",)
        if task.kind == "number":
            arrays[f"{PREFIX}head/kernel"] *= np.float32(task.deviation)
            arrays[f"{PREFIX}head/bias"] = arrays[f"{PREFIX}head/bias"] * np.float32(task.deviation) + np.float32(
                task.mean
            )
    elif isinstance(task, Tagging):
        labels = task.tags
    elif isinstance(task, QuestionAnswering) and task.may_have_none:
        more[NO_ANSWER] = float(network.threshold)
    if labels:
        more["id2label"] = {str(i): label for i, label in enumerate(labels)}
        more["label2id"] = {label: i for i, label in enumerate(labels)}
    write(folder, layout, architecture, model, arrays, original(task.tokenizer), more)
    return architecture
