"""A translation server in a process of its own, for benchmarks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from transformer.system.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 300  # seconds for the server to begin, and for an answer
MOST_SECONDS_TO_STOP = 20  # where no translation has to be finished


class ServerProcess:
    """A server in a process of its own, from entering to leaving.

    Args:
        run: run directory.
        beam_size: of requests that name none.
        engine: that translates.

    Attributes:
        port: where it listens.
        code: with which it ended.
        seconds_to_stop: from the signal to its end.
    """

    def __init__(self, run: str, beam_size: int, engine: str = "auto") -> None:
        command = [sys.executable, "-m", "transformer", "serve", run, "--port", "0", "--engine", engine]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [*command, "--beam-size", str(beam_size)], stderr=subprocess.PIPE, text=True, env=environment
        )
        self._told: list[str] = []
        self.port = 0

    def __enter__(self) -> ServerProcess:
        threading.Thread(target=lambda: self._told.extend(self._process.stderr), daemon=True).start()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.poll() is None and not self.port:
            found = re.search(r"serving at http://127\.0\.0\.1:(\d+)/", "".join(self._told))
            self.port = int(found[1]) if found else 0
            time.sleep(0.1)
        if not self.port:
            self.__exit__()
            raise UserError(f"the server did not begin: {' '.join(self._told[-1:]).strip() or 'it said nothing'}")
        return self

    def __exit__(self, *exception: object) -> None:
        begun = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self.code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.code = self._process.wait()
        self.seconds_to_stop = time.monotonic() - begun
