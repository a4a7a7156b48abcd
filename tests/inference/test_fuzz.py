"""Any text can be translated: no crash, no line lost or added, no memory or time without bound."""

import contextlib
import functools
import io
import json
import math
import os
import random
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from tiny_run import spread_parts

from transformer.commands import translate_lines as commands
from transformer.commands.translate_lines import Wanted, groups, translate_lines
from transformer.config.settings import SearchConfig
from transformer.data.cleaning import META_SPACE, SPACES, normalise_text
from transformer.data.examples import text_files
from transformer.inference.result import Translation
from transformer.inference.sentence_splitting import LONGEST_TOKEN, split_text
from transformer.inference.translator import Translator
from transformer.system.errors import UserError

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
KINDS = {"unigram": {}, "bpe": {"model_type": "bpe", "joint": False}, "wordpiece": {"tokenizer": "wordpiece"}}
POSITIONS = 16  # so few that most texts are cut
PIECES = [
    *("", " ", "\t", "\0", "\x1b[31m", "\x7f", "\u0085", "\u3000", "\u200b", "\ufeff", META_SPACE),
    *("\n", "\r", "\r\n", "\x0b", "\x1c", "\u2028", "\u2029"),
    *(
        "sol",
        "mar três",
        "Sol. Mar! ",
        "a, b; ",
        ".'",
        '..."',
        "\u3002",
        "\uff0c\u6c49",
        "[UNK]",
        "<s>",
        "<0x0A>",
        "##a",
    ),
    *("e\u0301", "\u0301\u0323", "Z\u0334\u0321\u0312a\u0360lgo", "\U0001d160", "\u1100\u1161\u11a8"),
    *("\U0001f600", "\U0001f469\u200d\U0001f680", "\U0001f1e7\U0001f1f7", "\u05d0\u05d1", "\u202e\u0645\u0631\u062d"),
    *("\ue000", "\U0010fffd", "\ufffd", "\ufffe", "\ud800", "\udfff"),
]
TEXTS = st.text(max_size=40) | st.lists(
    st.tuples(st.sampled_from(PIECES), st.integers(1, 30)).map(lambda pair: pair[0] * pair[1]), max_size=6
).map("".join)


@functools.cache
def made(kind, **model):
    return spread_parts(KINDS[kind], **model)


@functools.cache
def made_for_long_texts(kind):
    return Translator(*made(kind, max_positions=128), SearchConfig(beam_size=1, max_length=1), 128)


# The kind left for the slow run differs from the first in how it is learned, not in how it is searched.
@pytest.fixture(
    scope="module", params=["unigram", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("wordpiece", "bpe"))]
)
def translator(request):
    return Translator(*made(request.param), SearchConfig(beam_size=2, max_length=3), POSITIONS)


def check(hypotheses):
    """Every translation is a line of text with finite scores."""
    for found in hypotheses:
        assert not set("\r\n") & set(found.text)
        found.text.encode()
        assert all(map(math.isfinite, (found.score, found.log_probability, *found.token_log_probabilities)))


@settings(UNTIMED, max_examples=30)
@given(st.lists(TEXTS, max_size=4))
@example([])
@example(["sol\nmar\rrio"])  # as a prefix, it makes the model write line breaks
@example(PIECES)
@example([piece * 40 for piece in PIECES])
@example(["".join(PIECES), "".join(reversed(PIECES)) * 3])
@example(["000000\x80\x80\x85\x80"])  # too long as a whole, and not without the blank between its parts
def test_any_sentences_are_translated(translator, texts):
    results = translator.translate(texts, n_best=2, with_attention=True, prefixes=list(reversed(texts)))
    assert [len(hypotheses) for hypotheses in results] == [2] * len(texts)
    rows = translator.encode([text.replace(META_SPACE, " ").strip() for text in texts])
    for text, row, hypotheses in zip(texts, rows, results, strict=True):
        check(hypotheses)
        if not normalise_text(text):
            assert hypotheses == [Translation("", 0.0, 0.0, warnings=("empty sentence",))] * 2
        if len(row) > POSITIONS:
            assert re.match(rf"longer than the {POSITIONS} tokens .* in \d+ parts$", hypotheses[0].warnings[0])
            assert hypotheses[0].attention is None


@settings(UNTIMED, max_examples=20)
@given(st.lists(TEXTS.filter(lambda text: not re.search("[\ud800-\udfff]", text)), min_size=1, max_size=4))
@example([piece for piece in PIECES if not "\ud800" <= piece <= "\udfff"])
def test_any_lines_give_as_many_in_order(translator, tmp_path_factory, texts):
    content = "\n".join(texts) + "\n"
    first = f"{texts[0]}\n".partition("\n")[0].encode()
    assume(first.count(0) < 2 or 3 * first.count(0) < len(first))  # else it is refused, as UTF-16
    lines = [line.removesuffix("\r") for line in content.removeprefix("\ufeff").split("\n")[:-1]]
    folder = tmp_path_factory.mktemp("lines")
    (folder / "in").write_bytes(content.encode())
    with contextlib.redirect_stderr(io.StringIO()):
        for wanted in (Wanted(), Wanted(as_json=True, n_best=2)):
            translate_lines(translator, [], str(folder / "in"), str(folder / f"{wanted.as_json}"), wanted)
        translate_lines(translator, texts, None, str(folder / "arguments"), Wanted())
    assert (folder / "arguments").read_bytes().count(b"\n") == len(texts)
    plain, objects = ((folder / f"{name}").read_bytes().decode().split("\n") for name in (False, True))
    assert plain.pop() == objects.pop() == "" and len(plain) == len(lines)
    told = [json.loads(line) for line in objects]
    assert [line["source"] for line in told] == lines
    assert [line["hypotheses"][0]["text"] for line in told] == plain


ALPHABETS = {  # what the random strings of a language are made of
    "pt": [
        "Plano ",
        "B",
        "Av",
        "D",
        "\u00c1",
        ".",
        ". ",
        "!",
        "?",
        "...",
        '"',
        "mar",
        "3",
        *SPACES,
    ],  # spaces after capitals
    "en": ["Mr", "J", "U.S", "A", "e.g", ".", ". ", ".)", "\u2019", "1", ",", "sol", "<b>", "&amp;", "<1>", *SPACES],
    "ja": [
        "\u6c49",
        "\u5b57",
        "\u3002",
        "\uff01",
        "\u300d",
        "\u30ab",
        "A",
        ".",
        "\uff0e",
        "\u3000",
        "\u00a0",
        "\U0001f600",
        "e\u0301",
    ],
    "ar": [
        "\u05d0",
        "\u0645\u0631",
        "\u061f",
        "\u06d4",
        "\u202e",
        "\u200f",
        ".",
        " ",
        "\u202f",
        "\u0301",
        "A",
        "\u0964",
        "\u1362",
    ],
    "": PIECES,
}


def random_text(chance, alphabet):
    """Return pieces of an alphabet, or characters of all Unicode's, but for line breaks and lone surrogates."""
    if chance.random() < 0.2:
        alphabet = [chr(chance.randrange(0x110000)) for _ in range(8)] + ["A", ".", chance.choice(SPACES)]
    text = "".join(chance.choices(alphabet, k=chance.randint(0, 12)))
    return re.sub("[\n\ud800-\udfff]", "", text).rstrip("\r")


@pytest.mark.slow  # it translates 20,000 strings: what one in fifty random strings did was found by no fewer
@pytest.mark.parametrize("language", ALPHABETS)
def test_thousands_of_random_lines_give_as_many_in_order(tmp_path, language):
    chance = random.Random(f"seed {language}")
    texts = [random_text(chance, ALPHABETS[language]) for _ in range(4000)]
    translator = Translator(*made("unigram"), SearchConfig(beam_size=1, max_length=2), POSITIONS, language)
    (tmp_path / "in").write_bytes("".join(text + "\n" for text in texts).encode())
    with contextlib.redirect_stderr(io.StringIO()):
        wanted = Wanted(as_json=True)
        translate_lines(translator, [], str(tmp_path / "in"), str(tmp_path / "out"), wanted)
    lines = (tmp_path / "out").read_bytes().decode().split("\n")
    assert lines.pop() == ""
    texts[0] = texts[0].removeprefix("\ufeff")
    assert [json.loads(line)["source"] for line in lines] == texts


@settings(UNTIMED, max_examples=150)
@given(TEXTS, st.integers(1, 12))
def test_cutting_loses_nothing_but_blanks(text, limit):
    parts = split_text(text, "en", lambda texts: [len(text) for text in texts], limit)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(1 <= len(part) <= limit and part == part.strip() for part in parts) or parts == [""]


def test_a_character_of_more_tokens_than_the_model_reads():
    tiny = Translator(*made("unigram"), SearchConfig(beam_size=1, max_length=2), max_positions=4)
    for text in ("\U0001d160", "\U0001f600 sol", "\U0001d160" * 3):
        check(tiny.translate([text])[0])
    for positions in (1, 2):  # no room for anything
        assert Translator(*made("unigram"), tiny.search, positions).translate(["sol"])[0][0].text == ""


HUGE = {
    "no blanks": "abc" * 33_334,
    "sentences": "Sol mar. Rio, lua! " * 5_264,
    "mixed scripts": "sol \u05d0\u05d1 \u6c49\u5b57\u3002\u1100\u1161 \U0001f600e\u0301 " * 6_250,
    "zalgo": "a" + "\u0301\u0323" * 50_000,  # marks of two classes, which normalising has to sort
    "stops": "." * 50_000 + ".'" * 25_000,
    "control characters": "\0\x01\x1b\x7f" * 25_000,
    "blanks": "a" + " " * 50_000 + META_SPACE * 50_000 + "b",
    "emoji": "\U0001f469\u200d\U0001f680" * 33_334,
}


# Sixteen times 100,000 characters take half a minute; half of them show what the fast run must show.
@pytest.mark.parametrize("kind", ["unigram", pytest.param("wordpiece", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", HUGE)
def test_a_hundred_thousand_characters(monkeypatch, kind, name):
    translator, text, seen = made_for_long_texts(kind), HUGE[name], []
    encode = translator.tokenizers.source.encode
    assert len(text) >= 100_000

    def encode_and_note(texts):
        seen.extend(map(len, texts))
        return encode(texts)

    monkeypatch.setattr(translator.tokenizers.source, "encode", encode_and_note)
    ((found,),) = translator.translate([text])
    check([found])
    # Nothing long is looked at as a whole, and all in all little more than a tree of halves holds.
    assert max(seen) <= LONGEST_TOKEN * 126 + 1 and sum(seen) <= 20 * len(text)
    assert len(found.warnings) <= 8
    if kind == "unigram":
        assert found.warnings[0].startswith("longer than the 128 tokens")


def test_parts_have_no_attention_and_cost_none(monkeypatch):
    translator = Translator(*made("unigram"), SearchConfig(beam_size=1, max_length=2), 8)
    asked, attention = [], translator.engine.attention
    monkeypatch.setattr(translator.engine, "attention", lambda *inputs: asked.append(inputs) or attention(*inputs))
    assert translator.translate(["sol mar " * 50], with_attention=True)[0][0].attention is None
    assert not asked
    ((whole,), (parts,)) = translator.translate(["sol", "sol mar " * 50], with_attention=True)
    assert whole.attention is not None and parts.attention is None and len(asked) == 1


MEASURE = """
import json, resource, sys
from tiny_run import spread_parts
from transformer.config.settings import SearchConfig
from transformer.inference import reading
from transformer.inference.translator import Translator

def resident():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

translator = Translator(*spread_parts(max_positions=128), SearchConfig(beam_size=1, max_length=1), 128)
translator.translate(["sol mar " * 500])
sizes = [resident()]
for length in (100_000, 1_000_000):
    translator.translate(["sol, mar. " * (length // 20) + "x" * (length // 2)])
    sizes.append(resident())
print(json.dumps(sizes))
"""


@pytest.mark.slow  # a process of its own that translates a million characters
def test_memory_grows_in_proportion_to_the_text():
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    start, short, long = json.loads(done.stdout)
    # A character makes at most one token here. The token is kept as a Python integer in a list (40 bytes) and for some
    # time in arrays of TensorFlow, its part as a text and a few objects: a quarter of a kilobyte is ample. Besides, the
    # allocators keep some of what they were given.
    for size, length in ((short, 100_000), (long, 1_000_000)):
        assert size - start <= 256 * length + 2**25


def test_long_lines_are_not_translated_together(monkeypatch):
    monkeypatch.setattr(commands, "CHARACTERS_TOGETHER", 10)
    assert list(groups(["a" * 4, "b" * 6, "", "c", "d" * 30, "e"], 3)) == [
        ["aaaa", "bbbbbb"],
        ["", "c", "d" * 30],
        ["e"],
    ]
    assert list(groups("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]] and list(groups([], 2)) == []


def test_a_group_is_given_as_soon_as_it_is_complete():
    lines = iter(["a", "b", "c"])
    first = next(groups(lines, 1))
    assert first == ["a"] and list(lines) == ["b", "c"]


def test_a_line_without_end_is_refused():
    """Nobody can wait for the end of /dev/zero."""
    with pytest.raises(UserError, match=r"^/dev/zero, line 1: longer than 4,000,000 bytes"):
        list(text_files.lines(text_files.Path("/dev/zero")))
    line = b"a" * text_files.LONGEST_LINE
    assert [len(line) for line in text_files.decoded(io.BytesIO(b"b\n" + line), "x")] == [1, len(line)]
