"""Exported SavedModels against the translators they were made of, and the directories that exports are written to."""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from tiny_run import pairs, shipping_example, spread_parts, tiny_config, write_run

from transformer.commands import export
from transformer.config.settings import POSITIONS, SearchConfig
from transformer.convert import savedmodel
from transformer.convert.directory import describe, draft_export, read_description
from transformer.data.phrasebook import generate
from transformer.data.tokenizers.learning import train_tokenizers
from transformer.data.tokenizers.vocabularies import KINDS
from transformer.ids import END_ID, START_ID
from transformer.inference.result import one_line
from transformer.inference.translator import Translator
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import build_model

pytestmark = pytest.mark.slow  # runs are exported and loaded in other processes

# Loads a SavedModel and calls it where this package cannot be imported; argument: the names that must not be, the
# SavedModel, its signature, a file of inputs, and one for the outputs.
ELSEWHERE = """
import json, sys
hidden, model, signature, given, wanted = sys.argv[1:]
sys.modules.update(dict.fromkeys(hidden.split(",")))  # None: importing it fails
import numpy as np, tensorflow as tf
if "tensorflow_text" not in sys.modules:
    import tensorflow_text
for name in hidden.split(","):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{name} can be imported")
call = tf.saved_model.load(model).signatures[signature]
inputs = {name: tf.constant(value) for name, value in json.load(open(given)).items()}
outputs = {name: value.numpy() for name, value in call(**inputs).items()}
texts = {name: np.char.decode(v.astype(bytes), "utf-8") for name, v in outputs.items() if v.dtype == object}
np.savez(wanted, **{**outputs, **texts})
"""
OPTIONS = {"beam_size": 3, "n_best": 2, "length_penalty": 0.8}


def elsewhere(folder, hidden, model, signature, inputs):
    """Return the outputs of a signature that a fresh process calls, or what it wrote on stderr."""
    given, wanted = folder / "given.json", folder / "wanted.npz"
    given.write_text(json.dumps(inputs), encoding="utf-8")
    words = [sys.executable, "-I", "-c", ELSEWHERE, hidden, model, signature, given, wanted]
    done = subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, text=True)
    return dict(np.load(wanted)) if done.returncode == 0 else done.stderr


def sentences(count):
    return [sentence.pt for sentence in generate("test")[:count]]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function from a tokenizer's kind (and the positions) to a run and its export, each made once.

    The vocabulary comes from the phrasebook; the weights are random, the logits far apart.
    """

    @functools.cache
    def make(kind, positions="sinusoidal"):
        folder = tmp_path_factory.mktemp(kind)
        text = {"tokenizer": kind, "vocabulary_size": 400}
        model = {"num_layers": 2, "embeddings": "target", "positions": positions, "max_positions": 48}
        config = tiny_config(folder, model=model, text=text)
        config = config.override({"search": {"beam_size": 2, "max_extra_length": 2}})
        tokenizers = train_tokenizers(lambda: iter((s.pt, s.en) for s in generate("test")[:400]), config.text)
        keras.utils.set_random_seed(5)
        model = build_model(config.model, tokenizers)
        model.decoder.embedding.embeddings.assign(3 * model.decoder.embedding.embeddings)
        run, out = write_run(folder / "run", config, tokenizers, model), folder / "out"
        assert export.main([str(run), str(out), "--format", "savedmodel", "--max-beam", "4"]) == 0
        return run, out

    return make


@pytest.fixture(scope="module")
def run(made):
    return made("sentencepiece")[0]


@pytest.fixture(scope="module")
def out(made):
    return made("sentencepiece")[1]


@pytest.mark.parametrize(
    "parts", [*((kind,) for kind in KINDS), *(("sentencepiece", kind) for kind in POSITIONS[1:])], ids=":".join
)
def test_a_process_without_this_package_translates_as_the_translator(made, parts, tmp_path):
    run, out = made(*parts)
    asked = sentences(200)
    found = elsewhere(tmp_path, "transformer", out / "text", "serving_default", {"sentences": asked, **OPTIONS})
    translator = Translator.load(run, engine="tensorflow", beam_size=3, length_penalty=0.8)
    fitting = [len(row) <= 48 for row in translator.encode(asked)]
    assert sum(fitting) > 150
    expected = translator.translate(asked, n_best=2, with_attention=True)
    for row, hypotheses in enumerate(expected):
        for n, hypothesis in enumerate(hypotheses):
            if not fitting[row]:  # the translator cuts these in parts
                continue
            assert found["texts"][row, n].strip() == hypothesis.text.strip()  # some are spaces alone
            assert found["scores"][row, n] == pytest.approx(hypothesis.score, abs=1e-4)
            assert found["log_probabilities"][row, n] == pytest.approx(hypothesis.log_probability, abs=1e-4)
            assert found["finished"][row, n] == hypothesis.finished
            read, written = len(hypothesis.source_tokens), len(hypothesis.attention)
            np.testing.assert_allclose(found["attention"][row, n, :written, :read], hypothesis.attention, atol=1e-5)
            assert not found["attention"][row, n, written:].any()
            assert tuple(found["tokens"][row, n, : len(hypothesis.tokens)]) == hypothesis.tokens
            assert not any(found["tokens"][row, n, written:])
            names = found["source_tokens"][row, 1 : read - 1]
            assert tuple(names) == hypothesis.source_tokens[1:-1]


def test_a_process_with_tensorflow_alone_translates_ids(run, out, tmp_path):
    translator = Translator.load(run, engine="tensorflow", beam_size=3, length_penalty=0.8)
    rows = translator.encode(sentences(20))
    width = max(map(len, rows))
    ids = [row + [0] * (width - len(row)) for row in rows]
    hidden = "transformer,tensorflow_text"
    found = elsewhere(tmp_path, hidden, out / "ids", "ids", {"ids": ids, **OPTIONS})
    for row, source in enumerate(rows):
        if len(source) <= 48:
            expected = translator.find([source])
            for n in range(2):
                length = int(expected.lengths[0, n])
                assert found["ids"][row, n, :length].tolist() == np.array(expected.ids[0, n, :length]).tolist()
                assert not found["ids"][row, n, length:].any()
                assert found["scores"][row, n] == pytest.approx(float(expected.scores[0, n]), abs=1e-4)
    # The other one cannot even be loaded there, which is why there are two.
    told = elsewhere(tmp_path, hidden, out / "text", "serving_default", {"sentences": ["sol"], **OPTIONS})
    assert "Op type not registered" in told


@functools.cache
def loaded(model):
    return tf.saved_model.load(str(model)).signatures[{"text": "serving_default", "ids": "ids"}[model.name]]


def call(model, **inputs):
    return loaded(model)(**{name: tf.constant(value) for name, value in inputs.items()})


def test_the_documents_example(run, out, capsys):
    exec(shipping_example("saved_model", out), {})
    ((best,),) = Translator.load(run, beam_size=4, length_penalty=0.6).translate(["A dog runs."])
    text, score = capsys.readouterr().out.rstrip("\n").rsplit(" ", 1)
    assert text == best.text and float(score) == pytest.approx(best.score, abs=1e-4)


def test_empty_and_long_sentences(run, out):
    translator = Translator.load(run, beam_size=3, length_penalty=0.8)
    long = "sol " * 60
    found = call(out / "text", sentences=["", "sol mar", " \u3000\t", long], **OPTIONS)
    assert found["texts"][0].numpy().tolist() == found["texts"][2].numpy().tolist() == [b"", b""]
    assert found["scores"][0].numpy().tolist() == [0, 0] and found["finished"][0].numpy().all()
    assert found["source_tokens"].shape[1] == 48
    expected = translator.find([translator.reader.fit(translator.encode([long])[0])])
    text = translator.tokenizers.target.detokenize(tf.constant(np.array(expected.ids[0, :1])))
    assert found["texts"][3, 0].numpy().decode() == one_line(text.numpy()[0].decode("utf-8", "replace"))
    assert found["scores"][3, 0].numpy() == pytest.approx(float(expected.scores[0, 0]), abs=1e-4)
    all_empty = call(out / "text", sentences=[""], **OPTIONS)
    assert all_empty["texts"].numpy().tolist() == [[b"", b""]] and all_empty["attention"].shape[:3] == (1, 2, 0)


def test_what_is_out_of_bounds_is_refused(out):
    good = {"beam_size": 4, "n_best": 4, "length_penalty": 10.0}
    text, ids = loaded(out / "text"), loaded(out / "ids")

    def refused(call, **inputs):
        with pytest.raises(tf.errors.InvalidArgumentError) as told:
            call(**{name: tf.constant(value) for name, value in {**good, **inputs}.items()})
        return str(told.value)

    for bad, rule in (
        ({"beam_size": 0, "n_best": 0}, "beam_size must be from 1 to 4"),
        ({"beam_size": 5}, "beam_size must be from 1 to 4"),
        ({"n_best": 0}, "n_best must be from 1 to beam_size"),
        ({"beam_size": 3}, "n_best must be from 1 to beam_size"),
        ({"length_penalty": -0.1}, "length_penalty must be from 0 to 10"),
        ({"length_penalty": float("nan")}, "length_penalty must be from 0 to 10"),
    ):
        assert rule in refused(text, sentences=["sol"], **bad)
        assert rule in refused(ids, ids=[[START_ID, 9, END_ID]], **bad)
    assert "give at least one sentence" in refused(text, sentences=np.zeros(0, bytes))
    for bad, rule in (
        ([[START_ID, 5000, END_ID]], "ids must be from 0 to"),
        ([[START_ID, -4, END_ID]], "ids must be from 0 to"),
        ([[9, END_ID]], "each row must begin with 2 and end with 3"),
        ([[START_ID, 9]], "each row must begin with 2 and end with 3"),
        ([[0, 0]], "each row must begin with 2 and end with 3"),
        ([[START_ID, 0, END_ID, END_ID]], "padding with 0 must stand at the end of a row"),
        (np.zeros((0, 2), np.int32), "give at least one row of ids"),
    ):
        assert rule in refused(ids, ids=bad)


def test_the_signature_has_the_runs_search_as_defaults(out):
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((out / "text" / "saved_model.pb").read_bytes())
    defaults = proto.meta_graphs[0].signature_def["serving_default"].defaults
    assert {name: tf.make_ndarray(value).item() for name, value in defaults.items()} == {
        "beam_size": 2,
        "n_best": 1,
        "length_penalty": 1.0,
    }
    assert read_description(out)["max_beam"] == 4


@pytest.fixture(scope="module")
def spread():
    """An untrained model that ends some translations early, and its tokenizers."""
    model, tokenizers = spread_parts()
    table = model.decoder.embedding.embeddings.numpy()
    table[END_ID] *= 2.5
    model.decoder.embedding.embeddings.assign(table)
    return model, tokenizers


@pytest.mark.parametrize(
    "settings",
    [
        {"finished": "leave", "penalty": "length", "coverage_penalty": 0.2},
        {"min_length_ratio": 0.7, "no_repeat_ngram": 2},
        {"temperature": 1.0, "top_k": 7, "seed": 3},
    ],
    ids=str,
)
def test_every_search_goes_with_the_model(spread, settings):
    search = SearchConfig(beam_size=3, length_penalty=1.6, max_extra_length=9, **settings)
    translator = Translator(*spread, search, 32)
    rows = translator.encode([source for source, _ in pairs(12)])
    expected = translator.find(rows)
    graph = tf.function(savedmodel._ids_function(translator, 5), autograph=False)
    options = [tf.constant(value) for value in (3, 3, 1.6)]
    found = graph(tf.ragged.constant(rows, tf.int32).to_tensor(), *options)
    length = found["ids"].shape[2]
    np.testing.assert_array_equal(found["ids"], expected.ids[:, :3, :length])
    np.testing.assert_allclose(found["scores"], expected.scores[:, :3], rtol=1e-4)


def test_bytes_that_are_no_characters(spread):
    translator = Translator(*spread, SearchConfig(beam_size=3, length_penalty=1.6, max_extra_length=9), 32)
    asked = [source for source, _ in pairs(12)]
    graph = tf.function(savedmodel._text_function(translator, 3), autograph=False)
    found = graph(tf.constant(asked), *[tf.constant(value) for value in (3, 3, 1.6)])["texts"].numpy()
    expected = [[hypothesis.text for hypothesis in group] for group in translator.translate(asked, 3)]
    assert [[text.decode() for text in row] for row in found] == expected
    assert any("\ufffd" in text for row in expected for text in row)


def test_a_beam_that_is_larger_than_the_vocabulary_is_refused(tmp_path):
    translator = Translator(*spread_parts(), SearchConfig(), 32)
    with pytest.raises(UserError, match="the largest beam must be at most the vocabulary's"):
        savedmodel.save(translator, tmp_path / "model", "ids", 5000)


# Directories


def write(target, overwrite=False, text="whole"):
    with draft_export(target, overwrite) as draft:
        (draft / "ids").mkdir()
        (draft / "ids" / "file").write_text(text)
        describe(draft, {"format": "savedmodel"})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_export_is_written_beside_and_renamed(tmp_path):
    target = tmp_path / "deep" / "out"
    with pytest.raises(KeyboardInterrupt), draft_export(target, False) as draft:
        (draft / "half").write_text("")
        assert not target.exists()
        raise KeyboardInterrupt
    assert names(target.parent) == []
    write(target)
    assert names(target.parent) == ["out"] and names(target) == ["export.json", "ids"]
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")


def test_only_a_former_export_is_replaced_and_only_when_asked(tmp_path):
    target = tmp_path / "out"
    write(target, text="old")
    with pytest.raises(UserError, match="is an export already; replace it with --overwrite"):
        write(target)
    write(target, overwrite=True, text="new")
    assert (target / "ids" / "file").read_text() == "new" and names(tmp_path) == ["out"]
    (target / "mine").write_text("")
    with pytest.raises(UserError, match="holds mine, which is not of its export"):
        write(target, overwrite=True)
    (target / "mine").unlink()
    (target / "export.json").write_text("{")
    with pytest.raises(UserError, match=r"export\.json is damaged"):
        write(target, overwrite=True)
    (target / "export.json").unlink()
    with pytest.raises(UserError, match="holds something that is no export"):
        write(target, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        write(tmp_path / "file", overwrite=True)
    with pytest.raises(UserError, match=r"cannot write .*Not a directory"):
        write(tmp_path / "file" / "out")


def test_what_a_killed_process_left_is_no_hindrance(tmp_path):
    target, draft, old = (tmp_path / name for name in ("out", ".out.draft", ".out.old"))
    (draft / "ids").mkdir(parents=True)
    (draft / "left").write_text("")
    write(target, text="old")
    assert names(tmp_path) == ["out"]
    target.rename(old)  # killed between the two renamings
    with pytest.raises(UserError, match="is an export already"):
        write(target)
    assert (target / "ids" / "file").read_text() == "old" and names(tmp_path) == ["out"]
    with draft_export(target, True), pytest.raises(UserError, match="another process is exporting to"):
        write(target, overwrite=True)


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link")
    write(tmp_path / "link", overwrite=True)
    assert names(tmp_path) == ["link", "real"] and (tmp_path / "link").is_symlink()


# The command line


def told(capsys, *words):
    try:
        code = export.main([str(word) for word in words])
    except SystemExit as stopped:
        code = stopped.code
    printed, lines = capsys.readouterr()
    assert printed == "" and "Traceback" not in lines
    return code, lines.splitlines()[-1].removeprefix("error: ")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    config = tiny_config(folder)
    tokenizers = train_tokenizers(lambda: iter(pairs(60)), config.text)
    return write_run(folder / "run", config, tokenizers, build_model(config.model, tokenizers))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "the following arguments are required: --format"),
        (("--format", "onnx"), "invalid choice: 'onnx'"),
        (("--format", "savedmodel", "--quantization", "int8"), "--quantization goes with --format ctranslate2"),
        (("--format", "ctranslate2", "--max-beam", "4"), "--max-beam goes with --format savedmodel"),
        (("--format", "ctranslate2", "--quantization", "int4"), "invalid choice: 'int4'"),
        (("--format", "savedmodel", "--max-beam", "0"), "--max-beam must be from 1 to 64, got 0"),
        (("--format", "savedmodel", "--max-beam", "3"), "--max-beam must be at least the search's beam size 4, got 3"),
        (("--format", "savedmodel", "--beam-size", "0"), "beam_size must be from 1 to 64, got 0"),
        (("--format", "savedmodel", "--finished", "never"), "finished must be one of 'compete', 'leave'"),
    ],
)
def test_wrong_usage(tiny, tmp_path, capsys, words, named):
    code, message = told(capsys, tiny, tmp_path / "out", *words)
    assert code == 2 and named in message
    assert names(tmp_path) == []


def test_mistakes_in_directories(tiny, tmp_path, capsys):
    words = ("--format", "ctranslate2")
    code, message = told(capsys, tmp_path / "gone", tmp_path / "out", *words)
    assert code == 1 and "there is no run directory" in message
    code, message = told(capsys, tiny, tiny, *words, "--overwrite")
    assert code == 1 and "holds something that is no export" in message
    code, message = told(capsys, tiny, tmp_path / "out", *words, "--weights", "last")
    assert code == 1 and "has no last weights yet" in message
    assert export.main([str(tiny), str(tmp_path / "out"), *words]) == 0
    assert "out: ctranslate2, " in capsys.readouterr().out
    code, message = told(capsys, tiny, tmp_path / "out", *words)
    assert code == 1 and "is an export already" in message
    assert export.main([str(tiny), str(tmp_path / "out"), *words, "--overwrite", "--beam-size", "3"]) == 0
    capsys.readouterr()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["search"]["beam_size"] == 3
    code, message = told(capsys, tmp_path / "out", tmp_path / "new", *words)
    assert code == 1 and "is the export of a run, not a run directory" in message
    shutil.rmtree(tmp_path / "out")
    assert names(tmp_path) == []


def test_help_needs_no_tensorflow():
    code = (
        "import sys, runpy; sys.argv = ['transformer', 'export', '--help']\n"
        "try: runpy.run_module('transformer', run_name='__main__')\n"
        "finally: print('tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"


def test_the_files_of_an_export_are_what_it_says(out):
    files = read_description(out)["files"]
    found = {path.relative_to(out).as_posix() for path in Path(out).rglob("*") if path.is_file()}
    assert found == {"export.json", *files}
    assert {name.split("/")[0] for name in files} == {"text", "ids"}
