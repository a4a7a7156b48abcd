"""Systems that are compared, each in a process of its own."""

import os
import subprocess
from pathlib import Path

from transformer.config import UserError


class System:
    """One system in its process: `SCRIPT NAME DATA THREADS` says "ready", then answers each line with seconds.

    Args:
        script: the Python file.
        name: of the system.
        python: its interpreter.
        data: the file of its work.
        threads: that it may use.
        rest: more arguments.
    """

    def __init__(self, script: Path, name: str, python: str, data: Path, threads: int, *rest: str) -> None:
        self.name, self.threads, self.seconds = name, threads, []
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            [python, str(script), name, str(data), str(threads), *rest],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._answer("ready")

    def _answer(self, expected: str = "") -> str:
        for line in self.process.stdout:
            if line.strip() == expected or (not expected and line[:1].isdigit()):
                return line
        told = self.process.stderr.read().strip().splitlines()
        raise UserError(f"{self.name} failed: {told[-1] if told else 'without a word'}")

    def round(self) -> float:
        """Work for one round; returns its seconds."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> float:
        """Return the next number that it prints."""
        return float(self._answer())

    def end(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
