"""Loading a run that must be of one of some tasks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.system.errors import UserError
from transformer.system.threads import refuse_fork, share_cores
from transformer.tasks import other_command


def load_run_of(run: str | Path, which: str, tasks: Sequence[str]) -> tuple[Any, keras.Model]:
    """Return the task and the network of a run directory, for batches that share the cores.

    Args:
        run: the directory.
        which: `best` or `last` weights.
        tasks: names, of which the run's must be one.

    Raises:
        UserError: the run is missing, damaged, or of another task.
        RuntimeError: in a process that was forked after a model had been loaded.
    """
    refuse_fork()
    directory = RunDirectory(run)
    name = directory.config().task.name
    if name not in tasks:
        raise UserError(f"{run} is a run of the task {name}{other_command(name)}")
    share_cores()
    return load(directory, which)
