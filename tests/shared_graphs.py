"""Trainers and translators that share their graphs, whose tracing is most of the work of a tiny model.

A trainer whose network, optimizer and settings of a step equal those of an earlier one takes over that one's compiled
steps, after each variable in them was given the value that its own was built with. Trainers of equal tasks share the
graphs that make batches, and translators of the same models those of their searches.
"""

import dataclasses
import re
from pathlib import Path
from unittest import mock

from transformer.checkpoints.run_directory import BEST
from transformer.config.settings import AUTO, DEFAULT_RUN
from transformer.data import batches
from transformer.inference import tensorflow_engine, translator
from transformer.search.searcher import Searchers
from transformer.tasks.base import Task
from transformer.training import steps, trainer

# Settings of [training] that say when something is done, but not what a step is. The optimizer knows its own schedule.
NOT_OF_A_STEP = {"max_steps", "max_minutes", "validate_every", "save_every", "log_every", "patience", "seed"}
NOT_OF_A_STEP |= {"average_checkpoints", "average_which", "select_by", "score_examples", "validation_bleu_pairs"}
NOT_OF_A_STEP |= {"init_from", "tensorboard"}


class _Shared:
    """Steps, their attributes when they were new, and whether a trainer has them."""

    def __init__(self, steps):
        self.steps, self.new, self.taken = steps, dict(vars(steps)), False

    def become(self, fresh):
        """Put the steps into the state of others that have just been made."""
        graph = vars(self.steps).get("_train_graph")  # the one attribute that `Steps` adds later
        vars(self.steps).clear()
        vars(self.steps).update(self.new, **({"_train_graph": graph} if graph else {}))
        for ours, theirs in (
            (self.steps.model.variables, fresh.model.variables),
            (self.steps.optimizer.variables, fresh.optimizer.variables),
            (self.steps._sums, fresh._sums),
        ):
            for variable, value in zip(ours, theirs, strict=True):
                variable.assign(value)


_known = {}
_pipelines = {}
_make_graphs = batches._graphs.__wrapped__


def _graphs(task, batch_tokens, length_step):
    """Return what `batches._graphs` does, made once for all tasks that are equal."""
    key = batch_tokens, length_step, task
    if isinstance(task, Task):
        sections = (getattr(task.config, name) for name in ("task", "model", "text", "data"))
        key = batch_tokens, length_step, type(task), *sections, task.vocabularies.fingerprint()
    if key not in _pipelines:
        _pipelines[key] = _make_graphs(task, batch_tokens, length_step)
    return _pipelines[key]


batches._graphs = _graphs


def _key(steps):
    training = {name: v for name, v in dataclasses.asdict(steps.training).items() if name not in NOT_OF_A_STEP}
    # Keras numbers seed generators and optimizers through the whole process.
    shapes = [(re.sub(r"_\d+/", "/", v.path), tuple(v.shape), v.dtype) for v in steps.model.variables]
    optimizer = {**steps.optimizer.get_config(), "name": None}
    return repr((steps.model.get_config(), shapes, optimizer, training))


_searchers = {}


def _searchers_of(models):
    return _searchers.setdefault(tuple(map(id, models)), Searchers(models))  # holds the models


tensorflow_engine.Searchers = _searchers_of


_loaded = {}
_load = translator.Translator.load.__func__


def _files(run):
    """Return the files of a run, with what changes whenever they do."""
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(Path(run).rglob("*"))]


def load(cls, run=DEFAULT_RUN, which=BEST, engine=AUTO, **search):
    """Load a translator, or take the one that was loaded from the same files: its graphs take seconds to make."""
    runs = [run] if isinstance(run, (str, Path)) else run
    key = repr((cls, which, engine, [_files(path) for path in runs]))
    if key not in _loaded:
        _loaded[key] = _load(cls, run, which, engine)
    return _loaded[key].with_search(**search)


class Trainer(trainer.Trainer):
    """The package's trainer, on one device, with a batch whole: graphs of two micro-batches are twice as large."""

    def __init__(self, *arguments):
        with mock.patch.object(steps, "parallel_micro_batches", lambda strategy: 1):
            super().__init__(*arguments)

    @property
    def steps(self):
        return self._steps

    @steps.setter
    def steps(self, fresh):
        known = _known.setdefault(_key(fresh), [])
        for shared in known:
            if not shared.taken:
                shared.become(fresh)
                break
        else:
            shared = _Shared(fresh)
            known.append(shared)
        shared.taken = True
        self._steps, self.model, self.optimizer = shared.steps, shared.steps.model, shared.steps.optimizer


def taken():
    """Return what trainers have now."""
    return {shared for known in _known.values() for shared in known if shared.taken}


def give_back(keep=frozenset()):
    """Let later trainers have what is taken, but for some; the trainers that had it must not be used again."""
    for shared in taken() - keep:
        shared.taken = False


def forget():
    """Drop all graphs."""
    _known.clear()
    _pipelines.clear()
    _searchers.clear()
    _loaded.clear()
