"""Checks of settings, and what to say when one fails."""

import typing

from transformer.system.errors import shortened

T = typing.TypeVar("T")


def require(condition: bool, name: str, rule: str, value: object) -> None:
    """Raise ValueError, naming a setting, its rule and its value, unless a condition holds."""
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {shortened(value)}")


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices."""
    require(value in choices, name, "one of " + ", ".join(repr(choice) for choice in choices), value)


def require_rate(name: str, value: float) -> None:
    """Refuse a value outside 0 <= value < 1."""
    require(0.0 <= value < 1.0, name, "at least 0 and below 1", value)


def require_positive(name: str, value: float) -> None:
    """Refuse a value that is not above 0."""
    require(value > 0, name, "above 0", value)


def from_metadata(kind: type[T], metadata: object) -> T:
    """Return a dataclass of plain values, made from the JSON object that somebody says it was saved as.

    Raises:
        ValueError: it is not the class's fields, all and no other, each of its type, or the class refuses a value.
    """
    types = typing.get_type_hints(kind)
    if not isinstance(metadata, dict) or metadata.keys() != types.keys():
        raise ValueError(f"its metadata must be {', '.join(types)}")
    for name, wanted in types.items():
        if type(metadata[name]) is not wanted:
            raise ValueError(f"{name} must be of type {wanted.__name__}, got {shortened(metadata[name])}")
    return kind(**metadata)
