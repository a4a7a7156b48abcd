"""The translation server over HTTP: right answers, a reason for each bad request, overload, patience and its end."""

import collections
import contextlib
import dataclasses
import http.client
import itertools
import json
import logging
import re
import socket
import threading
from html.parser import HTMLParser

import numpy as np
import pytest
import schemathesis
from hypothesis import given, settings
from live_server import ABOUT, JSON, echo, serving, until
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from tiny_run import save_run, spread_parts

from transformer.config.settings import SearchConfig
from transformer.inference.translator import Translator
from transformer.serving.app import FILES, make_app
from transformer.serving.batcher import Batcher, TimedOut
from transformer.serving.config import ServeConfig
from transformer.serving.server import listen, serve
from transformer.serving.translation_schemas import Kind, translation_offer
from transformer.serving.translation_service import TranslationService
from transformer.system.errors import UserError

SENTENCES = ["sol mar rio", "um", "", "lua mar dois três um"]


class Held:
    """Like `echo`, but from its first call on it answers only when it is released."""

    def __init__(self):
        self.begun, self.released, self.seen = threading.Event(), threading.Event(), []

    def __call__(self, kind, requests, deadline):
        self.begun.set()
        assert self.released.wait(30)
        self.seen += [list(sentences) for sentences in requests]
        return echo(kind, requests, deadline)


@contextlib.contextmanager
def held_server(**limits):
    held = Held()
    with serving(held, **limits) as live:
        try:
            yield held, live
        finally:
            held.released.set()


@pytest.fixture(scope="module")
def parts():
    return spread_parts()


@pytest.fixture(scope="module")
def translator(parts):
    return Translator(*parts, SearchConfig(beam_size=2, max_extra_length=4), max_positions=32)


@pytest.fixture(scope="module")
def service(translator):
    return TranslationService(translator, ServeConfig())


@pytest.fixture(scope="module")
def live(service):
    # A new beam size is traced first, which a busy machine takes long for.
    with serving(service.answer, hosts=["translate.example"], max_beam=3, timeout=600.0) as live:
        yield live


@pytest.fixture(scope="module")
def small():
    """A server with small limits and no model."""
    limits = {"max_sentences": 3, "max_characters": 10, "max_body": 200, "max_beam": 4, "max_waiting": 4}
    with serving(echo, **limits) as live:
        yield live


# Answers


def test_answers_are_the_translators(live, translator):
    status, answer = live.post({"sentences": SENTENCES, "n_best": 2})
    assert status == 200 and list(answer) == ["translations"]
    expected = translator.translate(SENTENCES, n_best=2)
    for sentence, found, hypotheses in zip(SENTENCES, answer["translations"], expected, strict=True):
        assert (found["source"], found["source_tokens"]) == (sentence, [])
        assert found["warnings"] == list(hypotheses[0].warnings)
        assert [h["text"] for h in found["hypotheses"]] == [h.text for h in hypotheses]
        for shown, hypothesis in zip(found["hypotheses"], hypotheses, strict=True):
            assert shown["score"] == pytest.approx(hypothesis.score, rel=1e-4, abs=1e-5)
            assert (shown["tokens"], shown["alignment"], shown["attention"]) == ([], [], None)
    assert answer["translations"][2]["warnings"] == ["empty sentence"]


def test_one_sentence_needs_no_list(live):
    assert live.post({"sentences": "um"}) == live.post({"sentences": ["um"]})


def test_attention_comes_with_tokens_and_alignment(live, translator):
    _, answer = live.post({"sentences": SENTENCES, "attention": True, "n_best": 2})
    expected = translator.translate(SENTENCES, n_best=2, with_attention=True)
    for found, hypotheses in zip(answer["translations"], expected, strict=True):
        assert found["source_tokens"] == list(hypotheses[0].source_tokens[1:-1])
        for shown, hypothesis in zip(found["hypotheses"], hypotheses, strict=True):
            assert shown["tokens"] == list(hypothesis.tokens)
            assert shown["alignment"] == [list(pair) for pair in hypothesis.alignment]
            if hypothesis.attention is None:
                assert shown["attention"] is None
            else:
                np.testing.assert_allclose(shown["attention"], hypothesis.attention, atol=1e-4)


def test_a_request_may_name_its_beam(live, translator):
    wide = dataclasses.replace(translator.search, beam_size=3)
    wide = Translator(translator.models, translator.tokenizers, wide, translator.max_positions)
    status, answer = live.post({"sentences": SENTENCES[0], "beam_size": 3, "n_best": 3})
    assert status == 200
    found = [(h["text"], h["score"]) for h in answer["translations"][0]["hypotheses"]]
    assert found == [(h.text, pytest.approx(h.score, rel=1e-4)) for h in wide.translate([SENTENCES[0]], n_best=3)[0]]


def test_the_fast_engine_gives_the_same_answers(parts, tmp_path):
    run = save_run(tmp_path / "run", parts).path
    fast, reference = (Translator.load(run, engine=engine) for engine in ("ctranslate2", "tensorflow"))
    service = TranslationService(fast, ServeConfig())
    service.warm_up()
    requests = [["sol mar", ""], ["um dois três."]]
    for answer, texts in zip(service.answer(Kind(2, 2, attention=True), requests), requests, strict=True):
        for entry, group in zip(json.loads(answer)["translations"], reference.translate(texts, 2, True), strict=True):
            for found, expected in zip(entry["hypotheses"], group, strict=True):
                assert (found["text"], found["tokens"]) == (expected.text, list(expected.tokens))
                assert found["score"] == pytest.approx(expected.score, abs=1e-4)
                if expected.attention is not None:
                    np.testing.assert_allclose(found["attention"], expected.attention, atol=2e-4)


def test_the_warm_up_makes_all_graphs_of_the_default_and_of_greedy_search(monkeypatch, caplog):
    monkeypatch.setattr("transformer.search.loop.FIRST_CAPACITY", 2)  # so that outputs outgrow it
    translator = Translator(*spread_parts(), SearchConfig(beam_size=3, max_extra_length=4), 32)  # without a graph
    service = TranslationService(translator, ServeConfig())
    service.warm_up()
    made = {beam_size: service.translator(beam_size).traces for beam_size in (1, 3)}
    for beam_size in (1, 3):
        for kind in (Kind(beam_size, 1, False), Kind(beam_size, beam_size, True)):
            (answer,) = service.answer(kind, [SENTENCES])
            found = json.loads(answer)["translations"]
            assert max(len(entry["hypotheses"][0]["token_log_probabilities"]) for entry in found) > 2
    assert {beam_size: service.translator(beam_size).traces for beam_size in (1, 3)} == made
    assert service.translator(2).traces < made[3]  # another one is made when it is asked for
    service.answer(Kind(2, 1, False), [SENTENCES])
    assert service.translator(2).traces == made[3] and "retracing" not in caplog.text


def test_attention_that_does_not_fit_is_left_out_with_a_warning(translator):
    # Source and translation of "sol mar": at most (s, s + 4) tokens, two hypotheses.
    length = len(translator.encode(["sol mar"])[0])
    room = 2 * length * (length + 4)
    service = TranslationService(translator, ServeConfig(max_attention=2 * room + room // 2))
    long = " ".join(["sol"] * 60)
    assert len(translator.encode([long])[0]) > 32  # would be translated in parts, which have their weights too
    requests = [["sol mar", long, "sol mar", "sol mar", ""], ["sol mar"]]
    calls, translate = [], translator.translate

    def counted(sentences, n_best, with_attention, progress):
        calls.append((len(sentences), with_attention))
        return translate(sentences, n_best, with_attention, progress)

    translator.translate = counted
    try:
        answers = [json.loads(answer)["translations"] for answer in service.answer(Kind(2, 2, True), requests)]
    finally:
        del translator.translate
    assert [[entry["source"] for entry in answer] for answer in answers] == requests
    given = [[entry["hypotheses"][0]["attention"] is not None for entry in answer] for answer in answers]
    assert given == [[True, False, True, False, False], [True]]
    for place in (1, 3):
        warning = answers[0][place]["warnings"][-1]
        assert "no attention" in warning and f"{2 * room + room // 2:,}" in warning
    assert len({answers[0][place]["hypotheses"][0]["text"] for place in (0, 2, 3)}) == 1
    assert calls == [(3, True), (1, True), (2, False)]  # never more weights at a time than in one answer


def test_a_default_beam_above_the_limit_is_refused_at_the_start(translator):
    with pytest.raises(UserError, match="beam_size 2, above the limit of 1; raise --max-beam"):
        TranslationService(translator, ServeConfig(max_beam=1))


def test_what_nobody_waits_for_is_given_up_between_batches(service, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("transformer.serving.translation_service.monotonic", lambda: next(clock))
    small = dataclasses.replace(service.default, batch_tokens=1)  # each sentence is a batch
    translator = service.translator(2)
    monkeypatch.setattr(translator, "search", small)
    assert len(service.answer(Kind(2, 1, False), [["sol", "mar", "um"]], deadline=3.5)) == 1
    # The clock is read before the first batch and after each: 4, 5, 6.
    with pytest.raises(TimedOut):
        service.answer(Kind(2, 1, False), [["sol", "mar", "um"]], deadline=5.5)


# Bad requests


@pytest.mark.parametrize(
    "body, status, reason",
    [
        ("", 422, "Field required"),
        ("{", 400, "the body is not JSON"),
        ('{"sentences": "a"} b', 400, "the body is not JSON: Extra data at character 19"),
        (b'{"sentences": "\xff"}', 400, "not UTF-8"),
        ("[" * 190, 400, "the body is not JSON"),
        ("null", 422, "valid dictionary"),
        ('"a"', 422, "valid dictionary"),
        ("{}", 422, "sentences: Field required"),
        ({"sentences": []}, 422, "sentences: List should have at least 1 item"),
        ({"sentences": 1}, 422, "sentences: Input should be a valid list"),
        ({"sentences": [1, "a", None]}, 422, "sentences.0: Input should be a valid string; sentences.2: Input"),
        ({"sentences": ["a"] * 4}, 422, "sentences: has 4 sentences, at most 3 are allowed"),
        ({"sentences": ["a", "x" * 11]}, 422, "sentences.1: has 11 characters, at most 10 are allowed"),
        ({"sentences": ["a\0"]}, 422, "sentences.0: must not hold the character NUL"),
        ('{"sentences": ["\\ud800"]}', 422, "sentences.0: must not hold a lone surrogate"),
        (
            {"sentences": "a", "n_bset": 2},
            422,
            "unknown field 'n_bset'; the fields are sentences, n_best, beam_size, att",
        ),
        ({"sentences": "a", "n_best": "2"}, 422, "n_best: Input should be a valid integer"),
        ({"sentences": "a", "n_best": 1.5}, 422, "n_best: Input should be a valid integer"),
        ('{"sentences": "a", "n_best": 1e999}', 422, "n_best: Input should be a"),
        ({"sentences": "a", "n_best": True}, 422, "n_best: Input should be a valid integer"),
        ({"sentences": "a", "n_best": 0}, 422, "n_best: Input should be greater than or equal to 1"),
        ({"sentences": "a", "n_best": 3}, 422, "n_best must be at most beam_size=2, got 3"),
        ({"sentences": "a", "n_best": 2, "beam_size": 1}, 422, "n_best must be at most beam_size=1, got 2"),
        ({"sentences": "a", "beam_size": 5}, 422, "beam_size: Input should be less than or equal to 4"),
        ('{"sentences": "a", "beam_size": 1' + "0" * 150 + "}", 422, "beam_size: "),
        ({"sentences": "a", "attention": 1}, 422, "attention: Input should be a valid boolean"),
        ({"sentences": "a", "a": 1, "b": 1}, 422, "unknown field 'a'; the"),
        ({"sentences": "a" * 200}, 413, "the body must have at most 200 bytes"),
        ({"sentences": [1, 2, 3], "n_best": 0, "beam_size": 0}, 422, "; and 2 more"),
        ('{"sentences": "a", "\\ud800\\u0000\\n": 1}', 422, r"unknown field '\ud800\x00\n';"),
        ({"sentences": "a", "k" * 100: 1}, 422, f"unknown field '{'k' * 60}...';"),
        ('{"sentences": "a", "n_best": 1' + "0" * 5000 + "}", 413, "the body must have"),
    ],
)
def test_a_bad_request_is_answered_with_its_reason(small, body, status, reason):
    got, answer = small.post(body)
    assert got == status and list(answer) == ["error"]
    assert reason in answer["error"]


def test_what_is_just_within_the_limits_is_accepted(small):
    assert small.post({"sentences": ["\N{WAVING HAND SIGN}" * 10], "n_best": 4, "beam_size": 4})[0] == 200
    assert small.post({"sentences": "a", "n_best": 2.0})[0] == 200
    body = b'{"sentences": "a"'
    assert small.post(body + b" " * (199 - len(body)) + b"}")[0] == 200
    assert small.post(body + b" " * (200 - len(body)) + b"}")[0] == 413


@pytest.mark.parametrize("size, status", [(200, 200), (201, 413), (3_000_000, 413)])
def test_a_body_that_does_not_announce_its_length_is_counted(small, size, status):
    body = b'{"sentences": "a"' + b" " * (size - 18) + b"}"
    chunks = (body[start : start + 1000] for start in range(0, size, 1000))
    got, _, answer = small.request("POST", "/translate", chunks, JSON)
    assert got == status
    assert status == 200 or answer == {"error": "the body must have at most 200 bytes"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {**JSON, "Content-Encoding": "gzip"},
        {**JSON, "Content-Encoding": "x" * 10_000},
    ],
)
def test_what_is_not_announced_as_plain_json_is_refused(small, headers):
    status, _, answer = small.request("POST", "/translate", '{"sentences": "a"}', headers)
    assert status == 415 and "the body must " in answer["error"] and len(answer["error"]) < 200


def test_json_may_name_its_charset(small):
    headers = {"Content-Type": "Application/JSON; charset=UTF-8"}
    assert small.request("POST", "/translate", '{"sentences": "a"}', headers)[0] == 200


@pytest.mark.parametrize("method, path, status", [("GET", "/nothing", 404), ("GET", "/translate", 405)])
def test_other_paths_and_methods(small, method, path, status):
    got, _, answer = small.request(method, path)
    assert got == status and list(answer) == ["error"]


@pytest.mark.parametrize("count", [25, pytest.param(200, marks=pytest.mark.slow)])  # each request is translated
@pytest.mark.parametrize(
    "path, method, mode",
    [
        ("/translate", "POST", GenerationMode.POSITIVE),
        ("/translate", "POST", GenerationMode.NEGATIVE),
        ("/health", "GET", GenerationMode.POSITIVE),
    ],
)
def test_nothing_that_the_schema_leads_to_makes_the_server_fail(live, path, method, mode, count):
    api = schemathesis.openapi.from_url(f"http://127.0.0.1:{live.port}/openapi.json")

    statuses = collections.Counter()

    @settings(max_examples=count, deadline=None, database=None)
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    def check(case):
        checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
        statuses[case.call_and_validate(checks=checks).status_code] += 1

    check()
    assert (max(statuses, key=statuses.get) == 200) == (mode == GenerationMode.POSITIVE)  # it did try both kinds


# Overload, patience, the end


def test_requests_that_wait_are_translated_together():
    with held_server() as (held, live):
        first = live.begin({"sentences": "first"})
        assert held.begun.wait(20)
        results = {}
        for name in ("a", "b", "c"):
            results[name] = live.begin({"sentences": [name, name + name]})
        until(lambda: live.batcher.waiting == 6)
        assert live.request("GET", "/health")[2]["waiting"] == 6
        held.released.set()
        assert first() == (200, {"translations": ["first"]})
        for name, result in results.items():
            assert result() == (200, {"translations": [name, name + name]})
    assert held.seen[0] == ["first"] and sorted(held.seen[1:]) == [["a", "aa"], ["b", "bb"], ["c", "cc"]]


def test_where_too_much_waits_a_request_is_told_to_come_back():
    with held_server(max_sentences=2, max_waiting=2) as (held, live):
        first = live.begin({"sentences": "first"})
        assert held.begun.wait(20)
        second = live.begin({"sentences": ["a", "b"]})
        until(lambda: live.batcher.waiting == 2)
        status, headers, answer = live.request("POST", "/translate", '{"sentences": "c"}', JSON)
        assert status == 503 and int(headers["Retry-After"]) >= 1 and "too much is waiting" in answer["error"]
        held.released.set()
        assert (first()[0], second()[0]) == (200, 200)
    assert held.seen == [["first"], ["a", "b"]]


def test_where_too_many_requests_are_served_one_is_told_to_come_back():
    with held_server(max_requests=1) as (held, live):
        first = live.begin({"sentences": "first"})
        assert held.begun.wait(20)
        status, headers, answer = live.request("POST", "/translate", '{"sentences": "c"}', JSON)
        assert status == 503 and int(headers["Retry-After"]) >= 1 and "being served already" in answer["error"]
        assert live.request("GET", "/health")[0] == 200  # seen all the same
        held.released.set()
        assert first()[0] == 200
        assert live.post({"sentences": "c"})[0] == 200


def test_a_request_that_waits_too_long_is_told_so_and_never_begun():
    with held_server(timeout=0.3) as (held, live):
        first = live.begin({"sentences": "first"})
        assert held.begun.wait(20)
        status, headers, answer = live.request("POST", "/translate", '{"sentences": "late"}', JSON)
        assert status == 503 and "Retry-After" in headers and answer == {"error": "no answer within 0.3 s"}
        until(lambda: live.batcher.waiting == 0)
        assert first()[0] == 503
        held.released.set()
        assert live.post({"sentences": "next"})[0] == 200
    assert held.seen == [["first"], ["next"]]


def test_a_body_that_does_not_arrive_is_not_waited_for():
    with serving(echo, timeout=0.3) as live, socket.create_connection(("127.0.0.1", live.port), 20) as raw:
        head = b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        raw.sendall(head + b"Content-Length: 100\r\n\r\n{")
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert answer.status == 408 and b"did not arrive within 0.3 s" in answer.read()


def test_a_client_that_leaves_is_forgotten():
    with held_server() as (held, live):
        first = live.begin({"sentences": "first"})
        assert held.begun.wait(20)
        gone = http.client.HTTPConnection("127.0.0.1", live.port)
        gone.request("POST", "/translate", '{"sentences": "gone"}', JSON)
        until(lambda: live.batcher.waiting == 1)
        gone.close()
        until(lambda: live.batcher.waiting == 0)
        held.released.set()
        assert first()[0] == 200
    assert held.seen == [["first"]]


def test_a_sentence_that_the_translator_fails_at_fails_alone(caplog):
    held = Held()

    def answer(kind, requests, deadline):
        if ["poison"] in requests:
            raise RuntimeError("poisoned")
        return held(kind, requests, deadline)

    with serving(answer) as live:
        first = live.begin({"sentences": "first"})
        assert held.begun.wait(20)
        results = [live.begin({"sentences": sentence}) for sentence in ("a", "poison", "b")]
        until(lambda: live.batcher.waiting == 3)
        held.released.set()
        assert [first()[0], *(result()[0] for result in results)] == [200, 200, 500, 200]
        assert live.post({"sentences": "poison"}) == (
            500,
            {"error": "the model failed; the server's log says why"},
        )


@pytest.fixture
def log_levels():
    """Restores the levels that `serve` sets for its process."""
    loggers = [logging.getLogger(f"uvicorn.{name}") for name in ("access", "error")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def test_a_server_whose_thread_has_died_ends_with_an_error(monkeypatch, handlers, log_levels):
    limits = ServeConfig()
    with listen("127.0.0.1", 0) as listener:
        batcher = Batcher(echo, limits.max_waiting, limits.max_together, limits.timeout)
        monkeypatch.setattr(batcher, "_take", lambda: 1 / 0)
        with contextlib.suppress(Exception):
            batcher.submit(Kind(1, 1, False), ["wakes it"]).result(20)
        batcher.join()
        with pytest.raises(UserError, match="has died"):
            serve(
                make_app(batcher, translation_offer(limits, 1, ABOUT), limits),
                batcher,
                limits,
                listener,
                access_log=False,
            )


def test_stopping_finishes_what_was_begun_and_refuses_the_rest():
    with held_server() as (held, live):
        first = live.begin({"sentences": "first"})
        assert held.begun.wait(20)
        second = live.begin({"sentences": "second"})
        until(lambda: live.batcher.waiting == 1)
        live.server.should_exit = True
        status, answer = second()
        assert status == 503 and answer == {"error": "the server is stopping"}
        with pytest.raises(ConnectionRefusedError):
            live.post({"sentences": "third"})
        held.released.set()
        assert first() == (200, {"translations": ["first"]})
    assert held.seen == [["first"]]


# What browsers are told


@pytest.mark.parametrize("path", [*FILES, "/health", "/openapi.json", "/nothing"])
def test_every_answer_keeps_strangers_scripts_out(live, path):
    _, headers, _ = live.request("GET", path)
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in headers if name.lower().startswith("access-control")]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_hold_no_code_and_load_nothing_from_elsewhere(live, path):
    status, headers, text = live.request("GET", path)
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    tags = Tags()
    tags.feed(text)
    for tag, attributes in tags.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href"):
            target = attributes.get(name, "")
            assert ":" not in target and not target.startswith("/")  # relative, so that a proxy may add a folder
            if target:
                assert live.request("GET", "/" + target.removeprefix("./"))[0] == 200
        assert tag not in ("script", "style") or attributes.get("src")
    assert len([tag for tag, _ in tags.found if tag == "script"]) == 1


@pytest.mark.parametrize("path", [path for path in FILES if path.endswith(".js")])
def test_scripts_write_text_nodes_only(live, path):
    status, headers, script = live.request("GET", path)
    assert status == 200 and headers["Content-Type"].startswith("text/javascript")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|https?://", script)
