"""A command as a process: its exit codes, its signals, and errors in one line instead of a traceback."""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from transformer.system.errors import UserError
from transformer.system.interrupts import Terminated, end_at_once, end_cleanly
from transformer.system.messages import flush, say

ADVICE = {  # of errors of the operating system
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some space, or name another place",
    errno.EACCES: "give this user the right to it, or name another place",
    errno.EPERM: "give this user the right to it, or name another place",
    errno.EROFS: "name another place",
    errno.EMFILE: "raise the limit of open files, see ulimit -n",
}


@contextlib.contextmanager
def _ending_cleanly() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a closed terminal, end the work as Ctrl-C does: what was not finished is removed."""
    # An ignored signal (`nohup`) stays ignored; outside the main thread Python handles none.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    in_main = threading.current_thread() is threading.main_thread()
    ours = [n for n, handler in before.items() if in_main and handler in (signal.SIG_DFL, end_at_once)]
    for number in ours:
        signal.signal(number, end_cleanly)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def exit_code(job: Callable[[], None], if_interrupted: str = "interrupted") -> int:
    """Run a script's job and return its exit code. Its standard output is UTF-8, whatever the locale says.

    0: done; 1: a mistake in the input, too little memory or space, or a file that cannot be used, told in one line;
    130: Ctrl-C; 143: SIGTERM.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the parent process: no other file may take its number
            setattr(sys, name, open(os.devnull, mode))  # stays open
    if isinstance(sys.stdout, io.TextIOWrapper):  # a notebook has another one
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    code = 1
    try:
        with _ending_cleanly():
            job()
            sys.stdout.flush()
            code = 0
    except KeyboardInterrupt as error:
        say("")
        say(if_interrupted)
        code = 128 + (error.args[0] if isinstance(error, Terminated) else signal.SIGINT)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        pass
    except Exception as error:
        message = _message(error)
        if not message:  # a mistake of ours
            raise
        say(f"error: {message}")
    flush()
    return code


def _message(error: Exception) -> str:
    """Return what to say of an error that is no mistake of ours; of others nothing."""
    encoding = sys.getfilesystemencoding()
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "transformer").partition(".")[0] != "transformer":
        return (
            f"{sys.executable} has no package {error.name}; run the Python of the environment where this package is "
            "installed, such as .venv/bin/python, or install it with: pip install transformer-reference"
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":  # the latter TensorFlow's
        reason = (str(error).splitlines() or [""])[0]
        return (
            f"there is not enough memory or space{reason and f' ({reason})'}; give less at a time, or a smaller model"
        )
    if isinstance(error, UnicodeEncodeError) and encoding != "utf-8":
        return f"file names are {encoding} here, which cannot write {error.object!r}; set PYTHONUTF8=1"
    return _system_message(error) if isinstance(error, OSError) else ""


def _system_message(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        if isinstance(error, FileNotFoundError):  # of `tempfile`
            return f"set $TMPDIR to a folder that can be written: {reason}"
        try:
            sys.stdout.flush()
        except OSError:  # once more: what could not be written is still there
            return f"cannot write standard output: {reason}"
        return f"a file or standard output cannot be used: {reason}; {ADVICE.get(error.errno or 0, 'try again')}"
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return f"cannot read or write {name}: {reason}; {ADVICE.get(error.errno or 0, 'check it, or name another one')}"


def leave(code: int) -> NoReturn:
    """End the process without taking its libraries down first, which takes TensorFlow half a second."""
    flush()  # of a reader that has left, `exit_code` has said what there is to say
    os._exit(code)
