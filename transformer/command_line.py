"""What all scripts share: one-line errors, exit codes, and a quiet start of TensorFlow."""

import argparse
import contextlib
import errno
import io
import os
import platform
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from transformer import flag_names
from transformer.config import Config, UserError
from transformer.interrupts import Terminated, end_at_once, end_cleanly

SEARCH = (  # fields of `SearchConfig` that have a flag: type, letter, help
    ("beam_size", int, "N", "hypotheses kept, or samples drawn; 1 is greedy (default: the run's)"),
    ("length_penalty", float, "A", "exponent of the length penalty; 0: none"),
    ("penalty", str, "FORM", "'gnmt': ((5 + length) / 6)^A, 'length': length^A"),
    ("coverage_penalty", float, "B", "weight of the coverage penalty; 0: none"),
    ("finished", str, "HOW", "finished hypotheses 'compete' for places in the beam or stand 'aside'"),
    ("min_length", int, "N", "shortest output in tokens"),
    ("min_length_ratio", float, "R", "shortest output, in lengths of the sentence"),
    ("max_length", int, "N", "longest output in tokens"),
    ("max_length_ratio", float, "R", "longest output, in lengths of the sentence"),
    ("no_repeat_ngram", int, "N", "write no N tokens twice"),
    ("temperature", float, "T", "above 0: draw tokens at this temperature instead of searching"),
    ("top_k", int, "K", "draw from the K likeliest tokens"),
    ("top_p", float, "P", "draw from the likeliest tokens with this probability together"),
    ("seed", int, "N", "of drawing"),
    ("cut", str, "WHAT", "translate 'sentences' one by one, or cut 'long' texts alone, which the model cannot read"),
)


WAYS_OUT = {  # of errors of the operating system
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some space, or name another place",
    errno.EACCES: "give this user the right to it, or name another place",
    errno.EPERM: "give this user the right to it, or name another place",
    errno.EROFS: "name another place",
    errno.EMFILE: "raise the limit of open files, see ulimit -n",
}
CUT_AT = 1200  # characters of a message


def one_line(message: str) -> str:
    """Return a message that cannot break its line, steer a terminal or go on forever, whatever was put into it."""
    message = re.sub("[\udc80-\udcff]+", lambda bytes_: utf8(bytes_[0], "surrogateescape"), message)
    text = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in message)
    return text if len(text) <= CUT_AT else f"{text[:600]} ... {text[-500:]}"


def utf8(argument: str, errors: str = "strict") -> str:
    """Return a command-line argument as the UTF-8 text that it is, also where Python takes arguments for ASCII.

    Python hands on what it cannot read in the locale's encoding as lone surrogates, one for each byte.

    Raises:
        UnicodeError: it is no UTF-8, and `errors` does not keep the bytes that are none as surrogates.
    """
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", errors)


def say(message: str, in_place: bool = False) -> None:
    """Write a message for a person to stderr as `one_line`; where nobody reads it any more, do nothing.

    Args:
        message: without the end of its line.
        in_place: stay in the line, to write over what stands in it: for progress.
    """
    line = f"\r{one_line(message)}" if in_place else one_line(message)
    if sys.stderr is not None:  # closed by whoever started us
        with contextlib.suppress(OSError):
            print(line, end="" if in_place else "\n", file=sys.stderr, flush=True)


def shown(line: str, file: Any) -> str:
    """Return a line of results for a file: on a terminal, control characters become escapes; files get all as it is."""
    if not file.isatty():
        return line
    return re.sub(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", lambda sign: repr(sign[0])[1:-1], line)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message, with what to write instead of a flag that is unknown, and leave."""
        words = message.partition("unrecognized arguments: ")[2].split()
        flag = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
        bare = [str(action.metavar) for action in self._actions if not action.option_strings]
        meant = flag_names.meaning(flag, [*self._option_string_actions, *bare]) if flag else ""
        say(f"error: {message}.{meant} See --help" if meant else f"error: {message}; see --help")
        self.exit(2)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Leave; a reader of the help that has left is no error."""
        if message:
            say(message)
        flush()
        sys.exit(status)


def add_search_flags(parser: Parser) -> None:
    """Add a flag for each setting of `SEARCH`."""
    group = parser.add_argument_group("search")
    for name, kind, letter, text in SEARCH:
        group.add_argument("--" + name.replace("_", "-"), type=kind, metavar=letter, help=text)


def given_search(parser: Parser, args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of `SEARCH` that were given; one that is out of range is wrong usage."""
    search = {name: getattr(args, name) for name, *_ in SEARCH if getattr(args, name) is not None}
    try:
        Config().override({"search": search}, "command line")
    except UserError as error:
        parser.error(str(error))
    return search


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
        if getattr(sys, name) is None:  # closed by whoever started us: no other file may take its number
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - stays open
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
        told = _told(error)
        if not told:  # a mistake of ours
            raise
        say(f"error: {told}")
    flush()
    return code


def _told(error: Exception) -> str:
    """Return what to say of an error that is no mistake of ours; of others nothing."""
    told = ""
    if isinstance(error, UserError):
        told = str(error)
    elif isinstance(error, ModuleNotFoundError):
        if (error.name or "transformer").partition(".")[0] != "transformer":
            told = (
                f"{sys.executable} has no package {error.name}; run the Python of the environment where this "
                "package is installed, such as .venv/bin/python, or install it with: pip install -e ."
            )
    elif isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":  # the latter TensorFlow's
        reason = (str(error).splitlines() or [""])[0]
        told = (
            f"there is not enough memory or space{reason and f' ({reason})'}; give less at a time, or a smaller model"
        )
    elif isinstance(error, UnicodeEncodeError) and sys.getfilesystemencoding() != "utf-8":
        encoding = sys.getfilesystemencoding()
        told = f"file names are {encoding} here, which cannot write {error.object!r}; set PYTHONUTF8=1"
    elif isinstance(error, OSError):
        told = _told_of_system(error)
    return told


def _told_of_system(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        if isinstance(error, FileNotFoundError):  # no stream's; what `tempfile` raises
            return f"set $TMPDIR to a folder that can be written: {reason}"
        try:
            sys.stdout.flush()
        except OSError:  # the same once more: what could not be written is still there
            return f"cannot write standard output: {reason}"
        return f"a file or standard output cannot be used: {reason}; {WAYS_OUT.get(error.errno or 0, 'try again')}"
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return f"cannot read or write {name}: {reason}; {WAYS_OUT.get(error.errno or 0, 'check it, or name another one')}"


def flush() -> None:
    """Write out what stdout and stderr still hold; what nobody reads any more is dropped, and cannot fail at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def leave(code: int) -> NoReturn:
    """End the process without taking its libraries down first, which takes TensorFlow half a second."""
    flush()  # of a reader that has left, `exit_code` has said what there is to say
    os._exit(code)


def import_tensorflow(optimise: bool = True) -> None:
    """Import TensorFlow and its text operations while what their C++ code writes to stderr goes nowhere.

    `TF_CPP_MIN_LOG_LEVEL` silences the rest, but not the notes written before the log is set up ("Could not find cuda
    drivers on your machine"). An exception during the import is raised, and shown, as ever.

    On x86, TensorFlow takes its products from oneDNN by itself only where the processor has instructions for neural
    networks. They are faster on others too, so they are asked for, unless the environment says otherwise.

    Args:
        optimise: whether TensorFlow rewrites graphs before it first runs them. It makes decoding no faster, and keeps a
            single sentence waiting for 0.3 s.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules and platform.machine() in ("x86_64", "AMD64"):  # later it has no effect here
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow
        import tensorflow_text  # noqa: F401 - registers its operations

        tensorflow.config.list_physical_devices()
        if not optimise:
            tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
