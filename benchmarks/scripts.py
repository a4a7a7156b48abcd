"""The project's own scripts, run by a benchmark."""

import subprocess
import sys
from pathlib import Path

from transformer.system.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def run_script(*words: object) -> None:
    """Run a script of the project, such as `train.py`, with its arguments; what it prints on stdout goes nowhere.

    Where Ctrl-C or SIGTERM ends the benchmark, the script is asked to end too and has the time to save.

    Raises:
        UserError: it did not succeed.
    """
    command = [sys.executable, str(ROOT / str(words[0])), *map(str, words[1:])]
    script = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)  # a terminal's Ctrl-C is ours
    try:
        code = script.wait()
    except KeyboardInterrupt:
        script.terminate()
        script.wait()
        raise
    if code:
        arguments = " ".join(map(str, words[1:]))
        raise UserError(f"{words[0]} did not finish ({arguments}); the same command goes on with it")
