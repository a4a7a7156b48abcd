"""The self-check: quiet on a sound translator, loud on a broken one."""

import dataclasses

import pytest
import tensorflow as tf
from tiny_run import spread_parts

from transformer.config import SearchConfig, UserError
from transformer.inference import selfcheck
from transformer.inference.selfcheck import check_export, run_checks, some_sentences
from transformer.inference.translator import Translator


@pytest.fixture(scope="module")
def parts():
    return spread_parts()


def loader(parts, kind=Translator):
    search = SearchConfig(beam_size=2, max_extra_length=2, temperature=1.0, no_repeat_ngram=2)
    return lambda **changes: kind(*parts, dataclasses.replace(search, **changes), max_positions=32)


def test_a_sound_translator_passes(parts):
    checks = run_checks(loader(parts), ["sol mar rio", "um", "lua mar", ""])
    assert [check.name for check in checks] == [
        "padded = unpadded",
        "cached = uncached",
        "batched = single",
        "beam 1 = greedy",
        "reloaded = original",
    ]
    assert not any(check.broken for check in checks) and all(check.difference < 1e-3 for check in checks)
    assert [check.cases for check in checks[:4]] == [3] * 4


def test_random_sentences_are_the_same_at_each_call(parts):
    translator = loader(parts)()
    sentences = some_sentences(translator)
    assert 10 < len(sentences) <= 20 and sentences == some_sentences(translator)
    assert sum(2 < len(row) <= 32 for row in translator.encode(sentences)) > 5


def test_what_does_not_agree_is_found(parts, monkeypatch):
    class Forgetful(Translator):
        """Adds to a sentence's score what the batch around it has."""

        def _translate_batch(self, batch, *rest):
            found = super()._translate_batch(batch, *rest)
            return [[dataclasses.replace(h, score=h.score + len(batch)) for h in of] for of in found]

    sentences = ["sol mar", "um", "lua", "dois"]
    broken = {check.name: check.broken for check in run_checks(loader(parts, Forgetful), sentences)}
    assert broken.pop("batched = single") == 4 and not any(broken.values())
    assert check_export(loader(parts, Forgetful), sentences).broken == 4

    step = type(parts[0].decoder).step

    def shifted(self, ids, cache, position, *rest):
        return step(self, ids, cache, tf.maximum(position - 1, 0), *rest)

    monkeypatch.setattr(type(parts[0].decoder), "step", shifted)
    broken = {check.name: check.broken for check in run_checks(loader(parts), sentences)}
    assert broken["cached = uncached"] and not broken["padded = unpadded"]


def test_without_a_usable_sentence_it_says_so(parts):
    with pytest.raises(UserError, match="no sentence that the model reads in one piece"):
        run_checks(loader(parts), ["", "sol " * 60])


def test_the_command_prints_a_table_and_an_exit_code(parts, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(Translator, "load", classmethod(lambda cls, run, **search: loader(parts)(**search)))
    (tmp_path / "in").write_text("sol mar\num\n", encoding="utf-8")
    assert selfcheck.main(["run", "--input", str(tmp_path / "in")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and all(line.endswith("ok") for line in lines[1:])
    assert lines[-1].split()[:4] == ["exported", "=", "original", "2"]
    monkeypatch.setattr(selfcheck, "TOLERANCE", -1.0)
    monkeypatch.setattr(selfcheck, "check_export", lambda *_: selfcheck.Check("exported = original", 1, 0.0, 0))
    assert selfcheck.main(["run", "--input", str(tmp_path / "in")]) == 1
    out, err = capsys.readouterr()
    assert "broken" in out and err.splitlines()[-1] == "error: run does not agree with itself; the table says where"
