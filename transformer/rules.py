"""Checks of settings, and what to say when one fails."""

from __future__ import annotations

import difflib
import json
import reprlib
import typing

T = typing.TypeVar("T")


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the known name closest to `name`, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""


def parse_json(content: str | bytes) -> typing.Any:
    """Return what a JSON text says, which may come from anyone.

    Raises:
        ValueError: it is not JSON, nested too deeply, or holds text that no file can (half of a surrogate pair).
    """
    try:
        value = json.loads(content)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def is_utf8(text: str) -> bool:
    """Return whether a text can be written to a file; half of a surrogate pair cannot, nor a name of odd bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """Return a value as a message can show it, whatever its size, depth or number of digits."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"


def require(condition: bool, name: str, rule: str, value: object) -> None:
    """Raise ValueError, naming a setting, its rule and its value, unless a condition holds."""
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {shown(value)}")


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices."""
    require(value in choices, name, "one of " + ", ".join(repr(choice) for choice in choices), value)


def require_rate(name: str, value: float) -> None:
    """Refuse a value outside 0 <= value < 1."""
    require(0.0 <= value < 1.0, name, "at least 0 and below 1", value)


def require_positive(name: str, value: float) -> None:
    """Refuse a value that is not above 0."""
    require(value > 0, name, "above 0", value)


def from_facts(kind: type[T], facts: object) -> T:
    """Return a dataclass of plain values, made from the JSON object that somebody says it was saved as.

    Raises:
        ValueError: it is not the class's fields, all and no other, each of its type, or the class refuses a value.
    """
    types = typing.get_type_hints(kind)
    if not isinstance(facts, dict) or facts.keys() != types.keys():
        raise ValueError(f"its facts must be {', '.join(types)}")
    for name, wanted in types.items():
        if type(facts[name]) is not wanted:
            raise ValueError(f"{name} must be of type {wanted.__name__}, got {shown(facts[name])}")
    return kind(**facts)
