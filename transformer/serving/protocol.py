"""HTTP/1.1 of uvicorn and h11, with bounds on what one connection may cost."""

import asyncio
import http
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from transformer.serving.config import ServeConfig

PIECE = 2**14  # bytes that are parsed before it is checked again whether they should be
DISCARD_SECONDS = 0.05  # between two reads of what is only discarded
EXTRA_SECONDS = 5  # for clients to read the last answer before their connection is cut


class BoundedConnection(h11.Connection):
    """Counts the chunks of each body: each costs more than ten microseconds, though it may hold a single byte."""

    def __init__(self, max_chunks: int) -> None:
        super().__init__(h11.SERVER)
        self._max_chunks, self._chunks = max_chunks, 0

    def next_event(self) -> Any:
        """Return the next event, as h11 defines it; a body in too many chunks is a RemoteProtocolError."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = 0
        elif isinstance(event, h11.Data) and event.chunk_start:
            self._chunks += 1
            if self._chunks > self._max_chunks:
                raise h11.RemoteProtocolError("too many chunks")
        return event


class BoundedProtocol(H11Protocol):
    """Closes connections that send or read too slowly, and those whose requests cost too much."""

    def __init__(self, *, limits: ServeConfig, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.conn = BoundedConnection(limits.max_chunks)
        self._limits = limits
        self._unread = bytearray()
        self._discarding = False  # what comes: the client could lose our last answer if the connection closed at once
        self._request_timer: asyncio.TimerHandle | None = None  # how long the next request may take to arrive
        self._write_timer: asyncio.TimerHandle | None = None  # how long the client may read nothing

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._request_timer, self._write_timer):
            _stop(timer)
        self._unread.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive bytes, which are parsed piece by piece, and only up to the end of a request."""
        self._unset_keepalive_if_required()
        if self._discarding:  # slowly, so that the client cannot cause work
            self.flow.pause_reading()
            self.loop.call_later(DISCARD_SECONDS, self.flow.resume_reading)
            return
        self._unread += data
        self.handle_events()

    def handle_events(self) -> None:
        """Parse what has arrived of a request."""
        if self._discarding or self.transport.is_closing():
            return
        super().handle_events()
        # h11 bounds headers that are incomplete, but reads complete ones of any length: so it gets them in pieces.
        while self._unread and self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self._discarding:
            self.conn.receive_data(bytes(self._unread[:PIECE]))
            del self._unread[:PIECE]
            super().handle_events()
        if self.conn.their_state is h11.MUST_CLOSE:  # it announced that nothing would follow
            self._unread.clear()
        elif self._unread:  # of the next request, whose turn comes
            self.flow.pause_reading()

    def on_response_complete(self) -> None:
        """Wait for the next request; what still comes of this one's body is discarded meanwhile."""
        self._wait_for_request()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _stop(self._write_timer)
        self._wait_for_request()

    def shutdown(self) -> None:
        """Close the connection, at the latest `EXTRA_SECONDS` after its request is answered."""
        if self._discarding:
            self.transport.close()
        else:
            super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(EXTRA_SECONDS, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, unless it has its answer already; discard the rest."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send_error()
        self._discarding = True
        self._unread.clear()
        if self.cycle is not None:  # its body will never be complete
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write_eof()
        self._wait_for_request()  # that is, for the end of the connection

    def _send_error(self) -> None:
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
        """Log nothing: a client's request for another protocol is ignored, as HTTP allows."""

    def _wait_for_request(self) -> None:
        _stop(self._request_timer)
        self._request_timer = self.loop.call_later(self._limits.arrival_timeout, self._request_is_late)

    def _request_is_late(self) -> None:
        being_answered = bool(self.cycle) and not (self.cycle.response_complete or self.cycle.disconnected)
        if not (being_answered or self.flow.write_paused):  # these have limits of their own
            self.transport.abort()


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
