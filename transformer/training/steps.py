"""One optimizer step and one validation step of any task, compiled, on one device or on many.

Axes: B batch.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from transformer.config.settings import TrainingConfig
from transformer.tasks.base import Batch, Parts, Task
from transformer.training.cluster import parallel_micro_batches

NUMBER = tf.TensorSpec((), tf.float32)
FIRST_SCALE = 2.0**15  # of the loss in float16
MOST_TRACES = 8  # of all steps together; each is traced once
GROW_AFTER = 2000  # good steps before the scale doubles (Micikevicius et al. 2018, section 3.2)


def mean_loss(losses: Mapping[str, float], counts: Mapping[str, float]) -> float:
    """Return the sum over parts of losses / counts; a part without a unit has the loss 0."""
    return sum(losses[part] / (counts[part] or 1.0) for part in losses)


class StepResult(NamedTuple):
    """What an optimizer step did."""

    losses: dict[str, float]  # summed training loss of the step's batches, in nats, by part
    counts: dict[str, float]  # their units, by part
    norm: float  # global norm of the gradient of the mean loss, before clipping
    applied: bool  # False where the step was left out because loss or gradient is no number or explodes


def _share(batch: Batch, index: tf.Tensor | int, count: int) -> Batch:
    """Return every `count`-th row of a batch, from row `index` on; where there is none, a row of zeros."""
    if count == 1:
        return batch

    def rows(feature: tf.Tensor) -> tf.Tensor:
        missing = tf.maximum(count - tf.shape(feature)[0], 0)
        return tf.pad(feature, [[0, missing], *[[0, 0]] * (feature.shape.rank - 1)])[index::count]

    return {name: rows(feature) for name, feature in batch.items()}


class Steps:
    """The compiled steps of a model and its optimizer.

    They follow the gradient of the mean loss, the sum over parts of losses / counts, see `Task`. The counts are those
    of all batches of the step, taken before any gradient.

    A batch is always the global one. On a CPU it is cut into micro-batches that are worked on at the same time, see
    `parallel_micro_batches`. Under a `tf.distribute` strategy with n replicas, each takes every n-th row of it. Losses
    and gradients are summed over all of these, so a step is the same as on one device.

    Where every batch is a step, gradient and update are one graph. Where gradients are accumulated, or a bad step is
    to be left out (`bad_steps = "skip"`, and always in float16), they are first gathered, then looked at, then applied.

    Args:
        task: whose loss is followed.
        model: its network, built under the strategy's scope.
        optimizer: likewise.
        training: clipping, accumulation, precision, and what to do about bad steps.
        strategy: of `tf.distribute`.
        weights: those of the model that are trained, and that the optimizer was built with; None: all.
    """

    def __init__(
        self,
        task: Task,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        training: TrainingConfig,
        strategy: tf.distribute.Strategy,
        weights: Sequence[keras.Variable] | None = None,
    ) -> None:
        self.task, self.model, self.optimizer = task, model, optimizer
        self.training, self.strategy = training, strategy
        self.weights = model.trainable_variables if weights is None else list(weights)
        self.micro_batches = parallel_micro_batches(strategy) if task.rows_stand_alone else 1
        self.scaled = training.precision == "float16"
        self.gathers = self.scaled or training.accumulate > 1 or training.bad_steps == "skip"
        # Nobody is this unsure by chance: a uniform guess over V tokens costs ln V nats.
        self.most_loss = 2 * sum(task.uniform().values()) or math.inf
        self.scale, self.good_steps = FIRST_SCALE if self.scaled else 1.0, 0
        self._sums: list[tf.Variable] = []
        if self.gathers:
            with strategy.scope():
                self._sums = [
                    tf.Variable(
                        tf.zeros(weight.shape),
                        trainable=False,
                        synchronization=tf.VariableSynchronization.ON_READ,
                        aggregation=tf.VariableAggregation.SUM,
                    )
                    for weight in self.weights
                ]
        batch = task.features
        self.train_step = tf.function(self._train_step, input_signature=[batch], autograph=False)
        self.count_step = tf.function(task.counts, input_signature=[batch], autograph=False)
        self.accumulate_step = tf.function(
            self._accumulate_step, input_signature=[batch, tf.TensorSpec((None,), tf.float32)], autograph=False
        )
        self.normalise_step = tf.function(self._normalise_step, input_signature=[NUMBER], autograph=False)
        self.apply_step = tf.function(self._apply_step, input_signature=[], autograph=False)
        self.reset_step = tf.function(self._reset_step, input_signature=[], autograph=False)
        self.validation_step = tf.function(self._validation_step, input_signature=[batch], autograph=False)

    @property
    def traces(self) -> int:
        """Number of graphs made so far; with signatures that leave lengths open it stays at a handful."""
        gathering = (self.count_step, self.accumulate_step, self.normalise_step, self.apply_step)
        functions = (self.train_step, *gathering, self.validation_step)
        return sum(function.experimental_get_tracing_count() for function in functions)

    def check_traces(self) -> None:
        """Raise a RuntimeError where a graph is made again and again: its signature does not bound the shapes."""
        if self.traces > MOST_TRACES:
            raise RuntimeError(
                f"the steps were traced {self.traces} times: a graph is made for each new shape of a batch; "
                "give the tf.function an input_signature that leaves the lengths open"
            )

    @functools.cached_property
    def _train_graph(self) -> Callable:
        """The graph of `train_step`. Called itself, it is not looked up by its 500 variables: 2 % of a small step."""
        return self.train_step.get_concrete_function()

    def train(self, batches: Sequence[Batch]) -> StepResult:
        """Make one optimizer step of one or more batches."""
        if not self.gathers:
            (batch,) = batches
            losses, counts, norm = tf.nest.map_structure(float, self._train_graph(batch))
            return StepResult(losses, counts, norm, not self._is_bad(losses, counts, norm))
        counts = _summed([self.count_step(batch) for batch in batches])
        # What is gathered are sums rather than means, of a size that float16 holds: all in the unit of the first part.
        units = [counts[part] or 1.0 for part in sorted(counts)]
        unit = units[0]
        weights = tf.constant([self.scale * (unit / own) for own in units], tf.float32)
        losses = _summed([self.accumulate_step(batch, weights) for batch in batches])
        norm = float(self.normalise_step(tf.constant(self.scale * unit, tf.float32)))
        good = not self._is_bad(losses, counts, norm)
        if good:
            self.apply_step()
        self.reset_step()
        if self.scaled:
            self._rescale(good)
        return StepResult(losses, counts, norm, good)

    def _is_bad(self, losses: dict[str, float], counts: dict[str, float], norm: float) -> bool:
        return not (math.isfinite(norm) and mean_loss(losses, counts) <= self.most_loss)

    def _rescale(self, good: bool) -> None:
        self.good_steps = self.good_steps + 1 if good else 0
        if not good:
            self.scale = max(self.scale / 2, 1.0)
        elif self.good_steps % GROW_AFTER == 0:
            self.scale *= 2

    def losses(self, batch: Batch, training: bool) -> Parts:
        """Return the summed loss of each part of a batch, in nats."""
        return self.task.summed_losses(self.model, self._cut(batch), training)

    def _cut(self, batch: Batch) -> list[Batch]:
        """Return the parallel micro-batches of a batch."""
        return [_share(batch, i, self.micro_batches) for i in range(self.micro_batches)]

    @staticmethod
    def _rows(batch: Batch) -> Batch:
        """Return this replica's rows of a global batch."""
        context = tf.distribute.get_replica_context()
        return _share(batch, context.replica_id_in_sync_group, context.num_replicas_in_sync)

    @staticmethod
    def _sum_over_replicas(parts: Any) -> Any:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, parts)

    def _apply(self, gradients: list[tf.Tensor], norm: tf.Tensor) -> None:
        """Update the weights with the gradients, of this norm, of the step's mean loss."""
        if self.training.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.training.clip_norm, use_norm=norm)
        self.optimizer.apply(gradients, self.weights)

    def _gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> list[tf.Tensor]:
        return [
            tf.zeros(weight.shape) if gradient is None else tf.convert_to_tensor(gradient)
            for weight, gradient in zip(self.weights, tape.gradient(loss, self.weights), strict=True)
        ]

    def _run(self, step: Callable, *arguments: Any) -> Any:
        """Run a step on every replica; its results are sums over replicas, the same on each."""
        results = self.strategy.run(step, arguments)
        return tf.nest.map_structure(lambda part: self.strategy.experimental_local_results(part)[0], results)

    def _train_step(self, batch: Batch) -> tuple[Parts, Parts, tf.Tensor]:
        """Make one optimizer step of a batch; returns summed losses, counts and the gradient's norm."""

        def step(batch: Batch) -> tuple[Parts, Parts, tf.Tensor]:
            # Counted by micro-batch: the graph looks for the real labels of a row once, for losses and counts.
            micro_batches = self._cut(self._rows(batch))
            every = [self.task.counts(micro_batch) for micro_batch in micro_batches]
            own = {part: tf.add_n([counts[part] for counts in every]) for part in every[0]}
            counts = self._sum_over_replicas(own)
            with tf.GradientTape() as tape:
                losses = self.task.summed_losses(self.model, micro_batches, training=True)
                mean = tf.add_n([tf.math.divide_no_nan(losses[part], counts[part]) for part in losses])
            gradients = self._gradients(tape, mean)
            if self.strategy.num_replicas_in_sync > 1:
                losses, gradients = self._sum_over_replicas((losses, gradients))
            norm = tf.linalg.global_norm(gradients)
            self._apply(gradients, norm)
            return losses, counts, norm

        return self._run(step, batch)

    def _accumulate_step(self, batch: Batch, weights: tf.Tensor) -> Parts:
        """Add the gradient of a batch's losses, weighted (in the order of their names), to the sums; returns losses."""

        def step(batch: Batch, weights: tf.Tensor) -> Parts:
            with tf.GradientTape() as tape:
                losses = self.losses(self._rows(batch), training=True)
                weighted = tf.add_n([losses[part] * weights[i] for i, part in enumerate(sorted(losses))])
            for target, gradient in zip(self._sums, self._gradients(tape, weighted), strict=True):
                target.assign_add(tf.cast(gradient, tf.float32))
            return self._sum_over_replicas(losses)

        return self._run(step, batch, weights)

    def _normalise_step(self, divisor: tf.Tensor) -> tf.Tensor:
        """Turn the gathered gradients into the mean loss's, on every replica, and return their global norm."""

        def step(divisor: tf.Tensor) -> tf.Tensor:
            gradients = self._sum_over_replicas([target.read_value() for target in self._sums])
            gradients = [gradient / divisor for gradient in gradients]
            for target, gradient in zip(self._sums, gradients, strict=True):
                target.assign(gradient)
            return tf.linalg.global_norm(gradients)

        return self._run(step, divisor)

    def _apply_step(self) -> None:
        """Update the weights with the mean loss's gradients."""

        def step() -> None:
            gradients = [target.read_value() for target in self._sums]
            self._apply(gradients, tf.linalg.global_norm(gradients))

        self.strategy.run(step)

    def _reset_step(self) -> None:
        """Begin new sums of gradients."""

        def step() -> None:
            for target in self._sums:
                target.assign(tf.zeros_like(target))

        self.strategy.run(step)

    def _validation_step(self, batch: Batch) -> tuple[Parts, Parts]:
        """Return a batch's summed losses, as they are without `training`, and its counts."""
        losses = self._run(lambda batch: self._sum_over_replicas(self.losses(self._rows(batch), training=False)), batch)
        return losses, self.task.counts(batch)


def _summed(every: Sequence[Parts]) -> dict[str, float]:
    return {part: sum(float(parts[part]) for parts in every) for part in every[0]}
