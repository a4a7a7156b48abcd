"""A classifier as a Keras model that outputs probabilities, for `keras.models.load_model`, `compile` and `fit`.

OUT/config.json, metadata.json, model.weights.h5   what Keras saves without packing it
OUT/tokenizer/                                     vocabulary and labels, as in a run directory
"""

from pathlib import Path

import keras

from transformer.models.heads import Classifier
from transformer.system.errors import UserError
from transformer.tasks import other_command
from transformer.tasks.base import Task
from transformer.tasks.classification import Classification

OUTPUTS = {"single": "softmax", "several": "sigmoid", "number": "logits"}  # of each kind of label


def with_probabilities(task: Classification, network: Classifier) -> Classifier:
    """Return a classifier with the same weights whose outputs are probabilities; of numbers, they are as they were.

    `compile(loss="sparse_categorical_crossentropy")` asks for probabilities: of logits it learns nothing right.
    """
    copy = Classifier.from_config({**network.get_config(), "outputs": OUTPUTS[task.kind]})
    copy.build()
    copy.set_weights(network.get_weights())
    return copy


def write(task: Task, network: keras.Model, folder: Path) -> dict[str, object]:
    """Write the model of a run into a folder; returns what is to be said of it.

    Raises:
        UserError: the run is no classifier.
    """
    if not isinstance(task, Classification) or not isinstance(network, Classifier):
        raise UserError(
            f"--format keras is for runs of the task classification, got {task.config.task.name}"
            f"{other_command(task.config.task.name)}"
        )
    with_probabilities(task, network).save(folder, zipped=False)
    task.vocabularies.save(folder / "tokenizer")
    return {"labels": list(task.classes), "outputs": OUTPUTS[task.kind]}
