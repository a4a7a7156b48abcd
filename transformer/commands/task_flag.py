"""The flag --task of commands that load a run."""

from transformer.commands.parser import Parser
from transformer.system.tensorflow import import_tensorflow
from transformer.tasks import load_task


def add_task_flag(parser: Parser) -> None:
    """Add the flag."""
    parser.add_argument("--task", metavar="FILE:CLASS", help="where the run's task is, if it is one of your own")


def load_own_task(place: str | None) -> str | None:
    """Run the user's file that --task names, and return the name of the task in it; none is a UserError."""
    if place is None:
        return None
    import_tensorflow()
    return load_task(place).name
