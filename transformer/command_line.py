"""What all scripts share: one-line errors, exit codes, and a quiet start of TensorFlow."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from transformer.config import UserError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave."""
        self.exit(2, f"error: {message}; see --help\n")


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

    Args:
        optimise: whether TensorFlow rewrites graphs before it first runs them. It makes decoding no faster, and keeps a
            single sentence waiting for 0.3 s.
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
        if not optimise:
            tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
