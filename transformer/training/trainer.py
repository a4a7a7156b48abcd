"""The training loop: one optimizer step after another, validation, checkpoints, resume."""

import dataclasses
import functools
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import tensorflow as tf

from transformer.checkpoints.arrays import DamagedError, load_arrays, model_variables, numbered
from transformer.checkpoints.run_directory import LAST, PREVIOUS, RunDirectory
from transformer.config.checks import from_metadata
from transformer.config.run import Config
from transformer.data.batches import Batch, batches, streamed
from transformer.system.errors import EnvironmentFailure, UserError
from transformer.training.calibration import Calibration
from transformer.training.cluster import Cluster
from transformer.training.devices import devices, precision_warnings
from transformer.training.interruption import Interruption
from transformer.training.metrics_log import Metrics, check_tensorboard
from transformer.training.optimizer import build_optimizer, optimizer_warnings, trained_weights
from transformer.training.preparation import load_prepared_run, prepare_new_run
from transformer.training.progress import Progress, loss_unit, say, told_loss
from transformer.training.starting_weights import start_from
from transformer.training.state import TrainingState, ending
from transformer.training.steps import StepResult, Steps, mean_loss
from transformer.training.validation import DIVERGENCE_ADVICE, Validation, restored, save

MOST_SKIPPED = 100  # bad steps in a row after which `bad_steps = "skip"` gives up


class Trainer:
    """Trains the network of a config's task on its corpus, in a run directory.

    The loop is ours rather than `fit` because only it works under every `tf.distribute` strategy, divides each part of
    the loss by its count over the whole step, and knows where it is inside an epoch. `fit` stays possible.

    Args:
        config: what to train on what, and how.
        run: where to keep it. A run that was begun there with the same config is continued.
        strategy: of `tf.distribute`, from `open_strategy`; None: the one in scope.

    Raises:
        UserError: bad input, an unusable directory, another run in it, or another process at work in it.
    """

    def __init__(self, config: Config, run: RunDirectory, strategy: tf.distribute.Strategy | None = None) -> None:
        self.config, self.run, self.cluster = config, run, Cluster(strategy)
        try:
            self._open()
        except BaseException:
            run.unlock()
            raise

    def _open(self) -> None:
        """Begin the run, or read where it stands; both lock it."""
        config, run = self.config, self.run
        if self.cluster.workers > 1 and config.training.max_minutes:
            raise UserError("training.max_minutes does not go with several workers, whose clocks differ; set max_steps")
        if config.training.tensorboard:
            check_tensorboard()
        begun = bool(self.cluster.agree(run.exists()))  # the chief's word, whatever it has written since
        if begun and self.cluster.chief:
            run.lock()
            run.remove_drafts()
        keras.utils.set_random_seed(config.training.seed)
        if not self.cluster.chief:
            self.cluster.agree()  # wait for the chief to begin the run
        data = (
            load_prepared_run(config, run, self._say)
            if begun or not self.cluster.chief
            else prepare_new_run(config, run, self._say)
        )
        self._say(f"training examples: {data.shards.describe()}")
        for warning in (*optimizer_warnings(config.training), *precision_warnings(config.training.precision)):
            self._say(f"warning: {warning}")
        if self.cluster.chief:
            self.cluster.agree()
        with self.cluster.strategy.scope():
            precision = config.training.precision
            self.model = data.task.network(precision if precision == "float32" else f"mixed_{precision}")
            depths = data.task.depths(self.model)
            weights = trained_weights(config, self.model.trainable_variables, depths)
            self.optimizer = build_optimizer(config, weights, depths)
        where, parameters = devices(self.cluster.strategy, self.cluster.workers), self.model.count_params() / 1e6
        self._say(f"training on {where}: {parameters:,.1f} M parameters, {data.shards.rows:,} examples")
        self.steps = Steps(data.task, self.model, self.optimizer, config.training, self.cluster.strategy, weights)
        self.data, self.validation = data, Validation(config, run, self.cluster, self.steps, data)
        self.calibration = Calibration(config, run, data, self._say)
        self.state, self.saved_step = TrainingState(), 0
        if begun:
            self._resume()
        if not self.state.step and config.training.init_from:
            start_from(RunDirectory(config.training.init_from), self.model, self._say)
        self.metrics = Metrics(run, config.training.tensorboard, self.state.step, self.cluster.chief)

    def _say(self, message: str) -> None:
        if self.cluster.chief:
            say(message)

    def _resume(self) -> None:
        """Load the newest checkpoint that is whole; without any, the run starts at its beginning."""
        damaged = []
        for which in (LAST, PREVIOUS):
            if not self.run.weights(which).exists():
                continue
            try:
                read = functools.partial(from_metadata, TrainingState)
                self.state = load_arrays(self.run.weights(which), self._variables(), read)
            except DamagedError as error:
                damaged.append(error)
                continue
            if damaged:
                self._say(f"warning: {damaged[0]}. Going on from {which}.safetensors, the one before")
            self._say(f"continuing at step {self.state.step:,}")
            break
        else:
            if damaged:
                raise damaged[0]
        if self.cluster.agree(self.state.step) != self.state.step:
            raise UserError(f"{self.run.path} is not the same directory on all machines; share it between them")
        if damaged and self.cluster.chief:  # or the next checkpoint would push the good one out
            self.run.weights(PREVIOUS).replace(self.run.weights(LAST))
        self.steps.scale = self.state.scale or self.steps.scale
        self.steps.good_steps, self.saved_step = self.state.good_steps, self.state.step

    def _variables(self) -> dict[str, keras.Variable]:
        """Everything that decides how training goes on: weights, optimizer slots, dropout's random states."""
        return {
            **model_variables(self.model),
            **numbered("optimizer", self.optimizer.variables),
            **numbered("random", self.model.non_trainable_variables),
        }

    def _averages(self) -> list[keras.Variable]:
        return self.optimizer._model_variables_moving_average if self.config.training.averaging else []

    def _batches(self) -> Iterator[Batch]:
        """Batches from the current one on, epoch after epoch, without end."""
        while True:
            data, seed = self.data, self.config.training.seed
            epoch = batches(data.shards, data.task, self.config.data, seed, self.state.epoch)
            empty = self.state.batch == 0
            for batch in streamed(epoch.skip(self.state.batch), data.shards):
                empty = False
                self.state.batch += 1
                yield batch
            if empty:
                raise RuntimeError("an epoch without a batch")
            self.state.epoch, self.state.batch = self.state.epoch + 1, 0

    def done(self) -> bool:
        """Return whether the run has reached its length, or its patience is at an end."""
        return any(ending(self.state, self.config.training))

    def train(self) -> TrainingState:
        """Train to the configured length; returns the final state. The best and last weights are on disk.

        Raises:
            UserError: the loss is no longer a number, a file cannot be written, or another worker was lost.
            KeyboardInterrupt, SystemExit: after Ctrl-C and SIGTERM, with a checkpoint of the step at hand.
        """
        if self.done() and not self._to_average() and not self.cluster.agree(self.calibration.missing()):
            why, way_out = ending(self.state, self.config.training)
            self._say(f"{self.run.path} is complete after {self.state.step:,} steps: {why}; {way_out}")
            self.run.unlock()
            return self.state
        if self.cluster.chief:
            self.run.lock()
        try:
            with Interruption() as interruption:
                self._loop(interruption)
        except tf.errors.OpError as error:
            if self.cluster.workers == 1:
                raise
            raise UserError(
                f"another worker was lost at step {self.state.step:,} ({type(error).__name__}); start the same "
                "command on every machine again, it continues from the last checkpoint"
            ) from None
        except EnvironmentFailure as error:
            if not self.run.is_complete():
                rest = "remove what is left of it, and " if self.run.path.is_dir() else ""
                raise UserError(
                    f"run directory {self.run.path} has been removed; {rest}the same command begins it anew"
                ) from None
            raise UserError(f"{error}; the same command goes on from step {self.saved_step:,}") from None
        finally:
            self.run.unlock()
        return self.state

    def _loop(self, interruption: Interruption) -> None:
        training = self.config.training
        progress, every = Progress(self.state, training), self._batches()
        clock = time.monotonic()
        while not self.done():
            asked = time.monotonic()
            step_batches = self._next_batches(every)
            waited = time.monotonic() - asked
            result = self.steps.train(step_batches)
            self.state.step += 1
            self._check(result)
            clock = self._spend(clock)
            if result.applied:
                progress.add(result, waited)
            last = self.done()
            if self.state.step % training.log_every == 0 or last:
                self._report(progress, result)
            due = self.state.step % training.validate_every == 0 or last
            if due:
                self.validate()
                progress.leave_out(time.monotonic() - clock)
                clock = self._spend(clock)
            if due or (training.save_every and self.state.step % training.save_every == 0) or interruption.signal:
                self.save()
            if interruption.signal:
                self._say(f"\n{interruption.signal.name} after step {self.state.step:,}: everything is saved")
                interruption.leave()
        if self._to_average():
            self._average()
        if self.cluster.chief:
            self.calibration.calibrate(self.model, self.state.best_step)
        self.cluster.agree()  # the others wait for it
        why, _ = ending(self.state, training)
        self._say(f"\n{self.state.step:,} steps are done: {why}; TensorFlow made {self.steps.traces} graphs for them")

    def _next_batches(self, every: Iterator[Batch]) -> list[Batch]:
        """Return the batches of a step; where they can no longer be read, save what has been done."""
        before = self.state.epoch, self.state.batch
        try:
            return [next(every) for _ in range(self.config.training.accumulate)]
        except EnvironmentFailure:
            self.state.epoch, self.state.batch = before
            if self.state.step > self.saved_step:
                self.save()
            raise

    def _to_average(self) -> bool:
        return bool(self.config.training.average_checkpoints and self.state.averaged_at < self.state.step)

    def _report(self, progress: Progress, result: StepResult) -> None:
        rate = float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        record = {**progress.summary(), "learning_rate": rate, "gradient_norm": result.norm}
        self.steps.check_traces()
        if self.config.training.bad_steps == "skip":
            record["skipped"] = self.state.skipped
        self.metrics.write({"event": "train", **record})
        progress.show(quiet=not self.cluster.chief)

    def _check(self, result: StepResult) -> None:
        """Stop at a bad step, or count it where it was left out."""
        self.state.scale, self.state.good_steps = self.steps.scale, self.steps.good_steps
        if result.applied:
            self.state.skipped_in_a_row = 0
            return
        loss = f"{mean_loss(result.losses, result.counts):.4g} {loss_unit(result.losses)}"
        told = f"the loss is {loss} and the gradient's norm {result.norm:.4g} at step {self.state.step}"
        self.state.skipped += 1
        self.state.skipped_in_a_row += 1
        if not self.steps.gathers:
            raise UserError(f"{told}; {DIVERGENCE_ADVICE}")
        if self.state.skipped_in_a_row >= MOST_SKIPPED:
            raise UserError(f"{told}, after {MOST_SKIPPED - 1} other bad steps in a row; {DIVERGENCE_ADVICE}")
        if not self.steps.scaled:  # in float16 an overflow now and then is how the scale is found
            self._say(f"\nwarning: {told}; this step is skipped")

    def _spend(self, clock: float) -> float:
        """Count the seconds since `clock` and return the time now."""
        now = time.monotonic()
        self.state.seconds += now - clock
        return now

    def save(self) -> None:
        """Save everything that a resumed run needs; the checkpoint before stays as `previous`."""
        if self.cluster.chief:
            if not self.run.is_complete():
                raise EnvironmentFailure(f"files of {self.run.path} have been removed")
            metadata = dataclasses.asdict(self.state)
            save(self.run.weights(LAST), self._variables(), metadata, keep=self.run.weights(PREVIOUS))
        self.saved_step = self.state.step

    def validate(self) -> None:
        """Score the validation examples with the averaged weights, where there are any, and keep the best weights."""
        with restored(self.model.trainable_variables):
            for variable, average in zip(self.steps.weights, self._averages(), strict=False):
                variable.assign(average)
            scores = self.validation.score(self.state)
            self.validation.update_best(scores, self.state)
        self._tell("validation", scores)

    def _average(self) -> None:
        with restored(self.model.trainable_variables):
            scores = self.validation.average(self.state)
        self.state.averaged_at = self.state.step
        self.save()
        if scores:
            self._tell("average", scores)

    def _tell(self, event: str, scores: dict[str, float]) -> None:
        formats = {**self.data.task.loss_figures, **self.data.task.figures}
        told = [form.format(scores[name]) for name, form in formats.items() if name in scores]
        figures = ", ".join([told_loss(scores, self.state.counts), *told])
        self._say(f"\n{event} after step {self.state.step:,}: {figures}; best at {self.state.best_step:,}")
        seconds = round(self.state.seconds, 1)
        record = {"event": event, "step": self.state.step, **scores, "best_step": self.state.best_step}
        self.metrics.write({**record, "seconds": seconds})


def train(config: Config, run: str | Path, strategy: tf.distribute.Strategy | None = None) -> TrainingState:
    """Train what a config describes in a run directory, or continue the run that is there; errors as of `Trainer`."""
    return Trainer(config, RunDirectory(run), strategy).train()
