"""The web application: translations, health, the OpenAPI document, and two pages."""

import asyncio
import dataclasses
import email.message
import importlib.resources
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from transformer.serving.batcher import Batcher, Busy, Failed, Stopped, TimedOut
from transformer.serving.config import LOCAL_HOSTS, ServeConfig
from transformer.serving.guard import HEADERS, HEALTH, Guard, refusal, sendable
from transformer.serving.request_bodies import RETRY_LATER, BodyParser, BodyReader, short
from transformer.serving.schemas import Health, Kind, Problem, TranslationAnswer, request_model

SCRIPTS = ("page.js", "attention.js", "languages.js", "problems.js", "docs.js")
FILES = {"/": "index.html", "/docs": "docs.html"} | {f"/{name}": name for name in ("page.css", "icon.svg", *SCRIPTS)}
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PROBLEMS = {
    400: "the body is not JSON",
    408: "the body did not arrive in time",
    413: "the body is too large",
    415: "the body is not announced as JSON",
    421: "the Host header names a host that the server was not started for",
    422: "a field is missing, unknown, of a wrong type, or beyond a limit",
    500: "the translator failed",
    503: "too much waits, no translation in time, or the server is stopping; try again after Retry-After seconds",
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


def make_app(
    batcher: Batcher, beam_size: int, about: Mapping[str, object], limits: ServeConfig, hosts: Iterable[str] = ()
) -> FastAPI:
    """Return the application.

    Args:
        batcher: answers lists of sentences, by `Kind`, with the bytes of a `TranslationAnswer`.
        beam_size: of requests that name none.
        about: `run`, `source_language` and `target_language` of `Health`.
        limits: of requests.
        hosts: names that the server answers to, besides those of this machine and of `limits.host`.
    """
    app = FastAPI(
        title="Transformer translation server",
        version="1",  # of what goes over the wire
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # Starlette's redirects name scheme and host, which a proxy's client does not know
    )
    app.state.body_reader = body_reader = BodyReader(limits)
    bound = f"[{limits.host}]" if ":" in limits.host else limits.host
    app.add_middleware(Guard, hosts=(*LOCAL_HOSTS, bound, *hosts), body_reader=body_reader, limits=limits)
    about = {name: sendable(value) for name, value in about.items()}
    public = {name: value for name, value in dataclasses.asdict(limits).items() if name not in ("host", "port")}

    @app.exception_handler(HTTPException)
    async def problem(request: Request, error: HTTPException) -> Response:
        return refusal(error.status_code, error.detail, error.headers)

    @app.exception_handler(Exception)  # which is then raised again, for the log
    async def failure(request: Request, error: Exception) -> Response:
        return refusal(500, "the server failed; its log says why", HEADERS)

    TranslationRequest = request_model(limits, beam_size)
    parser = BodyParser(limits, TranslationRequest.model_fields)

    @app.post(
        "/translate",
        response_model=TranslationAnswer,
        response_description="the translations",
        responses={status: {"model": Problem, "description": text} for status, text in PROBLEMS.items()},
        openapi_extra={
            "requestBody": {
                "content": {"application/json": {"schema": TranslationRequest.model_json_schema()}},
                "required": True,
            }
        },
    )
    async def translate(request: Request) -> Response:
        """Translate one sentence or many. Requests that wait are translated together."""
        _check_type(request.headers)
        try:
            value = await parser.parse(await request.body())
            asked: Any = TranslationRequest.model_validate(value, from_attributes=True)
            kind = Kind(asked.beam_size, asked.n_best, asked.attention)
            answer = asyncio.wrap_future(batcher.submit(kind, asked.sentences))
            if not await _wait(request, answer):
                return Response()  # which the client does not read
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
        response_model=Health,
        response_description="ready",
        responses={503: {"model": Health, "description": "stopping"}},
    )
    async def health() -> Response:
        """Say whether translations are to be had. The server listens before its model is loaded, and answers after."""
        status = "ok" if batcher.works else "stopping"
        content = {"status": status, **about, "beam_size": beam_size, "waiting": batcher.waiting, "limits": public}
        return JSONResponse(content) if status == "ok" else JSONResponse(content, 503, RETRY_LATER)

    folder = importlib.resources.files("transformer.serving") / "pages"
    for path, name in FILES.items():
        page = _page((folder / name).read_bytes(), MEDIA_TYPES[os.path.splitext(name)[1]])
        app.add_route(path, page, include_in_schema=False)
    for path in {HEALTH, "/translate", "/openapi.json", *FILES} - {"/"}:
        app.add_route(path + "/", _without_slash, ["GET", "HEAD", "POST"], include_in_schema=False)
    return app
