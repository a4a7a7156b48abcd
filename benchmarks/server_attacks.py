"""Attacks on a translation server, with a look at how long they keep it from answering others."""

from __future__ import annotations

import collections
import http.client
import itertools
import json
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence

from server_process import PATIENCE

from transformer.serving.config import ServeConfig

LIMITS = ServeConfig()
MOST_SILENCE_MS = 1000
POLL_SECONDS = 0.05  # between an answer of /health and the next question
SLOW, SLOW_SECONDS = 256, 5  # slow bodies at a time, and how long the others try meanwhile
CHUNKS = 1_000_000  # of a body
HEAD = b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class HealthWatch:
    """Asks for /health all the time, from entering to leaving.

    Args:
        port: of the server on 127.0.0.1.

    Attributes:
        longest: seconds between two answers.
    """

    def __init__(self, port: int) -> None:
        self._port, self._stopped = port, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.longest = 0.0

    def __enter__(self) -> HealthWatch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        last = time.perf_counter()
        while not self._stopped.wait(POLL_SECONDS):
            try:
                connection.request("GET", "/health")
                answered = connection.getresponse()
                if not answered.read() or answered.status != 200:
                    continue  # which is no answer
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            now = time.perf_counter()
            self.longest, last = max(self.longest, now - last), now
        self.longest = max(self.longest, time.perf_counter() - last)
        connection.close()


def costly_bodies(sentence: str) -> dict[str, tuple[bytes, int]]:
    """Return bodies close to the limit of `max_body` that are costly to read or check, and their status."""
    start = json.dumps({"sentences": sentence})[:-1].encode() + b", "
    room = LIMITS.max_body - len(start) - 100

    def many(text: str, most: int | None = None) -> bytes:
        """Return a text that holds {} repeated with a number in its place."""
        count = min(room // (len(text.format("0" * 8)) + 2), most or room)
        return ", ".join(text.format(f"{number:08}") for number in range(count)).encode()

    marks = LIMITS.max_sentences * LIMITS.max_characters - 100  # a body may hold so many without being refused for it
    nested = marks // 451 * ["[" * 450 + "]" * 450]
    random_numbers = [f"{random.Random(number).random():.16e}" for number in range(min(marks, room // 24))]
    return {
        "many unknown fields": (start + many('"{}": 0') + b"}", 422),
        "unknown fields that are long": (start + many('"{}' + "k" * 20 + '": 0', marks // 2) + b"}", 422),
        "the same field again and again": (start + many('"n_best": "{}"', marks // 2) + b"}", 422),
        "a name of 900 kB": (start + b'"' + b"k" * 900_000 + b'": 0}', 422),
        "deep nesting": (b'{"sentences": ' + b"[" * room, 422),
        "nesting as deep as can be read": (start + f'"n_best": [{", ".join(nested)}]}}'.encode(), 422),
        "many numbers": (start + f'"n_best": [{", ".join(random_numbers)}]}}'.encode(), 422),
        "a huge number": (start + b'"n_best": ' + b"9" * room + b"}", 400),
        "many sentences": (b'{"sentences": [' + many('"{}"') + b"]}", 422),
        "a long sentence of escapes": (b'{"sentences": "' + b"\\ud83d\\ude00" * (room // 12) + b'"}', 422),
    }


def status_of(port: int, request: bytes) -> str:
    """Send a request as it is; returns its status, or what kept it from coming."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as raw:
            try:
                raw.sendall(request)
            except ConnectionError:
                pass  # the answer may be here all the same
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            answer.read()
            return str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


def announced(body: bytes) -> bytes:
    """Return a request with a body."""
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def slow_bodies(port: int, count: int) -> list[socket.socket]:
    """Return connections whose requests have begun and whose bodies do not come."""
    connections = []
    for _ in range(count):
        connections.append(socket.create_connection(("127.0.0.1", port), PATIENCE))
        connections[-1].sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
    return connections


def at_once(port: int, request: bytes, attackers: int) -> collections.Counter[str]:
    """Send a request from many clients at a time; returns the statuses."""
    statuses: collections.Counter[str] = collections.Counter()
    threads = [threading.Thread(target=lambda: statuses.update([status_of(port, request)])) for _ in range(attackers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def among_slow_bodies(port: int, good: bytes) -> collections.Counter[str]:
    """Send good requests while as many slow bodies arrive as may; returns the statuses."""
    statuses: collections.Counter[str] = collections.Counter()
    connections: Sequence[socket.socket] = slow_bodies(port, SLOW)
    end = time.monotonic() + SLOW_SECONDS
    while time.monotonic() < end:
        statuses.update([status_of(port, good)])
        for connection in connections:
            try:
                connection.sendall(b" ")
            except OSError:
                pass  # it has been given up, which is right
        time.sleep(0.2)
    for connection in connections:
        connection.close()
    return statuses


def attacks(port: int, sentence: str, attackers: int) -> Iterator[dict[str, object]]:
    """Attack a server in each way; yields what it came to.

    Args:
        port: of the server on 127.0.0.1, whose limits are the default.
        sentence: a good one.
        attackers: clients at a time.
    """
    good = announced(json.dumps({"sentences": sentence}).encode())
    in_chunks = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * CHUNKS
    requests = {name: (announced(body), status) for name, (body, status) in costly_bodies(sentence).items()}
    requests[f"bodies in {CHUNKS:,} chunks"] = in_chunks, 413
    for name, (request, status) in itertools.chain(requests.items(), [(f"{SLOW} slow bodies", (good, 200))]):
        begun = time.perf_counter()
        with HealthWatch(port) as watch:
            statuses = among_slow_bodies(port, good) if request is good else at_once(port, request, attackers)
            statuses_after = status_of(port, good)
        yield {
            "part": "attack",
            "attack": name,
            "requests": statuses.total(),
            "statuses": dict(statuses),
            "lost": statuses.total() - statuses[str(status)] + (statuses_after != "200"),
            "longest_silence_ms": round(1000 * watch.longest),
            "seconds": round(time.perf_counter() - begun, 1),
        }
