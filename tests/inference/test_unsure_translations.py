"""A translation that a run's stored numbers call improbable is warned of as unsure, wherever it is shown."""

import json

import pytest
from tiny_run import spread_parts

from transformer.checkpoints.run_directory import RunDirectory
from transformer.commands.translate_lines import Wanted, translate_lines
from transformer.config.settings import SearchConfig
from transformer.inference.result import Translation, joined
from transformer.inference.translator import Translator
from transformer.metrics.confidence import SIGNS, Confidence
from transformer.system.errors import UserError

TOLD = "the model is unsure of this sentence; it was trained on a phrasebook"
KNOWN = frozenset("sol mar rio".split())


def stored(bias=2.0, **changes):
    """Numbers by which a sentence of known words is right with a probability of 0.88, one of new words of 0.0003."""
    weights = {**dict.fromkeys(SIGNS, 0.0), "new_words": -10.0}
    return Confidence("a phrasebook", 5, bias, weights, 0.5, 0.0, KNOWN, KNOWN, ("sol mar",), **changes)


@pytest.fixture(scope="module")
def parts():
    return spread_parts()


def test_it_is_told_on_stderr_and_in_json_with_a_number(parts, capsys):
    translator = Translator(*parts, SearchConfig(beam_size=1), 32, confidence=stored())
    translate_lines(translator, ["sol mar", "lua lua", "", "sol. lua"], None, None, Wanted(as_json=True))
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert [TOLD in answer["warnings"] for answer in answers] == [False, True, False, True]
    best = [answer["hypotheses"][0] for answer in answers]
    assert [each["unsure"] for each in best] == [False, True, False, True]
    sure, unsure, half = 0.8808, 0.0003, 0.0474  # 1 / (1 + e^-2), 1 / (1 + e^8), and of one new word in two, e^3
    assert [each["confidence"] for each in best] == [sure, unsure, None, half]
    assert f"warning: line 2: {TOLD}" in err or TOLD in err


def test_a_run_without_numbers_warns_of_nothing(parts):
    ((found,),) = Translator(*parts, SearchConfig(beam_size=1), 32).translate(["lua lua"])
    assert found.confidence is None
    assert not found.unsure
    assert TOLD not in found.warnings


def test_parts_without_a_number_do_not_count():
    parts = [[Translation("a", 0.0, 0.0, confidence=each)] for each in (0.7, None, 0.9)]
    assert joined(parts)[0].confidence == 0.7
    assert joined(parts[1:2] * 2)[0].confidence is None


def test_a_run_keeps_its_numbers_or_that_there_are_none(tmp_path):
    run = RunDirectory(tmp_path)
    assert run.confidence() is None
    assert not run.calibrated()
    run.write_confidence(None)
    assert run.calibrated()
    assert run.confidence() is None
    run.write_confidence(stored())
    assert run.confidence() == stored()


@pytest.mark.parametrize("content", ["{", "[]", '{"bias": 3}', '{"about": ' + "[" * 5000])
def test_a_damaged_file_is_told_in_one_line(tmp_path, content):
    (tmp_path / "confidence.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"confidence.json is damaged .* restore it, or remove it") as error:
        RunDirectory(tmp_path).confidence()
    assert "\n" not in str(error.value)


def test_a_link_out_of_the_run_and_a_huge_file_are_refused(tmp_path):
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "confidence.json"
    (tmp_path / "other").write_text("null", encoding="utf-8")
    path.symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match="is a link to a place outside"):
        RunDirectory(tmp_path / "run").confidence()
    path.unlink()
    path.write_bytes(b" " * 4_000_001)
    with pytest.raises(UserError, match="longer than 4,000,000 bytes"):
        RunDirectory(tmp_path / "run").confidence()
