"""Solutions of notebook 2. Each trains the notebook's model again: `python solutions/02_train_a_translator.py`."""

import contextlib
import io
from pathlib import Path

import numpy as np

from transformer import plots
from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.presets import DEFAULT_CONFIG, read_config
from transformer.data.batches import batches
from transformer.training.trainer import Trainer


def trained(config, run, **training):
    """Train what a config describes with these settings; returns the records of its metrics, and what it reported."""
    log = io.StringIO()
    with contextlib.redirect_stderr(log):
        Trainer(config.override({"training": training}), RunDirectory(run)).train()
    return plots.read_metrics(run), log.getvalue()


def figures(records, event, field):
    """Return a field of all records of an event."""
    return [record[field] for record in records if record["event"] == event and field in record]


def exercise_1(config, folder):
    """Return the losses with the usual peak of the learning rate, and with one ten times as high.

    Adam's steps are as long as the learning rate, whatever the gradient. Too long ones jump over the valley: the
    norm of the gradient stays high, and the loss falls late or not at all.
    """
    usual, _ = trained(config, folder / "usual")
    high, _ = trained(config, folder / "high", peak_learning_rate=10 * (config.training.peak_learning_rate or 0.003))
    return figures(usual, "validation", "loss"), figures(high, "validation", "loss")


def exercise_2(config, folder):
    """Return the last training loss with and without label smoothing.

    Without it the loss may fall to 0, below the floor. BLEU is often a little worse: a model that is too sure of its
    training sentences is sure of its mistakes, too.
    """
    smoothed, _ = trained(config, folder / "smoothed", label_smoothing=0.1)
    plain, _ = trained(config, folder / "plain", label_smoothing=0.0)
    return figures(smoothed, "train", "loss")[-1], figures(plain, "train", "loss")[-1]


def exercise_3(config, folder, size=500):
    """Return the loss of a token with two vocabularies.

    It cannot be compared: with fewer subwords a sentence has more tokens, and each is easier to guess. Nor can
    perplexity. BLEU counts words of the text, and can.
    """
    few, _ = trained(config.override({"text": {"vocabulary_size": size}}), folder / "few")
    usual, _ = trained(config, folder / "usual_vocabulary")
    return figures(few, "validation", "loss")[-1], figures(usual, "validation", "loss")[-1]


def exercise_4(trainer):
    """Return whether the first batch of two epochs is the same: it is not, because each epoch is shuffled anew."""
    data, task = trainer.data, trainer.data.task
    name, settings = next(iter(task.features)), trainer.config.data
    one, other = (
        next(iter(batches(data.shards, task, settings, seed=1, epoch=epoch)))[name].numpy() for epoch in (0, 1)
    )
    return np.array_equal(one, other)


def exercise_5(config, run):
    """Return what a trainer reports that finds half of its run done: "continuing at step ..."."""
    steps = config.training.max_steps
    trained(config, run, max_steps=steps // 2)
    return trained(config, run, max_steps=steps)[1]


if __name__ == "__main__":
    recipe = {"max_steps": 240, "warmup_steps": 60, "averaging": 0.9, "validate_every": 80, "score_examples": 100}
    config, folder = read_config(DEFAULT_CONFIG).override({"training": recipe}), Path("../runs/solutions_2")
    print("1: validation losses, usual and high peak:", *exercise_1(config, folder))
    print("2: training loss, smoothed and not:", *exercise_2(config, folder))
    print("3: loss a token, 500 and 4,000 subwords:", *exercise_3(config, folder))
    with contextlib.redirect_stderr(io.StringIO()):
        trainer = Trainer(config, RunDirectory(folder / "batches"))
    print("4: the same first batch in both epochs?", exercise_4(trainer))
    print("5:", next(line for line in exercise_5(config, folder / "halves").splitlines() if "continuing" in line))
