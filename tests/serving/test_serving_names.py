"""Which host names the translation server answers to, what it tells behind a proxy, and names that cannot be sent."""

import os
import urllib.parse

import pytest
from live_server import JSON, echo, serving

from transformer.serving.config import allowed_host


@pytest.fixture(scope="module")
def live():
    with serving(echo, hosts=["translate.example"]) as live:
        yield live


@pytest.mark.parametrize(
    "host, status",
    [
        ("evil.example", 421),
        ("evil.example:80", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("127.0.0.1:80", 200),
        ("[::1]", 200),
        ("[::1]:80", 200),
        ("translate.example", 200),
        ("TRANSLATE.example:8443", 200),
    ],
)
def test_only_known_hosts_are_answered(live, host, status):
    got, _, answer = live.request("GET", "/icon.svg", headers={"Host": host})
    assert got == status
    assert status == 200 or "--allow-host" in answer["error"]


@pytest.mark.parametrize("host", ["evil.example", "192.0.2.1:80", "", "localhost"])
def test_health_is_told_under_every_name_and_by_head(live, host):
    """Load balancers ask for it by an address of their own."""
    status, headers, answer = live.request("GET", "/health", headers={"Host": host})
    assert status == 200 and answer["status"] == "ok"
    status, head, answer = live.request("HEAD", "/health", headers={"Host": host})
    assert status == 200 and answer == "" and head["Content-Length"] == headers["Content-Length"]
    assert live.request("POST", "/health", "{}", {"Host": host})[0] in (405, 421)


def test_a_strangers_host_is_not_repeated_at_length(live):
    status, _, answer = live.request("GET", "/", headers={"Host": "x" * 10_000})
    assert status == 421 and len(answer["error"]) < 200


def test_any_host_can_be_allowed():
    with serving(echo, hosts=["*"]) as live:
        assert live.request("GET", "/icon.svg", headers={"Host": "evil.example"})[0] == 200


@pytest.mark.parametrize(
    "base, path, expected",
    [
        ("https://proxy.example/", "/docs/", "https://proxy.example/docs"),
        ("https://proxy.example/translator/", "/docs/?a=%ff&b", "https://proxy.example/translator/docs?a=%ff&b"),
        ("https://proxy.example/a/b/", "/translate/", "https://proxy.example/a/b/translate"),
        ("https://proxy.example/a/", "/health/", "https://proxy.example/a/health"),
        ("https://proxy.example/a/", "/openapi.json/", "https://proxy.example/a/openapi.json"),
    ],
)
def test_redirects_keep_what_a_proxy_put_before(live, base, path, expected):
    status, headers, _ = live.request("POST", path, "{}", JSON)
    assert status == 307  # which keeps method and body
    assert urllib.parse.urljoin(base + path.removeprefix("/"), headers["Location"]) == expected


def test_names_that_cannot_be_sent_as_they_are_are_told_all_the_same():
    """A folder of byte names and a forged corpus.json."""
    about = {"run": [os.fsdecode(b"caf\xe9")], "source_language": "\ud800", "target_language": "e\0\n" + "n" * 10_000}
    with serving(echo, about=about) as live:
        status, _, told = live.request("GET", "/health")
        assert status == 200
        assert (told["run"], told["source_language"]) == ([r"caf\udce9"], r"\ud800")
        assert told["target_language"].startswith(r"e\x00\nnnn") and len(told["target_language"]) < 2000
        for path in ("/", "/docs", "/openapi.json"):
            assert live.request("GET", path)[0] == 200


def test_a_mistake_of_ours_is_told_as_json(monkeypatch, caplog):
    with serving(echo) as live:
        monkeypatch.setattr(type(live.batcher), "works", property(lambda self: 1 / 0))
        status, _, answer = live.request("GET", "/health")
        monkeypatch.undo()
    assert status == 500 and answer == {"error": "the server failed; its log says why"}
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "name, host",
    [
        ("Translate.Example.ORG", "translate.example.org"),
        ("translate.example.org:8443", "translate.example.org"),  # the port does not count
        ("m\u00fcnchen.example", "xn--mnchen-3ya.example"),  # as browsers send it
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "[2001:db8::1]"),
        ("[2001:db8::1]:80", "[2001:db8::1]"),
        ("my_service", "my_service"),
        ("*", "*"),
    ],
)
def test_a_host_is_allowed_as_browsers_name_it(name, host):
    assert allowed_host(name) == host


@pytest.mark.parametrize(
    "name", ["", "*.example.org", "https://example.org", "example.org/a", "a b", "a\nb", "..\u00fc", ":80"]
)
def test_what_is_no_host_is_refused(name):
    with pytest.raises(ValueError, match="--allow-host must be a host's name or address"):
        allowed_host(name)
