"""A translation server in this process, on a free port of the loopback, and requests to it."""

import contextlib
import http.client
import json
import threading
import time

from transformer.serving.app import make_app
from transformer.serving.batcher import Batcher
from transformer.serving.config import ServeConfig
from transformer.serving.server import Server, listen
from transformer.serving.translation_schemas import translation_offer

ABOUT = {"run": ["tiny"], "source_language": "pt", "target_language": "en"}
JSON = {"Content-Type": "application/json"}


def echo(kind, requests, deadline):
    """Answer each sentence with itself; a `TranslationService.answer` without a model."""
    return [json.dumps({"translations": list(sentences)}).encode() for sentences in requests]


def until(condition, seconds=20):
    """Wait until a condition holds, which it does soon; the seconds only bound a failure."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.005)


class Live:
    """What a test knows of a running server."""

    def __init__(self, server, batcher, port):
        self.server, self.batcher, self.port = server, batcher, port
        self.body_reader = server.config.app.state.body_reader

    def request(self, method, path, body=None, headers=None):
        """Return status, headers and the body, as text unless it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read().decode("utf-8")
        is_json = text and answer.headers["content-type"] == "application/json"
        return answer.status, answer.headers, json.loads(text) if is_json else text

    def post(self, body):
        """Return status and answer of a translation; what is no text is sent as JSON."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        status, _, answer = self.request("POST", "/translate", text, JSON)
        return status, answer

    def begin(self, body):
        """Send a translation in a thread; returns a function that waits for its status and answer."""
        found = []
        thread = threading.Thread(target=lambda: found.append(self.post(body)))
        thread.start()

        def result():
            thread.join(30)
            return found[0]

        return result


@contextlib.contextmanager
def serving(answer, beam_size=2, hosts=(), about=ABOUT, offer=None, **limits):
    """Serve the results of `answer`, as a service gives them; without an offer, those of a translator."""
    limits = ServeConfig(**limits)
    batcher = Batcher(answer, limits.max_waiting, limits.max_together, limits.timeout)
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        server = Server(
            make_app(batcher, offer or translation_offer(limits, beam_size, about), limits, hosts), batcher, limits
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started)
            yield Live(server, batcher, port)
        finally:
            server.should_exit = True
            thread.join(30)
            batcher.stop()  # already done by the server, unless that failed
            batcher.join()
    assert not thread.is_alive()
