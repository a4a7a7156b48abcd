"""Which engines a run has, or several runs that translate together."""

from collections.abc import Sequence
from pathlib import Path

from transformer.checkpoints.run_directory import RunDirectory
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.inference import ctranslate2_cache, ctranslate2_engine
from transformer.inference.engine import Engine, Engines
from transformer.system.errors import UserError
from transformer.system.messages import say
from transformer.system.tensorflow import have_tensorflow
from transformer.tasks import COMMANDS, other_command

DENOISING = "denoising"
OURS = ("translation", DENOISING)  # tasks of one network and one kind of vocabularies


def engines_of_runs(runs: Sequence[RunDirectory], which: str, wanted: str) -> tuple[Engines, TokenizerPair]:
    """Return the engines of runs, of which none is opened yet, and their tokenizers.

    Args:
        runs: one, or several of one vocabulary.
        which: `best` or `last` weights.
        wanted: one of `engine.ENGINES`.

    Raises:
        ValueError: `wanted` is another.
        UserError: a run is missing or damaged, is of another task, or has another vocabulary than the first.
    """
    names = [run.config().task.name for run in runs]
    for run, name in zip(runs, names, strict=True):
        if name in COMMANDS and name not in OURS:
            raise UserError(f"{run.path} is a run of the task '{name}'{other_command(name)}")
    own, here = [name for name in names if name not in OURS], Path.cwd()

    def reference() -> Engine:
        have_tensorflow()
        from transformer.inference.tensorflow_engine import opened

        moved = Path.cwd() != here  # it may be opened long after the other
        return opened([here / run.path if moved else run.path for run in runs], which)

    def fast() -> Engine:
        return ctranslate2_cache.opened(runs[0].trained_weights(which), runs[0].config().model, tokenizers)

    if own:  # whatever its network is
        tokenizers = _loaded(runs)
        return Engines(
            reference, wanted=wanted, without_fast=f"CTranslate2 does not know the task '{own[0]}'"
        ), tokenizers
    tokenizers = _one_vocabulary(runs, [TokenizerPair.load(run.vocabularies) for run in runs])
    if len(runs) > 1:
        return Engines(reference, wanted=wanted, without_fast="CTranslate2 translates with one model"), tokenizers
    return Engines(reference, fast, ctranslate2_engine.refused, wanted), tokenizers


def prepare(run: RunDirectory) -> None:
    """Convert a run's best weights for CTranslate2, so that its first translation need not wait for that.

    Where that cannot be done, a line says why.
    """
    try:
        ctranslate2_cache.prepare(run.trained_weights(), run.config().model, TokenizerPair.load(run.vocabularies))
    except UserError as error:
        say(f"not converted for CTranslate2: {error}")


def _loaded(runs: Sequence[RunDirectory]) -> TokenizerPair:
    """Return the tokenizers of runs of which some are of a user's own task."""
    have_tensorflow()
    from transformer.checkpoints.loading import load_task_of
    from transformer.tasks.translation import Translation

    tasks = [load_task_of(run) for run in runs]
    for run, task in zip(runs, tasks, strict=True):
        if not isinstance(task, Translation):
            raise UserError(f"{run.path} is a run of the task '{task.name}', which does not translate")
    return _one_vocabulary(runs, [task.vocabularies for task in tasks])


def _one_vocabulary(runs: Sequence[RunDirectory], every: Sequence[TokenizerPair]) -> TokenizerPair:
    for run, tokenizers in zip(runs, every, strict=True):
        if tokenizers.fingerprint() != every[0].fingerprint():
            raise UserError(
                f"{run.path} has another vocabulary than {runs[0].path}; only runs that share one can translate "
                "together (train the second with --init-from the first)"
            )
    return every[0]
