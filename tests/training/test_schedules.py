"""Learning-rate schedules: the paper's formula worked out by hand, and what Keras needs to save them."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from transformer.training.schedules import TransformerSchedule, WarmupSchedule, make_schedule


def rates(schedule, steps):
    """Return the rates of updates counted from 1, as the paper counts them; Keras counts from 0."""
    return [float(schedule(tf.constant(step - 1, tf.int64))) for step in steps]


# lrate = d_model^-0.5 * min(step^-0.5, step * warmup_steps^-1.5), Vaswani et al. 2017, equation 3.
@pytest.mark.parametrize(
    "d_model, warmup_steps, step, rate",
    [
        (4, 4, 1, 0.5 * 1 / 8),  # 4^-0.5 = 1/2; 4^-1.5 = 1/8
        (4, 4, 2, 0.5 * 2 / 8),
        (4, 4, 4, 0.5 * 1 / 2),  # the peak, where both terms are equal
        (4, 4, 16, 0.5 * 1 / 4),
        (512, 4000, 4000, 6.98771e-4),  # 1 / sqrt(512 * 4000) = 1 / 1431.08
        (512, 4000, 1, 1.74693e-7),  # 1 / (22.62742 * 252982.2)
        (512, 4000, 100_000, 1.39754e-4),  # 1 / (22.62742 * 316.22777)
    ],
)
def test_the_papers_schedule_by_hand(d_model, warmup_steps, step, rate):
    assert rates(TransformerSchedule(d_model, warmup_steps), [step])[0] == pytest.approx(rate, rel=2e-5)


@pytest.mark.parametrize(
    "decay, expected",
    [
        # warm-up to 0.8 in 4 steps: 0.2, 0.4, 0.6, 0.8; then 8 steps to the end
        ("inverse_sqrt", {1: 0.2, 3: 0.6, 4: 0.8, 16: 0.4, 64: 0.2}),
        ("linear", {1: 0.2, 3: 0.6, 4: 0.8, 6: 0.6, 8: 0.4, 12: 0.0, 20: 0.0}),
        ("cosine", {1: 0.2, 4: 0.8, 6: 0.4 + 0.4 * math.sqrt(0.5), 8: 0.4, 12: 0.0, 20: 0.0}),
    ],
)
def test_warm_up_and_each_decay_by_hand(decay, expected):
    schedule = WarmupSchedule(decay, peak=0.8, warmup_steps=4, max_steps=12)
    np.testing.assert_allclose(rates(schedule, expected), list(expected.values()), atol=1e-7)


def test_a_floor_by_hand():
    # From 0.8 to a quarter of it: 0.2 + 0.6 * what is left of the decay.
    linear, cosine = (WarmupSchedule(decay, 0.8, 4, 12, floor=0.25) for decay in ("linear", "cosine"))
    assert rates(linear, [1, 4, 8, 12, 20]) == pytest.approx([0.2, 0.8, 0.5, 0.2, 0.2])
    assert rates(cosine, [4, 6, 8, 12]) == pytest.approx([0.8, 0.2 + 0.6 * (0.5 + 0.5 * math.sqrt(0.5)), 0.5, 0.2])


@pytest.mark.parametrize(
    "schedule",
    [
        TransformerSchedule(128, 200),
        WarmupSchedule("cosine", 0.003, 5, 50, 0.1),
        *(WarmupSchedule(decay, 0.003, 5, 50) for decay in ("inverse_sqrt", "cosine", "linear")),
    ],
)
def test_schedules_are_registered_and_survive_serialisation(schedule):
    optimizer = keras.optimizers.Adam(schedule)
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    assert config["registered_name"] == f"transformer>{type(schedule).__name__}"
    assert type(again) is type(schedule) and again.get_config() == schedule.get_config()
    steps = [1, 3, 5, 30, 1000]
    assert rates(again, steps) == rates(schedule, steps) == rates(restored._learning_rate, steps)


def test_the_optimizer_starts_with_the_first_rate_not_with_zero():
    optimizer = keras.optimizers.SGD(TransformerSchedule(4, 4))
    weight = keras.Variable([1.0])
    optimizer.apply([tf.constant([1.0])], [weight])
    assert float(weight.numpy()[0]) == pytest.approx(1 - 0.5 / 8)


def test_a_config_names_its_schedule():
    noam = make_schedule("noam", d_model=4, peak=0.0, warmup_steps=4, max_steps=100)
    assert isinstance(noam, TransformerSchedule) and rates(noam, [4]) == [0.25]
    # Peak 0 is the paper's height, d_model^-0.5 * warmup_steps^-0.5: the two then agree everywhere.
    same = make_schedule("inverse_sqrt", d_model=4, peak=0.0, warmup_steps=4, max_steps=100)
    np.testing.assert_allclose(rates(same, [1, 4, 9, 77]), rates(noam, [1, 4, 9, 77]), rtol=1e-6)
    assert rates(make_schedule("linear", 4, 0.5, 2, 10), [2, 10]) == [0.5, 0.0]


def test_a_run_shorter_than_its_warm_up_warms_up_until_its_last_step():
    schedule = make_schedule("cosine", d_model=4, peak=0.5, warmup_steps=100, max_steps=10)
    assert rates(schedule, [5, 10]) == pytest.approx([0.25, 0.0])


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: TransformerSchedule(0), "d_model must be at least 1, got 0"),
        (lambda: TransformerSchedule(8, 0), "warmup_steps must be at least 1, got 0"),
        (lambda: WarmupSchedule("step", 0.1, 1, 2), "decay must be .*got 'step'"),
        (lambda: WarmupSchedule("linear", 0.0, 1, 2), "peak must be above 0, got 0.0"),
        (lambda: WarmupSchedule("linear", 0.1, 0, 2), "warmup_steps must be from 1 to max_steps=2, got 0"),
        (lambda: WarmupSchedule("linear", 0.1, 3, 2), "warmup_steps must be from 1 to max_steps=2, got 3"),
        (lambda: WarmupSchedule("linear", 0.1, 1, 2, 1.5), "floor must be from 0 to 1, got 1.5"),
        (lambda: make_schedule("noam", 8, 0.1, 1, 2), "'noam' schedule sets its own peak"),
    ],
)
def test_bad_arguments_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
