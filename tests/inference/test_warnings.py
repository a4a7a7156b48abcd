"""Each doubt about a translation is told on stderr, in one line for each line in, and in JSON."""

import json

import numpy as np
import pytest
from tiny_run import spread_parts

from transformer.commands.translate_lines import Wanted, translate_lines
from transformer.config.settings import SearchConfig
from transformer.ids import END_ID
from transformer.inference.translator import Translator
from transformer.search.hypotheses import Hypotheses
from transformer.search.searcher import padded

PLAIN = "lua mar rio"
IDS = range(262, 290)  # of pieces that are no bytes
WORDS = "sol mar rio lua um dois três one two three moon river "
PARTS = "longer than the 32 tokens that the model reads; translated in 2 parts"


@pytest.fixture(scope="module")
def translator():
    """A translator whose search finds `script`, a text or ids, or for `PLAIN` and None as many tokens as there are."""
    with pytest.MonkeyPatch.context() as patch:
        translator = Translator(*spread_parts(), SearchConfig(beam_size=1), 32)
        plain = translator.encode([PLAIN])[0]

        def found(row):
            if row == plain or translator.script is None:
                return [*IDS, *IDS][: len(row) - 2] + [END_ID]
            if isinstance(translator.script, str):
                return translator.encode([translator.script])[0][1:]
            return translator.script

        def search(rows, *_):
            wanted = [found(row) for row in rows]
            lengths = np.array([[len(row)] for row in wanted], np.int32)
            finished = np.array([[row[-1] == END_ID] for row in wanted])
            ids = padded(wanted)[:, np.newaxis]
            zeros = np.zeros(lengths.shape)
            return Hypotheses(ids, zeros, zeros, np.zeros(ids.shape), lengths, finished)

        patch.setattr(translator.engine, "search", search)
        yield translator


@pytest.mark.parametrize(
    "sentence, script, told",
    [
        ("", None, ["empty sentence"]),
        (" \t\u3000", None, ["empty sentence"]),
        ("sol mar rio", None, []),
        ("sol mar rio", [262, 263, 264], ["cut at the longest output length"]),
        ("sol \u65e5 mar", None, ["has characters the model does not know"]),
        ("\u65e5\u672c", None, ["made only of characters the model does not know"]),
        ("sol mar rio", [262, 263, 262, 263, 262, 263, END_ID], ["repeats itself"]),
        ("sol sol sol sol sol sol sol", "sun sun sun sun sun sun sun", []),  # so does the sentence
        ("sol mar rio", "Sol  mar rio", ["the sentence is copied, not translated"]),
        ("sol mar", "sol mar", []),  # two words may be a name
        ("sol", [*IDS[:10], END_ID], ["10 tokens for 1 is a strange length"]),
        (WORDS * 2, [262, END_ID], ["1 tokens for 24 is a strange length"]),
        (WORDS * 3, None, [PARTS]),
        (WORDS * 3, [262, 263] * 4, [PARTS, "cut at the longest output length", "repeats itself"]),
    ],
)
def test_doubts_are_told_on_stderr_and_in_json(translator, capsys, sentence, script, told):
    translator.script = script
    translate_lines(translator, [PLAIN, sentence, PLAIN], None, None, Wanted(as_json=True))
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["warnings"] for answer in answers] == [[], told, []]
    assert err.splitlines() == [f"warning: line 2: {'; '.join(told)}"] * bool(told)
    assert answers[1]["hypotheses"][0]["finished"] == ("cut at the longest output length" not in told)
    translate_lines(translator, [PLAIN, sentence, PLAIN], None, None, Wanted())
    assert capsys.readouterr().err == err


def test_warnings_of_parts_that_differ_in_numbers_alone_are_told_once(translator):
    translator.script = [262, END_ID]
    last = "sol mar rio lua um dois três one"
    assert translator.translate([last])[0][0].warnings == ("1 tokens for 8 is a strange length",)
    ((found,),) = translator.translate([f"{WORDS * 2}. {last}"])
    assert found.warnings[1:] == ("has characters the model does not know", "1 tokens for 26 is a strange length")


def test_a_file_of_bad_lines_does_not_fill_the_screen(translator, capsys, tmp_path):
    (tmp_path / "in").write_text("\n" * 23 + PLAIN + "\n", encoding="utf-8")
    translate_lines(translator, [], str(tmp_path / "in"), None, Wanted())
    out, err = capsys.readouterr()
    *each, last = err.splitlines()
    assert each == [f"warning: line {number}: empty sentence" for number in range(1, 21)]
    assert last == "warning: 3 more lines have warnings; with --json each line holds its own"
    assert out.count("\n") == 24
