"""The process around the application: its socket, its signals, its end."""

import errno
import functools
import logging
import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI

from transformer.serving.batcher import Batcher
from transformer.serving.config import ServeConfig
from transformer.serving.protocol import EXTRA_SECONDS, BoundedProtocol
from transformer.serving.request_bodies import BodyReader
from transformer.system.errors import UserError


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that no other process can take the port while the model is loaded.

    Raises:
        UserError: the port is in use or not allowed, or the address is not one of this machine.
    """
    listener = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except (OSError, UnicodeError) as error:
        if listener:
            listener.close()
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise UserError(f"port {port} of {host} is in use; stop what uses it or choose another --port") from None
        if isinstance(error, PermissionError):
            raise UserError(f"port {port} is not allowed for this user; choose a --port above 1023") from None
        raise UserError(f"cannot listen at {host}; give an address of this machine with --host") from None
    return listener


class Server(uvicorn.Server):
    """Serves an application until a signal; then finishes what is being answered and refuses the rest.

    It ends by itself where the batcher's thread has ended with an error: nothing would be answered any more.

    Args:
        app: of `make_app`, with its batcher, which is stopped at the end.
        limits: of requests.
        access_log: write a line for each request, which never holds its text.
    """

    def __init__(self, app: FastAPI, batcher: Batcher, limits: ServeConfig, access_log: bool = False) -> None:
        config = uvicorn.Config(
            app,
            http=functools.partial(BoundedProtocol, limits=limits),  # type: ignore[arg-type]  # called as the class is
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=access_log,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=int(limits.timeout) + EXTRA_SECONDS,
        )
        super().__init__(config)
        self._batcher = batcher
        self._body_reader: BodyReader = app.state.body_reader

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say at which address."""
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            host = f"[{host}]" if ":" in host else host
            print(f"serving at http://{host}:{port}/ (Ctrl-C stops)", file=sys.stderr, flush=True)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end; asked several times a second."""
        return await super().on_tick(counter) or self._batcher.died

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse what waits and what is still coming, then let uvicorn finish the rest."""
        self._batcher.stop()
        self._body_reader.stop()
        await super().shutdown(sockets)


def serve(app: FastAPI, batcher: Batcher, limits: ServeConfig, listener: socket.socket, access_log: bool) -> None:
    """Serve until Ctrl-C, SIGTERM or, of a closed terminal, SIGHUP; a second Ctrl-C does not wait for clients."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    # Not its warnings: they tell that somebody sent what is no HTTP, who can do so until the disk is full.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    server = Server(app, batcher, limits, access_log)
    # uvicorn handles the first two itself and, when it is done, raises them again, to these.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` leaves it
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    try:
        server.run(sockets=[listener])
    finally:
        batcher.stop()
        batcher.join()
    if batcher.died:
        raise UserError("the thread that answers has died, its log says why; start the server again")
