"""Exported CTranslate2 models against the models they were made of."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import randomised
from tiny_run import pairs, shipping_example, tiny_config, write_run

from transformer.commands import export, translate
from transformer.commands.selfcheck import token_log_probabilities
from transformer.convert.ctranslate2 import load_export
from transformer.data.tokenizers.learning import train_tokenizers
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.inference.ctranslate2_engine import compute_type
from transformer.inference.ctranslate2_model import ACTIVATIONS
from transformer.inference.result import one_line
from transformer.inference.translator import Translator
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import build_model

SENTENCES = ["sol mar rio", "um", "", "lua mar dois três um", "rio", "sol lua", "mar mar"]
SEARCH = {"beam_size": 3, "penalty": "length", "length_penalty": 1.0, "finished": "leave", "max_extra_length": 4}


def shape_logits(model, end):
    """Let an end be likely at any step, and what no search writes about e^-30: both ways to leave it out then agree."""
    last = model.decoder.final_norm or model.decoder.stack[-1].layernorm3
    last.beta.assign(np.ones(last.beta.shape))  # a state's elements then sum up to about their number, 16
    weight = model.final_layer.kernel if model.final_layer else model.decoder.embedding.embeddings
    table = weight.numpy().T if model.final_layer else weight.numpy()  # (V, D)
    table[[PAD_ID, UNKNOWN_ID, START_ID]] = -2
    table[END_ID] = end
    weight.assign(table.T if model.final_layer else table)


def a_run(folder, text=None, end=0.5, **model):
    """Write a run of a model with random weights; returns its path."""
    config = tiny_config(folder, model=model, text=text or {}, search=SEARCH)
    tokenizers = train_tokenizers(lambda: iter(pairs(60)), config.text)
    built = randomised(build_model(config.model, tokenizers))
    shape_logits(built, end)
    return write_run(folder / "run", config, tokenizers, built)


def exported(run, out, *flags):
    assert export.main([str(run), str(out), "--format", "ctranslate2", *flags]) == 0
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return a_run(tmp_path_factory.mktemp("base"), embeddings="separate")


@pytest.fixture(scope="module")
def out(run):
    return exported(run, run.parent / "out")


def check_alike(ours, theirs):
    assert len(ours) == len(theirs)
    for of_ours, of_theirs in zip(ours, theirs, strict=True):
        assert [h.text for h in of_ours] == [h.text for h in of_theirs]
        for mine, other in zip(of_ours, of_theirs, strict=True):
            assert (mine.tokens, mine.source_tokens) == (other.tokens, other.source_tokens)
            assert (mine.finished, mine.warnings) == (other.finished, other.warnings)
            assert other.score == pytest.approx(mine.score, abs=1e-4)
            assert other.log_probability == pytest.approx(mine.log_probability, abs=1e-4)
            np.testing.assert_allclose(other.token_log_probabilities, mine.token_log_probabilities, atol=1e-4)
            if mine.attention is not None:
                np.testing.assert_allclose(other.attention, mine.attention, atol=1e-5)
            assert other.heads is None and other.alignment == mine.alignment


SLOW = pytest.mark.slow  # a run, an export and graphs for each; the other three differ most


@pytest.mark.parametrize(
    ("model", "text", "end"),  # the last so that some translations end and some are cut
    [
        pytest.param({"norm_first": False, "embeddings": "separate"}, {"joint": False}, 0.4, marks=SLOW),
        ({"norm_first": True, "embeddings": "target"}, {"joint": False, "tokenizer": "wordpiece"}, 0.28),
        pytest.param({"norm_first": True, "embeddings": "shared"}, {}, 0.35, marks=SLOW),
        ({"positions": "rotary", "embeddings": "shared"}, {}, 0.35),
        pytest.param({"positions": "learned", "embeddings": "shared"}, {}, 0.42, marks=SLOW),
        pytest.param(
            {"positions": "relative_bias", "relative_buckets": 6, "relative_distance": 7, "embeddings": "shared"},
            {},
            0.32,
            marks=SLOW,
        ),
        ({"positions": "relative_keys", "relative_distance": 2, "embeddings": "shared"}, {}, 0.39),
    ],
)
def test_every_architecture_translates_alike(tmp_path, model, text, end):
    run = a_run(tmp_path, text, end, num_layers=2, **model)
    theirs = load_export(exported(run, tmp_path / "out"))
    ours = Translator.load(run, engine="tensorflow")
    expected = ours.translate(SENTENCES, 3, True)
    check_alike(expected, theirs.translate(SENTENCES, 3, True))
    own = Translator.load(run)  # made of the run's files, without the network
    assert own.engine.name == "ctranslate2"
    check_alike(expected, own.translate(SENTENCES, 3, True))
    assert {h.finished for group in expected for h in group if h.tokens} == {True, False}
    vocabularies = sorted(path.name for path in (tmp_path / "out" / "model").glob("*vocabulary*"))
    assert len(vocabularies) == (1 if model["embeddings"] == "shared" else 2)


def test_sentences_of_a_line_are_told_apart_by_the_runs_language(tmp_path):
    run = a_run(tmp_path)
    line = "O Exmo. Sol. Um mar!"  # English would end a sentence after "Exmo."
    for translator in (Translator.load(run, engine="tensorflow"), load_export(exported(run, tmp_path / "out"))):
        assert [part.text for part in translator.reader.parts([line])[0]] == ["O Exmo. Sol.", "Um mar!"]
        # the same cleaning too, also with another search
        for reader in (translator.reader, translator.with_search(beam_size=1).reader):
            assert reader.parts(["<b>sol</b> &amp; <time>"])[0][0].text == "sol & <time>"
    ours, theirs = Translator.load(run, engine="tensorflow"), load_export(tmp_path / "out")
    (expected,), (found,) = (each.translate([line], with_attention=True)[0] for each in (ours, theirs))
    assert (found.text, found.source_tokens) == (expected.text, expected.source_tokens)
    assert found.attention.shape == expected.attention.shape


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - {"relu", "swish"}))  # others' models have relu
def test_every_activation_function_is_the_same(tmp_path, activation):
    run = a_run(tmp_path, activation=activation)
    ours, theirs = Translator.load(run, engine="tensorflow"), load_export(exported(run, tmp_path / "out"))
    vocabulary = ours.tokenizers.source
    ids = {piece: index for index, piece in enumerate(vocabulary.pieces(range(vocabulary.vocabulary_size)))}
    for sentence in ("sol mar", "lua rio um"):
        ((found,),) = theirs.translate([sentence], with_attention=True)
        written = [ids[piece] for piece in found.tokens] + [END_ID] * found.finished
        expected = token_log_probabilities(ours, ours.encode([sentence])[0], written)
        np.testing.assert_allclose(found.token_log_probabilities, expected, atol=1e-4)


@pytest.mark.parametrize(
    "search",
    [
        {"beam_size": 1},
        {"penalty": "gnmt", "length_penalty": 0.6},
        {"length_penalty": 0.0, "max_length_ratio": 0.7},
    ],
    ids=str,
)
def test_searches_are_alike(run, out, search):
    ours, theirs = Translator.load(run, engine="tensorflow", **search), load_export(out, **search)
    check_alike(ours.translate(SENTENCES), theirs.translate(SENTENCES))


def test_rules_that_the_library_applies_otherwise_hold(run, out):
    rules = {"min_length_ratio": 0.6, "no_repeat_ngram": 2}
    ours, theirs = Translator.load(run, engine="tensorflow"), load_export(out, **rules)
    for row, (found, *_) in zip(ours.encode(SENTENCES), theirs.translate(SENTENCES, 3, True), strict=True):
        if len(row) == 2:
            continue
        assert len(found.tokens) >= 0.6 * len(row)
        assert len(set(zip(found.tokens, found.tokens[1:], strict=False))) == max(0, len(found.tokens) - 1)
        length = len(found.tokens) + found.finished
        assert found.score == pytest.approx(found.log_probability / length, abs=1e-4)


def test_prefixes_long_sentences_and_unknown_characters(run, out):
    ours, theirs = Translator.load(run, engine="tensorflow"), load_export(out)
    (prefixed,) = theirs.translate(["sol mar"], prefixes=["abc"])[0]
    assert prefixed.text.startswith("abc") and len(prefixed.token_log_probabilities) > 3
    sentences = ["sol " * 60, "sol 日", "日本"]
    check_alike(ours.translate(sentences), theirs.translate(sentences))
    with pytest.raises(ValueError, match="n_best must be from 1 to beam_size=3"):
        theirs.translate(["sol"], n_best=4)


def test_the_documents_example(out, capsys):
    exec(shipping_example("ctranslate2", out).replace("+ 50", "+ 4"), {})
    ((best,),) = load_export(out, beam_size=5).translate(["A dog runs."])
    text, score = capsys.readouterr().out.rstrip("\n").rsplit(" ", 1)
    assert one_line(text) == best.text and float(score) == pytest.approx(best.score, abs=1e-3)


def test_drawing_goes_by_the_seed(out):
    def drawn(**settings):
        search = {"temperature": 1.0, "beam_size": 4, **settings}
        return load_export(out, **search).translate(SENTENCES, n_best=4)

    assert drawn(seed=3) == drawn(seed=3) != drawn(seed=4)
    translator = load_export(out, temperature=1.0, top_k=5, top_p=0.9)
    assert translator.translate(SENTENCES) == translator.translate(SENTENCES)
    for group in drawn():
        assert [h.score for h in group] == sorted((h.score for h in group), reverse=True)
        assert all(h.score == h.log_probability for h in group)


def test_another_search_of_the_same_export(out):
    greedy = load_export(out).with_search(beam_size=1, length_penalty=0.5)
    assert greedy.search.beam_size == 1
    expected = load_export(out, beam_size=1, length_penalty=0.5).translate(SENTENCES)
    for (ours,), (theirs,) in zip(greedy.translate(SENTENCES), expected, strict=True):
        assert ours.text == theirs.text and ours.score == pytest.approx(theirs.score, rel=1e-4, abs=1e-6)


def test_what_the_export_holds(run, out):
    stored = json.loads((out / "export.json").read_text(encoding="utf-8"))
    assert (stored["format"], stored["quantization"], stored["weights"]) == ("ctranslate2", "float32", "best")
    settings = json.loads((out / "model" / "config.json").read_text(encoding="utf-8"))
    assert settings["layer_norm_epsilon"] == 1e-6  # the library's own is 1e-5
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["search"]["beam_size"] == 3
    sides = [json.loads((out / "model" / f"{side}_vocabulary.json").read_text()) for side in ("shared",)]
    tokenizers = Translator.load(run, engine="tensorflow").tokenizers
    assert sides[0] == tokenizers.source.pieces(range(tokenizers.source.vocabulary_size))


@pytest.mark.parametrize("quantization", ["int16", "int8"])
def test_quantised_models_are_smaller_and_nearly_alike(run, out, tmp_path, quantization):
    small = exported(run, tmp_path / "out", "--quantization", quantization)
    assert (small / "model" / "model.bin").stat().st_size < 0.8 * (out / "model" / "model.bin").stat().st_size
    exact, rounded = (load_export(path, beam_size=1) for path in (out, small))
    for (one,), (other,) in zip(exact.translate(SENTENCES), rounded.translate(SENTENCES), strict=True):
        if one.text == other.text:
            assert other.score == pytest.approx(one.score, abs=0.3)


@pytest.mark.parametrize(
    ("machine", "supported", "flags", "expected"),
    [
        ("x86_64", {"float32", "int8", "int16"}, None, "default"),  # MKL
        ("x86_64", {"float32", "int8"}, "flags: avx2 avx512f avx512_vnni", "default"),
        ("x86_64", {"float32", "int8"}, "flags: fma avx avx2", "float32"),
        ("AMD64", {"float32", "int8"}, None, "float32"),  # no such file
        ("aarch64", {"float32", "int8"}, None, "default"),
    ],
)
def test_products_of_8_bits_are_left_to_processors_that_sum_them_exactly(
    monkeypatch, tmp_path, machine, supported, flags, expected
):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("ctranslate2.get_supported_compute_types", lambda device: supported)
    if flags:
        (tmp_path / "cpuinfo").write_text(flags)
    assert compute_type(tmp_path / "cpuinfo") == expected


def test_an_activation_function_that_the_library_lacks_is_refused(tmp_path, capsys):
    run = a_run(tmp_path, activation="elu")
    assert export.main([str(run), str(tmp_path / "out"), "--format", "ctranslate2"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: CTranslate2 does not know model.activation 'elu', only relu, gelu, silu")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def cut_model(out):
    path = out / "model" / "model.bin"
    path.write_bytes(path.read_bytes()[:1000])


def swap_vocabulary(out):
    path = out / "model" / "shared_vocabulary.json"
    path.write_text(path.read_text().replace("<unk>", "<nuk>"))


def add_file(out):
    (out / "model" / "vmap.txt").write_text("")


def no_description(out):
    (out / "export.json").unlink()


def damage_description(out):
    (out / "export.json").write_text('{"format": "ctranslate2"}')


def point_outside(out):
    """Name a file outside the directory in the description; it must not be looked at."""
    description = json.loads((out / "export.json").read_text())
    description["files"] = {"model/../../../../etc/passwd": "0" * 64, **description["files"]}
    (out / "export.json").write_text(json.dumps(description))


def cut_tokenizer(out):
    (out / "tokenizer" / "joint.model").write_bytes(b"")


def link_outside(out):
    (out / "config.json").rename(out.parent / "config.json")
    (out / "config.json").symlink_to(out.parent / "config.json")


def nest_description(out):
    (out / "export.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (cut_model, "(it ends too early); export the run again"),
        (swap_vocabulary, "model/shared_vocabulary.json is missing, truncated or changed"),
        (add_file, "model/vmap.txt is missing, truncated or changed"),
        (no_description, "is no export (it has no export.json)"),
        (damage_description, "export.json is damaged; export the run again"),
        (point_outside, "passwd is missing, truncated or changed"),
        (cut_tokenizer, "tokenizer/joint.model is missing, truncated or changed"),
        (link_outside, "config.json is a link to a place outside"),
        (nest_description, "export.json is damaged; export the run again"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_damaged_export_is_refused(out, tmp_path, damage, expected):
    shutil.copytree(out, tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(UserError) as told:
        load_export(tmp_path / "out")
    assert expected in str(told.value)


def test_a_model_that_does_not_fit_its_config_is_told(out, tmp_path):
    copied = shutil.copytree(out, tmp_path / "out")
    config = json.loads((copied / "config.json").read_text())
    config["model"]["max_positions"] = 64  # the model has 32
    (copied / "config.json").write_text(json.dumps(config))
    description = json.loads((copied / "export.json").read_text())
    description["files"]["config.json"] = hashlib.sha256((copied / "config.json").read_bytes()).hexdigest()
    (copied / "export.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match="does not go with the config.json and the tokenizer of the export"):
        load_export(copied)


def test_without_the_library_one_line_says_how_to_get_it(run, out, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    assert export.main([str(run), str(tmp_path / "new"), "--format", "ctranslate2"]) == 1
    assert translate.main(["--run", str(out), "sol"]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 2
    for line in told:
        assert line.startswith("error: CTranslate2 cannot be used") and line.endswith("pip install ctranslate2")
    assert not (tmp_path / "new").exists()


def call(capsys, *words):
    try:
        code = translate.main([str(word) for word in words])
    except SystemExit as stopped:
        code = stopped.code
    return (code, *capsys.readouterr())


def test_translate_py_runs_an_export(out, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("".join(sentence + "\n" for sentence in SENTENCES), encoding="utf-8")
    engine = ("--run", out)
    code, told, warnings = call(capsys, *engine, "--input", "in.txt", "--json", "--n-best", "2", "--beam-size", "4")
    assert code == 0 and "line 3: empty sentence" in warnings
    expected = load_export(out, beam_size=4).translate(SENTENCES, 2)
    for line, hypotheses in zip(told.splitlines(), expected, strict=True):
        assert [h["text"] for h in json.loads(line)["hypotheses"]] == [h.text for h in hypotheses]
    code, told, _ = call(capsys, *engine, "--scores", "--temperature", "1", "--output", "out.txt", "sol", "mar")
    assert (code, told) == (0, "") and Path("out.txt").read_text().count("\t") == 2
    assert call(capsys, *engine, "--attention", "map.png", "--verbose", "sol mar")[0] == 0
    assert Path("map.png").read_bytes().startswith(b"\x89PNG")


def test_flags_that_do_not_go_with_an_export(run, out, capsys):
    for code, words, named in (
        (1, ("--run", out, "--run", out), "name it alone"),
        (1, ("--run", out, "--weights", "last"), "--weights"),
        (1, ("--run", out, "--engine", "tensorflow"), "without --engine"),
        (1, ("--run", out, "--attention", "a.png", "--attention-heads"), "the last layer's heads alone"),
        (1, ("--run", out, "--finished", "compete"), "finished hypotheses leave the beam"),
        (1, ("--run", out, "--coverage-penalty", "0.2"), "does not know the coverage penalty"),
        (2, ("--run", out, "--n-best", "4", "--json"), "--n-best must be from 1 to the beam size 3"),
    ):
        found, told, message = call(capsys, *words, "sol")
        assert (found, told) == (code, "") and named in message.splitlines()[-1]
