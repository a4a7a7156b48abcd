"""What a run needs before its first step: a corpus, vocabularies, stored rows, and its directory."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from transformer.checkpoints.run_directory import RunDirectory, check_same_run
from transformer.config.run import Config
from transformer.data.records import Shards, stored_shards
from transformer.layers.positions import check_kind
from transformer.system.errors import UserError
from transformer.tasks import task_class
from transformer.tasks.base import Corpus, Learned, Task
from transformer.training.optimizer import build_schedule, check_layers
from transformer.training.starting_weights import check_fits


class TrainingData(NamedTuple):
    """The examples of a run, as they are and as rows."""

    corpus: Corpus
    task: Task
    shards: Shards
    validation_shards: Shards


def prepare_new_run(config: Config, run: RunDirectory, say: Callable[[str], None]) -> TrainingData:
    """Learn the vocabularies or take those of `init_from`, store the rows, and write what stays the same in the run.

    Nothing is written into the run directory before everything has been checked.

    Args:
        config: of the new run.
        run: a directory that holds no run.
        say: tells the user what is going on.

    Raises:
        UserError: bad input, or a directory that cannot be written.
    """
    check_kind(config.model.positions)
    kind = task_class(config.task.name)
    corpus = kind.read(config)
    corpus.check()
    for warning in corpus.warnings():
        say(f"warning: {warning}")
    if config.training.init_from:
        vocabularies = _vocabularies_of(RunDirectory(config.training.init_from), kind, corpus, config)
    else:
        say(f"learning the vocabulary from {corpus.name}")
        vocabularies = kind.learn(corpus, config)
    task = kind(config, vocabularies, corpus.describe())
    if config.training.init_from:
        check_fits(RunDirectory(config.training.init_from), task)
    check_layers(config, type(task).depths is not Task.depths)
    build_schedule(config)
    say(f"{task.describe()}; cleaning and encoding")
    data = _stored(corpus, task, say)
    run.create(config, vocabularies, task.corpus)
    return data


def _vocabularies_of(other: RunDirectory, kind: type[Task], corpus: Corpus, config: Config) -> Learned:
    """Return the vocabularies of a run whose weights fit, at least some of them."""
    ours, theirs = config.model.d_model, other.config().model.d_model
    if ours != theirs:
        raise UserError(f"no weight of {other.path} fits: model.d_model is {ours} here and {theirs} there")
    return kind.adopt(other.vocabularies, corpus, config)


def load_prepared_run(config: Config, run: RunDirectory, say: Callable[[str], None]) -> TrainingData:
    """Take the vocabularies of a run that was begun, and store the rows; another run or corpus is a UserError."""
    check_same_run(run.config(), config, run.path)
    kind = task_class(config.task.name)
    corpus = kind.read(config)
    if run.corpus()["fingerprint"] != corpus.fingerprint():
        raise UserError(f"{run.path} was trained on another corpus; choose another --run or remove it")
    return _stored(corpus, kind(config, kind.Vocabularies.load(run.vocabularies), corpus.describe()), say)


def _stored(corpus: Corpus, task: Task, say: Callable[[str], None]) -> TrainingData:
    return TrainingData(corpus, task, *(stored_rows(corpus, split, task, say) for split in ("train", "validation")))


def stored_rows(corpus: Corpus, split: str, task: Task, say: Callable[[str], None] = lambda _: None) -> Shards:
    """Return `stored_shards` of a split; they are made again where anything that decides what they hold has changed."""
    config = task.config
    identity = {
        "corpus": corpus.describe(),
        "vocabularies": task.vocabularies.fingerprint(),
        "task": [dataclasses.asdict(config.task), task.version, task.columns],
        "cleaning": dataclasses.asdict(config.cleaning) if split == "train" else None,
        "max_tokens": config.data.max_tokens,
        "validation_pairs": config.data.validation_pairs,
    }
    return stored_shards(corpus, split, task.encode, identity, config.data, say, task.examples_together)
