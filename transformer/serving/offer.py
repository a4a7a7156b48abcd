"""What a server offers of one kind of run: a path, the form of requests and answers, and a page."""

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

Tell = Callable[[Mapping[str, object]], object]  # writes one line of a stream; from any thread


@dataclasses.dataclass(frozen=True)
class Offer:
    """One kind of run over HTTP.

    Attributes:
        title: of the OpenAPI document.
        path: of requests, such as '/translate'.
        description: of the path.
        field: of a request that holds the texts, a list of strings.
        request: a pydantic model; one with a field `stream` may be answered line by line.
        answer: likewise.
        health: of /health: `Health` and the fields of `about`.
        about: what /health tells besides: of the run, and what requests get that name nothing else.
        asked: from a checked request to its kind, which requests must share to be answered together, and its items,
            which are counted against the limits; where the client wants a stream, also given what writes to it. An item
            with an attribute `wanted` gets a False there when its client is gone.
        page: file of '/'.
    """

    title: str
    path: str
    description: str
    field: str
    request: type[BaseModel]
    answer: type[BaseModel]
    health: type[BaseModel]
    about: Mapping[str, object]
    asked: Callable[[Any, Tell | None], tuple[Hashable, Sequence]]
    page: str
