"""What is written for people: one line a message, which cannot steer their terminal."""

import contextlib
import os
import re
import sys
from typing import Any

SCRIPTS = ("train.py", "translate.py")  # of the repository
CUT_AT = 1200  # characters of a message


def called(command: str) -> str:
    """Return a command of this package as the user types it, by how this process was begun.

    `python train.py` and `python translate.py` stand for `transformer train` and `transformer translate`. What another
    program begins, such as a notebook, may not find `transformer`, but always `python -m transformer`.
    """
    script = os.path.basename(sys.argv[0]) if sys.argv else ""
    if script in SCRIPTS and f"{command}.py" in SCRIPTS:
        return f"python {command}.py"
    return f"transformer {command}" if script == "transformer" else f"python -m transformer {command}"


def one_line(message: str) -> str:
    """Return a message that cannot break its line, steer a terminal or go on forever, whatever was put into it."""
    message = re.sub("[\udc80-\udcff]+", lambda bytes_: utf8(bytes_[0], "surrogateescape"), message)
    text = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in message)
    return text if len(text) <= CUT_AT else f"{text[:600]} ... {text[-500:]}"


def utf8(argument: str, errors: str = "strict") -> str:
    """Return a command-line argument as the UTF-8 text that it is, also where Python takes arguments for ASCII.

    Python turns what it cannot read in the locale's encoding into lone surrogates, one for each byte. What is no UTF-8
    is a UnicodeError, unless `errors` says otherwise.
    """
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", errors)


def say(message: str, in_place: bool = False) -> None:
    """Write a message to stderr as `one_line`; where stderr is closed, do nothing.

    `in_place` writes over the current line and stays in it: for progress.
    """
    line = f"\r{one_line(message)}" if in_place else one_line(message)
    if sys.stderr is not None:  # closed by the parent process
        with contextlib.suppress(OSError):
            print(line, end="" if in_place else "\n", file=sys.stderr, flush=True)


def for_terminal(line: str, file: Any) -> str:
    """Return a line of results for a file: on a terminal, control characters become escapes; files get all as it is."""
    return escaped(line) if file.isatty() else line


def escaped(text: str) -> str:
    """Return a text whose control characters, but for TABs, are escapes."""
    return re.sub(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", lambda sign: repr(sign[0])[1:-1], text)


def flush() -> None:
    """Write out what stdout and stderr still hold; what nobody reads any more is dropped, and cannot fail at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
