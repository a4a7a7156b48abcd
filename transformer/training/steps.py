"""One optimizer step and one validation step, compiled, on one device or on many.

Axes: B batch, S source, T target.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from transformer.config.run import Config
from transformer.ids import PAD_ID
from transformer.losses.projected import projected_loss
from transformer.models.transformer import Transformer
from transformer.training.cluster import streams_of

IDS = tf.TensorSpec((None, None), tf.int32)
NUMBER = tf.TensorSpec((), tf.float32)
Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # source_ids (B, S), target_in (B, T), target_out (B, T)
FIRST_SCALE = 2.0**15  # of the loss in float16
MOST_TRACES = 8  # of all steps together; each is traced once
GROW_AFTER = 2000  # good steps before the scale doubles (Micikevicius et al. 2018, section 3.2)


class Result(NamedTuple):
    """What an optimizer step did.

    Attributes:
        total: summed training loss of the step's batches, in nats.
        tokens: their target tokens.
        norm: global norm of the gradient of the mean loss, before clipping.
        applied: False where the step was left out because loss or gradient is no number or explodes.
    """

    total: float
    tokens: float
    norm: float
    applied: bool


def _share(batch: Batch, index: tf.Tensor | int, count: int) -> Batch:
    """Return every `count`-th row of a batch, from row `index` on; where there is none, a row without a token."""
    if count == 1:
        return batch
    missing = tf.maximum(count - tf.shape(batch[0])[0], 0)
    return tuple(tf.pad(ids, [[0, missing], [0, 0]])[index::count] for ids in batch)


class Steps:
    """The compiled steps of a model and its optimizer.

    A batch is always the global one. On a CPU it is worked on in parts side by side, see `streams_of`. Under a
    `tf.distribute` strategy with n replicas, each takes every n-th row of it. Sums of losses, tokens and gradients over
    all parts make a step the same as on one device.

    Where every batch is a step, gradient and update are one graph. Where gradients are accumulated, or a bad step is
    to be left out (`bad_steps = "skip"`, and always in float16), the gradient of the summed loss is first gathered,
    then looked at, then divided by all target tokens and applied.

    Args:
        model: built under the strategy's scope.
        optimizer: likewise.
        config: clipping, smoothing, accumulation, precision, and what to do about bad steps.
        strategy: of `tf.distribute`.
    """

    def __init__(
        self,
        model: Transformer,
        optimizer: keras.optimizers.Optimizer,
        config: Config,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self.model, self.optimizer, self.strategy = model, optimizer, strategy
        self.training = config.training
        self.streams = streams_of(strategy)
        self.scaled = self.training.precision == "float16"
        self.gathers = self.scaled or self.training.accumulate > 1 or self.training.bad_steps == "skip"
        # Nobody is this unsure by chance: a uniform guess over V tokens costs ln V nats.
        self.most_loss = 2 * math.log(model.decoder.vocab_size)
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
                    for weight in model.trainable_variables
                ]

    @property
    def traces(self) -> int:
        """Number of graphs made so far; with signatures that leave lengths open it stays at a handful."""
        functions = (self.train_step, self.gather_step, self.mean_step, self.apply_step, self.validation_step)
        return sum(function.experimental_get_tracing_count() for function in functions)

    def check_traces(self) -> None:
        """Refuse to go on where a graph is made again and again.

        Raises:
            RuntimeError: the shapes of a step's inputs are not bounded by its signature.
        """
        if self.traces > MOST_TRACES:
            raise RuntimeError(
                f"the steps were traced {self.traces} times: a graph is made for each new shape of a batch; "
                "give the tf.function an input_signature that leaves the lengths open"
            )

    @functools.cached_property
    def _train_graph(self) -> Callable:
        """The graph of `train_step`. Called itself, it is not looked up by its 500 variables: 2 % of a small step."""
        return self.train_step.get_concrete_function()

    def train(self, batches: Sequence[Batch]) -> Result:
        """Make one optimizer step of one or more batches."""
        if not self.gathers:
            (batch,) = batches
            total, tokens, norm = (float(part) for part in self._train_graph(*batch))
            return Result(total, tokens, norm, not self._is_bad(total, tokens, norm))
        scale = tf.constant(self.scale)
        parts = [self.gather_step(*batch, scale) for batch in batches]
        total, tokens = (sum(float(part[i]) for part in parts) for i in (0, 1))
        divisor = tf.constant(self.scale * max(tokens, 1.0), tf.float32)
        norm = float(self.mean_step(divisor))
        good = not self._is_bad(total, tokens, norm)
        if good:
            self.apply_step()
        self.clear_step()
        if self.scaled:
            self._rescale(good)
        return Result(total, tokens, norm, good)

    def _is_bad(self, total: float, tokens: float, norm: float) -> bool:
        return not (math.isfinite(norm) and total <= self.most_loss * tokens)

    def _rescale(self, good: bool) -> None:
        self.good_steps = self.good_steps + 1 if good else 0
        if not good:
            self.scale = max(self.scale / 2, 1.0)
        elif self.good_steps % GROW_AFTER == 0:
            self.scale *= 2

    def loss(
        self, source_ids: tf.Tensor, target_in: tf.Tensor, target_out: tf.Tensor, training: bool, smoothing: float
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the summed loss in nats and the number of real target tokens of a batch."""
        table, batch = self.model.output_table(), (source_ids, target_in, target_out)
        parts = [
            self._stream_loss(*_share(batch, i, self.streams), table, training, smoothing) for i in range(self.streams)
        ]
        total, tokens = (tf.add_n(part) for part in zip(*parts, strict=True))
        return total, tokens

    def _stream_loss(
        self,
        source_ids: tf.Tensor,
        target_in: tf.Tensor,
        target_out: tf.Tensor,
        table: tuple[tf.Tensor, tf.Tensor | None],
        training: bool,
        smoothing: float,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return `loss` of one part of a batch."""
        outputs, _ = self.model.decode(source_ids, target_in, training=training)
        real = tf.not_equal(target_out, PAD_ID)
        labels, tokens = tf.boolean_mask(target_out, real), tf.reduce_sum(tf.cast(real, tf.float32))
        return projected_loss(tf.boolean_mask(outputs, real), *table, labels, smoothing), tokens

    def _rows(self, *batch: tf.Tensor) -> Batch:
        """Return this replica's rows of a global batch."""
        context = tf.distribute.get_replica_context()
        return _share(batch, context.replica_id_in_sync_group, context.num_replicas_in_sync)

    @staticmethod
    def _sum_over_replicas(parts: Any) -> Any:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, parts)

    def _apply(self, gradients: list[tf.Tensor], norm: tf.Tensor) -> None:
        """Update the weights with the gradients, of this norm, of the whole batch's mean loss."""
        if self.training.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.training.clip_norm, use_norm=norm)
        self.optimizer.apply(gradients, self.model.trainable_variables)

    def _run(self, step: Callable, *arguments: tf.Tensor) -> Any:
        """Run a step on every replica; its results are sums over replicas, the same on each."""
        results = self.strategy.run(step, arguments)
        return tf.nest.map_structure(lambda part: self.strategy.experimental_local_results(part)[0], results)

    @tf.function(input_signature=[IDS, IDS, IDS])
    def train_step(
        self, source_ids: tf.Tensor, target_in: tf.Tensor, target_out: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Make one optimizer step of a batch; returns summed loss, target tokens and gradient norm."""

        def step(*batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            weights = self.model.trainable_variables
            with tf.GradientTape() as tape:
                total, tokens = self.loss(*self._rows(*batch), True, self.training.label_smoothing)
                all_tokens = self._sum_over_replicas(tokens)
                mean = total / tf.maximum(all_tokens, 1.0)
            gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(mean, weights)]
            if self.strategy.num_replicas_in_sync > 1:
                total, gradients = self._sum_over_replicas((total, gradients))
            norm = tf.linalg.global_norm(gradients)
            self._apply(gradients, norm)
            return total, all_tokens, norm

        return self._run(step, source_ids, target_in, target_out)

    @tf.function(input_signature=[IDS, IDS, IDS, NUMBER])
    def gather_step(
        self, source_ids: tf.Tensor, target_in: tf.Tensor, target_out: tf.Tensor, scale: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Add a batch's gradient of `scale` times its summed loss to the sums; returns summed loss and tokens."""

        def step(
            source_ids: tf.Tensor, target_in: tf.Tensor, target_out: tf.Tensor, scale: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            weights = self.model.trainable_variables
            with tf.GradientTape() as tape:
                batch = self._rows(source_ids, target_in, target_out)
                total, tokens = self.loss(*batch, True, self.training.label_smoothing)
                scaled = total * scale
            for target, gradient in zip(self._sums, tape.gradient(scaled, weights), strict=True):
                target.assign_add(tf.cast(tf.convert_to_tensor(gradient), tf.float32))
            return self._sum_over_replicas((total, tokens))

        return self._run(step, source_ids, target_in, target_out, scale)

    @tf.function(input_signature=[NUMBER])
    def mean_step(self, divisor: tf.Tensor) -> tf.Tensor:
        """Turn the gathered gradients into the mean's, on every replica, and return their global norm."""

        def step(divisor: tf.Tensor) -> tf.Tensor:
            gradients = self._sum_over_replicas([target.read_value() for target in self._sums])
            gradients = [gradient / divisor for gradient in gradients]
            for target, gradient in zip(self._sums, gradients, strict=True):
                target.assign(gradient)
            return tf.linalg.global_norm(gradients)

        return self._run(step, divisor)

    @tf.function(input_signature=[])
    def apply_step(self) -> None:
        """Update the weights with the mean's gradients."""

        def step() -> None:
            gradients = [target.read_value() for target in self._sums]
            self._apply(gradients, tf.linalg.global_norm(gradients))

        self.strategy.run(step)

    @tf.function(input_signature=[])
    def clear_step(self) -> None:
        """Begin new sums of gradients."""

        def step() -> None:
            for target in self._sums:
                target.assign(tf.zeros_like(target))

        self.strategy.run(step)

    @tf.function(input_signature=[IDS, IDS, IDS])
    def validation_step(
        self, source_ids: tf.Tensor, target_in: tf.Tensor, target_out: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a batch's summed loss, without dropout and smoothing, and its target tokens."""
        return self._run(
            lambda *batch: self._sum_over_replicas(self.loss(*self._rows(*batch), training=False, smoothing=0.0)),
            source_ids,
            target_in,
            target_out,
        )
