"""What all scripts share: one-line errors, exit codes, and a quiet start of TensorFlow."""

import argparse
import contextlib
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from transformer.config import Config, UserError
from transformer.interrupts import Terminated, end_at_once, end_cleanly
from transformer.rules import nearest

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


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message, with the nearest flag to one that is unknown, and leave."""
        words = message.partition("unrecognized arguments: ")[2].split()
        flag = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
        meant = nearest(flag, self._option_string_actions) if flag else ""
        self.exit(2, f"error: {message}.{meant} See --help\n" if meant else f"error: {message}; see --help\n")


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


def one_line(message: str) -> str:
    """Return a message that cannot break its line, steer a terminal or go on forever, whatever was put into it."""
    text = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in message)
    return text if len(text) <= 1200 else f"{text[:600]} ... {text[-500:]}"


def exit_code(job: Callable[[], None], if_interrupted: str = "interrupted") -> int:
    """Run a script's job and return its exit code.

    0: done; 1: a mistake in the input or an output that cannot be written, told in one line; 130: Ctrl-C; 143: SIGTERM.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us: no other file may take its number
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - stays open
    code = 1
    try:
        with _ending_cleanly():
            job()
            sys.stdout.flush()
            code = 0
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
    except ModuleNotFoundError as error:
        if (error.name or "transformer").partition(".")[0] == "transformer":  # a mistake of ours
            raise
        print(
            f"error: {sys.executable} has no package {error.name}; run the Python of the environment where this "
            "package is installed, such as .venv/bin/python, or install it with: pip install -e .",
            file=sys.stderr,
        )
    except KeyboardInterrupt as error:
        print(f"\n{if_interrupted}", file=sys.stderr)
        code = 128 + (error.args[0] if isinstance(error, Terminated) else signal.SIGINT)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        pass
    except OSError as error:
        if error.filename is not None:  # not of a stream
            raise
        print(f"error: cannot write standard output: {error.strerror}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to fail at exit
    return code


def leave(code: int) -> NoReturn:
    """End the process without taking its libraries down first, which takes TensorFlow half a second."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a reader that has left; `exit_code` has said what there is to say
            stream.flush()
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
