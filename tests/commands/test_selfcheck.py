"""The self-check: quiet on a sound translator, loud on a broken one."""

import dataclasses
from pathlib import Path

import pytest
import tensorflow as tf
from tiny_run import pairs, save_run, spread_parts, tiny_config

from transformer.commands import selfcheck
from transformer.commands.selfcheck import check_engines, check_export, run_checks, some_sentences
from transformer.config.settings import SearchConfig
from transformer.data.tokenizers.learning import train_tokenizers
from transformer.inference.ctranslate2_engine import CTranslate2Engine
from transformer.inference.translator import Translator
from transformer.models.stacks import Decoder
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import build_model


@pytest.fixture(scope="module")
def parts():
    return spread_parts()


def loader(parts, kind=Translator, **search):
    """Return what `run_checks` loads the run with; what it returns shares its graphs, which take seconds to make."""
    search = {"beam_size": 2, "max_extra_length": 2, "temperature": 1.0, "no_repeat_ngram": 2, **search}
    return kind(*parts, SearchConfig(**search), max_positions=32).with_search


@pytest.fixture(scope="module")
def load(parts):
    return loader(parts)


def test_a_sound_translator_passes(load):
    checks = run_checks(load, ["sol mar rio", "um", "lua mar", ""])
    assert [check.name for check in checks] == [
        "padded = unpadded",
        "cached = uncached",
        "batched = single",
        "beam 1 = greedy",
        "reloaded = original",
    ]
    assert not any(check.broken for check in checks) and all(check.difference < 1e-3 for check in checks)
    assert [check.cases for check in checks[:4]] == [3] * 4


def test_random_sentences_are_the_same_at_each_call_and_can_be_read(load):
    translator = load()
    sentences = some_sentences(translator)
    assert len(sentences) == 20 and sentences == some_sentences(translator)
    assert all(2 < len(row) <= 32 for row in translator.encode(sentences))


@pytest.mark.slow  # graphs of a model for each
@pytest.mark.parametrize("positions", [3, 32])
def test_few_positions_are_enough(positions, monkeypatch):
    monkeypatch.setattr(selfcheck, "SENTENCES", 4)
    sizes = {"max_positions": positions}
    config = tiny_config(Path("unused"), model=sizes, data={"max_tokens": positions, "length_step": 1})
    tokenizers = train_tokenizers(lambda: iter(pairs(60)), config.text)
    model = build_model(config.model, tokenizers)
    checks = run_checks(Translator(model, tokenizers, SearchConfig(), positions).with_search)
    assert not any(check.broken for check in checks) and [check.cases for check in checks[:4]] == [4] * 4


@pytest.mark.parametrize("positions", [1, 2])
def test_a_model_that_reads_no_sentence_is_told(parts, positions):
    with pytest.raises(UserError, match="no sentence that the model reads in one piece"):
        run_checks(lambda **search: Translator(*parts, SearchConfig(**search), positions))


@pytest.mark.slow  # one more model is exported and loaded
def test_a_beam_beyond_the_vocabulary(parts, monkeypatch):
    monkeypatch.setattr(selfcheck, "TOGETHER", 2)
    model, tokenizers = spread_parts(text={"tokenizer": "wordpiece"})
    assert tokenizers.target.vocabulary_size < 64
    check = check_export(loader((model, tokenizers), beam_size=64, max_extra_length=1), ["sol mar", "um", "lua"])
    assert (check.cases, check.broken) == (3, 0)


@pytest.mark.slow  # graphs of two models
def test_what_does_not_agree_is_found(monkeypatch):
    class Forgetful(Translator):
        """Adds to a sentence's score what the batch around it has."""

        def _translate_batch(self, engine, batch, *rest):
            found = super()._translate_batch(engine, batch, *rest)
            return [[dataclasses.replace(h, score=h.score + len(batch)) for h in group] for group in found]

    sentences = ["sol mar", "um", "lua", "dois"]
    load = loader(spread_parts(), Forgetful)
    broken = {check.name: check.broken for check in run_checks(load, sentences)}
    assert broken.pop("batched = single") == 4 and not any(broken.values())
    assert check_export(load, sentences).broken == 4

    step = Decoder.step

    def shifted(self, ids, cache, position, *rest):
        return step(self, ids, cache, tf.maximum(position - 1, 0), *rest)

    monkeypatch.setattr(Decoder, "step", shifted)
    broken = {check.name: check.broken for check in run_checks(loader(spread_parts()), sentences)}
    assert broken["cached = uncached"] and not broken["padded = unpadded"]


def test_the_engines_are_compared(parts, tmp_path, monkeypatch):
    run = save_run(tmp_path / "run", parts, finished="compete", penalty="gnmt")

    def load(engine, **search):
        return Translator.load(run.path, engine=engine, **search)

    check = check_engines(load, ["sol mar rio", "um", ""])
    assert (check.name, check.cases, check.broken) == ("ctranslate2 = tensorflow", 2, 0)
    assert 0 <= check.difference < 1e-3
    search = CTranslate2Engine.search
    monkeypatch.setattr(CTranslate2Engine, "search", lambda *given: raised(search(*given)))
    assert check_engines(load, ["sol mar rio", "um"]).broken == 2


def raised(found):
    """Return what a search found, with other scores."""
    return found._replace(scores=found.scores + 1)


def test_without_a_usable_sentence_it_says_so(load):
    with pytest.raises(UserError, match="no sentence that the model reads in one piece"):
        run_checks(load, ["", "sol " * 60])


def test_the_command_prints_a_table_and_an_exit_code(load, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(Translator, "load", classmethod(lambda cls, run, engine, **search: load(**search)))
    (tmp_path / "in").write_text("sol mar\num\n", encoding="utf-8")
    assert selfcheck.main(["run", "--input", str(tmp_path / "in")]) == 0
    out, err = capsys.readouterr()
    counts = [f"\r{done} of 2 sentences checked" for done in range(3)]
    exporting = "\nexporting the run to a temporary directory and loading it again\n"
    assert err == "".join(counts) + exporting + "the engines are not compared: it is asked for\n"
    lines = out.splitlines()
    assert len(lines) == 7 and all(line.endswith("ok") for line in lines[1:])
    assert lines[-1].split()[:4] == ["exported", "=", "original", "2"]
    monkeypatch.setattr(selfcheck, "TOLERANCE", -1.0)
    monkeypatch.setattr(selfcheck, "check_export", lambda *_: selfcheck.Check("exported = original", 1, 0.0, 0))
    assert selfcheck.main(["run", "--input", str(tmp_path / "in")]) == 1
    out, err = capsys.readouterr()
    assert "broken" in out and err.splitlines()[-1] == "error: run does not agree with itself; the table says where"
