"""Errors that are told to the user in one line."""

import contextlib
import difflib
import reprlib
from collections.abc import Iterable, Iterator


class UserError(Exception):
    """A mistake in the input, told in one line that names the input, the rule and the way out.

    Scripts print it as `error: ...` and exit with code 1; wrong flags exit with code 2.
    """


class EnvironmentFailure(UserError):
    """Something outside went wrong while a run was at work, such as a full disk; the same command goes on later."""


class UnknownSettingError(UserError):
    """A section or key that this version does not have."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the known name closest to `name`, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""


def shortened(value: object) -> str:
    """Return a value as a message can show it, whatever its size, depth or number of digits."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"


@contextlib.contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise a panic of Rust code, a `BaseException` that passes every `except Exception`, as RuntimeError."""
    try:
        yield
    except (Exception, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as panic:
        raise RuntimeError(f"{type(panic).__name__}: {panic}") from panic
