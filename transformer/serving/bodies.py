"""The JSON of a request, read without keeping the event loop from the other requests."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from typing import Any

from starlette.exceptions import HTTPException

from transformer.serving.config import ServeConfig
from transformer.serving.guard import short

SMALL = 2**13  # bytes of a body that is read at once: two milliseconds at worst
MARKS = (b",", b":", b"[", b"{")  # one of these is before every value but the first, or in a string


class Bodies:
    """Reads JSON. What it costs is bounded by `limits`, whatever a body holds; pydantic sees only what may be valid.

    Args:
        limits: of requests.
        fields: that a request may have.
    """

    def __init__(self, limits: ServeConfig, fields: Iterable[str]) -> None:
        self._fields = tuple(fields)
        self._most = f"{limits.max_sentences} sentences of {limits.max_characters:,} characters"
        # All sentences may be of marks alone; then come those of the fields and between the sentences.
        self._max_marks = limits.max_sentences * (limits.max_characters + 1) + 100
        self._turn = asyncio.Lock()

    async def read(self, body: bytes) -> Any:
        """Return the value of a body.

        Raises:
            HTTPException: it is no JSON, has an unknown field, or more values than a request may have.
        """
        if len(body) <= SMALL:
            return self._checked(body)
        if sum(map(body.count, MARKS)) > self._max_marks:
            raise HTTPException(422, f"the body holds more than {self._most} and the other fields")
        async with self._turn:  # one in each round of the event loop, and then the others' turn for as long
            begun = time.perf_counter()
            try:
                return self._checked(body)
            finally:
                await asyncio.sleep(time.perf_counter() - begun)

    def _checked(self, body: bytes) -> Any:
        value = _parsed(body)
        unknown = [] if not isinstance(value, dict) else (name for name in value if name not in self._fields)
        for name in unknown:
            raise HTTPException(422, f"unknown field {short(name)}; the fields are {', '.join(self._fields)}")
        return value


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError:  # Python reads no longer ones, which would take it the square of their length
        reason = "a number has too many digits"
    raise HTTPException(400, f"the body is not JSON: {reason}")
