"""Calls into native code that reads what strangers wrote, and may fail in any way."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise a panic of Rust code, which is a `BaseException` and so passes every `except Exception`, as RuntimeError.

    Raises:
        RuntimeError: the code inside panicked. All other exceptions stay what they are.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as panic:
        raise RuntimeError(f"{type(panic).__name__}: {panic}") from panic
