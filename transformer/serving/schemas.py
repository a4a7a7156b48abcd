"""What requests and answers of every kind of run have in common, as pydantic checks them and OpenAPI shows them."""

# Annotations stay objects here: those of a request hold limits that are known only when the server starts.

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from transformer.serving.config import ServeConfig


def _whole(number: object) -> object:
    return int(number) if isinstance(number, float) and number.is_integer() else number


Integer = Annotated[int, BeforeValidator(_whole)]  # 2.0 is an integer in JSON, but not to pydantic when it is strict
Real = Annotated[float, BeforeValidator(lambda number: float(number) if type(number) is int else number)]


def checked_text(text: str, most: int) -> str:
    """Return a text of a request; a ValueError says what is wrong with it."""
    if len(text) > most:
        raise ValueError(f"has {len(text):,} characters, at most {most:,} are allowed")
    if "\0" in text:
        raise ValueError("must not hold the character NUL")
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError("must not hold a lone surrogate, which is no character")
    return text


def list_of_texts(what: str, most: int, longest: int, examples: Sequence[str], least: int = 1) -> Any:
    """Return the type of a field that is one text or a list of them.

    Args:
        what: what the texts are called, in the plural.
        most: in a list.
        longest: characters of a text.
        examples: for the documentation.
        least: in a list.
    """
    one = {"type": "string", "maxLength": longest, "pattern": "^[^\\x00]*$"}
    schema: dict[str, Any] = {
        "anyOf": [one, {"type": "array", "items": one, "minItems": least, "maxItems": most}],
        "description": f"one of the {what}, or a list of at most {most}; each of at most {longest} characters, without "
        "NUL",
        "examples": [list(examples)],
    }

    def as_list(texts: object) -> object:
        if isinstance(texts, str):
            return [texts]
        if isinstance(texts, list) and len(texts) > most:  # before each of them is checked
            raise ValueError(f"has {len(texts):,} {what}, at most {most:,} are allowed")
        return texts

    return Annotated[
        list[Annotated[str, AfterValidator(lambda text: checked_text(text, longest))]],
        Field(min_length=least, json_schema_extra=schema),
        BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    ]


class Health(BaseModel):
    status: str = Field(description="'ok', or 'stopping'")
    task: str = Field(description="of the run, such as 'translation'")
    run: list[str] = Field(description="names of the run directories")
    waiting: int = Field(description="texts that wait for an answer")
    limits: dict[str, float] = Field(description="of requests; see the server's --help")


class Problem(BaseModel):
    error: str = Field(description="what is wrong and what would be right")


def limits_of(limits: ServeConfig) -> dict[str, float]:
    """Return the limits that /health tells."""
    return {name: value for name, value in vars(limits).items() if name not in ("host", "port")}
