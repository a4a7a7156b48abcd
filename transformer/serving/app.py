"""The web application: what its `Offer` says, health, the OpenAPI document, and two pages."""

import asyncio
import email.message
import importlib.resources
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from transformer.serving.batcher import Batcher, Busy, Failed, Stopped, TimedOut, Unanswered
from transformer.serving.config import LOCAL_HOSTS, ServeConfig
from transformer.serving.guard import HEADERS, HEALTH, Guard, refusal, sendable
from transformer.serving.offer import Offer
from transformer.serving.request_bodies import RETRY_LATER, BodyParser, BodyReader, short
from transformer.serving.schemas import Problem, limits_of

SCRIPTS = (
    "page.js",
    "generate.js",
    "predict.js",
    "embed.js",
    "elements.js",
    "attention.js",
    "languages.js",
    "problems.js",
    "docs.js",
)
FILES = {"/docs": "docs.html"} | {f"/{name}": name for name in ("page.css", "predict.css", "icon.svg", *SCRIPTS)}
LINES = "application/x-ndjson"  # JSON, an object a line
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PROBLEMS = {
    400: "the body is not JSON",
    408: "the body did not arrive in time",
    413: "the body is too large",
    415: "the body is not announced as JSON",
    421: "the Host header names a host that the server was not started for",
    422: "a field is missing, unknown, of a wrong type, or beyond a limit",
    500: "the model failed",
    503: "too much waits, no answer in time, or the server is stopping; try again after Retry-After seconds",
}


def _check_type(headers: Headers) -> None:
    """Refuse what is not JSON. Browsers let any web page send other types without asking, so this keeps those out."""
    content_type = email.message.Message()
    content_type["content-type"] = headers.get("content-type", "")
    charset = str(content_type.get_param("charset", "utf-8")).lower()
    if content_type.get_content_type() != "application/json" or charset != "utf-8":
        raise HTTPException(415, "the body must be JSON in UTF-8: send Content-Type: application/json")
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise HTTPException(415, f"the body must not be compressed, got Content-Encoding: {short(encoding)}")


def _reason(errors: Sequence[Mapping]) -> str:
    """Return what pydantic found wrong with a request; the input itself is not repeated."""
    reasons = []
    for error in errors[:3]:
        field = ".".join(map(str, error["loc"]))
        reasons.append(f"{field and f'{field}: '}{error['msg'].removeprefix('Value error, ')}")
    return "; ".join(reasons) + (f"; and {len(errors) - 3} more" if len(errors) > 3 else "")


async def _wait(request: Request, answer: asyncio.Future) -> bool:
    """Wait for an answer, or until the client is gone; returns whether there is an answer.

    The answer is cancelled where it did not come, also by a time limit around this.
    """
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        return answer.done()
    finally:
        gone.cancel()
        answer.cancel()


async def _without_slash(request: Request) -> Response:
    """Redirect by a relative address, which keeps what a proxy put before ours."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"../{request.url.path.strip('/')}{query}")


def _page(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return page


class _Lines:
    """The lines of an answer that is streamed: pieces as they come, from any thread, then the answer itself."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[Mapping[str, object] | None] = asyncio.Queue()

    def tell(self, piece: Mapping[str, object]) -> None:
        """Add a piece."""
        self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)

    async def until(self, answer: asyncio.Future, items: Sequence) -> AsyncIterator[bytes]:
        """Yield the lines; where the client goes away, the items are told that nobody wants them."""
        answer.add_done_callback(lambda _: self._pieces.put_nowait(None))  # behind the last piece
        try:
            while (piece := await self._pieces.get()) is not None:
                yield json.dumps(piece, ensure_ascii=False).encode() + b"\n"
            yield answer.result() + b"\n"
        except Unanswered as error:
            yield json.dumps({"error": str(error)}).encode() + b"\n"
        finally:
            answer.cancel()
            _give_up(items)


def _give_up(items: Sequence) -> None:
    """Tell items that can be told so that nobody wants them any more."""
    for item in items:
        if hasattr(item, "wanted"):
            item.wanted = False


def make_app(batcher: Batcher, offer: Offer, limits: ServeConfig, hosts: Iterable[str] = ()) -> FastAPI:
    """Return the application.

    Args:
        batcher: answers lists of the offer's items, by its kinds, with the bytes of its answer.
        offer: what is served.
        limits: of requests.
        hosts: names that the server answers to, besides those of this machine and of `limits.host`.
    """
    app = FastAPI(
        title=offer.title,
        version="1",  # of what goes over the wire
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # Starlette's redirects name scheme and host, which a proxy's client does not know
    )
    app.state.body_reader = body_reader = BodyReader(limits)
    bound = f"[{limits.host}]" if ":" in limits.host else limits.host
    app.add_middleware(Guard, hosts=(*LOCAL_HOSTS, bound, *hosts), body_reader=body_reader, limits=limits)
    about = {name: sendable(value) for name, value in offer.about.items()}

    @app.exception_handler(HTTPException)
    async def problem(request: Request, error: HTTPException) -> Response:
        return refusal(error.status_code, error.detail, error.headers)

    @app.exception_handler(Exception)  # which is then raised again, for the log
    async def failure(request: Request, error: Exception) -> Response:
        return refusal(500, "the server failed; its log says why", HEADERS)

    parser = BodyParser(limits, offer.request.model_fields, offer.field)

    @app.post(
        offer.path,
        description=offer.description,
        response_model=offer.answer,
        response_description="the answer",
        responses={status: {"model": Problem, "description": text} for status, text in PROBLEMS.items()},
        openapi_extra={
            "requestBody": {
                "content": {"application/json": {"schema": offer.request.model_json_schema()}},
                "required": True,
            }
        },
    )
    async def answer(request: Request) -> Response:
        _check_type(request.headers)
        try:
            value = await parser.parse(await request.body())
            asked: Any = offer.request.model_validate(value, from_attributes=True)
            lines = _Lines() if getattr(asked, "stream", False) else None
            kind, items = offer.asked(asked, lines.tell if lines else None)
            answer = asyncio.wrap_future(batcher.submit(kind, items))
            if lines:
                return StreamingResponse(lines.until(answer, items), media_type=LINES)
            try:
                if not await _wait(request, answer):
                    return Response()  # which the client does not read
            finally:
                _give_up(items)
            return Response(answer.result(), media_type="application/json")
        except ValidationError as error:
            errors = error.errors(include_url=False, include_context=False, include_input=False)
            raise HTTPException(422, _reason(errors)) from None
        except Busy as busy:
            raise HTTPException(503, str(busy), {"Retry-After": str(busy.seconds)}) from None
        except (Stopped, TimedOut) as error:
            raise HTTPException(503, str(error), RETRY_LATER) from None
        except Failed as error:
            raise HTTPException(500, str(error)) from None

    @app.head(HEALTH, include_in_schema=False)
    @app.get(
        HEALTH,
        response_model=offer.health,
        response_description="ready",
        responses={503: {"model": offer.health, "description": "stopping"}},
    )
    async def health() -> Response:
        """Say whether answers are to be had. The server listens before its model is loaded, and answers after."""
        status = "ok" if batcher.works else "stopping"
        content = {"status": status, **about, "waiting": batcher.waiting, "limits": limits_of(limits)}
        return JSONResponse(content) if status == "ok" else JSONResponse(content, 503, RETRY_LATER)

    folder = importlib.resources.files("transformer.serving") / "pages"
    for path, name in {"/": offer.page, **FILES}.items():
        page = _page((folder / name).read_bytes(), MEDIA_TYPES[os.path.splitext(name)[1]])
        app.add_route(path, page, include_in_schema=False)
    for path in {HEALTH, offer.path, "/openapi.json", *FILES}:
        app.add_route(path + "/", _without_slash, ["GET", "HEAD", "POST"], include_in_schema=False)
    return app
