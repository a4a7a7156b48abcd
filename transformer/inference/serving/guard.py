"""What stands between the network and the application: which hosts, how many requests, how long, which headers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The pages load their own files and ask their own server; nothing else, and nobody may frame them.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
RETRY_SECONDS = 5


def host_name(host: str) -> str:
    """Return the name or address in a Host header, without its port; an IPv6 address keeps its brackets."""
    return re.sub(r":\d*$", "", host).lower()


class Guard:
    """Refuses what the application should not see, with a reason.

    Host names other than the allowed ones: a name that an attacker controls and points at this machine would let his
    page read the answers (DNS rebinding). Bodies of too many bytes, announced or not. More requests at
    one time than allowed. Requests without an answer in time: their work is cancelled.

    Args:
        app: the application.
        hosts: allowed in the Host header.
        max_requests: at a time.
        max_body: bytes of a request.
        timeout: seconds of a request.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], max_requests: int, max_body: int, timeout: float) -> None:
        self.app, self.max_requests, self.max_body, self.timeout = app, max_requests, max_body, timeout
        self.hosts = {host.lower() for host in hosts}
        self.too_large = f"the body must have at most {max_body} bytes"
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        host, length = headers.get("host", ""), headers.get("content-length", "0")
        if host_name(host) not in self.hosts:
            error = f"this server does not answer to the host {host_name(host)!r}; start it with --allow-host NAME"
            await _refusal(421, error)(scope, receive, send_with_headers)
        elif scope["method"] == "POST" and self.requests >= self.max_requests:  # the health page is always seen
            error = f"{self.max_requests} requests are being served already; try again"
            await _refusal(503, error)(scope, receive, send_with_headers)
        elif length.isdecimal() and int(length) > self.max_body:
            await _refusal(413, self.too_large)(scope, receive, send_with_headers)
        else:
            self.requests += 1
            try:
                await self._in_time(scope, receive, send_with_headers)
            finally:
                self.requests -= 1

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived, size = False, 0

        async def counted() -> Message:
            nonlocal arrived, size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.max_body:
                raise HTTPException(413, self.too_large)  # which the application turns into its answer
            arrived = arrived or not message.get("more_body", False)
            return message

        try:
            async with asyncio.timeout(self.timeout):
                await self.app(scope, counted, send)
        except TimeoutError:  # the application sends an answer at once when it has it, so none has begun
            status = 503 if arrived else 408
            error = f"{'no translation' if arrived else 'the request did not arrive'} within {self.timeout:g} s"
            await _refusal(status, error)(scope, receive, send)


def _refusal(status: int, error: str) -> JSONResponse:
    return JSONResponse({"error": error}, status, {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None)
