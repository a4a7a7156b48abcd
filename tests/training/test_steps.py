"""Steps of several batches, of low precision, and steps that are better left out."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from shared_graphs import Trainer
from tiny_run import tiny_config, write_corpus

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.presets import read_config
from transformer.config.run import Config
from transformer.config.settings import TrainingConfig
from transformer.data.batches import batches
from transformer.system.errors import UserError
from transformer.training import steps as steps_room
from transformer.training import trainer as training_room
from transformer.training.optimizer import build_optimizer, build_schedule, optimizer_warnings

pytestmark = pytest.mark.slow  # graphs of steps of many kinds

PLAIN = {"schedule": "inverse_sqrt", "peak_learning_rate": 0.01, "clip_norm": 0.05}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return a function from settings of [training] to a trainer on one corpus, without dropout.

    A new one has steps of its own, of which no graph has been made.
    """
    folder = tmp_path_factory.mktemp("steps")
    data = write_corpus(folder)

    def make_trainer(new=False, **training):
        config = tiny_config(folder, data, model={"dropout_rate": 0.0}, training={**PLAIN, **training})
        kind = training_room.Trainer if new else Trainer
        return kind(config, RunDirectory(tmp_path_factory.mktemp("run") / "run"))

    return make_trainer


@pytest.fixture(scope="module")
def some(make):
    """Return some batches of different sizes."""
    trainer = make()
    found = list(batches(trainer.data.shards, trainer.data.task, trainer.config.data, seed=3))
    assert len({batch["target_out"].shape for batch in found}) > 1
    return found


def weights(trainer):
    return [variable.numpy() for variable in trainer.model.trainable_variables]


def joined(parts):
    """Return several batches as one, padded to common widths."""
    features = {}
    for name in parts[0]:
        ids = [part[name] for part in parts]
        width = max(part.shape[1] for part in ids)
        features[name] = tf.concat([tf.pad(part, [[0, 0], [0, width - part.shape[1]]]) for part in ids], axis=0)
    return features


def same_result(ours, theirs):
    assert ours.counts == theirs.counts
    assert (ours.losses["token"], ours.norm) == pytest.approx((theirs.losses["token"], theirs.norm), rel=1e-5)


def test_gradients_of_several_batches_sum_to_those_of_one_big_batch(make, some):
    trainer, parts = make(accumulate=3), some[:3]
    for part in parts:
        trainer.steps.accumulate_step(part, tf.constant([1.0]))
    gathered = [variable.numpy() for variable in trainer.steps._sums]
    with tf.GradientTape() as tape:
        total = trainer.steps.losses(joined(parts), training=True)["token"]
    expected = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(total, trainer.model.trainable_variables)]
    assert len({int(tf.math.count_nonzero(part["target_out"])) for part in parts}) > 1  # unlike token counts
    size = {v.path: np.linalg.norm(g) for v, g in zip(trainer.model.trainable_variables, expected, strict=True)}
    for variable, one, other in zip(trainer.model.trainable_variables, gathered, expected, strict=True):
        path = variable.path
        if path.endswith("wk/bias"):  # adds the same to all scores of a query, so that its gradient is 0 but for noise
            path = path.replace("bias", "kernel")
        error = np.linalg.norm(one - other) / size[path]
        assert error < 1e-6, (variable.path, error)


def test_parallel_micro_batches_make_the_same_step(make, some):
    one, two = make(), make(new=True)
    assert (one.steps.micro_batches, two.steps.micro_batches) == (1, 2)
    a_row = {name: ids[:1] for name, ids in some[1].items()}  # leaves one micro-batch empty
    batches_of_any_size = [some[0], a_row, some[2]]
    for batch in batches_of_any_size:
        ours, theirs = two.steps.train([batch]), one.steps.train([batch])
        same_result(ours, theirs)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_adam_is_that_of_keras(weight_decay):
    generator = np.random.default_rng(0)
    start = generator.normal(size=(3, 2)).astype(np.float32)
    ours, theirs = keras.Variable(start), keras.Variable(start)
    config = Config().override(
        {"training": {"schedule": "cosine", "peak_learning_rate": 0.1, "warmup_steps": 2, "weight_decay": weight_decay}}
    )
    mine = build_optimizer(config, [ours])
    training = config.training
    other = keras.optimizers.AdamW(
        build_schedule(config), weight_decay, training.beta_1, training.beta_2, training.epsilon
    )
    other.build([theirs])
    for _ in range(5):
        gradient = tf.constant(generator.normal(size=(3, 2)), tf.float32)
        mine.apply([gradient], [ours])
        other.apply([gradient], [theirs])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5)
    assert np.abs(ours.numpy() - start).max() > 0.1


def test_the_share_of_the_first_weights_in_a_moving_average_is_told():
    decay, steps, share = 0.998, 500, 1.0
    for _ in range(steps):
        share *= decay
    training = TrainingConfig(max_steps=steps, warmup_steps=100, averaging=decay)
    (warning,) = optimizer_warnings(training)
    assert warning.startswith(f"with averaging = 0.998, {100 * share:.0f}% of the averaged weights are still those of")
    assert warning.endswith("after 500 steps; set training.averaging to at most 0.99")
    assert optimizer_warnings(dataclasses.replace(training, averaging=0.99)) == []
    assert optimizer_warnings(dataclasses.replace(training, averaging=0.991)) != []


def test_a_warm_up_that_does_not_end_is_told():
    training = TrainingConfig(max_steps=500, warmup_steps=500)
    told = "the learning rate rises to the end: warmup_steps is 500, max_steps 500; set training.warmup_steps = 50"
    assert optimizer_warnings(training) == [told]
    assert optimizer_warnings(dataclasses.replace(training, warmup_steps=499)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_the_configs_suit_their_length(path):
    assert optimizer_warnings(read_config(path).training) == []


def test_accumulated_steps_are_steps_on_the_big_batch(make, some):
    small, big = make(accumulate=3), make()
    for number in (0, 3):
        parts = some[number : number + 3]
        ours, theirs = small.steps.train(parts), big.steps.train([joined(parts)])
        assert ours.applied
        same_result(ours, theirs)
    for variable, one, other in zip(small.model.trainable_variables, weights(small), weights(big), strict=True):
        if "wk/bias" not in variable.path:  # its gradient is zero but for rounding, of which Adam makes whole steps
            np.testing.assert_allclose(one, other, atol=2e-4, err_msg=variable.path)


def test_an_accumulating_run_uses_every_batch_once_and_resumes(make):
    trainer = make(accumulate=3, max_steps=4, validate_every=2)
    assert trainer.train().step == 4
    per_epoch = sum(1 for _ in batches(trainer.data.shards, trainer.data.task, trainer.config.data, seed=1))
    state = trainer.state
    assert state.epoch * per_epoch + state.batch == 12


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_learns_and_keeps_float32_weights(make, precision):
    trainer = make(precision=precision, max_steps=12, validate_every=6, clip_norm=1.0)
    assert trainer.model.encoder.stack[0].mha.wq.compute_dtype == precision
    trainer.train()
    lines = trainer.run.metrics.read_text(encoding="utf-8").splitlines()
    first, last = (float(line.split('"loss": ')[1].split(",")[0]) for line in lines if "validation" in line)
    assert last < first < math.log(300) + 1
    assert {variable.dtype for variable in trainer.model.trainable_variables} == {"float32"}
    assert load(trainer.run)[1].compute_dtype == "float32"


def test_float16_scales_the_loss_and_finds_its_scale(make, some, monkeypatch):
    trainer, plain = make(precision="float16"), make()
    before = weights(trainer)
    trainer.steps.scale = 2.0**40  # overflows
    assert not trainer.steps.train([some[0]]).applied
    assert trainer.steps.scale == 2.0**39
    for one, other in zip(weights(trainer), before, strict=True):
        np.testing.assert_array_equal(one, other)
    trainer.steps.scale = 2.0**10
    monkeypatch.setattr("transformer.training.steps.GROW_AFTER", 2)
    ours, theirs = trainer.steps.train([some[0]]), plain.steps.train([some[0]])
    assert ours.applied and trainer.steps.scale == 2.0**10
    assert ours.norm == pytest.approx(theirs.norm, rel=0.02)  # of the unscaled gradient, to float16's 11 bits
    trainer.steps.train([some[1]])
    assert trainer.steps.scale == 2.0**11


def poison(trainer, bad_calls):
    """Make the gradient of some calls no number."""
    steps, gather = trainer.steps, trainer.steps.accumulate_step
    calls = iter(range(10**6))

    def accumulate_step(*arguments):
        losses = gather(*arguments)
        if next(calls) in bad_calls:
            steps._sums[0].assign(steps._sums[0] * math.nan)
        return losses

    accumulate_step.experimental_get_tracing_count = gather.experimental_get_tracing_count
    steps.accumulate_step = accumulate_step


def test_a_bad_step_can_be_left_out(make, capsys):
    trainer = make(bad_steps="skip", max_steps=6, validate_every=6, log_every=6)
    poison(trainer, {2, 3})
    trainer.train()
    told = capsys.readouterr().err
    assert told.count("this step is skipped") == 2 and "norm nan at step 3; this step is skipped" in told
    assert (trainer.state.step, trainer.state.skipped, trainer.state.skipped_in_a_row) == (6, 2, 0)
    assert int(trainer.optimizer.iterations.numpy()) == 4
    assert all(np.isfinite(value).all() for value in weights(trainer))
    assert '"skipped": 2' in trainer.run.metrics.read_text(encoding="utf-8")


def test_too_many_bad_steps_in_a_row_end_the_run(make, monkeypatch):
    monkeypatch.setattr(training_room, "MOST_SKIPPED", 3)
    trainer = make(bad_steps="skip", max_steps=20)
    poison(trainer, set(range(4, 20)))
    with pytest.raises(
        UserError, match="at step 7, after 2 other bad steps in a row; lower training.peak_learning_rate"
    ):
        trainer.train()


def test_an_exploding_loss_is_a_bad_step(make, some):
    trainer = make()
    limit = 2 * math.log(trainer.data.task.vocabularies.target.vocabulary_size)
    for loss, norm, bad in ((limit - 0.1, 1.0, False), (limit + 0.1, 1.0, True), (1.0, math.inf, True)):
        assert trainer.steps._is_bad({"token": loss * 50}, {"token": 50.0}, norm) == bad
    assert trainer.steps._is_bad({"token": math.nan}, {"token": 50.0}, 1.0)


def test_decay_spares_biases_and_norms(make, some):
    trainer = make(weight_decay=0.5, clip_norm=0.0)
    plain = make(clip_norm=0.0)
    for each in (trainer, plain):
        each.steps.train([some[0]])
    start = {v.path: v.numpy() for v in make().model.trainable_variables}
    rate = 0.01 / 4  # the first step of the warm-up
    for ours, theirs in zip(trainer.model.trainable_variables, plain.model.trainable_variables, strict=True):
        decayed = start[ours.path] * rate * 0.5 if len(ours.shape) > 1 else 0.0
        told = np.abs(theirs.numpy() - start[theirs.path]) > 1e-9  # see above: a key bias moves by rounding alone
        if "wk/bias" not in ours.path:
            np.testing.assert_allclose(ours.numpy()[told], (theirs.numpy() - decayed)[told], atol=2e-6)


def test_graphs_are_made_once_whatever_the_shapes(make, some):
    trainer = make(new=True)
    for batch in some:
        trainer.steps.train([batch])
    assert len({tuple(part.shape for part in batch.values()) for batch in some}) > 2
    assert trainer.steps.traces == 1
    trainer.steps.check_traces()


def test_graphs_that_are_made_again_and_again_are_refused(make, some, monkeypatch):
    monkeypatch.setattr(steps_room, "MOST_TRACES", 4)  # a count, a gradient, its mean, its use
    trainer = make(new=True, bad_steps="skip")
    unbounded = tf.function(lambda batch, _: {"token": tf.constant(0.0 * batch["source_ids"].shape[1])})
    monkeypatch.setattr(trainer.steps, "accumulate_step", unbounded)
    with pytest.raises(RuntimeError, match="traced 5 times: a graph is made for each new shape"):
        for batch in some:
            trainer.steps.train([batch])
            trainer.steps.check_traces()
