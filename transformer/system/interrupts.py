"""Ctrl-C before a script's work has begun: the process ends at once, quietly, with code 130.

An import that is interrupted prints a traceback, turns the interruption into another error, or forgets it.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """A signal asks the process to end; the argument is its number."""


def end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal before there is anything to clean up."""
    os._exit(128 + number)


def end_cleanly(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal while there is."""
    raise Terminated(number)


def quiet_start() -> None:
    """Let Ctrl-C end this process at once until `exit_code` begins; for scripts, before their other imports."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # one that is ignored, as in a job, stays so
        signal.signal(signal.SIGINT, end_at_once)


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Let signals that `end_cleanly` handles end the process at once, while a script only imports."""
    ours = [number for number in signal.valid_signals() if signal.getsignal(number) == end_cleanly]
    for number in ours:
        signal.signal(number, end_at_once)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, end_cleanly)
