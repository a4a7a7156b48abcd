"""What one connection or request may cost the translation server: the others do not wait for it."""

import contextlib
import http.client
import json
import socket

import pytest
from live_server import JSON, echo, serving, until

from transformer.serving import protocol

HEAD = b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = b'{"sentences": "good"}'
ANSWER = {"translations": ["good"]}


@contextlib.contextmanager
def connected(live, first=b""):
    """Connect, and send the first bytes."""
    with socket.create_connection(("127.0.0.1", live.port), 20) as raw:
        raw.sendall(first)
        yield raw


def reply(raw):
    """Return status and body of the next answer on a connection."""
    answer = http.client.HTTPResponse(raw)
    answer.begin()
    return answer.status, json.loads(answer.read())


def whole(body, *headers):
    """Return the bytes of a request."""
    return HEAD + b"".join(h + b"\r\n" for h in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def in_chunks(body, size):
    """Return the bytes of a request in chunks."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.fixture(scope="module")
def live():
    with serving(echo) as live:
        yield live


# Bodies on their way


def test_slow_bodies_take_no_place_of_requests_that_are_here():
    with serving(echo, max_requests=1, max_arriving=3) as live, contextlib.ExitStack() as opened:
        slow = []
        for number in range(3):
            slow.append(opened.enter_context(connected(live, HEAD + b"Content-Length: 9\r\n\r\n{")))
            until(lambda expected=number + 1: len(live.body_reader) == expected)
        assert live.post({"sentences": "good"}) == (200, ANSWER)
        status, answer = reply(slow[0])  # the one that had taken longest gave way, and it alone
        assert status == 408 and "3 other requests are arriving" in answer["error"]
        assert len(live.body_reader) == 2
        slow[1].sendall(b'"a": 1} ')
        assert reply(slow[1])[0] == 422


def test_a_body_has_less_time_than_an_answer():
    with serving(echo, arrival_timeout=0.3) as live, connected(live, HEAD + b"Content-Length: 9\r\n\r\n{") as raw:
        status, answer = reply(raw)
        assert (status, answer) == (408, {"error": "the request did not arrive within 0.3 s"})


@pytest.mark.parametrize(
    "first", [b"", b"GET / HTTP/1.1\r\nHost: loc", b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n"]
)
def test_headers_that_do_not_arrive_are_not_waited_for(first):
    with serving(echo, arrival_timeout=0.3) as live, connected(live, first) as raw:
        assert raw.recv(1) == b""


def test_an_answer_that_nobody_reads_is_not_kept():
    def long(kind, requests, deadline):
        return [b" " * 30_000_000 for _ in requests]

    with serving(long, timeout=0.5) as live, connected(live, 2 * whole(GOOD)):
        until(lambda: live.server.server_state.total_requests)
        until(lambda: not live.server.server_state.connections)


def test_slow_bodies_do_not_delay_the_end():
    with serving(echo, timeout=600.0, arrival_timeout=600.0) as live, contextlib.ExitStack() as opened:
        slow = [opened.enter_context(connected(live, HEAD + b"Content-Length: 9\r\n\r\n{")) for _ in range(4)]
        until(lambda: len(live.body_reader) == 4)
        live.server.should_exit = True
        for raw in slow:
            assert reply(raw) == (503, {"error": "the server is stopping"})
    # `serving` has seen that the server ended


def test_an_answer_that_nobody_reads_does_not_delay_the_end(monkeypatch):
    monkeypatch.setattr(protocol, "EXTRA_SECONDS", 0.1)

    def long(kind, requests, deadline):
        return [b" " * 30_000_000 for _ in requests]

    with serving(long, timeout=600.0) as live, connected(live, whole(GOOD)):
        until(lambda: live.server.server_state.total_requests)
        live.server.should_exit = True
        until(lambda: not live.server.server_state.connections)


# Chunks, pipelines and other ways to speak HTTP


def test_chunks_are_counted(live):
    for chunks, expected in ((128, 200), (129, 413)):
        body = GOOD + b" " * (chunks - len(GOOD))
        with connected(live, in_chunks(body, 1)) as raw:
            status, answer = reply(raw)
        assert status == expected
        assert status == 200 or answer == {"error": "the body must come in at most 128 chunks; send it whole"}


def test_chunks_are_counted_for_each_request(live):
    with connected(live) as raw:
        for _ in range(3):
            raw.sendall(in_chunks(GOOD + b" " * 80, 1))
            assert reply(raw) == (200, ANSWER)


def test_chunks_after_an_early_answer_are_counted_too():
    with serving(echo) as live, connected(live, CHUNKED.replace(b"localhost", b"evil.example")) as raw:
        assert reply(raw)[0] == 421
        with contextlib.suppress(ConnectionError):
            raw.sendall(b"1\r\n \r\n" * 1000)
            assert raw.recv(1) == b""
        assert live.post(GOOD) == (200, ANSWER)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS
        b"GET / HTTP/1.1\r\n\r\n",  # no host
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\na: " + b"b" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"1" * 70_000,
    ],
)
def test_what_is_no_http_is_told_so_and_cut(live, sent):
    with connected(live) as raw, contextlib.suppress(ConnectionError):  # it may be cut before all is sent
        raw.sendall(sent)
        status, answer = reply(raw)
        assert status == 400 and list(answer) == ["error"]
        assert raw.recv(1) == b""
    assert live.post(GOOD) == (200, ANSWER)


def test_pipelined_requests_are_answered_in_their_order(live):
    bodies = [json.dumps({"sentences": str(number) + " " * 500}).encode() for number in range(100)]
    got = []
    with connected(live, b"".join(map(whole, bodies))) as raw, raw.makefile("rb") as stream:
        for _ in bodies:
            assert stream.readline().startswith(b"HTTP/1.1 200 ")
            length = int(http.client.parse_headers(stream)["Content-Length"])
            got.append(json.loads(stream.read(length))["translations"][0].strip())
    assert got == [str(number) for number in range(100)]


def test_what_follows_a_closing_request_is_passed_over(live):
    with connected(live, whole(GOOD, b"Connection: close") + b"\r\n" + b"x" * 100_000) as raw:
        assert reply(raw) == (200, ANSWER)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "FOO"])
def test_odd_methods_are_refused(live, method):
    status, headers, _ = live.request(method, "/translate")
    assert status == 405 and headers["Allow"] == "POST"


@pytest.mark.parametrize("target", ["*", "localhost:80", "//evil.example/", "/%00%ff", "/health//"])
def test_odd_targets_are_not_found(live, target):
    assert live.request("GET", target)[0] == 404


def test_another_protocol_is_passed_over_and_not_logged(live, caplog):
    for wanted in ("websocket", "h2c"):
        headers = {"Connection": "Upgrade", "Upgrade": wanted, "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
        assert live.request("GET", "/health", headers=headers)[0] == 200
    assert not caplog.text


def test_a_query_is_passed_over(live):
    assert live.request("POST", "/translate?sentences=x&%ff=%00#y", GOOD, JSON)[0] == 200


# Bodies that are costly to look at


@pytest.mark.parametrize(
    "body, status, reason",
    [
        (
            '{"sentences": "a", ' + ", ".join(f'"key {number:020}": 0' for number in range(30_000)) + "}",
            422,
            "unknown fie",
        ),
        ('{"sentences": "a", ' + ", ".join(f'"{number}": 0' for number in range(70_000)) + "}", 422, "holds more than"),
        ('{"sentences": "a", "' + "k" * 900_000 + '": 1}', 422, "unknown field 'kkkkkk"),
        ('{"sentences": [' + "1, " * 60_000 + "1]}", 422, "sentences: has 60,001 sentences, at most 64 are allowed"),
        ('{"sentences": [' + '"",' * 300_000 + '""]}', 422, "holds more than 64 sentences of 1,000 characters"),
        ('{"sentences": "' + "a" * 900_000 + '"}', 422, "sentences.0: has 900,000 characters, at most 1,000 are al"),
        ('{"sentences": ' + "[" * 500_000, 422, "holds more than"),
        ('{"sentences": ' + "[" * 60_000 + "1", 400, "the body is not JSON: nested too deeply"),
        ('{"sentences": "a", "n_best": ' + "9" * 900_000 + "}", 400, "the body is not JSON: a number has too many dig"),
        ('{"sentences": "a", "n_best": ' + "9" * 4_300 + "}", 422, "n_best: "),
        ('{"sentences": "a", "n_best": [' + "0, " * 60_000 + "0]}", 422, "n_best: Input should be a valid integer"),
        ('{"sentences": "a"' + ', "n_best": 1' * 30_000 + "}", 200, ""),  # the last one counts, as in most readers
    ],
)
def test_costly_bodies_are_refused_in_a_few_words(live, body, status, reason):
    got, answer = live.post(body)
    assert got == status
    assert status == 200 or (reason in answer["error"] and len(answer["error"]) < 300)


def test_the_most_that_is_allowed_is_not_taken_for_too_much(live):
    """All sentences full of the marks by which the values of a body are counted, and as escapes."""
    sentences = [",:[{" * 250] * 64
    assert live.post({"sentences": sentences}) == (200, {"translations": sentences})
    sentences = ["\N{GRINNING FACE}" * 1000] * 64
    assert live.post({"sentences": sentences}) == (200, {"translations": sentences})
