"""Bodies of requests on their way in: how large, how long, how many at a time."""

from __future__ import annotations

import asyncio
import dataclasses

from starlette.exceptions import HTTPException
from starlette.types import Receive

from transformer.serving.config import ServeConfig

RETRY_SECONDS = 5
AGAIN = {"Retry-After": str(RETRY_SECONDS)}


@dataclasses.dataclass(eq=False)
class _Arrival:
    patience: asyncio.Timeout
    refusal: HTTPException  # what its sender is told where the patience ends

    def give_up(self, refusal: HTTPException) -> None:
        if not self.patience.expired():
            self.refusal = refusal
            self.patience.reschedule(0)  # long past


class Arrivals:
    """Reads the bodies of requests. Slow senders keep neither the others nor the end of the server waiting.

    It is used in the event loop's thread alone.

    Args:
        limits: of requests.
    """

    def __init__(self, limits: ServeConfig) -> None:
        self._max_body, self._most = limits.max_body, limits.max_arriving
        self._seconds = min(limits.arrival_timeout, limits.timeout)
        self._coming: dict[_Arrival, None] = {}  # in the order of their beginning
        self._stopped = False
        self.too_large = f"the body must have at most {limits.max_body} bytes"

    def __len__(self) -> int:
        return len(self._coming)

    def stop(self) -> None:
        """Wait for none of the bodies any more, those to come included."""
        self._stopped = True
        for arrival in self._coming:
            arrival.give_up(self._stopping())

    async def body(self, receive: Receive) -> bytes | None:
        """Return a body; None where the client is gone.

        Raises:
            HTTPException: it is too large or too slow, or the server is stopping.
        """
        late = HTTPException(408, f"the request did not arrive within {self._seconds:g} s")
        arrival = _Arrival(asyncio.timeout(self._seconds), late)
        try:
            async with arrival.patience:
                self._admit(arrival)
                return await self._whole(receive)
        except TimeoutError:
            raise arrival.refusal from None
        finally:
            self._coming.pop(arrival, None)

    def _admit(self, arrival: _Arrival) -> None:
        """Count an arrival; where there are too many, the oldest gives way: an honest body is here in no time."""
        if self._stopped:
            raise self._stopping()
        if len(self._coming) >= self._most:
            oldest = next(iter(self._coming))
            del self._coming[oldest]
            oldest.give_up(
                HTTPException(408, f"{self._most} other requests are arriving, and this one has taken longest")
            )
        self._coming[arrival] = None

    async def _whole(self, receive: Receive) -> bytes | None:
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

    def _stopping(self) -> HTTPException:
        return HTTPException(503, "the server is stopping", AGAIN)
