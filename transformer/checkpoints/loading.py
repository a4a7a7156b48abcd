"""From the files of a run to its task and its network."""

from concurrent.futures import ThreadPoolExecutor

import keras

from transformer.checkpoints.arrays import PREFIX, check_shapes, load_arrays, model_variables
from transformer.checkpoints.run_directory import BEST, RunDirectory
from transformer.layers.positions import check_kind
from transformer.tasks import task_class
from transformer.tasks.base import Task


def load(run: RunDirectory, which: str = BEST) -> tuple[Task, keras.Model]:
    """Return the task of a run, and its network with its weights.

    Args:
        run: the directory.
        which: `best` or `last` weights.

    Raises:
        UserError: the run is missing, incomplete, damaged, of another architecture or of a task that is not known.
    """
    task, path = load_task_of(run), run.trained_weights(which)
    check_shapes(path, weight_shapes(task), PREFIX)  # before it takes memory
    network = task.network("float32")
    load_arrays(path, model_variables(network))
    return task, network


def load_task_of(run: RunDirectory) -> Task:
    """Return the task of a run with its vocabularies; errors as of `load`."""
    config = run.config()
    check_kind(config.model.positions)
    kind = task_class(config.task.name)
    return kind(config, kind.Vocabularies.load(run.vocabularies), run.corpus())


def weight_shapes(task: Task) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what `model_variables` returns for a task's network, which takes no memory for weights.

    Raises:
        UserError: no network can be built of these sizes.
    """
    # Keras would make the variables at the end of the next scope of its thread: so this thread ends before.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_shapes_without_weights, task).result()


def _shapes_without_weights(task: Task) -> dict[str, tuple[int, ...]]:
    with keras.StatelessScope(initialize_variables=False):
        network = task.network("float32")
    return {name: tuple(variable.shape) for name, variable in model_variables(network).items()}
