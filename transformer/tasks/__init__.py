"""The tasks that can be trained, by name, and those that a user adds with `--task FILE:CLASS`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
import typing
from pathlib import Path

from transformer.config.tasks import register_settings
from transformer.system.errors import UserError, nearest
from transformer.system.messages import called

if typing.TYPE_CHECKING:
    from transformer.tasks.base import Task

BUILT_IN = {
    "translation": "transformer.tasks.translation:Translation",
    "language-model": "transformer.tasks.language_model:LanguageModel",
    "masked-lm": "transformer.tasks.masked_lm:MaskedLM",
    "denoising": "transformer.tasks.denoising:Denoising",
    "classification": "transformer.tasks.classification:Classification",
    "tagging": "transformer.tasks.tagging:Tagging",
    "question-answering": "transformer.tasks.question_answering:QuestionAnswering",
    "contrastive": "transformer.tasks.contrastive:Contrastive",
}
COMMANDS = {
    "translation": "translate",
    "denoising": "translate",
    "language-model": "generate",
    "masked-lm": "predict",
    "classification": "predict",
    "tagging": "predict",
    "question-answering": "predict",
    "contrastive": "embed",
}  # which work with a run of a task
_LOADED: dict[str, type[Task]] = {}


def task_class(name: str) -> type[Task]:
    """Return the task of a name, of the package or loaded by `load_task`; a UserError where there is none."""
    if name in BUILT_IN and name not in _LOADED:
        module, _, attribute = BUILT_IN[name].partition(":")
        _LOADED[name] = getattr(importlib.import_module(module), attribute)
    if name not in _LOADED:
        raise UserError(
            f"unknown task '{name}'; known: {', '.join(BUILT_IN)}.{nearest(name, BUILT_IN)} For a task of your own "
            "give --task FILE:CLASS"
        )
    return _LOADED[name]


def other_command(name: str) -> str:
    """Return what to add to the message that a run is of another task: the command that fits, if there is one."""
    return f"; use {called(COMMANDS[name])}" if name in COMMANDS else ", which this command does not know"


def load_task(place: str) -> type[Task]:
    """Run a user's file and return the task in it, which `task_class` then knows by its name.

    Args:
        place: `FILE:CLASS`, as the user gave it. It must come from the user, never from a file that was downloaded.

    Raises:
        UserError: no such file or class, an error in the file, a class that is no task, or a name that is taken.
    """
    from transformer.tasks.base import Task

    path, _, name = place.rpartition(":")
    if not path or not name:
        raise UserError(f"--task {place}: name a file and a class in it, such as examples/new_task.py:MyTask")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"--task {place}: cannot read {path}: {error.strerror}; check the path") from None
    kind = getattr(_run(path, place), name, None)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        what = "is no subclass of transformer.tasks.base.Task" if kind is not None else "is not in it"
        raise UserError(f"--task {place}: class {name} {what}")
    if missing := sorted(kind.__abstractmethods__) or [
        a for a in ("name", "columns", "features") if not hasattr(kind, a)
    ]:
        raise UserError(f"--task {place}: class {name} has no {', '.join(missing)}; see transformer/tasks/base.py")
    if kind.name in BUILT_IN:
        raise UserError(f"--task {place}: '{kind.name}' is a task of the package; give the class another name")
    try:
        register_settings(kind.name, kind.Settings)
    except ValueError as error:
        raise UserError(f"--task {place}: {error}") from None
    kind.version = hashlib.sha256(content).hexdigest()
    _LOADED[kind.name] = kind
    return kind


def _run(path: str, place: str) -> object:
    """Return the module that a file makes."""
    spec = importlib.util.spec_from_file_location(f"user_task_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--task {place}: {path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for the types of their fields
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f" in line {frame.lineno}" for frame in frames if frame.filename == path), "")
        raise UserError(f"--task {place}: {type(error).__name__}{line} of {path}: {error}") from None
    return module
