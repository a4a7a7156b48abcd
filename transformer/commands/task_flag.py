"""The flag --task of commands that load a run, and of `evaluate`."""

from pathlib import Path

from transformer.commands.parser import Parser
from transformer.config.run import Config
from transformer.system.errors import UserError
from transformer.system.messages import called
from transformer.system.tensorflow import import_tensorflow
from transformer.tasks import COMMANDS, load_task


def add_task_flag(parser: Parser) -> None:
    """Add the flag."""
    parser.add_argument("--task", metavar="FILE:CLASS", help="where the run's task is, if it is one of your own")


def load_own_task(place: str | None) -> str | None:
    """Run the user's file that --task names, and return the name of the task in it; none is a UserError."""
    if place is None:
        return None
    import_tensorflow()
    return load_task(place).name


def check_task(run: Path, config: Config, wanted: str) -> None:
    """Refuse a run whose task is not the one that `transformer evaluate --task` names with a UserError."""
    name = config.task.name
    if name == wanted:
        return
    words = f"--task {name} {run}" if name in COMMANDS and name != "translation" else "TRANSLATIONS REFERENCES"
    raise UserError(f"{run} is a run of the task {name}, not of {wanted}; use {called('evaluate')} {words}")
