"""A run directory that somebody forged: told in one line; nothing is run, read from outside, or made large for it."""

import dataclasses
import functools
import hashlib
import io
import json
import math
import os
import pickle
import random
import re
import resource
import shutil
import struct
import sys
import threading
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors.numpy
from damage import mutated
from sentencepiece import sentencepiece_model_pb2
from tiny_run import save_run, spread_parts, tiny_config

from transformer.checkpoints.arrays import DamagedError, _digest, load_arrays, model_variables, save_arrays
from transformer.checkpoints.loading import weight_shapes
from transformer.checkpoints.run_directory import RunDirectory
from transformer.commands import translate
from transformer.config.checks import from_metadata
from transformer.data.tokenizers.base import RESERVED_TOKENS
from transformer.data.tokenizers.learning import train_tokenizers
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.inference.translator import Translator
from transformer.search.length_limits import rows_in_cache
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import build_model
from transformer.tasks.translation import Translation
from transformer.training.state import TrainingState
from transformer.training.validation import KeptWeights

MOST_MEMORY = 2**27  # bytes by which a refusal may raise the most memory that the process has held


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("honest") / "run", spread_parts(), beam_size=1).path


@pytest.fixture
def run(honest, tmp_path, monkeypatch):
    """A copy to forge, in the directory at hand; whoever builds a model of it fails."""
    shutil.copytree(honest, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return Path("run")


def refusal(capsys):
    """Return what `translate.py` says of the run; it must be one line, and the process must not have grown."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = translate.main(["--run", "run", "sol"])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    out, err = capsys.readouterr()
    assert (code, out) == (1, "") and err.startswith("error: ") and err.count("\n") == 1 and len(err) < 1500, err
    assert err[:-1].isprintable()
    assert grown * (1 if sys.platform == "darwin" else 1024) < MOST_MEMORY
    return err


def test_the_run_is_honest(run, capsys):
    assert translate.main(["--run", "run", "sol"]) == 0
    capsys.readouterr()


# config.json


def forge_config(run, **changes):
    values = json.loads((run / "config.json").read_text())
    for section, entries in changes.items():
        values[section] = {**values.get(section, {}), **entries} if isinstance(entries, dict) else entries
    (run / "config.json").write_text(json.dumps(values))


def forbid_building(monkeypatch):
    """Let the test fail where a network is built with weights; names and shapes alone are asked for in a thread."""
    network = Translation.network

    def shapes_only(task, dtype):
        if threading.current_thread() is threading.main_thread():
            pytest.fail("built")
        return network(task, dtype)

    monkeypatch.setattr(Translation, "network", shapes_only)


@pytest.mark.parametrize(
    "model",
    [
        {"d_model": 2**30},
        {"d_model": 10**9},
        {"d_model": 10**400},
        {"dff": 2**31 - 1},
        {"num_layers": 10**6},
        {"num_layers": 10**9},
        {"num_layers": 10**6, "d_model": 1, "num_heads": 1, "dff": 1},
        {"max_positions": 10**12},
        {"max_positions": 2**31 - 1},
        {"num_heads": 10**9},
        {"d_model": 2**20, "num_heads": 2**20, "num_layers": 1000},
    ],
    ids=str,
)
def test_sizes_that_the_weights_do_not_have_are_refused_before_a_model_is_built(run, capsys, monkeypatch, model):
    forge_config(run, model=model)
    forbid_building(monkeypatch)
    assert re.search(r"best\.safetensors is of another architecture|config\.json: .*(must be|below)", refusal(capsys))


@pytest.mark.parametrize(
    "changes",
    [
        {"text": {"vocabulary_size": 10**12}},
        {"search": {"no_repeat_ngram": 10**9}},
        {"search": {"beam_size": 10**9}},
        {"search": {"batch_tokens": 2**31 - 1}},
        {"search": {"max_length": 10**30}},
        {"search": {"length_penalty": 10**400}},
        {"search": {"length_penalty": float("nan")}},
        {"search": {"temperature": float("-inf")}},
        {"search": {"penalty": ["gnmt"]}},
        {"search": {"top_p": "1"}},
        {"search": {"\x1b[2J\n\u2028": 1}},
        {"search": {"beam_size": "x" * 100_000}},
        {"model": {"embeddings": "../../outside"}},
        {"model": {"activation": "os.system"}},
        {"model": {"activation": "glu"}},
        {"model": {"norm_first": None}},
        {"model": [1, 2]},
        {"model": None},
        {"extra": {}},
        {"__class__": {"os": "system"}},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_wrong_values_and_unknown_keys(run, capsys, changes):
    forge_config(run, **changes)
    refusal(capsys)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"model":' * 100_000,
        b'{"model": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"model": {"d_model": 1' + b"0" * 5000 + b"}}",
        b"[]",
        b"null",
        b'"config"',
        b"NaN",
        b'{"search": {"length_penalty": NaN}}',
        b" " * 2_000_000 + b"{}",
        pickle.dumps({"model": {}}),
    ],
    ids=lambda content: repr(content[:20]),
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer/tokenizer.json"])
def test_json_that_is_none(run, capsys, name, content):
    (run / name).write_bytes(content)
    assert name in refusal(capsys)


# Weights


def forge_weights(run, entries=None, metadata="honest", data=None):
    """Write weights with other entries in their header than the honest ones."""
    content = (run / "best.safetensors").read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    if metadata != "honest":
        header["__metadata__"] = metadata
    header.update(entries or {})
    packed = json.dumps(header).encode()
    body = content[8 + size :] if data is None else data
    (run / "best.safetensors").write_bytes(struct.pack("<Q", len(packed)) + packed + body)


NAME = "model/encoder/embedding/embeddings"


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [-1, 16], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [1, 16], "data_offsets": [64, 0]},
        {"dtype": "F32", "shape": [1, 16], "data_offsets": [-64, 0]},
        {"dtype": "F32", "shape": [1, 16], "data_offsets": [10**15, 10**15 + 64]},
        {"dtype": "F32", "shape": [1, 16], "data_offsets": [0, 64]},  # overlaps with others, and leaves a hole
        {"dtype": "O", "shape": [1, 16], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": "wide", "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [[[[[[]]]]]], "data_offsets": [0, 64]},
        None,
        "text",
    ],
    ids=str,
)
def test_headers_of_weights_that_lie(run, capsys, entry):
    forge_weights(run, {NAME: entry})
    assert "run/best.safetensors is damaged" in refusal(capsys)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"saved": "null"},
        {"saved": "[" * 100_000},
        {"saved": '{"metadata": {}, "digests": []}'},
        {"saved": '{"metadata": {}, "digests": {}}'},
        {"saved": '{"metadata": {}, "digests": {"' + NAME + '": {"a": 1}}}'},
        {"saved": pickle.dumps(1).decode("latin-1")},
    ],
    ids=lambda metadata: str(metadata)[:50],
)
def test_metadata_of_weights_that_are_none(run, capsys, metadata):
    forge_weights(run, metadata=metadata)
    assert "run/best.safetensors is damaged" in refusal(capsys)


def saved_as(run, change=lambda array: array, **more):
    """Save the honest arrays, one changed and more added, with digests that fit."""
    arrays = safetensors.numpy.load_file(run / "best.safetensors")
    arrays = {**arrays, NAME: change(arrays[NAME]), **more}
    saved = {"metadata": {}, "digests": {name: _digest(array) for name, array in arrays.items()}}
    safetensors.numpy.save_file(arrays, run / "best.safetensors", {"saved": json.dumps(saved)})


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda array: array + np.float32("nan"), "no finite number"),
        (lambda array: array * np.float32("inf"), "no finite number"),
        (lambda array: array.astype(np.float64), "holds F64 instead of float32"),
        (lambda array: array.astype(np.int32), "holds I32 instead of float32"),
        (lambda array: array.astype(np.complex64), "holds C64 instead of float32"),
    ],
)
def test_arrays_of_what_weights_are_not(run, capsys, change, word):
    saved_as(run, change)
    assert word in refusal(capsys)


# Seconds for the names of so many weights; the other two differ in a number.
@pytest.mark.parametrize(
    "shape", [(0, 10**9), *(pytest.param(s, marks=pytest.mark.slow) for s in ((0,), (1,)))], ids=str
)
def test_arrays_of_other_sizes_are_not_taken_for_weights(run, capsys, monkeypatch, shape):
    """Names of 64 wide layers and more arrays than they need, each of no or of one number."""
    forge_config(run, model={"num_layers": 64, "d_model": 2**14, "num_heads": 1, "dff": 2**16})
    config, tokenizers = RunDirectory(run).config(), vocabularies(run)
    names = [*weight_shapes(Translation(config, tokenizers, {})), *map(str, range(3000))]
    size = 4 * int(np.prod(shape, dtype=object))
    entries = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [i * size, (i + 1) * size]}
        for i, name in enumerate(names)
    }
    packed = json.dumps(entries).encode()
    content = struct.pack("<Q", len(packed)) + packed + bytes(size * len(names))
    (run / "best.safetensors").write_bytes(content)
    forbid_building(monkeypatch)
    assert f"'model/encoder/embedding/embeddings' has shape {shape}, the config wants" in refusal(capsys)


@pytest.mark.parametrize(
    "model, rule",
    [
        ({"num_layers": 65}, "num_layers must be at most 64"),
        ({"num_layers": 400, "d_model": 1, "num_heads": 1, "dff": 1}, "num_layers must be at most 64"),
        ({"d_model": 2**12, "max_positions": 2**12 + 1}, "max_positions must be at most 2^24 / d_model = 4096"),
    ],
    ids=str,
)
def test_sizes_that_take_long_however_small_the_file(run, capsys, model, rule):
    forge_config(run, model=model)
    assert rule in refusal(capsys)


@pytest.mark.parametrize(
    "model, search, rule",  # numbers kept of a token by one hypothesis: 2 * num_layers * d_model; there may be 2^30
    [
        ({"d_model": 2**12, "max_positions": 2**12, "num_layers": 32}, {"beam_size": 2}, "beam_size must be at most 1"),
        ({"d_model": 2**10, "max_positions": 2**14, "num_layers": 8}, {"beam_size": 5}, "beam_size must be at most 4"),
        (
            {"d_model": 2**10, "max_positions": 2**14, "num_layers": 8},
            {"beam_size": 9, "min_length": 2**13 - 1, "max_length": 2**13},
            "beam_size must be at most 8",
        ),
    ],
    ids=str,
)
def test_searches_whose_cache_would_take_all_memory(run, capsys, model, search, rule):
    forge_config(run, model=model, search=search)
    assert rule in refusal(capsys)


def test_sentences_searched_together_share_the_memory_of_the_cache(honest, monkeypatch):
    translator = Translator.load(honest, beam_size=2, max_extra_length=0)
    cached = 2 * 1 * 16  # one layer, width 16
    monkeypatch.setattr("transformer.search.length_limits.MOST_CACHE", 3 * 10 * 2 * cached)

    def most_rows(length):
        return rows_in_cache(translator.search, length, translator.max_positions, cached)

    assert [most_rows(length) for length in (5, 10, 31)] == [6, 3, 0]
    rows = []
    find = translator.engine.search
    monkeypatch.setattr(translator.engine, "search", lambda found, *rest: rows.append(len(found)) or find(found, *rest))
    assert len(translator.translate(["sol mar rio lua"] * 9)) == 9
    assert sum(rows) == 9 and max(rows) == most_rows(len(translator.encode(["sol mar rio lua"])[0])) < 9


def test_a_whole_tokenizer_of_another_size(run, capsys):
    train_tokenizers(lambda: iter([("abc", "abd")]), tiny_config(run).text).save(run / "tokenizer")
    assert "'model/encoder/embedding/embeddings' has shape" in refusal(capsys)


def test_fewer_layers_than_the_file_has(run, capsys):
    saved_as(run, **{"model/encoder/layer2/layernorm1/beta": np.zeros(16, np.float32)})
    assert "also holds 'model/encoder/layer2/layernorm1/beta'" in refusal(capsys)


@pytest.mark.parametrize("saved", ["[" * 80_000_000, "[]," * 3_000_000], ids=["nested", "wide"])
def test_metadata_that_takes_long_to_read(run, capsys, saved):
    forge_weights(run, metadata={"saved": saved})
    assert "best.safetensors is damaged (its header has" in refusal(capsys)


def test_text_that_no_file_can_hold(run, capsys):
    """Half of a surrogate pair, wherever a file says text."""
    for name, section, key in (
        ("config.json", "task", "source_language"),
        ("corpus.json", None, "source_language"),
        ("tokenizer/tokenizer.json", None, "kind"),
    ):
        content = (run / name).read_text()
        values = json.loads(content)
        (values[section] if section else values)[key] = "\ud800"
        (run / name).write_text(json.dumps(values))
        assert name in refusal(capsys)
        (run / name).write_text(content)
    forge_weights(run, metadata={"saved": '{"metadata": "\\ud800", "digests": {}}'})
    assert "best.safetensors is damaged" in refusal(capsys)


@pytest.mark.parametrize("value", [5, None, ["pt"], {"pt": 1}], ids=str)
def test_what_a_corpus_is_called_is_text(run, capsys, value):
    values = json.loads((run / "corpus.json").read_text())
    (run / "corpus.json").write_text(json.dumps({**values, "source_language": value}))
    assert "corpus.json is damaged" in refusal(capsys)


@pytest.mark.parametrize("name", ["config.json", "corpus.json", "best.safetensors", "tokenizer/joint.model"])
def test_a_directory_where_a_file_should_be(run, capsys, name):
    (run / name).unlink()
    (run / name).mkdir()
    refusal(capsys)


@pytest.mark.parametrize("kind, size", [("BF16", 2), ("F8_E4M3", 1), ("BOOL", 1)])
def test_types_that_numpy_lacks(tmp_path, kind, size):
    header = {"a": {"dtype": kind, "shape": [2], "data_offsets": [0, 2 * size]}}
    header["__metadata__"] = {"saved": '{"metadata": {}, "digests": {"a": ""}}'}
    packed = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(packed)) + packed + bytes(2 * size))
    with pytest.raises(DamagedError, match=f"'a' holds {kind} instead of float32"):
        load_arrays(tmp_path / "x", {"a": keras.Variable(np.zeros(2, "float32"))})


class Harm:
    """Pickled, it makes a file when it is loaded."""

    def __reduce__(self):
        return Path.touch, (Path("harm").absolute(),)


@pytest.mark.parametrize(
    "changes",
    [
        *({"step": value} for value in ("3", 3.0, True, None, [3], {}, -1, 10**19, 10**400)),
        *({"seconds": value} for value in ("1", 1, None, -0.5, 1e300, float("nan"), float("inf"))),
        *({"best_score": value} for value in ("1", None, float("nan"), float("inf"))),
        *({"losses": {"token": value}} for value in (-1e300, float("nan"), float("-inf"), "1", [1.0], {})),
        *({"counts": value} for value in ({"token": float("nan")}, {"word": 1.0}, [1.0], None)),
        *({name: -1} for name in ("epoch", "batch", "best_step", "worse", "skipped", "good_steps", "averaged_at")),
        *({name: 6} for name in ("best_step", "skipped", "averaged_at")),
        {"scale": -1.0},
        {"x" * 10**6: 1},
        {"step": "x" * 10**6},
        "no batch",
        "no object",
    ],
    ids=lambda changes: str(changes)[:30],
)
def test_facts_of_a_checkpoint_that_no_training_saved(tmp_path, changes):
    honest = dataclasses.asdict(TrainingState(step=5, losses={"token": 9.0}, counts={"token": 3.0}))
    path, variable = tmp_path / "last.safetensors", keras.Variable(np.zeros(2, np.float32))
    read = functools.partial(from_metadata, TrainingState)
    save_arrays(path, {"a": variable}, honest)
    assert load_arrays(path, {"a": variable}, read) == TrainingState(**honest)
    metadata = {**honest, **changes} if isinstance(changes, dict) else [honest]
    if changes == "no batch":
        metadata = {name: value for name, value in honest.items() if name != "batch"}
    save_arrays(path, {"a": keras.Variable(np.ones(2, np.float32))}, metadata)
    with pytest.raises(DamagedError) as error:
        load_arrays(path, {"a": variable}, read)
    assert str(error.value).startswith(f"{path} is damaged (") and len(str(error.value)) < 1000
    assert variable.numpy().tolist() == [0, 0]


@pytest.mark.parametrize("step, value", [(2, "1"), (-2, 1.0), (2, float("nan")), (2, float("inf")), (2.0, 1.0)])
def test_facts_of_kept_weights_that_no_training_saved(tmp_path, step, value):
    path, read = tmp_path / "2.safetensors", functools.partial(from_metadata, KeptWeights)
    save_arrays(path, {}, {"step": 2, "value": 1.0, "loss": 0.5})
    assert load_arrays(path, {}, read) == KeptWeights(2, 1.0, 0.5)
    wrong = {"step": step, "value": value, "loss": 0.5}
    for metadata in (wrong, {"step": 2, "value": 1.0, "loss": float("nan")}, {"step": 2}):
        save_arrays(path, {}, metadata)
        with pytest.raises(DamagedError, match="2.safetensors is damaged"):
            load_arrays(path, {}, read)


def vocabularies(run):
    return TokenizerPair.load(RunDirectory(run).vocabularies)


def keras_archive():
    """A model whose Lambda layer makes a file when it is loaded and called."""
    harm = str(Path("harm").absolute())
    keras.Sequential([keras.Input((1,)), keras.layers.Lambda(lambda x: open(harm, "w") and x)]).save("archive.keras")
    os.unlink(harm)  # it was called while it was made
    return Path("archive.keras").read_bytes()


def zipped_pickle():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Harm()))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "make", [lambda: pickle.dumps(Harm()), zipped_pickle, keras_archive], ids=["pickle", "pt", "keras"]
)
def test_code_in_place_of_weights_is_not_run(run, capsys, make):
    content = make()
    for name in ("best.safetensors", "best.keras", "best.pkl", "config.pkl", "tokenizer/tokenizer.pkl"):
        (run / name).write_bytes(content)
    assert "run/best.safetensors is damaged" in refusal(capsys)
    assert not Path("harm").exists()


def test_weights_that_end_too_early(run, capsys):
    content = (run / "best.safetensors").read_bytes()
    for size in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        (run / "best.safetensors").write_bytes(content[:size])
        assert "run/best.safetensors is damaged" in refusal(capsys)
    (run / "best.safetensors").write_bytes(struct.pack("<Q", 2**63) + content[8:])
    assert "run/best.safetensors is damaged" in refusal(capsys)


# Tokenizers


def forge_asset(run, asset, suffix=".model"):
    """Put a vocabulary in place, with the digest that fits."""
    kind = {".model": "sentencepiece", ".vocab.txt": "wordpiece"}[suffix]
    description = {"kind": kind, "joint": True, "sha256": {"joint": hashlib.sha256(asset).hexdigest()}}
    (run / "tokenizer" / f"joint{suffix}").write_bytes(asset)
    (run / "tokenizer" / "tokenizer.json").write_text(json.dumps(description))


def forged_model(run, change):
    proto = sentencepiece_model_pb2.ModelProto.FromString((run / "tokenizer" / "joint.model").read_bytes())
    change(proto)
    return proto.SerializeToString()


def crooked_trie(spec):
    """A rule table that leads far out of itself; tensorflow-text follows it into foreign memory."""
    trie = struct.pack("<256I", 0x7FFFFFFF, *[0x7FFFFFFF] * 255)
    spec.precompiled_charsmap = struct.pack("<I", len(trie)) + trie + b"x\0"


@pytest.mark.parametrize(
    "change",
    [
        lambda proto: setattr(proto.pieces[280], "piece", "a" * 200_000),
        lambda proto: setattr(proto.pieces[280], "piece", "a" * 101),
        lambda proto: setattr(proto.pieces[280], "piece", "\0"),
        lambda proto: setattr(proto.pieces[280], "piece", ""),
        lambda proto: setattr(proto.pieces[280], "piece", proto.pieces[281].piece),
        lambda proto: setattr(proto.pieces[280], "score", float("nan")),
        lambda proto: setattr(proto.pieces[5], "piece", "<0x-1>"),
        lambda proto: proto.ClearField("pieces"),
        lambda proto: proto.pieces.pop(0),
        lambda proto: crooked_trie(proto.normalizer_spec),
        lambda proto: crooked_trie(proto.denormalizer_spec),
        lambda proto: setattr(proto.normalizer_spec, "precompiled_charsmap", b"\xff\xff\xff\xff"),
    ],
)
def test_vocabularies_that_would_crash_the_process(run, capsys, change):
    forge_asset(run, forged_model(run, change))
    assert "tokenizer file run/tokenizer/joint.model is damaged" in refusal(capsys)


@pytest.mark.parametrize("pieces", [["a" * 300], ["\0"], ["\ufffd" * 200_000], [""], []], ids=lambda p: str(p)[:20])
def test_wordpiece_vocabularies_that_are_none(run, capsys, pieces):
    forge_asset(run, "\n".join([*RESERVED_TOKENS, *pieces, ""]).encode(), ".vocab.txt")
    assert "tokenizer file run/tokenizer/joint.vocab.txt is damaged" in refusal(capsys)


def test_huge_files_are_not_read_to_their_end(run, capsys):
    """Sparse files: they take no room on the disk."""
    os.truncate(run / "best.safetensors", 2**36)
    assert "run/best.safetensors is damaged" in refusal(capsys)
    for name in (
        "tokenizer/joint.model",
        "tokenizer/tokenizer.json",
        "config.json",
    ):  # in the order opposite to loading
        os.truncate(run / name, 2**36)
        assert f"{name} is longer than " in refusal(capsys)


@pytest.mark.parametrize("name", ["../joint", "/etc/passwd", "joint/../../outside", "source"])
def test_names_in_the_description_are_not_followed(run, capsys, name):
    description = json.loads((run / "tokenizer" / "tokenizer.json").read_text())
    description["sha256"] = {name: description["sha256"]["joint"]}
    (run / "tokenizer" / "tokenizer.json").write_text(json.dumps(description))
    assert "run/tokenizer/joint.model" in refusal(capsys)


# Places outside


@pytest.mark.parametrize(
    "name", ["config.json", "best.safetensors", "tokenizer", "tokenizer/joint.model", "tokenizer/tokenizer.json"]
)
@pytest.mark.parametrize("absolute", [True, False])
def test_links_out_of_the_directory_are_not_followed(run, capsys, name, absolute):
    outside = Path("outside", Path(name).name).absolute()
    outside.parent.mkdir()
    (run / name).rename(outside)
    (run / name).symlink_to(outside if absolute else os.path.relpath(outside, (run / name).parent))
    assert refusal(capsys).startswith(f"error: run/{name} is a link to a place outside run")


def test_links_within_the_directory_and_to_it_are_followed(run, capsys):
    (run / "best.safetensors").rename(run / "weights")
    (run / "best.safetensors").symlink_to("weights")
    run.rename("real")
    run.symlink_to("real")
    assert translate.main(["--run", "run", "sol"]) == 0


@pytest.mark.parametrize(
    "name", ["config.json", "best.safetensors", "tokenizer/joint.model", "tokenizer/tokenizer.json"]
)
def test_a_pipe_is_not_waited_for(run, capsys, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    assert refusal(capsys).startswith(f"error: run/{name} is a device or a pipe")


def test_a_circle_of_links(run, capsys):
    (run / "config.json").unlink()
    (run / "config.json").symlink_to("config.json")
    refusal(capsys)


@pytest.mark.parametrize("name", ["last.safetensors", "metrics.jsonl", "kept", "tensorboard", "kept/5.safetensors"])
def test_training_goes_on_in_the_directory_alone(run, name):
    (run / "kept").mkdir() if "/" in name else None
    (run / name).symlink_to(Path("outside").absolute())
    directory = RunDirectory(run)
    uses = {
        "last.safetensors": lambda: directory.weights("last"),
        "metrics.jsonl": lambda: directory.metrics,
        "kept": directory.all_kept_weights,
        "tensorboard": lambda: directory.board,
        "kept/5.safetensors": directory.all_kept_weights,
    }
    with pytest.raises(UserError, match="is a link to a place outside"):
        uses[name]()


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer/joint.model", "tokenizer/tokenizer.json", "corpus.json"])
@pytest.mark.parametrize("there", [True, False])
def test_a_new_run_overwrites_nothing_outside(run, name, there):
    """Links that somebody left where training would write; they may dangle."""
    outside = Path("outside", name)
    if there:
        outside.parent.mkdir(parents=True)
        (run / name).rename(outside)
    else:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    (run / name).symlink_to(outside.absolute())
    before = {path: path.read_bytes() for path in Path("outside").rglob("*") if path.is_file()}
    config, tokenizers = RunDirectory(run).config(), train_tokenizers(lambda: iter([("a", "b")]), tiny_config(run).text)
    for path in ("config.json", "best.safetensors"):
        (run / path).unlink()
    assert not RunDirectory(run).exists()
    with pytest.raises(UserError, match=f"{name} is a link to a place outside run"):
        RunDirectory(run).create(config, tokenizers, {"name": "other"})
    assert {path: path.read_bytes() for path in Path("outside").rglob("*") if path.is_file()} == before
    assert not (run / "config.json").exists()


def test_drafts_are_neither_written_nor_cleared_through_links(run):
    outside = Path("outside")
    outside.mkdir()
    (outside / ".5.safetensors.1").write_text("mine")
    (run / f".last.safetensors.{os.getpid()}").symlink_to((outside / ".5.safetensors.1").absolute())
    save_arrays(run / "last.safetensors", {})
    assert (outside / ".5.safetensors.1").read_text() == "mine" and not (run / "last.safetensors").is_symlink()
    (run / "kept").symlink_to(outside.absolute())
    with pytest.raises(UserError, match="is a link to a place outside"):
        RunDirectory(run).remove_drafts()
    assert (outside / ".5.safetensors.1").read_text() == "mine"


def test_metrics_that_are_none(run):
    (run / "metrics.jsonl").write_text("")
    os.truncate(run / "metrics.jsonl", 2**36)
    with pytest.raises(UserError, match=r"metrics\.jsonl is longer than 268,435,456 bytes"):
        RunDirectory(run).truncate_metrics(3)
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"cannot read run/metrics\.jsonl: Is a directory"):
        RunDirectory(run).truncate_metrics(3)


# What the refusals rest on


@pytest.mark.parametrize("embeddings", ["separate", "target", "shared"])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_names_and_shapes_of_weights_are_known_as_they_are_built(embeddings, norm_first, num_layers):
    sizes = {"num_layers": num_layers, "d_model": 6, "num_heads": 3, "dff": 5}
    sizes |= {"embeddings": embeddings, "norm_first": norm_first}
    config = tiny_config(Path("unused"), model=sizes, text={"joint": embeddings == "shared"})
    tokenizers = train_tokenizers(lambda: iter([("abc abd", "x y z w v")] * 9), config.text)
    built = model_variables(build_model(config.model, tokenizers))
    assert weight_shapes(Translation(config, tokenizers, {})) == {
        name: tuple(variable.shape) for name, variable in built.items()
    }


def test_shapes_of_a_model_larger_than_memory(honest):
    """3.9 thousand million weights: 16 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sizes = {"num_layers": 64, "d_model": 1024, "num_heads": 16, "dff": 12_000}
    shapes = weight_shapes(Translation(tiny_config(honest, model=sizes), vocabularies(honest), {}))
    layer = 3 * 4 * 1024 * 1025 + 2 * (2 * 1024 * 12_000 + 13_024) + 5 * 2 * 1024  # attention, feed-forward, norms
    vocabulary = vocabularies(honest).source.vocabulary_size
    assert sum(map(math.prod, shapes.values())) == 64 * layer + 1024 * vocabulary
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < MOST_MEMORY


def test_variables_that_were_only_asked_for_their_shapes_are_never_made(honest):
    """Keras makes those that wait for it at the end of a scope, such as that of a functional model."""
    sizes = {"d_model": 4096, "dff": 4096}  # a gigabyte
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    weight_shapes(Translation(tiny_config(honest, model=sizes), vocabularies(honest), {}))
    inputs = keras.Input((3,))
    keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.Dense(2)(inputs)))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < MOST_MEMORY


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])  # a second each: a model, a graph
def test_changed_bytes_either_translate_or_are_told(run, capsys, honest, count):
    """Bytes of every file are changed, cut or doubled; the digests of vocabularies and of weights fit them anyway."""
    chance, told = random.Random(28 + count), 0
    names = ["config.json", "corpus.json", "tokenizer/tokenizer.json", "tokenizer/joint.model", "best.safetensors"]
    for _ in range(count):
        shutil.rmtree(run)
        shutil.copytree(honest, run)
        name = chance.choice(names)
        if name == "best.safetensors" and chance.random() < 0.7:
            saved_as(run, lambda array: np.frombuffer(mutated_numbers(array, chance), array.dtype).reshape(array.shape))
        elif name == "tokenizer/joint.model":
            forge_asset(run, mutated((run / name).read_bytes(), chance))
        else:
            (run / name).write_bytes(mutated((run / name).read_bytes(), chance))
        code = translate.main(["--run", "run", "sol mar rio", "um"])
        out, err = capsys.readouterr()
        assert code in (0, 1) and "Traceback" not in err, err
        if code:
            told += 1
            assert err.startswith("error: ") and err.count("\n") == 1, err
            assert len(err) < 1500 and err[:-1].isprintable()
        else:
            assert out.count("\n") == 2
    assert told > count / 4


def mutated_numbers(array, chance):
    content = bytearray(array.tobytes())
    for _ in range(chance.randint(1, 50)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)
