"""The bodies of requests: received within limits, and parsed without keeping the event loop from other requests."""

import asyncio
import dataclasses
import json
import time
from collections.abc import Iterable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Receive

from transformer.serving.config import ServeConfig
from transformer.system.messages import one_line

RETRY_LATER = {"Retry-After": "5"}  # seconds
LONGEST_NAME = 60  # characters of a client's name that an error repeats
SMALL = 2**13  # bytes of a body that is parsed at once: two milliseconds at worst
MARKS = (b",", b":", b"[", b"{")  # one of these is before every value but the first, or in a string


def short(name: str) -> str:
    """Return a client's name for an error: in quotes, short, without characters that cannot be printed or sent."""
    return one_line(repr(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."))


@dataclasses.dataclass(eq=False)
class _Upload:
    timeout: asyncio.Timeout
    refusal: HTTPException  # the answer when the timeout ends

    def cancel(self, refusal: HTTPException) -> None:
        if not self.timeout.expired():
            self.refusal = refusal
            self.timeout.reschedule(0)  # long past


class BodyReader:
    """Receives bodies; slow clients delay neither the others nor the end of the server. For the event loop's thread."""

    def __init__(self, limits: ServeConfig) -> None:
        self._max_body, self._max_uploads = limits.max_body, limits.max_arriving
        self._seconds = min(limits.arrival_timeout, limits.timeout)
        self._uploads: dict[_Upload, None] = {}  # the oldest first
        self._stopped = False
        self.too_large = f"the body must have at most {limits.max_body} bytes"

    def __len__(self) -> int:
        return len(self._uploads)

    def stop(self) -> None:
        """Refuse all bodies that are not complete, and those to come."""
        self._stopped = True
        for upload in self._uploads:
            upload.cancel(_stopping())

    async def read(self, receive: Receive) -> bytes | None:
        """Return a body; None where the client is gone.

        Raises:
            HTTPException: it is too large or too slow, or the server is stopping.
        """
        late = HTTPException(408, f"the request did not arrive within {self._seconds:g} s")
        upload = _Upload(asyncio.timeout(self._seconds), late)
        try:
            async with upload.timeout:
                self._admit(upload)
                return await self._receive(receive)
        except TimeoutError:
            raise upload.refusal from None
        finally:
            self._uploads.pop(upload, None)

    def _admit(self, upload: _Upload) -> None:
        """Count an upload; where there are too many, refuse the oldest: an ordinary body takes no time."""
        if self._stopped:
            raise _stopping()
        if len(self._uploads) >= self._max_uploads:
            oldest = next(iter(self._uploads))
            del self._uploads[oldest]
            others = f"{self._max_uploads} other requests are arriving"
            oldest.cancel(HTTPException(408, f"{others}, and this one has taken longest"))
        self._uploads[upload] = None

    async def _receive(self, receive: Receive) -> bytes | None:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body:
                raise HTTPException(413, self.too_large)
            more = message.get("more_body", False)
        return b"".join(parts)


def _stopping() -> HTTPException:
    return HTTPException(503, "the server is stopping", RETRY_LATER)


class BodyParser:
    """Parses JSON at a cost that `limits` bound, whatever a body holds; only what may be valid goes on to pydantic."""

    def __init__(self, limits: ServeConfig, fields: Iterable[str], texts: str = "sentences") -> None:
        self._fields = tuple(fields)
        self._most = f"{limits.max_sentences} {texts} of {limits.max_characters:,} characters"
        # All texts may be of marks alone; then come those of the fields and between the texts.
        self._max_marks = limits.max_sentences * (limits.max_characters + 1) + 100
        self._lock = asyncio.Lock()

    async def parse(self, body: bytes) -> Any:
        """Return the value of a body; of an empty one, an object without fields.

        Raises:
            HTTPException: it is no JSON, has an unknown field, or more values than a request may have.
        """
        if len(body) <= SMALL:
            return self._parse(body or b"{}")
        if sum(map(body.count, MARKS)) > self._max_marks:
            raise HTTPException(422, f"the body holds more than {self._most} and the other fields")
        async with self._lock:  # one at a time, and then nothing for as long, so that other requests are answered
            start = time.perf_counter()
            try:
                return self._parse(body)
            finally:
                await asyncio.sleep(time.perf_counter() - start)

    def _parse(self, body: bytes) -> Any:
        try:
            value = json.loads(body.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            reason = f"not UTF-8 at byte {error.start}"
        except json.JSONDecodeError as error:
            reason = f"{error.msg} at character {error.pos}"
        except RecursionError:
            reason = "nested too deeply"
        except ValueError:  # Python reads no longer ones, which would take it the square of their length
            reason = "a number has too many digits"
        else:
            for name in value if isinstance(value, dict) else ():
                if name not in self._fields:
                    raise HTTPException(422, f"unknown field {short(name)}; the fields are {', '.join(self._fields)}")
            return value
        raise HTTPException(400, f"the body is not JSON: {reason}")
