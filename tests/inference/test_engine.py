"""Which engine translates, that both find the same, and the converted models in the user's cache folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from tiny_run import save_run, spread_parts

from transformer.checkpoints.arrays import model_variables
from transformer.checkpoints.loading import load_task_of, weight_shapes
from transformer.ids import END_ID, START_ID
from transformer.inference import ctranslate2_cache
from transformer.inference.ctranslate2_model import weight_shapes as converted_shapes
from transformer.inference.translator import Translator
from transformer.system.errors import UserError

SEARCH = {"beam_size": 3, "penalty": "length", "length_penalty": 1.0, "finished": "leave", "max_extra_length": 3}
SENTENCES = ["sol mar rio", "um", "", "lua mar dois três um", "rio", "sol lua", "mar mar", "um dois. sol mar!"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("run") / "run", spread_parts(), **SEARCH)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Return a cache folder of the test's own."""
    monkeypatch.setenv("TRANSFORMER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def models(cache):
    return sorted(path for path in (cache / "engines").iterdir())


def texts(translator, **options):
    return [[each.text for each in group] for group in translator.translate(SENTENCES, 3, **options)]


PROCESS = """
import json, sys
from transformer import Translator, translate
from transformer.commands import translate as command
run = sys.argv[1]
every = (
    ["sol mar"],
    ["--json", "--n-best", "2", "um <b>rio</b>. Sol!"],
    ["--scores", "--temperature", "1", "--top-k", "3", "mar"],
    ["--prefix", "abc", "--min-length", "2", "--verbose", "sol"],
)
codes = [command.main(["--run", run, *words]) for words in every]
assert Translator.load(run).with_search(beam_size=1).translate(["sol", "日本"], with_attention=True)
loaded = sorted({"tensorflow", "tensorflow_text", "keras"} & set(sys.modules))
print(json.dumps([codes, loaded]))
"""


def test_a_translation_imports_no_tensorflow(run):
    """Neither does the conversion: the cache folder is empty at first."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", PROCESS, run.path], capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(found.stdout.splitlines()[-1]) == [[0, 0, 0, 0], []]
    assert "engine: ctranslate2" in found.stderr.splitlines()


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        ({}, ""),
        ({"beam_size": 1, "finished": "compete"}, ""),  # nothing competes
        ({"temperature": 0.5, "top_k": 4, "top_p": 0.9}, ""),
        ({"min_length": 2, "max_length": 6, "max_length_ratio": 2.0, "no_repeat_ngram": 3}, ""),
        ({"penalty": "gnmt"}, ""),
        ({"finished": "compete"}, "finished hypotheses leave the beam"),
        ({"coverage_penalty": 0.1}, "the coverage penalty"),
        ({"temperature": 0.5, "min_p": 0.1}, "min-p sampling"),
        ({"temperature": 0.5, "typical_p": 0.9}, "typical sampling"),
        ({"repetition_penalty": 1.2}, "the repetition penalty"),
    ],
    ids=str,
)
def test_the_fast_engine_is_taken_where_it_can_do_what_is_asked(run, search, reason):
    translator = Translator.load(run.path, **search)
    assert translator.engine.name == ("tensorflow" if reason else "ctranslate2")
    assert reason in translator.engines.reason(translator.search)
    if reason:
        with pytest.raises(UserError, match=f"{reason}.*; translate with --engine tensorflow"):
            Translator.load(run.path, engine="ctranslate2", **search)
    assert Translator.load(run.path, engine="tensorflow", **search).engine.name == "tensorflow"


def test_another_search_takes_another_engine_where_it_has_to(run):
    fast = Translator.load(run.path)
    other = fast.with_search(coverage_penalty=0.2)
    assert [each.engine.name for each in (fast, other, other.with_search(coverage_penalty=0.0))] == [
        "ctranslate2",
        "tensorflow",
        "ctranslate2",
    ]
    ((found,),) = fast.translate(["sol"], with_attention=True, with_heads=True)
    assert found.heads is not None and found.heads.shape[:2] == (1, 2)
    with pytest.raises(ValueError, match="engine must be one of auto, ctranslate2, tensorflow, got 'torch'"):
        Translator.load(run.path, engine="torch")


def test_an_ensemble_is_for_the_reference(run):
    translator = Translator.load([run.path, run.path])
    assert translator.engine.name == "tensorflow"
    assert translator.engines.reason(translator.search) == "CTranslate2 translates with one model"


def test_both_engines_find_the_same_where_limits_differ(run):
    """Long ones are searched again with a limit of their own, which decides what is cut."""
    reference = Translator.load(run.path, engine="tensorflow")
    for search in ({}, {"max_extra_length": 0, "max_length_ratio": 0.6}, {"beam_size": 1}):
        ours, theirs = (each.with_search(**search) for each in (reference, Translator.load(run.path)))
        n_best = ours.search.beam_size
        for mine, other in zip(ours.translate(SENTENCES, n_best), theirs.translate(SENTENCES, n_best), strict=True):
            assert [(h.text, h.finished) for h in mine] == [(h.text, h.finished) for h in other]
            assert [h.score for h in other] == pytest.approx([h.score for h in mine], abs=1e-4)


@pytest.mark.parametrize("engine", ["ctranslate2", "tensorflow"])
def test_an_engine_is_warmed_up_and_takes_a_source_without_tokens(run, engine):
    translator = Translator.load(run.path, engine=engine, max_extra_length=0)
    translator.engine.warm_up(translator.search)
    found = translator.find([[START_ID, END_ID], *translator.encode(["sol"])])
    assert found.ids.shape[:2] == found.scores.shape == (2, 3) and (found.lengths >= 1).all()


def test_scores_may_be_left_to_the_library(run):
    translator = Translator.load(run.path)
    for full, quick in zip(
        translator.translate(SENTENCES), translator.translate(SENTENCES, with_scores=False), strict=True
    ):
        assert quick[0].text == full[0].text and quick[0].token_log_probabilities == ()
        assert quick[0].score == pytest.approx(full[0].score, abs=0.1)


@pytest.mark.parametrize("embeddings", ["separate", "target"])
@pytest.mark.parametrize(("norm_first", "positions"), [(False, "sinusoidal"), (True, "learned"), (False, "rotary")])
def test_the_weights_of_a_run_are_known_without_building_its_network(tmp_path, embeddings, norm_first, positions):
    parts = spread_parts(embeddings=embeddings, norm_first=norm_first, positions=positions)
    config = save_run(tmp_path / "run", spread_parts()).config()
    config = config.override({"model": {"embeddings": embeddings, "norm_first": norm_first, "positions": positions}})
    size = parts[1].source.vocabulary_size
    found = {name: tuple(variable.shape) for name, variable in model_variables(parts[0]).items()}
    assert converted_shapes(config.model, (size, size)) == found


def test_shared_embeddings_are_counted_once(run):
    task = load_task_of(run)
    size = task.vocabularies.source.vocabulary_size
    assert converted_shapes(task.config.model, (size, size)) == weight_shapes(task)


def test_a_model_is_converted_once_for_its_weights(run, cache, tmp_path):
    expected = texts(Translator.load(run.path))
    (model,) = models(cache)
    before = (model / "model.bin").stat().st_mtime_ns
    copied = shutil.copytree(run.path, tmp_path / "copied")
    assert texts(Translator.load(copied)) == expected
    assert models(cache) == [model] and (model / "model.bin").stat().st_mtime_ns == before
    Translator.load(copied, beam_size=1)  # the search is no part of the model
    other, tokenizers = spread_parts()
    other.encoder.embedding.embeddings.assign(-other.encoder.embedding.embeddings)
    assert texts(Translator.load(save_run(tmp_path / "another", (other, tokenizers), **SEARCH).path)) != expected
    assert len(models(cache)) == 2


def cut(model):
    (model / "model.bin").write_bytes((model / "model.bin").read_bytes()[:-100])


def change(model):
    content = bytearray((model / "model.bin").read_bytes())
    content[-20] ^= 1
    (model / "model.bin").write_bytes(content)


def half_write(model):
    (model / "made.json").unlink()


def nonsense(model):
    (model / "made.json").write_text("[" * 100_000)


def add_file(model):
    (model / "vmap.txt").write_text("")


def replace_by_file(model):
    shutil.rmtree(model)
    model.write_text("")


@pytest.mark.parametrize("damage", [cut, change, half_write, nonsense, add_file, replace_by_file])
def test_a_damaged_model_is_made_again(run, cache, damage):
    expected = texts(Translator.load(run.path))
    (model,) = models(cache)
    damage(model)
    assert not ctranslate2_cache.is_whole(model)
    assert texts(Translator.load(run.path)) == expected
    assert models(cache) == [model] and ctranslate2_cache.is_whole(model)


def test_a_cache_folder_that_cannot_be_written_only_costs_time(run, cache, capsys, monkeypatch):
    expected = texts(Translator.load(run.path))
    cache.with_name("file").write_text("")
    monkeypatch.setenv("TRANSFORMER_CACHE", str(cache.with_name("file")))
    translator = Translator.load(run.path)
    assert translator.engine.name == "ctranslate2" and texts(translator) == expected
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and told[0].startswith(
        "warning: cannot keep the converted model in the cache folder (Not a dir"
    )
    monkeypatch.setattr("tempfile.tempdir", str(cache.with_name("nowhere")))  # nor a temporary one
    translator = Translator.load(run.path)
    assert translator.engine.name == "tensorflow" and texts(translator) == expected
    assert "no folder for the converted model" in translator.engines.reason(translator.search)


def test_only_the_models_last_used_are_kept(run, cache, monkeypatch):
    monkeypatch.setattr(ctranslate2_cache, "MOST_MODELS", 2)
    for number in range(3):
        old = cache / "engines" / f"old{number}"
        old.mkdir(parents=True)
        (old / "made.json").write_text("{}")
        os.utime(old / "made.json", (number, number))
    killed = cache / "engines" / ".draft-killed"
    killed.mkdir()
    os.utime(killed, (0, 0))
    Translator.load(run.path)
    names = [path.name for path in models(cache)]
    assert len(names) == 2 and "old2" in names and not {"old0", "old1", ".draft-killed"} & set(names)


def test_no_model_is_read_from_a_run_directory(run, cache, tmp_path):
    Translator.load(run.path)
    (model,) = models(cache)
    stranger = shutil.copytree(run.path, tmp_path / "stranger")
    for folder in (stranger / "model", stranger / "engines" / model.name, stranger / "ctranslate2"):
        shutil.copytree(model, folder)
        change(folder)
    shutil.rmtree(cache)
    assert texts(Translator.load(stranger)) == texts(Translator.load(run.path))


def test_damaged_weights_are_told_as_ever(run, tmp_path):
    broken = shutil.copytree(run.path, tmp_path / "broken")
    content = bytearray((broken / "best.safetensors").read_bytes())
    content[-8:] = np.array([np.nan, np.nan], np.float32).tobytes()
    (broken / "best.safetensors").write_bytes(content)
    for engine in ("auto", "tensorflow"):
        with pytest.raises(UserError, match="best.safetensors is damaged .*restore it or train the run again"):
            Translator.load(broken, engine=engine)
    Path(broken, "best.safetensors").unlink()
    with pytest.raises(UserError, match="has no best weights yet"):
        Translator.load(broken)


def test_weights_with_much_else_are_not_read_to_their_end(run, tmp_path):
    """The header says that there is another array, of 64 GiB, which as a hole takes no room on the disk."""
    stuffed = shutil.copytree(run.path, tmp_path / "stuffed")
    content = (stuffed / "best.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, end = json.loads(content[8 : 8 + size]), len(content) - 8 - size
    header["other"] = {"dtype": "F32", "shape": [2**34], "data_offsets": [end, end + 2**36]}
    text = json.dumps(header).encode()
    (stuffed / "best.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    os.truncate(stuffed / "best.safetensors", 8 + len(text) + end + 2**36)
    with pytest.raises(UserError, match="best.safetensors is damaged .it is longer than"):
        Translator.load(stuffed, engine="ctranslate2")
