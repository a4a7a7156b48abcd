"""What all scripts share: one-line errors, exit codes, and a quiet start of TensorFlow."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from transformer.config import Config, UserError

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
)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave."""
        self.exit(2, f"error: {message}; see --help\n")


def add_search_flags(parser: Parser) -> None:
    """Add a flag for each setting of `SEARCH`."""
    group = parser.add_argument_group("search")
    for name, kind, letter, text in SEARCH:
        group.add_argument("--" + name.replace("_", "-"), type=kind, metavar=letter, help=text)


def given_search(parser: Parser, args: argparse.Namespace) -> dict[str, int | float | str]:
    """Return the settings of `SEARCH` that were given; one that is out of range is wrong usage."""
    search = {name: getattr(args, name) for name, *_ in SEARCH if getattr(args, name) is not None}
    try:
        Config().override({"search": search}, "command line")
    except UserError as error:
        parser.error(str(error))
    return search


def exit_code(job: Callable[[], None], if_interrupted: str = "interrupted") -> int:
    """Run a script's job and return its exit code: 0 done, 1 a mistake in the input, told in one line, 130 Ctrl-C."""
    try:
        job()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{if_interrupted}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to fail at exit
        return 1
    return 0


def import_tensorflow() -> None:
    """Import TensorFlow and its text operations while what their C++ code writes to stderr goes nowhere.

    `TF_CPP_MIN_LOG_LEVEL` silences the rest, but not the notes written before the log is set up ("Could not find cuda
    drivers on your machine"). An exception during the import is raised, and shown, as ever.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow
        import tensorflow_text  # noqa: F401 - registers its operations

        tensorflow.config.list_physical_devices()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
