"""GELU in both forms: values by hand, and Keras' values and gradients."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from transformer.layers.activations import activation_of


@pytest.mark.parametrize(("name", "approximate", "at_one"), [("gelu", False, 0.841345), ("gelu_tanh", True, 0.841192)])
def test_values_and_gradients(name, approximate, at_one):
    function = activation_of(name)
    x = tf.constant(np.linspace(-6, 6, 25), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, theirs = function(x), keras.activations.gelu(x, approximate=approximate)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(ours, x), tape.gradient(theirs, x), atol=1e-6)
    assert abs(float(function(tf.constant(1.0))) - at_one) < 1e-6


def test_gelu_is_x_times_the_normal_distribution():
    x = np.linspace(-5, 5, 41)
    expected = [value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x]
    np.testing.assert_allclose(activation_of("gelu")(tf.constant(x, tf.float32)), expected, atol=1e-6)
    half = activation_of("gelu")(tf.constant(x, tf.float16))
    assert half.dtype == tf.float16
    np.testing.assert_allclose(half, expected, atol=5e-3)


def test_other_names_are_those_of_keras():
    assert activation_of("relu") is keras.activations.relu
    with pytest.raises(ValueError):
        activation_of("gelou")
