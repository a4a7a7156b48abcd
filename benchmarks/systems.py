"""Systems that are compared, each in a process of its own."""

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from transformer.system.errors import UserError


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
        self._line(lambda line: line.strip() == "ready")

    def _line(self, fits: Callable[[str], bool]) -> str:
        """Return the next line that it prints and that fits."""
        for line in self.process.stdout:
            if fits(line):
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
        return float(self._line(lambda line: line[:1].isdigit()))

    def end(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def take_turns(
    systems: Sequence[System], rounds: int, describe: Callable[[System, float], Mapping[str, object]]
) -> None:
    """Let systems work in turn, print a JSON line for each, and end them.

    A line holds name, threads, what `describe` says of a system and its median seconds, the ratio of the first to it
    (median of the rounds' ratios) and the number of rounds.
    """
    for _ in range(rounds):
        for system in systems:
            system.seconds.append(system.round())
    first = systems[0].seconds
    for system in systems:
        row = {
            "name": system.name,
            "threads": system.threads,
            **describe(system, statistics.median(system.seconds)),
            "ratio": round(statistics.median(b / a for a, b in zip(first, system.seconds, strict=True)), 3),
            "rounds": rounds,
        }
        print(json.dumps(row), flush=True)
        system.end()
