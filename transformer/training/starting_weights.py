"""The weights of another run as the first ones of a new run."""

from collections.abc import Callable, Sequence

import keras

from transformer.checkpoints.arrays import load_fitting, model_variables, stored_shapes
from transformer.checkpoints.loading import weight_shapes
from transformer.checkpoints.run_directory import RunDirectory
from transformer.system.errors import UserError
from transformer.tasks.base import Task

MOST_NAMED = 8  # weights in a message


def start_from(other: RunDirectory, network: keras.Model, say: Callable[[str], None]) -> None:
    """Give a network the best weights of another run that fit in name and shape, and say which do not.

    A UserError tells that the file is missing or damaged.
    """
    loaded, left, unused = load_fitting(other.trained_weights(), model_variables(network))
    new = f", {len(left)} start anew: {_named(left)}" if left else ""
    say(f"from {other.path}: {len(loaded)} weights loaded{new}")
    if unused:
        say(f"of {other.path}, {len(unused)} weights are not used: {_named(unused)}")


def check_fits(other: RunDirectory, task: Task) -> None:
    """Refuse, with a UserError, a run none of whose weights fits the network of a task."""
    stored = stored_shapes(other.trained_weights())
    if not any(stored.get(name) == shape for name, shape in weight_shapes(task).items()):
        raise UserError(f"no weight of {other.path} fits this network; give --init-from a run of the same kind")


def _named(weights: Sequence[str]) -> str:
    return ", ".join(weights[:MOST_NAMED]) + ", ..." * (len(weights) > MOST_NAMED)
