"""After any single request to a server of a real run, whatever it holds, the next one is answered."""

import json
import logging
import random

import pytest
from live_server import serving
from tiny_run import save_run, spread_parts

from transformer.inference.translator import Translator
from transformer.serving.config import ServeConfig
from transformer.serving.translation_service import TranslationService

SPACES = " \t\n\r\v\f\x1c\x85\u00a0\u1680\u2003\u2007\u2028\u2029\u202f\u205f\u3000\ufeff\u200b"
CONTROLS = (
    "".join(map(chr, (*range(1, 32), *range(127, 160)))) + "\u061c\u200e\u200f\u202a\u202e\u2066\u2069\ufffe\uffff"
)
ALPHABETS = (  # of random sentences
    "ABÉЖ" + SPACES + ".!?…。",  # what made the splitter panic: a capital, a space of several bytes, a full stop
    CONTROLS + "ab.",
    "a" + "".join(map(chr, range(0x300, 0x370))),  # letters under piles of marks
    "\U0001f469\u200d\ufe0f\U0001f3fd\U0001f1e7\U0001f1f7\U000e0067\U000e007f",  # parts of emoji
    "\U0010ffff\U000f0000\ue000\u0378\uffff",  # private and unassigned
    "<>&\"'\\/`${}%@#\u2581|",
    "0123456789.,-+eE\u0660\u06f0\u00b2\u2167",
    "ab漢字かな한글ไทยខ្មែรက་ལ",
    "אבسلام\u0640\u200f.",
)
WORDS = (
    "[start]",
    "[end]",
    "<unk>",
    "\u2581",
    "Prefiro o plano B\u00a0.",
    "C\u3000.",
    "sol mar.",
    "Sr. Dr. Prof.",
    "...",
)
EXTREMES = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3,
    8,
    9,
    2.0,
    1.5,
    -0.0,
    2**31,
    2**63,
    2**64,
    -(10**300),
    1e308,
    float("nan"),
)
EXTREMES += (float("inf"), "", "1", "\0", "\ud800", [], [[]], {}, [None], ["a"] * 65, {"": {}})


def sentence(chance):
    """Return one that is unlike a person's."""
    if chance.random() < 0.3:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, 30)))
    if chance.random() < 0.15:  # one huge token
        return chance.choice("aÉ漢\u0301\U0001f469\u00a0.") * chance.choice((500, 1000, 1001))
    return "".join(chance.choices(chance.choice(ALPHABETS), k=chance.choice((1, 2, 3, 10, 60))))


def hostile(chance):
    """Return the body of a request: bytes, and text as it may come only from an attacker."""
    kind = chance.randrange(10)
    if kind < 5:  # good ones, but for what they hold
        body = {"sentences": [sentence(chance) for _ in range(chance.choice((1, 1, 1, 3)))]}
        if chance.random() < 0.3:
            body |= {"attention": True}
        if chance.random() < 0.3:
            body |= {"beam_size": chance.choice((1, 2)), "n_best": chance.choice((1, 2))}
    elif kind < 8:  # a field with an extreme value, or another field
        name = chance.choice(
            ("sentences", "n_best", "beam_size", "attention", "", "\ud800", "\0", "__proto__", "a" * 9999)
        )
        body = {"sentences": "sol", name: chance.choice(EXTREMES)}
    elif kind == 8:
        body = chance.choice(EXTREMES)
    else:  # no JSON
        text = json.dumps({"sentences": sentence(chance)}).encode()
        place = chance.randrange(len(text))
        return text[:place] + bytes([chance.randrange(256)]) + text[place + chance.randint(0, 1) :]
    return json.dumps(body, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


class Panic(BaseException):
    """What native code raises when it panics: no `Exception`."""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    run = save_run(tmp_path_factory.mktemp("hostile") / "run", spread_parts())
    return TranslationService(Translator.load([run.path]), ServeConfig())


@pytest.fixture(scope="module")
def live(service):
    with serving(service.answer, timeout=600.0) as live:
        yield live


# Seeds beyond the first two are slow: each takes several seconds, and they look for what is rare.
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))])
def test_after_any_single_request_the_next_one_is_answered(live, seed, caplog):
    chance, statuses = random.Random(seed), set()
    for _ in range(60):
        body = hostile(chance)
        status, answer = live.post(body)
        assert status in (200, 400, 422), body  # never 500: nothing of it is a mistake of ours
        if status == 200:
            sentences = json.loads(body)["sentences"]
            sources = [entry["source"] for entry in answer["translations"]]
            assert sources == (sentences if isinstance(sentences, list) else [sentences])
        else:
            assert list(answer) == ["error"] and len(answer["error"]) < 600
        statuses.add(status)
        status, answer = live.post({"sentences": "sol mar"})
        assert status == 200 and answer["translations"][0]["source"] == "sol mar", body
    assert statuses == {200, 400, 422}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "raised", [Panic, RuntimeError, MemoryError, StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit]
)
def test_whatever_the_translator_raises_ends_its_request_alone(live, service, monkeypatch, caplog, raised):
    translator = service.translator(service.default.beam_size)
    translate = translator.translate

    def fragile(sentences, *arguments):
        if "fatal" in sentences:
            raise raised("at the disco")
        return translate(sentences, *arguments)

    monkeypatch.setattr(translator, "translate", fragile)
    told = {"error": "the model failed; the server's log says why"}
    for body in ({"sentences": "fatal"}, {"sentences": ["sol", "fatal"], "attention": True}):
        assert live.post(body) == (500, told)
        assert live.post({"sentences": "sol mar"})[0] == 200
    assert "at the disco" in caplog.text
