"""The trainer on a task whose loss has two parts with two denominators, a toy of which it knows nothing.

What resuming, accumulation and replicas must not change is tested with the language model too.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from tiny_run import language_model, masked_model, tiny_config

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.data.batches import batches
from transformer.losses.cross_entropy import token_losses
from transformer.tasks import load_task
from transformer.training.trainer import Trainer

pytestmark = pytest.mark.slow  # graphs of several tasks, and processes that train

TOY = f"{ROOT}/tests/tasks/toy_task.py:Toy"
RECIPE = {"schedule": "inverse_sqrt", "peak_learning_rate": 0.02, "warmup_steps": 2, "log_every": 1}


@pytest.fixture(scope="module", autouse=True)
def _toy():
    load_task(TOY)


def toy_config(folder, model=None, **training):
    config = tiny_config(folder, model={"dropout_rate": 0.0, **(model or {})}, task={"name": "toy"})
    return config.override({"data": {"batch_tokens": 32, "max_tokens": 8}, "training": {**RECIPE, **training}})


def text_config(folder, model=None, **training):
    # The gradient of the keys' bias is zero but for rounding, which Adam enlarges.
    config = language_model(folder, model={"dropout_rate": 0.0, "use_bias": False, **(model or {})})
    return config.override({"data": {"batch_tokens": 64}, "training": {**RECIPE, **training}})


def pairs_config(folder, model=None, **training):
    config = masked_model(folder, model={"dropout_rate": 0.0, "use_bias": False, **(model or {})})
    return config.override({"data": {"batch_tokens": 64}, "training": {**RECIPE, **training}})


CONFIGS = {"toy": toy_config, "language-model": text_config, "masked-lm": pairs_config}


@pytest.fixture
def make(tmp_path, request):
    """Return a function from settings to a trainer of the toy, or of the task that the test names."""
    config_of = CONFIGS[getattr(request, "param", "toy")]

    def make_trainer(run="run", **changes):
        return Trainer(config_of(tmp_path, **changes), RunDirectory(tmp_path / run))

    return make_trainer


def some_batches(trainer, count):
    return list(batches(trainer.data.shards, trainer.data.task, trainer.config.data, seed=3).take(count))


def joined(parts):
    """Return several batches as one, padded to common widths."""
    features = {}
    for name in parts[0]:
        ids = [part[name] for part in parts]
        if ids[0].shape.rank == 2:
            width = max(part.shape[1] for part in ids)
            ids = [tf.pad(part, [[0, 0], [0, width - part.shape[1]]]) for part in ids]
        features[name] = tf.concat(ids, axis=0)
    return features


def weights(trainer):
    return [variable.numpy() for variable in trainer.model.trainable_variables]


def metrics(run):
    return [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]


def test_a_step_follows_the_sum_of_both_means(make):
    trainer = make(clip_norm=0.0)
    (batch,) = some_batches(trainer, 1)
    ids, labels = batch["ids"].numpy(), batch["label"].numpy()
    with tf.GradientTape() as tape:
        tokens, rows = trainer.model(batch["noisy"], training=True)
        per_token = token_losses(batch["ids"], tokens, 0.0)[ids > 0]
        per_row = token_losses(batch["label"] - 1, rows, 0.0)[labels > 0]
        loss = tf.reduce_mean(per_token) + tf.reduce_mean(per_row)
    gradients = tape.gradient(loss, trainer.model.trainable_variables)
    norm = np.sqrt(sum(np.sum(tf.convert_to_tensor(g).numpy() ** 2) for g in gradients))
    result = trainer.steps.train([batch])
    assert result.counts == {"token": np.sum(ids > 0), "row": np.sum(labels > 0)}
    assert result.counts["token"] > 2 * result.counts["row"]
    assert result.losses["token"] == pytest.approx(float(tf.reduce_sum(per_token)), rel=1e-5)
    assert result.losses["row"] == pytest.approx(float(tf.reduce_sum(per_row)), rel=1e-5)
    assert result.norm == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("make", CONFIGS, indirect=True)
def test_accumulated_steps_are_steps_on_the_big_batch(make):
    small, big = make("small", accumulate=3), make("big")
    every, counts = some_batches(small, 9), small.data.task.counts
    assert len({float(counts(batch)["token"]) / len(batch["ids"]) for batch in every}) > 1  # tokens per row
    for step in range(3):
        parts = every[3 * step : 3 * step + 3]
        ours, theirs = small.steps.train(parts), big.steps.train([joined(parts)])
        assert ours.counts == theirs.counts and ours.applied
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-6)
        assert ours.norm == pytest.approx(theirs.norm, rel=1e-6)
    for one, other in zip(weights(small), weights(big), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision, bad_steps", [("float16", "stop"), ("float32", "skip")])
def test_gathered_gradients_are_those_of_one_graph(make, precision, bad_steps):
    gathered, plain = make("gathered", precision=precision, bad_steps=bad_steps), make("plain")
    (batch,) = some_batches(plain, 1)
    ours, theirs = gathered.steps.train([batch]), plain.steps.train([batch])
    assert ours.norm == pytest.approx(theirs.norm, rel=1e-6 if precision == "float32" else 0.02)


def test_rows_that_do_not_stand_alone_are_not_cut(make, monkeypatch):
    trainer = make()
    assert trainer.steps.micro_batches == 2
    monkeypatch.setattr(type(trainer.data.task), "rows_stand_alone", False)
    assert make("other").steps.micro_batches == 1


# What holds for the toy holds for any task; this shows that the task keeps its side.
LENGTH = {"max_steps": 9, "validate_every": 4, "averaging": 0.8, "average_checkpoints": 2, "score_examples": 4}
DROPOUT = {"dropout_rate": 0.2}


@pytest.mark.parametrize("make", CONFIGS, indirect=True)
def test_a_killed_run_goes_on_bit_by_bit(make):
    whole = make("whole", model=DROPOUT, **LENGTH)
    whole.train()
    killed = make("killed", model=DROPOUT, **LENGTH)
    train = killed.steps.train

    def train_or_die(step_batches):
        if killed.state.step == 6:
            raise KeyboardInterrupt
        return train(step_batches)

    killed.steps.train = train_or_die
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed = make("killed", model=DROPOUT, **LENGTH)
    assert resumed.state.step == 4
    resumed.train()
    for name, variable in resumed._variables().items():
        np.testing.assert_array_equal(variable.numpy(), whole._variables()[name].numpy(), err_msg=name)
    times = ("seconds", "tokens_per_second", "waiting_for_data")
    ours, theirs = (
        [{k: v for k, v in line.items() if k not in times} for line in metrics(t.run)] for t in (resumed, whole)
    )
    assert ours == theirs
    task, network = load(whole.run)
    if task.name == "language-model":
        assert {"loss", "perplexity", "byte_perplexity", "bits_per_byte"} <= set(theirs[-1])
        return
    if task.name == "masked-lm":
        assert {"loss_token", "loss_sentence", "masked_accuracy", "sentence_accuracy"} <= set(theirs[-1])
        return
    assert {"loss", "loss_token", "loss_row", "accuracy"} <= set(theirs[-1])
    assert task.name == "toy" and len(task.predict(network, [[2, 4], [3]])) == 2


def test_the_log_tells_each_part(make, capsys):
    trainer = make(**LENGTH)
    trainer.train()
    line = metrics(trainer.run)[0]
    assert line["loss"] == pytest.approx(line["loss_token"] + line["loss_row"], abs=1e-5)
    told = capsys.readouterr().err
    assert "nats (token " in told or "nats (row " in told
    assert "longer than 6" in told and ", accuracy " in told


PROCESS = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from transformer.tasks import load_task
load_task(sys.argv[1])
from transformer.config.run import Config
from transformer.training.trainer import train
train(Config.from_json(open(sys.argv[2]).read()), sys.argv[3], tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
"""


@pytest.mark.parametrize("make", CONFIGS, indirect=True)
def test_two_devices_give_the_curve_of_one(make, tmp_path):
    alone = make("alone", max_steps=6, validate_every=3)
    alone.train()
    stored = tmp_path / "config.json"
    stored.write_text(alone.config.to_json(), encoding="utf-8")
    command = [sys.executable, "-c", PROCESS, TOY, str(stored), str(tmp_path / "two")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    two = RunDirectory(tmp_path / "two")
    for ours, theirs in zip(metrics(two), metrics(alone.run), strict=True):
        for name in {"step", "loss", "loss_token", "loss_row"} & theirs.keys():
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5)
