"""Middleware that bounds what reaches the application: which hosts, how many requests, how long; and the headers."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transformer.serving.config import ANY_HOST, ServeConfig, host_name
from transformer.serving.request_bodies import RETRY_LATER, BodyReader, short
from transformer.system.messages import one_line

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
HEALTH = "/health"


def refusal(status: int, error: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer to a request that is refused."""
    return JSONResponse({"error": error}, status, headers)


class Guard:
    """Refuses what the application should not see, with a reason.

    Host names other than the allowed ones: a name that an attacker controls and points at this machine would let his
    page read the answers (DNS rebinding). `HEALTH`, which tells no secret, is answered under every name, since load
    balancers ask for it by address. Bodies that `BodyReader` refuses. More requests at one time than allowed. Requests
    without an answer in time: their work is cancelled.

    `hosts` are allowed in the Host header; `ANY_HOST` allows all.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], body_reader: BodyReader, limits: ServeConfig) -> None:
        self.app, self.body_reader, self.limits = app, body_reader, limits
        self.hosts = {host.lower() for host in hosts}
        self.requests = 0  # being answered, pages and the health report not counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check_headers(scope)
            end = asyncio.get_running_loop().time() + self.limits.timeout
            if scope["method"] != "POST":
                async with asyncio.timeout_at(end):
                    await self.app(scope, receive, send_with_headers)
            elif (body := await self.body_reader.read(receive)) is not None:
                async with asyncio.timeout_at(end):
                    await self._answer_body(body, scope, receive, send_with_headers)
        except (HTTPException, TimeoutError) as error:
            if started:  # the client does not read; uvicorn closes its connection
                return
            if isinstance(error, TimeoutError):
                error = HTTPException(503, f"no answer within {self.limits.timeout:g} s", RETRY_LATER)
            await refusal(error.status_code, error.detail, error.headers)(scope, receive, send_with_headers)

    def _check_headers(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host, length = host_name(headers.get("host", "")), headers.get("content-length", "0")
        is_health = scope["path"].rstrip("/") == HEALTH and scope["method"] in ("GET", "HEAD")
        if not (is_health or host in self.hosts or ANY_HOST in self.hosts):
            raise HTTPException(
                421, f"this server does not answer to the host {short(host)}; start it with --allow-host NAME"
            )
        if length.isdecimal() and int(length) > self.limits.max_body:
            raise HTTPException(413, self.body_reader.too_large)

    async def _answer_body(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        if self.requests >= self.limits.max_requests:
            raise HTTPException(503, f"{self.requests} requests are being served already; try again", RETRY_LATER)
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_again() -> Message:
            return next(messages, None) or await receive()

        self.requests += 1
        try:
            await self.app(scope, receive_again, send)
        finally:
            self.requests -= 1


def sendable(value: Any) -> Any:
    """Return a value for JSON whose texts can be sent and shown, whatever files and folders they come from."""
    if isinstance(value, str):
        return one_line(value)
    return [sendable(item) for item in value] if isinstance(value, list) else value
