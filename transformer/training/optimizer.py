"""Adam as the trainer uses it: fused, with the schedule, weight decay and moving average that a config asks for."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.settings import TrainingConfig
from transformer.system.errors import UserError
from transformer.training.schedules import make_schedule

HARMLESS_SHARE = 0.01  # of the weights that a run began with, in its moving average


class Adam(keras.optimizers.Adam):
    """Keras' Adam with one fused operation a weight, for gradients that are already those of the whole batch.

    Keras would sum the gradients over replicas again, and makes some fifteen operations for each weight.

    Attributes:
        factors: on the learning rate of each weight, in the order of `build`; empty: 1 for all.
    """

    factors: Sequence[float] = ()

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars

    def _backend_update_step(
        self, grads: Sequence[tf.Tensor], trainable_variables: Sequence[keras.Variable], learning_rate: tf.Tensor
    ) -> None:
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, tf.float32)
        correction = tf.sqrt(1.0 - tf.pow(self.beta_2, step)) / (1.0 - tf.pow(self.beta_1, step))
        super()._backend_update_step(grads, trainable_variables, learning_rate * correction)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Update one weight; `learning_rate` has the bias correction of both moments in it."""
        index = self._get_variable_index(variable)
        if self.factors:
            learning_rate = learning_rate * self.factors[index]
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=0.0,  # corrected above
            beta2_power=0.0,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def build_schedule(config: Config) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the schedule that a config asks for; a UserError where it contradicts itself."""
    training = config.training
    length = training.warmup_steps, training.max_steps, training.learning_rate_floor
    try:
        return make_schedule(training.schedule, config.model.d_model, training.peak_learning_rate, *length)
    except ValueError as error:
        raise UserError(f"[training] {error}") from None


def optimizer_warnings(training: TrainingConfig) -> list[str]:
    """Return what does not suit the length of a run, as when that of a longer one was cut.

    A moving average begins with the weights of the beginning, and averaging^max_steps of it is still theirs at the end.
    """
    found, steps = [], training.max_steps
    if training.warmup_steps >= steps:
        found.append(
            f"the learning rate rises to the end: warmup_steps is {training.warmup_steps}, max_steps {steps}; "
            f"set training.warmup_steps = {max(1, steps // 10)}"
        )
    share = training.averaging**steps
    if share > HARMLESS_SHARE:
        most = math.floor(1000 * HARMLESS_SHARE ** (1 / steps)) / 1000
        found.append(
            f"with averaging = {training.averaging}, {share:.0%} of the averaged weights are still those of the "
            f"beginning after {steps} steps; set training.averaging to at most {most}"
        )
    return found


def check_layers(config: Config, known: bool) -> None:
    """Refuse settings that treat layers differently, with a UserError, where there are no such layers.

    Args:
        config: of the run.
        known: whether it is known in which layer a weight is, see `Task.depths`.
    """
    frozen, layers = config.training.freeze_layers, config.model.num_layers
    if (frozen or config.training.layer_decay != 1) and not known:
        raise UserError(
            "training.freeze_layers and training.layer_decay are for an encoder with a head; the task "
            f"{config.task.name} has none: leave them out"
        )
    if frozen > layers:
        raise UserError(f"training.freeze_layers is {frozen}, and there are only {layers} layers; lower it")


def trained_weights(
    config: Config, weights: Sequence[keras.Variable], depths: Mapping[str, int]
) -> list[keras.Variable]:
    """Return the weights that a config does not freeze.

    Args:
        config: of the run, which `check_layers` has let pass.
        weights: of the network.
        depths: of each weight by its path, see `Task.depths`.
    """
    frozen = config.training.freeze_layers
    return [weight for weight in weights if not frozen or depths[weight.path] > frozen]


def build_optimizer(
    config: Config, weights: Sequence[keras.Variable], depths: Mapping[str, int] = MappingProxyType({})
) -> keras.optimizers.Optimizer:
    """Return Adam with the schedule, weight decay and moving average of a config; errors as of `build_schedule`.

    With `training.layer_decay`, the learning rate of a weight is multiplied by it once for each layer above.

    Source: of the last: Howard and Ruder 2018, section 3.2; Sun et al. 2019, section 4.
    """
    training = config.training
    optimizer = Adam(
        build_schedule(config),
        beta_1=training.beta_1,
        beta_2=training.beta_2,
        epsilon=training.epsilon,
        weight_decay=training.weight_decay or None,
        use_ema=training.averaging > 0,
        ema_momentum=training.averaging or 0.99,
        ema_overwrite_frequency=None,
    )
    if training.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=[weight for weight in weights if len(weight.shape) < 2])
    optimizer.build(weights)
    if training.layer_decay != 1:
        top = max(depths.values())
        optimizer.factors = [training.layer_decay ** (top - depths[weight.path]) for weight in weights]
    return optimizer
