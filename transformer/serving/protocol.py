"""HTTP/1.1 of uvicorn and h11, with bounds on what one connection may cost."""

from __future__ import annotations

import asyncio
import http
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from transformer.serving.config import ServeConfig

PIECE = 2**14  # bytes that are parsed before it is looked again whether they should be
DEAF_SECONDS = 0.05  # between looks at what is only thrown away
SPARE_SECONDS = 5  # for clients to read the last answer before their connection is cut


class BoundedConnection(h11.Connection):
    """Counts the chunks of each body: each costs more than ten microseconds, though it may hold a single byte.

    Args:
        max_chunks: of a body.
    """

    def __init__(self, max_chunks: int) -> None:
        super().__init__(h11.SERVER)
        self._max_chunks, self._chunks = max_chunks, 0

    def next_event(self) -> Any:
        """Return the next event, as h11 defines it.

        Raises:
            h11.RemoteProtocolError: the client does not speak HTTP, or in too many chunks.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = 0
        elif isinstance(event, h11.Data) and event.chunk_start:
            self._chunks += 1
            if self._chunks > self._max_chunks:
                raise h11.RemoteProtocolError("too many chunks")
        return event


class BoundedProtocol(H11Protocol):
    """Cuts connections that are slow to say what they want or to read what they asked for, and those that are costly.

    Args:
        limits: of requests.
        arguments: of uvicorn.
    """

    def __init__(self, *, limits: ServeConfig, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.conn = BoundedConnection(limits.max_chunks)
        self._limits = limits
        self._unread = bytearray()
        self._deaf = False  # what comes is thrown away: a connection cut at once could lose the client our last answer
        self._asking: asyncio.TimerHandle | None = None  # how long the next request may take to be told
        self._answering: asyncio.TimerHandle | None = None  # how long the client may read nothing

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        for timer in (self._asking, self._answering):
            _stop(timer)
        self._unread.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; it is parsed piece by piece, and only up to the end of a request."""
        self._unset_keepalive_if_required()
        if self._deaf:  # at a leisurely pace, which keeps the sender from making work
            self.flow.pause_reading()
            self.loop.call_later(DEAF_SECONDS, self.flow.resume_reading)
            return
        self._unread += data
        self.handle_events()

    def handle_events(self) -> None:
        """Parse what is here of a request."""
        if self._deaf or self.transport.is_closing():
            return
        super().handle_events()
        # h11 bounds headers that are incomplete, but reads complete ones of any length: so it gets them in pieces.
        while self._unread and self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self._deaf:
            self.conn.receive_data(bytes(self._unread[:PIECE]))
            del self._unread[:PIECE]
            super().handle_events()
        if self.conn.their_state is h11.MUST_CLOSE:  # it announced that nothing would follow
            self._unread.clear()
        elif self._unread:  # of the next request, whose turn comes
            self.flow.pause_reading()

    def on_response_complete(self) -> None:
        """Wait for the next request; what still comes of this one's body is passed over for as long."""
        self._wait_for_request()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._answering = self.loop.call_later(self._limits.timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        _stop(self._answering)
        self._wait_for_request()

    def shutdown(self) -> None:
        """Close the connection, at the latest a little after its request is answered."""
        if self._deaf:
            self.transport.close()
        else:
            super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(SPARE_SECONDS, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with what cannot be parsed, unless it has its answer already; listen to no more of it."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._tell_mistake()
        self._deaf = True
        self._unread.clear()
        if self.cycle is not None:  # its body will never be complete
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write_eof()
        self._wait_for_request()  # that is, for the end of the connection

    def _tell_mistake(self) -> None:
        status, error = 400, "this is not HTTP, or its headers are too long"
        if self.conn.their_state is not h11.ERROR:  # h11 itself sees no error in it
            status, error = 413, f"the body must come in at most {self._limits.max_chunks} chunks; send it whole"
        body = json.dumps({"error": error}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (
            h11.Response(status_code=status, headers=headers, reason=http.HTTPStatus(status).phrase.encode()),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a stranger's wish for another protocol is passed over, as HTTP allows."""

    def _wait_for_request(self) -> None:
        _stop(self._asking)
        self._asking = self.loop.call_later(self._limits.arrival_timeout, self._give_up_asking)

    def _give_up_asking(self) -> None:
        being_answered = bool(self.cycle) and not (self.cycle.response_complete or self.cycle.disconnected)
        if not (being_answered or self.flow.write_paused):  # these have limits of their own
            self.transport.abort()


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
