"""Training runs: each step is what the formulas say, a resumed run is the uninterrupted one, and the best is kept."""

import dataclasses
import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from shared_graphs import Trainer, give_back, taken
from tiny_run import tiny_config, write_corpus

from transformer.checkpoints.arrays import load_arrays, model_variables
from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import BEST, LAST, RunDirectory
from transformer.data.batches import batches
from transformer.inference.translator import Translator
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import Found
from transformer.training import progress
from transformer.training.optimizer import build_schedule
from transformer.training.state import TrainingState
from transformer.training.steps import StepResult

DROPOUT = {"dropout_rate": 0.1, "attention_dropout_rate": 0.1, "feed_forward_dropout_rate": 0.1}
LENGTH = {"max_steps": 12, "validate_every": 6, "log_every": 2}
RECIPE = {"schedule": "inverse_sqrt", "peak_learning_rate": 0.01, "averaging": 0.8}


def failure(call, *arguments):
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def metrics(run):
    return [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]


def weights(model):
    return [variable.numpy() for variable in model.trainable_variables]


def train_and_watch(trainer, stop=None):
    """Train; return the weights after each step. At `stop` steps the process is interrupted."""
    step, seen = trainer.steps.train, []

    def train_step(batch):
        if trainer.state.step == stop:
            raise KeyboardInterrupt
        result = step(batch)
        seen.append(weights(trainer.model))
        return result

    trainer.steps.train = train_step
    if stop is None:
        trainer.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    return seen


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 12 steps, more than one epoch, with every kind of dropout and averaged weights."""
    folder = tmp_path_factory.mktemp("whole")
    config = tiny_config(folder, write_corpus(folder), model=DROPOUT, training={**LENGTH, **RECIPE})
    trainer = Trainer(config, RunDirectory(folder / "run"))
    return SimpleNamespace(folder=folder, config=config, trainer=trainer, seen=train_and_watch(trainer))


def test_the_loss_falls(whole):
    losses = [line["loss"] for line in metrics(whole.trainer.run) if line["event"] == "train"]
    assert losses[-1] < losses[0] - 1
    validation = [line["loss"] for line in metrics(whole.trainer.run) if line["event"] == "validation"]
    assert validation[1] < validation[0] < math.log(300) + 1


def test_the_run_directory_is_complete(whole):
    run = whole.trainer.run
    assert sorted(entry.name for entry in run.path.iterdir()) == [
        "best.safetensors",
        "config.json",
        "corpus.json",
        "last.safetensors",
        "metrics.jsonl",
        "previous.safetensors",
        "tokenizer",
    ]
    assert run.config() == whole.config
    metadata = run.corpus()
    assert (metadata["name"], metadata["source_language"], metadata["target_language"]) == (
        "train.pt + train.en",
        "pt",
        "en",
    )
    ((found,),) = Translator.load(run.path).translate(["sol mar"])
    assert isinstance(found.text, str)


def test_metrics_are_json_lines(whole):
    lines = metrics(whole.trainer.run)
    assert [(line["event"], line["step"]) for line in lines] == [
        *(("train", step) for step in (2, 4, 6)),
        ("validation", 6),
        *(("train", step) for step in (8, 10, 12)),
        ("validation", 12),
    ]
    times = {"tokens_per_second", "waiting_for_data", "seconds"}
    assert set(lines[0]) == {"event", "step", "epoch", "loss", "learning_rate", "gradient_norm", *times}
    assert {"event", "step", "loss", "best_step", "seconds"} == set(lines[-1])
    epochs = [line["epoch"] for line in lines if line["event"] == "train"]
    assert epochs[0] == 1 and epochs == sorted(epochs) and epochs[-1] == 2
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)


def test_averaged_weights_are_those_of_a_plain_loop_and_are_what_is_kept(whole):
    averages = whole.seen[0]
    for later in whole.seen[1:]:
        averages = [0.8 * average + 0.2 * weight for average, weight in zip(averages, later, strict=True)]
    trainer = whole.trainer
    for average, expected in zip(trainer._averages(), averages, strict=True):
        np.testing.assert_allclose(average.numpy(), expected, atol=1e-6)
    for left, expected in zip(weights(trainer.model), whole.seen[-1], strict=True):
        np.testing.assert_array_equal(left, expected)  # validation put the raw weights back
    assert trainer.state.best_step == 12
    model = load(trainer.run, BEST)[1]
    for kept, expected in zip(weights(model), averages, strict=True):
        np.testing.assert_allclose(kept, expected, atol=1e-6)
    # The logged validation loss is that of the averaged weights: nats of all target tokens over their number.
    total = count = 0
    for batch in batches(trainer.data.validation_shards, trainer.data.task, whole.config.data):
        labels = batch["target_out"].numpy()
        total += smoothed_loss(logits_of(model, batch), labels, 0.0)
        count += np.sum(labels > 0)
    assert metrics(trainer.run)[-1]["loss"] == pytest.approx(total / count, rel=1e-4)


@pytest.mark.slow  # test_any_task.py resumes a run too
def test_an_interrupted_run_goes_on_bit_by_bit_and_may_grow(whole):
    run, others = RunDirectory(whole.folder / "interrupted"), taken()
    before = train_and_watch(Trainer(whole.config, run), stop=9)
    assert len(before) == 9 and metrics(run)[-1]["step"] == 8
    give_back(keep=others)
    longer = whole.config.override({"training": {"max_steps": 13}})
    resumed = Trainer(longer, run)
    assert resumed.state.step == 6 and resumed.state.best_step == 6
    assert metrics(run)[-1]["step"] == 6  # what the interrupted process did behind step 6 is done again
    after = train_and_watch(resumed)
    assert len(after) == 7 and resumed.state.step == 13
    for one, other in zip([*before[:6], *after[:6]], whole.seen, strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)
    assert [line["step"] for line in metrics(run) if line["event"] == "validation"] == [6, 12, 13]
    losses = [[line["loss"] for line in metrics(r)[:8]] for r in (run, whole.trainer.run)]
    assert losses[0] == losses[1]


def test_a_finished_run_is_left_alone(whole, capsys):
    run = whole.trainer.run
    files = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert whole.trainer.train().step == 12
    assert (
        "is complete after 12 steps: training.max_steps = 12 is reached; raise --max-steps to go"
        in capsys.readouterr().err
    )
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize(
    "change, words",
    [
        ({"model": {"dff": 48}}, "model.dff is 48 here, 32 there"),
        ({"text": {"vocabulary_size": 301}}, "text.vocabulary_size is 301 here, 300 there"),
        ({"task": {"source_language": "es"}}, "task.source_language is 'es' here, 'pt' there"),
    ],
)
def test_another_model_or_tokenizer_in_the_directory_is_refused(whole, change, words):
    assert words in failure(Trainer, whole.config.override(change), whole.trainer.run)


def test_another_corpus_in_the_directory_is_refused(whole, tmp_path):
    other = whole.config.override({"data": write_corpus(tmp_path, count=99)})
    message = failure(Trainer, other, whole.trainer.run)
    assert "was trained on another corpus; choose another --run" in message
    assert whole.trainer.run.config() == whole.config


def test_a_corpus_without_a_clean_pair_begins_no_run(tmp_path):
    config = tiny_config(tmp_path, write_corpus(tmp_path, count=3), cleaning={"max_ratio": 1.0, "max_words": 1})
    (tmp_path / "train.pt").write_text("um dois\n")
    (tmp_path / "train.en").write_text("one two\n")
    assert "max_words removed 1" in failure(Trainer, config, RunDirectory(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A trainer without dropout, whose clipping is always at work, and a batch with padding of both kinds."""
    folder = tmp_path_factory.mktemp("plain")
    training = {"clip_norm": 0.05, "schedule": "inverse_sqrt", "peak_learning_rate": 0.01, "label_smoothing": 0.2}
    config = tiny_config(folder, write_corpus(folder), model={"dropout_rate": 0.0}, training=training)
    trainer = Trainer(config, RunDirectory(folder / "run"))
    every = batches(trainer.data.shards, trainer.data.task, config.data, seed=1)
    batch = next(b for b in every if (b["target_out"].numpy()[:, 0] == 0).any())
    return trainer, batch


@pytest.fixture
def trainer(plain):
    """The plain trainer, put back after the test as it was before."""
    trainer = plain[0]
    before = {name: variable.numpy() for name, variable in trainer._variables().items()}
    state, config = dataclasses.replace(trainer.state), trainer.config
    yield trainer
    for name, variable in trainer._variables().items():
        variable.assign(before[name])
    trainer.state, trainer.config = state, config


def logits_of(model, batch, training=False):
    return model((batch["source_ids"], batch["target_in"]), training=training).numpy()


def smoothed_loss(logits, labels, smoothing):
    """Sum -sum_v q(v) log p(v) over real tokens in a plain loop; q is 1 - e at the label plus e / V everywhere."""
    total, size = 0.0, logits.shape[-1]
    for row, label in zip(logits.reshape(-1, size).astype(np.float64), labels.reshape(-1), strict=True):
        if label:
            log_probabilities = row - np.log(np.sum(np.exp(row)))
            target = np.full(size, smoothing / size)
            target[label] += 1 - smoothing
            total -= target @ log_probabilities
    return total


@pytest.mark.slow  # a graph without smoothing; the losses have their own tests
def test_training_loss_is_smoothed_and_validation_loss_is_not(trainer, plain):
    logits, labels = logits_of(trainer.model, plain[1]), plain[1]["target_out"].numpy()
    tokens = np.sum(labels != 0)
    smoothed, raw = (smoothed_loss(logits, labels, e) for e in (0.2, 0.0))
    assert abs(smoothed - raw) > 0.1
    losses, counts = trainer.steps.validation_step(plain[1])
    assert [float(losses["token"]), float(counts["token"])] == pytest.approx([raw, tokens], rel=1e-4)
    result = trainer.steps.train([plain[1]])
    assert [result.losses["token"], result.counts["token"]] == pytest.approx([smoothed, tokens], rel=1e-4)


def test_a_step_is_adam_on_the_clipped_gradient_of_the_mean_over_tokens(trainer, plain):
    source_ids, target_in, target_out = (plain[1][name] for name in ("source_ids", "target_in", "target_out"))
    model = trainer.model
    expected = weights(model)
    first = [np.zeros_like(weight) for weight in expected]
    second = [np.zeros_like(weight) for weight in expected]
    for step in (1, 2):
        with tf.GradientTape() as tape:
            log_probabilities = tf.nn.log_softmax(model((source_ids, target_in), training=True))
            size = log_probabilities.shape[-1]
            target = 0.8 * tf.one_hot(target_out, size) + 0.2 / size
            real = tf.cast(target_out != 0, tf.float32)[:, :, tf.newaxis]
            mean = -tf.reduce_sum(real * target * log_probabilities) / tf.reduce_sum(real)
        gradients = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(mean, model.trainable_variables)]
        norm = np.sqrt(sum(np.sum(gradient.astype(np.float64) ** 2) for gradient in gradients))
        assert norm > 0.05  # so it is clipped
        assert trainer.steps.train([plain[1]]).norm == pytest.approx(norm, rel=1e-4)
        rate = 0.01 * step / 4  # warm-up
        for i, gradient in enumerate(gradients):
            gradient = gradient * 0.05 / norm
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.98 * second[i] + 0.02 * gradient**2
            corrected = rate * np.sqrt(1 - 0.98**step) / (1 - 0.9**step)
            expected[i] = expected[i] - corrected * first[i] / (np.sqrt(second[i]) + 1e-9)
        for variable, value, gradient in zip(model.trainable_variables, expected, gradients, strict=True):
            # Adam divides by the gradient's size, so where there is none to speak of only its noise is left.
            told = np.abs(gradient) > 1e-5
            np.testing.assert_allclose(variable.numpy()[told], value[told], atol=1e-5, err_msg=variable.path)
        expected = weights(model)


def test_the_best_weights_are_kept(trainer):
    run = trainer.run
    trainer.validate()
    assert trainer.state.best_score == -metrics(run)[-1]["loss"]
    kept = run.weights(BEST).read_bytes()
    good = weights(trainer.model)
    for variable in trainer.model.trainable_variables:
        variable.assign(variable + tf.random.stateless_normal(variable.shape, (1, 2)))
    trainer.state.step = 7
    trainer.validate()
    first, second = metrics(run)[-2:]
    assert second["loss"] > first["loss"] and (second["step"], second["best_step"]) == (7, 0)
    assert run.weights(BEST).read_bytes() == kept
    for variable, value in zip(trainer.model.trainable_variables, good, strict=True):
        variable.assign(value * 0.99 if value.ndim > 1 else value)
    trainer.state.best_score = -math.inf
    trainer.validate()
    assert run.weights(BEST).read_bytes() != kept and metrics(run)[-1]["best_step"] == 7


def test_where_bleu_is_wanted_it_decides(trainer, monkeypatch):
    examples, asked = list(trainer.data.corpus.examples("validation"))[:8], []

    def perfect(network, texts, search):
        asked.extend(texts)
        assert network is trainer.model and search.beam_size == 1
        return [Found(target, 0.0, 1, 1) for _, target in examples]

    config = trainer.validation.config.override({"training": {"score_examples": 8}})
    monkeypatch.setattr(trainer.validation, "config", config)
    monkeypatch.setattr(trainer.data.task, "search", perfect)
    trainer.validate()
    assert asked == [source for source, _ in examples]
    assert metrics(trainer.run)[-1]["bleu"] == pytest.approx(100) == trainer.state.best_score


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_weights(trainer):
    trainer.save()
    saved = trainer.run.weights(LAST).read_bytes()
    variable = trainer.model.trainable_variables[0]
    variable.assign(variable * math.nan)
    trainer.state.step = 41
    message = failure(trainer.train)
    assert (
        "the loss is nan nats/token and the gradient's norm nan at step 42" in message
        and "peak_learning_rate" in message
    )
    assert "the validation loss is nan after step 42" in failure(trainer.validate)
    assert trainer.run.weights(LAST).read_bytes() == saved


def test_the_training_state_comes_back(trainer):
    trainer.state = TrainingState(step=5, epoch=1, batch=3, seconds=2.5, best_score=-math.inf, best_step=0)
    trainer.save()
    assert TrainingState(**load_arrays(trainer.run.weights(LAST), trainer._variables())) == trainer.state
    state = trainer._variables()
    assert len(state) == len(model_variables(trainer.model)) + len(trainer.optimizer.variables) + len(
        trainer.model.non_trainable_variables
    )


def test_metrics_that_cannot_be_written_are_told(trainer, tmp_path):
    trainer.metrics.run, run = RunDirectory(tmp_path / "gone"), trainer.metrics.run
    message = failure(trainer.validate)
    trainer.metrics.run = run
    assert "cannot write" in message and str(tmp_path / "gone") in message


def test_a_run_ends_by_steps_or_by_minutes(tmp_path):
    def done(step, seconds, **training):
        config = tiny_config(tmp_path, training=training)
        return Trainer.done(SimpleNamespace(config=config, state=TrainingState(step=step, seconds=seconds)))

    assert not done(9, 1e9, max_steps=10) and done(10, 0, max_steps=10)
    assert not done(0, 119, max_minutes=2.0) and done(0, 120, max_minutes=2.0)


def test_a_recipe_that_contradicts_itself_is_refused(tmp_path):
    config = tiny_config(tmp_path, training={"schedule": "noam", "peak_learning_rate": 0.1})
    message = failure(build_schedule, config)
    assert message.startswith("[training]") and "inverse_sqrt" in message


def test_the_progress_line(tmp_path, monkeypatch, capsys):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    state = TrainingState(step=10, epoch=1, seconds=50.0)
    training = tiny_config(tmp_path, training={"max_steps": 110, "max_minutes": 60.0}).training
    shown = progress.Progress(state, training)
    for _ in range(20):
        shown.add(StepResult({"token": 30.0}, {"token": 10.0}, 1.0, True), waited=0.025)
    state.step, state.seconds, clock[0] = 30, 62.0, 112.0
    shown.leave_out(2.0)  # of the 12 seconds, spent on validation
    assert shown.summary() == {
        "step": 30,
        "epoch": 2,
        "loss": 3.0,
        "tokens_per_second": 20,
        "waiting_for_data": 0.05,
        "seconds": 62.0,
    }
    assert shown.seconds_left() == pytest.approx(80 * 12 / 20)  # of 20 steps in 12 seconds, not of the 10 before
    shown.show()
    assert capsys.readouterr().err == "step 30  epoch 2  loss 3.000 nats/token  20 tokens/s  0:48 left\n"
    assert shown.summary()["loss"] == 0.0  # a new report has begun
    state.step, state.seconds = 31, 3590.0
    clock[0] += 1000
    assert shown.seconds_left() == pytest.approx(10)  # by time, which comes first


def test_the_time_left_follows_the_speed_of_now(tmp_path):
    state = TrainingState(step=0, seconds=0.0)
    shown = progress.Progress(state, tiny_config(tmp_path, training={"max_steps": 1000}).training)
    for seconds in [100.0] * 10 + [1.0] * progress.REPORTS:  # the machine was busy at first
        state.step, state.seconds = state.step + 10, state.seconds + seconds
        shown.show(quiet=True)
    assert shown.seconds_left() == pytest.approx((1000 - state.step) / 10)


def test_the_log_begins_with_what_trains_where(tmp_path, capsys):
    config = tiny_config(tmp_path, write_corpus(tmp_path))
    trainer = Trainer(config, RunDirectory(tmp_path / "run"))
    parameters = sum(np.prod(weight.shape) for weight in weights(trainer.model))
    *_, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"training on \d+ CPU cores?: {parameters / 1e6:.1f} M parameters, 100 examples", last)


def test_what_is_said_cannot_steer_a_terminal(capsys):
    progress.say("\nwarning: a\x1b[2Jb\nc\r")
    assert capsys.readouterr().err == "\nwarning: a\\x1b[2Jb\\nc\\r\n"
