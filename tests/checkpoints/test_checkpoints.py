"""Run directories: nothing half-written, nothing half-loaded, and a clear word for whatever is wrong."""

import errno
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors.numpy
from conftest import ROOT
from tiny_run import pairs, tiny_config

from transformer.checkpoints.arrays import load_arrays, model_variables, numbered, save_arrays, write_atomically
from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import BEST, LAST, RunDirectory, check_same_run
from transformer.data.tokenizers.learning import train_tokenizers
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import build_model

CORPUS = {"name": "a corpus", "source_language": "pt", "target_language": "en", "fingerprint": "0123"}
SOURCE, TARGET_IN = [[2, 70, 71, 3]], [[2, 265, 266]]


@pytest.fixture(scope="module")
def tokenizers():
    return train_tokenizers(lambda: iter(pairs(60)), tiny_config(Path("unused")).text)


@pytest.fixture
def run(tmp_path, tokenizers):
    """A run whose best weights are those of an untrained model."""
    run = RunDirectory(tmp_path / "run")
    config = tiny_config(tmp_path)
    keras.utils.set_random_seed(3)
    run.create(config, tokenizers, CORPUS)
    save_arrays(run.weights(BEST), model_variables(build_model(config.model, tokenizers)), {"step": 7})
    return run


def vocabularies(run):
    return TokenizerPair.load(run.vocabularies)


def failure(call, *arguments):
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def some_variables(value=0.0):
    return {name: keras.Variable(np.full(shape, value, "float32")) for name, shape in (("a", (2, 3)), ("b", (4,)))}


def values(variables):
    return {name: variable.numpy().tolist() for name, variable in variables.items()}


def test_arrays_and_facts_come_back(tmp_path):
    saved = {
        "a": keras.Variable(np.arange(6, dtype="float32").reshape(2, 3)),
        "state": keras.Variable(np.array([2**32 - 1, 5], "uint32"), dtype="uint32"),
        "step": keras.Variable(2**40, dtype="int64"),
    }
    metadata = {"step": 3, "best_score": float("-inf"), "name": "é"}
    save_arrays(tmp_path / "x.safetensors", saved, metadata)
    fresh = {name: keras.Variable(np.zeros(v.shape, v.dtype), dtype=v.dtype) for name, v in saved.items()}
    assert load_arrays(tmp_path / "x.safetensors", fresh) == metadata
    assert values(fresh) == values(saved)
    part = {"a": keras.Variable(np.zeros((2, 3), "float32"))}  # what else the file holds is not read
    load_arrays(tmp_path / "x.safetensors", part)
    assert values(part)["a"] == [[0, 1, 2], [3, 4, 5]]
    assert os.listdir(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "weights"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        message = failure(write_atomically, path, b"new")
    assert str(path) in message and "No space left" in message
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["weights"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["weights"]


def test_an_interrupted_write_leaves_no_draft(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "weights", b"new")
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write" in failure(write_atomically, tmp_path / "missing" / "x", b"")
    assert "cannot write" in failure(write_atomically, tmp_path / "file" / "x", b"")


def stored(variables, metadata=None):
    return safetensors.numpy.save({name: v.numpy() for name, v in variables.items()}, metadata)


def test_a_truncated_file_is_refused_at_every_length_and_assigns_nothing(tmp_path):
    path = tmp_path / "x.safetensors"
    save_arrays(path, some_variables(1.0))
    whole = path.read_bytes()
    variables = some_variables()
    for length in {0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 4, len(whole) - 1}:
        path.write_bytes(whole[:length])
        message = failure(load_arrays, path, variables)
        assert f"{path} is damaged" in message and "train the run again" in message
    assert values(variables) == values(some_variables())


class Harm:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickles_and_npz_are_refused_and_not_run(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, **{name: v.numpy() for name, v in some_variables(1.0).items()})
    harm = tmp_path / "harm"
    objects = np.empty(1, object)
    objects[0] = Harm(harm)
    odd = io.BytesIO()
    np.save(odd, objects, allow_pickle=True)
    path, variables = tmp_path / "x.safetensors", some_variables()
    for content in (buffer.getvalue(), pickle.dumps(Harm(harm)), odd.getvalue(), b"\x89HDF\r\n\x1a\n" + bytes(99)):
        path.write_bytes(content)
        assert "is damaged" in failure(load_arrays, path, variables)
    assert not harm.exists() and values(variables) == values(some_variables())


@pytest.mark.parametrize("fault", ["shape", "name", "no facts", "bad facts", "missing", "directory"])
def test_nothing_is_assigned_unless_all_of_it_fits(tmp_path, fault):
    path, variables, full = tmp_path / "x.safetensors", some_variables(), some_variables(1.0)
    metadata = {"metadata": "{}"}
    if fault == "shape":
        path.write_bytes(stored({**full, "b": keras.Variable(np.ones((5,), "float32"))}, metadata))
        words = ["another architecture", "'b' has shape (5,)", "wants (4,)"]
    elif fault == "name":
        path.write_bytes(stored({"a": full["a"], "c": full["b"]}, metadata))
        words = ["another architecture", "'b' is missing"]
    elif fault == "no facts":
        path.write_bytes(stored(full))
        words = ["is damaged"]
    elif fault == "bad facts":
        path.write_bytes(stored(full, {"metadata": "{"}))
        words = ["is damaged"]
    elif fault == "missing":
        words = ["is missing", "-m transformer train"]
    else:
        path.mkdir()
        words = ["is damaged"]
    message = failure(load_arrays, path, variables)
    assert str(path) in message and all(word in message for word in words)
    assert values(variables) == values(some_variables())


def test_every_weight_has_a_name_of_its_own_the_same_in_each_model(tmp_path, tokenizers):
    config = tiny_config(tmp_path).model
    first, second = build_model(config, tokenizers), build_model(config, tokenizers)
    assert len(model_variables(first)) == len(first.trainable_variables)
    shapes = [{name: tuple(v.shape) for name, v in model_variables(model).items()} for model in (first, second)]
    assert shapes[0] == shapes[1]
    assert sorted(numbered("random", first.non_trainable_variables)) == [f"random/{i:04d}" for i in range(7)]


@pytest.mark.slow  # a process that imports TensorFlow
def test_a_saved_run_gives_the_same_logits_in_a_fresh_process(run):
    _, model = load(run)
    expected = model((np.array(SOURCE), np.array(TARGET_IN)), training=False).numpy()
    code = (
        "import sys, numpy as np\n"
        "from transformer.checkpoints.loading import load\n"
        "from transformer.checkpoints.run_directory import RunDirectory\n"
        "task, model = load(RunDirectory(sys.argv[1]))\n"
        f"logits = model((np.array({SOURCE}), np.array({TARGET_IN})), training=False)\n"
        "np.save(sys.argv[2], logits.numpy())\n"
        "print(task.vocabularies.fingerprint(), task.config.model.dff)\n"
    )
    out = run.path.parent / "logits.npy"
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.path), str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    np.testing.assert_array_equal(np.load(out), expected)
    assert done.stdout.split() == [vocabularies(run).fingerprint(), "32"]
    assert expected.shape == (1, 3, vocabularies(run).target.vocabulary_size) and np.ptp(expected) > 0.1


def test_a_run_directory_is_complete_by_itself(run, tokenizers):
    assert run.exists()
    assert sorted(entry.name for entry in run.path.iterdir()) == [
        "best.safetensors",
        "config.json",
        "corpus.json",
        "tokenizer",
    ]
    assert run.config() == tiny_config(run.path.parent)
    assert run.corpus() == CORPUS
    assert vocabularies(run).fingerprint() == tokenizers.fingerprint()


def test_what_a_run_lacks_is_named(run):
    assert failure(load, run, LAST).endswith("has no last weights yet; train it with python -m transformer train first")
    run.weights(BEST).replace(run.weights(LAST))
    assert failure(load, run).endswith("until then take those of --weights last")
    load(run, LAST)
    (run.path / "tokenizer" / "tokenizer.json").unlink()
    assert "tokenizer.json" in failure(load, run)
    (run.path / "corpus.json").write_text('{"name": 3}')
    assert f"{run.path / 'corpus.json'} is damaged" in failure(run.corpus)
    (run.path / "corpus.json").unlink()
    assert "is incomplete: no corpus.json" in failure(run.corpus)
    (run.path / "config.json").write_bytes(b"\xff")
    assert "config.json is damaged" in failure(load, run)
    (run.path / "config.json").unlink()
    assert "is incomplete: no config.json" in failure(load, run)


def test_weights_of_another_architecture_are_refused(run):
    text = (run.path / "config.json").read_text()
    assert '"dff": 32' in text
    (run.path / "config.json").write_text(text.replace('"dff": 32', '"dff": 48'))
    message = failure(load, run)
    assert "best.safetensors is of another architecture" in message and "(16, 32)" in message and "(16, 48)" in message


def test_places_that_hold_no_run(tmp_path):
    missing = RunDirectory(tmp_path / "missing")
    assert not missing.exists()
    assert f"there is no run directory {missing.path}" in failure(load, missing)
    long = RunDirectory("a" * 300)
    assert failure(load, long) == f"cannot read run directory {long.path}: File name too long; name another one"

    (tmp_path / "file").write_text("text")
    assert "is a file; choose another --run" in failure(RunDirectory(tmp_path / "file").exists)
    assert failure(load, RunDirectory(tmp_path / "file")).endswith("file: it is a file; name the directory of a run")

    (tmp_path / "empty").mkdir()
    assert not RunDirectory(tmp_path / "empty").exists()
    assert "is incomplete: no config.json" in failure(load, RunDirectory(tmp_path / "empty"))

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    assert "is not empty and holds no run" in failure(RunDirectory(tmp_path / "photos").exists)


def test_a_place_beside_a_run_or_above_it_names_the_run(run, monkeypatch):
    runs = run.path.parent
    mistyped = failure(load, RunDirectory(runs / "rnu"))
    assert mistyped == (
        f"there is no run directory {runs / 'rnu'}; train it with python -m transformer train or "
        "name another one. Did you mean 'run'?"
    )
    assert failure(load, RunDirectory(runs)) == (
        f"run directory {runs} is incomplete: no config.json; name one of the runs in it: {run.path}"
    )
    monkeypatch.chdir(run.path)  # a relative path is looked for where the command is given
    assert failure(load, RunDirectory("runs/x")) == (
        f"there is no run directory runs/x in {run.path}; train it with python -m transformer train or name another one"
    )


def test_a_process_killed_while_it_began_a_run_does_not_block_the_next(run, tokenizers):
    (run.path / "config.json").unlink()  # written last
    (run.path / "best.safetensors").unlink()
    assert not run.exists()
    run.create(tiny_config(run.path), tokenizers, CORPUS)
    assert run.exists()


def test_a_run_directory_that_cannot_be_made_is_told(tmp_path, tokenizers):
    (tmp_path / "file").write_text("")
    run = RunDirectory(tmp_path / "file" / "run")
    assert "cannot write run directory" in failure(run.create, tiny_config(tmp_path), tokenizers, CORPUS)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"model": {"dff": 64}}, ["model.dff is 64 here, 32 there"]),
        ({"text": {"joint": False}}, ["text.joint is False here, True there"]),
        (
            {"task": {"source_language": "es"}, "data": {"max_tokens": 20}},
            ["20 here, 24 there", "'es' here"],
        ),
        ({"cleaning": {"max_ratio": 2.0}}, ["cleaning.max_ratio is 2.0 here, 0.0 there"]),
        ({"training": {"seed": 9}}, ["training.seed is 9 here, 1 there"]),
    ],
)
def test_continuing_as_another_run_is_refused_by_the_settings_name(tmp_path, change, words):
    stored = tiny_config(tmp_path)
    message = failure(check_same_run, stored, stored.override(change), Path("runs/x"))
    assert message.startswith("runs/x holds another run") and "to continue it give the config and the flags" in message
    for word in words:
        assert word in message


def test_length_logging_search_and_places_may_change(tmp_path):
    stored = tiny_config(tmp_path)
    free = {
        "training": {
            "max_steps": 9,
            "max_minutes": 1.0,
            "validate_every": 2,
            "score_examples": 1,
            "log_every": 1,
        },
        "data": {"train": ["a", "b"], "valid": ["c", "d"], "test": ["e", "f"], "cache": "g"},
        "search": {"beam_size": 9, "length_penalty": 1.0, "max_length": 5},
    }
    check_same_run(stored, stored.override(free), Path("runs/x"))


def test_metrics_behind_the_position_are_dropped(run):
    run.truncate_metrics(5)  # no metrics yet
    lines = [json.dumps({"event": "train", "step": step}) + "\n" for step in (2, 4, 4, 6)]
    run.metrics.write_text("".join(lines) + '{"event": "tra')
    run.truncate_metrics(4)
    assert run.metrics.read_text() == "".join(lines[:3])
    strange = ["[1]", "{}", "null", '{"step": null}', '{"step": [4]}', '{"step": NaN}', '{"step": 1' + "0" * 400 + "}"]
    run.metrics.write_text("".join(lines) + "\n".join(strange) + "\n" + "[" * 100_000)
    run.truncate_metrics(4)
    assert run.metrics.read_text() == "".join(lines[:3])


def test_models_that_cannot_be_built_are_refused_with_the_setting(tmp_path, tokenizers):
    model = tiny_config(tmp_path, model={"activation": "rellu"}).model
    assert "model.activation 'rellu' is unknown" in failure(build_model, model, tokenizers)
    two = TokenizerPair(tokenizers.source, type(tokenizers.source)(tokenizers.source.asset))
    assert "needs text.joint = true" in failure(build_model, tiny_config(tmp_path).model, two)
