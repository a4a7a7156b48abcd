"""Learning-rate schedules."""

from typing import Any

import keras
import tensorflow as tf

from transformer.config.checks import require_choice
from transformer.config.settings import DECAYS


@keras.saving.register_keras_serializable(package="transformer")
class TransformerSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The paper's schedule: lrate = d_model^-0.5 * min(step^-0.5, step * warmup_steps^-1.5).

    Linear warm-up over `warmup_steps` optimizer steps, then decay with the inverse square root of the step.

    Args:
        d_model: model width D.
        warmup_steps: optimizer steps.

    Call: step (scalar, 0 for the first update) -> learning rate, float32.

    Raises:
        ValueError: an argument is below 1.

    Source: Vaswani et al. 2017, section 5.3, equation 3.
    Deviation: the paper counts steps from 1 and Keras from 0; 1 is added, so that the first update is not lost.
    """

    def __init__(self, d_model: int, warmup_steps: int = 4000) -> None:
        for name, value in (("d_model", d_model), ("warmup_steps", warmup_steps)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value!r}")
        self.d_model = d_model
        self.warmup_steps = warmup_steps

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        step = tf.cast(step, tf.float32) + 1.0
        return self.d_model**-0.5 * tf.minimum(tf.math.rsqrt(step), step * self.warmup_steps**-1.5)

    def get_config(self) -> dict[str, Any]:
        return {"d_model": self.d_model, "warmup_steps": self.warmup_steps}


@keras.saving.register_keras_serializable(package="transformer")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to a peak, then one of three decays.

    `inverse_sqrt`: peak * sqrt(warmup_steps / step), the paper's shape at a free height;
    `cosine`: half a cosine from the peak to the floor at `max_steps` (Loshchilov and Hutter 2017, without restarts);
    `linear`: a straight line from the peak to the floor at `max_steps`.

    Args:
        decay: one of the names above.
        peak: highest learning rate, reached at `warmup_steps`.
        warmup_steps: optimizer steps.
        max_steps: optimizer steps at which `cosine` and `linear` reach their floor.
        floor: the learning rate there, as a share of the peak.

    Call: step (scalar, 0 for the first update) -> learning rate, float32.

    Raises:
        ValueError: `decay` is unknown, `peak` is not above 0, or `warmup_steps` is not from 1 to `max_steps`, or
            `floor` not from 0 to 1.
    """

    def __init__(self, decay: str, peak: float, warmup_steps: int, max_steps: int, floor: float = 0.0) -> None:
        require_choice("decay", decay, DECAYS)
        if peak <= 0:
            raise ValueError(f"peak must be above 0, got {peak!r}")
        if not 1 <= warmup_steps <= max_steps:
            raise ValueError(f"warmup_steps must be from 1 to max_steps={max_steps}, got {warmup_steps!r}")
        if not 0 <= floor <= 1:
            raise ValueError(f"floor must be from 0 to 1, got {floor!r}")
        self.decay, self.peak, self.warmup_steps, self.max_steps = decay, peak, warmup_steps, max_steps
        self.floor = floor

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        step = tf.cast(step, tf.float32) + 1.0
        warmup = step / self.warmup_steps
        if self.decay == "inverse_sqrt":
            return self.peak * tf.minimum(warmup, tf.sqrt(self.warmup_steps / step))
        rest = tf.clip_by_value((self.max_steps - step) / max(1, self.max_steps - self.warmup_steps), 0.0, 1.0)
        if self.decay == "cosine":
            rest = 0.5 - 0.5 * tf.cos(rest * 3.141592653589793)
        if self.floor:
            rest = self.floor + (1.0 - self.floor) * rest
        return self.peak * tf.minimum(warmup, rest)

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("decay", "peak", "warmup_steps", "max_steps", "floor")}


def make_schedule(
    name: str, d_model: int, peak: float, warmup_steps: int, max_steps: int, floor: float = 0.0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the schedule that a config names; `peak` 0 means the paper's d_model^-0.5 * warmup_steps^-0.5."""
    if name == "noam":
        if peak:
            raise ValueError("the 'noam' schedule sets its own peak; use 'inverse_sqrt' with peak_learning_rate")
        return TransformerSchedule(d_model, warmup_steps)
    peak = peak or (d_model * warmup_steps) ** -0.5
    return WarmupSchedule(name, peak, min(warmup_steps, max_steps), max_steps, floor)
